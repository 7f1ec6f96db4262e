"""What a fitted estimator of scikit-learn computes, by signature."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from salver.backends.columns import Table
from salver.backends.functions import FunctionServable, tensor
from salver.backends.prerequisites import imported
from salver.backends.sklearn_columns import RowForm, forget_names, row_form
from salver.backends.sklearn_threads import CallingThreads
from salver.backends.table_functions import (
    CLASSES,
    OUTPUTS,
    PROBABILITIES,
    SCORES,
    Labels,
    Method,
    classification,
    default_method,
    regression,
    table_functions,
)
from salver.core.backend import BackendOptions
from salver.core.data_type import DataType
from salver.core.signature import TensorSpec
from salver.errors import FailedPrecondition

_METHODS = {
    "predict": OUTPUTS,
    "predict_proba": PROBABILITIES,
    "decision_function": SCORES,
    "transform": OUTPUTS,
}
"""Methods of estimators that are signatures, and what their outputs are called."""

Rows = Any
"""Rows as scikit-learn takes them: a matrix, a data frame, a list of texts."""


class SklearnModel:
    """A loaded estimator. From any thread, several calls at once."""

    def __init__(self, estimator: Any, options: BackendOptions) -> None:
        """Look at the estimator. From a load thread.

        Raises:
            FailedPrecondition: it cannot be served, or something is not installed.
        """
        self._where = f"Model {options.model_name}"
        self._name = options.model_name
        if not any(hasattr(estimator, name) for name in ("predict", "transform")):
            raise FailedPrecondition(
                f"{self._where}: a {type(estimator).__name__} can neither predict nor transform"
            )
        self._estimator = estimator
        self._base: Any = imported("sklearn.base", options, "sklearn")
        self._forest = imported("sklearn.ensemble", options, "sklearn").RandomForestClassifier
        self._form: RowForm = row_form(estimator, f"{self._where}: a {type(estimator).__name__}")
        self._pandas: Any = None
        if self._form.as_frame:
            self._pandas = imported("pandas", options, "sklearn")
        else:
            forget_names(estimator)
        self._threads = CallingThreads(options)

    def servable(self) -> FunctionServable:
        """Run each method once to see what it gives, and make the servable.

        Raises:
            FailedPrecondition: none can be run.
        """
        methods = list(self._methods())
        functions = table_functions(self._form.layout, methods, self._examples())
        return FunctionServable(self._name, functions)

    def _methods(self) -> Iterator[Method]:
        estimator = self._estimator
        is_classifier = self._base.is_classifier(estimator)
        own = {name: getattr(estimator, name) for name in _METHODS if hasattr(estimator, name)}
        if is_classifier and "predict_proba" in own:
            names = (CLASSES, PROBABILITIES)
            yield self._method("serving_default", names, self._predict_both)
        else:
            first = "predict" if "predict" in own else "transform"
            name = CLASSES if is_classifier else OUTPUTS
            yield self._method("serving_default", (name,), _alone(own[first]))
        for name, run in own.items():
            output = CLASSES if is_classifier and name == "predict" else _METHODS[name]
            yield self._method(name, (output,), _alone(run))

    def _predict_both(self, rows: Rows) -> Sequence[Any]:
        """Classes and probabilities, without doing twice what they have in common."""
        model = self._estimator
        while type(model).__name__ == "Pipeline" and len(model.steps) > 1:
            rows = model[:-1].transform(rows)
            model = model[-1]
        if self._is_forest(model):
            probabilities = model.predict_proba(rows)
            return model.classes_.take(probabilities.argmax(axis=1)), probabilities
        return model.predict(rows), model.predict_proba(rows)

    def _is_forest(self, model: Any) -> bool:
        """Whether its classes are, by definition, those of the highest probabilities."""
        return type(model).predict is self._forest.predict and model.n_outputs_ == 1

    def _method(
        self, name: str, outputs: Sequence[str], run: Callable[[Rows], Sequence[Any]]
    ) -> Method:
        def compute(table: Table) -> Sequence[np.ndarray]:
            self._threads.set_up()
            return [array for each in run(self._rows(table)) for array in _arrays(each)]

        specs: dict[str, TensorSpec] = {}
        self._threads.set_up()
        for output, found in zip(outputs, self._tried(name, run), strict=True):
            arrays = _arrays(found)
            for i, array in enumerate(arrays):
                alias = output if len(arrays) == 1 else f"{output}_{i}"
                specs[alias] = self._spec(array, name)
        if name == "serving_default":
            return default_method(specs, compute)
        return Method(name, specs, compute)

    def _tried(self, name: str, run: Callable[[Rows], Sequence[Any]]) -> Sequence[Any]:
        try:
            return run(self._rows(self._form.probe))
        except Exception as error:
            raise FailedPrecondition(
                f"{self._where}: {name} fails on a row of zeros and known categories: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _spec(self, array: np.ndarray, name: str) -> TensorSpec:
        if array.ndim == 0 or len(array) != 1:
            raise FailedPrecondition(f"{self._where}: {name} does not give one result for each row")
        return tensor(array.dtype, (-1, *array.shape[1:]))

    def _examples(self) -> Method | None:
        """What Classify or Regress ask, if the model can answer."""
        estimator = self._estimator
        if self._base.is_classifier(estimator):
            classes = getattr(estimator, "classes_", None)
            scores = next((n for n in list(_METHODS)[1:3] if hasattr(estimator, n)), None)
            if not isinstance(classes, np.ndarray) or classes.ndim != 1 or scores is None:
                return None
            run = getattr(estimator, scores)
            made = classification(Labels(classes), lambda t: _by_class(self._called(run, t)))
            found = _by_class(self._called(run, self._form.probe))
            return made if found.shape == (1, len(classes)) else None
        if self._base.is_regressor(estimator):
            run = estimator.predict
            if self._called(run, self._form.probe).ndim == 1:
                return regression(lambda table: self._called(run, table))
        return None

    def _called(self, run: Callable[[Rows], Any], table: Table) -> np.ndarray:
        self._threads.set_up()
        return np.asarray(run(self._rows(table)))

    def _rows(self, table: Table) -> Rows:
        if isinstance(table, np.ndarray):
            if table.dtype == object:
                return np.array([_texts(row) for row in table], object).reshape(table.shape)
            if self._pandas is None:
                return table
            names = [column.name for column in self._form.layout.columns]
            return self._pandas.DataFrame(table, columns=names)
        columns = self._form.layout.columns
        decoded = [
            _texts(array) if column.data_type is DataType.STRING else array
            for column, array in zip(columns, table, strict=True)
        ]
        if self._form.is_text:
            return decoded[0]
        if self._pandas is None:
            return np.stack([np.asarray(array, object) for array in decoded], axis=1)
        named = zip((column.name for column in columns), decoded, strict=True)
        return self._pandas.DataFrame(dict(named))


def _alone(run: Callable[[Rows], Any]) -> Callable[[Rows], Sequence[Any]]:
    return lambda rows: (run(rows),)


def _texts(array: np.ndarray) -> list[Any]:
    """Strings as Python has them; what is missing stays what it is."""
    return [each.decode() if isinstance(each, bytes) else each for each in array.tolist()]


def _arrays(found: Any) -> list[np.ndarray]:
    """What a method gave: one array, or one for each of several outputs."""
    if isinstance(found, list):
        return [_array(each) for each in found]
    return [_array(found)]


def _array(found: Any) -> np.ndarray:
    dense = found.toarray() if hasattr(found, "toarray") else found
    return np.asarray(dense)


def _by_class(scores: np.ndarray) -> np.ndarray:
    """One score for each class, where two classes have one score for both."""
    return scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)
