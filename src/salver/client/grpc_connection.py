"""Sends calls over a channel of grpcio."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from salver import __version__
from salver.client.address import Address
from salver.client.exchange import Answer, Ask
from salver.client.options import Tls
from salver.client.per_loop import PerLoop
from salver.errors import Code, InvalidArgument, ServingError, error_of

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A server that starts again is found within a moment, as over REST.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.primary_user_agent", f"salver-client/{__version__}"),
)
_NOT_CONNECTED = "failed to connect to all addresses"
_NOT_RESOLVED = ("errors resolving", "DNS resolution failed")
_PLACE = re.compile(r"^[A-Z_]+: (\w+:\S+: )?(Failed to connect to remote host: )?")
_Headers = tuple[tuple[str, str], ...]


class GrpcConnection:
    """A channel that blocks. From any thread."""

    def __init__(self, address: Address, tls: Tls, headers: _Headers) -> None:
        self._headers = headers
        self._target = address.authority
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
            raise _serving_error(error, self._target) from error

    def close(self) -> None:
        self._channel.close()


class AsyncGrpcConnection:
    """A channel to await, for each loop that awaits it."""

    def __init__(self, address: Address, tls: Tls, headers: _Headers) -> None:
        self._headers = headers
        self._target = address.authority
        make = partial(_AsyncChannel, address.authority, _credentials(address, tls))
        self._channels = PerLoop(make)

    async def ask(self, step: Ask) -> Answer:
        """See `Connection.ask`."""
        call = step.call
        method = self._channels.get().method(call.path)
        try:
            return Answer(await method(call.body, timeout=step.timeout_s, metadata=self._headers))
        except grpc.RpcError as error:
            raise _serving_error(error, self._target) from error

    async def close(self) -> None:
        channel = self._channels.pop()
        if channel is not None:
            await channel.close()


class _AsyncChannel:
    def __init__(self, target: str, credentials: Any) -> None:
        channel = (
            grpc.aio.insecure_channel(target, _OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, _OPTIONS)
        )
        self._channel: Any = channel
        self._methods: dict[str, Any] = {}

    def method(self, path: str) -> Any:
        found = self._methods.get(path)
        if found is None:
            found = self._methods[path] = self._channel.unary_unary(path)
        return found

    async def close(self) -> None:
        await self._channel.close()


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


def _serving_error(error: Any, authority: str) -> ServingError:
    code, text = error.code().value[0], error.details() or ""
    if code == Code.UNAVAILABLE:
        text = _told_of_connecting(text, authority)
    return error_of(code, text)


def _told_of_connecting(text: str, authority: str) -> str:
    """What grpcio says of its subchannels, in the words of the other connections."""
    if "Trying to connect an http1.x server" in text or "Failed parsing HTTP/2" in text:
        return f"{authority} does not speak gRPC: REST needs http:// before the address"
    if text.startswith(_NOT_CONNECTED):
        reason = _PLACE.sub("", text.rpartition("last error: ")[2])
        return f"{authority} cannot be reached: {reason}"
    if text.startswith(_NOT_RESOLVED):
        return f"{authority} cannot be reached: {text.rpartition(': ')[2].rstrip(']')}"
    return text
