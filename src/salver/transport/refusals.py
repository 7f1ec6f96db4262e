"""What was refused just now, because it would wait too long: more of the same is refused at once.

Where half as much again comes as can be served, a third of all that comes is refused, and what
that costs is missing for the answers. All that a refusal depends on besides the time a client has,
the model and how much waits for it, is the same a moment later.
"""

from collections.abc import Callable
from dataclasses import dataclass

from salver.transport.exchange import Message
from salver.transport.grpc import PREFIX_BYTES, Headers

_SHARE = 0.02
"""Of the time that a client has: so long what was found out holds."""
_LONGEST_S = 2e-3
_NAP_SHARE = 0.06
"""Of that time: so long the loop rests after a refusal."""
_LONGEST_NAP_S = 4e-3
_MOST = 256
_FIRST_FIELD = 0x0A
"""The tag of a message's field 1, if that is a message or a string; for Predict the model."""


@dataclass(frozen=True, slots=True)
class _Refused:
    limit_s: float
    until: float
    nap_s: float
    answer: Headers
    again: Callable[[], None]


class Refusals:
    """By method and by the first field of the message, which says what for. Loop only."""

    __slots__ = ("_nap_s", "latest")

    def __init__(self) -> None:
        self.latest: dict[tuple[bytes, bytes], _Refused] = {}
        """For those who ask only whether there is any."""
        self._nap_s = 0.0

    def clear(self) -> None:
        """Forget all: `again` may keep an unloaded version in memory."""
        self.latest.clear()

    def take_nap_s(self) -> float:
        """How long the loop may rest, for what was refused since this was asked last."""
        nap_s, self._nap_s = self._nap_s, 0.0
        return nap_s

    def add(
        self,
        path: bytes,
        body: Message,
        limit_s: float,
        answer: Headers,
        again: Callable[[], None],
        now: float,
    ) -> None:
        """A call was refused whose client waits `limit_s`.

        `again`: to be called for each that gets the same answer. Times are the loop's.
        """
        limit_s = max(limit_s, 0.0)
        nap_s = min(_NAP_SHARE * limit_s, _LONGEST_NAP_S)
        self._nap_s = min(self._nap_s, nap_s) if self._nap_s else nap_s
        field = _first_field(body)
        if field:
            if len(self.latest) >= _MOST:
                self.latest.clear()
            moment = min(_SHARE * limit_s, _LONGEST_S)
            self.latest[path, field] = _Refused(
                limit_s + moment, now + moment, nap_s, answer, again
            )

    def answer(self, path: bytes, body: Message, limit_s: float, now: float) -> Headers | None:
        """What to answer a call whose client waits `limit_s`; None: it may be served."""
        key = path, _first_field(body)
        latest = self.latest.get(key)
        if latest is None:
            return None
        if now >= latest.until:
            del self.latest[key]
            return None
        if limit_s > latest.limit_s:
            return None
        self._nap_s = min(self._nap_s, latest.nap_s) if self._nap_s else latest.nap_s
        latest.again()
        return latest.answer


def _first_field(body: Message) -> bytes:
    """Empty where there is none, or where it is long, or the message compressed."""
    head = bytes(body[: PREFIX_BYTES + 2])
    if len(head) < PREFIX_BYTES + 2 or head[0] or head[-2] != _FIRST_FIELD or head[-1] > 0x7F:
        return b""
    return bytes(body[len(head) : len(head) + head[-1]])
