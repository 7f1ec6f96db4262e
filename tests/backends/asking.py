"""Ways to ask a servable, for the tests of backends."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from salver.backends.tflite import Servable as LiteServable
from salver.codecs.messages import message_class
from salver.core.servable import Servable

Load = Callable[..., LiteServable]
"""Loads a TFLite model by name, or a file's bytes, with fields of `TfLiteOptions`."""
LoadFolder = Callable[..., Servable]
"""Loads with the backend of a name what lies in a folder, with fields of `BackendOptions`."""


def ask(
    servable: Servable, inputs: Mapping[str, np.ndarray], name: str = "serving_default"
) -> dict[str, np.ndarray]:
    signature = servable.signatures[name]
    feeds = tuple(signature.inputs[alias].name for alias in inputs)
    fetches = tuple(spec.name for spec in signature.outputs.values())
    arrays = servable.program(feeds, fetches).run(list(inputs.values()))
    return dict(zip(signature.outputs, arrays, strict=True))


def texts(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def example(**features: Any) -> bytes:
    message = message_class("tensorflow.Example")()
    for name, value in features.items():
        feature = message.features.feature[name]
        kind = {bytes: feature.bytes_list, int: feature.int64_list, float: feature.float_list}
        kind[type(value[0])].value.extend(value)
    data: bytes = message.SerializeToString()
    return data
