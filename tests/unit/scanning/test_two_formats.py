"""Files that are called, or begin, as one kind and are another to those who load them."""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salver.scanning.scan import scan

EVIL = pickle.dumps(os.system, 2)[:-1] + b"(X\x01\x00\x00\x00:tR."
LAMBDA = {"class_name": "Lambda", "config": {"name": "code"}}
CONFIG = json.dumps({"class_name": "Sequential", "config": {"layers": [LAMBDA]}})


def subjects(path: Path) -> set[str]:
    return {each.subject for each in scan(path).findings}


def keras_file(config: bytes = CONFIG.encode(), *, metadata: bool = True) -> bytes:
    with zipfile.ZipFile(made := io.BytesIO(), "w") as file:
        file.writestr("config.json", config)
        if metadata:
            file.writestr("metadata.json", "{}")
        file.writestr("notes.txt", "none")
    return made.getvalue()


@pytest.mark.parametrize(
    "name",
    ["weights.pb", "fingerprint.pb", "model.index", "variables.data-00000-of-00001", "a.json",
     "words.txt", "model"],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_a_pickle_is_found_by_what_it_is(tmp_path: Path, name: str, packed: bool) -> None:
    # MLflow and joblib load what a description names, whatever it is called.
    (tmp_path / name).write_bytes(gzip.compress(EVIL) if packed else EVIL)
    assert subjects(tmp_path) == {f"{os.name}.system"}


def test_numbers_of_a_checkpoint_are_only_numbers(tmp_path: Path) -> None:
    starts = [b"\x1f\x8b", b"\x80\x04\x95", b"BZh", b"MZ", b"\x28\xb5\x2f\xfd", b"#!", b"Rar!"]
    for number, start in enumerate(starts):
        path = tmp_path / f"variables.data-{number:05}-of-00009"
        path.write_bytes(start + np.random.default_rng(1).bytes(5000))
    report = scan(tmp_path)
    assert report.findings == []


def tar() -> bytes:
    with tarfile.open(fileobj=(made := io.BytesIO()), mode="w") as file:
        file.addfile(tarfile.TarInfo("empty"))
    return made.getvalue()


def array() -> bytes:
    np.save(made := io.BytesIO(), np.zeros(3))
    return made.getvalue()


@pytest.mark.parametrize("make", [tar, array])
def test_an_archive_behind_something_else_is_looked_into(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    (tmp_path / "model.keras").write_bytes(make() + keras_file())
    assert "Lambda" in subjects(tmp_path)


def test_words_behind_a_model_of_tflite_are_no_finding(tmp_path: Path, tflite_folder: Path) -> None:
    model = next(tflite_folder.rglob("*.tflite")).read_bytes()
    with zipfile.ZipFile(words := io.BytesIO(), "w") as file:
        file.writestr("labels.txt", "cat")
    (tmp_path / "model.tflite").write_bytes(model + words.getvalue())
    assert scan(tmp_path).findings == []
    (tmp_path / "model.tflite").write_bytes(model + keras_file())
    assert "Lambda" in subjects(tmp_path)


def test_hdf5_behind_something_else_is_looked_into(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "model.h5", "w", userblock_size=1024) as file:
        file.attrs["model_config"] = CONFIG
    assert subjects(tmp_path) == {"Lambda"}


@pytest.mark.parametrize(
    "config",
    [CONFIG.encode(), CONFIG.encode("utf-16"), CONFIG.replace("a", "\\u0061").encode()],
    ids=["plain", "utf16", "escaped"],
)
@pytest.mark.parametrize("metadata", [False, True])
@pytest.mark.parametrize("ending", ["keras", "zip"])
def test_a_configuration_is_read_however_it_is_written(
    tmp_path: Path, config: bytes, metadata: bool, ending: str
) -> None:
    # Keras itself does not need metadata.json, and takes any encoding of JSON.
    (tmp_path / f"model.{ending}").write_bytes(keras_file(config, metadata=metadata))
    assert subjects(tmp_path) == {"Lambda"}


def test_a_configuration_that_is_too_large_is_not_called_safe(tmp_path: Path) -> None:
    padding = os.urandom(33 << 20).hex()
    config = CONFIG.removesuffix("}") + f', "padding": "{padding}"}}'
    (tmp_path / "model.keras").write_bytes(keras_file(config.encode(), metadata=False))
    assert [each.rule for each in scan(tmp_path).findings] == ["unreadable"]


def test_links_in_the_weights_of_a_keras_file_are_found(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(made := io.BytesIO(), "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/other.h5", "/x")
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr("config.json", '{"class_name": "Sequential", "config": {}}')
        file.writestr("metadata.json", "{}")
        file.writestr("model.weights.h5", made.getvalue())
    assert subjects(tmp_path) == {"/etc/other.h5"}


@pytest.mark.parametrize(
    "text",
    [
        "x: !!python/object/apply:os.system ['id']",
        "x: !<tag:yaml.org,2002:python/object/apply:os.system> ['id']",
        "%TAG !p! tag:yaml.org,2002:python/\n---\nx: !p!object/apply:os.system ['id']",
    ],
)
def test_every_way_to_write_an_object_in_yaml_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert [each.rule for each in scan(tmp_path).findings] == ["runs-code"]


CUT_OFF = """
import os, sys
from pathlib import Path
from salver.scanning import part
path = Path(sys.argv[1])
with part.whole(part.file_part(path, "it")) as content:
    os.truncate(path, 0)
    print(len(bytes(content)))
"""


def test_a_file_that_is_cut_off_meanwhile_does_not_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "saved_model.pb"
    path.write_bytes(bytes(1 << 20))
    done = subprocess.run([sys.executable, "-c", CUT_OFF, str(path)], capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"1048576\n")


def test_folders_in_folders_without_end_are_followed(tmp_path: Path) -> None:
    place = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(place)
    try:
        assert scan(tmp_path).findings == []
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


def test_without_h5py_the_rest_of_a_keras_file_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "h5py.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr("config.json", '{"class_name": "Sequential", "config": {}}')
        file.writestr("metadata.json", "{}")
        file.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(600))
    report = scan(tmp_path / "model.keras")
    assert report.findings == []
    assert [each.rule for each in report.notes] == ["not-looked-into"]
