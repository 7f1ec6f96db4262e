"""What pickles would import, whatever lies around them: files of joblib and PyTorch, arrays.

Source: joblib's numpy_pickle.py, torch/serialization.py (the format before archives), and
numpy/lib/format.py.
"""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from salver.scanning.part import Part
from salver.scanning.pickle_names import verdict
from salver.scanning.pickle_walk import PickleError, Walk, looks_like_pickle, walk_all, walk_pickle
from salver.scanning.report import Finding

_OLD_TORCH = 0x1950A86A20F9469CFC6C
"""The integer with which PyTorch began files before it wrote archives."""
_PICKLES_OF_OLD_TORCH = 5
_BLANK = b"\r\n\t \0"


def pickle_findings(part: Part) -> Iterator[Finding]:
    """Look through a pickle, or several in a row."""
    found = Walk()
    with part.opened() as file:
        end, problem = _walked(file, found)
        rest = b"" if problem else file.read(1 << 16)
    yield from walk_findings(part.where, found)
    if problem:
        yield _unreadable(part.where, problem)
    elif rest.strip(_BLANK) and not _is_old_torch(found):
        yield Finding(
            "two-formats",
            part.where,
            f"{part.size - end} bytes follow the end of the pickle, at byte {end}",
            part.name,
        )


def array_findings(part: Part) -> Iterator[Finding]:
    """Look through an array of NumPy, which has a pickle in it if it holds objects."""
    found = Walk()
    with part.opened() as file:
        try:
            if not _array_has_objects(file):
                return
        except (ValueError, TypeError, SyntaxError, EOFError) as error:
            yield _unreadable(part.where, str(error))
            return
        _, problem = _walked(file, found)
    yield from walk_findings(part.where, found)
    if problem:
        yield _unreadable(part.where, problem)


def may_be_old_pickle(part: Part) -> bool:
    """Whether a file without a sign of its kind can be followed as a pickle that imports."""
    found = Walk()
    with part.opened() as file:
        try:
            walk_pickle(file, found)
        except PickleError:
            return bool(found.imports or found.hidden) and found.calls > 0
    return bool(found.imports or found.hidden)


def walk_findings(where: str, found: Walk) -> Iterator[Finding]:
    """What is to be said of the names."""
    harmless = []
    for imported, position in found.imports.items():
        known = verdict(imported.module, imported.name)
        if not known.rule:
            harmless.append(str(imported))
        else:
            yield Finding(
                known.rule,
                f"{where}: byte {position}",
                f"the pickle imports {imported}",
                str(imported),
                known.why,
            )
    for position in found.hidden:
        yield Finding(
            "hidden-code",
            f"{where}: byte {position}",
            "the pickle imports something whose name is made when it is loaded",
            "",
            "no pickle of a framework does that",
        )
    for imported, position in found.changed.items():
        yield Finding(
            "runs-code",
            f"{where}: byte {position}",
            f"the pickle changes {imported} itself",
            str(imported),
            "it changes what all other models of the process use",
        )
    if harmless or not found.imports:
        packages = sorted({name.partition(".")[0] for name in harmless})
        names = (
            f"{len(harmless)} harmless names of {', '.join(packages)}" if harmless else "nothing"
        )
        yield Finding("pickle", where, f"a pickle that imports {names}", " ".join(sorted(harmless)))


def _walked(file: BinaryIO, found: Walk) -> tuple[int, str]:
    """Follow all pickles; where the last one ends, and what is wrong if they cannot be followed."""
    ends = []
    try:
        for end in walk_all(file, found):
            ends.append(end)
            if _is_old_torch(found) and len(ends) == _PICKLES_OF_OLD_TORCH:
                break
    except PickleError as error:
        return 0, f"the pickle cannot be followed: {error}"
    return ends[-1], ""


def _is_old_torch(found: Walk) -> bool:
    return found.numbers[:1] == [_OLD_TORCH]


def _array_has_objects(file: BinaryIO) -> bool:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return bool(np.lib.format.read_array_header_1_0(file)[2].hasobject)
    if version == (2, 0):
        return bool(np.lib.format.read_array_header_2_0(file)[2].hasobject)
    # 3.0 is 2.0 with names in UTF-8.
    size = int.from_bytes(file.read(4), "little")
    return b"O" in file.read(min(size, 1 << 16))


def _unreadable(where: str, problem: str) -> Finding:
    return Finding("unreadable", where, problem, "")


__all__ = ["array_findings", "looks_like_pickle", "may_be_old_pickle", "pickle_findings"]
