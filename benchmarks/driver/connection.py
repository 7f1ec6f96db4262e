"""One connection of the load generator: calls go out, and come back with a status.

Knows no clock and no socket: bytes in, bytes out. Windows for what comes are as large as
HTTP/2 allows, those of the server are kept to.
"""

from benchmarks.driver.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    GOAWAY,
    HEAD_BYTES,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    PADDED_OR_PRIORITY,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    UNKNOWN,
    WINDOW_UPDATE,
    HeaderBlocks,
    ProtocolProblem,
    StatusReader,
    frame,
    frame_head,
    read_settings,
    settings,
)

Finished = tuple[int, int, int, bytes | None]
"""Number of the call, gRPC's status, bytes of the answer, and those bytes if asked for."""

_REFUSED_STREAM = 7
UNAVAILABLE = 14
_WINDOW_GIVEN_BACK_AT = 2**30


class _Call:
    """What is known of a call that is under way."""

    __slots__ = ("kept", "number", "size", "window")

    def __init__(self, number: int, kept: list[bytes] | None, window: int) -> None:
        self.number = number
        self.kept = kept
        self.size = 0
        self.window = window


class _Upload:
    """A body, as far as it is not sent."""

    __slots__ = ("call", "rest", "stream")

    def __init__(self, stream: int, call: _Call, rest: memoryview) -> None:
        self.stream = stream
        self.call = call
        self.rest = rest


class Connection:
    """Call `begin`, send what `take_output` gives, pass what comes to `receive`."""

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        self.is_ready = False
        """Whether the server has said what it allows: before that, nothing may be begun."""
        self.max_streams = 100
        self._blocks = HeaderBlocks(headers)
        self._statuses = StatusReader()
        self._calls: dict[int, _Call] = {}
        self._next_stream = 1
        self._window = DEFAULT_WINDOW
        self._initial_window = DEFAULT_WINDOW
        self._max_frame = 2**14
        self._received_bytes = 0
        self._uploads: list[_Upload] = []
        self._rest = b""
        ours = {ENABLE_PUSH: 0, INITIAL_WINDOW_SIZE: LARGEST_WINDOW}
        more = (LARGEST_WINDOW - DEFAULT_WINDOW).to_bytes(4)
        opening = [PREFACE, frame(SETTINGS, 0, 0, settings(ours)), frame(WINDOW_UPDATE, 0, 0, more)]
        self._output: list[bytes | memoryview] = list(opening)

    @property
    def under_way(self) -> int:
        return len(self._calls)

    @property
    def has_room(self) -> bool:
        """Whether the server allows one more call."""
        return len(self._calls) < self.max_streams

    def begin(self, number: int, body: bytes, *, keep: bool = False) -> None:
        """Call with this body; `number` is what it is called when it is finished."""
        stream = self._next_stream
        self._next_stream += 2
        call = _Call(number, [] if keep else None, self._initial_window)
        self._calls[stream] = call
        block = self._blocks.next()
        name = stream.to_bytes(4)
        size = len(body)
        head = frame_head(HEADERS, END_HEADERS, len(block))
        if size <= self._window and size <= self._initial_window and size <= self._max_frame:
            self._window -= size
            data_head = frame_head(DATA, END_STREAM, size)
            self._output += (head, name, block, data_head, name, body)
            return
        self._output += (head, name, block)
        self._uploads.append(_Upload(stream, call, memoryview(body)))
        self._upload()

    def take_output(self) -> bytes:
        """What is to be sent next."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes) -> list[Finished]:
        """The calls that these bytes finish.

        Raises:
            ProtocolProblem: they are not what this client understands.
        """
        finished: list[Finished] = []
        if self._rest:
            data = self._rest + data
        start, size = 0, len(data)
        while size - start >= HEAD_BYTES:
            high, low, kind, flags, stream = FRAME_HEAD.unpack_from(data, start)
            begin = start + HEAD_BYTES
            end = begin + (high << 16 | low)
            if end > size:
                break
            start = end
            if kind == DATA:
                self._data(stream, flags, data[begin:end], finished)
            elif kind == HEADERS:
                self._headers(stream, flags, data[begin:end], finished)
            else:
                self._other(kind, flags, stream, data[begin:end], finished)
        self._rest = data[start:]
        return finished

    def _data(self, stream: int, flags: int, payload: bytes, finished: list[Finished]) -> None:
        self._received_bytes += len(payload)
        if self._received_bytes >= _WINDOW_GIVEN_BACK_AT:
            more = self._received_bytes.to_bytes(4)
            self._output.append(frame(WINDOW_UPDATE, 0, 0, more))
            self._received_bytes = 0
        if (call := self._calls.get(stream)) is None:
            return
        call.size += len(payload)
        if call.kept is not None:
            call.kept.append(payload)
        if flags & END_STREAM:
            self._finish(stream, UNKNOWN, finished)

    def _headers(self, stream: int, flags: int, block: bytes, finished: list[Finished]) -> None:
        if flags & PADDED_OR_PRIORITY or not flags & END_HEADERS:
            raise ProtocolProblem("headers are padded or in pieces, which this client cannot read")
        status = self._statuses.status(block)
        if flags & END_STREAM:
            self._finish(stream, UNKNOWN if status is None else status, finished)

    def _finish(self, stream: int, status: int, finished: list[Finished]) -> None:
        call = self._calls.pop(stream, None)
        if call is None:
            return
        kept = None if call.kept is None else b"".join(call.kept)
        finished.append((call.number, status, call.size, kept))
        if self._uploads:
            self._uploads = [upload for upload in self._uploads if upload.stream != stream]

    def _other(
        self, kind: int, flags: int, stream: int, payload: bytes, finished: list[Finished]
    ) -> None:
        if kind == WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload))
        elif kind == SETTINGS and not flags & ACK:
            self._apply(read_settings(payload))
        elif kind == PING and not flags & ACK:
            self._output.append(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            refused = int.from_bytes(payload) == _REFUSED_STREAM
            self._finish(stream, UNAVAILABLE if refused else UNKNOWN, finished)
        elif kind == GOAWAY:
            raise ProtocolProblem(f"the server ended the connection: {payload[8:]!r}")
        elif kind == CONTINUATION:
            raise ProtocolProblem("headers are in pieces, which this client cannot read")

    def _apply(self, theirs: dict[int, int]) -> None:
        if theirs.get(HEADER_TABLE_SIZE, 4096) < 4096:
            raise ProtocolProblem("the server has a smaller header table than this client needs")
        self.max_streams = theirs.get(MAX_CONCURRENT_STREAMS, 2**31)
        self._max_frame = theirs.get(MAX_FRAME_SIZE, self._max_frame)
        window = theirs.get(INITIAL_WINDOW_SIZE, self._initial_window)
        for call in self._calls.values():
            call.window += window - self._initial_window
        self._initial_window = window
        self._output.append(frame(SETTINGS, ACK, 0))
        self.is_ready = True
        self._upload()

    def _widen(self, stream: int, more: int) -> None:
        if not stream:
            self._window += more
        elif call := self._calls.get(stream):
            call.window += more
        self._upload()

    def _upload(self) -> None:
        """Send of the bodies, in order, what the windows allow."""
        waiting = []
        for upload in self._uploads:
            self._upload_part(upload)
            if upload.rest:
                waiting.append(upload)
        self._uploads = waiting

    def _upload_part(self, upload: _Upload) -> None:
        call, rest = upload.call, upload.rest
        name = upload.stream.to_bytes(4)
        while rest:
            size = min(len(rest), self._max_frame, self._window, call.window)
            if size <= 0:
                break
            flags = END_STREAM if size == len(rest) else 0
            self._output += (frame_head(DATA, flags, size), name, rest[:size])
            rest = rest[size:]
            self._window -= size
            call.window -= size
        upload.rest = rest
