"""The shared library of TensorFlow: opening it, its version, its errors, its plug-ins."""

import os

from posix cimport dlfcn

from salver._tensorflow.capi cimport Functions


_NAMES = (
    b"TF_Version", b"TF_LoadLibrary", b"TF_DeleteLibraryHandle", b"TF_NewStatus",
    b"TF_DeleteStatus", b"TF_GetCode", b"TF_Message", b"TF_NewBuffer",
    b"TF_NewBufferFromString", b"TF_DeleteBuffer", b"TF_NewTensor", b"TF_AllocateTensor",
    b"TF_DeleteTensor", b"TF_TensorType", b"TF_NumDims", b"TF_Dim", b"TF_TensorByteSize",
    b"TF_TensorData", b"TF_StringInit", b"TF_StringCopy", b"TF_StringGetDataPointer",
    b"TF_StringGetSize", b"TF_StringDealloc", b"TF_NewGraph", b"TF_DeleteGraph",
    b"TF_GraphOperationByName", b"TF_OperationNumOutputs", b"TF_OperationOutputType",
    b"TF_NewSessionOptions", b"TF_SetConfig", b"TF_DeleteSessionOptions",
    b"TF_LoadSessionFromSavedModel", b"TF_SessionRun", b"TF_CloseSession", b"TF_DeleteSession",
)


class TensorFlowError(Exception):
    def __init__(self, code, message):
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self):
        return self.message


def open_library(path):
    cdef bytes name = os.fsencode(path)
    cdef const char* c_name = name
    cdef void* handle
    # Lazy binding halves the time to open: TensorFlow has 150,000 symbols, we call 40.
    # Local: its symbols must not meet those of another framework in this process.
    with nogil:
        handle = dlfcn.dlopen(c_name, dlfcn.RTLD_LAZY | dlfcn.RTLD_LOCAL)
    if handle is NULL:
        raise OSError(_last_error(path))
    global api
    api = _functions_of(handle, path)


def version():
    require_library()
    return api.TF_Version().decode()


def load_op_library(path):
    require_library()
    cdef bytes name = os.fsencode(path)
    cdef const char* c_name = name
    cdef void* library
    cdef void* status = api.TF_NewStatus()
    try:
        with nogil:
            library = api.TF_LoadLibrary(c_name, status)
        check(status)
        # The handle only lists the operations; deleting it unloads nothing.
        api.TF_DeleteLibraryHandle(library)
    finally:
        api.TF_DeleteStatus(status)


cdef int require_library() except -1:
    if api.TF_Version is NULL:
        raise RuntimeError("open_library comes first")
    return 0


cdef int check(void* status) except -1:
    cdef int code = api.TF_GetCode(status)
    if code:
        raise TensorFlowError(code, api.TF_Message(status).decode(errors="replace"))
    return 0


cdef object _last_error(path):
    cdef const char* text = dlfcn.dlerror()
    return f"{path}: cannot be opened" if text is NULL else os.fsdecode(<bytes>text)


cdef Functions _functions_of(void* handle, path) except *:
    # The table has nothing but function pointers, in the order of these names.
    cdef Functions found
    cdef void** symbols = <void**>&found
    if sizeof(Functions) != len(_NAMES) * sizeof(void*):
        raise AssertionError("the names do not match the table of functions")
    for i, name in enumerate(_NAMES):
        symbols[i] = dlfcn.dlsym(handle, <const char*>name)
        if symbols[i] is NULL:
            raise OSError(f"{path}: it has no function {name.decode()}")
    return found
