"""Requests that a model is tried with, and the answers that are expected."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Question:
    """One request."""

    origin: str
    """Where it comes from, for messages: `requests.jsonl, line 3`."""
    inputs: Arrays
    signature: str = ""
    """Empty for the default one."""
    outputs: tuple[str, ...] = ()
    """Which are asked for; all if none is named."""
    expected: Arrays = field(default_factory=dict)
    """What is to come out; only what is named here is compared."""
