from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salver.backends.tflite import Servable, TfLiteLoader, TfLiteOptions
from tests.backends.asking import Load
from tests.tflite_models import path_of


@pytest.fixture
def load_lite(tflite_folder: Path, tmp_path: Path) -> Iterator[Load]:
    """Loads TFLite models, and unloads them after the test."""
    loaders = []

    def load(model: str | bytes, **options: Any) -> Servable:
        if isinstance(model, str):
            path = path_of(tflite_folder, model)
        else:
            (tmp_path / "model.tflite").write_bytes(model)
            path = str(tmp_path)
        loaders.append(TfLiteLoader(path, TfLiteOptions(**options)))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()
