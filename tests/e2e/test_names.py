"""Servers that a name stands for come, go and move while requests run: nobody is answered by a server that is gone, and nobody fails.

Facts: the control process asks a DNS server of our own, over UDP, once a second (`LEAST_S`); the servers are addresses of the loopback
network with one port.

Rules: the dice are seeded. A server goes on for a while after it left DNS, as it would be drained.
"""

import http.client
import http.server
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from .ports import free_ports
from .rig import SOURCES, Vestibule, settings

pytestmark = pytest.mark.http1
NAME = "immich.test."
# So many answers, of visitors who meet both workers, come from every server.
SOME = 60
SOME_S = 30.0

CUSTOMIZE = """\
import dns.resolver
made = dns.resolver.Resolver(configure=False)
made.nameservers = ["127.0.0.1"]
made.port = {port}
dns.resolver.default_resolver = made
"""


class House(http.server.ThreadingHTTPServer):
    """A server at one address that answers with that address."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, port), _Answer)
        self.address = address
        self.asked = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()


class _Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        house = self.server
        assert isinstance(house, House)
        house.asked += 1
        body = f"{house.address} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


class Names:
    """A DNS server for one name. `ill` answers SERVFAIL or not at all, in turn."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.ill = False
        self._asked = 0
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, peer = self._sock.recvfrom(4096)
            if data == b"end":
                return
            query = dns.message.from_wire(data)
            self._asked += 1
            answer = dns.message.make_response(query)
            question = query.question[0]
            if self.ill and self._asked % 2:
                continue
            if self.ill:
                answer.set_rcode(dns.rcode.SERVFAIL)
            elif question.name.to_text() == NAME and question.rdtype == dns.rdatatype.A and self.addresses:
                answer.answer.append(dns.rrset.from_text(NAME, 1, "IN", "A", *self.addresses))
            self._sock.sendto(answer.to_wire(), peer)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", ("127.0.0.1", self.port))
        self._thread.join(10)
        self._sock.close()


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.close()


class Visitors:
    """Clients that ask all the time and write down who answered, and what went wrong."""

    def __init__(self, port: int, count: int) -> None:
        self.wrong: list[str] = []
        self.answers: list[tuple[float, str]] = []
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(each,)) for each in range(count)]
        for thread in self._threads:
            thread.start()

    def _visit(self, number: int) -> None:
        wire = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        at = 0
        while not self._over.wait(0.005):
            at += 1
            path = f"/{number}/{at}"
            began = time.monotonic()
            try:
                wire.request("GET", path)
                answer = wire.getresponse()
                body = answer.read().decode()
            except (OSError, http.client.HTTPException) as bad:
                self.wrong.append(f"{path}: {bad!r}")
                wire.close()
                continue
            if answer.status != 200 or not body.endswith(f" {path}"):
                self.wrong.append(f"{path}: {answer.status} {body}")
            self.answers.append((began, body.partition(" ")[0]))
        wire.close()

    def next(self) -> set[str]:
        """Return who answers the next requests: so many that everybody should."""
        began = time.monotonic()
        while sum(at > began for at, _ in self.answers[-2 * SOME :]) < SOME:
            assert time.monotonic() - began < SOME_S, "nobody answers"
            time.sleep(0.02)
        return {address for at, address in self.answers[-2 * SOME :] if at > began}

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)


def start(folder: Path, names: Names, port: int, to: int) -> Vestibule:
    (folder / "sitecustomize.py").write_text(CUSTOMIZE.format(port=names.port))
    config = (
        settings(folder, 2)
        + f'[sites."*"]\nlisten = "http://127.0.0.1:{port}"\nto = "houses"\n'
        + f'[upstreams.houses]\nservers = [{{ address = "http://{NAME.rstrip(".")}:{to}", resolve = "all" }}]\n'
    )
    return Vestibule(folder, config, [port], extra={"PYTHONPATH": f"{folder}:{SOURCES}"})


def test_servers_move_while_requests_run(tmp_path: Path, names: Names) -> None:
    """Of six addresses, some serve; who left DNS ends a little later, and DNS itself is ill now and then."""
    dice = random.Random(7)
    port, to = free_ports(2)
    everybody = [f"127.0.1.{each}" for each in range(1, 7)]
    open_now = {address: House(address, to) for address in everybody[:2]}
    names.addresses = everybody[:2]
    proxy = start(tmp_path, names, port, to)
    visitors = Visitors(port, 4)
    served: set[str] = set()
    try:
        for move in range(4):
            wanted = dice.sample(everybody, dice.randint(1, 3))
            for address in wanted:
                if address not in open_now:
                    open_now[address] = House(address, to)
            names.addresses = wanted
            names.ill = False
            assert proxy.wait_until(lambda wanted=wanted: visitors.next() == set(wanted)), f"move {move}: {visitors.next()}"  # type: ignore[misc]
            late = visitors.next()
            assert late == set(wanted), f"move {move}: {late}"
            served |= late
            for address in [each for each in open_now if each not in wanted]:
                open_now.pop(address).close()
            names.ill = move % 2 == 1
            time.sleep(0.5)
        names.ill = True
        for _ in range(10):
            assert visitors.next() == set(wanted), "what is known stays in use"
    finally:
        visitors.end()
        for house in open_now.values():
            house.close()
        proxy.stop()
    assert visitors.wrong == []
    assert len(served) > 2 and len(visitors.answers) >= 12 * SOME
    assert proxy.said().count("resolver.moved") >= 4
