"""Which program wrote a model, and in which version of its format, as far as the file says.

Nothing of it is run or unpickled. What cannot be read says nothing: whether the model can be
loaded is told elsewhere.
"""

import json
import mmap
import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from salver.backends.protobuf_wire import Message
from salver.backends.ubjson import parse_ubjson

_BEGINNING = 1 << 16
_MOST_BYTES = 64 << 20


def written_by(folder: str, backend: str) -> str:
    """One line; empty if the files do not say, or the backend is not known here."""
    read = _READERS.get(backend)
    if read is None:
        return ""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
        return read(Path(folder))
    return ""


def _onnx(folder: Path) -> str:
    """Source: onnx/onnx.proto, ModelProto and OperatorSetIdProto."""
    with (folder / "model.onnx").open("rb") as file:
        model = Message(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    sets = [Message(each) for each in model.contents(8)]
    opsets = ", ".join(
        f"{each.text(1) or 'ai.onnx'} {each.integer(2)}" for each in sets if each.integer(2)
    )
    producer = " ".join(filter(None, (model.text(2), model.text(3))))
    return "; ".join(filter(None, (producer, f"ONNX IR {model.integer(1)}", f"opset {opsets}")))


def _keras(folder: Path) -> str:
    return f"Keras {_member(folder / 'model.keras', 'metadata.json')['keras_version']}"


def _sklearn(folder: Path) -> str:
    if not (folder / "model.skops").exists():
        return ""
    schema = _member(folder / "model.skops", "schema.json")
    return f"skops {schema['_skops_version']}"


def _member(path: Path, name: str) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(name).file_size > _MOST_BYTES:
            raise ValueError(name)
        content: dict[str, Any] = json.loads(archive.read(name))
    return content


def _xgboost(folder: Path) -> str:
    path = next(path for name in ("model.ubj", "model.json") if (path := folder / name).exists())
    if path.stat().st_size > _MOST_BYTES:
        return ""
    data = path.read_bytes()
    document = json.loads(data) if path.suffix == ".json" else parse_ubjson(data)
    return f"XGBoost {'.'.join(str(int(part)) for part in document['version'])}"


def _lightgbm(folder: Path) -> str:
    match = re.search(rb"^version=(\w+)$", _beginning(folder / "model.txt"), re.MULTILINE)
    return f"LightGBM, format {match[1].decode()}" if match else ""


def _catboost(folder: Path) -> str:
    # What CatBoost notes about the training lies as text at the end of the model's table.
    with (folder / "model.cbm").open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _BEGINNING))
        ending = file.read()
    match = re.search(rb"CatBoost version: ([0-9][0-9.]*)", ending)
    return f"CatBoost {match[1].decode()}" if match else "CatBoost"


def _pmml(folder: Path) -> str:
    beginning = _beginning(folder / "model.pmml").decode("utf-8", "replace")
    version = re.search(r"<(?:\w+:)?PMML\b[^>]*\bversion=[\"']([0-9.]+)", beginning)
    application = re.search(r"<(?:\w+:)?Application\b([^>]*)>", beginning)
    attributes = dict(re.findall(r"(\w+)=[\"']([^\"']*)", application[1])) if application else {}
    program = f"{attributes.get('name', '')} {attributes.get('version', '')}".strip()
    return "; ".join(filter(None, (program, f"PMML {version[1]}" if version else "")))


def _mojo(folder: Path) -> str:
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            content = archive.read("model.ini")[:_BEGINNING].decode("utf-8", "replace")
        match = re.search(r"^h2o_version *= *(\S+)", content, re.MULTILINE)
        if match:
            return f"H2O {match[1]}"
    return ""


def _mlflow(folder: Path) -> str:
    path = next(iter([*folder.glob("MLmodel"), *folder.glob("*/MLmodel")]))
    match = re.search(rb"^mlflow_version: *['\"]?([\w.+]+)", _beginning(path), re.MULTILINE)
    return f"MLflow {match[1].decode()}" if match else ""


def _tflite(folder: Path) -> str:
    """The converter notes for which runtime the model is: a FlatBuffer's metadata, as text."""
    data = (folder / "model.tflite").read_bytes()
    found = "CONVERSION_METADATA" if b"CONVERSION_METADATA" in data else ""
    match = re.search(rb"\x10\x00\x00\x00([0-9]+\.[0-9]+\.[0-9]+)\x00", data)
    runtime = f"for TensorFlow Lite {match[1].decode()} and later" if match else ""
    return "; ".join(filter(None, ("TensorFlow Lite converter" if found else "", runtime)))


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BEGINNING)


_READERS: Mapping[str, Callable[[Path], str]] = {
    "catboost": _catboost,
    "keras": _keras,
    "lightgbm": _lightgbm,
    "mlflow": _mlflow,
    "mojo": _mojo,
    "onnx": _onnx,
    "pmml": _pmml,
    "sklearn": _sklearn,
    "tflite": _tflite,
    "xgboost": _xgboost,
}
