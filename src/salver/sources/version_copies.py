"""Copies of remote versions on this machine: made once, whole or not at all, kept while used.

Everything blocks and belongs on load threads.
"""

import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import google_crc32c

from salver.errors import Aborted, DataLoss, NotFound, ResourceExhausted, ServingError
from salver.sources.copy_progress import CopyProgress
from salver.sources.copy_record import (
    FILES,
    finished_files,
    is_same,
    is_whole,
    note_finished,
    present_files,
    sync,
    sync_folders,
)
from salver.sources.file_lock import FileLock
from salver.sources.kept_copies import KeptCopies
from salver.sources.listing import Listing, RemoteFile
from salver.sources.model_cache import ModelCache
from salver.sources.remote_files import RemoteFiles
from salver.sources.remote_storage import Lacking
from salver.sources.uploads import Uploads
from salver.sources.uri import redacted

_logger = logging.getLogger(__name__)

_INCOMING = "incoming"
_CHUNK_BYTES = 1 << 20


class HeldCopy:
    """A copy that stays until it is released."""

    def __init__(self, path: str, held: FileLock, cache: ModelCache) -> None:
        self.path = path
        """The folder with the files of the version."""
        self._held = held
        self._cache = cache

    def release(self) -> None:
        """It is not used any more; it is deleted unless it is still wanted."""
        self._held.release()
        self._cache.sweep()


class VersionCopies:
    """Makes copies and finds those that are there."""

    def __init__(
        self,
        files: RemoteFiles,
        cache: ModelCache,
        kept: KeptCopies,
        uploads: Uploads,
        lacking: Lacking,
        lacking_inside: Callable[[str], str | None],
    ) -> None:
        """Store what is needed.

        Args:
            files: where versions are copied from.
            cache: where to.
            kept: which copies stand in for storage that cannot be asked.
            uploads: told which versions are half-written.
            lacking: what a version lacks by the names of its files.
            lacking_inside: what a version in a local folder lacks by its contents.
        """
        self._files = files
        self._cache = cache
        self._kept = kept
        self._uploads = uploads
        self._lacking = lacking
        self._lacking_inside = lacking_inside

    def fetch(self, uri: str) -> HeldCopy:
        """The copy of a version as it is now, made if it is not there yet.

        Where copies stand in for the storage, it is the newest that there is.

        Raises:
            NotFound: there is no whole version.
            Aborted: it changed while it was copied.
            DataLoss: what arrived is not what was listed.
            ResourceExhausted: it does not fit on the disk.
            ServingError: the storage cannot be asked, or a name in it leads elsewhere.
        """
        kept = self._standing_in(uri)
        if kept is not None:
            return kept
        listing = self._files.listing(uri)
        lacks = self._lacking(listing.names)
        if lacks is not None:
            raise self._incomplete(uri, listing, lacks)
        place = self._cache.place(uri)
        copy = place.copy(listing.fingerprint)
        held = self._cache.use(place, listing.fingerprint)
        try:
            if is_whole(copy, listing):
                _logger.info("Using the copy of %s in %s", redacted(uri), copy)
            else:
                with self._cache.begin_copy(place):
                    if not is_whole(copy, listing):  # Others may have been quicker.
                        self._make(uri, listing, place.part, copy)
        except BaseException:
            held.release()
            self._cache.sweep()
            raise
        self._uploads.forget(uri)
        self._cache.served_from(place, listing.fingerprint)
        return HeldCopy(os.path.join(copy, FILES), held, self._cache)

    def _standing_in(self, uri: str) -> HeldCopy | None:
        """The copy that is to be used without asking the storage, if one is."""
        fingerprint = self._kept.standing_in(uri)
        if fingerprint is None:
            return None
        place = self._cache.place(uri)
        held = self._cache.use(place, fingerprint)
        if self._kept.standing_in(uri) != fingerprint:  # Deleted before it was held.
            held.release()
            return None
        copy = place.copy(fingerprint)
        _logger.info("Using the copy of %s in %s without asking", redacted(uri), copy)
        self._kept.used(uri, fingerprint)
        self._cache.served_from(place, fingerprint)
        return HeldCopy(os.path.join(copy, FILES), held, self._cache)

    def _make(self, uri: str, listing: Listing, part: str, copy: str) -> None:
        os.makedirs(part, mode=0o700, exist_ok=True)
        missing = _missing(part, listing)
        _require_space(part, sum(file.size for file in missing))
        progress = CopyProgress(redacted(uri), listing, missing)
        try:
            self._download(uri, missing, part, progress)
        except ServingError as error:
            self._require_same(uri, listing, error)
            raise
        self._require_same(uri, listing)
        lacks = self._lacking_inside(os.path.join(part, FILES))
        if lacks is not None:
            raise self._incomplete(uri, listing, lacks)
        shutil.rmtree(os.path.join(part, _INCOMING))
        sync_folders(part)
        if os.path.exists(copy):
            _logger.warning("The local copy %s was damaged and is replaced", copy)
            shutil.rmtree(copy)
        os.rename(part, copy)
        sync(os.path.dirname(copy))
        progress.done(copy)

    def _require_same(
        self, uri: str, listing: Listing, failure: ServingError | None = None
    ) -> None:
        """Check that the version is still what was listed; `failure` may come of its change.

        Raises:
            Aborted: it is not.
        """
        try:
            now = self._files.listing(uri)
        except ServingError:
            if failure is None:
                raise
            return
        if now.fingerprint != listing.fingerprint:
            self._uploads.moving(uri, now.fingerprint)
            raise Aborted(
                f"{redacted(uri)} changed while it was copied; is it being uploaded?"
            ) from failure

    def _download(
        self, uri: str, files: list[RemoteFile], part: str, progress: CopyProgress
    ) -> None:
        incoming = os.path.join(part, _INCOMING)
        os.makedirs(incoming, mode=0o700, exist_ok=True)

        def download(number: int, file: RemoteFile) -> None:
            unfinished = os.path.join(incoming, str(number))
            self._files.download(uri, file, unfinished, progress.of(file))
            _verify(unfinished, file, uri)
            path = os.path.join(part, FILES, file.name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(unfinished, path)
            note_finished(part, file)

        at_once = min(self._files.downloads_at_once(uri), len(files))
        with ThreadPoolExecutor(max(at_once, 1), "salver-copy") as pool:
            try:
                for _ in pool.map(download, range(len(files)), files):
                    pass
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _incomplete(self, uri: str, listing: Listing, lacks: str) -> NotFound:
        self._uploads.lacking(uri, listing.fingerprint)
        shown = redacted(uri)
        if lacks == "saved_model.pb":
            return NotFound(
                "Specified file path does not appear to contain a SavedModel bundle "
                f"(should have a file called `saved_model.pb`)\nSpecified file path: {shown}"
            )
        return NotFound(f"{shown} is not complete: {lacks} is missing")


def _missing(part: str, listing: Listing) -> list[RemoteFile]:
    """What is still to be copied; what was begun by another listing and is of no use goes away."""
    finished = finished_files(part)
    kept = {
        file.name for file in listing.files
        if file.name in finished and is_same(finished[file.name], file)
    }  # fmt: skip
    for name in list(present_files(part)):
        if name not in kept:
            os.unlink(os.path.join(part, FILES, name))
    for folder, _, _ in os.walk(os.path.join(part, FILES), topdown=False):
        with suppress(OSError):  # Those that are not empty stay.
            os.rmdir(folder)
    return [file for file in listing.files if file.name not in kept]


def _require_space(folder: str, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ResourceExhausted(f"{folder}: {size} bytes are to be copied, {free} are free")


def _verify(path: str, file: RemoteFile, uri: str) -> None:
    size = os.path.getsize(path)
    if size != file.size:
        raise DataLoss(f"{redacted(uri)}/{file.name} has {file.size} bytes, {size} arrived")
    if file.crc32c is None:
        return
    checksum = 0
    with open(path, "rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            checksum = google_crc32c.extend(checksum, chunk)
    if checksum != file.crc32c:
        raise DataLoss(f"{redacted(uri)}/{file.name} arrived damaged: its checksum is another")
