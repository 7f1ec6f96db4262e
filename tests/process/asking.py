"""What tests of this folder ask a running server, and how they wait for the answer."""

from typing import Any

import requests

from tests.running import RunningServer
from tests.served_models import VersionedModel

LIMIT_S = 60.0
NO_RETRIES = "--max_num_load_retries=0"
LOADED = "Successfully loaded servable version"
UNLOADED = "Done unloading servable version"


def states(server: RunningServer, name: str = "default") -> dict[int, str]:
    response = requests.get(f"{server.url}/v1/models/{name}", timeout=LIMIT_S)
    statuses = response.json()["model_version_status"]
    return {int(status["version"]): status["state"] for status in statuses}


def predict(server: RunningServer, name: str = "default") -> Any:
    url = f"{server.url}/v1/models/{name}:predict"
    return requests.post(url, data='{"instances": [0.0]}', timeout=LIMIT_S).json()


def config_of(model: VersionedModel, name: str) -> str:
    return f'name: "{name}" base_path: "{model.base_path}" model_platform: "tensorflow"'


def status_of(server: RunningServer, version: int, name: str = "default") -> tuple[str, str]:
    """The error code and message in the status of a version."""
    url = f"{server.url}/v1/models/{name}/versions/{version}"
    (entry,) = requests.get(url, timeout=LIMIT_S).json()["model_version_status"]
    return entry["status"]["error_code"], entry["status"]["error_message"]


def available(server: RunningServer, name: str = "default") -> list[int]:
    """The versions that answer, highest first."""
    return [version for version, state in states(server, name).items() if state == "AVAILABLE"]
