"""Files that mean one thing to those who load them, and would like to mean another to a scan."""

import subprocess
import sys
from pathlib import Path

import pytest

from salver.backends.protobuf_wire import encoded_content
from salver.scanning.scan import scan
from tests.unit.scanning.graphs import constant, function, meta_graph, node, write


def rules(path: Path) -> list[tuple[str, str]]:
    return [(each.rule, each.subject) for each in scan(path).findings]


READS = (node("x", "Placeholder"), node("y", "ReadFile", "x"))
PLAIN = (node("a", "Placeholder"), node("b", "Identity", "a"))


def field(number: int, content: bytes) -> bytes:
    return bytes(encoded_content(number, content))


def saved(folder: Path, meta_graph_content: bytes) -> Path:
    (folder / "saved_model.pb").write_bytes(field(2, meta_graph_content))
    return folder


def test_a_graph_in_two_pieces_is_one_graph(tmp_path: Path) -> None:
    # Readers of protocol buffers merge a message that comes twice.
    first, second = meta_graph(*READS, outputs={"s": "y:0"}), meta_graph(*PLAIN)
    saved(tmp_path, first.SerializeToString() + second.SerializeToString())
    assert rules(tmp_path) == [("reads-file", "ReadFile")]


def test_a_library_in_two_pieces_is_one_library(tmp_path: Path) -> None:
    inner = function("f", ["path"], node("y", "ReadFile", "path"))
    graph = meta_graph(functions=(inner,)).graph_def.SerializeToString()
    empty = field(2, field(1, field(1, field(1, b"g"))))  # A library of a function g.
    saved(tmp_path, field(2, graph) + field(2, empty))
    assert rules(tmp_path) == [("reads-file", "ReadFile")]


def test_of_an_attribute_that_comes_twice_the_last_counts(tmp_path: Path) -> None:
    def attribute(text: bytes) -> bytes:
        return field(5, field(1, b"output_stream") + field(2, field(2, text)))

    content = field(1, b"p") + field(2, b"PrintV2") + attribute(b"stderr")
    saved(tmp_path, field(2, field(1, content + attribute(b"file:///tmp/x"))))
    assert rules(tmp_path) == [("writes-file", "PrintV2")]


@pytest.mark.parametrize("name", ["", "f"])
def test_a_function_hides_none_that_has_its_name(tmp_path: Path, name: str) -> None:
    hiding = function(name, [], *PLAIN)
    hidden = function("f", ["path"], node("y", "ReadFile", "path"))
    write(tmp_path / "function", meta_graph(functions=(hidden, hiding)))
    write(tmp_path / "main", meta_graph(*READS, functions=(hiding,), outputs={"s": "y:0"}))
    assert rules(tmp_path / "function") == [("reads-file", "ReadFile")]
    assert rules(tmp_path / "main") == [("reads-file", "ReadFile")]


@pytest.mark.parametrize("kind", ["sparse", "composite"])
def test_a_saver_that_a_sparse_output_runs_is_one(tmp_path: Path, kind: str) -> None:
    model = meta_graph(
        node("x", "Placeholder"),
        constant("names", "v"),
        node("y", "RestoreV2", "x", "names", "names"),
    )
    # values_tensor_name of coo_sparse, or a component of composite_tensor.
    info = field(4, field(1, b"y:0")) if kind == "sparse" else field(5, field(2, field(1, b"y:0")))
    signature = field(2, field(1, b"out") + field(2, info))
    saved(tmp_path, model.SerializeToString() + field(5, field(1, b"s") + field(2, signature)))
    assert rules(tmp_path) == [("reads-file", "RestoreV2")]


def test_many_nodes_of_the_same_name_take_no_time(tmp_path: Path) -> None:
    graph = field(1, field(1, b"same") + field(2, b"NoOp")) * 50_000
    saved(tmp_path, field(2, graph + field(1, field(1, b"same") + field(2, b"ReadFile"))))
    assert rules(tmp_path) == [("reads-file", "ReadFile")]


def test_an_onnx_graph_in_two_pieces_is_one_graph(tmp_path: Path) -> None:
    nodes = field(1, field(3, b"n") + field(4, b"PyOp"))
    (tmp_path / "model.onnx").write_bytes(field(7, nodes) + field(7, field(2, b"graph")))
    assert rules(tmp_path) == [("runs-code", "PyOp")]


def test_the_reader_of_hdf5_imports_nothing_of_the_folder_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "h5py.py").write_text("open('imported', 'w').close()")
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    command = [sys.executable, "-P", "-m", "salver", "scan", "model.h5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "imported").exists()
