"""`tensorflow.ProfilerService`: what `tf.profiler.experimental.client` asks of a server.

As in TensorFlow, a client that names a repository has the server write the trace there.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial

from salver.codecs.messages import WireMessage, message_class
from salver.errors import (
    InvalidArgument,
    PermissionDenied,
    ServingError,
    UnknownError,
    unexpected_error,
)
from salver.service.profiling import Profiling, TraceOptions
from salver.telemetry.trace_space import encode_trace
from salver.transport.exchange import Handler, Message, UnaryCall
from salver.transport.grpc_messages import framed, parsed

logger = logging.getLogger(__name__)

_DETAILED = 2
"""The level of monitoring that tells of each model."""
_MOST = 2
"""The level of tracing for those who name none."""


class ProfilerService:
    """The service. Loop only."""

    def __init__(self, profiling: Profiling) -> None:
        self._profiling = profiling
        self._tasks: set[asyncio.Task[None]] = set()
        self._going_on: set[asyncio.Event] = set()
        """What ends each call that is under way before its time."""
        self._sessions: dict[str, asyncio.Event] = {}
        """The same, of traces, by the name of their session."""

    def handlers(self) -> Mapping[bytes, Handler]:
        service = b"/tensorflow.ProfilerService/"
        return {
            service + b"Profile": self.profile,
            service + b"Terminate": self.terminate,
            service + b"Monitor": self.monitor,
        }

    def profile(self, call: UnaryCall, message: Message) -> None:
        request = parsed("tensorflow.ProfileRequest", message)
        # A fault in it must not come to light only when the trace is over.
        path = trace_path(request) if request.repository_root else None
        self._begin(call, lambda ended: self._profile(request, path, ended))

    def terminate(self, call: UnaryCall, message: Message) -> None:
        request = parsed("tensorflow.TerminateRequest", message)
        ended = self._sessions.get(request.session_id)
        if ended is not None:
            ended.set()
        call.succeed(framed(message_class("tensorflow.TerminateResponse")()))

    def monitor(self, call: UnaryCall, message: Message) -> None:
        request = parsed("tensorflow.MonitorRequest", message)
        self._begin(call, lambda ended: self._monitor(request, ended))

    def stop(self) -> None:
        """End what is under way, with what it has by now."""
        for ended in self._going_on:
            ended.set()

    def _begin(
        self, call: UnaryCall, work: Callable[[asyncio.Event], Awaitable[WireMessage]]
    ) -> None:
        """Answer `call` with what `work` makes in its time; it is told to end by an event."""

        async def answer() -> None:
            ended = asyncio.Event()
            self._going_on.add(ended)
            try:
                call.succeed(framed(await work(ended)))
            except ServingError as error:
                call.fail(error)
            except Exception:
                logger.exception("Unexpected error in the profiler")
                call.fail(unexpected_error())
            finally:
                self._going_on.discard(ended)

        task = asyncio.get_running_loop().create_task(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        call.cancel = partial(_cancel, task)

    async def _profile(
        self, request: WireMessage, path: str | None, ended: asyncio.Event
    ) -> WireMessage:
        options = request.opts
        duration_ms = options.duration_ms or request.duration_ms
        session = request.session_id
        self._sessions.setdefault(session, ended)
        try:
            trace = await self._profiling.trace(
                TraceOptions(
                    duration_ms / 1e3,
                    options.start_timestamp_ns,
                    options.host_tracer_level if request.HasField("opts") else _MOST,
                    request.max_events,
                ),
                ended,
            )
        finally:
            if self._sessions.get(session) is ended:
                del self._sessions[session]
        response = message_class("tensorflow.ProfileResponse")()
        response.empty_trace = trace.is_empty
        if trace.is_empty:
            return response
        encoded = await asyncio.to_thread(encode_trace, trace)
        if request.emit_xspace or path is None:
            response.xspace.ParseFromString(encoded)
        if path is not None:
            await asyncio.to_thread(_save, path, encoded)
            logger.info("The trace is in %s", path)
        return response

    async def _monitor(self, request: WireMessage, ended: asyncio.Event) -> WireMessage:
        response = message_class("tensorflow.MonitorResponse")()
        response.data = await self._profiling.monitor(
            request.duration_ms / 1e3,
            request.timestamp,
            request.monitoring_level >= _DETAILED,
            ended,
        )
        return response


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def trace_path(request: WireMessage) -> str:
    """Where a client wants its trace: always a file of that kind, in a folder of that session.

    Raises:
        InvalidArgument: not on this machine, or beyond the folder that it names.
    """
    root = request.repository_root
    session = request.session_id or f"{datetime.now():%Y_%m_%d_%H_%M_%S}"
    host = (request.host_name or socket.gethostname()).replace(":", "_")
    if not os.path.isabs(root) or "\0" in root:
        raise InvalidArgument(
            f"A trace is written to a local folder, with its absolute path; got {root!r}"
        )
    for name in (session, host):
        if "/" in name or "\0" in name or name in (".", ".."):
            raise InvalidArgument(f"This is no name of a folder or a file: {name!r}")
    return os.path.join(root, session, f"{host}.xplane.pb")


def _save(path: str, content: bytes) -> None:
    """Write the file, and the folders that are missing.

    Raises:
        PermissionDenied: that is not allowed.
        UnknownError: it is not possible for another reason.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, flags, 0o666), "wb") as file:
            file.write(content)
    except OSError as error:
        kind = PermissionDenied if isinstance(error, PermissionError) else UnknownError
        raise kind(f"{path}; {error.strerror}") from error
