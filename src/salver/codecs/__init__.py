"""Bytes to arrays and back: JSON, protobuf, and the messages of both."""
