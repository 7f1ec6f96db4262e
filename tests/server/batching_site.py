"""A server that batches the model `seen`, with a gate that holds its threads, and clients."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests

from tests.gate import Gate
from tests.grpc_client import TIMEOUT_S, GrpcClient, predict_request
from tests.running import LIMIT_S, RunningServer, wait_until, write_config

NEVER_INLINE = "--inline_budget_us=0"
"""Everything is queued, however cheap."""
ONE_THREAD = "num_batch_threads { value: 1 } "


class BatchingSite:
    """What a test needs: requests that are under way, and how many of them have come."""

    def __init__(self, server: RunningServer, client: GrpcClient, folder: Path, model: str) -> None:
        self.server = server
        self.client = client
        self.model = model
        self.gates: list[Gate] = []
        self._folder = folder
        self.threads = ThreadPoolExecutor(8)
        self._held_calls: list[Any] = []
        self._inputs_sent = 0

    def send(self, signature: str = "", model: str = "", **inputs: Any) -> Any:
        """A Predict call under way; inputs are rows of floats, or arrays."""
        self._inputs_sent += len(inputs)
        arrays = {
            name: value if isinstance(value, np.ndarray) else np.array(value, np.float32)
            for name, value in inputs.items()
        }
        request = predict_request(model or self.model, arrays, signature=signature)
        return self.client.prediction.Predict.future(request, timeout=TIMEOUT_S)

    def hold(self) -> Gate:
        """Have one thread stand before a gate, which the test opens or the end of the test."""
        gate = Gate(self._folder, f"gate_{len(self.gates)}")
        self.gates.append(gate)
        call = self.send("gated", x=[100], gate=np.array([gate.path.encode()], object))
        # A call that nobody refers to is cancelled.
        self._held_calls.append(call)
        assert gate.is_reached(), call
        return gate

    def post(self, body: str, verb: str = "predict") -> Any:
        """A REST call on a thread, to a signature with one input."""
        self._inputs_sent += 1
        url = f"{self.server.url}/v1/models/{self.model}:{verb}"
        return self.threads.submit(requests.post, url, data=body, timeout=LIMIT_S)

    def also_sent(self, inputs: int) -> None:
        """The test has sent so many inputs by itself."""
        self._inputs_sent += inputs

    def all_have_come(self) -> None:
        """Wait until the server has everything that was sent."""
        name = ":tensorflow:serving:batching_session:input_batch_size_count{}"
        wait_until(lambda: self.metric(name) == self._inputs_sent, "all requests have come")

    def metric(self, name: str) -> float:
        """The value of this line of the metrics page; 0 where there is none."""
        for line in self.page().splitlines():
            start, _, value = line.rpartition(" ")
            if start == name:
                return float(value)
        return 0.0

    def page(self) -> str:
        return requests.get(f"{self.server.url}/metrics", timeout=LIMIT_S).text


@contextmanager
def serving(
    folder: Path, models: dict[str, Path], parameters: str | None, *flags: str
) -> Iterator[BatchingSite]:
    """A server of these models with these batching parameters, the first model the site's."""
    (folder / "monitoring.txt").write_text('prometheus_config { enable: true path: "/metrics" }')
    bodies = [
        f'name: "{n}" base_path: "{p}" model_platform: "tensorflow"' for n, p in models.items()
    ]
    command = [
        write_config(folder / "models.txt", bodies),
        f"--monitoring_config_file={folder / 'monitoring.txt'}",
        NEVER_INLINE,
        *flags,
    ]
    if parameters is not None:
        (folder / "batching.txt").write_text(parameters)
        command += ["--enable_batching", f"--batching_parameters_file={folder / 'batching.txt'}"]
    gates: list[Gate] = []
    try:
        with RunningServer(*command) as server, GrpcClient(server.grpc_address) as client:
            site = BatchingSite(server, client, folder, next(iter(models)))
            gates = site.gates
            try:
                yield site
            finally:
                for gate in gates:
                    gate.open()
                site.threads.shutdown()
    finally:
        for gate in gates:
            gate.remove()


def rows_seen(calls: Sequence[Any]) -> list[list[int]]:
    """How many rows each row of each answer was run with."""
    return [list(call.result().outputs["rows"].int_val) for call in calls]


def values(call: Any) -> list[float]:
    return list(call.result().outputs["y"].float_val)
