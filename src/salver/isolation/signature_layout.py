"""Signatures on their way from a worker to the server: JSON, and the defaults as arrays."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from salver.core.data_type import DataType
from salver.core.servable import Servable
from salver.core.signature import Signature, TensorSpec


def encoded(servable: Servable) -> list[np.ndarray]:
    """What a servable says of itself, as arrays of a message."""
    defaults: list[np.ndarray] = []
    entries = []
    for signature in servable.signatures.values():
        places = {}
        for name, value in signature.defaults.items():
            places[name] = len(defaults)
            defaults.append(value)
        entries.append(
            {
                "name": signature.name,
                "method": signature.method_name,
                "inputs": _encoded_specs(signature.inputs),
                "outputs": _encoded_specs(signature.outputs),
                "defaults": places,
            }
        )
    definition = np.frombuffer(servable.signature_def_map, np.uint8)
    return [np.frombuffer(json.dumps(entries).encode(), np.uint8), definition, *defaults]


def _encoded_specs(specs: Mapping[str, TensorSpec]) -> list[Any]:
    return [[alias, spec.name, spec.data_type, spec.shape] for alias, spec in specs.items()]


def decoded(arrays: Sequence[np.ndarray]) -> tuple[dict[str, Signature], bytes]:
    """The signatures by name, and the `signature_def_map`.

    Raises:
        ValueError: these are no such arrays.
    """
    try:
        entries, definition, *defaults = arrays
        signatures = {
            entry["name"]: Signature(
                name=entry["name"],
                inputs=_decoded_specs(entry["inputs"]),
                outputs=_decoded_specs(entry["outputs"]),
                method_name=entry["method"],
                # Copies: they live as long as the version, the worker's memory does not.
                defaults={name: defaults[i].copy() for name, i in entry["defaults"].items()},
            )
            for entry in json.loads(entries.tobytes())
        }
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError("the description of the signatures is wrong") from error
    return signatures, definition.tobytes()


def _decoded_specs(specs: Sequence[Any]) -> dict[str, TensorSpec]:
    return {
        alias: TensorSpec(name, DataType(data_type), None if shape is None else tuple(shape))
        for alias, name, data_type, shape in specs
    }
