"""The models of the frameworks: small ones for tables, two that compute longer, an image network.

Each is `FOLDER/<name>/1` as Salver serves it, `FOLDER/<name>/model.joblib` beside it for those
who serve scikit-learn in other ways, and `FOLDER/<name>.npz` with `input` and `expected`.
"""

from dataclasses import dataclass

import numpy as np

COLUMNS = 20
TRAINED_ROWS = 4000
IMAGE = (3, 64, 64)
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
    def is_table(self) -> bool:
        """Whether Salver batches it by default."""
        return self.framework in ("sklearn", "xgboost", "lightgbm")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a request."""
        return (1, *IMAGE) if self.is_image else (1, COLUMNS)


def _trees(
    name: str, framework: str, title: str, data_type: str, *, is_large: bool = False
) -> FrameworkModel:
    return FrameworkModel(
        *(name, framework, title, "inputs", "outputs", "", data_type),
        computes_long=is_large,
        has_rivals=framework == "xgboost",
    )


def _classifier(name: str, title: str, *, is_large: bool = False) -> FrameworkModel:
    return FrameworkModel(
        *(name, "sklearn", title, "inputs", "probabilities", "predict_proba", "float64"),
        computes_long=is_large,
        has_rivals=True,
    )


MODELS = {
    model.name: model
    for model in (
        FrameworkModel("onnx-mlp", "onnx", "dense layers, 20-64-64-1", "x", "y"),
        FrameworkModel(
            "onnx-image", "onnx", "convolutions, 3 x 64 x 64", "x", "y",
            is_image=True, computes_long=True,
        ),
        _classifier("sklearn-linear", "scaler and logistic regression"),
        _classifier("sklearn-forest", "random forest, 100 trees", is_large=True),
        _trees("xgboost-small", "xgboost", "100 trees of depth 4", "float32"),
        _trees("xgboost-large", "xgboost", "4000 trees of depth 8", "float32", is_large=True),
        _trees("lightgbm-small", "lightgbm", "100 trees of 15 leaves", "float64"),
        _trees("lightgbm-large", "lightgbm", "4000 trees of 127 leaves", "float64", is_large=True),
        FrameworkModel("torch-mlp", "torch", "dense layers, 20-64-64-1, exported", "x", "y"),
        FrameworkModel(
            "torch-image", "torch", "convolutions, 3 x 64 x 64, exported", "x", "y",
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
