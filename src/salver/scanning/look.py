"""Which reader looks at a file: told by its name and by how it begins, archives by their members.

Whatever cannot be read is a finding: what cannot be looked at cannot be called safe.
"""

import contextlib
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from tokenize import TokenError

from salver.scanning import archive
from salver.scanning.keras_config import KERAS_CONFIG, keras_findings
from salver.scanning.model_formats import (
    hdf5_findings,
    is_hdf5,
    mlflow_findings,
    pmml_findings,
    skops_findings,
    tflite_findings,
)
from salver.scanning.onnx_file import onnx_findings
from salver.scanning.part import Part
from salver.scanning.pickle_findings import (
    array_findings,
    looks_like_pickle,
    may_be_old_pickle,
    pickle_findings,
)
from salver.scanning.report import Finding
from salver.scanning.saved_model import (
    chunked_findings,
    frozen_graph_findings,
    is_graph,
    keras_metadata_findings,
    meta_graph_findings,
    saved_model_findings,
    text_saved_model_findings,
)
from salver.scanning.torch_file import is_pickle_member, torch_findings

_Look = Callable[[Part], Iterator[Finding]]

_BY_NAME: dict[str, _Look] = {
    "saved_model.pb": saved_model_findings,
    "saved_model.pbtxt": text_saved_model_findings,
    "saved_model.cpb": chunked_findings,
    "keras_metadata.pb": keras_metadata_findings,
    "mlmodel": mlflow_findings,
}
_BY_ENDING: dict[str, _Look] = {
    ".meta": meta_graph_findings,
    ".onnx": onnx_findings,
    ".pmml": pmml_findings,
}
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".p", ".pt", ".pth", ".ckpt")
_SCRIPTS = (".sh", ".bash", ".bat", ".cmd", ".ps1", ".exe", ".jar", ".java", ".class", ".js", ".rb",
            ".pl", ".r", ".jl")  # fmt: skip
_LIBRARIES = (".so", ".dll", ".dylib", ".pyd", ".pyc", ".pyo", ".node")
_PROGRAMS = (
    (b"\x7fELF", "a program or library of Linux"),
    (b"MZ", "a program or library of Windows"),
    (b"\xfe\xed\xfa\xce", "a program or library of macOS"),
    (b"\xfe\xed\xfa\xcf", "a program or library of macOS"),
    (b"\xcf\xfa\xed\xfe", "a program or library of macOS"),
    (b"\xca\xfe\xba\xbe", "compiled Java, or a program of macOS"),
    (b"\0asm", "a WebAssembly module"),
    (b"#!", "a script"),
)
_RUN_BY_SALVER = ("model.py", "pipeline.py")
_CHECKPOINT = re.compile(r".+\.(index|data-[0-9]{5}-of-[0-9]{5})")
_DATA = re.compile(
    r".*\.(txt|json|ubj|model|cbm|lgb|xgb|csv|tsv|md|py|ya?ml|npz|index|tflite|safetensors|gguf|vocab"
    r"|proto|pbtxt|ini|toml|xml|html|png|jpe?g|log|h5|onnx_data|onnx\.data|data|tfrecord|parquet)"
    r"|fingerprint\.pb|tf_serving_warmup_requests|license|readme|checkpoint|version|bestscore|\..*"
)
_YAML_OBJECT = re.compile(
    rb"(!!python/(object|name|module|apply|new)|tag:yaml\.org,2002:python/)[^\s]*"
)
_CLASS_NAME = re.compile(rb"class_name|\\u00|\0")
_MOST_TEXT = 64 << 20
_DAMAGED = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SyntaxError, TokenError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What readers, Python's own among them, stumble over in damaged files."""


def look_at(part: Part, count: Callable[[], None]) -> Iterator[Finding]:
    """Everything that is to be said of a part; `count` is called for each that is looked at."""
    count()
    try:
        yield from _looked(part, count)
    except archive.TooLarge as error:
        yield Finding("archive-bomb", part.where, str(error), "")
    except _DAMAGED as error:
        text = " ".join(str(error).split()) or type(error).__name__
        yield Finding("unreadable", part.where, f"it cannot be read: {text[:300]}", "")


def _looked(part: Part, count: Callable[[], None]) -> Iterator[Finding]:
    if not part.size:
        return
    start = part.start(512)
    if not _CHECKPOINT.fullmatch(part.name):
        yield from _code_findings(part, start)
    reader = _BY_NAME.get(part.name) or _BY_ENDING.get(part.ending)
    if reader is not None:
        yield from reader(part)
    elif part.ending == ".pb" and is_graph(part):
        yield from frozen_graph_findings(part)
    elif start.startswith(b"PK\x03\x04") or start.startswith(b"PK\x05\x06"):
        yield from _zip(part, count)
    elif _CHECKPOINT.fullmatch(part.name):
        yield from _checkpoint_findings(part, start, count)
    else:
        yield from _by_content(part, start, count)
        yield from _hidden_zip(part, count)


def _checkpoint_findings(part: Part, start: bytes, count: Callable[[], None]) -> Iterator[Finding]:
    """Numbers that look like something else by chance cannot be read as that."""
    with contextlib.suppress(*_DAMAGED):
        for finding in (*_by_content(part, start, count), *_hidden_zip(part, count)):
            if finding.rule not in ("unreadable", "not-looked-into"):
                yield finding


def _by_sign(part: Part, start: bytes) -> _Look | None:
    if start[4:8] == b"TFL3":
        return tflite_findings
    if is_hdf5(part):
        return hdf5_findings
    if start.startswith(b"\x93NUMPY"):
        return array_findings
    return pickle_findings if looks_like_pickle(start) else None


def _by_content(part: Part, start: bytes, count: Callable[[], None]) -> Iterator[Finding]:
    reader = _by_sign(part, start)
    if reader is not None:
        yield from reader(part)
    elif archive.is_compressed(start):
        with archive.uncompressed(part) as inner:
            yield from _deeper(part, inner, count)
    elif start[257:262] == b"ustar":
        yield from archive.tar_findings(part)
        for member in archive.tar_parts(part):
            yield from _deeper(part, member, count)
    elif may_be_old_pickle(part):
        yield from pickle_findings(part)
    elif part.ending in _PICKLES:
        yield Finding("unreadable", part.where, "it is called a pickle and is none", part.name)
    else:
        kind = next((kind for sign, kind in archive.UNSUPPORTED.items() if start.startswith(sign)),
                    None)  # fmt: skip
        if kind:
            yield Finding("unreadable", part.where, f"a {kind} archive", part.name)
            return
        yield from _text_findings(part, start)
        if not part.depth and not _DATA.fullmatch(part.name):
            yield Finding("not-looked-into", part.where, f"{part.size} bytes", part.name)


def _deeper(part: Part, inner: Part, count: Callable[[], None]) -> Iterator[Finding]:
    if inner.depth > archive.MOST_DEEP:
        yield Finding("unreadable", part.where, "archives lie in archives without end", "")
        return
    yield from look_at(inner, count)


def _code_findings(part: Part, start: bytes) -> Iterator[Finding]:
    if part.ending == ".py":
        yield from _python_findings(part)
        return
    found = next((what for sign, what in _PROGRAMS if start.startswith(sign)), None)
    if found is None and part.ending in _LIBRARIES:
        found = "a library, or compiled Python"
    if found is None and part.ending in _SCRIPTS:
        found = "a program by its name"
    if found == "a program or library of Windows" and b"PE\0\0" not in part.start(4096):
        found = None
    if found:
        yield Finding("native-code", part.where, found, part.name)


def _python_findings(part: Part) -> Iterator[Finding]:
    if part.where in _RUN_BY_SALVER:
        yield Finding(
            "runs-code", part.where, "Python code of the model, or around it", part.name,
            "the server runs it with all its rights, if --allow_python_code lets it",
        )  # fmt: skip
    elif "!" in part.where and "/code/" in part.where:
        return  # TorchScript, which is no Python; see `torch_file`.
    else:
        yield Finding("python-file", part.where, "Python code", part.name)


def _text_findings(part: Part, start: bytes) -> Iterator[Finding]:
    if part.ending == ".json":
        yield from _json_findings(part)
    elif part.size > _MOST_TEXT:
        return
    elif part.ending in (".yaml", ".yml") and (found := _YAML_OBJECT.search(part.content())):
        text = found[0].decode(errors="replace")
        yield Finding("runs-code", part.where, text, text, "readers of YAML that trust the file "
                      "make objects and call functions by it")  # fmt: skip


def _json_findings(part: Part) -> Iterator[Finding]:
    if part.size > _MOST_TEXT and part.name != KERAS_CONFIG:
        return
    # Written with escapes, or in another encoding, it means the same.
    if part.name == KERAS_CONFIG or _CLASS_NAME.search(part.content()):
        yield from _config_findings(part)


def _config_findings(part: Part) -> Iterator[Finding]:
    if part.size > _MOST_TEXT:
        raise ValueError(f"a configuration of {part.size} bytes")
    yield from keras_findings(json.loads(part.content()), part.where)


def _hidden_zip(part: Part, count: Callable[[], None]) -> Iterator[Finding]:
    with part.opened() as file:
        is_zip = zipfile.is_zipfile(file)
    if not is_zip:
        return
    # Models of TFLite have files of words behind them, in an archive.
    if part.ending != ".tflite":
        yield Finding("two-formats", part.where, "it is an archive as well", part.name)
    yield from _zip(part, count)


def _zip(part: Part, count: Callable[[], None]) -> Iterator[Finding]:
    yield from archive.zip_findings(part)
    members = list(archive.zip_parts(part))
    names = {_inside(part, member): member for member in members}
    if KERAS_CONFIG in names and ("metadata.json" in names or part.ending == ".keras"):
        yield from _config_findings(names.pop(KERAS_CONFIG))
        names.pop("metadata.json", None)
    elif "schema.json" in names:
        yield from skops_findings(json.loads(names["schema.json"].content()), part.where)
    elif _is_torch(names):
        yield from torch_findings(part)
        names = {
            name: each for name, each in names.items() if is_pickle_member(name.partition("/")[2])
        }
    elif _lacks_its_model(part):
        yield Finding("unreadable", part.where, "an archive without a model of PyTorch", part.name)
    for member in names.values():
        yield from _deeper(part, member, count)


def _lacks_its_model(part: Part) -> bool:
    """Whether an archive is called a model of PyTorch, but has none."""
    return part.ending in (".pt2", ".pt", ".pth") and part.depth == 0


def _inside(part: Part, member: Part) -> str:
    return member.where[len(part.where) + 1 :]


def _is_torch(names: dict[str, Part]) -> bool:
    return any(
        name.partition("/")[2] in ("data.pkl", "constants.pkl", "models/model.json")
        for name in names
    )
