"""Inputs from files, text, tables, requests and images, and how they are made to fit."""

import io
import json
import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from salver.codecs.messages import message_class
from salver.core.data_type import DataType
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument, NotFound, PermissionDenied, ServingError
from salver.trial.fitting import fitted
from salver.trial.image_files import ImageOptions
from salver.trial.inputs import GivenInputs, Inputs


def signature(**inputs: tuple[DataType, tuple[int, ...] | None]) -> Signature:
    specs = {name: TensorSpec(name, kind, shape) for name, (kind, shape) in inputs.items()}
    return Signature("serving_default", specs, {})


PAIR = signature(x=(DataType.FLOAT, (-1, 2)), n=(DataType.INT64, (-1,)))
WORDS = signature(words=(DataType.STRING, (-1,)))


def given(to: Signature, **forms: object) -> dict[str, np.ndarray]:
    return Inputs(GivenInputs(**forms)).arrays(to)  # type: ignore[arg-type]


def error_of(to: Signature, **forms: object) -> str:
    with pytest.raises(ServingError) as raised:
        given(to, **forms)
    assert "\n" not in raised.value.message
    return raised.value.message


def test_arrays_come_from_files_of_numpy(tmp_path: Path) -> None:
    x, n = np.array([[1.5, 2]]), np.array([7])
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "more.npz", n=n, other=x)
    np.savez(tmp_path / "one.npz", x)

    found = given(PAIR, files=f"x={tmp_path}/x.npy;n={tmp_path}/more.npz[n];")
    assert found["x"].dtype == np.float32
    assert (found["x"].tolist(), found["n"].tolist()) == ([[1.5, 2]], [7])
    assert given(PAIR, files=f"x={tmp_path}/one.npz", expressions="n=[1]")["x"].tolist() == [
        [1.5, 2]
    ]

    assert "holds 2 arrays: name one" in error_of(PAIR, files=f"x={tmp_path}/more.npz")
    message = error_of(PAIR, files=f"x={tmp_path}/more.npz[othr]")
    assert message == f"{tmp_path}/more.npz holds no array 'othr'; did you mean 'other'?"
    message = error_of(PAIR, files=f"x={tmp_path}/none.npy")
    assert message == f"{tmp_path}/none.npy: there is no such file"
    assert "is not of the form NAME=FILE" in error_of(PAIR, files=str(tmp_path / "x.npy"))
    assert "the input 'x' is given twice" in error_of(PAIR, files="x=a.npy;x=b.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    assert "cut.npy cannot be read" in error_of(PAIR, files=f"x={tmp_path}/cut.npy")
    (tmp_path / "empty.npy").touch()
    assert error_of(PAIR, files=f"x={tmp_path}/empty.npy") == f"{tmp_path}/empty.npy is empty"


class _Trap:
    """Makes a file where it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize("form", ["pickle", "npy", "npz"])
def test_a_pickle_is_loaded_only_when_that_is_said(tmp_path: Path, form: str) -> None:
    trap, path = tmp_path / "sprung", tmp_path / f"x.{form}"
    held = _Trap(str(trap))
    if form == "pickle":
        path.write_bytes(pickle.dumps(held))
    elif form == "npy":
        np.save(path, np.array([held], object))
    else:
        np.savez(path, np.array([held], object))

    with pytest.raises(PermissionDenied, match="--allow_pickle"):
        given(PAIR, files=f"x={path}")
    assert not trap.exists()


def test_a_pickle_that_is_trusted_may_hold_arrays_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"a": np.ones((1, 2)), "b": [3]}))
    found = given(PAIR, files=f"x={path}[a];n={path}[b]", allow_pickle=True)
    assert found["n"].tolist() == [3]
    message = error_of(PAIR, files=f"x={path}[c]", allow_pickle=True)
    assert message == f"{path} holds no array 'c'; there are: 'a', 'b'"
    (tmp_path / "broken.pkl").write_bytes(b"no pickle at all")
    assert "cannot be read" in error_of(PAIR, files=f"x={tmp_path}/broken.pkl", allow_pickle=True)


def test_a_semicolon_within_quotes_or_brackets_parts_nothing() -> None:
    found = given(WORDS, expressions='words=[\'a;b\', "c=\\";"];')
    assert found["words"].tolist() == [b"a;b", b'c=";']


def test_what_is_given_twice_counts_as_given_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "n.npy", np.array([1]))
    (tmp_path / "rows.csv").write_text("n\n3\n")
    flags = {"files": f"n={tmp_path}/n.npy", "expressions": "n=[2];x=[[1, 2]]"}
    assert given(PAIR, **flags)["n"].tolist() == [2]
    assert "input n is given by --inputs and --input_exprs: the latter counts" in caplog.text
    assert given(PAIR, **flags, csv=str(tmp_path / "rows.csv"))["n"].tolist() == [3]


def test_the_input_is_named_in_what_is_wrong_with_its_expression() -> None:
    message = error_of(PAIR, expressions="x=np.one((1, 2));n=[1]")
    assert message.startswith("--input_exprs: x: np.one cannot be used")
    message = error_of(PAIR, expressions="X=[[1, 2]];n=[1]")
    assert message == "signature 'serving_default' has no input 'X'; did you mean 'x'?"
    message = error_of(PAIR, expressions="x=[[1, 2]]")
    assert message == "signature 'serving_default' needs n, too; x is given"


def test_examples_are_dictionaries_of_features() -> None:
    text = """words=[{"age": [22.0, 3], "n": [1, -2], "name": ["Ada", b"\\xff"], "none": []}, {}]"""
    first, second = given(WORDS, examples=text)["words"]

    features = message_class("tensorflow.Example").FromString(first).features.feature
    assert list(features["age"].float_list.value) == [22.0, 3.0]
    assert list(features["n"].int64_list.value) == [1, -2]
    assert list(features["name"].bytes_list.value) == [b"Ada", b"\xff"]
    assert features["none"].WhichOneof("kind") is None
    assert second == b""
    (json_true,) = given(WORDS, examples='words=[{"x": [true]}]')["words"]
    assert json_true == given(WORDS, examples="words=[{'x': [1]}]")["words"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("words={'a': [1]}", "examples are a list of dictionaries"),
        ("words=[[1]]", "an example is a dictionary, not [1]"),
        ("words=[{'a': [1, 'b']}]", "feature 'a': [1, 'b'] is not a list of numbers or of strings"),
        ("words=[{'a': [2**70]}]", "it holds more than literals"),
        ("words=[{'a': [99999999999999999999]}]", "does not fit"),
        ("words=[{1: [1]}]", "a feature's name is a string, not 1"),
        ("words=[open('x')]", "it holds more than literals"),
        ("words=[{'a': [1]", "it is not a Python expression"),
    ],
)
def test_what_is_wrong_with_examples_is_told(text: str, message: str) -> None:
    found = error_of(WORDS, examples=text)
    assert found.startswith("--input_examples: words: ")
    assert message in found


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ({"instances": [{"x": [1, 2], "n": 3}, {"x": [4, 5], "n": 6}]}, [[1, 2], [4, 5]]),
        ({"inputs": {"x": [[1, 2]], "n": [3]}, "signature_name": "other"}, [[1, 2]]),
    ],
)
def test_a_request_body_is_read_as_the_server_reads_it(
    tmp_path: Path, body: dict[str, object], rows: list[list[int]]
) -> None:
    path = tmp_path / "body.json"
    path.write_text(json.dumps(body))
    inputs = Inputs(GivenInputs(json=str(path)))
    assert inputs.signature_name == body.get("signature_name", "")
    assert inputs.arrays(PAIR)["x"].tolist() == rows


def test_a_request_body_may_hold_examples(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_text('{"examples": [{"x": 1.5}]}')
    found = given(WORDS, json=str(path))["words"]
    assert found.tolist() == given(WORDS, examples="words=[{'x': [1.5]}]")["words"].tolist()
    assert "does not take them" in error_of(PAIR, json=str(path))
    path.write_text('{"instances": [{"x": "a", "n": 1}]}')
    assert error_of(PAIR, json=str(path)).startswith(f"{path}: Failed to process element")
    path.write_text("[")
    assert error_of(PAIR, json=str(path)).startswith(f"{path}: JSON Parse error")


def test_columns_of_a_table_are_inputs(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x[1],n,x[0]\n2, 7,1.5\n4,8,3\n")
    found = given(PAIR, csv=str(path))
    assert (found["x"].tolist(), found["n"].tolist()) == ([[1.5, 2], [3, 4]], [7, 8])

    path.write_text('words\n"a, b"\nzw\u00f6lf\n')
    assert given(WORDS, csv=str(path))["words"].tolist() == [b"a, b", "zw\u00f6lf".encode()]
    flags = signature(ok=(DataType.BOOL, (-1, 1)))
    path.write_text("ok\ntrue\nFalse\n1\n")
    assert given(flags, csv=str(path))["ok"].tolist() == [[True], [False], [True]]
    path.write_text("width,height\n1,2\n")
    only = signature(features=(DataType.FLOAT, (-1, 2)))
    assert given(only, csv=str(path))["features"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("x[0],x[1],m\n1,2,3\n", "has a column 'm', which is no input"),
        ("x[0],x[2],n\n1,2,3\n", "the columns of 'x' are not x[0] to x[1]"),
        ("x[0],x[1],n\n1,2,3.5\n", "row 1 of 'n' has ['3.5'], which is not int64"),
        ("x[0],x[1],n\n1,a,3\n", "row 1 of 'x' has ['1', 'a'], which is not float"),
        ("x[0],x[1],n\n1,2\n", "row 1 has 2 cells, but there are 3 columns"),
        ("n,n\n1,2\n", "has the column 'n' twice"),
        ("x[0],x[1],n\n", "needs a line of names and at least one row"),
        ("x[0],x[1],x[2],n\n1,2,3,4\n", "input 'x' has shape [?,2], but [1,3] is given"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "rows.csv").write_text(table)
    assert message in error_of(PAIR, csv=str(tmp_path / "rows.csv"))


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (np.array([1.0, 2]), DataType.INT32, np.array([1, 2], np.int32)),
        (np.array([1, 2]), DataType.FLOAT, np.array([1, 2], np.float32)),
        (np.array([0.1]), DataType.FLOAT, np.array([0.1], np.float32)),
        (np.array([0.1]), DataType.BFLOAT16, np.array([0.1], ml_dtypes.bfloat16)),
        (np.array([np.nan, np.inf]), DataType.HALF, np.array([np.nan, np.inf], np.float16)),
        (np.array([True, False]), DataType.INT8, np.array([1, 0], np.int8)),
        (np.array([1, 0]), DataType.BOOL, np.array([True, False])),
        (np.array([255]), DataType.UINT8, np.array([255], np.uint8)),
        (np.array([2**40 + 1]), DataType.FLOAT, np.array([2**40], np.float32)),
        (np.array([1.5]), DataType.COMPLEX64, np.array([1.5], np.complex64)),
        (np.array([1], ">i4"), DataType.INT32, np.array([1], np.int32)),
        (np.array([1.5], ml_dtypes.bfloat16).view("V2"), DataType.BFLOAT16,
         np.array([1.5], ml_dtypes.bfloat16)),
        (np.array([7, -8]), DataType.INT4, np.array([7, -8], ml_dtypes.int4)),
    ],
)  # fmt: skip
def test_numbers_become_the_declared_type(
    array: np.ndarray, kind: DataType, expected: np.ndarray
) -> None:
    found = fitted("x", array, TensorSpec("x", kind, (-1,)))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_strings_are_plain_bytes() -> None:
    for array in (np.array([b"a", b""]), np.array(["a", ""]), np.array([np.bytes_(b"a"), ""], "O")):
        found = fitted("x", array, TensorSpec("x", DataType.STRING, None))
        assert [(type(value), value) for value in found] == [(bytes, b"a"), (bytes, b"")]


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([1.5]), DataType.INT32), (np.array([300]), DataType.UINT8),
        (np.array([-1]), DataType.UINT64), (np.array([np.nan]), DataType.INT64),
        (np.array([2.0**63]), DataType.INT64), (np.array([1e300]), DataType.FLOAT),
        (np.array([70000.0]), DataType.HALF), (np.array([1j]), DataType.FLOAT),
        (np.array([2]), DataType.BOOL), (np.array(["1"]), DataType.FLOAT),
        (np.array([1]), DataType.STRING), (np.array([b"a", 1], object), DataType.STRING),
        (np.array([8]), DataType.INT4), (np.array([2**64 - 1], np.uint64), DataType.INT64),
        (np.array(["2020"], "M8"), DataType.INT64), (np.array([1]), DataType.RESOURCE),
        (np.zeros((1, 1)), DataType.DOUBLE),
    ],
)  # fmt: skip
def test_what_would_change_is_refused(array: np.ndarray, kind: DataType) -> None:
    with pytest.raises(InvalidArgument, match="input 'x' "):
        fitted("x", array, TensorSpec("x", kind, (-1,)))


def picture(path: Path, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> Path:
    """Left half black, right half white."""
    image = Image.new(mode, size, 0)
    white = (255,) * len(mode) if len(mode) > 1 else 255
    image.paste(white, (size[0] // 2, 0, size[0], size[1]))
    image.save(path)
    return path


def images(kind: DataType, *shape: int) -> Signature:
    return signature(image=(kind, shape))


def test_an_image_is_resized_to_the_input(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    found = given(images(DataType.UINT8, -1, 4, 6, 3), images=f"image={path}")["image"]
    assert found.shape == (1, 4, 6, 3)
    np.testing.assert_array_equal(found[0], np.asarray(Image.open(path)))

    small = given(images(DataType.FLOAT, -1, 2, 2, 3), images=f"image={path},{path}")["image"]
    assert small.shape == (2, 2, 2, 3)
    assert small.dtype == np.float32
    assert small[0, 0, 0, 0] < 60 < 200 < small[0, 0, 1, 0]
    first = given(images(DataType.FLOAT, -1, 3, 4, 6), images=f"image={path}")["image"]
    np.testing.assert_array_equal(first[0], found[0].transpose(2, 0, 1))
    grey = given(images(DataType.UINT8, 4, 6, 1), images=f"image={path}")["image"]
    assert grey[..., 0].tolist() == [[0, 0, 0, 255, 255, 255]] * 4


@pytest.mark.parametrize(
    ("scale", "ends"), [("0..255", (0, 255)), ("0..1", (0, 1)), ("-1..1", (-1, 1))]
)
def test_what_black_and_white_become(tmp_path: Path, scale: str, ends: tuple[int, int]) -> None:
    path = picture(tmp_path / "a.png", mode="L")
    options = ImageOptions(scale, (4, 6))
    open_size = images(DataType.FLOAT, -1, -1, -1, 1)
    found = given(open_size, images=f"image={path}", image_options=options)["image"]
    assert (found.min(), found.max()) == ends


def test_an_image_of_16_bits_keeps_its_range(tmp_path: Path) -> None:
    values = np.array([[0, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = given(images(DataType.UINT8, -1, 1, 2, 1), images=f"image={tmp_path}/a.png")["image"]
    assert found.ravel().tolist() == [0, 255]


def test_a_photo_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees.
    buffer = io.BytesIO()
    Image.open(picture(tmp_path / "a.png")).save(buffer, "PNG", exif=exif)
    (tmp_path / "turned.png").write_bytes(buffer.getvalue())
    turned = given(images(DataType.UINT8, -1, 6, 4, 1), images=f"image={tmp_path}/turned.png")
    assert turned["image"][0, :, 0, 0].tolist() == [0, 0, 0, 255, 255, 255]


def test_models_that_decode_get_the_file_itself(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", (2, 2))
    found = given(WORDS, images=f"words={tmp_path}/*.png")["words"]
    assert found.tolist() == [first.read_bytes(), second.read_bytes()]


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        (images(DataType.FLOAT, -1, 2), ImageOptions(), "input 'image' is none of images"),
        (images(DataType.FLOAT, -1, -1, -1, 3), ImageOptions(), "--image_size=HEIGHTxWIDTH"),
        (images(DataType.FLOAT, -1, 9, 9, 3), ImageOptions(size=(8, 9)), "takes images of 9x9"),
        (images(DataType.FLOAT, -1, 9, 9, 7), ImageOptions(), "has 7 channels"),
        (images(DataType.INT8, -1, 2, 2, 3), ImageOptions(), "223 does not fit"),
        (images(DataType.INT32, -1, 2, 2, 3), ImageOptions("0..1"), "makes fractions"),
        (images(DataType.UINT8, 2, 2, 3), ImageOptions(), ""),
    ],
)
def test_what_is_wrong_with_images_is_told(
    tmp_path: Path, to: Signature, options: ImageOptions, message: str
) -> None:
    path = picture(tmp_path / "a.png")
    given_images = f"image={path}" if message else f"image={path},{path}"
    found = error_of(to, images=given_images, image_options=options)
    assert (message or "takes one image, but 2 files are given") in found


def test_what_is_no_image_is_told(tmp_path: Path) -> None:
    to = images(DataType.UINT8, -1, 2, 2, 3)
    (tmp_path / "text.png").write_text("this is no image")
    assert "text.png cannot be read as an image" in error_of(
        to, images=f"image={tmp_path}/text.png"
    )
    assert "there is no such file" in error_of(to, images=f"image={tmp_path}/none.png")
    with pytest.raises(NotFound, match="no file is named like"):
        given(to, images=f"image={tmp_path}/*.jpg")
    picture(tmp_path / "cut.png", (64, 64))
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    assert "cut.png cannot be read as an image" in error_of(to, images=f"image={tmp_path}/cut.png")
