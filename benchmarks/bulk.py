"""`salver predict` against a loop of single requests: rows a second, in one run, and their ratio.

    python -m benchmarks.bulk [ROWS]

The loop is what people write first: read a line, ask the server, write the answer. Both use the
same client and the same server, one after the other, in turns; the best turn of each counts.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from salver.client import Client
from tests.running import RunningServer
from tests.saved_models import export

ROUNDS = 3
LOOP_SHARE = 20
"""The loop gets one of so many rows: it is measured per row."""


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        export(["half_plus_two_2"], folder)
        rows = folder / "rows.jsonl"
        rows.write_text("".join(f'{{"id": {n}, "x": {n % 97 / 7}}}\n' for n in range(count)))
        few = folder / "few.jsonl"
        few.write_text("".join(rows.read_text().splitlines(keepends=True)[: count // LOOP_SHARE]))
        base_path = folder / "half_plus_two_2"
        with RunningServer(f"--model_base_path={base_path}", "--model_name=m") as server:
            for protocol, url in (("gRPC", server.grpc_address), ("REST", server.url)):
                loop, bulk = compared(few, rows, url)
                print(
                    f"{protocol}: salver predict {bulk:,.0f} rows/s, single requests "
                    f"{loop:,.0f} rows/s: {bulk / loop:.1f} times"
                )
        here = max(rate(rows, lambda: predict(rows, f"--dir={base_path}")) for _ in range(ROUNDS))
        print(f"in process: {here:,.0f} rows/s")


def compared(few: Path, rows: Path, url: str) -> tuple[float, float]:
    """Rows a second of the loop and of the program."""
    loop, bulk = [], []
    for _ in range(ROUNDS):
        loop.append(rate(few, lambda: ask_one_by_one(few, url)))
        bulk.append(rate(rows, lambda: predict(rows, f"--url={url}", "--model=m")))
    return max(loop), max(bulk)


def rate(rows: Path, work: Callable[[], None]) -> float:
    with rows.open() as file:
        count = sum(1 for _ in file)
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def ask_one_by_one(path: Path, url: str) -> None:
    with Client(url) as client, path.open() as given, path.with_suffix(".out").open("w") as out:
        for line in given:
            row = json.loads(line)
            y = client.predict("m", {"x": np.array([row["x"]], np.float32)})["y"]
            out.write(json.dumps({"id": row["id"], "y": float(y[0])}) + "\n")


def predict(path: Path, *place: str) -> None:
    """The start of the program is part of its time."""
    command = [sys.executable, "-m", "salver", "predict", str(path), *place, "--overwrite"]
    command += [f"--output={path.with_suffix('.answers.jsonl')}", "--keep=id"]
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
