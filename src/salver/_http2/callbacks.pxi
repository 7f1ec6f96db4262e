# nghttp2's callbacks; a part of `session.pyx`. Their first argument is nghttp2's session, `user`
# is ours. No exception leaves them: what is raised is kept for the caller of `feed` or `data_to_send`.

cdef int on_begin_headers(
        c.nghttp2_session* session, const c.nghttp2_frame* frame, void* user) noexcept:
    (<Session>user).block.begin()
    return 0


cdef int on_header(
        c.nghttp2_session* session, const c.nghttp2_frame* frame, c.nghttp2_rcbuf* name,
        c.nghttp2_rcbuf* value, uint8_t flags, void* user) noexcept:
    cdef HeaderBlock block = (<Session>user).block
    try:
        block.add(name, value)
        if block.size > 4 * block.max_size:
            # Nobody sends this by mistake, and nghttp2 would read it to its end.
            check(c.nghttp2_session_terminate_session(session, c.NGHTTP2_ENHANCE_YOUR_CALM))
        return 0
    except BaseException as error:
        return (<Session>user).keep(error)


cdef int on_data(
        c.nghttp2_session* session, uint8_t flags, int32_t stream_id, const uint8_t* data,
        size_t size, void* user) noexcept:
    cdef void* stream = c.nghttp2_session_get_stream_user_data(session, stream_id)
    try:
        return 0 if stream == NULL else (<Session>user).read_data(<Stream>stream, data, size)
    except BaseException as error:
        return (<Session>user).keep(error)


cdef int on_frame_recv(
        c.nghttp2_session* session, const c.nghttp2_frame* frame, void* user) noexcept:
    cdef bint complete = frame.hd.flags & c.NGHTTP2_FLAG_END_STREAM
    cdef bint headers = frame.hd.type == c.NGHTTP2_HEADERS
    if not headers and frame.hd.type != c.NGHTTP2_DATA:
        try:
            return (<Session>user).end_control_frame(&frame.hd)
        except BaseException as error:
            return (<Session>user).keep(error)
    cdef void* stream = c.nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
    try:
        if headers and frame.headers.cat == c.NGHTTP2_HCAT_REQUEST:
            return (<Session>user).open(frame.hd.stream_id, complete)
        return 0 if stream == NULL else (<Session>user).end_frame(<Stream>stream, complete)
    except BaseException as error:
        return (<Session>user).keep(error)


cdef int on_frame_send(
        c.nghttp2_session* session, const c.nghttp2_frame* frame, void* user) noexcept:
    cdef bint content = frame.hd.type == c.NGHTTP2_DATA or frame.hd.type == c.NGHTTP2_HEADERS
    if content and frame.hd.flags & c.NGHTTP2_FLAG_END_STREAM:
        if c.nghttp2_session_get_stream_remote_close(session, frame.hd.stream_id) == 0:
            # Answered before the request was over: the rest of it need not come.
            return c.nghttp2_submit_rst_stream(
                session, c.NGHTTP2_FLAG_NONE, frame.hd.stream_id, c.NGHTTP2_NO_ERROR)
    elif frame.hd.type == c.NGHTTP2_GOAWAY and (<Session>user).notified:
        # Not before: nghttp2 sends a ping ahead of everything.
        (<Session>user).notified = False
        (<Session>user).pinged = True
        return c.nghttp2_submit_ping(session, c.NGHTTP2_FLAG_NONE, NULL)
    return 0


cdef int on_stream_close(
        c.nghttp2_session* session, int32_t stream_id, uint32_t error_code, void* user) noexcept:
    cdef void* stream = c.nghttp2_session_get_stream_user_data(session, stream_id)
    cdef bint sent = c.nghttp2_session_get_stream_local_close(session, stream_id) == 1
    try:
        return 0 if stream == NULL else (<Session>user).close(<Stream>stream, error_code, sent)
    except BaseException as error:
        return (<Session>user).keep(error)


cdef ssize_t on_read(
        c.nghttp2_session* session, int32_t stream_id, uint8_t* buf, size_t room,
        uint32_t* flags, c.nghttp2_data_source* source, void* user) noexcept:
    cdef Stream stream = <Stream>source.ptr
    cdef c.nghttp2_nv[MAX_FIELDS] entries
    try:
        size = min(stream.next_size(), <Py_ssize_t>room)
        flags[0] = c.NGHTTP2_DATA_FLAG_NO_COPY
        if stream.ends(size):
            flags[0] |= c.NGHTTP2_DATA_FLAG_EOF
            if stream.trailers:
                flags[0] |= c.NGHTTP2_DATA_FLAG_NO_END_STREAM
                check(c.nghttp2_submit_trailer(
                    session, stream_id, entries, pack(stream.trailers, entries)))
        elif not size:
            return c.NGHTTP2_ERR_DEFERRED
        return size
    except BaseException as error:
        return (<Session>user).keep(error)


cdef int on_send_data(
        c.nghttp2_session* session, c.nghttp2_frame* frame, const uint8_t* header, size_t size,
        c.nghttp2_data_source* source, void* user) noexcept:
    cdef Session self = <Session>user
    try:
        self.put_data(<Stream>source.ptr, header, size)
    except BaseException as error:
        return self.keep(error)
    return c.NGHTTP2_ERR_PAUSE if self.taken >= self.max_bytes else 0
