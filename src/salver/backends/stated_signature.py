"""`signature.json` beside a model whose file says nothing of types and shapes.

    {"inputs": {"x": {"dtype": "float32", "shape": [null, 4]}},
     "outputs": {"y": {"dtype": "float32", "shape": [null, 2]}}}

`null` stands for any size; without `shape`, any rank is taken. `outputs` may be left out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salver.core.data_type import DataType, numpy_type_of
from salver.core.signature import TensorSpec
from salver.errors import InvalidArgument

FILE_NAME = "signature.json"

_BY_NAME = {
    {"half": "float16", "float": "float32", "double": "float64"}.get(t.short_name, t.short_name): t
    for t in DataType
    if numpy_type_of(t) is not None and not t.name.startswith("Q")
}
"""By NumPy's names."""


@dataclass(frozen=True)
class StatedSignature:
    """What the file says, in its order."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


def stated_signature(folder: str, where: str) -> StatedSignature | None:
    """Read the file in a version's folder; None if there is none.

    Raises:
        InvalidArgument: it cannot be understood.
    """
    try:
        content = json.loads((Path(folder) / FILE_NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{where}: {FILE_NAME} cannot be read: {error}") from error
    if not isinstance(content, dict) or not set(content) <= {"inputs", "outputs"}:
        raise InvalidArgument(f'{where}: {FILE_NAME} must be an object of "inputs" and "outputs"')
    if not content.get("inputs"):
        raise InvalidArgument(f"{where}: {FILE_NAME} states no inputs")
    return StatedSignature(
        _specs(content["inputs"], "inputs", where), _specs(content.get("outputs"), "outputs", where)
    )


def _specs(content: Any, kind: str, where: str) -> dict[str, TensorSpec]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InvalidArgument(f'{where}: {FILE_NAME}: "{kind}" must be an object')
    return {name: _spec(name, tensor, where) for name, tensor in content.items()}


def _spec(name: str, tensor: Any, where: str) -> TensorSpec:
    if not isinstance(tensor, dict) or not set(tensor) <= {"dtype", "shape"}:
        raise InvalidArgument(
            f'{where}: {FILE_NAME}: "{name}" must be an object of "dtype" and "shape"'
        )
    data_type = _BY_NAME.get(str(tensor.get("dtype")))
    if data_type is None:
        raise InvalidArgument(
            f'{where}: {FILE_NAME}: the dtype of "{name}" must be one of {", ".join(_BY_NAME)}'
        )
    shape = tensor.get("shape")
    if shape is None:
        return TensorSpec(name, data_type, None)
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise InvalidArgument(
            f'{where}: {FILE_NAME}: the shape of "{name}" must be a list of sizes and nulls'
        )
    return TensorSpec(name, data_type, tuple(-1 if size is None else size for size in shape))


def _is_size(size: Any) -> bool:
    return size is None or (isinstance(size, int) and not isinstance(size, bool) and size >= 0)
