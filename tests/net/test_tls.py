"""TLS: contexts with the promised strictness, the choice by name, and handshakes that fail in good order."""

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.conformance.pair import Far, Record, client_side, papers, server_side, tcp_pair
from vestibule.net.demand import PAIRS_MOST, Demand, DemandedHosts, DemandedPair
from vestibule.net.openssl import TICKET_KEY_BYTES, verify_result, words_of
from vestibule.net.reactor import Reactor
from vestibule.net.tls import (
    ACME_TLS,
    AskedObject,
    ClientAuth,
    DemandedContexts,
    OpenChallenges,
    TlsChoice,
    add_pair,
    client_context,
    server_context,
)
from vestibule.net.tls_transport import TlsTransport, _reason


def shake(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = "localhost", session: ssl.SSLSession | None = None
) -> ssl.SSLObject:
    """Shake hands in memory and return the client's side. Raises what either side raises."""
    return both_ends(server, client, name, session)[0]


def server_end(server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLObject:
    """Shake hands in memory and return the server's side."""
    return both_ends(server, client, "localhost", session)[1]


def both_ends(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None, session: ssl.SSLSession | None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
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
            return theirs, ours
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


def test_the_servers_order_holds_but_for_phones() -> None:
    client = only(ssl.TLSVersion.TLSv1_2)
    aes128, aes256, chacha = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"
    for ciphers, chosen in ((f"{aes256}:{chacha}:{aes128}", aes128), (f"{chacha}:{aes256}:{aes128}", chacha)):
        client.set_ciphers(ciphers)
        found = shake(server_side(), client).cipher()
        assert found is not None
        assert found[0] == chosen


def test_alpn() -> None:
    server = server_context(*papers(), alpn=("h2", "http/1.1"))
    client = client_context(verify=False)
    assert shake(server, client).selected_alpn_protocol() == "http/1.1"
    client.set_alpn_protocols(["http/1.1", "h2"])
    assert shake(server, client).selected_alpn_protocol() == "h2", "the server's order"


def test_nothing_is_offered_where_no_protocol_is_named() -> None:
    silent = client_context(verify=False, offers=())
    assert shake(server_context(*papers(), alpn=("h2",)), silent).selected_alpn_protocol() is None
    # A server that names none takes who offers any.
    assert shake(server_context(*papers(), alpn=()), client_context(verify=False)).selected_alpn_protocol() is None


def test_an_upstream_is_verified() -> None:
    trusting = client_context(ca_pem=papers()[0])
    assert shake(server_side(), trusting).version()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server_side(), trusting, "other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server_side(), client_context())


def known() -> ssl.SSLContext:
    return client_context(verify=False, chain_pem=papers()[0], key_pem=papers()[1])


def asking(verify: str, key: bytes = b"", ca: bytes | None = None, crl: bytes = b"", depth: int = -1) -> ssl.SSLContext:
    clients = ClientAuth(papers()[0] if ca is None else ca, verify, crl, depth)
    return server_context(*papers(), ticket_key=key, clients=clients)


def plain() -> ssl.SSLContext:
    made = client_context(verify=False)
    made.maximum_version = ssl.TLSVersion.TLSv1_2  # there the handshake is over when the server is content
    return made


def stranger() -> ssl.SSLContext:
    chain, key = self_signed("stranger")
    made = plain()
    add_pair(made, chain, key)
    return made


def test_what_is_offered_to_upstreams() -> None:
    made = client_context(False, minimum="1.2", maximum="1.3", ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", suites="TLS_AES_128_GCM_SHA256")
    assert {cipher["name"] for cipher in made.get_ciphers()} == {"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"}
    with pytest.raises(ValueError, match="suites"):
        client_context(False, suites="none")
    with pytest.raises(ValueError, match="groups"):
        client_context(False, groups="none")


def test_client_certificates() -> None:
    assert shake(asking("require"), known()).version()
    for client in (plain(), stranger()):
        with pytest.raises(ssl.SSLError):
            shake(asking("require"), client)


def test_client_certificates_that_may_be_left_out() -> None:
    assert shake(asking("optional"), known()).version()
    assert shake(asking("optional"), plain()).version()
    with pytest.raises(ssl.SSLError):
        shake(asking("optional"), stranger())


def test_any_client_certificate_passes_and_is_known_for_what_it_is() -> None:
    for client, error in ((known(), ""), (stranger(), "self-signed certificate")):
        assert words_of(verify_result(server_end(asking("any"), client))) == error
    assert server_end(asking("any"), plain()).getpeercert(binary_form=True) is None


def test_what_was_found_is_remembered_when_a_session_is_resumed() -> None:
    server = asking("any", bytes(range(TICKET_KEY_BYTES)))
    client = stranger()
    first = shake(server, client)
    again = server_end(server, client, session=first.session)
    assert again.session_reused
    assert again.getpeercert(binary_form=True)
    assert words_of(verify_result(again)) == "self-signed certificate"


def test_a_session_opens_only_where_the_same_was_asked() -> None:
    """RFC 9110 7.4: otherwise a ticket of a site for everybody would be a client certificate elsewhere."""
    key = bytes(range(TICKET_KEY_BYTES))
    everybody = server_context(*papers(), ticket_key=key)
    client = plain()
    first = shake(everybody, client)
    assert shake(everybody, client, session=first.session).session_reused
    with pytest.raises(ssl.SSLError):
        shake(asking("require", key), client, session=first.session)
    member = known()
    member.maximum_version = ssl.TLSVersion.TLSv1_2
    first = shake(asking("require", key), member)
    assert shake(asking("require", key), member, session=first.session).session_reused
    others = (asking("optional", key), asking("require", key, depth=3), asking("require", key, ca=papers()[0] + self_signed("b")[0]))
    for other in others:
        assert not shake(other, member, session=first.session).session_reused


def test_without_tickets_no_session_is_resumed() -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = only(version)
        server = server_context(*papers())
        first = shake(server, client)
        session = first.session
        assert session is None or not shake(server, client, session=session).session_reused


def test_revoked_clients_are_refused() -> None:
    house = House()
    good, bad = house.member("good"), house.member("bad")
    served = asking("require", ca=house.root_pem, crl=house.revoked(bad[2]))
    assert shake(served, client_context(verify=False, chain_pem=good[0], key_pem=good[1])).version()
    with pytest.raises(ssl.SSLError, match="revoked"):
        shake(served, limited(bad))
    # An authority without a list in force lets nobody in.
    for lists in (house.revoked(bad[2], ended=True), House().revoked(1)):
        with pytest.raises(ssl.SSLError):
            shake(asking("require", ca=house.root_pem, crl=lists), limited(good))


def test_depth_of_client_certificates() -> None:
    house = House()
    chain, key = house.under_a_middle("deep")
    client = limited((chain, key, 0))
    assert shake(asking("require", ca=house.root_pem, depth=1), client).version()
    with pytest.raises(ssl.SSLError):
        shake(asking("require", ca=house.root_pem, depth=0), client)


def test_an_intermediate_authority_may_be_the_one_that_counts() -> None:
    house = House()
    chain, key = house.under_a_middle("deep")
    middle = chain[chain.index(b"-----BEGIN", 1) :]
    assert shake(asking("require", ca=middle), limited((chain, key, 0))).version()
    other, own, _ = house.member("beside")
    with pytest.raises(ssl.SSLError):
        shake(asking("require", ca=middle), limited((other, own, 0)))


def test_groups() -> None:
    server = server_context(*papers(), groups="secp384r1")
    client = only(ssl.TLSVersion.TLSv1_3)
    client.set_ecdh_curve("prime256v1")
    with pytest.raises(ssl.SSLError):
        shake(server, client)
    client.set_ecdh_curve("secp384r1")
    assert shake(server, client).version()
    with pytest.raises(ValueError, match="nonsense"):
        server_context(*papers(), groups="X25519:nonsense")


def test_suites_of_1_3() -> None:
    found = shake(server_context(*papers(), suites="TLS_CHACHA20_POLY1305_SHA256"), only(ssl.TLSVersion.TLSv1_3)).cipher()
    assert found is not None
    assert found[0] == "TLS_CHACHA20_POLY1305_SHA256"
    with pytest.raises(ValueError, match="TLS_NONE"):
        server_context(*papers(), suites="TLS_NONE")
    server_context(*papers())


def test_one_certificate_of_each_key_type() -> None:
    server = server_context(*papers())
    add_pair(server, *self_signed("rsa", rsa.generate_private_key(65537, 2048)))
    for ciphers, kind in (("ECDHE-RSA-AES128-GCM-SHA256", "rsa"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "localhost")):
        client = only(ssl.TLSVersion.TLSv1_2)
        client.set_ciphers(ciphers)
        assert name_of(shake(server, client)) == kind


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


def self_signed(name: str, own: rsa.RSAPrivateKey | None = None) -> tuple[bytes, bytes]:
    key = own or ec.generate_private_key(ec.SECP256R1())
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
    return made.public_bytes(serialization.Encoding.PEM), text


def paper_for(name: str) -> ssl.SSLContext:
    return server_context(*self_signed(name))


def name_of(connection: ssl.SSLObject) -> str:
    found = connection.getpeercert(binary_form=True)
    assert found is not None
    return str(x509.load_der_x509_certificate(found).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_a_refused_name_gets_no_handshake_whatever_there_is_for_it() -> None:
    base = server_context(*papers())
    choice = TlsChoice(base, base)
    choice.add("a.example", base)
    for name in ("a.example", "*.b.example"):
        choice.refuse(name)
    choice.arm()
    for refused in ("A.example", "x.b.example"):
        with pytest.raises(ssl.SSLError):
            shake(base, client_side(), refused)
    for other in ("b.example", "c.example", None):
        shake(base, client_side(), other)


def test_a_name_may_be_spared_of_wildcards() -> None:
    wide, own, rest = paper_for("wide"), paper_for("own"), paper_for("rest")
    choice = TlsChoice(rest, rest)
    choice.add("*.example.org", wide)
    choice.add("mine.example.org", own)
    choice.spare("Not.Example.org.")
    choice.spare("mine.example.org")
    assert choice.find("a.example.org") is wide
    assert choice.find("not.example.org") is rest
    assert choice.find("mine.example.org") is own


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


Key = ec.EllipticCurvePrivateKey


class House:
    """An authority for clients, with what it revokes."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"house {id(self)}")])
        self.root_pem = self._issue("", self.name, self.key, self.name, self.key, 1, authority=True)

    def _issue(
        self, name: str, subject: x509.Name, key: Key, issuer: x509.Name, signer: Key, serial: int, authority: bool = False
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject if authority else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(signer, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    def member(self, name: str) -> tuple[bytes, bytes, int]:
        key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
        return self._issue(name, self.name, key, self.name, self.key, serial), pem_of(key), serial

    def under_a_middle(self, name: str) -> tuple[bytes, bytes]:
        middle, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "middle")])
        above = self._issue("", subject, middle, self.name, self.key, 5, authority=True)
        return self._issue(name, self.name, key, subject, middle, 6) + above, pem_of(key)

    def revoked(self, serial: int, ended: bool = False) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        row = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now - datetime.timedelta(days=2))
            .next_update(now + datetime.timedelta(days=-1 if ended else 1))
            .add_revoked_certificate(row)
            .sign(self.key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)


def pem_of(key: Key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def limited(member: tuple[bytes, bytes, int]) -> ssl.SSLContext:
    made = client_context(verify=False, chain_pem=member[0], key_pem=member[1])
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    return made


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


def test_an_upstream_whose_certificate_was_revoked_is_refused() -> None:
    house = House()
    chain, key, serial = house.member("upstream")
    server = server_context(chain, key)
    for revoked, message in ((serial, "revoked"), (serial + 1, "")):
        client = client_context(ca_pem=house.root_pem, check_name=False, crl_pem=house.revoked(revoked))
        if message:
            with pytest.raises(ssl.SSLCertVerificationError, match=message):
                shake(server, client)
        else:
            shake(server, client)


def test_depth_of_upstreams() -> None:
    house = House()
    server = server_context(*house.under_a_middle("upstream"))
    shake(server, client_context(ca_pem=house.root_pem, check_name=False, depth=1))
    with pytest.raises(ssl.SSLCertVerificationError, match="too long"):
        shake(server, client_context(ca_pem=house.root_pem, check_name=False, depth=0))


def validating(choice: TlsChoice, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Shake hands as an issuer that looks at a challenge does."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = choice.base.wrap_bio(there, back, server_side=True)
    assert isinstance(ours, AskedObject)
    ours.validates = True
    theirs = client.wrap_bio(back, there, server_hostname=name)
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    assert ours.asked_name == name
    return theirs


def test_an_issuer_is_shown_the_challenge_and_nothing_else() -> None:
    challenges = OpenChallenges()
    choice = TlsChoice(server_context(*papers(), alpn=("http/1.1", ACME_TLS)), None, challenges)
    choice.add("a.example", paper_for("a.example"))
    choice.arm()
    assert not choice.is_validated()
    challenges.replace({"A.example": self_signed("challenge")})
    assert choice.is_validated() and not TlsChoice(choice.base, None).is_validated()
    client = client_context(verify=False, offers=(ACME_TLS,))
    assert name_of(validating(choice, client, "a.example")) == "challenge"
    with pytest.raises(ssl.SSLError):
        validating(choice, client, "b.example")
    with pytest.raises(ssl.SSLError):
        challenges.replace({"a.example": (b"", b"")})
    assert choice.is_validated(), "what cannot be shown changes nothing"


class Maker(DemandedContexts):
    def __init__(self) -> None:
        self.made = 0
        self.fails = False

    def make(self, pair: DemandedPair) -> ssl.SSLContext | None:
        self.made += 1
        return None if self.fails else server_context(pair.chain, pair.key)


@pytest.mark.interpreted_only
def test_certificates_that_clients_asked_for() -> None:
    choice = TlsChoice(server_context(*papers()), None)
    choice.add("known.example.org", paper_for("known"))
    choice.add("*.wild.example.org", paper_for("wild"))
    demand, hosts, maker = Demand(), DemandedHosts(), Maker()
    hosts.add("*")
    assert choice.lacking("a.example.org") is None, "nothing is served on demand"
    choice.serve_on_demand(demand, hosts, maker)
    assert choice.lacking("a.example.org") is demand
    for never in ("known.example.org", "a.wild.example.org", "localhost"):
        assert choice.lacking(never) is None
    assert choice.find("a.example.org") is None
    pair = DemandedPair(*self_signed("a.example.org"))
    demand.take("a.example.org", pair)
    assert choice.lacking("a.example.org") is None
    found = choice.find("A.example.org.")
    assert found is not None and choice.find("a.example.org") is found and maker.made == 1
    demand.take("a.example.org", DemandedPair(*self_signed("a.example.org")))
    assert choice.find("a.example.org") is not found, "a new certificate, a new context"
    maker.fails = True
    demand.take("b.example.org", pair)
    assert choice.find("b.example.org") is None
    choice.default = choice.base
    assert choice.find("b.example.org") is choice.base and choice.find("localhost") is choice.base


@pytest.mark.interpreted_only
def test_contexts_on_demand_are_bounded() -> None:
    choice = TlsChoice(server_context(*papers()), None)
    demand, hosts, maker = Demand(), DemandedHosts(), Maker()
    hosts.add("*")
    choice.serve_on_demand(demand, hosts, maker)
    pair = DemandedPair(*papers())
    for at in range(PAIRS_MOST + 1):
        demand.take(f"n{at}.example.org", pair)
        assert choice.find(f"n{at}.example.org") is not None
    assert len(choice._demanded) == PAIRS_MOST and "n0.example.org" not in choice._demanded


def test_a_context_is_replaced_wherever_it_is_served() -> None:
    old, other = server_context(*papers()), paper_for("other")
    choice = TlsChoice(old, old)
    choice.add("a.example", old)
    choice.add("*.b.example", old)
    choice.add("c.example", other)
    new = paper_for("new")
    choice.replace(old, new)
    assert choice.base is choice.default is choice.find("a.example") is choice.find("x.b.example") is new
    assert choice.find("c.example") is other
    assert name_of(shake(new, client_side(), "c.example")) == "other", "the new base asks"
    choice.replace(old, other)
    assert choice.base is new


def test_any_certificate_may_be_asked_for_without_an_authority() -> None:
    house = House()
    chain, key, _ = house.member("ada")
    server = server_context(*papers(), clients=ClientAuth(b"", "any"))
    ours = server_end(server, client_context(verify=False, chain_pem=chain, key_pem=key))
    assert ours.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(chain.decode())
    assert verify_result(ours) != 0


def _nameless() -> ssl.SSLError:
    error = ssl.SSLError(1, "odd")
    error.reason = None  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(32, "Broken pipe"), "Broken pipe"),
        (_nameless(), "odd"),
        (OSError("only words"), "only words"),
    ],
)
def test_what_broke_is_told_in_words(error: OSError, words: str) -> None:
    assert _reason(error) == words
