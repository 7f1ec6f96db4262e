"""Which field of a TensorProto holds which data type: a table for the other codecs in C.

Nothing here can be called from Python; see `tensor_layout.pxd`.
"""
