import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from salver.core.data_type import DataType, numpy_type_of
from salver.errors import InternalError
from salver.isolation.tensor_layout import part_of, read, room_for, write

NUMBERS = [
    numpy_type
    for data_type in DataType
    if (numpy_type := numpy_type_of(data_type)) is not None and not numpy_type.hasobject
]
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def there_and_back(*arrays: np.ndarray) -> list[np.ndarray]:
    parts = [part_of(array) for array in arrays]
    memory = np.full(room_for(parts), 0xAB, np.uint8)
    write(parts, memory)
    return read(memoryview(b"".join(part.spec for part in parts)), len(parts), memory)


def strings(*values: Any) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3), (1,) * 64], ids=str)
def test_numbers_stay_what_they_are(dtype: np.dtype, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape, dtype=int))
    data = np.random.default_rng(1).integers(0, 2, count * dtype.itemsize, np.uint8)
    array = data.view(dtype).reshape(shape) if count else np.zeros(shape, dtype)

    (back,) = there_and_back(array)

    assert back.dtype == dtype
    assert back.shape == shape
    assert back.tobytes() == array.tobytes()


@settings(deadline=None)
@given(
    st.lists(
        npst.arrays(npst.scalar_dtypes() | npst.byte_string_dtypes(), SHAPES).filter(
            lambda array: array.dtype.kind not in "mM" and array.dtype.itemsize <= 8
        )
        | npst.arrays(npst.unicode_string_dtypes(max_len=5), SHAPES),
        max_size=4,
    )
)
def test_any_arrays_stay_what_they_are(arrays: list[np.ndarray]) -> None:
    for array, back in zip(arrays, there_and_back(*arrays), strict=True):
        assert back.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(back, array)


@settings(deadline=None)
@given(npst.arrays(object, SHAPES, elements=st.binary() | st.text()))
def test_strings_stay_bytes_or_text(array: np.ndarray) -> None:
    (back,) = there_and_back(array)

    assert back.shape == array.shape
    assert back.dtype == object
    assert back.ravel().tolist() == array.ravel().tolist()
    assert list(map(type, back.ravel())) == list(map(type, array.ravel()))


def test_text_that_is_no_valid_text_stays_what_it_is() -> None:
    (back,) = there_and_back(strings("\udcff", "\0", ""))

    assert back.tolist() == ["\udcff", "\0", ""]


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(24.0).reshape(2, 3, 4).T, id="transposed"),
        pytest.param(np.arange(24)[::-3], id="backwards"),
        pytest.param(np.broadcast_to(np.float32(3), (4, 5)), id="broadcast"),
        pytest.param(np.arange(3, dtype=">i4"), id="the other byte order"),
    ],
)
def test_strides_and_byte_order_do_not_count(array: np.ndarray) -> None:
    (back,) = there_and_back(array)

    np.testing.assert_array_equal(back, array)
    assert back.dtype.isnative


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (strings(b"a", None), "NoneType"),
        (strings(1), "int"),
        (np.array(["2026"], "datetime64[Y]"), "datetime64"),
        (np.zeros(2, [("a", "f4"), ("b", "f4")]), "'a'"),
    ],
)
def test_what_no_model_can_have_is_refused(array: np.ndarray, told: str) -> None:
    with pytest.raises(InternalError, match=told):
        part_of(array)


@pytest.mark.parametrize(
    ("form", "shape", "width"),
    [
        pytest.param(99, (0,), 0, id="no such form"),
        pytest.param(1, (2**62,), 0, id="numbers that are not there"),
        pytest.param(200, (2**40,), 0, id="strings that are not there"),
        pytest.param(200, (-1,), 0, id="a negative size"),
        pytest.param(203, (2**40,), 0, id="empty strings without end"),
        pytest.param(203, (0,), 2**32 - 1, id="wider than strings are"),
        pytest.param(204, (0,), 2**32 - 1, id="wider than texts are"),
    ],
)
def test_descriptions_that_promise_too_much_are_value_errors(
    form: int, shape: tuple[int, ...], width: int
) -> None:
    spec = struct.pack("<BBIQ", form, len(shape), width, 0) + np.array(shape, "<i8").tobytes()

    with pytest.raises(ValueError, match=r"."):
        read(memoryview(spec), 1, np.zeros(0, np.uint8))


@settings(deadline=None)
@given(st.data())
def test_damaged_descriptions_are_value_errors_or_arrays(data: st.DataObject) -> None:
    arrays = [np.arange(6, dtype=np.int32).reshape(2, 3), strings(b"one", b"two"), np.array(["x"])]
    parts = [part_of(array) for array in arrays]
    memory = np.zeros(room_for(parts), np.uint8)
    write(parts, memory)
    specs = bytearray(b"".join(part.spec for part in parts))
    for _ in range(data.draw(st.integers(1, 3))):
        specs[data.draw(st.integers(0, len(specs) - 1))] = data.draw(st.integers(0, 255))
    for _ in range(data.draw(st.integers(0, 3))):
        memory[data.draw(st.integers(0, len(memory) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(memory)))

    try:
        back = read(memoryview(specs), len(parts), memory[:kept])
    except ValueError:
        return
    assert sum(array.nbytes for array in back) < 2**20
