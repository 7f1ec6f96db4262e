"""A document that PMML4S has read, as functions on arrays.

Each field of the data dictionary that the model uses is an input with one value a row. NaN and the
empty string are missing values, which the model treats as its mining schema says. What it cannot
compute for a row is NaN, the empty string, or the least integer.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from salver.backends.columns import Column, Layout, Table
from salver.backends.functions import Function, byte_strings, tensor
from salver.backends.jvm import Java
from salver.backends.table_functions import (
    Labels,
    Method,
    classification,
    default_method,
    regression,
    table_functions,
)
from salver.core.data_type import DataType
from salver.core.signature import Signature, TensorSpec
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
_WHOLE: dict[DataType, type] = {DataType.INT64: int, DataType.BOOL: bool}
"""Columns that come as floats where some of their values are missing."""


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
        inputs = _specs(model.inputFields(), where)
        outputs = _specs(model.outputFields(), where)
        if not outputs:
            raise Unimplemented(f"{where}: the document has no output that can be computed")
        self._layout = Layout(tuple(map(_column, inputs, inputs.values())), None)
        self._output_types = [_numpy_type(spec) for spec in model.outputFields()]
        self._row = java.jpype.JArray(java.jpype.JObject)
        self._outputs = outputs

    def functions(self) -> Iterator[tuple[Signature, Function]]:
        """All signatures, and what computes them; call within `Java.calls`."""
        # Made here, not kept: what holds itself is not given back at once.
        default = default_method(self._outputs, self._run)
        return table_functions(self._layout, [default], self._asked_with_examples())

    def _run(self, table: Table) -> list[np.ndarray]:
        """One value a row and field in, one a row and output out.

        Raises:
            InvalidArgument: a text is no UTF-8.
        """
        columns = list(map(_values, self._layout.columns, table))
        with self._java.calls("the model cannot compute"):
            predict, row = self._model.predict, self._row
            rows = [list(predict(row(values))) for values in zip(*columns, strict=True)]
            return [
                _array((values[i] for values in rows), len(rows), numpy_type)
                for i, numpy_type in enumerate(self._output_types)
            ]

    def _asked_with_examples(self) -> Method | None:
        """What Classify or Regress ask, if the model can answer; call within `Java.calls`."""
        features = [str(each.feature()) for each in self._model.outputFields()]
        if self._model.isClassification():
            found = {
                str(each.value().get()): i
                for i, each in reversed(list(enumerate(self._model.outputFields())))
                if features[i] == "probability" and each.value().isDefined()
            }
            chosen = dict(sorted(found.items(), key=lambda pair: pair[1]))
            if not chosen or len(chosen) != self._model.numClasses():
                return None
            labels = Labels(byte_strings(np.array(list(chosen), object)))
            return classification(labels, lambda table: self._known(table, list(chosen.values())))
        numbers = [
            i
            for i, spec in enumerate(self._outputs.values())
            if features[i] == "predictedValue" and spec.data_type is not DataType.STRING
        ]
        if self._model.isRegression() and len(numbers) == 1:
            return regression(lambda table: self._known(table, numbers)[:, 0])
        return None

    def _known(self, table: Table, chosen: Sequence[int]) -> np.ndarray:
        """Some outputs side by side: shape [rows, outputs].

        Raises:
            ValueError: the model cannot compute one of them.
        """
        outputs = self._run(table)
        found = np.stack([outputs[i].astype(np.float64) for i in chosen], axis=1)
        unknown = np.flatnonzero(np.isnan(found).any(axis=1))
        if len(unknown):
            raise ValueError(f"the model can compute nothing for example {unknown[0]}")
        return found


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


def _column(name: str, spec: TensorSpec) -> Column:
    missing = b"" if spec.data_type is DataType.STRING else np.nan
    return Column(name, spec.data_type, missing)


def _numpy_type(field: Any) -> type:
    return _NUMPY_TYPES[str(field.dataType())]


def _values(column: Column, array: np.ndarray) -> list[Any]:
    """As Java takes them: None stands for missing."""
    if array.dtype.kind == "O":
        try:
            return [text.decode() or None for text in array]
        except UnicodeDecodeError as error:
            message = f'input "{column.name}": a string is no UTF-8: {error}'
            raise InvalidArgument(message) from error
    values: list[Any] = array.tolist()
    convert = _WHOLE.get(column.data_type)
    if convert is None or array.dtype.kind != "f":
        return values
    return [None if np.isnan(value) else convert(value) for value in values]


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
