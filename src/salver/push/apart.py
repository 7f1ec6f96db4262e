"""A version opened in a process of its own: whatever it does there costs nothing here."""

from contextlib import AbstractContextManager
from functools import partial

from salver.backends.registry import Backends
from salver.core.servable import Loader, ServableId
from salver.inspection.finding import FoundVersion
from salver.inspection.opening import OpenModel, OpenOptions, loader_of_folder, opened
from salver.isolation.loader import IsolatedLoader, IsolationOptions


def opened_apart(
    version: FoundVersion, options: OpenOptions, backends: Backends, run_limit_s: float
) -> AbstractContextManager[OpenModel]:
    """As `opened`; a run that takes longer than `run_limit_s` is broken off, and fails."""

    def loader_in(folder: str) -> Loader:
        return IsolatedLoader(
            ServableId(folder, version.number or 0),
            partial(loader_of_folder, folder, options),
            IsolationOptions(1, run_limit_s),
        )

    return opened(version, options, backends, loader_in)
