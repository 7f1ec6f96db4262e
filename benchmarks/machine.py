"""The machine and the versions that a result belongs to."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

DISTRIBUTIONS = ("salver", "tensorflow", "tensorflow-cpu", "grpcio", "flask", "numpy")


def describe(distributions: Sequence[str] = ()) -> dict[str, str]:
    """Facts by name, for people: processor, cores, memory, system, versions.

    `distributions`: whose versions are of interest, beside those of every benchmark.
    """
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        platform.system(): ".".join(platform.release().split(".")[:2]),
        "Python": platform.python_version(),
    }
    for distribution in (*DISTRIBUTIONS, *distributions):
        try:
            facts[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    return facts


def apart(processors: set[int]) -> tuple[set[int], set[int]]:
    """Those for the server and the one for its clients; where there is only one, they share it."""
    last = {max(processors)}
    return processors - last or last, last


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
