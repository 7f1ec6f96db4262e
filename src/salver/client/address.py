"""Where a server is, and which protocol it is asked in, from what the user wrote."""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from salver.errors import InvalidArgument

GRPC_PORT = 8500
REST_PORT = 8501

_SCHEMES = {
    # Whether it is gRPC, and whether it goes over TLS.
    "grpc": (True, False),
    "grpcs": (True, True),
    "http": (False, False),
    "https": (False, True),
}


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address, understood."""

    is_grpc: bool
    is_secure: bool
    host: str
    """An IPv6 address without its brackets."""
    port: int
    prefix: str = ""
    """What stands before `/v1/models` in REST paths, where a proxy wants it: `/serving`."""

    @property
    def authority(self) -> str:
        """`host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base of REST URLs."""
        return f"http{'s' * self.is_secure}://{self.authority}{self.prefix}"

    def __str__(self) -> str:
        scheme = "grpc" if self.is_grpc else "http"
        return f"{scheme}{'s' * self.is_secure}://{self.authority}{self.prefix}"


def address_of(text: str) -> Address:
    """Understand `localhost:8500`, `grpc://`, `grpcs://`, `http://` or `https://` addresses.

    Without a scheme it is gRPC; without a port it is 8500 for gRPC, 8501 for `http`, and 443
    for `https` and `grpcs`.

    Raises:
        InvalidArgument: it is no such address.
    """
    parts, port = _split(text if "://" in text else f"grpc://{text}", text)
    if parts.scheme not in _SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise InvalidArgument(f"the address {text!r} begins with none of {known}")
    is_grpc, is_secure = _SCHEMES[parts.scheme]
    prefix = parts.path.rstrip("/")
    if parts.username is not None or parts.password is not None:
        raise InvalidArgument("an address has no user and password; pass api_key instead")
    if not parts.hostname or parts.query or parts.fragment or (is_grpc and prefix):
        raise InvalidArgument(f"{text!r} is no address of a server, such as localhost:8500")
    if not _is_name(parts.hostname):
        raise InvalidArgument(f"{text!r} is no address of a server: {parts.hostname!r} is no name")
    if port is None:
        port = 443 if is_secure else GRPC_PORT if is_grpc else REST_PORT
    return Address(is_grpc, is_secure, parts.hostname, port, prefix)


def _is_name(host: str) -> bool:
    """Whether libraries can look it up; what they raise otherwise is none of their usual errors."""
    if ":" in host:
        return True
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        return False
    return name.isprintable() and " " not in name


def _split(text: str, given: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(text)
        return parts, parts.port
    except ValueError as error:
        raise InvalidArgument(f"{given!r} is no address of a server: {error}") from error
