"""TLS towards clients and towards upstreams.

Facts: RFC 8446, RFC 5246, RFC 6066 3 (SNI), RFC 5077 and 8446 2.2 (resumption); Mozilla's intermediate and modern profiles.
"""

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from .certs import Authority, pem_of, revocations, server
from .client import Client, Truncated
from .ports import free_ports
from .rig import Rig, Vestibule, settings
from .upstream import Turn, Upstream

Make = Callable[..., Rig]
PIECE = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@dataclass
class TlsRig:
    """A proxy with several certificates, on one TLS port and one plain port."""

    proxy: Vestibule
    upstream: Upstream
    authority: Authority
    tls_port: int
    plain_port: int
    modern_port: int
    lenient_port: int

    def client(self, name: str = "photos.test", tls: ssl.SSLContext | None = None, port: int = 0, version: str = "h1") -> Client:
        """Return a client that asks for `name` and verifies what it is shown."""
        return Client(("127.0.0.1", port or self.tls_port), tls or self.authority.client(), name, version)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[TlsRig]:
    folder = tmp_path_factory.mktemp("tls")
    upstream = Upstream()
    tls, plain, modern, lenient = free_ports(4)
    authority.bundle(folder / "photos.pem", "photos.test")
    authority.bundle(folder / "wild.pem", "*.photos.test")
    chain, key = authority.leaf("sealed.test", password=b"open sesame")
    (folder / "sealed.pem").write_bytes(chain)
    (folder / "sealed.key").write_bytes(key)
    (folder / "sealed.password").write_text("open sesame\n")
    to = f'to = "http://127.0.0.1:{upstream.port}"'
    config = f"""{settings(folder, workers=2)}
[listeners.modern]
address = "127.0.0.1:{modern}"
tls = true
tls_profile = "modern"
[listeners.lenient]
address = "127.0.0.1:{lenient}"
tls = true
unknown_sni = "default"
default_site = "photos.test"
[sites."photos.test"]
listen = ["https://127.0.0.1:{tls}", "http://127.0.0.1:{plain}", "modern", "lenient"]
cert = "photos.pem"
hsts = true
{to}
[sites."*.photos.test"]
listen = "https://127.0.0.1:{tls}"
cert = "wild.pem"
{to}
[sites."sealed.test"]
listen = "https://127.0.0.1:{tls}"
cert = "sealed.pem"
key = "sealed.key"
password_file = "sealed.password"
{to}
"""
    proxy = Vestibule(folder, config, [tls, plain, modern, lenient])
    yield TlsRig(proxy, upstream, authority, tls, plain, modern, lenient)
    proxy.stop()
    upstream.close()


@pytest.fixture
def rig(secure: TlsRig) -> Iterator[TlsRig]:
    secure.upstream.rest()
    yield secure
    secure.upstream.rest()


def shown(client: Client) -> x509.Certificate:
    """Return the certificate a client is shown; it has been verified."""
    with client.wire() as wire:
        assert isinstance(wire.sock, ssl.SSLSocket)
        der = wire.sock.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)


def names(certificate: x509.Certificate) -> list[str]:
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return alternatives.get_values_for_type(x509.DNSName)


def limited(authority: Authority, version: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    tls = authority.client()
    if ciphers:
        tls.set_ciphers(ciphers)
    tls.minimum_version = tls.maximum_version = version
    return tls


def test_request_over_tls_says_so(rig: TlsRig, version: str) -> None:
    client = rig.client(version=version)
    response = client.request("POST", "/a", body=b"hello")
    assert response.body == b"ok"
    request = rig.upstream.take_one()
    assert request.body == b"hello"
    assert request.find("X-Forwarded-Proto") == b"https"
    assert request.find("X-Forwarded-Port") == b"443"
    assert request.find("X-Forwarded-For") == b"127.0.0.1"


@pytest.mark.parametrize(
    ("host", "certificate"), [("photos.test", "photos.test"), ("a.photos.test", "*.photos.test"), ("sealed.test", "sealed.test")]
)
def test_certificate_is_chosen_by_name(host: str, certificate: str, rig: TlsRig) -> None:
    """And the whole chain is sent: the client knows the root alone."""
    assert names(shown(rig.client(host))) == [certificate]
    assert rig.client(host).get("/").status == 200


@pytest.mark.parametrize("host", ["other.test", "a.b.photos.test", "photos.test.evil"])
def test_unknown_name_is_refused(host: str, rig: TlsRig) -> None:
    tls = rig.authority.client()
    tls.check_hostname = False
    with pytest.raises((ssl.SSLError, ConnectionError)):
        rig.client(host, tls).connect()


def test_client_that_names_no_host_is_refused(rig: TlsRig) -> None:
    tls = rig.authority.client()
    tls.check_hostname = False
    with socket.create_connection(("127.0.0.1", rig.tls_port), 5) as sock, pytest.raises((ssl.SSLError, ConnectionError)):
        tls.wrap_socket(sock)


def test_unknown_name_gets_the_default_where_that_is_asked_for(rig: TlsRig) -> None:
    tls = rig.authority.client()
    tls.check_hostname = False
    assert names(shown(rig.client("other.test", tls, rig.lenient_port))) == ["photos.test"]


def test_host_of_another_site_than_the_certificate_is_misdirected_or_served_there(rig: TlsRig, version: str) -> None:
    """RFC 9110 15.5.20. The client verified another name than the one it asks."""
    response = rig.client("photos.test", version=version).get("/", ("Host", "nowhere.test"))
    assert response.status == 421
    assert rig.upstream.requests == []


@pytest.mark.parametrize("of_tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_current_versions_are_spoken(of_tls: ssl.TLSVersion, version: str, rig: TlsRig) -> None:
    assert rig.client(tls=limited(rig.authority, of_tls), version=version).get("/").status == 200


def test_old_version_is_refused(rig: TlsRig) -> None:
    with pytest.warns(DeprecationWarning):
        tls = limited(rig.authority, ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        rig.client(tls=tls).connect()


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-SHA"])
def test_old_cipher_is_refused(cipher: str, rig: TlsRig) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        rig.client(tls=limited(rig.authority, ssl.TLSVersion.TLSv1_2, f"{cipher}:@SECLEVEL=0")).connect()


def test_modern_profile_speaks_1_3_only(rig: TlsRig) -> None:
    assert rig.client(tls=limited(rig.authority, ssl.TLSVersion.TLSv1_3), port=rig.modern_port).get("/").status == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        rig.client(tls=limited(rig.authority, ssl.TLSVersion.TLSv1_2), port=rig.modern_port).connect()


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        (["http/1.1"], "http/1.1"),
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
        (["h2"], "h2"),
        ([], None),
    ],
    ids=str,
)
def test_protocol_is_agreed_on(offered: list[str], agreed: str | None, rig: TlsRig) -> None:
    """RFC 7301. WebSocket clients offer HTTP/1.1 alone; browsers both."""
    tls = rig.authority.client()
    if offered:
        tls.set_alpn_protocols(offered)
    with rig.client(tls=tls).wire() as wire:
        assert isinstance(wire.sock, ssl.SSLSocket)
        assert wire.sock.selected_alpn_protocol() == agreed
        if agreed != "h2":
            wire.send(b"GET / HTTP/1.1\r\nHost: photos.test\r\n\r\n")
            assert wire.read_response().status == 200


def test_protocols_nobody_here_speaks_end_the_handshake(rig: TlsRig) -> None:
    """RFC 7301 3.2: no_application_protocol, so that no other protocol's client is talked into ours."""
    tls = rig.authority.client()
    tls.set_alpn_protocols(["spdy/3", "imap"])
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        rig.client(tls=tls).connect()


def s_client(rig: TlsRig, *options: str, commands: bytes = b"") -> str:
    """Run `openssl s_client`, which obeys letters at the beginning of a line."""
    found = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{rig.tls_port}", "-servername", "photos.test", *options],
        input=commands,
        capture_output=True,
        timeout=20,
        check=False,
    )
    return (found.stdout + found.stderr).decode("latin-1")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_renegotiation_is_refused(rig: TlsRig) -> None:
    said = s_client(rig, "-tls1_2", commands=b"R\n")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said
    assert "Secure Renegotiation IS supported" in said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_a_flood_of_key_updates_is_ended(rig: TlsRig) -> None:
    """RFC 8446 4.6.3 names the risk; OpenSSL counts those that come without data between them."""
    with rig.client(tls=limited(rig.authority, ssl.TLSVersion.TLSv1_3)).wire() as still:
        s_client(rig, "-tls1_3", "-quiet", "-no_ign_eof", commands=b"k\n" * 100)
        still.send(b"GET / HTTP/1.1\r\nHost: photos.test\r\n\r\n")
        assert still.read_response().status == 200


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_groups_and_two_types_of_keys(tmp_path: Path, authority: Authority) -> None:
    """Old clients get the RSA certificate, all others the ECDSA one; and the group is the one that is allowed."""
    (port,) = free_ports(1)
    authority.bundle(tmp_path / "ecdsa.pem", "photos.test")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=photos.test", "-addext",
         "subjectAltName=DNS:photos.test", "-days", "9", "-keyout", "key.pem", "-out", "rsa.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    config = f"""{settings(tmp_path)}
[tls_profiles.one]
groups = ["secp384r1"]
[certificates.ecdsa]
cert = "ecdsa.pem"
[certificates.rsa]
cert = "rsa.pem"
key = "key.pem"
[listeners.l]
address = "127.0.0.1:{port}"
tls = true
tls_profile = "one"
[sites."photos.test"]
listen = "l"
certificates = ["ecdsa", "rsa"]
respond = {{ status = 204 }}
"""
    proxy = Vestibule(tmp_path, config, [port])
    try:
        for signatures, kind in (("RSA-PSS+SHA256", "RSA-PSS"), ("ECDSA+SHA256", "ECDSA")):
            options = ("-connect", f"127.0.0.1:{port}", "-servername", "photos.test", "-sigalgs", signatures)
            said = subprocess.run(["openssl", "s_client", *options], input=b"", capture_output=True, timeout=20, check=False).stdout
            assert f"Peer signature type: {kind}".encode() in said
            assert b"ECDH, secp384r1, 384 bits" in said or b"ECDH, P-384, 384 bits" in said
    finally:
        proxy.stop()


def test_handshakes_that_stand_still_are_ended_and_harm_nobody(rig: TlsRig) -> None:
    hello = bytes.fromhex("16030105dc010005d80303") + bytes(200)  # a hello that announces 1,500 bytes and never comes whole
    waiting = [socket.create_connection(("127.0.0.1", rig.tls_port), 5) for _ in range(50)]
    try:
        for sock in waiting:
            sock.sendall(hello)
        assert rig.client().get("/").status == 200
    finally:
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize("of_tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_is_resumed_by_whichever_worker_answers(of_tls: ssl.TLSVersion, rig: TlsRig) -> None:
    tls = limited(rig.authority, of_tls)
    session = None
    resumed = []
    for _ in range(8):
        sock = socket.create_connection(("127.0.0.1", rig.tls_port), 5)
        with tls.wrap_socket(sock, server_hostname="photos.test", session=session) as secured:
            secured.sendall(b"GET / HTTP/1.1\r\nHost: photos.test\r\nConnection: close\r\n\r\n")
            while secured.recv(4096):
                pass
            resumed.append(secured.session_reused)
            session = secured.session
    assert resumed == [False] + [True] * 7


def test_plain_request_is_sent_to_https(rig: TlsRig) -> None:
    plain = Client(("127.0.0.1", rig.plain_port))
    response = plain.request("GET", "/a/b?c=d", [("Host", f"photos.test:{rig.plain_port}")])
    assert response.status == 308
    assert response.find("Location") == f"https://photos.test:{rig.tls_port}/a/b?c=d".encode()
    assert response.find("Strict-Transport-Security") is None
    assert plain.request("POST", "/", body=b"hello").status == 308
    assert rig.upstream.requests == []


def test_hsts_is_sent_over_tls(rig: TlsRig, version: str) -> None:
    """RFC 6797 7.2."""
    value = rig.client(version=version).get("/").find("Strict-Transport-Security")
    assert value is not None
    assert value.startswith(b"max-age=63072000")
    assert rig.client("a.photos.test", version=version).get("/").find("Strict-Transport-Security") is None


def test_large_bodies_pass_both_ways(rig: TlsRig, version: str) -> None:
    body = PIECE * 60

    def script(turn: Turn) -> None:
        turn.answer(turn.read_body())

    rig.upstream.script = script
    assert rig.client(version=version).request("POST", "/", body=body).body == body


def test_uploads_pass_one_after_another_to_a_server_that_stops_now_and_then(rig: TlsRig, version: str) -> None:
    """What OpenSSL holds beyond the end of one body is the next request."""

    def script(turn: Turn) -> None:
        left = int(turn.request.find("Content-Length") or b"0")
        seen = hashlib.sha256()
        while left:
            piece = turn.read(min(left, 1_000_000))
            seen.update(piece)
            left -= len(piece)
            time.sleep(0.02)  # so that the proxy has more than anybody takes
        turn.answer(seen.hexdigest().encode())

    rig.upstream.script = script
    client = rig.client(version=version)
    with client.connect() as wire:
        for size in (8_000_001, 5_000_000):
            body = (PIECE * (size // len(PIECE) + 1))[:size]
            assert client.request("POST", "/", body=body, wire=wire).body == hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize("is_answered", [True, False])
def test_an_upload_whose_server_goes_is_answered(is_answered: bool, rig: TlsRig, version: str) -> None:
    def script(turn: Turn) -> None:
        turn.read_start(2_000_000)
        if is_answered:
            turn.answer(b"too large", b"413 Content Too Large", b"Connection: close\r\n")
        turn.reset()

    rig.upstream.script = script
    exchange = rig.client(version=version).open("POST", "/", length=4_000_000)
    try:
        exchange.send_body(PIECE * 30 + bytes(100_000))
        exchange.send_body(bytes(500_000))
    except OSError:
        pass  # refused before all was sent
    response = exchange.read_response()
    # A reset may overtake the answer before it; then it is ours.
    assert (response.status, response.body) == (413, b"too large") or response.status == 502
    exchange.abort()


def test_several_requests_on_one_connection(rig: TlsRig) -> None:
    rig.upstream.script = lambda turn: turn.answer(turn.request.target)
    client = rig.client()
    with client.wire() as wire:
        wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: photos.test\r\n\r\n" % number for number in range(50)))
        assert [wire.read_response().body for _ in range(50)] == [b"/%d" % number for number in range(50)]


def test_upgrade_over_tls(rig: TlsRig, version: str) -> None:
    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
        for _ in range(3):
            turn.send(turn.recv())
        turn.close()

    rig.upstream.script = script
    tunnel = rig.client(version=version).open_tunnel("/")
    assert tunnel.read(5) == b"hello"
    for _ in range(3):
        tunnel.send(b"ping")
        assert tunnel.read(4) == b"ping"
    assert tunnel.is_closed()


def test_cut_answer_is_not_taken_for_whole(rig: TlsRig, version: str) -> None:
    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        turn.reset()

    rig.upstream.script = script
    try:
        status = rig.client(version=version).get("/").status
    except Truncated:
        status = 502
    assert status == 502


@pytest.mark.parametrize("length", [None, 10_000_000])
@pytest.mark.parametrize("body", [b"hello", PIECE * 30], ids=["short", "long"])
def test_upload_cut_without_a_close_alert_is_not_whole(length: int | None, body: bytes, rig: TlsRig, version: str) -> None:
    """Nor is it a bug: after the first long piece OpenSSL reads the socket itself, and names no reason for a reset."""
    client = rig.client(version=version)
    exchange = client.open("POST", "/", length=length)
    exchange.send_body(body)
    request = rig.upstream.take()[0]
    exchange.wire.reset()
    assert rig.upstream.wait_for(lambda: not rig.upstream.is_busy)
    assert not request.is_whole
    assert [line for line in rig.proxy.said().splitlines() if "proxy.bug" in line] == []


def test_plain_request_on_the_tls_port_is_ended(rig: TlsRig) -> None:
    wire = Client(("127.0.0.1", rig.tls_port)).raw(b"GET / HTTP/1.1\r\nHost: photos.test\r\n\r\n")
    answer = wire.read_rest()
    wire.close()
    assert b"HTTP/1.1 200" not in answer
    assert rig.upstream.requests == []


def test_certificate_is_renewed_without_dropping_a_connection(secure: TlsRig, version: str) -> None:
    client = secure.client(version=version)
    before = shown(client).serial_number
    with client.connect() as wire:
        assert client.request("GET", "/", wire=wire).status == 200
        secure.authority.bundle(secure.proxy.folder / "photos.pem", "photos.test")
        assert secure.proxy.control("reload").returncode == 0
        assert client.request("GET", "/", wire=wire).status == 200
    assert shown(client).serial_number != before


# ---------------------------------------------------------------- the local authority


def test_localhost_gets_a_certificate_from_the_local_authority(tmp_path: Path) -> None:
    upstream = Upstream()
    port = free_ports(1)[0]
    config = f"""{settings(tmp_path)}
[sites.localhost]
hosts = ["localhost", "127.0.0.1"]
listen = "https://127.0.0.1:{port}"
tls = "internal"
to = "http://127.0.0.1:{upstream.port}"
"""
    serials = []
    try:
        for _ in range(2):
            proxy = Vestibule(tmp_path, config, [port])
            try:
                roots = [path for path in (tmp_path / "state").rglob("*") if path.is_file() and is_root(path)]
                assert len(roots) == 1
                proxy.wait_for(str(roots[0]))
                tls = ssl.create_default_context(cafile=str(roots[0]))
                assert Client(("127.0.0.1", port), tls, "localhost").get("/").status == 200
                serials.append(x509.load_pem_x509_certificate(roots[0].read_bytes()).serial_number)
                keys = [path for path in (tmp_path / "state").rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
                assert keys
                assert all(path.stat().st_mode & 0o077 == 0 for path in keys), "a private key may be read by others"
            finally:
                proxy.stop()
    finally:
        upstream.close()
    assert serials[0] == serials[1], "the authority was made anew, so trust in it was lost"


def is_root(path: Path) -> bool:
    data = path.read_bytes()
    if b"BEGIN CERTIFICATE" not in data or b"PRIVATE KEY" in data:
        return False
    certificate = x509.load_pem_x509_certificate(data)
    return certificate.subject == certificate.issuer


# ---------------------------------------------------------------- TLS towards upstreams


@pytest.fixture
def behind_tls(tmp_path: Path, authority: Authority) -> Iterator[Upstream]:
    bundle = authority.bundle(tmp_path / "upstream.pem", "localhost", "immich.test")
    authority.write_root(tmp_path / "root.pem")
    upstream = Upstream(tls=server(bundle))
    yield upstream
    upstream.close()


def through(make: Make, upstream: Upstream, tls: str, host: str = "localhost") -> Client:
    """Return a client of a proxy that reaches `upstream` by TLS with these settings."""
    more = f'[timeouts]\nconnect = "1s"\n[upstreams.own]\nservers = ["https://{host}:{upstream.port}"]\n[upstreams.own.tls]\n{tls}'
    return make(more=more, to="own").client


def test_upstream_is_verified(make: Make, behind_tls: Upstream, tmp_path: Path) -> None:
    client = through(make, behind_tls, f'ca = "{tmp_path}/root.pem"')
    for _ in range(3):
        assert client.request("POST", "/", body=PIECE).body == b"ok"
    assert [request.body for request in behind_tls.take(3)] == [PIECE] * 3
    assert behind_tls.connections == 1


def test_upstream_may_be_verified_by_another_name(make: Make, behind_tls: Upstream, tmp_path: Path) -> None:
    client = through(make, behind_tls, f'ca = "{tmp_path}/root.pem"\nname = "immich.test"', "127.0.0.1")
    assert client.get("/").status == 200


@pytest.mark.parametrize(
    ("server", "status"),
    [('tls_name = "immich.test"', 200), ('tls_name = "wrong.test"', 502), ('tls_name = "wrong.test", tls_verify = false', 200)],
)
def test_each_server_may_have_a_name_of_its_own(server: str, status: int, make: Make, behind_tls: Upstream, tmp_path: Path) -> None:
    servers = f'[{{ address = "https://127.0.0.1:{behind_tls.port}", {server} }}]'
    more = f'[upstreams.own]\nservers = {servers}\n[upstreams.own.tls]\nca = "{tmp_path}/root.pem"\nname = "wrong.test"'
    assert make(more=more, to="own").client.get("/", ("Accept", "application/json")).status == status


@pytest.mark.parametrize("tls", ["", 'ca = "FOLDER/other.pem"', 'ca = "FOLDER/root.pem"\nname = "wrong.test"'])
def test_upstream_that_cannot_be_verified_is_502(tls: str, make: Make, behind_tls: Upstream, tmp_path: Path) -> None:
    """Fails closed: nothing is sent to it."""
    (tmp_path / "other.pem").write_bytes(pem_of(Authority("Other").root))
    client = through(make, behind_tls, tls.replace("FOLDER", str(tmp_path)))
    assert client.get("/", ("Accept", "application/json")).status == 502
    assert behind_tls.requests == []


def test_an_upstream_whose_certificate_is_revoked_is_502(make: Make, behind_tls: Upstream, authority: Authority, tmp_path: Path) -> None:
    bundle = x509.load_pem_x509_certificate((tmp_path / "upstream.pem").read_bytes())
    (tmp_path / "empty.crl").write_bytes(revocations(authority))
    (tmp_path / "full.crl").write_bytes(revocations(authority, bundle))
    tls = f'ca = "{tmp_path}/root.pem"\ncrl = "{tmp_path}/'
    assert through(make, behind_tls, f'{tls}empty.crl"').get("/").status == 200
    assert through(make, behind_tls, f'{tls}full.crl"').get("/", ("Accept", "application/json")).status == 502
    assert len(behind_tls.requests) == 1


def test_verification_may_be_left_out(make: Make, behind_tls: Upstream) -> None:
    assert through(make, behind_tls, "verify = false").get("/").status == 200


@pytest.mark.parametrize(
    ("tls", "own", "status"),
    [
        ('maximum = "1.2"', "", 200),
        ('minimum = "1.3"', "", 502),
        ('ciphers = ["AES256"]', "", 200),
        ('ciphers = ["AES128"]', "", 502),
        ('ciphers = ["AES128"]', ', tls_ciphers = ["AES256"]', 200),
        ('groups = ["P-256", "P-384"]', "", 200),
        ('groups = ["P-256"]', "", 502),
    ],
)
def test_what_is_offered_to_an_upstream(tls: str, own: str, status: int, make: Make, authority: Authority, tmp_path: Path) -> None:
    """It speaks TLS 1.2 with one kind of cipher and one group."""
    context = server(authority.bundle(tmp_path / "upstream.pem", "localhost"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES256")
    context.set_ecdh_curve("secp384r1")
    upstream = Upstream(tls=context)
    try:
        address = f'{{ address = "https://localhost:{upstream.port}"{own} }}'
        more = f"[upstreams.own]\nservers = [{address}]\n[upstreams.own.tls]\nverify = false\n{tls}"
        more = more.replace('["AES', '["ECDHE+AES')
        assert make(more=more, to="own").client.get("/", ("Accept", "application/json")).status == status
    finally:
        upstream.close()


def test_upstream_is_shown_a_client_certificate(make: Make, authority: Authority, tmp_path: Path) -> None:
    root = authority.write_root(tmp_path / "root.pem")
    authority.bundle(tmp_path / "client.pem", "proxy.test")
    upstream = Upstream(tls=server(authority.bundle(tmp_path / "upstream.pem", "localhost"), client_root=root))
    try:
        client = through(make, upstream, f'ca = "{root}"\ncert = "{tmp_path}/client.pem"')
        assert client.get("/").status == 200
    finally:
        upstream.close()


def test_plain_bytes_where_tls_was_expected_are_502(make: Make, tmp_path: Path, authority: Authority) -> None:
    """Bytes before the handshake must not be taken for an answer."""
    root = authority.write_root(tmp_path / "root.pem")
    upstream = Upstream()
    try:
        client = through(make, upstream, f'ca = "{root}"')
        assert client.get("/", ("Accept", "application/json")).status in (502, 504)
        assert upstream.requests == []
    finally:
        upstream.close()


def test_sessions_and_protocols_are_told(tmp_path: Path, authority: Authority) -> None:
    """In the words of nginx, by HTTP and by a connection that is not looked into."""
    web, raw = free_ports(2)
    authority.bundle(tmp_path / "a.pem", "photos.test")
    keys = f"ssl_certificate {tmp_path}/a.pem; ssl_certificate_key {tmp_path}/a.pem; ssl_protocols TLSv1.2;"
    text = f"""\
events {{}}
http {{ server {{ listen 127.0.0.1:{web} ssl; {keys} return 200 "$ssl_session_reused:$ssl_session_id:$ssl_alpn_protocol."; }} }}
stream {{ server {{ listen 127.0.0.1:{raw} ssl; {keys} return "$ssl_session_reused:$ssl_protocol."; }} }}
"""
    proxy = Vestibule(tmp_path, text, [web, raw], name="nginx.conf")
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        first, session = _said(context, web, None)
        second, _ = _said(context, web, session)
        third, session = _said(context, raw, None)
        fourth, _ = _said(context, raw, session)
    finally:
        proxy.stop()
    assert re.fullmatch(rb"[.]:[0-9a-f]*:http/1[.]1[.]", first)
    assert re.fullmatch(rb"r:[0-9a-f]{64}:http/1[.]1[.]", second)
    assert (third, fourth) == (b".:TLSv1.2.", b"r:TLSv1.2.")


def _said(context: ssl.SSLContext, port: int, session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
    """Return what is answered, and the session for the next time."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        context.wrap_socket(sock, server_hostname="photos.test", session=session) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: photos.test\r\nConnection: close\r\n\r\n")
        heard = b""
        while data := tls.recv(9_999):
            heard += data
            if heard.endswith(b"."):
                break
        return heard.rpartition(b"\r\n")[2], tls.session
