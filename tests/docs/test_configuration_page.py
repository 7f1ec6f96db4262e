import re
from pathlib import Path

import pytest

from salver.codecs.messages import parse_text
from salver.config.flags import DECLARATIONS
from salver.config.page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
FILES = {
    "model_config_file": "tensorflow.serving.ModelServerConfig",
    "monitoring_config_file": "tensorflow.serving.MonitoringConfig",
    "ssl_config_file": "tensorflow.serving.SSLConfig",
    "tensorflow_session_config_file": "tensorflow.ConfigProto",
}


def test_the_page_is_what_the_declarations_print() -> None:
    assert PAGE.read_text() == page(), "run python -m salver.config.page > docs/configuration.md"


@pytest.mark.parametrize("name", [declaration.name for declaration in DECLARATIONS])
def test_every_flag_has_a_row(name: str) -> None:
    (row,) = [line for line in page().splitlines() if line.startswith(f"| `--{name}` |")]
    assert len(re.split(r"(?<!\\)\|", row)) == 7


@pytest.mark.parametrize(("flag", "message"), FILES.items())
def test_the_example_of_each_file_can_be_read(flag: str, message: str) -> None:
    section = page().split(f"### `--{flag}`")[1]
    example = section.split("```textproto\n")[1].split("```")[0]
    assert parse_text(message, example).ListFields()
