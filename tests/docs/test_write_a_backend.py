"""The page that makes a backend, done as it says: installed as a package, and served."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.running import RunningServer

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "write-a-backend.md").read_text()
TIMEOUT_S = 60.0


def block(language: str) -> str:
    (content,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(content)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package, as site-packages would be one."""
    package = tmp_path_factory.mktemp("package")
    (package / "salver_centroids.py").write_text(block("python"))
    (package / "pyproject.toml").write_text(block("toml"))
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    done = subprocess.run([*command, str(package)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("iris")
    (folder / "1").mkdir()
    centroids, labels = np.array([[0.0, 0.0], [4.0, 3.0]]), np.array(["near", "far"])
    np.savez(folder / "1" / "centroids.npz", centroids=centroids, labels=labels)
    return folder


@pytest.fixture(scope="module")
def server(installed: Path, base_path: Path) -> Iterator[RunningServer]:
    path = {"PYTHONPATH": str(installed)}
    with RunningServer(f"--model_base_path={base_path}", environment=path) as server:
        yield server


def test_the_example_is_short() -> None:
    assert len(block("python").splitlines()) < 60


def test_the_example_serves(server: RunningServer) -> None:
    url = f"{server.url}/v1/models/default:predict"
    answer = requests.post(url, json={"instances": [[4, 3], [0, 1]]}, timeout=TIMEOUT_S)

    first, second = answer.json()["predictions"]
    assert first == {"label": "far", "distance": 0.0}
    assert second == {"label": "near", "distance": 1.0}


def test_what_it_does_not_say_is_done_for_it(server: RunningServer) -> None:
    url = f"{server.url}/v1/models/default:predict"
    answer = requests.post(url, json={"instances": [[1, 2, 3]]}, timeout=TIMEOUT_S)

    assert 'expects input "x" to have shape [?,2] but [1,3] is provided' in answer.json()["error"]


def test_a_damaged_file_is_a_clear_state(
    server: RunningServer, base_path: Path, installed: Path
) -> None:
    (base_path / "2").mkdir()
    content = (base_path / "1" / "centroids.npz").read_bytes()
    (base_path / "2" / "centroids.npz").write_bytes(content[: len(content) // 2])

    line = server.wait_for_line("{name: default version: 2} failed: DATA_LOSS")

    assert "centroids.npz is damaged: File is not a zip file" in line
