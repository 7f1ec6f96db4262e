"""Recorded exchanges with the original server, sent again to ours.

They lie beside the repository, where they are there at all. A group is named here once
everything in it is answered alike.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RECORDINGS = Path(__file__).resolve().parents[2].parent / "shared" / "golden"
COMMAND = Path(sys.executable).with_name("tensorflow_model_server")

GROUPS = [
    "batching", "classify", "column", "flags", "grpc_classify", "grpc_metadata", "grpc_misc",
    "grpc_multi", "grpc_predict", "grpc_regress", "grpc_reload", "grpc_status", "grpc_tensor",
    "http", "json", "metadata", "metrics", "output", "regress", "row", "runtime", "start",
    "status", "timing", "types", "url",
]  # fmt: skip


def differences(*choice: str) -> list[str]:
    """What differs from the recordings so chosen; fails if nothing was compared."""
    command = [sys.executable, str(RECORDINGS / "replay.py"), str(RECORDINGS / "open")]
    command += ["--launch", str(COMMAND), "--json", *choice]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        pytest.fail(f"{done.stdout}\n{done.stderr}")
    assert report["total"] > 0
    return [
        f"{failure['id']} [{failure['setup']}]: {failure['difference']}"
        for failure in report["failures"]
    ]


pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here")


@pytest.mark.parametrize("group", GROUPS)
def test_every_exchange_of_the_group_is_answered_alike(group: str) -> None:
    assert differences("--group", group) == []
