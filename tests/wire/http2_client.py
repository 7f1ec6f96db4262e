"""The other side of a session: the `h2` library as client, raw frames, and a handler that notes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings

from salver._http2.session import Session

Headers = list[tuple[bytes, bytes]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4

REQUEST: Headers = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/tensorflow.serving.PredictionService/Predict"),
    (b":authority", b"127.0.0.1:8500"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-python/1.70.0 grpc-c/45.0.0 (linux; chttp2)"),
]
STATUS = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS = ((b"grpc-status", b"0"), (b"grpc-message", b""))


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big")
    return head + payload


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each whole frame in the bytes."""
    found = []
    while data:
        length = int.from_bytes(data[:3], "big")
        stream_id = int.from_bytes(data[5:9], "big")
        found.append((data[3], data[4], stream_id, data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def goaway_code(data: bytes) -> int | None:
    """The error code of the GOAWAY in the bytes."""
    codes = [
        int.from_bytes(part[4:8], "big") for kind, _, _, part in frames(data) if kind == GOAWAY
    ]
    return codes[0] if codes else None


def reset_codes(data: bytes) -> dict[int, int]:
    """The error codes of the RST_STREAM frames in the bytes, by stream."""
    return {
        stream_id: int.from_bytes(payload, "big")
        for kind, _, stream_id, payload in frames(data)
        if kind == RST_STREAM
    }


@dataclass
class Notes:
    """A handler that notes what it is told, and answers if it is given a way to."""

    answer: Callable[[Session, int, Headers, bytes], None] | None = None
    overflow: Callable[[Session, int], None] | None = None
    requests: dict[int, tuple[Headers, bytes]] = field(default_factory=dict)
    overflows: list[int] = field(default_factory=list)
    closed: dict[int, int] = field(default_factory=dict)
    session: Session | None = None

    def on_request(self, stream_id: int, headers: Headers, body: bytes) -> None:
        self.requests[stream_id] = (headers, body)
        if self.answer and self.session:
            self.answer(self.session, stream_id, headers, body)

    def on_overflow(self, stream_id: int, headers: Headers) -> None:
        self.overflows.append(stream_id)
        if self.overflow and self.session:
            self.overflow(self.session, stream_id)

    def on_close(self, stream_id: int, error_code: int) -> None:
        self.closed[stream_id] = error_code


@dataclass
class Response:
    headers: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: Headers = field(default_factory=list)
    ended: bool = False
    reset: int | None = None


class Client:
    """An `h2` client wired to a session; `piece` cuts what it sends."""

    def __init__(
        self,
        session: Session,
        *,
        piece: int = 2**20,
        window: int = 65_535,
        max_bytes: int = 2**20,
    ) -> None:
        self.session = session
        self.piece = piece
        self.max_bytes = max_bytes
        self.responses: dict[int, Response] = {}
        self.events: list[Event] = []
        self.goaway: int | None = None
        self.connection = H2Connection(
            H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False)
        )
        self.connection.local_settings = Settings(
            initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window}
        )
        self.connection.initiate_connection()
        if window > 65_535:
            self.connection.increment_flow_control_window(window - 65_535)
        self._unsent: dict[int, tuple[memoryview, bool]] = {}

    def request(
        self, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = (), *, end: bool = True
    ) -> int:
        """Send a request as far as the windows allow; `exchange` sends the rest."""
        stream_id = self.connection.get_next_available_stream_id()
        self.responses[stream_id] = Response()
        fields = [*REQUEST, *headers]
        self.connection.send_headers(stream_id, fields, end_stream=end and not body)
        if body:
            self._unsent[stream_id] = (memoryview(body), end)
        return stream_id

    def get(self, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
        """Send a request and exchange bytes until nothing moves."""
        stream_id = self.request(body, headers)
        self.exchange()
        return self.responses[stream_id]

    def exchange(self) -> None:
        """Carry bytes both ways until neither side has any."""
        moved = True
        while moved:
            sent = self.take()
            for start in range(0, len(sent), self.piece):
                self.session.feed(sent[start : start + self.piece])
            received = b"".join(self.session.data_to_send(self.max_bytes))
            moved = bool(sent or received)
            for event in self.connection.receive_data(received):
                self._note(event)

    def take(self) -> bytes:
        """What the client can send now."""
        for stream_id, (body, end) in list(self._unsent.items()):
            room = self.connection.local_flow_control_window(stream_id)
            while body and room:
                size = min(room, len(body), self.connection.max_outbound_frame_size)
                last = end and size == len(body)
                self.connection.send_data(stream_id, bytes(body[:size]), end_stream=last)
                body, room = body[size:], room - size
            self._unsent[stream_id] = (body, end)
            if not body:
                del self._unsent[stream_id]
        return self.connection.data_to_send()

    def _note(self, event: Event) -> None:
        self.events.append(event)
        match event:
            case ResponseReceived(stream_id=int(stream_id), headers=list(headers)):
                self.responses[stream_id].headers = [(bytes(k), bytes(v)) for k, v in headers]
            case DataReceived(stream_id=int(stream_id), data=bytes(data)):
                self.responses[stream_id].body += data
                if event.flow_controlled_length:
                    self.connection.acknowledge_received_data(
                        event.flow_controlled_length, stream_id
                    )
            case TrailersReceived(stream_id=int(stream_id), headers=list(headers)):
                self.responses[stream_id].trailers = [(bytes(k), bytes(v)) for k, v in headers]
            case StreamEnded(stream_id=int(stream_id)):
                self.responses[stream_id].ended = True
            case StreamReset(stream_id=int(stream_id)):
                self.responses[stream_id].reset = int(event.error_code or 0)
                self._unsent.pop(stream_id, None)
            case ConnectionTerminated():
                self.goaway = int(event.error_code or 0)


def wants(session: Session) -> tuple[bool, bool]:
    """Whether a session wants to read, and to write."""
    return session.want_read, session.want_write


def echo(session: Session, stream_id: int, _: Headers, body: bytes) -> None:
    session.respond(stream_id, STATUS, body, TRAILERS)


def serve(
    notes: Notes | None = None,
    *,
    piece: int = 2**20,
    window: int = 65_535,
    max_bytes: int = 2**20,
    **options: Any,
) -> tuple[Client, Notes]:
    """A session with its handler, and a client that has shaken hands with it."""
    notes = notes or Notes(answer=echo)
    notes.session = Session(notes, **options)
    client = Client(notes.session, piece=piece, window=window, max_bytes=max_bytes)
    client.exchange()
    return client, notes
