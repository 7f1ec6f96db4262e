"""Run the session's tests under valgrind: fail on errors and leaks that involve the binding.

    python tests/wire/http2_memory_check.py [pytest arguments]

CPython's own allocator would hide most errors, so each object gets a block of malloc; what
valgrind finds in CPython alone is left out.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
OURS = ("/salver/_http2/", "libnghttp2")
# Tests that look at the memory of the process see valgrind's; large bodies only take time.
LEFT_OUT = "not memory and not leave_nothing_behind and not 20000000 and not fuzz"


def run(report: Path, arguments: list[str]) -> int:
    """Run pytest under valgrind; return its exit status."""
    command = ["valgrind", "--xml=yes", f"--xml-file={report}", "--leak-check=full"]
    command += ["--show-leak-kinds=definite", "--num-callers=40", sys.executable, "-m", "pytest"]
    command += ["-q", "-p", "no:cacheprovider", "-k", LEFT_OUT]
    command += arguments or sorted(map(str, HERE.glob("test_http2_session*.py")))
    environment = os.environ | {"PYTHONMALLOC": "malloc"}
    return subprocess.run(command, env=environment, cwd=HERE.parents[1]).returncode


def findings(report: Path) -> list[str]:
    """One text per error whose stack passes through the binding or nghttp2."""
    found = []
    for error in ElementTree.parse(report).iter("error"):
        frames = list(error.iter("frame"))
        if any(ours in frame.findtext("obj", "") for ours in OURS for frame in frames):
            stack = "\n".join(f"    {f.findtext('fn')} {f.findtext('obj')}" for f in frames)
            what = error.findtext("what") or error.findtext("xwhat/text")
            found.append(f"{error.findtext('kind')}: {what}\n{stack}")
    return found


def main() -> int:
    """Report and say by the exit status whether the binding is clean."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "valgrind.xml")
        status = run(report, sys.argv[1:])
        found = findings(report)
    print(*found, f"{len(found)} findings", sep="\n")
    return status or bool(found)


if __name__ == "__main__":
    sys.exit(main())
