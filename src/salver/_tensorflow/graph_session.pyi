"""Graph sessions: loading a SavedModel and running its graph."""

from collections.abc import Sequence
from os import PathLike

import numpy as np

from salver._tensorflow.tensor import ElementTypes

class SerializedMessage:
    """A serialized protocol buffer message in TensorFlow's memory: see it with `memoryview`."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

class GraphSession:
    """The graph of a loaded SavedModel with its variables and tables. From any thread."""

    def __init__(
        self,
        path: str | PathLike[str],
        tags: Sequence[str],
        config: bytes,
        types: ElementTypes,
        *,
        run_in_caller: bool = True,
    ) -> None:
        """Load. Blocks, without the interpreter lock.

        With `run_in_caller` the graph runs in the thread that calls `run`, which
        saves two changes of threads; else in TensorFlow's own threads. `config` is a
        serialized `tensorflow.ConfigProto`.

        Raises:
            TensorFlowError: there is no such model, or it does not load.
        """

    def take_meta_graph(self) -> SerializedMessage:
        """The model's MetaGraphDef, once: it may be large and is not kept here."""

    def callable(
        self, feeds: Sequence[str], fetches: Sequence[str], targets: Sequence[str] = ()
    ) -> GraphCallable:
        """Resolve tensors to feed and to fetch, `x:0`, and operations to run besides.

        Raises:
            TensorFlowError: the graph has no such tensor.
        """

    def close(self) -> None:
        """Free everything, at once or after the last run in flight. Again does no harm."""

class GraphCallable:
    """One way through a graph, resolved once. From any thread, also from several at once."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Feed arrays in the order of the feeds; get arrays in the order of the fetches.

        Runs without the interpreter lock. An input must not be changed afterwards: its
        memory may be in use until the outputs are gone. Outputs may be read-only.

        Raises:
            TensorFlowError: with TensorFlow's own text, for instance for a wrong type.
            ValueError: not as many arrays as feeds.
        """

    def run_traced(self, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], bytes]:
        """As `run`, with a serialized `tensorflow.RunMetadata` that tells when each node ran.

        Takes longer than `run`.
        """
