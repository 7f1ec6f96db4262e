"""A base path at memory://, filled and emptied as uploads and deletions would."""

from typing import Any

MODEL_FILE = "saved_model.pb"


class MemoryBucket:
    """One base path; names are relative to it."""

    def __init__(self, file_system: Any, uri: str) -> None:
        self.uri = uri
        self._file_system = file_system

    def put(self, name: str, content: bytes = b"content") -> None:
        """Upload one file."""
        self._file_system.pipe(f"{self.uri}/{name}", content)

    def put_version(self, name: str, *more: str) -> None:
        """Upload a whole version with some more files."""
        for file in (*more, MODEL_FILE):
            self.put(f"{name}/{file}", f"{name} {file}".encode())

    def remove(self, name: str) -> None:
        """Delete a file or folder."""
        self._file_system.rm(f"{self.uri}/{name}", recursive=True)

    def version(self, name: str) -> str:
        """The URI of a version."""
        return f"{self.uri}/{name}"
