"""The list of operations against TensorFlow's own registry."""

import json
import subprocess
import sys

import pytest

from salver.scanning.tensorflow_table import NAMED_BY_INPUT, is_known, table

REGISTRY = """
import ctypes, json, sys
from salver.backends.protobuf_wire import Message
from salver.backends.tensorflow_library import find_library
class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("free", ctypes.c_void_p)]
library = ctypes.CDLL(str(find_library()))
library.TF_GetAllOpList.restype = ctypes.POINTER(Buffer)
found = library.TF_GetAllOpList().contents
operations = Message(memoryview(ctypes.string_at(found.data, found.length))).contents(1)
print(json.dumps({Message(each).text(1): len(Message(each).contents(2)) for each in operations}))
"""


@pytest.fixture(scope="module")
def registry() -> dict[str, int]:
    """Every operation that TensorFlow registers by itself, and how many inputs it has."""
    pytest.importorskip("tensorflow")
    done = subprocess.run([sys.executable, "-c", REGISTRY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    registered: dict[str, int] = json.loads(done.stdout)
    return registered


def test_every_operation_of_tensorflow_is_known(registry: dict[str, int]) -> None:
    assert [name for name in registry if not is_known(name)] == []


def test_operations_that_it_does_not_have_are_not(registry: dict[str, int]) -> None:
    assert not is_known("AudioMicrofrontend")
    assert not is_known("SentencepieceOp")


def test_inputs_that_name_files_are_there(registry: dict[str, int]) -> None:
    for name, positions in NAMED_BY_INPUT.items():
        assert max(positions) < registry[name], name


def test_operations_whose_names_speak_of_files_are_looked_at(registry: dict[str, int]) -> None:
    parts = ("File", "PyFunc", "Restore", "Rpc", "Lmdb", "LMDB", "Sql", "CSVData", "SaveData")
    # They only make names of files, or move what readers keep.
    harmless = {"ShardedFilename", "ShardedFilespec", "ReaderRestoreState", "ReaderRestoreStateV2",
                "DeleteRpcFutureResource"}  # fmt: skip
    for name in registry:
        if any(part in name for part in parts) and name not in harmless:
            assert name.removeprefix("Experimental") in table(), name
