"""`salver show` on SavedModels that are old, damaged, or would like to be more than shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from salver.cli.main import main
from tests.unit.scanning.graphs import meta_graph, node, write


@pytest.fixture(params=[[], ["--all"], ["--json"]], ids=["plain", "all", "json"])
def flags(request: pytest.FixtureRequest) -> list[str]:
    chosen: list[str] = request.param
    return chosen


def shown(path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["show", str(path), *flags]) == 0
    return capsys.readouterr().out


def test_a_shape_that_no_tensor_has_is_no_traceback(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    model = meta_graph(node("v", "VarHandleOp"), outputs={"s": "v:0"})
    shape = model.graph_def.node[0].attr["shape"].shape
    for _ in range(500):
        shape.dim.add().size = 2**62
    shown(write(tmp_path / "1", model), flags, capsys)


def test_names_do_not_move_the_cursor(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    model = meta_graph(node("x", "Placeholder"), outputs={"a\x1b[2J\rb": "x:0"})
    text = shown(write(tmp_path / "1", model), flags, capsys)
    assert "[2J" in text
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_link_to_nothing_is_no_hindrance(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "1", meta_graph(node("x", "Placeholder"), outputs={"s": "x:0"}))
    (tmp_path / "1" / "notes").symlink_to("/nowhere")
    shown(tmp_path / "1", flags, capsys)


def with_old_asset() -> Any:
    """As TensorFlow 1 writes it: the asset is in a collection alone."""
    model = meta_graph(
        node("file", "Const"),
        node("table", "HashTableV2"),
        node("fill", "InitializeTableFromTextFileV2", "table", "file"),
        outputs={"__saved_model_init_op": "fill"},
    )
    definition = type(model.asset_file_def.add())()
    model.ClearField("asset_file_def")
    definition.tensor_info.name, definition.filename = "file:0", "words.txt"
    packed = model.collection_def["saved_model_assets"].any_list.value.add()
    packed.value = definition.SerializeToString()
    return model


def test_assets_of_tensorflow_1_are_shown_and_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "1", with_old_asset())
    (folder / "assets").mkdir()
    (folder / "assets" / "words.txt").write_text("a\n")
    (version,) = json.loads(shown(folder, ["--json"], capsys))["versions"]
    assert version["assets"] == [{"name": "words.txt", "size": 2}]
    assert version["needs_care"] == []
    assert main(["scan", str(folder)]) == 0
