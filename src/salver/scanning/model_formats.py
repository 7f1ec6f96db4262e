"""Formats of which there is little to tell: skops, PMML, MLflow, TFLite, Keras in HDF5."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salver.backends.mlflow_file import read_mlflow_file
from salver.backends.pmml_file import PmmlFile
from salver.backends.sklearn_file import HARMLESS as SKOPS_HARMLESS
from salver.backends.tflite_file import LiteFile
from salver.core.backend import BackendOptions
from salver.errors import ServingError
from salver.scanning.keras_config import keras_findings
from salver.scanning.part import Part, on_disk
from salver.scanning.pickle_names import verdict
from salver.scanning.report import Finding
from salver.scanning.tensorflow_table import by_attribute, is_known, noted

_HDF5_LIMIT_S = 120.0
_WEIGHTS = "model.weights.h5"
"""In a `.keras` archive."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
"""At byte 0, 512, 1024 and so on: what lies before it, HDF5 leaves to others."""
_FLEX = "Flex"
_LITE_OPERATIONS = frozenset((
    "TFLite_Detection_PostProcess", "AudioSpectrogram", "Mfcc", "RandomStandardNormal",
    "RandomUniform", "Multinomial", "HashTableLookup", "MaxPoolingWithArgmax2D", "MaxUnpooling2D",
    "Convolution2DTransposeBias", "RFFT2D", "ParseExample", "ParseExampleV2",
))  # fmt: skip
"""Custom operations that runtimes of TFLite, or Salver itself, bring along."""


def skops_findings(schema: Any, where: str) -> Iterator[Finding]:
    """Look through the `schema.json` of a skops archive for what it would make."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, dict):
            waiting.extend(each.values())
            for module_key, name_key in (("__module__", "__class__"), ("module_path", "function")):
                module, name = each.get(module_key), each.get(name_key)
                if isinstance(module, str) and isinstance(name, str):
                    yield from _skops_name(module, name, where)


def _skops_name(module: str, name: str, where: str) -> Iterator[Finding]:
    full = f"{module}.{name}"
    if full in SKOPS_HARMLESS or module in ("builtins", "types") or name == "ufunc":
        return
    known = verdict(module, name)
    if known.rule:
        rule = "unknown-object" if known.rule == "unknown-import" else known.rule
        yield Finding(rule, where, f"it holds a {full}", full, known.why)


def pmml_findings(part: Part) -> Iterator[Finding]:
    """Look through a PMML document."""
    found: list[Finding] = []

    def element(name: str, attributes: dict[str, str]) -> None:
        function = attributes.get("function", "")
        if name == "Apply" and "." in function:
            found.append(
                Finding(
                    "runs-code", f"{part.where}: Apply", f"the function {function}", function,
                    "some evaluators call the Java class of this name",
                )
            )  # fmt: skip
        elif name == "TableLocator":
            found.append(
                Finding("reads-file", f"{part.where}: {name}", "a table outside of the document",
                        name)
            )  # fmt: skip

    with on_disk(part) as path:
        try:
            PmmlFile(Path(path), part.where, element)
        except ServingError as error:
            rule = "reads-file" if "DOCTYPE" in error.message else "unreadable"
            found.append(Finding(rule, part.where, error.message.partition(": ")[2], ""))
    yield from found


def mlflow_findings(part: Part) -> Iterator[Finding]:
    """Look at what an `MLmodel` has MLflow load; the files are looked at by themselves."""
    with on_disk(part) as path:
        try:
            file = read_mlflow_file(Path(path), BackendOptions(model_name=part.where))
        except ServingError as error:
            yield Finding("unreadable", part.where, error.message, "")
            return
    for flavor, settings in file.flavors.items():
        where = f"{part.where}: flavor {flavor}"
        module = settings.get("loader_module")
        if isinstance(module, str) and not module.startswith("mlflow."):
            yield Finding(
                "runs-code", where, f"it is loaded by the module {module}", module,
                "MLflow imports it, from the model's code if it has some",
            )  # fmt: skip
        for key in ("code", "code_path", "model_code_path"):
            if settings.get(key):
                yield Finding("runs-code", where, f"it has code of its own, {settings[key]}", key,
                              "MLflow imports it when it loads the model")  # fmt: skip
        for key in ("data", "model_path", "python_model", "pickled_model", "model_data"):
            value = settings.get(key)
            if isinstance(value, str) and (value.startswith("/") or ".." in value.split("/")):
                yield Finding("path-outside", where, f"its {key} is {value}", key)


def tflite_findings(part: Part) -> Iterator[Finding]:
    """Look through the operations of a TFLite file.

    Raises:
        ValueError: it is none, or would end the process that runs it.
    """
    for code in LiteFile(part.content()).custom_codes():
        operation = code.removeprefix(_FLEX) if code.startswith(_FLEX) else ""
        known = noted(operation) or by_attribute(operation)
        where = f"{part.where}: custom operation {code}"
        if known is not None:
            yield Finding(known.rule, where, operation, operation, known.why)
        elif code not in _LITE_OPERATIONS and not (operation and is_known(operation)):
            yield Finding("unknown-operation", where, code, code)


def is_hdf5(part: Part) -> bool:
    """Whether it is an HDF5 file, one that begins with something else among them."""
    position = 0
    with part.opened() as file:
        while position < part.size:
            file.seek(position)
            if file.read(len(_HDF5)) == _HDF5:
                return True
            position = max(position * 2, 512)
    return False


def hdf5_findings(part: Part) -> Iterator[Finding]:
    """Look at the model in an HDF5 file, which a process of its own reads.

    The library that reads it is written in C and believes much: if it dies, it dies alone.
    """
    with on_disk(part) as path:
        # Without -P the folder where the command stands, which may be the model's, comes first.
        command = [sys.executable, "-P", "-m", "salver.scanning.hdf5_reader", path]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_HDF5_LIMIT_S, check=False)
            answer = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, ValueError):
            answer = {"problem": "its reader ended without an answer"}
    if "problem" in answer and answer.get("is_missing") and part.name == _WEIGHTS:
        # The configuration, which needs no h5py, is read; without it nobody reads the weights.
        yield Finding("not-looked-into", part.where, answer["problem"], part.name)
        return
    if "problem" in answer:
        yield Finding("unreadable", part.where, answer["problem"], "")
        return
    for name, target in answer["outside"]:
        yield Finding("path-outside", f"{part.where}: {name}", f"its data lies in {target}", target)
    for text in answer["configs"]:
        yield from keras_findings(json.loads(text), part.where)
