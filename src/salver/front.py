"""What answers requests: the use cases, the services of each protocol, and the pages.

Made once, when the models have settled; `Parts` is what it stands on.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from salver.codecs.messages import WireMessage
from salver.config.model_config import from_message
from salver.config.served_models import ServedModels
from salver.config.settings import Settings
from salver.core.manager import Manager
from salver.execution.nap import Nap
from salver.execution.prepared import PreparedServable
from salver.execution.runner import RunsPrograms
from salver.service.batching import Batching
from salver.service.examples import Examples
from salver.service.health import Health
from salver.service.metadata import Metadata
from salver.service.opening import Opening
from salver.service.predict import Predict
from salver.service.profiling import Profiling
from salver.service.status import Status
from salver.sources.uri import redacted
from salver.telemetry.request_logging import RequestLogging
from salver.telemetry.request_record import Both, RecordSink
from salver.telemetry.serving_metrics import ServingMetrics
from salver.traffic.labels import LabelTable
from salver.traffic.router import Router
from salver.transport.batching_page import BatchingPage
from salver.transport.connection import ConnectionOptions, Switchboard
from salver.transport.exchange import Handler, StreamHandler
from salver.transport.grpc_examples import ExampleService
from salver.transport.grpc_health import HealthService
from salver.transport.grpc_reflection import reflection_streams
from salver.transport.grpc_services import ModelService, PredictionService
from salver.transport.health_page import HealthPages
from salver.transport.http1 import Http1
from salver.transport.http2 import Http2
from salver.transport.model_list import ModelList
from salver.transport.profiler_service import ProfilerService
from salver.transport.rest import RestApi, RestOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What requests need of the server."""

    manager: Manager[PreparedServable]
    labels: LabelTable
    models: ServedModels
    runner: RunsPrograms
    nap: Nap
    end_turn: Callable[[], None]
    """See `Lanes.end_turn`."""
    health: Health
    metrics: ServingMetrics
    request_logging: RequestLogging
    access_log: RecordSink | None


class Front:
    """The switchboard, and all that it leads to. Loop only."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        flags = settings.flags
        self._settings = settings
        self._parts = parts
        self._opening = Opening(Router(parts.manager, parts.labels))
        check, logs = flags.enable_signature_method_name_check, parts.request_logging.by_model
        self._predict = Predict(parts.runner, parts.metrics.runs, check, logs)
        self._examples = Examples(parts.runner, parts.metrics.runs, check, logs)
        self._status = Status(parts.manager)
        self._metadata = Metadata(self._opening)
        self._model_list = ModelList(parts.health)
        self._profiler: ProfilerService | None = None
        handlers, streams = self._grpc()
        options = ConnectionOptions(
            max_request_bytes=flags.max_request_bytes,
            max_connections=flags.max_connections,
            stall_timeout_s=flags.stall_timeout_s,
            idle_timeout_s=flags.idle_timeout_s,
        )
        engines = (Http1, Http2)
        board = Switchboard(
            options,
            self._rest(),
            handlers,
            engines,
            streams,
            parts.access_log,
            parts.metrics.handshake_failed,
            parts.nap.take,
            parts.end_turn,
        )
        self.switchboard = board
        parts.metrics.read("connections", lambda: len(board.connections))
        parts.metrics.read("buffered_bytes", lambda: board.buffered_bytes)
        parts.metrics.read("read_too_late_count", lambda: board.read_too_late, "counter")

    def stop(self) -> None:
        """End what goes on by itself: a trace."""
        if self._profiler is not None:
            self._profiler.stop()

    def _rest(self) -> RestApi:
        flags, monitoring = self._settings.flags, self._settings.monitoring
        timeout_ms = flags.rest_api_timeout_in_ms
        return RestApi(
            RestOptions(
                timeout_s=timeout_ms / 1000 if timeout_ms > 0 else None,
                cors=flags.rest_api_enable_cors_support,
                compression_min_bytes=flags.rest_api_compression_min_bytes,
                metrics_path=monitoring.path if monitoring.enabled else None,
            ),
            self._opening,
            self._predict,
            self._examples,
            self._status,
            self._metadata,
            self._parts.metrics,
            asyncio.get_running_loop().time,
            (
                HealthPages(self._parts.health).page,
                self._model_list.page,
                BatchingPage(Batching(self._opening, self._settings.batching.threads)).page,
            ),
        )

    def _grpc(self) -> tuple[dict[bytes, Handler], dict[bytes, StreamHandler]]:
        """The unary and the streaming methods, by path."""
        flags, metrics = self._settings.flags, self._parts.metrics
        prediction_service = PredictionService(
            self._opening,
            self._predict,
            self._metadata,
            metrics,
            flags.enable_serialization_as_tensor_content,
        )
        handlers = {
            **prediction_service.handlers(),
            **ExampleService(self._opening, self._examples, metrics).handlers(),
            **ModelService(self._status, self._reload, metrics).handlers(),
            **self._model_list.handlers(),
        }
        streams: dict[bytes, StreamHandler] = {}
        if flags.enable_grpc_healthcheck_service:
            health = HealthService(self._parts.health)
            handlers.update(health.handlers())
            streams.update(health.streams())
        if flags.enable_profiler:
            profiling = Profiling(self._parts.manager, self._keep_records, metrics)
            self._profiler = ProfilerService(profiling)
            handlers.update(self._profiler.handlers())
            logger.info("Profiler service is enabled")
        if flags.enable_grpc_reflection:
            # Last, because it tells of all the others.
            streams.update(reflection_streams([*handlers, *streams]))
        return handlers, streams

    def _keep_records(self, trace: RecordSink | None) -> None:
        """Have records of requests go to the access log, if there is one, and to a trace."""
        access_log = self._parts.access_log
        if trace is None or access_log is None:
            self.switchboard.records = access_log if trace is None else trace
        else:
            self.switchboard.records = Both(access_log, trace)

    async def _reload(self, message: WireMessage) -> None:
        config = from_message(message)
        for index, model in enumerate(config.models):
            logger.info(
                "\nConfig entry\n\tindex : %d\n\tpath : %s\n\tname : %s\n\tplatform : %s",
                index,
                redacted(model.base_path),
                model.name,
                model.model_platform,
            )
        await self._parts.models.apply(config)
