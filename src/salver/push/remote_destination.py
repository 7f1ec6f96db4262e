"""Base paths with a URI: files are uploaded one by one, what makes them a version last of all.

Nothing can be renamed there, and nothing locked. A claim, a small file beside the versions, says
who uploads which one: who sees another claim for the same number takes a higher one. It also
tells what a push that was killed has left behind.
"""

import json
import os
import random
import secrets
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

from salver.backends.registry import Backends
from salver.errors import Aborted, AlreadyExists, Cancelled, DataLoss, NotFound, ServingError
from salver.push.interruption import Interruption
from salver.push.model_folder import ModelFile, ModelFolder, last_files
from salver.push.report import StillThere
from salver.push.version_number import (
    aside_name,
    aside_versions,
    claim_name,
    claimed_version,
    next_version,
)
from salver.sources.listing import Listing
from salver.sources.remote_files import RemoteFiles
from salver.sources.remote_writes import RemoteWrites
from salver.sources.uri import redacted
from salver.sources.version_name import versions_by_number

_ATTEMPTS = 10
_DEAD_AFTER_S = 24 * 3600.0
_LOOK_S = 0.1


class RemoteDestination:
    """See `Destination`."""

    def __init__(self, base_path: str, backends: Backends, clock: Callable[[], float]) -> None:
        self._base_path = base_path
        self._backends = backends
        self._clock = clock
        self._files = RemoteFiles()
        self._writes = RemoteWrites(self._files)

    def names(self) -> list[str]:
        """See `Destination.names`."""
        try:
            return self._files.names(self._base_path)
        except NotFound:
            return []
        except NotADirectoryError as error:
            raise NotFound(f"{redacted(self._base_path)} is a file, not a folder") from error

    def _uri(self, name: str) -> str:
        return f"{self._base_path}/{name}"

    # --- adding a version ---------------------------------------------------------

    def publish(
        self, model: ModelFolder, interruption: Interruption, on_bytes: Callable[[int], None]
    ) -> int:
        """See `Destination.publish`."""
        version, claim = self._claimed(interruption)
        last = last_files([file.name for file in model.files], self._backends)
        by_name = {file.name: file for file in model.files}
        may_be_whole = False
        try:
            first = [file for file in model.files if file.name not in last]
            self._upload(version, first, interruption, on_bytes)
            model.require_unchanged()
            self._require_newest(version)
            may_be_whole = True
            for name in last:
                self._upload(version, [by_name[name]], interruption, on_bytes)
            self._require_whole(version, model)
            interruption.check()
        except BaseException as error:
            try:
                self._remove(version, last)
                self._writes.delete(claim)
            except ServingError as failure:
                # What stays, with the claim, is swept by a later push, unless it is a version.
                if may_be_whole:
                    raise StillThere(
                        f"Version {version} may be there, and could not be removed: "
                        f"{failure.message}"
                    ) from error
            raise
        with suppress(ServingError):  # It is published; as above.
            self._writes.delete(claim)
        return version

    def _claimed(self, interruption: Interruption) -> tuple[int, str]:
        """A number that is nobody else's, and the URI of the claim."""
        token = secrets.token_hex(8)
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": self._clock()}
        names = self.names()
        for _ in range(_ATTEMPTS):
            interruption.check()
            version = next_version(names, self._clock())
            claim = self._uri(claim_name(version, token))
            try:
                self._writes.write(claim, json.dumps(owner).encode())
                names = self.names()
                if not _is_taken(version, token, names):
                    return version, claim
                self._writes.delete(claim)
            except BaseException:
                with suppress(ServingError):
                    self._writes.delete(claim)
                raise
            interruption.wait(random.uniform(0, _LOOK_S))
        raise Aborted(f"Other pushes to {redacted(self._base_path)} are always quicker")

    def _upload(
        self,
        version: int,
        files: list[ModelFile],
        interruption: Interruption,
        on_bytes: Callable[[int], None],
    ) -> None:
        uri = self._uri(str(version))
        stopping = threading.Event()

        def upload(file: ModelFile) -> None:
            sent = 0

            def on_sent(so_far: int) -> None:
                nonlocal sent
                if stopping.is_set():
                    raise Cancelled("The push was broken off")
                on_bytes(so_far - sent)
                sent = so_far

            if stopping.is_set():
                return
            self._writes.upload(uri, file.name, file.path, on_sent)
            on_bytes(file.size - sent)  # Some storage tells nothing meanwhile.

        at_once = self._files.downloads_at_once(self._base_path)
        with ThreadPoolExecutor(at_once, "salver-push") as pool:
            running = {pool.submit(upload, file) for file in files}
            try:
                while running:
                    done, running = wait(running, _LOOK_S, "FIRST_COMPLETED")
                    for each in done:
                        each.result()
                    interruption.check()
            except BaseException:
                # What is on its way has to end before it can be deleted.
                stopping.set()
                raise

    def _require_newest(self, version: int) -> None:
        found, _ = versions_by_number(self.names())
        for number in sorted(found, reverse=True):
            if number > version and self._is_whole(found[number]):
                raise Aborted(
                    f"Version {number} was published by others in {redacted(self._base_path)} "
                    f"while {version} was uploaded; push again"
                )

    def _require_whole(self, version: int, model: ModelFolder) -> None:
        uri = self._uri(str(version))
        there = sizes_of(self._files.listing(uri))
        for file in model.files:
            if there.get(file.name) != file.size:
                raise DataLoss(
                    f"{redacted(uri)}/{file.name} has {file.size} bytes, "
                    f"{there.get(file.name, 0)} arrived"
                )

    def _is_whole(self, name: str) -> bool:
        return self._backends.lacking(self._files.listing(self._uri(name)).names) is None

    # --- taking versions away and bringing them back ------------------------------

    def _remove(self, version: int, last: list[str]) -> None:
        found, _ = versions_by_number(self.names())
        self._writes.delete(self._uri(found.get(version, str(version))), last[::-1])

    def versions(self) -> list[int]:
        """See `Destination.versions`."""
        found, _ = versions_by_number(self.names())
        return sorted(number for number, name in found.items() if self._is_whole(name))

    def take_back(self, version: int) -> None:
        """See `Destination.take_back`."""
        names = self._files.listing(self._uri(self._name_of(version))).names
        self._remove(version, last_files(names, self._backends))

    def set_aside(self, version: int) -> str:
        """See `Destination.set_aside`."""
        name, aside = self._name_of(version), aside_name(version)
        last = self._copied(name, aside)
        try:
            self._writes.delete(self._uri(name), last[::-1])
        except ServingError as error:
            try:
                is_there = self._is_whole(name)
            except ServingError:
                raise StillThere(
                    f"Version {version} may still be there: {error.message}"
                ) from error
            # If the first files are gone, it is no version any more; the rest does no harm.
            if is_there:
                raise
        return aside

    def bring_back(self, version: int) -> None:
        """See `Destination.bring_back`."""
        aside = aside_versions(self.names())[version]
        last = self._copied(aside, str(version))
        with suppress(ServingError):  # It is back; what is left beside it does no harm.
            self._writes.delete(self._uri(aside), last[::-1])

    def _copied(self, name: str, target: str) -> list[str]:
        """Copy a folder; the files that make it a version, which are there last.

        What an earlier attempt has left that was killed is gone on with.
        """
        old, new = self._uri(name), self._uri(target)
        listing, copied = self._files.listing(old), self._files.listing(new)
        last = last_files(listing.names, self._backends)
        if copied.files and self._is_whole(target):
            if self._is_whole(name) and sizes_of(listing) != sizes_of(copied):
                raise AlreadyExists(f"{redacted(new)} is there already")
        else:
            self._copy(old, new, [file for file in listing.names if file not in last], last)
        return last

    def _copy(self, old: str, new: str, first: list[str], last: list[str]) -> None:
        self._writes.delete(new)
        try:
            for file in first + last:
                self._writes.copy(old, new, file)
        except BaseException:
            with suppress(ServingError):
                self._writes.delete(new, last[::-1])
            raise

    def _name_of(self, version: int) -> str:
        found, _ = versions_by_number(self.names())
        if version not in found:
            raise NotFound(f"{redacted(self._base_path)} has no version {version}")
        return found[version]

    # --- what was left behind -----------------------------------------------------

    def sweep(self) -> list[str]:
        """See `Destination.sweep`."""
        names = self.names()
        found, _ = versions_by_number(names)
        swept = []
        for claim in names:
            version = claimed_version(claim)
            if version is None or not self._is_dead(claim):
                continue
            if version in found and not self._is_whole(found[version]):
                self._writes.delete(self._uri(found[version]))
            self._writes.delete(self._uri(claim))
            swept.append(claim)
        return swept

    def _is_dead(self, claim: str) -> bool:
        """Whether the push that has made a claim has ended without a word."""
        try:
            owner = json.loads(self._writes.read(self._uri(claim)))
            host, pid, since = owner["host"], int(owner["pid"]), float(owner["since"])
        except NotFound:
            return False
        except (ValueError, KeyError, TypeError):
            return False
        has_ended = host == socket.gethostname() and not _is_running(pid)
        return has_ended or self._clock() - since > _DEAD_AFTER_S


def sizes_of(listing: Listing) -> dict[str, int]:
    """The size of each file by its name."""
    return {file.name: file.size for file in listing.files}


def _is_taken(version: int, token: str, names: list[str]) -> bool:
    own = claim_name(version, token)
    found, _ = versions_by_number(names)
    return version in found or any(
        claimed_version(name) == version for name in names if name != own
    )


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
