"""What was refused just now is refused again, for a moment."""

import pytest

from salver.transport.grpc import Headers
from salver.transport.refusals import Refusals

PATH = b"/service/Predict"
ANSWER: Headers = ((b"grpc-status", b"14"),)
LIMIT_S, NOW = 0.05, 1000.0
MOMENT_S = 0.001


def body(spec: bytes, rest: bytes = b"\x12\x03abc") -> bytes:
    message = b"\x0a" + bytes([len(spec)]) + spec + rest
    return b"\0" + len(message).to_bytes(4) + message


class Site:
    """One refusal, and how often it was repeated."""

    def __init__(self) -> None:
        self.refusals = Refusals()
        self.times = 0

    def again(self) -> None:
        self.times += 1

    def add(self, spec: bytes = b"model", limit_s: float = LIMIT_S) -> None:
        self.refusals.add(PATH, body(spec), limit_s, ANSWER, self.again, NOW)

    def is_refused(
        self, request: bytes = body(b"model"), limit_s: float = LIMIT_S, now: float = NOW
    ) -> bool:
        before = self.times
        answer = self.refusals.answer(PATH, request, limit_s, now)
        assert answer in (None, ANSWER)
        assert self.times - before == (answer is not None)
        return answer is not None


def test_the_same_with_no_more_time_is_refused_for_a_moment() -> None:
    site = Site()
    assert not site.refusals.latest
    site.add()
    assert site.refusals.latest
    assert site.is_refused()
    assert site.is_refused(body(b"model", b"\x12\x02zz"), LIMIT_S / 2, NOW + MOMENT_S / 2)
    assert not site.is_refused(now=NOW + MOMENT_S)
    # It is forgotten then.
    assert not site.is_refused()


def test_who_has_more_time_is_heard() -> None:
    site = Site()
    site.add()
    assert not site.is_refused(limit_s=LIMIT_S * 1.1)
    assert site.is_refused()


@pytest.mark.parametrize(
    "request_",
    [
        body(b"other"),
        b"\1" + body(b"model")[1:],
        body(b"model2"),
        b"",
        b"\0\0\0\0\0",
        b"\0\0\0\0\2\x12\0",
        body(b""),
    ],
)
def test_others_are_heard(request_: bytes) -> None:
    site = Site()
    site.add()
    assert not site.is_refused(request_)
    assert site.refusals.answer(b"/service/Other", body(b"model"), LIMIT_S, NOW) is None


def test_of_a_message_that_says_not_at_once_what_it_is_for_nothing_is_kept() -> None:
    refusals = Refusals()
    for message in (b"\x12\x03abc", b"\x0a\x85\x01", b"\x0a\0"):
        refusals.add(PATH, b"\0\0\0\0\0" + message, LIMIT_S, ANSWER, lambda: None, NOW)
    assert not refusals.latest


def test_made_up_names_do_not_fill_the_memory() -> None:
    site = Site()
    for number in range(10_000):
        site.add(b"%d" % number)
    assert len(site.refusals.latest) <= 256
    site.refusals.clear()
    assert not site.refusals.latest


def test_the_loop_rests_as_long_as_the_client_with_the_least_time_allows() -> None:
    site = Site()
    assert site.refusals.take_nap_s() == 0.0
    site.add(limit_s=-1.0)
    assert site.refusals.take_nap_s() == 0.0
    site.add(limit_s=10.0)
    assert site.refusals.take_nap_s() == pytest.approx(0.004)
    site.add()
    site.add(b"another", limit_s=10.0)
    assert site.refusals.take_nap_s() == pytest.approx(0.003)
    assert site.refusals.take_nap_s() == 0.0
    assert site.is_refused()
    assert site.refusals.take_nap_s() == pytest.approx(0.003)
