"""Programs of a TFLite model: from the names of tensors to runs on a pool of interpreters."""

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from salver.backends.interpreter_pool import InterpreterPool
from salver.backends.signature_def import signature_def_map, signature_of
from salver.backends.tflite_file import LiteSignature, LiteTensor
from salver.backends.tflite_interpreter import FAILED_RUN, LiteInterpreter, check_axes
from salver.backends.tflite_parse_example import ParseExample
from salver.backends.tflite_signatures import Entries, known_name, own_entries, own_name
from salver.core.data_type import data_type_of, numpy_type_of
from salver.core.servable import Program
from salver.core.signature import Signature
from salver.errors import InternalError, InvalidArgument, ServingError

logger = logging.getLogger(__name__)

Pool = InterpreterPool[LiteInterpreter]


class MainGraphServable:
    """A TFLite model served as TensorFlow Serving does it: all signatures run the main graph."""

    def __init__(
        self,
        pool: Pool,
        entries: Entries,
        inputs: Sequence[LiteTensor],
        outputs: Sequence[LiteTensor],
        parse_example: ParseExample | None = None,
    ) -> None:
        self._pool = pool
        self._parse_example = parse_example
        self._inputs = {tensor.name: tensor for tensor in inputs}
        self._outputs = {tensor.name: tensor for tensor in outputs}
        self.signatures: Mapping[str, Signature] = _signatures(entries)
        self.signature_def_map = signature_def_map(entries)

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        """Resolve names of the file's tensors, `x`, or those of TensorFlow, `x:0`.

        A name that the model does not have is an error of every run.
        """
        try:
            fed = [_known(name, self._inputs, "input") for name in feeds]
            fetched = [_known(name, self._outputs, "output") for name in fetches]
            _check_fed(fed, self._inputs)
        except ServingError as error:
            return _FailingProgram(error)
        outputs = [self._outputs[name].index for name in fetched]
        inputs = tuple(self._inputs.values())
        return _MainGraphProgram(self._pool, inputs, fed, outputs, self._parse_example)


class OwnSignaturesServable:
    """A TFLite model served by TFLite's own signatures, each of which may have its own graph."""

    def __init__(self, pool: Pool, signatures: Sequence[LiteSignature]) -> None:
        entries = own_entries(signatures)
        self._pool = pool
        self._inputs = {own_name(s, a): (s, a) for s in signatures for a in s.inputs}
        self._outputs = {own_name(s, a): (s, a) for s in signatures for a in s.outputs}
        self.signatures: Mapping[str, Signature] = _signatures(entries)
        self.signature_def_map = signature_def_map(entries)

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        """Resolve names as the signatures have them, `<signature>/<alias>`.

        A name that the model does not have is an error of every run, as are names of
        more than one signature.
        """
        try:
            inputs = [self._inputs[_known(name, self._inputs, "input")] for name in feeds]
            outputs = [self._outputs[_known(name, self._outputs, "output")] for name in fetches]
            signature = _the_signature([s for s, _ in (*inputs, *outputs)])
            aliases = [alias for _, alias in inputs]
            _check_fed(aliases, signature.inputs)
        except ServingError as error:
            return _FailingProgram(error)
        return _SignatureProgram(self._pool, signature, aliases, [alias for _, alias in outputs])


class _MainGraphProgram:
    def __init__(
        self,
        pool: Pool,
        inputs: Sequence[LiteTensor],
        fed: Sequence[str],
        outputs: Sequence[int],
        parse_example: ParseExample | None,
    ) -> None:
        self._pool = pool
        self._parse_example = parse_example
        # Interpreters want the arrays in the order of the file.
        self._order = [fed.index(tensor.name) for tensor in inputs]
        self._fed = sorted(inputs, key=lambda tensor: fed.index(tensor.name))
        self._types = [numpy_type_of(tensor.data_type) for tensor in self._fed]
        self._outputs = outputs

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        for i, expected in enumerate(self._types):
            if inputs[i].dtype != expected:
                inputs = _converted(inputs, self._fed)
                break
        arrays = [inputs[i] for i in self._order]
        if self._parse_example is not None:
            arrays += _parsed(self._parse_example, arrays)
        interpreter = self._pool.take()
        try:
            return interpreter.run(arrays, self._outputs)
        finally:
            self._pool.give(interpreter)


class _SignatureProgram:
    def __init__(
        self, pool: Pool, signature: LiteSignature, aliases: Sequence[str], outputs: Sequence[str]
    ) -> None:
        self._pool = pool
        self._key = signature.key
        self._aliases = aliases
        self._fed = [signature.inputs[alias] for alias in aliases]
        self._outputs = outputs

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        arrays = dict(zip(self._aliases, _converted(inputs, self._fed), strict=True))
        interpreter = self._pool.take()
        try:
            return interpreter.run_signature(self._key, arrays, self._outputs)
        finally:
            self._pool.give(interpreter)


class _FailingProgram:
    def __init__(self, error: ServingError) -> None:
        self._error = error

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise type(self._error)(self._error.message)


def _signatures(entries: Entries) -> dict[str, Signature]:
    return {name: signature_of(entry) for name, entry in entries.items()}


def _known(name: str, names: Mapping[str, object], kind: str) -> str:
    try:
        return known_name(name, names)
    except InternalError as error:
        # Nothing that a client sends leads here, so the code is that of other backends.
        raise InvalidArgument(f"{error.message}\n\tMissing {kind} TFLite tensor: {name}") from error


def _parsed(parse_example: ParseExample, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    try:
        return parse_example.parse(arrays[parse_example.position])
    except ValueError as error:
        # In the original this is an operation of the graph that fails.
        logger.warning("%s: ParseExample: %s", FAILED_RUN, error)
        raise InternalError(FAILED_RUN) from error


def _check_fed(fed: Sequence[str], expected: Iterable[str]) -> None:
    for name in expected:
        if name not in fed:
            # The interpreter would go on with what another request has left there.
            raise InvalidArgument(f"You must feed a value for input tensor '{name}'")
        if fed.count(name) > 1:
            raise InvalidArgument(f'Endpoint "{name}" fed more than once.')


def _the_signature(named: Sequence[LiteSignature]) -> LiteSignature:
    if not named or any(signature is not named[0] for signature in named):
        raise InvalidArgument("A run needs the tensors of one signature")
    return named[0]


def _converted(inputs: Sequence[np.ndarray], fed: Sequence[LiteTensor]) -> list[np.ndarray]:
    """The arrays as the runtime takes them; types are the sender's business, layouts are ours."""
    arrays = []
    for i, (array, tensor) in enumerate(zip(inputs, fed, strict=True)):
        found = data_type_of(array.dtype)
        if found is not tensor.data_type:
            raise InvalidArgument(
                f"Expects arg[{i}] to be {tensor.data_type.short_name} "
                f"but {found.short_name} is provided"
            )
        if array.dtype.kind == "U":
            array = np.strings.encode(array, "utf-8")
        arrays.append(array.astype(numpy_type_of(tensor.data_type), copy=False))
        try:
            check_axes(tensor, array.shape)
        except ValueError as error:
            raise InvalidArgument(f"Input tensor {tensor.name}: {error}") from error
    return arrays
