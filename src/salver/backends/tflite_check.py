"""Looks through the graphs of a TFLite file for what would end the process.

The runtime checks that a file is a FlatBuffer of its schema and that tensors and
operations exist. It takes the number -1, which stands for a tensor that is left out,
where its kernels do not expect it, and outputs that nothing computes; some kernels
believe a number of outputs that the file states elsewhere. Source: schema.fbs, and the
kernels that ask for optional inputs.
"""

from salver.backends.flatbuffer_wire import Table

_LEFT_OUT = -1
_CUSTOM = 32
_FIRST_OF_STABLEHLO = 162

_INPUTS_THAT_MUST_BE_THERE = {
    3: 2,  # CONV_2D
    4: 2,  # DEPTHWISE_CONV_2D
    9: 2,  # FULLY_CONNECTED
    15: 2,  # LSH_PROJECTION
    16: 1,  # LSTM
    27: 3,  # SVDF
    44: 1,  # UNIDIRECTIONAL_SEQUENCE_LSTM
    46: 1,  # BIDIRECTIONAL_SEQUENCE_RNN
    52: 1,  # BIDIRECTIONAL_SEQUENCE_LSTM
    67: 3,  # TRANSPOSE_CONV
    132: 2,  # CONV_3D
    141: 3,  # CONV_3D_TRANSPOSE
}
"""Of operations that allow for tensors that are left out; all others do not."""
_COUNTS_OF_OUTPUTS = {49, 88, 102}
"""SPLIT, UNPACK and SPLIT_V, whose options begin with the number of their outputs."""


def check_graphs(model: Table) -> None:
    """Look through all graphs of a model.

    Raises:
        ValueError: one cannot be run.
    """
    codes = [_builtin_code(model.table(1, i)) for i in range(model.count(1))]
    for number in range(model.count(2)):
        graph = model.table(2, number)
        _check_graph(graph, codes)
        _check_outputs(model, graph)


def _builtin_code(code: Table) -> int:
    # Codes beyond 127 have a field of their own, which older files lack.
    return max(code.integer(3, "int32"), code.integer(0, "int8"))


def _check_graph(graph: Table, codes: list[int]) -> None:
    count = graph.count(0)
    for index in (*graph.integers(1), *graph.integers(2)):
        if not 0 <= index < count:
            raise ValueError(f"tensor {index} of {count}")
    for number in range(graph.count(3)):
        operator = graph.table(3, number)
        code = operator.integer(0, "uint32")
        if code >= len(codes):
            raise ValueError(f"operation {code} of {len(codes)}")
        _check_operator(operator, codes[code])


def _check_outputs(model: Table, graph: Table) -> None:
    known = set(graph.integers(1))
    for number in range(graph.count(3)):
        known.update(graph.table(3, number).integers(2))
    for index in graph.integers(2):
        if index in known:
            continue
        tensor = graph.table(0, index)
        buffer = model.table(4, tensor.integer(2, "uint32"))
        is_constant = len(buffer.content(0)) > 0 or buffer.position(1) > 0
        if not is_constant and not tensor.integer(5, "int8"):  # nor a variable
            raise ValueError(f"nothing computes output {index}")


def _check_operator(operator: Table, code: int) -> None:
    inputs, outputs = operator.integers(1), operator.integers(2)
    if _LEFT_OUT in outputs:
        raise ValueError("an operation without an output")
    if code != _CUSTOM and code < _FIRST_OF_STABLEHLO:
        needed = inputs[: _INPUTS_THAT_MUST_BE_THERE.get(code, len(inputs))]
        if _LEFT_OUT in needed:
            raise ValueError(f"operation {code} without one of its inputs")
    if code in _COUNTS_OF_OUTPUTS and operator.position(4):
        stated = operator.field_table(4).integer(0, "int32")
        if stated != len(outputs):
            raise ValueError(f"{len(outputs)} outputs of an operation that has {stated}")
