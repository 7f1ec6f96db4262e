"""A document that PMML4S has read, as a function on arrays.

Each field of the data dictionary that the model uses is an input with one value a row. NaN and the
empty string are missing values, which the model treats as its mining schema says. What it cannot
compute for a row is NaN, the empty string, or the least integer.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from salver.backends.functions import tensor
from salver.backends.jvm import Java
from salver.backends.jvm_columns import require_as_many
from salver.core.signature import TensorSpec
from salver.errors import InvalidArgument, Unimplemented

_NUMPY_TYPES: dict[str, type] = {
    "double": np.float64,
    "real": np.float64,
    "numeric": np.float64,
    "float": np.float32,
    "integer": np.int64,
    "boolean": np.bool_,
    "string": np.object_,
    "date": np.object_,
    "time": np.object_,
    "dateTime": np.object_,
}
"""By the names that PMML and PMML4S have for them; times are texts as in ISO 8601."""
_LEAST = np.iinfo(np.int64).min


class PmmlModel:
    """The model of one document. From any thread."""

    def __init__(self, java: Java, model: Any, where: str) -> None:
        """Ask for its fields; call within `Java.calls`.

        Raises:
            Unimplemented: a field has a type that no tensor can have.
        """
        self._java = java
        self._where = where
        # The class as well, where the document only names probabilities.
        model.setSupplementOutput(True)
        self._model = model
        self.inputs = _specs(model.inputFields(), where)
        self.outputs = _specs(model.outputFields(), where)
        if not self.outputs:
            raise Unimplemented(f"{where}: the document has no output that can be computed")
        self._input_names = list(self.inputs)
        self._output_types = [_numpy_type(spec) for spec in model.outputFields()]
        self._row = java.jpype.JArray(java.jpype.JObject)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One value a row and field in, one a row and output out.

        Raises:
            InvalidArgument: the inputs do not have the same number of rows, or a text is no UTF-8.
        """
        require_as_many(self._input_names, arrays)
        columns = [
            _values(array, name) for name, array in zip(self._input_names, arrays, strict=True)
        ]
        with self._java.calls("the model cannot compute"):
            predict, row = self._model.predict, self._row
            rows = [list(predict(row(values))) for values in zip(*columns, strict=True)]
            return [
                _array((values[i] for values in rows), len(rows), numpy_type)
                for i, numpy_type in enumerate(self._output_types)
            ]


def _specs(fields: Any, where: str) -> dict[str, TensorSpec]:
    specs = {}
    for each in fields:
        name = str(each.name())
        numpy_type = _NUMPY_TYPES.get(str(each.dataType()))
        if numpy_type is None:
            raise Unimplemented(
                f'{where}: the field "{name}" has the type {each.dataType()}, which is none of '
                f"{', '.join(_NUMPY_TYPES)}"
            )
        specs[name] = tensor(numpy_type, (-1,))
    return specs


def _numpy_type(field: Any) -> type:
    return _NUMPY_TYPES[str(field.dataType())]


def _values(array: np.ndarray, name: str) -> list[Any]:
    """As Java takes them: None stands for missing."""
    if array.dtype.kind != "O":
        values: list[Any] = array.tolist()
        return values
    try:
        return [text.decode() or None for text in array]
    except UnicodeDecodeError as error:
        raise InvalidArgument(f'input "{name}": a string is no UTF-8: {error}') from error


def _array(values: Any, size: int, numpy_type: type) -> np.ndarray:
    convert, missing = _CONVERSIONS[numpy_type]
    found = [missing if value is None else convert(value) for value in values]
    array: np.ndarray = np.empty(size, numpy_type)
    array[:] = found
    return array


_CONVERSIONS: dict[type, tuple[Callable[[Any], Any], Any]] = {
    np.float64: (float, np.nan),
    np.float32: (float, np.nan),
    np.int64: (int, _LEAST),
    np.bool_: (bool, False),
    np.object_: (lambda value: str(value).encode(), b""),
}
