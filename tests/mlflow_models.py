"""Models of deep learning, saved by MLflow itself, and the frameworks' own answers to `X`.

Run as a program with a folder, this module makes them there, in a process of its own.
"""

import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

with suppress(ImportError):
    # See tests/conftest.py.
    import triton._C.libtriton  # noqa: F401

X = np.array([[0.5, -1.0], [2.0, 3.0], [-0.25, 8.0]], np.float32)
ANSWERS = "answers.npz"
"""Under the name of each model's folder, what its framework computes."""


def _saved(flavor: Any, model: Any, path: Path, answer: Any, **options: Any) -> np.ndarray:
    import mlflow

    found = np.asarray(answer)
    signature = mlflow.models.infer_signature(X, found)
    flavor.save_model(model, str(path), signature=signature, pip_requirements=[], **options)
    return found


def _keras_models(folder: Path) -> dict[str, np.ndarray]:
    import keras
    import mlflow

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    answer = model.predict(X, verbose=0)
    flavors = {
        "keras": (mlflow.keras, {}),
        "keras_exported": (mlflow.keras, {"save_exported_model": True}),
        "tensorflow_keras": (mlflow.tensorflow, {}),
    }
    return {
        name: _saved(flavor, model, folder / name, answer, **options)
        for name, (flavor, options) in flavors.items()
    }


def _tensorflow_module(folder: Path) -> dict[str, np.ndarray]:
    import mlflow
    import tensorflow as tf

    class Doubled(tf.Module):  # type: ignore[misc]
        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")]
        )
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"y": x * 2}

    path = folder / "tensorflow_module"
    return {path.name: _saved(mlflow.tensorflow, Doubled(), path, X * 2)}


def _torch_models(folder: Path) -> dict[str, np.ndarray]:
    import mlflow
    import torch

    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Softmax(1)).eval()
    answer = model(torch.from_numpy(X)).detach().numpy()
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "torch_exported": (model, {"serialization_format": "pt2", "input_example": X}),
        "torch_script": (torch.jit.script(model), {"serialization_format": "pickle"}),
        "torch_module": (model, {"serialization_format": "pickle"}),
    }
    return {
        name: _saved(mlflow.pytorch, each, folder / name, answer, **options)
        for name, (each, options) in kinds.items()
    }


def main(folder: Path) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.simplefilter("ignore")
    makers = (_keras_models, _tensorflow_module, _torch_models)
    answers = {name: array for make in makers for name, array in make(folder).items()}
    np.savez(folder / ANSWERS, **answers)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
