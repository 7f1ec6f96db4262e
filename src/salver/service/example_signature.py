"""What Classify and Regress ask of a signature and of what comes out of it.

Pure functions over signatures and arrays. The rules, their order and the words of the
errors are TensorFlow Serving's (classifier.cc, regressor.cc).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from salver.core.data_type import DataType, data_type_of
from salver.core.signature import Signature, described
from salver.errors import InvalidArgument

_INPUTS = "inputs"
_OUTPUTS = "outputs"
_CLASSES = "classes"
_SCORES = "scores"


class Method(Enum):
    """The two ways to ask about examples, by the `method_name` of their signatures."""

    CLASSIFY = "tensorflow/serving/classify"
    REGRESS = "tensorflow/serving/regress"

    @property
    def api(self) -> str:
        """The name of the call, as metrics have it."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class Classification:
    """Classes and scores of n examples; what the model does not tell is None."""

    classes: np.ndarray | None
    """Labels as bytes, shape [n, number of classes]."""
    scores: np.ndarray | None
    """float32, shape [n, number of classes]."""


@dataclass(frozen=True, slots=True)
class Regression:
    """One value for each of n examples: float32, shape [n]."""

    values: np.ndarray


ExampleResult = Classification | Regression


def check_signature(signature: Signature, method: Method, check_method_name: bool) -> None:
    """Refuse a signature that cannot be used for `method`.

    Raises:
        InvalidArgument: its method name (if that is to be checked), inputs or outputs do not fit.
    """
    if check_method_name and signature.method_name != method.value:
        kind = "classification" if method is Method.CLASSIFY else "regression"
        raise InvalidArgument(
            f"Expected {kind} signature method_name to be {method.value}. "
            f"Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise InvalidArgument("Expected one input Tensor.")
    if method is Method.CLASSIFY:
        _check_classify(signature)
    else:
        _check_regress(signature)


def _check_classify(signature: Signature) -> None:
    count = len(signature.outputs)
    if count not in (1, 2):
        raise InvalidArgument(f"Expected one or two output Tensors, found {count}")
    if _INPUTS not in signature.inputs:
        raise InvalidArgument(
            f"No classification inputs found in SignatureDef: {described(signature)}"
        )
    if _CLASSES not in signature.outputs and _SCORES not in signature.outputs:
        raise InvalidArgument(
            "Expected classification signature outputs to contain at least one of "
            f'"{_CLASSES}" or "{_SCORES}". Signature was: {described(signature)}'
        )


def _check_regress(signature: Signature) -> None:
    if len(signature.outputs) != 1:
        raise InvalidArgument("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise InvalidArgument(f"No regression inputs found in SignatureDef: {described(signature)}")
    if _OUTPUTS not in signature.outputs:
        raise InvalidArgument(
            f"No regression outputs found in SignatureDef: {described(signature)}"
        )


def output_names(signature: Signature, method: Method) -> tuple[str, ...]:
    """The outputs that `method` needs, in the order that `result_of` takes them."""
    if method is Method.REGRESS:
        return (_OUTPUTS,)
    return tuple(name for name in (_CLASSES, _SCORES) if name in signature.outputs)


def result_of(
    method: Method, names: Sequence[str], outputs: Sequence[np.ndarray], count: int
) -> ExampleResult:
    """Make the result of `count` examples from the outputs called `names`.

    Raises:
        InvalidArgument: an output has the wrong shape or type.
    """
    if method is Method.REGRESS:
        return _regression(outputs[0], count)
    named = dict(zip(names, outputs, strict=True))
    return _classification(named.get(_CLASSES), named.get(_SCORES), count)


def _classification(
    classes: np.ndarray | None, scores: np.ndarray | None, count: int
) -> Classification:
    expected: list[tuple[str, np.ndarray | None, DataType]] = [
        (_CLASSES, classes, DataType.STRING),
        (_SCORES, scores, DataType.FLOAT),
    ]
    present = [(name, array, kind) for name, array, kind in expected if array is not None]
    for name, array, kind in present:
        if array.ndim != 2:
            raise InvalidArgument(
                "Expected Tensor shape: [batch_size num_classes] but got " + _shape_text(array)
            )
        _check_type(array, kind, f"Expected {name} Tensor of {{}}. Got: {{}}".format)
    for name, array, _ in present:
        if len(array) != count:
            raise InvalidArgument(
                f"Expected {name} output batch size of {count}. Got: {len(array)}"
            )
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise InvalidArgument(
            "Tensors class and score should match in dim_size(1). "
            f"Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    return Classification(classes, scores)


def _regression(values: np.ndarray, count: int) -> Regression:
    if values.ndim != 1 and not (values.ndim == 2 and values.shape[1] == 1):
        raise InvalidArgument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            + _shape_text(values)
        )
    if len(values) != count:
        raise InvalidArgument(
            f"Input batch size did not match output batch size: {count} vs. {len(values)}"
        )
    _check_type(values, DataType.FLOAT, "Expected output Tensor of {}.  Got: {}".format)
    return Regression(values.reshape(count))


def _check_type(array: np.ndarray, expected: DataType, text: Callable[[str, str], str]) -> None:
    found = data_type_of(array.dtype)
    if found is not expected:
        raise InvalidArgument(text(expected.label, found.label))


def _shape_text(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"
