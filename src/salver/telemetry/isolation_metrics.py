"""What is counted about worker processes. Owned by the loop."""

from collections.abc import Sequence

from salver.isolation.crew import CrewReport
from salver.telemetry.metrics import Counter, Gauge, Metric


class IsolationMetrics:
    """Follows the workers of all versions."""

    def __init__(self) -> None:
        self._answering = Gauge(":salver:isolated_workers", ("model_name", "version"))
        self._restarts = Counter(":salver:isolated_worker_restart_count", ("model_name",))

    def changed(self, report: CrewReport) -> None:
        """Take in what has changed about the workers of a version."""
        labels = (report.id.name, str(report.id.version))
        if report.is_over:
            self._answering.remove(labels)
            return
        self._answering.set(labels, report.answering)
        if report.restarted:
            self._restarts.increase((report.id.name,))

    def metrics(self) -> Sequence[Metric]:
        """Everything."""
        return (self._answering, self._restarts)
