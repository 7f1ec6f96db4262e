"""What is measured about loads and warm-ups, and which versions answer. Owned by the loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

from salver.core.events import StateChanged
from salver.core.load_job import LoaderOf
from salver.core.servable import ServableId
from salver.core.state import State
from salver.errors import Code
from salver.telemetry.metrics import Counter, Gauge, Histogram, Metric, exponential_limits

S = TypeVar("S")

_LATENCY_LIMITS_US = exponential_limits(10, 1.8, 33)
# Every new version has a new path.
_MAX_PATHS = 1000
_OTHERS = "(other)"


@dataclass(frozen=True, slots=True)
class WarmUpReport:
    """One warm-up file, played to its end or to the first error."""

    id: ServableId
    path: str
    """The folder of the version."""
    status: str
    """`OK`, or code and message of the error."""
    elapsed_s: float
    records: int | None
    """How many were read; None if a request or a record was wrong."""
    runs: Sequence[tuple[str, float]]
    """API and seconds of each run of the model that did not fail."""


class RunList:
    """Keeps the runs of one warm-up, as a `RunObserver`. For the thread that plays it."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, float]] = []

    def ran(self, id_: ServableId, signature: object, api: str, elapsed_s: float) -> None:
        """See `RunObserver`."""
        self.runs.append((api, elapsed_s))

    def run_failed(self, id_: ServableId, signature: object, api: str, code: Code) -> None:
        """See `RunObserver`; a run that fails ends the warm-up, whose status tells it."""


class MeasuredLoader(Generic[S]):
    """A loader that reports each attempt: whether it succeeded, and the seconds it took.

    `report` is called on the load thread.
    """

    def __init__(self, loader: LoaderOf[S], report: Callable[[bool, float], object]) -> None:
        self._loader = loader
        self._report = report

    def load(self) -> S:
        """See `Loader.load`."""
        started = perf_counter()
        succeeded = False
        try:
            servable = self._loader.load()
            succeeded = True
        finally:
            self._report(succeeded, perf_counter() - started)
        return servable

    def unload(self) -> None:
        """See `Loader.unload`."""
        self._loader.unload()


class LoadMetrics:
    """Counts loads."""

    def __init__(self) -> None:
        loaded, warmed = ":tensorflow:cc:saved_model:", ":tensorflow:serving:model_warmup_"
        by_path = ("model_path", "status")
        self._attempts = Counter(f"{loaded}load_attempt_count", by_path)
        self._latency = Counter(f"{loaded}load_latency", ("model_path",))
        self._warmup_latency = Histogram(f"{warmed}latency", by_path, _LATENCY_LIMITS_US)
        self._warmup_records = Counter(f"{warmed}records_read", by_path)
        # Nothing is ever in it: the original fills it with session metadata only.
        self._metadata = Gauge(":tensorflow:serving:mlmd_map", ("model_name", "version"))
        self._available = Gauge(":salver:version_available", ("model_name", "version"))
        self._paths: set[str] = set()

    def load_attempted(self, path: str, succeeded: bool, elapsed_s: float) -> None:
        """A backend has read a version, or failed to."""
        path = self._bounded(path)
        self._attempts.increase((path, "success" if succeeded else "fail"))
        if succeeded:
            self._latency.increase((path,), int(elapsed_s * 1e6))

    def warmed_up(self, report: WarmUpReport) -> None:
        """A warm-up file was played."""
        labels = (self._bounded(report.path), report.status)
        self._warmup_latency.cell(labels).observe(report.elapsed_s * 1e6)
        if report.records is not None:
            self._warmup_records.increase(labels, report.records)

    def on_state(self, event: StateChanged) -> None:
        """Follow which versions answer."""
        labels = (event.id.name, str(event.id.version))
        if event.state is State.AVAILABLE:
            self._available.set(labels, 1)
        elif event.state is State.UNLOADING:
            self._available.remove(labels)

    def _bounded(self, path: str) -> str:
        if path not in self._paths:
            if len(self._paths) >= _MAX_PATHS:
                return _OTHERS
            self._paths.add(path)
        return path

    def metrics(self) -> Sequence[Metric]:
        """Everything."""
        return (
            self._attempts,
            self._latency,
            self._warmup_latency,
            self._warmup_records,
            self._metadata,
            self._available,
        )
