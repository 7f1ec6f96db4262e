"""What libraries say of themselves while they are opened, kept out of what a command prints.

TensorFlow tells that oneDNN is used, and that it is too early to tell anything, before any setting
of its log counts. Other lines of libraries, in this process and in those it starts, go on to
standard error as they come; also the last ones of a process that is ended by a signal.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STANDARD_ERROR = 2
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_ENDS_WITHIN_S = 5.0
# A process of its own, which still has the last words of one that is killed.
_FILTER = """
import sys
for line in sys.stdin.buffer:
    if not line.startswith((b"I0000 ", b"WARNING: All log messages before absl::InitializeLog()")):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextmanager
def greetings_kept_off() -> Iterator[None]:
    """Within, standard error is without them; `TF_CPP_MIN_LOG_LEVEL=0` lets them through."""
    if not _is_real(sys.stderr) or os.environ.get(_LEVEL) == "0":
        yield
        return
    own = os.dup(_STANDARD_ERROR)
    lines = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FILTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # Ctrl-C is for the command, which may have something to say after it.
        start_new_session=True,
    )
    assert lines.stdin is not None
    os.dup2(lines.stdin.fileno(), _STANDARD_ERROR)
    lines.stdin.close()
    ours, sys.stderr = sys.stderr, os.fdopen(own, "w", 1, errors="backslashreplace")
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(own, _STANDARD_ERROR)
        sys.stderr.close()
        sys.stderr = ours
        # A process that was started and goes on holds the other end; nobody waits for it.
        with suppress(subprocess.TimeoutExpired):
            lines.wait(_ENDS_WITHIN_S)


def _is_real(stream: object) -> bool:
    """Whether it is the one that libraries write to, and not what a test put there."""
    try:
        return stream is sys.__stderr__ and sys.stderr.fileno() == _STANDARD_ERROR
    except (OSError, ValueError, AttributeError):
        return False
