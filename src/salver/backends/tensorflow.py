"""TensorFlow SavedModels, run by TensorFlow's C++ runtime inside this process.

Messages and codes of a load that fails are those of TensorFlow Serving.
"""

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np

from salver._tensorflow.graph_session import GraphCallable, GraphSession
from salver._tensorflow.library import TensorFlowError
from salver._tensorflow.tensor import ElementTypes
from salver.backends.allocator import keep_freed_memory, trim_memory
from salver.backends.protobuf_wire import encoded_integer
from salver.backends.signature_def import signature_def_map, signature_entries, signature_of
from salver.backends.tensorflow_library import models_have_own_threads, open_tensorflow
from salver.core.data_type import DataType, numpy_type_of
from salver.core.deep_array import deep_array
from salver.core.quiet_thread import run_quietly
from salver.core.servable import Program
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import NotFound, ServingError, Unimplemented, error_of

logger = logging.getLogger(__name__)

_has_loaded = threading.Event()
"""Whether TensorFlow has made the threads that all models of the process share."""
_INTRA_OP_THREADS, _INTER_OP_THREADS = 2, 5
"""Fields of `tensorflow.ConfigProto`."""
_BATCHES_APART = range(7, 97)
"""Rows of runs that have an executor of their own, where batches are expected.

oneDNN keeps the weights of dense layers in the layout that suits the first run of an executor. In
the one that suits few rows, these take up to three times as long; in the one that suits these, a
single row takes three times as long. With a hundred rows it matters no more.
"""
_MOST_BYTES_APART = 1 << 26
"""Of the files of a model: two executors have two copies of its weights."""


@dataclass(frozen=True, slots=True)
class TensorFlowOptions:
    """How SavedModels are loaded and run.

    TensorFlow makes its threads with the first model of a process: their numbers
    are then fixed for all others.
    """

    tags: tuple[str, ...] = ("serve",)
    """Which graph of the SavedModel: the one with exactly these tags."""
    intra_op_threads: int = 1
    """Threads that share the work of one operation; 0 or less: one per core.

    One, because threads across requests give more than threads within one.
    """
    inter_op_threads: int = 0
    """Threads that run operations side by side; 0 or less: the thread of the caller runs all."""
    session_config: bytes = b""
    """A serialized `tensorflow.ConfigProto`; its numbers of threads do not count."""
    op_libraries: tuple[str, ...] = ()
    """Libraries of further operations, loaded before the first model."""
    niceness: int = 0
    """Loads get so much less of the cores, because others are served (see nice(2)).

    Not the first load of a process, and none whose runs have several threads: those that are
    made then would keep it while they serve. Of other loads, what comes after their one thread.
    """

    expects_batches: bool = False
    """Whether runs will often be batches that the server has made."""

    def config(self) -> bytes:
        """The whole `tensorflow.ConfigProto`: of fields that come twice, the last counts."""
        # Less than no threads would end the process.
        intra_op_threads = encoded_integer(_INTRA_OP_THREADS, max(self.intra_op_threads, 0))
        inter_op_threads = encoded_integer(_INTER_OP_THREADS, max(self.inter_op_threads, 0))
        return self.session_config + intra_op_threads + inter_op_threads


class TensorFlowLoader:
    """Loads one version folder with a SavedModel."""

    def __init__(self, path: str, options: TensorFlowOptions | None = None) -> None:
        self._path = path
        self._options = options or TensorFlowOptions()
        self._session: GraphSession | None = None

    def load(self) -> "SavedModelServable":
        """Read the graph, restore the variables, run the initializers. From a load thread.

        Raises:
            ServingError: as TensorFlow Serving words it.
        """
        _require_saved_model(self._path)
        open_tensorflow(self._options.op_libraries)
        keep_freed_memory()
        servable = run_quietly(
            self._open, self._niceness(), starts_thread=models_have_own_threads()
        )
        _has_loaded.set()
        return servable

    def _open(self) -> "SavedModelServable":
        self._session = self._open_session()
        # Of what is not on a local disk the size is not known.
        is_small = 0 < estimated_bytes(self._path) <= _MOST_BYTES_APART
        apart = self._options.expects_batches and is_small
        servable = SavedModelServable(self._session, sets_batches_apart=apart)
        servable.prepare()
        return servable

    def _niceness(self) -> int:
        options = self._options
        makes_threads = options.intra_op_threads != 1 or options.inter_op_threads > 0
        return 0 if makes_threads or not _has_loaded.is_set() else options.niceness

    def _open_session(self) -> GraphSession:
        """Load through TensorFlow, and say so in its words, which its own log level keeps back."""
        tags = " ".join(self._options.tags)
        logger.info("Reading SavedModel from: %s", self._path)
        logger.info("Reading meta graph with tags { %s }", tags)
        logger.info("Reading SavedModel debug info (if present) from: %s", self._path)
        ended = "SavedModel load for tags { %s }; Status: %s. Took %d microseconds."
        started = perf_counter()
        try:
            session = GraphSession(
                self._path,
                self._options.tags,
                self._options.config(),
                _element_types(),
                run_in_caller=self._options.inter_op_threads <= 0,
            )
        except TensorFlowError as cause:
            error = error_of(cause.code, cause.message)
            elapsed_us = (perf_counter() - started) * 1e6
            logger.info(ended, tags, f"fail: {error.status}", elapsed_us)
            raise error from cause
        logger.info(ended, tags, "success: OK", (perf_counter() - started) * 1e6)
        return session

    def unload(self) -> None:
        """Close the graph session and give its memory back to the system."""
        if self._session is not None:
            self._session.close()
            self._session = None
        trim_memory()


class SavedModelServable:
    """A SavedModel that is ready to run. From any thread."""

    takes_deep_arrays = True

    def __init__(self, session: GraphSession, *, sets_batches_apart: bool = False) -> None:
        """`sets_batches_apart`: batches of what most requests ask for get their own executor."""
        entries = signature_entries(memoryview(session.take_meta_graph()))
        self._session = session
        self.signatures: Mapping[str, Signature] = {
            name: signature_of(entry) for name, entry in entries.items()
        }
        self.signature_def_map = signature_def_map(entries)
        self._sets_batches_apart = sets_batches_apart
        self._prepared: dict[tuple[tuple[str, ...], tuple[str, ...]], Program] = {}

    def prepare(self) -> None:
        """Have TensorFlow optimise the graph, once for all runs, for what most requests ask for.

        It does so in the first run, before it looks at the inputs. With inputs of a wrong type
        that run ends there: nothing of the model has been executed.
        """
        name = DEFAULT_SIGNATURE if len(self.signatures) > 1 else next(iter(self.signatures), "")
        signature = self.signatures.get(name)
        if signature is None or not signature.inputs:
            return
        feeds = tuple(spec.name for spec in signature.inputs.values())
        fetches = tuple(spec.name for spec in signature.outputs.values())
        wrong = [
            np.zeros((), np.uint8 if spec.data_type is not DataType.UINT8 else np.int8)
            for spec in signature.inputs.values()
        ]
        try:
            graph_callable = self._session.callable(feeds, fetches)
        except TensorFlowError:
            return  # What is wrong is told to those who ask.
        with suppress(ServingError):
            _GraphProgram(graph_callable).run(wrong)
        if self._sets_batches_apart and fetches:
            # An operation that runs anyway, asked for once more, makes it another executor.
            operation, _, _ = fetches[0].partition(":")
            apart = _GraphProgram(self._session.callable(feeds, fetches, [operation]))
            with suppress(ServingError):
                apart.run(wrong)
            self._prepared[feeds, fetches] = _ProgramWithBatchesApart(graph_callable, apart)

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        """Resolve names of graph tensors, `x:0`.

        A name that the graph does not have is an error of every run, as in
        TensorFlow: one wrong signature must not keep the others from being served.
        """
        prepared = self._prepared.get((feeds, fetches))
        if prepared is not None:
            return prepared
        try:
            return _GraphProgram(self._session.callable(feeds, fetches))
        except TensorFlowError as error:
            return _FailingProgram(error_of(error.code, error.message))


class _GraphProgram:
    def __init__(self, graph_callable: GraphCallable) -> None:
        self._run = graph_callable.run
        self._run_traced = graph_callable.run_traced

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        try:
            return self._run(inputs)
        except TensorFlowError as error:
            raise error_of(error.code, error.message) from error

    def run_traced(self, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], bytes]:
        """The report is a serialized `tensorflow.RunMetadata`."""
        try:
            return self._run_traced(inputs)
        except TensorFlowError as error:
            raise error_of(error.code, error.message) from error


class _ProgramWithBatchesApart(_GraphProgram):
    """See `_BATCHES_APART`."""

    def __init__(self, graph_callable: GraphCallable, apart: _GraphProgram) -> None:
        super().__init__(graph_callable)
        self._apart = apart

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        shape = inputs[0].shape
        if shape and shape[0] in _BATCHES_APART:
            return self._apart.run(inputs)
        # Not by the class above: one call more shows where a whole request takes 20 us.
        try:
            return self._run(inputs)
        except TensorFlowError as error:
            raise error_of(error.code, error.message) from error

    def run_traced(self, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], bytes]:
        """As of `_GraphProgram`."""
        shape = inputs[0].shape
        is_apart = bool(shape) and shape[0] in _BATCHES_APART
        return self._apart.run_traced(inputs) if is_apart else super().run_traced(inputs)


class _FailingProgram:
    def __init__(self, error: ServingError) -> None:
        self._error = error

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise type(self._error)(self._error.message)


def estimated_bytes(path: str) -> int:
    """What a version will take in memory, roughly: its size on disk. Cheap; 0 if not local."""
    return sum(
        (Path(folder) / name).stat().st_size for folder, _, names in os.walk(path) for name in names
    )


def _require_saved_model(path: str) -> None:
    if "://" in path:
        return  # not ours to look at: TensorFlow's own file systems will answer
    folder = Path(path)
    if (folder / "export.meta").exists():
        raise Unimplemented("Session Bundle is deprecated and removed.")
    if not any((folder / f"saved_model.{suffix}").exists() for suffix in ("pb", "pbtxt", "cpb")):
        raise NotFound(
            "Specified file path does not appear to contain a SavedModel bundle "
            f"(should have a file called `saved_model.pb`)\nSpecified file path: {path}"
        )


@cache
def _element_types() -> ElementTypes:
    numpy_types = {data_type: numpy_type_of(data_type) for data_type in DataType}
    return ElementTypes({n: t for n, t in numpy_types.items() if t is not None}, deep_array)
