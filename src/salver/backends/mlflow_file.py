"""`MLmodel`: what MLflow writes down about a model. Read without MLflow.

Source: https://mlflow.org/docs/latest/ml/model/.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from salver.backends.functions import tensor
from salver.backends.prerequisites import imported
from salver.core.backend import BackendOptions
from salver.core.signature import TensorSpec
from salver.errors import InvalidArgument, NotFound, Unimplemented

FILE_NAME = "MLmodel"
DATETIME = "datetime"
_MOST_BYTES = 16 << 20
_COLUMN_TYPES: dict[str, type] = {
    "boolean": np.bool_,
    "integer": np.int32,
    "long": np.int64,
    "float": np.float32,
    "double": np.float64,
    "string": np.object_,
    "binary": np.object_,
    DATETIME: np.object_,
}
_TEXT_TYPES = ("str", "object", "string", "bytes")


@dataclass(frozen=True, slots=True)
class Field:
    """One column or tensor of a signature."""

    name: str
    """Empty, if it has none."""
    spec: TensorSpec
    kind: str
    """MLflow's type of a column; empty for a tensor."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that a request may give, for all of its rows."""

    name: str
    default: np.ndarray | None
    spec: TensorSpec


@dataclass(frozen=True, slots=True)
class MlflowFile:
    """The parts of the file that serving needs."""

    flavors: Mapping[str, Mapping[str, Any]]
    inputs: tuple[Field, ...] | None
    """None where the model has no signature."""
    outputs: tuple[Field, ...] | None
    parameters: tuple[Parameter, ...]


def model_root(folder: Path) -> Path | None:
    """The folder with the `MLmodel`: the version folder, or the one folder in it that has one.

    Raises:
        OSError: the folder cannot be read.
    """
    if (folder / FILE_NAME).is_file():
        return folder
    inside = [path for path in folder.iterdir() if (path / FILE_NAME).is_file()]
    return inside[0] if len(inside) == 1 else None


def read_mlflow_file(path: Path, options: BackendOptions) -> MlflowFile:
    """Read the file. From a load thread.

    Raises:
        NotFound: there is none.
        FailedPrecondition: PyYAML is not installed.
        InvalidArgument: it is none of MLflow.
        Unimplemented: the signature has types that no tensor can have.
    """
    yaml = imported("yaml", options, "mlflow")
    where = f"Model {options.model_name}: {path.name}"
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise NotFound(f"{path}; {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise InvalidArgument(f"{where} has more than {_MOST_BYTES} bytes")
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    flavors = found.get("flavors") if isinstance(found, dict) else None
    if not isinstance(flavors, dict) or not all(
        isinstance(each, dict) for each in flavors.values()
    ):
        raise InvalidArgument(f"{where} names no flavors: it is not MLflow's")
    signature = found.get("signature") or {}
    try:
        inputs, outputs, parameters = (
            json.loads(signature.get(part) or "null") for part in ("inputs", "outputs", "params")
        )
        return MlflowFile(
            flavors,
            None if inputs is None else tuple(_field(each) for each in inputs),
            None if outputs is None else tuple(_field(each) for each in outputs),
            tuple(_parameter(each) for each in parameters or ()),
        )
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{where}: the signature cannot be read: {type(error).__name__}: {error}"
        ) from error
    except Unimplemented as error:
        raise Unimplemented(f"{where}: {error.message}") from error


def _field(each: Mapping[str, Any]) -> Field:
    name = str(each.get("name") or "")
    kind = each["type"]
    if kind == "tensor":
        declared = each["tensor-spec"]
        shape = tuple(int(size) for size in declared["shape"])
        return Field(name, tensor(_tensor_type(declared["dtype"]), shape), "")
    return Field(name, tensor(_column_type(kind), (-1,)), kind)


def _parameter(each: Mapping[str, Any]) -> Parameter:
    numpy_type, default = _column_type(each["type"]), each.get("default")
    shape = () if each.get("shape") is None else (-1,)
    array: np.ndarray | None = None
    if default is not None:
        values = [default] if shape == () else default
        if numpy_type is np.object_:
            values = [str(value).encode() for value in values]
        cells: np.ndarray = np.empty(len(values), numpy_type)
        cells[:] = values
        array = cells.reshape(()) if shape == () else cells
    return Parameter(str(each["name"]), array, tensor(numpy_type, shape))


def _tensor_type(name: str) -> np.dtype:
    return np.dtype(object) if name.startswith(_TEXT_TYPES) else np.dtype(name)


def _column_type(kind: object) -> type:
    found = _COLUMN_TYPES.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise Unimplemented(
            f"the signature has the type {kind}, which no tensor can have; there may be "
            f"{', '.join(_COLUMN_TYPES)}"
        )
    return found
