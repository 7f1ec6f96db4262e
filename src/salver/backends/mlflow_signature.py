"""The signature that an `MLmodel` states, put in front of a model that has one of its own.

A model of a table may take one matrix where the `MLmodel` names columns, or the other way round.
What else the model answers from the same inputs is called in the same way, and Classify and Regress
as the model itself has them.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from salver.backends.functions import Function, FunctionServable
from salver.backends.mlflow_file import Field
from salver.core.data_type import DataType, numpy_type_of
from salver.core.servable import Program, Servable
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec

UNNAMED_INPUT = "inputs"
_OF_EXAMPLES = ("tensorflow/serving/classify", "tensorflow/serving/regress")
Converter = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def input_specs(fields: Sequence[Field]) -> dict[str, TensorSpec]:
    """The inputs by name; one without a name is `inputs`, several are numbered."""
    if len(fields) == 1:
        return {fields[0].name or UNNAMED_INPUT: fields[0].spec}
    return {field.name or f"{UNNAMED_INPUT}_{i}": field.spec for i, field in enumerate(fields)}


def in_front(servable: Servable, fields: Sequence[Field], model_name: str) -> Servable | None:
    """The servable, called as the fields say; None if they do not fit its own inputs."""
    inner = servable.signatures.get(DEFAULT_SIGNATURE)
    if inner is None:
        return None
    outer = input_specs(fields)
    converter = _converter(outer, inner)
    if converter is None:
        return None
    functions: list[tuple[Signature, Function]] = []
    for signature in servable.signatures.values():
        program = servable.program(
            tuple(spec.name for spec in signature.inputs.values()),
            tuple(spec.name for spec in signature.outputs.values()),
        )
        if _alike(signature.inputs, inner.inputs):
            functions.append((
                Signature(signature.name, outer, signature.outputs, signature.method_name),
                _converted(program, converter),
            ))  # fmt: skip
        elif signature.method_name in _OF_EXAMPLES:
            # Their features are named by the model itself.
            functions.append((signature, program.run))
    return FunctionServable(model_name, functions)


def _alike(one: Mapping[str, TensorSpec], other: Mapping[str, TensorSpec]) -> bool:
    """Whether inputs differ in nothing but the names of their tensors."""
    return {alias: (spec.data_type, spec.shape) for alias, spec in one.items()} == {
        alias: (spec.data_type, spec.shape) for alias, spec in other.items()
    }


def _converted(program: Program, converter: Converter) -> Function:
    return lambda arrays: program.run(converter(arrays))


def _converter(outer: dict[str, TensorSpec], inner: Signature) -> Converter | None:
    specs = list(inner.inputs.values())
    if set(outer) == set(inner.inputs):
        order = [list(outer).index(name) for name in inner.inputs]
        chosen = [list(outer.values())[i] for i in order]
        if all(_fits(one, other) for one, other in zip(chosen, specs, strict=True)):
            return lambda arrays: [
                _shaped(arrays[i], spec) for i, spec in zip(order, specs, strict=True)
            ]
    given = list(outer.values())
    if len(given) == len(specs) == 1 and _fits(given[0], specs[0]):
        return lambda arrays: [_shaped(arrays[0], specs[0])]
    if len(specs) == 1 and _is_matrix(specs[0], len(given)) and all(map(_is_number_column, given)):
        matrix_type = numpy_type_of(specs[0].data_type)
        return lambda arrays: [np.column_stack(arrays).astype(matrix_type)]
    if len(given) == 1 and _is_matrix(given[0], len(specs)) and all(map(_is_number_column, specs)):
        return lambda arrays: [_shaped(arrays[0][:, i], spec) for i, spec in enumerate(specs)]
    return None


def _fits(outer: TensorSpec, inner: TensorSpec) -> bool:
    one, other = numpy_type_of(outer.data_type), numpy_type_of(inner.data_type)
    if one is None or other is None or not np.can_cast(one, other, "same_kind"):
        return False
    if (outer.data_type is DataType.STRING) != (inner.data_type is DataType.STRING):
        return False
    return (
        inner.shape is None
        or outer.shape is None
        or (len(inner.shape) == len(outer.shape) or inner.shape == (-1, 1))
    )


def _shaped(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    array = array.astype(numpy_type_of(spec.data_type), copy=False)
    if spec.shape is not None and len(spec.shape) == array.ndim + 1:
        return array[..., np.newaxis]
    return array


def _is_matrix(spec: TensorSpec, columns: int) -> bool:
    return (
        spec.shape is not None
        and len(spec.shape) == 2
        and spec.shape[1] in (-1, columns)
        and spec.data_type is not DataType.STRING
    )


def _is_number_column(spec: TensorSpec) -> bool:
    return spec.data_type is not DataType.STRING and spec.shape in ((-1,), (-1, 1))
