"""The limit: the model called in a loop, without any server, through Salver's own backend.

Prints a line of JSON for each size of a batch: calls per second and CPU time per call, for
some callers (threads that call at the same time) and some threads within each call. A process
for each combination, because TensorFlow's threads are fixed with the first model of a process.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.baselines.timed_calls import measure
from benchmarks.batches import answers_of, batches_of, requests_of
from salver.backends.tensorflow import TensorFlowLoader, TensorFlowOptions
from salver.core.servable import Program
from salver.core.signature import DEFAULT_SIGNATURE


def load(path: Path, threads_per_call: int) -> Program:
    """The signature `serving_default` as something to call."""
    options = TensorFlowOptions(intra_op_threads=threads_per_call)
    servable = TensorFlowLoader(str(path), options).load()
    signature = servable.signatures[DEFAULT_SIGNATURE]
    feeds = tuple(spec.name for spec in signature.inputs.values())
    fetches = tuple(spec.name for spec in signature.outputs.values())
    return servable.program(feeds, fetches)


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

    def call(batch: np.ndarray) -> object:
        return program.run([batch])

    for size in map(int, options.batch_sizes.split(",")):
        batches = batches_of(requests, size)
        figures = measure(call, batches, options.callers, options.seconds)
        print(json.dumps({"batch": size, **figures}), flush=True)


if __name__ == "__main__":
    main()
