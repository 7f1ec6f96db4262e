from collections.abc import Callable
from typing import Any

import pytest

from salver.codecs.messages import message_class
from salver.core.events import EventBus, ModelsConfigured, StateChanged
from salver.core.servable import ServableId
from salver.core.state import State, VersionStatus
from salver.errors import InternalError, InvalidArgument, NotFound, ResourceExhausted, ServingError
from salver.service.health import Health
from salver.telemetry.request_record import RequestRecord
from salver.transport import grpc_health
from salver.transport.grpc_health import HealthService
from tests.fakes import turn_loop
from tests.unit.service.test_health import Versions, a

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def asked(name: str) -> bytes:
    message = message_class("grpc.health.v1.HealthCheckRequest")(service=name)
    return message.SerializeToString()


def status_in(framed: Any) -> int:
    response = message_class("grpc.health.v1.HealthCheckResponse")()
    response.ParseFromString(bytes(framed)[5:])
    return int(response.status)


class Call:
    """A call of either kind that notes what it is answered."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.started = 0.0
        self.cancel: Callable[[], None] | None = None
        self.record: RequestRecord | None = None
        self.statuses: list[int] = []
        self.is_behind = False

    def succeed(self, framed: Any) -> None:
        self.statuses.append(status_in(framed))

    send = succeed

    def fail(self, error: ServingError) -> None:
        raise AssertionError

    def refuse(self, error: ServingError, again: Callable[[], None]) -> None:
        raise AssertionError

    def finish(self, error: ServingError | None = None) -> None:
        raise AssertionError


class Site:
    """The service over a model `m` that serves versions 1 and 2, and `n` that serves none."""

    def __init__(self) -> None:
        self.events = EventBus()
        self.versions = Versions(
            **{"m": [a(2), a(1)], "n": [a(3, State.LOADING)], "a/b: c%": [a(1)]}
        )
        self.health = Health(self.versions, self.events)
        self.service = HealthService(self.health)
        self.events.publish(ModelsConfigured(("m", "n", "waiting")))

    def check(self, name: str) -> int:
        call = Call()
        self.service.check(call, asked(name))
        return call.statuses[0]

    def watch(self, name: str) -> tuple[Call, Any]:
        call = Call()
        watch = self.service.watch(call)
        watch.message(asked(name))
        watch.half_closed()
        return call, watch

    async def change(self, model: str, *statuses: VersionStatus) -> None:
        self.versions.models[model] = list(statuses)
        self.events.publish(StateChanged(ServableId(model, 0), State.START))
        await turn_loop()


FIXED = (
    "",
    "ModelService",
    "PredictionService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
)


@pytest.mark.parametrize("name", FIXED)
def test_the_server_and_its_services_serve_until_it_leaves(name: str) -> None:
    site = Site()
    site.versions.models.clear()
    assert site.check(name) == SERVING
    site.health.leave()
    assert site.check(name) == NOT_SERVING


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("models/m", SERVING),
        ("models/m/versions/1", SERVING),
        ("models/m/versions/02", SERVING),
        ("models/n", NOT_SERVING),
        ("models/n/versions/3", NOT_SERVING),
        ("models/waiting", NOT_SERVING),
        ("models/a%2Fb%3A%20c%25", SERVING),
        ("models/a%2fb: c%25/versions/1", SERVING),
    ],
)
def test_models_and_versions_are_named_as_rest_names_them(name: str, status: int) -> None:
    assert Site().check(name) == status


@pytest.mark.parametrize(
    "name",
    [
        "m",
        "models",
        "models/",
        "models/nobody",
        "models/m/",
        "models/m/versions",
        "models/m/versions/",
        "models/m/versions/9",
        "models/m/versions/one",
        "models/m/versions/" + "9" * 10_000,
        "models/m/versions/1/",
        "/v1/models/m",
        "models/a/b",
        "modelservice",
        "grpc.health.v1.Health",
        "tensorflow.serving.SessionService",
    ],
)
def test_what_nobody_knows_is_not_found(name: str) -> None:
    with pytest.raises(NotFound, match=r"^service name unknown$"):
        Site().check(name)


def test_what_is_no_request_is_refused() -> None:
    site = Site()
    with pytest.raises(InvalidArgument, match=r"^could not parse request$"):
        site.service.check(Call(), b"\xff")
    with pytest.raises(InvalidArgument, match=r"^could not parse request$"):
        site.service.watch(Call()).message(b"\xff")


async def test_a_watch_is_told_what_is_and_then_each_change() -> None:
    site = Site()
    call, _ = site.watch("models/n")
    assert call.statuses == [NOT_SERVING]
    await site.change("n", a(3))
    assert call.statuses == [NOT_SERVING, SERVING]
    await site.change("m")
    await site.change("n", a(4), a(3, State.UNLOADING))
    assert call.statuses == [NOT_SERVING, SERVING]
    await site.change("n", a(4, State.END))
    site.health.leave()
    await turn_loop()
    assert call.statuses == [NOT_SERVING, SERVING, NOT_SERVING]


async def test_a_watch_of_what_is_not_known_waits_for_it() -> None:
    site = Site()
    call, _ = site.watch("models/new")
    assert call.statuses == [SERVICE_UNKNOWN]
    site.events.publish(ModelsConfigured(("new",)))
    await turn_loop()
    await site.change("new", a(1))
    site.events.publish(ModelsConfigured(()))
    await site.change("new")
    assert call.statuses == [SERVICE_UNKNOWN, NOT_SERVING, SERVING, SERVICE_UNKNOWN]


async def test_changes_of_one_turn_are_told_once() -> None:
    site = Site()
    call, _ = site.watch("models/n")
    site.versions.models["n"] = [a(3)]
    for state in (State.LOADING, State.AVAILABLE):
        site.events.publish(StateChanged(ServableId("n", 3), state))
    assert call.statuses == [NOT_SERVING]
    await turn_loop()
    assert call.statuses == [NOT_SERVING, SERVING]


async def test_a_client_that_is_behind_is_told_the_last_state_only() -> None:
    site = Site()
    call, watch = site.watch("models/m")
    call.is_behind = True
    await site.change("m", a(3, State.LOADING))
    await site.change("m", a(3))
    await site.change("m", a(3, State.END))
    assert call.statuses == [SERVING]
    call.is_behind = False
    watch.caught_up()
    assert call.statuses == [SERVING, NOT_SERVING]


async def test_a_watch_that_ended_is_not_told_any_more() -> None:
    site = Site()
    call, watch = site.watch("models/m")
    other, _ = site.watch("models/m")
    site.health.leave()
    watch.ended()
    await turn_loop()
    assert call.statuses == [SERVING]
    assert other.statuses == [SERVING, NOT_SERVING]


async def test_thousands_of_watches_are_told_in_turns_and_more_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grpc_health, "_MAX_WATCHES", 1000)
    site = Site()
    calls = [site.watch("models/m")[0] for _ in range(1000)]
    with pytest.raises(ResourceExhausted, match="1000 calls watch"):
        site.watch("")
    site.health.leave()
    await turn_loop(1)
    told = sum(len(call.statuses) == 2 for call in calls)
    assert 0 < told < 1000
    site.health.leave()
    await turn_loop(20)
    assert all(call.statuses == [SERVING, NOT_SERVING] for call in calls)


def test_a_watch_takes_one_message_neither_more_nor_less() -> None:
    site = Site()
    watch = site.service.watch(Call())
    with pytest.raises(InternalError, match="ended before its message"):
        watch.half_closed()
    watch.message(asked(""))
    with pytest.raises(InternalError, match="exactly one message"):
        watch.message(asked(""))
