"""Models on remote storage: the parts for looking at them and for loading them, put together."""

from collections.abc import Callable, Collection
from typing import TypeVar

from salver.core.load_job import LoaderOf
from salver.sources.copying_loader import CopyingLoader
from salver.sources.kept_copies import KeptCopies
from salver.sources.model_cache import ModelCache, default_root
from salver.sources.remote_files import RemoteFiles
from salver.sources.remote_storage import Lacking, RemoteStorage
from salver.sources.uploads import Uploads
from salver.sources.uri import scheme_of
from salver.sources.version_copies import VersionCopies

S = TypeVar("S")


class RemoteModels:
    """Costs nothing until there is a base path that is a URI."""

    def __init__(
        self, cache_dir: str, lacking: Lacking, lacking_inside: Callable[[str], str | None]
    ) -> None:
        """Make the parts.

        Args:
            cache_dir: where copies lie; empty for the default.
            lacking: see `VersionCopies`.
            lacking_inside: see `VersionCopies`.
        """
        files, uploads = RemoteFiles(), Uploads()
        self._cache = ModelCache(cache_dir or default_root())
        kept = KeptCopies(self._cache)
        self._copies = VersionCopies(files, self._cache, kept, uploads, lacking, lacking_inside)
        self.storage = RemoteStorage(files, uploads, self._cache, kept, lacking)

    def loader(self, uri: str, make_loader: Callable[[str], LoaderOf[S]]) -> LoaderOf[S]:
        """A loader of the version at `uri`; `make_loader` takes the folder of its copy."""
        return CopyingLoader(uri, self._copies, make_loader)

    def want(self, name: str, paths: Collection[str]) -> None:
        """These are all aspired versions of a model; copies of others are not needed any more."""
        self._cache.want(name, [path for path in paths if scheme_of(path)])
