"""Modules whose inputs have names and nothing else: TorchScript, and pickled ones if allowed.

Types and shapes may stand in `signature.json` beside the file.
"""

import inspect
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from salver.backends.functions import PREDICT
from salver.backends.stated_signature import FILE_NAME as STATED
from salver.backends.stated_signature import StatedSignature, stated_signature
from salver.backends.torch_device import Cpu, Device
from salver.backends.torch_named_device import named_device
from salver.backends.torch_servable import TorchModel
from salver.core.data_type import DataType
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from salver.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Unimplemented

logger = logging.getLogger(__name__)

_FILES = re.compile(rb"\.[\s\\]*(save|from_file|load_tensor)[\s\\]*\(")
"""Calls of the operations of TorchScript that read and write files."""


def load_script(
    torch: Any, path: str, where: str, may_use_files: bool, device: Device
) -> TorchModel:
    """Read a TorchScript archive; on which device it computes, its code may decide.

    Raises:
        PermissionDenied: its code reads or writes files, and must not.
        FailedPrecondition: its code names a GPU, and there is none for it.
        Unimplemented: it takes or gives what is no tensor.
        InvalidArgument: `signature.json` is wrong.
    """
    if not may_use_files:
        _require_no_files(path, where)
    module, device = _script(torch, path, where, device)
    stated = stated_signature(os.path.dirname(path), where)
    schema = module.forward.schema
    required, optional = [], []
    for argument in schema.arguments[1:]:
        kind = str(argument.type)
        if argument.has_default_value():
            optional.append(argument.name if kind in ("Tensor", "Optional[Tensor]") else "")
        elif kind in ("Tensor", "Optional[Tensor]"):
            required.append(argument.name)
        else:
            raise Unimplemented(f'{where} takes "{argument.name}", which is {kind}, no tensor')
    results = [result.type for result in schema.returns]
    count = None
    if len(results) == 1 and str(results[0]) == "Tensor":
        count = 1
    elif len(results) == 1 and results[0].kind() == "TupleType":
        count = len(results[0].elements())
    inputs = _inputs(stated, required, [name for name in optional if name], where)
    return _model(module, stated, inputs, count, where, device)


def _script(torch: Any, path: str, where: str, device: Device) -> tuple[Any, Device]:
    module = _read_script(torch, path, device)
    named = named_device(torch, module)
    if named is None or torch.device(named).type == torch.device(device.name).type:
        return module, device
    if named == Cpu.name:
        logger.warning(
            "%s computes on the CPU although there is a GPU: it creates tensors there. Script it "
            "with device=x.device, or export it with torch.export",
            where,
        )
        device = Cpu(torch)
        return _read_script(torch, path, device), device
    raise FailedPrecondition(
        f"{where} computes on {named} alone, which its code names, and has to compute on "
        f"{device.name} here: trace it on the CPU, or export it with torch.export"
    )


def _read_script(torch: Any, path: str, device: Device) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(path, map_location=device.name).eval()


def load_pickled(torch: Any, path: str, where: str, device: Device) -> TorchModel:
    """Unpickle a module, which runs code from the file.

    Raises:
        InvalidArgument: it is something else, or `signature.json` is wrong.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.load(path, map_location=device.name, weights_only=False)
    if not isinstance(module, torch.nn.Module):
        raise InvalidArgument(
            f"{where} holds {type(module).__name__}, not a module: weights alone cannot be served"
        )
    module.eval()
    stated = stated_signature(os.path.dirname(path), where)
    required: list[str] = []
    optional: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        (required if parameter.default is parameter.empty else optional).append(parameter.name)
    inputs = _inputs(stated, required, optional, where)
    return _model(module, stated, inputs, None, where, device)


def _require_no_files(path: str, where: str) -> None:
    for _, call in file_calls(path):
        raise PermissionDenied(
            f"{where} calls {call}, which reads or writes files; "
            "--allow_pickle allows it for models that you trust"
        )


def file_calls(path: str) -> Iterator[tuple[str, str]]:
    """Members of a TorchScript archive whose code reads or writes files, and what they call."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".py"):
                for found in _FILES.finditer(archive.read(name)):
                    yield name, found[1].decode()


def _inputs(
    stated: StatedSignature | None, required: list[str], optional: list[str], where: str
) -> dict[str, TensorSpec]:
    if stated is None:
        # Not known: the type is what JSON is read as.
        return {name: TensorSpec(name, DataType.FLOAT, None) for name in required}
    missing = [name for name in required if name not in stated.inputs]
    unknown = [name for name in stated.inputs if name not in (*required, *optional)]
    if missing or unknown:
        raise InvalidArgument(
            f"{where} takes {', '.join(required) or 'nothing'}, "
            f"but {STATED} states {', '.join(stated.inputs) or 'nothing'}"
        )
    return dict(stated.inputs)


def _model(
    module: Any,
    stated: StatedSignature | None,
    inputs: dict[str, TensorSpec],
    count: int | None,
    where: str,
    device: Device,
) -> TorchModel:
    outputs = dict(stated.outputs) if stated is not None else {}
    declares = bool(outputs)
    if not outputs:
        if count is None:
            raise Unimplemented(
                f"{where} does not say how many outputs it has: name them in {STATED}"
            )
        names = [f"output_{number}" for number in range(count)]
        outputs = {name: TensorSpec(name, DataType.FLOAT, None) for name in names}
    elif count is not None and count != len(outputs):
        raise InvalidArgument(f"{where} has {count} outputs, but {STATED} states {len(outputs)}")
    signature = Signature(DEFAULT_SIGNATURE, inputs, outputs, PREDICT)
    call = _call(module, list(inputs), list(outputs))
    return TorchModel(
        signature,
        call,
        is_declared=stated is not None,
        declares_outputs=declares,
        device=device,
    )


def _call(
    module: Any, inputs: list[str], outputs: list[str]
) -> Callable[[Sequence[Any]], Sequence[Any]]:
    def call(tensors: Sequence[Any]) -> Sequence[Any]:
        given = module(**dict(zip(inputs, tensors, strict=True)))
        if isinstance(given, dict):
            return [given[name] for name in outputs]
        values = list(given) if isinstance(given, tuple | list) else [given]
        if len(values) != len(outputs):
            raise ValueError(f"{len(values)} outputs were computed, not {len(outputs)}")
        return values

    return call
