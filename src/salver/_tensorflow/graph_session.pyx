"""Graph sessions: loading a SavedModel and running its graph."""

import os

from cpython.buffer cimport PyBUF_READ, PyBuffer_FillInfo
from cpython.mem cimport PyMem_Calloc, PyMem_Free

from salver._tensorflow.capi cimport TF_Buffer, TF_Output
from salver._tensorflow.denormal cimport flush_denormals, restore_denormals
from salver._tensorflow.library cimport api, check, require_library
from salver._tensorflow.library import TensorFlowError
from salver._tensorflow.tensor cimport ElementTypes, array_of, tensor_of

cdef enum:
    MAX_STACK_TENSORS = 32
    CANCELLED = 1
    INVALID_ARGUMENT = 3

cdef bytes RUN_IN_CALLER = b"\x18" + b"\xff" * 9 + b"\x01"  # inter_op_thread_pool: -1
cdef bytes SOFTWARE_TRACE = b"\x08\x01"  # trace_level: each node is timed


cdef class SerializedMessage:
    cdef TF_Buffer* _buffer

    def __cinit__(self):
        require_library()
        self._buffer = api.TF_NewBuffer()

    def __dealloc__(self):
        if self._buffer is not NULL:
            api.TF_DeleteBuffer(self._buffer)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(
            view, self, <void*>self._buffer.data, self._buffer.length, True, flags)


cdef class GraphSession:
    cdef void* _graph
    cdef void* _session
    cdef TF_Buffer* _run_options
    cdef TF_Buffer* _traced_run_options
    cdef ElementTypes _types
    cdef int _running
    cdef bint _closed
    cdef SerializedMessage _meta_graph

    def __cinit__(self, path, tags, config, ElementTypes types, *, bint run_in_caller=True):
        require_library()
        self._types = types
        self._closed = True
        self._graph = api.TF_NewGraph()
        if run_in_caller:
            self._run_options = api.TF_NewBufferFromString(
                <const char*>RUN_IN_CALLER, len(RUN_IN_CALLER))
        cdef bytes traced = SOFTWARE_TRACE + RUN_IN_CALLER if run_in_caller else SOFTWARE_TRACE
        self._traced_run_options = api.TF_NewBufferFromString(<const char*>traced, len(traced))
        self._meta_graph = SerializedMessage()
        self._load(os.fsencode(path), [tag.encode() for tag in tags], config)
        self._closed = False

    cdef _load(self, bytes path, list tags, bytes config):
        cdef const char* c_path = path
        cdef int tag_count = len(tags)
        cdef const char** c_tags = <const char**>PyMem_Calloc(tag_count + 1, sizeof(char*))
        cdef void* options = api.TF_NewSessionOptions()
        cdef void* status = api.TF_NewStatus()
        try:
            for i, tag in enumerate(tags):
                c_tags[i] = <const char*>tag
            api.TF_SetConfig(options, <const char*>config, len(config), status)
            check(status)
            with nogil:
                self._session = api.TF_LoadSessionFromSavedModel(
                    options, self._run_options, c_path, c_tags, tag_count,
                    self._graph, self._meta_graph._buffer, status)
            check(status)
        finally:
            api.TF_DeleteStatus(status)
            api.TF_DeleteSessionOptions(options)
            PyMem_Free(c_tags)

    def take_meta_graph(self):
        if self._meta_graph is None:
            raise RuntimeError("it was taken before")
        taken, self._meta_graph = self._meta_graph, None
        return taken

    def __dealloc__(self):
        self._delete()
        if self._run_options is not NULL:
            api.TF_DeleteBuffer(self._run_options)
        if self._traced_run_options is not NULL:
            api.TF_DeleteBuffer(self._traced_run_options)

    def close(self):
        self._closed = True
        if not self._running:
            self._delete()

    cdef _delete(self):
        cdef void* session = self._session
        cdef void* graph = self._graph
        cdef void* status
        self._session = self._graph = NULL
        with nogil:
            if session is not NULL:
                status = api.TF_NewStatus()
                api.TF_CloseSession(session, status)
                api.TF_DeleteSession(session, status)
                api.TF_DeleteStatus(status)
            if graph is not NULL:
                api.TF_DeleteGraph(graph)

    def callable(self, feeds, fetches, targets=()):
        return GraphCallable(self, feeds, fetches, targets)

    cdef TF_Output _output(self, tensor) except *:
        cdef TF_Output output
        name, colon, index = tensor.rpartition(":")
        if not (colon and index.isascii() and index.isdecimal() and len(index) < 9):
            name, index = tensor, "0"
        output.operation = self._operation(name, f"{name}:{index}")
        output.index = int(index)
        return output

    cdef void* _operation(self, name, wanted) except NULL:
        if self._closed:
            raise TensorFlowError(CANCELLED, "Session has been closed.")
        cdef void* operation = api.TF_GraphOperationByName(self._graph, <bytes>name.encode())
        if operation is NULL:
            raise TensorFlowError(
                INVALID_ARGUMENT,
                f"Tensor {wanted}, specified in either feed_devices or fetch_devices "
                "was not found in the Graph")
        return operation


cdef class GraphCallable:
    cdef GraphSession _session
    cdef list _numpy_types  # of the feeds
    cdef int* _numbers
    cdef TF_Output* _feeds
    cdef TF_Output* _fetches
    cdef void** _targets
    cdef int _feed_count
    cdef int _fetch_count
    cdef int _target_count

    def __cinit__(self, GraphSession session, feeds, fetches, targets):
        cdef int i
        self._session = session
        self._numpy_types = []
        self._feeds = <TF_Output*>PyMem_Calloc(len(feeds) + 1, sizeof(TF_Output))
        self._numbers = <int*>PyMem_Calloc(len(feeds) + 1, sizeof(int))
        self._fetches = <TF_Output*>PyMem_Calloc(len(fetches) + 1, sizeof(TF_Output))
        self._targets = <void**>PyMem_Calloc(len(targets) + 1, sizeof(void*))
        for i, name in enumerate(feeds):
            self._feeds[i] = session._output(name)
            # The run tells, in TensorFlow's words, of an output that does not exist;
            # to ask for its type would end the process.
            if self._feeds[i].index < api.TF_OperationNumOutputs(self._feeds[i].operation):
                # Types of reference variables are 100 above the type of their value.
                self._numbers[i] = api.TF_OperationOutputType(self._feeds[i]) % 100
            self._numpy_types.append(session._types.numpy_type(self._numbers[i]))
        for i, name in enumerate(fetches):
            self._fetches[i] = session._output(name)
        for i, name in enumerate(targets):
            self._targets[i] = session._operation(name, name)
        self._feed_count = len(feeds)
        self._fetch_count = len(fetches)
        self._target_count = len(targets)

    def __dealloc__(self):
        PyMem_Free(self._feeds)
        PyMem_Free(self._numbers)
        PyMem_Free(self._fetches)
        PyMem_Free(self._targets)

    def run(self, inputs):
        return self._run_arrays(inputs, self._session._run_options, NULL)

    def run_traced(self, inputs):
        cdef SerializedMessage metadata = SerializedMessage()
        outputs = self._run_arrays(
            inputs, self._session._traced_run_options, metadata._buffer)
        return outputs, bytes(metadata)

    cdef list _run_arrays(self, inputs, TF_Buffer* options, TF_Buffer* metadata):
        cdef (void*)[MAX_STACK_TENSORS] on_stack
        cdef void** tensors = on_stack
        cdef int count = self._feed_count + self._fetch_count
        cdef int i
        if len(inputs) != self._feed_count:
            raise ValueError(f"{len(inputs)} arrays for {self._feed_count} feeds")
        if count > MAX_STACK_TENSORS:
            tensors = <void**>PyMem_Calloc(count, sizeof(void*))
            if tensors is NULL:
                raise MemoryError
        for i in range(count):
            tensors[i] = NULL
        try:
            for i in range(self._feed_count):
                tensors[i] = tensor_of(
                    inputs[i], <void*>self._numpy_types[i], self._numbers[i], self._session._types)
            self._run(tensors, tensors + self._feed_count, options, metadata)
            return self._take(tensors + self._feed_count)
        finally:
            for i in range(count):
                if tensors[i] is not NULL:
                    api.TF_DeleteTensor(tensors[i])
            if tensors is not on_stack:
                PyMem_Free(tensors)

    cdef int _run(
            self, void** inputs, void** outputs, TF_Buffer* options,
            TF_Buffer* metadata) except -1:
        cdef GraphSession session = self._session
        cdef unsigned long denormals
        cdef void* status
        if session._closed:
            raise TensorFlowError(CANCELLED, "Session has been closed.")
        status = api.TF_NewStatus()
        session._running += 1
        with nogil:
            denormals = flush_denormals()
            api.TF_SessionRun(
                session._session, options,
                self._feeds, inputs, self._feed_count,
                self._fetches, outputs, self._fetch_count,
                self._targets, self._target_count, metadata, status)
            restore_denormals(denormals)
        session._running -= 1
        if session._closed and not session._running:
            session._delete()
        try:
            check(status)
        finally:
            api.TF_DeleteStatus(status)
        return 0

    cdef list _take(self, void** outputs):
        cdef list arrays = []
        cdef void* tensor
        cdef int i
        for i in range(self._fetch_count):
            tensor = outputs[i]
            outputs[i] = NULL  # the array frees it now
            arrays.append(array_of(tensor, self._session._types))
        return arrays
