import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from salver.backends.onnx import BACKEND, OnnxLoader
from salver.backends.onnx_servable import OnnxServable
from salver.core.backend import BackendOptions
from salver.core.data_type import DataType
from salver.errors import (
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServingError,
    Unavailable,
    Unimplemented,
)
from tests import onnx_models
from tests.backends.asking import ask, texts

Load = Callable[[Any], OnnxServable]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads a model by name, or one that was made by the test."""
    loaders: list[OnnxLoader] = []

    def load(model: Any) -> OnnxServable:
        made = onnx_models.MAKERS[model]() if isinstance(model, str) else model
        path = onnx_models.write(made, tmp_path / str(len(loaders)))
        loaders.append(OnnxLoader(path, BackendOptions(model_name="net")))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


def test_the_signature_has_the_names_types_and_shapes_of_the_graph(load: Load) -> None:
    signature = load("mixed").signatures["serving_default"]

    assert signature.method_name == "tensorflow/serving/predict"
    assert {name: (s.data_type, s.shape) for name, s in signature.inputs.items()} == {
        "x": (DataType.FLOAT, (-1, 3)),
        "counts": (DataType.INT64, (-1, 3)),
        "words": (DataType.STRING, (-1,)),
    }
    assert {name: (s.data_type, s.shape) for name, s in signature.outputs.items()} == {
        "sum": (DataType.FLOAT, (-1, 3)),
        "is_larger": (DataType.BOOL, (-1, 3)),
        "same_words": (DataType.STRING, (-1,)),
    }


def test_a_scalar_is_not_taken_for_an_unknown_rank(load: Load) -> None:
    signature = load("ranks").signatures["serving_default"]

    assert signature.inputs["number"].shape == ()
    assert signature.inputs["any"].shape is None
    assert signature.outputs["same_number"].shape == ()
    assert signature.outputs["same_any"].shape is None


def test_several_inputs_and_outputs_keep_their_types(load: Load) -> None:
    x = np.array([[1, 5, 9]], np.float32)

    answers = ask(
        load("mixed"), {"words": texts(b"a"), "counts": np.array([[2, 2, 2]]), "x": x}
    )  # not in the order of the graph

    assert answers["sum"].tolist() == [[3, 7, 11]]
    assert answers["is_larger"].tolist() == [[False, True, True]]
    assert answers["same_words"].tolist() == [b"a"]
    assert [array.dtype.kind for array in answers.values()] == ["f", "b", "O"]


def test_outputs_may_be_chosen_and_come_in_that_order(load: Load) -> None:
    program = load("mixed").program(("x", "counts", "words"), ("same_words", "sum", "sum"))

    words, one, two = program.run(
        [np.ones((1, 3), np.float32), np.ones((1, 3), np.int64), texts(b"a")]
    )

    assert words.tolist() == [b"a"]
    assert one.tolist() == two.tolist() == [[2, 2, 2]]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([b"", b"a\0b\0", "é".encode(), b"x" * 70_000], id="bytes"),
        pytest.param([], id="none"),
    ],
)
def test_strings_keep_every_character(load: Load, words: list[bytes]) -> None:
    answers = ask(load(onnx_models.echo(TensorProto.STRING)), {"x": texts(*words)})

    assert answers["y"].tolist() == words


def test_strings_keep_their_shape(load: Load) -> None:
    words = texts(b"a", b"b", b"c", b"d").reshape(2, 2)

    answers = ask(load(onnx_models.echo(TensorProto.STRING)), {"x": words})

    assert answers["y"].tolist() == [[b"a", b"b"], [b"c", b"d"]]


def test_bytes_that_are_no_text_are_refused(load: Load) -> None:
    with pytest.raises(InvalidArgument, match='expects input "x" to be text in UTF-8'):
        ask(load(onnx_models.echo(TensorProto.STRING)), {"x": texts(b"a", b"\xff")})


@pytest.mark.parametrize(
    ("number", "array"),
    [
        (TensorProto.FLOAT, np.array([0.5, -2, np.inf], np.float32)),
        (TensorProto.DOUBLE, np.array([1e-300, 2.5])),
        (TensorProto.FLOAT16, np.array([0.5, 65504], np.float16)),
        (TensorProto.INT8, np.array([-128, 127], np.int8)),
        (TensorProto.INT16, np.array([-(2**15), 3], np.int16)),
        (TensorProto.INT32, np.array([-(2**31), 7], np.int32)),
        (TensorProto.INT64, np.array([-(2**63), 2**63 - 1])),
        (TensorProto.UINT8, np.array([0, 255], np.uint8)),
        (TensorProto.UINT16, np.array([0, 2**16 - 1], np.uint16)),
        (TensorProto.UINT32, np.array([0, 2**32 - 1], np.uint32)),
        (TensorProto.UINT64, np.array([0, 2**64 - 1], np.uint64)),
        (TensorProto.BOOL, np.array([True, False])),
    ],
    ids=lambda each: TensorProto.DataType.Name(each) if isinstance(each, int) else "",
)
def test_every_type_keeps_its_values_both_ways(load: Load, number: int, array: np.ndarray) -> None:
    answer = ask(load(onnx_models.echo(number)), {"x": array})["y"]

    assert answer.dtype == array.dtype
    assert answer.tolist() == array.tolist()


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6, dtype=np.float32)[::2], id="strided"),
        pytest.param(np.arange(6).astype(">f4"), id="big-endian"),
        pytest.param(np.zeros((0, 3), np.float32), id="empty"),
        pytest.param(np.array(7, np.float32), id="scalar"),
        pytest.param(np.frombuffer(bytearray(range(41)), np.float32, 10, 1), id="unaligned"),
        pytest.param(np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), id="turned"),
    ],
)
def test_arrays_of_any_layout_are_taken(load: Load, array: np.ndarray) -> None:
    answer = ask(load(onnx_models.echo(TensorProto.FLOAT)), {"x": array})["y"]

    np.testing.assert_array_equal(answer, array)


def test_scores_by_class_become_columns(load: Load) -> None:
    servable = load("classifier")
    rows = np.eye(3, dtype=np.float32)

    answers = ask(servable, {"X": rows})

    assert answers["output_label"].tolist() == [b"ant", b"bee", b"cat"]
    scores = answers["output_probability"]
    assert scores.shape == (3, 3)
    assert scores.dtype == np.float32
    assert scores.argmax(1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    assert servable.signatures["serving_default"].outputs["output_probability"].shape == (-1, -1)
    assert ask(servable, {"X": rows[:0]})["output_probability"].shape == (0, 0)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        pytest.param(
            {"x": np.ones((1, 3), np.int32)},
            'Model net, signature "serving_default": expects input "x" to be float but int32 is '
            "provided",
            id="type",
        ),
        pytest.param(
            {"x": np.ones((1, 4), np.float32)},
            'Model net, signature "serving_default": expects input "x" to have shape [?,3] but '
            "[1,4] is provided",
            id="size",
        ),
        pytest.param(
            {"x": np.ones(3, np.float32)},
            'Model net, signature "serving_default": expects input "x" to have shape [?,3] but '
            "[3] is provided",
            id="rank",
        ),
    ],
)
def test_inputs_that_do_not_fit_name_what_was_expected(
    load: Load, inputs: dict[str, np.ndarray], message: str
) -> None:
    good: dict[str, np.ndarray] = {
        "x": np.ones((1, 3), np.float32),
        "counts": np.ones((1, 3), np.int64),
    }

    with pytest.raises(InvalidArgument) as raised:
        ask(load("mixed"), {**good, "words": texts(b"a"), **inputs})

    assert raised.value.message == message


@pytest.mark.parametrize(
    ("model", "inputs", "error", "text"),
    [
        pytest.param(
            "matrices",
            {"a": np.ones((2, 3), np.float32), "b": np.ones((4, 5), np.float32)},
            InvalidArgument,
            "MatMul",
            id="sizes that do not fit each other",
        ),
        pytest.param(
            "chosen", {"places": np.array([7])}, InvalidArgument, "out of data bounds", id="values"
        ),
        pytest.param(
            "filled", {"shape": np.array([2**42])}, ResourceExhausted, "allocate", id="memory"
        ),
        pytest.param(
            "filled",
            {"shape": np.array([2**40, 2**40])},
            InvalidArgument,
            "overflow",
            id="beyond all memory",
        ),
        pytest.param("filled", {"shape": np.array([-5])}, InvalidArgument, "", id="negative"),
    ],
)
def test_what_a_node_cannot_compute_is_an_error_of_the_request(
    load: Load,
    model: str,
    inputs: dict[str, np.ndarray],
    error: type[ServingError],
    text: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    servable = load(model)

    with pytest.raises(error) as raised:
        ask(servable, inputs)

    assert raised.value.message.startswith("Model net: Non-zero status code returned while running")
    assert text in raised.value.message
    assert "\n" not in raised.value.message
    assert capfd.readouterr().err == ""  # nor does the runtime write it beside our log


def test_a_program_needs_each_input_and_knows_its_outputs(load: Load) -> None:
    servable = load("half_plus_two")

    for feeds, fetches in ((("x", "x"), ("y",)), ((), ("y",)), (("x",), ("halved",))):
        with pytest.raises(InvalidArgument, match="Model net has no way from"):
            servable.program(feeds, fetches).run([np.ones(1, np.float32)] * len(feeds))


def test_a_program_of_an_unloaded_version_says_so(tmp_path: Path) -> None:
    path = onnx_models.write(onnx_models.half_plus_two(), tmp_path)
    loader = OnnxLoader(path, BackendOptions(model_name="net"))
    program = loader.load().program(("x",), ("y",))
    loader.unload()

    with pytest.raises(Unavailable):
        program.run([np.ones(1, np.float32)])


def test_external_data_is_read_from_the_folder_of_the_version(load: Load, tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    np.arange(5, dtype=np.float32).tofile(tmp_path / "0" / "weights.bin")

    servable = load(onnx_models.external("weights.bin", offset=4, length=16))

    assert ask(servable, {"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("entries", "error", "text"),
    [
        pytest.param({"location": "../w.bin"}, InvalidArgument, "escapes", id="above"),
        pytest.param({"location": "a/../../w.bin"}, InvalidArgument, "escapes", id="in disguise"),
        pytest.param({"location": "/etc/hostname"}, InvalidArgument, "Absolute", id="absolute"),
        pytest.param({"location": "link.bin"}, InvalidArgument, "escapes", id="symbolic link"),
        pytest.param({"location": "no.bin"}, NotFound, "does not exist", id="missing"),
        pytest.param(
            {"location": "w.bin", "offset": 2**40}, InvalidArgument, "bounds", id="beyond the end"
        ),
        pytest.param(
            {"location": "w.bin", "offset": -16},
            InvalidArgument,
            "bounds",
            id="before the beginning",
        ),
        pytest.param(
            {"location": "w.bin", "length": 2**40}, InvalidArgument, "length", id="too long"
        ),
    ],
)
def test_external_data_cannot_lie_elsewhere(
    load: Load, tmp_path: Path, entries: Mapping[str, Any], error: type[ServingError], text: str
) -> None:
    (tmp_path / "0" / "a").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "0"):
        np.zeros(4, np.float32).tofile(folder / "w.bin")
    (tmp_path / "0" / "link.bin").symlink_to(tmp_path / "w.bin")

    with pytest.raises(error, match=text) as raised:
        load(onnx_models.external(**entries))

    assert raised.value.message.startswith("Model net: model.onnx")


def damaged() -> dict[str, bytes]:
    whole = onnx_models.half_plus_two().SerializeToString()
    return {
        "empty": b"",
        "cut in half": whole[: len(whole) // 2],
        "last byte gone": whole[:-1],
        "text": b"this is no model, but it is long enough to be one",
        "zeros": bytes(4096),
        "random": np.random.default_rng(1).bytes(4096),
        "a length of 10 GB": whole[:-40] + b"\x3a\x80\x80\x80\x80\x28",
    }


@pytest.mark.parametrize("damage", damaged())
def test_a_damaged_file_is_refused(load: Load, damage: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^Model net: model\.onnx is no model"):
        load(damaged()[damage])


def newer(**changes: Any) -> Any:
    model = onnx_models.half_plus_two()
    for change, number in changes.items():
        if change == "opset":
            model.opset_import[0].version = number
        elif change == "operation":
            model.graph.node[0].op_type = number
        elif change == "domain":
            model.graph.node[0].domain = number
            model.opset_import.add(domain=number, version=1)
        else:
            setattr(model, change, number)
    return model


@pytest.mark.parametrize(
    "changes",
    [{"ir_version": 99}, {"opset": 99}, {"operation": "Future"}, {"domain": "my.operations"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_model_newer_than_the_runtime_says_so(load: Load, changes: dict[str, Any]) -> None:
    with pytest.raises(Unimplemented, match="this version of ONNX Runtime does not know"):
        load(newer(**changes))


@pytest.mark.parametrize("size", [2**40, -4, 5])
def test_a_tensor_that_claims_another_size_than_it_has_is_refused(load: Load, size: int) -> None:
    model = onnx_models.chosen()
    model.graph.initializer[0].dims[:] = [size]

    with pytest.raises(InvalidArgument):
        load(model)


def test_an_input_that_no_array_can_hold_is_refused(load: Load) -> None:
    with pytest.raises(Unimplemented, match=r'input "x" of model.onnx is of the type tensor\(bfl'):
        load(onnx_models.echo(TensorProto.BFLOAT16))


def test_no_byte_of_a_file_can_end_the_process(tmp_path: Path) -> None:
    path = onnx_models.write(onnx_models.classifier(), tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "tests.backends.damage", path],
        capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    # A model may print: its own lines come before ours.
    refused, loaded = map(int, done.stdout.splitlines()[-1].split())
    assert refused
    assert loaded


def test_a_folder_is_detected_by_its_file(tmp_path: Path) -> None:
    assert not BACKEND.detects(tmp_path)
    assert BACKEND.lacking(["weights.bin"]) == "model.onnx"

    onnx_models.write(onnx_models.half_plus_two(), tmp_path)

    assert BACKEND.detects(tmp_path)
    assert BACKEND.lacking(["model.onnx"]) is None
    assert BACKEND.estimated_bytes(tmp_path) == os.path.getsize(tmp_path / "model.onnx")
