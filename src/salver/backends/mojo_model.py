"""A MOJO that H2O's genmodel has read, as functions on arrays.

Every column that the model was trained on is an input with one value a row: a string where it is
categorical, else a double. NaN and the empty string are missing values; so are categories that
training did not see, as where H2O itself predicts.
Source: https://docs.h2o.ai/h2o/latest-stable/h2o-genmodel/javadoc/index.html.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from salver.backends.columns import Column, Layout, Table
from salver.backends.functions import Function, tensor
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
from salver.errors import Unimplemented

_CATEGORIES = frozenset(
    ("Binomial", "Multinomial", "Ordinal", "Regression", "Clustering", "AnomalyDetection")
)
"""Kinds of models whose `score0` gives what `getOutputNames` calls it."""
_CLASSIFIERS = ("Binomial", "Multinomial", "Ordinal")
"""Those whose outputs are the class and then the probability of each."""
_PLAIN_ENCODING = "AUTO"


class MojoModel:
    """The model of one archive. From any thread."""

    def __init__(self, java: Java, model: Any, where: str) -> None:
        """Ask for its columns; call within `Java.calls`.

        Raises:
            Unimplemented: it is a kind of model that gives no values a row.
        """
        category = str(model.getModelCategory())
        if category not in _CATEGORIES:
            raise Unimplemented(
                f"{where}: a model of the category {category} cannot be served, only those of "
                f"{', '.join(sorted(_CATEGORIES))}"
            )
        encoding = str(model.getCategoricalEncoding())
        if encoding != _PLAIN_ENCODING:
            raise Unimplemented(
                f"{where}: a model that was trained with categorical_encoding {encoding} cannot be "
                f"served, only with {_PLAIN_ENCODING}"
            )
        self._java = java
        self._model = model
        offset = model.getOffsetName()
        self._has_offset = offset is not None
        self._levels = _levels(model)
        columns = [
            Column(name, DataType.DOUBLE, np.nan)
            if levels is None
            else Column(name, DataType.STRING, b"")
            for name, levels in self._levels.items()
        ]
        if self._has_offset:
            columns.append(Column(str(offset), DataType.DOUBLE, np.nan))
        self._layout = Layout(tuple(columns), None)
        self._outputs = _outputs(model)
        # Which cluster it is, is a number of its own.
        number = np.int64 if category == "Clustering" else np.float64
        outputs: dict[str, TensorSpec] = {
            name: tensor(number if texts is None else np.object_, (-1,))
            for name, texts in self._outputs.items()
        }
        self._number = np.dtype(number)
        self._size = int(model.getPredsSize())
        self._specs = outputs
        self._category = category

    def functions(self) -> Iterator[tuple[Signature, Function]]:
        """All signatures, and what computes them."""
        # Made here, not kept: what holds itself is not given back at once.
        default = default_method(self._specs, self._run)
        return table_functions(self._layout, [default], self._asked_with_examples(self._category))

    def _run(self, table: Table) -> list[np.ndarray]:
        """One value a row and column in, one a row and output out."""
        found = self._numbers(table)
        outputs = []
        for i, texts in enumerate(self._outputs.values()):
            column = found[:, i]
            if texts is None:
                outputs.append(column.astype(self._number))
            else:
                outputs.append(texts[column.astype(np.int64)])
        return outputs

    def _asked_with_examples(self, category: str) -> Method | None:
        """What Classify or Regress ask, if the model can answer."""
        if category == "Regression":
            return regression(lambda table: self._with_offsets(table)[:, 0])
        texts = next(iter(self._outputs.values()))
        if category not in _CLASSIFIERS or texts is None:
            return None
        return classification(
            Labels(texts), lambda table: self._with_offsets(table)[:, 1 : len(texts) + 1]
        )

    def _with_offsets(self, table: Table) -> np.ndarray:
        """As `_numbers`.

        Raises:
            ValueError: an offset is missing, without which nothing can be computed.
        """
        if self._has_offset and np.isnan(table[-1]).any():
            raise ValueError("the model needs its offset")
        return self._numbers(table)

    def _numbers(self, table: Table) -> np.ndarray:
        """What the model gives for each row, as it numbers its classes."""
        columns = [
            array if levels is None else _codes(array, levels)
            for array, levels in zip(table, self._levels.values(), strict=False)
        ]
        rows = np.column_stack(columns)
        with self._java.calls("the model cannot compute"):
            return self._scored(rows, table[-1] if self._has_offset else None)

    def _scored(self, rows: np.ndarray, offsets: np.ndarray | None) -> np.ndarray:
        """Call within `Java.calls`."""
        array = self._java.jpype.JArray
        # Some kinds keep what they compute with in the model.
        score = self._model.internal_threadSafeInstance().score0
        given = array.of(np.ascontiguousarray(rows))
        found = array.of(np.zeros((len(rows), self._size)))
        if offsets is None:
            for row, predictions in zip(given, found, strict=True):
                score(row, predictions)
        else:
            for row, offset, predictions in zip(given, offsets.tolist(), found, strict=True):
                score(row, offset, predictions)
        return np.array(found)


def _levels(model: Any) -> dict[str, dict[bytes, float] | None]:
    """The columns in the order of a row, each with the codes of its categories, if it has any."""
    columns: dict[str, dict[bytes, float] | None] = {}
    for i in range(int(model.nfeatures())):
        domain = model.getDomainValues(i)
        columns[str(model.getNames()[i])] = (
            None
            if domain is None
            else {str(level).encode(): float(code) for code, level in enumerate(domain)}
        )
    return columns


def _codes(array: np.ndarray, levels: dict[bytes, float]) -> np.ndarray:
    nothing = np.nan
    return np.fromiter((levels.get(text, nothing) for text in array), np.float64, len(array))


def _outputs(model: Any) -> dict[str, np.ndarray | None]:
    """By name, in the order of `score0`: the texts that a number stands for, None if it is one."""
    names = [str(name) for name in model.getOutputNames()]
    outputs: dict[str, np.ndarray | None] = {}
    for name, domain in zip(names, model.getOutputDomains(), strict=True):
        texts = None
        if domain is not None:
            texts = np.empty(len(domain), object)
            texts[:] = [str(text).encode() for text in domain]
        outputs[name] = texts
    return outputs
