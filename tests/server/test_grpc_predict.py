"""Predict as users of grpcio and tensorflow-serving-api call it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from tests import saved_models
from tests.grpc_client import TIMEOUT_S, GrpcClient, predict_request
from tests.running import RunningServer

X = {"x": np.array([1, 2, 5], np.float32)}


def failure(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), raised.value.details()


def same(got: np.ndarray, expected: np.ndarray) -> bool:
    """Equal in type, shape and every bit, but for NaN being NaN."""
    expected = np.asarray(expected)
    return got.shape == expected.shape and got.tolist() == expected.tolist()


def test_floats_as_typed_values_come_back_as_typed_values(grpc_client: GrpcClient) -> None:
    tensor = tf.compat.v1.make_tensor_proto(0.0)
    tensor.Clear()
    tensor.dtype = 1
    tensor.tensor_shape.dim.add().size = 3
    tensor.float_val[:] = [1.0, 2.0, 5.0]
    response = grpc_client.response("half_plus_two_1", {"x": tensor})
    assert list(response.outputs) == ["y"]
    output = response.outputs["y"]
    assert output.dtype == 1
    assert [dim.size for dim in output.tensor_shape.dim] == [3]
    assert list(output.float_val) == [2.5, 3.0, 4.5]
    assert output.tensor_content == b""


def test_the_response_names_the_model_the_version_and_the_signature(
    grpc_client: GrpcClient,
) -> None:
    spec = grpc_client.response("half_plus_two_2", X).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (
        "half_plus_two_2",
        1,
        "serving_default",
    )
    assert not spec.version_label


@pytest.mark.parametrize("name", ["half_plus_two_1", "half_plus_two_2", "lookup", "loops"])
def test_a_model_answers_what_tensorflow_answers(
    grpc_client: GrpcClient, saved_model_folder: Path, name: str
) -> None:
    inputs, outputs = saved_models.answers_of(saved_model_folder, name)["serving_default"]
    got = grpc_client.predict(name, inputs)
    assert got.keys() == outputs.keys()
    for alias, expected in outputs.items():
        assert same(got[alias], expected), alias


def test_keras_answers_what_tensorflow_answers(
    grpc_client: GrpcClient, saved_model_folder: Path
) -> None:
    inputs, outputs = saved_models.answers_of(saved_model_folder, "keras")["serving_default"]
    got = grpc_client.predict("keras", inputs)
    for alias, expected in outputs.items():
        np.testing.assert_allclose(got[alias], expected, rtol=1e-5)


TYPES_OF_MAKE_TENSOR_PROTO = [
    "float32", "float64", "int32", "uint8", "int16", "int8", "complex64", "int64", "bool",
    "uint16", "complex128", "float16", "uint32", "uint64", "bfloat16", "string",
]  # fmt: skip


@pytest.mark.parametrize("name", TYPES_OF_MAKE_TENSOR_PROTO)
def test_every_type_comes_back_as_it_was_sent(grpc_client: GrpcClient, name: str) -> None:
    array = saved_models.ECHO_TYPES[name]
    got = grpc_client.predict("echo", {"x": array}, signature=name)["y"]
    assert same(got, array)
    assert got.dtype == array.dtype


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (2, 3, 4), (1,) * 9], ids=str)
def test_every_shape_comes_back_as_it_was_sent(
    grpc_client: GrpcClient, shape: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    got = grpc_client.predict("echo", {"x": array}, signature="float32")["y"]
    assert same(got, array)


@pytest.mark.parametrize("rank", [65, 254])
@pytest.mark.parametrize("large", [1, 5000])
def test_more_dimensions_than_numpy_has_come_back_as_they_were_sent(
    grpc_client: GrpcClient, rank: int, large: int
) -> None:
    values = {"float32": ("float_val", 1.5, 1), "string": ("string_val", b"text", 7)}
    for name, (field, value, data_type) in values.items():
        tensor = tf.compat.v1.make_tensor_proto(0.0)
        tensor.Clear()
        tensor.dtype = data_type
        for size in [1] * (rank - 1) + [large]:
            tensor.tensor_shape.dim.add().size = size
        getattr(tensor, field)[:] = [value] * large
        output = grpc_client.response("echo", {"x": tensor}, signature=name).outputs["y"]
        assert output == tensor


def test_several_inputs_and_outputs_keep_their_names(
    grpc_client: GrpcClient, saved_model_folder: Path
) -> None:
    inputs, outputs = saved_models.answers_of(saved_model_folder, "several")["serving_default"]
    inputs = {**inputs, "label": np.array(b"done", dtype=object)}
    got = grpc_client.predict("several", inputs)
    assert got.keys() == outputs.keys()
    assert got["product"].tolist() == outputs["product"].tolist()
    assert got["label"].tolist() == b"done!"
    assert got["shape"].tolist() == [2, 3]
    assert got["sum"].tolist() == outputs["sum"].tolist()


def test_the_output_filter_chooses(grpc_client: GrpcClient, saved_model_folder: Path) -> None:
    inputs, _ = saved_models.answers_of(saved_model_folder, "several")["serving_default"]
    for chosen in (["sum"], ["shape", "product"], ["label", "sum", "shape", "product"]):
        assert sorted(grpc_client.predict("several", inputs, output_filter=chosen)) == sorted(
            chosen
        )


@pytest.mark.parametrize(
    ("output_filter", "details"),
    [
        pytest.param(
            ["nothing"],
            "output tensor alias not found in signature: nothing "
            "Outputs expected to be in the set {y}.",
            id="unknown",
        ),
        pytest.param(["y", "y"], "duplicate output tensor alias: y", id="twice"),
    ],
)
def test_a_filter_that_does_not_fit_is_refused(
    grpc_client: GrpcClient, output_filter: list[str], details: str
) -> None:
    got = failure(lambda: grpc_client.predict("half_plus_two_1", X, output_filter=output_filter))
    assert got == (grpc.StatusCode.INVALID_ARGUMENT, details)


@pytest.mark.parametrize(
    ("choice", "version"),
    [
        pytest.param({}, 3, id="the highest"),
        pytest.param({"version": 1}, 1, id="version 1"),
        pytest.param({"version": 2}, 2, id="version 2"),
        pytest.param({"label": "stable"}, 1, id="stable"),
        pytest.param({"label": "canary"}, 3, id="canary"),
    ],
)
def test_a_version_is_chosen_by_number_and_label(
    grpc_client: GrpcClient, choice: dict[str, Any], version: int
) -> None:
    response = grpc_client.response("versioned", X, **choice)
    assert response.model_spec.version.value == version
    assert list(response.outputs["y"].float_val) == [version] * 3


NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("model", "inputs", "choice", "code", "details"),
    [
        pytest.param(
            "nobody", X, {}, NOT_FOUND, "Servable not found for request: Latest(nobody)", id="model"
        ),
        pytest.param(
            "versioned", X, {"version": 7}, NOT_FOUND,
            "Servable not found for request: Specific(versioned, 7)", id="version",
        ),
        pytest.param(
            "versioned", X, {"version": 0}, NOT_FOUND,
            "Servable not found for request: Specific(versioned, 0)", id="version 0",
        ),
        pytest.param(
            "versioned", X, {"label": "nothing"}, INVALID,
            "Unrecognized servable version label: nothing", id="label",
        ),
        pytest.param(
            "versioned", X, {"label": "promised"}, NOT_FOUND,
            "Servable not found for request: Specific(versioned, 99)", id="unavailable label",
        ),
        pytest.param(
            "versioned", X, {"signature": "other"}, grpc.StatusCode.FAILED_PRECONDITION,
            'Serving signature key "other" not found.', id="signature",
        ),
        pytest.param("", X, {}, INVALID, "ModelSpec has no name specified.", id="no name"),
        pytest.param(
            "versioned", {}, {}, INVALID,
            "input size does not match signature: 0!=1 len({}) != len({x}). "
            "Sent extra: {}. Missing but required: {x}.", id="no input",
        ),
        pytest.param(
            "versioned", {"x": X["x"], "z": X["x"]}, {}, INVALID,
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). "
            "Sent extra: {z}. Missing but required: {}.", id="input too many",
        ),
        pytest.param(
            "half_plus_two_1", {"x": np.array([1], np.int32)}, {}, INVALID,
            "Expects arg[0] to be float but int32 is provided", id="type of input",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_says_why(
    grpc_client: GrpcClient,
    model: str,
    inputs: dict[str, Any],
    choice: dict[str, Any],
    code: grpc.StatusCode,
    details: str,
) -> None:
    assert failure(lambda: grpc_client.predict(model, inputs, **choice)) == (code, details)


def test_a_request_without_a_model_spec_is_refused(grpc_client: GrpcClient) -> None:
    def call() -> None:
        grpc_client.prediction.Predict(predict_pb2.PredictRequest(), timeout=TIMEOUT_S)

    assert failure(call) == (INVALID, "Missing ModelSpec")


def test_a_tensor_with_too_few_bytes_is_refused(grpc_client: GrpcClient) -> None:
    tensor = tf.make_tensor_proto(X["x"])
    tensor.tensor_content = tensor.tensor_content[:-1]
    got = failure(lambda: grpc_client.predict("versioned", {"x": tensor}))
    assert got == (INVALID, "tensor parsing error: x")


def test_a_model_that_fails_passes_on_its_own_words(grpc_client: GrpcClient) -> None:
    code, details = failure(lambda: grpc_client.predict("loops", {"n": np.int64(-1)}))
    assert code is INVALID
    assert "n must be above zero" in details


def test_long_details_are_cut_at_1024_bytes(grpc_client: GrpcClient) -> None:
    _, details = failure(lambda: grpc_client.predict("m" * 3000, X))
    assert (
        details == ("Servable not found for request: Latest(" + "m" * 3000)[:1024] + "...TRUNCATED"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/tensorflow.serving.PredictionService/Nothing",
        "/tensorflow.serving.NoService/Predict",
        "/tensorflow.serving.SessionService/SessionRun",
    ],
)
def test_an_unknown_method_is_unimplemented(grpc_client: GrpcClient, path: str) -> None:
    code, _ = failure(lambda: grpc_client.unary(path, b""))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_what_is_no_message_is_an_error_of_the_call_alone(grpc_client: GrpcClient) -> None:
    code, _ = failure(
        lambda: grpc_client.unary("/tensorflow.serving.PredictionService/Predict", b"\xff\xff")
    )
    assert code is grpc.StatusCode.INTERNAL
    assert grpc_client.answer("half_plus_two_1") == 3.0


def test_a_million_floats_are_computed_one_by_one(grpc_client: GrpcClient) -> None:
    x = np.random.default_rng(1).standard_normal(1_000_000, np.float32)
    y = grpc_client.predict("half_plus_two_2", {"x": x})["y"]
    np.testing.assert_array_equal(y, x * np.float32(0.5) + np.float32(2))


def test_thirty_megabytes_come_back_whole(grpc_client: GrpcClient) -> None:
    x = np.arange(30_000_000 // 4, dtype=np.int32)
    y = grpc_client.predict("echo", {"x": x}, signature="int32")["y"]
    np.testing.assert_array_equal(y, x)


def test_many_long_strings_come_back_whole(grpc_client: GrpcClient) -> None:
    x = np.array([bytes([n % 256]) * (n * 37) for n in range(500)], object)
    y = grpc_client.predict("echo", {"x": x}, signature="string")["y"]
    assert y.tolist() == x.tolist()


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate], ids=str)
def test_compressed_requests_are_understood(server: RunningServer, how: grpc.Compression) -> None:
    with GrpcClient(server.grpc_address, compression=how) as client:
        x = np.zeros(100_000, np.float32)
        assert client.predict("half_plus_two_1", {"x": x})["y"].tolist() == [2.0] * 100_000


@pytest.mark.parametrize("port", ["grpc_address", "rest"])
def test_every_port_speaks_grpc(server: RunningServer, port: str) -> None:
    target = server.grpc_address if port == "grpc_address" else f"127.0.0.1:{server.rest_port}"
    with GrpcClient(target) as client:
        assert client.answer("versioned") == 3.0


def test_a_unix_socket_is_a_target(server: RunningServer, socket_path: str) -> None:
    with GrpcClient(f"unix:{socket_path}") as client:
        assert client.answer("half_plus_two_1") == 3.0


def _callers_each_get_their_own(clients: list[GrpcClient], calls: int) -> None:
    def caller(number: int) -> int:
        client = clients[number % len(clients)]
        right = 0
        for turn in range(calls):
            x = np.full(1 + number, number * 1000 + turn, np.float32)
            y = client.predict("half_plus_two_2", {"x": x})["y"]
            right += y.tolist() == (x / 2 + 2).tolist()
        return right

    with ThreadPoolExecutor(64) as callers:
        assert list(callers.map(caller, range(64))) == [calls] * 64


def test_64_callers_on_one_channel_each_get_their_own_answers(grpc_client: GrpcClient) -> None:
    _callers_each_get_their_own([grpc_client], 30)


def test_64_callers_on_64_connections_each_get_their_own_answers(server: RunningServer) -> None:
    options = {"options": [("grpc.use_local_subchannel_pool", 1)]}
    clients = [GrpcClient(server.grpc_address, **options) for _ in range(64)]
    try:
        _callers_each_get_their_own(clients, 10)
    finally:
        for client in clients:
            client.close()


def test_calls_that_are_sent_at_once_are_all_answered(grpc_client: GrpcClient) -> None:
    requests = [
        predict_request("echo", {"x": np.int64(number)}, signature="int64") for number in range(500)
    ]
    calls = [grpc_client.prediction.Predict.future(r, timeout=TIMEOUT_S) for r in requests]
    answers = [call.result().outputs["y"].int64_val[0] for call in calls]
    assert answers == list(range(500))
