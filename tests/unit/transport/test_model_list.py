import json
from collections.abc import Sequence

from salver.codecs.messages import message_class
from salver.core.events import EventBus, ModelsConfigured
from salver.core.state import VersionStatus
from salver.service.health import Health
from salver.transport.exchange import HttpRequest
from salver.transport.grpc import PREFIX_BYTES
from salver.transport.model_list import ModelList


class Nothing:
    def statuses(self, name: str) -> Sequence[VersionStatus]:
        return []

    def available_versions(self, name: str) -> tuple[int, ...]:
        return ()


class Call:
    """A call whose answer is kept."""

    deadline = None
    started = 0.0
    cancel = None
    record = None

    def succeed(self, framed: bytes) -> None:
        self.names = list(
            message_class("salver.ListModelsResponse").FromString(framed[PREFIX_BYTES:]).names
        )


def listed() -> ModelList:
    events = EventBus()
    models = ModelList(Health(Nothing(), events))
    events.publish(ModelsConfigured(("b", "ä")))
    return models


def test_the_page_has_the_names_of_the_config() -> None:
    models = listed()
    for method in (b"GET", b"HEAD"):
        answer = models.page(HttpRequest(method, b"/salver/models", [], b""))
        assert answer is not None
        assert json.loads(answer.body) == {"models": ["b", "ä"]}
    assert models.page(HttpRequest(b"POST", b"/salver/models", [], b"")) is None
    assert models.page(HttpRequest(b"GET", b"/salver/models/b", [], b"")) is None


def test_the_service_has_them_too() -> None:
    call = Call()
    (handler,) = listed().handlers().values()
    handler(call, b"")  # type: ignore[arg-type]
    assert call.names == ["b", "ä"]
