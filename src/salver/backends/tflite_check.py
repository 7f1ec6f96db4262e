"""Looks through the graphs of a TFLite file for what would end the process.

The runtime checks that a file is a FlatBuffer of its schema and that tensors and
operations exist. It takes the number -1, which stands for a tensor that is left out,
where its kernels do not expect it; operations with fewer tensors than their kernels
read, or with tensors of types that they do not tell apart; tensors that nothing
computes before they are read, or that two compute; and signatures of tensors that are
no ends of a graph. What the kernels make of sizes and values is not looked at here: a
file that is made to do harm still can.
"""

from salver.backends.flatbuffer_wire import Table
from salver.backends.tflite_operations import (
    COUNTS_OF_OUTPUTS,
    CUSTOM,
    FIRST_OF_STABLEHLO,
    INPUTS_THAT_MUST_BE_THERE,
    MAKERS_OF_STRINGS,
    MOVED_INPUT,
    WEIGHTED,
    fewest_tensors,
)

_LEFT_OUT = -1
_UINT8, _STRING = 3, 5
_QUANTIZED = {_UINT8, 7, 9, 17}
"""UINT8, INT16, INT8 and INT4."""


def check_graphs(model: Table) -> None:
    """Look through all graphs of a model, and the signatures that name their tensors.

    Raises:
        ValueError: one cannot be run.
    """
    codes = [_builtin_code(model.table(1, i)) for i in range(model.count(1))]
    for number in range(model.count(2)):
        _Graph(model, model.table(2, number), codes).check()
    for number in range(model.count(7)):
        _check_signature(model, model.table(7, number))


def _builtin_code(code: Table) -> int:
    # Codes beyond 127 have a field of their own, which older files lack.
    return max(code.integer(3, "int32"), code.integer(0, "int8"))


def _check_signature(model: Table, signature: Table) -> None:
    graph = model.table(2, signature.integer(4, "uint32"))
    for number, ends in ((0, graph.integers(1)), (1, graph.integers(2))):
        named = [
            signature.table(number, i).integer(1, "uint32") for i in range(signature.count(number))
        ]
        for index in named:
            if index not in ends:
                raise ValueError(f"a signature of tensor {index}, which is no end of its graph")
        if number == 0 and set(named) != set(ends):
            raise ValueError("a signature without one of the inputs of its graph")


class _Graph:
    """One graph, operation by operation in the order in which they are run."""

    def __init__(self, model: Table, graph: Table, codes: list[int]) -> None:
        self._model = model
        self._graph = graph
        self._codes = codes
        self._count = graph.count(0)
        self._known: set[int] = set()
        """Tensors that have a value by now."""

    def check(self) -> None:
        graph = self._graph
        for index in (*graph.integers(1), *graph.integers(2)):
            if not 0 <= index < self._count:
                raise ValueError(f"tensor {index} of {self._count}")
        self._known.update(graph.integers(1))
        for number in range(graph.count(3)):
            operator = graph.table(3, number)
            code = operator.integer(0, "uint32")
            if code >= len(self._codes):
                raise ValueError(f"operation {code} of {len(self._codes)}")
            self._check_operator(operator, self._codes[code])
        for index in graph.integers(2):
            if not self._has_value(index):
                raise ValueError(f"nothing computes output {index}")

    def _check_operator(self, operator: Table, code: int) -> None:
        inputs, outputs = operator.integers(1), operator.integers(2)
        if _LEFT_OUT in outputs:
            raise ValueError("an operation without an output")
        if len(self._known.union(outputs)) < len(self._known) + len(outputs) or any(
            map(self._is_constant, outputs)
        ):
            raise ValueError(f"operation {code} computes what has a value already")
        if code != CUSTOM and code < FIRST_OF_STABLEHLO:
            needed = inputs[: INPUTS_THAT_MUST_BE_THERE.get(code, len(inputs))]
            if _LEFT_OUT in needed:
                raise ValueError(f"operation {code} without one of its inputs")
        fewest = fewest_tensors(code)
        if len(inputs) < fewest[0] or len(outputs) < fewest[1]:
            raise ValueError(f"operation {code} with {len(inputs)} inputs, {len(outputs)} outputs")
        for index in inputs:
            if index != _LEFT_OUT and not self._has_value(index):
                raise ValueError(f"nothing computes tensor {index} before operation {code}")
        self._check_types(code, inputs, outputs)
        if code in COUNTS_OF_OUTPUTS:
            options = operator.field_table(4) if operator.position(4) else None
            stated = 0 if options is None else options.integer(0, "int32")
            if stated != len(outputs):
                raise ValueError(f"{len(outputs)} outputs of an operation that has {stated}")
        self._known.update(outputs)

    def _check_types(self, code: int, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        moved = MOVED_INPUT.get(code)
        if moved is not None:
            kind = self._type(inputs[moved])
            if any(self._type(index) != kind for index in outputs):
                raise ValueError(f"operation {code} that changes the type of what it moves")
        if code not in MAKERS_OF_STRINGS and any(self._type(i) == _STRING for i in outputs):
            raise ValueError(f"operation {code} makes no strings")
        if code in WEIGHTED:
            kinds = [self._type(index) == _UINT8 for index in inputs[:2]]
            if kinds[0] != kinds[1]:
                raise ValueError(f"operation {code} of unsigned and signed numbers")
            for index in (*inputs[:2], outputs[0]):
                if self._type(index) in _QUANTIZED and not self._scales(index):
                    raise ValueError(f"operation {code} of tensor {index} without a scale")

    def _type(self, index: int) -> int:
        return self._graph.table(0, index).integer(1, "int8")

    def _has_value(self, index: int) -> bool:
        if index in self._known:
            return True
        tensor = self._graph.table(0, index)
        is_variable = bool(tensor.integer(5, "int8"))
        return is_variable or 0 in tensor.integers(0) or self._is_constant(index)

    def _is_constant(self, index: int) -> bool:
        tensor = self._graph.table(0, index)
        buffer = self._model.table(4, tensor.integer(2, "uint32"))
        return len(buffer.content(0)) > 0 or buffer.position(1) > 0

    def _scales(self, index: int) -> int:
        """How many scales a tensor of whole numbers has, to be read as fractions."""
        tensor = self._graph.table(0, index)
        return tensor.field_table(4).vector(2, 4)[1] if tensor.position(4) else 0
