import json

import pytest

from salver.core.events import EventBus, ModelsConfigured
from salver.service.health import Health
from salver.transport.exchange import HttpRequest, HttpResponse
from salver.transport.health_page import HealthPages
from tests.unit.service.test_health import Versions, a


class Pages:
    """The pages over some models."""

    def __init__(self, *configured: str, **models: object) -> None:
        self.events = EventBus()
        self.health = Health(Versions(**models), self.events)  # type: ignore[arg-type]
        self.events.publish(ModelsConfigured(configured))
        self._pages = HealthPages(self.health)

    def get(self, target: bytes, method: bytes = b"GET") -> HttpResponse | None:
        return self._pages.page(HttpRequest(method, target, [], b""))

    def facts(self, target: bytes = b"/healthz/ready") -> tuple[int, object]:
        page = self.get(target)
        assert page is not None
        assert page.content_type == b"application/json"
        assert not page.closes
        return page.status, json.loads(page.body)


def test_a_server_whose_models_answer_is_ready() -> None:
    assert Pages("m", m=[a(1)]).facts() == (200, {"ready": True})


def test_a_server_without_models_is_ready() -> None:
    assert Pages().facts() == (200, {"ready": True})


def test_a_server_that_waits_for_a_model_says_for_which_and_why() -> None:
    facts = Pages("m", "n", m=[a(1)]).facts()
    assert facts == (503, {"ready": False, "models": {"n": "no version found"}})


def test_a_server_that_leaves_is_alive_but_not_ready() -> None:
    pages = Pages("m", m=[a(1)])
    pages.health.leave()
    assert pages.facts() == (503, {"ready": False, "draining": True})
    assert pages.facts(b"/healthz/live") == (200, {"live": True})


def test_a_server_is_alive_without_its_models() -> None:
    assert Pages("m").facts(b"/healthz/live") == (200, {"live": True})


def test_the_page_stays_small_with_many_models() -> None:
    status, facts = Pages(*(f"model {number}" for number in range(250))).facts()
    assert status == 503
    assert isinstance(facts, dict)
    assert (len(facts["models"]), facts["more_models"]) == (100, 150)


def test_a_query_changes_nothing() -> None:
    assert Pages().facts(b"/healthz/ready?from=probe") == (200, {"ready": True})


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"])
def test_other_methods_find_nothing(method: bytes) -> None:
    assert Pages().get(b"/healthz/ready", method) is None


@pytest.mark.parametrize(
    "target", [b"/healthz", b"/healthz/", b"/healthz/ready/", b"/Healthz/ready", b"/healthz/liveX"]
)
def test_other_paths_are_none_of_the_pages(target: bytes) -> None:
    assert Pages().get(target) is None


def test_a_name_that_is_no_text_is_shown_escaped() -> None:
    page = Pages("m\udcff").get(b"/healthz/ready")
    assert page is not None
    assert b'"m\\udcff"' in page.body
