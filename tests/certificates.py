"""Keys, certificates and SSLConfig files for tests, made on the spot."""

import json
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Pair:
    """A secret key and the certificates that belong to it, as PEM text."""

    key: str
    certificates: str

    def write(self, folder: Path, name: str) -> tuple[str, str]:
        """Put both into files; the paths of the certificates and the key."""
        certificates, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificates.write_text(self.certificates)
        key.write_text(self.key)
        return str(certificates), str(key)


class Authority:
    """Issues certificates."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self.pem = self._ca.cert_pem.bytes().decode()

    def issue(self, *names: str) -> Pair:
        """For a server on this machine, or for a client of that name."""
        issued = self._ca.issue_cert(*(names or NAMES))
        chain = "".join(blob.bytes().decode() for blob in issued.cert_chain_pems)
        return Pair(issued.private_key_pem.bytes().decode(), chain)


def ssl_config(pair: Pair, client_ca: str = "", *, verifies_clients: bool = False) -> str:
    """The text of an SSLConfig with everything in it."""
    return text_of(pair.key, pair.certificates, client_ca, verifies_clients=verifies_clients)


def text_of(key: str, cert: str, client_ca: str = "", *, verifies_clients: bool = False) -> str:
    """The text of an SSLConfig with these values."""
    fields = {"server_key": key, "server_cert": cert, "custom_ca": client_ca}
    # JSON quotes as the text format does.
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items() if value]
    return "\n".join([*lines, f"client_verify: {str(verifies_clients).lower()}", ""])


def client_context(authority: Authority, *protocols: str) -> ssl.SSLContext:
    """What a client needs that trusts `authority` and offers `protocols`."""
    context = ssl.create_default_context(cadata=authority.pem)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
