"""What is asked of the servers that batch: the models, their requests, and under which loads."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.batches import answers_of, requests_of
from benchmarks.batching.models import ENCODER, MLP
from benchmarks.batching.settings import FULL_GRID, QUICK_GRID, Setting
from benchmarks.client import floats_of_response, grpc_body, predict_request
from benchmarks.driver.record import save_requests
from benchmarks.models import MOBILENET, TINY, Model

CONCURRENCIES = (1, 4, 16, 64, 256)
LOADS = (0.3, 0.6, 0.9, 1.5)
"""Arrivals of the open load, as shares of a server's most answers per second."""
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class BatchWorkload:
    """A model with its requests, and how it is measured."""

    name: str
    title: str
    model: Model
    round_lengths_to: int = 0
    """Requests of many lengths are filled by the client up to a multiple of this; 1: not at all."""
    concurrencies: tuple[int, ...] = CONCURRENCIES
    screened: tuple[int, ...] = CONCURRENCIES
    """Where all settings are tried; elsewhere those that were best at the nearest of these."""
    screened_as: str = ""
    """The workload whose best settings are taken, for one that is not screened itself."""
    grid: tuple[Setting, ...] = FULL_GRID
    finalists: int = 2
    """Settings for each concurrency that are measured again beside the others."""
    screen_seconds: float = 0.3
    seconds: float = 0.8
    settling_seconds: float = 5.0
    """Of each load, before its turns, for the server that tunes itself."""
    rounds: int = 3
    loads: tuple[float, ...] = LOADS
    open_seconds: float = 3.0
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    loop_seconds: float = 0.25
    has_baselines: bool = False
    packed_values: bool = True
    is_short: bool = False

    @property
    def has_lengths(self) -> bool:
        return self.round_lengths_to > 0

    def in_short(self) -> "BatchWorkload":
        """As a quick run measures it."""
        few = tuple(c for c in (1, 64) if c in self.concurrencies)
        return replace(
            self,
            concurrencies=few,
            screened=few[-1:],
            grid=QUICK_GRID,
            finalists=1,
            screen_seconds=0.2,
            seconds=0.4,
            settling_seconds=1.0,
            rounds=1,
            loads=(0.6, 1.5),
            open_seconds=1.0,
            batch_sizes=tuple(size for size in (1, 16, 64) if size <= self.batch_sizes[-1]),
            loop_seconds=0.1,
            is_short=True,
        )


WORKLOADS = {
    workload.name: workload
    for workload in (
        BatchWorkload("tiny", "y = x / 2 + 2, 3 rows of one float", TINY, has_baselines=True),
        BatchWorkload("mlp", "three dense layers 1024 wide, 64 floats", MLP),
        BatchWorkload(
            "encoder",
            "transformer encoder, 4 to 64 tokens as they come",
            ENCODER,
            round_lengths_to=1,
        ),
        BatchWorkload(
            "encoder-buckets",
            "the same, the client fills up to 16, 32, 48 or 64 tokens",
            ENCODER,
            round_lengths_to=16,
            screened_as="encoder",
        ),
        BatchWorkload(
            "encoder-padded",
            "the same, the client fills up to 64 tokens",
            ENCODER,
            round_lengths_to=64,
            screened_as="encoder",
        ),
        BatchWorkload(
            "mobilenet",
            "MobileNetV2, one image of 224 x 224",
            MOBILENET,
            screened=(1, 4, 16, 64),
            rounds=2,
            open_seconds=5.0,
            batch_sizes=(1, 2, 4, 8, 16, 32),
            packed_values=False,
        ),
    )
}
QUICK = ("tiny", "mlp", "encoder")


class RequestSet:
    """The ready requests of a workload, and the check of their answers."""

    def __init__(self, workload: BatchWorkload, folder: Path) -> None:
        self.workload = workload
        self.model = workload.model
        with np.load(folder / f"{self.model.name}.npz") as arrays:
            inputs = requests_of(arrays, workload.round_lengths_to)
            self.expected = answers_of(arrays)
        self.rows = inputs[0].shape[0]
        """Of one request."""
        self.messages = [
            predict_request(
                *(self.model.name, self.model.input_name, values),
                packed_values=workload.packed_values,
            )
            for values in inputs
        ]
        bodies = [grpc_body(message) for message in self.messages]
        self.path = folder / f"{workload.name}.requests"
        save_requests(self.path, bodies, self.expected)
        self.body_path = folder / f"{workload.name}-batching.body"
        """The first one, for a load generator that sends nothing else."""
        self.body_path.write_bytes(bodies[0])

    @property
    def are_alike(self) -> bool:
        """Whether there is only one."""
        return len(self.messages) == 1

    def are_right(self, responses: list[bytes]) -> bool:
        """Whether these are the answers to the first requests, in their order, and round again."""
        return all(
            self._is_right(response, self.expected[number % len(self.expected)])
            for number, response in enumerate(responses)
        )

    def _is_right(self, response: bytes, expected: np.ndarray) -> bool:
        values = floats_of_response(response, self.model.output_name)
        tolerance = self.model.tolerance
        return values.shape == expected.shape and bool(
            np.allclose(values, expected, rtol=tolerance, atol=tolerance)
        )

    def target(self, port: int, answer_bytes: int) -> dict[str, Any]:
        """What the driver has to know; `answer_bytes` with the prefix of gRPC."""
        return {
            "port": port,
            "requests": str(self.path),
            "output_name": self.model.output_name,
            "answer_bytes": answer_bytes,
        }
