"""What lies in `packaging`: the container's entry, and the unit for systemd."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import RunningServer

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
ENTRYPOINT = PACKAGING / "docker" / "tf_serving_entrypoint.sh"


def test_the_containers_entry_serves_the_model_that_the_environment_names(
    constant_template: Path, tmp_path: Path
) -> None:
    shutil.copytree(constant_template, tmp_path / "my_model" / "7")
    server = RunningServer(
        command=[str(ENTRYPOINT)],
        environment={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MODEL_BASE_PATH": str(tmp_path),
            "MODEL_NAME": "my_model",
        },
    )
    with server:
        status = subprocess.run(
            ["curl", "--silent", "--fail", f"{server.url}/v1/models/my_model"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert '"version": "7"' in status.stdout


def test_arguments_after_the_image_win_and_the_ports_are_those_of_the_original(
    tmp_path: Path,
) -> None:
    stand_in = tmp_path / "tensorflow_model_server"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment |= {"MODEL_BASE_PATH": "/models", "MODEL_NAME": "a model"}
    shown = subprocess.run(
        [str(ENTRYPOINT), "--port=9000", "--enable_batching"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == [
        "--port=8500",
        "--rest_api_port=8501",
        "--model_name=a model",
        "--model_base_path=/models/a model",
        "--port=9000",
        "--enable_batching",
    ]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_images_have_the_ports_folders_and_names_of_the_original(name: str) -> None:
    text = (PACKAGING / "docker" / name).read_text()
    assert "EXPOSE 8500 8501" in text
    assert "MODEL_BASE_PATH=/models" in text
    assert "MODEL_NAME=model" in text
    copied = re.findall(r"^COPY (packaging/\S+)", text, re.M)
    assert all((PACKAGING.parent / path).exists() for path in copied)
    extras = re.search(r"^ARG EXTRAS=(\S+)", text, re.M)
    assert extras is not None
    assert f"\n{extras[1]} = [" in (PACKAGING.parent / "pyproject.toml").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = (PACKAGING / "systemd" / "salver.service").read_text()
    # It looks for the program, too.
    command = Path(sys.executable).with_name("salver")
    here = tmp_path / "salver.service"
    here.write_text(unit.replace("/opt/salver/bin/salver", str(command)))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)],
        capture_output=True,
        text=True,
        check=False,
    )
    mistakes = [line for line in verified.stderr.splitlines() if "salver.service" in line]
    assert mistakes == []
