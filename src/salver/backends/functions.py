"""Servables made of plain functions: one for each signature, from arrays to arrays.

Enough for every framework that computes all outputs at once and says so in Python. What is
common to them is done here: names of tensors, checks of inputs, order and types of outputs.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from salver.backends.input_check import InputCheck
from salver.backends.signature_def import signature_def_map_of
from salver.core.data_type import data_type_of, numpy_type_of
from salver.core.servable import Program
from salver.core.signature import Signature, TensorSpec
from salver.errors import InternalError, InvalidArgument, ServingError, Unavailable

logger = logging.getLogger(__name__)

PREDICT = "tensorflow/serving/predict"
"""The method name of signatures that are for Predict."""

Function = Callable[[Sequence[np.ndarray]], Sequence[Any]]
"""Arrays in the order of the signature's inputs to arrays, or what NumPy makes arrays of, in the
order of its outputs.

Called from any thread, also from several at once. The inputs are as `InputCheck` leaves them and
may not be written to. A `ServingError` goes to the client as it is, a `ValueError` as
INVALID_ARGUMENT, anything else as INTERNAL.
"""


class FunctionServable:
    """A loaded version. From any thread."""

    def __init__(self, model_name: str, functions: Iterable[tuple[Signature, Function]]) -> None:
        """Make the servable.

        Args:
            model_name: for messages.
            functions: the signatures, each with what computes it. Names of tensors are given
                here: whatever `TensorSpec.name` says does not count.
        """
        self._model_name = model_name
        self._functions: dict[str, tuple[Signature, Function]] = {}
        for signature, function in functions:
            own = _with_names(signature)
            self._functions[own.name] = (own, function)
        self.signatures: Mapping[str, Signature] = {
            name: signature for name, (signature, _) in self._functions.items()
        }
        self.signature_def_map = signature_def_map_of(self.signatures.values())

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        """The way through the signature that has these tensors; each input is fed once.

        Where there is none, it is an error of every run, as with TensorFlow.
        """
        for signature, _ in self._functions.values():
            inputs = [spec.name for spec in signature.inputs.values()]
            outputs = [spec.name for spec in signature.outputs.values()]
            if sorted(inputs) == sorted(feeds) and set(fetches) <= set(outputs):
                order = None if inputs == list(feeds) else [feeds.index(name) for name in inputs]
                chosen = [outputs.index(name) for name in fetches]
                return _FunctionProgram(self._model_name, signature, self._functions, order, chosen)
        return FailingProgram(
            f"Model {self._model_name} has no signature from {', '.join(feeds)} "
            f"to {', '.join(fetches)}"
        )

    def close(self) -> None:
        """Let the functions go; programs only fail from now on."""
        self._functions.clear()


def tensor(data_type: object, shape: tuple[int, ...] | None) -> TensorSpec:
    """The declaration of an input or output for `FunctionServable`, from a NumPy type.

    Raises:
        ValueError: tensors cannot be of that type.
    """
    found = data_type_of(np.dtype(data_type))  # type: ignore[call-overload]
    if numpy_type_of(found) is None:
        raise ValueError(f"no tensor can have the type {np.dtype(data_type)}")  # type: ignore[call-overload]
    return TensorSpec("", found, shape)


class _FunctionProgram:
    def __init__(
        self,
        model_name: str,
        signature: Signature,
        functions: Mapping[str, tuple[Signature, Function]],
        order: Sequence[int] | None,
        chosen: Sequence[int],
    ) -> None:
        self._where = f'Model {model_name}, signature "{signature.name}"'
        self._name = signature.name
        self._check = InputCheck(model_name, signature)
        # Not the function itself: programs outlive the version, what it holds must not.
        self._functions = functions
        self._order = order
        self._chosen = chosen
        self._outputs = [(alias, _numpy_type(spec)) for alias, spec in signature.outputs.items()]

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        arrays = inputs if self._order is None else [inputs[i] for i in self._order]
        checked = self._check(arrays)
        try:
            _, function = self._functions[self._name]
        except KeyError:
            raise Unavailable(f"{self._where}: the version is unloaded") from None
        try:
            outputs = function(checked)
        except ServingError:
            raise
        except ValueError as error:
            raise InvalidArgument(f"{self._where}: {error}") from error
        except Exception as error:
            logger.exception("%s failed", self._where)
            raise InternalError(f"{self._where}: {type(error).__name__}: {error}") from error
        if len(outputs) != len(self._outputs):
            raise InternalError(
                f"{self._where}: {len(self._outputs)} outputs are declared, "
                f"{len(outputs)} were computed"
            )
        return [self._output(outputs[i], i) for i in self._chosen]

    def _output(self, array: object, index: int) -> np.ndarray:
        alias, declared = self._outputs[index]
        if isinstance(array, np.ndarray) and array.dtype == declared and declared.kind != "O":
            return array
        try:
            return as_declared(array, declared)
        except (TypeError, ValueError) as error:
            raise InternalError(
                f'{self._where}: output "{alias}" is declared as {declared}, but {error}'
            ) from error


def _numpy_type(spec: TensorSpec) -> np.dtype:
    found = numpy_type_of(spec.data_type)
    if found is None:
        raise ValueError(f"no array can be of the type {spec.data_type.short_name}")
    return found


def as_declared(value: object, declared: np.dtype) -> np.ndarray:
    """What a model computed, as an array of the type that its signature declares.

    Raises:
        ValueError: it cannot be had without loss, beyond the rounding of floats.
        TypeError: it is something else.
    """
    array = np.asarray(value)
    if declared.kind == "O":
        return byte_strings(array)
    if not np.can_cast(array.dtype, declared, "same_kind"):
        raise ValueError(f"{array.dtype} was computed")
    return array.astype(declared, copy=False)


def byte_strings(array: np.ndarray) -> np.ndarray:
    """Texts and bytes of any kind as an object array of bytes.

    Raises:
        ValueError: the array holds no strings.
        TypeError: one of its objects is none.
    """
    if array.dtype.kind in "US":
        array = array.astype(object)
    elif array.dtype != object:
        raise ValueError(f"{array.dtype} was computed")
    flat = [_bytes(each) for each in array.ravel()]
    strings = np.empty(len(flat), object)
    strings[:] = flat
    return strings.reshape(array.shape)


def _bytes(text: object) -> bytes:
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return text.encode()
    raise TypeError(f"{type(text).__name__} was computed")


class FailingProgram:
    """A way through a model that does not have it: an error of every run, as with TensorFlow."""

    def __init__(self, message: str) -> None:
        self._message = message

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise InvalidArgument(self._message)


def _with_names(signature: Signature) -> Signature:
    """With a name for each tensor that no other signature of the model has."""

    def named(specs: Mapping[str, TensorSpec], kind: str) -> dict[str, TensorSpec]:
        return {
            alias: replace(spec, name=f"{signature.name}/{kind}/{alias}")
            for alias, spec in specs.items()
        }

    return replace(
        signature,
        inputs=named(signature.inputs, "inputs"),
        outputs=named(signature.outputs, "outputs"),
        method_name=signature.method_name or PREDICT,
    )
