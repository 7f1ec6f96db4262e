"""Sends calls over pools of HTTP connections of httpx."""

import json
import ssl

import httpx

from salver.client.address import Address
from salver.client.exchange import Answer, Ask
from salver.client.options import Tls
from salver.errors import Code, DeadlineExceeded, ServingError, Unavailable, error_of

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
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
"""The codes that a status stands for, where several have it the most usual one."""
_MOST_QUOTED = 200
_JSON = {"content-type": "application/json"}


class RestConnection:
    """A pool that blocks. From any thread."""

    def __init__(self, address: Address, tls: Tls, headers: tuple[tuple[str, str], ...]) -> None:
        self._url = address.url
        self._client = httpx.Client(verify=_context(address, tls), headers=headers)

    def ask(self, step: Ask) -> Answer:
        """Send and wait.

        Raises:
            ServingError: the server's, or that it cannot be reached.
        """
        try:
            response = self._client.send(_request(self._client, self._url, step))
        except httpx.HTTPError as error:
            raise _serving_error(error, self._url) from error
        return _answer(response)

    def close(self) -> None:
        self._client.close()


class AsyncRestConnection:
    """A pool to await. On one loop."""

    def __init__(self, address: Address, tls: Tls, headers: tuple[tuple[str, str], ...]) -> None:
        self._url = address.url
        self._client = httpx.AsyncClient(verify=_context(address, tls), headers=headers)

    async def ask(self, step: Ask) -> Answer:
        """Send and wait; see `RestConnection.ask`."""
        try:
            response = await self._client.send(_request(self._client, self._url, step))
        except httpx.HTTPError as error:
            raise _serving_error(error, self._url) from error
        return _answer(response)

    async def close(self) -> None:
        await self._client.aclose()


def _context(address: Address, tls: Tls) -> ssl.SSLContext | bool:
    if not address.is_secure:
        return False
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def _request(client: httpx.Client | httpx.AsyncClient, url: str, step: Ask) -> httpx.Request:
    call = step.call
    return client.build_request(
        "GET" if call.body is None else "POST",
        url + call.path,
        content=call.body,
        headers=None if call.body is None else _JSON,
        timeout=step.timeout_s,
    )


def _answer(response: httpx.Response) -> Answer:
    if response.status_code == 200:
        return Answer(response.content, response.headers)
    raise error_of(_CODES.get(response.status_code, Code.UNKNOWN), _message(response))


def _message(response: httpx.Response) -> str:
    try:
        return str(json.loads(response.content.decode("utf-8", "surrogateescape"))["error"])
    except (ValueError, KeyError, TypeError):
        text = " ".join(response.text.split())[:_MOST_QUOTED]
        return f"HTTP {response.status_code} {response.reason_phrase}: {text}"


def _serving_error(error: httpx.HTTPError, url: str) -> ServingError:
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(f"{url} has not answered in time")
    return Unavailable(f"{url}: {error or type(error).__name__}")
