"""The bare loop of a framework: a job a line on stdin, its figures a line on stdout.

    {"callers": 2, "seconds": 0.5}

A process that stays, so that the loop takes its turn among servers within the same second.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.baselines.framework_call import LOADERS, load
from benchmarks.baselines.timed_calls import measure


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--framework", choices=LOADERS, required=True)
    parser.add_argument("--model_base_path", type=Path, required=True)
    options = parser.parse_args()
    base: Path = options.model_base_path
    with np.load(base.with_suffix(".npz")) as arrays:
        asked, expected = arrays["input"], arrays["expected"]
    predict = load(options.framework, base)
    assert np.allclose(predict(asked), expected, 1e-4, 1e-5), "the model computes something else"
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(measure(predict, [asked], job["callers"], job["seconds"])), flush=True)


if __name__ == "__main__":
    main()
