from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salver.backends.registry import Backends
from salver.backends.tflite import Servable as LiteServable
from salver.backends.tflite import TfLiteLoader, TfLiteOptions
from salver.core.backend import BackendOptions
from salver.core.servable import Servable
from tests.backends.asking import Load, LoadFolder
from tests.backends.cases import CASES
from tests.backends.contract import is_there
from tests.backends.made import LARGE, Made, Maker
from tests.tflite_models import path_of


@pytest.fixture
def load_lite(tflite_folder: Path, tmp_path: Path) -> Iterator[Load]:
    """Loads TFLite models, and unloads them after the test."""
    loaders = []

    def load(model: str | bytes, **options: Any) -> LiteServable:
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


@pytest.fixture
def load() -> Iterator[LoadFolder]:
    """Loads the model in a folder with the backend of a name, and unloads it after the test."""
    loaders = []

    def load(platform: str, folder: Path, **options: Any) -> Servable:
        options = {"model_name": "m", **options}
        loaders.append(Backends().named(platform).loader(str(folder), BackendOptions(**options)))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


@pytest.fixture(scope="session")
def make_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Makes a case once, or its large model."""
    return Maker(tmp_path_factory.mktemp("contract"))


@pytest.fixture(params=CASES)
def made(request: pytest.FixtureRequest, make_case: Callable[..., Made]) -> Made:
    """Each case in turn."""
    if not is_there(CASES[request.param]):
        pytest.skip(f"what {request.param} needs is not installed")
    return make_case(request.param)


@pytest.fixture(params=[n for n, case in CASES.items() if case.make_large])
def made_large(request: pytest.FixtureRequest, make_case: Callable[..., Made]) -> Made:
    """The large model of each case that has one."""
    if not is_there(CASES[request.param]):
        pytest.skip(f"what {request.param} needs is not installed")
    return make_case(request.param, LARGE)


@pytest.fixture(scope="session")
def all_made(make_case: Callable[..., Made]) -> list[Made]:
    """All cases whose frameworks are installed."""
    return [make_case(name) for name, case in CASES.items() if is_there(case)]
