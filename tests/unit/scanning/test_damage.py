"""Damaged files of every kind: a scan always comes to an end, with a report."""

import io
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from salver.scanning.scan import scan
from tests.unit.scanning.graphs import SAVED_MODEL, function, meta_graph, node


def saved_model() -> bytes:
    from salver.codecs.messages import message_class

    inner = function("inner", ["path"], node("read", "ReadFile", "path"))
    graph = meta_graph(
        node("x", "Placeholder"),
        node("y", "StatefulPartitionedCall", "x", function="inner"),
        functions=(inner,),
        outputs={"s": "y:0"},
        assets={"x:0": "words.txt"},
    )
    model = message_class(SAVED_MODEL)()
    model.meta_graphs.add().CopyFrom(graph)
    return model.SerializeToString()


def archive(name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
        file.writestr("metadata.json", b"{}")
    return target.getvalue()


def array() -> bytes:
    target = io.BytesIO()
    np.save(target, np.array([{"a": 1}, eval], object), allow_pickle=True)
    return target.getvalue()


LAYER = b'{"class_name": "Lambda", "config": {"name": "x"}}'
FILES = {
    "saved_model.pb": saved_model(),
    "model.pkl": pickle.dumps({"a": [eval, (1, 2.5, "x", b"y")], "b": np.arange(4)}),
    "model.npy": array(),
    "model.keras": archive("config.json", LAYER),
    "model.pt": archive("model/data.pkl", pickle.dumps(eval, 2)),
    "model.skops": archive("schema.json", b'{"__class__": "x", "__module__": "y", "a": [1]}'),
    "model.onnx": b"\x08\x07\x3a\x10\x0a\x0e\x0a\x01x\x12\x01y\x22\x03Add*\x01\x00",
    "model.json": LAYER,
}


@pytest.mark.parametrize("name", FILES)
def test_no_damage_ends_in_anything_but_a_report(tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    path = tmp_path / name
    for _ in range(150):
        content = bytearray(FILES[name])
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(content))
            content[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        path.write_bytes(content)
        assert scan(path).files >= 1
        path.write_bytes(content[: chance.randrange(len(content))])
        scan(path)


@pytest.mark.parametrize("name", [name for name in FILES if name != "model.onnx"])
def test_undamaged_they_are_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    rules = {each.rule for each in scan(tmp_path).findings}
    assert rules & {"reads-file", "runs-code", "unknown-object"}
    assert "unreadable" not in rules
