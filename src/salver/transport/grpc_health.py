"""`grpc.health.v1.Health`: what a scheduler asks over gRPC, and watches.

Names are those of TensorFlow Serving (the whole server, and its services without
their package), the services' full names, and models as REST writes them:
`models/NAME` and `models/NAME/versions/N`. No service has a slash in its name, and
in NAME it is percent-encoded, so no two things have the same name.
"""

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from salver.codecs.messages import message_class
from salver.errors import InternalError, InvalidArgument, NotFound, ResourceExhausted, ServingError
from salver.service.health import Condition, Health
from salver.transport.exchange import Handler, Message, StreamCall, StreamHandler, UnaryCall
from salver.transport.grpc_messages import framed, parsed

_SERVICE = b"/grpc.health.v1.Health/"
_SERVER_NAMES = frozenset(
    {
        "",
        "ModelService",
        "PredictionService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
)
_MODEL = re.compile(r"models/([^/]+)(?:/versions/(-?[0-9]{1,19}))?")
_STATUS = {Condition.SERVING: 1, Condition.NOT_SERVING: 2, Condition.UNKNOWN: 3}
_MAX_WATCHES = 10_000
_TOLD_PER_TURN = 200


class HealthService:
    """The service. Loop only."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._watches: set[_Watch] = set()
        self._to_tell: dict[_Watch, None] = {}
        response = message_class("grpc.health.v1.HealthCheckResponse")
        self._answers = {
            condition: framed(response(status=number)) for condition, number in _STATUS.items()
        }
        health.on_change(self._tell_all)

    def handlers(self) -> Mapping[bytes, Handler]:
        return {_SERVICE + b"Check": self.check}

    def streams(self) -> Mapping[bytes, StreamHandler]:
        return {_SERVICE + b"Watch": self.watch}

    def check(self, call: UnaryCall, message: Message) -> None:
        condition = self.condition(_service_name(message))
        if condition is Condition.UNKNOWN:
            raise NotFound("service name unknown")
        call.succeed(self._answers[condition])

    def watch(self, call: StreamCall) -> "_Watch":
        return _Watch(self, call)

    def condition(self, name: str) -> Condition:
        """What there is to say of a name."""
        if name in _SERVER_NAMES:
            return self._health.server()
        match = _MODEL.fullmatch(name)
        if match is None:
            return Condition.UNKNOWN
        model = unquote_to_bytes(match[1]).decode("utf-8", "surrogateescape")
        return self._health.model(model, None if match[2] is None else int(match[2]))

    def answer(self, condition: Condition) -> bytes:
        """The message that says so, behind its prefix."""
        return self._answers[condition]

    def add(self, watch: "_Watch") -> None:
        """From now on, tell a watch of every change.

        Raises:
            ResourceExhausted: there are too many.
        """
        if len(self._watches) >= _MAX_WATCHES:
            raise ResourceExhausted(f"{_MAX_WATCHES} calls watch the health of the server already")
        self._watches.add(watch)

    def discard(self, watch: "_Watch") -> None:
        self._watches.discard(watch)
        self._to_tell.pop(watch, None)

    def _tell_all(self) -> None:
        if self._watches:
            if not self._to_tell:
                asyncio.get_running_loop().call_soon(self._tell_some)
            self._to_tell.update(dict.fromkeys(self._watches))

    def _tell_some(self) -> None:
        # Not all in one turn: thousands of watches would hold up the requests.
        for watch in list(self._to_tell)[:_TOLD_PER_TURN]:
            del self._to_tell[watch]
            watch.tell()
        if self._to_tell:
            asyncio.get_running_loop().call_soon(self._tell_some)


class _Watch:
    """One call of Watch: it is told what is, and then whatever is otherwise."""

    def __init__(self, service: HealthService, call: StreamCall) -> None:
        self._service = service
        self._call = call
        self._name: str | None = None
        self._told: Condition | None = None

    def message(self, message: bytes) -> None:
        if self._name is not None:
            raise InternalError("Watch takes exactly one message")
        self._name = _service_name(message)
        self._service.add(self)
        self.tell()

    def half_closed(self) -> None:
        if self._name is None:
            raise InternalError("The request ended before its message was complete")

    def caught_up(self) -> None:
        self.tell()

    def ended(self) -> None:
        self._service.discard(self)

    def tell(self) -> None:
        """Send what is, if it is not what was sent last and the client takes it."""
        assert self._name is not None
        condition = self._service.condition(self._name)
        if condition is not self._told and not self._call.is_behind:
            self._told = condition
            self._call.send(self._service.answer(condition))


def _service_name(message: Message) -> str:
    try:
        name: str = parsed("grpc.health.v1.HealthCheckRequest", message).service
    except ServingError as error:
        raise InvalidArgument("could not parse request") from error
    return name
