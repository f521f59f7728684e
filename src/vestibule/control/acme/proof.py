"""Proofs that a name is ours: what each kind of challenge wants to see (RFC 8555 section 8, RFC 8737).

Facts: every proof is made of the token and the account's key. HTTP-01 shows it below `/.well-known/acme-challenge/`; TLS-ALPN-01 in a
certificate of its own for whoever offers `acme-tls/1`; DNS-01 as a digest in a TXT record, of which several may stand at one name.

Not here: showing them: `dns.py`, and the workers, who are told by the link.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from vestibule.link.messages import KeyPair
from vestibule.model.acme import Challenge

_ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"


@dataclass(frozen=True, slots=True)
class Proof:
    """What must be seen for one name. `name` is without `*.`."""

    kind: Challenge
    name: str
    wanted: str
    """The name as it was ordered, `*.` included."""
    token: str
    authorization: str

    @property
    def record_name(self) -> str:
        """Where the TXT record stands."""
        return f"_acme-challenge.{self.name}"

    @property
    def record_value(self) -> str:
        """What the TXT record holds."""
        return base64url(hashlib.sha256(self.authorization.encode()).digest())


class Prover(Protocol):
    """Shows proofs. Both calls block; `hide` never raises."""

    def show(self, proofs: list[Proof]) -> None:
        """Return once all can be seen. Raises `ProofError`."""

    def hide(self, proofs: list[Proof]) -> None:
        """Take them away again, also those that were never shown."""


class ProofError(Exception):
    """A proof cannot be shown; the text says why, for people."""


def authorization_of(token: str, account_key: Any) -> str:
    """Return the key authorization of a token (RFC 8555 section 8.1)."""
    return f"{token}.{base64url(account_key.thumbprint())}"


def handshake_pair(proof: Proof) -> KeyPair:
    """Make the certificate for TLS-ALPN-01 (RFC 8737 section 3)."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import NameOID

    from vestibule.control.certs import pem_of, pem_of_key

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    now = datetime.now(UTC)
    # An OCTET STRING of 32 bytes in DER.
    digest = b"\x04\x20" + hashlib.sha256(proof.authorization.encode()).digest()
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(proof.name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(_ACME_IDENTIFIER), digest), critical=True)
        .sign(key, SHA256())
    )
    return KeyPair(pem_of([made]), pem_of_key(key))


def base64url(data: bytes) -> str:
    """Write bytes as JOSE does (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
