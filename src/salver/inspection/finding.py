"""Which versions a path of a user means: a version folder, a base path, or a URI of either."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from salver.backends.registry import Backends
from salver.errors import FailedPrecondition, NotFound, ServingError
from salver.sources.remote_files import RemoteFiles
from salver.sources.remote_schemes import require_scheme
from salver.sources.storage import local_path
from salver.sources.uri import redacted, scheme_of
from salver.sources.version_name import versions_by_number


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """One version folder."""

    path: str
    """A folder of this machine, or a URI."""
    number: int | None
    """Its number under its base path; None: the folder itself was named, and its name is none."""


def versions_at(path: str, backends: Backends) -> list[FoundVersion]:
    """The versions that a path means, oldest first: one if it is that of a version folder.

    Raises:
        NotFound: there is no such path, or neither a model nor versions in it.
        ServingError: the storage cannot be asked.
    """
    if scheme_of(path):
        return _remote_versions(path.rstrip("/"), backends)
    return _local_versions(local_path(path), backends)


def _local_versions(path: str, backends: Backends) -> list[FoundVersion]:
    try:
        names = sorted(os.listdir(path))
        if backends.is_complete(path):
            return [FoundVersion(path, _number_of(path))]
        folders = [name for name in names if os.path.isdir(os.path.join(path, name))]
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such folder") from error
    except NotADirectoryError as error:
        raise NotFound(f"{path} is a file; name the folder of the version that it is in") from error
    except OSError as error:
        raise FailedPrecondition(f"{path}: {error.strerror}") from error
    return _numbered(path, names, folders)


def _remote_versions(uri: str, backends: Backends) -> list[FoundVersion]:
    require_scheme(uri)
    try:
        names = RemoteFiles().names(uri)
    except NotADirectoryError as error:
        raise NotFound(f"{redacted(uri)} is a file, not a folder") from error
    if backends.lacking(names) is None:
        return [FoundVersion(uri, _number_of(uri))]
    return _numbered(uri, names, names)


def _numbered(path: str, names: Collection[str], folders: Collection[str]) -> list[FoundVersion]:
    found, _ = versions_by_number(folders)
    if not found:
        shown = redacted(path)
        there = f"there are: {', '.join(sorted(names)[:10])}" if names else "it is empty"
        raise NotFound(f"{shown} holds no model and no numbered version of one; {there}")
    return [FoundVersion(f"{path.rstrip('/')}/{found[number]}", number) for number in sorted(found)]


def newest_version(path: str, backends: Backends) -> FoundVersion:
    """The version with the highest number of those that a path means.

    Raises:
        ServingError: see `versions_at`.
    """
    return versions_at(path, backends)[-1]


def numbered_version(path: str, number: int, backends: Backends) -> FoundVersion:
    """The version with this number of those that a path means.

    Raises:
        NotFound: there is none; the message has those that there are.
        ServingError: see `versions_at`.
    """
    versions = versions_at(path, backends)
    for version in versions:
        if version.number == number:
            return version
    there = ", ".join(str(version.number or version.path) for version in versions)
    raise NotFound(f"{redacted(path)} has no version {number}; there are: {redacted(there)}")


def _number_of(path: str) -> int | None:
    found, _ = versions_by_number([Path(path).name])
    return next(iter(found), None)


def told(error: ServingError) -> str:
    """One line for the person at the command line."""
    return " ".join(error.message.split("\n")).strip()
