import logging
from pathlib import Path

import pytest

from salver.config.text_file import read_text_file
from salver.errors import Code, ServingError

MODEL_SERVER_CONFIG = "tensorflow.serving.ModelServerConfig"


def fault_of(path: Path) -> ServingError:
    with pytest.raises(ServingError) as caught:
        read_text_file(str(path), MODEL_SERVER_CONFIG)
    return caught.value


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "absent.config"
    assert fault_of(path).status == f"NOT_FOUND: {path}; No such file or directory"


def test_a_file_of_zero_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.touch()
    assert fault_of(path).status == f"INVALID_ARGUMENT: {path}; Invalid argument"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert fault_of(tmp_path).status == f"FAILED_PRECONDITION: {tmp_path}; Is a directory"


def test_a_path_through_a_file_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "models.config"
    assert fault_of(path).status == f"FAILED_PRECONDITION: {path}; Not a directory"


def test_a_path_that_the_system_cannot_take_is_refused() -> None:
    assert fault_of(Path("a\0b")).code is Code.INVALID_ARGUMENT


def test_any_other_fault_of_the_system_keeps_its_words(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    assert fault_of(path).status == f"UNKNOWN: {path}; File name too long"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("# nothing here\n", id="a comment"),
        pytest.param(" \n", id="white space"),
    ],
)
def test_a_file_without_fields_is_an_empty_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "models.config"
    path.write_text(text)
    assert read_text_file(str(path), MODEL_SERVER_CONFIG).WhichOneof("config") is None


def test_a_comment_may_be_in_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_bytes(b"# gr\xfcn\nmodel_config_list {}\n")
    message = read_text_file(str(path), MODEL_SERVER_CONFIG)
    assert message.WhichOneof("config") == "model_config_list"


@pytest.mark.parametrize(
    ("content", "line_and_column"),
    [
        pytest.param(b"x", "1:2", id="no such field"),
        pytest.param(b'model_config_list {\n  config { name: "a"\n', "3:1", id="not closed"),
        pytest.param(b"model_config_list { config { name: 3 } }", "1:36", id="wrong type"),
        pytest.param(
            b"model_config_list { config { name: '\xff' } }", "1:36", id="no text in a string"
        ),
    ],
)
def test_text_that_is_no_such_message_is_refused_and_the_place_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, line_and_column: str
) -> None:
    path = tmp_path / "models.config"
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        fault = fault_of(path)
    assert fault.status == f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'"
    (line,) = caplog.messages
    assert line.startswith(
        f"Error parsing text-format tensorflow.serving.ModelServerConfig: {line_and_column}: "
    )
