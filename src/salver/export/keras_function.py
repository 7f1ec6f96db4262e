"""A Keras model as a function of named tensors, with outputs of its layers on request.

Inputs have the names that the model's author gave them (`keras.Input(name=...)`, the keys of a
dictionary), else `inputs`, or `input_0`, `input_1` and so on. Outputs have those of the dictionary
of outputs or of the layers that make them, where the author named these, else `output_0` and so on.
Names that Keras has made up count up within a process, so that no client could rely on them.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from salver.core.nearest import nearest
from salver.errors import InvalidArgument
from salver.export.model_function import (
    ModelFunction,
    Named,
    arguments_of,
    named_outputs,
    specs_of,
)
from salver.export.signatures import Inputs

_MADE_UP = re.compile(r"keras_tensor(_\d+)?")


def is_keras_model(model: Any) -> bool:
    """Whether this is a model or layer of Keras 3, which is not imported for the question."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(model, keras.layers.Layer)


def keras_function(
    tf: Any,
    keras: Any,
    model: Any,
    inputs: Inputs,
    layers: Sequence[str] | Mapping[str, str],
) -> ModelFunction:
    """The function of a Keras model; `inputs` and `layers` are as in `Predict`.

    Raises:
        InvalidArgument: the model does not say what it takes, or has no such layer.
    """
    structures = _structures(keras, model)
    if structures is None:
        return _subclassed(tf, model, inputs, layers)
    structure, output = structures
    tensors = keras.tree.flatten(structure)
    names = _input_names(structure, tensors)
    specs = _specs(tf, names, tensors, model)
    if inputs is not None:
        specs = _narrowed(tf, specs, inputs, model)
    hidden = _hidden(model, layers)
    outputs = _output_names(model, output)
    own = keras.tree.flatten(output)
    for name in outputs:
        if name in hidden:
            raise InvalidArgument(
                f"{_where(model)} has an output {name!r} of its own; choose another name for that "
                "of the layer"
            )
    # Functional: what is asked for is one more output of the same graph of layers.
    whole = keras.Model(tensors, [*own, *hidden.values()]) if hidden else None
    all_names = [*outputs, *hidden]

    def call(named: Named) -> Named:
        flat = [named[name] for name in names]
        if whole is not None:
            results = whole(flat)
        else:
            results = model(keras.tree.pack_sequence_as(structure, flat))
        flat_results = keras.tree.flatten(results)
        pairs = dict(zip(all_names, flat_results, strict=True))
        return named_outputs(tf, pairs, _where(model))

    return ModelFunction(specs, call)


def _structures(keras: Any, model: Any) -> tuple[Any, Any] | None:
    """The symbolic inputs and outputs of a model that is made of layers, else None."""
    if isinstance(model, keras.Sequential):
        # Its `input` would be that of the model in which it is a layer.
        return (model.inputs[0], model.outputs[0]) if model.built and model.inputs else None
    if isinstance(model, keras.Model) and getattr(model, "inputs", None):
        return model.input, model.output
    return None


def _subclassed(
    tf: Any, model: Any, inputs: Inputs, layers: Sequence[str] | Mapping[str, str]
) -> ModelFunction:
    if layers:
        raise InvalidArgument(
            f"{_where(model)} is a class of its own: its layers have no outputs that could be "
            "asked for; give back what you want from its call, in a dictionary"
        )
    if inputs is None:
        raise InvalidArgument(
            f"{_where(model)} does not say what it takes: give its inputs, "
            "inputs={'x': tf.TensorSpec([None, 4], tf.float32)} for example"
        )
    takes = arguments_of(model.call)

    def call(named: Named) -> Named:
        positional, keywords = takes(named)
        return named_outputs(tf, model(*positional, **keywords), _where(model))

    return ModelFunction(specs_of(tf, inputs, _where(model)), call)


def _input_names(structure: Any, tensors: Sequence[Any]) -> list[str]:
    if isinstance(structure, Mapping) and len(structure) == len(tensors):
        return sorted(structure)
    names = [tensor.name for tensor in tensors]
    if len(names) == 1:
        return ["inputs"] if _MADE_UP.fullmatch(names[0]) else names
    return [
        f"input_{index}" if _MADE_UP.fullmatch(name) else name for index, name in enumerate(names)
    ]


def _specs(tf: Any, names: Sequence[str], tensors: Sequence[Any], model: Any) -> dict[str, Any]:
    specs = {}
    for name, tensor in zip(names, tensors, strict=True):
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
            kind = "sparse" if tensor.sparse else "ragged"
            raise InvalidArgument(
                f"input {name!r} of {_where(model)} is {kind}; no request can bring it: put a "
                "function before the model that makes it of a dense one, with function="
            )
        specs[name] = tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
    return specs


def _narrowed(tf: Any, specs: Mapping[str, Any], inputs: Mapping[str, Any], model: Any) -> Any:
    """The inputs as the user wants them: other shapes and types, the same names."""
    for name in inputs:
        if name not in specs:
            raise InvalidArgument(f"{_where(model)} has no input {name!r}{nearest(name, specs)}")
    for name in specs:
        if name not in inputs:
            raise InvalidArgument(f"inputs lacks {name!r}, which {_where(model)} takes, too")
    return {
        name: tf.TensorSpec(inputs[name].shape, inputs[name].dtype, name=name) for name in specs
    }


def _output_names(model: Any, structure: Any) -> list[str]:
    if isinstance(structure, Mapping):
        return sorted(structure)
    flat = structure if isinstance(structure, list | tuple) else [structure]
    made_by = getattr(model, "output_names", None)
    if made_by is None:
        made_by = [model.layers[-1].name]
    named = {layer.name for layer in model.layers if not _is_made_up(layer)}
    if len(made_by) == len(flat) == len(set(made_by)) and named.issuperset(made_by):
        return list(made_by)
    return [f"output_{index}" for index in range(len(flat))]


def _is_made_up(layer: Any) -> bool:
    """Whether a layer has the name that Keras gives to layers of its class."""
    kind = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    kind = re.sub("([a-z])([A-Z])", r"\1_\2", kind).lower()
    return re.fullmatch(rf"{re.escape(kind)}(_\d+)?", layer.name) is not None


def _hidden(model: Any, layers: Sequence[str] | Mapping[str, str]) -> dict[str, Any]:
    """The outputs of layers, by the names that they shall have."""
    wanted = layers if isinstance(layers, Mapping) else {name: name for name in layers}
    found: dict[str, Any] = {}
    for name, place in wanted.items():
        tensors = _outputs_of(model, place)
        if len(tensors) == 1:
            found[name] = tensors[0]
        else:
            found.update({f"{name}_{index}": each for index, each in enumerate(tensors)})
    return found


def _outputs_of(model: Any, place: str) -> list[Any]:
    name, _, index = place.partition(":")
    by_name = {layer.name: layer for layer in model.layers}
    layer = by_name.get(name)
    if layer is None:
        raise InvalidArgument(f"{_where(model)} has no layer {name!r}{nearest(name, by_name)}")
    try:
        output = layer.output
    except (AttributeError, ValueError) as error:
        raise InvalidArgument(
            f"layer {name!r} of {_where(model)} has not one output: it is used several times, or "
            "not at all"
        ) from error
    tensors = list(output) if isinstance(output, list | tuple) else [output]
    if not index:
        return tensors
    if not index.isdecimal() or int(index) >= len(tensors):
        raise InvalidArgument(
            f"layer {name!r} of {_where(model)} has {len(tensors)} outputs, counted from 0, "
            f"and none {index!r}"
        )
    return [tensors[int(index)]]


def _where(model: Any) -> str:
    return f"the model {model.name!r}"
