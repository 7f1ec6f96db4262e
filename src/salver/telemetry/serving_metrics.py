"""The metrics of the server: those of TensorFlow Serving under its names, ours as `:salver:`.

Source: tensorflow_serving/servables/tensorflow/util.cc, for names, labels and buckets. What
TensorFlow counts by itself is not here, as its C API does not tell it.
"""

import re
from collections.abc import Callable
from time import perf_counter

from salver.core.events import EventBus, StateChanged
from salver.core.state import State
from salver.errors import Code
from salver.telemetry.batching_metrics import BatchingMetrics
from salver.telemetry.isolation_metrics import IsolationMetrics
from salver.telemetry.load_metrics import LoadMetrics, WarmUpReport
from salver.telemetry.metrics import (
    Counter,
    Histogram,
    HistogramCell,
    Metric,
    Reading,
    exponential_limits,
)
from salver.telemetry.run_metrics import LATENCY_LIMITS_US, RunMetrics

_EXAMPLE_COUNT_LIMITS = exponential_limits(1, 2, 15)
_PREFIX = ":tensorflow:serving:"

# Names of models come from requests: without a bound a scanner could fill the memory.
_MAX_UNKNOWN_NAMES = 1000
_OTHERS = "(other)"


class ServingMetrics:
    """What is counted about requests. All methods take microseconds at most; loop only."""

    def __init__(self) -> None:
        self.request_count = Counter(f"{_PREFIX}request_count", ("model_name", "status"))
        self.request_latency = Histogram(
            f"{_PREFIX}request_latency", ("model_name", "API", "entrypoint"), LATENCY_LIMITS_US
        )
        self.request_example_counts = Histogram(
            f"{_PREFIX}request_example_counts", ("model",), _EXAMPLE_COUNT_LIMITS
        )
        self.request_example_count_total = Counter(
            f"{_PREFIX}request_example_count_total", ("model",)
        )
        self.request_log_count = Counter(
            f"{_PREFIX}request_log_count", ("model_name", "status_code")
        )
        self.batching = BatchingMetrics()
        self.access_log_lost = Counter(":salver:access_log_lost_count")
        self.tls_handshakes_failed = Counter(":salver:tls_handshake_failed_count", ("reason",))
        self.runs = RunMetrics()
        self.loads = LoadMetrics()
        self.isolation = IsolationMetrics()
        self._readings: list[Reading] = []
        # Requests that name no model at all are counted too.
        self._known_names = {""}
        self._unknown_names: set[str] = set()
        # Looked up by one key per request.
        self._request_cells: dict[tuple[str, str, str], HistogramCell] = {}

    def follow(self, events: EventBus) -> None:
        """From now on, take in what happens to versions."""
        events.subscribe(StateChanged, self.runs.on_state)
        events.subscribe(StateChanged, self.loads.on_state)
        events.subscribe(StateChanged, self._on_state)

    def _on_state(self, event: StateChanged) -> None:
        if event.state is State.START:
            self._known_names.add(event.id.name)

    def read(self, name: str, read: Callable[[], int], kind: str = "gauge") -> None:
        """Show a number of the server's, `:salver:` and `name`, as `read` tells it then."""
        self._readings.append(Reading(f":salver:{name}", read, kind))

    def request_succeeded(self, model: str, api: str, entrypoint: str, started: float) -> None:
        """A request under `api` (`Predict` over `GRPC`, `predict` over `REST`) was answered.

        `started` is the `perf_counter` of its arrival.
        """
        key = (model, api, entrypoint)
        cell = self._request_cells.get(key)
        if cell is None:
            # Requests only succeed for models that there are, so the name needs no bound.
            self._known_names.add(model)
            cell = self._request_cells[key] = self.request_latency.cell(key)
        cell.observe((perf_counter() - started) * 1e6)
        self.request_count.increase((model, "OK"))

    def request_failed(self, model: str, code: Code) -> None:
        self.request_count.increase((self._bounded(model), code.name))

    def warmed_up(self, report: WarmUpReport) -> None:
        """A warm-up file was played; its runs count as those of requests do."""
        self.loads.warmed_up(report)
        for api, elapsed_s in report.runs:
            self.runs.warmed_up(report.id.name, api, elapsed_s)

    def inferred(self, model: str, examples: int) -> None:
        """A MultiInference request about so many examples was answered."""
        self.request_example_counts.cell((model,)).observe(examples)
        self.request_example_count_total.increase((model,), examples)

    def logged(self, model: str, code: Code, requests: int = 1) -> None:
        """So many requests of those chosen to be logged were, if `code` is OK, or why not."""
        self.request_log_count.increase((model, code.name), requests)

    def handshake_failed(self, reason: str) -> None:
        """A client that began a TLS handshake did not get through it."""
        self.tls_handshakes_failed.increase((reason,))

    def _bounded(self, model: str) -> str:
        if model in self._known_names or model in self._unknown_names:
            return model
        if len(self._unknown_names) >= _MAX_UNKNOWN_NAMES:
            return _OTHERS
        self._unknown_names.add(model)
        return model

    def first_value(self, internal_name: str) -> int:
        """The first value of a counter, `/tensorflow/serving/request_count`; 0 if there is none."""
        name = re.sub("[^a-zA-Z0-9_]", ":", internal_name)
        counter = next((metric for metric in self._metrics() if metric.name == name), None)
        return counter.first_value() if isinstance(counter, Counter) else 0

    def page(self) -> str:
        """The Prometheus page: metrics in the order of their names."""
        lines: list[str] = []
        for metric in sorted(self._metrics(), key=lambda metric: metric.name):
            lines.extend(metric.lines())
        return "\n".join(lines) + "\n"

    def _metrics(self) -> list[Metric]:
        return [
            self.request_count,
            self.request_latency,
            self.request_example_counts,
            self.request_example_count_total,
            self.request_log_count,
            *self.batching.metrics(),
            self.access_log_lost,
            self.tls_handshakes_failed,
            *self.runs.metrics(),
            *self.loads.metrics(),
            *self.isolation.metrics(),
            *self._readings,
        ]
