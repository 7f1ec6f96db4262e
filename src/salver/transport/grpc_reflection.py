"""Server reflection: how grpcurl and its like learn what services and messages there are.

The protocol has two versions that differ in their package alone; both are spoken.
Texts and codes of errors are those of the library that TensorFlow Serving is built with.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FileDescriptor

from salver.codecs.messages import message_class
from salver.codecs.reflected_files import (
    extension_numbers,
    file_by_name,
    file_of_extension,
    file_of_symbol,
    with_imports,
)
from salver.errors import ServingError, Unimplemented
from salver.transport.exchange import StreamCall, StreamHandler
from salver.transport.grpc_messages import framed, parsed

PACKAGES = ("grpc.reflection.v1", "grpc.reflection.v1alpha")


def reflection_streams(paths: Iterable[bytes]) -> Mapping[bytes, StreamHandler]:
    """The handlers of both versions, which list their own and the services of these methods."""
    methods = {
        package: f"/{package}.ServerReflection/ServerReflectionInfo".encode()
        for package in PACKAGES
    }
    services = sorted({path.split(b"/")[1].decode() for path in (*paths, *methods.values())})

    def handler(package: str) -> StreamHandler:
        return lambda call: _Reflection(call, package, services)

    return {method: handler(package) for package, method in methods.items()}


class _Reflection:
    """One call: an answer to each message, until the client says that it was the last."""

    def __init__(self, call: StreamCall, package: str, services: Sequence[str]) -> None:
        self._call = call
        self._package = package
        self._services = services
        self._sent: set[str] = set()

    def message(self, message: bytes) -> None:
        request = parsed(f"{self._package}.ServerReflectionRequest", message)
        response = message_class(f"{self._package}.ServerReflectionResponse")()
        response.valid_host = request.host
        response.original_request.CopyFrom(request)
        try:
            self._answer(request, response)
        except ServingError as error:
            response.error_response.error_code = int(error.code)
            response.error_response.error_message = error.message
        self._call.send(framed(response))

    def half_closed(self) -> None:
        self._call.finish()

    def caught_up(self) -> None:
        """Messages that wait are held back by the call itself."""

    def ended(self) -> None:
        """Nothing is held."""

    def _answer(self, request: Any, response: Any) -> None:
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            for name in self._services:
                response.list_services_response.service.add().name = name
        elif kind == "file_by_filename":
            self._send_file(response, file_by_name(request.file_by_filename))
        elif kind == "file_containing_symbol":
            self._send_file(response, file_of_symbol(request.file_containing_symbol))
        elif kind == "file_containing_extension":
            wanted = request.file_containing_extension
            file = file_of_extension(wanted.containing_type, wanted.extension_number)
            self._send_file(response, file)
        elif kind == "all_extension_numbers_of_type":
            name = request.all_extension_numbers_of_type
            numbers = extension_numbers(name)
            response.all_extension_numbers_response.base_type_name = name
            response.all_extension_numbers_response.extension_number.extend(numbers)
        else:
            raise Unimplemented("")

    def _send_file(self, response: Any, file: FileDescriptor) -> None:
        """Add the file, and of all that it imports what this call has not been given yet."""
        for needed in with_imports(file):
            if needed is file or needed.name not in self._sent:
                self._sent.add(needed.name)
                response.file_descriptor_response.file_descriptor_proto.append(needed.serialized_pb)
