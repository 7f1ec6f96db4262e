"""The load generators, and what they say: h2load for gRPC, wrk or h2load for REST.

h2load sends an exact number of requests and waits for every answer, so that CPU time can
be divided by it; it knows no gRPC status, so an answer counts only if its bytes came.
wrk sends for a time; it is lighter, and the one that people compare with.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

POST_SCRIPT = Path(__file__).with_name("post.lua")
TIMEOUT_S = 300.0


class LoadFailed(Exception):
    """The load generator could not do its work, or its output is not understood."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a load generator saw."""

    answered: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    mean_ms: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds


def connections_of(concurrency: int) -> tuple[int, int]:
    """Connections and streams on each: a client of gRPC puts many calls on few connections."""
    connections = min(4, concurrency)
    return connections, concurrency // connections


def grpc_load(
    url: str, body: Path, count: int, concurrency: int, response_bytes: int, log: Path
) -> Load:
    """`count` calls of one method; those whose answer has not `response_bytes` count as failed."""
    connections, streams = connections_of(concurrency)
    command = [
        *_h2load(count, connections, streams, body, log),
        *("-H", "content-type: application/grpc", "-H", "te: trailers"),
        url,
    ]
    return read_h2load(_run(command), log.read_text(), response_bytes)


def rest_load(
    url: str, body: Path, count: int, concurrency: int, response_bytes: int, log: Path
) -> Load:
    """`count` POSTs over HTTP/1.1, one connection for each in flight, by h2load."""
    command = [
        *_h2load(count, concurrency, 1, body, log),
        *("--h1", "-H", "content-type: application/json", url),
    ]
    return read_h2load(_run(command), log.read_text(), response_bytes)


def timed_rest_load(url: str, body: Path, seconds: int, concurrency: int) -> Load:
    """POSTs over HTTP/1.1 for some seconds, one connection for each in flight, by wrk."""
    command = [
        *("wrk", "-t1", f"-c{concurrency}", f"-d{seconds}s", f"--timeout={TIMEOUT_S:.0f}s"),
        *("-s", str(POST_SCRIPT), url, "--", str(body)),
    ]
    return read_wrk(_run(command))


def read_h2load(output: str, log: str, response_bytes: int) -> Load:
    """Understand the report and the log (`--log-file`) of h2load.

    Raises:
        LoadFailed: it is not a report of h2load.
    """
    finished = re.search(r"^finished in ([\d.]+)(us|ms|s|m)?,", output, re.MULTILINE)
    requests = re.search(r"^requests: (\d+) total.*?(\d+) succeeded", output, re.MULTILINE)
    received = re.search(r"\((\d+)\) data$", output, re.MULTILINE)
    if not (finished and requests and received):
        raise LoadFailed(f"this is not a report of h2load:\n{output}")
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, None: 1.0}[finished[2]]
    total, succeeded = int(requests[1]), int(requests[2])
    answered = min(succeeded, int(received[1]) // response_bytes)
    # Columns: start in microseconds since 1970, HTTP status, microseconds until the end.
    took = np.array([line.split("\t")[2] for line in log.splitlines()], np.float64) / 1000
    seconds = float(finished[1]) * unit
    return Load(answered, total - answered, seconds, *latencies_of(took))


def latencies_of(took_ms: np.ndarray) -> tuple[float, float, float]:
    """Median, 99th percentile and mean; NaN where nothing was answered."""
    if not len(took_ms):
        return (np.nan, np.nan, np.nan)
    p50, p99 = np.percentile(took_ms, (50, 99))
    return float(p50), float(p99), float(took_ms.mean())


def read_wrk(output: str) -> Load:
    """Understand the line that `post.lua` prints.

    Raises:
        LoadFailed: there is none.
    """
    line = next((line for line in output.splitlines() if line.startswith('{"requests"')), None)
    if line is None:
        raise LoadFailed(f"post.lua did not report:\n{output}")
    report = json.loads(line)
    failed = min(report["errors"], report["requests"])
    return Load(
        report["requests"] - failed,
        report["errors"],
        report["seconds"],
        report["p50_us"] / 1000,
        report["p99_us"] / 1000,
        report["mean_us"] / 1000,
    )


def _h2load(count: int, connections: int, streams: int, body: Path, log: Path) -> list[str]:
    log.unlink(missing_ok=True)  # h2load appends to it
    return [
        *("h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-n{count}"),
        *("-d", str(body), f"--log-file={log}"),
    ]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except FileNotFoundError:
        raise LoadFailed(
            f"{command[0]} is not installed; Debian has it in nghttp2-client (h2load) and wrk"
        ) from None
    if done.returncode:
        raise LoadFailed(f"{command[0]} ended with {done.returncode}:\n{done.stderr}{done.stdout}")
    return done.stdout
