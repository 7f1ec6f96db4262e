"""One HTTP/2 server session over libnghttp2, without I/O: bytes in, calls out, bytes out.

A session knows neither sockets nor clocks. Whoever owns the connection feeds it what
arrives, sends what `data_to_send` gives, and closes the connection when the session wants
neither to read nor to write. Everything is called from one thread.

    session = Session(handler)
    transport.writelines(session.data_to_send())          # the server's SETTINGS
    ...
    try:
        session.feed(data)                                # calls the handler
    finally:
        transport.writelines(session.data_to_send())
    if not (session.want_read or session.want_write):
        transport.close()
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, final, type_check_only

from typing_extensions import Buffer

@type_check_only
class Handler(Protocol):
    """What a session calls, while it is fed or sends.

    A method may call any method of the session but `feed` and `data_to_send`. What it
    raises ends the session and comes out of the call of `feed` or `data_to_send` under way.
    """

    def on_request(self, stream_id: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A whole request is there. Its trailers, if it had any, are left out."""

    def on_overflow(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The body is, or is announced to be, larger than `max_body_bytes`; it is thrown away.

        The stream can be answered or reset. `on_request` is not called for it.
        """

    def on_close(self, stream_id: int, error_code: int) -> None:
        """The peer, or a broken rule, ended a stream before its whole answer was sent.

        Only for streams that `on_request`, `on_overflow` or `on_stream` told of, and not for
        those that the handler reset. Nothing can be sent on the stream any more.
        """

@type_check_only
class LongBodyHandler(Handler, Protocol):
    """A handler that knows what is in its bodies; it may lack this method and be a `Handler`."""

    def on_request(
        self, stream_id: int, headers: list[tuple[bytes, bytes]], body: bytes | memoryview
    ) -> None:
        """As for any handler. Where a byte was wanted aligned, the body may be a `memoryview`."""

    def on_long_body(self, headers: list[tuple[bytes, bytes]], head: memoryview) -> tuple[int, int]:
        """The first bytes of a body, 8 KiB or more, are there, for the time of the call.

        Returns:
            The size of the body, as far as `head` tells, and the byte of it that is to lie on
            a boundary of 64 bytes in memory. -1 each if there is none. Both may be wrong: it
            then only takes longer.
        """

@type_check_only
class StreamingHandler(Handler, Protocol):
    """A handler that reads some requests while they are being sent; see `streaming_paths`."""

    def on_stream(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The headers of a streamed request are there. No `on_request` follows."""

    def on_part(self, stream_id: int, part: bytes, ended: bool) -> None:
        """Another part of its body is there, empty at most if it is the last one.

        Not called any more once the answer is finished or the stream reset.
        """

@type_check_only
class PatientHandler(Handler, Protocol):
    """A handler that waits for the peer to have read the notice of `Session.shutdown_notice`."""

    def on_notice_read(self) -> None:
        """The peer has read it: what it sends from now on, it sends knowingly."""

class SessionError(Exception):
    """The peer broke the protocol, or nghttp2 ran out of memory; the text is nghttp2's."""

@final
class Session:
    """The server's end of one HTTP/2 connection."""

    def __init__(
        self,
        handler: Handler | LongBodyHandler | StreamingHandler | PatientHandler,
        *,
        max_concurrent_streams: int = 1000,
        max_header_bytes: int = 65_536,
        max_body_bytes: int = 2**31,
        window_bytes: int = 2**24,
        connection_window_bytes: int = 2**26,
        max_frame_bytes: int = 2**14,
        max_cancellations: int = 1000,
        streaming_paths: Iterable[bytes] = (),
    ) -> None:
        """Make a session that has its SETTINGS to send.

        Args:
            handler: Its methods are looked up here, once.
            max_concurrent_streams: More are refused, told to the peer or not.
            max_header_bytes: Of one request, each field counted with 32 bytes more; above it,
                and above 128 fields, the answer is 431 without a call of the handler. Four
                times as much ends the session.
            max_body_bytes: Of one request; see `Handler.on_overflow`.
            window_bytes: How much of one body may be on its way. It is a matter of speed, not
                of memory: the window opens again as the bytes arrive.
            connection_window_bytes: The same for all bodies together.
            max_frame_bytes: Largest frame the peer may send, 2**14 to 2**24 - 1.
            max_cancellations: So many more requests than are answered may the peer cancel;
                then the session ends (ENHANCE_YOUR_CALM).
            streaming_paths: Requests with one of these paths come by `on_stream` and `on_part`.
                `max_body_bytes` then holds for one part of a body.

        Raises:
            SessionError: nghttp2 refuses one of the numbers.
        """

    def feed(self, data: Buffer) -> None:
        """Read bytes of the peer, in any pieces, and call the handler.

        A peer that breaks the rules of the connection gets a GOAWAY, the next time data is
        sent; then the session wants nothing any more. Bytes after that are ignored.

        Raises:
            SessionError: The bytes are no HTTP/2 at all, or a flood. GOAWAY is to be sent.
            Exception: Whatever the handler raised. GOAWAY is to be sent.
        """

    def respond(
        self,
        stream_id: int,
        headers: Sequence[tuple[bytes, bytes]],
        body: Buffer | list[bytes | memoryview] | None = None,
        trailers: Sequence[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Give the whole answer. On a stream that is gone, do nothing.

        Args:
            stream_id: Of the request.
            headers: `:status` first, names in lower case, up to 128 fields of up to 60,000
                bytes together, each counted with 32 bytes more.
            body: Or a list of its pieces. Kept, not copied: it must not change before it is sent.
            trailers: Like `headers`, without `:status`.

        Raises:
            ValueError: The stream has an answer already, or there are too many fields.
            TypeError: A field is not a tuple of bytes, or the body not a buffer.
        """

    def start_response(self, stream_id: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Begin an answer whose body comes by `send` and whose end comes by `finish`."""

    def send(self, stream_id: int, data: Buffer) -> int:
        """Add to the body of an answer; the data is kept, not copied.

        Returns:
            The bytes of this answer that are not sent yet, 0 if the stream is gone.

        Raises:
            ValueError: The answer has not been started, or is finished.
        """

    def finish(self, stream_id: int, trailers: Sequence[tuple[bytes, bytes]] | None = None) -> None:
        """End an answer. Raises as `send` and `respond` do."""

    def reset(self, stream_id: int, error_code: int) -> None:
        """Break a stream off. Of its answer, what is not sent yet is not sent."""

    def shutdown_notice(self) -> None:
        """Ask the peer to open no more streams; those on their way are still served."""

    def goaway(self) -> None:
        """Take no more streams. The session is over when the open ones are."""

    def terminate(self, error_code: int) -> None:
        """Send GOAWAY and nothing after it."""

    def data_to_send(self, max_bytes: int = 2**20) -> list[bytes | memoryview]:
        """What can be sent now: nothing, if the windows of the peer are full.

        Args:
            max_bytes: Stop at the first frame that reaches it. While `want_write`, there is
                more: call again when the transport has got rid of this.

        Returns:
            Small frames joined, large ones as slices of the bodies they come from.

        Raises:
            Exception: Whatever `on_close` raised. The session is dead, its bytes are lost.
        """

    @property
    def want_read(self) -> bool:
        """Whether bytes of the peer still matter."""

    @property
    def want_write(self) -> bool:
        """Whether `data_to_send` has something to give."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes held of bodies whose end has not come."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes of the bodies of answers that `data_to_send` has not given out yet."""

    @property
    def open_streams(self) -> int:
        """Requests begun by the peer that are not both read and answered to their end."""
