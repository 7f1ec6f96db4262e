import os
from pathlib import Path

import pytest

from salver.backends.registry import Backends
from salver.errors import Aborted, InvalidArgument, NotFound
from salver.push.model_folder import found_model, last_files, listed

VARIABLES = ("variables/variables.index", "variables/variables.data-00000-of-00001")


def filled(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


@pytest.mark.parametrize(
    ("names", "last"),
    [
        (["saved_model.pb", *VARIABLES], ["saved_model.pb"]),
        (["assets/model.onnx", "fingerprint.pb", "saved_model.pb"], ["saved_model.pb"]),
        (["labels.txt", "model.onnx", "weights.bin"], ["model.onnx"]),
        (["model.keras", "notes"], ["model.keras"]),
        (["model.onnx", "saved_model.pb", *VARIABLES], None),
        (["a.txt", "model.pmml", "model.onnx"], None),
    ],
)
def test_what_makes_a_version_whole_comes_last(names: list[str], last: list[str] | None) -> None:
    backends = Backends()
    found = last_files(names, backends)
    assert last is None or found == last
    assert backends.lacking([name for name in names if name not in found]) is not None
    assert backends.lacking(names) is None


def test_a_large_folder_is_ordered_in_no_time() -> None:
    names = [f"data/{number}" for number in range(3000)] + ["model.onnx"]
    assert last_files(names, Backends()) == ["model.onnx"]


def test_files_and_empty_folders_are_found(tmp_path: Path) -> None:
    filled(tmp_path, "saved_model.pb", "variables/variables.index")
    (tmp_path / "assets").mkdir()
    os.symlink("saved_model.pb", tmp_path / "copy.pb")
    model = listed(str(tmp_path), "shown")
    assert [file.name for file in model.files] == [
        "copy.pb", "saved_model.pb", "variables/variables.index",
    ]  # fmt: skip
    assert model.folders == ("assets", "variables")
    assert model.size == 14 + 14 + 25


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "."])
def test_a_link_that_leads_out_or_round_is_refused(tmp_path: Path, target: str) -> None:
    folder = filled(tmp_path / "model", "saved_model.pb")
    os.symlink(target, folder / "link")
    with pytest.raises(InvalidArgument, match="shown/link is a link that leads out of the model"):
        listed(str(folder), "shown")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidArgument, match="neither a file nor a folder"):
        listed(str(tmp_path), "shown")


def test_a_change_is_noticed(tmp_path: Path) -> None:
    model = listed(str(filled(tmp_path, "saved_model.pb")), "shown")
    model.require_unchanged()
    filled(tmp_path, "more")
    with pytest.raises(Aborted, match="shown changed while it was pushed"):
        model.require_unchanged()


def test_the_output_of_a_trainer_means_the_model_in_it(tmp_path: Path) -> None:
    filled(tmp_path, "Format-Serving/saved_model.pb")
    with found_model(str(tmp_path), Backends()) as model:
        assert model.path == f"{tmp_path}/Format-Serving"


def test_a_base_path_means_its_newest_version(tmp_path: Path) -> None:
    filled(tmp_path, "9/saved_model.pb", "10/saved_model.pb")
    with found_model(f"file://{tmp_path}", Backends()) as model:
        assert model.path == f"{tmp_path}/10"


def test_a_model_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, "saved_model.pb", "variables/variables.index")
    with (
        pytest.raises(NotFound, match=r"holds no whole model: variables/variables.data"),
        found_model(str(tmp_path), Backends()),
    ):
        pass


def test_a_model_on_remote_storage_is_copied_here(tmp_path: Path) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/pushing/3/model.onnx", b"three")
    try:
        with found_model("memory://pushing", Backends(), str(tmp_path)) as model:
            (file,) = model.files
            assert Path(file.path).read_bytes() == b"three"
            assert model.shown == "memory://pushing/3"
    finally:
        files.rm("/pushing", recursive=True)
