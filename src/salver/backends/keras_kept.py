"""Conversions of Keras files that are kept while Keras models are served.

A swap back to a version, or the same file under another number or name, need not be converted
again, which takes a second or more. What a file becomes depends on nothing but its content.
"""

import atexit
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "salver-keras-kept-"
_LOCK = "lock"
_MOST_BYTES = 256 << 20
"""Of all together; a temporary folder may lie in memory."""


@dataclass(slots=True)
class _Kept:
    folder: Path
    size: int
    readers: int = 0


class KeptConversions:
    """SavedModels in a folder of this process. From any thread.

    The folder is there from the first that is kept until no model uses any of them.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._users = 0
        self._root: Path | None = None
        self._held: int | None = None

    def key(self, file: str, unsafe: bool) -> str | None:
        """What the conversion depends on; None if it is too large to be kept."""
        if os.path.getsize(file) > self._most_bytes:
            return None
        with open(file, "rb") as content:
            return f"{hashlib.file_digest(content, 'sha256').hexdigest()}-{unsafe:d}"

    @contextmanager
    def found(self, key: str | None) -> Iterator[str | None]:
        """The SavedModel of this key, which stays there within the `with` block; None if none."""
        with self._lock:
            kept = None if key is None else self._kept.get(key)
            if kept is not None and key is not None:
                kept.readers += 1
                self._kept.move_to_end(key)
        try:
            yield None if kept is None else str(kept.folder)
        finally:
            if kept is not None:
                with self._lock:
                    kept.readers -= 1

    def keep(self, key: str, folder: str) -> None:
        """Take over a SavedModel, if there is room for it; those not used for longest go."""
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        with self._lock, suppress(OSError):
            if key in self._kept or size > self._most_bytes:
                return
            if self._root is None:
                self._root = self._made_root()
            place = self._root / key
            shutil.move(folder, place)
            self._kept[key] = _Kept(place, size)
            self._make_room()

    def used(self) -> None:
        """A model is served from here on."""
        with self._lock:
            self._users += 1

    def unused(self) -> None:
        """One model is not served any more; with the last one all is given back."""
        with self._lock:
            self._users -= 1
            if self._users <= 0:
                self._clear()

    def close(self) -> None:
        """Give all back."""
        with self._lock:
            self._clear()

    def _make_room(self) -> None:
        for key, kept in list(self._kept.items()):
            if sum(each.size for each in self._kept.values()) <= self._most_bytes:
                return
            if not kept.readers:
                del self._kept[key]
                shutil.rmtree(kept.folder, ignore_errors=True)

    def _clear(self) -> None:
        if any(kept.readers for kept in self._kept.values()):
            return  # A model is being loaded, which will be unloaded, too.
        self._kept.clear()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _made_root(self) -> Path:
        _sweep()
        root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._held = os.open(root / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return root


def _sweep() -> None:
    """Delete what processes of this user have left behind that were killed."""
    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if root.lstat().st_uid != os.getuid() or root.is_symlink():
                continue
            held = os.open(root / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(root, ignore_errors=True)
            finally:
                os.close(held)


KEPT = KeptConversions()
"""Those of this process."""
atexit.register(KEPT.close)
