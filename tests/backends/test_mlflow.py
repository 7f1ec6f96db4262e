"""MLflow model folders, saved by MLflow itself."""

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.mlflow import BACKEND, MlflowLoader
from salver.core.backend import BackendOptions
from salver.core.data_type import DataType
from salver.core.servable import Servable
from salver.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ServingError,
    Unimplemented,
)
from tests.backends.asking import ask

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore")

CODE = """\
import mlflow


class Scaled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["a"].to_numpy() * params["factor"] + params["offsets"][0]


mlflow.models.set_model(Scaled())
"""
TELLS = """\
import mlflow


class Typed(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [str(kind) for kind in model_input.dtypes]


mlflow.models.set_model(Typed())
"""
Load = Callable[..., Servable]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads the model folder in `tmp_path / "m"`."""
    loaders: list[MlflowLoader] = []

    def load(**options: Any) -> Servable:
        options = {"allow_python_code": True, "allow_pickle": True, **options}
        loaders.append(
            BACKEND.loader(str(tmp_path / "m"), BackendOptions(model_name="m", **options))
        )
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


def save(folder: Path, code: str, inputs: Any, outputs: Any, params: Any = None) -> None:
    source = folder / "code_of_model.py"
    source.write_text(code)
    signature = mlflow.models.infer_signature(inputs, outputs, params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            folder / "m", python_model=str(source), signature=signature, pip_requirements=[]
        )


def save_scaled(folder: Path) -> None:
    import pandas as pd

    params = {"factor": 2.0, "offsets": [0.5, 1.5]}
    save(folder, CODE, pd.DataFrame({"a": [1.0]}), np.array([1.0]), params)


def test_parameters_are_inputs_that_a_request_may_leave_out(tmp_path: Path, load: Load) -> None:
    save_scaled(tmp_path)
    servable = load()

    signature = servable.signatures["serving_default"]
    assert {name: spec.shape for name, spec in signature.inputs.items()} == {
        "a": (-1,),
        "factor": (),
        "offsets": (-1,),
    }
    assert signature.defaults["factor"] == 2.0
    assert signature.defaults["offsets"].tolist() == [0.5, 1.5]
    inputs = {
        "a": np.array([1.0, 3.0]),
        "factor": np.array(10.0),
        "offsets": np.array([7.0]),
    }
    assert ask(servable, inputs)["predictions"].tolist() == [17.0, 37.0]


def test_columns_reach_the_model_in_their_own_types(tmp_path: Path, load: Load) -> None:
    import pandas as pd

    rows = pd.DataFrame({
        "f": np.array([1.5], np.float32), "n": [1], "b": [True], "s": ["x"],
        "t": pd.to_datetime(["2024-01-02"]),
    })  # fmt: skip
    save(tmp_path, TELLS, rows, np.array(["x"]))
    servable = load()

    types = {k: v.data_type for k, v in servable.signatures["serving_default"].inputs.items()}
    assert types == {
        "f": DataType.FLOAT, "n": DataType.INT64, "b": DataType.BOOL, "s": DataType.STRING,
        "t": DataType.STRING,
    }  # fmt: skip
    found = ask(servable, {
        "f": np.zeros(1, np.float32), "n": np.zeros(1, np.int64), "b": np.zeros(1, bool),
        "s": np.array([b"y"], object), "t": np.array([b"2024-05-06T07:08:09"], object),
    })["predictions"]  # fmt: skip
    assert [text.decode().split("[")[0] for text in found][:3] == ["float32", "int64", "bool"]
    assert found[4].startswith(b"datetime64")


def test_a_time_that_is_none_is_an_invalid_argument(tmp_path: Path, load: Load) -> None:
    import pandas as pd

    rows = pd.DataFrame({"t": pd.to_datetime(["2024-01-02"])})
    save(tmp_path, TELLS, rows, np.array(["x"]))

    with pytest.raises(InvalidArgument, match='input "t"'):
        ask(load(), {"t": np.array([b"soon"], object)})


@pytest.mark.parametrize("in_front", ["columns", "tensor", "none", "of another"])
def test_onnx_is_served_by_its_own_backend_as_the_signature_says(
    tmp_path: Path, load: Load, in_front: str, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    import pandas as pd

    save_onnx(tmp_path, {
        "columns": pd.DataFrame({"a": [1.0], "b": [2.0]}),
        "tensor": np.zeros((1, 2), np.float64),
        "none": None,
        "of another": pd.DataFrame({"a": [1.0], "b": ["word"], "c": [3.0]}),
    }[in_front])  # fmt: skip
    with caplog.at_level(logging.WARNING, "salver"):
        servable = load(allow_python_code=False, allow_pickle=False)

    table = np.array([[1.0, 2.0], [3.0, 4.0]])
    inputs = {
        "columns": {"b": table[:, 1], "a": table[:, 0]},
        "tensor": {"inputs": table},
        "none": {"x": table.astype(np.float32)},
        "of another": {"x": table.astype(np.float32)},
    }[in_front]
    assert ask(servable, inputs)["y"].tolist() == [[21.0], [43.0]]
    assert ("not those of the model" in caplog.text) == (in_front == "of another")


def save_onnx(folder: Path, inputs: Any) -> None:
    from onnx import TensorProto, checker, helper

    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 10.0])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    signature = None
    if inputs is not None:
        signature = mlflow.models.infer_signature(inputs, np.zeros((1, 1), np.float32))
    mlflow.onnx.save_model(
        model, folder / "m", signature=signature, save_as_external_data=False, pip_requirements=[]
    )


@pytest.mark.parametrize("flavor", ["xgboost", "lightgbm"])
def test_boosted_trees_are_served_by_their_own_backend(
    tmp_path: Path, load: Load, flavor: str
) -> None:
    import pandas as pd

    framework = pytest.importorskip(flavor)
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 2)), columns=["a", "b"])
    target = rows["a"] * 2 - rows["b"]
    if flavor == "xgboost":
        booster = framework.train({}, framework.DMatrix(rows, target), 3)
        expected = booster.predict(framework.DMatrix(rows))
    else:
        booster = framework.train({"verbose": -1}, framework.Dataset(rows, target), 3)
        expected = booster.predict(rows)
    signature = mlflow.models.infer_signature(rows, expected)
    getattr(mlflow, flavor).save_model(
        booster, tmp_path / "m", signature=signature, pip_requirements=[]
    )
    servable = load(allow_python_code=False, allow_pickle=False)

    (found,) = ask(servable, {name: rows[name].to_numpy() for name in ("b", "a")}).values()
    np.testing.assert_allclose(found.ravel(), expected, 1e-5)


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("bomb_went_off"),))


def test_a_pickle_is_not_opened_without_consent(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    monkeypatch.chdir(tmp_path)
    save_scaled(tmp_path)
    (tmp_path / "m" / "python_model.pkl").write_bytes(pickle.dumps(Bomb()))
    description = tmp_path / "m" / "MLmodel"
    kept = [line for line in description.read_text().splitlines() if "model_code_path" not in line]
    text = "\n".join(kept).replace(
        "python_function:", "python_function:\n    python_model: python_model.pkl"
    )
    description.write_text(text)

    with pytest.raises(PermissionDenied, match="--allow_python_code"):
        load(allow_python_code=False)
    with pytest.raises(PermissionDenied, match="--allow_pickle"):
        load(allow_pickle=False)
    assert not Path("bomb_went_off").exists()
    with pytest.raises(FailedPrecondition, match="MLflow cannot load it"):
        load()
    assert Path("bomb_went_off").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no flavors"),
        ("flavors: [1, 2", "no YAML"),
        ("[" * 100_000, "no YAML"),
        ("flavors: !!python/object/apply:os.system ['true']", "no YAML"),
        ("flavors: {onnx: {data: ../../other/model.onnx}}", "outside of the model"),
        ("flavors: {onnx: {data: /etc/passwd}}", "outside of the model"),
        ("flavors: {keras: {data: ..}}", "outside of the model"),
        ("flavors: {x: {}}\nsignature: {inputs: '[{'}", "signature cannot be read"),
        ('flavors: {x: {}}\nsignature: {inputs: \'[{"name": "a"}]\'}', "signature cannot be read"),
        ("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a]\nc: [*b,*b,*b]", "no flavors"),
    ],
)
def test_a_hostile_or_broken_mlmodel_is_a_clear_error(
    tmp_path: Path, load: Load, text: str, told: str
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text(text)

    with pytest.raises(InvalidArgument, match=told):
        load()


def test_a_flavor_that_nothing_reads_is_unimplemented(tmp_path: Path, load: Load) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text("flavors: {spark: {}}")

    with pytest.raises(Unimplemented, match="spark"):
        load()


def test_a_type_that_no_tensor_has_is_unimplemented(tmp_path: Path, load: Load) -> None:
    (tmp_path / "m").mkdir()
    signature = 'signature: {inputs: \'[{"name": "a", "type": "map"}]\'}'
    (tmp_path / "m" / "MLmodel").write_text("flavors: {x: {}}\n" + signature)

    with pytest.raises(Unimplemented, match="type map"):
        load()


def test_without_a_signature_the_error_says_how_to_save_one(tmp_path: Path, load: Load) -> None:
    save_scaled(tmp_path)
    path = tmp_path / "m" / "MLmodel"
    path.write_text(path.read_text().partition("signature:")[0])

    with pytest.raises(FailedPrecondition, match="infer_signature"):
        load()


def test_a_folder_with_several_models_is_none(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "MLmodel").write_text("flavors: {x: {}}")

    assert not BACKEND.detects(tmp_path)
    with pytest.raises(ServingError, match="No such file"):
        BACKEND.loader(str(tmp_path), BackendOptions(model_name="m")).load()


def test_names_alone_tell_whether_a_remote_version_is_whole() -> None:
    assert BACKEND.lacking(["MLmodel", "model.onnx"]) is None
    assert BACKEND.lacking(["model/MLmodel"]) is None
    assert BACKEND.lacking(["a/b/MLmodel"]) == "MLmodel"
