"""Pickles that joblib's reader and Python's own read differently, arrays between opcodes."""

import contextlib
import io
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.scanning.scan import scan

WRAPPER = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n"
MADE = WRAPPER + b")\x81"
EVIL = b"cos\nmkdir\n(VPATH\ntR0"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def dtype(code: str, state: bytes = b"") -> bytes:
    return b"cnumpy\ndtype\n(" + text(code) + b"\x89\x88tR" + state


def state(count: int, dtype: bytes = dtype("u1"), shape_key: bytes = text("shape")) -> bytes:
    return (
        b"}(" + text("subclass") + b"cnumpy\nndarray\n"
        + shape_key + b"J" + struct.pack("<i", count) + b"\x85"
        + text("order") + text("C") + text("dtype") + dtype + text("allow_mmap") + b"\x89u"
    )  # fmt: skip


def swallowing(evil: bytes) -> bytes:
    """An opcode that makes bytes of whatever follows up to the end, and its end."""
    return b"\x8e" + struct.pack("<Q", len(evil))


def wrapped(made: bytes, given: bytes, evil: bytes, count: int = 9) -> bytes:
    """joblib skips `count` bytes, then runs what other readers take for bytes."""
    skipped = swallowing(evil + b".").ljust(count, b"N")
    return b"\x80\x04" + made + given + b"b" + skipped + evil + b".0N."


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    # Python's reader runs what joblib takes for an array.
    "in_the_array": lambda evil: b"\x80\x04" + MADE + state(len(evil)) + b"b" + evil + b".",
    "made_by_reconstructor": lambda evil: wrapped(
        b"ccopyreg\n_reconstructor\n(" + WRAPPER + b"cbuiltins\nobject\nNtR", state(9), evil
    ),
    "made_by_partial": lambda evil: wrapped(
        b"cfunctools\npartial\n(ccopyreg\n__newobj__\n" + WRAPPER + b"tR)R", state(9), evil
    ),
    "state_made_by_a_call": lambda evil: wrapped(
        MADE, b"ccollections\nOrderedDict\n)R" + state(9)[1:], evil
    ),
    "a_key_made_by_a_call": lambda evil: wrapped(
        MADE,
        state(0)[:-1] + b"cbuiltins\nstr\n(" + text("shape") + b"tRK\x09\x85u",
        evil,
    ),
    "a_larger_element": lambda evil: wrapped(
        MADE,
        state(1, dtype("V1", b"(K\x03" + text("|") + b"NNNK\x09K\x01K\x00tb")),
        evil,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("reader", ["pickle", "joblib"])
def test_whoever_runs_it_it_is_not_clean(tmp_path: Path, name: str, reader: str) -> None:
    joblib = pytest.importorskip("joblib")
    mark = tmp_path / "mark"
    content = HOSTILE[name](EVIL.replace(b"PATH", str(mark).encode()))
    (tmp_path / "model.joblib").write_bytes(content)
    report = scan(tmp_path)
    assert not mark.exists()
    read: Callable[[Any], object] = joblib.load if reader == "joblib" else pickle.load
    with contextlib.suppress(Exception):
        read(io.BytesIO(content))
    if mark.exists():
        assert report.findings != []
    elif (name == "in_the_array") == (reader == "pickle"):
        pytest.fail("the pickle does nothing: it tests nothing")


def test_arrays_that_joblib_writes_are_followed(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    given = {
        "numbers": np.random.default_rng(1).normal(size=(50, 3)),
        "none": np.zeros((0, 3)),
        "words": np.array(["a", "longer"]),
        "bytes": np.array([b"a", b"longer"]),
        "objects": np.array(["a", None, {"b": np.arange(3)}], dtype=object),
        "times": np.array(["2020-01-01"], "M8[ns]"),
        "records": np.zeros(3, [("a", "f4"), ("b", "U3"), ("c", "f8", (2,))]),
        "mixed": np.array([(1, "x")], [("a", "f4"), ("b", "O")]),
        "flags": np.array([True, False]),
        "other_order": np.arange(3, dtype=">i8"),
        "all_bytes": np.arange(256, dtype=np.uint8),
    }
    for number in range(256):
        given[f"begins_with_{number}"] = np.full(9, number, np.uint8)
    joblib.dump(given, tmp_path / "model.joblib")
    assert scan(tmp_path).findings == []


def test_many_arrays_of_opcodes_take_no_time(tmp_path: Path) -> None:
    # Each of them could be read to the end in two ways.
    one = MADE + state(1) + b"bN0"
    (tmp_path / "model.joblib").write_bytes(b"\x80\x04" + one * 3000 + b"N.")
    start = time.process_time()
    scan(tmp_path)
    assert time.process_time() - start < 60
