"""Copies that earlier runs have left, for base paths whose storage cannot be asked.

From the time when a model is served from them until its storage answers, loads do not ask it
either: whoever has no network would wait for minutes before each.
"""

import logging

from salver.sources.copy_record import is_whole, recorded_listing
from salver.sources.model_cache import ModelCache
from salver.sources.uri import redacted

_logger = logging.getLogger(__name__)


class KeptCopies:
    """Which there are, and whose they stand in for. From any thread."""

    def __init__(self, cache: ModelCache) -> None:
        self._cache = cache
        self._silent: set[str] = set()
        self._used: dict[str, str] = {}

    def folder(self, base_path: str) -> "KeptFolder | None":
        """What there is of a base path whose storage does not answer; None if nothing.

        Its versions are loaded from their copies from now on, until `answered`.

        Raises:
            FailedPrecondition: see `ModelCache.expect`.
            OSError: the copies cannot be read.
        """
        base_path = base_path.rstrip("/")
        newest = self._newest(base_path)
        if not newest:
            return None
        self._cache.spare(base_path)
        self._silent.add(base_path)
        return KeptFolder(base_path, list(newest))

    def answered(self, base_path: str) -> None:
        """The storage of a base path can be asked: it tells what there is."""
        base_path = base_path.rstrip("/")
        if base_path in self._silent:
            self._silent.discard(base_path)
            self._cache.spare_no_more(base_path)

    def standing_in(self, uri: str) -> str | None:
        """The fingerprint of the copy that stands in for a version, if one does.

        Raises:
            FailedPrecondition: see `ModelCache.expect`.
            OSError: the copies cannot be read.
        """
        base_path, _, name = uri.rpartition("/")
        return self._newest(base_path).get(name) if base_path in self._silent else None

    def used(self, uri: str, fingerprint: str) -> None:
        """This copy of a version is loaded, whatever its storage has."""
        self._used[uri] = fingerprint

    def compare(self, uri: str, fingerprint: str) -> None:
        """Its storage answers, and has this: tell the operator if that is not what is loaded."""
        used = self._used.pop(uri, fingerprint)
        if used != fingerprint:
            _logger.warning(
                "%s is not what its local copy was made of: the copy is served until the server "
                "starts again, or a version with another number is there",
                redacted(uri),
            )

    def _newest(self, base_path: str) -> dict[str, str]:
        """The fingerprint of the newest whole copy of each version."""
        return {
            place.version: fingerprint
            for place, fingerprint in self._cache.copies(base_path)
            if _is_undamaged(place.copy(fingerprint), fingerprint)
        }


class KeptFolder:
    """A base path as far as there are whole copies of its versions."""

    def __init__(self, base_path: str, names: list[str]) -> None:
        self._base_path = base_path
        self._names = names

    def exists(self) -> bool:
        return True

    def names(self) -> list[str]:
        return self._names

    def has(self, name: str) -> bool:
        return name in self._names

    def path(self, name: str) -> str:
        # The URI: for whoever serves it, it is the version that will be there again.
        return f"{self._base_path}/{name}"

    def is_complete(self, name: str, seen: bool) -> bool:
        return True


def _is_undamaged(copy: str, fingerprint: str) -> bool:
    """Whether a copy is what it is named after, as far as can be told without its storage."""
    listing = recorded_listing(copy)
    return listing.fingerprint == fingerprint and is_whole(copy, listing)
