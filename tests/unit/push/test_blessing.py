from pathlib import Path

import pytest

from salver.errors import InvalidArgument, NotFound
from salver.push.blessing import INFRA, MODEL, BlessingKind, is_blessed


@pytest.mark.parametrize(
    ("name", "kind", "blessed"),
    [
        ("BLESSED", MODEL, True),
        ("NOT_BLESSED", MODEL, False),
        ("INFRA_BLESSED", INFRA, True),
        ("INFRA_NOT_BLESSED", INFRA, False),
    ],
)
def test_the_name_of_the_file_says_it(
    tmp_path: Path, name: str, kind: BlessingKind, blessed: bool
) -> None:
    (tmp_path / name).touch()
    assert is_blessed(str(tmp_path), kind) is blessed


@pytest.mark.parametrize(
    ("names", "there"), [((), "neither is there"), (("BLESSED", "NOT_BLESSED"), "both are there")]
)
def test_a_folder_that_says_nothing_is_no_blessing(
    tmp_path: Path, names: tuple[str, ...], there: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(InvalidArgument, match=f"of BLESSED and NOT_BLESSED {there}"):
        is_blessed(str(tmp_path), MODEL)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No such file or directory"):
        is_blessed(str(tmp_path / "missing"), MODEL)


def test_a_blessing_may_lie_on_remote_storage() -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/blessings/1/NOT_BLESSED", b"")
    try:
        assert not is_blessed("memory://blessings/1", MODEL)
    finally:
        files.rm("/blessings", recursive=True)
