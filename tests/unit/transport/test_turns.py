"""A connection with much to do leaves the others their turns."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from salver.transport import connection as connection_module
from salver.transport.connection import Connection, ConnectionOptions, Switchboard
from tests.fakes import turn_loop

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Engine:
    """Takes as long for what it is fed as the test says."""

    def __init__(self, site: "Site") -> None:
        self._site = site

    def feed(self, data: memoryview) -> None:
        self._site.fed.append(len(data))
        self._site.now += self._site.takes_s
        self._site.while_fed()

    def flush(self) -> None:
        pass


class Socket:
    """Stands for the transport."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.closing = False

    def pause_reading(self) -> None:
        assert not self.closing
        self.calls.append("pause")

    def resume_reading(self) -> None:
        assert not self.closing
        self.calls.append("resume")

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> None:
        return None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Site:
    """One connection that speaks HTTP/2, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.takes_s = 0.0
        self.fed: list[int] = []
        self.while_fed: Callable[[], None] = lambda: None
        monkeypatch.setattr(connection_module, "perf_counter", lambda: self.now)
        engine = cast("Any", lambda connection: Engine(self))
        self.board = Switchboard(ConnectionOptions(), cast("Any", None), {}, (engine, engine))
        self.socket = Socket()
        self.connection = Connection(self.board)
        self.connection.connection_made(cast("Any", self.socket))
        self.receive(PREFACE)
        self.fed.clear()

    def receive(self, data: bytes) -> None:
        room = self.connection.get_buffer(-1)
        room[: len(data)] = data
        self.connection.buffer_updated(len(data))

    def fill(self) -> int:
        """All that there is room for has come."""
        size = len(self.connection.get_buffer(-1))
        self.receive(bytes(size))
        return size


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


async def test_who_takes_long_for_a_full_buffer_reads_on_in_the_next_turn(site: Site) -> None:
    site.takes_s = 0.005
    size = site.fill()
    assert site.socket.calls == ["pause"]
    await turn_loop()
    assert site.socket.calls == ["pause", "resume"]
    assert site.fill() == size // 2


async def test_who_is_quick_or_has_read_all_there_was_goes_on_at_once(site: Site) -> None:
    site.fill()
    site.takes_s = 1.0
    site.receive(bytes(1000))
    assert site.socket.calls == []


async def test_who_does_not_take_answers_is_not_read_on_after_the_turn(site: Site) -> None:
    site.takes_s = 0.005
    site.fill()
    site.connection.pause_writing()
    await turn_loop()
    assert site.socket.calls == ["pause", "pause"]
    site.connection.resume_writing()
    assert site.socket.calls == ["pause", "pause", "resume"]


async def test_what_is_read_while_others_are_handled_may_have_waited_as_long(site: Site) -> None:
    others = Connection(site.board)
    others.connection_made(cast("Any", Socket()))
    await turn_loop()
    site.now += 1.0
    site.takes_s = 0.05
    for _ in range(2):
        await turn_loop()
        site.receive(b"slow")
        assert site.connection.unread_s == 0.0
    await turn_loop()
    site.takes_s = 0.0
    site.receive(b"quick")
    assert site.connection.unread_s == pytest.approx(0.05)
    site.takes_s = 0.05
    site.receive(b"slow")
    place = others.get_buffer(-1)
    place[: len(PREFACE)] = PREFACE
    others.buffer_updated(len(PREFACE))
    assert others.unread_s == pytest.approx(0.1)
    await turn_loop()
    site.receive(b"next")
    assert site.connection.unread_s == pytest.approx(0.1)


async def test_what_comes_after_a_rest_has_not_waited_whatever_came_of_the_last(
    site: Site,
) -> None:
    # No engine here asks to be flushed, as none does that waits for the rest of a request.
    site.takes_s = 0.05
    site.receive(b"part")
    await turn_loop()
    site.now += 10.0
    site.receive(b"rest")
    assert site.connection.unread_s == 0.0


async def test_a_connection_that_ends_meanwhile_is_left_alone(site: Site) -> None:
    site.takes_s = 0.005
    site.fill()
    site.socket.closing = True
    await turn_loop()
    assert site.socket.calls == ["pause"]


async def test_a_connection_that_its_engine_has_ended_is_left_alone(site: Site) -> None:
    def end() -> None:
        site.socket.closing = True

    site.takes_s, site.while_fed = 0.005, end
    site.fill()
    await turn_loop()
    assert site.socket.calls == []
