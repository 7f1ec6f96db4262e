"""The source that finds versions on a file system, by looking at it from time to time.

Loop only; the looking is done on threads, so that slow storage never holds up
requests. Each model stands alone: a base path that is missing, or does not answer,
keeps what is served of its own model and concerns no other one.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

from salver.core.elastic_threads import ElasticThreads
from salver.core.load_job import LoaderOf
from salver.core.servable import ServableId
from salver.core.stream import Aspired
from salver.sources.scan import Finding, Memory, ModelSource, look, look_at_kept, shown
from salver.sources.storage import Storage
from salver.sources.uri import scheme_of

__all__ = ["FileSystemSource", "ModelSource", "Target"]

_logger = logging.getLogger(__name__)

S = TypeVar("S")

_LOCAL_THREADS, _LOCAL_PATIENCE_S = 1, 0.1
"""A look at a local folder takes microseconds, unless the folder hangs."""
_REMOTE_THREADS, _REMOTE_PATIENCE_S = 16, 1.0
"""One at remote storage takes some round trips, and many can wait for them together."""
_TOLD_AFTER_S = 10.0
_BEGUN_AT_ONCE = 50
"""Looks that begin in one turn of the loop: a thousand would be felt by requests."""


class Target(Protocol[S]):
    """What a source feeds; the manager."""

    def aspire(self, name: str, versions: Sequence[Aspired[S]]) -> None:
        """See `Manager.aspire`."""

    def available_versions(self, name: str) -> tuple[int, ...]:
        """See `Manager.available_versions`."""


@dataclass(slots=True, eq=False)
class _Watched:
    model: ModelSource
    memory: Memory = field(default_factory=Memory)
    aspired: dict[int, str] | None = None
    look: "_Look | None" = None
    is_new: bool = True
    """Whether no look at the base path has begun."""


@dataclass(slots=True, eq=False)
class _Look:
    """One look at a base path, from the time when it is asked for."""

    model: ModelSource
    ended: asyncio.Future[None]
    asked_at: float
    is_told: bool = False
    """Whether it was said that it takes long."""


class FileSystemSource(Generic[S]):
    """Aspires the versions that lie under the base paths of its models."""

    def __init__(
        self,
        *,
        poll_wait_s: float,
        make_loader: Callable[[ServableId, str], LoaderOf[S]],
        target: Target[S],
        storage: Storage,
        on_aspired: Callable[[str, Collection[str]], None] | None = None,
    ) -> None:
        """Store what is needed; nothing happens before `start`.

        Args:
            poll_wait_s: from one scan to the next; 0 stands for one look at each base path, a
                negative value for none at all.
            make_loader: takes an id and the path of a version; called on the loop, and cheap.
            target: the manager.
            storage: where base paths are looked up.
            on_aspired: told the name of a model and the paths of all its aspired versions, before
                the manager is, each time they change. Called on the loop.
        """
        self._poll_wait_s = poll_wait_s
        self._make_loader = make_loader
        self._target = target
        self._storage = storage
        self._on_aspired = on_aspired or (lambda name, paths: None)
        self._watched: dict[str, _Watched] = {}
        self._changed = asyncio.Event()
        self._local_threads: ElasticThreads | None = None
        self._remote_threads: ElasticThreads | None = None
        self._poller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch; the first scan starts at once. No effect if watching already."""
        if self._local_threads is not None:
            return
        loop = asyncio.get_running_loop()
        self._local_threads = ElasticThreads("salver-scan", _LOCAL_THREADS, _LOCAL_PATIENCE_S, loop)
        self._remote_threads = ElasticThreads(
            "salver-scan-remote", _REMOTE_THREADS, _REMOTE_PATIENCE_S, loop
        )
        if self._poll_wait_s >= 0:
            self._poller = asyncio.create_task(self._poll(), name="poll model storage")

    async def stop(self) -> None:
        """End watching. What is aspired stays so; looks that hang are left behind."""
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.cancel()
            await asyncio.wait([poller])
        for threads in (self._local_threads, self._remote_threads):
            if threads is not None:
                threads.stop()
        self._local_threads = self._remote_threads = None

    def require(self, base_path: str) -> None:
        """Check that base paths of this kind can be watched; see `Storage.require`."""
        self._storage.require(base_path)

    def set_models(self, models: Iterable[ModelSource]) -> None:
        """Watch these models from now on, with a scan at once; the others are unloaded.

        A model whose base path or policy has changed keeps what it serves until a
        scan has found something there. If base paths are looked at only once, then no
        other policy changes anything.
        """
        wanted = {model.name: model for model in models}
        for name in [name for name in self._watched if name not in wanted]:
            del self._watched[name]
            self._on_aspired(name, ())
            self._target.aspire(name, [])
        for name, model in wanted.items():
            watched = self._watched.setdefault(name, _Watched(model))
            watched.is_new |= watched.model.base_path != model.base_path
            watched.model = model
        self._changed.set()

    async def scan_now(self) -> None:
        """Look at every model once, and aspire what is there."""
        await asyncio.gather(*map(self._look_anew, list(self._watched.values())))

    async def _look_anew(self, watched: _Watched) -> None:
        if watched.look is not None and watched.look.model == watched.model:
            await watched.look.ended
        self._begin_look(watched)
        if watched.look is not None:
            await watched.look.ended

    async def _poll(self) -> None:
        """Scan for ever."""
        period_s = self._poll_wait_s or None
        while True:
            self._changed.clear()
            for number, watched in enumerate(list(self._watched.values()), 1):
                if watched.is_new or period_s is not None:
                    self._begin_look(watched)
                self._tell_if_long(watched)
                if number % _BEGUN_AT_ONCE == 0:
                    await asyncio.sleep(0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), period_s)

    def _begin_look(self, watched: _Watched) -> None:
        """Look at a model, unless the last look at it has not ended yet."""
        model = watched.model
        is_looking = watched.look is not None and watched.look.model == model
        threads = self._remote_threads if scheme_of(model.base_path) else self._local_threads
        if threads is None or is_looking:
            return
        # One at a base path that is not the model's any more is left to itself.
        loop = asyncio.get_running_loop()
        begun = watched.look = _Look(model, loop.create_future(), loop.time())
        watched.is_new = False
        memory, storage = watched.memory, self._storage

        def work() -> None:
            finding = look(model, memory, storage)
            with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(partial(self._end_look, watched, begun, finding))

        threads.submit(model.name, work)

    def _end_look(self, watched: _Watched, ended: _Look, finding: Finding) -> None:
        model = ended.model
        if watched.look is ended:
            watched.look = None
        is_watched = self._watched.get(model.name) is watched
        if is_watched and watched.model != model and self._poll_wait_s == 0:
            self._begin_look(watched)  # No period will.
        elif is_watched and watched.model == model and self._local_threads is not None:
            if ended.is_told:
                _logger.info("Base path %s of servable %s answers again", shown(model), model.name)
            try:
                self._take(watched, finding)
            except Exception:
                _logger.exception("Versions of servable %s cannot be aspired", model.name)
        if not ended.ended.done():
            ended.ended.set_result(None)

    def _tell_if_long(self, watched: _Watched) -> None:
        begun = watched.look
        if begun is None or begun.is_told:
            return
        seconds = asyncio.get_running_loop().time() - begun.asked_at
        if seconds >= _TOLD_AFTER_S:
            begun.is_told = True
            _logger.error(
                "Base path %s of servable %s has not answered for %.0f s; "
                "its versions stay as they are",
                shown(begun.model),
                begun.model.name,
                seconds,
            )
            if not watched.memory.answered:
                self._look_at_kept(watched, begun)

    def _look_at_kept(self, watched: _Watched, begun: _Look) -> None:
        """Have what was kept stand in while a first look hangs."""
        if self._local_threads is None:
            return
        loop = asyncio.get_running_loop()
        memory, storage = watched.memory, self._storage

        def work() -> None:
            finding = look_at_kept(begun.model, memory, storage)
            with suppress(RuntimeError):  # As above.
                loop.call_soon_threadsafe(partial(self._take_kept, watched, begun, finding))

        self._local_threads.submit(begun.model.name, work)

    def _take_kept(self, watched: _Watched, begun: _Look, finding: Finding) -> None:
        if watched.look is begun and self._watched.get(begun.model.name) is watched:
            self._take(watched, finding)

    def _take(self, watched: _Watched, finding: Finding) -> None:
        if finding.paths is not None:
            self._aspire_found(watched, dict(finding.paths), finding.renewed)
        watched.memory = finding.memory

    def _aspire_found(
        self, watched: _Watched, paths: dict[int, str], renewed: frozenset[int]
    ) -> None:
        name = watched.model.name
        self._on_aspired(name, paths.values())
        failed = renewed.difference(self._target.available_versions(name))
        if failed:
            # Only what was absent once is tried again.
            self._aspire(name, {v: path for v, path in paths.items() if v not in failed})
        if failed or paths != watched.aspired:
            self._aspire(name, paths)
        watched.aspired = paths

    def _aspire(self, name: str, paths: dict[int, str]) -> None:
        versions = [
            Aspired(version, self._make_loader(ServableId(name, version), path))
            for version, path in paths.items()
        ]
        self._target.aspire(name, versions)
