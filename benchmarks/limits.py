"""What no server can beat: the bare model for every way to spend the cores, and memory itself."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.client import rest_body
from benchmarks.models import LARGE, Model
from benchmarks.servers import ROOT, ServerFailed
from salver.codecs.json_request import PredictBody
from salver.core.data_type import DataType
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec

FLOATS_OF_A_BODY = 330_000
"""About 3 MB of JSON."""
_SIGNATURE = Signature(
    DEFAULT_SIGNATURE, {LARGE.input_name: TensorSpec("x:0", DataType.FLOAT, (-1, -1))}, {}
)


@dataclass(frozen=True, slots=True)
class Loop:
    """The bare model under one division of the cores."""

    model: str
    callers: int
    threads_per_call: int
    rate: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class BatchLoop:
    """The bare model called with batches, under one division of the cores."""

    batch: int
    """Requests of a call."""
    callers: int
    threads_per_call: int
    rate: float
    """Requests per second."""
    cpu_us: float
    """For each request."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of the work, alone."""

    name: str
    us: float
    note: str


def measure_loops(model: Model, folder: Path, seconds: float, *, quick: bool) -> list[Loop]:
    """Callers times threads within a call: one of each, and both ways to fill the cores."""
    return [_loop(model, folder, seconds, *way) for way in ways_to_call(quick=quick)]


def ways_to_call(*, quick: bool) -> list[tuple[int, int]]:
    """Callers, and threads within a call."""
    cores = os.cpu_count() or 1
    if quick:
        return [(1, 1), (cores, 1)]
    return sorted({(1, 1), (1, cores), (cores, 1), (cores, cores)})


def measure_batch_loops(
    model: Model,
    folder: Path,
    seconds: float,
    batch_sizes: Sequence[int],
    *,
    round_lengths_to: int = 0,
    quick: bool,
) -> list[BatchLoop]:
    """All sizes of a batch, each in all ways to spend the cores; `seconds` for each."""
    sizes = f"--batch_sizes={','.join(map(str, batch_sizes))}"
    lengths = f"--round_lengths_to={round_lengths_to}"
    loops = []
    for callers, threads in ways_to_call(quick=quick):
        for figures in _bare_loop(model, folder, seconds, callers, threads, sizes, lengths):
            batch = int(figures["batch"])
            rate, cpu_us = figures["rate"] * batch, figures["cpu_us"] / batch
            loops.append(BatchLoop(batch, callers, threads, rate, cpu_us))
    return loops


def measure_pieces(folder: Path, seconds: float) -> list[Piece]:
    """Moving a large tensor, and reading one from JSON, ours against the usual way."""
    with np.load(folder / f"{LARGE.name}.npz") as arrays:
        values = arrays["input"]
    target = np.empty_like(values)
    body = rest_body(values[:, :FLOATS_OF_A_BODY])
    megabytes = len(body) / 1e6

    def copy_in_and_out() -> None:
        np.copyto(target, values)
        np.copyto(values, target)

    def decode_the_usual_way() -> None:
        np.asarray(json.loads(body)["instances"], np.float32)

    tensor_megabytes = f"{values.nbytes / 1e6:.0f} MB in and {values.nbytes / 1e6:.0f} MB out"
    copy = _median_us(copy_in_and_out, seconds)
    socket_cpu = float(np.median(socket_cpu_us(values.nbytes, 20)))
    usual = _median_us(decode_the_usual_way, seconds)
    ours = _median_us(lambda: _decode(body), seconds)
    return [
        Piece(f"copy in memory, {tensor_megabytes}", copy, ""),
        Piece(f"socket, {tensor_megabytes}", socket_cpu, "CPU time of one bare TCP peer"),
        Piece(f"json.loads and np.asarray, {megabytes:.0f} MB of JSON", usual, ""),
        Piece(
            f"Salver's decoder, {megabytes:.0f} MB of JSON", ours, f"{usual / ours:.1f} x faster"
        ),
    ]


def socket_cpu_us(size: int, rounds: int) -> list[float]:
    """CPU time that the system asks of a process that receives and sends `size` bytes.

    Over a TCP connection of the loopback interface, with large reads and writes.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    took: list[float] = []

    def echo() -> None:
        buffer = memoryview(bytearray(size))
        for _ in range(rounds):
            started = time.thread_time()
            _receive(server, buffer)
            server.sendall(buffer)
            took.append((time.thread_time() - started) * 1e6)

    thread = threading.Thread(target=echo)
    thread.start()
    message = memoryview(bytearray(size))
    with client, server:
        for _ in range(rounds):
            client.sendall(message)
            _receive(client, message)
        thread.join()
    return took


def _receive(source: socket.socket, buffer: memoryview) -> None:
    received = 0
    while received < len(buffer):
        count = source.recv_into(buffer[received:])
        if not count:
            raise ConnectionError("the peer is gone")
        received += count


def _decode(body: bytes) -> object:
    return PredictBody.parse(body).inputs(_SIGNATURE)


def _median_us(work: Callable[[], object], seconds: float) -> float:
    """Median time of `work` over some seconds, at least three times."""
    took: list[float] = []
    while len(took) < 3 or sum(took) < seconds:
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return float(np.median(took)) * 1e6


def _loop(model: Model, folder: Path, seconds: float, callers: int, threads: int) -> Loop:
    [figures] = _bare_loop(model, folder, seconds, callers, threads)
    return Loop(model.name, callers, threads, figures["rate"], figures["cpu_us"])


def _bare_loop(
    model: Model, folder: Path, seconds: float, callers: int, threads: int, *more: str
) -> list[dict[str, float]]:
    command = [sys.executable, "-m", "benchmarks.baselines.bare_loop"]
    command += [f"--model_base_path={folder / model.name}", f"--seconds={seconds}"]
    command += [f"--callers={callers}", f"--threads_per_call={threads}", *more]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise ServerFailed(f"the bare loop failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
