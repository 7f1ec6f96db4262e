"""`--input_examples 'examples=[{"age": [22.0]}]'`: dictionaries to serialized `tf.Example`s."""

import ast
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from salver.codecs.messages import WireMessage, message_class
from salver.errors import InvalidArgument, ServingError
from salver.trial.expressions import parsed


def examples_of(text: str) -> np.ndarray:
    """A list of dictionaries, written as Python or JSON, as serialized Examples: objects [n].

    A feature whose values hold a float is a float list, strings and bytes are a bytes list, whole
    numbers an int64 list.

    Raises:
        InvalidArgument: it is no such list; the message says what is wrong.
    """
    rows = _literal(text)
    if not isinstance(rows, list):
        raise InvalidArgument(
            f'examples are a list of dictionaries, [{{"feature": [values]}}], not a '
            f"{type(rows).__name__}"
        )
    serialized = np.empty(len(rows), object)
    serialized[:] = [_serialized(row) for row in rows]
    return serialized


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(parsed(text))
    except (ServingError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        # true, false and null are JSON's alone.
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            reason = error if isinstance(error, ServingError) else "it holds more than literals"
            raise InvalidArgument(str(reason)) from error


def _serialized(row: object) -> bytes:
    if not isinstance(row, Mapping):
        raise InvalidArgument(f"an example is a dictionary, not {row!r:.80}")
    example = message_class("tensorflow.Example")()
    features: Any = example.features.feature
    for name, values in row.items():
        if not isinstance(name, str):
            raise InvalidArgument(f"a feature's name is a string, not {name!r:.80}")
        try:
            _fill(features[name], name, values if isinstance(values, list | tuple) else [values])
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidArgument(
                f"feature {name!r}: {values!r:.80} does not fit: {error}"
            ) from error
    return bytes(example.SerializeToString(deterministic=True))


def _fill(feature: WireMessage, name: str, values: list[Any] | tuple[Any, ...]) -> None:
    if not values:
        return
    if all(isinstance(value, str | bytes) for value in values):
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        feature.bytes_list.value.extend(texts)
    elif not all(isinstance(value, bool | int | float) for value in values):
        raise InvalidArgument(
            f"feature {name!r}: {list(values)!r:.80} is not a list of numbers or of strings"
        )
    elif any(isinstance(value, float) for value in values):
        feature.float_list.value.extend(map(float, values))
    else:
        feature.int64_list.value.extend(map(int, values))
