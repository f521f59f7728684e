"""A site behind TLS and a password, as a haproxy.cfg and as a Caddyfile; and one port for several TLS services: served end to end."""

import base64
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest
from tests.differential.originals import Running
from tests.e2e.certs import Authority, pem_of, server
from tests.e2e.client import Client
from tests.e2e.ports import free_ports
from tests.e2e.rig import environment
from tests.e2e.upstream import Upstream

from vestibule.http.proxy_protocol import parse_proxy_header

HAPROXY = """\
userlist gate
    user anna insecure-password Gr33nTea

frontend door
    mode http
    bind *:PORT,:::PORT v6only ssl crt FOLDER/photos.pem
    http-request auth unless { http_auth(gate) }
    use_backend photos

backend photos
    timeout connect 5s
    timeout server 10m
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    http-request set-header X-Real-IP %[src]
    option forwardfor
    use-server one if { hdr(host) -i photos.test }
    server one 127.0.0.1:UPSTREAM
"""

CADDY = """\
photos.test:PORT {
    tls FOLDER/photos.pem FOLDER/photos.pem
    basic_auth {
        anna $2b$04$HASH
    }
    reverse_proxy http://127.0.0.1:UPSTREAM
}
"""


SWITCH = """\
frontend one_port_for_all
    mode tcp
    bind :PORT
    timeout client 1h
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 }
    use_backend photos_tls if { req.ssl_sni -i photos.test }
    use_backend elsewhere if { req.ssl_sni -i mail.test }

backend photos_tls
    mode tcp
    timeout connect 5s
    timeout server 1h
    server here 127.0.0.1:BEHIND send-proxy-v2

backend elsewhere
    mode tcp
    timeout connect 5s
    timeout server 1h
    server there 127.0.0.1:MAIL

frontend photos_ends_tls
    mode http
    bind 127.0.0.1:BEHIND ssl crt FOLDER/photos.pem alpn h2,http/1.1 accept-proxy
    timeout client 10m
    default_backend photos

backend photos
    mode http
    timeout connect 5s
    timeout server 10m
    http-request set-header X-Real-IP %[src]
    option forwardfor
    server one 127.0.0.1:UPSTREAM
"""


@contextmanager
def serving(folder: Path, name: str, text: str, original: bool = False) -> Iterator[tuple[int, Upstream, Authority]]:
    """Serve a configuration with a certificate for photos.test, in front of an upstream that says ok; or have HAProxy serve it."""
    (port,) = free_ports(1)
    authority = Authority()
    authority.bundle(folder / "photos.pem", "photos.test").chmod(0o600)
    upstream = Upstream()
    file = folder / name
    file.write_text(text.replace("PORT", str(port)).replace("UPSTREAM", str(upstream.port)).replace("FOLDER", str(folder)))
    command = [sys.executable, "-m", "vestibule", "run", str(file), "--workers", "1"]
    if original:
        command = ["haproxy", "-db", "-f", str(file)]
    running = Running(command, folder, [port], environment() | {"XDG_STATE_HOME": str(folder / "state")})
    try:
        yield port, upstream, authority
    finally:
        running.stop()
        upstream.close()


def credentials(text: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_haproxy_with_a_password_and_both_families(tmp_path: Path, address: str) -> None:
    with serving(tmp_path, "haproxy.cfg", HAPROXY) as (port, upstream, authority):
        client = Client((address, port), authority.client(), "photos.test")
        refused = client.request("GET", "/")
        assert refused.status == 401
        assert refused.head.fields.count((b"WWW-Authenticate", b'Basic realm="door"')) == 1
        assert upstream.requests == []
        passed = client.request(
            "POST", "/api/assets?x=1", [credentials("anna:Gr33nTea"), ("X-Forwarded-For", "198.51.100.1")], b"abc" * 1000
        )
        assert passed.status == 200, passed.body
        (seen,) = upstream.requests
        assert seen.body == b"abc" * 1000
        fields = {name.lower(): value for name, value in seen.fields}
        assert fields[b"x-forwarded-proto"] == b"https"
        assert fields[b"x-forwarded-port"] == str(port).encode()
        assert fields[b"x-real-ip"] == address.encode()
        assert [value for name, value in seen.fields if name.lower() == b"x-forwarded-for"] == [b"198.51.100.1", address.encode()]
        assert client.request("GET", "/", [credentials("anna:wrong")]).status == 401


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_haproxy_switches_by_name_and_tells_the_client_on(tmp_path: Path, original: bool) -> None:
    """What HAProxy makes of the same file is the other half of the test."""
    behind, mail = free_ports(2)
    authority = Authority()
    context = server(authority.bundle(tmp_path / "mail.pem", "mail.test"))

    def talk(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with context.wrap_socket(sock, server_side=True) as secure:
            secure.sendall(b"mail:" + secure.recv(100))

    listener = socket.create_server(("127.0.0.1", mail))
    thread = threading.Thread(target=talk, args=(listener,))
    thread.start()
    text = SWITCH.replace("BEHIND", str(behind)).replace("MAIL", str(mail))
    with serving(tmp_path, "haproxy.cfg", text, original) as (port, upstream, authority_here):
        with socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.5", 0)) as sock:
            secure = authority_here.client().wrap_socket(sock, server_hostname="photos.test")
            secure.sendall(b"GET /a HTTP/1.1\r\nHost: photos.test\r\nConnection: close\r\n\r\n")
            assert b" 200 " in secure.recv(100)
            secure.close()
        (seen,) = upstream.requests
        fields = {name.lower(): value for name, value in seen.fields}
        assert (fields[b"x-real-ip"], fields[b"x-forwarded-for"]) == (b"127.0.0.5", b"127.0.0.5")
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            secure = authority.client().wrap_socket(sock, server_hostname="mail.test")
            secure.sendall(b"hello")
            assert secure.recv(100) == b"mail:hello"
            secure.close()
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 10) as sock:
            authority.client().wrap_socket(sock, server_hostname="unknown.test")
    thread.join(10)
    listener.close()


TOLD = """\
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 5s

frontend door
    bind 127.0.0.1:PORT ssl crt FOLDER/photos.pem ca-file FOLDER/ca.pem verify optional alpn http/1.1
    default_backend behind

backend behind
    source 127.0.0.7
    server here 127.0.0.1:BEHIND SEND
"""
CIPHER = b"TLS_AES_256_GCM_SHA384"


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
@pytest.mark.parametrize(
    ("send", "shows", "told", "of_tls"),
    [
        ("send-proxy-v2", True, {1: b"http/1.1"}, {}),
        ("send-proxy-v2-ssl", False, {1: b"http/1.1"}, {0: b"\x01" + bytes(4), 0x21: b"TLSv1.3"}),
        ("send-proxy-v2-ssl-cn", True, {1: b"http/1.1"}, {0: b"\x07" + bytes(4), 0x21: b"TLSv1.3", 0x22: b"anna.test"}),
        ("send-proxy-v2 proxy-v2-options cert-cn", False, {1: b"http/1.1"}, {0: b"\x01" + bytes(4), 0x21: b"TLSv1.3"}),
        (
            "send-proxy-v2 proxy-v2-options ssl,ssl-cipher,authority,crc32c",
            True,
            {1: b"http/1.1", 2: b"photos.test"},
            {0: b"\x07" + bytes(4), 0x21: b"TLSv1.3", 0x23: CIPHER},
        ),
    ],
)
def test_servers_are_told_of_the_tls_of_clients(
    tmp_path: Path, send: str, shows: bool, told: dict[int, bytes], of_tls: dict[int, bytes], original: bool
) -> None:
    behind = socket.create_server(("127.0.0.1", 0))
    clients = Authority("Clients")
    (tmp_path / "ca.pem").write_bytes(pem_of(clients.root))
    text = TOLD.replace("BEHIND", str(behind.getsockname()[1])).replace("SEND", send)
    with serving(tmp_path, "haproxy.cfg", text, original) as (port, _, authority), behind:
        context = authority.client()
        context.set_alpn_protocols(["http/1.1"])
        if shows:
            context.load_cert_chain(clients.bundle(tmp_path / "anna.pem", "anna.test"))
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="photos.test") as secure:
            secure.sendall(b"GET /a HTTP/1.1\r\nHost: photos.test\r\n\r\n")
            behind.settimeout(10)
            sock, address = behind.accept()
            with sock:
                header = parse_proxy_header(sock.recv(4096))
    assert header is not None and header.source == b"127.0.0.1" and address[0] == "127.0.0.7"
    found = dict(header.tlvs)
    tls = found.pop(0x20, b"")
    assert (b"crc32c" in send.encode()) is (found.pop(3, None) is not None), "a checksum that does not hold was refused already"
    assert found == told
    assert _parts(tls) == of_tls


def _parts(tls: bytes) -> dict[int, bytes]:
    """Return what is told of TLS, by type; what stands before that as 0."""
    found = {0: tls[:5]} if tls else {}
    at = 5
    while at < len(tls):
        size = int.from_bytes(tls[at + 1 : at + 3], "big")
        found[tls[at]] = tls[at + 3 : at + 3 + size]
        at += 3 + size
    return found


def test_caddy_with_a_certificate_and_a_password(tmp_path: Path) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    stored = bcrypt.hashpw(b"Gr33nTea", bcrypt.gensalt(4)).decode()
    with serving(tmp_path, "Caddyfile", CADDY.replace("$2b$04$HASH", stored)) as (port, upstream, authority):
        client = Client(("127.0.0.1", port), authority.client(), "photos.test")
        assert client.request("GET", "/").status == 401
        assert client.request("GET", "/", [credentials("anna:Gr33nTea"), ("X-Forwarded-For", "198.51.100.1")]).status == 200
        (seen,) = upstream.requests
        fields = {name.lower(): value for name, value in seen.fields}
        assert fields[b"x-forwarded-for"] == b"127.0.0.1"
        assert fields[b"x-forwarded-proto"] == b"https"
        assert b"x-real-ip" not in fields


SLOW = """\
userlist gate
    user anna password HASH

frontend door
    mode http
    bind 127.0.0.1:PORT
    timeout client 1m
    http-request return status 200 if { path /open }
    http-request return status 403 unless { http_auth(gate) }
    http-request return status 204
"""


def test_a_condition_that_asks_for_a_slow_password_keeps_nobody_waiting(tmp_path: Path) -> None:
    # Twelve rounds are a quarter of a second; five wrong passwords are more than one.
    text = SLOW.replace("HASH", bcrypt.hashpw(b"Gr33nTea", bcrypt.gensalt(12)).decode())
    with serving(tmp_path, "haproxy.cfg", text) as (port, _, _):
        wrong = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(5)]
        for at, sock in enumerate(wrong):
            name, value = credentials(f"anna:{at}")
            sock.sendall(f"GET / HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n\r\n".encode())
        assert Client(("127.0.0.1", port)).request("GET", "/open").status == 200
        wrong[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            wrong[-1].recv(1)
        wrong[-1].settimeout(20)
        for sock in wrong:
            assert sock.recv(12) == b"HTTP/1.1 403"
            sock.close()
        right = [credentials("anna:Gr33nTea")]
        assert [Client(("127.0.0.1", port)).request("GET", "/", right).status for _ in range(2)] == [204, 204]
