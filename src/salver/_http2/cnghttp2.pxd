"""What `session.pyx` uses of `nghttp2/nghttp2.h`, in the order of the header.

The reset rate limit came with nghttp2 1.57 and with the distributions' fixes of
CVE-2023-44487 in older versions; a library without it does not build, on purpose.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t


cdef extern from "nghttp2/nghttp2.h":
    ctypedef struct nghttp2_session:
        pass

    ctypedef struct nghttp2_rcbuf:
        pass

    ctypedef struct nghttp2_vec:
        uint8_t* base
        size_t len

    void nghttp2_rcbuf_incref(nghttp2_rcbuf* rcbuf)
    void nghttp2_rcbuf_decref(nghttp2_rcbuf* rcbuf)
    nghttp2_vec nghttp2_rcbuf_get_buf(nghttp2_rcbuf* rcbuf)

    enum:
        NGHTTP2_ERR_DEFERRED
        NGHTTP2_ERR_PAUSE
        NGHTTP2_ERR_NOMEM
        NGHTTP2_ERR_CALLBACK_FAILURE
        NGHTTP2_ERR_BAD_CLIENT_MAGIC
        NGHTTP2_ERR_FLOODED
        NGHTTP2_ERR_TOO_MANY_CONTINUATIONS

    enum:
        NGHTTP2_NV_FLAG_NO_COPY_NAME
        NGHTTP2_NV_FLAG_NO_COPY_VALUE

    ctypedef struct nghttp2_nv:
        uint8_t* name
        uint8_t* value
        size_t namelen
        size_t valuelen
        uint8_t flags

    enum:
        NGHTTP2_DATA
        NGHTTP2_HEADERS
        NGHTTP2_PING
        NGHTTP2_GOAWAY

    enum:
        NGHTTP2_FLAG_NONE
        NGHTTP2_FLAG_END_STREAM
        NGHTTP2_FLAG_ACK

    enum:
        NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        NGHTTP2_SETTINGS_MAX_FRAME_SIZE
        NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES

    enum:
        NGHTTP2_NO_ERROR
        NGHTTP2_PROTOCOL_ERROR
        NGHTTP2_INTERNAL_ERROR
        NGHTTP2_ENHANCE_YOUR_CALM

    ctypedef struct nghttp2_frame_hd:
        size_t length
        int32_t stream_id
        uint8_t type
        uint8_t flags

    enum:
        NGHTTP2_DATA_FLAG_EOF
        NGHTTP2_DATA_FLAG_NO_END_STREAM
        NGHTTP2_DATA_FLAG_NO_COPY

    ctypedef union nghttp2_data_source:
        int fd
        void* ptr

    ctypedef ssize_t (*nghttp2_data_source_read_callback)(
        nghttp2_session* session, int32_t stream_id, uint8_t* buf, size_t length,
        uint32_t* data_flags, nghttp2_data_source* source, void* user_data) noexcept

    ctypedef struct nghttp2_data_provider:
        nghttp2_data_source source
        nghttp2_data_source_read_callback read_callback

    enum:
        NGHTTP2_HCAT_REQUEST

    ctypedef struct nghttp2_headers:
        nghttp2_frame_hd hd
        int cat

    ctypedef struct nghttp2_settings_entry:
        int32_t settings_id
        uint32_t value

    ctypedef union nghttp2_frame:
        nghttp2_frame_hd hd
        nghttp2_headers headers

    ctypedef int (*nghttp2_send_data_callback)(
        nghttp2_session* session, nghttp2_frame* frame, const uint8_t* framehd, size_t length,
        nghttp2_data_source* source, void* user_data) noexcept
    ctypedef int (*nghttp2_on_frame_callback)(
        nghttp2_session* session, const nghttp2_frame* frame, void* user_data) noexcept
    ctypedef int (*nghttp2_on_data_chunk_recv_callback)(
        nghttp2_session* session, uint8_t flags, int32_t stream_id, const uint8_t* data,
        size_t len, void* user_data) noexcept
    ctypedef int (*nghttp2_on_stream_close_callback)(
        nghttp2_session* session, int32_t stream_id, uint32_t error_code, void* user_data) noexcept
    ctypedef int (*nghttp2_on_header_callback2)(
        nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name,
        nghttp2_rcbuf* value, uint8_t flags, void* user_data) noexcept

    ctypedef struct nghttp2_session_callbacks:
        pass

    int nghttp2_session_callbacks_new(nghttp2_session_callbacks** callbacks_ptr)
    void nghttp2_session_callbacks_del(nghttp2_session_callbacks* callbacks)
    void nghttp2_session_callbacks_set_on_frame_recv_callback(
        nghttp2_session_callbacks* callbacks, nghttp2_on_frame_callback callback)
    void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        nghttp2_session_callbacks* callbacks, nghttp2_on_data_chunk_recv_callback callback)
    void nghttp2_session_callbacks_set_on_frame_send_callback(
        nghttp2_session_callbacks* callbacks, nghttp2_on_frame_callback callback)
    void nghttp2_session_callbacks_set_on_stream_close_callback(
        nghttp2_session_callbacks* callbacks, nghttp2_on_stream_close_callback callback)
    void nghttp2_session_callbacks_set_on_begin_headers_callback(
        nghttp2_session_callbacks* callbacks, nghttp2_on_frame_callback callback)
    void nghttp2_session_callbacks_set_on_header_callback2(
        nghttp2_session_callbacks* callbacks, nghttp2_on_header_callback2 callback)
    void nghttp2_session_callbacks_set_send_data_callback(
        nghttp2_session_callbacks* callbacks, nghttp2_send_data_callback callback)

    ctypedef struct nghttp2_option:
        pass

    int nghttp2_option_new(nghttp2_option** option_ptr)
    void nghttp2_option_del(nghttp2_option* option)
    void nghttp2_option_set_no_closed_streams(nghttp2_option* option, int val)
    void nghttp2_option_set_stream_reset_rate_limit(
        nghttp2_option* option, uint64_t burst, uint64_t rate)

    int nghttp2_session_server_new2(
        nghttp2_session** session_ptr, const nghttp2_session_callbacks* callbacks,
        void* user_data, const nghttp2_option* option)
    void nghttp2_session_del(nghttp2_session* session)
    ssize_t nghttp2_session_mem_send(nghttp2_session* session, const uint8_t** data_ptr)
    ssize_t nghttp2_session_mem_recv(
        nghttp2_session* session, const uint8_t* data, size_t datalen)
    int nghttp2_session_resume_data(nghttp2_session* session, int32_t stream_id)
    int nghttp2_session_want_read(nghttp2_session* session)
    int nghttp2_session_want_write(nghttp2_session* session)
    void* nghttp2_session_get_stream_user_data(nghttp2_session* session, int32_t stream_id)
    int nghttp2_session_set_stream_user_data(
        nghttp2_session* session, int32_t stream_id, void* stream_user_data)
    size_t nghttp2_session_get_outbound_queue_size(nghttp2_session* session)
    int nghttp2_session_get_stream_local_close(nghttp2_session* session, int32_t stream_id)
    int nghttp2_session_get_stream_remote_close(nghttp2_session* session, int32_t stream_id)
    int nghttp2_session_terminate_session(nghttp2_session* session, uint32_t error_code)
    int nghttp2_submit_ping(
        nghttp2_session* session, uint8_t flags, const uint8_t* opaque_data)
    int nghttp2_submit_shutdown_notice(nghttp2_session* session)
    int32_t nghttp2_session_get_last_proc_stream_id(nghttp2_session* session)
    int nghttp2_session_set_local_window_size(
        nghttp2_session* session, uint8_t flags, int32_t stream_id, int32_t window_size)
    const char* nghttp2_strerror(int lib_error_code)
    int nghttp2_submit_response(
        nghttp2_session* session, int32_t stream_id, const nghttp2_nv* nva, size_t nvlen,
        const nghttp2_data_provider* data_prd)
    int nghttp2_submit_trailer(
        nghttp2_session* session, int32_t stream_id, const nghttp2_nv* nva, size_t nvlen)
    int nghttp2_submit_rst_stream(
        nghttp2_session* session, uint8_t flags, int32_t stream_id, uint32_t error_code)
    int nghttp2_submit_settings(
        nghttp2_session* session, uint8_t flags, const nghttp2_settings_entry* iv, size_t niv)
    int nghttp2_submit_goaway(
        nghttp2_session* session, uint8_t flags, int32_t last_stream_id, uint32_t error_code,
        const uint8_t* opaque_data, size_t opaque_data_len)

    enum:
        NGHTTP2_EXTPRI_DEFAULT_URGENCY

    ctypedef struct nghttp2_extpri:
        uint32_t urgency
        int inc

    int nghttp2_session_change_extpri_stream_priority(
        nghttp2_session* session, int32_t stream_id, const nghttp2_extpri* extpri,
        int ignore_client_signal)
