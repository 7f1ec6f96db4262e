"""Models of frameworks other than TensorFlow, written as the files that their backends read.

Which framework a model is of is told without importing any: a model of one that is not imported
cannot exist.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from salver.errors import FailedPrecondition, InvalidArgument
from salver.export.keras_function import is_keras_model

Writer = Callable[[Any, Path], None]


def file_writer_of(model: Any) -> Writer | None:
    """What writes this model into a folder; None if its kind is not known.

    Raises:
        InvalidArgument: the model is of a known framework, and something has to be done first.
    """
    if is_keras_model(model):
        return _write_keras
    kind, framework = type(model), _framework(model)
    if framework == "torch":
        return _torch_writer(model)
    if framework == "sklearn":
        return _write_sklearn
    writer = _BY_FRAMEWORK.get(framework)
    if writer is None and hasattr(model, "fit") and hasattr(model, "get_params"):
        # An estimator of somebody's own.
        return _write_sklearn
    if writer is None and framework in ("onnx", "mlflow"):
        raise InvalidArgument(f"{kind.__name__}: save it under its own name; see docs/backends.md")
    return writer


def _framework(model: Any) -> str:
    """The package of the nearest class of the model that is of a known framework."""
    for kind in type(model).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in ("torch", "sklearn", "onnx", "mlflow", *_BY_FRAMEWORK):
            return package
    return ""


def _torch_writer(model: Any) -> Writer:
    torch = sys.modules["torch"]
    if isinstance(model, torch.export.ExportedProgram):
        return lambda program, folder: torch.export.save(program, folder / "model.pt2")
    if isinstance(model, torch.jit.ScriptModule):
        return lambda script, folder: script.save(str(folder / "model.pt"))
    raise InvalidArgument(
        f"{type(model).__name__} is a PyTorch module, which says neither types nor shapes; give "
        "torch.export.export(model.eval(), (sample,), dynamic_shapes=...)"
    )


def _write_keras(model: Any, folder: Path) -> None:
    """For Keras on JAX or PyTorch: servers run its own file on TensorFlow."""
    model.save(folder / "model.keras")


def _write_sklearn(model: Any, folder: Path) -> None:
    try:
        import skops.io
    except ImportError as error:
        raise FailedPrecondition(
            "skops, which writes scikit-learn models, is not installed: "
            "pip install 'salver[sklearn]'"
        ) from error
    skops.io.dump(model, folder / "model.skops")


def _write_xgboost(model: Any, folder: Path) -> None:
    model.save_model(folder / "model.ubj")
    _write_labels(model, folder)


def _write_lightgbm(model: Any, folder: Path) -> None:
    getattr(model, "booster_", model).save_model(folder / "model.txt")
    _write_labels(model, folder)


def _write_catboost(model: Any, folder: Path) -> None:
    model.save_model(str(folder / "model.cbm"))


def _write_labels(model: Any, folder: Path) -> None:
    """The names of the classes, which the model files of two frameworks do not keep."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return
    labels = [str(each) for each in classes]
    if labels == [str(index) for index in range(len(labels))]:
        return
    for label in labels:
        if len(label.splitlines()) != 1:
            raise InvalidArgument(f"the class {label!r} is not one line of text")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), "utf-8")


_BY_FRAMEWORK: Mapping[str, Writer] = {
    "xgboost": _write_xgboost,
    "lightgbm": _write_lightgbm,
    "catboost": _write_catboost,
}
