"""`salver push` and `salver rollback` against a real server under load."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.ports import free_port
from salver.cli.main import main
from tests.object_storage import Bucket, ObjectStorage
from tests.process.asking import NO_RETRIES, available, config_of, status_of
from tests.process.load import Load
from tests.running import RunningServer, write_config
from tests.served_models import VersionedModel

LIMIT_S = 60.0
SECRET = "testing-secret"
COMMAND = (sys.executable, "-m", "salver", "push")
POLICY = "model_version_policy { specific { versions: 1 } }"

NAMES = ("swapped", "broken", "pinned", "refused")

CRASHING = """
import os
def predict(x: "float32[?]") -> "float32[?]":
    return x
os.kill(os.getpid(), 9)
"""


class Site:
    """A server with some models, each with version 1, and what is pushed to them."""

    def __init__(self, template: Path, folder: Path) -> None:
        self.folder = folder
        self._template = template
        self._candidates = VersionedModel(template, folder / "candidates")
        self.models = {name: VersionedModel(template, folder / name) for name in NAMES}
        for model in self.models.values():
            model.add(1)
        self.server: RunningServer

    def candidate(self, answer: float) -> str:
        """A model that answers this number."""
        number = len(list(self._candidates.base_path.glob("*"))) + 2
        return str(self._candidates.prepare(number, answer))

    def base_path(self, name: str) -> Path:
        return self.models[name].base_path

    def names(self, name: str) -> list[str]:
        return sorted(os.listdir(self.base_path(name)))

    def server_flags(self, name: str) -> list[str]:
        return ["--url", self.server.grpc_address, "--model", name]


@pytest.fixture(scope="module")
def storage() -> Iterator[ObjectStorage]:
    with ObjectStorage() as storage:
        yield storage


@pytest.fixture(scope="module")
def bucket(storage: ObjectStorage) -> Bucket:
    return storage.bucket("models")


@pytest.fixture(scope="module")
def site(
    constant_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    storage: ObjectStorage,
    bucket: Bucket,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("push")
    site = Site(constant_template, folder)
    bucket.upload(site.base_path("swapped") / "1", "far/1")
    bodies = [
        config_of(model, name) + (POLICY if name == "pinned" else "")
        for name, model in site.models.items()
    ]
    bodies.append('name: "far" base_path: "s3://models/far" model_platform: "tensorflow"')
    site.server = RunningServer(
        write_config(folder / "models.txt", bodies),
        f"--model_cache_dir={folder / 'cache'}",
        NO_RETRIES,
        environment=storage.environment,
    )
    with site.server:
        yield site


def push(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """The exit code and the report."""
    capsys.readouterr()
    code = main(["push", "--json", *arguments])
    report = json.loads(capsys.readouterr().out)
    assert report["exit_code"] == code
    return code, report


def rollback(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["rollback", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_push_rollback_and_undo_fail_no_request(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    base_path = str(site.base_path("swapped"))
    requests = site.folder / "requests.jsonl"
    requests.write_text('{"instances": [5.0], "predictions": [2.0]}\n')
    with Load(site.server, "swapped") as load:
        load.wait_for(1.0)
        code, report = push(
            site.candidate(2.0), base_path, "--requests", str(requests),
            *site.server_flags("swapped"), capsys=capsys,
        )  # fmt: skip
        assert code == 0, report
        version = report["version"]
        assert report["compared_with"] == 1
        assert report["server"].startswith("AVAILABLE after")
        assert report["server"].endswith(", answers")
        load.wait_for(2.0)
        assert site.names("swapped") == ["1", str(version)]
        code, report = rollback(base_path, *site.server_flags("swapped"), capsys=capsys)
        assert (code, report["version"], report["set_aside"]) == (0, 1, [version])
        load.wait_for(1.0)
        assert site.names("swapped") == ["1", f"rolled-back-{version}"]
        assert available(site.server, "swapped") == [1]
        code, report = rollback(base_path, "--undo", *site.server_flags("swapped"), capsys=capsys)
        assert (code, report["version"], report["brought_back"]) == (0, version, version)
        load.wait_for(2.0)
    assert load.failures == []
    assert set(load.answers) == {1.0, 2.0}


def test_the_same_on_an_object_store(
    site: Site,
    storage: ObjectStorage,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    flags = site.server_flags("far")
    with Load(site.server, "far") as load:
        load.wait_for(1.0)
        cache = f"--model_cache_dir={site.folder / 'own_cache'}"
        code, report = push(site.candidate(2.0), "s3://models/far", cache, *flags, capsys=capsys)
        assert code == 0, report
        load.wait_for(2.0)
        version = report["version"]
        assert bucket.keys("far/") == ["far/1/saved_model.pb", f"far/{version}/saved_model.pb"]
        code, report = rollback("s3://models/far", *flags, capsys=capsys)
        assert code == 0, report
        load.wait_for(1.0)
        aside = f"far/rolled-back-{version}/saved_model.pb"
        assert bucket.keys("far/") == ["far/1/saved_model.pb", aside]
        assert rollback("s3://models/far", "--undo", *flags, capsys=capsys)[0] == 0
        load.wait_for(2.0)
        assert bucket.keys("far/") == ["far/1/saved_model.pb", f"far/{version}/saved_model.pb"]
    assert load.failures == []
    assert set(load.answers) == {1.0, 2.0}


def test_what_the_server_cannot_load_is_taken_back(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = site.folder / "broken_candidate"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"this is no graph")
    base_path = str(site.base_path("broken"))
    with Load(site.server, "broken") as load:
        code, report = push(
            str(broken), base_path, "--no_load", "--allow_unsafe", *site.server_flags("broken"),
            capsys=capsys,
        )  # fmt: skip
        assert code == 3
        assert report["error"] == status_of(site.server, report["version"], "broken")[1]
        assert site.names("broken") == ["1"]
        load.wait_for(1.0)
    assert load.failures == []
    assert set(load.answers) == {1.0}


def test_what_the_server_does_not_take_is_taken_back(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    base_path = str(site.base_path("pinned"))
    flags = [*site.server_flags("pinned"), "--wait_s", "1.5"]
    code, report = push(site.candidate(2.0), base_path, *flags, capsys=capsys)
    assert code == 3
    assert report["error"] == "not AVAILABLE after 1.5 s: the server has not seen it"
    assert site.names("pinned") == ["1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_server_is_waited_for_takes_the_version_back(
    site: Site, number: signal.Signals
) -> None:
    base_path = site.base_path("pinned")
    command = [*COMMAND, site.candidate(2.0), str(base_path), "--no_load"]
    with subprocess.Popen(
        [*command, *site.server_flags("pinned")], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("published"):
                break
        assert len(site.names("pinned")) == 2
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == 128 + number
    assert rest.splitlines()[-1] == (f"salver push: interrupted by {number.name}; all is as it was")
    assert site.names("pinned") == ["1"]


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["--url", "127.0.0.1:{port}", "--model", "x"], 4, "127.0.0.1:{port}"),
        (["--url", "ftp://x", "--model", "x"], 2, "begins with none of grpc://"),
        (["--url", "localhost"], 2, "--url and --model go together"),
    ],
)
def test_without_an_answer_of_the_server_nothing_is_published(
    site: Site,
    flags: list[str],
    code: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = str(free_port())
    arguments = [flag.format(port=port) for flag in flags]
    found = main(["push", site.candidate(2.0), str(site.base_path("refused")), *arguments])
    assert (found, site.names("refused")) == (code, ["1"])
    assert text.format(port=port) in capsys.readouterr().err


def test_a_model_that_ends_its_process_is_refused(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = site.folder / "crashing"
    folder.mkdir()
    (folder / "model.py").write_text(CRASHING)
    code, report = push(
        str(folder), str(site.base_path("refused")), "--allow_unsafe", "--allow_python_code",
        capsys=capsys,
    )  # fmt: skip
    assert code == 1
    assert report["checks"][-1]["name"] == "load"
    assert "SIGKILL" in report["error"]
    assert site.names("refused") == ["1"]


def test_a_signal_while_the_model_loads_leaves_no_process(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    folder = tmp_path / "hanging"
    folder.mkdir()
    source = f"open({str(gate)!r}, 'w').close()\nimport time\ntime.sleep(1000)\n"
    (folder / "model.py").write_text(source)
    command = [*COMMAND, str(folder), str(site.base_path("refused"))]
    process = subprocess.Popen([*command, "--allow_unsafe", "--allow_python_code"])
    gate.open().close()  # Until it is being loaded.
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 128 + signal.SIGTERM
    psutil.wait_procs(children, LIMIT_S)
    assert not any(child.is_running() for child in children)
    assert site.names("refused") == ["1"]


def test_pushes_side_by_side_all_arrive(site: Site, tmp_path: Path) -> None:
    base_path = tmp_path / "shared"
    pushes = [
        subprocess.Popen(
            [*COMMAND, site.candidate(float(n)), str(base_path), "--no_load", "--json"],
            stdout=subprocess.PIPE, text=True,
        )
        for n in range(4)
    ]  # fmt: skip
    versions = set()
    for each in pushes:
        output, _ = each.communicate(timeout=LIMIT_S)
        assert each.returncode == 0
        versions.add(json.loads(output)["version"])
    assert len(versions) == 4
    assert sorted(os.listdir(base_path)) == sorted(map(str, versions))


def test_no_secret_of_a_uri_is_told(
    site: Site, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    arguments = [site.candidate(1.0), f"http://me:{SECRET}@127.0.0.1:1/models?sig={SECRET}"]
    code = main(["push", *arguments, "--no_load", "--report", str(report)])
    told = capfd.readouterr()
    assert code == 4
    assert SECRET not in told.out + told.err + report.read_text()
    assert "http://***@127.0.0.1:1/models?sig=***" in report.read_text()
