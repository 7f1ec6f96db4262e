"""Exported programs: their signature, and calls of their flat graph.

The graph takes parameters, buffers and inputs in one row. To call it as it is spares what
PyTorch's own wrapper does for each call, half of the time of a small model; what the wrapper
checks is checked here.
Source: torch/export/graph_signature.py, torch/export/_unlift.py.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from salver.backends.functions import PREDICT
from salver.backends.torch_archive import PROGRAM, read_member
from salver.backends.torch_device import Device
from salver.backends.torch_graph import function_of
from salver.backends.torch_guards import Guards
from salver.backends.torch_servable import TorchModel
from salver.backends.torch_tensors import DATA_TYPES
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from salver.errors import FailedPrecondition, Unimplemented

_ON_GPU = re.compile(rb'"type":\s*"cuda"')
"""In the graph of a program: a device that one of its tensors was on at the export."""


def load_exported(torch: Any, path: str, where: str, device: Device) -> TorchModel:
    """Read the file, and move the program to a device, wherever it was exported.

    It must have been checked, or be trusted.

    Raises:
        Unimplemented: it takes or gives what is no tensor.
        FailedPrecondition: it was exported on a GPU, and there is none at all.
    """
    if not torch.cuda.is_available() and _ON_GPU.search(read_member(path, PROGRAM)):
        raise FailedPrecondition(
            f"{where} was exported on a GPU, and PyTorch finds none here, without which it does "
            "not read the file: export the model on the CPU, which serves on a GPU as well"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(path)
        if _devices(torch, program) - {torch.device(device.name)}:
            program = _moved(torch, program, device.name)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    fixed, inputs, places = _arguments(torch, program, values, where)
    outputs, kept, written = _results(torch, program, values)
    if not outputs:
        raise Unimplemented(f"{where} has no output that can be served")
    signature = Signature(DEFAULT_SIGNATURE, inputs, outputs, PREDICT)
    guards = Guards(torch, program, list(inputs), values, where)
    forward = partial(function_of(torch, program.graph_module, last=places), *fixed)
    call = _call(forward, kept, written, guards)
    return TorchModel(signature, call, is_declared=True, declares_outputs=True, device=device)


def _devices(torch: Any, program: Any) -> set[Any]:
    """Where its weights are and its values are computed."""
    found = {state.device for state in program.state_dict.values()}
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            values = torch.utils._pytree.tree_leaves(node.meta.get("val"))
            found.update(value.device for value in values if isinstance(value, torch.Tensor))
    return found


def _moved(torch: Any, program: Any, device: str) -> Any:
    move = import_module("torch.export.passes").move_to_device_pass
    program = move(program, device)
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            # The pass changes the graph, not the code that was made of it.
            module.recompile()
    return program


def _arguments(
    torch: Any, program: Any, values: dict[str, Any], where: str
) -> tuple[list[Any], dict[str, TensorSpec], list[int]]:
    """What the graph is always called with, in order, the inputs, and where it takes these."""
    fixed: list[Any] = []
    inputs: dict[str, TensorSpec] = {}
    places = []
    for place, spec in enumerate(program.graph_signature.input_specs):
        if spec.kind.name in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR"):
            state = program.state_dict if spec.target in program.state_dict else program.constants
            fixed.append(state[spec.target].detach())
        elif spec.kind.name == "USER_INPUT" and isinstance(values[spec.arg.name], torch.Tensor):
            inputs[spec.arg.name] = _spec(torch, spec.arg.name, values[spec.arg.name])
            places.append(place)
        elif spec.kind.name == "USER_INPUT" and hasattr(spec.arg, "value"):
            fixed.append(spec.arg.value)  # The export has fixed it.
        else:
            raise Unimplemented(f'{where} takes "{spec.arg.name}", which is no tensor')
    return fixed, inputs, places


def _results(
    torch: Any, program: Any, values: dict[str, Any]
) -> tuple[dict[str, TensorSpec], list[int], dict[int, Any]]:
    """The outputs, where they are among the results, and what is written to with others of them."""
    count = len(program.graph_signature.user_outputs)
    names = dict(
        _names(torch.utils._pytree.tree_unflatten(range(count), program.call_spec.out_spec))
    )
    outputs, kept, written, user = {}, [], {}, 0
    for place, spec in enumerate(program.graph_signature.output_specs):
        if spec.kind.name == "BUFFER_MUTATION":
            state = program.state_dict if spec.target in program.state_dict else program.constants
            written[place] = state[spec.target].detach()
        if spec.kind.name != "USER_OUTPUT":
            continue
        value = values.get(spec.arg.name)
        if isinstance(value, torch.Tensor):
            outputs[names[user]] = _spec(torch, names[user], value)
            kept.append(place)
        user += 1
    return outputs, kept, written


def _names(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[int, str]]:
    """Names of outputs by their numbers: keys, fields, and `output_N` where there is none."""
    if isinstance(value, int):
        yield value, "_".join(path) or "output_0"
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _names(each, (*path, str(key)))
    elif isinstance(value, tuple | list):
        fields = getattr(value, "_fields", None)
        for number, each in enumerate(value):
            name = fields[number] if fields else str(number) if path else f"output_{number}"
            yield from _names(each, (*path, name))


def _spec(torch: Any, name: str, value: Any) -> TensorSpec:
    data_type = DATA_TYPES.get(str(value.dtype).removeprefix("torch."))
    if data_type is None:
        raise Unimplemented(f'The type {value.dtype} of "{name}" cannot be served')
    shape = tuple(-1 if isinstance(size, torch.SymInt) else int(size) for size in value.shape)
    return TensorSpec(name, data_type, shape)


def _call(
    forward: Callable[..., Sequence[Any]],
    kept: list[int],
    written: dict[int, Any],
    guards: Guards,
) -> Callable[[Sequence[Any]], Sequence[Any]]:
    def call(tensors: Sequence[Any]) -> Sequence[Any]:
        guards.check(tuple([tensor.shape for tensor in tensors]))
        results = forward(*tensors)
        for place, state in written.items():
            state.copy_(results[place])
        return [results[place] for place in kept]

    return call
