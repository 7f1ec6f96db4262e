"""`salver scan PATH`: what a model could do beside computing. Nothing of it is run."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salver.cli.allowances import add_allow_flag, allowances
from salver.cli.command_line import DONE, FAILED, ArgumentParser
from salver.cli.model_flags import add_cache_flag

if TYPE_CHECKING:
    from salver.backends.registry import Backends
    from salver.scanning.report import Allowance, Finding, Report


def scan(program: str, arguments: Sequence[str]) -> int:
    """Look through versions and print a line for each finding; the exit code."""
    parser = ArgumentParser(
        program,
        "Tell what in a model can read, write, load code or reach out.\n"
        "Exit code 0: nothing; 1: something was found; 2: it cannot be read.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a version folder, a base path (all its versions), a file, or a URI of storage",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_allow_flag(parser)
    add_cache_flag(parser)
    options = parser.parse_args(arguments)
    allowed = allowances(options)
    reports = [
        report
        for path in options.paths
        for report in _reports(path, allowed, options.model_cache_dir)
    ]
    if options.json:
        print(json.dumps({"reports": list(map(_as_json, reports))}, indent=2))
    else:
        for report in reports:
            _show(report)
    return DONE if all(report.is_clean for report in reports) else FAILED


def _reports(path: str, allowances: "Sequence[Allowance]", cache: str) -> "list[Report]":
    from salver.backends.registry import Backends
    from salver.errors import NotFound
    from salver.inspection.finding import versions_at
    from salver.scanning.scan import scan as scan_folder
    from salver.sources.storage import local_path
    from salver.sources.uri import scheme_of

    backends = Backends()
    if scheme_of(path):
        if _is_remote_file(path):
            return [_remote_file_report(path, allowances)]
        return [
            _remote_report(version.path, allowances, cache, backends)
            for version in versions_at(path, backends)
        ]
    place = local_path(path)
    if not os.path.isdir(place):
        return [scan_folder(Path(place), allowances)]
    try:
        found = [version.path for version in versions_at(place, backends)]
    except NotFound:
        found = [place]  # No model that a backend knows: its files are looked at all the same.
    return [scan_folder(Path(version), allowances) for version in found]


def _is_remote_file(uri: str) -> bool:
    from salver.sources.remote_files import RemoteFiles
    from salver.sources.remote_schemes import require_scheme

    require_scheme(uri)
    try:
        RemoteFiles().names(uri)
    except NotADirectoryError:
        return True
    return False


def _remote_file_report(uri: str, allowances: "Sequence[Allowance]") -> "Report":
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from salver.scanning.scan import scan as scan_file
    from salver.sources.remote_files import RemoteFiles
    from salver.sources.uri import redacted

    files = RemoteFiles()
    file = files.file(uri)
    with TemporaryDirectory(prefix="salver-scan-") as folder:
        place = Path(folder, file.name)
        files.download(uri.rpartition("/")[0], file, str(place), lambda size: None)
        return replace(scan_file(place, allowances), path=redacted(uri))


def _remote_report(
    uri: str, allowances: "Sequence[Allowance]", cache: str, backends: "Backends"
) -> "Report":
    from dataclasses import replace

    from salver.backends.saved_model_files import lacking_inside
    from salver.sources.remote_models import RemoteModels
    from salver.sources.uri import redacted

    models = RemoteModels(cache, backends.lacking, lacking_inside)
    loader = models.loader(uri, lambda folder: _Scanning(folder, allowances))
    report = loader.load()
    loader.unload()
    return replace(report, path=redacted(uri))


class _Scanning:
    """A version that is scanned where a server would load it."""

    def __init__(self, folder: str, allowances: "Sequence[Allowance]") -> None:
        self._folder = folder
        self._allowances = allowances

    def load(self) -> "Report":
        from salver.scanning.scan import scan as scan_folder

        return scan_folder(Path(self._folder), self._allowances)

    def unload(self) -> None:
        """Nothing was taken."""


def _show(report: "Report") -> None:
    for finding in (*report.findings, *report.notes):
        print(finding.line())
    count = len(report.findings)
    verdict = "nothing found" if not count else f"{count} finding{'s' if count > 1 else ''}"
    allowed = f", {len(report.allowed)} let through" if report.allowed else ""
    files = f"{report.files} file{'' if report.files == 1 else 's'}"
    print(f"{report.path}: {verdict}{allowed} in {files}")


def _as_json(report: "Report") -> dict[str, Any]:
    return {
        "path": report.path,
        "clean": report.is_clean,
        "files": report.files,
        "findings": list(map(_finding_as_json, report.findings)),
        "notes": list(map(_finding_as_json, report.notes)),
        "allowed": list(map(_finding_as_json, report.allowed)),
    }


def _finding_as_json(finding: "Finding") -> dict[str, Any]:
    return {
        "severity": finding.severity.name.lower(),
        "rule": finding.rule,
        "where": finding.where,
        "what": finding.what,
        "subject": finding.subject,
        "why": finding.why,
        "advice": finding.advice,
        "more": finding.more,
    }
