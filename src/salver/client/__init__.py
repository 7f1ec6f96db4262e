"""Calls a model server, Salver or TensorFlow Serving, over gRPC or REST; NumPy in and out.

`Client` blocks, `AsyncClient` has the same methods to await.
"""

from salver.client.async_client import AsyncClient
from salver.client.blocking_client import Client
from salver.client.example_features import Example
from salver.client.options import Retries, Tls
from salver.client.results import (
    Classification,
    ModelMetadata,
    Prediction,
    Regression,
    Task,
    VersionStatus,
)
from salver.client.traffic_split import Arm, TrafficSplit

__all__ = [
    "Arm",
    "AsyncClient",
    "Classification",
    "Client",
    "Example",
    "ModelMetadata",
    "Prediction",
    "Regression",
    "Retries",
    "Task",
    "Tls",
    "TrafficSplit",
    "VersionStatus",
]
