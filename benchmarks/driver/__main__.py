"""The load generator as a program: a job per line of stdin, its figures per line of stdout.

    {"port": 8500, "requests": "FILE", "output_name": "y", "answer_bytes": 40,
     "concurrency": 16, "count": 1000, "lines": 4}

or, for an open load, `rate`, `count`, `seed` and `limit_s` in place of the last three.
A process that stays, because it takes longer to start one than to do a short job.
"""

import json
import os
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.driver.frames import ProtocolProblem
from benchmarks.driver.loads import closed_load, open_load, poisson
from benchmarks.driver.record import Requests, read_requests


@lru_cache(maxsize=1)
def requests_in(path: str, changed_at: float, output_name: str, answer_bytes: int) -> Requests:
    """A file is read once, unless it changed."""
    return read_requests(Path(path), output_name, answer_bytes)


def figures_of(job: dict[str, Any]) -> dict[str, Any]:
    changed_at = os.stat(job["requests"]).st_mtime
    requests = requests_in(job["requests"], changed_at, job["output_name"], job["answer_bytes"])
    port, count, limit_s = job["port"], job["count"], job.get("limit_s")
    arrivals = poisson(job["rate"], count, job["seed"]) if "rate" in job else None
    began = time.process_time()
    if arrivals is None:
        record = closed_load(port, requests, job["concurrency"], count, job["lines"])
    else:
        record = open_load(port, requests, arrivals, job["limit_s"])
    own_cpu_us = (time.process_time() - began) / count * 1e6
    return {**record.figures(limit_s), "own_cpu_us": own_cpu_us}


def main() -> None:
    for line in sys.stdin:
        try:
            result = figures_of(json.loads(line))
        except (ProtocolProblem, OSError) as problem:
            result = {"error": str(problem)}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
