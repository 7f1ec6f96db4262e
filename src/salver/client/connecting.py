"""From an address and options to what sends calls, and to the protocol that makes them.

grpcio and httpx are imported here, when the first client of their kind is made.
"""

import time
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from salver.client.address import Address
from salver.client.exchange import Answer, Ask
from salver.client.grpc_protocol import GrpcProtocol
from salver.client.options import Tls
from salver.client.rest_protocol import VERSION_HEADER, RestProtocol
from salver.errors import FailedPrecondition, InvalidArgument

Inputs = Mapping[str, np.ndarray]
ApiProtocol = GrpcProtocol | RestProtocol


class Connection(Protocol):
    """Sends calls and blocks."""

    def ask(self, step: Ask) -> Answer: ...
    def close(self) -> None: ...


class AsyncConnection(Protocol):
    """Sends calls, to await."""

    async def ask(self, step: Ask) -> Answer: ...
    async def close(self) -> None: ...


def protocol_of(address: Address) -> ApiProtocol:
    """What makes the calls."""
    return GrpcProtocol() if address.is_grpc else RestProtocol(time.monotonic)


def connected(address: Address, tls: Tls | None, api_key: str | None) -> Connection:
    """What sends calls and blocks; it connects with the first one.

    Raises:
        InvalidArgument: the options do not fit the address.
        FailedPrecondition: a package is missing.
    """
    _check(address, tls)
    headers = _headers(address, api_key)
    try:
        if address.is_grpc:
            from salver.client.grpc_connection import GrpcConnection

            return GrpcConnection(address, tls or Tls(), headers)
        from salver.client.rest_connection import RestConnection

        return RestConnection(address, tls or Tls(), headers)
    except ImportError as error:
        raise _missing(error) from error


def connected_async(address: Address, tls: Tls | None, api_key: str | None) -> AsyncConnection:
    """The same to await."""
    _check(address, tls)
    headers = _headers(address, api_key)
    try:
        if address.is_grpc:
            from salver.client.grpc_connection import AsyncGrpcConnection

            return AsyncGrpcConnection(address, tls or Tls(), headers)
        from salver.client.rest_connection import AsyncRestConnection

        return AsyncRestConnection(address, tls or Tls(), headers)
    except ImportError as error:
        raise _missing(error) from error


def _check(address: Address, tls: Tls | None) -> None:
    if tls is not None and not address.is_secure:
        secure = "grpcs" if address.is_grpc else "https"
        raise InvalidArgument(f"tls is given, but {address} goes without it: use {secure}://")


def _headers(address: Address, api_key: str | None) -> tuple[tuple[str, str], ...]:
    key = () if api_key is None else (("authorization", f"Bearer {api_key}"),)
    return key if address.is_grpc else (*key, (VERSION_HEADER, "?"))


def _missing(error: ImportError) -> FailedPrecondition:
    return FailedPrecondition(f"{error}: the client needs salver[client] (pip install)")
