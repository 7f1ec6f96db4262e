"""Keras models, tf.Modules and functions: told apart, and written as SavedModels."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from salver.errors import FailedPrecondition, InvalidArgument
from salver.export.class_labels import ClassLabels, class_labels
from salver.export.keras_function import is_keras_model, keras_function
from salver.export.model_function import ModelFunction, function_of
from salver.export.saved_model_writer import write_with_keras, write_with_tensorflow
from salver.export.signature_function import SignatureFunction, signature_function
from salver.export.signatures import Classify, Predict, Regress, SignatureRequest

_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_TAKEN = frozenset(("variables", "trainable_variables", "non_trainable_variables"))
"""What Keras calls other things in what it saves."""


def runs_on_tensorflow(model: Any) -> bool:
    """Whether this is a Keras model on TensorFlow, a `tf.Module` or a `tf.function`."""
    if is_keras_model(model):
        return bool(sys.modules["keras"].backend.backend() == "tensorflow")
    tf = sys.modules.get("tensorflow")
    return tf is not None and isinstance(model, tf.Module | tf.types.experimental.GenericFunction)


def write_saved_model(
    model: Any,
    requests: Mapping[str, SignatureRequest],
    folder: Path,
    options: Any,
) -> list[SignatureFunction]:
    """Write a SavedModel with these signatures into an empty folder; they come back.

    Raises:
        FailedPrecondition: TensorFlow is not installed.
        InvalidArgument: a signature cannot be made, or the model cannot be saved.
    """
    tf = _tensorflow()
    _check_names(requests)
    keras = sys.modules["keras"] if is_keras_model(model) else None
    with TemporaryDirectory(prefix="salver-export-") as assets:
        functions = []
        vocabularies: dict[object, ClassLabels] = {}
        for name, request in requests.items():
            labels = _labels(tf, name, request, Path(assets), vocabularies)
            function = _function(tf, keras, model, name, request)
            functions.append(signature_function(tf, name, request, function, labels))
        resources = [labels.table for labels in vocabularies.values()]
        if keras is None:
            write_with_tensorflow(tf, model, resources, functions, folder, options)
        else:
            write_with_keras(keras, model, resources, functions, folder, options)
    return functions


def _tensorflow() -> Any:
    # Its greetings are no part of what is told here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return import_module("tensorflow")
    except ImportError as error:
        raise FailedPrecondition(
            "TensorFlow is not installed: pip install 'salver[tensorflow]'"
        ) from error


def _check_names(requests: Mapping[Any, Any]) -> None:
    if not requests:
        raise InvalidArgument("signatures is empty; leave it out for a predict signature")
    for name, request in requests.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
            raise InvalidArgument(f"a signature cannot be called {name!r}")
        if not isinstance(request, Predict | Classify | Regress):
            raise InvalidArgument(
                f"signature {name!r} is {request!r}; it must be a Predict, Classify or Regress of "
                "salver.export"
            )


def _labels(
    tf: Any,
    name: str,
    request: SignatureRequest,
    folder: Path,
    vocabularies: dict[object, ClassLabels],
) -> ClassLabels | None:
    """The labels of a signature; two that name the same classes share one asset."""
    if not isinstance(request, Classify) or request.classes is None:
        return None
    classes = request.classes
    key = os.fspath(classes) if isinstance(classes, str | os.PathLike) else tuple(classes)
    if key not in vocabularies:
        suffix = f"_{len(vocabularies)}" if vocabularies else ""
        path = folder / f"classes{suffix}.txt"
        vocabularies[key] = class_labels(tf, classes, path, f"signature {name!r}")
    return vocabularies[key]


def _function(
    tf: Any, keras: Any, model: Any, name: str, request: SignatureRequest
) -> ModelFunction:
    layers: Sequence[str] | Mapping[str, str] = (
        request.layers if isinstance(request, Predict) else ()
    )
    if keras is not None and request.function is None:
        return keras_function(tf, keras, model, request.inputs, layers)
    if layers:
        whose = "the model" if request.function is None else "a function"
        raise InvalidArgument(f"signature {name!r}: {whose} has no layers; only Keras models have")
    return function_of(tf, model, request.function, request.inputs)
