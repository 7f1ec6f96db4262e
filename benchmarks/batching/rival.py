"""One server with one set of requests: asks it, and measures what that costs."""

import re
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks.batching.workloads import RequestSet
from benchmarks.client import PREDICT
from benchmarks.driver.client import Driver
from benchmarks.load import Load, grpc_load
from benchmarks.measure import (
    GRPC_PREFIX_BYTES,
    Turn,
    calibrated_rate,
    requests_for,
    turn_under,
)
from benchmarks.servers import RunningServer, ServerFailed

MOST_CHECKED_AT_ONCE = 64
MONITORING = "prometheus_config { enable: true }\n"
METRICS_PATH = "/monitoring/prometheus/metrics"
BATCH_SIZES = ":tensorflow:serving:batching_session:processed_batch_size"


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """One open load on one server."""

    arrivals_per_s: float
    in_time_per_s: float
    """Right answers that came before the client's time was over."""
    in_time: float
    """Their share of all calls; what is none of these four came too late."""
    refused: float
    expired: float
    failed: float
    p50_ms: float
    """Of the answers, from the time a call was due."""
    p99_ms: float
    mean_ms: float
    cpu_us: float
    """CPU time of the server for each call, answered or not."""
    send_lag_p99_ms: float
    """How late the load generator was."""
    own_cpu_us: float
    """What the load generator needed for each call."""


class BatchRival:
    """A `Rival`: h2load drives it where all requests are the same, our own driver elsewhere."""

    def __init__(
        self, server: RunningServer, requests: RequestSet, driver: Driver, folder: Path
    ) -> None:
        self.server = server
        self.requests = requests
        self._driver = driver
        self._log = folder / "h2load.log"
        self._answer_bytes = 0
        self._rate = 0.0

    @property
    def name(self) -> str:
        return self.server.program.name

    def resident_bytes(self) -> int:
        """See `Rival`."""
        return self.server.resident_bytes()

    def check(self, at_once: int) -> None:
        """See `Rival`: by a client that sees errors, with as many different requests as there are.

        Raises:
            ServerFailed: an answer was wrong, or an error.
        """
        messages = self.requests.messages
        count = min(at_once, MOST_CHECKED_AT_ONCE)
        asked = [messages[number % len(messages)] for number in range(count)]
        try:
            with self.server.grpc_client() as client:
                responses = client.predict_together(asked)
        except grpc.RpcError as error:
            raise ServerFailed(f"{self.name} answered {error.code()}: {error.details()}") from error
        sizes = {len(response) for response in responses}
        if len(sizes) != 1 or not self.requests.are_right(responses):
            raise self._wrong()
        self._answer_bytes = sizes.pop() + GRPC_PREFIX_BYTES

    def calibrate(self, concurrency: int, seconds: float) -> None:
        """See `Rival`."""
        self._rate = calibrated_rate(self._exact_load, concurrency, seconds)

    def turn(self, concurrency: int, seconds: float) -> Turn:
        """See `Rival`."""
        count = requests_for(self._rate, seconds, concurrency)
        return turn_under(lambda: self._exact_load(count, concurrency), self.server)

    def open_turn(self, rate: float, seconds: float, limit_s: float, seed: int) -> OpenTurn:
        """Calls that arrive at `rate` for some seconds, whatever becomes of those before.

        Raises:
            ServerFailed: an answer was wrong.
        """
        count = max(2, round(rate * seconds))
        target = self.requests.target(self.server.grpc_port, self._answer_bytes)
        before = self.server.cpu_seconds()
        seen = self._driver.open(target, rate, count, seed, limit_s)
        cpu_s = self.server.cpu_seconds() - before
        if seen["wrong"]:
            raise self._wrong()
        return OpenTurn(
            arrivals_per_s=rate,
            in_time_per_s=seen["in_time"] / count * rate,
            **{part: seen[part] / count for part in ("in_time", "refused", "expired", "failed")},
            **{figure: seen[figure] for figure in ("p50_ms", "p99_ms", "mean_ms")},
            cpu_us=cpu_s / count * 1e6,
            **{figure: seen[figure] for figure in ("send_lag_p99_ms", "own_cpu_us")},
        )

    def batches(self) -> tuple[int, int]:
        """How many batches the server ran so far, and how many rows they had together.

        None of one that does not batch, or has no such page.
        """
        try:
            with self.server.rest_client() as client:
                _, page = client.request("GET", METRICS_PATH)
        except ConnectionRefusedError:
            return 0, 0
        count, total = (_value(page.decode(), f"{BATCH_SIZES}_{end}") for end in ("count", "sum"))
        return int(count), int(total)

    def _exact_load(self, count: int, concurrency: int) -> Load:
        port = self.server.grpc_port
        if self.requests.are_alike:
            body = self.requests.body_path
            url = f"http://127.0.0.1:{port}{PREDICT}"
            return grpc_load(url, body, count, concurrency, self._answer_bytes, self._log)
        target = self.requests.target(port, self._answer_bytes)
        seen = self._driver.closed(target, concurrency, count)
        if seen["wrong"]:
            raise self._wrong()
        answered, latencies = seen["answered"], (seen["p50_ms"], seen["p99_ms"], seen["mean_ms"])
        return Load(answered, count - answered, seen["seconds"], *latencies)

    def _wrong(self) -> ServerFailed:
        return ServerFailed(f"{self.name} gave a wrong answer to {self.requests.workload.name}")


def _value(page: str, metric: str) -> float:
    """Of a metric without labels; 0 if it is not on the page."""
    found = re.search(rf"^{re.escape(metric)}{{}} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0
