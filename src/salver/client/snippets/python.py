"""The snippet for Python."""

import json

from salver.client.snippets.question import KEY_VARIABLE, Question, Sample
from salver.core.data_type import DataType, numpy_type_of


def snippet(question: Question) -> str:
    """A program with `salver.client`, over whatever protocol the address has."""
    imports = ["import numpy as np"] if question.samples else []
    if any("ml_dtypes" in _dtype(sample) for sample in question.samples.values()):
        imports.insert(0, "import ml_dtypes")
    library = "\n".join([*(["import os", ""] if question.has_key else []), *imports])
    choice = "".join(
        f", {name}={value!r}"
        for name, value in (
            ("version", question.version),
            ("label", question.label),
            ("signature", question.signature or None),
        )
        if value is not None
    )
    key = f', api_key=os.environ["{KEY_VARIABLE}"]' if question.has_key else ""
    head = f"{library}\n\n" if library else ""
    opening = f"with Client({_quoted(str(question.address))}{key}) as client:"
    model = _quoted(question.model)
    if question.verb != "predict":
        shown = ("labels", "scores") if question.verb == "classify" else ("values",)
        return (
            f"{head}from salver.client import Client\n\n"
            f"examples = {list(question.examples)!r}\n{opening}\n"
            f"    result = client.{question.verb}({model}, examples{choice})\n"
            + "".join(f'print("{name}", result.{name}.tolist())\n' for name in shown)
        )
    inputs = "".join(
        f"    {_quoted(name)}: {_array(sample)},\n" for name, sample in question.samples.items()
    )
    return (
        f"{head}from salver.client import Client\n\n"
        f"inputs = {{\n{inputs}}}\n{opening}\n"
        f"    prediction = client.predict({model}, inputs{choice})\n"
        "for name, array in prediction.items():\n    print(name, array.tolist())\n"
    )


def _array(sample: Sample) -> str:
    if sample.is_small:
        return f"np.array({sample.nested!r}, {_dtype(sample)})"
    return f"np.full({sample.shape!r}, {sample.value!r}, {_dtype(sample)})"


def _dtype(sample: Sample) -> str:
    dtype = numpy_type_of(sample.data_type)
    assert dtype is not None
    if sample.data_type is DataType.STRING:
        return "object"
    if dtype.names:
        return repr(dtype.descr)
    if dtype.kind == "V" or dtype.name.startswith("float8"):
        return f"ml_dtypes.{dtype.name}"
    return f"np.{dtype.name}" if dtype.kind != "b" else "np.bool_"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
