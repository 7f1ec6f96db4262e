"""One server after another behind the same ports and the same UNIX socket, under load."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from signal import SIGTERM
from typing import Self

import pytest
import requests

from tests.grpc_client import GrpcClient
from tests.process.load import LIMIT_S
from tests.running import RunningServer
from tests.served_models import VersionedModel

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
BODY = b'{"instances": [2.0]}'
POST = (
    b"POST /v1/models/default:predict HTTP/1.1\r\nHost: server\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
)
Ask = Callable[[], float]


class Callers:
    """Callers of every kind that never stop: whoever suffers a failure says so, and ends."""

    def __init__(self, *kinds: Callable[[ExitStack], Ask]) -> None:
        self.failures: list[str] = []
        self.answers: list[Counter[float]] = [Counter() for _ in kinds]
        self._ending = threading.Event()
        self._answered = threading.Condition()
        self._threads = [
            threading.Thread(target=self._call, args=(number, kind))
            for number, kind in enumerate(kinds)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def wait_for_all(self, answer: float, times: int = 20) -> None:
        """Wait until each caller was given this answer so many times more."""
        with self._answered:
            wanted = [answers[answer] + times for answers in self.answers]
            arrived = self._answered.wait_for(
                lambda: (
                    self.failures
                    or all(a[answer] >= w for a, w in zip(self.answers, wanted, strict=True))
                ),
                LIMIT_S,
            )
        assert arrived, f"not everybody was answered {answer}: {self.answers}"
        assert self.failures == []

    def _call(self, number: int, kind: Callable[[ExitStack], Ask]) -> None:
        with ExitStack() as stack:
            ask = kind(stack)
            while not self._ending.is_set():
                try:
                    answer = ask()
                except Exception as failure:  # noqa: BLE001 - whatever a caller suffers is counted
                    with self._answered:
                        self.failures.append(f"caller {number}: {failure!r}")
                        self._answered.notify_all()
                    return
                with self._answered:
                    self.answers[number][answer] += 1
                    self._answered.notify_all()


def grpc_channel(target: str, stack: ExitStack) -> Ask:
    """One channel for all calls."""
    client = stack.enter_context(GrpcClient(target, options=OWN_CONNECTION))
    return partial(client.answer, "default")


def grpc_channels(target: str, stack: ExitStack) -> Ask:
    """A channel for each call."""

    def ask() -> float:
        with GrpcClient(target, options=OWN_CONNECTION) as client:
            return client.answer("default")

    return ask


def kept_alive(url: str, stack: ExitStack) -> Ask:
    """HTTP/1.1 on a connection that is kept as long as the server keeps it; nothing is retried."""
    session = stack.enter_context(requests.Session())

    def ask() -> float:
        response = session.post(f"{url}/v1/models/default:predict", data=BODY, timeout=LIMIT_S)
        assert response.status_code == 200, response.text
        (answer,) = response.json()["predictions"]
        return float(answer)

    return ask


def new_connections(connect: Callable[[], socket.socket], stack: ExitStack) -> Ask:
    """HTTP/1.1 on a connection for each request."""

    def ask() -> float:
        with connect() as connection:
            connection.sendall(POST)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        return float(body.split(b"[")[1].split(b"]")[0])

    return ask


def connect_unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(LIMIT_S)
    connection.connect(str(path))
    return connection


class Instances:
    """Servers that come one after the other, each with a model that answers its number."""

    def __init__(self, versioned: Callable[[str], VersionedModel], *flags: str) -> None:
        self.current: RunningServer | None = None
        self.number = 0
        self._versioned = versioned
        self._flags = flags

    def replace(self, watching: Callable[[float], None] = lambda answer: None) -> None:
        """Start the next server, and end the one before once the new one serves."""
        before, self.number = self.current, self.number + 1
        model = self._versioned(f"model {self.number}")
        model.add(1, answer=self.number)
        new = RunningServer("--reuse_port", f"--model_base_path={model.base_path}", *self._flags)
        if before is not None:
            new.grpc_port, new.rest_port = before.grpc_port, before.rest_port
        self.current = new
        new.launch()
        try:
            new.wait_for_line("Exporting HTTP/REST API")
            if before is not None:
                before.send_signal(SIGTERM)
                assert before.wait_for_exit() == 0
            watching(float(self.number))
        finally:
            if before is not None:
                before.kill()


@pytest.fixture
def instances(
    versioned: Callable[[str], VersionedModel], tmp_path: Path
) -> Iterator[Callable[..., Instances]]:
    made: list[Instances] = []

    def make(*flags: str) -> Instances:
        made.append(Instances(versioned, *flags))
        return made[-1]

    yield make
    for one in made:
        if one.current is not None:
            one.current.kill()


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0, 0.3])
def test_not_one_request_fails_while_servers_are_replaced(
    instances: Callable[..., Instances], tmp_path: Path, delay_s: float
) -> None:
    path = tmp_path / "server.sock"
    servers = instances(f"--grpc_socket_path={path}", f"--drain_delay_s={delay_s}")
    servers.replace()
    server = servers.current
    assert server is not None
    address = ("127.0.0.1", server.rest_port)
    over_tcp = partial(socket.create_connection, address, LIMIT_S)
    kinds = [
        partial(grpc_channel, server.grpc_address),
        partial(grpc_channels, server.grpc_address),
        partial(grpc_channel, f"unix:{path}"),
        partial(grpc_channels, f"unix:{path}"),
        partial(kept_alive, server.url),
        partial(kept_alive, f"http://{server.grpc_address}"),
        partial(new_connections, over_tcp),
        partial(new_connections, over_tcp),
        partial(new_connections, partial(connect_unix, path)),
        partial(new_connections, partial(connect_unix, path)),
    ]
    with Callers(*kinds) as callers:
        callers.wait_for_all(1.0)
        for _ in range(4):
            servers.replace(callers.wait_for_all)
        assert callers.failures == []
    assert path.is_socket()
