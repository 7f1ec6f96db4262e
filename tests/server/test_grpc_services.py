"""Metadata and status over gRPC."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
)

from tests.grpc_client import TIMEOUT_S, GrpcClient

AVAILABLE = 30


def failure(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), raised.value.details()


def signatures(response: Any) -> Any:
    assert list(response.metadata) == ["signature_def"]
    signature_map = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signature_map)
    return signature_map.signature_def


def test_metadata_shows_inputs_and_outputs(grpc_client: GrpcClient) -> None:
    response = grpc_client.metadata("several")
    signature = signatures(response)["serving_default"]
    assert sorted(signature.inputs) == ["label", "matrix", "vector"]
    assert sorted(signature.outputs) == ["label", "product", "shape", "sum"]
    assert signature.inputs["label"].dtype == 7
    assert [dim.size for dim in signature.inputs["matrix"].tensor_shape.dim] == [-1, -1]
    assert signature.method_name == "tensorflow/serving/predict"


def test_metadata_names_the_version_and_no_signature(grpc_client: GrpcClient) -> None:
    spec = grpc_client.metadata("versioned").model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("versioned", 3, "")


@pytest.mark.parametrize(
    ("choice", "version"), [({"version": 2}, 2), ({"label": "stable"}, 1)], ids=str
)
def test_metadata_is_of_the_version_asked_for(
    grpc_client: GrpcClient, choice: dict[str, Any], version: int
) -> None:
    assert grpc_client.metadata("versioned", **choice).model_spec.version.value == version


@pytest.mark.parametrize(
    ("model", "fields", "code", "details"),
    [
        (
            "versioned",
            [],
            grpc.StatusCode.INVALID_ARGUMENT,
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (
            "versioned",
            ["signature_def", "assets"],
            grpc.StatusCode.INVALID_ARGUMENT,
            "Metadata field assets is not supported",
        ),
        (
            "nobody",
            ["signature_def"],
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Latest(nobody)",
        ),
    ],
    ids=["no field", "unknown field", "unknown model"],
)
def test_metadata_that_is_not_there_is_an_error(
    grpc_client: GrpcClient, model: str, fields: list[str], code: grpc.StatusCode, details: str
) -> None:
    assert failure(lambda: grpc_client.metadata(model, fields)) == (code, details)


def test_status_lists_the_versions_from_the_highest_down(grpc_client: GrpcClient) -> None:
    statuses = grpc_client.status("versioned").model_version_status
    assert [(s.version, s.state, s.status.error_code) for s in statuses] == [
        (3, AVAILABLE, 0),
        (2, AVAILABLE, 0),
        (1, AVAILABLE, 0),
    ]


def test_status_of_one_version_is_alone(grpc_client: GrpcClient) -> None:
    (status,) = grpc_client.status("versioned", version=2).model_version_status
    assert (status.version, status.state) == (2, AVAILABLE)


def test_status_takes_no_notice_of_labels(grpc_client: GrpcClient) -> None:
    assert len(grpc_client.status("versioned", label="nothing").model_version_status) == 3


@pytest.mark.parametrize(
    ("model", "choice", "details"),
    [
        ("nobody", {}, "Could not find any versions of model nobody"),
        ("", {}, "Could not find any versions of model "),
        ("versioned", {"version": 9}, "Could not find version 9 of model versioned"),
    ],
)
def test_status_of_what_is_unknown_is_not_found(
    grpc_client: GrpcClient, model: str, choice: dict[str, Any], details: str
) -> None:
    got = failure(lambda: grpc_client.status(model, **choice))
    assert got == (grpc.StatusCode.NOT_FOUND, details)


def test_requests_without_a_model_spec_are_refused(grpc_client: GrpcClient) -> None:
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    status = get_model_status_pb2.GetModelStatusRequest()
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")
    call = grpc_client.prediction.GetModelMetadata
    assert failure(lambda: call(metadata, timeout=TIMEOUT_S)) == expected
    call = grpc_client.model.GetModelStatus
    assert failure(lambda: call(status, timeout=TIMEOUT_S)) == expected
