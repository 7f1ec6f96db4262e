"""Python code as a model: what a class may look like, and what is said of one that cannot serve."""

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from salver.backends.functions import FunctionServable
from salver.backends.python import PythonLoader
from salver.core.backend import BackendOptions
from salver.errors import FailedPrecondition, InternalError, InvalidArgument, PermissionDenied

OPTIONS = BackendOptions(model_name="m", allow_python_code=True)
HEAD = """\
from pathlib import Path
from typing import Annotated, NamedTuple
import numpy as np
from numpy.typing import NDArray
Floats = Annotated[NDArray[np.float32], (None,)]
Words = Annotated[NDArray[np.str_], (None,)]
"""
ADD = """\
class Model:
    def predict(self, x: Floats, y: Floats) -> Floats:
        return x + y
"""
X = np.array([1, 2], np.float32)

Load = Callable[..., FunctionServable]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    loaders = []

    def load(source: str, **files: str) -> FunctionServable:
        (tmp_path / "model.py").write_text(HEAD + dedent(source))
        for name, content in files.items():
            (tmp_path / name.replace("_txt", ".txt").replace("_py", ".py")).write_text(content)
        loaders.append(PythonLoader(str(tmp_path), OPTIONS))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


def answer(servable: FunctionServable, *arrays: np.ndarray) -> list[np.ndarray]:
    signature = servable.signatures["serving_default"]
    program = servable.program(
        tuple(spec.name for spec in signature.inputs.values()),
        tuple(spec.name for spec in signature.outputs.values()),
    )
    return program.run(arrays)


def test_predict_is_called_with_arrays_by_name(load: Load) -> None:
    servable = load(ADD)

    assert list(servable.signatures["serving_default"].inputs) == ["x", "y"]
    assert list(servable.signatures["serving_default"].outputs) == ["output"]
    assert answer(servable, X, 2 * X)[0].tolist() == [3, 6]


def test_the_steps_before_and_after_give_the_signature(load: Load) -> None:
    servable = load("""
        class Answer(NamedTuple):
            length: Annotated[NDArray[np.int64], (None,)]
            loud: Words

        class Lengths:
            def preprocess(self, word: Words):
                return [len(each) for each in word], word

            def predict(self, lengths, words):
                return {"length": lengths, "words": words}

            def postprocess(self, length, words) -> Answer:
                return Answer(length, [word.upper() for word in words])
    """)
    length, loud = answer(servable, np.array(["zw\u00f6lf".encode(), b"a"], object))

    assert length.tolist() == [5, 1]
    assert length.dtype == np.int64
    assert loud.tolist() == ["ZW\u00d6LF".encode(), b"A"]


def test_files_beside_are_modules_of_the_version(load: Load, tmp_path: Path) -> None:
    servable = load(
        """
        from . import scaling

        class Model:
            def load(self, folder: Path) -> None:
                self.name = folder.name

            def predict(self, x: Floats) -> Floats:
                from .scaling import scaled
                assert scaling.scaled is scaled
                return scaled(x)
        """,
        scaling_py="def scaled(x):\n    return x * 3\n",
    )
    (tmp_path / "scaling.py").unlink()

    assert answer(servable, X)[0].tolist() == [3, 6]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.py"]


def test_a_version_leaves_nothing_behind(tmp_path: Path) -> None:
    source = "MADE = []\nclass Model:\n    def __init__(self):\n        MADE.append(self)\n"
    source += "    def predict(self, x: Floats) -> Floats:\n        return x\n"
    source += "    def unload(self):\n        (PATH / 'unloaded').touch()\n"
    (tmp_path / "model.py").write_text(f"{HEAD}PATH = Path({str(tmp_path)!r})\n{source}")
    before = set(sys.modules)
    loader = PythonLoader(str(tmp_path), OPTIONS)
    loader.load()
    (name,) = {name for name in set(sys.modules) - before if name.endswith(".model")}
    model = weakref.ref(sys.modules[name].MADE[0])
    gc.freeze()  # As the server does: no collector helps.
    try:
        loader.unload()

        assert model() is None
    finally:
        gc.unfreeze()
    assert not [name for name in set(sys.modules) - before if name.startswith("salver_version")]
    assert (tmp_path / "unloaded").exists()


def test_without_consent_nothing_is_run(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")

    with pytest.raises(PermissionDenied, match="--allow_python_code"):
        PythonLoader(str(tmp_path), BackendOptions(model_name="m", allow_pickle=True)).load()

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = ", "model.py cannot be imported: SyntaxError"),
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("x = 1 / 0", "ZeroDivisionError: division by zero (model.py, line 7)"),
        ("x = 1", "one class with a method predict, or one of these called Model; found: none"),
        (
            ADD.replace("Model", "A") + ADD.replace("Model", "B"),
            "one class with a method predict, or one of these called Model; found: A, B",
        ),
        (ADD.replace("y: Floats", "y"), "predict(y) has no type hint"),
        (ADD.replace("-> Floats", ""), "the result of predict has no type hint"),
        (
            ADD + "    def load(self, folder):\n        open(folder / 'weights')\n",
            "model.py cannot load: FileNotFoundError: [Errno 2]",
        ),
        (
            ADD + "    def __init__(self, size):\n        pass\n",
            "model.py cannot load: TypeError",
        ),
    ],
)
def test_code_that_cannot_serve_says_why(load: Load, source: str, message: str) -> None:
    with pytest.raises(FailedPrecondition) as raised:
        load(source)

    assert message in raised.value.message
    assert "\n" not in raised.value.message


def test_of_several_classes_the_one_called_model_counts(load: Load) -> None:
    servable = load(ADD.replace("Model", "Other").replace("x + y", "x - y") + ADD)

    assert answer(servable, X, X)[0].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("raise ValueError('x is too long')", InvalidArgument, "x is too long"),
        ("return {}['y']", InternalError, r"KeyError: 'y' \(model.py, line 9\)"),
        ("return x.astype(complex)", InternalError, "complex128 was computed"),
        ("return {'other': x}", InternalError, "gave no output output"),
    ],
)
def test_code_that_fails_is_an_error_of_the_request(
    load: Load, body: str, kind: type[Exception], message: str
) -> None:
    servable = load(ADD.replace("return x + y", body))

    with pytest.raises(kind, match=message):
        answer(servable, X, X)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# nothing\n\nnumpy\n",
        "numpy>=1.0,<99  # fine\nNumPy[extra]\n",
        "--index-url https://example.com\nnumpy \\\n  >=1 --hash=sha256:0\n",
        'no-such-package; python_version < "3"\n',
    ],
)
def test_requirements_that_are_met(load: Load, content: str) -> None:
    load(ADD, requirements_txt=content)


def test_each_requirement_that_is_not_met_has_a_line(load: Load) -> None:
    lines = "numpy<1\nno-such-package>=2\n-r other.txt\n==3\nprotobuf\n"
    with pytest.raises(FailedPrecondition) as raised:
        load("x = 1 / 0", requirements_txt=lines)

    title, *problems = raised.value.message.splitlines()
    assert title == "Model m: what requirements.txt asks for is not installed:"
    assert [problem.split(":")[0].strip() for problem in problems] == [
        "numpy<1", "no-such-package>=2", "-r other.txt", "==3",
    ]  # fmt: skip
    assert "pip install 'no-such-package>=2'" in problems[1]
