"""Certificates on demand, by the whole program and pebble: clients wait in their handshakes, and get a trusted certificate or a refusal."""

import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.control.acme import pebble as issuer

from .rig import Vestibule, settings
from .test_acme import is_trusted, presented
from .upstream import Upstream

pytestmark = pytest.mark.skipif(not issuer.is_installed(), reason="pebble is not installed")


class Endpoint(http.server.ThreadingHTTPServer):
    """Allows names below `may.example.org`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Allow)
        self.asked: list[str] = []
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.shutdown()
        self.thread.join(10)
        self.server_close()


class Allow(http.server.BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        (name,) = parse_qs(urlsplit(self.path).query)["domain"]
        self.server.asked.append(name)
        self.send_response(200 if name.endswith(".may.example.org") else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Served:
    def __init__(self, folder: Path, pebble: issuer.Pebble) -> None:
        self.upstream = Upstream()
        self.endpoint = Endpoint()
        self.pebble = pebble
        self.folder = folder
        ask = f'on_demand = {{ ask = "http://127.0.0.1:{self.endpoint.server_address[1]}/" }}\nchallenges = ["tls-alpn-01"]'
        config = (
            f'{settings(folder, 2)}\n{pebble.toml(ask)}\n[sites.any]\nhosts = "*"\ntls = "on_demand"\n'
            f'listen = "https://127.0.0.1:{pebble.tls_port}"\nto = "http://127.0.0.1:{self.upstream.port}"\n'
        )
        self.proxy = Vestibule(folder, config, [pebble.tls_port])

    def restart(self) -> None:
        self.proxy.stop()
        self.proxy = Vestibule(self.folder, self.proxy.file.read_text(), [self.pebble.tls_port])

    def close(self) -> None:
        try:
            self.proxy.stop()
        finally:
            self.upstream.close()
            self.endpoint.close()


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[issuer.Pebble]:
    with issuer.running(tmp_path_factory.mktemp("pebble")) as made:
        yield made


@pytest.fixture
def served(tmp_path: Path, pebble: issuer.Pebble) -> Iterator[Served]:
    made = Served(tmp_path, pebble)
    yield made
    made.close()


def refusal(port: int, name: str | None) -> str:
    """Return why a handshake fails; nothing if it does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as plain, context.wrap_socket(plain, server_hostname=name):
            return ""
    except ssl.SSLError as bad:
        return str(bad.reason)


def test_all_who_ask_for_a_new_name_wait_for_one_order(served: Served, pebble: issuer.Pebble) -> None:
    """Connections of both workers wait; the first byte they see is that of the trusted certificate."""
    before = pebble.orders()
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(is_trusted(pebble, pebble.tls_port, "a.may.example.org"))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert found == [True] * 8, served.proxy.said()
    assert pebble.orders() - before == 1
    assert served.endpoint.asked == ["a.may.example.org"]
    status = served.proxy.control("status").stdout
    assert "on demand      1 names with certificates, 0 worked on" in status
    assert "a.may.example.org: from pebble" in served.proxy.control("cert", "list").stdout


def test_a_name_that_is_not_allowed_is_refused_and_others_go_on(served: Served) -> None:
    port = served.pebble.tls_port
    assert is_trusted(served.pebble, port, "b.may.example.org"), served.proxy.said()
    began = time.monotonic()
    for _ in range(3):
        for name in ("other.example.org", "localhost", None):
            assert refusal(port, name) == "TLSV1_UNRECOGNIZED_NAME"
    assert time.monotonic() - began < 10
    assert served.endpoint.asked.count("other.example.org") == 1
    assert "other.example.org is refused" in served.proxy.control("status").stdout
    assert is_trusted(served.pebble, port, "b.may.example.org")


def test_a_restart_and_a_new_worker_serve_what_is_kept(served: Served) -> None:
    name = "c.may.example.org"
    assert is_trusted(served.pebble, served.pebble.tls_port, name), served.proxy.said()
    served.restart()
    assert all(is_trusted(served.pebble, served.pebble.tls_port, name) for _ in range(4))
    assert served.endpoint.asked == [name]
    first = presented(served.pebble.tls_port, name).serial_number
    assert served.proxy.control("cert", "renew", name).returncode == 0
    assert served.proxy.wait_until(lambda: presented(served.pebble.tls_port, name).serial_number != first), served.proxy.said()
    second = presented(served.pebble.tls_port, name).serial_number
    assert served.proxy.control("cert", "revoke", name).returncode == 0
    assert served.proxy.wait_until(lambda: presented(served.pebble.tls_port, name).serial_number not in (first, second))


def test_what_waits_is_over_when_its_time_is(served: Served, pebble: issuer.Pebble) -> None:
    """The order does not come to an end; the client does not wait for ever, and nothing of it stays."""
    text = served.proxy.file.read_text()
    served.proxy.write(f'{text}[timeouts]\ntls_handshake = "1s"\n')
    assert served.proxy.control("reload").returncode == 0
    pebble.dns("add-a", host="d.may.example.org", addresses=["127.0.0.9"])
    began = time.monotonic()
    with pytest.raises((OSError, ssl.SSLError)):
        is_trusted(pebble, pebble.tls_port, "d.may.example.org")
    assert time.monotonic() - began < 10

    def waiting() -> int:
        workers = json.loads(served.proxy.control("status", "--json").stdout)["workers"]
        # One that is too busy to answer may still have some.
        return sum(worker.get("figures", {"handshakes_waiting": 1})["handshakes_waiting"] for worker in workers)

    assert served.proxy.wait_until(lambda: waiting() == 0)


def test_a_reload_that_ends_it_leaves_nobody_waiting(served: Served, pebble: issuer.Pebble) -> None:
    """Who waits was let in by the configuration before; the name it waits for is no longer served."""
    pebble.dns("add-a", host="f.may.example.org", addresses=["127.0.0.9"])
    outcome: list[str] = []
    waiting = threading.Thread(target=lambda: outcome.append(_outcome(pebble, "f.may.example.org")))
    waiting.start()
    assert served.proxy.wait_until(lambda: served.endpoint.asked == ["f.may.example.org"])
    text = served.proxy.file.read_text()
    served.proxy.write(text.replace('hosts = "*"\ntls = "on_demand"', 'hosts = "localhost"\ntls = "internal"'))
    assert served.proxy.control("reload").returncode == 0
    waiting.join(40)
    assert outcome == ["ended"]
    assert served.proxy.wait_until(lambda: "connections 0" in served.proxy.control("status").stdout)
    assert refusal(pebble.tls_port, "localhost") == ""
    assert "proxy.bug" not in served.proxy.said()


def _outcome(pebble: issuer.Pebble, name: str) -> str:
    try:
        return "trusted" if is_trusted(pebble, pebble.tls_port, name) else "untrusted"
    except OSError:
        return "ended"


def test_requests_are_served_over_it(served: Served) -> None:
    context = ssl.create_default_context(cadata=served.pebble.root())
    with (
        socket.create_connection(("127.0.0.1", served.pebble.tls_port), 30) as plain,
        context.wrap_socket(plain, server_hostname="e.may.example.org") as secure,
    ):
        secure.sendall(b"GET /x HTTP/1.1\r\nHost: e.may.example.org\r\nConnection: close\r\n\r\n")
        assert secure.recv(100).startswith(b"HTTP/1.1 200")
