"""A version appears whole or not at all, and never in the place of another."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from salver.errors import AlreadyExists, FailedPrecondition, InvalidArgument, ServingError
from salver.export.publishing import check_version, next_version, publish, unfinished_folder
from salver.sources.version_name import version_of

NOW = 1_700_000_000.9


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], 1_700_000_000, id="the time"),
        pytest.param(["1", "2", "notes"], 1_700_000_000, id="above what is there"),
        pytest.param(["1700000000"], 1_700_000_001, id="twice in one second"),
        pytest.param(["01700000005"], 1_700_000_006, id="with leading zeros"),
        pytest.param(["3", "rolled-back-1800000000"], 1_800_000_001, id="above what comes back"),
        pytest.param(["20240101120000"], 20240101120001, id="versions that are dates"),
    ],
)
def test_the_next_version_is_higher_than_all_that_are_there(
    names: list[str], expected: int
) -> None:
    assert next_version(names, NOW) == expected


def test_nothing_comes_after_the_highest_version() -> None:
    with pytest.raises(FailedPrecondition, match="none can be higher"):
        next_version([str(2**63 - 1)], NOW)


@pytest.mark.parametrize("version", [-1, 2**63, True, 1.5, "3"])
def test_a_version_is_a_whole_number(version: object) -> None:
    with pytest.raises(InvalidArgument, match="it must be a whole number"):
        check_version(version, [], "/models/m")


@pytest.mark.parametrize(
    ("version", "told"), [(4, "has a version 4 already"), (3, "has the version 4, which is higher")]
)
def test_a_version_that_would_not_be_served_is_refused(version: int, told: str) -> None:
    with pytest.raises(AlreadyExists, match=told):
        check_version(version, ["4", "2"], "/models/m")


def write(folder: Path, content: str = "model") -> None:
    (folder / "saved_model.pb").write_text(content)


def test_while_it_is_written_no_server_takes_it_for_a_version(tmp_path: Path) -> None:
    base_path = tmp_path / "deep" / "m"
    with unfinished_folder(base_path) as folder:
        write(folder)
        assert [version_of(name) for name in os.listdir(base_path)] == [None]
        published = publish(folder, base_path, None, NOW)

    assert published == base_path / "1700000000"
    assert os.listdir(base_path) == ["1700000000"]
    assert (published / "saved_model.pb").read_text() == "model"


def test_the_folder_has_the_rights_of_any_new_folder(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path / "m") as folder:
        write(folder)
        published = publish(folder, tmp_path / "m", 1, NOW)
    (tmp_path / "other").mkdir()

    assert published.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_between_leaves_nothing_behind(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fail() -> None:
        with unfinished_folder(tmp_path / "m") as folder:
            write(folder)
            raise error

    with pytest.raises(error):
        fail()

    assert os.listdir(tmp_path) == []


def test_a_version_that_came_up_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path) as folder:
        write(folder, "mine")
        (tmp_path / "5").mkdir()
        write(tmp_path / "5", "theirs")
        with pytest.raises(AlreadyExists):
            publish(folder, tmp_path, 5, NOW)

    assert os.listdir(tmp_path) == ["5"]
    assert (tmp_path / "5" / "saved_model.pb").read_text() == "theirs"


def test_exports_at_the_same_time_all_get_a_version_of_their_own(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    published: list[Path] = []

    def export(number: int) -> None:
        with unfinished_folder(tmp_path) as folder:
            write(folder, str(number))
            together.wait(60)
            published.append(publish(folder, tmp_path, None, NOW))

    threads = [threading.Thread(target=export, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(os.listdir(tmp_path)) == [str(1_700_000_000 + each) for each in range(8)]
    contents = {(path / "saved_model.pb").read_text() for path in published}
    assert contents == {str(number) for number in range(8)}


KILLED = """
import sys
from pathlib import Path
from salver.export.publishing import unfinished_folder
with unfinished_folder(Path(sys.argv[1])) as folder:
    (folder / "saved_model.pb").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_export_has_left_is_removed_by_the_next_and_by_no_earlier_one(
    tmp_path: Path,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with unfinished_folder(tmp_path):
            assert left.exists()  # The other one still writes.
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert left.exists()
        assert version_of(left.name) is None

    with unfinished_folder(tmp_path) as folder:
        assert not left.exists()
        assert folder.exists()


def test_a_base_path_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ServingError, match="Not a directory"),
        unfinished_folder(tmp_path / "file" / "m"),
    ):
        pass
