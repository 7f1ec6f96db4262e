"""A server that speaks the Blob API of Azure: Azurite, as a process, where it is installed."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

from benchmarks.ports import free_port
from tests.running import wait_until

PROGRAM = shutil.which("azurite-blob")
# The account that every Azurite has.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class BlobStorage:
    """A server on a free port of 127.0.0.1, for a `with` block; `folder` is its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [PROGRAM, "--blobHost", "127.0.0.1", "--blobPort", str(self._port), "--silent",
             "--skipApiVersionCheck", "--location", str(self._folder)]
        )  # fmt: skip
        wait_until(self._answers, "Azurite answers")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find the server and be let in."""
        endpoint = f"http://127.0.0.1:{self._port}/{_ACCOUNT}"
        return {
            "AZURE_STORAGE_CONNECTION_STRING": (
                f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
                f"BlobEndpoint={endpoint};"
            )
        }

    def upload(self, folder: Path, container: str) -> None:
        """Make a container of all files of a folder."""
        client = self._client()
        client.create_container(container)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                blob = client.get_blob_client(container, str(path.relative_to(folder)))
                blob.upload_blob(path.read_bytes())

    def _answers(self) -> bool:
        from azure.core.exceptions import AzureError

        try:
            list(self._client(retry_total=0).list_containers())
        except AzureError:
            return False
        return True

    def _client(self, **options: Any) -> Any:
        from azure.storage.blob import BlobServiceClient

        (text,) = self.environment.values()
        return BlobServiceClient.from_connection_string(text, **options)
