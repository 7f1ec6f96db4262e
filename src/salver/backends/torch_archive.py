"""What kind of file PyTorch wrote: told by the members of its archive, without unpickling.

PyTorch's archives are plain: members lie one after the other, all in one folder, and nothing but
TorchScript's code is compressed. What is not so was not written by it, and it might read there
something else than we do.
Source: caffe2/serialize/inline_container.cc.
"""

import os
import zipfile
from enum import Enum, auto
from pathlib import PurePosixPath

from salver.errors import InvalidArgument


class Kind(Enum):
    """What a file holds."""

    EXPORTED = auto()
    """An `ExportedProgram`, from `torch.export.save`."""
    SCRIPT = auto()
    """A `ScriptModule`, from `torch.jit.save`."""
    PICKLE = auto()
    """Whatever `torch.save` was given."""


_MOST_CODE_BYTES = 64 << 20
_SIGNATURE_OF_ZIP = b"PK\x03\x04"
_SIGNATURE_OF_PICKLE = b"\x80"

PROGRAM = "models/model.json"
"""The member with the graph of an exported program."""


def kind_of(path: str, where: str) -> Kind:
    """Look at the archive's directory.

    Raises:
        InvalidArgument: it is none of the three, or no archive that PyTorch wrote.
    """
    with open(path, "rb") as file:
        beginning = file.read(4)
    if beginning.startswith(_SIGNATURE_OF_PICKLE):
        return Kind.PICKLE  # From before archives.
    if beginning != _SIGNATURE_OF_ZIP:
        raise InvalidArgument(f"{where} is no PyTorch archive")
    names = _members(path, where)
    if PROGRAM in names:
        return Kind.EXPORTED
    if "serialized_exported_program.json" in names:
        raise InvalidArgument(
            f"{where} was exported by a version of PyTorch that is too old: export it again"
        )
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return Kind.SCRIPT
    if "data.pkl" in names:
        return Kind.PICKLE
    raise InvalidArgument(f"{where} is an archive without a PyTorch model")


def read_member(path: str, name: str) -> bytes:
    """The content of a member, named without the folder in which all are."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if _inside(member) == name:
                return archive.read(member)
    raise KeyError(name)


def member_sizes(path: str) -> dict[str, int]:
    """Bytes of each member, by its name without the folder in which all are."""
    with zipfile.ZipFile(path) as archive:
        return {_inside(member.filename): member.file_size for member in archive.infolist()}


def _members(path: str, where: str) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise InvalidArgument(f"{where} is no PyTorch archive: {error}") from error
    names = [member.filename for member in members]
    problem = None
    if len({name.lower() for name in names}) < len(names):
        problem = "a member comes twice"
    elif _claimed(members) > os.path.getsize(path) + _MOST_CODE_BYTES:
        problem = f"members claim to have {_claimed(members)} bytes"
    elif min((member.header_offset for member in members), default=0) > 0:
        problem = "something lies before the first member"
    elif len({PurePosixPath(name).parts[0] for name in names if name}) != 1:
        problem = "members are not in one folder"
    elif any(name.startswith("/") or ".." in PurePosixPath(name).parts for name in names):
        problem = "a member leads out of it"
    if problem:
        raise InvalidArgument(f"{where} is no archive that PyTorch wrote: {problem}")
    return {_inside(name) for name in names}


def _claimed(members: list[zipfile.ZipInfo]) -> int:
    return sum(member.file_size for member in members)


def _inside(member: str) -> str:
    return member.partition("/")[2]
