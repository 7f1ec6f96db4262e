"""Nodes of a JSON document to arrays, for documents without a mistake.

Whatever is not plainly right gives None, never an error: `json_conversion` then goes through
the document value by value, finds the first mistake and words it.
"""

from collections.abc import Mapping

import numpy as np

from salver.core.signature import TensorSpec

def rows(
    instances: object, inputs: Mapping[str, TensorSpec], max_size: int
) -> dict[str, np.ndarray] | None:
    """Arrays of the row format; none may have more than `max_size` elements."""

def columns(
    value: object, inputs: Mapping[str, TensorSpec], max_size: int
) -> dict[str, np.ndarray] | None:
    """Arrays of the column format; none may have more than `max_size` elements."""

def float32_bytes(values: list[float]) -> bytes:
    """Doubles as float32 in native byte order: infinity above its range, zero below."""
