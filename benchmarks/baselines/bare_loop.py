"""The limit: the model called in a loop, without any server, through Salver's own backend.

Prints a line of JSON for each size of a batch: calls per second and CPU time per call, for
some callers (threads that call at the same time) and some threads within each call. A process
for each combination, because TensorFlow's threads are fixed with the first model of a process.
"""

import argparse
import json
import threading
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from benchmarks.batches import answers_of, batches_of, requests_of
from salver.backends.tensorflow import TensorFlowLoader, TensorFlowOptions
from salver.core.servable import Program
from salver.core.signature import DEFAULT_SIGNATURE

SECONDS_BETWEEN_LOOKS_AT_THE_CLOCK = 0.01


def load(path: Path, threads_per_call: int) -> Program:
    """The signature `serving_default` as something to call."""
    options = TensorFlowOptions(intra_op_threads=threads_per_call)
    servable = TensorFlowLoader(str(path), options).load()
    signature = servable.signatures[DEFAULT_SIGNATURE]
    feeds = tuple(spec.name for spec in signature.inputs.values())
    fetches = tuple(spec.name for spec in signature.outputs.values())
    return servable.program(feeds, fetches)


def call_for(
    program: Program, batches: Sequence[np.ndarray], seconds: float, at_a_time: int
) -> int:
    """Call with one batch after the other for some seconds; how many calls that were."""
    calls = 0
    feeds = cycle([[batch] for batch in batches])
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for feed in islice(feeds, at_a_time):
            program.run(feed)
        calls += at_a_time
    return calls


def measure(
    program: Program, batches: Sequence[np.ndarray], callers: int, seconds: float
) -> dict[str, float]:
    """Calls per second and CPU time per call of `callers` threads together."""
    started = time.perf_counter()
    warm_up = call_for(program, batches, seconds / 4, 1)
    per_call = (time.perf_counter() - started) / warm_up
    at_a_time = max(1, int(SECONDS_BETWEEN_LOOKS_AT_THE_CLOCK / per_call))
    calls: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: calls.append(call_for(program, batches, seconds, at_a_time))
        )
        for _ in range(callers)
    ]
    cpu_before, started = time.process_time(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    cpu_seconds = time.process_time() - cpu_before
    return {"rate": sum(calls) / elapsed, "cpu_us": cpu_seconds / sum(calls) * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_base_path", type=Path, required=True)
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--threads_per_call", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--batch_sizes", default="1", help="requests of a call, 1,4,16 say")
    parser.add_argument("--round_lengths_to", type=int, default=0)
    options = parser.parse_args()
    base: Path = options.model_base_path
    with np.load(base.with_suffix(".npz")) as arrays:
        requests = requests_of(arrays, options.round_lengths_to)
        expected = answers_of(arrays)[0]
    program = load(base / "1", options.threads_per_call)
    [output] = program.run([requests[0]])
    assert np.allclose(output, expected, rtol=1e-4, atol=1e-5), "the model computes something else"
    for size in map(int, options.batch_sizes.split(",")):
        figures = measure(program, batches_of(requests, size), options.callers, options.seconds)
        print(json.dumps({"batch": size, **figures}), flush=True)


if __name__ == "__main__":
    main()
