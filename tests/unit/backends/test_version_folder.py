import pickle
from pathlib import Path

import pytest

from salver.backends.registry import Backends
from salver.backends.tensorflow import TensorFlowOptions
from salver.backends.tflite import TfLiteOptions
from salver.backends.version_folder import VersionFolder, loader_of
from salver.core.backend import Apart, BackendOptions
from salver.errors import NotFound

LOCK, NEEDLESS = Apart.HOLDS_LOCK, Apart.NEEDLESS


def version_folder(path: Path, platform: str = "auto") -> VersionFolder:
    return VersionFolder(
        path=str(path),
        platform=platform,
        tensorflow=TensorFlowOptions(intra_op_threads=3),
        tflite=TfLiteOptions(pools=4, interpreters_per_pool=2),
        prefers_tflite=False,
        backend=BackendOptions(model_name="m", concurrency=5, allow_python_code=True),
    )


@pytest.mark.parametrize(
    ("files", "platform", "expected"),
    [
        pytest.param(["saved_model.pb"], "auto", NEEDLESS, id="SavedModel"),
        pytest.param(["saved_model.pb"], "tensorflow", NEEDLESS, id="SavedModel by name"),
        pytest.param(["saved_model.pb", "pipeline.py"], "auto", LOCK, id="SavedModel with hooks"),
        pytest.param(["saved_model.pb", "pipeline.py"], "tensorflow", LOCK, id="hooks by name"),
        pytest.param(["model.py"], "auto", LOCK, id="Python"),
        pytest.param(["model.py"], "python", LOCK, id="Python by name"),
        pytest.param(["model.tflite"], "auto", NEEDLESS, id="TensorFlow Lite"),
        pytest.param(["model.tflite", "pipeline.py"], "tflite", LOCK, id="TFLite with hooks"),
        pytest.param([], "auto", NEEDLESS, id="nothing"),
        pytest.param([], "no_such_backend", NEEDLESS, id="no backend"),
    ],
)
def test_files_tell_whether_a_model_needs_processes_of_its_own(
    tmp_path: Path, files: list[str], platform: str, expected: Apart
) -> None:
    for name in files:
        (tmp_path / name).write_text("")

    assert version_folder(tmp_path, platform).apart(Backends()) is expected


@pytest.mark.parametrize(
    ("files", "platform", "keeps"),
    [
        pytest.param(["saved_model.pb"], "auto", False, id="SavedModel"),
        pytest.param(["model.skops"], "auto", True, id="scikit-learn"),
        pytest.param(["model.skops"], "sklearn", True, id="scikit-learn by name"),
        pytest.param(["model.skops", "pipeline.py"], "sklearn", False, id="hooks"),
        pytest.param(["model.py"], "auto", False, id="Python"),
        pytest.param(["model.pmml"], "pmml", True, id="PMML"),
        pytest.param(["model.zip"], "mojo", True, id="MOJO"),
        pytest.param(["model.json"], "xgboost", True, id="XGBoost"),
        pytest.param(["model.txt"], "lightgbm", True, id="LightGBM"),
        pytest.param(["model.cbm"], "catboost", True, id="CatBoost"),
        pytest.param(["model.onnx"], "onnx", False, id="ONNX"),
        pytest.param([], "auto", False, id="nothing"),
    ],
)
def test_files_tell_whether_rows_surely_do_not_depend_on_each_other(
    tmp_path: Path, files: list[str], platform: str, keeps: bool
) -> None:
    for name in files:
        (tmp_path / name).write_text("")

    assert version_folder(tmp_path, platform).rows_are_independent(Backends()) is keeps


@pytest.mark.parametrize(
    ("flavor", "file", "expected", "keeps", "has_threads"),
    [
        pytest.param("lightgbm: {data: model.lgb}", "model.lgb", NEEDLESS, True, False, id="rows"),
        pytest.param("onnx: {data: model.onnx}", "model.onnx", NEEDLESS, False, True, id="threads"),
        pytest.param(
            "sklearn: {pickled_model: model.skops, serialization_format: skops}",
            "model.skops",
            LOCK,
            True,
            False,
            id="the lock and rows",
        ),
        pytest.param(
            "tensorflow: {saved_model_dir: inner}",
            "inner/saved_model.pb",
            NEEDLESS,
            False,
            False,
            id="SavedModel",
        ),
        pytest.param("python_function: {}", "code.py", LOCK, False, False, id="only MLflow's"),
        pytest.param("[", "model.onnx", LOCK, False, False, id="no YAML"),
    ],
)
def test_a_model_of_mlflow_is_treated_as_one_of_the_backend_that_serves_it(
    tmp_path: Path, flavor: str, file: str, expected: Apart, keeps: bool, has_threads: bool
) -> None:
    (tmp_path / "MLmodel").write_text(f"flavors:\n  {flavor}\n")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("")

    folder = version_folder(tmp_path)

    assert folder.apart(Backends()) is expected
    assert folder.rows_are_independent(Backends()) is keeps
    assert folder.has_threads_of_its_own(Backends()) is has_threads


def test_a_folder_that_cannot_be_read_is_left_to_the_load(tmp_path: Path) -> None:
    folder = version_folder(tmp_path / "gone")
    assert folder.apart(Backends()) is Apart.NEEDLESS
    assert not folder.rows_are_independent(Backends())


def test_another_process_can_be_told_and_makes_the_same_loader(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("")
    folder: VersionFolder = pickle.loads(pickle.dumps(version_folder(tmp_path)))
    assert folder == version_folder(tmp_path)
    (tmp_path / "model.py").unlink()

    loader = loader_of(folder)

    with pytest.raises(NotFound, match=r"saved_model\.pb"):
        loader.load()
    loader.unload()


def test_a_process_that_runs_one_thing_at_a_time_needs_no_more_than_one_of_each() -> None:
    folder = version_folder(Path("/m/1"))

    alone = folder.one_at_a_time()

    assert alone.tflite.interpreters == 1
    assert alone.backend.concurrency == 1
    assert alone.backend.allow_python_code
    assert alone.tensorflow == folder.tensorflow
