"""Version folders with `tests/process/acting_model.py`, and ways to ask for what it does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.running import RunningServer

LIMIT_S = 60.0
_SOURCE = Path(__file__).with_name("acting_model.py").read_text()
FLAGS = ("--allow_python_code", "--max_num_load_retries=0")


def add(base_path: Path, version: int, factor: float = 2.0) -> None:
    """Let a version that multiplies by `factor` appear at once."""
    incoming = base_path / f"incoming-{version}"
    incoming.mkdir(parents=True)
    (incoming / "model.py").write_text(_SOURCE.replace("FACTOR = 2.0", f"FACTOR = {factor}"))
    incoming.rename(base_path / str(version))


def config(name: str, base_path: Path, platform: str = "python") -> str:
    return f'name: "{name}" base_path: "{base_path}" model_platform: "{platform}"'


def ask(
    server: RunningServer,
    name: str,
    *actions: str,
    x: Sequence[float] = (1.0,),
    session: requests.Session | None = None,
) -> requests.Response:
    body = {"inputs": {"x": list(x), "action": list(actions) or ["nothing"] * len(x)}}
    url = f"{server.url}/v1/models/{name}:predict"
    return (session or requests).post(url, json=body, timeout=LIMIT_S)


def answer(server: RunningServer, name: str, *actions: str) -> Any:
    response = ask(server, name, *actions)
    assert response.status_code == 200, response.text
    return response.json()["outputs"]


def workers(server: RunningServer, name: str) -> list[psutil.Process]:
    """The worker processes of a model; they carry its name."""
    return [
        child
        for child in psutil.Process(server.pid).children()
        if any(f"model {name}, " in argument for argument in _command_line(child))
    ]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        arguments: list[str] = process.cmdline()
    except psutil.Error:
        return []  # it has just ended
    return arguments


def metric(server: RunningServer, name: str) -> float:
    """The value of one line of the metrics page; 0 if it is not there."""
    page = requests.get(f"{server.url}/monitoring/prometheus/metrics", timeout=LIMIT_S).text
    values = [line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(name)]
    return float(values[0]) if values else 0.0
