"""Classify and Regress for models that MLflow loads as a `python_function`.

Such a function does not say what it is. It is asked Regress where it gives one float for each row,
and Classify where MLflow hands out a classifier with the interface of scikit-learn.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from salver.backends.columns import Column, Layout, Table
from salver.backends.functions import Function
from salver.backends.mlflow_file import Field
from salver.backends.table_functions import (
    Labels,
    Method,
    classification,
    example_function,
    regression,
)
from salver.core.data_type import DataType
from salver.core.signature import Signature, TensorSpec

Answer = Callable[[Sequence[np.ndarray], Any], Sequence[np.ndarray]]
"""From one array for each column, and the classifier's `predict_proba` or None."""


def example_functions(
    fields: Sequence[Field], outputs: Mapping[str, TensorSpec], raw: Any, answer: Answer
) -> Iterator[tuple[Signature, Function]]:
    """The signature for Classify or Regress, if the model can answer one.

    Args:
        fields: its columns; their names are those of the features.
        outputs: what the function gives.
        raw: the framework's own model, if there is one.
        answer: asks the model.
    """
    method = _method(outputs, raw, answer)
    if method is not None:
        yield example_function(method, Layout(tuple(map(_column, fields)), None))


def _method(outputs: Mapping[str, TensorSpec], raw: Any, answer: Answer) -> Method | None:
    predict_proba = getattr(raw, "predict_proba", None)
    if predict_proba is not None:
        classes = getattr(raw, "classes_", None)
        if not isinstance(classes, np.ndarray) or classes.ndim != 1:
            return None
        return classification(
            Labels(classes), lambda table: answer(_columns(table), predict_proba)[0]
        )
    numbers = [spec for spec in outputs.values() if spec.data_type in _FLOATS]
    if len(numbers) == len(outputs) == 1 and numbers[0].shape in ((-1,), (-1, 1)):
        return regression(lambda table: answer(_columns(table), None)[0].reshape(-1))
    return None


def _columns(table: Table) -> list[np.ndarray]:
    assert isinstance(table, list)
    return table


def _column(field: Field) -> Column:
    is_text = field.spec.data_type is DataType.STRING
    return Column(field.name, field.spec.data_type, None if is_text else np.nan)


_FLOATS = (DataType.FLOAT, DataType.DOUBLE)
