import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.tflite import Servable
from salver.codecs.messages import message_class
from salver.core.data_type import DataType, data_type_of
from salver.errors import (
    InternalError,
    InvalidArgument,
)
from tests.backends.asking import Load, ask, texts
from tests.tflite_models import file_of, tensor_info, with_signatures

ECHOES: dict[str, np.ndarray] = {
    "float32": np.array([0.5, -2, np.inf], np.float32),
    "int32": np.array([-(2**31), 0, 7], np.int32),
    "uint8": np.array([0, 255], np.uint8),
    "int64": np.array([-(2**63), 2**63 - 1], np.int64),
    "bool": np.array([True, False]),
    "int16": np.array([-(2**15), 3], np.int16),
    "complex64": np.array([1 + 2j, -3j], np.complex64),
    "int8": np.array([-128, 127], np.int8),
    "string": np.array([b"", b"a\0b", b"\xff", b"x" * 70_000, b"end\0"], object),
}


def signature_proto(servable: Servable, name: str = "serving_default") -> Any:
    message = message_class("tensorflow.serving.SignatureDefMap")()
    message.ParseFromString(servable.signature_def_map)
    return message.signature_def[name]


def test_without_signatures_there_is_one_that_is_named_after_the_tensors(load_lite: Load) -> None:
    servable = load_lite("plain")

    assert list(servable.signatures) == ["serving_default"]
    expected = message_class("tensorflow.SignatureDef")(method_name="tensorflow/serving/predict")
    for alias, infos in (
        ("serving_default_x", expected.inputs),
        ("PartitionedCall", expected.outputs),
    ):
        infos[alias].name = f"{alias}:0"
        infos[alias].dtype = DataType.FLOAT
        infos[alias].tensor_shape.dim.add(size=1)
    assert signature_proto(servable) == expected
    (answer,) = ask(servable, {"serving_default_x": np.array([1, 5], np.float32)}).values()
    assert answer.tolist() == [2.5, 4.5]


def test_it_is_said_that_a_signature_was_made_up(
    load_lite: Load, caplog: pytest.LogCaptureFixture
) -> None:
    load_lite("plain")

    (record,) = [r for r in caplog.records if "No signature def found" in r.message]
    assert record.levelno == logging.WARNING
    assert "--tflite_signature_defs" in record.message


def test_a_scalar_has_no_shape_in_a_signature_that_is_made_up(load_lite: Load) -> None:
    info = signature_proto(load_lite("slow")).inputs["serving_default_steps"]

    assert info.dtype == DataType.INT32
    assert not info.HasField("tensor_shape")


def test_outputs_that_differ_after_the_colon_only_share_one_alias(load_lite: Load) -> None:
    (output,) = load_lite("words").signatures["serving_default"].outputs.values()

    assert output.name == "PartitionedCall:1"


def test_signatures_in_the_metadata_are_shown_as_they_are(load_lite: Load) -> None:
    definition = signature_proto(load_lite("half_plus_two"))

    assert definition.method_name == "tensorflow/serving/predict"
    assert definition.inputs["x"].name == "serving_default_x:0"
    assert [dim.size for dim in definition.inputs["x"].tensor_shape.dim] == [-1]
    assert definition.outputs["y"].name == "PartitionedCall:0"


def test_a_tensor_may_have_its_name_without_what_follows_the_colon(
    load_lite: Load, tflite_folder: Path
) -> None:
    data = file_of(tflite_folder, "plain").read_bytes()
    # Names of the same length, so that the file stays whole.
    data = data.replace(b"serving_default_x:0", b"serving_default_x_1")
    x, y = (tensor_info(name, 1, [-1]) for name in ("serving_default_x_1:0", "PartitionedCall:0"))
    signatures = {"serving_default": ({"x": x}, {"y": y})}

    servable = load_lite(with_signatures(data, signatures))

    assert signature_proto(servable).inputs["x"].name == "serving_default_x_1"
    assert signature_proto(servable).inputs["x"].dtype == DataType.FLOAT
    assert ask(servable, {"x": np.array([4], np.float32)})["y"].tolist() == [4.0]


def test_a_program_takes_tensorflows_names_of_tensors_too(
    load_lite: Load, tflite_folder: Path
) -> None:
    data = file_of(tflite_folder, "plain").read_bytes()
    data = data.replace(b"serving_default_x:0", b"serving_default_x_1")

    program = load_lite(data).program(("serving_default_x_1:0",), ("PartitionedCall:0",))

    assert program.run([np.array([4], np.float32)])[0].tolist() == [4.0]


def test_signatures_of_tflites_own_are_served_if_asked_for(load_lite: Load) -> None:
    servable = load_lite("two_graphs", own_signatures=True)

    assert sorted(servable.signatures) == ["add", "double"]
    assert servable.signatures["add"].inputs["x"].shape == (-1,)
    x = np.array([1, 2, 5], np.float32)
    assert ask(servable, {"x": x}, "add")["y"].tolist() == [2, 3, 6]
    assert ask(servable, {"x": x}, "double")["y"].tolist() == [2, 4, 10]
    assert ask(servable, {"x": x[:1]}, "add")["y"].tolist() == [2]


def test_signatures_of_tflites_own_do_not_mix(load_lite: Load) -> None:
    program = load_lite("two_graphs", own_signatures=True).program(("add/x",), ("double/y",))

    with pytest.raises(InvalidArgument, match="one signature"):
        program.run([np.array([1], np.float32)])


def test_errors_of_tflites_own_signatures_are_errors_of_the_request(load_lite: Load) -> None:
    servable = load_lite("matrix", own_signatures=True)
    x = np.ones((2, 4), np.float32)

    with pytest.raises(InternalError, match="Failed to invoke TfLite interpreter"):
        ask(servable, {"x": x, "z": np.ones((3, 5), np.float32)})
    with pytest.raises(InvalidArgument, match=r"Expects arg\[1\] to be float but int32"):
        ask(servable, {"x": x, "z": np.ones((2, 4), np.int32)})
    with pytest.raises(InvalidArgument, match="7 dimensions"):
        ask(servable, {"x": x, "z": np.ones([1] * 7, np.float32)})

    assert ask(servable, {"x": x, "z": x})["sum"].tolist() == [[2] * 4] * 2


def test_metadata_wins_over_tflites_own_signatures(load_lite: Load) -> None:
    assert load_lite("half_plus_two", own_signatures=True).signatures["serving_default"].inputs[
        "x"
    ].name == ("serving_default_x:0")


@pytest.mark.parametrize("name", ECHOES)
@pytest.mark.parametrize("own", [False, True], ids=["main", "own"])
def test_every_type_keeps_its_values_both_ways(load_lite: Load, name: str, own: bool) -> None:
    servable = load_lite(f"echo_{name}", own_signatures=own)
    (spec,) = servable.signatures["serving_default"].inputs.values()
    array = ECHOES[name]

    (alias,) = servable.signatures["serving_default"].inputs
    (output,) = ask(servable, {alias: array}).values()

    assert spec.data_type is data_type_of(array.dtype)
    assert output.dtype == array.dtype
    assert output.tolist() == array.tolist()


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6, dtype=np.float32)[::2], id="strided"),
        pytest.param(np.arange(6).astype(">f4"), id="big-endian"),
        pytest.param(np.zeros(0, np.float32), id="empty"),
        pytest.param(np.arange(300_000, dtype=np.float32), id="large"),
        pytest.param(np.frombuffer(bytearray(41), np.float32, 10, 1), id="unaligned"),
    ],
)
def test_arrays_of_any_layout_are_taken(load_lite: Load, array: np.ndarray) -> None:
    (output,) = ask(load_lite("echo_float32"), {"serving_default_x": array}).values()

    np.testing.assert_array_equal(output, array)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.array([b"a", b"bc"]), id="fixed-width bytes"),
        pytest.param(np.array(["a", "bc"]), id="fixed-width text"),
        pytest.param(np.array(["a", "bc"], object), id="text objects"),
    ],
)
def test_other_arrays_of_text_are_taken_too(load_lite: Load, array: np.ndarray) -> None:
    (output,) = ask(load_lite("echo_string"), {"serving_default_x": array}).values()

    assert output.tolist() == [b"a", b"bc"]


def test_an_object_that_is_no_text_is_refused(load_lite: Load) -> None:
    servable = load_lite("echo_string")

    with pytest.raises(InvalidArgument, match="serving_default_x"):
        ask(servable, {"serving_default_x": np.array([b"a", None], object)})

    assert [*ask(servable, {"serving_default_x": texts(b"a")}).values()] == [texts(b"a")]


def test_inputs_get_the_shape_of_the_request(load_lite: Load) -> None:
    servable = load_lite("plain")
    program = servable.program(("serving_default_x:0",), ("PartitionedCall:0",))

    for shape in ((3,), (1,), (0,), (2, 3), (), (1, 1, 1, 1, 1, 2), (3,)):
        (output,) = program.run([np.full(shape, 2, np.float32)])
        assert output.shape == shape
        assert (output == 3).all()


def test_outputs_get_the_shape_that_their_values_need(load_lite: Load) -> None:
    servable = load_lite("positive")
    program = servable.program(("serving_default_x:0",), ("PartitionedCall:0",))

    for values in ([1, -2, 3], [-1, -2, -3], [], [4]):
        (output,) = program.run([np.array(values, np.float32)])
        assert output.tolist() == [value for value in values if value > 0]


@pytest.mark.parametrize("own", [False, True], ids=["main", "own"])
def test_outputs_without_dimensions_are_arrays_too(load_lite: Load, own: bool) -> None:
    servable = load_lite("scalars", own_signatures=own)
    if own:
        program = servable.program(
            ("serving_default/x", "serving_default/words"),
            ("serving_default/first", "serving_default/sum"),
        )
    else:
        program = servable.program(
            ("serving_default_x:0", "serving_default_words:0"),
            ("PartitionedCall:0", "PartitionedCall:1"),
        )

    first, total = program.run([np.array([1, 2], np.float32), texts(b"a\0", b"b")])

    assert (first.shape, first.dtype, first.item()) == ((), np.dtype(object), b"a\0")
    assert (total.shape, total.dtype, total.item()) == ((), np.dtype(np.float32), 3.0)


MATRIX_INPUTS = ("serving_default_x:0", "serving_default_z:0")
MATRIX_OUTPUTS = ("PartitionedCall:0", "PartitionedCall:1")
"""The product and the sum."""


def test_several_inputs_change_their_shape_together(load_lite: Load) -> None:
    program = load_lite("matrix").program(MATRIX_INPUTS, MATRIX_OUTPUTS)

    for rows in (1, 2, 3, 1):
        x, z = np.full((rows, 4), 1, np.float32), np.full((rows, 4), 5, np.float32)
        product, total = program.run([x, z])
        assert product.tolist() == [[4, 4]] * rows
        assert total.tolist() == [[6] * 4] * rows


def test_arrays_are_fed_by_name_whatever_their_order(load_lite: Load) -> None:
    program = load_lite("matrix").program(MATRIX_INPUTS[::-1], MATRIX_OUTPUTS)
    x, z = np.full((1, 4), 2, np.float32), np.full((1, 4), 5, np.float32)

    product, total = program.run([z, x])

    assert product.tolist() == [[8, 8]]
    assert total.tolist() == [[7] * 4]


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        pytest.param((), "You must feed a value for input tensor 'serving_default_x:0'", id="none"),
        pytest.param(
            ("serving_default_x:0", "serving_default_x:0"), "fed more than once", id="twice"
        ),
        pytest.param(
            ("z:0",), "Unknown tensor 'z:0'.\n\tMissing input TFLite tensor: z:0", id="unknown"
        ),
    ],
)
def test_a_program_needs_each_input_once(
    load_lite: Load, feeds: tuple[str, ...], message: str
) -> None:
    program = load_lite("plain").program(feeds, ("PartitionedCall:0",))

    with pytest.raises(InvalidArgument) as raised:
        program.run([np.array([1], np.float32)] * len(feeds))

    assert message in raised.value.message


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        pytest.param([(1, 3), (1, 4)], "Failed to allocate tensors", id="no match"),
        pytest.param(
            [(1, 4), (1,) * 7],
            "Failed to resize input tensor: serving_default_z:0 from 16 to 4 bytes.",
            id="too many axes",
        ),
        pytest.param(
            [(0, 2**40), (1, 4)],
            "Failed to resize input tensor: serving_default_x:0 from 16 to 0 bytes.",
            id="beyond 32 bits",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_errors_of_the_request(
    load_lite: Load, caplog: pytest.LogCaptureFixture, shapes: list[tuple[int, ...]], message: str
) -> None:
    servable = load_lite("matrix")
    program = servable.program(MATRIX_INPUTS, MATRIX_OUTPUTS)

    for _ in range(2):
        with pytest.raises(InternalError) as raised:
            program.run([np.zeros(shape, np.float32) for shape in shapes])
        assert raised.value.message == message
        assert caplog.messages[-1].startswith(f"{message}: ")

    assert program.run([np.ones((2, 4), np.float32)] * 2)[0].shape[0] == 2
