"""All of one version folder, or of one file."""

import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from salver.scanning.folder import entries
from salver.scanning.look import look_at
from salver.scanning.part import Part
from salver.scanning.report import Allowance, Finding, Report, report_of


def scan(path: Path, allowances: Sequence[Allowance] = ()) -> Report:
    """Look through every file of a version folder, or one file. Blocks; nothing of it is run.

    Args:
        path: a folder or a file of this machine.
        allowances: findings that do not count.

    Raises:
        NotFound: there is no such path.
        PermissionDenied: a file may not be read.
        FailedPrecondition: reading fails.
    """
    numbers = count()
    # The folder itself may be a link, as storage for Kubernetes makes them.
    found = list(_findings(Path(os.path.realpath(path)), numbers))
    return report_of(str(path), found, next(numbers), allowances)


def _findings(root: Path, numbers: "count[int]") -> Iterator[Finding]:
    for entry in entries(root):
        if isinstance(entry, Part):
            yield from look_at(entry, lambda: (next(numbers), None)[1])
        else:
            yield entry
