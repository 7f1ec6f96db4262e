from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from salver.codecs.messages import message_class
from salver.errors import InternalError, ServingError
from salver.transport.grpc_reflection import PACKAGES, reflection_streams

PREDICT = "tensorflow_serving/apis/prediction_service.proto"
BOTH = pytest.mark.parametrize("package", PACKAGES)


class Call:
    """A call that notes what it is answered."""

    is_behind = False

    def __init__(self) -> None:
        self.framed: list[bytes] = []
        self.is_finished = False

    def send(self, framed: bytes) -> None:
        self.framed.append(framed)

    def finish(self, error: ServingError | None = None) -> None:
        assert error is None
        self.is_finished = True


class Client:
    """One call of one version of the protocol."""

    def __init__(self, package: str = PACKAGES[0], *paths: bytes) -> None:
        self.call = Call()
        self.package = package
        handler = reflection_streams(paths)[
            f"/{package}.ServerReflection/ServerReflectionInfo".encode()
        ]
        self.receiver = handler(self.call)

    def ask(self, **question: Any) -> Any:
        request = message_class(f"{self.package}.ServerReflectionRequest")(host="h", **question)
        self.receiver.message(request.SerializeToString())
        response = message_class(f"{self.package}.ServerReflectionResponse")()
        response.ParseFromString(self.call.framed[-1][5:])
        assert response.valid_host == "h"
        assert response.original_request == request
        return response

    def files(self, **question: Any) -> dict[str, FileDescriptorProto]:
        """The files that come, by path, in order."""
        answers = self.ask(**question).file_descriptor_response.file_descriptor_proto
        files = [FileDescriptorProto.FromString(answer) for answer in answers]
        return {file.name: file for file in files}

    def error(self, **question: Any) -> tuple[int, str]:
        error = self.ask(**question).error_response
        return error.error_code, error.error_message

    def extension(self, message: str, number: int) -> Any:
        kind = message_class(f"{self.package}.ExtensionRequest")
        return {"file_containing_extension": kind(containing_type=message, extension_number=number)}


@BOTH
def test_services_are_listed_each_once_with_those_of_reflection(package: str) -> None:
    client = Client(package, b"/b.B/One", b"/b.B/Two", b"/a.A/One")
    listed = [
        service.name for service in client.ask(list_services="").list_services_response.service
    ]
    assert listed == ["a.A", "b.B", *(f"{name}.ServerReflection" for name in PACKAGES)]


@BOTH
@pytest.mark.parametrize(
    "symbol",
    [
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.PredictionService.Predict",
    ],
)
def test_a_symbol_brings_its_file_and_all_that_it_needs(package: str, symbol: str) -> None:
    files = Client(package).files(file_containing_symbol=symbol)
    assert next(iter(files)) == PREDICT
    pool = DescriptorPool()
    waiting = list(files.values())
    while waiting:
        ready = [f for f in waiting if not {w.name for w in waiting} & set(f.dependency)]
        assert ready, "an import is missing, or goes in a circle"
        for file in ready:
            pool.Add(file)
            waiting.remove(file)
    fields = pool.FindMessageTypeByName("tensorflow.serving.PredictRequest").fields_by_name
    assert fields["inputs"].number == 2


@pytest.mark.parametrize(
    ("symbol", "path"),
    [
        ("tensorflow.TensorProto", "tensorflow/core/framework/tensor.proto"),
        ("tensorflow.TensorProto.dtype", "tensorflow/core/framework/tensor.proto"),
        ("tensorflow.DT_FLOAT", "tensorflow/core/framework/types.proto"),
        ("tensorflow.serving.SignatureDefMap", "tensorflow_serving/apis/get_model_metadata.proto"),
        ("grpc.health.v1.Health.Watch", "grpc/health/v1/health.proto"),
        ("google.protobuf.Any", "google/protobuf/any.proto"),
    ],
)
def test_every_kind_of_symbol_is_found(symbol: str, path: str) -> None:
    assert next(iter(Client().files(file_containing_symbol=symbol))) == path


def test_a_file_is_found_by_its_path() -> None:
    assert next(iter(Client().files(file_by_filename=PREDICT))) == PREDICT


def test_what_a_call_was_given_is_not_given_again_unless_asked_for() -> None:
    client = Client()
    everything = client.files(file_by_filename=PREDICT)
    assert len(everything) > 20
    assert list(client.files(file_by_filename=PREDICT)) == [PREDICT]
    again = "tensorflow/core/framework/tensor.proto"
    assert list(client.files(file_by_filename=again)) == [again]
    assert len(Client().files(file_by_filename=PREDICT)) == len(everything)


@BOTH
def test_what_is_not_there_is_said_and_the_call_goes_on(package: str) -> None:
    client = Client(package)
    assert client.error(file_by_filename="none.proto") == (5, "File not found.")
    assert client.error(file_containing_symbol="no.such.Thing") == (5, "Symbol not found.")
    assert client.error(file_containing_symbol="") == (5, "Symbol not found.")
    assert client.error(**client.extension("no.Type", 1)) == (5, "Type not found.")
    message = "tensorflow.serving.PredictRequest"
    assert client.error(**client.extension(message, 1)) == (5, "Extension not found.")
    assert client.error(all_extension_numbers_of_type="no.Type") == (5, "Type not found.")
    assert client.error() == (12, "")
    numbers = client.ask(all_extension_numbers_of_type=message).all_extension_numbers_response
    assert (numbers.base_type_name, list(numbers.extension_number)) == (message, [])
    assert client.files(file_by_filename=PREDICT)


def test_the_call_ends_when_the_client_has_asked_all() -> None:
    client = Client()
    client.ask(list_services="")
    assert not client.call.is_finished
    client.receiver.half_closed()
    assert client.call.is_finished


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(InternalError):
        Client().receiver.message(b"\xff")
