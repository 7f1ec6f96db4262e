"""The sample model of `make serve` is what a server expects on disk."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.slow
def test_the_exported_model_is_a_complete_version_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    program = EXAMPLES / "export_sample_model.py"
    done = subprocess.run(
        [sys.executable, program, tmp_path / "rent"], capture_output=True, text=True, check=True
    )
    version = Path(done.stdout.strip())
    assert [version] == list((tmp_path / "rent").iterdir())
    assert version.name.isdecimal()
    assert (version / "saved_model.pb").is_file()
    assert "off by" in done.stderr
