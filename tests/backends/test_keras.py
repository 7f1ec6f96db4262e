import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.keras import BACKEND, KerasLoader
from salver.backends.keras_conversion import CONVERTER, Converter
from salver.backends.keras_kept import KEPT
from salver.backends.prerequisites import require_installed
from salver.core.backend import BackendOptions
from salver.core.servable import Servable
from salver.errors import Code, FailedPrecondition, InvalidArgument, PermissionDenied, ServingError
from tests import keras_models
from tests.backends.asking import ask
from tests.running import wait_until

Load = Callable[..., Servable]


@pytest.fixture(scope="module")
def keras_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras_models")
    keras_models.export(folder)
    return folder


@pytest.fixture
def load(keras_folder: Path, tmp_path: Path) -> Iterator[Load]:
    """Loads a model by name, perhaps with other members, or a file's bytes."""
    loaders = []

    def load(model: str | bytes, allow: bool = False, **members: bytes | None) -> Servable:
        file = tmp_path / "model.keras"
        if isinstance(model, bytes):
            file.write_bytes(model)
        else:
            names = {name.replace("_", "."): content for name, content in members.items()}
            keras_models.changed(keras_folder / model / "1" / "model.keras", file, names)
        options = BackendOptions(model_name="net", allow_pickle=allow)
        loaders.append(KerasLoader(str(tmp_path), options))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


def config_of(folder: Path, model: str) -> Any:
    with zipfile.ZipFile(folder / model / "1" / "model.keras") as archive:
        return json.loads(archive.read("config.json"))


def test_inputs_are_called_as_in_the_model_and_outputs_counted(load: Load) -> None:
    signature = load("plain").signatures["serving_default"]

    assert {name: spec.shape for name, spec in signature.inputs.items()} == {"features": (-1, 4)}
    assert {name: spec.shape for name, spec in signature.outputs.items()} == {"output_0": (-1, 2)}


def test_inputs_and_outputs_in_lists_keep_their_order(load: Load) -> None:
    servable = load("listed")

    answers = ask(servable, {"left": np.zeros((1, 2), np.float32), "right": np.ones((1, 5), "f4")})

    assert answers["output_0"].shape == (1, 3)
    assert answers["output_1"].tolist() == [[2] * 5]


def test_code_in_a_file_is_not_run_unless_that_is_allowed(load: Load) -> None:
    with pytest.raises(PermissionDenied, match="--allow_pickle") as raised:
        load("with_code")
    assert raised.value.message.startswith("Model net: model.keras: it has Python code in it")

    answers = ask(load("with_code", allow=True), {"x": np.ones((1, 4), np.float32)})

    assert answers["output_0"].tolist() == [[2] * 4]


def test_a_class_that_is_not_here_is_named(load: Load) -> None:
    with pytest.raises(InvalidArgument, match="mine>Own"):
        load("with_own_layer")


@pytest.mark.parametrize("allow", [False, True])
def test_a_config_cannot_call_what_it_likes(
    load: Load, keras_folder: Path, tmp_path: Path, allow: bool
) -> None:
    trace = tmp_path / "trace"
    config = config_of(keras_folder, "plain")
    config["config"]["layers"][1] = {
        "module": "os",
        "class_name": "system",
        "config": {"command": f"touch {trace}"},
        "registered_name": None,
    }

    with pytest.raises(InvalidArgument, match="os"):
        load("plain", allow=allow, config_json=json.dumps(config).encode())

    assert not trace.exists()


def test_a_layer_newer_than_keras_is_named(load: Load, keras_folder: Path) -> None:
    config = config_of(keras_folder, "plain")
    config["config"]["layers"][1]["class_name"] = "Future"

    with pytest.raises(InvalidArgument, match="Future"):
        load("plain", config_json=json.dumps(config).encode())


def test_a_model_larger_than_the_memory_is_refused(load: Load, keras_folder: Path) -> None:
    config = config_of(keras_folder, "plain")
    config["config"]["layers"][1]["config"]["units"] = 10**12

    with pytest.raises(ServingError) as raised:
        load("plain", config_json=json.dumps(config).encode())

    assert raised.value.code in (Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT)
    assert len(raised.value.message) < 1000


@pytest.mark.parametrize(
    ("members", "text"),
    [
        pytest.param({"config_json": None}, "has no config.json", id="no config"),
        pytest.param({"metadata_json": None}, "has no metadata.json", id="no metadata"),
        pytest.param({"config_json": b"{"}, "Keras cannot load", id="no JSON"),
        pytest.param({"config_json": b"[" * 100_000}, "Keras cannot load", id="deep JSON"),
        pytest.param({"model_weights_h5": None}, "model.weights.h5", id="no weights"),
        pytest.param({"model_weights_h5": b"no HDF5"}, "Keras cannot load", id="wrong weights"),
        pytest.param({"../outside": b"x"}, "leads out of it", id="above"),
        pytest.param({"/outside": b"x"}, "leads out of it", id="absolute"),
        pytest.param({"large": bytes(200 << 20)}, "claims to hold 2097", id="bomb"),
    ],
)
def test_an_archive_with_something_wrong_in_it_is_refused(
    load: Load, members: dict[str, bytes | None], text: str
) -> None:
    with pytest.raises(InvalidArgument) as raised:
        load("plain", **members)

    assert text in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4" + bytes(500)])
def test_what_is_no_archive_is_refused(load: Load, content: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"model\.keras is no Keras archive"):
        load(content)


def test_nothing_is_left_of_a_conversion_but_what_is_kept(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))

    load("plain")
    with pytest.raises(InvalidArgument):
        load("plain", config_json=b"{")

    (kept,) = folder.iterdir()
    assert kept.name.startswith("salver-keras-kept-")
    KEPT.close()
    assert list(folder.iterdir()) == []


def test_a_process_that_ends_over_a_file_ends_no_more_than_that(
    keras_folder: Path, tmp_path: Path
) -> None:
    converter = Converter()
    pipe = tmp_path / "model.keras"
    os.mkfifo(pipe)
    failures: list[Any] = []
    waiting = threading.Thread(
        target=lambda: failures.append(converter.convert(str(pipe), str(tmp_path / "a"), False))
    )
    waiting.start()
    with open(pipe, "wb"):  # Goes on when the process has opened the other end.
        assert converter.pid is not None
        os.kill(converter.pid, 9)
        waiting.join()
    assert [failure.code for failure in failures] == [Code.INTERNAL]
    assert "signal 9" in failures[0].message

    file = keras_folder / "plain" / "1" / "model.keras"
    assert converter.convert(str(file), str(tmp_path / "b"), False) is None
    assert (tmp_path / "b" / "saved_model.pb").exists()
    converter.close()


def test_the_process_ends_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    converter = Converter(idle_s=0.01)

    assert converter.convert(str(tmp_path / "none"), str(tmp_path), False) is not None

    wait_until(lambda: converter.pid is None, "the process has ended")


def test_what_is_not_installed_is_named_with_its_extra() -> None:
    with pytest.raises(FailedPrecondition, match=r"pip install 'salver\[keras\]'"):
        require_installed("no_such_framework", BackendOptions(model_name="net"), "keras")


def test_a_folder_is_detected_by_its_file(tmp_path: Path) -> None:
    assert not BACKEND.detects(tmp_path)
    assert BACKEND.lacking(["config.json"]) == "model.keras"

    (tmp_path / "model.keras").write_bytes(b"12345")

    assert BACKEND.detects(tmp_path)
    assert BACKEND.lacking(["model.keras"]) is None
    assert BACKEND.estimated_bytes(tmp_path) == 5


def test_a_file_that_is_served_is_not_converted_again(
    keras_folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (keras_folder / "plain" / "1" / "model.keras").read_bytes()
    inputs = {"features": np.ones((1, 4), np.float32)}
    first = ask(load(content), inputs)
    monkeypatch.setattr(CONVERTER, "convert", lambda *_, **__: pytest.fail("it was converted"))

    again = ask(load(content), inputs)

    np.testing.assert_array_equal(again["output_0"], first["output_0"])
    with pytest.raises(pytest.fail.Exception, match="it was converted"):
        load("listed")
