"""TLS: contexts with the promised strictness, the choice by name, and handshakes that fail in good order."""

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conformance.pair import Far, Record, client_side, papers, server_side, tcp_pair
from vestibule.net.reactor import Reactor
from vestibule.net.tls import TICKET_KEY_BYTES, TlsChoice, client_context, server_context
from vestibule.net.transport import TlsTransport


def shake(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = "localhost", session: ssl.SSLSession | None = None
) -> ssl.SSLObject:
    """Shake hands in memory and return the client's side. Raises what either side raises."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(there, back, server_side=True)
    theirs = client.wrap_bio(back, there, server_hostname=name, session=session)
    for _ in range(10):
        done = 0
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
        if done == 2:
            ours.write(b"x")
            assert theirs.read(1) == b"x"
            return theirs
    raise AssertionError("the handshake does not end")


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    made = client_context(verify=False)
    made.minimum_version = made.maximum_version = version
    return made


def test_versions() -> None:
    assert shake(server_side(), only(ssl.TLSVersion.TLSv1_3)).version() == "TLSv1.3"
    assert shake(server_side(), only(ssl.TLSVersion.TLSv1_2)).version() == "TLSv1.2"
    modern = server_context(*papers(), minimum="1.3")
    with pytest.raises(ssl.SSLError):
        shake(modern, only(ssl.TLSVersion.TLSv1_2))


def test_no_weak_suite_is_spoken() -> None:
    client = only(ssl.TLSVersion.TLSv1_2)
    client.set_ciphers("AES128-SHA:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA")
    with pytest.raises(ssl.SSLError):
        shake(server_side(), client)


def test_alpn() -> None:
    server = server_context(*papers(), alpn=("h2", "http/1.1"))
    client = client_context(verify=False)
    assert shake(server, client).selected_alpn_protocol() == "http/1.1"
    client.set_alpn_protocols(["http/1.1", "h2"])
    assert shake(server, client).selected_alpn_protocol() == "h2", "the server's order"


def test_an_upstream_is_verified() -> None:
    trusting = client_context(ca_pem=papers()[0])
    assert shake(server_side(), trusting).version()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server_side(), trusting, "other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server_side(), client_context())


def test_client_certificates() -> None:
    server = server_context(*papers(), client_ca_pem=papers()[0], client_required=True)
    client = client_context(verify=False)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(server, client)
    known = client_context(verify=False, chain_pem=papers()[0], key_pem=papers()[1])
    assert shake(server, known).version()


def test_bad_papers_are_told() -> None:
    for chain, key in ((b"", b""), (b"nonsense", papers()[1]), (papers()[0], b"")):
        with pytest.raises((ssl.SSLError, ValueError)):
            server_context(chain, key)
    with pytest.raises(ValueError, match="ticket key"):
        server_context(*papers(), ticket_key=b"short")


def test_sessions_resume_across_workers_that_share_the_key() -> None:
    key = bytes(range(TICKET_KEY_BYTES))
    one, two, other = (server_context(*papers(), ticket_key=kind) for kind in (key, key, bytes(TICKET_KEY_BYTES)))
    client = only(ssl.TLSVersion.TLSv1_2)
    first = shake(one, client)
    assert not first.session_reused
    assert shake(two, client, session=first.session).session_reused
    assert not shake(other, client, session=first.session).session_reused


def paper_for(name: str) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return server_context(made.public_bytes(serialization.Encoding.PEM), text)


def name_of(connection: ssl.SSLObject) -> str:
    found = connection.getpeercert(binary_form=True)
    assert found is not None
    return str(x509.load_der_x509_certificate(found).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_the_name_chooses_the_certificate() -> None:
    base = server_context(*papers())
    choice = TlsChoice(base, None)
    for name in ("a.example", "*.b.example"):
        choice.add(name, paper_for(name))
    choice.arm()
    client = client_side()
    assert name_of(shake(base, client, "a.example")) == "a.example"
    assert name_of(shake(base, client, "A.EXAMPLE")) == "a.example"
    assert name_of(shake(base, client, "x.b.example")) == "*.b.example"
    for unknown in ("c.example", "b.example", "x.y.b.example", None):
        with pytest.raises(ssl.SSLError):
            shake(base, client, unknown)
    choice.default = base
    assert name_of(shake(base, client, "c.example")) == "localhost"
    assert name_of(shake(base, client, None)) == "localhost"


def begin() -> tuple[Reactor, TlsTransport, Record, Far]:
    near, far = tcp_pair(False)
    reactor, owner = Reactor(), Record()
    transport = TlsTransport(reactor, near, owner, server_side(), True, None)
    transport.start()
    return reactor, transport, owner, Far(far)


@pytest.mark.interpreted_only
@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 100])
def test_what_is_no_handshake_is_lost_once(first: bytes) -> None:
    reactor, _transport, owner, far = begin()
    far.send(first)
    for _ in range(20):
        reactor.turn(1)
        far.work()
    assert owner.events == ["lost"] and (far.ended or far.broken)
    assert reactor.pollables() == []
    far.close()
    reactor.close()


@pytest.mark.interpreted_only
def test_a_client_that_leaves_in_the_handshake_is_lost_once() -> None:
    reactor, _transport, owner, far = begin()
    far.send(b"\x16\x03\x01\x02\x00")
    reactor.turn(1)
    far.close()
    for _ in range(3):
        reactor.turn(1)
    assert owner.events == ["lost"] and reactor.pollables() == []
    reactor.close()
