from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

with suppress(ImportError):
    # PyTorch's builds for GPUs import it, which ends a process that has imported TensorFlow before.
    import triton._C.libtriton  # noqa: F401

from tests import saved_models, tflite_models

SOURCE = Path(__file__).parents[1] / "src"


def pytest_configure() -> None:
    """Python takes what is compiled, however old it is: then it is not the source that is tested.

    Raises:
        pytest.UsageError: a source is newer than what was compiled of it.
    """
    # Those of other Pythons may lie beside them, and are none of this run's business.
    for compiled in SOURCE.rglob(f"*{EXTENSION_SUFFIXES[0]}"):
        module = compiled.with_name(compiled.name.partition(".")[0])
        for source in (module.with_suffix(".py"), module.with_suffix(".pyx")):
            if source.exists() and source.stat().st_mtime > compiled.stat().st_mtime:
                name = source.relative_to(SOURCE)
                raise pytest.UsageError(f"{name} is newer than what was compiled of it: make build")


@pytest.fixture(scope="session")
def saved_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model of `tests/saved_models.py`, but the heavy one."""
    folder = tmp_path_factory.mktemp("saved_models")
    saved_models.export([name for name in saved_models.MAKERS if name != "heavy"], folder)
    return folder


@pytest.fixture(scope="session")
def heavy_saved_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of one version with 200 MB of variables."""
    folder = tmp_path_factory.mktemp("heavy_saved_model")
    saved_models.export(["heavy"], folder)
    return saved_models.version_path(folder, "heavy")


@pytest.fixture(scope="session")
def tflite_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model of `tests/tflite_models.py`."""
    folder = tmp_path_factory.mktemp("tflite_models")
    tflite_models.export(tflite_models.MAKERS, folder)
    return folder
