"""Sends calls over a channel of grpcio."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from salver.client.address import Address
from salver.client.exchange import Answer, Ask
from salver.client.options import Tls
from salver.errors import ServingError, error_of

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A server that starts again is found within a moment, as over REST.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class GrpcConnection:
    """A channel that blocks. From any thread."""

    def __init__(self, address: Address, tls: Tls, headers: tuple[tuple[str, str], ...]) -> None:
        self._metadata = headers
        if address.is_secure:
            self._channel = grpc.secure_channel(address.authority, _credentials(tls), _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address.authority, _OPTIONS)
        self._methods: dict[str, Any] = {}

    def ask(self, step: Ask) -> Answer:
        """Send and wait.

        Raises:
            ServingError: the server's, or that it cannot be reached.
        """
        call = step.call
        method = self._methods.get(call.path)
        if method is None:
            method = self._methods[call.path] = self._channel.unary_unary(call.path)
        try:
            return Answer(method(call.body, timeout=step.timeout_s, metadata=self._metadata))
        except grpc.RpcError as error:
            raise _serving_error(error) from error

    def close(self) -> None:
        self._channel.close()


class AsyncGrpcConnection:
    """A channel to await. On the loop of its first call."""

    def __init__(self, address: Address, tls: Tls, headers: tuple[tuple[str, str], ...]) -> None:
        self._metadata = headers
        if address.is_secure:
            self._channel = grpc.aio.secure_channel(address.authority, _credentials(tls), _OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(address.authority, _OPTIONS)
        self._methods: dict[str, Any] = {}

    async def ask(self, step: Ask) -> Answer:
        """Send and wait; see `GrpcConnection.ask`."""
        call = step.call
        method = self._methods.get(call.path)
        if method is None:
            method = self._methods[call.path] = self._channel.unary_unary(call.path)
        try:
            return Answer(await method(call.body, timeout=step.timeout_s, metadata=self._metadata))
        except grpc.RpcError as error:
            raise _serving_error(error) from error

    async def close(self) -> None:
        await self._channel.close()


def _credentials(tls: Tls) -> Any:
    def content(path: str | None) -> bytes | None:
        return None if path is None else Path(path).read_bytes()

    return grpc.ssl_channel_credentials(content(tls.ca), content(tls.key), content(tls.certificate))


def _serving_error(error: Any) -> ServingError:
    return error_of(error.code().value[0], error.details() or "")
