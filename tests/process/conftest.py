"""Models that the tests of this folder serve."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import served_models
from tests.served_models import VersionedModel


@pytest.fixture(scope="session")
def constant_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("constant") / "1"
    served_models.export("constant", path)
    return path


@pytest.fixture(scope="session")
def slow_base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slow")
    served_models.export("slow", folder / "1")
    return folder


@pytest.fixture
def versioned(constant_template: Path, tmp_path: Path) -> Callable[[str], VersionedModel]:
    """Makes base paths; the versions that a test adds to one answer their own number."""
    return lambda name: VersionedModel(constant_template, tmp_path / name)


@pytest.fixture
def model(versioned: Callable[[str], VersionedModel]) -> VersionedModel:
    """A base path with version 1."""
    model = versioned("model")
    model.add(1)
    return model
