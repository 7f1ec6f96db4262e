"""TensorFlow's profiler client against the server, while it answers."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from salver.codecs.messages import message_class
from tests import served_models
from tests.grpc_client import GrpcClient
from tests.process.load import Load
from tests.running import RunningServer, wait_until

SERVICE = "/tensorflow.ProfilerService/"
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def access_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profiled") / "access.log"


@pytest.fixture(scope="module")
def profiled(saved_model_folder: Path, access_log: Path) -> Iterator[RunningServer]:
    flags = [f"--model_base_path={saved_model_folder / 'half_plus_two_1'}"]
    with RunningServer(*flags, f"--access_log={access_log}") as running:
        yield running


@pytest.fixture
def client(profiled: RunningServer) -> Iterator[GrpcClient]:
    with GrpcClient(profiled.grpc_address) as client:
        yield client


def trace_with_tensorflow(server: RunningServer, folder: Path, code: str = "") -> str:
    """What TensorFlow's own client says, in a process of its own; it traces half a second."""
    program = (
        "from tensorflow.python.profiler import profiler_client\n"
        f"address, folder = 'grpc://{server.grpc_address}', {str(folder)!r}\n"
        + (code or "profiler_client.trace(address, folder, 500)\n")
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return f"{done.returncode}\n{done.stdout}\n{done.stderr}"


def profile(client: GrpcClient, **fields: Any) -> Any:
    request = message_class("tensorflow.ProfileRequest")(**fields)
    answer = client.unary(f"{SERVICE}Profile", request.SerializeToString())
    return message_class("tensorflow.ProfileResponse").FromString(answer)


class Plane:
    """A plane of a trace, readable."""

    def __init__(self, plane: Any) -> None:
        self.name = plane.name
        self._plane = plane
        self.lines = {line.name: line for line in plane.lines}

    def events(self, line: str) -> list[str]:
        return [self._plane.event_metadata[e.metadata_id].name for e in self.lines[line].events]

    def stats(self, event: Any) -> dict[str, Any]:
        found = {}
        names = self._plane.stat_metadata
        for stat in event.stats:
            value = getattr(stat, stat.WhichOneof("value"))
            is_reference = stat.WhichOneof("value") == "ref_value"
            found[names[stat.metadata_id].name] = names[value].name if is_reference else value
        return found


def host_plane(space: Any) -> Plane:
    (plane,) = (plane for plane in space.planes if plane.name == "/host:CPU")
    return Plane(plane)


def test_tensorflow_s_client_gets_requests_runs_and_operations(
    profiled: RunningServer, tmp_path: Path
) -> None:
    with Load(profiled) as load:
        load.wait_for(3.0)
        said = trace_with_tensorflow(profiled, tmp_path)
        load.wait_for(3.0)
        load.stop()
    assert said.startswith("0\n"), said
    assert load.failures == []
    (path,) = tmp_path.glob("plugins/profile/*/*.xplane.pb")
    assert path.name == f"127.0.0.1_{profiled.grpc_port}.xplane.pb"
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    host = host_plane(space)
    requests_ = [name for line in host.lines if "requests" in line for name in host.events(line)]
    assert {"gRPC Predict default", "HTTP/1.1 predict default"} <= set(requests_)
    threads = [line for line in host.lines if "requests" not in line]
    assert any(line == "event loop" or line.startswith("worker-") for line in threads)
    runs = [name for line in threads for name in host.events(line)]
    assert "default 1 serving_default" in runs
    assert {"Mul:Mul", "y:AddV2"} <= set(runs)
    assert [plane.name for plane in space.planes] == ["/host:CPU", "Task Environment"]


def test_operations_lie_within_the_runs_of_their_thread_and_all_within_the_trace(
    profiled: RunningServer, client: GrpcClient
) -> None:
    with Load(profiled) as load:
        load.wait_for(3.0)
        response = profile(client, duration_ms=300, emit_xspace=True)
        load.stop()
    assert not response.empty_trace
    host = host_plane(response.xspace)
    for name, line in host.lines.items():
        ends: list[int] = []
        for event in line.events:
            start, end = event.offset_ps, event.offset_ps + event.duration_ps
            # 60 seconds: it lasted 0.3 by the clock of an idle machine.
            assert 0 <= start <= end <= 60 * 10**12
            while ends and ends[-1] <= start:
                ends.pop()
            assert not ends or ("requests" not in name and end <= ends[-1])
            ends.append(end)
    (line,) = [line for name, line in host.lines.items() if name == "requests 0"]
    stats = host.stats(line.events[0])
    assert stats["status"] == 200
    assert stats["signature"] == "serving_default"
    assert stats["version"] == 1


def test_a_level_of_one_leaves_the_operations_out(
    profiled: RunningServer, client: GrpcClient
) -> None:
    options = message_class("tensorflow.ProfileOptions")(host_tracer_level=1, duration_ms=200)
    with Load(profiled) as load:
        load.wait_for(3.0)
        response = profile(client, opts=options)
        load.stop()
    host = host_plane(response.xspace)
    names = {name for line in host.lines for name in host.events(line)}
    assert "default 1 serving_default" in names
    assert not any(":" in name for name in names)


def test_when_nothing_happens_the_client_says_so(profiled: RunningServer, tmp_path: Path) -> None:
    code = "profiler_client.trace(address, folder, 50, num_tracing_attempts=2)\n"
    said = trace_with_tensorflow(profiled, tmp_path, code)
    assert "No trace event was collected" in said
    assert list(tmp_path.iterdir()) == []


def test_the_monitor_sums_up(profiled: RunningServer) -> None:
    code = "print(profiler_client.monitor(address, 300, 2))\n"
    with Load(profiled) as load:
        load.wait_for(3.0)
        said = trace_with_tensorflow(profiled, Path(), code)
        load.stop()
    lines = said.splitlines()
    (summary,) = [line for line in lines if line.startswith("Requests: ")]
    assert " 0 of " in summary
    assert summary.endswith(" failed")
    assert not summary.startswith("Requests: 0.0/s")
    assert any(line.startswith("  default: ") for line in lines)


def test_one_trace_at_a_time_and_the_first_can_be_ended(
    profiled: RunningServer, client: GrpcClient
) -> None:
    responses: list[Any] = []

    def trace_for_an_hour() -> None:
        responses.append(profile(client, duration_ms=3_600_001, session_id="long"))

    first = threading.Thread(target=trace_for_an_hour)
    first.start()
    profiled.wait_for_line("A trace of 3600001 ms begins")
    with pytest.raises(grpc.RpcError) as raised:
        profile(client, duration_ms=1)
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert raised.value.details() == "Another profiling session active."
    requests.get(f"{profiled.url}/v1/models/default", timeout=LIMIT_S)
    for session in ("unknown", "long"):
        request = message_class("tensorflow.TerminateRequest")(session_id=session)
        assert client.unary(f"{SERVICE}Terminate", request.SerializeToString()) == b""
    first.join(LIMIT_S)
    (response,) = responses
    host = host_plane(response.xspace)
    names = [name for line in host.lines for name in host.events(line)]
    assert "HTTP/1.1 default default" in names
    assert profile(client, duration_ms=1).empty_trace in (True, False)


def test_a_trace_ends_when_its_client_goes(profiled: RunningServer, client: GrpcClient) -> None:
    request = message_class("tensorflow.ProfileRequest")(duration_ms=3_600_002)
    with grpc.insecure_channel(profiled.grpc_address) as channel:
        call = channel.unary_unary(f"{SERVICE}Profile").future(request.SerializeToString())
        profiled.wait_for_line("A trace of 3600002 ms begins")
        call.cancel()

    def is_off() -> bool:
        try:
            profile(client, duration_ms=1)
        except grpc.RpcError:
            return False
        return True

    wait_until(is_off, "the trace is off")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"repository_root": "gs://bucket"}, id="not local"),
        pytest.param({"repository_root": "relative"}, id="relative"),
        pytest.param({"repository_root": "/tmp", "session_id": "../etc"}, id="session"),
        pytest.param({"repository_root": "/tmp", "host_name": "a/b"}, id="host"),
        pytest.param({"repository_root": "/tmp", "session_id": ".."}, id="parent"),
    ],
)
def test_a_trace_is_written_to_the_folder_of_its_session_only(
    client: GrpcClient, fields: dict[str, str]
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        profile(client, duration_ms=3_600_000, **fields)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_folder_that_cannot_be_written_is_an_error_of_the_call(
    profiled: RunningServer, client: GrpcClient, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with Load(profiled) as load:
        load.wait_for(3.0)
        with pytest.raises(grpc.RpcError) as raised:
            profile(client, duration_ms=50, repository_root=str(tmp_path / "file"))
        load.stop()
    assert str(tmp_path / "file") in raised.value.details()
    assert load.failures == []


def test_the_access_log_goes_on_during_a_trace(
    profiled: RunningServer, client: GrpcClient, access_log: Path
) -> None:
    with Load(profiled) as load:
        load.wait_for(3.0)
        before = access_log.read_text().count("\n")
        profile(client, duration_ms=300)
        load.stop()
    logged = f'"path":"{SERVICE}Profile"'
    wait_until(lambda: logged in access_log.read_text(), "the trace is logged")
    assert access_log.read_text().count("\n") > before + 10


def test_without_the_profiler_its_methods_are_unknown(
    constant_template: Path, tmp_path: Path
) -> None:
    model = served_models.VersionedModel(constant_template, tmp_path / "model")
    model.add(1)
    flags = [f"--model_base_path={model.base_path}", "--enable_profiler=false"]
    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        with pytest.raises(grpc.RpcError) as raised:
            profile(client, duration_ms=1)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert not any("Profiler service is enabled" in line for line in server.lines)
