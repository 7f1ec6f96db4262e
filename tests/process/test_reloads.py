"""Another config for a running server: by request, and by a file that is polled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from tensorflow_serving.apis import model_management_pb2

from tests.grpc_client import GrpcClient
from tests.process.asking import (
    LIMIT_S,
    LOADED,
    NO_RETRIES,
    UNLOADED,
    available,
    config_of,
    predict,
    states,
    status_of,
)
from tests.process.load import Load
from tests.running import RunningServer, wait_until, write_config
from tests.served_models import VersionedModel

Versioned = Callable[[str], VersionedModel]
POLLED = "--model_config_file_poll_wait_seconds=1"


def config(*models: tuple[str, Path], **labels: int) -> Any:
    """A reload request that names models and their base paths; labels are those of the first."""
    request = model_management_pb2.ReloadConfigRequest()
    entries = request.config.model_config_list
    entries.SetInParent()
    for name, base_path in models:
        entries.config.add(name=name, base_path=str(base_path), model_platform="tensorflow")
    if labels:
        entries.config[0].version_labels.update(labels)
    return request


def reload(server: RunningServer, request: Any) -> tuple[str, str]:
    """Code and text of the answer."""
    with GrpcClient(server.grpc_address) as client:
        try:
            client.model.HandleReloadConfigRequest(request, timeout=LIMIT_S)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""


@pytest.fixture
def models(versioned: Versioned) -> dict[str, VersionedModel]:
    """`a` with version 1, and `b` with version 2."""
    a, b = versioned("a"), versioned("b")
    a.add(1)
    b.add(2)
    return {"a": a, "b": b}


def test_models_come_and_go_by_request(models: dict[str, VersionedModel], tmp_path: Path) -> None:
    a, b = models["a"].base_path, models["b"].base_path
    flag = write_config(tmp_path / "models.txt", [config_of(models["a"], "a")])
    with RunningServer(flag, NO_RETRIES) as server, Load(server, "a") as load:
        assert reload(server, config(("a", a), ("b", b))) == ("OK", "")
        server.wait_for_line(f"path : {b}")
        # Available when the call returns.
        assert predict(server, "b") == {"predictions": [2.0]}
        assert reload(server, config(("a", a), ("b", b))) == ("OK", "")
        assert reload(server, config(("a", a))) == ("OK", "")
        wait_until(lambda: states(server, "b") == {2: "END"}, "b has ended")
        assert predict(server, "b") == {"error": "Servable not found for request: Latest(b)"}
        load.wait_for(1.0)
        load.stop()
        assert load.failures == []
        assert reload(server, config()) == ("OK", "")
        wait_until(lambda: states(server, "a") == {1: "END"}, "a has ended")
        assert reload(server, config(("a", a))) == ("OK", "")
        assert predict(server, "a") == {"predictions": [1.0]}


def test_a_reload_tells_what_it_added_to_metrics(
    models: dict[str, VersionedModel], tmp_path: Path
) -> None:
    name = "/tensorflow/cc/saved_model/load_attempt_count"
    flag = write_config(tmp_path / "models.txt", [])
    with RunningServer(flag, NO_RETRIES) as server, GrpcClient(server.grpc_address) as client:
        increases = []
        for _ in range(2):
            request = config(("a", models["a"].base_path))
            request.metric_names.extend([name, "/no/such"])
            response = client.model.HandleReloadConfigRequest(request, timeout=LIMIT_S)
            increases.append([(m.name, m.int64_value_increase) for m in response.metric])
    assert increases == [[(name, 1), ("/no/such", 0)], [(name, 0), ("/no/such", 0)]]


def test_another_base_path_takes_over_without_a_failure(
    models: dict[str, VersionedModel], tmp_path: Path
) -> None:
    flag = write_config(tmp_path / "models.txt", [config_of(models["a"], "m")])
    with RunningServer(flag, NO_RETRIES) as server, Load(server, "m") as load:
        load.wait_for(1.0)
        assert reload(server, config(("m", models["b"].base_path))) == ("OK", "")
        load.wait_for(2.0)
        server.wait_for_line(f"{UNLOADED} {{name: m version: 1}}")
        load.wait_for(2.0)
        load.stop()
        assert load.failures == []
        assert set(load.answers) == {1.0, 2.0}


def test_a_broken_model_fails_the_request_and_nothing_else(
    models: dict[str, VersionedModel], versioned: Versioned, tmp_path: Path
) -> None:
    broken = versioned("broken")
    broken.break_(1)
    a, b = models["a"].base_path, models["b"].base_path
    flag = write_config(tmp_path / "models.txt", [config_of(models["a"], "a")])
    reason = f"Can't parse {broken.base_path}/1/saved_model.pb as binary proto"
    with RunningServer(flag, NO_RETRIES) as server:
        request = config(("a", a), ("broken", broken.base_path))
        assert reload(server, request) == (
            "UNKNOWN",
            "1 model(s) did not become available: "
            f"{{{{{{name: broken version: 1}} due to error: DATA_LOSS: {reason}}}, }}",
        )
        assert states(server, "broken") == {1: "END"}
        assert status_of(server, 1, "broken") == ("DATA_LOSS", reason)
        assert predict(server, "a") == {"predictions": [1.0]}
        # It is known now, and only what is new is waited for.
        request = config(("a", a), ("broken", broken.base_path), ("b", b))
        assert reload(server, request) == ("OK", "")
        assert predict(server, "b") == {"predictions": [2.0]}


def test_what_is_refused_leaves_nothing_behind(
    models: dict[str, VersionedModel], tmp_path: Path
) -> None:
    a, b = models["a"].base_path, models["b"].base_path
    flag = write_config(tmp_path / "models.txt", [config_of(models["a"], "a")])
    with RunningServer(flag, NO_RETRIES) as server:
        no_platform = config(("a", a), ("b", b))
        no_platform.config.model_config_list.config[1].model_platform = ""
        both = config(("a", a), ("b", b))
        both.config.model_config_list.config[1].model_type = 1
        other = config(("a", a), ("b", b))
        other.config.model_config_list.config[1].model_platform = ""
        other.config.model_config_list.config[1].model_type = 2
        refused = [no_platform, both, other, config(("a", a), ("a", b)), config(("a", Path("x")))]
        refused += [config(("b", b), ("a", a), early=2)]
        for request in refused:
            code, text = reload(server, request)
            assert code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"), text
            assert available(server, "a") == [1]
            assert requests.get(f"{server.url}/v1/models/b", timeout=LIMIT_S).status_code == 404
        assert reload(server, config(("a", a), ("b", b))) == ("OK", "")
        assert predict(server, "b") == {"predictions": [2.0]}


def test_a_model_that_does_not_arrive_holds_up_its_own_request_and_no_other(
    models: dict[str, VersionedModel], versioned: Versioned, tmp_path: Path
) -> None:
    a, b, late = models["a"].base_path, models["b"].base_path, versioned("late")
    flag = write_config(tmp_path / "models.txt", [config_of(models["a"], "a")])
    with RunningServer(flag, NO_RETRIES) as server, GrpcClient(server.grpc_address) as client:
        call = client.model.HandleReloadConfigRequest.future
        waiting = call(config(("a", a), ("late", late.base_path)), timeout=LIMIT_S)
        server.wait_for_line("Could not find base path")
        url = f"{server.url}/v1/models/late"
        assert requests.get(url, timeout=LIMIT_S).json() == {
            "error": "Could not find any versions of model late"
        }
        models["a"].add(3)
        server.wait_for_line(f"{LOADED} {{name: a version: 3}}")
        request = config(("a", a), ("late", late.base_path), ("b", b))
        assert reload(server, request) == ("OK", "")
        assert predict(server, "b") == {"predictions": [2.0]}
        assert not waiting.done()
        late.add(7)
        waiting.result()
        assert predict(server, "late") == {"predictions": [7.0]}
        # A mistake can be mended, and then nobody waits for it any more.
        wrong = call(config(("a", a), ("typo", tmp_path / "nowhere")), timeout=LIMIT_S)
        server.wait_for_line("nowhere not found")
        assert reload(server, config(("a", a))) == ("OK", "")
        wrong.result()


def test_with_a_single_scan_a_reload_sees_nothing_new_on_the_disk(
    models: dict[str, VersionedModel], tmp_path: Path
) -> None:
    a, b = models["a"].base_path, models["b"].base_path
    flag = write_config(tmp_path / "models.txt", [config_of(models["a"], "a")])
    with RunningServer(flag, "--file_system_poll_wait_seconds=0") as server:
        models["a"].add(5)
        assert reload(server, config(("a", a))) == ("OK", "")
        every = config(("a", a), ("b", b))
        every.config.model_config_list.config[0].model_version_policy.all.SetInParent()
        # What is new is looked at, once.
        assert reload(server, every) == ("OK", "")
        assert predict(server, "b") == {"predictions": [2.0]}
        assert states(server, "a") == {1: "AVAILABLE"}


def test_a_polled_file_adds_changes_and_removes_models(
    models: dict[str, VersionedModel], tmp_path: Path
) -> None:
    path = tmp_path / "models.txt"
    flag = write_config(path, [config_of(models["a"], "a")])
    with RunningServer(flag, POLLED, NO_RETRIES) as server, Load(server, "a") as load:
        load.wait_for(1.0)
        write_config(path, [config_of(models["a"], "a"), config_of(models["b"], "b")])
        server.wait_for_line(f"{LOADED} {{name: b version: 2}}")
        models["b"].add(3)
        server.wait_for_line(f"{UNLOADED} {{name: b version: 2}}")
        every = config_of(models["b"], "b") + " model_version_policy { all {} }"
        write_config(path, [config_of(models["a"], "a"), every])
        wait_until(lambda: available(server, "b") == [3, 2], "all versions of b")
        write_config(path, [config_of(models["a"], "a")])
        wait_until(lambda: states(server, "b") == {3: "END", 2: "END"}, "b has ended")
        assert predict(server, "b") == {"error": "Servable not found for request: Latest(b)"}
        load.stop()
        assert load.failures == []


def test_a_polled_file_that_is_no_good_changes_nothing(
    models: dict[str, VersionedModel], tmp_path: Path
) -> None:
    path = tmp_path / "models.txt"
    flag = write_config(path, [config_of(models["a"], "a")])
    label = 'version_labels { key: "stable" value: 9 }'
    with RunningServer(flag, POLLED, NO_RETRIES) as server:
        write_config(path, [config_of(models["a"], "a") + label])
        server.wait_for_line(
            "PollFilesystemAndReloadConfig failed to ReloadConfig: Request to assign label to "
            "version 9 of model a, which is not currently available for inference"
        )
        path.write_text("garbage: 1")
        server.wait_for_line(
            "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:8: Message type "
            '"tensorflow.serving.ModelServerConfig" has no field named "garbage".'
        )
        server.wait_for_line(
            f"Failed to read ModelServerConfig file: Invalid protobuf file: '{path}'"
        )
        path.unlink()
        server.wait_for_line(
            f"Failed to read ModelServerConfig file: {path}; No such file or directory"
        )
        path.touch()
        server.wait_for_line(f"Failed to read ModelServerConfig file: {path}; Invalid argument")
        assert predict(server, "a") == {"predictions": [1.0]}
        # A typo in a base path does not keep the next config from being read.
        write_config(
            path,
            [
                config_of(models["a"], "a"),
                'name: "b" base_path: "/nowhere/b" model_platform: "tensorflow"',
            ],
        )
        server.wait_for_line("/nowhere/b not found")
        write_config(path, [config_of(models["a"], "a"), config_of(models["b"], "b")])
        server.wait_for_line(f"{LOADED} {{name: b version: 2}}")


def test_an_unchanged_file_does_not_undo_what_a_request_has_changed(
    models: dict[str, VersionedModel], tmp_path: Path
) -> None:
    path = tmp_path / "models.txt"
    a, b = models["a"].base_path, models["b"].base_path
    flag = write_config(path, [config_of(models["a"], "a")])
    with RunningServer(flag, POLLED, NO_RETRIES) as server:
        assert reload(server, config(("a", a), ("b", b))) == ("OK", "")
        # Each version that comes shows that time for a poll has passed.
        for version in (4, 5, 6):
            models["a"].add(version)
            server.wait_for_line(f"{LOADED} {{name: a version: {version}}}")
        assert predict(server, "b") == {"predictions": [2.0]}
        write_config(path, [config_of(models["a"], "a"), config_of(models["a"], "c")])
        server.wait_for_line(f"{LOADED} {{name: c version: 6}}")
        wait_until(lambda: states(server, "b") == {2: "END"}, "the file wins when it changes")


def test_a_model_without_a_name_is_listed_and_cannot_be_asked(
    models: dict[str, VersionedModel], tmp_path: Path
) -> None:
    flag = write_config(tmp_path / "models.txt", [config_of(models["a"], "a")])
    with RunningServer(flag, NO_RETRIES) as server, GrpcClient(server.grpc_address) as client:
        assert reload(server, config(("", models["b"].base_path))) == ("OK", "")
        (status,) = client.status("").model_version_status
        assert status.version == 2
        with pytest.raises(grpc.RpcError) as error:
            client.answer("")
        assert error.value.details() == "ModelSpec has no name specified."
