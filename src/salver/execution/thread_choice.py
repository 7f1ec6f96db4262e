"""How many threads share one run of a model, measured when it is loaded.

On CPUs, several runs side by side with one thread each nearly always get more done than one run
with several threads. Where it is otherwise, or where they get as much done and the single
run is quicker, several threads are better. What a version's own warm-up requests cost tells which
it is: the dearest of them is run for a moment with each number of threads, by one caller and by as
many as there are cores.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from salver.core.servable import Loader, Program, Servable
from salver.errors import ServingError
from salver.execution.prepared import PreparedServable

logger = logging.getLogger(__name__)

_SHORTEST_RUN_S = 1e-3
"""What is quicker has nothing in it that threads could share."""
_TRIAL_S = 0.15
"""For each number of threads, once by one caller and once by all."""
_FEWEST_RUNS = 3
_AS_GOOD = 0.95
"""More is not told apart from noise."""
_QUICKER = 0.9
"""More threads have to bring the time of a single run below so much of what it was."""
_LIKE = 2.0
"""A version whose runs cost up to so many times as much, or as little, is like the one before."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was seen: what it was given, and how long it took."""

    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    inputs: Sequence[np.ndarray]
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """What one number of threads in a run is good for."""

    single_s: float
    """A run, with no other beside it."""
    runs_per_s: float
    """Of as many callers as there are cores."""


def best_threads(paces: Mapping[int, Pace]) -> int:
    """The number of threads whose runs are quickest, of those that get the most done."""
    most = max(pace.runs_per_s for pace in paces.values())
    good = [n for n, pace in sorted(paces.items()) if pace.runs_per_s >= _AS_GOOD * most]
    chosen = good[0]
    for threads in good[1:]:
        if paces[threads].single_s < _QUICKER * paces[chosen].single_s:
            chosen = threads
    return chosen


def candidates(cores: int) -> list[int]:
    """The numbers of threads that are tried, the least first: 1, 2, 4 and so on, and all cores."""
    numbers = [1]
    while 2 * numbers[-1] < cores:
        numbers.append(2 * numbers[-1])
    return numbers if cores == 1 else [*numbers, cores]


Play = Callable[[PreparedServable], None]
"""Plays the warm-up requests of a version."""


def dearest_run(servable: Servable, play: Play) -> Run | None:
    """The longest of the runs that the warm-up requests ask for, None if they ask for none.

    Each is played twice: what a program does only once is not what it costs.

    Raises:
        ServingError: one of them fails.
    """
    play(PreparedServable(servable))
    recorder = _Recorder(servable)
    play(PreparedServable(recorder))
    return recorder.dearest


class _Recorder:
    """A servable that keeps the dearest of its runs."""

    def __init__(self, servable: Servable) -> None:
        self._servable = servable
        self.signatures = servable.signatures
        self.signature_def_map = servable.signature_def_map
        self.dearest: Run | None = None

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        program = self._servable.program(feeds, fetches)
        return _RecordedProgram(self, program, feeds, fetches)

    def saw(self, run: Run) -> None:
        if self.dearest is None or run.elapsed_s > self.dearest.elapsed_s:
            self.dearest = run


class _RecordedProgram:
    def __init__(
        self,
        recorder: _Recorder,
        program: Program,
        feeds: tuple[str, ...],
        fetches: tuple[str, ...],
    ) -> None:
        self._recorder = recorder
        self._program = program
        self._feeds = feeds
        self._fetches = fetches

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        started = perf_counter()
        outputs = self._program.run(inputs)
        elapsed_s = perf_counter() - started
        self._recorder.saw(Run(self._feeds, self._fetches, list(inputs), elapsed_s))
        return outputs


def measured_pace(servable: Servable, run: Run, cores: int) -> Pace:
    """Run it for a moment, by one caller and by `cores` at the same time.

    Raises:
        ServingError: it fails.
    """
    program = servable.program(run.feeds, run.fetches)
    program.run(run.inputs)
    single_s = 1.0 / _runs_per_s(program, run.inputs, 1)
    return Pace(single_s, _runs_per_s(program, run.inputs, cores))


def _runs_per_s(program: Program, inputs: Sequence[np.ndarray], callers: int) -> float:
    """Runs of all callers by the second, each caller's last run included.

    Raises:
        ServingError: a run fails.
    """
    paces: list[float] = []
    errors: list[ServingError] = []

    def call() -> None:
        runs = 0
        started = now = perf_counter()
        try:
            while now - started < _TRIAL_S or runs < _FEWEST_RUNS:
                program.run(inputs)
                runs += 1
                now = perf_counter()
        except ServingError as error:
            errors.append(error)
        else:
            paces.append(runs / (now - started))

    others = [threading.Thread(target=call, daemon=True) for _ in range(callers - 1)]
    for thread in others:
        thread.start()
    call()
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]
    return sum(paces)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for a version of a model."""

    threads: int
    run_s: float
    """What its dearest run took then, alone."""


class ThreadChoosingLoader:
    """Loads a version with the number of threads in a run that suits it best.

    Another number means another load, so that a version is loaded several times when its
    model is new. Later versions take over what was found, unless their runs cost quite another
    time.
    """

    def __init__(
        self,
        name: str,
        loader_of: Callable[[int], Loader],
        play: Play,
        cores: int,
        choices: dict[str, Choice],
        observe: Callable[[Servable, Play], Run | None] = dearest_run,
        measure: Callable[[Servable, Run, int], Pace] = measured_pace,
    ) -> None:
        """Store what is needed.

        Args:
            name: of the model.
            loader_of: makes a loader whose runs have so many threads.
            play: plays the version's warm-up requests.
            cores: how many callers there are at the most.
            choices: what was found for earlier versions, by name; the new choice is put there.
            observe: what its dearest request costs.
            measure: what a version with its number of threads is good for.
        """
        self._name = name
        self._loader_of = loader_of
        self._play = play
        self._cores = cores
        self._choices = choices
        self._observe = observe
        self._measure = measure
        self._loader: Loader | None = None
        self._servable: Servable | None = None
        self._threads = 0

    def load(self) -> Servable:
        """Load, measure, and load as it is best. From a load thread.

        Raises:
            ServingError: the version cannot be loaded.
        """
        known = self._choices.get(self._name)
        servable = self._loaded(1 if known is None else known.threads)
        try:
            run = self._observe(servable, self._play)
        except ServingError:
            # Whoever warms the version up afterwards meets the same error, and tells it.
            return servable
        if run is None or run.elapsed_s < _SHORTEST_RUN_S:
            return servable
        if known is not None and 1 / _LIKE <= run.elapsed_s / known.run_s <= _LIKE:
            return servable
        return self._measured(run)

    def _measured(self, run: Run) -> Servable:
        """The version with as many threads as are best for a run like this one."""
        paces: dict[int, Pace] = {}
        for threads in candidates(self._cores):
            try:
                paces[threads] = self._measure(self._loaded(threads), run, self._cores)
            except ServingError as error:
                logger.warning(
                    "%s is not measured with %d threads in a run: %s",
                    self._name, threads, error.message,
                )  # fmt: skip
        if not paces:
            return self._loaded(1)
        chosen = best_threads(paces)
        self._choices[self._name] = Choice(chosen, paces[chosen].single_s)
        logger.info(
            "Runs of %s have %s: %s", self._name, _threads(chosen), _told(paces, self._cores)
        )
        return self._loaded(chosen)

    def _loaded(self, threads: int) -> Servable:
        """The version with so many threads in a run, in the place of what was loaded before."""
        if self._servable is not None and self._threads == threads:
            return self._servable
        self.unload()
        # Kept first: if its load fails, `unload` gives back what it took.
        self._loader = self._loader_of(threads)
        self._servable, self._threads = self._loader.load(), threads
        return self._servable

    def unload(self) -> None:
        """See `Loader.unload`."""
        loader, self._loader, self._servable = self._loader, None, None
        if loader is not None:
            loader.unload()


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _told(paces: Mapping[int, Pace], cores: int) -> str:
    callers = "1 caller" if cores == 1 else f"{cores} callers"
    return "; ".join(
        f"with {_threads(threads)} {1e3 * pace.single_s:.1f} ms alone, "
        f"{pace.runs_per_s:.0f}/s by {callers}"
        for threads, pace in sorted(paces.items())
    )
