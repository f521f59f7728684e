"""What stands in a certificate, and who showed one: the client, we, a server.

Facts: a name in one line (`/C=FR/CN=a`) is how OpenSSL wrote names for long, and what HAProxy's users compare with. Versions are counted
from 1 there, and moments written as ASN.1 has them (RFC 5280 4.1.2.5).

Rules: a certificate is read when somebody asks, and those that were read last are kept. What cannot be read is empty.

Not here: verification (`net/tls.py`).
"""

import hashlib
from typing import Any, Final

from vestibule.exchange import Exchange
from vestibule.plan.expr import CONNECTION, EXCHANGE, Node, TruthNode

_KNOWN_MOST: Final = 64

# Short names that OpenSSL has for types of names, where RFC 4514 has none.
_SHORT: Final[dict[str, str]] = {
    "1.2.840.113549.1.9.1": "emailAddress",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.12": "title",
    "2.5.4.42": "GN",
}

# OpenSSL's long names of signatures and keys, by the names that the library of certificates has.
_SIGNATURES: Final[dict[str, str]] = {
    "1.2.840.113549.1.1.5": "RSA-SHA1",
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.113549.1.1.11": "RSA-SHA256",
    "1.2.840.113549.1.1.12": "RSA-SHA384",
    "1.2.840.113549.1.1.13": "RSA-SHA512",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
    "1.3.101.112": "ED25519",
    "1.3.101.113": "ED448",
}
_KEYS: Final = (
    ("rsa", b"rsaEncryption"),
    ("ecpublic", b"id-ecPublicKey"),
    ("elliptic", b"id-ecPublicKey"),
    ("ed25519", b"ED25519"),
    ("ed448", b"ED448"),
)

PARTS: Final = (b"serial", b"sha1", b"sha256", b"not_before", b"not_after", b"signature", b"key", b"version")


def is_part(part: bytes) -> bool:
    """Tell whether a certificate has such a part."""
    whose, _, kind = part.partition(b".")
    return part in PARTS or (whose in (b"subject", b"issuer") and b"." not in kind)


_known: Final[dict[bytes, Any]] = {}


def _certificate(der: bytes) -> Any:
    """Return a certificate parsed; None if it cannot be."""
    found = _known.get(der)
    if found is None:
        from cryptography import x509  # large, and needed only by who looks into certificates

        try:
            found = x509.load_der_x509_certificate(der)
        except (ValueError, x509.InvalidVersion):
            return None
        if len(_known) >= _KNOWN_MOST:
            _known.clear()
        _known[der] = found
    return found


def part_of(der: bytes, part: bytes) -> bytes:
    """Return a part of a certificate (DER)."""
    if part == b"sha1":
        return hashlib.sha1(der, usedforsecurity=False).digest()
    if part == b"sha256":
        return hashlib.sha256(der).digest()
    found = _certificate(der)
    if found is None:
        return b""
    try:
        return _read(found, part)
    except (ValueError, AttributeError, OverflowError):
        return b""  # OpenSSL is more tolerant


def _read(found: Any, part: bytes) -> bytes:
    whose, _, kind = part.partition(b".")
    if whose in (b"subject", b"issuer"):
        name = found.subject if whose == b"subject" else found.issuer
        return _named(name, kind.decode("latin-1")) if kind else _line(name)
    if part == b"serial":
        number = int(found.serial_number)
        return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    if part == b"not_before":
        return _moment(found.not_valid_before_utc)
    if part == b"not_after":
        return _moment(found.not_valid_after_utc)
    if part == b"version":
        return b"%d" % (found.version.value + 1)
    if part == b"signature":
        return _SIGNATURES.get(str(found.signature_algorithm_oid.dotted_string), "").encode()
    return _key(found)


def _key(found: Any) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        name = type(found.public_key()).__name__.lower()
    except UnsupportedAlgorithm:
        return b""
    for kind, text in _KEYS:
        if kind in name:
            return text
    return b""


def _short(attribute: Any) -> str:
    dotted = str(attribute.oid.dotted_string)
    return _SHORT.get(dotted) or str(attribute.rfc4514_attribute_name)


def _line(name: Any) -> bytes:
    """Write a name in one line, its parts in the order they stand in."""
    return "".join([f"/{_short(each)}={each.value}" for each in name]).encode("utf-8", "replace")


def _named(name: Any, kind: str) -> bytes:
    """Return the first value of a type in a name."""
    for each in name:
        if _short(each).lower() == kind.lower():
            return str(each.value).encode("utf-8", "replace")
    return b""


def _moment(at: Any) -> bytes:
    year = f"{at:%y}" if 1950 <= at.year < 2050 else f"{at:%Y}"
    return f"{year}{at:%m%d%H%M%S}Z".encode()


class CertificatePart(Node):
    """A part of a certificate (DER) that another node yields."""

    def __init__(self, inner: Node, part: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._part = part

    def find(self, ex: Exchange) -> bytes | None:
        der = self._inner.find(ex)
        return part_of(der, self._part) if der else None


class ClientDer(Node):
    """The certificate that the client showed."""

    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.der


class OwnDer(Node):
    """The certificate that we showed to the client."""

    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.own_certificate()


class ServerDer(Node):
    """The certificate that the server showed."""

    def find(self, ex: Exchange) -> bytes | None:
        secured = None if ex.up is None else ex.up.secured()
        return None if secured is None else secured.peer_certificate()


class ServerTls(TruthNode):
    def test(self, ex: Exchange) -> bool:
        return ex.up is not None and ex.up.secured() is not None


class ServerTlsResumed(TruthNode):
    def test(self, ex: Exchange) -> bool:
        secured = None if ex.up is None else ex.up.secured()
        return secured is not None and secured.is_resumed()


class ServerTlsVersion(Node):
    def find(self, ex: Exchange) -> bytes | None:
        secured = None if ex.up is None else ex.up.secured()
        return None if secured is None else secured.version()


class ServerTlsCipher(Node):
    def find(self, ex: Exchange) -> bytes | None:
        secured = None if ex.up is None else ex.up.secured()
        return None if secured is None else secured.cipher()


class ServerTlsProtocol(Node):
    def find(self, ex: Exchange) -> bytes | None:
        secured = None if ex.up is None else ex.up.secured()
        return None if secured is None else secured.protocol()


NODES: Final[dict[str, Node]] = {
    "tls_client_der": ClientDer(CONNECTION),
    "tls_own_der": OwnDer(CONNECTION),
    "upstream_tls": ServerTls(EXCHANGE),
    "upstream_tls_der": ServerDer(EXCHANGE),
    "upstream_tls_resumed": ServerTlsResumed(EXCHANGE),
    "upstream_tls_version": ServerTlsVersion(EXCHANGE),
    "upstream_tls_cipher": ServerTlsCipher(EXCHANGE),
    "upstream_tls_protocol": ServerTlsProtocol(EXCHANGE),
}
