"""Flags and files of TensorFlow Serving, and our own options."""
