"""Pushes that are broken off at every step: what is there afterwards, and after the next push."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salver.backends.registry import Backends
from salver.cli.main import main
from salver.export.publishing import UNFINISHED
from tests import interrupted_push
from tests.interrupted_push import FILES, OLD
from tests.object_storage import Bucket, ObjectStorage

SIGNALS = ("SIGINT", "SIGTERM", "SIGKILL")
LIMIT_S = 100.0
NEW_BYTES = 3000
UNCHECKED = ("--no_load", "--allow_unsafe")


@pytest.fixture(scope="module")
def storage() -> Iterator[ObjectStorage]:
    with ObjectStorage() as storage:
        yield storage


@pytest.fixture(scope="module")
def bucket(storage: ObjectStorage) -> Bucket:
    return storage.bucket("pushes")


def broken_off(case: str, name: str, folder: Path, **environment: str) -> list[dict[str, Any]]:
    """What became of each push."""
    done = subprocess.run(
        [sys.executable, interrupted_push.__file__, case, name, str(folder)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"step"')]
    ends = [json.loads(line) for line in lines]
    assert ends[-1]["ended"] == 100  # Through, before its step came.
    return ends[:-1]


def unfinished(base_path: str) -> list[str]:
    """What a push has left there that was killed."""
    return [name for name in os.listdir(base_path) if name.startswith(UNFINISHED)]


def versions_of(files: dict[str, int]) -> dict[str, bool]:
    """The versions among files by their size, and whether each is there with all it should have."""
    found: dict[str, dict[str, int]] = {}
    for path, size in files.items():
        version, _, name = path.partition("/")
        if version.isdecimal():
            found.setdefault(version, {})[name] = size
    return {
        version: there == dict.fromkeys(FILES, 3 if version == OLD else NEW_BYTES)
        for version, there in found.items()
    }


def served(files: dict[str, int]) -> set[str]:
    """The versions that a server would take."""
    names = {path.partition("/")[0] for path in files}
    return {
        name
        for name in names
        if name.isdecimal()
        if Backends().lacking([p.partition("/")[2] for p in files if p.startswith(f"{name}/")])
        is None
    }


def check(ended: int, files: dict[str, int], name: str) -> None:
    versions = versions_of(files)
    whole = {version for version, is_whole in versions.items() if is_whole}
    assert OLD in whole
    # A server never sees half of one.
    assert served(files) <= whole
    if name == "SIGKILL":
        assert ended == -signal.SIGKILL
        assert len(whole) <= 2
        return
    assert ended in (0, 128 + signal.Signals[name])
    assert set(versions) == whole
    assert len(whole) == (2 if ended == 0 else 1)
    assert {path.partition("/")[0] for path in files} == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS)
def test_a_local_push_leaves_all_or_nothing(name: str, tmp_path: Path) -> None:
    ends = broken_off("local", name, tmp_path)
    assert len(ends) > 20
    for end in ends:
        folder = Path(end["base_path"])

        def files(folder: Path = folder) -> dict[str, int]:
            return {
                str(path.relative_to(folder)): path.stat().st_size
                for path in folder.rglob("*")
                if path.is_file()
            }

        check(end["ended"], files(), name)
    assert {end["ended"] for end in ends} >= ({-9} if name == "SIGKILL" else {0})
    if name == "SIGKILL":
        left = [end for end in ends if unfinished(end["base_path"])]
        assert left
        for end in left:
            assert main(["push", str(tmp_path / "model"), end["base_path"], *UNCHECKED]) == 0
            assert not unfinished(end["base_path"])


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS[1:])
def test_an_upload_leaves_all_or_nothing(
    name: str,
    tmp_path: Path,
    storage: ObjectStorage,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / name.lower()
    folder.mkdir()
    ends = broken_off("remote", name, folder, **storage.environment)
    assert len(ends) > 10
    for end in ends:
        prefix = end["base_path"].removeprefix("s3://pushes/")
        check(end["ended"], bucket.sizes(f"{prefix}/"), name)
    if name != "SIGKILL":
        return
    for variable, value in storage.environment.items():
        monkeypatch.setenv(variable, value)
    swept = 0
    for end in ends:
        prefix = end["base_path"].removeprefix("s3://pushes/")
        before = versions_of(bucket.sizes(f"{prefix}/"))
        if not all(before.values()) and swept < 2:
            swept += 1
            assert main(["push", str(folder / "model"), end["base_path"], *UNCHECKED]) == 0
            after = bucket.sizes(f"{prefix}/")
            assert all(versions_of(after).values())
            assert {path.partition("/")[0] for path in after} == set(versions_of(after))
    assert swept == 2
