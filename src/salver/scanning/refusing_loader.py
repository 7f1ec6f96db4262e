"""A loader that lets a version through only if a scan of its files finds nothing."""

import logging
from collections.abc import Sequence
from pathlib import Path

from salver.backends.registry import Backends
from salver.backends.version_folder import VersionFolder
from salver.core.servable import Loader, Servable
from salver.errors import FailedPrecondition
from salver.scanning.report import Allowance, Report

_logger = logging.getLogger(__name__)

_MOST_NAMED = 3


class RefusingLoader:
    """Scans the folder of a version before anything of it is loaded."""

    def __init__(self, folder: str, allowances: Sequence[Allowance], loader: Loader) -> None:
        """Store what is needed.

        Args:
            folder: the version, on this machine.
            allowances: findings that do not count.
            loader: loads it, if nothing else is found.
        """
        self._folder = folder
        self._allowances = allowances
        self._loader = loader

    def load(self) -> Servable:
        """Scan and load. From a load thread.

        Raises:
            FailedPrecondition: something was found; the message names the first of it.
            ServingError: the folder cannot be read, or from the loader.
        """
        # It imports what a server that refuses nothing never needs.
        from salver.scanning.scan import scan

        report = scan(Path(self._folder), self._allowances)
        if not report.is_clean:
            for finding in report.findings:
                _logger.warning("%s: %s", self._folder, finding.line())
            raise FailedPrecondition(_refusal(self._folder, report))
        return self._loader.load()

    def unload(self) -> None:
        """See `Loader.unload`."""
        self._loader.unload()


def refusing_loader_of(folder: VersionFolder, allowances: Sequence[Allowance]) -> Loader:
    """The same loader in another process, which scans anew each time that it starts."""
    return RefusingLoader(folder.path, allowances, folder.loader(Backends()))


def _refusal(folder: str, report: Report) -> str:
    named = "; ".join(
        f"{each.rule}: {each.where}: {each.what}" for each in report.findings[:_MOST_NAMED]
    )
    count = len(report.findings) - _MOST_NAMED
    more = f"; and {count} more" if count > 0 else ""
    return (
        f"{folder} is refused (--refuse_unsafe_models): {named}{more}; `salver scan {folder}` "
        "tells all, and --unsafe_model_exceptions lets through what is known to be wanted"
    )
