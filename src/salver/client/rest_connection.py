"""Sends calls over pools of HTTP connections of httpx."""

import asyncio
import json
import ssl
import time
from collections.abc import Iterator

import httpx

from salver import __version__
from salver.client.address import Address
from salver.client.exchange import Answer, Ask
from salver.client.options import Tls
from salver.errors import (
    Code,
    DeadlineExceeded,
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
_MOST_QUOTED = 200
_JSON = {"content-type": "application/json"}
_Headers = tuple[tuple[str, str], ...]


class RestConnection:
    """A pool that blocks. From any thread."""

    def __init__(self, address: Address, tls: Tls, headers: _Headers) -> None:
        self._url = address.url
        self._client = httpx.Client(
            verify=_context(address, tls), headers=_with_agent(headers), limits=_LIMITS
        )

    def ask(self, step: Ask) -> Answer:
        """See `Connection.ask`."""
        ends = None if step.timeout_s is None else time.monotonic() + step.timeout_s
        try:
            response = self._client.send(_request(self._client, self._url, step), stream=True)
            try:
                # The library's limits are for one step each, and a slow answer has many.
                body = b"".join(_until(ends, response.iter_bytes(), self._url))
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise _serving_error(error, self._url) from error
        return _answer(response, body)

    def close(self) -> None:
        self._client.close()


class AsyncRestConnection:
    """A pool to await. On one loop."""

    def __init__(self, address: Address, tls: Tls, headers: _Headers) -> None:
        self._url = address.url
        self._client = httpx.AsyncClient(
            verify=_context(address, tls), headers=_with_agent(headers), limits=_LIMITS
        )

    async def ask(self, step: Ask) -> Answer:
        """See `Connection.ask`."""
        try:
            async with asyncio.timeout(step.timeout_s):
                response = await self._client.send(_request(self._client, self._url, step))
        except TimeoutError as error:
            raise _too_late(self._url) from error
        except httpx.HTTPError as error:
            raise _serving_error(error, self._url) from error
        return _answer(response, response.content)

    async def close(self) -> None:
        await self._client.aclose()


def _context(address: Address, tls: Tls) -> ssl.SSLContext | bool:
    return tls.context() if address.is_secure else False


def _with_agent(headers: _Headers) -> list[tuple[str, str]]:
    return [("user-agent", f"salver-client/{__version__}"), *headers]


def _request(client: httpx.Client | httpx.AsyncClient, url: str, step: Ask) -> httpx.Request:
    call = step.call
    return client.build_request(
        "GET" if call.body is None else "POST",
        url + call.path,
        content=call.body,
        headers=None if call.body is None else _JSON,
        timeout=step.timeout_s,
    )


def _until(ends: float | None, pieces: Iterator[bytes], url: str) -> Iterator[bytes]:
    for piece in pieces:
        if ends is not None and time.monotonic() >= ends:
            raise _too_late(url)
        yield piece


def _answer(response: httpx.Response, body: bytes) -> Answer:
    if response.status_code == 200:
        return Answer(body, response.headers)
    code = _CODES.get(response.status_code, Code.UNKNOWN)
    raise error_of(code, _message(response, body))


def _message(response: httpx.Response, body: bytes) -> str:
    text = body.decode("utf-8", "surrogateescape")
    try:
        return str(json.loads(text, strict=False)["error"])
    except (ValueError, KeyError, TypeError):
        quoted = " ".join(text.split())[:_MOST_QUOTED]
        return f"HTTP {response.status_code} {response.reason_phrase}: {quoted}"


def _too_late(url: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"{url} has not answered in time")


def _serving_error(error: httpx.HTTPError, url: str) -> ServingError:
    if isinstance(error, httpx.TimeoutException):
        return _too_late(url)
    if isinstance(error, httpx.DecodingError):
        return InternalError(f"{url}: the answer cannot be unpacked: {error}")
    return Unavailable(f"{url}: {error or type(error).__name__}")
