"""What the client writes is read by the server's own codec, and the other way round."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from salver.client.rest_tensors import encode_inputs, outputs_of
from salver.codecs.json_request import PredictBody
from salver.codecs.json_response import encode_predict
from salver.core.data_type import data_type_of
from salver.core.signature import Signature, TensorSpec
from salver.errors import InternalError, InvalidArgument

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)


def arrays(dtype: type) -> st.SearchStrategy[np.ndarray]:
    if issubclass(dtype, np.floating):
        # The REST API has no denormal numbers: they are zero there.
        return hnp.arrays(dtype, SHAPES, elements={"allow_subnormal": False})
    return hnp.arrays(dtype, SHAPES)


NUMBERS = st.sampled_from(
    [np.float32, np.float64, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint32, np.uint64,
     np.bool_]
).flatmap(arrays)  # fmt: skip
TEXTS = SHAPES.flatmap(lambda shape: hnp.arrays(object, shape, elements=st.binary(max_size=5)))


def signature_of(**tensors: np.ndarray) -> Signature:
    specs = {
        name: TensorSpec(f"{name}:0", data_type_of(array.dtype), None)
        for name, array in tensors.items()
    }
    return Signature("serving_default", specs, specs)


def is_same(left: np.ndarray, right: np.ndarray) -> bool:
    if left.dtype.kind == "f":
        # The bits of a NaN have no form in JSON.
        nan = np.isnan(left)
        if not np.array_equal(nan, np.isnan(right)):
            return False
        left, right = np.where(nan, 0, left), np.where(nan, 0, right)
    same = left.dtype == right.dtype and left.shape == right.shape
    return same and (left.tolist() == right.tolist() if left.dtype.kind == "O"
                     else left.tobytes() == right.tobytes())  # fmt: skip


@given(NUMBERS | TEXTS, NUMBERS | TEXTS, st.sampled_from(["", "other"]))
def test_the_server_reads_what_is_sent(x: np.ndarray, y: np.ndarray, name: str) -> None:
    body = PredictBody.parse(encode_inputs({"x": x, 'y "': y}, name))
    assert body.signature_name == name
    read = body.inputs(signature_of(**{"x": x, 'y "': y}))
    assert is_same(read["x"], x)
    assert is_same(read['y "'], y)


@given(NUMBERS, TEXTS)
def test_what_the_server_answers_is_read(x: np.ndarray, texts: np.ndarray) -> None:
    outputs = {"x": x, "t_bytes": texts}
    read = outputs_of(encode_predict(outputs, False), signature_of(**outputs))
    assert is_same(read["x"], x)
    assert is_same(read["t_bytes"], texts)
    (alone,) = outputs_of(encode_predict({"x": x}, False), signature_of(x=x)).values()
    assert is_same(alone, x)


def test_infinities_and_nan_are_there() -> None:
    x = np.array([math.nan, math.inf, -math.inf])
    assert b"NaN" in encode_inputs({"x": x}, "")
    assert is_same(PredictBody.parse(encode_inputs({"x": x}, "")).inputs(signature_of(x=x))["x"], x)


@pytest.mark.parametrize(
    ("element", "reason"), [(1, "an element that is no text"), ("\ud800", "cannot be encoded")]
)
def test_what_is_no_text_is_refused(element: object, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=f"'x'.*{reason}"):
        encode_inputs({"x": np.array(["a", element], object)}, "")


def test_types_that_json_cannot_carry_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="'x' is half, which the REST API cannot carry"):
        encode_inputs({"x": np.ones(1, np.float16)}, "")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"outputs": ["a"]}', b'{"outputs": [[1], 2]}', b'{"outputs": {}}']
)
def test_an_answer_that_is_none_is_the_servers_fault(body: bytes) -> None:
    with pytest.raises(InternalError, match="the server's answer"):
        outputs_of(body, signature_of(x=np.ones(1), y=np.ones(1)))
