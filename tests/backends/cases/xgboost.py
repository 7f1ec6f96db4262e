"""Three classes of flowers, with missing values: a classifier as scikit-learn users make it."""

from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import replaced

_RNG = np.random.default_rng(7)
_TRAINED = _RNG.normal(size=(120, 4)).astype(np.float32)
_CLASSES = (_TRAINED[:, 0] > 0).astype(int) + (_TRAINED[:, 1] > 0.5)
X = _RNG.normal(size=(6, 4)).astype(np.float32)
X[1, 2] = X[3, 0] = np.nan


def make(folder: Path, variant: int) -> Arrays:
    model = _classifier(n_estimators=4 * variant, max_depth=3)
    model.fit(_TRAINED, _CLASSES)
    model.save_model(folder / "model.ubj")
    return {"classes": model.predict(X).astype(np.int64), "probabilities": model.predict_proba(X)}


def _classifier(**parameters: Any) -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_jobs=1, **parameters)


CASE = BackendCase(
    platform="xgboost",
    make=make,
    inputs={"inputs": X},
    labels=["0", "1", "2"],
    scores=itemgetter("probabilities"),
    model_file="model.ubj",
    newer=replaced(b"version[#L\0\0\0\0\0\0\0\x03i\x03", b"version[#L\0\0\0\0\0\0\0\x03i\x63"),
    frameworks=["xgboost"],
)
