"""Makes the models: `python -m benchmarks.frameworks.making FOLDER NAME...`.

A program of its own, because the process that measures must not carry the frameworks.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines.framework_call import load
from benchmarks.frameworks.models import COLUMNS, IMAGE, MODELS, RNG_SEED, request_of, table

JOBLIB = "model.joblib"
"""Beside the version folders."""


def make_sklearn(estimator: Any, version: Path) -> None:
    """Train it to tell rows above the median from others, and save it in both ways."""
    import joblib
    import skops.io

    rows, values = table()
    estimator.fit(rows, np.where(values > np.median(values), 1, 0))
    skops.io.dump(estimator, version / "model.skops")
    joblib.dump(estimator, version.parent / JOBLIB)


def make_linear(version: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    make_sklearn(make_pipeline(StandardScaler(), LogisticRegression()), version)


def make_forest(version: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(100, max_depth=8, random_state=RNG_SEED)
    make_sklearn(forest, version)


def make_xgboost(version: Path, trees: int, depth: int) -> None:
    import xgboost

    rows, values = table()
    model = xgboost.XGBRegressor(n_estimators=trees, max_depth=depth, learning_rate=0.02, n_jobs=1)
    model.fit(rows.astype(np.float32), values)
    model.save_model(version / "model.ubj")


def make_lightgbm(version: Path, trees: int, leaves: int) -> None:
    import lightgbm

    rows, values = table()
    parameters = {"num_leaves": leaves, "learning_rate": 0.02, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, values), trees)
    booster.save_model(version / "model.txt")


def _network(*, is_image: bool) -> Any:
    import torch

    torch.manual_seed(RNG_SEED)
    layers = torch.nn
    if not is_image:
        return layers.Sequential(
            *(layers.Linear(COLUMNS, 64), layers.ReLU(), layers.Linear(64, 64), layers.ReLU()),
            layers.Linear(64, 1),
        ).eval()
    stages: list[Any] = []
    channels = IMAGE[0]
    for wider in (64, 64, 128, 128):
        for before, after in ((channels, wider), (wider, wider)):
            stages += [layers.Conv2d(before, after, 3, padding=1), layers.BatchNorm2d(after)]
            stages += [layers.ReLU()]
        stages += [layers.MaxPool2d(2)]
        channels = wider
    ends = [layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(channels, 10)]
    return layers.Sequential(*stages, *ends, layers.Softmax(dim=1)).eval()


def _named(network: Any) -> Any:
    """The same with names for its input and its output."""
    import torch

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any) -> dict[str, Any]:
            return {"y": self.network(x)}

    return Named().eval()


def make_onnx(version: Path, *, is_image: bool) -> None:
    import torch

    example = torch.zeros(2, *(IMAGE if is_image else (COLUMNS,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _network(is_image=is_image),
            (example,),
            str(version / "model.onnx"),
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "rows"}, "y": {0: "rows"}},
        )


def make_exported(version: Path, *, is_image: bool) -> None:
    import torch

    example = torch.zeros(2, *(IMAGE if is_image else (COLUMNS,)))
    network = _named(_network(is_image=is_image))
    rows = torch.export.Dim("rows")
    program = torch.export.export(network, (example,), dynamic_shapes={"x": {0: rows}})
    torch.export.save(program, version / "model.pt2")


MAKERS: dict[str, Callable[[Path], None]] = {
    "onnx-mlp": lambda version: make_onnx(version, is_image=False),
    "onnx-image": lambda version: make_onnx(version, is_image=True),
    "sklearn-linear": make_linear,
    "sklearn-forest": make_forest,
    "xgboost-small": lambda version: make_xgboost(version, 100, 4),
    "xgboost-large": lambda version: make_xgboost(version, 4000, 8),
    "lightgbm-small": lambda version: make_lightgbm(version, 100, 15),
    "lightgbm-large": lambda version: make_lightgbm(version, 4000, 127),
    "torch-mlp": lambda version: make_exported(version, is_image=False),
    "torch-image": lambda version: make_exported(version, is_image=True),
}


def make(name: str, folder: Path) -> None:
    """Make one model, and let its framework say what the right answer is."""
    model = MODELS[name]
    version = folder / name / "1"
    version.mkdir(parents=True, exist_ok=True)
    MAKERS[name](version)
    asked = request_of(model)
    expected = load(model.framework, folder / name)(asked)
    # Written last: its presence says that the model is complete.
    np.savez(folder / f"{name}.npz", input=asked, expected=expected)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the models that are missing.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", choices=MODELS)
    options = parser.parse_args()
    for name in options.names:
        if not (options.folder / f"{name}.npz").exists():
            print(f"making {name} in {options.folder}", flush=True)
            make(name, options.folder)


if __name__ == "__main__":
    main()
