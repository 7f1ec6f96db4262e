"""Salver: a model server that answers exactly like TensorFlow Serving."""

__all__ = ["__version__"]

__version__ = "0.1.0"
