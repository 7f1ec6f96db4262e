"""Messages of Classify, Regress and MultiInference: serialized Examples in, results out."""

import numpy as np

from salver.codecs.example_context import with_context
from salver.codecs.messages import WireMessage
from salver.errors import InvalidArgument


def examples_of(serialized_input: WireMessage) -> np.ndarray:
    """The serialized Examples of a `salver.SerializedInput`: objects of bytes, shape [n].

    Raises:
        InvalidArgument: the context is too long for so many Examples.
    """
    kind = serialized_input.WhichOneof("kind")
    if kind == "example_list":
        return with_context(b"", serialized_input.example_list.examples)
    if kind == "example_list_with_context":
        shared = serialized_input.example_list_with_context
        return with_context(shared.context, shared.examples)
    return with_context(b"", ())


def fill_classifications(
    result: WireMessage, classes: np.ndarray | None, scores: np.ndarray | None
) -> None:
    """Write labels and scores, shape [n, classes] each or None, into a ClassificationResult.

    Raises:
        InvalidArgument: a label is not UTF-8, which the message cannot carry.
    """
    given = classes if classes is not None else scores
    assert given is not None
    # Present even without a row: the original always sets it.
    result.SetInParent()
    score_rows = [] if scores is None else scores.tolist()
    for index, row in enumerate(given):
        classifications = result.classifications.add()
        for position in range(len(row)):
            entry = classifications.classes.add()
            if classes is not None:
                entry.label = _text(classes[index, position])
            if scores is not None:
                entry.score = score_rows[index][position]


def fill_regressions(result: WireMessage, values: np.ndarray) -> None:
    """Write values, shape [n], into a RegressionResult."""
    result.SetInParent()
    for value in values.tolist():
        result.regressions.add().value = value


def _text(label: bytes) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"The model gave a class label that is not UTF-8: {label!r}"
        ) from error
