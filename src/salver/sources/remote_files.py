"""Remote storage through fsspec: listing folders and fetching files.

The only module, with `remote_writes`, that calls fsspec. It is imported with the first base path
that is a URI; so are the libraries under it. Credentials, endpoints and the like come from the
usual places of those libraries: their environment variables, their files, fsspec's own
configuration.

A file system of an asynchronous library is shared by all threads and models, so that they share
its connections too; of the others each thread has its own, as they bear no more.
"""

import asyncio
import logging
import os
import threading
from base64 import b64decode
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from salver.sources.listing import Listing, RemoteFile, first_parts, listing_of
from salver.sources.remote_errors import told_as_ours
from salver.sources.uri import redacted, scheme_of

_OPTIONS: dict[str, dict[str, Any]] = {
    # By default it holds ten times 50 MiB of a large file in memory.
    "S3FileSystem": {"default_block_size": 16 << 20, "max_concurrency": 4},
}
_LIBRARIES = (
    "adlfs", "aiobotocore", "aiohttp", "azure", "boto3", "botocore", "fsspec", "gcsfs", "google",
    "s3fs", "urllib3",
)  # fmt: skip
_TAGS = ("ETag", "etag", "generation", "md5Hash", "content_md5", "checksum")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")


class RemoteFiles:
    """Everything that Salver asks of remote storage. From any thread; every call may block."""

    def __init__(self) -> None:
        self._shared: dict[tuple[type, str], Any] = {}

    def names(self, uri: str) -> list[str]:
        """The names directly in a folder, with one listing.

        Raises:
            NotFound: there is nothing at this URI.
            NotADirectoryError: there is, but it is a file.
            ServingError: the storage cannot be asked.
        """
        with told_as_ours(uri):
            file_system, path = self.opened(uri)
            entries = file_system.ls(path, detail=True)
            inside = [_relative(entry["name"], path) for entry in entries]
            found = first_parts(inside)
            is_file = any(
                name == "" and entry["type"] == "file" and not entry["name"].endswith("/")
                for name, entry in zip(inside, entries, strict=True)
            )
        if is_file and not found:
            raise NotADirectoryError(20, "Not a directory", redacted(uri))
        return found

    def listing(self, uri: str) -> Listing:
        """Every file of a version, however deep; none if there is nothing.

        Raises:
            InvalidArgument: a name among them leads elsewhere.
            ServingError: the storage cannot be asked.
        """
        with told_as_ours(uri):
            file_system, path = self.opened(uri)
            files = [
                _remote_file(file_system, entry, name)
                for entry in file_system.find(path, detail=True).values()
                if (name := _relative(entry["name"], path))
                if entry["type"] == "file" and not name.endswith("/")
            ]
        return listing_of(files, redacted(uri))

    def file(self, uri: str) -> RemoteFile:
        """One file by its own URI, as if it were in a folder; to be given to `download`.

        Raises:
            NotFound: there is no such file.
            ServingError: the storage cannot be asked.
        """
        with told_as_ours(uri):
            file_system, path = self.opened(uri)
            entry = file_system.info(path)
            if entry["type"] != "file":
                raise FileNotFoundError(2, "No such file", redacted(uri))
            return _remote_file(file_system, entry, path.rpartition("/")[2])

    def download(
        self, uri: str, file: RemoteFile, local_path: str, on_bytes: Callable[[int], None]
    ) -> None:
        """Write one file of the version at `uri`; `on_bytes` is told how many there are so far.

        Raises:
            ServingError: the storage cannot be asked, or the file is gone.
            OSError: it cannot be written here.
        """
        with open(local_path, "wb"):
            pass  # What is wrong on this machine is told as such.
        with told_as_ours(f"{uri}/{file.name}"):
            from fsspec.callbacks import Callback

            file_system, _ = self.opened(uri)
            callback = Callback(hooks={"bytes": lambda size, value: on_bytes(value)})
            file_system.get_file(file.path, local_path, callback=callback)

    def downloads_at_once(self, uri: str) -> int:
        """How many threads may call `download` for this URI at the same time."""
        file_system, _ = self.opened(uri)
        return 8 if file_system.async_impl else 1

    def opened(self, uri: str) -> tuple[Any, str]:
        """The file system of a URI, and its path there, without a `/` at the end."""
        import fsspec

        # Else each call would first ask, through gRPC, what kind of bucket it is, and wait for a
        # minute where that is not allowed.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        scheme = scheme_of(uri)
        kind = fsspec.get_filesystem_class(scheme)
        # Underscored, yet what fsspec's documentation tells implementations to provide.
        options = kind._get_kwargs_from_urls(uri)
        path = kind._strip_protocol(uri).rstrip("/")
        # Listings that were kept would hide new versions.
        options["use_listings_cache"] = False
        defaults = _OPTIONS.get(kind.__name__, {})
        configured = fsspec.config.conf.get(scheme, {})
        options |= {name: value for name, value in defaults.items() if name not in configured}
        _hush()
        if not kind.async_impl:
            return fsspec.filesystem(scheme, **options), path
        key = (kind, repr(sorted(options.items())))
        found = self._shared.get(key)
        if found is None:
            # Without a lock: to open one can take long, which is no matter of the others.
            opened = fsspec.filesystem(
                scheme, skip_instance_cache=True, loop=_loop_of_its_own(scheme), **options
            )
            found = self._shared.setdefault(key, opened)
        return found, path


def _hush() -> None:
    """Keep the libraries from logging whole requests, tokens and signatures included."""
    level = max(logging.WARNING, logging.getLogger().level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(level)


def _loop_of_its_own(scheme: str) -> asyncio.AbstractEventLoop:
    """A loop on a thread, so that a library that blocks its loop holds up no other one."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=f"salver-{scheme}", daemon=True).start()
    return loop


def _relative(name: str, folder: str) -> str:
    """The part of a path below a folder; nothing for the folder itself."""
    inside = name.lstrip("/").removeprefix(folder.strip("/"))
    return inside[1:] if inside.startswith("/") else ""


def _remote_file(file_system: Any, entry: Mapping[str, Any], name: str) -> RemoteFile:
    if entry.get("size") is None:  # Some listings are names alone.
        entry = {**entry, **file_system.info(entry["name"])}
    size = entry.get("size")
    if size is None:
        raise ValueError(f"the size of {name} is not told")
    return RemoteFile(name, entry["name"], int(size), _tag(entry), _crc32c(entry))


def _tag(entry: Mapping[str, Any]) -> str:
    """What the storage tells contents apart by; the time alone where it has nothing better."""
    for keys in (_TAGS, _TIMES):
        told = [f"{key}={entry[key]}" for key in keys if entry.get(key)]
        if told:
            return " ".join(told)
    return ""


def _crc32c(entry: Mapping[str, Any]) -> int | None:
    with suppress(KeyError, TypeError, ValueError):
        return int.from_bytes(b64decode(entry["crc32c"], validate=True), "big")
    return None
