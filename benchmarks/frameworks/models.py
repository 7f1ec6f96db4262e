"""The models of the frameworks: small ones for tables, two that compute longer, an image network.

Each is `FOLDER/<name>/1` as Salver serves it, `FOLDER/<name>/model.joblib` beside it for those
who serve scikit-learn in other ways, and `FOLDER/<name>.npz` with `input` and `expected`.
"""

from dataclasses import dataclass

import numpy as np

COLUMNS = 20
TRAINED_ROWS = 4000
IMAGE = (3, 96, 96)
RNG_SEED = 7


@dataclass(frozen=True, slots=True)
class FrameworkModel:
    """A model with one input and one output of floats, asked for a single row."""

    name: str
    framework: str
    """Whose model it is: of `benchmarks.baselines.framework_call`."""
    title: str
    input_name: str
    output_name: str
    signature_name: str = ""
    """Of Salver; empty: the default."""
    data_type: str = "float32"
    is_image: bool = False
    computes_long: bool = False
    """Whether a call takes some hundred microseconds and more: then the grpc.aio server calls it
    on threads, one for each core."""
    has_rivals: bool = False
    """Whether MLServer and FastAPI serve it, too."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a request."""
        return (1, *IMAGE) if self.is_image else (1, COLUMNS)


def _rows(name: str, framework: str, title: str, **more: bool) -> FrameworkModel:
    return FrameworkModel(name, framework, title, "inputs", "outputs", **more)


def _classifier(name: str, title: str, **more: bool) -> FrameworkModel:
    return FrameworkModel(
        *(name, "sklearn", title, "inputs", "probabilities", "predict_proba", "float64"),
        **more,
        has_rivals=True,
    )


MODELS = {
    model.name: model
    for model in (
        FrameworkModel("onnx-mlp", "onnx", "dense layers, 20-64-64-1", "x", "y"),
        FrameworkModel(
            "onnx-image", "onnx", "convolutions, 3 x 96 x 96", "x", "y",
            is_image=True, computes_long=True,
        ),
        _classifier("sklearn-linear", "scaler and logistic regression"),
        _classifier("sklearn-forest", "random forest, 100 trees", computes_long=True),
        _rows("xgboost-small", "xgboost", "100 trees of depth 4", has_rivals=True),
        _rows(
            "xgboost-large", "xgboost", "4000 trees of depth 8",
            has_rivals=True, computes_long=True,
        ),
        _rows("lightgbm-small", "lightgbm", "100 trees of 15 leaves"),
        _rows("lightgbm-large", "lightgbm", "4000 trees of 127 leaves", computes_long=True),
        FrameworkModel("torch-mlp", "torch", "dense layers, 20-64-64-1, exported", "x", "y"),
        FrameworkModel(
            "torch-script-mlp", "torch", "the same as TorchScript", "x", "output_0"
        ),
        FrameworkModel(
            "torch-image", "torch", "convolutions, 3 x 96 x 96, exported", "x", "y",
            is_image=True, computes_long=True,
        ),
    )
}  # fmt: skip
QUICK = ("xgboost-small",)


def request_of(model: FrameworkModel) -> np.ndarray:
    """The row that is asked, in six decimals, so that JSON carries it without loss or noise."""
    random = np.random.default_rng(RNG_SEED)
    return (random.integers(0, 10**6, model.shape) / 10**6).astype(model.data_type)


def table() -> tuple[np.ndarray, np.ndarray]:
    """Rows to train with, and a value for each that depends on several columns."""
    random = np.random.default_rng(RNG_SEED)
    rows = random.random((TRAINED_ROWS, COLUMNS))
    noise = random.normal(size=TRAINED_ROWS) / 4
    return rows, np.sin(6 * rows[:, 0]) + rows[:, 1] * rows[:, 2] - rows[:, 3] + noise
