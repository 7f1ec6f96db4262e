"""The manager: keeps loaded what sources aspire, and lends it to requests.

It belongs to the loop and is touched from nowhere else; only loaders run on
threads of their own. Each servable stands alone: a slow or failing load never
holds up another one.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Generic, NoReturn, TypeVar

from salver.core.elastic_threads import ElasticThreads
from salver.core.events import EventBus
from salver.core.handle import Handle
from salver.core.load_job import LoadThreads, RetryOptions
from salver.core.policy import Policy, preserve_availability
from salver.core.servable import ServableId
from salver.core.state import VersionStatus
from salver.core.stream import Aspired, Stream, StreamContext
from salver.errors import FailedPrecondition, NotFound

S = TypeVar("S")

_LOAD_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """How versions are loaded and replaced."""

    load_threads: int = 0
    """Loads that run at the same time.

    0 or less stands for four per CPU core, as storage is slow, and one more for each load that
    takes longer than ten seconds, so that loads that hang hold up no other model.
    """
    unload_threads: int = 0
    """Unloads that run at the same time; 0 or less stands for one per CPU core."""
    max_load_retries: int = 5
    """Further attempts after a failed load; negative stands for no limit."""
    load_retry_interval_s: float = 60.0
    """Rest between two attempts; negative stands for none."""
    policy: Policy = preserve_availability


class Manager(Generic[S]):
    """Owns every loaded version. Loop only, from `start` to `stop`."""

    def __init__(self, options: ManagerOptions, events: EventBus) -> None:
        self.events = events
        self._options = options
        self._streams: dict[str, Stream[S]] = {}
        self._latest: dict[str, Handle[S]] = {}
        self._exact: dict[str, dict[int, Handle[S]]] = {}
        self._context: StreamContext | None = None
        self._load_threads: ElasticThreads | None = None
        self._unload_executor: ThreadPoolExecutor | None = None
        self._emptied: asyncio.Event | None = None

    def start(self) -> None:
        """Make the threads. Called on the loop that will own the manager."""
        cores = os.cpu_count() or 1
        options = self._options
        loop = asyncio.get_running_loop()
        load = ElasticThreads(
            "salver-load",
            options.load_threads if options.load_threads > 0 else 4 * cores,
            None if options.load_threads > 0 else _LOAD_PATIENCE_S,
            loop,
        )
        unload_threads = options.unload_threads if options.unload_threads > 0 else cores
        unload = ThreadPoolExecutor(unload_threads, "salver-unload")
        self._load_threads, self._unload_executor = load, unload
        self._context = StreamContext(
            options.policy,
            RetryOptions(options.max_load_retries, options.load_retry_interval_s),
            LoadThreads(loop, load.lane("")),
            unload,
            self.events,
        )

    async def stop(self, grace_s: float | None = None) -> list[ServableId]:
        """Unload everything; wait for requests and running loads `grace_s` at most.

        Returns the versions that were not unloaded in time, none without a limit. A
        load that hangs keeps its thread: such a process ends with `os._exit` only.
        """
        emptied = self._emptied = asyncio.Event()
        for stream in self._streams.values():
            stream.aspire([])
        if any(not stream.empty for stream in self._streams.values()):
            try:
                await asyncio.wait_for(emptied.wait(), grace_s)
            except TimeoutError:
                # The threads stay for those who come late; they are idle until then.
                return sorted(id for stream in self._streams.values() for id in stream.living())
        if self._load_threads is not None:
            self._load_threads.stop()
        if self._unload_executor is not None:
            self._unload_executor.shutdown(wait=False)
        return []

    def aspire(self, name: str, versions: Sequence[Aspired[S]]) -> None:
        """Make this the whole set of aspired versions of one servable; [] unloads all.

        A version that is aspired already keeps the loader it has. One that ended in
        an error is tried again only after it was absent from a list.
        """
        if self._emptied is not None:
            return
        if self._context is None or self._load_threads is None:
            raise FailedPrecondition("The manager is not started")
        stream = self._streams.get(name)
        if stream is None:
            if not versions:
                return
            threads = replace(self._context.threads, executor=self._load_threads.lane(name))
            context = replace(self._context, threads=threads)
            stream = Stream(name, context, lambda: self._show(name))
            self._streams[name] = stream
        stream.aspire(versions)

    def acquire(self, name: str, version: int | None = None) -> Handle[S]:
        """Pin the highest version that is available, or exactly this one.

        Raises:
            NotFound: there is none.
        """
        try:
            handle = self._latest[name] if version is None else self._exact[name][version]
        except KeyError:
            _refuse(name, version)
        handle.uses += 1
        return handle

    def available(self) -> list[tuple[ServableId, S]]:
        """Every version that answers now, not pinned: for those who look at it on the loop."""
        versions = (handle for each in self._exact.values() for handle in each.values())
        return [(handle.id, handle.servable) for handle in versions]

    def names(self) -> list[str]:
        """Every servable that ever had a version."""
        return [name for name, stream in self._streams.items() if stream.history]

    def statuses(self, name: str) -> list[VersionStatus]:
        """Every version there ever was, highest first; [] for an unknown servable."""
        stream = self._streams.get(name)
        if stream is None:
            return []
        return [stream.history[version] for version in sorted(stream.history, reverse=True)]

    def aspired_statuses(self, name: str) -> list[VersionStatus]:
        """The versions that are aspired now, highest first; failed ones among them."""
        stream = self._streams.get(name)
        return [] if stream is None else stream.aspired_statuses()

    def available_versions(self, name: str) -> tuple[int, ...]:
        """The versions that answer now, highest first."""
        return tuple(sorted(self._exact.get(name, ()), reverse=True))

    def _show(self, name: str) -> None:
        """Let requests see what the stream offers now."""
        available = self._streams[name].available
        if available:
            self._exact[name] = available
            self._latest[name] = available[max(available)]
        else:
            self._exact.pop(name, None)
            self._latest.pop(name, None)
        if self._emptied is not None and all(stream.empty for stream in self._streams.values()):
            self._emptied.set()


def _refuse(name: str, version: int | None) -> NoReturn:
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    raise NotFound(f"Servable not found for request: {wanted}") from None
