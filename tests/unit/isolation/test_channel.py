import os
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from salver.errors import InternalError
from salver.isolation.channel import INLINE_BYTES, Channel
from salver.isolation.message import Kind, Message
from salver.isolation.shared_memory import KEPT_BYTES

LARGE = INLINE_BYTES // 4 + 1
"""Elements of four bytes that do not fit into a message."""


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def server(sockets: tuple[socket.socket, socket.socket]) -> Channel:
    return Channel(sockets[0], writable=False)


@pytest.fixture
def worker(sockets: tuple[socket.socket, socket.socket]) -> Channel:
    channel = Channel(sockets[1], writable=True)
    channel.limit(10.0)
    return channel


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def regions() -> set[str]:
    """Where shared memory is mapped in this process."""
    with open("/proc/self/maps") as maps:
        return {line.split()[4] for line in maps if "salver-tensors" in line}


def numbers(seed: int, count: int = LARGE) -> np.ndarray:
    return np.random.default_rng(seed).random(count).astype(np.float32)


def exchange(server: Channel, worker: Channel, x: np.ndarray) -> np.ndarray:
    """One run of a model that copies its input."""
    server.send(Message(Kind.RUN, 1, b"", [x]))
    worker.send(Message(Kind.RESULT, arrays=[worker.receive().arrays[0].copy()]))
    return server.receive().arrays[0]


@pytest.mark.parametrize("count", [0, 1, LARGE - 1, LARGE, 1_000_000])
def test_a_message_arrives_as_it_was_sent(server: Channel, worker: Channel, count: int) -> None:
    sent = [numbers(1, count), np.array([b"some", b"text"], object), np.array(7, np.int64)]

    server.send(Message(Kind.RUN, 3, b"names", sent))
    came = worker.receive()

    assert (came.kind, came.number, came.text) == (Kind.RUN, 3, b"names")
    for array, other in zip(came.arrays, sent, strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


def test_a_text_may_be_longer_than_the_socket_s_buffer(server: Channel, worker: Channel) -> None:
    text = os.urandom(3_000_000)
    sender = threading.Thread(target=server.send, args=(Message(Kind.START, text=text),))
    sender.start()
    came = worker.receive()
    sender.join()

    assert came.text == text


@pytest.mark.parametrize("count", [10, LARGE])
def test_a_model_may_write_to_its_inputs_and_nobody_to_outputs(
    server: Channel, worker: Channel, count: int
) -> None:
    server.send(Message(Kind.RUN, arrays=[numbers(1, count)]))
    (x,) = worker.receive().arrays
    x *= 2
    worker.send(Message(Kind.RESULT, arrays=[x]))
    (y,) = server.receive().arrays

    np.testing.assert_array_equal(y, numbers(1, count) * 2)
    assert not y.flags.writeable


def test_memory_is_used_again(server: Channel, worker: Channel) -> None:
    before = regions()
    for number in range(50):
        x = numbers(number, LARGE + number)
        np.testing.assert_array_equal(exchange(server, worker, x), x)
    files = open_files()
    for number in range(50):
        x = numbers(number, LARGE + number)
        np.testing.assert_array_equal(exchange(server, worker, x), x)

    assert open_files() == files
    # Each end maps those of both directions.
    assert len(regions() - before) <= 4


def test_what_is_kept_stays_as_it_is(server: Channel, worker: Channel) -> None:
    kept_by_worker, kept_by_server = [], []
    for number in range(10):
        server.send(Message(Kind.RUN, arrays=[numbers(number)]))
        (x,) = worker.receive().arrays
        kept_by_worker.append(x)
        worker.send(Message(Kind.RESULT, arrays=[x]))
        kept_by_server.append(server.receive().arrays[0][::2])

    for number in range(10):
        np.testing.assert_array_equal(kept_by_worker[number], numbers(number))
        np.testing.assert_array_equal(kept_by_server[number], numbers(number)[::2])


def test_what_is_too_large_to_keep_is_given_back(server: Channel, worker: Channel) -> None:
    before, files = regions(), open_files()
    x = np.arange(KEPT_BYTES // 8 + 1, dtype=np.int64)
    server.send(Message(Kind.RUN, arrays=[x]))
    (came,) = worker.receive().arrays

    np.testing.assert_array_equal(came, x)
    del came
    assert regions() == before
    assert open_files() == files


def test_what_cannot_be_sent_leaves_the_line_as_it_is(server: Channel, worker: Channel) -> None:
    with pytest.raises(InternalError):
        server.send(Message(Kind.RUN, arrays=[numbers(1), np.array([None])]))

    np.testing.assert_array_equal(exchange(server, worker, numbers(2)), numbers(2))


def test_a_silent_end_is_a_timeout_and_one_that_is_gone_an_end(
    server: Channel, worker: Channel
) -> None:
    server.limit(0.05)
    with pytest.raises(TimeoutError):
        server.receive()
    server.limit(None)
    worker.hang_up()

    with pytest.raises(EOFError):
        server.receive()
    with pytest.raises(EOFError):
        server.send(Message(Kind.RUN))


def test_what_was_said_before_the_end_is_heard(server: Channel, worker: Channel) -> None:
    worker.send(Message(Kind.FAILED, 5, b"not there"))
    worker.hang_up()

    assert server.receive().text == b"not there"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param((8).to_bytes(4, "little") + bytes(4), id="no whole head"),
        pytest.param((24).to_bytes(4, "little") + bytes([77]) + bytes(19), id="no such kind"),
        pytest.param(
            (24).to_bytes(4, "little") + bytes([4, 0, 1]) + bytes(13) + b"\1\0\0\0", id="no region"
        ),
        pytest.param(
            (24).to_bytes(4, "little") + bytes([4, 0, 254]) + bytes(13) + b"\1\0\0\0",
            id="no array where one is announced",
        ),
    ],
)
def test_nonsense_is_a_value_error(
    server: Channel, sockets: tuple[socket.socket, socket.socket], data: bytes
) -> None:
    sockets[1].sendall(data)

    with pytest.raises(ValueError, match=r"."):
        server.receive()


def test_memory_that_could_be_taken_away_is_refused(
    server: Channel, sockets: tuple[socket.socket, socket.socket]
) -> None:
    descriptor = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, 4096)
    files = open_files()
    data = (24).to_bytes(4, "little") + bytes([4, 0, 1]) + bytes(17)
    socket.send_fds(sockets[1], [data], [descriptor])

    with pytest.raises(ValueError, match="sealed"):
        server.receive()

    assert open_files() == files
    os.close(descriptor)
