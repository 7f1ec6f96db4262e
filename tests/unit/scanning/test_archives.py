"""Archives and folders that lead elsewhere, or hold more than they should."""

import io
import os
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from salver.errors import NotFound
from salver.scanning.report import Allowance, Finding
from salver.scanning.scan import scan


def rules(path: Path) -> list[str]:
    return [each.rule for each in scan(path).findings]


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "..\\x", "C:\\x"])
@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_a_name_that_leads_out_is_found(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / f"model{ending}"
    if ending == ".zip":
        zipped(path, (name, b"x"))
    else:
        with tarfile.open(path, "w") as file:
            member = tarfile.TarInfo(name)
            member.size = 1
            file.addfile(member, io.BytesIO(b"x"))
    assert rules(path) == ["archive-trick"]


def test_links_and_devices_in_archives_are_found(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    zipped(tmp_path / "a.zip", (link, b"/etc/passwd"))
    with tarfile.open(tmp_path / "b.tar", "w") as file:
        for name, kind in (("link", tarfile.SYMTYPE), ("device", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            file.addfile(member)
    assert rules(tmp_path) == ["archive-trick"] * 3


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_comes_twice_is_found(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("config.ini", b"x"), ("config.ini", b"y"))
    assert rules(path) == ["archive-trick"]


def test_a_bomb_is_found_and_not_unpacked(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", ("big.txt", bytes(40 << 20)))
    (tmp_path / "b.pkl").write_bytes(zlib.compress(bytes(40 << 20)))
    assert set(rules(tmp_path)) == {"archive-bomb"}
    assert {each.where for each in scan(tmp_path).findings} >= {"a.zip!big.txt", "b.pkl"}


def test_a_directory_that_understates_is_no_way_around_the_limit(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("x", bytes(40 << 20)))
    content = path.read_bytes().replace((40 << 20).to_bytes(4, "little"), b"\x10\0\0\0")
    path.write_bytes(content)
    assert not scan(path).is_clean


def test_archives_in_archives_are_looked_into_but_not_without_end(tmp_path: Path) -> None:
    content = b"#!/bin/sh\n"
    for depth in range(3):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as file:
            file.writestr(f"{depth}.zip" if depth else "run", content)
        content = inner.getvalue()
    (tmp_path / "a.zip").write_bytes(content)
    assert rules(tmp_path) == ["native-code"]
    for _ in range(6):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as file:
            file.writestr("a.zip", content)
        content = inner.getvalue()
    (tmp_path / "a.zip").write_bytes(content)
    assert rules(tmp_path) == ["unreadable"]


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("model.py", b"import os", "runs-code"),
        ("pipeline.py", b"import os", "runs-code"),
        ("features.py", b"import os", "python-file"),
        ("ops.so", b"", None),
        ("ops.so", b"x", "native-code"),
        ("x", b"\x7fELF\x02\x01\x01", "native-code"),
        ("setup.sh", b"echo", "native-code"),
        ("a.pyc", b"\xa7\r\r\n", "native-code"),
        ("x.yaml", b"a: !!python/object/apply:os.system [ls]", "runs-code"),
        ("x.yaml", b"a: 1", None),
        ("x.7z", b"7z\xbc\xaf\x27\x1c\0", "unreadable"),
        ("MZ.txt", b"MZ is how this text begins", None),
        ("model.pkl", b"not a pickle", "unreadable"),
        ("saved_model.cpb", b"chunks", "unreadable"),
    ],
)
def test_files_of_code_are_found(
    tmp_path: Path, name: str, content: bytes, rule: str | None
) -> None:
    (tmp_path / name).write_bytes(content)
    assert rules(tmp_path) == ([rule] if rule else [])


def test_links_out_of_the_folder_are_found_and_others_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "words.txt").write_text("a")
    (folder / "same.txt").symlink_to("assets/words.txt")
    (folder / "all").symlink_to(".")
    assert rules(folder) == []
    (tmp_path / "secret").write_text("x")
    (folder / "secret.txt").symlink_to("../secret")
    (folder / "gone.txt").symlink_to("nothing")
    assert rules(folder) == ["path-outside", "unreadable"]


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "..data" / "1").mkdir(parents=True)
    (tmp_path / "..data" / "1" / "words.txt").write_text("a")
    (tmp_path / "1").symlink_to("..data/1")
    report = scan(tmp_path / "1")
    assert report.is_clean
    assert report.files == 1


def test_pipes_and_privileged_files_are_found_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "tool.txt").write_text("x")
    (tmp_path / "tool.txt").chmod(0o4755)
    assert rules(tmp_path) == ["special-file", "privileged-file"]


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file or folder"):
        scan(tmp_path / "missing")


def test_what_the_operator_knows_is_let_through(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "b.py").write_text("x = 1")
    one = scan(tmp_path, [Allowance.of("python-file:a.py")])
    assert [each.subject for each in one.findings] == ["b.py"]
    assert [each.subject for each in one.allowed] == ["a.py"]
    assert scan(tmp_path, [Allowance.of("python-file")]).is_clean
    with pytest.raises(ValueError, match=r"no rule 'python'.*did you mean 'python-file'"):
        Allowance.of("python")


def test_a_name_in_a_file_cannot_pretend_to_be_a_line() -> None:
    finding = Finding("python-file", "a\x1b[2K\nhigh", "b\u202ec", "")
    line = finding.line()
    assert line.isprintable()
    assert "a\\x1b[2K\\nhigh" in line
