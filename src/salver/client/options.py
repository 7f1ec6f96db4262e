"""What a user chooses once for all calls of a client."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from salver.errors import InvalidArgument

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificates, each the path of a PEM file."""

    ca: str | None = None
    """Who may have issued the server's certificate; None: whom this machine trusts."""
    certificate: str | None = None
    """The client's own, for servers that ask for one."""
    key: str | None = field(default=None, repr=False)
    """The secret key of `certificate`, without a password."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgument("a client's certificate and its key go together: give both")

    def context(self) -> ssl.SSLContext:
        """The files, read and checked.

        Raises:
            InvalidArgument: one of them is missing, or is not what it should be.
        """
        context = _read(self.ca, lambda: ssl.create_default_context(cafile=self.ca))
        if self.certificate is not None:
            # With a password, because OpenSSL would ask the terminal for one.
            load = partial(context.load_cert_chain, self.certificate, self.key, "")
            _read(f"{self.certificate} with its key", load)
        return context


def _read(what: str | None, load: Callable[[], Loaded]) -> Loaded:
    try:
        return load()
    except OSError as error:
        raise InvalidArgument(
            f"{what} cannot be used for TLS: {error.strerror or error}"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When a call that failed is made again: only what reads, only if the server was UNAVAILABLE.

    The pause before try n+1 is random, between nothing and
    `first_pause_s * factor ** (n - 1)`, and never longer than `longest_pause_s`.
    """

    attempts: int = 4
    """Tries of one call, the first included; 1: none is made again."""
    first_pause_s: float = 0.1
    factor: float = 2.0
    longest_pause_s: float = 5.0
    budget: int = 100
    """Failures that all calls together may have in a row; each ten that succeed pay for one. While
    more than half of them are used up, nothing is tried again: a server that is down for long
    does not get a multiple of its load."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidArgument(f"attempts is {self.attempts}, and at least 1 try must be made")

    def longest_before(self, attempt: int) -> float:
        """The upper bound of the pause before the try of this number; the first is 1."""
        return min(self.longest_pause_s, self.first_pause_s * self.factor ** (attempt - 2))


class RetryBudget:
    """What is left of `Retries.budget`. Source: gRPC's retry throttling (gRFC A6)."""

    def __init__(self, retries: Retries) -> None:
        self._most = float(retries.budget)
        self._left = self._most

    def succeeded(self) -> None:
        # Threads may lose an update to each other: it is a rule of thumb.
        if self._left < self._most:
            self._left = min(self._most, self._left + 0.1)

    def failed(self) -> bool:
        """Count a failure; whether another try is affordable."""
        self._left = max(0.0, self._left - 1)
        return self._left > self._most / 2
