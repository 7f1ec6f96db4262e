"""The real server as a process of its own, with TensorFlow, over sockets."""

import contextlib
import socket
from collections import deque
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import psutil

from tests import saved_models
from tests.fuzz import seeds, structure
from tests.fuzz.border import Plan, require
from tests.fuzz.site import GOOD_REQUEST
from tests.fuzz.wire_borders import PREFACE, GrpcBorder, Http1Border, conversations, one_call
from tests.running import RunningServer, write_config

MODELS = ("echo", "half_plus_two_2", "lookup", "several")
LIMIT_S = 20.0
_OPEN = 32
_GOOD_EVERY = 40
_RECEIVED_AT_ONCE = 1 << 20
_WARM_AFTER = 2000
_GROWTH_BYTES = 128 << 20


def _structured(random: Random, data: bytes, other: bytes) -> bytes:
    if data.startswith(PREFACE):
        return structure.http2(random, data, other if other.startswith(PREFACE) else data)
    if data.startswith(b"/"):
        head, _, message = data.partition(b"\n\n")
        return head + b"\n\n" + structure.protobuf(random, message, other.partition(b"\n\n")[2])
    head, _, body = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + structure.json(random, body, other.partition(b"\r\n\r\n")[2])


def _rest(body: bytes) -> bytes:
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


# The reload of a config takes models away, which is another matter: see `site.py`.
_CALLS = [(path, message) for path, message in seeds.calls() if b"Reload" not in path]
_BODIES = [*seeds.JSON, *list(seeds.recorded_bodies())[:200]]


class ServerBorder:
    """Many clients of one server; every few of them one that must get a right answer."""

    plan = Plan(
        [
            *Http1Border.plan.seeds,
            *conversations(_CALLS),
            *(path + b"\n\n" + message for path, message in _CALLS),
            *map(_rest, _BODIES),
        ],
        seeds.HTTP1_TOKENS,
        _structured,
    )

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        folder = Path(self._folder.name)
        saved_models.export(MODELS, folder)
        bodies = [
            f'name: "{"m" if name == "half_plus_two_2" else name}" '
            f'base_path: "{folder / name}" model_platform: "tensorflow"'
            for name in MODELS
        ]
        self._server = RunningServer(
            write_config(folder / "models.txt", bodies),
            "--max_request_bytes=1000000",
            "--stall_timeout_s=5",
        )
        self._server.__enter__()
        self._process = psutil.Process(self._server.pid)
        self._open: deque[socket.socket] = deque()
        self._sent = 0
        self._warm_bytes = 0
        self.recent: deque[bytes] = deque(maxlen=3 * _OPEN)
        """The last inputs: one of them has done it, if the process is gone."""

    def check(self, data: bytes) -> str:
        if b"Reload" in data[:200] or GrpcBorder.is_large(data):
            return ""
        if data.startswith(b"/"):
            head, _, message = data.partition(b"\n\n")
            path, *lines = head.split(b"\n")
            data = one_call(path, lines, message)
        self.recent.append(data)
        port = (self._server.grpc_port, self._server.rest_port)[len(data) % 2]
        client = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        client.setblocking(False)
        self._open.append(client)
        self._sent += 1
        if len(self._open) > _OPEN:
            self._end(self._open.popleft())
        if self._sent % _GOOD_EVERY == 0:
            self._require_good_answer()
        if self._sent == _WARM_AFTER:
            self._warm_bytes = self._process.memory_info().rss
        return ""

    def _end(self, client: socket.socket) -> None:
        answer = b""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            answer = client.recv(_RECEIVED_AT_ONCE)
        client.close()
        require(not answer.startswith(b"HTTP/1.1 500"), repr(answer))

    def _require_good_answer(self) -> None:
        require(self._process.is_running(), "the server has ended")
        with socket.create_connection(("127.0.0.1", self._server.rest_port), LIMIT_S) as client:
            client.sendall(GOOD_REQUEST)
            answer = b""
            while piece := client.recv(_RECEIVED_AT_ONCE):
                answer += piece
        require(b'"predictions": [2.5' in answer, f"a good request: {answer!r}")

    def close(self) -> None:
        while self._open:
            self._end(self._open.popleft())
        self._require_good_answer()
        resident = self._process.memory_info().rss
        self._server.__exit__()
        unexpected = [line for line in self._server.lines if _is_unexpected(line)]
        require(not unexpected, "\n".join(unexpected[:20]))
        grown = resident - self._warm_bytes
        require(not self._warm_bytes or grown < _GROWTH_BYTES, f"the server grew by {grown} bytes")
        self._folder.cleanup()


def _is_unexpected(line: str) -> bool:
    return "Unexpected error" in line or "Traceback" in line
