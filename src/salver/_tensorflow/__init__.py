"""TensorFlow's C API, opened at run time from an installed TensorFlow.

`library` opens the shared library, `graph_session` loads SavedModels and runs
their graphs, `tensor` turns arrays into tensors and back. Mechanism only: no
policy, no signatures, nothing of Salver.
"""
