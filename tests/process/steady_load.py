"""Independent callers at a steady rate over both protocols: what each was answered, and when.

The callers are processes of their own (`benchmarks.open_loop`), so that thousands of requests a
second can be made, and none is lost from the count. Times are those of `perf_counter`, which all
processes of a machine share.
"""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Self

import numpy as np
from tensorflow_serving.apis import predict_pb2

from benchmarks.light_clients import OK
from benchmarks.open_loop import Order, Report
from tests.grpc_client import predict_request
from tests.running import RunningServer

LIMIT_S = 60.0
GRPC, REST = "grpc", "rest"
_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_ROOT = Path(__file__).resolve().parents[2]


class Callers:
    """Those of one protocol."""

    def __init__(
        self, server: RunningServer, protocol: str, rate: float, model: str, label: str | None
    ) -> None:
        if protocol == GRPC:
            message = predict_request(model, {"x": np.array([2.0], np.float32)}, label=label)
            serialized = message.SerializeToString()
            port, path = server.grpc_port, _PREDICT
            body = b"\0" + len(serialized).to_bytes(4, "big") + serialized
        else:
            choice = f"/labels/{label}" if label else ""
            port, path = server.rest_port, f"/v1/models/{model}{choice}:predict"
            body = b'{"instances": [2.0]}'
        self._folder = TemporaryDirectory()
        self._log = Path(self._folder.name, "log.npy")
        order = Order(protocol, port, path, body.hex(), rate, 0.0, warm_s=0.0, log=str(self._log))
        self._protocol = protocol
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.open_loop"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT,
        )  # fmt: skip
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        self._child.stdin.flush()
        self.report = Report()
        self.times = np.zeros((0, 2))
        """When each request was due, and its latency, negative without a good answer."""

    def finish(self) -> None:
        """Send nothing more, and read what came of it."""
        output, _ = self._child.communicate(timeout=LIMIT_S)
        self.report = Report(**json.loads(output))
        self.times = np.load(self._log)
        self._folder.cleanup()

    def kill(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    @property
    def answers(self) -> Counter[float]:
        """The float that each good answer holds."""
        found: Counter[float] = Counter()
        for body, count in self.report.answers.items():
            found[self._value(bytes.fromhex(body))] += count
        return found

    def _value(self, body: bytes) -> float:
        if self._protocol == GRPC:
            response = predict_pb2.PredictResponse.FromString(body[5:])
            return float(response.outputs["y"].float_val[0])
        (answer,) = json.loads(body)["predictions"]
        return float(answer)


class SteadyLoad:
    """So many requests a second, half of them over each protocol, for a `with` block."""

    def __init__(
        self,
        server: RunningServer,
        rate: float,
        model: str = "default",
        *,
        label: str | None = None,
    ) -> None:
        self._make = partial(Callers, server, rate=rate / 2, model=model, label=label)
        self._callers: list[Callers] = []

    def __enter__(self) -> Self:
        self._callers = [self._make(protocol=protocol) for protocol in (GRPC, REST)]
        return self

    def __exit__(self, *_: object) -> None:
        for callers in self._callers:
            callers.kill()

    def stop(self) -> None:
        """End the callers; from now on there are figures."""
        for callers in self._callers:
            callers.finish()

    @property
    def outcomes(self) -> Counter[str]:
        """By status, `OK` among them."""
        found: Counter[str] = Counter()
        for callers in self._callers:
            found.update(callers.report.outcomes)
        return found

    @property
    def failures(self) -> Counter[str]:
        return Counter({name: count for name, count in self.outcomes.items() if name != OK})

    @property
    def answers(self) -> Counter[float]:
        return sum((callers.answers for callers in self._callers), Counter[float]())

    @property
    def failed_at(self) -> np.ndarray:
        """When the requests were due that had no good answer."""
        times = self._times()
        due: np.ndarray = times[times[:, 1] < 0, 0]
        return due

    @property
    def failures_heard_at(self) -> np.ndarray:
        """When they heard so. They may have been asked long after they were due."""
        times = self._times()
        failed = times[times[:, 1] < 0]
        heard_at: np.ndarray = failed[:, 0] - failed[:, 1]
        return heard_at

    def p99_ms(self, begin: float, end: float) -> float:
        """Of the good answers to requests that were due in between."""
        times = self._times()
        within = times[(times[:, 0] >= begin) & (times[:, 0] < end) & (times[:, 1] > 0), 1]
        assert len(within), "no request at all"
        return 1000 * float(np.percentile(within, 99))

    def _times(self) -> np.ndarray:
        return np.concatenate([callers.times for callers in self._callers])


def now() -> float:
    """On the clock of the callers."""
    return perf_counter()
