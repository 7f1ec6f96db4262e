"""The code on the pages of backends does what they say."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from salver.backends.functions import FunctionServable, tensor
from salver.backends.pipeline import PipelineLoader
from salver.backends.python import PythonLoader
from salver.core.backend import BackendOptions
from salver.core.servable import Servable
from salver.core.signature import Signature

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPTIONS = BackendOptions(model_name="m", allow_python_code=True)


def code(page: str) -> str:
    return str(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)[0])


def answer(servable: Servable, array: np.ndarray) -> dict[str, list[object]]:
    signature = servable.signatures["serving_default"]
    (fed,) = signature.inputs.values()
    fetches = tuple(spec.name for spec in signature.outputs.values())
    outputs = servable.program((fed.name,), fetches).run([array])
    return {name: a.tolist() for name, a in zip(signature.outputs, outputs, strict=True)}


def test_the_python_model(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(code("backends-python.md"))
    np.save(tmp_path / "weights.npy", np.array([1, 2, 3, -4], np.float32))
    loader = PythonLoader(str(tmp_path), OPTIONS)

    found = answer(loader.load(), np.array([[1, 1, 1, 1], [0, 0, 0, 1]], np.float32))

    loader.unload()
    assert found == {"score": [2.0, -4.0], "label": [b"good", b"bad"]}


class LengthModel:
    """Two scores for a length: the second is higher for more than three."""

    def load(self) -> Servable:
        signature = Signature(
            "serving_default",
            {"length": tensor(np.float32, (-1, 1))},
            {"scores": tensor(np.float32, (-1, 2))},
        )

        def score(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [np.concatenate([3 - inputs[0], inputs[0] - 3], axis=1)]

        return FunctionServable("m", [(signature, score)])

    def unload(self) -> None:
        pass


def test_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(code("backends.md"))
    loader = PipelineLoader(str(tmp_path), LengthModel(), OPTIONS)

    found = answer(loader.load(), np.array([b"long enough", b"no"], object))

    loader.unload()
    assert found == {"output": [b"yes", b"no"]}
