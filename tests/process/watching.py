"""Waiting for what no event tells: look again and again."""

from collections.abc import Callable
from threading import Event

import pytest
import requests

from tests.running import RunningServer

LIMIT_S = 60.0
_PAUSE_S = 0.05


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again; for what no event tells."""
    for _ in range(int(LIMIT_S / _PAUSE_S)):
        if holds():
            return
        pass_time(_PAUSE_S)
    pytest.fail(f"never: {what}")


def pass_time(seconds: float) -> None:
    """Let others go on for a while."""
    Event().wait(seconds)


def states(server: RunningServer, name: str = "default") -> dict[int, str]:
    """The state of each version that there ever was."""
    response = requests.get(f"{server.url}/v1/models/{name}", timeout=LIMIT_S)
    statuses = response.json()["model_version_status"]
    return {int(status["version"]): status["state"] for status in statuses}
