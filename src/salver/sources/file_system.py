"""The source that finds versions on a file system, by looking at it from time to time.

Loop only; the looking is done on one thread of its own, so that slow storage
never holds up requests. Each model stands alone: a base path that is missing
keeps what is served of its own model and concerns no other one.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from salver.core.load_job import LoaderOf
from salver.core.servable import ServableId
from salver.core.stream import Aspired
from salver.sources.scan import Finding, Memory, ModelSource, look
from salver.sources.storage import Storage

__all__ = ["FileSystemSource", "ModelSource", "Target"]

_logger = logging.getLogger(__name__)

S = TypeVar("S")


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
            poll_wait_s: from the end of one scan to the next; 0 stands for scans at the start
                and with each change of the models only, a negative value for none at all.
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
        self._scanning = asyncio.Lock()
        self._changed = asyncio.Event()
        self._executor: ThreadPoolExecutor | None = None
        self._poller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch; the first scan starts at once. No effect if watching already."""
        if self._executor is not None:
            return
        self._executor = ThreadPoolExecutor(1, "salver-scan")
        if self._poll_wait_s >= 0:
            self._poller = asyncio.create_task(self._poll(), name="poll model storage")

    async def stop(self) -> None:
        """End watching. What is aspired stays so; a scan that hangs is left behind."""
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.cancel()
            await asyncio.wait([poller])
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def require(self, base_path: str) -> None:
        """Check that base paths of this kind can be watched; see `Storage.require`."""
        self._storage.require(base_path)

    def set_models(self, models: Iterable[ModelSource]) -> None:
        """Watch these models from now on, with a scan at once; the others are unloaded.

        A model whose base path or policy has changed keeps what it serves until a
        scan has found something there.
        """
        wanted = {model.name: model for model in models}
        for name in [name for name in self._watched if name not in wanted]:
            del self._watched[name]
            self._on_aspired(name, ())
            self._target.aspire(name, [])
        for name, model in wanted.items():
            self._watched.setdefault(name, _Watched(model)).model = model
        self._changed.set()

    async def scan_now(self) -> None:
        """Look at every model once, and aspire what is there."""
        if self._executor is None:
            return
        async with self._scanning:
            looks = [(watched, watched.model, watched.memory) for watched in self._watched.values()]
            storage = self._storage

            def scan() -> list[Finding]:
                return [look(model, memory, storage) for _, model, memory in looks]

            loop = asyncio.get_running_loop()
            findings = await loop.run_in_executor(self._executor, scan)
            for (watched, model, _), finding in zip(looks, findings, strict=True):
                # Whatever changed during the scan is looked at again by the next one.
                if self._watched.get(model.name) is watched and watched.model is model:
                    try:
                        self._take(watched, finding)
                    except Exception:
                        _logger.exception("Versions of servable %s cannot be aspired", model.name)

    async def _poll(self) -> None:
        """Scan for ever."""
        period_s = self._poll_wait_s or None
        while True:
            self._changed.clear()
            await self.scan_now()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), period_s)

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
