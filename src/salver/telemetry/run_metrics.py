"""What is measured about runs of models: per version and signature, and per model.

Each run is counted once, in the cells of its signature, which lie in the prepared signature
itself, so that the request path does not have to look them up by name. TensorFlow Serving's
metric, per model, is their sum, made when the page is; what a version has counted is kept for
it when the version ends, while the version's own cells vanish from the page. Owned by the loop.
"""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Protocol

from salver.core.events import StateChanged
from salver.core.servable import ServableId
from salver.core.state import State
from salver.errors import Code
from salver.execution.prepared import PreparedSignature
from salver.telemetry.metrics import (
    Counter,
    Histogram,
    HistogramCell,
    Metric,
    exponential_limits,
)

LATENCY_LIMITS_US = exponential_limits(10, 1.8, 33)

_RUNTIME = "TF1"
_SERVING_APIS = ("Predict", "Classify", "Regress")
"""Those whose runs TensorFlow Serving measures."""
_VERSION_LABELS = ("model_name", "version", "signature_name", "API")
# Signatures of living versions: without a bound, many models would make pages of megabytes.
_MAX_SIGNATURES = 2000


class RunObserver(Protocol):
    """Told of every run of a model for a request."""

    def ran(
        self, id_: ServableId, signature: PreparedSignature, api: str, elapsed_s: float
    ) -> None:
        """A program ran for a request under `api` (`Predict`)."""

    def run_failed(
        self, id_: ServableId, signature: PreparedSignature, api: str, code: Code
    ) -> None:
        """It failed, or was given up before it ran."""


class RunCell:
    """The runs of one signature of one version under one API."""

    __slots__ = ("failures", "id", "labels", "latency")

    def __init__(self, id_: ServableId, signature_name: str, api: str) -> None:
        self.id = id_
        self.labels = (id_.name, str(id_.version), signature_name, api)
        self.latency = HistogramCell(LATENCY_LIMITS_US)
        self.failures: Tally[Code] = Tally()


class RunMetrics:
    """Counts runs. All methods but those that print take microseconds at most."""

    def __init__(self) -> None:
        self._ended = self._new_runtime_latency()
        """Of versions that have ended, and of runs that are in no cell."""
        self._cells: list[RunCell] = []

    @staticmethod
    def _new_runtime_latency() -> Histogram:
        labels = ("model_name", "API", "runtime")
        return Histogram(":tensorflow:serving:runtime_latency", labels, LATENCY_LIMITS_US)

    def ran(
        self, id_: ServableId, signature: PreparedSignature, api: str, elapsed_s: float
    ) -> None:
        """See `RunObserver`."""
        cell = signature.measured.get(api)
        if cell is None:
            cell = self._cell(id_, signature, api)
        cell.latency.observe(elapsed_s * 1e6)

    def run_failed(
        self, id_: ServableId, signature: PreparedSignature, api: str, code: Code
    ) -> None:
        """See `RunObserver`."""
        cell = signature.measured.get(api)
        if cell is None:
            cell = self._cell(id_, signature, api)
        cell.failures[code] += 1

    def warmed_up(self, model: str, api: str, elapsed_s: float) -> None:
        """A program ran for a request of a warm-up file, successfully."""
        if api in _SERVING_APIS:
            self._ended.cell((model, api, _RUNTIME)).observe(elapsed_s * 1e6)

    def _cell(self, id_: ServableId, signature: PreparedSignature, api: str) -> RunCell:
        cell = RunCell(id_, signature.signature.name, api)
        signature.measured[api] = cell
        self._cells.append(cell)
        return cell

    def on_state(self, event: StateChanged) -> None:
        """Keep of a version that has ended what it adds to the metrics of its model."""
        if event.state is State.END:
            for cell in self._cells:
                if cell.id == event.id:
                    self._add(cell, self._ended)
            self._cells = [cell for cell in self._cells if cell.id != event.id]

    @staticmethod
    def _add(cell: RunCell, total: Histogram) -> None:
        model, _, _, api = cell.labels
        if api in _SERVING_APIS and cell.latency.count:
            total.cell((model, api, _RUNTIME)).add(cell.latency)

    def totals(self) -> dict[str, tuple[int, float]]:
        """Successful runs, and the seconds they took, by the name of the model."""
        found: dict[str, tuple[int, float]] = {}
        latencies = [(cell.labels[0], cell.latency) for cell in self._cells]
        latencies += [(labels[0], cell) for labels, cell in self._ended.cells().items()]
        for model, latency in latencies:
            count, seconds = found.get(model, (0, 0.0))
            found[model] = (count + latency.count, seconds + latency.total / 1e6)
        return found

    def metrics(self) -> Sequence[Metric]:
        """Everything, as it is now."""
        runtime_latency = self._new_runtime_latency()
        runtime_latency.add(self._ended)
        runs = Counter(":salver:run_count", (*_VERSION_LABELS, "status"))
        latency = Histogram(":salver:run_latency", _VERSION_LABELS, LATENCY_LIMITS_US)
        for position, cell in enumerate(self._cells):
            self._add(cell, runtime_latency)
            if position >= _MAX_SIGNATURES:
                continue
            for code, count in cell.failures.items():
                runs.increase((*cell.labels, code.name), count)
            if successes := cell.latency.count:
                runs.increase((*cell.labels, Code.OK.name), successes)
                latency.cell(cell.labels).add(cell.latency)
        return runtime_latency, runs, latency
