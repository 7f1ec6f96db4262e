"""Config files of models of the cases, and reloads of them while the server runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2

from tests.grpc_client import TIMEOUT_S, GrpcClient


def entry(name: str, base_path: Path, platform: str, versions: Sequence[int] = ()) -> str:
    listed = " ".join(f"versions: {version}" for version in versions)
    policy = f"model_version_policy {{ specific {{ {listed} }} }}" if versions else ""
    return f'name: "{name}" base_path: "{base_path}" model_platform: "{platform}" {policy}'


def reload(client: GrpcClient, bodies: Sequence[str]) -> Any:
    """Have the server serve exactly these models; its answer."""
    request = model_management_pb2.ReloadConfigRequest()
    config = " ".join(f"config {{ {body} }}" for body in bodies)
    text_format.Parse(f"model_config_list {{ {config} }}", request.config)
    return client.model.HandleReloadConfigRequest(request, timeout=TIMEOUT_S).status
