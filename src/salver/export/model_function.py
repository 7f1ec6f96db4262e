"""A model as a function of named tensors, whatever it was: tf.Module, tf.function, callable."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from salver.core.nearest import nearest
from salver.errors import InvalidArgument
from salver.export.signatures import Function, Inputs

Named = Mapping[str, Any]
"""Symbolic tensors, by name."""


@dataclass(frozen=True, slots=True)
class ModelFunction:
    """What a signature is made of."""

    inputs: Inputs
    """A `tf.TensorSpec` for each input; None: it takes whatever comes."""
    call: Callable[[Named], Named]
    """Computes all outputs. To be called within a `tf.function`."""


def function_of(tf: Any, model: Any, function: Function, inputs: Inputs) -> ModelFunction:
    """The function of a `tf.Module`, a `tf.function` or another callable.

    `function` is as in `Predict`, `inputs` tells the types and shapes where it does not.

    Raises:
        InvalidArgument: there is no such function, or it cannot be told what it takes.
    """
    found = _chosen(tf, model, function)
    where = _description(found)
    if inputs is not None:
        return ModelFunction(specs_of(tf, inputs, where), _caller(tf, found, where))
    if isinstance(found, tf.types.experimental.ConcreteFunction):
        return _concrete(tf, found, where)
    if getattr(found, "input_signature", None) is not None:
        return _concrete(tf, found.get_concrete_function(), where)
    return ModelFunction(None, _caller(tf, found, where))


def _chosen(tf: Any, model: Any, function: Function) -> Any:
    if callable(function):
        return function
    if isinstance(function, str):
        found = getattr(model, function, None)
        if not callable(found):
            known = _functions(tf, model)
            raise InvalidArgument(
                f"{type(model).__name__} has no function {function!r}{nearest(function, known)}"
            )
        return found
    if not isinstance(model, tf.Module):
        return model
    known = _functions(tf, model)
    if "__call__" in known or (callable(model) and not known):
        return model.__call__
    if len(known) == 1:
        return getattr(model, known[0])
    told = f"it has {', '.join(known)}" if known else "it has no tf.function"
    raise InvalidArgument(
        f"{type(model).__name__} has no __call__: say which function with function=; {told}"
    )


def _functions(tf: Any, model: Any) -> list[str]:
    """The names of the tf.functions of a module."""
    generic = tf.types.experimental.GenericFunction
    names = dict.fromkeys([*vars(type(model)), *vars(model)] if hasattr(model, "__dict__") else ())
    for kind in type(model).__mro__[1:]:
        names.update(dict.fromkeys(vars(kind)))
    return [
        name for name in names if isinstance(inspect.getattr_static(model, name, None), generic)
    ]


def specs_of(tf: Any, inputs: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a user gave as inputs, each with its name.

    Raises:
        InvalidArgument: something in it is no `tf.TensorSpec`.
    """
    specs = {}
    for name, spec in inputs.items():
        if not isinstance(spec, tf.TensorSpec):
            raise InvalidArgument(
                f"input {name!r} of {where} is given as {spec!r}; it must be a tf.TensorSpec, "
                "such as tf.TensorSpec([None, 4], tf.float32)"
            )
        specs[name] = tf.TensorSpec(spec.shape, spec.dtype, name=name)
    if not specs:
        raise InvalidArgument(f"inputs of {where} is empty: a signature needs an input")
    return specs


def _concrete(tf: Any, concrete: Any, where: str) -> ModelFunction:
    """A function that was traced: it knows what it takes."""
    structure = concrete.structured_input_signature
    specs = {}
    names = []
    for spec in tf.nest.flatten(structure):
        if not isinstance(spec, tf.TensorSpec):
            raise InvalidArgument(f"{where} takes {spec!r}, which no request can bring")
        if not spec.name or spec.name in specs:
            raise InvalidArgument(
                f"{where} has inputs without a name of their own: name each in its "
                "input_signature, tf.TensorSpec(..., name=...)"
            )
        names.append(spec.name)
        specs[spec.name] = tf.TensorSpec(spec.shape, spec.dtype, name=spec.name)
    if not specs:
        raise InvalidArgument(f"{where} takes no tensor: a signature needs an input")

    def call(named: Named) -> Named:
        packed = tf.nest.pack_sequence_as(structure, [named[name] for name in names])
        positional, keywords = packed
        return named_outputs(tf, concrete(*positional, **keywords), where)

    return ModelFunction(specs, call)


def _caller(tf: Any, function: Any, where: str) -> Callable[[Named], Named]:
    is_graph = isinstance(function, tf.types.experimental.GenericFunction)
    # What is Python gets the same treatment as within any tf.function: `if` and `for` on tensors.
    graph = function if is_graph else tf.function(function)
    takes = arguments_of(function)

    def call(named: Named) -> Named:
        positional, keywords = takes(named)
        return named_outputs(tf, graph(*positional, **keywords), where)

    return call


def arguments_of(function: Any) -> Callable[[Named], tuple[Sequence[Any], Named]]:
    """How named tensors are passed: as parameters of these names, else all in one dictionary.

    One tensor alone is passed to a function of one parameter as it is.
    """
    parameters: Mapping[str, inspect.Parameter] = {}
    with suppress(TypeError, ValueError):
        parameters = inspect.signature(getattr(function, "python_function", function)).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def arguments(named: Named) -> tuple[Sequence[Any], Named]:
        if all(name in parameters for name in named) or (takes_any and len(named) > 1):
            return (), named
        if len(named) == 1:
            return tuple(named.values()), {}
        return (dict(named),), {}

    return arguments


def named_outputs(tf: Any, result: Any, where: str) -> dict[str, Any]:
    """The outputs of a function by name: keys, fields, else `output_0`, `output_1` and so on.

    Raises:
        InvalidArgument: something in it is no tensor.
    """
    if isinstance(result, Mapping):
        named = dict(result)
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        named = dict(zip(result._fields, result, strict=True))
    else:
        flat = result if isinstance(result, list | tuple) else [result]
        named = {f"output_{index}": each for index, each in enumerate(flat)}
    return {name: _output(tf, name, each, where) for name, each in named.items()}


def _output(tf: Any, name: Any, value: Any, where: str) -> Any:
    if not isinstance(name, str) or not name:
        raise InvalidArgument(f"{where} gives an output called {name!r}; names must be strings")
    if isinstance(value, tf.RaggedTensor):
        raise InvalidArgument(
            f"output {name!r} of {where} is ragged; no answer can carry it: make it dense with "
            "to_tensor()"
        )
    if isinstance(value, tf.SparseTensor):
        raise InvalidArgument(
            f"output {name!r} of {where} is sparse; no answer can carry it: make it dense with "
            "tf.sparse.to_dense()"
        )
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"output {name!r} of {where} is {type(value).__name__}, which is no tensor"
        ) from error


def _description(function: Any) -> str:
    python = getattr(function, "python_function", function)
    name = getattr(python, "__name__", "") or getattr(function, "name", "") or "the function"
    return str(name)
