"""A model called as the guide of its framework calls it, one thread for each call.

What the bare loop, the grpc.aio server and the FastAPI app have in common. Each framework's
fastest documented way for a row is taken: of XGBoost `inplace_predict`, of PyTorch inference mode.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
"""From any thread."""


def _onnx(folder: Path) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"), options)
    return lambda rows: session.run(None, {"x": rows})[0]


def _sklearn(folder: Path) -> Predict:
    import joblib

    estimator = joblib.load(folder / "model.joblib")
    return lambda rows: estimator.predict_proba(rows)


def _xgboost(folder: Path) -> Predict:
    import xgboost

    booster = xgboost.Booster(model_file=str(folder / "1" / "model.ubj"))
    booster.set_param({"nthread": 1})
    return lambda rows: booster.inplace_predict(rows)


def _lightgbm(folder: Path) -> Predict:
    import lightgbm

    booster: Any = lightgbm.Booster(model_file=str(folder / "1" / "model.txt"))
    return lambda rows: booster.predict(rows, num_threads=1)


def _torch(folder: Path) -> Predict:
    import torch

    torch.set_num_threads(1)
    module: Any = torch.export.load(folder / "1" / "model.pt2").module()

    def predict(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = module(torch.from_numpy(rows))["y"].numpy()
        return found

    return predict


LOADERS: dict[str, Callable[[Path], Predict]] = {
    "onnx": _onnx,
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "torch": _torch,
}


def load(framework: str, folder: Path) -> Predict:
    """The model of a base path, of the framework of that name."""
    return LOADERS[framework](folder)
