"""What is known of a certificate that was shown, and of one that cannot be read."""

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conformance.pair import papers
from tests.net.test_tls import server_end
from vestibule.net.peer import PeerCertificate, peer_certificate
from vestibule.net.tls import ClientAuth, client_context, server_context


def made(*parts: tuple[x509.ObjectIdentifier, str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Family, Inc.")]))
        .public_key(key.public_key())
        .serial_number(0xABC)
        .not_valid_before(datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2027, 11, 12, 3, 4, 5, tzinfo=datetime.UTC))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_what_a_certificate_says() -> None:
    der = made((NameOID.COUNTRY_NAME, "DE"), (NameOID.COMMON_NAME, "älice"), (NameOID.COMMON_NAME, "other"))
    shown = PeerCertificate(der, 0)
    assert shown.verdict == b"SUCCESS"
    assert shown.subject().decode() == "CN=other,CN=älice,C=DE"
    assert shown.issuer() == b"O=Family\\, Inc."
    assert shown.name().decode() == "älice"
    assert shown.serial() == b"0ABC"
    assert shown.not_before() == b"Jan  2 03:04:05 2026 GMT"
    assert shown.not_after() == b"Nov 12 03:04:05 2027 GMT"
    assert len(shown.sha256()) == 64
    assert len(shown.sha1()) == 40
    assert ssl.PEM_cert_to_DER_cert(shown.pem().decode()) == der
    assert shown.base64()


def test_one_without_a_common_name_has_none() -> None:
    assert PeerCertificate(made((NameOID.ORGANIZATION_NAME, "x")), 0).name() == b""


def test_what_was_not_accepted_says_why() -> None:
    assert PeerCertificate(b"", 10).verdict == b"FAILED:certificate has expired"


def test_what_cannot_be_read_is_empty() -> None:
    shown = PeerCertificate(b"no certificate", 0)
    texts = [shown.subject(), shown.issuer(), shown.name(), shown.serial(), shown.not_before(), shown.not_after()]
    assert texts == [b""] * 6


@pytest.mark.interpreted_only
def test_names_that_cannot_be_written_are_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate whose shell is right and whose names are not is read in part."""

    class Odd:
        @property
        def subject(self) -> object:
            raise ValueError

        issuer = subject

    shown = PeerCertificate(b"", 0)
    monkeypatch.setattr(PeerCertificate, "_certificate", lambda _self: Odd())
    assert (shown.subject(), shown.issuer(), shown.name()) == (b"", b"", b"")


def test_the_certificate_of_a_handshake() -> None:
    chain, key = papers()
    server = server_context(chain, key, clients=ClientAuth(b"", "any"))
    for given in ((chain, key), (b"", b"")):
        ours = server_end(server, client_context(verify=False, chain_pem=given[0], key_pem=given[1]))
        shown = peer_certificate(ours)
        if given[0]:
            assert shown is not None and shown.name() == b"localhost" and shown.verdict.startswith(b"FAILED:")
        else:
            assert shown is None
