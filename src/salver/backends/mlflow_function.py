"""A model that only MLflow can load, as a function on arrays.

MLflow's `predict` takes a data frame where the signature names columns, an array where it has one
tensor, a dictionary where it has several.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from salver.backends.functions import Function
from salver.backends.mlflow_examples import example_functions
from salver.backends.mlflow_file import DATETIME, Field, MlflowFile
from salver.backends.mlflow_signature import input_specs
from salver.backends.prerequisites import imported
from salver.backends.type_hints import as_str
from salver.core.backend import BackendOptions
from salver.core.data_type import numpy_type_of
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from salver.errors import FailedPrecondition, InvalidArgument

UNNAMED_OUTPUT = "predictions"
_COLUMN_KINDS = ("boolean", "integer", "long", "float", "double", "string")
"""Types of columns that features of examples can be."""


class MlflowFunction:
    """A loaded `python_function`."""

    def __init__(self, root: Path, file: MlflowFile, options: BackendOptions) -> None:
        """Have MLflow load it, which runs code that lies there. From a load thread.

        Raises:
            FailedPrecondition: MLflow or pandas is missing, there is no signature, or the model
                cannot be loaded.
        """
        where = f"Model {options.model_name}"
        if file.inputs is None or file.outputs is None:
            raise FailedPrecondition(
                f"{where}: MLmodel has no signature of inputs and outputs; save the model with "
                "signature=mlflow.models.infer_signature(inputs, outputs)"
            )
        # A server tells nobody what it serves.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        pyfunc = imported("mlflow.pyfunc", options, "mlflow")
        self._pandas = imported("pandas", options, "mlflow")
        try:
            self._model = pyfunc.load_model(str(root))
        except Exception as error:
            raise FailedPrecondition(
                f"{where}: MLflow cannot load it: {type(error).__name__}: {error}"
            ) from error
        self._inputs = file.inputs
        self._parameters = file.parameters
        self._error: type[Exception] = imported(
            "mlflow.exceptions", options, "mlflow"
        ).MlflowException
        specs = input_specs(file.inputs)
        self._names = list(specs)
        self._outputs = _output_specs(file.outputs)
        self.signature = Signature(
            DEFAULT_SIGNATURE,
            {**specs, **{each.name: each.spec for each in file.parameters}},
            self._outputs,
            defaults={
                each.name: each.default for each in file.parameters if each.default is not None
            },
        )

    def functions(self) -> Iterator[tuple[Signature, Function]]:
        """All signatures, and what computes them."""
        yield self.signature, self.run
        if all(each.kind in _COLUMN_KINDS for each in self._inputs):
            yield from example_functions(self._inputs, self._outputs, self._raw(), self._of_table)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All rows at once.

        Raises:
            InvalidArgument: a text is no UTF-8, or no time.
        """
        count = len(self._inputs)
        parameters = {
            each.name: _parameter(array)
            for each, array in zip(self._parameters, arrays[count:], strict=True)
        }
        data = self._data(arrays[:count])
        return self._outputs_of(
            self._model.predict(data, params=parameters)
            if parameters
            else self._model.predict(data)
        )

    def _of_table(self, table: Sequence[np.ndarray], predict_proba: Any) -> list[np.ndarray]:
        """What Classify and Regress ask: of the function, or of the classifier inside of it.

        Raises:
            ValueError: MLflow refuses what is missing in the table.
        """
        data = self._data(table)
        if predict_proba is not None:
            return [np.asarray(predict_proba(data))]
        try:
            return self._outputs_of(self._model.predict(data))
        except self._error as error:
            raise ValueError(" ".join(str(error).split())) from error

    def _raw(self) -> Any:
        """The framework's own model, None where MLflow does not hand it out."""
        try:
            return self._model.get_raw_model()
        # Each flavor says in its own way that it has none; those of others may lack the method.
        except (self._error, AttributeError, NotImplementedError):
            return None

    def _outputs_of(self, found: Any) -> list[np.ndarray]:
        outputs = self._in_order(found)
        # What holds nothing has no type of its own in pandas.
        return [
            array if array.size else array.astype(numpy_type_of(spec.data_type))
            for array, spec in zip(outputs, self._outputs.values(), strict=True)
        ]

    def _data(self, arrays: Sequence[np.ndarray]) -> Any:
        if self._inputs[0].kind:
            columns = zip(self._names, self._inputs, arrays, strict=True)
            return self._pandas.DataFrame(
                {name: self._column(field, array) for name, field, array in columns}
            )
        if len(arrays) == 1 and not self._inputs[0].name:
            return _value(arrays[0])
        return {name: _value(array) for name, array in zip(self._names, arrays, strict=True)}

    def _column(self, field: Field, array: np.ndarray) -> Any:
        if field.kind == "binary":
            return array
        if field.kind != DATETIME:
            return _value(array)
        try:
            return self._pandas.to_datetime(_value(array))
        except (ValueError, TypeError) as error:
            raise InvalidArgument(f'input "{field.name}": {error}') from error

    def _in_order(self, found: Any) -> list[np.ndarray]:
        if len(self._outputs) == 1 and not isinstance(found, Mapping | self._pandas.DataFrame):
            return [_plain(found)]
        if isinstance(found, self._pandas.DataFrame) and len(found.columns) == len(self._outputs):
            return [_plain(found.iloc[:, i]) for i in range(len(self._outputs))]
        if len(self._outputs) == 1 and isinstance(found, self._pandas.DataFrame):
            return [found.to_numpy()]
        return [_plain(found[name]) for name in self._outputs]


def _output_specs(fields: Sequence[Field]) -> dict[str, TensorSpec]:
    if len(fields) == 1:
        return {fields[0].name or UNNAMED_OUTPUT: fields[0].spec}
    return {field.name or f"{UNNAMED_OUTPUT}_{i}": field.spec for i, field in enumerate(fields)}


def _value(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "O":
        return array
    if None in array.tolist():
        return np.array([None if each is None else each.decode() for each in array], object)
    return as_str(array)


def _plain(found: Any) -> np.ndarray:
    array = np.asarray(found)
    return array.astype(object) if array.dtype.kind == "T" else array


def _parameter(array: np.ndarray) -> Any:
    value = _value(array)
    return value.item() if value.ndim == 0 else value.tolist()
