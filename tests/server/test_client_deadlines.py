"""Deadlines over REST, where the server is slow in other ways than by thinking."""

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from salver.client import AsyncClient, Client, Retries
from salver.errors import DeadlineExceeded, InvalidArgument, ServingError
from tests.answering import AnsweringServer, Told

ONCE = Retries(attempts=1)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


@contextmanager
def answering_with(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that does something with each connection, until the end; its URL."""
    ended = threading.Event()
    threads = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return

            def run(connection: socket.socket = connection) -> None:
                # The client may be gone.
                with connection, suppress(OSError):
                    answer(connection, ended)

            threads.append(threading.Thread(target=run))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            server.join()
            for thread in threads:
                thread.join()


def trickling(connection: socket.socket, ended: threading.Event) -> None:
    """Half of the time passes before the answer begins, and it never ends."""
    connection.recv(1 << 16)
    if not ended.wait(0.5):
        connection.sendall(HEAD % 100 + b"{")
        ended.wait()


def reading_slowly(connection: socket.socket, ended: threading.Event) -> None:
    while connection.recv(1 << 16) and not ended.wait(0.01):
        pass


def test_an_answer_that_stops_is_not_waited_for_anew() -> None:
    with answering_with(trickling) as url, Client(url, retries=ONCE) as client:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.status("m", timeout=1.0)
        # Each step may not take as long as all of them.
        assert time.monotonic() - began < 1.45


@pytest.mark.parametrize("megabytes", [0, 64])
def test_time_counts_while_a_request_is_sent(megabytes: int) -> None:
    """At 6 MB a second, these take far longer than there is time."""
    texts = ["a" * (megabytes << 20), "b"]
    with answering_with(reading_slowly) as url, Client(url, retries=ONCE) as client:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.classify("m", [{"text": texts}], timeout=1.0)
        assert time.monotonic() - began < 5.0


def test_a_large_request_arrives_as_it_was_sent() -> None:
    server = AnsweringServer(lambda asked: Told(0), lambda asked: Told(200, b'{"results": []}'))
    with server, Client(server.url) as client:
        client.classify("m", [{"text": "abc" * 300_000}])
    (asked,) = server.asked
    assert asked.headers["content-length"] == str(len(asked.body))
    assert "transfer-encoding" not in asked.headers
    assert len(asked.body) > 1_000_000


async def test_long_and_odd_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnsweringServer(lambda asked: Told(0), lambda asked: Told(200, b"{}")) as server:
        for address in (server.url, server.grpc_address):
            for limit in (1e8, 1e12, 1e300, math.inf):
                with Client(address, timeout=limit) as client:
                    assert client.status("m") == ()
                    assert client.status("m", timeout=limit) == ()
                async with AsyncClient(address, timeout=limit) as awaited:
                    assert await awaited.status("m") == ()
            with pytest.raises(InvalidArgument, match="timeout"):
                Client(address, timeout=math.nan)


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_is_nested_without_end_is_the_servers_fault(status: int) -> None:
    body = b"[" * 200_000
    server = AnsweringServer(lambda asked: Told(0), lambda asked: Told(status, body))
    with server, Client(server.url) as client:
        for call in (
            lambda: client.status("m"),
            lambda: client.metadata("m"),
            lambda: client.predict("m", {"x": np.zeros(1)}),
            lambda: client.classify("m", [{}]),
        ):
            with pytest.raises(ServingError):
                call()
