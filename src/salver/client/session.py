"""What both kinds of client have in common: everything but the waiting."""

import math
import time
from dataclasses import dataclass, field

from salver.client.address import Address, address_of
from salver.client.exchange import Operation, Result, Steps, steps_of
from salver.client.grpc_protocol import GrpcProtocol
from salver.client.options import Retries, RetryBudget, Tls
from salver.client.rest_protocol import VERSION_HEADER, RestProtocol
from salver.errors import InvalidArgument

_LONGEST_S = 1e9
"""What the libraries below can count; more is no limit."""
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A server, how it is asked, and the options of the user. From any thread."""

    address: Address
    protocol: GrpcProtocol | RestProtocol
    tls: Tls
    headers: Headers = field(repr=False)
    """What goes with every call: the API key, for one."""
    timeout_s: float | None
    retries: Retries
    budget: RetryBudget

    def steps(self, operation: Operation[Result], timeout_s: float | None) -> Steps[Result]:
        """The operation with a deadline, by default the client's, and with retries."""
        limit = self.timeout_s if timeout_s is None else _limit(timeout_s)
        return steps_of(operation, self.retries, self.budget, limit, time.monotonic)


def session_of(
    address: str,
    timeout_s: float,
    tls: Tls | None,
    api_key: str | None,
    api_key_header: str,
    retries: Retries,
) -> Session:
    """Check and gather what the user gave.

    Raises:
        InvalidArgument: it does not fit together.
    """
    server = address_of(address)
    if tls is not None and not server.is_secure:
        secure = "grpcs" if server.is_grpc else "https"
        raise InvalidArgument(f"tls is given, but {server} goes without it: use {secure}://")
    headers: Headers = () if api_key is None else (_key_header(api_key, api_key_header),)
    if not server.is_grpc:
        headers = (*headers, (VERSION_HEADER, "?"))
    return Session(
        address=server,
        protocol=GrpcProtocol(time.monotonic) if server.is_grpc else RestProtocol(time.monotonic),
        tls=tls or Tls(),
        headers=headers,
        timeout_s=_limit(timeout_s),
        retries=retries,
        budget=RetryBudget(retries),
    )


def _limit(timeout_s: float) -> float | None:
    if math.isnan(timeout_s):
        raise InvalidArgument("the timeout is no number")
    return None if timeout_s > _LONGEST_S else timeout_s


def _key_header(key: str, header: str) -> tuple[str, str]:
    # Checked here, because libraries quote in their errors what they cannot send.
    if not key or not (key.isascii() and key.isprintable()) or key != key.strip():
        raise InvalidArgument("the API key is empty, or has characters that no header can carry")
    name = header.lower()
    if not name.replace("-", "").isalnum() or not name.isascii():
        raise InvalidArgument(f"{header!r} is no name of a header")
    return name, f"Bearer {key}" if name == "authorization" else key
