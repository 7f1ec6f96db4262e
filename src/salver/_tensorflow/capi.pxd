# The part of TensorFlow's C API that we use, as a table of function pointers:
# the library is opened at run time, so its headers are not needed to build.
# Source: tensorflow/c/{tf_status,tf_buffer,tf_tensor,tf_tstring,c_api}.h, 2.16 to 2.21.

from libc.stdint cimport int64_t


ctypedef struct TF_Buffer:
    const void* data
    size_t length
    void (*data_deallocator)(void*, size_t) noexcept nogil

# Opaque in the interface; its size is part of the layout of string tensors.
ctypedef struct TF_TString:
    char[24] content

ctypedef struct TF_Output:
    void* operation
    int index

ctypedef void (*Deallocator)(void* data, size_t size, void* argument) noexcept nogil


ctypedef struct Functions:
    const char* (*TF_Version)() noexcept nogil
    void* (*TF_LoadLibrary)(const char*, void*) noexcept nogil
    void (*TF_DeleteLibraryHandle)(void*) noexcept nogil

    void* (*TF_NewStatus)() noexcept nogil
    void (*TF_DeleteStatus)(void*) noexcept nogil
    int (*TF_GetCode)(const void*) noexcept nogil
    const char* (*TF_Message)(const void*) noexcept nogil

    TF_Buffer* (*TF_NewBuffer)() noexcept nogil
    TF_Buffer* (*TF_NewBufferFromString)(const void*, size_t) noexcept nogil
    void (*TF_DeleteBuffer)(TF_Buffer*) noexcept nogil

    void* (*TF_NewTensor)(
        int, const int64_t*, int, void*, size_t, Deallocator, void*) noexcept nogil
    void* (*TF_AllocateTensor)(int, const int64_t*, int, size_t) noexcept nogil
    void (*TF_DeleteTensor)(void*) noexcept nogil
    int (*TF_TensorType)(const void*) noexcept nogil
    int (*TF_NumDims)(const void*) noexcept nogil
    int64_t (*TF_Dim)(const void*, int) noexcept nogil
    size_t (*TF_TensorByteSize)(const void*) noexcept nogil
    void* (*TF_TensorData)(const void*) noexcept nogil

    void (*TF_StringInit)(TF_TString*) noexcept nogil
    void (*TF_StringCopy)(TF_TString*, const char*, size_t) noexcept nogil
    const char* (*TF_StringGetDataPointer)(const TF_TString*) noexcept nogil
    size_t (*TF_StringGetSize)(const TF_TString*) noexcept nogil
    void (*TF_StringDealloc)(TF_TString*) noexcept nogil

    void* (*TF_NewGraph)() noexcept nogil
    void (*TF_DeleteGraph)(void*) noexcept nogil
    void* (*TF_GraphOperationByName)(void*, const char*) noexcept nogil
    int (*TF_OperationNumOutputs)(void*) noexcept nogil
    int (*TF_OperationOutputType)(TF_Output) noexcept nogil

    void* (*TF_NewSessionOptions)() noexcept nogil
    void (*TF_SetConfig)(void*, const void*, size_t, void*) noexcept nogil
    void (*TF_DeleteSessionOptions)(void*) noexcept nogil
    void* (*TF_LoadSessionFromSavedModel)(
        const void*, const TF_Buffer*, const char*, const char* const*, int,
        void*, TF_Buffer*, void*) noexcept nogil
    void (*TF_SessionRun)(
        void*, const TF_Buffer*,
        const TF_Output*, void* const*, int,
        const TF_Output*, void**, int,
        void* const*, int,
        TF_Buffer*, void*) noexcept nogil
    void (*TF_CloseSession)(void*, void*) noexcept nogil
    void (*TF_DeleteSession)(void*, void*) noexcept nogil
