"""What a fitted estimator of scikit-learn wants its rows to be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.backends.columns import INPUTS, Column, Layout, Table
from salver.backends.object_graph import parts_of
from salver.core.data_type import DataType, numpy_type_of
from salver.errors import FailedPrecondition

_DELEGATES = ("best_estimator_", "estimator_", "estimator", "_preprocessor")
"""Attributes of estimators that hand their rows on as they are."""
_LOOKS_AT_NAMES = ("ColumnTransformer", "FunctionTransformer")

Known = tuple[DataType, object]
"""The type of a column, and a value that may stand in it."""
_NUMBER: Known = (DataType.DOUBLE, 0.0)
_WORD: Known = (DataType.STRING, b"")


@dataclass(frozen=True, slots=True)
class RowForm:
    """The layout of the rows, how they are handed over, and a table of one row."""

    layout: Layout
    is_text: bool
    """Whether a row is one text, and a table a list of them."""
    as_frame: bool
    """Whether tables have to be data frames of pandas, with the names of the columns."""
    probe: Table


def row_form(estimator: Any, where: str) -> RowForm:
    """Find out what the rows are.

    Raises:
        FailedPrecondition: they are nothing that a table can hold, or it cannot be told.
    """
    if _takes_text(estimator, where):
        text = Layout((Column(INPUTS, DataType.STRING, missing=b""),), None)
        return RowForm(text, True, False, [_filled(_WORD)])
    names = getattr(estimator, "feature_names_in_", None)
    count = getattr(estimator, "n_features_in_", None)
    if count is None:
        raise FailedPrecondition(
            f"{where} does not tell how many features it takes: it has no n_features_in_"
        )
    has_names = names is not None
    labels = [f"x{i}" for i in range(count)] if names is None else [str(name) for name in names]
    positions = {name: i for i, name in enumerate(labels)}
    known = dict.fromkeys(range(count), _NUMBER)
    for position, found in _known_columns(estimator, positions, range(count)):
        if known[position] == _NUMBER:
            known[position] = found
    kinds = {data_type for data_type, _ in known.values()}
    columns = tuple(Column(label, known[i][0]) for i, label in enumerate(labels))
    row = [_filled(each) for each in known.values()]
    # Words without names are a matrix, too: scikit-learn knows such columns by their order.
    alike = kinds == {DataType.DOUBLE} or (kinds == {DataType.STRING} and not has_names)
    matrix = kinds.pop() if alike else None
    probe: Table = row if matrix is None else np.stack(row, axis=1)
    as_frame = has_names and (matrix is None or _looks_at_names(estimator))
    layout = Layout(columns, matrix, has_names or matrix is None)
    return RowForm(layout, False, as_frame, probe)


def forget_names(estimator: Any) -> None:
    """Have an estimator that does not look at names not ask for them with each request."""
    for part in parts_of(estimator):
        vars_of_part = getattr(part, "__dict__", {})
        if "feature_names_in_" in vars_of_part:
            del vars_of_part["feature_names_in_"]


def _takes_text(estimator: Any, where: str) -> bool:
    first = estimator
    while steps := getattr(first, "steps", None):
        first = steps[0][1]
    for part in _delegated(first):
        if _takes_text(part, where):
            return True
    if hasattr(first, "feature_names_in_") or hasattr(first, "n_features_in_"):
        return False
    kinds = {each.__name__ for each in type(first).__mro__}
    if kinds & {"DictVectorizer", "FeatureHasher"}:
        raise FailedPrecondition(f"{where} takes dictionaries, which no tensor can hold")
    return bool(kinds & {"CountVectorizer", "HashingVectorizer"})


def _delegated(estimator: Any) -> Iterator[Any]:
    """The estimators that an estimator gives its rows to as they are."""
    for name in _DELEGATES:
        found = getattr(estimator, name, None)
        if found is not None and not isinstance(found, str):
            yield found
    for _, part in getattr(estimator, "transformer_list", ()):
        yield part
    ensemble = getattr(estimator, "estimators_", None)
    if isinstance(ensemble, list):
        yield from ensemble[:1]


def _known_columns(
    estimator: Any, positions: Mapping[str, int], chosen: Sequence[int]
) -> Iterator[tuple[int, Known]]:
    """What is known of the columns at `chosen`, which are all that the estimator gets."""
    kind = type(estimator).__name__
    if hasattr(estimator, "steps"):
        first = next((step for _, step in estimator.steps if step not in (None, "passthrough")), 0)
        yield from _known_columns(first, positions, chosen)
    elif kind == "ColumnTransformer":
        inner = {f"{name}": transformer for name, transformer, _ in estimator.transformers_}
        for name, indices in estimator._transformer_to_input_indices.items():
            part = [chosen[i] for i in indices]
            yield from _known_columns(inner.get(name), positions, part)
    elif hasattr(estimator, "categories_"):
        for position, categories in zip(chosen, estimator.categories_, strict=False):
            yield position, _known_of(np.asarray(categories))
    elif _takes_words(estimator):
        yield from ((position, _WORD) for position in chosen)
    for part in _delegated(estimator):
        yield from _known_columns(part, positions, chosen)


def _takes_words(estimator: Any) -> bool:
    """Whether a transformer of columns was fitted to words or texts."""
    is_vectorizer = "CountVectorizer" in {each.__name__ for each in type(estimator).__mro__}
    fitted: np.dtype = getattr(estimator, "_fit_dtype", np.dtype(float))
    return is_vectorizer or fitted.kind == "O"


def _known_of(categories: np.ndarray) -> Known:
    """The type of a column whose values are these."""
    values = [value for value in categories.tolist() if value is not None and value == value]
    if not values:
        return _NUMBER
    first = values[0]
    if isinstance(first, str):
        return DataType.STRING, first.encode()
    if isinstance(first, bool):
        return DataType.BOOL, first
    if all(isinstance(value, int) for value in values):
        return DataType.INT64, first
    return DataType.DOUBLE, float(first)


def _looks_at_names(estimator: Any) -> bool:
    for part in parts_of(estimator):
        kind = type(part)
        if kind.__name__ in _LOOKS_AT_NAMES or hasattr(part, "_sklearn_output_config"):
            return True
        if hasattr(part, "get_params") and not kind.__module__.startswith("sklearn."):
            return True
    return False


def _filled(known: Known) -> np.ndarray:
    data_type, value = known
    array = np.empty(1, numpy_type_of(data_type))
    array[0] = value
    return array
