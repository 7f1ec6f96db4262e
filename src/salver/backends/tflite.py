"""TensorFlow Lite models, run by LiteRT, the runtime that TensorFlow Lite became.

It comes in the package `ai-edge-litert`: Apache-2.0, 21 MB, wheels for Python 3.11 to
3.14 on x86-64 and ARM, and it is kept up. Imported when the first model needs it,
it is ready in a few milliseconds with 12 MiB, where TensorFlow takes half a second and
300. A run holds no interpreter lock, and setting and getting tensors costs half a
microsecond, so no binding of our own is needed; only while it sets up memory, at load
and for another shape, the runtime does hold the lock. Strings, shapes that change
from request to request and the faster XNNPACK kernels work; operations of TensorFlow
itself ("Flex") do not. The wheel of TensorFlow would do too, but has neither the C
interface nor a public way to its interpreter without importing all of TensorFlow, and
says of its copy that it will be deleted.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from salver.backends.allocator import keep_freed_memory, trim_memory
from salver.backends.interpreter_pool import InterpreterPool
from salver.backends.model_file import model_bytes
from salver.backends.tflite_file import LiteFile, LiteTensor
from salver.backends.tflite_interpreter import NOT_A_MODEL, LiteInterpreter, require_runnable
from salver.backends.tflite_parse_example import take_out_parse_example
from salver.backends.tflite_servable import MainGraphServable, OwnSignaturesServable
from salver.backends.tflite_signatures import (
    by_name,
    default_entry,
    metadata_entries,
    own_signatures,
)
from salver.core.backend import BackendOptions
from salver.errors import InvalidArgument

logger = logging.getLogger(__name__)

FILE_NAME = "model.tflite"

_BYTES_MADE_AT_LOAD = 256 * 1024 * 1024
"""How much memory interpreters may take that no request has asked for yet, roughly."""

Servable = MainGraphServable | OwnSignaturesServable


@dataclass(frozen=True, slots=True)
class TfLiteOptions:
    """How TFLite models are served."""

    pools: int = 1
    interpreters_per_pool: int = 1
    """So many pools of so many interpreters: as many requests run at once. Less than one is one."""
    own_signatures: bool = False
    """Whether a file without signatures in its metadata is served by TFLite's own ones."""

    @property
    def interpreters(self) -> int:
        """How many there may be for one version."""
        return max(self.pools, 1) * max(self.interpreters_per_pool, 1)


class TfLiteLoader:
    """Loads the `model.tflite` of one version folder."""

    def __init__(self, path: str, options: TfLiteOptions | None = None) -> None:
        self._path = Path(path) / FILE_NAME
        self._options = options or TfLiteOptions()
        self._pool: InterpreterPool[LiteInterpreter] | None = None

    def load(self) -> Servable:
        """Read the file and make interpreters for it. From a load thread.

        Raises:
            ServingError: as TensorFlow Serving words it.
        """
        data = model_bytes(self._path)
        keep_freed_memory()
        try:
            file = LiteFile(data)
            require_runnable(data)
            servable, pool = self._servable(data, file)
        except ValueError as error:
            logger.warning("%s is refused: %s", self._path, error)
            raise InvalidArgument(NOT_A_MODEL) from error
        # Kernels keep their own copy of the weights: large models get no more than one yet.
        pool.prepare(1 + _BYTES_MADE_AT_LOAD // len(data))
        self._pool = pool
        return servable

    def _servable(
        self, data: bytes, file: LiteFile
    ) -> tuple[Servable, InterpreterPool[LiteInterpreter]]:
        inputs, outputs = file.inputs(), file.outputs()
        input_names, output_names = by_name("Input", inputs), by_name("Output", outputs)
        entries = metadata_entries(file, input_names, output_names)
        own = own_signatures(file) if not entries else []
        if own and self._options.own_signatures:
            pool = self._new_pool(data, inputs)
            return OwnSignaturesServable(pool, own), pool
        if not entries:
            hint = "; --tflite_signature_defs serves those of TFLite's own" if own else ""
            logger.warning("No signature def found in TFLite model. Generating one%s.", hint)
            entries = default_entry(input_names, output_names)
        data, parse_example = take_out_parse_example(data, file)
        pool = self._new_pool(data, LiteFile(data).inputs() if parse_example else inputs)
        return MainGraphServable(pool, entries, inputs, outputs, parse_example), pool

    def _new_pool(
        self, data: bytes, inputs: Sequence[LiteTensor]
    ) -> InterpreterPool[LiteInterpreter]:
        return InterpreterPool(partial(_allocated, data, inputs), self._options.interpreters)

    def unload(self) -> None:
        """Let the interpreters go and give their memory back to the system."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        trim_memory()


class TfLiteBackend:
    """Version folders with `model.tflite` and no SavedModel; see `salver.core.backend.Backend`.

    Where a folder has both, it is `--prefer_tflite_model` that decides, as in TensorFlow Serving.
    """

    name = "tflite"
    extra = "tflite"
    wraps = False

    def lacking(self, names: Collection[str]) -> str | None:
        return None if FILE_NAME in names else FILE_NAME

    def detects(self, folder: Path) -> bool:
        return (folder / FILE_NAME).is_file()

    def loader(self, folder: str, options: BackendOptions) -> TfLiteLoader:
        return TfLiteLoader(folder, TfLiteOptions(pools=options.concurrency))

    def estimated_bytes(self, folder: Path) -> int:
        # The kernels keep a copy of the weights.
        return 2 * (folder / FILE_NAME).stat().st_size


BACKEND = TfLiteBackend()


def _allocated(data: bytes, inputs: Sequence[LiteTensor]) -> LiteInterpreter:
    interpreter = LiteInterpreter(data, inputs)
    interpreter.allocate()
    return interpreter
