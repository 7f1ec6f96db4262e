"""Which URIs can be base paths, and what has to be installed for them."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from salver.errors import Unimplemented
from salver.sources.uri import redacted, scheme_of


class Extra(NamedTuple):
    """What `pip install 'salver[name]'` brings, and the module that tells whether it is there."""

    name: str
    module: str


_EXTRAS = {
    "s3": Extra("s3", "s3fs"),
    "s3a": Extra("s3", "s3fs"),
    "gs": Extra("gcs", "gcsfs"),
    "gcs": Extra("gcs", "gcsfs"),
    "az": Extra("azure", "adlfs"),
    "abfs": Extra("azure", "adlfs"),
    "abfss": Extra("azure", "adlfs"),
    "http": Extra("http", "aiohttp"),
    "https": Extra("http", "aiohttp"),
}
_NO_STORAGE = frozenset(
    ("asynclocal", "async_wrapper", "asyncwrapper", "blockcache", "cached", "data", "dir", "dirfs",
     "filecache", "generic", "libarchive", "local", "reference", "simplecache", "tar", "zip")
)  # fmt: skip
"""What fsspec knows beside storage: layers over other file systems, which a request to reload must
not be able to set up."""


def require_scheme(uri: str, installed: Callable[[str], Any] = find_spec) -> None:
    """Check that file systems of this URI's scheme can be opened.

    Raises:
        Unimplemented: it is unknown, or a package is missing; the text names the command that
            installs it.
    """
    scheme = scheme_of(uri)
    extra = _EXTRAS.get(scheme)
    if extra is not None:
        if not (installed("fsspec") and installed(extra.module)):
            raise _refused(uri, f"install {extra.module}: pip install 'salver[{extra.name}]'")
        return
    if scheme in _NO_STORAGE:
        raise _refused(uri, "it names no storage")
    if not installed("fsspec"):
        raise _refused(uri, "install fsspec: pip install fsspec")
    _require_known(uri, scheme)


def _require_known(uri: str, scheme: str) -> None:
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise _refused(uri, str(error)) from error
    except ValueError as error:
        raise _refused(uri, "it is not known") from error


def _refused(uri: str, reason: str) -> Unimplemented:
    return Unimplemented(
        f"File system scheme '{scheme_of(uri)}' not implemented (file: '{redacted(uri)}'): {reason}"
    )
