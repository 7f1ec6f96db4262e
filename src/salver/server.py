"""The composition root: makes every part, starts them in order, and ends them in reverse.

The order of the start is TensorFlow Serving's, because probes depend on it: the
models first, and no port is open before each of them has settled.
"""

import asyncio
import gc
import logging
import os
import signal

import uvloop

from salver.backends.registry import Backends
from salver.config.flags import Flags, schedulable_cpus
from salver.config.served_models import ServedModels
from salver.config.settings import Settings, read_settings
from salver.config.tls_watch import CertificateWatcher
from salver.core.availability import wait_until_settled
from salver.core.events import EventBus, StateChanged
from salver.core.manager import Manager, ManagerOptions
from salver.core.state import State
from salver.errors import InvalidArgument
from salver.execution.batch_turns import BatchThreads
from salver.execution.batcher import Batcher, BatcherOptions
from salver.execution.lanes import Lanes, Way
from salver.execution.nap import Nap
from salver.execution.prepared import PreparedServable
from salver.execution.runner import Runner, RunnerOptions
from salver.front import Front, Parts
from salver.loaders import Loaders
from salver.service.health import Health
from salver.sources.file_system import FileSystemSource
from salver.sources.storage import LocalAndRemote, LocalStorage
from salver.telemetry.access_logging import AccessLogging
from salver.telemetry.log_lines import log_versions
from salver.telemetry.record_file import FileLimits
from salver.telemetry.request_logging import RequestLogging, RequestLogOptions
from salver.telemetry.serving_metrics import ServingMetrics
from salver.traffic.labels import LabelTable
from salver.transport.connection import ConnectionOptions
from salver.transport.listener import Listener

logger = logging.getLogger(__name__)

_ENDED_AT_ONCE = 1
_OTHER_VERSIONS_S = 1.0
"""The longest that the ports wait for further versions, once each model has one."""
# Objects of requests under way come and go by the thousand, and are no garbage: with Python's own
# threshold of 700 a busy server spent four hundredths of its time on looking for some.
_MOST_UNCOLLECTED = 10_000


def run(flags: Flags) -> int:
    """Serve until a signal ends it, and return the exit code.

    Raises:
        ServingError: the server could not start.
    """
    settings = read_settings(flags)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    server = Server(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, number, stopping)
    starting = loop.create_task(server.start())
    asked_to_stop = loop.create_task(stopping.wait())
    await asyncio.wait({starting, asked_to_stop}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        try:
            starting.result()
            await asked_to_stop
            await server.leave()
        finally:
            asked_to_stop.cancel()
            await server.stop()
    else:
        # A load cannot be broken off: the process ends without waiting for it.
        logger.info("Stopped while the models were loading")
        logging.shutdown()
        os._exit(0)
    return 0


def _on_signal(number: int, stopping: asyncio.Event) -> None:
    if stopping.is_set():
        logger.warning("Ended at once by a second signal")
        logging.shutdown()
        os._exit(_ENDED_AT_ONCE)
    logger.info("%s: finishing what is in flight", signal.Signals(number).name)
    stopping.set()


class Server:
    """Everything that runs in the process. Loop only."""

    def __init__(self, settings: Settings) -> None:
        flags = self._flags = settings.flags
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._events = EventBus()
        self._metrics = ServingMetrics()
        backends = Backends()
        self._loaders = Loaders(settings, self._metrics, backends)
        self._events.subscribe(StateChanged, self._loaders.on_state)
        self._manager: Manager[PreparedServable] = Manager(
            ManagerOptions(
                load_threads=flags.num_load_threads,
                unload_threads=flags.num_unload_threads,
                max_load_retries=flags.max_num_load_retries,
                load_retry_interval_s=flags.load_retry_interval_micros / 1e6,
            ),
            self._events,
        )
        self._labels = LabelTable()
        self._source = FileSystemSource(
            poll_wait_s=flags.file_system_poll_wait_seconds,
            make_loader=self._loaders.of,
            target=self._manager,
            storage=LocalAndRemote(
                LocalStorage(backends.is_complete), self._loaders.remote.storage
            ),
            on_aspired=self._loaders.remote.want,
        )
        self._access_logging: AccessLogging | None = None
        if flags.access_log:
            lost = self._metrics.access_log_lost
            self._access_logging = AccessLogging(
                flags.access_log, lambda lines: lost.increase((), lines)
            )
            if self._access_logging.is_file:
                self._loop.add_signal_handler(signal.SIGHUP, self._access_logging.reopen)
        self._request_logging = RequestLogging(
            RequestLogOptions(
                FileLimits(flags.request_log_file_bytes, flags.request_log_file_age_s),
                flags.request_log_queue_bytes,
                settings.saved_model_tags,
            ),
            self._metrics.logged,
        )
        self._models = ServedModels(
            self._manager,
            self._source,
            self._labels,
            flags.allow_version_labels_for_unavailable_models,
            self._request_logging.configure,
            self._loaders.platforms,
            self._loaders.use_platforms,
        )
        self._nap = Nap()
        self._lanes = Lanes(
            self._way(settings.workers, settings.batching.threads, schedulable_cpus()),
            lambda places: self._way(places, places, places),
        )
        self._health = Health(self._manager, self._events)
        self._metrics.follow(self._events)
        self._metrics.read("runs_in_flight", lambda: self._lanes.in_flight)
        log_versions(self._events)
        self._events.subscribe(StateChanged, _freeze_what_was_loaded)
        self._certificates = CertificateWatcher(settings.tls.identities)
        self._listener: Listener | None = None
        self._front: Front | None = None

    def _way(self, workers: int, batches: int, width: int) -> Way:
        """Threads for so many runs, and for so many batches, side by side.

        `width`: see `BatcherOptions`.
        """
        flags, batching = self._flags, self._settings.batching
        inline_budget_s, max_wait_s = flags.inline_budget_us / 1e6, flags.max_queue_wait_ms / 1e3
        runner = Runner(
            RunnerOptions(
                workers=workers,
                inline_budget_s=inline_budget_s,
                max_wait_s=max_wait_s,
                max_queued_bytes=ConnectionOptions().max_buffered_bytes,
            ),
            self._nap,
        )
        if not batching.is_used:
            return Way(runner, None)
        options = BatcherOptions(
            BatchThreads(batches, batching.thread_pool_name, inline_budget_s),
            width=min(width, batches),
            max_wait_s=max_wait_s,
            max_queued_bytes=ConnectionOptions().max_buffered_bytes,
        )
        return Way(runner, Batcher(options, runner, self._metrics.batching))

    async def start(self) -> None:
        """Load the models, then open the ports.

        Raises:
            ServingError: a model did not become available, or the gRPC port cannot be had.
        """
        self._lanes.start()
        self._manager.start()
        await self._models.apply(self._settings.models)
        # One version of each model answers; most clients expect that the others do, too.
        await wait_until_settled(self._manager, _OTHER_VERSIONS_S)
        self._loaders.ports_are_open = True
        # What is loaded by now stays: the garbage collector need not walk it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_MOST_UNCOLLECTED)
        flags = self._flags
        if flags.model_config_file and flags.model_config_file_poll_wait_seconds > 0:
            self._models.start_polling(
                flags.model_config_file, flags.model_config_file_poll_wait_seconds
            )
        await self._listen()

    async def _listen(self) -> None:
        flags = self._flags
        tls = self._settings.tls
        if tls.grpc_door.identity is None:
            logger.info("Using InsecureServerCredentials")
        self._front = Front(
            self._settings,
            Parts(
                manager=self._manager,
                labels=self._labels,
                models=self._models,
                runner=self._lanes,
                nap=self._nap,
                end_turn=self._lanes.end_turn,
                health=self._health,
                metrics=self._metrics,
                request_logging=self._request_logging,
                access_log=None if self._access_logging is None else self._access_logging.log,
            ),
        )
        self._listener = Listener(self._front.switchboard, flags.reuse_port)
        self._certificates.start()
        if flags.port:
            try:
                # As the original: gRPC on IPv4, HTTP on both.
                host = flags.host or "0.0.0.0"
                port = await self._listener.listen_tcp(host, flags.port, tls.grpc_door)
            except InvalidArgument as error:
                logger.error("%s", error.message)
                raise InvalidArgument("Failed to BuildAndStart gRPC server") from error
            logger.info("Running gRPC ModelServer at %s:%d ...", host, port)
        if flags.grpc_socket_path:
            try:
                await self._listener.listen_unix(flags.grpc_socket_path, tls.grpc_door)
            except InvalidArgument as error:
                logger.error("%s", error.message)
                raise InvalidArgument("Failed to BuildAndStart gRPC server") from error
            logger.info("Running gRPC ModelServer at UNIX socket %s ...", flags.grpc_socket_path)
        if flags.rest_api_port:
            await self._listen_for_rest(self._listener)

    async def _listen_for_rest(self, listener: Listener) -> None:
        """REST that cannot be had is an error in the log; gRPC goes on, as in the original."""
        flags = self._flags
        if flags.rest_api_port == flags.port:
            logger.info("HTTP and gRPC share port %d", flags.port)
            return
        try:
            door = self._settings.tls.rest_door
            port = await listener.listen_tcp(flags.host, flags.rest_api_port, door)
        except InvalidArgument as error:
            logger.error(
                "Failed to start HTTP Server at localhost:%d (%s)",
                flags.rest_api_port,
                error.message,
            )
            return
        logger.info("Exporting HTTP/REST API at:localhost:%d ...", port)
        logger.info("NET_LOG: Entering the event loop ...")

    async def leave(self) -> None:
        """Say that the server is not ready, and go on as before until that has got around."""
        self._health.leave()
        delay_s = self._flags.drain_delay_s
        if delay_s:
            logger.info("Not ready any more; new requests are taken for another %g s", delay_s)
        # Those who watch the health are told in the next turn.
        await asyncio.sleep(delay_s)

    async def stop(self) -> None:
        """Finish what is in flight, within the grace, then end everything."""
        self._certificates.stop()
        await self._models.stop()
        await self._source.stop()
        loop = asyncio.get_running_loop()
        limit = loop.time() + self._flags.drain_grace_s
        if self._front is not None:
            self._front.stop()
        if self._listener is not None:
            await self._listener.empty_queues()
            self._listener.close()
            self._lanes.drain()
            await self._listener.wait_closed(limit - loop.time())
            self._listener.abort()
        self._lanes.stop()
        await self._request_logging.stop()
        if self._access_logging is not None:
            await self._access_logging.stop()
        if await self._manager.stop(max(0.0, limit - loop.time())):
            # Their threads would keep the process from ending.
            logger.warning("Ended before every load and request was through")
            logging.shutdown()
            os._exit(0)


def _freeze_what_was_loaded(event: StateChanged) -> None:
    # A collection that walks a loaded model on the loop would stall every request.
    if event.state is State.AVAILABLE:
        gc.freeze()
