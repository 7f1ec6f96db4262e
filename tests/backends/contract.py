"""What every backend keeps: one entry per backend here, and `test_contract.py` does the rest."""

from collections.abc import Callable
from dataclasses import dataclass

from salver.backends.tensorflow import TensorFlowLoader
from salver.backends.tflite import TfLiteLoader
from salver.core.servable import Loader


@dataclass(frozen=True)
class BackendCase:
    """A model that computes y = x / 2 + 2 on float32 vectors of any length."""

    model: str
    """Its name in the module that makes it, `tests/saved_models.py` or another."""
    loader: Callable[[str], Loader]
    """Makes a loader of any path, there or not."""
    folder: str = "saved_model_folder"
    """The fixture with the folder where it lies."""


CASES = (
    BackendCase(model="half_plus_two_1", loader=TensorFlowLoader),
    BackendCase(model="half_plus_two_2", loader=TensorFlowLoader),
    BackendCase(model="half_plus_two", loader=TfLiteLoader, folder="tflite_folder"),
)
