"""The load generator seen from the program that measures: a child process that does jobs."""

import json
import os
import subprocess
import sys
from typing import Any, Self

from benchmarks.load import LoadFailed, connections_of
from benchmarks.servers import ROOT


class Driver:
    """One child process. Use as a context manager."""

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.terminate()
        self._child.wait()
        self._child.stdout.close()

    def run_on(self, processors: set[int]) -> None:
        """From now on use these processors only."""
        os.sched_setaffinity(self._child.pid, processors)

    def closed(self, target: dict[str, Any], concurrency: int, count: int) -> dict[str, Any]:
        """`count` calls, so many at once; `target` says where and what: see the program."""
        lines, _ = connections_of(concurrency)
        return self._do({**target, "concurrency": concurrency, "count": count, "lines": lines})

    def open(
        self, target: dict[str, Any], rate: float, count: int, seed: int, limit_s: float
    ) -> dict[str, Any]:
        """`count` calls that arrive at `rate` per second, each of which waits `limit_s`."""
        return self._do({**target, "rate": rate, "count": count, "seed": seed, "limit_s": limit_s})

    def _do(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(json.dumps(job), file=self._child.stdin, flush=True)
        line = self._child.stdout.readline()
        if not line:
            raise LoadFailed("the load generator ended")
        result: dict[str, Any] = json.loads(line)
        if "error" in result:
            raise LoadFailed(f"the load generator on port {job['port']}: {result['error']}")
        return result
