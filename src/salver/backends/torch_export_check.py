"""Looks through an exported program for what would run code when PyTorch loads it.

PyTorch warns that its loader trusts the file: it unpickles members, evaluates expressions for sizes
as Python, looks up operations by any dotted name, and writes names of the graph into Python source.
What a file has that `torch.export.save` made is known here; anything else is refused.
Source: torch/_export/serde/schema.py, torch/export/pt2_archive.
"""

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from salver.backends.torch_archive import PROGRAM, member_sizes, read_member
from salver.backends.torch_expressions import check_guard, check_size
from salver.errors import InvalidArgument, PermissionDenied

_SAMPLES = "data/sample_inputs/model.pt"
_PAYLOADS = {
    "data/weights/": "data/weights/model_weights_config.json",
    "data/constants/": "data/constants/model_constants_config.json",
}
_MEMBERS = re.compile(
    rf"{PROGRAM}|{_SAMPLES}|{'|'.join(_PAYLOADS.values())}"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+"
    r"|archive_format|archive_version|byteorder|version|\.data/[a-z_]+|extra/.*"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATION = re.compile(
    r"torch\.ops\.(aten|prims|quantized|quantized_decomposed)\.\w+\.\w+"
    r"|torch\.ops\.higher_order\.(cond|while_loop|map_impl|scan|associative_scan"
    r"|wrap_with_set_grad_enabled|wrap_with_autocast|invoke_subgraph)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_\w+"
)
_FILES = re.compile(r"torch\.ops\.aten\.(from_file|save)\b")
_TABLES = ("tensor_values", "sym_int_values", "sym_float_values", "sym_bool_values")


def check_exported(torch: Any, path: str, where: str) -> None:
    """Look through the file, sample inputs included, for which PyTorch is needed.

    Raises:
        PermissionDenied: something in it is code, or cannot be told from code.
        InvalidArgument: it cannot be read, or claims what is not there.
    """
    samples = check_program_file(path, where)
    try:
        if samples:
            torch.load(io.BytesIO(samples), map_location="cpu", weights_only=True)
    except Exception as error:
        raise _refused(where, "has sample inputs that are no tensors") from error


def check_program_file(path: str, where: str) -> bytes:
    """Look through all but the sample inputs, which are returned as they are.

    Raises:
        PermissionDenied: something in it is code, or cannot be told from code.
        InvalidArgument: it cannot be read, or claims what is not there.
    """
    sizes = member_sizes(path)
    for name in sizes:
        if not _MEMBERS.fullmatch(name):
            raise _refused(where, f"has a member {name[:100]}")
    try:
        for folder, config in _PAYLOADS.items():
            _check_payloads(folder, _json(path, config)["config"], sizes, where)
        program = _json(path, PROGRAM)
        _check_program(program, where)
        return read_member(path, _SAMPLES)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{where} cannot be read: {type(error).__name__}: {error}") from error


def _json(path: str, member: str) -> Any:
    return json.loads(read_member(path, member))


def _check_payloads(
    folder: str, config: Mapping[str, Any], sizes: Mapping[str, int], where: str
) -> None:
    for name, payload in config.items():
        if payload["use_pickle"]:
            raise _refused(where, f"has {name[:100]} as a pickle")
        count = math.prod(size["as_int"] for size in payload["tensor_meta"]["sizes"])
        if count and not sizes[folder + payload["path_name"]]:
            raise InvalidArgument(f"{where} has no content for {name[:100]}")


def _check_program(program: Any, where: str) -> None:
    for guard in program.get("guards_code", ()):
        if not check_guard(guard):
            raise _refused(where, f"has a condition {guard[:100]}")
    for each in _objects(program):
        _check_names(each, where)
        expression = each.get("expr_str")
        if expression is not None and not check_size(expression):
            raise _refused(where, f"has a size {str(expression)[:100]}")
        target = each.get("target")
        if isinstance(target, str) and "inputs" in each:
            _check_operation(target, where)


def _check_names(each: Mapping[str, Any], where: str) -> None:
    """They become names in Python source."""
    names = [each[key] for key in ("name", "as_name") if isinstance(each.get(key), str)]
    for table in _TABLES:
        names.extend(each.get(table) or ())
    for name in names:
        if name and not _NAME.fullmatch(name):
            raise _refused(where, f"has something called {name[:100]}")


def _check_operation(target: str, where: str) -> None:
    if not _OPERATION.fullmatch(target) or _FILES.match(target):
        raise _refused(where, f"calls {target[:100]}")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in what was read from JSON."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _refused(where: str, what: str) -> PermissionDenied:
    return PermissionDenied(
        f"{where} {what}, through which it could run code; --allow_pickle allows it for models "
        "that you trust"
    )
