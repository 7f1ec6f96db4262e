"""The metrics of the server, under TensorFlow Serving's names.

Source: tensorflow_serving/servables/tensorflow/util.cc, for names, labels and buckets.
"""

import re
from time import perf_counter

from salver.errors import Code
from salver.telemetry.metrics import Counter, Histogram, HistogramCell, exponential_limits

_LATENCY_LIMITS_US = exponential_limits(10, 1.8, 33)
_EXAMPLE_COUNT_LIMITS = exponential_limits(1, 2, 15)
_PREFIX = ":tensorflow:serving:"

# Names of models come from requests: without a bound a scanner could fill the memory.
_MAX_MODEL_NAMES = 10_000


class ServingMetrics:
    """What is counted about requests. All methods take microseconds at most; loop only."""

    def __init__(self) -> None:
        self.request_count = Counter(f"{_PREFIX}request_count", ("model_name", "status"))
        self.request_latency = Histogram(
            f"{_PREFIX}request_latency", ("model_name", "API", "entrypoint"), _LATENCY_LIMITS_US
        )
        self.runtime_latency = Histogram(
            f"{_PREFIX}runtime_latency", ("model_name", "API", "runtime"), _LATENCY_LIMITS_US
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
        self._model_names: set[str] = set()
        # Two cells and a counter per request: looked up by one key each, bound once.
        self._request_cells: dict[tuple[str, str, str], tuple[HistogramCell, str]] = {}
        self._runtime_cells: dict[tuple[str, str], HistogramCell] = {}

    def request_succeeded(self, model: str, api: str, entrypoint: str, started: float) -> None:
        """A request under `api` (`Predict` over `GRPC`, `predict` over `REST`) was answered.

        `started` is the `perf_counter` of its arrival.
        """
        key = (model, api, entrypoint)
        found = self._request_cells.get(key)
        if found is None:
            bounded = self._bounded(model)
            found = self.request_latency.cell((bounded, api, entrypoint)), bounded
            self._request_cells[key] = found
        cell, model = found
        cell.observe((perf_counter() - started) * 1e6)
        self.request_count.increase((model, "OK"))

    def request_failed(self, model: str, code: Code) -> None:
        self.request_count.increase((self._bounded(model), code.name))

    def ran(self, model: str, api: str, elapsed_s: float) -> None:
        """A program of `model` ran successfully for a request under `api` (`Predict`)."""
        key = (model, api)
        cell = self._runtime_cells.get(key)
        if cell is None:
            cell = self.runtime_latency.cell((model, api, "TF1"))
            self._runtime_cells[key] = cell
        cell.observe(elapsed_s * 1e6)

    def inferred(self, model: str, examples: int) -> None:
        """A MultiInference request about so many examples was answered."""
        self.request_example_counts.cell((model,)).observe(examples)
        self.request_example_count_total.increase((model,), examples)

    def logged(self, model: str, code: Code, requests: int = 1) -> None:
        """So many requests of those chosen to be logged were, if `code` is OK, or why not."""
        self.request_log_count.increase((model, code.name), requests)

    def _bounded(self, model: str) -> str:
        if model in self._model_names:
            return model
        if len(self._model_names) >= _MAX_MODEL_NAMES:
            return "(other)"
        self._model_names.add(model)
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

    def _metrics(self) -> list[Counter | Histogram]:
        return [
            self.request_count,
            self.request_latency,
            self.runtime_latency,
            self.request_example_counts,
            self.request_example_count_total,
            self.request_log_count,
        ]
