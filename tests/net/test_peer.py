"""What is known of a certificate that was shown, and of one that cannot be read."""

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conformance.pair import papers
from tests.net.test_tls import both_ends, known, only, server_end
from vestibule.net.peer import PeerCertificate, Secured, address_text, peer_certificate
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
    end_ms = 1_825_988_645_000
    assert [shown.days_left(end_ms - left) for left in (-5, 0, 86_399_999, 86_400_000, 172_800_001)] == [0, 0, 0, 1, 2]
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


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("192.0.2.1", b"192.0.2.1"),
        ("2001:db8::1", b"2001:db8::1"),
        ("::ffff:192.0.2.1", b"192.0.2.1"),
        ("::ffff:1", b"::ffff:1"),
        ("fe80::1%eth0", b"fe80::1"),
    ],
)
def test_addresses_as_text(address: str, text: bytes) -> None:
    assert address_text(address) == text


def test_what_tls_has_settled_with_the_other_end() -> None:
    der = ssl.PEM_cert_to_DER_cert(papers()[0].decode())
    asking = server_context(*papers(), alpn=("h2",), clients=ClientAuth(papers()[0]), maximum="1.2")
    client = known()
    client.set_alpn_protocols(["h2"])
    theirs, ours = both_ends(asking, client, "localhost", None)
    here, there = Secured(ours), Secured(theirs)
    assert (here.own_certificate(), here.peer_certificate()) == (there.peer_certificate(), there.own_certificate()) == (der, der)
    assert (here.version(), here.protocol()) == (b"TLSv1.2", b"h2")
    assert here.cipher() == there.cipher() == b"ECDHE-ECDSA-AES128-GCM-SHA256"
    assert b":ECDHE-ECDSA-AES256-GCM-SHA384:" in here.shared_ciphers()
    assert not here.is_resumed()


def test_what_tls_has_not_settled_is_empty() -> None:
    bare = Secured(only(ssl.TLSVersion.TLSv1_3).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO()))
    assert (bare.cipher(), bare.protocol(), bare.own_certificate(), bare.shared_ciphers()) == (b"", b"", b"", b"")
    assert not bare.is_resumed()
