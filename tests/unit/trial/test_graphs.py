"""Graphs of TensorFlow with their calls opened, and what is told of tensors."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from salver.codecs.messages import parse_text
from salver.core.data_type import DataType
from salver.trial.graph_inlining import InlinedGraph
from salver.trial.graph_operations import Operations
from salver.trial.graph_order import ordered
from salver.trial.tensor_statistics import statistics_of

GRAPH = """
node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
node { name: "before" op: "NoOp" }
node {
  name: "call" op: "PartitionedCall" input: "x" input: "^before"
  attr { key: "Tout" value { list { type: DT_FLOAT type: DT_FLOAT } } }
  attr { key: "f" value { func { name: "outer" attr { key: "T" value { type: DT_FLOAT } } } } }
}
node { name: "y" op: "Neg" input: "call:1" attr { key: "T" value { type: DT_FLOAT } } }
library {
  function {
    signature {
      name: "outer" input_arg { name: "a" type: DT_FLOAT }
      output_arg { name: "first" type: DT_FLOAT } output_arg { name: "second" type: DT_FLOAT }
    }
    node_def {
      name: "halves" op: "Split" input: "axis:output:0" input: "a"
      attr { key: "num_split" value { i: 2 } } attr { key: "T" value { placeholder: "T" } }
    }
    node_def { name: "axis" op: "Const" attr { key: "dtype" value { type: DT_INT32 } } }
    node_def {
      name: "deep" op: "inner" input: "halves:output:1" input: "^write"
    }
    node_def { name: "write" op: "NoOp" input: "^a" }
    ret { key: "first" value: "halves:output:0" } ret { key: "second" value: "deep:r:0" }
    control_ret { key: "w" value: "write" }
  }
  function {
    signature {
      name: "inner" input_arg { name: "b" type: DT_FLOAT }
      output_arg { name: "r" type: DT_FLOAT }
    }
    node_def {
      name: "log" op: "Log" input: "b" attr { key: "T" value { type: DT_FLOAT } }
    }
    ret { key: "r" value: "log:y:0" }
  }
}
"""
DEFINITIONS = """
op { name: "Placeholder" output_arg { name: "output" type_attr: "dtype" } }
op { name: "NoOp" }
op { name: "Const" output_arg { name: "output" type_attr: "dtype" } }
op { name: "Neg" output_arg { name: "y" type_attr: "T" } }
op { name: "Log" output_arg { name: "y" type_attr: "T" } }
op { name: "Split" output_arg { name: "output" type_attr: "T" number_attr: "num_split" } }
op { name: "PartitionedCall" output_arg { name: "output" type_list_attr: "Tout" } }
"""


def opened(definitions: str = DEFINITIONS) -> tuple[InlinedGraph, Operations]:
    graph: Any = parse_text("tensorflow.GraphDef", GRAPH)
    known: Any = parse_text("tensorflow.OpList", definitions)
    operations = Operations(known.op, graph.library.function)
    return InlinedGraph(graph, operations, ["y"]), operations


def test_calls_become_the_nodes_of_their_functions() -> None:
    graph, operations = opened()
    inputs = {name: list(node.input) for name, node in graph.nodes.items()}
    assert inputs == {
        "x": [],
        "before": [],
        # What is done in the call comes before what it returns.
        "call": ["call/halves", "call/deep", "^call/write", "^before"],
        "y": ["call:1"],
        # And what stands before the call, before all in it.
        "call/halves": ["call/axis", "x", "^before"],
        "call/axis": ["^before"],
        "call/deep": ["call/deep/log", "^call/write", "^before"],
        "call/write": ["^x", "^before"],
        "call/deep/log": ["call/halves:1", "^call/write", "^before"],
    }
    assert (graph.returns, graph.not_opened) == ({"call", "call/deep"}, set())
    assert graph.nodes["call/halves"].attr["T"].type == DataType.FLOAT
    assert operations.outputs(graph.nodes["call/halves"]) == [("output", 1), ("output", 1)]
    order = ordered(graph.nodes, ["y"])
    assert set(order) == set(graph.nodes)
    for name, node in graph.nodes.items():
        for read in node.input:
            assert order.index(read.strip("^").split(":")[0]) < order.index(name)
    assert ordered(graph.nodes, ["y"], {"call"}) == ["call", "y"]


def test_a_call_of_what_is_not_defined_stays_one() -> None:
    graph, _ = opened("\n".join(line for line in DEFINITIONS.splitlines() if '"Split"' not in line))
    assert graph.not_opened == {"call"}
    assert graph.nodes["call"].op == "PartitionedCall"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([1, np.nan, np.inf, -np.inf, 4], np.float16), (1.0, 2.5, 4.0, 1, 2)),
        (np.array([-3, 6], ml_dtypes.bfloat16), (-3.0, 1.5, 6.0, 0, 0)),
        (np.array([True, False]), (0.0, 0.5, 1.0, 0, 0)),
        (np.array([3, 5], np.int8).view([("qint8", np.int8)]), (3.0, 4.0, 5.0, 0, 0)),
        (np.array([1 + 1j, np.nan]), (None, None, None, 1, 0)),
        (np.array([b"a"], object), (None, None, None, 0, 0)),
        (np.array([np.nan]), (None, None, None, 1, 0)),
        (np.zeros((0, 3)), (None, None, None, 0, 0)),
        (np.array(7, np.uint64), (7.0, 7.0, 7.0, 0, 0)),
    ],
)
def test_what_is_told_of_a_tensor(array: np.ndarray, expected: tuple[Any, ...]) -> None:
    found = statistics_of(array)
    assert found.shape == array.shape
    told = (found.minimum, found.mean, found.maximum, found.nan_count, found.inf_count)
    assert told == expected
