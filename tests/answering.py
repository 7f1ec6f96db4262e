"""A server that answers as a test tells it, over gRPC and REST, and remembers what it was asked."""

import http.server
import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Self

import grpc

from salver.errors import Code

ON_ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True)
class Asked:
    """One request, of either protocol."""

    path: str
    body: bytes
    headers: dict[str, str]
    """Names in lower case."""


@dataclass(frozen=True)
class Told:
    """One answer: a code of gRPC or a status of REST, and the message or the details."""

    code: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    """Of REST."""


Answers = Callable[[Asked], Told]


class AnsweringServer:
    """Both protocols on free ports, for a `with` block."""

    def __init__(self, over_grpc: Answers, over_rest: Answers) -> None:
        self.asked: list[Asked] = []
        self._answers = over_grpc
        self._grpc = grpc.server(
            futures.ThreadPoolExecutor(4),
            [_AnyMethod(self._answer_grpc)],
            # Other servers would take the port of one that has ended.
            options=[("grpc.so_reuseport", 0)],
        )
        self.grpc_address = f"127.0.0.1:{self._grpc.add_insecure_port(ON_ANY_PORT)}"
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # An answer in one piece: in two, the second would wait for the first to be confirmed.
            wbufsize = -1

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked.append(Asked(self.path, body, headers))
                told = over_rest(asked[-1])
                self.send_response(told.code)
                self.send_header("content-length", str(len(told.body)))
                for header in told.headers:
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(told.body)

            do_GET = do_POST = answer  # noqa: N815 - the names that the library calls

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nobody reads it."""

        self._rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._rest.server_port}"
        self._thread = threading.Thread(target=self._rest.serve_forever, args=(0.05,))

    def _answer_grpc(self, path: str, message: bytes, context: Any) -> bytes:
        headers = dict(context.invocation_metadata())
        self.asked.append(Asked(path, message, headers))
        told = self._answers(self.asked[-1])
        if told.code != Code.OK:
            status = next(status for status in grpc.StatusCode if status.value[0] == told.code)
            context.abort(status, told.body.decode())
        return told.body

    def __enter__(self) -> Self:
        self._grpc.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(None).wait()
        self._rest.shutdown()
        self._thread.join()
        self._rest.server_close()


class _AnyMethod(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio has no types
    def __init__(self, answer: Callable[[str, bytes, Any], bytes]) -> None:
        self._answer = answer

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            lambda message, context: self._answer(details.method, message, context)
        )
