"""The config in force, and the way from it to another one.

By reload request or by a file that is polled. A config is applied whole or refused
whole; what was refused leaves nothing behind.
"""

import asyncio
import logging
from typing import Any

from salver.config.model_config import (
    ConfigKind,
    ModelServerConfig,
    read_model_config_file,
    validate,
    validate_platforms,
)
from salver.core.availability import wait_until_available
from salver.core.manager import Manager
from salver.errors import ServingError
from salver.sources.file_system import FileSystemSource, ModelSource
from salver.traffic.labels import LabelTable

logger = logging.getLogger(__name__)


class ServedModels:
    """Applies configs, one at a time. Loop only."""

    def __init__(
        self,
        manager: Manager[Any],
        source: FileSystemSource[Any],
        labels: LabelTable,
        allow_labels_for_unavailable: bool,
    ) -> None:
        self._manager = manager
        self._source = source
        self._labels = labels
        self._allow_labels_for_unavailable = allow_labels_for_unavailable
        self._running = ModelServerConfig()
        self._is_started = False
        self._applying = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None

    async def apply(self, new: ModelServerConfig) -> None:
        """Serve what `new` says; return when each model it adds is available.

        A config whose new models fail stays in force: the others are served, and the
        status tells what became of them.

        Raises:
            ServingError: the config is refused, or an added model did not become available.
        """
        async with self._applying:
            validate(new, self._running)
            if new.kind is ConfigKind.UNSET:
                logger.info("Taking no action for empty config.")
                return
            labels = {model.name: model.version_labels for model in new.models}
            self._labels.check(
                labels,
                self._manager.available_versions,
                allow_unavailable=self._allow_labels_for_unavailable,
            )
            validate_platforms(new)
            for model in new.models:
                self._source.require(model.base_path)
            self._labels.replace(labels)
            known = {model.name for model in self._running.models}
            self._running = new
            await self._serve(new, known)

    async def _serve(self, config: ModelServerConfig, known: set[str]) -> None:
        logger.info("Adding/updating models.")
        for model in config.models:
            logger.info(" (Re-)adding model: %s", model.name)
            if model.has_logging_config:
                logger.warning("Requests to %s are not logged: logging_config", model.name)
        self._source.set_models(
            [
                ModelSource(model.name, model.base_path, model.version_policy)
                for model in config.models
            ]
        )
        kind: Any = "model" if self._is_started else "servable"
        self._is_started = True
        await self._source.start()
        added = [model.name for model in config.models if model.name not in known]
        await wait_until_available(self._manager, added, kind)
        logger.info("Finished adding/updating models")

    def start_polling(self, path: str, wait_s: float) -> None:
        """From now on, read the config file every `wait_s` seconds and apply what changed."""
        self._polling = asyncio.create_task(self._poll(path, wait_s), name="poll config file")

    async def stop(self) -> None:
        """End the polling."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])

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
            try:
                await self.apply(config)
            except ServingError as error:
                logger.error(
                    "PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error.message
                )
            last = config
