"""What a user chooses once for all calls of a client."""

from dataclasses import dataclass, field

from salver.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificates, each the path of a PEM file."""

    ca: str | None = None
    """Who may have issued the server's certificate; None: whom this machine trusts."""
    certificate: str | None = None
    """The client's own, for servers that ask for one."""
    key: str | None = field(default=None, repr=False)
    """The secret key of `certificate`."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgument("a client's certificate and its key go together: pass both")


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

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidArgument(f"attempts is {self.attempts}, and at least 1 try must be made")

    def longest_before(self, attempt: int) -> float:
        """The upper bound of the pause before the try of this number; the first is 1."""
        return min(self.longest_pause_s, self.first_pause_s * self.factor ** (attempt - 2))
