from collections.abc import Sequence

import pytest

from salver.core.events import EventBus, ModelsConfigured, StateChanged
from salver.core.servable import ServableId
from salver.core.state import State, VersionStatus
from salver.errors import DataLoss
from salver.service.health import Condition, Health

SERVING, NOT_SERVING, UNKNOWN = Condition.SERVING, Condition.NOT_SERVING, Condition.UNKNOWN


class Versions:
    """A manager whose versions a test writes down, the highest first."""

    def __init__(self, **models: list[VersionStatus]) -> None:
        self.models = models

    def statuses(self, name: str) -> Sequence[VersionStatus]:
        return self.models.get(name, [])

    def available_versions(self, name: str) -> tuple[int, ...]:
        return tuple(s.version for s in self.statuses(name) if s.state is State.AVAILABLE)


def a(version: int, state: State = State.AVAILABLE, error: str = "") -> VersionStatus:
    return VersionStatus(version, state, DataLoss(error) if error else None)


def health_of(*configured: str, **models: list[VersionStatus]) -> Health:
    events = EventBus()
    health = Health(Versions(**models), events)
    events.publish(ModelsConfigured(configured))
    return health


def test_the_server_serves_whatever_its_models_do_until_it_leaves() -> None:
    health = health_of("m")
    assert health.server() is SERVING
    health.leave()
    assert health.server() is NOT_SERVING


def test_a_model_serves_if_one_of_its_versions_does() -> None:
    health = health_of("m", "n", m=[a(2, State.LOADING), a(1)], n=[a(1, State.LOADING)])
    assert health.model("m") is SERVING
    assert health.model("n") is NOT_SERVING


def test_a_model_is_known_from_its_configuration_on_and_for_ever() -> None:
    health = health_of("configured", gone=[a(1, State.END)])
    assert health.model("configured") is NOT_SERVING
    assert health.model("gone") is NOT_SERVING
    assert health.model("nobody") is UNKNOWN


def test_a_version_is_known_once_it_was_found() -> None:
    health = health_of("m", m=[a(3, State.END, "broken"), a(2)])
    assert [health.model("m", version) for version in (2, 3, 4)] == [SERVING, NOT_SERVING, UNKNOWN]
    assert health.model("nobody", 2) is UNKNOWN


def test_version_zero_is_a_version() -> None:
    health = health_of("m", m=[a(1)])
    assert health.model("m", 0) is UNKNOWN


def test_a_server_that_leaves_serves_nothing_and_knows_no_more_than_before() -> None:
    health = health_of("m", m=[a(1)])
    health.leave()
    assert health.model("m") is health.model("m", 1) is NOT_SERVING
    assert health.model("nobody") is health.model("m", 2) is UNKNOWN


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        pytest.param([], "no version found", id="none"),
        pytest.param([a(2, State.LOADING)], "version 2 LOADING", id="loading"),
        pytest.param([a(2, State.END, "bad")], "version 2 END: DATA_LOSS: bad", id="failed"),
        pytest.param([a(2, State.END)], "version 2 END", id="gone"),
        pytest.param(
            [a(3, State.END), a(2, State.END, "bad")],
            "version 2 END: DATA_LOSS: bad",
            id="a failure says more than what was unloaded",
        ),
        pytest.param(
            [a(3, State.LOADING), a(2, State.UNLOADING)], "version 3 LOADING", id="the highest"
        ),
    ],
)
def test_a_model_that_is_not_ready_has_a_reason(statuses: list[VersionStatus], reason: str) -> None:
    health = health_of("ready", "m", ready=[a(1)], m=statuses, other=[a(1, State.LOADING)])
    assert health.unready_models() == {"m": reason}


def test_a_reason_is_short() -> None:
    health = health_of("m", m=[a(1, State.END, "x" * 10_000)])
    assert len(health.unready_models()["m"]) == 500


def test_a_new_configuration_takes_the_place_of_the_old_one() -> None:
    events = EventBus()
    health = Health(Versions(), events)
    assert health.unready_models() == {}
    events.publish(ModelsConfigured(("a", "b")))
    assert set(health.unready_models()) == {"a", "b"}
    events.publish(ModelsConfigured(("c",)))
    assert set(health.unready_models()) == {"c"}
    assert health.model("a") is UNKNOWN


def test_listeners_are_told_of_everything_that_may_matter() -> None:
    events = EventBus()
    health = Health(Versions(), events)
    told: list[str] = []
    health.on_change(lambda: told.append("first"))
    health.on_change(lambda: told.append("second"))
    events.publish(StateChanged(ServableId("m", 1), State.LOADING))
    assert told == ["first", "second"]
    events.publish(ModelsConfigured(()))
    health.leave()
    assert told == ["first", "second"] * 3
