"""ONNX models run so that every tensor on the way is seen.

The outputs of all nodes are added to those of the graph, in memory: a serialized message that
follows another adds to it. The runtime does not optimize the graph, so that each node is there.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from salver.backends.onnx import BACKEND, FILE_NAME
from salver.backends.onnx_errors import load_error
from salver.backends.onnx_servable import OnnxServable
from salver.backends.onnx_signature import is_readable, signature_of
from salver.backends.prerequisites import imported
from salver.backends.protobuf_wire import Message, encoded_content
from salver.core.backend import BackendOptions
from salver.core.data_type import DataType
from salver.core.servable import Program
from salver.core.signature import Signature, TensorSpec
from salver.errors import DataLoss, NotFound
from salver.trial.debug_report import DebugRun, DebugStep, Report
from salver.trial.tensor_statistics import statistics_of

_GRAPH = 7
"""Of ModelProto."""
_NODE, _OUTPUT = 1, 12
"""Of GraphProto."""
_NODE_INPUT, _NODE_OUTPUT, _OPERATION = 1, 2, 4
"""Of NodeProto."""


class OnnxDebugLoader:
    """Loads the `model.onnx` of one version folder; a `salver.core.servable.Loader`."""

    def __init__(self, folder: str, options: BackendOptions, report: Report) -> None:
        self._folder = folder
        self._options = options
        self._report = report

    def load(self) -> "OnnxDebugServable":
        """Add the outputs and load what comes of it.

        Raises:
            ServingError: as `salver.backends.onnx.OnnxLoader.load`.
        """
        path = os.path.join(self._folder, FILE_NAME)
        try:
            with open(path, "rb") as file:
                model = file.read()
        except OSError as error:
            raise NotFound(f"{path}: {error.strerror}") from error
        try:
            graph = Message(Message(memoryview(model)).content(_GRAPH))
            nodes = [_node(each) for each in graph.contents(_NODE)]
            known = {Message(each).text(1) for each in graph.contents(_OUTPUT)}
        except ValueError as error:
            raise DataLoss(f"{path} is damaged: {error}") from error
        added = [name for node in nodes for name in node[2] if name and name not in known]
        outputs = b"".join(
            encoded_content(_OUTPUT, encoded_content(1, name.encode())) for name in added
        )
        runtime = imported("onnxruntime", self._options, BACKEND.extra)
        # What the model declares: the added outputs are none of its signature.
        plain = signature_of(self._session(runtime, model), path, self._options.model_name)
        session = self._session(runtime, model + encoded_content(_GRAPH, outputs))
        return OnnxDebugServable(session, plain, nodes, self._options.model_name, self._report)

    def _session(self, runtime: Any, model: bytes) -> Any:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._options.intra_op_threads or 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # A model in memory has no folder of its own.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", os.path.abspath(self._folder)
        )
        try:
            return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise load_error(error, self._options.model_name, FILE_NAME) from error

    def unload(self) -> None:
        """Nothing is kept."""


_Node = tuple[str, list[str], list[str]]
"""The type of operation, the inputs, the outputs; an input or output left out has no name."""


def _node(content: memoryview) -> _Node:
    node = Message(content)
    inputs = [bytes(each).decode() for each in node.contents(_NODE_INPUT)]
    return node.text(_OPERATION), inputs, [bytes(o).decode() for o in node.contents(_NODE_OUTPUT)]


class OnnxDebugServable:
    """An ONNX model whose runs are reported."""

    def __init__(
        self,
        session: Any,
        signature: Signature,
        nodes: list[_Node],
        model_name: str,
        report: Report,
    ) -> None:
        inner = OnnxServable(session, signature, model_name)
        self._session = session
        self._signature = signature
        self._nodes = nodes
        self._model_name = model_name
        self._report = report
        self.signatures: Mapping[str, Signature] = inner.signatures
        self.signature_def_map = inner.signature_def_map

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        """As `OnnxServable.program`; everything in the graph is fetched, too."""
        tensors = [
            output.name
            for output in self._session.get_outputs()
            if is_readable(output.type) and output.name not in fetches
        ]
        known = self._signature
        added = {name: TensorSpec(name, DataType.INVALID, None) for name in tensors}
        whole = Signature(known.name, known.inputs, {**added, **known.outputs}, known.method_name)
        names = (*fetches, *tensors)
        inner = OnnxServable(self._session, whole, self._model_name).program(feeds, names)
        return _OnnxDebugProgram(inner, self, feeds, fetches, names)

    def report(self, arrays: Mapping[str, np.ndarray], inputs: Sequence[str]) -> None:
        """Tell of a run, in the order that the file has: each node after those that it needs."""
        fed: list[_Node] = [("Input", [], [name]) for name in inputs]
        steps = [
            DebugStep(name, operation, statistics_of(arrays[name]), read)
            for operation, read, written in [*fed, *self._nodes]
            for name in written
            if name in arrays
        ]
        self._report(DebugRun(steps))


class _OnnxDebugProgram:
    def __init__(
        self,
        program: Program,
        servable: OnnxDebugServable,
        feeds: Sequence[str],
        fetches: Sequence[str],
        names: Sequence[str],
    ) -> None:
        self._program = program
        self._servable = servable
        self._feeds = feeds
        self._fetches = fetches
        self._names = names

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = dict(zip(self._names, self._program.run(inputs), strict=True))
        given = dict(zip(self._feeds, inputs, strict=True))
        self._servable.report({**outputs, **given}, self._feeds)
        return [outputs[name] for name in self._fetches]
