import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from salver.backends.tflite import TfLiteLoader
from salver.errors import (
    AlreadyExists,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    NotFound,
)
from tests.backends.asking import Load
from tests.tflite_models import (
    file_of,
    map_of_strings,
    path_of,
    tensor_info,
    with_metadata,
    with_signatures,
)


def test_a_type_that_tensorflow_serving_does_not_know_is_refused(load_lite: Load) -> None:
    with pytest.raises(InternalError) as raised:
        load_lite("double_precision")

    assert raised.value.message == "Unknown TfLite type: 11"


def damaged_files(whole: bytes) -> dict[str, bytes]:
    rest = np.random.default_rng(1).bytes(len(whole) - 8)
    return {
        "empty": b"",
        "short": whole[:7],
        "cut after the head": whole[:40],
        "cut in half": whole[: len(whole) // 2],
        "last byte gone": whole[:-1],
        "wrong magic": whole.replace(b"TFL3", b"TFL9"),
        "random": whole[:8] + rest,
        "no FlatBuffer": b"this is no model, but it is long enough to be one",
        "huge offset": b"\xf0\xff\xff\x7f" + whole[4:],
        "zeros": bytes(4096),
    }


@pytest.mark.parametrize("damage", damaged_files(bytes(100)))
def test_a_damaged_file_is_refused(load_lite: Load, tflite_folder: Path, damage: str) -> None:
    whole = file_of(tflite_folder, "plain").read_bytes()

    with pytest.raises(InvalidArgument) as raised:
        load_lite(damaged_files(whole)[damage])

    assert raised.value.message == "Cannot build FlatBufferModel from buffer."


def test_an_operation_that_the_runtime_does_not_have_is_refused(
    load_lite: Load, tflite_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = file_of(tflite_folder, "examples").read_bytes()

    with pytest.raises(InternalError) as raised:
        load_lite(data.replace(b"ParseExampleV2\0", b"ParseExampleV9\0"))

    assert raised.value.message == "Failed to allocate tensors"
    assert "ParseExampleV9" in caplog.messages[-1]


def test_signatures_that_cannot_be_read_are_refused(load_lite: Load, tflite_folder: Path) -> None:
    data = file_of(tflite_folder, "plain").read_bytes()

    for content in (
        map_of_strings({"serving_default": b"\xff\xff"}),
        map_of_strings({"serving_default": b"\x0a\x05a"})[:-1] + b"\x09",
    ):
        with pytest.raises(InvalidArgument) as raised:
            load_lite(with_metadata(data, content))
        assert raised.value.message == (
            "Invalid SignatureDefs found in TfLite model: "
            "Cannot parse signature def found in flatbuffer."
        )


def test_metadata_without_a_signature_counts_as_none(load_lite: Load, tflite_folder: Path) -> None:
    data = file_of(tflite_folder, "plain").read_bytes()

    servable = load_lite(with_metadata(data, map_of_strings({})))

    assert list(servable.signatures["serving_default"].inputs) == ["serving_default_x"]


def test_a_signature_of_an_unknown_tensor_is_refused(load_lite: Load, tflite_folder: Path) -> None:
    data = file_of(tflite_folder, "plain").read_bytes()
    x, y = (tensor_info(name, 1, [-1]) for name in ("nowhere:0", "PartitionedCall:0"))

    with pytest.raises(InternalError) as raised:
        load_lite(with_signatures(data, {"serving_default": ({"x": x}, {"y": y})}))

    assert raised.value.message == (
        "Unknown tensor 'nowhere:0'.\n\tSignature input x references an unknown tensor"
    )


def test_two_inputs_of_one_name_are_refused(load_lite: Load, tflite_folder: Path) -> None:
    data = file_of(tflite_folder, "matrix").read_bytes()

    with pytest.raises(AlreadyExists) as raised:
        load_lite(data.replace(b"serving_default_z:0", b"serving_default_x:0"))

    assert raised.value.message == ("Input tensor name: serving_default_x:0 has multiple indices")


def test_without_a_file_there_is_nothing_to_load(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"model\.tflite"):
        TfLiteLoader(str(tmp_path)).load()
    (tmp_path / "model.tflite").mkdir()
    with pytest.raises(FailedPrecondition, match="directory"):
        TfLiteLoader(str(tmp_path)).load()


def test_a_missing_runtime_is_one_line_with_what_to_do(
    tflite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)

    with pytest.raises(FailedPrecondition) as raised:
        TfLiteLoader(path_of(tflite_folder, "plain")).load()

    assert raised.value.message == (
        "TensorFlow Lite is not installed: model.tflite needs `pip install 'salver[tflite]'`"
    )


def test_no_byte_that_is_turned_round_ends_the_process(tflite_folder: Path) -> None:
    # In a child, so that a crash is a failure of this test alone.
    command = [sys.executable, "-m", "tests.backends.damage", path_of(tflite_folder, "plain")]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    refused, loaded = map(int, done.stdout.split())
    assert refused > 100
    assert loaded > 100
