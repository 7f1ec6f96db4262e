"""Files that are FlatBuffers of the schema, and whose graphs would end the process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from salver.backends.tflite_file import LiteFile
from salver.backends.tflite_operations import fewest_tensors
from tests.tflite_models import file_of

Change = Callable[[Any], None]
FLOAT, UINT8, STRING, INT8 = 0, 3, 5, 9
SPLIT, STRIDED_SLICE = 49, 45


def changed(data: bytes, change: Change) -> bytes:
    """The file after a change to its `schema.ModelT`."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    change(model)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator(model: Any, number: int = 0) -> Any:
    return model.subgraphs[0].operators[number]


def drop_an_input(model: Any) -> None:
    operator(model).inputs = operator(model).inputs[:1]


def drop_the_outputs(model: Any) -> None:
    operator(model).outputs = []


def take_another_operation(model: Any) -> None:
    model.operatorCodes[0].builtinCode = STRIDED_SLICE
    model.operatorCodes[0].deprecatedBuiltinCode = STRIDED_SLICE


def split_without_options(model: Any) -> None:
    model.operatorCodes[0].builtinCode = SPLIT
    model.operatorCodes[0].deprecatedBuiltinCode = SPLIT
    operator(model).builtinOptions, operator(model).builtinOptionsType = None, 0


def change_the_type_on_the_way(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].type = FLOAT


def mix_signed_and_unsigned(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].type = UINT8


def feed_what_is_computed(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.inputs = [graph.outputs[0]]


def run_backwards(model: Any) -> None:
    model.subgraphs[0].operators.reverse()


def run_twice(model: Any) -> None:
    model.subgraphs[0].operators.append(operator(model))


def compute_an_input(model: Any) -> None:
    operator(model).outputs = model.subgraphs[0].inputs


def sign_another_tensor(model: Any) -> None:
    signature = model.signatureDefs[0]
    signature.inputs[0].tensorIndex = signature.outputs[0].tensorIndex


def sign_another_output(model: Any) -> None:
    signature = model.signatureDefs[0]
    signature.outputs[0].tensorIndex = signature.inputs[0].tensorIndex


def sign_one_input_twice(model: Any) -> None:
    first, second = model.signatureDefs[0].inputs
    second.tensorIndex = first.tensorIndex


def compute_a_constant(model: Any) -> None:
    operator(model).outputs = operator(model).inputs[1:2]


def drop_a_scale(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        tensor.type, tensor.quantization = INT8, None


def make_strings(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[graph.outputs[0]].type = STRING


def sign_no_tensor(model: Any) -> None:
    model.signatureDefs[0].inputs[0].tensorIndex = 10_000


def sign_no_graph(model: Any) -> None:
    model.signatureDefs[0].subgraphIndex = 10_000


CASES: list[tuple[str, Change, str]] = [
    ("plain", drop_an_input, "with 1 inputs, 1 outputs"),
    ("plain", drop_the_outputs, "with 2 inputs, 0 outputs"),
    ("plain", take_another_operation, "operation 45 with 2 inputs"),
    ("plain", split_without_options, "1 outputs of an operation that has 0"),
    ("plain", feed_what_is_computed, "nothing computes tensor"),
    ("plain", run_backwards, "nothing computes tensor"),
    ("plain", run_twice, "computes what has a value already"),
    ("plain", compute_an_input, "computes what has a value already"),
    ("plain", make_strings, "makes no strings"),
    ("plain", compute_a_constant, "computes what has a value already"),
    ("matrix", drop_a_scale, "without a scale"),
    ("matrix", sign_one_input_twice, "without one of the inputs"),
    ("plain", sign_another_tensor, "no end of its graph"),
    ("plain", sign_another_output, "no end of its graph"),
    ("plain", sign_no_tensor, "no end of its graph"),
    ("plain", sign_no_graph, "element 10000 of"),
    ("echo_string", change_the_type_on_the_way, "changes the type of what it moves"),
    ("matrix", mix_signed_and_unsigned, "unsigned and signed"),
]


@pytest.mark.parametrize(
    ("name", "change", "why"), CASES, ids=[change.__name__ for _, change, _ in CASES]
)
def test_what_would_end_the_process_is_refused(
    tflite_folder: Path, name: str, change: Change, why: str
) -> None:
    data = file_of(tflite_folder, name).read_bytes()
    LiteFile(changed(data, lambda model: None))

    with pytest.raises(ValueError, match=why):
        LiteFile(changed(data, change))


def test_an_operation_may_have_no_tensors_where_it_needs_none() -> None:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    assert {names[code] for code in range(162) if fewest_tensors(code)[0] == 0} == {
        "CALL_ONCE", "CUSTOM", "HASHTABLE", "VAR_HANDLE",
    }  # fmt: skip
    assert {names[code] for code in range(162) if fewest_tensors(code)[1] == 0} == {
        "ASSIGN_VARIABLE", "CALL", "CALL_ONCE", "CUSTOM", "HASHTABLE_IMPORT", "IF", "WHILE",
    }  # fmt: skip
