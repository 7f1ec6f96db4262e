"""`pipeline.py`: what stands before and after a model, for clients part of it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from salver.backends.detecting import PipelineChoiceLoader
from salver.backends.pipeline import PipelineLoader
from salver.core.backend import BackendOptions
from salver.core.servable import Servable
from salver.errors import FailedPrecondition, InternalError, InvalidArgument, PermissionDenied
from tests.backends.contract import loader_of
from tests.backends.made import Made

OPTIONS = BackendOptions(model_name="m", allow_python_code=True)
HEAD = """\
from typing import Annotated, TypedDict
import numpy as np
from numpy.typing import NDArray
Floats = Annotated[NDArray[np.float32], (None,)]
Words = Annotated[NDArray[np.str_], (None,)]
"""
BEFORE = """
def before(number: Words):
    return np.array([float(each) for each in number])
"""
AFTER = """
def after(y, number) -> Words:
    return [f"{of}: {found:g}" for of, found in zip(number, y)]
"""
Load = Callable[[str], Servable]


@pytest.fixture(params=["tensorflow", "tflite"])
def load(
    request: pytest.FixtureRequest, make_case: Callable[[str], Made], tmp_path: Path
) -> Iterator[Load]:
    """Loads y = x / 2 + 2 with a pipeline around it."""
    made = make_case(request.param)
    loaders: list[PipelineLoader] = []

    def load(source: str) -> Servable:
        folder = tmp_path / str(len(loaders))
        made.copy(1, folder)
        (folder / "pipeline.py").write_text(HEAD + source)
        loaders.append(
            PipelineLoader(str(folder), loader_of(made.case.platform, str(folder)), OPTIONS)
        )
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


def answer(servable: Servable, **arrays: np.ndarray) -> Mapping[str, list[object]]:
    signature = servable.signatures["serving_default"]
    feeds = tuple(signature.inputs[name].name for name in arrays)
    fetches = tuple(spec.name for spec in signature.outputs.values())
    outputs = servable.program(feeds, fetches).run(list(arrays.values()))
    return {name: a.tolist() for name, a in zip(signature.outputs, outputs, strict=True)}


def test_both_hooks_give_the_outer_signature(load: Load) -> None:
    servable = load(BEFORE + AFTER)

    signature = servable.signatures["serving_default"]
    assert {name: spec.shape for name, spec in signature.inputs.items()} == {"number": (-1,)}
    assert {name: spec.shape for name, spec in signature.outputs.items()} == {"output": (-1,)}
    found = answer(servable, number=np.array([b"4", b"5.0"], object))
    assert found == {"output": [b"4: 4", b"5.0: 4.5"]}


def test_before_alone_leaves_the_outputs(load: Load) -> None:
    servable = load(BEFORE)

    assert answer(servable, number=np.array([b"4"], object)) == {"y": [4.0]}


def test_after_alone_leaves_the_inputs(load: Load) -> None:
    servable = load("""
class Both(TypedDict):
    y: Floats
    rounded: Annotated[NDArray[np.int64], (None,)]

def after(y: np.ndarray, x: np.ndarray) -> Both:
    return Both(y=y + x, rounded=np.rint(y).astype(np.int64))
""")

    found = answer(servable, x=np.array([1, 2], np.float32))
    assert found == {"y": [3.5, 5.0], "rounded": [2, 3]}


def test_the_metadata_is_that_of_the_outer_signature(load: Load) -> None:
    from tensorflow_serving.apis import get_model_metadata_pb2

    content = load(BEFORE + AFTER).signature_def_map
    found = get_model_metadata_pb2.SignatureDefMap.FromString(content).signature_def
    assert list(found["serving_default"].inputs) == ["number"]
    assert list(found["serving_default"].outputs) == ["output"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "pipeline.py has neither before nor after"),
        ("x = 1 / 0", "pipeline.py cannot be imported: ZeroDivisionError"),
        ("def before(x): ...", r"pipeline.py: before\(x\) has no type hint"),
        ("def after(y): ...", "pipeline.py: the result of after has no type hint"),
        ("def after(z) -> Floats: ...", r"pipeline.py: after\(z\) is none of y, x"),
    ],
)
def test_a_pipeline_that_does_not_fit_says_why(load: Load, source: str, message: str) -> None:
    with pytest.raises(FailedPrecondition, match=f"Model m: {message}"):
        load(source)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("raise ValueError('no number')", InvalidArgument, "no number"),
        ("number.shape.size", InternalError, r"AttributeError: .*\(pipeline.py, line 7\)"),
        ("return {'z': number}", InternalError, "before gave z, but the inputs are x"),
        ("return {}", InternalError, "before gave no x"),
        ("return number", InternalError, "before gave x, which is declared as float32, but object"),
    ],
)
def test_a_hook_that_fails_is_an_error_of_the_request(
    load: Load, body: str, kind: type[Exception], message: str
) -> None:
    servable = load(f"def before(number: Words):\n    {body}\n")

    with pytest.raises(kind, match=message):
        answer(servable, number=np.array([b"4"], object))


def test_without_consent_nothing_is_loaded(
    make_case: Callable[[str], Made], tmp_path: Path
) -> None:
    made = make_case("python")
    made.copy(1, tmp_path / "1")
    (tmp_path / "1" / "pipeline.py").write_text("1 / 0")
    inner = loader_of(made.case.platform, str(tmp_path / "1"))

    with pytest.raises(PermissionDenied, match=r"pipeline\.py is code that came with the version"):
        PipelineLoader(str(tmp_path / "1"), inner, BackendOptions(model_name="m")).load()


def test_a_version_without_a_pipeline_is_what_it_was(make_case: Callable[[str], Made]) -> None:
    made = make_case("tensorflow")
    inner = loader_of(made.case.platform, str(made.version(1)))
    loader = PipelineChoiceLoader(str(made.version(1)), inner, BackendOptions(model_name="m"))

    assert type(loader.load()).__name__ == "SavedModelServable"
    loader.unload()
