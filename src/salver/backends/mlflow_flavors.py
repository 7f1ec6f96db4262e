"""Flavors of MLflow that a backend here reads itself, and where their files lie.

What is not among them is left to MLflow, as `python_function`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salver.backends.torch_archive import Kind, kind_of

PYTHON_FUNCTION = "python_function"
TENSORFLOW = "tensorflow"
_PICKLES = (".pkl", ".pickle", ".joblib", ".pth", ".cloudpickle")

Configuration = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Native:
    """A model that needs nothing of MLflow."""

    backend: str
    """Its name, that of TensorFlow included."""
    path: Path
    """The file; for a SavedModel its folder."""
    file_name: str
    """What the backend expects the file to be called; empty for a SavedModel."""


def native_model(root: Path, flavors: Mapping[str, Configuration]) -> Native | None:
    """The first of the flavors that a backend here can read, None if there is none.

    Raises:
        ValueError: the configuration names a file outside of the model.
        InvalidArgument: a file of PyTorch is damaged.
    """
    for flavor, find in _FINDERS.items():
        configuration = flavors.get(flavor)
        if configuration is not None and (found := find(root, configuration)) is not None:
            return found
    return None


def is_pickled(root: Path, flavors: Mapping[str, Configuration]) -> bool:
    """Whether MLflow would unpickle something; by the names of files, and what is said of them.

    Raises:
        OSError: the folder cannot be read.
    """
    said = any("cloudpickle_version" in each for each in flavors.values())
    return said or any(path.suffix in _PICKLES for path in root.rglob("*"))


def _inside(root: Path, name: object, *more: str) -> Path | None:
    """A path in the model's folder, None if there is nothing."""
    if not isinstance(name, str):
        return None
    path = root.joinpath(name, *more)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise ValueError(f'"{name}" lies outside of the model')
    return path if path.exists() else None


def _onnx(root: Path, configuration: Configuration) -> Native | None:
    path = _inside(root, configuration.get("data"))
    return None if path is None else Native("onnx", path, "model.onnx")


def _sklearn(root: Path, configuration: Configuration) -> Native | None:
    path = _inside(root, configuration.get("pickled_model"))
    if path is None:
        return None
    is_skops = configuration.get("serialization_format") == "skops"
    return Native("sklearn", path, "model.skops" if is_skops else "model.pkl")


def _xgboost(root: Path, configuration: Configuration) -> Native | None:
    path = _inside(root, configuration.get("data"))
    if path is None or path.suffix in _PICKLES:
        return None
    return Native("xgboost", path, "model.json" if path.suffix == ".json" else "model.ubj")


def _lightgbm(root: Path, configuration: Configuration) -> Native | None:
    path = _inside(root, configuration.get("data"))
    # Those with the interface of scikit-learn are pickled.
    if path is None or path.suffix != ".lgb":
        return None
    return Native("lightgbm", path, "model.txt")


def _catboost(root: Path, configuration: Configuration) -> Native | None:
    path = _inside(root, configuration.get("data"))
    if path is None or configuration.get("save_format", "cbm") != "cbm":
        return None
    return Native("catboost", path, "model.cbm")


def _keras(root: Path, configuration: Configuration) -> Native | None:
    # With `save_exported_model=True` it is the SavedModel alone.
    return _saved_model(root, configuration.get("data"), "model") or _keras_file(
        root, configuration
    )


def _tensorflow(root: Path, configuration: Configuration) -> Native | None:
    data = configuration.get("data")
    return (
        _saved_model(root, configuration.get("saved_model_dir"))
        or _saved_model(root, data)
        or _saved_model(root, data, "model")
        or _keras_file(root, configuration)
    )


def _saved_model(root: Path, name: object, *more: str) -> Native | None:
    path = _inside(root, name, *more)
    if path is None or not (path / "saved_model.pb").is_file():
        return None
    return Native(TENSORFLOW, path, "")


def _keras_file(root: Path, configuration: Configuration) -> Native | None:
    path = _inside(root, configuration.get("data"), "model.keras")
    return None if path is None else Native("keras", path, "model.keras")


def _pytorch(root: Path, configuration: Configuration) -> Native | None:
    data = configuration.get("model_data")
    path = _inside(root, data, "model.pt2")
    if path is not None:
        return Native("pytorch", path, "model.pt2")
    path = _inside(root, data, "model.pth")
    # TorchScript or a pickled module: only what is in it tells.
    if path is not None and path.is_file() and kind_of(str(path), path.name) is Kind.SCRIPT:
        return Native("pytorch", path, "model.pt")
    return None


_FINDERS: Mapping[str, Callable[[Path, Configuration], Native | None]] = {
    TENSORFLOW: _tensorflow,
    "keras": _keras,
    "onnx": _onnx,
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
    "pytorch": _pytorch,
}
