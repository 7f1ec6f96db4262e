"""Fakes that several test folders share: loaders, a manager's target, a loop turned by hand."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from salver.core.events import EventBus, LoadFailed, StateChanged
from salver.core.servable import ServableId
from salver.core.state import State
from salver.core.stream import Aspired
from salver.errors import ServingError

LIMIT_S = 20.0
"""No test waits longer for what should come at once."""

T = TypeVar("T")


class FakeServable:
    """What a FakeLoader makes."""

    def __init__(self, label: object = "") -> None:
        self.label = label


class FakeLoader:
    """Fails as often as told, waits where told, and counts."""

    def __init__(
        self,
        label: object = "",
        *,
        failures: Sequence[BaseException] = (),
        gate: threading.Event | None = None,
        unload_gate: threading.Event | None = None,
    ) -> None:
        self.label = label
        self.loads = 0
        self.unloads = 0
        self.threads: set[str] = set()
        self._failures = list(failures)
        self._gate = gate
        self._unload_gate = unload_gate

    def load(self) -> FakeServable:
        self.loads += 1
        self.threads.add(threading.current_thread().name)
        if self._gate is not None:
            assert self._gate.wait(LIMIT_S)
        if self._failures:
            raise self._failures.pop(0)
        return FakeServable(self.label)

    def unload(self) -> None:
        if self._unload_gate is not None:
            assert self._unload_gate.wait(LIMIT_S)
        self.threads.add(threading.current_thread().name)
        self.unloads += 1


class EventLog:
    """Remembers the states of versions and lets a test wait for one of them."""

    def __init__(self, events: EventBus) -> None:
        self.states: list[tuple[str, int, str]] = []
        self.events: list[StateChanged] = []
        self.failures: list[LoadFailed] = []
        self._changed = asyncio.Event()
        events.subscribe(StateChanged, self._note)
        events.subscribe(LoadFailed, self._note_failure)

    def _note_failure(self, event: LoadFailed) -> None:
        self.failures.append(event)
        self._changed.set()

    def _note(self, event: StateChanged) -> None:
        self.events.append(event)
        self.states.append((event.id.name, event.id.version, event.state.name))
        self._changed.set()

    def of(self, name: str) -> list[tuple[int, str]]:
        """The states of one servable's versions in the order of their coming."""
        return [(version, state) for owner, version, state in self.states if owner == name]

    async def until(self, name: str, version: int, state: State, times: int = 1) -> StateChanged:
        """Wait until a version has entered a state so often; returns the last such event."""

        def found() -> StateChanged | None:
            hits = [
                e for e in self.events if e.id == ServableId(name, version) and e.state is state
            ]
            return hits[times - 1] if len(hits) >= times else None

        return await self.until_true(found)

    async def until_failed(self, name: str, version: int) -> None:
        """Wait until an attempt to load a version has failed; it pauses then, or has ended."""
        await self.until_true(
            lambda: any(e.id == ServableId(name, version) for e in self.failures) or None
        )

    async def until_true(self, condition: Callable[[], T | None]) -> T:
        """Wait until a condition over the states is fulfilled; returns what it returns."""
        async with asyncio.timeout(LIMIT_S):
            while not (result := condition()):
                self._changed.clear()
                await self._changed.wait()
        return result


async def turn_loop(times: int = 10) -> None:
    """Let everything run that is ready, so that what does not happen can be told."""
    for _ in range(times):
        await asyncio.sleep(0)


@dataclass
class FakeTarget:
    """Stands for the manager behind a source: keeps the lists, serves what it is told to serve."""

    lists: list[tuple[str, list[int]]] = field(default_factory=list)
    available: dict[str, tuple[int, ...]] = field(default_factory=dict)
    paths: dict[tuple[str, int], str] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def aspire(self, name: str, versions: Sequence[Aspired[str]]) -> None:
        self.lists.append((name, [aspired.version for aspired in versions]))
        self.changed.set()
        for aspired in versions:
            self.paths[name, aspired.version] = aspired.loader.load()

    def available_versions(self, name: str) -> tuple[int, ...]:
        return self.available.get(name, ())

    async def until(self, name: str, versions: list[int]) -> None:
        """Wait until these versions of a model have been aspired."""
        async with asyncio.timeout(LIMIT_S):
            while (name, versions) not in self.lists:
                self.changed.clear()
                await self.changed.wait()

    def take(self) -> list[tuple[str, list[int]]]:
        """The lists since the last take."""
        taken, self.lists = self.lists, []
        return taken


@dataclass
class PathLoader:
    """Its servable is its path."""

    path: str

    def load(self) -> str:
        return self.path

    def unload(self) -> None:
        pass


@dataclass
class HandTurnedTimer:
    """A pause that ends when the test says so."""

    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class HandTurnedLoop:
    """The part of a loop that versions need, with nothing running by itself."""

    def __init__(self) -> None:
        self._ready: list[Callable[[], None]] = []
        self._timers: list[HandTurnedTimer] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._ready.append(callback)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self._ready.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> HandTurnedTimer:
        timer = HandTurnedTimer(callback)
        self._timers.append(timer)
        return timer

    def turn(self) -> bool:
        """Run what is ready now; tells whether there was anything."""
        ready, self._ready = self._ready, []
        for callback in ready:
            callback()
        return bool(ready)

    def fire_timers(self) -> bool:
        """Let all pauses be over; tells whether there were any."""
        due = [timer for timer in self._timers if not timer.cancelled]
        self._timers = []
        for timer in due:
            timer.callback()
        return bool(due)


class HandTurnedExecutor(Executor):
    """Threads whose work begins and ends when the test says so."""

    def __init__(self) -> None:
        self.queued: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.running: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.queued.append((future, lambda: fn(*args, **kwargs)))
        return future

    def begin(self, index: int) -> None:
        future, work = self.queued.pop(index)
        if future.set_running_or_notify_cancel():
            self.running.append((future, work))

    def finish(self, index: int) -> None:
        future, work = self.running.pop(index)
        future.set_result(work())


def failure(error: ServingError | None) -> str | None:
    """The status text of an error, None for none."""
    return None if error is None else error.status
