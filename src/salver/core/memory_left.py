"""How much memory this process may still take before something is killed for it. Linux only.

The machine has an end, and so may each control group that the process is in, which is how
containers are bounded. What the kernel can drop, such as pages of files, counts as free.
Sources: https://docs.kernel.org/filesystems/proc.html#meminfo,
https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class MemoryLeft:
    """The nearest end."""

    size: int
    """Bytes."""
    of: str
    """What has no more: \"the machine\", or a limit and its size."""


@dataclass(frozen=True, slots=True)
class _Files:
    """Names of one version of control groups."""

    controller: str
    """In `/proc/self/cgroup`; empty in the second version, which has all in one place."""
    mounted_at: str
    limit: str
    used: str
    droppable: tuple[str, ...]
    """Lines of `memory.stat`."""


_VERSIONS = (
    _Files("", "sys/fs/cgroup", "memory.max", "memory.current", ("inactive_file", "active_file")),
    _Files(
        "memory",
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
)


def memory_left(root: Path = Path("/")) -> MemoryLeft | None:
    """The least of what is left anywhere; None where that cannot be told.

    `root` is the folder in which `proc` and `sys` are.
    """
    found = [*_of_machine(root), *_of_groups(root)]
    return min(found, key=lambda left: left.size, default=None)


def _of_machine(root: Path) -> Iterator[MemoryLeft]:
    with suppress(OSError, ValueError, KeyError):
        lines = (root / "proc" / "meminfo").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines if ":" in line)
        yield MemoryLeft(int(values["MemAvailable"].split()[0]) << 10, "the machine")


def _of_groups(root: Path) -> Iterator[MemoryLeft]:
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for files in _VERSIONS:
            if files.controller in controllers.split(","):
                yield from _of_path(root / files.mounted_at, PurePosixPath(path), files)


def _of_path(mount: Path, path: PurePosixPath, files: _Files) -> Iterator[MemoryLeft]:
    """Of the group and of those around it: in a container, only the mount itself is to be seen."""
    for group in (path, *path.parents):
        folder = mount / group.relative_to("/")
        # No limit is "max", or no file at all.
        with suppress(OSError, ValueError):
            limit = int((folder / files.limit).read_text())
            used = int((folder / files.used).read_text())
            left = max(limit - used + _droppable(folder, files), 0)
            yield MemoryLeft(left, f"the memory limit of {in_units(limit)}")


def _droppable(folder: Path, files: _Files) -> int:
    lines = (folder / "memory.stat").read_text().splitlines()
    sizes = dict(line.split(" ", 1) for line in lines)
    return sum(int(sizes.get(name, 0)) for name in files.droppable)


def in_units(size: int) -> str:
    """Bytes, as people read them: `1.5 GiB`."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"
