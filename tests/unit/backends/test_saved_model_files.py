from pathlib import Path

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from salver.backends.saved_model_files import lacking, lacking_inside
from tests import saved_models

MODEL = "saved_model.pb"
INDEX = "variables/variables.index"


def shard(number: int, count: int) -> str:
    return f"variables/variables.data-{number:05}-of-{count:05}"


@pytest.mark.parametrize(
    "names",
    [
        [MODEL],
        ["saved_model.pbtxt", "assets/words.txt"],
        ["model.tflite"],
        ["export.meta"],
        [MODEL, INDEX, shard(0, 1)],
        [MODEL, INDEX, shard(0, 2), shard(1, 2)],
        [MODEL, INDEX, shard(0, 1), shard(1, 2)],
    ],
)
def test_nothing_is_to_be_said_against_a_whole_version(names: list[str]) -> None:
    assert lacking(names) is None


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([], MODEL),
        (["variables/saved_model.pb"], MODEL),
        ([INDEX, shard(0, 1)], MODEL),
        ([MODEL, shard(0, 1)], INDEX),
        ([MODEL, INDEX], "variables/variables.data"),
        ([MODEL, INDEX, shard(0, 3), shard(2, 3)], shard(1, 3)),
    ],
)
def test_what_is_missing_is_named(names: list[str], missing: str) -> None:
    assert lacking(names) == missing


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    saved_models.export(["half_plus_two_1", "half_plus_two_2", "lookup", "several"], folder)
    return folder


@pytest.mark.parametrize("name", ["half_plus_two_1", "half_plus_two_2", "lookup", "several"])
def test_a_model_that_was_saved_whole_lacks_nothing(models: Path, name: str) -> None:
    folder = models / name / "1"
    assert lacking([str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]) is None
    assert lacking_inside(str(folder)) is None


@pytest.mark.parametrize("name", ["half_plus_two_1", "half_plus_two_2"])
def test_a_model_with_variables_lacks_them_when_they_are_not_there(
    models: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / MODEL).write_bytes((models / name / "1" / MODEL).read_bytes())
    assert lacking_inside(str(tmp_path)) == INDEX


def test_a_model_without_variables_needs_none(models: Path, tmp_path: Path) -> None:
    # It has a saver all the same.
    (tmp_path / MODEL).write_bytes((models / "several" / "1" / MODEL).read_bytes())
    assert lacking_inside(str(tmp_path)) is None


def test_a_model_with_assets_lacks_them_when_they_are_not_there(tmp_path: Path) -> None:
    model = saved_model_pb2.SavedModel()
    meta_graph = model.meta_graphs.add()
    for name in ("words.txt", "more.txt"):
        meta_graph.asset_file_def.add().filename = name
    (tmp_path / MODEL).write_bytes(model.SerializeToString())
    assert lacking_inside(str(tmp_path)) == "assets/words.txt"
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "words.txt").touch()
    assert lacking_inside(str(tmp_path)) == "assets/more.txt"
    (tmp_path / "assets" / "more.txt").touch()
    assert lacking_inside(str(tmp_path)) is None


@pytest.mark.parametrize("content", [b"", b"this is no graph", b"\x12\xff\xff\xff\xff\x0f"])
def test_what_is_no_model_is_left_to_the_loader(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MODEL).write_bytes(content)
    assert lacking_inside(str(tmp_path)) is None


def test_a_folder_without_a_model_is_left_to_the_loader(tmp_path: Path) -> None:
    assert lacking_inside(str(tmp_path)) is None
