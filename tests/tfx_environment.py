"""An environment with TFX's Pusher, apart from that of the tests: what TFX asks for clashes.

TFX as a whole cannot be installed: its release of ml-metadata was never published. Pusher needs
little of the rest, so the packages are installed without what they ask for, and what it only
imports is stood in for by `tests/process/tfx_push.py`.
"""

import subprocess
import sys
from pathlib import Path

VERSION = "1.21.0"
PLACE = Path(__file__).resolve().parents[1] / ".cache" / f"tfx-{VERSION}"
_ALONE = (
    f"tfx=={VERSION}", f"ml-pipelines-sdk=={VERSION}", "ml-metadata>=1.17",
    "tensorflow-metadata>=1.17", "googleapis-common-protos>=1.66",
)  # fmt: skip
_WITH_DEPENDENCIES = (
    "absl-py<2", "attrs<26", "grpcio<2", "packaging>=22", "protobuf>=6,<7", "six",
    "typing-extensions",
)  # fmt: skip


class NotInstallable(Exception):
    """The packages cannot be had here; the text tells why."""


def tfx_python() -> Path:
    """The interpreter of the environment, which is made once and kept.

    Raises:
        NotInstallable: pip finds or gets them not.
    """
    python = PLACE / "bin" / "python"
    finished = PLACE / ".installed"
    if not finished.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PLACE)], check=True)
        for packages in (("--no-deps", *_ALONE), _WITH_DEPENDENCIES):
            done = subprocess.run(
                [
                    python,
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    *packages,
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise NotInstallable(done.stderr[-500:])
        finished.touch()
    return python
