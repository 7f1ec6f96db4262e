# distutils: libraries = nghttp2
# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""One HTTP/2 server session over libnghttp2, without I/O: bytes in, calls out, bytes out.

What it promises is written in `session.pyi`. Its one rule: no exception crosses
nghttp2's stack. A callback that fails keeps its exception and tells nghttp2 to stop;
`feed` or `data_to_send` raises it where the caller can see it.
"""

cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcpy

from salver._http2 cimport cnghttp2 as c
from salver._http2.header cimport MAX_FIELDS, HeaderBlock, pack
from salver._http2.stream cimport Stream

cdef enum:
    MAX_EMPTY_FRAMES = 1024  # of DATA, in one request
    MAX_UNREAD_FRAMES = 10_000  # beside answers, waiting for a peer that does not read
    LONG_REQUEST_BYTES = 1 << 13  # in its first piece
    LONG_ANSWER_BYTES = 1 << 14
    BUFFER_BYTES = 1 << 15
    SLICE_BYTES = 1 << 13  # from here on a slice costs less than a copy
    FRAME_HEADER_BYTES = 9

cdef tuple HEADERS_TOO_LARGE = ((b":status", b"431"),)
cdef c.nghttp2_extpri IN_TURNS = c.nghttp2_extpri(c.NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1)


class SessionError(Exception):
    pass


@cython.final
cdef class Session:
    cdef c.nghttp2_session* session
    cdef object on_request, on_overflow, on_close, on_long_body, on_stream, on_part
    cdef object on_notice_read
    cdef object failure  # of a callback, on its way to the caller
    cdef HeaderBlock block
    cdef dict streams
    cdef bint running, broken
    cdef Py_ssize_t max_body_bytes, buffered, unsent
    cdef int max_cancellations, patience
    cdef bint notified, pinged  # a notice is to be sent; a ping is, after it
    cdef size_t max_unread_frames
    # The running call of `data_to_send`.
    cdef list chunks
    cdef uint8_t* buffer
    cdef Py_ssize_t filled, taken, max_bytes

    def __cinit__(
        self, handler, *, uint32_t max_concurrent_streams=1000, Py_ssize_t max_header_bytes=65536,
        Py_ssize_t max_body_bytes=2**31, uint32_t window_bytes=2**24,
        int32_t connection_window_bytes=2**26, uint32_t max_frame_bytes=2**14,
        int max_cancellations=1000, streaming_paths=(),
    ):
        self.on_request = handler.on_request
        self.on_overflow = handler.on_overflow
        self.on_close = handler.on_close
        self.on_long_body = getattr(handler, "on_long_body", None)
        self.on_notice_read = getattr(handler, "on_notice_read", None)
        if streaming_paths:
            self.on_stream = handler.on_stream
            self.on_part = handler.on_part
        self.streams = {}
        self.block = HeaderBlock()
        self.block.max_size = max_header_bytes
        self.block.streaming_paths = frozenset(streaming_paths)
        self.max_body_bytes = max_body_bytes
        self.max_cancellations = self.patience = max_cancellations
        self.max_unread_frames = 2 * max_concurrent_streams + MAX_UNREAD_FRAMES
        create(self)
        # Without the priority tree of RFC 7540 a PRIORITY frame leaves nothing behind.
        cdef c.nghttp2_settings_entry* settings = [
            c.nghttp2_settings_entry(c.NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),
            c.nghttp2_settings_entry(
                c.NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_concurrent_streams),
            c.nghttp2_settings_entry(c.NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, max_header_bytes),
            c.nghttp2_settings_entry(c.NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window_bytes),
            c.nghttp2_settings_entry(c.NGHTTP2_SETTINGS_MAX_FRAME_SIZE, max_frame_bytes),
        ]
        check(c.nghttp2_submit_settings(self.session, c.NGHTTP2_FLAG_NONE, settings, 5))
        check(c.nghttp2_session_set_local_window_size(
            self.session, c.NGHTTP2_FLAG_NONE, 0, connection_window_bytes))

    def __dealloc__(self):
        c.nghttp2_session_del(self.session)

    def feed(self, data):
        cdef Py_buffer view
        cdef Py_ssize_t code
        self.enter()
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            code = c.nghttp2_session_mem_recv(self.session, <uint8_t*>view.buf, view.len)
            PyBuffer_Release(&view)
        finally:
            self.running = False
        if c.nghttp2_session_get_outbound_queue_size(self.session) > self.max_unread_frames:
            code = c.NGHTTP2_ERR_FLOODED
        if code < 0:
            self.fail(code)

    def data_to_send(self, Py_ssize_t max_bytes=2**20):
        cdef uint8_t[BUFFER_BYTES] buffer
        cdef const uint8_t* data
        cdef Py_ssize_t size = 0
        cdef list chunks = []
        self.enter()
        self.chunks = chunks
        self.buffer = buffer
        self.filled = self.taken = 0
        self.max_bytes = max_bytes
        try:
            while self.taken < max_bytes and not self.broken:
                size = c.nghttp2_session_mem_send(self.session, &data)
                if size <= 0:
                    break
                self.put(data, size)
            self.flush()
        finally:
            self.running = False
            self.chunks = None
        if size < 0:
            # nghttp2 stopped inside a frame: the peer would misread all that follows.
            self.broken = True
            self.fail(size)
        return chunks

    def respond(self, int32_t stream_id, headers, body=None, trailers=None):
        cdef Stream stream = self.find(stream_id)
        if stream is not None:
            self.answer(stream, headers, b"" if body is None else body, trailers or (), True)

    def start_response(self, int32_t stream_id, headers):
        cdef Stream stream = self.find(stream_id)
        if stream is not None:
            self.answer(stream, headers, b"", (), False)

    def send(self, int32_t stream_id, data):
        cdef Stream stream = self.find_started(stream_id)
        if stream is None:
            return 0
        cdef Py_ssize_t before = stream.backlog
        stream.append(data)
        if stream.backlog > before:
            self.unsent += stream.backlog - before
            c.nghttp2_session_resume_data(self.session, stream_id)
        return stream.backlog

    def finish(self, int32_t stream_id, trailers=None):
        cdef Stream stream = self.find_started(stream_id)
        cdef c.nghttp2_nv[MAX_FIELDS] entries
        if stream is not None:
            stream.trailers = tuple(trailers or ())
            pack(stream.trailers, entries)
            stream.finished = True
            c.nghttp2_session_resume_data(self.session, stream_id)

    def reset(self, int32_t stream_id, uint32_t error_code):
        cdef Stream stream = self.find(stream_id)
        if stream is not None:
            stream.abandoned = True
            cut(self.session, stream_id, error_code)

    def shutdown_notice(self):
        check(c.nghttp2_submit_shutdown_notice(self.session))
        self.notified = self.on_notice_read is not None

    def goaway(self):
        check(c.nghttp2_submit_goaway(
            self.session, c.NGHTTP2_FLAG_NONE,
            c.nghttp2_session_get_last_proc_stream_id(self.session), c.NGHTTP2_NO_ERROR, NULL, 0))

    def terminate(self, uint32_t error_code):
        check(c.nghttp2_session_terminate_session(self.session, error_code))

    @property
    def want_read(self):
        return not self.broken and c.nghttp2_session_want_read(self.session) != 0

    @property
    def want_write(self):
        return not self.broken and c.nghttp2_session_want_write(self.session) != 0

    @property
    def buffered_bytes(self):
        return self.buffered

    @property
    def unsent_bytes(self):
        return self.unsent

    @property
    def open_streams(self):
        return len(self.streams)

    cdef int enter(self) except -1:
        if self.running:
            raise RuntimeError("a callback calls neither feed nor data_to_send")
        self.running = True
        return 0

    cdef int keep(self, BaseException failure) noexcept:
        self.failure = failure
        return c.NGHTTP2_ERR_CALLBACK_FAILURE

    cdef int fail(self, Py_ssize_t code) except -1:
        """Tell the peer and raise what the handler raised, or else nghttp2's own text."""
        failure, self.failure = self.failure, None
        if code == c.NGHTTP2_ERR_FLOODED or code == c.NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
            reason = c.NGHTTP2_ENHANCE_YOUR_CALM
        elif code == c.NGHTTP2_ERR_BAD_CLIENT_MAGIC:
            reason = c.NGHTTP2_PROTOCOL_ERROR
        else:
            reason = c.NGHTTP2_INTERNAL_ERROR
        c.nghttp2_session_terminate_session(self.session, reason)
        if failure is not None:
            raise failure
        raise SessionError(c.nghttp2_strerror(<int>code).decode())

    cdef Stream find(self, int32_t stream_id):
        """The stream, or None if it can no longer be answered."""
        cdef void* stream = c.nghttp2_session_get_stream_user_data(self.session, stream_id)
        return None if stream == NULL or (<Stream>stream).abandoned else <Stream>stream

    cdef Stream find_started(self, int32_t stream_id):
        cdef Stream stream = self.find(stream_id)
        if stream is not None and (stream.finished or not stream.answered):
            raise ValueError(f"no answer of stream {stream_id} is being sent")
        return stream

    cdef int answer(self, Stream stream, headers, body, trailers, bint finished) except -1:
        cdef c.nghttp2_nv[MAX_FIELDS] entries
        cdef c.nghttp2_data_provider provider
        if stream.answered:
            raise ValueError(f"stream {stream.key} is already answered")
        stream.trailers = tuple(trailers)
        pack(stream.trailers, entries)
        stream.fields = tuple(headers)
        cdef size_t count = pack(stream.fields, entries)
        stream.load_whole(body)
        self.unsent += stream.backlog
        if not finished or stream.backlog > LONG_ANSWER_BYTES:
            # Long answers take turns; nghttp2 would send one after the other.
            check(c.nghttp2_session_change_extpri_stream_priority(
                self.session, stream.key, &IN_TURNS, 0))
        stream.answered = True
        stream.finished = finished
        provider.source.ptr = <void*>stream
        provider.read_callback = on_read
        cdef bint bare = finished and not stream.backlog and not stream.trailers
        check(c.nghttp2_submit_response(
            self.session, stream.key, entries, count, NULL if bare else &provider))
        return 0

    cdef int open(self, int32_t stream_id, bint complete) except -1:
        cdef Stream stream = Stream.__new__(Stream)
        stream.key = stream_id
        stream.headers = self.block.take()
        stream.content_length = self.block.content_length
        self.streams[stream.key] = stream
        check(c.nghttp2_session_set_stream_user_data(self.session, stream_id, <void*>stream))
        if self.block.size > self.block.max_size:
            stream.discarding = True
            self.answer(stream, HEADERS_TOO_LARGE, b"", (), True)
        elif stream.content_length > self.max_body_bytes:
            self.overflow(stream)
        elif self.block.streaming:
            stream.streaming = stream.announced = True
            stream.content_length = -1  # nothing is kept until its end
            self.on_stream(stream.key, stream.headers)
            if complete:
                self.pass_on(stream, True)
        elif complete:
            self.complete(stream)
        return 0

    cdef int read_data(self, Stream stream, const uint8_t* data, Py_ssize_t size) except -1:
        if stream.discarding:
            return 0
        if size > self.max_body_bytes - stream.size:
            return self.overflow(stream)
        if size >= LONG_REQUEST_BYTES and stream.body == NULL and not stream.streaming:
            if self.on_long_body is not None:
                self.begin_long(stream, data, size)
        stream.gather(data, size)
        self.buffered += size
        return 0

    cdef int begin_long(self, Stream stream, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t expected, aligned_at
        head = PyMemoryView_FromMemory(<char*>data, size, PyBUF_READ)
        expected, aligned_at = self.on_long_body(stream.headers, head)
        head.release()
        expected = max(expected, stream.content_length, size)
        stream.make_room(min(expected, self.max_body_bytes), aligned_at)
        return 0

    cdef int end_frame(self, Stream stream, bint complete) except -1:
        stream.frames += 1
        if stream.discarding:
            return 0
        if stream.streaming:
            return self.pass_on(stream, complete)
        if complete:
            return self.complete(stream)
        if stream.frames > MAX_EMPTY_FRAMES + stream.size:
            return cut(self.session, stream.key, c.NGHTTP2_ENHANCE_YOUR_CALM)
        return 0

    cdef int end_control_frame(self, const c.nghttp2_frame_hd* frame) except -1:
        if self.pinged and frame.type == c.NGHTTP2_PING and frame.flags & c.NGHTTP2_FLAG_ACK:
            self.pinged = False
            self.on_notice_read()
        return 0

    cdef int overflow(self, Stream stream) except -1:
        self.buffered -= stream.size
        stream.drop()
        stream.discarding = stream.announced = True
        self.on_overflow(stream.key, stream.headers)
        return 0

    cdef int complete(self, Stream stream) except -1:
        self.buffered -= stream.size
        stream.announced = True
        self.on_request(stream.key, stream.headers, stream.gathered())
        return 0

    cdef int pass_on(self, Stream stream, bint complete) except -1:
        """Hand over what has come of a streamed request."""
        if stream.size or complete:
            stream.frames = 0
            self.buffered -= stream.size
            data = stream.gathered()
            if not (stream.finished or stream.abandoned):
                self.on_part(stream.key, data, complete)
        elif stream.frames > MAX_EMPTY_FRAMES:
            return cut(self.session, stream.key, c.NGHTTP2_ENHANCE_YOUR_CALM)
        return 0

    cdef int close(self, Stream closed, uint32_t error_code, bint sent) except -1:
        cdef Stream stream = closed  # the dictionary held the last reference
        del self.streams[stream.key]
        self.buffered -= stream.size
        self.unsent -= stream.backlog
        if sent:
            self.patience = min(self.patience + 1, self.max_cancellations)
        if sent or stream.abandoned:
            return 0
        # A peer that has most of its requests answered may cancel the others; one that
        # only makes us start work and throw it away may not ("rapid reset"). Who has got what
        # there was of a streamed answer may end it: there is no other way.
        if not (stream.streaming and stream.answered and not stream.backlog):
            self.patience -= 1
        if self.patience < 0:
            self.terminate(c.NGHTTP2_ENHANCE_YOUR_CALM)
        # nghttp2 knows it until this returns; but whoever hears of its end can no longer answer it.
        stream.abandoned = True
        if stream.announced:
            self.on_close(stream.key, error_code)
        return 0

    cdef int put(self, const void* data, Py_ssize_t size) except -1:
        if self.filled + size > BUFFER_BYTES:
            self.flush()
        if size > BUFFER_BYTES:
            self.chunks.append(PyBytes_FromStringAndSize(<char*>data, size))
        else:
            memcpy(self.buffer + self.filled, data, size)
            self.filled += size
        self.taken += size
        return 0

    cdef int put_data(self, Stream stream, const uint8_t* header, Py_ssize_t size) except -1:
        self.put(header, FRAME_HEADER_BYTES)
        if size < SLICE_BYTES:
            self.put(stream.data + stream.sent, size)
        else:
            self.flush()
            self.chunks.append(memoryview(stream.source)[stream.sent:stream.sent + size])
            self.taken += size
        stream.sent += size
        stream.backlog -= size
        self.unsent -= size
        return 0

    cdef int flush(self) except -1:
        if self.filled:
            self.chunks.append(PyBytes_FromStringAndSize(<char*>self.buffer, self.filled))
            self.filled = 0
        return 0


cdef int check(int code) except -1:
    if code < 0:
        raise SessionError(c.nghttp2_strerror(code).decode())
    return 0


cdef int cut(c.nghttp2_session* session, int32_t stream_id, uint32_t error_code) except -1:
    return check(c.nghttp2_submit_rst_stream(session, c.NGHTTP2_FLAG_NONE, stream_id, error_code))


cdef int create(Session self) except -1:
    cdef c.nghttp2_session_callbacks* callbacks = NULL
    cdef c.nghttp2_option* option = NULL
    check(c.nghttp2_session_callbacks_new(&callbacks))
    try:
        check(c.nghttp2_option_new(&option))
        c.nghttp2_option_set_no_closed_streams(option, 1)
        # Its clock does not see how many requests were answered; Session.close does.
        c.nghttp2_option_set_stream_reset_rate_limit(option, 1 << 30, 1 << 30)
        c.nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers)
        c.nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header)
        c.nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data)
        c.nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv)
        c.nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send)
        c.nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data)
        c.nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close)
        check(c.nghttp2_session_server_new2(&self.session, callbacks, <void*>self, option))
    finally:
        c.nghttp2_option_del(option)
        c.nghttp2_session_callbacks_del(callbacks)
    return 0


include "callbacks.pxi"
