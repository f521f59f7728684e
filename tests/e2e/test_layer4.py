"""Connections that are passed on as they are, and who they come from: layer 4 and the PROXY protocol.

Facts: HAProxy and nginx stand on either side as senders and receivers of PROXY headers; curl and OpenSSL are the clients.
"""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.differential.originals import Running
from vestibule.http.proxy_protocol import V1, V2, parse_proxy_header, proxy_header

from .certs import Authority, server
from .client import Client, close_all
from .ports import free_ports
from .rig import Vestibule, settings
from .upstream import Upstream

pytestmark = pytest.mark.http1
BIG = os.urandom(1 << 20) * 8
WAIT_S = 10


class Raw:
    """A server of bytes. `talk` is called for each connection, which is closed afterwards."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(WAIT_S)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            self._talk(sock)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in [self._thread, *self._threads]:
            thread.join(WAIT_S)


def read_all(sock: socket.socket) -> bytes:
    pieces = []
    while data := sock.recv(1 << 18):
        pieces.append(data)
    return b"".join(pieces)


def named(name: bytes) -> Callable[[socket.socket], None]:
    """Return a conversation: who we are, then all that came, once the other side has ended."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(name + b":")
        sock.sendall(read_all(sock))

    return talk


@pytest.fixture
def raws() -> Iterator[Callable[[Callable[[socket.socket], None]], Raw]]:
    made: list[Raw] = []

    def make(talk: Callable[[socket.socket], None]) -> Raw:
        raw = Raw(talk)
        made.append(raw)
        return raw

    yield make
    for raw in made:
        raw.close()


Make = Callable[[str], Vestibule]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Make]:
    made: list[Vestibule] = []

    def start(config: str) -> Vestibule:
        ports = [int(port) for port in re.findall(r"^(?:address|listen) = \W*(?:http://)?127\.0\.0\.1:(\d+)", config, re.MULTILINE)]
        top, _, rest = config.partition("\n[")
        text = f"{top}\n{settings(tmp_path)}[{rest}" if top.startswith("trusted") else settings(tmp_path) + config
        proxy = Vestibule(tmp_path, text, ports)
        made.append(proxy)
        return proxy

    yield start
    close_all()
    for proxy in made:
        proxy.stop()


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), WAIT_S)
    sock.settimeout(WAIT_S)
    return sock


def ask(port: int, data: bytes) -> bytes:
    """Send, end, and return everything that comes back."""
    with connect(port) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        got = read_all(sock)
        sender.join(WAIT_S)
        return got


# ---------------------------------------------------------------- bytes


def passed_to(port: int, to: int, more: str = "") -> str:
    return f'[listeners.front]\naddress = "127.0.0.1:{port}"\nroutes = [{{ to = "tcp://127.0.0.1:{to}" }}]\n{more}'


def test_bytes_pass_both_ways_and_ends_are_told_apart(run: Make, raws: Callable[..., Raw]) -> None:
    port = free_ports(1)[0]
    to = raws(named(b"a")).port
    proxy = run(passed_to(port, to))
    assert ask(port, b"hello") == b"a:hello"
    assert ask(port, BIG) == b"a:" + BIG
    assert ask(port, b"") == b"a:"
    assert proxy.wait_until(lambda: any(record["bytes_in"] == len(BIG) for record in proxy.records))
    record = next(record for record in proxy.records if record["bytes_in"] == len(BIG))
    assert (record["method"], record["bytes_out"]) == ("TCP", len(BIG) + 2)
    assert record["upstream_address"] == f"127.0.0.1:{to}"


def test_a_server_that_speaks_first_is_heard(run: Make, raws: Callable[..., Raw]) -> None:
    port = free_ports(1)[0]
    run(passed_to(port, raws(named(b"220 mail")).port))
    with connect(port) as sock:
        assert sock.recv(100) == b"220 mail:"


def test_a_connection_that_breaks_is_no_orderly_end(run: Make, raws: Callable[..., Raw]) -> None:
    def talk(sock: socket.socket) -> None:
        sock.sendall(b"half")
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    port = free_ports(1)[0]
    run(passed_to(port, raws(talk).port))
    with connect(port) as sock:
        assert sock.recv(100) == b"half"
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_nobody_there_closes_the_connection_and_is_told(run: Make) -> None:
    port, to = free_ports(2)
    proxy = run(passed_to(port, to))
    assert ask(port, b"") == b""
    assert proxy.wait_until(lambda: any(record.get("fault") == "upstream.refused" for record in proxy.records))


@pytest.mark.parametrize("size", [3, len(BIG)])
def test_both_sides_may_end_with_one(run: Make, raws: Callable[..., Raw], size: int) -> None:
    """What was sent before the end arrives whole, relayed or not."""
    heard: list[bytes] = []

    def server_ends(sock: socket.socket) -> None:
        if sock.recv(1):  # else it was asked only whether it is there
            sock.sendall(BIG[:size])
            sock.shutdown(socket.SHUT_WR)
            heard.append(read_all(sock))

    def client_ends(sock: socket.socket) -> None:
        if got := read_all(sock):
            heard.append(got)

    ports = free_ports(2)
    more = "half_close = false\n"
    first, second = passed_to(ports[0], raws(server_ends).port, more), passed_to(ports[1], raws(client_ends).port, more)
    proxy = run(first + second.replace("listeners.front", "listeners.second"))
    with connect(ports[0]) as sock:
        sock.sendall(b"!")
        assert read_all(sock) == BIG[:size]
        assert proxy.wait_until(lambda: heard == [b""])
    with connect(ports[1]) as sock:
        sock.sendall(BIG[:size])
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
    assert proxy.wait_until(lambda: len(heard) == 2) and heard[1] == BIG[:size]
    assert not any("fault" in record for record in proxy.records)


def test_idle_connections_end(run: Make, raws: Callable[..., Raw]) -> None:
    port = free_ports(1)[0]
    proxy = run(passed_to(port, raws(named(b"a")).port) + '[listeners.front.timeouts]\ntunnel_idle = "300ms"\n')
    with connect(port) as sock:
        assert sock.recv(10) == b"a:"
        assert sock.recv(10) == b""
    assert proxy.wait_until(lambda: any(record.get("fault") == "client.timeout_idle" for record in proxy.records))


def test_a_reload_leaves_connections_alone(run: Make, raws: Callable[..., Raw]) -> None:
    port = free_ports(1)[0]
    first, second = raws(named(b"a")).port, raws(named(b"b")).port
    proxy = run(passed_to(port, first))
    with connect(port) as sock:
        assert sock.recv(10) == b"a:"
        proxy.write(settings(proxy.folder) + passed_to(port, second))
        assert proxy.control("reload").returncode == 0
        assert ask(port, b"new") == b"b:new"
        sock.sendall(b"old")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"old"


# ---------------------------------------------------------------- routes


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def tls_server(folder: Path, authority: Authority, name: str) -> Callable[[socket.socket], None]:
    """Return a conversation in TLS with a certificate of this name."""
    context = server(authority.bundle(folder / f"{name}.pem", name))

    def talk(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            secure.sendall(name.encode() + b":" + secure.recv(100))

    return talk


def secure_ask(port: int, name: str, authority: Authority, alpn: tuple[str, ...] = ()) -> bytes:
    context = authority.client()
    if alpn:
        context.set_alpn_protocols(list(alpn))
    with context.wrap_socket(connect(port), server_hostname=name) as sock:
        sock.sendall(b"hello")
        return read_all(sock)


def test_names_are_routed_without_being_opened(run: Make, raws: Callable[..., Raw], tmp_path: Path, authority: Authority) -> None:
    """The same port passes names through, ends TLS for another, and sends what is no TLS elsewhere."""
    upstream = Upstream()
    authority.bundle(tmp_path / "photos.pem", "photos.test")
    mail = raws(tls_server(tmp_path, authority, "mail.test")).port
    any_lan = raws(tls_server(tmp_path, authority, "x.lan.test")).port
    voice = raws(tls_server(tmp_path, authority, "voice.test")).port
    plain = raws(named(b"plain")).port
    front, web = free_ports(2)
    run(
        f"""\
[listeners.front]
address = "127.0.0.1:{front}"
routes = [
  {{ names = ["MAIL.test"], to = "tcp://127.0.0.1:{mail}" }},
  {{ names = ["*.lan.test"], to = "tcp://127.0.0.1:{any_lan}" }},
  {{ names = ["photos.test"], listener = "web" }},
  {{ when = 'tls_alpn == "x-voice"', to = "tcp://127.0.0.1:{voice}" }},
  {{ names = ["closed.test"] }},
  {{ when = 'tls_sni == ""', to = "tcp://127.0.0.1:{plain}" }},
]
[listeners.web]
address = "127.0.0.1:{web}"
tls = true
[sites."photos.test"]
listen = ["web"]
cert = "photos.pem"
to = "http://127.0.0.1:{upstream.port}"
"""
    )
    assert secure_ask(front, "mail.test", authority) == b"mail.test:hello"
    assert secure_ask(front, "x.lan.test", authority) == b"x.lan.test:hello"
    assert secure_ask(front, "voice.test", authority, ("x-voice",)) == b"voice.test:hello"
    assert ask(front, b"GET / HTTP/1.0\r\n\r\n") == b"plain:GET / HTTP/1.0\r\n\r\n"
    for version in ("h1", "h2"):
        client = Client(("127.0.0.1", front), authority.client(), "photos.test", version)
        assert client.get("/through").body == b"ok"
    assert upstream.requests[0].find("X-Forwarded-Proto") == b"https"
    for name in ("closed.test", "unknown.test"):
        with pytest.raises((ssl.SSLError, OSError)):
            secure_ask(front, name, authority)
    upstream.close()


def ended(folder: Path, port: int, routes: str, more: str = "") -> str:
    return (
        f'[listeners.front]\naddress = "127.0.0.1:{port}"\ntls = true\ncertificates = ["mail"]\n{more}\nroutes = [{routes}]\n'
        f'[certificates.mail]\ncert = "{folder}/mail.pem"\n'
    )


def test_tls_ends_here_and_bytes_go_on(run: Make, raws: Callable[..., Raw], tmp_path: Path, authority: Authority) -> None:
    """Ends are told apart inside TLS, large bodies are whole, and the server sees what was in it."""
    authority.bundle(tmp_path / "mail.pem", "mail.test")
    port = free_ports(1)[0]
    to = raws(named(b"plain")).port
    proxy = run(ended(tmp_path, port, f'{{ to = "tcp://127.0.0.1:{to}" }}'))
    for data in (b"hello", BIG):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = authority.client().wrap_bio(incoming, outgoing, server_hostname="mail.test")
        with connect(port) as sock:
            got = talk_tls(sock, secure, incoming, outgoing, data)
        assert got == b"plain:" + data
    assert proxy.wait_until(lambda: len(proxy.records) == 2)
    assert proxy.records[0]["bytes_in"] == 5
    assert not ask(port, b"no TLS\r\n" * 4).startswith(b"plain:")


def talk_tls(sock: socket.socket, secure: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, data: bytes) -> bytes:
    """Send data and close_notify, and return what comes until that of the other side."""

    def until(step: Callable[[], object]) -> object:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(1 << 18))
                continue
            return done

    until(secure.do_handshake)
    secure.write(data)
    with contextlib.suppress(ssl.SSLWantReadError):
        secure.unwrap()
    rest = outgoing.read()
    sender = threading.Thread(target=lambda: sock.sendall(rest))
    sender.start()
    got = []
    while True:
        try:
            piece = secure.read(1 << 18)
        except ssl.SSLWantReadError:
            came = sock.recv(1 << 18)
            if not came:
                break
            incoming.write(came)
            continue
        except ssl.SSLZeroReturnError:
            break
        if not piece:
            break
        got.append(piece)
    sender.join(WAIT_S)
    return b"".join(got)


def test_names_and_protocols_inside_tls_choose(run: Make, raws: Callable[..., Raw], tmp_path: Path, authority: Authority) -> None:
    authority.bundle(tmp_path / "mail.pem", "mail.test", "other.test")
    port = free_ports(1)[0]
    a, b, c = [raws(told(name)).port for name in (b"a", b"b", b"c")]
    routes = (
        f'{{ names = ["mail.test"], to = "tcp://127.0.0.1:{a}" }}, {{ when = \'tls_alpn == "imap"\', to = "tcp://127.0.0.1:{b}" }},'
        f'{{ to = "tcp://127.0.0.1:{c}" }}'
    )
    run(ended(tmp_path, port, routes, 'alpn = ["pop3", "imap"]'))
    assert secure_ask(port, "mail.test", authority) == b"a:hello"
    assert secure_ask(port, "other.test", authority, ("imap",)) == b"b:hello"
    assert secure_ask(port, "other.test", authority, ("imap", "pop3")) == b"c:hello"
    with pytest.raises(ssl.SSLError):
        secure_ask(port, "other.test", authority, ("h2",))


def told(name: bytes) -> Callable[[socket.socket], None]:
    """Return a conversation: who we are, and the first bytes that came."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(name + b":" + sock.recv(100))

    return talk


def test_tls_to_the_server_too_and_behind_a_proxy_header(run: Make, raws: Callable[..., Raw], tmp_path: Path, authority: Authority) -> None:
    authority.bundle(tmp_path / "mail.pem", "mail.test")
    port = free_ports(1)[0]
    to = raws(tls_server(tmp_path, authority, "back.test")).port
    run(
        ended(tmp_path, port, '{ to = "mail" }', 'proxy_protocol = true\nproxy_protocol_from = ["127.0.0.1"]')
        + f'[upstreams.mail]\nservers = ["https://127.0.0.1:{to}"]\n'
        + f'[upstreams.mail.tls]\nname = "back.test"\nca = "{authority.write_root(tmp_path / "ca.pem")}"\n'
    )
    with connect(port) as sock:
        sock.sendall(b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 993\r\n")
        with authority.client().wrap_socket(sock, server_hostname="mail.test") as secure:
            secure.sendall(b"hello")
            assert read_all(secure) == b"back.test:hello"


def test_a_hello_in_single_bytes_is_read(run: Make, raws: Callable[..., Raw], tmp_path: Path, authority: Authority) -> None:
    mail = raws(tls_server(tmp_path, authority, "mail.test")).port
    front = free_ports(1)[0]
    run(f'[listeners.front]\naddress = "127.0.0.1:{front}"\nroutes = [{{ names = ["mail.test"], to = "tcp://127.0.0.1:{mail}" }}]\n')
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client().wrap_bio(incoming, outgoing, server_hostname="mail.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with connect(front) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(hello)):
            sock.sendall(hello[at : at + 1])
        assert sock.recv(1) == b"\x16"


def test_openssl_is_routed(run: Make, raws: Callable[..., Raw], tmp_path: Path, authority: Authority) -> None:
    mail = raws(tls_server(tmp_path, authority, "mail.test")).port
    front = free_ports(1)[0]
    run(f'[listeners.front]\naddress = "127.0.0.1:{front}"\nroutes = [{{ names = ["mail.test"], to = "tcp://127.0.0.1:{mail}" }}]\n')
    for version in ("-tls1_2", "-tls1_3"):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{front}", "-servername", "mail.test", "-quiet", version]
        done = subprocess.run(command, input=b"hello\n", capture_output=True, timeout=WAIT_S, check=False)
        assert done.stdout.startswith(b"mail.test:hello")


def test_who_waits_for_the_server_gets_the_default(run: Make, raws: Callable[..., Raw]) -> None:
    """Not every protocol lets the client speak first."""
    front = free_ports(1)[0]
    routes = f'routes = [{{ names = ["a.test"] }}, {{ to = "tcp://127.0.0.1:{raws(named(b"220")).port}" }}]'
    run(f'[listeners.front]\naddress = "127.0.0.1:{front}"\n{routes}\n[listeners.front.timeouts]\ntls_handshake = "200ms"\n')
    with connect(front) as sock:
        assert sock.recv(10) == b"220:"


def test_networks_are_routed(run: Make, raws: Callable[..., Raw]) -> None:
    inside, outside = raws(named(b"in")).port, raws(named(b"out")).port
    front = free_ports(1)[0]
    routes = (
        f'routes = [{{ when = \'peer_ip within ["127.0.0.2"]\', to = "tcp://127.0.0.1:{inside}" }}, {{ to = "tcp://127.0.0.1:{outside}" }}]'
    )
    run(f'[listeners.front]\naddress = "127.0.0.1:{front}"\n{routes}\n')
    assert ask(front, b"") == b"out:"
    with socket.create_connection(("127.0.0.1", front), WAIT_S, ("127.0.0.2", 0)) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"in:"


# ---------------------------------------------------------------- PROXY headers coming in


def announced(port: int, to: int, more: str = 'proxy_protocol_from = ["127.0.0.1"]') -> str:
    return (
        f'[listeners.web]\naddress = "127.0.0.1:{port}"\nproxy_protocol = true\n{more}\n'
        f'[sites."*"]\nlisten = ["web"]\nto = "http://127.0.0.1:{to}"\n'
    )


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


def test_texts_are_said_limits_hold_and_logs_tell(tmp_path: Path, raws: Callable[..., Raw]) -> None:
    """As nginx's `stream` has it: a place to say who is there, and connections counted over several of them."""
    first, second, third = free_ports(3)
    text = f"""\
events {{}}
stream {{
    limit_conn_zone $binary_remote_addr zone=one:1m;
    log_format line $remote_addr:$bytes_received:$bytes_sent:
                    $upstream_bytes_sent:$upstream_bytes_received:$status:$upstream_first_byte_time;
    server {{ listen 127.0.0.1:{first}; return "$remote_addr:$server_port"; }}
    proxy_half_close on;
    server {{ listen 127.0.0.1:{second}; proxy_pass 127.0.0.1:{raws(named(b"a")).port}; limit_conn one 1; access_log {tmp_path}/log line; }}
    server {{ listen 127.0.0.1:{third}; deny all; return no; access_log {tmp_path}/log line; }}
}}
"""
    proxy = Vestibule(tmp_path, text, [first, second, third], name="nginx.conf")
    try:
        with socket.create_connection(("127.0.0.1", first), WAIT_S) as sock:
            assert read_all(sock) == b"127.0.0.1:%d" % first
        with greeted(second) as sock:
            with socket.create_connection(("127.0.0.1", second), WAIT_S) as other:
                assert read_all(other) == b""
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"hello"
        greeted(second).close()
        with socket.create_connection(("127.0.0.1", third), WAIT_S) as sock:
            assert read_all(sock) == b""
    finally:
        proxy.stop()
    lines = [re.sub(r"[0-9]+[.][0-9]{3}$", "T", line) for line in (tmp_path / "log").read_text().splitlines()]
    wanted = ["127.0.0.1:0:0:-:-:503:-", "127.0.0.1:5:7:5:7:200:T", "127.0.0.1:0:2:0:2:200:T", "127.0.0.1:0:0:-:-:403:-"]
    assert [each for each in wanted if each not in lines] == []


def test_connections_are_given_to_a_server_of_http(tmp_path: Path) -> None:
    web, raw = free_ports(2)
    text = f"""\
events {{}}
http {{ server {{ listen 127.0.0.1:{web}; return 200 "here $server_port"; }} }}
stream {{ server {{ listen 127.0.0.1:{raw}; pass 127.0.0.1:{web}; }} }}
"""
    proxy = Vestibule(tmp_path, text, [web, raw], name="nginx.conf")
    try:
        with socket.create_connection(("127.0.0.1", raw), WAIT_S) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert read_all(sock).endswith(b"here %d" % raw)
    finally:
        proxy.stop()


def test_headers_of_others_are_known_and_do_not_count(tmp_path: Path) -> None:
    """As nginx has it: whose PROXY header counts, and where, is said beside; what it says is known in any case."""
    web, raw, trusted = free_ports(3)
    text = f"""\
events {{}}
http {{
    set_real_ip_from 127.0.0.1;
    server {{
        listen 127.0.0.1:{web} proxy_protocol;
        location / {{ return 200 "$remote_addr $proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr"; }}
        location /real {{ real_ip_header proxy_protocol; return 200 "$remote_addr:$remote_port $realip_remote_addr"; }}
        location /others {{ real_ip_header proxy_protocol; set_real_ip_from 192.0.2.1; return 200 $remote_addr; }}
    }}
}}
stream {{
    server {{ listen 127.0.0.1:{raw} proxy_protocol; return "$remote_addr $proxy_protocol_addr:$proxy_protocol_server_port"; }}
    server {{ listen 127.0.0.1:{trusted} proxy_protocol; set_real_ip_from 127.0.0.1; return "$remote_addr"; }}
}}
"""
    said = {
        (web, "/"): b"127.0.0.1 198.51.100.7:4711 203.0.113.1",
        (web, "/real"): b"198.51.100.7:4711 127.0.0.1",
        (web, "/others"): b"127.0.0.1",
        (raw, ""): b"127.0.0.1 198.51.100.7:443",
        (trusted, ""): b"198.51.100.7",
    }
    proxy = Vestibule(tmp_path, text, [web, raw, trusted], name="nginx.conf")
    heard: dict[tuple[int, str], bytes] = {}
    try:
        for port, path in said:
            with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock:
                sock.sendall(proxy_header(V1, b"198.51.100.7", 4711, b"203.0.113.1", 443))
                if path:
                    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                heard[(port, path)] = read_all(sock).rpartition(b"\r\n")[2]
        with socket.create_connection(("127.0.0.1", web), WAIT_S) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_all(sock) == b""
    finally:
        proxy.stop()
    assert heard == said


def greeted(port: int) -> socket.socket:
    """Connect until there is a place, and hear the server."""
    for _ in range(100):
        sock = socket.create_connection(("127.0.0.1", port), WAIT_S)
        if sock.recv(2) == b"a:":
            return sock
        sock.close()
        time.sleep(0.05)
    raise AssertionError("there is no place")


@pytest.mark.parametrize("header_version", [V1, V2])
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_the_client_is_who_the_header_says(header_version: int, cut: int, run: Make, upstream: Upstream) -> None:
    port = free_ports(1)[0]
    proxy = run(announced(port, upstream.port))
    header = proxy_header(header_version, b"198.51.100.7", 4711, b"203.0.113.1", 443)
    request = b"GET /a HTTP/1.1\r\nHost: photos.test\r\nX-Forwarded-For: 192.0.2.9\r\nConnection: close\r\n\r\n"
    data = header + request
    with connect(port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), cut):
            sock.sendall(data[at : at + cut])
        assert b"200" in read_all(sock)
    seen = upstream.take_one()
    assert (seen.find("X-Real-IP"), seen.find("X-Forwarded-For")) == (b"198.51.100.7", b"198.51.100.7")
    assert proxy.wait_until(lambda: bool(proxy.records))
    assert proxy.records[0]["client_ip"] == "198.51.100.7"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"], ids=["v1", "v2"])
def test_a_health_check_is_from_whom_it_came(header: bytes, run: Make, upstream: Upstream) -> None:
    port = free_ports(1)[0]
    run(announced(port, upstream.port))
    assert b"200" in ask(port, header + b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert upstream.take_one().find("X-Real-IP") == b"127.0.0.1"


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 0x1 2\r\n", b"PROXY "])
def test_no_header_no_answer(sent: bytes, run: Make, upstream: Upstream) -> None:
    port = free_ports(1)[0]
    run(announced(port, upstream.port) + '[listeners.web.timeouts]\nrequest_head = "300ms"\n')
    with connect(port) as sock:
        sock.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    assert upstream.requests == []


def test_nobody_else_may_send_one(run: Make, upstream: Upstream) -> None:
    port = free_ports(1)[0]
    run(announced(port, upstream.port, 'proxy_protocol_from = ["127.0.0.2"]'))
    with connect(port) as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        sock.sendall(proxy_header(V1, b"198.51.100.7", 1, b"203.0.113.1", 2) + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(100) == b""
    assert upstream.requests == []


def test_access_rules_know_the_real_client(run: Make, upstream: Upstream) -> None:
    port = free_ports(1)[0]
    run(announced(port, upstream.port) + "request = [{ deny = 403, when = 'client_ip within [\"198.51.100.0/24\"]' }]\n")
    request = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert b" 403 " in ask(port, proxy_header(V2, b"198.51.100.7", 1, b"203.0.113.1", 2) + request)
    assert b" 200 " in ask(port, proxy_header(V2, b"192.0.2.7", 1, b"203.0.113.1", 2) + request)


def test_curl_and_tls_behind_the_header(run: Make, upstream: Upstream, tmp_path: Path, authority: Authority) -> None:
    authority.bundle(tmp_path / "photos.pem", "photos.test")
    port = free_ports(1)[0]
    run(
        f'[listeners.web]\naddress = "127.0.0.1:{port}"\ntls = true\nproxy_protocol = true\nproxy_protocol_from = ["127.0.0.1"]\n'
        f'[sites."photos.test"]\nlisten = ["web"]\ncert = "photos.pem"\nto = "http://127.0.0.1:{upstream.port}"\n'
    )
    for version in ("--http1.1", "--http2"):
        command = ["curl", "-sk", "--haproxy-protocol", version, "--resolve", f"photos.test:{port}:127.0.0.1"]
        done = subprocess.run([*command, f"https://photos.test:{port}/a"], capture_output=True, timeout=WAIT_S, check=False)
        assert done.stdout == b"ok"


# ---------------------------------------------------------------- PROXY headers going out


def test_servers_are_told_who_is_connected(run: Make, raws: Callable[..., Raw]) -> None:
    seen: list[bytes] = []

    def talk(sock: socket.socket) -> None:
        seen.append(read_all(sock))

    port, other = free_ports(2)
    to = raws(talk).port
    run(
        f'[listeners.front]\naddress = "127.0.0.1:{port}"\nroutes = [{{ to = "one" }}]\n'
        f'[listeners.second]\naddress = "127.0.0.1:{other}"\nroutes = [{{ to = "two" }}]\n'
        f'[upstreams]\none.servers = [{{ address = "http://127.0.0.1:{to}", proxy_protocol = "v1" }}]\n'
        f'two.servers = [{{ address = "http://127.0.0.1:{to}", proxy_protocol = "v2" }}]\n'
    )
    for front in (port, other):
        with connect(front) as sock:
            ours = sock.getsockname()[1]
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            read_all(sock)
        said = next(each for each in seen if each.endswith(b"hello"))
        seen.clear()
        header = parse_proxy_header(said)
        assert header is not None and header.known
        assert (header.source, header.source_port, header.destination_port) == (b"127.0.0.1", ours, front)
        assert said[header.size :] == b"hello"


NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port} proxy_protocol;
        location / {{ return 200 "$proxy_protocol_addr $request_uri"; }}
    }}
}}
"""


@pytest.mark.skipif(shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") is None, reason="nginx is not installed")
@pytest.mark.parametrize("spoken", ["v1", "v2"])
def test_nginx_understands_our_headers(spoken: str, run: Make, tmp_path: Path) -> None:
    """And a connection that began with one is not lent to another client."""
    port, behind = free_ports(2)
    folder = tmp_path / "nginx"
    folder.mkdir()
    (folder / "main.conf").write_text(NGINX.format(folder=folder, port=behind))
    nginx = Running(["nginx", "-p", str(folder), "-c", str(folder / "main.conf")], folder, [behind], dict(os.environ))
    try:
        run(
            f'trusted_proxies = ["127.0.0.1"]\n[sites."*"]\nlisten = ["http://127.0.0.1:{port}"]\nto = "behind"\n'
            f'[upstreams.behind]\nservers = [{{ address = "http://127.0.0.1:{behind}", proxy_protocol = "{spoken}" }}]\n'
        )
        client = Client(("127.0.0.1", port))
        with client.connect() as wire:
            for number in range(3):
                for address in ("198.51.100.7", "198.51.100.8"):
                    answer = client.request("GET", f"/{number}", [("X-Forwarded-For", address)], wire=wire)
                    assert answer.body == f"{address} /{number}".encode()
    finally:
        nginx.stop()


HAPROXY = """\
defaults
\ttimeout client 10s
\ttimeout server 10s
\ttimeout connect 5s
frontend switch
\tmode tcp
\tbind 127.0.0.1:{front}
\ttcp-request inspect-delay 5s
\ttcp-request content accept if {{ req.ssl_hello_type 1 }}
\tuse_backend photos if {{ req.ssl_sni -i photos.test }}
backend photos
\tmode tcp
\tserver here 127.0.0.1:{to} {send}
"""


@pytest.mark.skipif(shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin") is None, reason="haproxy is not installed")
@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def test_haproxy_in_front_is_understood(send: str, run: Make, upstream: Upstream, tmp_path: Path, authority: Authority) -> None:
    authority.bundle(tmp_path / "photos.pem", "photos.test")
    front, port = free_ports(2)
    run(
        f'[listeners.web]\naddress = "127.0.0.1:{port}"\ntls = true\nproxy_protocol = true\nproxy_protocol_from = ["127.0.0.1"]\n'
        f'[sites."photos.test"]\nlisten = ["web"]\ncert = "photos.pem"\nto = "http://127.0.0.1:{upstream.port}"\n'
    )
    folder = tmp_path / "haproxy"
    folder.mkdir()
    (folder / "main.cfg").write_text(HAPROXY.format(front=front, to=port, send=send))
    haproxy = Running(["haproxy", "-db", "-f", str(folder / "main.cfg")], folder, [front], dict(os.environ))
    try:
        context = authority.client()
        sock = socket.create_connection(("127.0.0.1", front), WAIT_S, ("127.0.0.3", 0))
        with context.wrap_socket(sock, server_hostname="photos.test") as secure:
            secure.sendall(b"GET /a HTTP/1.1\r\nHost: photos.test\r\nConnection: close\r\n\r\n")
            assert b" 200 " in read_all(secure)
        assert upstream.take_one().find("X-Real-IP") == b"127.0.0.3"
    finally:
        haproxy.stop()
