"""Calls a model server, Salver or TensorFlow Serving, over gRPC or REST; NumPy in and out.

`Client` blocks, `AsyncClient` has the same methods to await.
"""

from salver.client.async_client import AsyncClient
from salver.client.blocking_client import Client
from salver.client.options import Retries, Tls
from salver.client.results import ModelMetadata, Prediction, VersionStatus

__all__ = [
    "AsyncClient",
    "Client",
    "ModelMetadata",
    "Prediction",
    "Retries",
    "Tls",
    "VersionStatus",
]
