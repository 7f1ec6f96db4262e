"""Sends calls over pools of HTTP connections of httpx."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import httpx

from salver import __version__
from salver.client.address import Address
from salver.client.exchange import Answer, Ask, Call
from salver.client.options import Tls
from salver.client.per_loop import PerLoop
from salver.client.rest_deadline import Deadline, is_large, too_late
from salver.errors import (
    Code,
    FailedPrecondition,
    InternalError,
    ServingError,
    Unavailable,
    error_of,
)

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ABORTED,
    412: Code.FAILED_PRECONDITION,
    413: Code.RESOURCE_EXHAUSTED,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
"""The code that a status stands for; where it stands for several, the most usual one."""
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30.0)
_ERROR_NUMBER = re.compile(r"^\[Errno -?\d+\] ")
_MOST_QUOTED = 200
_JSON = {"content-type": "application/json"}
Made = TypeVar("Made", httpx.Client, httpx.AsyncClient)
_Headers = tuple[tuple[str, str], ...]


class RestConnection:
    """A pool that blocks. From any thread; a process that was forked gets a pool of its own."""

    def __init__(self, address: Address, tls: Tls, headers: _Headers) -> None:
        self._url = address.url
        self._make = partial(httpx.Client, **_options(address, tls, headers))
        self._client = _made(self._make)
        self._process = os.getpid()
        self._of_parent: httpx.Client | None = None

    def ask(self, step: Ask) -> Answer:
        """See `Connection.ask`."""
        if self._process != os.getpid():
            # On a connection of both processes, each would read answers to the other. It is not
            # closed here: that would end TLS for the other, too.
            self._of_parent = self._client
            self._client = _made(self._make)
            self._process = os.getpid()
        deadline = Deadline(step.timeout_s, self._url)
        try:
            response = self._client.send(self._request(step.call, deadline), stream=True)
            try:
                body = b"".join(deadline.watched(response.iter_bytes()))
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise _serving_error(error, self._url) from error
        return _answer(response, body)

    def _request(self, call: Call, deadline: Deadline) -> httpx.Request:
        url, extensions = self._url + call.path, deadline.extensions
        if call.body is None or not is_large(call.body):
            return _request(self._client, url, call.body, extensions=extensions)
        length = {"content-length": str(len(call.body))}
        pieces = deadline.pieces_of(call.body)
        return _request(self._client, url, pieces, length, extensions=extensions)

    def close(self) -> None:
        self._client.close()


class AsyncRestConnection:
    """A pool to await, for each loop that awaits it."""

    def __init__(self, address: Address, tls: Tls, headers: _Headers) -> None:
        self._url = address.url
        make = partial(httpx.AsyncClient, **_options(address, tls, headers))
        _made(make)  # What is wrong is told at once.
        self._clients = PerLoop(partial(_made, make))

    async def ask(self, step: Ask) -> Answer:
        """See `Connection.ask`."""
        client = self._clients.get()
        url, body = self._url + step.call.path, step.call.body
        try:
            async with asyncio.timeout(step.timeout_s):
                response = await client.send(_request(client, url, body, timeout=step.timeout_s))
        except TimeoutError as error:
            raise too_late(self._url) from error
        except httpx.HTTPError as error:
            raise _serving_error(error, self._url) from error
        return _answer(response, response.content)

    async def close(self) -> None:
        client = self._clients.pop()
        if client is not None:
            await client.aclose()


def _options(address: Address, tls: Tls, headers: _Headers) -> dict[str, Any]:
    agent = ("user-agent", f"salver-client/{__version__}")
    verify = tls.context() if address.is_secure else False
    return {"verify": verify, "headers": [agent, *headers], "limits": _LIMITS}


def _made(make: Callable[[], Made]) -> Made:
    try:
        return make()
    except (httpx.InvalidURL, ValueError, ImportError) as error:
        # All else was checked before.
        raise FailedPrecondition(
            f"HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY cannot be used: {error}"
        ) from error


def _request(
    client: httpx.Client | httpx.AsyncClient,
    url: str,
    body: bytes | Iterator[bytes] | None,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> httpx.Request:
    method = "GET" if body is None else "POST"
    kind = {} if body is None else _JSON
    return client.build_request(
        method, url, content=body, headers={**kind, **(headers or {})}, **options
    )


def _answer(response: httpx.Response, body: bytes) -> Answer:
    if response.status_code == 200:
        return Answer(body, response.headers)
    code = _CODES.get(response.status_code, Code.UNKNOWN)
    text = body.decode("utf-8", "surrogateescape")
    try:
        message = str(json.loads(text, strict=False)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        quoted = " ".join(text.split())[:_MOST_QUOTED]
        message = f"HTTP {response.status_code} {response.reason_phrase}: {quoted}"
        if code is Code.NOT_FOUND:
            # A model server would have told what it has not found; as gRPC takes a plain 404.
            code = Code.UNIMPLEMENTED
    raise error_of(code, message)


def _serving_error(error: httpx.HTTPError, url: str) -> ServingError:
    if isinstance(error, httpx.TimeoutException):
        return too_late(url)
    if isinstance(error, httpx.DecodingError):
        return InternalError(f"{url}: the answer cannot be unpacked: {error}")
    if isinstance(error, httpx.RemoteProtocolError):
        return Unavailable(f"{url}: {error}; gRPC needs an address without http://")
    if isinstance(error, httpx.ConnectError):
        reason = _ERROR_NUMBER.sub("", str(error))
        return Unavailable(f"{url} cannot be reached: {reason}")
    return Unavailable(f"{url}: {error or type(error).__name__}")
