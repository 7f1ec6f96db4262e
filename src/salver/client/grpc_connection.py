"""Sends calls over a channel of grpcio."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from salver import __version__
from salver.client.address import Address
from salver.client.exchange import Answer, Ask
from salver.client.options import Tls
from salver.errors import InvalidArgument, ServingError, error_of

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A server that starts again is found within a moment, as over REST.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.primary_user_agent", f"salver-client/{__version__}"),
)
_Headers = tuple[tuple[str, str], ...]


class GrpcConnection:
    """A channel that blocks. From any thread."""

    def __init__(self, address: Address, tls: Tls, headers: _Headers) -> None:
        self._headers = headers
        credentials = _credentials(address, tls)
        self._channel = (
            grpc.insecure_channel(address.authority, _OPTIONS)
            if credentials is None
            else grpc.secure_channel(address.authority, credentials, _OPTIONS)
        )
        self._methods: dict[str, Any] = {}

    def ask(self, step: Ask) -> Answer:
        """See `Connection.ask`."""
        call = step.call
        method = self._methods.get(call.path)
        if method is None:
            method = self._methods[call.path] = self._channel.unary_unary(call.path)
        try:
            return Answer(method(call.body, timeout=step.timeout_s, metadata=self._headers))
        except grpc.RpcError as error:
            raise _serving_error(error) from error

    def close(self) -> None:
        self._channel.close()


class AsyncGrpcConnection:
    """A channel to await, made with the first call, on its loop."""

    def __init__(self, address: Address, tls: Tls, headers: _Headers) -> None:
        self._headers = headers
        self._target = address.authority
        self._credentials = _credentials(address, tls)
        self._channel: Any = None
        self._methods: dict[str, Any] = {}

    async def ask(self, step: Ask) -> Answer:
        """See `Connection.ask`."""
        call = step.call
        method = self._methods.get(call.path)
        if method is None:
            method = self._methods[call.path] = self._open_channel().unary_unary(call.path)
        try:
            return Answer(await method(call.body, timeout=step.timeout_s, metadata=self._headers))
        except grpc.RpcError as error:
            raise _serving_error(error) from error

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    def _open_channel(self) -> Any:
        if self._channel is None:
            self._channel = (
                grpc.aio.insecure_channel(self._target, _OPTIONS)
                if self._credentials is None
                else grpc.aio.secure_channel(self._target, self._credentials, _OPTIONS)
            )
        return self._channel


def _credentials(address: Address, tls: Tls) -> Any:
    if not address.is_secure:
        return None
    # For its checks: what is wrong with a file would come out as a server that is unavailable.
    tls.context()
    return grpc.ssl_channel_credentials(
        _content(tls.ca), _content(tls.key), _content(tls.certificate)
    )


def _content(path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be used for TLS: {error.strerror}") from error


def _serving_error(error: Any) -> ServingError:
    return error_of(error.code().value[0], error.details() or "")
