import contextlib
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from salver.errors import InvalidArgument
from salver.transport.tls import ServerCredentials, TlsMaterial, server_credentials
from tests.certificates import Authority, Pair, client_context

AUTHORITY = Authority()
PAIR = AUTHORITY.issue()
OTHER = AUTHORITY.issue()
HEAD, TAIL = "-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----\n"


def credentials(pair: Pair = PAIR, ca: str = "", *, verifies: bool = False) -> ServerCredentials:
    return server_credentials(TlsMaterial(pair.key, pair.certificates, ca, verifies), ("f",))


def key_pem(key: Any, passphrase: bytes = b"") -> str:
    encryption: Any = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    return pem.decode()


def encrypted_key() -> str:
    key = serialization.load_pem_private_key(PAIR.key.encode(), password=None)
    return key_pem(key, b"open sesame")


def weak_pair() -> Pair:
    """A key of 1024 bits, and its certificate, issued by itself."""
    key = rsa.generate_private_key(65537, 1024)
    certificate = x509.load_pem_x509_certificate(PAIR.certificates.encode())
    issued = (
        x509.CertificateBuilder(certificate.subject, certificate.subject, key.public_key())
        .serial_number(1)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    return Pair(key_pem(key), issued.public_bytes(serialization.Encoding.PEM).decode())


WEAK = weak_pair()


def shaken(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection after the handshake; raises what ends it."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(up, down, server_side=True),
        client.wrap_bio(down, up, server_hostname="localhost", session=session),
    )
    waiting = True
    while waiting:
        waiting = False
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
    return ends


@pytest.mark.parametrize(
    ("key", "certificates", "message"),
    [
        pytest.param("", PAIR.certificates, "server_key is missing", id="no key"),
        pytest.param(PAIR.key, "", "server_cert is missing", id="no certificate"),
        pytest.param(
            OTHER.key,
            PAIR.certificates,
            "server_key does not belong to server_cert",
            id="a key of another certificate",
        ),
        pytest.param(
            encrypted_key(),
            PAIR.certificates,
            "server_key is encrypted; give the key without a passphrase",
            id="an encrypted key",
        ),
        pytest.param(
            PAIR.key[:80],
            PAIR.certificates,
            "server_key is no private key in PEM format",
            id="half a key",
        ),
        pytest.param(
            PAIR.certificates,
            PAIR.certificates,
            "server_key is no private key in PEM format",
            id="a certificate for a key",
        ),
        pytest.param(
            PAIR.key, PAIR.key, "server_cert holds no certificate in PEM format", id="key twice"
        ),
        pytest.param(
            PAIR.key,
            f"{HEAD}AAAA{TAIL}",
            "server_cert is damaged: it cannot be read",
            id="a certificate of nothing",
        ),
        pytest.param(
            PAIR.key,
            f"{HEAD}A{TAIL}",
            "server_cert is damaged: it cannot be read",
            id="a certificate that is no base64",
        ),
        pytest.param(
            PAIR.key,
            f"{PAIR.certificates}{HEAD}AAAA{TAIL}",
            "certificate 2 of server_cert is damaged: it cannot be read",
            id="a damaged certificate in the chain",
        ),
        pytest.param(
            WEAK.key,
            WEAK.certificates,
            "server_cert is too weak (EE_KEY_TOO_SMALL)",
            id="a key that is too short",
        ),
    ],
)
def test_material_that_cannot_be_used_is_refused_with_what_is_wrong(
    key: str, certificates: str, message: str
) -> None:
    with pytest.raises(InvalidArgument) as raised:
        credentials(Pair(key, certificates))
    assert raised.value.message == message


@pytest.mark.parametrize(
    ("ca", "verifies", "message"),
    [
        pytest.param(
            "",
            True,
            "client_verify needs custom_ca: the certificates of those who issue the clients'",
            id="nobody to trust",
        ),
        pytest.param("x", True, "custom_ca holds no certificate in PEM format", id="no PEM"),
        pytest.param("x", False, "custom_ca holds no certificate in PEM format", id="unused"),
        pytest.param(
            f"{AUTHORITY.pem}{HEAD}AAAA{TAIL}",
            True,
            "certificate 2 of custom_ca is damaged: it cannot be read",
            id="one of two is damaged",
        ),
    ],
)
def test_authorities_that_cannot_be_used_are_refused(ca: str, verifies: bool, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        credentials(ca=ca, verifies=verifies)
    assert raised.value.message == message


def test_text_around_certificates_and_keys_does_no_harm() -> None:
    pair = Pair(
        f"Bag Attributes: grün\n{PAIR.key}", f"Subject: müller\n{PAIR.certificates}\nthe end\n"
    )
    assert credentials(pair, f"# Prüfer\n{AUTHORITY.pem}", verifies=True)


def test_the_key_is_in_no_text_about_the_material() -> None:
    line = PAIR.key.splitlines()[1]
    for text in (repr(credentials()), repr(credentials().material)):
        assert line not in text
        assert PAIR.certificates.splitlines()[1] in text


def open_files() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # That of the listing itself.
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


def test_the_key_is_on_no_disk_and_in_no_file_that_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, chain: str, key: str, **how: Any) -> None:
        opened.extend(os.readlink(path) for path in (chain, key))
        load(self, chain, key, **how)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    credentials(ca=AUTHORITY.pem, verifies=True)
    with pytest.raises(InvalidArgument):
        credentials(Pair(OTHER.key, PAIR.certificates))
    assert opened == ["/memfd:pem (deleted)"] * 4
    assert not [each for each in open_files() if each.startswith("/memfd:pem")]


def test_the_fingerprint_is_that_of_the_servers_own_certificate() -> None:
    certificate = x509.load_pem_x509_certificate(PAIR.certificates.encode())
    chain = Pair(PAIR.key, f"text before\n{PAIR.certificates}{AUTHORITY.pem}")
    expected = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    assert credentials(chain).fingerprint == expected


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["h2"], "h2"),
        (["http/1.1"], "http/1.1"),
        (["http/1.1", "h2"], "h2"),
        (["grpc-exp", "h2"], "h2"),
        (["spdy/3"], None),
        ([], None),
    ],
)
def test_http2_is_agreed_upon_where_the_client_offers_it(
    offered: list[str], chosen: str | None
) -> None:
    _, client = shaken(credentials().context, client_context(AUTHORITY, *offered))
    assert client.selected_alpn_protocol() == chosen


def test_a_client_without_tls_1_2_is_refused() -> None:
    old = client_context(AUTHORITY)
    old.set_ciphers("ALL:@SECLEVEL=0")
    for end in ("minimum_version", "maximum_version"):
        with pytest.warns(DeprecationWarning, match=r"TLSv1_1 is deprecated"):
            setattr(old, end, ssl.TLSVersion.TLSv1_1)
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shaken(credentials().context, old)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_session_of_a_verified_client_goes_on_until_the_credentials_change(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    old, new = (credentials(ca=AUTHORITY.pem, verifies=True).context for _ in "12")
    client = client_context(AUTHORITY)
    client.minimum_version = client.maximum_version = version
    client.load_cert_chain(*AUTHORITY.issue("somebody").write(tmp_path, "client"))
    server_end, client_end = shaken(old, client)
    server_end.write(b"behind the tickets")
    assert client_end.read() == b"behind the tickets"
    assert shaken(old, client, client_end.session)[1].session_reused
    assert not shaken(new, client, client_end.session)[1].session_reused


@pytest.mark.parametrize(
    ("client", "is_welcome"),
    [
        pytest.param(AUTHORITY.issue("somebody"), True, id="of the authority"),
        pytest.param(Authority().issue("somebody"), False, id="of another authority"),
        pytest.param(None, False, id="without a certificate"),
    ],
)
def test_clients_are_verified_where_that_was_asked_for(
    tmp_path: Path, client: Pair | None, is_welcome: bool
) -> None:
    context = client_context(AUTHORITY)
    if client is not None:
        context.load_cert_chain(*client.write(tmp_path, "client"))
    strict = credentials(ca=AUTHORITY.pem, verifies=True).context
    if is_welcome:
        assert shaken(strict, context)[0].getpeercert()
    else:
        with pytest.raises(ssl.SSLError):
            shaken(strict, context)
    # Nobody is asked otherwise.
    assert shaken(credentials(ca=AUTHORITY.pem).context, context)[0].getpeercert() is None


def test_an_authority_may_be_trusted_without_the_one_above_it(tmp_path: Path) -> None:
    middle = trustme.CA().create_child_ca()
    issued = middle.issue_cert("somebody")
    key, certificate = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    context = client_context(AUTHORITY)
    pair = Pair(key.decode(), certificate.decode())
    context.load_cert_chain(*pair.write(tmp_path, "client"))
    server = credentials(ca=middle.cert_pem.bytes().decode(), verifies=True).context
    assert shaken(server, context)[0].getpeercert()
