"""Loads a version in worker processes, and runs it there.

To the rest of the server this is a loader as any other, of a servable whose programs
wait for another process.
"""

import json
import pickle
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np

from salver.core.servable import Loader, ServableId
from salver.isolation.backoff import Backoff, BackoffOptions
from salver.isolation.crew import Call, Crew, Report
from salver.isolation.message import MOST_PROGRAMS, UNNUMBERED
from salver.isolation.process import Description
from salver.isolation.supervisor import Supervisor

_UNLOAD_S = 10.0


@dataclass(frozen=True, slots=True)
class IsolationOptions:
    """How a version is isolated."""

    workers: int = 1
    """Processes, each with the whole model: so many requests, or batches, run at once."""
    run_limit_s: float | None = 60.0
    """A worker that takes longer for one run is ended and started again; None: no limit."""
    backoff: BackoffOptions = field(default_factory=BackoffOptions)


class IsolatedLoader:
    """Loads one version in processes of its own."""

    def __init__(
        self,
        id_: ServableId,
        make_loader: Callable[[], Loader],
        options: IsolationOptions,
        report: Report = lambda report: None,
    ) -> None:
        """Start nothing yet.

        Args:
            id_: of the version.
            make_loader: makes the loader that is used in a worker; it goes there as a pickle,
                so it is a function of a module, or a `partial` of one with plain arguments.
            options: see there.
            report: see `Crew`.
        """
        self._id = id_
        self._make_loader = make_loader
        self._options = options
        self._report = report
        self._crew: Crew | None = None
        self._supervisors: list[Supervisor] = []

    def load(self) -> "IsolatedServable":
        """Start the workers and wait until each has loaded. From a load thread.

        Raises:
            ServingError: that of the first worker that cannot load.
        """
        description = pickle.dumps(self._make_loader)
        crew = self._crew = Crew(self._id, self._options.run_limit_s, self._report)
        self._supervisors = [
            Supervisor(number, crew, description, Backoff(self._options.backoff))
            for number in range(self._options.workers)
        ]
        try:
            for supervisor in self._supervisors:
                supervisor.start()
            loaded = [supervisor.loaded.result() for supervisor in self._supervisors]
            for each in loaded:
                each.require_like(loaded[0])
        except BaseException:
            self.unload()
            raise
        return IsolatedServable(loaded[0], crew, self._options.workers)

    def unload(self) -> None:
        """End the workers: what they took, they cannot keep."""
        crew, self._crew = self._crew, None
        if crew is None:
            return
        crew.close()
        supervisors, self._supervisors = self._supervisors, []
        for supervisor in supervisors:
            supervisor.close()
        for supervisor in supervisors:
            supervisor.join(_UNLOAD_S)
        crew.end()


class IsolatedServable:
    """A version that runs in worker processes. From any thread."""

    def __init__(self, description: Description, crew: Crew, places: int) -> None:
        self.signatures = description.signatures
        self.signature_def_map = description.signature_def_map
        self.places = places
        self._crew = crew
        self._numbers: dict[bytes, int] = {}

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> "_IsolatedProgram":
        """Resolve names of tensors; a wrong one is an error of every run.

        At once, because it may be asked for on the loop: a worker hears of it with the first run.
        """
        names = json.dumps([feeds, fetches]).encode()
        number = self._numbers.get(names)
        if number is None:
            number = UNNUMBERED
            if len(self._numbers) < MOST_PROGRAMS:
                number = self._numbers[names] = len(self._numbers) + 1
        return _IsolatedProgram(self._crew, number, names)

    def warming_up(self) -> AbstractContextManager[None]:
        """See `Crew.warming_up`."""
        return self._crew.warming_up()


class _IsolatedProgram:
    def __init__(self, crew: Crew, number: int, names: bytes) -> None:
        self._crew = crew
        self._number = number
        self._names = names

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._crew.run(Call(self._number, self._names, inputs))
