"""Models whose base path is on S3: uploads, swaps and losses while the server runs."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import grpc
import pytest
import requests
from tensorflow_serving.apis import model_management_pb2

from tests import saved_models
from tests.grpc_client import GrpcClient
from tests.object_storage import Bucket, ObjectStorage
from tests.process.asking import LIMIT_S, LOADED, NO_RETRIES, UNLOADED, config_of, predict, states
from tests.process.load import Load
from tests.running import RunningServer, wait_until, write_config
from tests.served_models import VersionedModel

ERROR = "FileSystemStoragePathSource encountered a filesystem access error"


@pytest.fixture(scope="module")
def storage() -> Iterator[ObjectStorage]:
    with ObjectStorage() as storage:
        yield storage


@pytest.fixture
def bucket(storage: ObjectStorage, numbers: Iterator[int]) -> Bucket:
    return storage.bucket(f"bucket-{next(numbers)}")


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture(scope="module")
def with_variables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with variables."""
    folder = tmp_path_factory.mktemp("with_variables")
    saved_models.export(["half_plus_two_2"], folder)
    return folder / "half_plus_two_2" / "1"


class Served:
    """A model on S3, with what a server needs to serve it."""

    def __init__(
        self, storage: ObjectStorage, bucket: Bucket, local: VersionedModel, cache: Path
    ) -> None:
        self.storage = storage
        self.bucket = bucket
        self.base_path = f"s3://{bucket.name}/models/m"
        self.cache = cache
        self._local = local

    def upload(self, version: int, answer: float | None = None) -> None:
        folder = self._local.prepare(version, answer)
        self.bucket.upload(folder, f"models/m/{version}")
        shutil.rmtree(folder)

    def remove(self, version: int) -> None:
        self.bucket.remove(f"models/m/{version}/")

    def server(self, *flags: str, **environment: str) -> RunningServer:
        return RunningServer(
            *(flags or (f"--model_base_path={self.base_path}",)),
            f"--model_cache_dir={self.cache}",
            NO_RETRIES,
            environment={**self.storage.environment, **environment},
        )

    def copies(self) -> list[str]:
        """The versions with a whole local copy."""
        return sorted(path.parent.name.partition("-")[0] for path in self.cache.glob("*/*/files"))


@pytest.fixture
def served(
    storage: ObjectStorage,
    bucket: Bucket,
    versioned: Callable[[str], VersionedModel],
    tmp_path: Path,
) -> Served:
    return Served(storage, bucket, versioned("local"), tmp_path / "cache")


def test_versions_come_and_go_under_load_and_their_copies_with_them(served: Served) -> None:
    served.upload(1)
    with served.server() as server, Load(server) as load:
        load.wait_for(1.0)
        assert served.copies() == ["1"]
        served.upload(2)
        load.wait_for(2.0)
        server.wait_for_line(f"{UNLOADED} {{name: default version: 1}}")
        wait_until(lambda: served.copies() == ["2"], "the copy of version 1 is gone")
        served.remove(2)
        load.wait_for(1.0)
        server.wait_for_line(f"{UNLOADED} {{name: default version: 2}}")
        wait_until(lambda: served.copies() == ["1"], "the copy of version 2 is gone")
        load.stop()
        assert load.failures == []
        assert set(load.answers) == {1.0, 2.0}
        assert states(server) == {2: "END", 1: "AVAILABLE"}


def test_a_version_that_is_uploaded_object_by_object_is_taken_when_it_is_whole(
    served: Served, with_variables: Path
) -> None:
    files = {
        str(p.relative_to(with_variables)): p.read_bytes() for p in with_variables.rglob("*.*")
    }
    (shard,) = (name for name in files if ".data-" in name)
    served.bucket.upload(with_variables, "models/m/1")
    with served.server() as server:

        def is_held_back(times: int) -> bool:
            return sum("is not complete yet and held back" in x for x in server.lines) >= times

        served.bucket.put("models/m/2/saved_model.pb", files["saved_model.pb"])
        server.wait_for_line("models/m/2 is not complete: variables/variables.index is missing")
        wait_until(lambda: is_held_back(1), "version 2 is held back")
        wait_until(lambda: states(server) == {2: "END", 1: "AVAILABLE"}, "version 1 serves")
        served.bucket.put(
            "models/m/2/variables/variables.index", files["variables/variables.index"]
        )
        served.storage.take_requests()

        def has_looked() -> bool:
            return any("prefix=models/m/&" in line for line in served.storage.take_requests())

        wait_until(has_looked, "a look at the half-written version")
        assert states(server) == {2: "END", 1: "AVAILABLE"}
        served.bucket.put(f"models/m/2/{shard}", files[shard])
        server.wait_for_line(f"{LOADED} {{name: default version: 2}}")
        wait_until(lambda: states(server) == {2: "AVAILABLE", 1: "END"}, "version 2 serves")


def test_a_poll_is_one_listing_for_each_model(served: Served, tmp_path: Path) -> None:
    served.upload(1)
    for key in served.bucket.keys("models/"):
        served.bucket.put(key.replace("/m/", "/n/"), b"this is no graph")
    other = f"s3://{served.bucket.name}/models/n"
    bodies = [
        f'name: "{name}" base_path: "{base}" model_platform: "tensorflow" {policy}'
        for name, base, policy in (
            ("m", served.base_path, ""),
            ("n", other, "model_version_policy { specific {} }"),
            ("o", served.base_path, ""),
        )
    ]
    server = served.server(write_config(tmp_path / "models.txt", bodies))
    server.launch()
    try:
        server.wait_for_line(f"{LOADED} {{name: m version: 1}}")
        server.wait_for_line(f"{LOADED} {{name: o version: 1}}")
        served.storage.take_requests()
        lines: list[str] = []

        def polls(count: int) -> bool:
            lines.extend(served.storage.take_requests())
            return sum("prefix=models/n/" in line for line in lines) >= count

        wait_until(lambda: polls(4), "four polls")
    finally:
        server.kill()
    assert all(re.match(r"GET /bucket-\d+\?list-type=2&prefix=models/[mn]/&", x) for x in lines)
    counts = [sum(f"models/{name}/" in line for line in lines) for name in "mn"]
    assert abs(counts[0] - 2 * counts[1]) <= 2


def test_a_restart_with_a_warm_cache_copies_nothing(served: Served) -> None:
    served.upload(1)
    with served.server() as server:
        assert predict(server) == {"predictions": [1.0]}
    assert served.copies() == ["1"]
    served.storage.take_requests()
    with served.server() as server:
        assert predict(server) == {"predictions": [1.0]}
        server.wait_for_line("Using the copy of s3://")
    assert not any("saved_model.pb" in line for line in served.storage.take_requests())
    # What was uploaded anew meanwhile is noticed.
    served.remove(1)
    served.upload(1, answer=11.0)
    with served.server() as server:
        assert predict(server) == {"predictions": [11.0]}
        wait_until(lambda: served.copies() == ["1"], "the copy of the first upload is gone")


def test_while_storage_is_down_at_the_start_the_copies_are_served(
    served: Served, model: VersionedModel, tmp_path: Path
) -> None:
    served.upload(3)
    bodies = [
        f'name: "m" base_path: "{served.base_path}" model_platform: "tensorflow"',
        config_of(model, "local"),
    ]
    config = write_config(tmp_path / "models.txt", bodies)
    with served.server(config) as server:
        assert predict(server, "m") == {"predictions": [3.0]}
    served.upload(4)
    with ExitStack() as stack:
        with served.storage.down():
            server = stack.enter_context(served.server(config))
            server.wait_for_line(
                f"Base path {served.base_path} of servable m has not answered since the start: "
                "until it does, what the local cache has of it is served, version 3"
            )
            assert predict(server, "m") == {"predictions": [3.0]}
            assert states(server, "m") == {3: "AVAILABLE"}
            assert predict(server, "local") == {"predictions": [1.0]}
        load = stack.enter_context(Load(server, "m"))
        server.wait_for_line(f"{UNLOADED} {{name: m version: 3}}")
        wait_until(lambda: served.copies() == ["4"], "the copy of version 3 is gone")
        load.wait_for(4.0)
        load.stop()
        assert load.failures == []
        assert set(load.answers) <= {3.0, 4.0}
        # The one after an error, the other after no answer at all: storage goes in both ways.
        told = [f"servable m {how} again" for how in ("can be read", "answers")]
        wait_until(lambda: any(text in line for line in server.lines for text in told), "again")
        assert states(server, "m") == {4: "AVAILABLE", 3: "END"}


def test_two_servers_share_a_cache(served: Served) -> None:
    served.upload(1)
    with served.server() as first, served.server() as second:
        served.upload(2)
        for server in (first, second):
            server.wait_for_line(f"{UNLOADED} {{name: default version: 1}}")
            wait_until(lambda s=server: predict(s) == {"predictions": [2.0]}, "version 2")  # type: ignore[misc]
        wait_until(lambda: served.copies() == ["2"], "the copy of version 1 is gone")


def test_a_bucket_that_is_gone_is_told_once_and_leaves_everything_serving(
    served: Served, model: VersionedModel, tmp_path: Path
) -> None:
    served.upload(1)
    bodies = [
        f'name: "m" base_path: "{served.base_path}" model_platform: "tensorflow"',
        config_of(model, "local"),
    ]
    with served.server(write_config(tmp_path / "models.txt", bodies)) as server:
        contents = served.bucket.delete()
        server.wait_for_line("The specified bucket does not exist")
        served.storage.take_requests()
        wait_until(lambda: len(served.storage.take_requests()) > 0, "one more look")
        model.add(2)
        server.wait_for_line(f"{LOADED} {{name: local version: 2}}")
        assert predict(server, "m") == {"predictions": [1.0]}
        served.bucket.create()
        for key, content in contents.items():
            served.bucket.put(key, content)
        served.upload(2)
        server.wait_for_line(f"{LOADED} {{name: m version: 2}}")
        errors = [line for line in server.lines if ERROR in line]
        assert len([line for line in errors if "bucket does not exist" in line]) == 1
        assert len(errors) <= 2  # For a moment the bucket was there and empty.
        server.wait_for_line("can be read again")


def test_what_is_served_stays_when_the_last_version_vanishes_with_its_prefix(
    served: Served,
) -> None:
    served.upload(1)
    with served.server() as server:
        served.remove(1)
        server.wait_for_line("Could not find base path")
        assert predict(server) == {"predictions": [1.0]}
        served.bucket.put("models/m/README", b"models are coming")
        server.wait_for_line(f"{UNLOADED} {{name: default version: 1}}")
        assert states(server) == {1: "END"}
        wait_until(lambda: served.copies() == [], "the copy is gone")


def test_a_broken_version_is_reported_by_its_uri(served: Served) -> None:
    served.upload(1)
    with served.server() as server:
        served.bucket.put("models/m/2/saved_model.pb", b"this is no graph")
        server.wait_for_line("Servable {name: default version: 2} cannot be loaded")
        status = requests.get(f"{server.url}/v1/models/default/versions/2", timeout=LIMIT_S).json()
        assert status["model_version_status"][0]["status"] == {
            "error_code": "DATA_LOSS",
            "error_message": f"Can't parse {served.base_path}/2/saved_model.pb as binary proto",
        }
        assert predict(server) == {"predictions": [1.0]}


def test_an_object_that_would_leave_the_cache_is_an_error_of_its_version(
    served: Served, tmp_path: Path
) -> None:
    served.upload(1)
    with served.server() as server:
        for key in ("models/m/2/../../../../../escaped", "models/m/2/saved_model.pb"):
            served.bucket.put(key, b"x")
        server.wait_for_line("cannot be a file of a version")
        wait_until(lambda: states(server) == {2: "END", 1: "AVAILABLE"}, "version 2 has failed")
    assert list(tmp_path.rglob("escaped*")) == []


@pytest.mark.slow
def test_a_server_that_is_killed_while_it_copies_leaves_nothing_half(
    served: Served, heavy_saved_model: str
) -> None:
    served.bucket.upload(Path(heavy_saved_model), "models/m/1")
    server = served.server()
    server.launch()
    server.wait_for_line("Copying s3://")
    server.kill()
    assert served.copies() == []
    with served.server() as server:
        assert states(server) == {1: "AVAILABLE"}
        assert served.copies() == ["1"]
        server.wait_for_line("Copied s3://")
        assert not any("damaged" in line for line in server.lines)


def test_missing_credentials_are_told_once_and_concern_no_other_model(
    served: Served, model: VersionedModel, tmp_path: Path
) -> None:
    served.upload(1)
    path = tmp_path / "models.txt"
    flags = [write_config(path, [config_of(model, "local")])]
    no_credentials = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    with served.server(*flags, **no_credentials) as server:
        request = model_management_pb2.ReloadConfigRequest()
        for name, base_path in (("local", str(model.base_path)), ("m", served.base_path)):
            request.config.model_config_list.config.add(
                name=name, base_path=base_path, model_platform="tensorflow"
            )
        with GrpcClient(server.grpc_address) as client:
            reload = client.model.HandleReloadConfigRequest.future(request, timeout=LIMIT_S)
            server.wait_for_line("UNAUTHENTICATED: s3://")
            for version in (2, 3):
                model.add(version)
                server.wait_for_line(f"{LOADED} {{name: local version: {version}}}")
            assert sum(ERROR in line for line in server.lines) == 1
            reload.cancel()


def test_storage_that_never_answers_holds_up_neither_another_model_nor_the_end(
    served: Served, model: VersionedModel
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        flag = f"--model_base_path={model.base_path}"
        with served.server(flag, **environment) as server:
            request = model_management_pb2.ReloadConfigRequest()
            request.config.model_config_list.config.add(
                name="default", base_path=str(model.base_path), model_platform="tensorflow"
            )
            for number in range(20):
                request.config.model_config_list.config.add(
                    name=f"m{number}",
                    base_path=f"{served.base_path}{number}",
                    model_platform="tensorflow",
                )
            with GrpcClient(server.grpc_address) as client:
                reload = client.model.HandleReloadConfigRequest.future(request, timeout=LIMIT_S)
                connection, _ = silent.accept()
                for version in (2, 3):
                    model.add(version)
                    server.wait_for_line(f"{LOADED} {{name: default version: {version}}}")
                assert not reload.done()
                reload.cancel()
        # Left without a signal more, and with 0.
        connection.close()


@pytest.fixture
def without_s3fs(tmp_path: Path) -> dict[str, str]:
    """The environment of a process in which s3fs is not installed."""
    folder = tmp_path / "hiding"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['s3fs'] = None\n")
    return {"PYTHONPATH": str(folder)}


MISSING = (
    "File system scheme 's3' not implemented (file: 's3://bucket/m'): "
    "install s3fs: pip install 'salver[s3]'"
)


def test_a_missing_extra_ends_the_start_with_the_command_to_run(
    without_s3fs: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "salver", "serve", "--host=127.0.0.1"]
    flags = ["--model_base_path=s3://bucket/m", f"--model_cache_dir={tmp_path}/cache"]
    done = subprocess.run(
        [*command, *flags],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**without_s3fs},
        check=False,
    )
    assert done.returncode == 255, done.stderr
    assert done.stdout == f"Failed to start server. Error: UNIMPLEMENTED: {MISSING}\n"
    assert "Traceback" not in done.stderr


def test_a_missing_extra_refuses_a_reload_and_changes_nothing(
    without_s3fs: dict[str, str], served: Served, model: VersionedModel
) -> None:
    flag = f"--model_base_path={model.base_path}"
    with served.server(flag, **without_s3fs) as server, GrpcClient(server.grpc_address) as client:
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.add(
            name="m", base_path="s3://bucket/m", model_platform="tensorflow"
        )
        with pytest.raises(grpc.RpcError) as error:
            client.model.HandleReloadConfigRequest(request, timeout=LIMIT_S)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert error.value.details() == MISSING
        assert predict(server) == {"predictions": [1.0]}


def test_a_cache_that_cannot_be_made_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "salver", "serve", "--host=127.0.0.1"]
    flags = ["--model_base_path=s3://bucket/m", f"--model_cache_dir={tmp_path}/file/cache"]
    done = subprocess.run(
        [*command, *flags], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 255, done.stderr
    assert done.stdout.startswith(
        "Failed to start server. Error: FAILED_PRECONDITION: --model_cache_dir: "
    )
    assert done.stdout.endswith("; Not a directory\n")


def test_secrets_are_in_no_log_line_even_of_the_finest_level(served: Served) -> None:
    served.upload(1)
    server = served.server(f"--model_base_path={served.base_path}", "--log_level=debug")
    with server:
        served.upload(2)
        server.wait_for_line(f"{LOADED} {{name: default version: 2}}")
    text = "\n".join(server.lines)
    assert "testing-secret" not in text
    assert "Signature" not in text
    assert server.wait_for_exit() == 0
    assert signal.SIGTERM.name in text
