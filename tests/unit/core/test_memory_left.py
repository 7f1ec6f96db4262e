from pathlib import Path

import pytest

from salver.core.memory_left import MemoryLeft, in_units, memory_left

GIB = 1 << 30
MACHINE = "MemTotal:  8388608 kB\nMemFree:  1024 kB\nMemAvailable:  4194304 kB\n"


def tree(root: Path, files: dict[str, object]) -> Path:
    """What a kernel would show at `root`."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def second_version(group: str, limit: object, used: int, inactive: int = 0) -> dict[str, object]:
    folder = f"sys/fs/cgroup/{group}"
    stat = f"anon {used}\ninactive_file {inactive}\nactive_file 0"
    return {f"{folder}/memory.max": limit, f"{folder}/memory.current": used,
            f"{folder}/memory.stat": stat}  # fmt: skip


def test_without_groups_it_is_what_the_machine_has(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": MACHINE})

    assert memory_left(root) == MemoryLeft(4 * GIB, "the machine")


def test_the_limit_of_a_container_counts_where_it_is_nearer(tmp_path: Path) -> None:
    files = {"proc/meminfo": MACHINE, "proc/self/cgroup": "0::/"}
    root = tree(tmp_path, {**files, **second_version(".", 3 * GIB, 2 * GIB)})

    assert memory_left(root) == MemoryLeft(GIB, "the memory limit of 3 GiB")


def test_pages_of_files_are_as_good_as_free(tmp_path: Path) -> None:
    files = {"proc/meminfo": MACHINE, "proc/self/cgroup": "0::/"}
    root = tree(tmp_path, {**files, **second_version(".", 3 * GIB, 2 * GIB, inactive=GIB // 2)})

    assert memory_left(root) == MemoryLeft(GIB * 3 // 2, "the memory limit of 3 GiB")


def test_each_group_around_the_own_one_bounds_it(tmp_path: Path) -> None:
    files: dict[str, object] = {"proc/meminfo": MACHINE, "proc/self/cgroup": "0::/a/b/c"}
    files |= second_version("a", 2 * GIB, GIB)
    files |= second_version("a/b", "max", GIB)
    files |= second_version("a/b/c", 3 * GIB, GIB)

    assert memory_left(tree(tmp_path, files)) == MemoryLeft(GIB, "the memory limit of 2 GiB")


def test_the_first_version_of_groups_is_read_too(tmp_path: Path) -> None:
    root = tree(tmp_path, {
        "proc/meminfo": MACHINE,
        "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/x\n0::/",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 2**63 - 4096,
        "sys/fs/cgroup/memory/memory.usage_in_bytes": 5 * GIB,
        "sys/fs/cgroup/memory/memory.stat": "",
        "sys/fs/cgroup/memory/x/memory.limit_in_bytes": 2 * GIB,
        "sys/fs/cgroup/memory/x/memory.usage_in_bytes": 2 * GIB,
        "sys/fs/cgroup/memory/x/memory.stat": "total_inactive_file 7\ntotal_active_file 5",
    })  # fmt: skip

    assert memory_left(root) == MemoryLeft(12, "the memory limit of 2 GiB")


@pytest.mark.parametrize("meminfo", [None, "", "MemTotal: 5 kB", "MemAvailable: much"])
def test_what_cannot_be_read_is_unknown(tmp_path: Path, meminfo: str | None) -> None:
    root = tree(tmp_path, {} if meminfo is None else {"proc/meminfo": meminfo})

    assert memory_left(root) is None


def test_it_can_be_told_here() -> None:
    left = memory_left()

    assert left is not None
    assert left.size > 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 * GIB, "3 GiB"),
     (5 << 40, "5 TiB")],
)  # fmt: skip
def test_sizes_in_words(size: int, text: str) -> None:
    assert in_units(size) == text
