"""Keys and certificates: checked, and made into what OpenSSL works with.

What clients are shown can be replaced while the server runs: each handshake takes the
context that is there when it begins, and a connection keeps the one it began with.
"""

import contextlib
import hashlib
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

from salver.errors import InvalidArgument

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_PROTOCOLS = ["h2", "http/1.1"]


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What an SSLConfig says, as PEM text. The key is secret: it is in no text about this."""

    key: str = field(repr=False)
    certificates: str
    """The server's own and those that lead to its root, in this order."""
    client_ca: str = ""
    verifies_clients: bool = False


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """Material that was checked, ready for handshakes."""

    material: TlsMaterial
    context: ssl.SSLContext
    paths: tuple[str, ...]
    """The files that it was read from, the configuration first."""

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint of the server's own certificate, as openssl prints it."""
        match = _CERTIFICATE.search(self.material.certificates)
        assert match is not None, "checked before"
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(match[0])).digest().hex(":").upper()


@dataclass(eq=False, slots=True)
class ServerIdentity:
    """Whom a port shows itself as, and whom it lets in, by one configuration file. Loop only."""

    path: str
    credentials: ServerCredentials
    """Those of the next handshake; may be replaced at any time."""


def server_credentials(material: TlsMaterial, paths: tuple[str, ...]) -> ServerCredentials:
    """What the server's side of handshakes needs, TLS 1.2 and later.

    Raises:
        InvalidArgument: what is wrong with the material, by the names of SSLConfig's fields.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that asks for handshake after handshake costs the server more than itself.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_PROTOCOLS)
    _load_own(context, material)
    ca = _certificates("custom_ca", material.client_ca) if material.client_ca else ""
    if material.verifies_clients:
        if not ca:
            raise InvalidArgument(
                "client_verify needs custom_ca: the certificates of those who issue the clients'"
            )
        context.load_verify_locations(cadata=ca)
        context.verify_mode = ssl.CERT_REQUIRED
        # As for the original: an intermediate authority may be trusted without its root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return ServerCredentials(material, context, paths)


def _load_own(context: ssl.SSLContext, material: TlsMaterial) -> None:
    for name, text in (("server_key", material.key), ("server_cert", material.certificates)):
        if not text:
            raise InvalidArgument(f"{name} is missing")
    _certificates("server_cert", material.certificates)
    try:
        with _in_memory(material.certificates) as chain, _in_memory(material.key) as key:
            context.load_cert_chain(chain, key, password=_refuse_encrypted_key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidArgument("server_key does not belong to server_cert") from error
        if error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            raise InvalidArgument(f"server_cert is too weak ({error.reason})") from error
        raise InvalidArgument("server_key is no private key in PEM format") from error


def _refuse_encrypted_key() -> str:
    raise InvalidArgument("server_key is encrypted; give the key without a passphrase")


def _certificates(name: str, text: str) -> str:
    """The certificates in some PEM text and nothing else.

    Raises:
        InvalidArgument: there is none, or one that cannot be read.
    """
    found = _CERTIFICATE.findall(text)
    if not found:
        raise InvalidArgument(f"{name} holds no certificate in PEM format")
    for number, certificate in enumerate(found, 1):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=certificate)
        except (ssl.SSLError, ValueError) as error:
            which = f"certificate {number} of {name}" if len(found) > 1 else name
            raise InvalidArgument(f"{which} is damaged: it cannot be read") from error
    return "\n".join(found)


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A path under which OpenSSL, which reads only files, finds `text`; it is on no disk."""
    with open(os.memfd_create("pem"), "wb") as file:
        file.write(text.encode())
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
