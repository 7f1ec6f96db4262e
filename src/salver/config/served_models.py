"""The config in force, and the way from it to another one.

By reload request or by a file that is polled. A config is applied whole or refused
whole; what was refused leaves nothing behind.
"""

import asyncio
import logging
from collections.abc import Callable, Container, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from salver.config.model_config import (
    ConfigKind,
    ModelServerConfig,
    platform_of,
    read_model_config_file,
    validate,
    validate_platforms,
)
from salver.config.request_logging import request_logs_of
from salver.core.availability import Kind, Withdrawals, wait_until_available
from salver.core.events import ModelsConfigured
from salver.core.manager import Manager
from salver.errors import ServingError
from salver.sources.file_system import FileSystemSource, ModelSource
from salver.telemetry.request_log import RequestLogSettings
from salver.traffic.labels import LabelTable

logger = logging.getLogger(__name__)


class ServedModels:
    """Applies configs, one at a time. Loop only.

    A model that does not arrive, because its base path is missing or its load is slow, holds up
    the call that added it, and no later config: so a mistake can be mended by the next one.
    """

    def __init__(
        self,
        manager: Manager[Any],
        source: FileSystemSource[Any],
        labels: LabelTable,
        allow_labels_for_unavailable: bool,
        log_requests: Callable[[Mapping[str, RequestLogSettings]], None],
        platforms: Container[str],
        use_platforms: Callable[[Mapping[str, str]], None],
    ) -> None:
        """Store what is needed.

        Args:
            manager: tells which versions there are.
            source: is told what to serve.
            labels: is told which labels there are.
            allow_labels_for_unavailable: see the flag.
            log_requests: is told what to log, by the name of the model.
            platforms: those that a config may ask for.
            use_platforms: is told the platform of each model that is served from now on.
        """
        self._manager = manager
        self._source = source
        self._labels = labels
        self._allow_labels_for_unavailable = allow_labels_for_unavailable
        self._log_requests = log_requests
        self._platforms = platforms
        self._use_platforms = use_platforms
        self._running = ModelServerConfig()
        self._is_started = False
        self._applying = asyncio.Lock()
        self._withdrawals = Withdrawals()
        self._tasks: set[asyncio.Task[None]] = set()

    async def apply(self, new: ModelServerConfig) -> None:
        """Serve what `new` says; return when each model it adds is available.

        A config whose new models fail stays in force: the others are served, and the
        status tells what became of them. Models that a later config takes out are not waited for.

        Raises:
            ServingError: the config is refused, or an added model did not become available.
        """
        added = await self._put_in_force(new)
        if added is not None:
            await self._wait_for(added)

    async def _put_in_force(self, new: ModelServerConfig) -> "_Added | None":
        """Serve what `new` says from now on; return what it adds, None if it says nothing.

        Raises:
            ServingError: the config is refused.
        """
        async with self._applying:
            validate(new, self._running)
            if new.kind is ConfigKind.UNSET:
                logger.info("Taking no action for empty config.")
                return None
            labels = {model.name: model.version_labels for model in new.models}
            self._labels.check(
                labels,
                self._manager.available_versions,
                allow_unavailable=self._allow_labels_for_unavailable,
            )
            validate_platforms(new, self._platforms)
            request_logs = request_logs_of(new.models)
            for model in new.models:
                self._source.require(model.base_path)
            self._labels.replace(labels)
            self._log_requests(request_logs)
            self._use_platforms({model.name: platform_of(model) for model in new.models})
            known = {model.name for model in self._running.models}
            self._running = new
            names = tuple(model.name for model in new.models)
            self._manager.events.publish(ModelsConfigured(names))
            await self._serve(new)
            kind: Kind = "model" if self._is_started else "servable"
            self._is_started = True
            return _Added(tuple(name for name in names if name not in known), kind)

    async def _wait_for(self, added: "_Added") -> None:
        await wait_until_available(self._manager, added.names, added.kind, self._withdrawals)
        logger.info("Finished adding/updating models")

    async def _serve(self, config: ModelServerConfig) -> None:
        logger.info("Adding/updating models.")
        for model in config.models:
            logger.info(" (Re-)adding model: %s", model.name)
            if model.model_type:
                logger.warning(
                    "Deprecated ModelServerConfig::model_type field used. "
                    "Prefer ModelServerConfig::model_platform."
                )
        self._source.set_models(
            [
                ModelSource(model.name, model.base_path, model.version_policy)
                for model in config.models
            ]
        )
        self._withdrawals.keep_only({model.name for model in config.models})
        await self._source.start()

    def start_polling(self, path: str, wait_s: float) -> None:
        """From now on, read the config file every `wait_s` seconds and apply what changed."""
        self._spawn(self._poll(path, wait_s), "poll config file")

    async def stop(self) -> None:
        """End the polling."""
        tasks = self._tasks.copy()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _poll(self, path: str, wait_s: float) -> None:
        # Applied again only when the file says something new: otherwise every period would
        # undo what a reload request has changed meanwhile.
        last = self._running
        while True:
            await asyncio.sleep(wait_s)
            try:
                config = await asyncio.to_thread(read_model_config_file, path)
            except ServingError as error:
                logger.error("Failed to read ModelServerConfig file: %s", error.message)
                continue
            if config == last:
                continue
            with _told():
                added = await self._put_in_force(config)
                if added is not None:
                    self._spawn(self._await_polled(added), "wait for models of the config file")
            last = config

    async def _await_polled(self, added: "_Added") -> None:
        with _told():
            await self._wait_for(added)


@dataclass(frozen=True, slots=True)
class _Added:
    """The models that a config brought, and what they are called in messages."""

    names: tuple[str, ...]
    kind: Kind


@contextmanager
def _told() -> Iterator[None]:
    """Log what is wrong with the config in the file; the next one may be better."""
    try:
        yield
    except ServingError as error:
        logger.error("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error.message)
