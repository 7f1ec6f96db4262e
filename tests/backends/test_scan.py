"""Models as the frameworks write them: clean, unless they bring code; and hostile ones."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.scanning.scan import scan
from tests import hostile_models, keras_models
from tests.backends.made import Made
from tests.saved_models import version_path

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "models"
CODE = {
    "python": {("runs-code", "model.py"), ("python-file", "words.py")},
    "mlflow": {("runs-code", "model_code_path"), ("python-file", "priced.py")},
}
"""Findings of models that are code, or bring it along."""


def found(path: Path) -> set[tuple[str, str]]:
    return {(each.rule, each.subject) for each in scan(path).findings}


def test_an_ordinary_model_of_each_backend_is_clean(made: Made) -> None:
    findings = found(made.version(1))
    # Python may have kept what it compiled beside the code, when the model was made.
    compiled = {finding for finding in findings if finding[1].endswith(".pyc")}
    assert findings - compiled == CODE.get(made.name, set())
    assert not compiled or made.name == "mlflow"


@pytest.mark.parametrize(
    "name",
    ["half_plus_two_1", "half_plus_two_2", "echo", "lookup", "loops", "several", "counter", "keras",
     "compiled"],
)  # fmt: skip
def test_ordinary_saved_models_are_clean(saved_model_folder: Path, name: str) -> None:
    report = scan(Path(version_path(saved_model_folder, name)))
    assert report.findings == []
    assert report.files >= 1


def test_an_operation_of_a_library_is_told(saved_model_folder: Path) -> None:
    path = Path(version_path(saved_model_folder, "custom_op"))
    assert found(path) == {("unknown-operation", "AudioMicrofrontend")}


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published models are not there")
def test_the_published_models_of_tensorflow_serving_are_clean() -> None:
    versions = sorted(path for path in PUBLISHED.glob("*/*") if path.is_dir())
    assert versions
    assert [path for path in versions if not scan(path).is_clean] == []


def test_what_tensorflow_exports_of_hostile_functions_is_found(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    hostile_models.export(tmp_path)
    names = {path.name: found(path) for path in sorted(tmp_path.iterdir())}
    assert names == {
        "MatchingFiles": {("reads-file", "MatchingFiles")},
        "PrintV2": {("writes-file", "PrintV2")},
        "PyFunc": {("runs-code", "PyFunc")},
        "ReadFile": {("reads-file", "ReadFile")},
        "TextLineDataset": {("reads-file", "TextLineDataset")},
        "WriteFile": {("writes-file", "WriteFile")},
        "in_a_branch": {("reads-file", "ReadFile")},
    }


@pytest.fixture(scope="module")
def keras_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("keras")
    folder = tmp_path_factory.mktemp("keras")
    keras_models.export(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", set()),
        ("listed", set()),
        ("with_code", {("runs-code", "Lambda")}),
        ("with_own_layer", {("unknown-object", "None.Own"), ("unknown-object", "Own")}),
    ],
)
def test_keras_files(keras_folder: Path, name: str, expected: set[tuple[str, str]]) -> None:
    assert found(keras_folder / name / "1") <= expected
    assert bool(found(keras_folder / name / "1")) == bool(expected)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ({"module": "os", "class_name": "system", "config": {}}, ("runs-code", "os.system")),
        (
            {"module": "keras.utils", "class_name": "function", "config": "get_file"},
            ("runs-code", "keras.utils.get_file"),
        ),
        (
            {"module": "my.layers", "class_name": "Mine", "registered_name": "a>Mine"},
            ("unknown-object", "my.layers.Mine"),
        ),
        (
            {
                "module": "keras.layers",
                "class_name": "StringLookup",
                "config": {"vocabulary": "/etc/passwd"},
            },
            ("reads-file", "StringLookup"),
        ),
        (
            {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/x"}},
            ("runs-code", "TFSMLayer"),
        ),
        (
            {"class_name": "TFOpLambda", "config": {"function": "io.write_file"}},
            ("runs-code", "io.write_file"),
        ),
    ],
)  # fmt: skip
def test_what_keras_would_import_or_read_is_found(
    keras_folder: Path, tmp_path: Path, layer: dict[str, Any], expected: tuple[str, str]
) -> None:
    original = keras_folder / "plain" / "1" / "model.keras"
    with zipfile.ZipFile(original) as file:
        config = json.loads(file.read("config.json"))
    config["config"]["layers"].append(layer)
    members: dict[str, bytes | None] = {"config.json": json.dumps(config).encode()}
    assert expected in found(keras_models.changed(original, tmp_path / "model.keras", members))


def test_hdf5_files_of_keras(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    layer = {"class_name": "Lambda", "config": {"name": "double"}}
    config = {"class_name": "Sequential", "config": {"layers": [layer]}}
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file["weights"] = h5py.ExternalLink("/etc/other.h5", "/x")
        file.create_dataset("raw", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    assert found(tmp_path) == {
        ("runs-code", "Lambda"),
        ("path-outside", "/etc/other.h5"),
        ("path-outside", "/etc/passwd"),
    }
    (tmp_path / "model.h5").write_bytes((tmp_path / "model.h5").read_bytes()[:600])
    assert found(tmp_path) == {("unreadable", "")}


def test_models_of_scikit_learn_as_joblib_writes_them_are_clean(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    import joblib
    from sklearn.compose import make_column_selector
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
    from sklearn.feature_selection import SelectKBest, mutual_info_classif
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler
    from sklearn.svm import SVC

    x = np.random.default_rng(1).uniform(1, 2, (60, 3))
    y = (x[:, 0] > 1.5).astype(int)
    models = [
        HistGradientBoostingClassifier(max_iter=2),
        RandomForestRegressor(3),
        make_pipeline(SelectKBest(mutual_info_classif, k=1), LogisticRegression()),
        GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2),
        KNeighborsClassifier(),
        MLPClassifier((2,), max_iter=500, tol=1.0),
        make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), SVC()),
    ]
    for number, model in enumerate(models):
        joblib.dump(model.fit(x, y), tmp_path / f"{number}.joblib", compress=number % 2)
    joblib.dump(make_column_selector("a"), tmp_path / "columns.joblib")
    assert found(tmp_path) == set()
    assert len(scan(tmp_path).notes) == len(models) + 1


def test_a_class_of_ones_own_in_skops_is_told(tmp_path: Path, made_skops: Path) -> None:
    shutil.copy(made_skops, tmp_path / "model.skops")
    with zipfile.ZipFile(made_skops) as old, zipfile.ZipFile(tmp_path / "bad.skops", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "schema.json":
                content = content.replace(b"StandardScaler", b"NoSuchScaler_").replace(
                    b"sklearn.preprocessing._data", b"my_package"
                )
            new.writestr(name, content)
    report = scan(tmp_path)
    assert {each.where.partition("!")[0] for each in report.findings} == {"bad.skops"}
    assert ("unknown-object", "my_package.NoSuchScaler_") in found(tmp_path)


@pytest.fixture(scope="module")
def made_skops(make_case: Callable[..., Made]) -> Path:
    pytest.importorskip("skops")
    return make_case("sklearn").version(1) / "model.skops"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_archives_of_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from tests.torch_models import Mlp, Saving

    torch.jit.save(torch.jit.script(Mlp()), tmp_path / "script.pt")
    torch.save(Mlp().state_dict(), tmp_path / "weights.pt")
    torch.save(torch.nn.Linear(2, 1), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert found(tmp_path) == set()
    torch.save(Mlp(), tmp_path / "module.pt")
    torch.jit.save(torch.jit.script(Saving()), tmp_path / "saving.pt")
    assert found(tmp_path) == {
        ("unknown-import", "tests.torch_models.Mlp"),
        ("writes-file", "save"),
    }


def test_onnx_files(tmp_path: Path, make_case: Callable[..., Made]) -> None:
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    x = helper.make_tensor_value_info("x", types.FLOAT, [1])
    y = helper.make_tensor_value_info("y", types.FLOAT, [1])
    outside = onnx.TensorProto(name="w", data_type=types.FLOAT, dims=[1], data_location=1)
    outside.external_data.add(key="location", value="../../secret")
    beside = onnx.TensorProto(name="v", data_type=types.FLOAT, dims=[1], data_location=1)
    beside.external_data.add(key="location", value="weights.bin")
    inner = helper.make_graph([helper.make_node("PyOp", [], ["z"], domain="a")], "g", [], [y])
    nodes = [
        helper.make_node("Add", ["x", "w"], ["y"]),
        helper.make_node("Mine", ["x"], ["u"], domain="mine"),
        helper.make_node("If", ["c"], ["t"], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], [outside, beside])
    (tmp_path / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert found(tmp_path) == {
        ("path-outside", "../../secret"),
        ("unknown-operation", "Mine"),
        ("runs-code", "PyOp"),
    }
