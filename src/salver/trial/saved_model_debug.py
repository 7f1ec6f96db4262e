"""SavedModels run so that every tensor on the way is seen.

A copy of the SavedModel, with its functions opened and with links to its variables, is loaded
through the same binding as for serving; one run fetches everything that the outputs need.
TensorFlow's Python package is not imported.
"""

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from salver.backends.tensorflow import SavedModelServable, TensorFlowLoader, TensorFlowOptions
from salver.codecs.messages import message_class, parse_text
from salver.core.data_type import DataType, numpy_type_of
from salver.core.servable import Program
from salver.core.signature import Signature
from salver.errors import DataLoss, NotFound
from salver.trial.debug_report import DebugRun, DebugStep, Report
from salver.trial.graph_inlining import InlinedGraph, node_of
from salver.trial.graph_operations import Operations
from salver.trial.graph_order import ordered, run_once
from salver.trial.tensor_statistics import statistics_of

_LEVEL_0 = -1
"""`OptimizerOptions.L0`."""


class SavedModelDebugLoader:
    """Loads one version folder; a `salver.core.servable.Loader`."""

    def __init__(self, folder: str, options: TensorFlowOptions, report: Report) -> None:
        self._folder = folder
        self._options = replace(options, session_config=_as_written())
        self._report = report
        self._copy = ""
        self._loader: TensorFlowLoader | None = None

    def load(self) -> "DebugServable":
        """Open the functions and load what comes of it.

        Raises:
            ServingError: it cannot be read, has no graph with these tags, or cannot be loaded.
        """
        saved_model = _read(self._folder)
        meta_graph = _meta_graph(saved_model, self._options.tags, self._folder)
        del saved_model.meta_graphs[:]
        roots = {
            node_of(info.name)
            for signature in meta_graph.signature_def.values()
            for info in signature.outputs.values()
        }
        operations = Operations(
            meta_graph.meta_info_def.stripped_op_list.op, meta_graph.graph_def.library.function
        )
        graph = InlinedGraph(meta_graph.graph_def, operations, sorted(roots))
        saved_model.meta_graphs.append(meta_graph)
        self._copy = tempfile.mkdtemp(prefix="salver-debug-")
        self._loader = TensorFlowLoader(self._copy, self._options)
        try:
            _write(saved_model, self._folder, self._copy)
            return DebugServable(self._loader.load(), graph, operations, self._report)
        except BaseException:
            # Nobody unloads what did not load.
            self.unload()
            raise

    def unload(self) -> None:
        """Close the session and remove the copy."""
        if self._loader is not None:
            self._loader.unload()
            self._loader = None
        if self._copy:
            shutil.rmtree(self._copy, ignore_errors=True)


class DebugServable:
    """A SavedModel whose runs are reported."""

    def __init__(
        self,
        servable: SavedModelServable,
        graph: InlinedGraph,
        operations: Operations,
        report: Report,
    ) -> None:
        self._servable = servable
        self._graph = graph
        self._operations = operations
        self._report = report
        self.signatures: Mapping[str, Signature] = servable.signatures
        self.signature_def_map = servable.signature_def_map

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        """As `SavedModelServable.program`; everything between feeds and fetches is fetched, too."""
        nodes = self._graph.nodes
        order = ordered(nodes, map(node_of, (*feeds, *fetches)), set(map(node_of, feeds)))
        once = run_once(nodes, order)
        tensors = [
            tensor
            for name in order
            if name in once
            for tensor in self._tensors(name)
            if tensor not in fetches and tensor not in feeds
        ]
        names = (*fetches, *tensors)
        program = self._servable.program(feeds, names)
        return _DebugProgram(program, feeds, fetches, names, self, order, len(order) - len(once))

    def _tensors(self, name: str) -> list[str]:
        """Those outputs of a node whose values can be looked at."""
        try:
            outputs = self._operations.outputs(self._graph.nodes[name])
        except KeyError:
            return []
        return [
            f"{name}:{index}"
            for index, (_, number) in enumerate(outputs)
            if number in _KNOWN and numpy_type_of(DataType(number)) is not None
        ]

    def report(self, arrays: Mapping[str, np.ndarray], order: Sequence[str], left_out: int) -> None:
        """Tell of a run whose nodes ran in this order."""
        nodes = self._graph.nodes
        steps = []
        by_node: dict[str, list[str]] = {}
        for tensor in arrays:
            by_node.setdefault(node_of(tensor), []).append(tensor)
        for name in order:
            if name in self._graph.returns:
                continue
            inputs = [self._origin(each) for each in nodes[name].input if each[:1] != "^"]
            for tensor in sorted(by_node.get(name, ()), key=_index):
                statistics = statistics_of(arrays[tensor])
                steps.append(DebugStep(_short(tensor), nodes[name].op, statistics, inputs))
        steps = _with_short_names(steps)
        not_opened = len(self._graph.not_opened.intersection(order))
        self._report(DebugRun(steps, left_out, not_opened))

    def _origin(self, tensor: str) -> str:
        """The tensor inside of opened calls that one between them stands for."""
        while node_of(tensor) in self._graph.returns:
            tensor = self._graph.nodes[node_of(tensor)].input[_index(tensor)]
        return _short(tensor)


class _DebugProgram:
    def __init__(
        self,
        program: Program,
        feeds: Sequence[str],
        fetches: Sequence[str],
        names: Sequence[str],
        servable: DebugServable,
        order: Sequence[str],
        left_out: int,
    ) -> None:
        self._program: Any = program
        self._feeds = feeds
        self._fetches = fetches
        self._names = names
        self._servable = servable
        self._order = order
        self._left_out = left_out

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs, trace = self._program.run_traced(inputs)
        arrays = dict(zip(self._names, outputs, strict=True))
        order = _as_it_ran(self._order, self._servable._graph.nodes, trace)
        given = dict(zip(self._feeds, inputs, strict=True))
        self._servable.report({**given, **arrays}, order, self._left_out)
        return [arrays[name] for name in self._fetches]


def _as_it_ran(order: Sequence[str], nodes: Mapping[str, Any], trace: bytes) -> list[str]:
    """The nodes by the time at which they began; those without one right after their inputs."""
    metadata = message_class("tensorflow.RunMetadata").FromString(trace)
    began = {
        node.node_name.partition(":")[0]: node.all_start_nanos or node.all_start_micros * 1000
        for device in metadata.step_stats.dev_stats
        for node in device.node_stats
    }
    times: dict[str, int] = {}
    for name in order:
        after = max((times.get(node_of(each), 0) for each in nodes[name].input), default=0)
        times[name] = max(began.get(name, after), after)
    return sorted(order, key=lambda name: times[name])


def _index(tensor: str) -> int:
    return int(tensor.partition(":")[2] or 0)


def _short(tensor: str) -> str:
    return tensor.removesuffix(":0")


def _with_short_names(steps: list[DebugStep]) -> list[DebugStep]:
    """Without the calls at the beginning of names, where what is left is a name of its own."""
    ends = {step.tensor: _CALLS.sub("", step.tensor) for step in steps}
    counts = Counter(ends.values())
    names = {name: end if counts[end] == 1 else name for name, end in ends.items()}
    return [
        replace(
            step,
            tensor=names[step.tensor],
            inputs=[names.get(each, each) for each in step.inputs],
        )
        for step in steps
    ]


_CALLS = re.compile(r"^((Stateful)?PartitionedCall(_\d+)?/)+")
_KNOWN = frozenset(int(each) for each in DataType)


def _as_written() -> bytes:
    """A session that runs the graph as it is: nothing folded, fused or moved."""
    config = message_class("tensorflow.ConfigProto")()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = _LEVEL_0
    return bytes(config.SerializeToString())


def _read(folder: str) -> Any:
    binary, text = Path(folder, "saved_model.pb"), Path(folder, "saved_model.pbtxt")
    try:
        if binary.exists():
            return message_class("tensorflow.SavedModel").FromString(binary.read_bytes())
        return parse_text("tensorflow.SavedModel", text.read_text())
    except FileNotFoundError as error:
        raise NotFound(f"{folder} has no saved_model.pb") from error
    except Exception as error:
        raise DataLoss(f"{folder}: its saved_model.pb cannot be read: {error}") from error


def _meta_graph(saved_model: Any, tags: Sequence[str], folder: str) -> Any:
    there = []
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == set(tags):
            return meta_graph
        there.append(",".join(meta_graph.meta_info_def.tags) or "none")
    raise NotFound(f"{folder} has no graph with the tags {','.join(tags)}; there are: {there}")


def _write(saved_model: Any, folder: str, copy: str) -> None:
    """The changed SavedModel, and links to all else that is in the folder."""
    Path(copy, "saved_model.pb").write_bytes(saved_model.SerializeToString())
    for name in os.listdir(folder):
        if not name.startswith("saved_model.") and name != "fingerprint.pb":
            os.symlink(os.path.abspath(os.path.join(folder, name)), os.path.join(copy, name))
