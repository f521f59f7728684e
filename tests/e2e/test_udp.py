"""Datagrams passed on: clients, servers and workers as they come and go.

Facts: the kernel chooses the worker by a hash of both addresses, so a client keeps its worker; many clients meet both.
"""

import contextlib
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vestibule.control import admin
from vestibule.control.admin import find_sockets
from vestibule.http.proxy_protocol import parse_proxy_header

from .client import Client
from .datagrams import Server
from .ports import free_ports
from .rig import Vestibule, settings

pytestmark = pytest.mark.http1
WAIT_S = 10


def echo(data: bytes) -> list[bytes]:
    return [data]


def named(name: bytes) -> Callable[[bytes], list[bytes]]:
    return lambda data: [name + b":" + data]


def answer_names(query: bytes) -> list[bytes]:
    """Answer a question for a name as DNS does: the question again, and 192.0.2.7 (RFC 1035 4)."""
    head = query[:2] + b"\x81\x80" + query[4:6] + b"\0\1\0\0\0\0"
    return [head + query[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([192, 0, 2, 7])]


def question(number: int) -> bytes:
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + b"\5photo\7example\0\0\1\0\1"


@pytest.fixture
def servers() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(talk: Callable[[bytes], list[bytes]] = echo, host: str = "127.0.0.1") -> Server:
        made.append(Server(talk, host))
        return made[-1]

    yield make
    for server in made:
        server.close()


Run = Callable[..., Vestibule]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made: list[Vestibule] = []

    def start(config: str, workers: int = 1) -> Vestibule:
        proxy = Vestibule(tmp_path, settings(tmp_path, workers) + config, [])
        made.append(proxy)
        proxy.wait_for("vestibule serves")
        return proxy

    yield start
    for proxy in made:
        proxy.stop()


def listener(address: str, to: str, sessions: str = "", name: str = "dns") -> str:
    more = f"sessions = {{ {sessions} }}\n" if sessions else ""
    return f'[listeners.{name}]\naddress = "udp://{address}"\nroutes = [{{ to = "{to}" }}]\n{more}'


def to(*some: Server) -> str:
    """Return the target of a listener: a server."""
    (server,) = some
    return f"udp://127.0.0.1:{server.port}"


def free_port() -> int:
    """Return a UDP port nobody is on."""
    return free_ports(1, socket.SOCK_DGRAM)[0]


@contextlib.contextmanager
def client(port: int, host: str = "127.0.0.1", wait_s: float = WAIT_S) -> Iterator[socket.socket]:
    """Yield a client that hears of the address it asks alone."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(wait_s)
        sock.connect((host, port))
        yield sock


def ask(sock: socket.socket, data: bytes) -> bytes:
    sock.send(data)
    return sock.recv(70_000)


def ask_again(sock: socket.socket, data: bytes) -> bytes:
    """Ask until an answer comes, as clients of UDP do."""
    sock.settimeout(0.5)
    for _ in range(int(3 * WAIT_S / 0.5)):
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            return ask(sock, data)
    raise AssertionError("nobody answered")


def figures(proxy: Vestibule) -> list[dict[str, int]]:
    """Return the figures of the workers."""
    (path,) = find_sockets(proxy.folder / "state")
    workers: list[dict[str, dict[str, int]]] = []

    def have_told() -> bool:
        found = admin.ask(path, "status")["workers"]
        assert isinstance(found, list)
        workers[:] = found
        return all("figures" in each for each in found)

    assert proxy.wait_until(have_told), workers
    return [each["figures"] for each in workers]


def total(proxy: Vestibule, name: str) -> int:
    return sum(worker[name] for worker in figures(proxy))


# ---------------------------------------------------------------- both ways


def test_datagrams_pass_both_ways_and_a_session_has_one_line(run: Run, servers: Callable[..., Server]) -> None:
    port, server = free_port(), servers()
    proxy = run(listener(f"127.0.0.1:{port}", to(server), 'idle = "1500ms"'))
    assert f"udp://127.0.0.1:{port} (dns)" in proxy.control("status").stdout
    with client(port) as sock:
        for data in (b"one", b"", bytes(60_000), b"last"):
            assert ask(sock, data) == data
        assert proxy.wait_until(lambda: len(proxy.records) == 1)
    (record,) = proxy.records
    assert (record["method"], record["status"], record["client_ip"]) == ("UDP", 200, "127.0.0.1")
    assert (record["datagrams_in"], record["datagrams_out"]) == (4, 4)
    assert (record["bytes_in"], record["bytes_out"]) == (60_007, 60_007)
    assert record["upstream_address"] == f"127.0.0.1:{server.port}"
    assert 1_500 <= int(str(record["total_ms"])) < 10_000
    assert total(proxy, "sessions") == 0 and len(set(server.peers)) == 1


def test_names_are_answered_for_many_clients_by_both_workers(run: Run, servers: Callable[..., Server]) -> None:
    port, server = free_port(), servers(answer_names)
    proxy = run(listener(f"127.0.0.1:{port}", to(server), "responses = 1"), workers=2)
    for number in range(40):
        with client(port) as sock:
            answer = ask(sock, question(number))
            assert answer[:2] == struct.pack(">H", number) and answer.endswith(bytes([192, 0, 2, 7]))
    assert total(proxy, "sessions") == 0
    proxy.wait_until(lambda: len(proxy.records) == 40)
    assert {record["datagrams_out"] for record in proxy.records} == {1} and len(proxy.records) == 40


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("*:PORT", ["127.0.0.1", "127.0.0.2", "::1"]),
        ("0.0.0.0:PORT", ["127.0.0.1", "127.0.0.2"]),
        ("[::1]:PORT", ["::1"]),
        ("[::]:PORT", ["::1"]),
    ],
)
def test_answers_come_from_the_address_that_was_asked(run: Run, servers: Callable[..., Server], address: str, asked: list[str]) -> None:
    port, server = free_port(), servers()
    run(listener(address.replace("PORT", str(port)), to(server)))
    for host in asked:
        with client(port, host) as sock:
            assert ask(sock, host.encode()) == host.encode()


def test_servers_over_ipv6(run: Run, servers: Callable[..., Server]) -> None:
    port, server = free_port(), servers(echo, "::1")
    run(listener(f"127.0.0.1:{port}", f"udp://[::1]:{server.port}"))
    with client(port) as sock:
        assert ask(sock, b"six") == b"six"


def test_routes_by_network(run: Run, servers: Callable[..., Server]) -> None:
    port, inner, outer = free_port(), servers(named(b"inner")), servers(named(b"outer"))
    proxy = run(
        f'[listeners.dns]\naddress = "udp://0.0.0.0:{port}"\nroutes = [\n'
        f"{{ when = 'peer_ip within [\"127.0.0.5\"]' }},\n"
        f'{{ when = \'peer_ip within ["127.0.0.2"]\', to = "{to(inner)}" }},\n{{ to = "{to(outer)}" }}]\n'
    )
    heard = []
    for host in ("127.0.0.1", "127.0.0.2"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(WAIT_S)
            sock.bind((host, 0))
            sock.sendto(b"x", ("127.0.0.1", port))
            heard.append(sock.recv(100))
    assert heard == [b"outer:x", b"inner:x"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.5", 0))
        sock.sendto(b"x", ("127.0.0.1", port))
        assert proxy.wait_until(lambda: any(record.get("fault") == "proxy.no_route" for record in proxy.records))


def test_servers_are_told_who_asks(run: Run, servers: Callable[..., Server]) -> None:
    port, server = free_port(), servers(lambda data: [data[-1:]])
    run(
        f'[listeners.dns]\naddress = "udp://*:{port}"\nroutes = [{{ to = "names" }}]\n'
        f'[upstreams.names]\nservers = [{{ address = "http://127.0.0.1:{server.port}", proxy_protocol = "v2" }}]\n'
    )
    with client(port, "127.0.0.2") as sock:
        ours = sock.getsockname()
        assert ask(sock, b"a") == b"a" and ask(sock, b"b") == b"b"
    header = parse_proxy_header(server.heard[0])
    assert header is not None and server.heard[0][header.size :] == b"a" and server.heard[1] == b"b"
    assert (header.source, header.source_port) == (ours[0].encode(), ours[1])
    assert (header.destination, header.destination_port) == (b"127.0.0.2", port)


# ---------------------------------------------------------------- servers that are not there


def test_nobody_there_is_told(run: Run) -> None:
    port, nobody = free_port(), free_port()
    proxy = run(listener(f"127.0.0.1:{port}", f"udp://127.0.0.1:{nobody}"))
    with client(port) as sock:
        sock.send(b"x")
        assert proxy.wait_until(lambda: any(record.get("fault") == "upstream.refused" for record in proxy.records))
    assert total(proxy, "sessions") == 0


def test_another_server_has_the_datagram_of_one_that_is_not_there(run: Run, servers: Callable[..., Server]) -> None:
    port, nobody, server = free_port(), free_port(), servers()
    proxy = run(
        f'[listeners.dns]\naddress = "udp://127.0.0.1:{port}"\nroutes = [{{ to = "names" }}]\nsessions = {{ responses = 1 }}\n'
        f'[upstreams.names]\nservers = ["http://127.0.0.1:{nobody}", "http://127.0.0.1:{server.port}"]\n'
        f"[upstreams.names.passive]\nmax_fails = 1\n"
    )
    for number in range(6):
        with client(port) as sock:
            assert ask(sock, b"%d" % number) == b"%d" % number
    assert proxy.wait_until(lambda: len(proxy.records) == 6)
    assert not any("fault" in record for record in proxy.records)


# ---------------------------------------------------------------- limits and ends


def test_too_many_sessions_leave_new_clients_out_and_it_is_told(run: Run, servers: Callable[..., Server]) -> None:
    port, server = free_port(), servers()
    proxy = run(listener(f"127.0.0.1:{port}", to(server), 'most = 2, idle = "5s"'))
    with client(port) as one, client(port) as two, client(port, wait_s=0.3) as three:
        assert ask(one, b"1") == b"1" and ask(two, b"2") == b"2"
        for _ in range(3):
            three.send(b"3")
        with pytest.raises(TimeoutError):
            three.recv(100)
        assert ask(one, b"still") == b"still" and ask(two, b"too") == b"too"
        (told,) = figures(proxy)
        assert (told["sessions"], told["sessions_refused"]) == (2, 3)
        proxy.wait_for("a datagram was dropped: there are 2 sessions already (sessions.most)")
        assert proxy.said().count("a datagram was dropped") == 1
        assert ask_again(three, b"3") == b"3", "there is room when the others are idle"


def test_sessions_leave_neither_memory_nor_descriptors(run: Run, servers: Callable[..., Server]) -> None:
    port, server = free_port(), servers()
    proxy = run(listener(f"127.0.0.1:{port}", to(server), "responses = 1"))

    def some(count: int) -> dict[str, int]:
        with client(port) as sock:
            for number in range(count):
                assert ask(sock, b"%d" % number) == b"%d" % number
        return figures(proxy)[0]

    before = some(6_000)  # more than the wheel of timers holds of what was dropped
    after = some(12_000)
    assert after["sessions"] == 0 and after["descriptors"] <= before["descriptors"]
    assert after["resident_bytes"] - before["resident_bytes"] < 1 << 20


# ---------------------------------------------------------------- reloads, workers, the end


def test_a_session_outlives_a_reload(run: Run, servers: Callable[..., Server]) -> None:
    port, first, second = free_port(), servers(named(b"a")), servers(named(b"b"))
    proxy = run(listener(f"127.0.0.1:{port}", to(first)), workers=2)
    with client(port) as sock, client(port) as other:
        assert ask(sock, b"1") == b"a:1"
        proxy.write(settings(proxy.folder, 2) + listener(f"127.0.0.1:{port}", to(second)))
        assert proxy.control("reload").returncode == 0
        assert ask(sock, b"2") == b"a:2"
        assert ask(other, b"3") == b"b:3"
    assert len(set(first.peers)) == 1


def test_a_listener_that_goes_away_and_comes_back(run: Run, servers: Callable[..., Server]) -> None:
    port, server = free_port(), servers()
    (web,) = free_ports(1)
    more = f'[listeners.web]\naddress = "127.0.0.1:{web}"\nroutes = [{{ to = "tcp://127.0.0.1:9" }}]\n'
    both = listener(f"127.0.0.1:{port}", to(server)) + more
    proxy = run(both)
    with client(port) as sock:
        assert ask(sock, b"1") == b"1"
        proxy.write(settings(proxy.folder) + more)
        assert proxy.control("reload").returncode == 0
        assert proxy.wait_until(lambda: any(record.get("fault") == "proxy.stopping" for record in proxy.records))
        with pytest.raises(ConnectionRefusedError):
            ask(sock, b"2")
            ask(sock, b"2")
        # Its name now belongs to a listener of another kind.
        proxy.write(settings(proxy.folder) + both.replace("listeners.dns", "listeners.x").replace("listeners.web", "listeners.dns"))
        assert proxy.control("reload").returncode == 0
        assert ask(sock, b"3") == b"3"
        proxy.write(settings(proxy.folder) + both)
        assert proxy.control("reload").returncode == 0
        assert ask_again(sock, b"4") == b"4"


def test_a_port_in_use_is_told(run: Run, servers: Callable[..., Server]) -> None:
    server = servers()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        proxy = run(listener(f"127.0.0.1:{free_port()}", to(server)))
        proxy.write(settings(proxy.folder) + listener(f"127.0.0.1:{port}", to(server)))
        reload = proxy.control("reload")
        assert reload.returncode and f"udp://127.0.0.1:{port} is in use by another program" in reload.stdout + reload.stderr


def test_a_worker_that_dies_is_replaced(run: Run, servers: Callable[..., Server]) -> None:
    port, server = free_port(), servers()
    proxy = run(listener(f"127.0.0.1:{port}", to(server)))
    with client(port) as sock:
        assert ask(sock, b"1") == b"1"
        (worker,) = proxy.workers
        os.kill(worker, signal.SIGKILL)
        assert ask_again(sock, b"2") == b"2"
        assert proxy.workers != [worker]
    assert len(set(server.peers)) == 2


def test_stopping_waits_for_answers_that_are_on_their_way(run: Run, servers: Callable[..., Server]) -> None:
    gate = threading.Event()

    def late(data: bytes) -> list[bytes]:
        gate.wait(WAIT_S)
        return [data]

    port, server = free_port(), servers(late)
    proxy = run(listener(f"127.0.0.1:{port}", to(server)))
    with client(port) as sock:
        sock.send(b"slow")
        assert proxy.wait_until(lambda: server.heard == [b"slow"])
        proxy.signal(signal.SIGTERM)
        proxy.wait_for("stopping")
        gate.set()
        assert sock.recv(100) == b"slow"
        assert proxy.wait() == 0


def test_beside_tcp_on_the_same_port(run: Run, servers: Callable[..., Server]) -> None:
    (port,) = free_ports(1)
    server = servers()
    web = f'[sites."*"]\nlisten = "127.0.0.1:{port}"\nrespond = {{ body = "web" }}\n'
    run(listener(f"127.0.0.1:{port}", to(server)) + web)
    with client(port) as sock:
        assert ask(sock, b"udp") == b"udp"
    assert Client(("127.0.0.1", port)).get("/").body == b"web"
