"""What libraries write to standard error while a command runs."""

import os
import subprocess
import sys

_SCRIPT = """
import os, sys
from salver.cli.greetings import greetings_kept_off
with greetings_kept_off():
    print("ours", file=sys.stderr)
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are ...\\n")
    os.write(2, b"I0000 00:00:1.1 1 port.cc:153] oneDNN custom operations are on.\\n")
    os.write(2, b"E0000 00:00:1.2 1 x.cc:1] a real error\\n")
    if sys.argv[1:]:
        os.write(2, b"last words\\n")
        os.abort()
os.write(2, b"after\\n")
print("ours, too", file=sys.stderr)
"""


def said(*arguments: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    return done.stderr.splitlines()


def test_errors_pass_and_greetings_do_not() -> None:
    error = "E0000 00:00:1.2 1 x.cc:1] a real error"
    assert sorted(said()) == sorted(["ours", error, "after", "ours, too"])
    assert {error, "last words"} <= set(said("abort"))


def test_who_wants_them_has_them() -> None:
    assert "I0000 00:00:1.1 1 port.cc:153] oneDNN custom operations are on." in said(
        TF_CPP_MIN_LOG_LEVEL="0"
    )
