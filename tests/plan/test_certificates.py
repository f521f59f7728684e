"""Parts of certificates as OpenSSL and HAProxy write them."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from vestibule.contract import LogLine, Plan
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.http.fields import EMPTY
from vestibule.http.head import ResponseHead
from vestibule.net.peer import PeerCertificate, Secured
from vestibule.plan.certificates import NODES, CertificatePart, is_part, part_of
from vestibule.plan.expr import Const

from .fakes import FakeStream, FakeUpstream, idle, request, respond

NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "First"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Second"),
        x509.NameAttribute(NameOID.COMMON_NAME, "anna"),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "anna@example.net"),
    ]
)
ISSUER = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "above")])


def certificate(key: object, year: int = 2049) -> bytes:
    start = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    end = start.replace(year=year)
    assert isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey))
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(ISSUER).serial_number(0x1234).public_key(key.public_key())
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = builder.not_valid_before(start).not_valid_after(end).sign(key, digest)
    return made.public_bytes(serialization.Encoding.DER)


EC = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (b"subject", b"/C=FR/O=First/O=Second/CN=anna/emailAddress=anna@example.net"),
        (b"issuer", b"/CN=above"),
        (b"subject.O", b"First"),
        (b"subject.cn", b"anna"),
        (b"issuer.O", b""),
        (b"serial", b"\x12\x34"),
        (b"not_before", b"260102030405Z"),
        (b"not_after", b"490102030405Z"),
        (b"version", b"3"),
    ],
)
def test_parts(part: bytes, text: bytes) -> None:
    assert is_part(part)
    assert part_of(certificate(EC), part) == text


def test_a_year_that_two_digits_cannot_tell_has_four() -> None:
    assert part_of(certificate(EC, 2050), b"not_after") == b"20500102030405Z"


@pytest.mark.parametrize(
    ("key", "kind", "signature"),
    [
        (EC, b"id-ecPublicKey", b"ecdsa-with-SHA256"),
        (ed25519.Ed25519PrivateKey.generate(), b"ED25519", b"ED25519"),
        (rsa.generate_private_key(65537, 2048), b"rsaEncryption", b"RSA-SHA256"),
    ],
)
def test_keys_and_signatures(key: object, kind: bytes, signature: bytes) -> None:
    der = certificate(key)
    assert (part_of(der, b"key"), part_of(der, b"signature")) == (kind, signature)


def test_what_is_no_certificate_has_no_parts_but_digests() -> None:
    assert part_of(b"none", b"subject") == b""
    assert len(part_of(b"none", b"sha1")) == 20
    assert len(part_of(b"none", b"sha256")) == 32


def test_a_node_yields_nothing_without_a_certificate() -> None:
    assert CertificatePart(Const(b""), b"subject").find(idle()) is None
    assert CertificatePart(Const(certificate(EC)), b"issuer").text(idle()) == b"/CN=above"


@pytest.mark.parametrize("part", [b"", b"name", b"subject.a.b"])
def test_what_is_no_part(part: bytes) -> None:
    assert not is_part(part)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("a003020102", "a003020101", b"subject"),  # version 2, which nobody makes
        ("02021234", "02029234", b"serial"),  # a negative number
        ("2a8648ce3d030107", "2a8648ce3d030177", b"key"),  # a curve, and an algorithm, that there is not
        ("2a8648ce3d0201", "2a8648ce3d0277", b"key"),
    ],
)
def test_what_the_library_does_not_read_is_empty(before: str, after: str, part: bytes) -> None:
    """A client may show anything where it is not verified, and OpenSSL takes these."""
    der = certificate(EC)
    odd = der.replace(bytes.fromhex(before), bytes.fromhex(after), 1)
    assert odd != der and part_of(odd, part) == b""
    assert PeerCertificate(odd, 0).subject() == (b"" if part == b"subject" else PeerCertificate(der, 0).subject())


class Spoken(Secured):
    """What TLS has settled, without TLS."""

    def __init__(self) -> None:
        pass

    def version(self) -> bytes:
        return b"TLSv1.3"


class TlsStream(FakeStream):
    def secured(self) -> Secured | None:
        return None if self.released or self.faults else Spoken()


class TlsUpstream(FakeUpstream):
    def start(self, ex: Exchange) -> None:
        self.stream = TlsStream()
        ex.connected(self.stream, self.name)


class Line(LogLine):
    def __init__(self) -> None:
        self.told: list[bytes | None] = []

    def write(self, ex: Exchange) -> None:
        self.told.append(NODES["upstream_tls_version"].find(ex))


@pytest.mark.interpreted_only  # what TLS has settled is made without a connection
def test_a_log_knows_what_was_spoken_with_the_server() -> None:
    line, upstream = Line(), TlsUpstream()
    ex, down = request(Plan("p", upstream, log=[line]))
    respond(ex, 200, body=b"a")
    assert (line.told, ex.up, upstream.stream.released, down.released) == ([b"TLSv1.3"], None, 1, 1)
    ex, _ = request(Plan("p", upstream, log=[line]))
    ex.on_response(ResponseHead(200, b"", EMPTY), False)
    ex.hang_up(Fault(CLIENT_GONE))
    assert (line.told, ex.up, len(upstream.stream.faults)) == ([b"TLSv1.3"] * 2, None, 1)
