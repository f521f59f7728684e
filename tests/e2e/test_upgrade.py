"""A connection that was upgraded is a tunnel: bytes pass both ways until both sides have ended.

Facts: RFC 9110 7.8, RFC 6455 4. Immich's only live channel is a WebSocket.
Not here: an upgrade the upstream invents (test_upstream_faults).
"""

import base64
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from .certs import Authority
from .client import Client, Tunnel, close_all
from .ports import free_ports
from .rig import Rig, Vestibule, settings
from .upstream import ENDS, Gone, Turn, Upstream

PATH = "/api/socket.io/?EIO=4&transport=websocket"
AGREE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
Make = Callable[..., Rig]


def agree_and_echo(turn: Turn) -> None:
    """Agree, then send everything back until the other side ends."""
    turn.send(AGREE)
    try:
        while True:
            turn.send(turn.recv())
    except Gone:
        turn.close()


def open_tunnel(client: Client) -> Tunnel:
    return client.open_tunnel(PATH)


def test_request_for_an_upgrade_reaches_the_upstream(client: Client, upstream: Upstream) -> None:
    """As the upstream's version has it, whatever the client speaks (RFC 6455 4.1, RFC 8441 4, 5)."""
    upstream.script = agree_and_echo
    open_tunnel(client)
    request = upstream.take_one()
    if upstream.version == "h1":
        assert request.line == f"GET {PATH} HTTP/1.1".encode()
        assert (request.find("Upgrade") or b"").lower() == b"websocket"
        assert b"upgrade" in (request.find("Connection") or b"").lower()
        key = request.find("Sec-WebSocket-Key")
        assert key is not None
        assert len(base64.b64decode(key)) == 16
        assert client.version == "h2" or key == b"dGhlIHNhbXBsZSBub25jZQ=="
    else:
        assert request.line == f"CONNECT {PATH} HTTP/2".encode()
        assert request.find(":protocol") == b"websocket"
        assert request.all("Upgrade") == request.all("Connection") == request.all("Sec-WebSocket-Key") == []
    assert request.find("Sec-WebSocket-Version") == b"13"
    assert request.find("X-Forwarded-For") == b"127.0.0.1"
    assert request.all("Content-Length") == request.all("Transfer-Encoding") == []


def test_agreement_reaches_the_client(client: Client, upstream: Upstream) -> None:
    """What belongs to the handshake of HTTP/1 alone stays out of HTTP/2 (RFC 8441 5)."""
    upstream.script = agree_and_echo
    head = client.ask_for_tunnel(PATH).read_head()
    if client.version == "h1":
        assert head.status == 101
        assert head.find("Upgrade") == b"websocket"
        assert b"upgrade" in (head.find("Connection") or b"").lower()
        assert head.find("Sec-WebSocket-Accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # made here, if the upstream speaks HTTP/2
    else:
        assert head.status == 200
        assert head.all("Upgrade") == head.all("Connection") == head.all("Sec-WebSocket-Accept") == []
    assert head.find("Content-Length") is None
    assert head.find("Transfer-Encoding") is None


def test_bytes_pass_both_ways(client: Client, upstream: Upstream) -> None:
    upstream.script = agree_and_echo
    wire = open_tunnel(client)
    for size in (1, 100, 70_000):
        data = bytes(range(256)) * (size // 256 + 1)
        wire.send(data[:size])
        assert wire.read(size) == data[:size]


def test_bytes_that_look_like_http_are_not_read(client: Client, upstream: Upstream) -> None:
    upstream.script = agree_and_echo
    wire = open_tunnel(client)
    for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n"):
        wire.send(data)
        assert wire.read(len(data)) == data
    assert len(upstream.requests) == 1


def test_server_may_speak_first_with_its_answer(client: Client, upstream: Upstream) -> None:
    def script(turn: Turn) -> None:
        turn.send(AGREE + b"\x81\x05hello")
        turn.is_left()

    upstream.script = script
    assert open_tunnel(client).read(7) == b"\x81\x05hello"


def test_client_may_speak_with_its_request(client: Client, upstream: Upstream) -> None:
    """Not allowed before 101 by RFC 6455, but what came early belongs to the tunnel when it opens."""
    got: list[bytes] = []

    def script(turn: Turn) -> None:
        turn.send(AGREE)
        got.append(turn.read(5))
        turn.close()

    upstream.script = script
    if client.version == "h1":
        lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        wire = client.raw(f"GET / HTTP/1.1\r\nHost: photos.test\r\n{lines}\r\nearly".encode())
        assert wire.read_head().status == 101
    else:
        exchange = client.ask_for_tunnel(PATH)
        exchange.send_body(b"early")
        assert exchange.read_head().status == 200
    assert upstream.wait_for(lambda: bool(got))
    assert got == [b"early"]


def test_large_transfers_pass_both_ways_at_once(client: Client, upstream: Upstream) -> None:
    upstream.script = agree_and_echo
    wire = open_tunnel(client)
    data = bytes(range(256)) * 20_000
    sender = threading.Thread(target=wire.send, args=(data,))
    sender.start()
    assert wire.read(len(data)) == data
    sender.join(30)
    assert not sender.is_alive()


def test_half_close_by_the_client_leaves_the_answer_open(client: Client, upstream: Upstream) -> None:
    def script(turn: Turn) -> None:
        turn.send(AGREE)
        received = b""
        try:
            while True:
                received += turn.recv()
        except Gone:
            turn.send(b"got " + received)
            turn.close()

    upstream.script = script
    wire = open_tunnel(client)
    wire.send(b"last words")
    wire.finish()
    assert wire.read_rest() == b"got last words"


def test_half_close_by_the_upstream_leaves_the_question_open(client: Client, upstream: Upstream) -> None:
    got: list[bytes] = []

    def script(turn: Turn) -> None:
        turn.send(AGREE + b"bye")
        turn.finish()
        received = b""
        try:
            while True:
                received += turn.recv()
        except Gone:
            got.append(received)
            raise

    upstream.script = script
    wire = open_tunnel(client)
    assert wire.read_rest() == b"bye"
    wire.send(b"one more thing")
    wire.close()
    assert upstream.wait_for(lambda: bool(got))
    assert got == [b"one more thing"]


@pytest.mark.parametrize("end", ["close", "reset"])
def test_end_of_the_client_ends_the_upstream(end: str, client: Client, upstream: Upstream) -> None:
    left: list[bool] = []

    def script(turn: Turn) -> None:
        turn.send(AGREE)
        left.append(turn.is_left())

    upstream.script = script
    tunnel = open_tunnel(client)
    if end == "close":
        tunnel.close()
    else:
        tunnel.reset()
    assert upstream.wait_for(lambda: bool(left), 15)
    assert left == [True]


@pytest.mark.parametrize("end", ENDS, ids=["FIN", "RST"])
def test_end_of_the_upstream_ends_the_client(end: Callable[[Turn], None], client: Client, upstream: Upstream) -> None:
    is_open = threading.Event()

    def script(turn: Turn) -> None:
        turn.send(AGREE)
        assert is_open.wait(20)  # a reset throws away what nobody has read
        end(turn)

    upstream.script = script
    tunnel = open_tunnel(client)
    is_open.set()
    assert tunnel.is_closed()


def test_refused_upgrade_is_an_ordinary_answer(client: Client, upstream: Upstream) -> None:
    upstream.script = lambda turn: turn.answer(b"no", b"403 Forbidden")
    with client.connect() as wire:
        response = client.ask_for_tunnel("/", wire=wire).read_response()
        assert (response.status, response.body) == (403, b"no")
        upstream.script = Turn.answer
        assert client.request("GET", "/", wire=wire).status == 200


@pytest.mark.http1
@pytest.mark.upstream_h1("HTTP/2 has no Upgrade (RFC 9113 8.6)")
def test_upgrade_required_is_passed_on(client: Client, upstream: Upstream) -> None:
    """RFC 9110 15.5.22: its Upgrade field tells the client what to ask for."""
    upstream.script = lambda turn: turn.answer(b"", b"426 Upgrade Required", b"Connection: upgrade\r\nUpgrade: websocket\r\n")
    assert client.get("/").status == 426


@pytest.mark.http1
@pytest.mark.upstream_h1("a stream of HTTP/2 carries WebSockets, and no protocol that nobody has registered for it (RFC 8441 5)")
def test_any_protocol_may_be_asked_for(client: Client, upstream: Upstream) -> None:
    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tus-live/2\r\nConnection: upgrade\r\n\r\n")
        turn.send(turn.recv())
        turn.close()

    upstream.script = script
    with client.wire() as wire:
        client.open("GET", "/", [("Connection", "upgrade"), ("Upgrade", "tus-live/2")], wire=wire)
        assert wire.read_head().find("Upgrade") == b"tus-live/2"
        wire.send(b"ping")
        assert wire.read(4) == b"ping"


@pytest.mark.http1
def test_upgrade_without_its_connection_option_is_dropped(client: Client, upstream: Upstream) -> None:
    """RFC 9110 7.8: the field alone asks for nothing."""
    assert client.get("/", ("Upgrade", "websocket")).status == 200
    assert upstream.take_one().find("Upgrade") is None


@pytest.mark.http1
@pytest.mark.upstream_h1("an extended CONNECT has no body before its tunnel (RFC 8441 4)")
def test_upgrade_with_a_body(client: Client, upstream: Upstream) -> None:
    """RFC 9110 7.8: the body belongs to the request, and the tunnel begins after it."""
    got: list[bytes] = []

    def script(turn: Turn) -> None:
        turn.read_body()
        turn.send(AGREE)
        got.append(turn.read(4))
        turn.close()

    upstream.script = script
    wire = client.wire()
    exchange = client.open("POST", "/", [("Connection", "Upgrade"), ("Upgrade", "websocket")], length=5, wire=wire)
    exchange.send_body(b"hello")
    assert wire.read_head().status == 101
    wire.send(b"next")
    assert upstream.wait_for(lambda: bool(got))
    assert (upstream.take_one().body, got) == (b"hello", [b"next"])


@pytest.fixture(scope="module")
def impatient(make: Make) -> Rig:
    return make(site='timeouts.tunnel_idle = "1500ms"')


def test_silent_tunnel_is_ended_after_its_time(impatient: Rig, version: str) -> None:
    impatient.upstream.rest()
    impatient.upstream.script = agree_and_echo
    tunnel = open_tunnel(impatient.client.speaking(version))
    for _ in range(5):
        assert tunnel.is_silent(0.35), "ended although it was used"
        tunnel.send(b"x")
        assert tunnel.read(1) == b"x"
    assert tunnel.is_closed()
    impatient.upstream.rest()


def test_tunnel_leaves_other_streams_alone(client: Client, upstream: Upstream) -> None:
    """A WebSocket shares its connection with everything else in HTTP/2."""
    if client.version == "h1":
        pytest.skip("the connection has become the tunnel")

    def script(turn: Turn) -> None:
        if turn.request.find("Upgrade") or turn.request.find(":protocol"):
            agree_and_echo(turn)
        else:
            turn.answer(turn.read_body())

    upstream.script = script
    with client.connect() as wire:
        exchange = client.ask_for_tunnel(PATH, wire=wire)
        assert exchange.read_head().status == 200
        for number in range(20):
            exchange.send_body(b"%d" % number)
            assert client.request("POST", "/", body=b"hello", wire=wire).body == b"hello"
            assert exchange.read_some(len(b"%d" % number)) == b"%d" % number
        exchange.end_body()
        assert exchange.read_body() == b""


@pytest.mark.http1
def test_a_websocket_passes_through_http2_between_two_proxies(tmp_path: Path) -> None:
    """RFC 8441 on the way up: what leaves as an extended CONNECT has arrived as an upgrade, and arrives as one."""
    authority = Authority()
    inner_port, outer_port = free_ports(2)
    chain, key = authority.leaf("photos.test")
    (tmp_path / "chain.pem").write_bytes(chain + key)
    authority.write_root(tmp_path / "ca.pem")
    app = Upstream()
    app.script = agree_and_echo
    with contextlib.ExitStack() as stack:
        stack.callback(app.close)
        inner = f"""
[listeners.front]
address = "127.0.0.1:{inner_port}"
tls = true
[certificates.photos]
cert = "{tmp_path}/chain.pem"
[sites."*"]
listen = "front"
certificates = ["photos"]
to = "http://127.0.0.1:{app.port}"
"""
        outer = f"""
[upstreams.far]
servers = ["https://127.0.0.1:{inner_port}"]
pool.protocol = "h2"
tls = {{ ca = "{tmp_path}/ca.pem", name = "photos.test" }}
[sites."*"]
listen = "127.0.0.1:{outer_port}"
to = "far"
"""
        for name, port, text in (("inner", inner_port, inner), ("outer", outer_port, outer)):
            folder = tmp_path / name
            folder.mkdir()
            stack.callback(Vestibule(folder, settings(folder) + text, [port]).stop)
        stack.callback(close_all)
        client = Client(("127.0.0.1", outer_port))
        head = client.ask_for_tunnel(PATH).read_head()
        assert head.status == 101
        assert head.find("sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        tunnel = client.open_tunnel(PATH)
        tunnel.send(b"ping" * 10_000)
        assert tunnel.read(40_000) == b"ping" * 10_000
        tunnel.close()
