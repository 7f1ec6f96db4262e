"""Health over gRPC and HTTP, and reflection, with the clients that people use."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.grpc_client import TIMEOUT_S, GrpcClient
from tests.running import RunningServer, write_config
from tests.served_models import VersionedModel

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


@pytest.fixture(scope="module")
def model(constant_template: Path, tmp_path_factory: pytest.TempPathFactory) -> VersionedModel:
    """Versions of `m`; a test that adds some leaves at least one."""
    model = VersionedModel(constant_template, tmp_path_factory.mktemp("health") / "m")
    model.add(1)
    return model


@pytest.fixture(scope="module")
def site(
    model: VersionedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    config = tmp_path_factory.mktemp("health") / "models.txt"
    body = (
        f'name: "m" base_path: "{model.base_path}" model_platform: "tensorflow" '
        "model_version_policy { all {} }"
    )
    flags = [write_config(config, [body]), "--enable_grpc_healthcheck_service"]
    with RunningServer(*flags, "--max_num_load_retries=0") as server:
        yield server


@pytest.fixture
def channel(site: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(site.grpc_address) as channel:
        yield channel


def request(name: str) -> Any:
    return health_pb2.HealthCheckRequest(service=name)


def watch(channel: grpc.Channel, name: str) -> Any:
    return health_pb2_grpc.HealthStub(channel).Watch(request(name), timeout=TIMEOUT_S)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("", SERVING),
        ("PredictionService", SERVING),
        ("tensorflow.serving.ModelService", SERVING),
        ("models/m", SERVING),
        ("models/m/versions/1", SERVING),
    ],
)
def test_what_serves_is_serving(channel: grpc.Channel, name: str, status: int) -> None:
    answer = health_pb2_grpc.HealthStub(channel).Check(request(name), timeout=TIMEOUT_S)
    assert answer.status == status


@pytest.mark.parametrize("name", ["m", "models/nobody", "models/m/versions/99"])
def test_what_nobody_knows_is_not_found(channel: grpc.Channel, name: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        health_pb2_grpc.HealthStub(channel).Check(request(name), timeout=TIMEOUT_S)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert raised.value.details() == "service name unknown"


def test_a_watch_sees_a_version_come_and_go(
    site: RunningServer, channel: grpc.Channel, model: VersionedModel
) -> None:
    version, whole = watch(channel, "models/m/versions/2"), watch(channel, "models/m")
    assert next(version).status == SERVICE_UNKNOWN
    assert next(whole).status == SERVING
    model.add(2)
    assert [next(version).status for _ in "12"] == [NOT_SERVING, SERVING]
    model.remove(2)
    assert next(version).status == NOT_SERVING
    version.cancel()
    whole.cancel()
    with GrpcClient(site.grpc_address) as client:
        assert client.answer("m") == 1.0


def test_a_version_that_fails_is_known_and_not_serving(
    channel: grpc.Channel, model: VersionedModel
) -> None:
    broken = watch(channel, "models/m/versions/7")
    assert next(broken).status == SERVICE_UNKNOWN
    model.break_(7)
    assert next(broken).status == NOT_SERVING
    broken.cancel()
    model.remove(7)


def test_a_thousand_watches_that_are_dropped_disturb_nobody(site: RunningServer) -> None:
    with GrpcClient(site.grpc_address) as client:
        for _ in range(10):
            with grpc.insecure_channel(site.grpc_address) as channel:
                watches = [watch(channel, "") for _ in range(100)]
                assert [next(one).status for one in watches] == [SERVING] * 100
                for one in watches[::2]:
                    one.cancel()
            assert client.answer("m") == 1.0


@pytest.mark.parametrize("port", ["grpc_port", "rest_port"])
@pytest.mark.parametrize(("page", "facts"), [("live", {"live": True}), ("ready", {"ready": True})])
def test_health_is_told_over_http_on_every_port(
    site: RunningServer, port: str, page: str, facts: dict[str, bool]
) -> None:
    url = f"http://127.0.0.1:{getattr(site, port)}/healthz/{page}"
    with requests.Session() as session:
        for _ in range(2):
            response = session.get(url, timeout=TIMEOUT_S)
            assert (response.status_code, response.json()) == (200, facts)
            head = session.head(url, timeout=TIMEOUT_S)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["Content-Length"] == response.headers["Content-Length"]
        assert session.post(url, data="{}", timeout=TIMEOUT_S).status_code == 404


def test_health_is_told_over_http_2_too(site: RunningServer) -> None:
    url = f"{site.url}/healthz/ready"
    command = ["curl", "-s", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    assert done.stdout == '{"ready": true}\n2 200'


def test_a_model_that_is_gone_is_named_with_its_reason(
    constant_template: Path, tmp_path: Path
) -> None:
    models = {name: VersionedModel(constant_template, tmp_path / name) for name in ("a", "b")}
    bodies = []
    for name, model in models.items():
        model.add(1)
        bodies.append(f'name: "{name}" base_path: "{model.base_path}" model_platform: "tensorflow"')
    flags = [write_config(tmp_path / "models.txt", bodies), "--enable_grpc_healthcheck_service"]
    with (
        RunningServer(*flags) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        seen, whole = watch(channel, "models/b"), watch(channel, "")
        assert next(seen).status == next(whole).status == SERVING
        models["b"].remove(1)
        assert next(seen).status == NOT_SERVING
        response = requests.get(f"{server.url}/healthz/ready", timeout=TIMEOUT_S)
        assert response.status_code == 503
        assert response.json() in (
            {"ready": False, "models": {"b": "version 1 UNLOADING"}},
            {"ready": False, "models": {"b": "version 1 END"}},
        )
        # The server as a whole goes on: other models are asked for.
        check = health_pb2_grpc.HealthStub(channel).Check
        assert check(request(""), timeout=TIMEOUT_S).status == SERVING
        models["b"].add(2)
        assert next(seen).status == SERVING
        assert requests.get(f"{server.url}/healthz/ready", timeout=TIMEOUT_S).json() == {
            "ready": True
        }
        seen.cancel()
        whole.cancel()


def test_without_its_flag_there_is_no_health_service(grpc_client: GrpcClient) -> None:
    for method in ("Check", "Watch"):
        with pytest.raises(grpc.RpcError) as raised:
            grpc_client.unary(f"/grpc.health.v1.Health/{method}", b"")
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    assert list(ProtoReflectionDescriptorDatabase(channel).get_services()) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "salver.Models",
        "tensorflow.ProfilerService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    ]


def test_a_client_that_knows_nothing_can_call_by_reflection_alone(channel: grpc.Channel) -> None:
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName("tensorflow.serving.PredictionService").FindMethodByName(
        "Predict"
    )
    predict = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    question: Any = GetMessageClass(method.input_type)()
    question.model_spec.name = "m"
    question.inputs["x"].dtype = 1
    question.inputs["x"].tensor_shape.dim.add(size=1)
    question.inputs["x"].float_val.append(2.0)
    assert list(predict(question, timeout=TIMEOUT_S).outputs["y"].float_val) == [1.0]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_of_reflection_answer_question_by_question(
    channel: grpc.Channel, version: str
) -> None:
    # The two differ by the name of their package alone, so one's messages serve for both.
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    question = reflection_pb2.ServerReflectionRequest
    answers = ask(
        iter(
            [
                question(list_services=""),
                question(file_containing_symbol="tensorflow.serving.ModelService"),
                question(file_by_filename="none.proto"),
            ]
        ),
        timeout=TIMEOUT_S,
    )
    services, file, error = answers
    assert len(services.list_services_response.service) == 7
    assert len(file.file_descriptor_response.file_descriptor_proto) > 5
    assert error.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_reflection_can_be_switched_off(model: VersionedModel) -> None:
    flags = [f"--model_base_path={model.base_path}", "--enable_grpc_reflection=false"]
    with RunningServer(*flags) as server, grpc.insecure_channel(server.grpc_address) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            list(ProtoReflectionDescriptorDatabase(channel).get_services())
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
