"""The composition root: makes every part, starts them in order, and ends them in reverse.

The order of the start is TensorFlow Serving's, because probes depend on it: the
models first, and no port is open before each of them has settled.
"""

import asyncio
import gc
import logging
import os
import signal
from functools import partial

import uvloop

from salver.backends.tensorflow import TensorFlowLoader, TensorFlowOptions
from salver.codecs.messages import WireMessage
from salver.config.flags import Flags, schedulable_cpus
from salver.config.model_config import from_message
from salver.config.served_models import ServedModels
from salver.config.settings import Settings, read_settings
from salver.core.events import EventBus, StateChanged
from salver.core.manager import Manager, ManagerOptions
from salver.core.servable import ServableId
from salver.core.state import State
from salver.errors import InvalidArgument
from salver.execution.batcher import Batcher, BatcherOptions
from salver.execution.prepared import PreparedServable, PreparingLoader
from salver.execution.runner import Runner, RunnerOptions
from salver.service.examples import Examples
from salver.service.metadata import Metadata
from salver.service.opening import Opening
from salver.service.predict import Predict
from salver.service.status import Status
from salver.sources.file_system import FileSystemSource
from salver.telemetry.log_lines import log_versions
from salver.telemetry.serving_metrics import ServingMetrics
from salver.traffic.labels import LabelTable
from salver.traffic.router import Router
from salver.transport.connection import ConnectionOptions, Switchboard
from salver.transport.grpc_examples import ExampleService
from salver.transport.grpc_services import ModelService, PredictionService
from salver.transport.http1 import Http1
from salver.transport.http2 import Http2
from salver.transport.listener import Listener
from salver.transport.rest import RestApi, RestOptions
from salver.transport.warm_up import WarmUp

logger = logging.getLogger(__name__)

_ENDED_AT_ONCE = 1


def run(flags: Flags) -> int:
    """Serve until a signal ends it, and return the exit code.

    Raises:
        ServingError: the server could not start.
    """
    settings = read_settings(flags)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(flags, settings))


async def _serve(flags: Flags, settings: Settings) -> int:
    server = Server(flags, settings)
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

    def __init__(self, flags: Flags, settings: Settings) -> None:
        self._flags = flags
        self._settings = settings
        self._events = EventBus()
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
            make_loader=self._loader,
            is_complete=is_complete,
            target=self._manager,
        )
        self._models = ServedModels(
            self._manager,
            self._source,
            self._labels,
            flags.allow_version_labels_for_unavailable_models,
        )
        self._runner = Runner(
            RunnerOptions(
                # One more than cores: while one waits for the interpreter lock to hand over a
                # result, another computes.
                workers=flags.worker_threads or schedulable_cpus() + 1,
                inline_budget_s=flags.inline_budget_us / 1e6,
                max_wait_s=flags.max_queue_wait_ms / 1e3,
                max_queued_bytes=ConnectionOptions().max_buffered_bytes,
            )
        )
        self._metrics = ServingMetrics()
        batching = self._settings.batching
        self._batcher: Batcher | None = None
        if batching.options is not None:
            self._batcher = Batcher(
                BatcherOptions(
                    threads=batching.threads,
                    thread_pool_name=batching.thread_pool_name,
                    inline_budget_s=flags.inline_budget_us / 1e6,
                ),
                self._runner,
                self._metrics.batching,
            )
        self._warm_up = WarmUp(
            flags.num_request_iterations_for_warmup, flags.enable_signature_method_name_check
        )
        log_versions(self._events)
        self._events.subscribe(StateChanged, _freeze_what_was_loaded)
        self._listener: Listener | None = None

    def _loader(self, id_: ServableId, path: str) -> PreparingLoader:
        session = self._settings.session
        libraries = self._flags.custom_op_libraries
        options = TensorFlowOptions(
            tags=self._settings.saved_model_tags,
            # Threads across requests beat threads within one, so one is our choice.
            intra_op_threads=session.intra_op_threads or 1,
            inter_op_threads=session.inter_op_threads,
            session_config=session.config_proto,
            op_libraries=tuple(libraries.split(",")) if libraries else (),
        )
        loader = TensorFlowLoader(path, options)
        batching = partial(self._settings.batching.of_version, path)
        if not self._flags.enable_model_warmup:
            return PreparingLoader(loader, lambda servable: None, batching)
        return PreparingLoader(
            loader, lambda servable: self._warm_up.play(servable, id_, path), batching
        )

    async def start(self) -> None:
        """Load the models, then open the ports.

        Raises:
            ServingError: a model did not become available, or the gRPC port cannot be had.
        """
        self._runner.start()
        if self._batcher is not None:
            self._batcher.start()
        self._manager.start()
        await self._models.apply(self._settings.models)
        # What is loaded by now stays: the garbage collector need not walk it again.
        gc.collect()
        gc.freeze()
        flags = self._flags
        if flags.model_config_file and flags.model_config_file_poll_wait_seconds > 0:
            self._models.start_polling(
                flags.model_config_file, flags.model_config_file_poll_wait_seconds
            )
        await self._listen()

    async def _listen(self) -> None:
        flags = self._flags
        self._listener = Listener(self._switchboard())
        if flags.port:
            try:
                # As the original: gRPC on IPv4, HTTP on both.
                host = flags.host or "0.0.0.0"
                port = await self._listener.listen_tcp(host, flags.port)
            except InvalidArgument as error:
                logger.error("%s", error.message)
                raise InvalidArgument("Failed to BuildAndStart gRPC server") from error
            logger.info("Running gRPC ModelServer at %s:%d ...", host, port)
        if flags.grpc_socket_path:
            try:
                await self._listener.listen_unix(flags.grpc_socket_path)
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
            port = await listener.listen_tcp(flags.host, flags.rest_api_port)
        except InvalidArgument as error:
            logger.error(
                "Failed to start HTTP Server at localhost:%d (%s)",
                flags.rest_api_port,
                error.message,
            )
            return
        logger.info("Exporting HTTP/REST API at:localhost:%d ...", port)

    def _switchboard(self) -> Switchboard:
        flags = self._flags
        opening = Opening(Router(self._manager, self._labels))
        runner = self._batcher or self._runner
        predict = Predict(runner, self._metrics, flags.enable_signature_method_name_check)
        examples = Examples(runner, self._metrics, flags.enable_signature_method_name_check)
        status = Status(self._manager)
        metadata = Metadata(opening)
        timeout_ms = flags.rest_api_timeout_in_ms
        monitoring = self._settings.monitoring
        rest = RestApi(
            RestOptions(
                timeout_s=timeout_ms / 1000 if timeout_ms > 0 else None,
                cors=flags.rest_api_enable_cors_support,
                compression_min_bytes=flags.rest_api_compression_min_bytes,
                metrics_path=monitoring.path if monitoring.enabled else None,
            ),
            opening,
            predict,
            examples,
            status,
            metadata,
            self._metrics,
            asyncio.get_running_loop().time,
        )
        prediction_service = PredictionService(
            opening,
            predict,
            metadata,
            self._metrics,
            flags.enable_serialization_as_tensor_content,
        )
        handlers = {
            **prediction_service.handlers(),
            **ExampleService(opening, examples, self._metrics).handlers(),
            **ModelService(status, self._reload, self._metrics).handlers(),
        }
        options = ConnectionOptions(
            max_request_bytes=flags.max_request_bytes,
            max_connections=flags.max_connections,
            stall_timeout_s=flags.stall_timeout_s,
            idle_timeout_s=flags.idle_timeout_s,
        )
        return Switchboard(options, rest, handlers, (Http1, Http2))

    async def _reload(self, message: WireMessage) -> None:
        await self._models.apply(from_message(message))

    async def stop(self) -> None:
        """Finish what is in flight, within the grace, then end everything."""
        await self._models.stop()
        await self._source.stop()
        grace_s = self._flags.drain_grace_s
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed(grace_s)
            self._listener.abort()
        if self._batcher is not None:
            self._batcher.stop()
        self._runner.stop()
        if await self._manager.stop(grace_s):
            # Their threads would keep the process from ending.
            logger.warning("Ended before every load and request was through")
            logging.shutdown()
            os._exit(0)


def is_complete(path: str) -> bool:
    """Whether a version folder holds all that a load needs; its model file comes last."""
    names = ("saved_model.pb", "saved_model.pbtxt", "model.tflite", "export.meta")
    return any(os.path.exists(os.path.join(path, name)) for name in names)


def _freeze_what_was_loaded(event: StateChanged) -> None:
    # A collection that walks a loaded model on the loop would stall every request.
    if event.state is State.AVAILABLE:
        gc.freeze()
