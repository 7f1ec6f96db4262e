"""What models of boosted trees are asked: classes and probabilities, or values; and raw scores."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from salver.backends.columns import Layout, Table
from salver.backends.functions import Function, tensor
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
from salver.core.signature import Signature

RAW_SCORES = "raw_scores"
"""The signature for the sums over the trees, before the objective makes something of them."""

Scores = Callable[[Table], np.ndarray]
"""Shape [rows] or [rows, outputs]."""


def boosted_functions(
    layout: Layout, labels: Labels | None, values: Scores, raw_scores: Scores, probe: Table
) -> Iterator[tuple[Signature, Function]]:
    """All signatures of a model.

    Args:
        layout: its columns.
        labels: its classes, None if it has none.
        values: what the objective makes of the scores: probabilities where there are classes,
            only that of the second where there are two.
        raw_scores: the scores themselves.
        probe: a table of one row, with which both are run once.
    """
    raw = raw_scores(probe)
    value = values(probe)
    examples: Method | None = None
    if labels is not None:
        probabilities = _all_probabilities(values)
        examples = classification(labels, probabilities)
        default = _classifier(labels, probabilities, value.dtype)
    else:
        outputs = {OUTPUTS: tensor(value.dtype, (-1, *value.shape[1:]))}
        default = default_method(outputs, lambda table: [values(table)])
        if value.ndim == 1:
            examples = regression(values)
    scores = {SCORES: tensor(raw.dtype, (-1, *raw.shape[1:]))}
    scored = Method(RAW_SCORES, scores, lambda table: [raw_scores(table)])
    return table_functions(layout, [default, scored], examples)


def _all_probabilities(values: Scores) -> Scores:
    def probabilities(table: Table) -> np.ndarray:
        found = values(table)
        return found if found.ndim == 2 else np.stack([1 - found, found], axis=1)

    return probabilities


def _classifier(labels: Labels, probabilities: Scores, numpy_type: np.dtype) -> Method:
    def classify(table: Table) -> Sequence[np.ndarray]:
        found = probabilities(table)
        return [labels.values[found.argmax(axis=1)], found]

    outputs = {CLASSES: labels.spec, PROBABILITIES: tensor(numpy_type, (-1, len(labels.values)))}
    return default_method(outputs, classify)
