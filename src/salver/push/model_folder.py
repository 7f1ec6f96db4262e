"""The files of a model that is to be pushed, and in which order they make it whole."""

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from salver.backends.registry import Backends
from salver.backends.saved_model_files import MODEL_FILES, lacking_inside
from salver.errors import Aborted, InvalidArgument, NotFound
from salver.inspection.finding import newest_version
from salver.sources.remote_models import RemoteModels
from salver.sources.storage import local_path
from salver.sources.uri import redacted, scheme_of

_FROM_A_TRAINER = "Format-Serving"
"""Where TFX's Trainer puts the model in its output, which is what a pipeline knows."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model."""

    name: str
    """Its path within the model, with `/` between folders."""
    path: str
    size: int
    """In bytes."""
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model in a folder of this machine."""

    path: str
    shown: str
    """What the user called it, without secrets."""
    files: tuple[ModelFile, ...]
    folders: tuple[str, ...]
    """Every folder in it, outer ones first: an empty one is part of the model, too."""

    @property
    def size(self) -> int:
        """Of all files together, in bytes."""
        return sum(file.size for file in self.files)

    def require_unchanged(self) -> None:
        """Check that what is published is what was checked.

        Raises:
            Aborted: files have changed since.
        """
        if listed(self.path, self.shown).files != self.files:
            raise Aborted(f"{self.shown} changed while it was pushed; is it still being written?")


def listed(path: str, shown: str) -> ModelFolder:
    """Every file and folder in a folder, links followed while they stay inside.

    Raises:
        InvalidArgument: a link leads out of the folder, or something in it is no plain file.
        NotFound: it cannot be read.
    """
    files: list[ModelFile] = []
    folders: list[str] = []
    root = os.path.realpath(path)

    def visit(folder: str, name: str, above: tuple[str, ...]) -> None:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            inside = f"{name}{entry.name}"
            real = os.path.realpath(entry.path)
            if os.path.commonpath((real, root)) != root or real in above:
                raise InvalidArgument(f"{shown}/{inside} is a link that leads out of the model")
            status = entry.stat()
            if stat.S_ISDIR(status.st_mode):
                folders.append(inside)
                visit(entry.path, f"{inside}/", (*above, real))
            elif stat.S_ISREG(status.st_mode):
                files.append(ModelFile(inside, entry.path, status.st_size, status.st_mtime_ns))
            else:
                raise InvalidArgument(f"{shown}/{inside} is neither a file nor a folder")

    try:
        visit(path, "", (root,))
    except OSError as error:
        raise NotFound(f"{error.filename or shown}: {error.strerror}") from error
    return ModelFolder(path, shown, tuple(files), tuple(folders))


@contextmanager
def found_model(path: str, backends: Backends, model_cache_dir: str = "") -> Iterator[ModelFolder]:
    """The model that a path means: a version folder, the newest of a base path, a URI of either.

    Raises:
        NotFound: there is no whole model.
        InvalidArgument: a file in it cannot be pushed.
        ServingError: the storage cannot be asked.
    """
    trained = os.path.join(local_path(path), _FROM_A_TRAINER) if not scheme_of(path) else ""
    if trained and os.path.isdir(trained):
        path = trained
    version = newest_version(path, backends)
    if not scheme_of(version.path):
        yield _whole(local_path(version.path), version.path, backends)
        return
    remote = RemoteModels(model_cache_dir, backends.lacking, lacking_inside)
    loader = remote.loader(version.path, _Copy)
    try:
        yield _whole(loader.load(), redacted(version.path), backends)
    finally:
        loader.unload()


class _Copy:
    """What stands for a loader, where nothing but the files of a copy is wanted."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def load(self) -> str:
        return self._folder

    def unload(self) -> None:
        """Nothing was taken."""


def _whole(folder: str, shown: str, backends: Backends) -> ModelFolder:
    model = listed(folder, shown)
    names = [file.name for file in model.files]
    lacks = backends.lacking(names)
    # Some backends look into files, and find more than names tell.
    is_saved_model = any(name in names for name in MODEL_FILES)
    if lacks is not None and (is_saved_model or not backends.is_complete(folder)):
        raise NotFound(f"{shown} holds no whole model: {lacks} is missing")
    missing = lacking_inside(folder)
    if missing is not None:
        raise NotFound(f"{shown} holds no whole model: {missing} is missing")
    return model


def last_files(names: Collection[str], backends: Backends) -> list[str]:
    """The files without which a version is none yet: what has to be uploaded after all others."""
    rest = list(names)
    last = [name for name in MODEL_FILES if name in names]
    rest = [name for name in rest if name not in last]
    while rest and backends.lacking(rest) is None:
        decisive = _one_that_matters(rest, backends)
        rest.remove(decisive)
        last.insert(0, decisive)
    return last


def _one_that_matters(names: list[str], backends: Backends) -> str:
    """A file of a smallest set that is whole: the names are, halves of them are tried first."""
    kept = names
    size = (len(kept) + 1) // 2
    while len(kept) > 1 and size:
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            if fewer and backends.lacking(fewer) is None:
                kept = fewer
                break
        else:
            size = size // 2 if size > 1 else 0
    return kept[-1]
