"""As much of Google Cloud Storage's JSON API as reading takes, in this process.

It lists and hands out the files of a folder: `gs://BUCKET/...` is `FOLDER/BUCKET/...`.
Source: https://cloud.google.com/storage/docs/json_api/v1/objects
"""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c


class CloudStorage:
    """A server on a free port of 127.0.0.1, for a `with` block."""

    def __init__(self, folder: Path) -> None:
        storage = self
        self.folder = folder
        self.requests: list[str] = []
        self.damaged = False
        """Whether the checksums that are told are wrong."""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                storage.requests.append(f"GET {self.path}")
                answer = storage.answer(self.path)
                self.send_response(404 if answer is None else 200)
                body = b'{"error": {"code": 404, "message": "Not Found"}}'
                body = body if answer is None else answer
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to ask this server, and without credentials."""
        return {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{self._server.server_address[1]}",
            "FSSPEC_GS_TOKEN": "anon",
        }

    def answer(self, target: str) -> bytes | None:
        """The body of an answer, None if there is no such thing."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        bucket, _, key = url.path.partition("/b/")[2].partition("/o")
        key = unquote(key.lstrip("/"))
        if not (self.folder / bucket).is_dir() or not url.path.partition("/b/")[2]:
            return None
        if not key:
            return json.dumps(self._listing(bucket, query)).encode()
        path = self.folder / bucket / key
        if not path.is_file():
            return None
        if query.get("alt") == "media":
            return path.read_bytes()
        return json.dumps(self._item(bucket, key)).encode()

    def _listing(self, bucket: str, query: dict[str, str]) -> dict[str, Any]:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, prefixes = [], set()
        for key in self._keys(bucket):
            if not key.startswith(prefix):
                continue
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                prefixes.add(prefix + head + found)
            else:
                items.append(self._item(bucket, key))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}

    def _keys(self, bucket: str) -> Iterator[str]:
        root = self.folder / bucket
        for path in sorted(root.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(root))

    def _item(self, bucket: str, key: str) -> dict[str, Any]:
        path = self.folder / bucket / key
        content = path.read_bytes()
        checksum = google_crc32c.value(content) ^ self.damaged
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": key,
            "size": str(len(content)),
            "generation": str(path.stat().st_mtime_ns),
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "crc32c": b64encode(checksum.to_bytes(4, "big")).decode(),
        }
