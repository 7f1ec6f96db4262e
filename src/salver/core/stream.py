"""All versions of one servable: which are wanted, how far each is, which answer.

Loop only. A list of aspired versions takes effect at once; loads and unloads are
chosen in the next turn of the loop, so that lists that follow each other closely
cost nothing. There is no tick: each end of a load or an unload wakes the stream.

A version that has left the aspired set is wound down to its end, and only then
begins a new life: so a version that is taken away and put back is read afresh. A
list that names such a version is postponed until that is over, or until nothing
more would happen without it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from salver.core.events import Drained, EventBus, StateChanged
from salver.core.handle import Handle
from salver.core.load_job import LoaderOf, LoadJob, LoadThreads, RetryOptions, unload
from salver.core.policy import Load, Policy, Snapshot
from salver.core.servable import ServableId
from salver.core.state import State, VersionStatus, checked_move
from salver.errors import ServingError

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Aspired(Generic[S]):
    """One version that a source wants served, and what makes it ready."""

    version: int
    loader: LoaderOf[S]


@dataclass(frozen=True, slots=True)
class StreamContext:
    """What all streams of a manager share."""

    policy: Policy
    retry: RetryOptions
    threads: LoadThreads
    unload_executor: Executor
    events: EventBus


@dataclass(slots=True, eq=False)
class _Life(Generic[S]):
    """One version between its START and its END."""

    id: ServableId
    loader: LoaderOf[S]
    aspired: bool = True
    state: State = State.START
    job: LoadJob[S] | None = field(default=None, repr=False)

    @property
    def snapshot(self) -> Snapshot:
        state = State.LOADING if self.job is not None else self.state
        return Snapshot(self.id.version, state, self.aspired)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way that will wake the stream soon."""
        if self.job is not None:
            return self.job.pausing
        return self.state is not State.UNLOADING


class Stream(Generic[S]):
    """The versions under one name. `on_changed` is called when versions appear, hide or go."""

    def __init__(self, name: str, context: StreamContext, on_changed: Callable[[], None]) -> None:
        self.name = name
        self.available: dict[int, Handle[S]] = {}
        """The versions that answer; replaced, not changed."""
        self.history: dict[int, VersionStatus] = {}
        """The last word about every version there ever was."""
        self._context = context
        self._on_changed = on_changed
        self._lives: dict[int, _Life[S]] = {}
        self._postponed: dict[int, Aspired[S]] | None = None
        self._woken = False

    @property
    def empty(self) -> bool:
        """Whether every version has ended and none is to come."""
        return not self._lives and self._postponed is None

    def living(self) -> list[ServableId]:
        """The versions that hold resources, or will."""
        return [life.id for life in self._lives.values() if life.state is not State.END]

    def aspired_statuses(self) -> list[VersionStatus]:
        """The versions of the aspired list in force, highest first."""
        aspired = [version for version, life in self._lives.items() if life.aspired]
        return [self.history[version] for version in sorted(aspired, reverse=True)]

    def aspire(self, versions: Sequence[Aspired[S]]) -> None:
        """Make this the whole set of aspired versions."""
        wanted = {aspired.version: aspired for aspired in versions}
        if self._revives(wanted):
            self._postponed = wanted
        else:
            self._postponed = None
            self._apply(wanted)
        self._wake()

    def _revives(self, wanted: dict[int, Aspired[S]]) -> bool:
        return any(not life.aspired for version, life in self._lives.items() if version in wanted)

    def _apply(self, wanted: dict[int, Aspired[S]]) -> None:
        for version, life in list(self._lives.items()):
            if version in wanted:
                life.aspired = True
            elif life.aspired:
                self._drop(life)
        for version, aspired in wanted.items():
            if version not in self._lives:
                self._lives[version] = _Life(ServableId(self.name, version), aspired.loader)
                self._tell(self._lives[version])

    def _drop(self, life: _Life[S]) -> None:
        """It has left the aspired set; what is available stays for the policy to unload."""
        life.aspired = False
        if life.job is not None:
            life.job.cancel()
        elif life.state is State.START:
            self._move(life, State.END)
        elif life.state is State.END:
            self._forget(life)

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._context.threads.loop.call_soon(self._settle)

    def _settle(self) -> None:
        """Do everything that can be done now."""
        self._woken = False
        while True:
            if self._postponed is not None and not self._revives(self._postponed):
                self._apply_postponed()
            step = self._context.policy([life.snapshot for life in self._lives.values()])
            if step is not None:
                life = self._lives[step.version]
                (self._load if isinstance(step, Load) else self._unload)(life)
            elif self._postponed is not None and self._at_rest():
                # What should have replaced the stale version has failed: it stays after all.
                self._apply_postponed()
            else:
                return

    def _at_rest(self) -> bool:
        return all(life.at_rest for life in self._lives.values())

    def _apply_postponed(self) -> None:
        wanted, self._postponed = self._postponed, None
        self._apply(wanted or {})

    def _load(self, life: _Life[S]) -> None:
        context = self._context

        def on_loaded(servable: S) -> None:
            life.job = None
            self.available = {**self.available, life.id.version: Handle(life.id, servable)}
            self._on_changed()
            self._move(life, State.AVAILABLE)
            self._wake()

        def on_failed(error: ServingError) -> None:
            life.job = None
            self._move(life, State.END, error)
            self._wake()

        life.job = LoadJob(life.id, life.loader, context.retry, context.threads, context.events)
        life.job.start(lambda: self._move(life, State.LOADING), on_loaded, on_failed)

    def _unload(self, life: _Life[S]) -> None:
        context = self._context

        def on_idle() -> None:
            context.events.publish(Drained(life.id))
            context.unload_executor.submit(run)

        def run() -> None:
            unload(life.id, life.loader)
            context.threads.loop.call_soon_threadsafe(on_unloaded)

        def on_unloaded() -> None:
            self._move(life, State.END)
            self._wake()

        self._move(life, State.UNLOADING)
        handle = self.available[life.id.version]
        self.available = {v: h for v, h in self.available.items() if h is not handle}
        self._on_changed()
        handle.retire(on_idle)

    def _move(self, life: _Life[S], state: State, error: ServingError | None = None) -> None:
        life.state = checked_move(life.state, state)
        self._tell(life, error)
        if state is State.END and not life.aspired:
            self._forget(life)

    def _forget(self, life: _Life[S]) -> None:
        del self._lives[life.id.version]
        self._on_changed()

    def _tell(self, life: _Life[S], error: ServingError | None = None) -> None:
        self.history[life.id.version] = VersionStatus(life.id.version, life.state, error)
        self._context.events.publish(StateChanged(life.id, life.state, error))
