"""A first walk over a TensorProto, for the other codecs in C.

Nothing here can be called from Python; see `tensor_scanner.pxd`.
"""
