"""SSLConfig: the keys and certificates of the ports.

Its fields hold PEM text, as for TensorFlow Serving; or, which PEM text never is, the
absolute path of a file with such text.
"""

import logging
from dataclasses import dataclass

from salver.config.flags import Flags
from salver.config.text_file import NoSuchMessage, read_file, read_text_file
from salver.errors import InvalidArgument, ServingError
from salver.transport.door import Door
from salver.transport.tls import (
    ServerCredentials,
    ServerIdentity,
    TlsMaterial,
    server_credentials,
)

logger = logging.getLogger(__name__)

_MESSAGE = "tensorflow.serving.SSLConfig"
_PEM = "-----BEGIN"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Whom the ports show themselves as; None: in the clear. One file is one identity."""

    grpc: ServerIdentity | None = None
    rest: ServerIdentity | None = None

    @property
    def identities(self) -> tuple[ServerIdentity, ...]:
        return tuple({each.path: each for each in (self.grpc, self.rest) if each}.values())

    @property
    def grpc_door(self) -> Door:
        """The rules of the gRPC port and the UNIX socket."""
        return Door(self.grpc, answers_http=self.rest in (None, self.grpc))

    @property
    def rest_door(self) -> Door:
        """The rules of the REST port, if it is one of its own."""
        return Door(self.rest, answers_grpc=self.grpc in (None, self.rest))


def check_tls_flags(flags: Flags) -> None:
    """Refuse flags that contradict each other.

    Raises:
        InvalidArgument: says which.
    """
    rest = flags.rest_api_ssl_config_file
    if rest and not flags.rest_api_port:
        raise InvalidArgument("--rest_api_ssl_config_file needs --rest_api_port")
    if rest and flags.rest_api_port == flags.port and rest != flags.ssl_config_file:
        raise InvalidArgument(
            f"HTTP and gRPC share port {flags.port}: "
            "--rest_api_ssl_config_file and --ssl_config_file must name the same file"
        )


def tls_settings(flags: Flags) -> TlsSettings:
    """The identities that the files of the flags describe.

    Raises:
        ServingError: a file cannot be read, or what it says cannot be used.
    """
    paths = (flags.ssl_config_file, flags.rest_api_ssl_config_file)
    try:
        identities = {path: ServerIdentity(path, read_tls_file(path)) for path in paths if path}
    except NoSuchMessage as error:
        logger.error("%s", error.place)
        raise
    grpc, rest = (identities.get(path) for path in paths)
    return TlsSettings(grpc, rest)


def read_tls_file(path: str) -> ServerCredentials:
    """What an SSLConfig and the files that it refers to say. No error quotes a key.

    Raises:
        ServingError: a file cannot be read, or is not what it should be; names the file.
    """
    config = read_text_file(path, _MESSAGE, is_secret=True)
    paths = [path]
    try:
        key, certificates, client_ca = (
            _pem_text(name, getattr(config, name), paths)
            for name in ("server_key", "server_cert", "custom_ca")
        )
        return server_credentials(
            TlsMaterial(key, certificates, client_ca, config.client_verify), tuple(paths)
        )
    except ServingError as error:
        raise type(error)(f"{path}: {error.message}") from error


def _pem_text(field: str, value: str, paths: list[str]) -> str:
    """The PEM text of a field; the file it comes from, if it does, is added to `paths`."""
    if not value or _PEM in value:
        return value
    if not value.startswith("/") or "\n" in value:
        raise InvalidArgument(
            f"{field} is neither PEM text, which has {_PEM} in it, nor the absolute path of a file"
        )
    paths.append(value)
    try:
        return read_file(value).decode(errors="replace")
    except ServingError as error:
        raise type(error)(f"{field}: {error.message}") from error
