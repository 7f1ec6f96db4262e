"""The names of classes, kept in a text file that travels with the model as an asset."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salver.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class ClassLabels:
    """A table from the number of a class to its name."""

    table: Any
    """A `tf.lookup.StaticHashTable`, to be tracked by what is saved."""
    count: int

    def of(self, indices: Any) -> Any:
        """The names, strings, for int64 numbers of any shape."""
        return self.table.lookup(indices)


def class_labels(
    tf: Any, classes: Sequence[str] | str | os.PathLike[str], new_file: Path, where: str
) -> ClassLabels:
    """The labels of a signature, from a file of the user, or from `new_file`, which is written.

    `where` names the signature, for messages.

    Raises:
        InvalidArgument: there is no such file, a name is twice or none, or spans lines.
    """
    if isinstance(classes, str | os.PathLike):
        path = Path(classes)
        names = _lines(path, where)
        _check(names, where)
    else:
        path, names = new_file, list(classes)
        _check(names, where)
        path.write_text("".join(f"{name}\n" for name in names), "utf-8", newline="\n")
    initializer = tf.lookup.TextFileInitializer(
        str(path),
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
    )
    return ClassLabels(tf.lookup.StaticHashTable(initializer, ""), len(names))


def _lines(path: Path, where: str) -> list[str]:
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or error
        raise InvalidArgument(f"{where}: classes: {path}: {told}") from error
    # As TensorFlow reads lines: these alone end one.
    return text.replace("\r", "").removesuffix("\n").split("\n")


def _check(names: Sequence[object], where: str) -> None:
    if not names:
        raise InvalidArgument(f"{where}: classes is empty")
    seen = set()
    for name in names:
        if not isinstance(name, str):
            kind = type(name).__name__
            raise InvalidArgument(f"{where}: the class {name!r} is {kind}, not a string")
        if not name or "\n" in name or "\r" in name:
            raise InvalidArgument(f"{where}: the class {name!r} is not one line of text")
        if name in seen:
            raise InvalidArgument(f"{where}: the class {name!r} is there twice")
        seen.add(name)
