"""Signatures of models of rows and columns, and the functions that compute them.

A backend says what its model computes from a table; here it is decided under which
signatures that is called: with arrays, column by column, and with `tf.Example`s for Classify
and Regress.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from salver.backends.columns import INPUTS, Layout, Table, row_count
from salver.backends.functions import Function, tensor
from salver.core.data_type import DataType, numpy_type_of
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec

CLASSIFY = "classify"
REGRESS = "regress"
COLUMNS = "columns"
"""Names of signatures; CLASSIFY and REGRESS are those of the calls they are for."""
CLASSES = "classes"
PROBABILITIES = "probabilities"
SCORES = "scores"
OUTPUTS = "outputs"
"""Names of outputs."""

_EXAMPLES: Mapping[str, TensorSpec] = {INPUTS: TensorSpec("", DataType.STRING, (-1,))}

Compute = Callable[[Table], Sequence[np.ndarray]]
"""From a table of one row at least to the outputs, in order. From any thread, several at once."""


@dataclass(frozen=True, slots=True)
class Method:
    """Something that a model computes for each row."""

    name: str
    """Of its signature."""
    outputs: Mapping[str, TensorSpec]
    compute: Compute


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a model, in the order of its scores."""

    values: np.ndarray
    """Shape [classes], as clients get them: int64, or bytes as objects, and the like."""

    @property
    def spec(self) -> TensorSpec:
        """Of one class for each row."""
        return tensor(self.values.dtype, (-1,))

    def texts(self) -> np.ndarray:
        """As Classify has them: shape [1, classes] of bytes."""
        texts = np.empty((1, len(self.values)), object)
        texts[0] = [each if isinstance(each, bytes) else str(each).encode() for each in self.values]
        return texts


def table_functions(
    layout: Layout, methods: Sequence[Method], examples: Method | None
) -> Iterator[tuple[Signature, Function]]:
    """All signatures of a model whose usual question is `methods[0]`, the default one.

    `examples`, made by `classification` or `regression`, is what Classify or Regress ask.
    """
    for method in methods:
        yield _signature(method, layout.array_specs()), _of_table(method, layout.of_arrays)
    if layout.matrix is not None and layout.has_names:
        default = methods[0]
        named = Method(COLUMNS, default.outputs, default.compute)
        yield _signature(named, layout.column_specs()), _of_table(named, layout.of_columns)
    if examples is not None:
        yield example_function(examples, layout)


def example_function(method: Method, layout: Layout) -> tuple[Signature, Function]:
    """The signature that takes `tf.Example`s, for Classify or Regress."""
    method_name = f"tensorflow/serving/{method.name}"
    return _signature(method, _EXAMPLES, method_name), _of_examples(method, layout)


def classification(labels: Labels, scores: Callable[[Table], np.ndarray]) -> Method:
    """What Classify asks, of scores of shape [rows, classes]."""
    texts = labels.texts()
    shape = (-1, texts.shape[1])
    outputs = {
        CLASSES: TensorSpec("", DataType.STRING, shape),
        SCORES: TensorSpec("", DataType.FLOAT, shape),
    }

    def compute(table: Table) -> Sequence[np.ndarray]:
        found = scores(table).astype(np.float32, copy=False)
        return [np.repeat(texts, len(found), axis=0), found]

    return Method(CLASSIFY, outputs, compute)


def regression(values: Callable[[Table], np.ndarray]) -> Method:
    """What Regress asks, of values of shape [rows]."""
    outputs = {OUTPUTS: TensorSpec("", DataType.FLOAT, (-1,))}
    return Method(REGRESS, outputs, lambda table: [values(table).astype(np.float32, copy=False)])


def default_method(outputs: Mapping[str, TensorSpec], compute: Compute) -> Method:
    """The usual question."""
    return Method(DEFAULT_SIGNATURE, outputs, compute)


def _signature(
    method: Method, inputs: Mapping[str, TensorSpec], method_name: str = ""
) -> Signature:
    return Signature(method.name, inputs, method.outputs, method_name)


def _of_table(method: Method, table_of: Callable[[Sequence[np.ndarray]], Table]) -> Function:
    def run(arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        table = table_of(arrays)
        # Frameworks differ about tables without rows; we do not.
        return method.compute(table) if row_count(table) else _nothing(method)

    return run


def _of_examples(method: Method, layout: Layout) -> Function:
    def run(arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        table, missing = layout.of_examples(arrays[0])
        if not row_count(table):
            return _nothing(method)
        try:
            return method.compute(table)
        except ValueError as error:
            if not missing:
                raise
            # The model takes no missing values, and says so in its own words, without names.
            listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise ValueError(f"missing: {listed}; {error}") from error

    return run


def _nothing(method: Method) -> list[np.ndarray]:
    """The outputs of no rows."""
    return [
        np.empty([max(size, 0) for size in spec.shape or (0,)], numpy_type_of(spec.data_type))
        for spec in method.outputs.values()
    ]
