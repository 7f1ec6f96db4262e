"""Base paths on remote storage, as a source looks at them.

One listing answers all that a look asks of a base path. Only a version that was not seen complete
before, or that turned out to be half-written, costs another one.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cached_property

from salver.errors import InvalidArgument, NotFound
from salver.sources.kept_copies import KeptCopies, KeptFolder
from salver.sources.listing import Listing
from salver.sources.model_cache import ModelCache
from salver.sources.remote_files import RemoteFiles
from salver.sources.remote_schemes import require_scheme
from salver.sources.uploads import Uploads

Lacking = Callable[[Collection[str]], str | None]
"""What a version with these files lacks, as far as their names tell; None if nothing."""


class RemoteStorage:
    """Everything that has a URI."""

    def __init__(
        self,
        files: RemoteFiles,
        uploads: Uploads,
        cache: ModelCache,
        kept: KeptCopies,
        lacking: Lacking,
    ) -> None:
        self._files = files
        self._uploads = uploads
        self._cache = cache
        self._kept = kept
        self._lacking = lacking

    def require(self, base_path: str) -> None:
        """See `Storage.require`.

        Raises:
            FailedPrecondition: there is no place for copies.
        """
        require_scheme(base_path)
        self._cache.expect(base_path)

    def folder(self, base_path: str) -> "RemoteFolder":
        return RemoteFolder(base_path, self._files, self._uploads, self._kept, self._lacking)

    def kept(self, base_path: str) -> KeptFolder | None:
        return self._kept.folder(base_path)


class RemoteFolder:
    """One base path during one look: what was listed once is not listed again."""

    def __init__(
        self,
        base_path: str,
        files: RemoteFiles,
        uploads: Uploads,
        kept: KeptCopies,
        lacking: Lacking,
    ) -> None:
        self._base_path = base_path
        self._files = files
        self._uploads = uploads
        self._kept = kept
        self._lacking = lacking

    @cached_property
    def _names(self) -> list[str]:
        names = self._files.names(self._base_path)
        self._kept.answered(self._base_path)
        return names

    def exists(self) -> bool:
        with suppress(NotADirectoryError):
            self.names()
        return True

    def names(self) -> list[str]:
        return self._names

    def has(self, name: str) -> bool:
        return name in self._names

    def path(self, name: str) -> str:
        return f"{self._base_path.rstrip('/')}/{name}"

    def is_complete(self, name: str, seen: bool) -> bool:
        uri = self.path(name)
        if seen and not self._uploads.doubted(uri):
            return True
        try:
            listing = self._files.listing(uri)
        except NotFound:
            listing = Listing(())
        except InvalidArgument:
            return True  # Its load will tell what is wrong.
        self._kept.compare(uri, listing.fingerprint)
        if self._lacking(listing.names) is not None:
            return False
        return self._uploads.settled(uri, listing.fingerprint)
