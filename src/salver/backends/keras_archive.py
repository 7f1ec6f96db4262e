"""What a `.keras` file must be before Keras opens it: a small, plain archive of known members.

Source: keras/src/saving/saving_lib.py.
"""

import os
import zipfile
import zlib
from pathlib import PurePosixPath

from salver.errors import InvalidArgument

_NEEDED = ("config.json", "metadata.json")
_MOST_TIMES, _SMALL_BYTES = 20, 64 << 20
"""Weights hardly shrink: members may be so many times the file, and so many bytes more."""


def check_archive(path: str, model_name: str) -> None:
    """Look at the directory of an archive; its members stay packed.

    Raises:
        InvalidArgument: it is no archive, lacks a part, or would fill the disk or another folder.
    """
    where = f"Model {model_name}: {os.path.basename(path)}"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    # The reader lets through what it stumbles over, whatever the bytes say.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, zlib.error) as error:
        raise InvalidArgument(f"{where} is no Keras archive: {error}") from error
    names = [member.filename for member in members]
    for needed in _NEEDED:
        if needed not in names:
            raise InvalidArgument(f"{where} is no Keras archive: it has no {needed}")
    for name in names:
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise InvalidArgument(f"{where} has a member that leads out of it: {name[:100]}")
    claimed = sum(member.file_size for member in members)
    if claimed > _MOST_TIMES * os.path.getsize(path) + _SMALL_BYTES:
        raise InvalidArgument(f"{where} claims to hold {claimed} bytes, which is not plausible")
