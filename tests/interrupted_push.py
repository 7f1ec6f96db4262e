"""Pushes that end at every step: run as a program, it breaks each off and says what is left.

    python tests/interrupted_push.py CASE SIGNAL FOLDER

For n = 1, 2, … a fork of this process pushes to a new base path under FOLDER, and sends SIGNAL to
itself at the n-th thing that it does there, until a push is through without one. A line of JSON
for each tells how it ended, and what is there. The cases: `local`, where what it does is what
Python calls the system for, and `remote`, where it is what is asked of an object store whose
bucket is named `pushes`.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import boto3
import fsspec
import s3fs

import salver.push.pushing  # Not by each fork again.
from salver.cli.main import main
from salver.push.remote_destination import RemoteDestination
from salver.sources.remote_writes import RemoteWrites

OLD = "1700000000"
FILES = ("model.onnx", "labels/a.txt", "labels/b.txt")


def _fill(folder: Path, content: bytes) -> Path:
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


class Steps:
    """Counts, and sends the signal when it is time."""

    def __init__(self, at: int, number: int) -> None:
        self.count = 0
        self._at = at
        self._number = number

    def step(self) -> None:
        self.count += 1
        if self.count == self._at:
            os.kill(os.getpid(), self._number)

    def watch_system(self, base_path: str) -> None:
        """Every step in or at a folder; also each time Python fsyncs or locks."""

        def on_event(event: str, arguments: tuple[Any, ...]) -> None:
            texts = [a for a in arguments if isinstance(a, str)]
            is_there = any(text.startswith(base_path) for text in texts)
            if is_there or event == "fcntl.flock":
                self.step()

        sys.addaudithook(on_event)
        sync = os.fsync

        def fsync(descriptor: int) -> None:
            self.step()
            sync(descriptor)

        os.fsync = fsync  # type: ignore[assignment]

    def watch_storage(self) -> None:
        """Before every change of the storage, and the looks in between."""
        for kind, name in (
            (RemoteWrites, "upload"), (RemoteWrites, "write"), (RemoteWrites, "delete"),
            (RemoteDestination, "names"), (RemoteDestination, "_require_whole"),
        ):  # fmt: skip
            self._wrap(kind, name)

    def _wrap(self, kind: type, name: str) -> None:
        inner = getattr(kind, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            self.step()
            return inner(*arguments, **named)

        setattr(kind, name, watched)


def play(case: str, number: int, folder: Path) -> None:
    model = _fill(folder / "model", b"new" * 1000)
    # Of its own: a file system of fsspec has threads, which a fork does not have any more.
    put = boto3.client("s3").put_object if case == "remote" else None
    at = 0
    while True:
        at += 1
        if put is None:
            base_path = str(folder / f"base-{at}")
            _fill(Path(base_path, OLD), b"old")
        else:
            base_path = f"s3://pushes/{folder.name}-{at}"
            for name in FILES:
                key = f"{folder.name}-{at}/{OLD}/{name}"
                put(Bucket="pushes", Key=key, Body=b"old")
        child = os.fork()
        if child == 0:
            steps = Steps(at, number)
            if case == "local":
                steps.watch_system(base_path)
            else:
                steps.watch_storage()

            code = 99
            try:
                code = main(
                    ["push", str(model), base_path, "--no_load", "--allow_unsafe", "--json"]
                )
            finally:
                sys.stdout.flush()
                os._exit(code if steps.count >= at else 100 + code)
        _, status = os.waitpid(child, 0)
        ended = os.waitstatus_to_exitcode(status)
        print(json.dumps({"step": at, "ended": ended, "base_path": base_path}), flush=True)
        if ended >= 100 and ended not in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            return


if __name__ == "__main__":
    assert salver.push.pushing
    assert fsspec
    assert s3fs
    play(sys.argv[1], int(signal.Signals[sys.argv[2]]), Path(sys.argv[3]))
