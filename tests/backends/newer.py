"""Ways to make the file of a model one of a format that is newer than its framework."""

import io
import zipfile
from collections.abc import Callable

Change = Callable[[bytes], bytes]


def replaced(old: bytes, new: bytes) -> Change:
    """The first place of `old` in the file, which has to be there."""

    def change(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return change


def member_changed(ending: str, change: Change) -> Change:
    """The member of an archive whose name ends so."""

    def changed(content: bytes) -> bytes:
        written = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
            names = [member.filename for member in old.infolist()]
            assert sum(name.endswith(ending) for name in names) == 1, names
            for member in old.infolist():
                data = old.read(member)
                new.writestr(member, change(data) if member.filename.endswith(ending) else data)
        return written.getvalue()

    return changed
