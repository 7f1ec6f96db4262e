"""Programs of an ONNX model: from arrays to a run of its session, and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from salver.backends.functions import FailingProgram, byte_strings
from salver.backends.input_check import InputCheck
from salver.backends.onnx_errors import run_error
from salver.backends.signature_def import signature_def_map_of
from salver.core.data_type import DataType
from salver.core.servable import Program
from salver.core.signature import Signature
from salver.errors import InternalError, InvalidArgument, Unavailable


class OnnxServable:
    """A loaded model with its one signature. From any thread."""

    def __init__(self, session: Any, signature: Signature, model_name: str) -> None:
        self._runs = [_run_of(session)]
        self._signature = signature
        self._model_name = model_name
        self.signatures: Mapping[str, Signature] = {signature.name: signature}
        self.signature_def_map = signature_def_map_of([signature])

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        """Resolve names of the graph's inputs and outputs; only what is fetched is computed.

        A name that the graph does not have, or an input that is not fed, is an error of every run.
        """
        known = self._signature
        if sorted(feeds) != sorted(known.inputs) or not set(fetches) <= set(known.outputs):
            return FailingProgram(
                f"Model {self._model_name} has no way from {', '.join(feeds)} "
                f"to {', '.join(fetches)}"
            )
        inputs = {name: known.inputs[name] for name in feeds}
        outputs = {name: known.outputs[name] for name in fetches}
        part = Signature(known.name, inputs, outputs, known.method_name)
        return _SessionProgram(self._runs, part, fetches, self._model_name)

    def close(self) -> None:
        """Let the session go; programs only fail from now on."""
        self._runs.clear()


_Run = Callable[[Sequence[str], Mapping[str, np.ndarray], None], list[Any]]


def _run_of(session: Any) -> _Run:
    """`InferenceSession.run`, as far as its inputs need not be looked at once more.

    That one goes through the names of all inputs again, which takes a microsecond or two of a run
    that may take five, and then calls this.
    """
    run: _Run = getattr(session, "_sess", session).run
    return run


class _SessionProgram:
    def __init__(
        self,
        runs: Sequence[_Run],
        signature: Signature,
        fetches: Sequence[str],
        model_name: str,
    ) -> None:
        # Not the session's own: programs outlive the version, what it holds must not.
        self._runs = runs
        self._model_name = model_name
        self._check = InputCheck(model_name, signature)
        self._feeds = tuple(signature.inputs)
        self._fetches = list(fetches)
        self._texts = [
            name for name, spec in signature.inputs.items() if spec.data_type is DataType.STRING
        ]

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        feed = dict(zip(self._feeds, self._check(inputs), strict=True))
        for name in self._texts:
            feed[name] = self._decoded(name, feed[name])
        try:
            run = self._runs[0]
        except IndexError:
            raise Unavailable(f"Model {self._model_name}: the version is unloaded") from None
        try:
            outputs = run(self._fetches, feed, None)
        except UnicodeDecodeError as error:
            raise InternalError(
                f"Model {self._model_name} computed text that is not UTF-8: {error.reason}"
            ) from error
        except Exception as error:
            raise run_error(error, self._model_name) from error
        for place, output in enumerate(outputs):
            if type(output) is not np.ndarray or output.dtype.hasobject:
                outputs[place] = _array(output)
        return outputs

    def _decoded(self, name: str, array: np.ndarray) -> np.ndarray:
        """Texts, which is what strings are in ONNX: the runtime would write bytes as `b'...'`."""
        try:
            decoded = [text.decode() if isinstance(text, bytes) else text for text in array.flat]
        except UnicodeDecodeError as error:
            raise InvalidArgument(
                f'Model {self._model_name}: expects input "{name}" to be text in UTF-8, '
                f"but one of its strings is not: {error.reason}"
            ) from error
        texts = np.empty(len(decoded), object)
        texts[:] = decoded
        return texts.reshape(array.shape)


def _array(output: Any) -> np.ndarray:
    if isinstance(output, list):
        return _columns(output)
    array: np.ndarray = output
    return byte_strings(array) if array.dtype.kind == "O" else array


def _columns(rows: list[dict[Any, float]]) -> np.ndarray:
    """Scores by class as a row each. The runtime has the classes in order."""
    classes = list(rows[0]) if rows else []
    scores = np.array([[row[each] for each in classes] for row in rows], np.float32)
    return scores.reshape(len(rows), len(classes))
