"""Arrays from files: `.npy`, `.npz[key]`, and pickles where the user says that they are trusted."""

import logging
import pickle
import zipfile
from typing import Any

import numpy as np

from salver.core.nearest import nearest
from salver.errors import InvalidArgument, NotFound, PermissionDenied, ServingError
from salver.trial.assignments import GivenFile

logger = logging.getLogger(__name__)


def loaded_array(given: GivenFile, *, allow_pickle: bool) -> np.ndarray:
    """The array that a file holds, or the one under a key in it.

    Raises:
        NotFound: there is no such file, or no such key in it.
        PermissionDenied: it is a pickle, and those are not allowed.
        InvalidArgument: it cannot be read, or holds several arrays and no key is given.
    """
    content = _content(given.path, allow_pickle)
    if isinstance(content, np.lib.npyio.NpzFile):
        with content:
            return np.asarray(_member(given, content, content.files, allow_pickle))
    if isinstance(content, np.ndarray):
        if given.key is not None:
            logger.warning("%s holds one array: the key %r is ignored", given.path, given.key)
        return content
    if given.key is not None:
        if not isinstance(content, dict):
            raise InvalidArgument(
                f"{given.path} holds a {type(content).__name__}, which has no key {given.key!r}"
            )
        content = _member(given, content, [str(key) for key in content], allow_pickle)
    try:
        return np.asarray(content)
    except ValueError as error:
        raise InvalidArgument(f"{given.path} holds no array: {error}") from error


def _content(path: str, allow_pickle: bool) -> Any:
    try:
        with open(path, "rb") as file:
            if not file.peek(1):
                raise InvalidArgument(f"{path} is empty")
        return np.load(path, allow_pickle=allow_pickle)
    except ServingError:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such file") from error
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise _refusal(path, error) from error
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, MemoryError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from error
    except Exception as error:
        # What a pickle does when it is loaded can fail in any way.
        raise InvalidArgument(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _member(given: GivenFile, content: Any, keys: list[str], allow_pickle: bool) -> Any:
    key = given.key
    if key is None:
        if len(keys) != 1:
            raise InvalidArgument(
                f"{given.path} holds {len(keys)} arrays: name one, {given.path}[KEY], of "
                f"{', '.join(map(repr, sorted(keys)))}"
            )
        (key,) = keys
    if key not in keys:
        raise NotFound(f"{given.path} holds no array {key!r}{nearest(key, keys)}")
    try:
        return content[key]
    except ValueError as error:
        raise _refusal(f"{given.path}[{key}]", error) from error
    except (zipfile.BadZipFile, EOFError, OSError, MemoryError) as error:
        raise InvalidArgument(f"{given.path}[{key}] cannot be read: {error}") from error


def _refusal(path: str, error: ValueError) -> PermissionDenied | InvalidArgument:
    if "allow_pickle" in str(error) or "pickled" in str(error):
        return PermissionDenied(
            f"{path} is no array of numbers or strings of fixed width. As a pickle it could run "
            "any code; --allow_pickle loads it, if you trust where it comes from"
        )
    return InvalidArgument(f"{path} cannot be read: {error}")
