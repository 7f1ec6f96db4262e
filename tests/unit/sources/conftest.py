"""Remote storage in memory, empty for each test."""

from collections.abc import Iterator

import fsspec
import pytest

from tests.unit.sources.memory_bucket import MemoryBucket


@pytest.fixture
def bucket() -> Iterator[MemoryBucket]:
    file_system = fsspec.filesystem("memory")
    file_system.store.clear()
    file_system.pseudo_dirs[:] = [""]
    yield MemoryBucket(file_system, "memory://models/m")
    file_system.store.clear()
    file_system.pseudo_dirs[:] = [""]
