"""How long what is read has waited in its socket."""

import socket

import pytest

from salver.transport.unread import Leftover, Turns, unread_bytes


def test_what_wakes_the_loop_has_not_waited() -> None:
    turns = Turns()
    assert turns.came_after(100.0) == 100.0
    turns.end(100.001)
    assert turns.came_after(200.0) == 200.0


def test_what_comes_while_others_are_handled_has_waited_since_they_were_read() -> None:
    turns = Turns()
    for now in (100.0, 100.05):
        # One long turn is not too much to do.
        assert turns.came_after(now) == now
        turns.end(now + 0.05)
    # This may have come right after the sockets were looked at the last time.
    assert turns.came_after(100.1001) == pytest.approx(100.05)
    assert turns.came_after(100.17) == pytest.approx(100.05)
    turns.end(100.18)
    assert turns.came_after(100.1801) == pytest.approx(100.1)
    turns.end(100.19)
    # After a rest nothing has waited, and after a short turn one long one says nothing again.
    assert turns.came_after(100.2) == 100.2
    turns.end(100.201)
    assert turns.came_after(100.201) == 100.201
    turns.end(100.3)
    assert turns.came_after(100.3) == 100.3


def test_what_was_left_in_a_socket_waits_on() -> None:
    leftover = Leftover(100.0, 100.1, 3000)
    assert leftover.came_after(1000) == 100.0
    leftover.look(100.2, 9000)
    assert leftover.came_after(1000) == 100.0
    leftover.look(100.3, 9000)
    # The last of these was there at the first look: the next were not.
    assert leftover.came_after(1000) == 100.0
    leftover.look(100.4, 9000)
    assert leftover.came_after(1000) == 100.1
    leftover.look(100.5, 20_000)
    for _ in range(8):
        assert leftover.came_after(1000) == 100.1
        leftover.look(100.6, 20_000)
    assert leftover.came_after(1000) == 100.4


def test_a_socket_tells_how_much_waits_in_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert unread_bytes(ours.fileno()) == 0
        theirs.sendall(bytes(300))
        assert unread_bytes(ours.fileno()) == 300
    with pytest.raises(OSError, match="descriptor"):
        unread_bytes(2**20)
    assert unread_bytes(-1) == 0
