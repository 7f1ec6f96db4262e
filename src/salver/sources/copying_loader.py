"""A loader of a version on remote storage: copies it to this machine, then another loads it."""

import errno
from collections.abc import Callable
from typing import Generic, TypeVar

from salver.core.load_job import LoaderOf
from salver.errors import FailedPrecondition, ResourceExhausted, ServingError
from salver.sources.uri import redacted
from salver.sources.version_copies import HeldCopy, VersionCopies

S = TypeVar("S")


class CopyingLoader(Generic[S]):
    """Loads from a local copy, which it keeps while the version is loaded."""

    def __init__(
        self, uri: str, copies: VersionCopies, make_loader: Callable[[str], LoaderOf[S]]
    ) -> None:
        """Store what is needed.

        Args:
            uri: the version.
            copies: where its copy comes from.
            make_loader: takes the folder of the copy.
        """
        self._uri = uri
        self._copies = copies
        self._make_loader = make_loader
        self._loader: LoaderOf[S] | None = None
        self._copy: HeldCopy | None = None

    def load(self) -> S:
        """See `Loader.load`. A copy that is there stays for the next attempt.

        Raises:
            ServingError: the version cannot be copied, or cannot be loaded.
        """
        copy = self._fetched()
        try:
            loader = self._make_loader(copy.path)
            servable = loader.load()
        except ServingError as error:
            copy.release()
            # Users know the version by its URI.
            message = error.message.replace(copy.path, redacted(self._uri))
            raise type(error)(message) from error
        except BaseException:
            copy.release()
            raise
        self._loader, self._copy = loader, copy
        return servable

    def unload(self) -> None:
        """See `Loader.unload`."""
        loader, self._loader = self._loader, None
        copy, self._copy = self._copy, None
        if loader is not None:
            loader.unload()
        if copy is not None:
            copy.release()

    def _fetched(self) -> HeldCopy:
        try:
            return self._copies.fetch(self._uri)
        except OSError as error:
            # Of this machine; what is wrong with the storage comes as a ServingError.
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            kind = ResourceExhausted if is_full else FailedPrecondition
            raise kind(f"{error.filename or 'model cache'}; {error.strerror}") from error
