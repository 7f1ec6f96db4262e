"""A server that speaks S3, in this process, and what tests do with its buckets."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

_REGION = "us-east-1"


class _Requests(logging.Handler):
    """Keeps the request lines that the server logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class ObjectStorage:
    """An S3 server on a free port of 127.0.0.1, for a `with` block."""

    def __init__(self) -> None:
        self._requests = _Requests()
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._client: Any = None

    def __enter__(self) -> Self:
        logger = logging.getLogger("werkzeug")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(self._requests)
        self._server.start()
        self._client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing-secret",
            region_name=_REGION,
            config=Config(s3={"addressing_style": "path"}),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.stop()
        logging.getLogger("werkzeug").removeHandler(self._requests)

    @property
    def endpoint(self) -> str:
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find the server and be let in."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Nothing of the user's own.
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody answers meanwhile; the same is there, at the same place, afterwards."""
        host, port = self._server.get_host_and_port()
        self._server.stop()
        try:
            yield
        finally:
            self._server = ThreadedMotoServer(host, port, verbose=False)
            self._server.start()

    def take_requests(self) -> list[str]:
        """`METHOD /path?query` of each request since the last take."""
        lines, self._requests.lines = self._requests.lines, []
        return [line.split('"')[1].removesuffix(" HTTP/1.1") for line in lines]

    def bucket(self, name: str) -> "Bucket":
        """A new bucket."""
        bucket = Bucket(self._client, name)
        bucket.create()
        return bucket


class Bucket:
    """One bucket; keys are those of objects in it."""

    def __init__(self, client: Any, name: str) -> None:
        self.name = name
        self._client = client

    def create(self) -> None:
        self._client.create_bucket(Bucket=self.name)

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=content)

    def upload(self, folder: Path, prefix: str) -> None:
        """Upload all files of a folder, one after the other."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}".lstrip("/"), path.read_bytes())

    def keys(self, prefix: str = "") -> list[str]:
        return [prefix + name for name in self.sizes(prefix)]

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The bytes of each object whose key begins so, by the rest of the key."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return {
            item["Key"].removeprefix(prefix): item["Size"]
            for page in pages
            for item in page.get("Contents", ())
        }

    def remove(self, prefix: str) -> None:
        """Delete every object whose key begins so."""
        for key in self.keys(prefix):
            self._client.delete_object(Bucket=self.name, Key=key)

    def delete(self) -> dict[str, bytes]:
        """Delete the bucket with all that is in it, and return that."""
        contents = {
            key: self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
            for key in self.keys()
        }
        self.remove("")
        self._client.delete_bucket(Bucket=self.name)
        return contents
