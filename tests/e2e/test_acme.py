"""The whole program gets trusted certificates from pebble, and swaps them while it serves."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.control.acme import pebble as issuer
from tests.control.papers import Paper
from vestibule.control.acme.records import Record
from vestibule.control.acme.store import DirectoryStore
from vestibule.control.admin import ask, find_sockets
from vestibule.link.messages import KeyPair

from .rig import Vestibule, settings
from .upstream import Upstream

pytestmark = pytest.mark.skipif(not issuer.is_installed(), reason="pebble is not installed")

NAME = "photos.example.org"


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[issuer.Pebble]:
    with issuer.running(tmp_path_factory.mktemp("pebble")) as made:
        yield made


def presented(port: int, name: str = NAME, alpn: tuple[str, ...] = ()) -> x509.Certificate:
    """Return the certificate that a client gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain, server_hostname=name) as secure:
        der = secure.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)


def is_trusted(pebble: issuer.Pebble, port: int, name: str = NAME) -> bool:
    context = ssl.create_default_context(cadata=pebble.root())
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain, server_hostname=name):
            return True
    except ssl.SSLCertVerificationError:
        return False


def get(port: int, path: str, host: str = NAME) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        found = b""
        while piece := sock.recv(65_536):
            found += piece
        return found


class Served:
    def __init__(self, folder: Path, pebble: issuer.Pebble, hosts: str = NAME, more: str = "", workers: int = 2) -> None:
        self.upstream = Upstream()
        self.pebble = pebble
        listen = json.dumps([f"https://127.0.0.1:{pebble.tls_port}", f"http://127.0.0.1:{pebble.http_port}"])
        config = (
            f'{settings(folder, workers)}\n{pebble.toml(more)}\n[sites."{NAME}"]\nhosts = {json.dumps(hosts.split())}\n'
            f'tls = "acme"\nlisten = {listen}\nto = "http://127.0.0.1:{self.upstream.port}"\n'
        )
        self.proxy = Vestibule(folder, config, [pebble.tls_port, pebble.http_port])

    def issued(self) -> bool:
        return self.proxy.wait_until(lambda: "issued a certificate" in self.proxy.said())

    def close(self) -> None:
        try:
            self.proxy.stop()
        finally:
            self.upstream.close()


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path, pebble: issuer.Pebble) -> Iterator[Serve]:
    made: list[Served] = []

    def start(hosts: str = NAME, more: str = "", workers: int = 2) -> Served:
        made.append(Served(tmp_path, pebble, hosts, more, workers))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.mark.parametrize("kind", ["http-01", "tls-alpn-01"])
def test_a_site_serves_at_once_and_then_with_a_trusted_certificate(serve: Serve, pebble: issuer.Pebble, kind: str) -> None:
    names = [f"{kind}.example.org", f"www.{kind}.example.org"]
    served = serve(" ".join(names), f'challenges = ["{kind}"]')
    assert "Vestibule" in presented(pebble.tls_port, names[0]).issuer.rfc4514_string()
    assert served.issued(), served.proxy.said()
    assert served.proxy.wait_until(lambda: all(is_trusted(pebble, pebble.tls_port, name) for name in names * 4))
    status = served.proxy.control("status").stdout
    assert f"{', '.join(names)}: issued by pebble" in status
    assert "generation 1" in status


def test_only_tokens_that_were_issued_are_claimed(serve: Serve, pebble: issuer.Pebble) -> None:
    """The plain listener redirects: a token nobody issued is not found there, and what is not ACME's is redirected as ever."""
    served = serve(more='challenges = ["tls-alpn-01"]')
    assert get(pebble.http_port, "/.well-known/acme-challenge/unknown").startswith(b"HTTP/1.1 404")
    assert get(pebble.http_port, "/.well-known/immich").startswith(b"HTTP/1.1 308")
    assert get(pebble.http_port, "/.well-known/acme-challengex").startswith(b"HTTP/1.1 308")
    assert served.issued()


def test_a_failed_proof_is_explained(serve: Serve, pebble: issuer.Pebble) -> None:
    """The name points to an address where nobody listens."""
    pebble.dns("add-a", host="elsewhere.example.org", addresses=["127.0.0.9"])
    served = serve("elsewhere.example.org", 'challenges = ["http-01"]')
    served.proxy.wait_for("acme.failed")
    said = served.proxy.control("status").stdout
    assert "failed 1 times, next try" in said
    assert "pebble cannot reach port 80 of elsewhere.example.org: forward that port" in said
    # It serves all the same, and the next try is asked for by hand once the router is right.
    assert "Vestibule" in presented(pebble.tls_port, "elsewhere.example.org").issuer.rfc4514_string()
    pebble.dns("clear-a", host="elsewhere.example.org")
    assert served.proxy.control("cert", "renew", "elsewhere.example.org").returncode == 0
    assert served.issued()


def test_tokens_nobody_issued_go_to_the_upstream_where_it_is_served_in_the_clear(serve: Serve, pebble: issuer.Pebble) -> None:
    served = serve("plain.example.org", 'challenges = ["http-01"]')
    text = served.proxy.file.read_text().replace('tls = "acme"', 'tls = "acme"\nredirect_http = false')
    served.proxy.write(text)
    assert served.proxy.control("reload").returncode == 0
    for path in ("/.well-known/immich", "/.well-known/acme-challenge/unknown"):
        assert get(pebble.http_port, path, "plain.example.org").startswith(b"HTTP/1.1 200"), path
    assert served.issued()


def is_under_way(orders: Path) -> bool:
    """Say whether an issuer has taken an order that is not over."""
    for each in orders.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            if '"url": "https' in each.read_text():
                return True
    return False


def test_a_kill_in_the_middle_of_an_order_is_gone_on_from(serve: Serve, pebble: issuer.Pebble, tmp_path: Path) -> None:
    before = pebble.orders()
    served = serve("killed.example.org", workers=1)
    orders = tmp_path / "state" / "acme" / "orders"
    # On a loaded machine it may be over before anybody has seen it.
    assert served.proxy.wait_until(lambda: is_under_way(orders) or "issued a certificate" in served.proxy.said())
    served.proxy.process.kill()
    served.proxy.wait()
    again = Vestibule(tmp_path, served.proxy.file.read_text(), [pebble.tls_port])
    try:
        # A validation that the kill cut off is final, and its order with it; then the next try is asked for by hand.
        assert again.wait_until(lambda: "acme.failed" in again.said() or is_trusted(pebble, pebble.tls_port, "killed.example.org"))
        if "acme.failed" in again.said():
            assert again.control("cert", "renew").returncode == 0
        assert again.wait_until(lambda: is_trusted(pebble, pebble.tls_port, "killed.example.org"))
        assert pebble.orders() - before <= 1 + again.said().count("acme.failed")
    finally:
        again.stop()


def test_commands_about_certificates(serve: Serve, pebble: issuer.Pebble) -> None:
    name = "commands.example.org"
    served = serve(name)
    assert served.issued()
    listed = served.proxy.control("cert", "list")
    assert listed.stdout.startswith(f"{name}: from pebble, until ")
    assert "BEGIN CERTIFICATE" in served.proxy.control("cert", "show", name).stdout
    assert '"status": "valid"' in served.proxy.control("cert", "account").stdout
    first = presented(pebble.tls_port, name).serial_number
    assert "revoked" in served.proxy.control("cert", "revoke", name).stdout
    assert pebble.certificate_status(first)["Status"] == "Revoked"
    assert served.proxy.wait_until(lambda: presented(pebble.tls_port, name).serial_number != first)
    wrong = served.proxy.control("cert", "show", "other.example.org")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert f"known are {name}" in wrong.stderr


def test_a_caddyfile_of_three_lines_gets_its_certificate(pebble: issuer.Pebble, tmp_path: Path) -> None:
    upstream = Upstream()
    config = (
        f"{{\n\thttps_port {pebble.tls_port}\n\thttp_port {pebble.http_port}\n\tdefault_bind 127.0.0.1\n"
        f"\tacme_ca {pebble.directory}\n\tacme_ca_root {pebble.ca}\n}}\n"
        f"caddy.example.org {{\n\treverse_proxy 127.0.0.1:{upstream.port}\n}}\n"
    )
    ports = [pebble.tls_port, pebble.http_port]
    proxy = Vestibule(tmp_path, config, ports, extra={"STATE_DIRECTORY": str(tmp_path / "state")}, name="Caddyfile")
    try:
        assert proxy.wait_until(lambda: is_trusted(pebble, pebble.tls_port, "caddy.example.org")), proxy.said()
        assert get(pebble.http_port, "/", "caddy.example.org").startswith(b"HTTP/1.1 308")
    finally:
        proxy.stop()
        upstream.close()


def test_a_restart_serves_what_was_issued(serve: Serve, pebble: issuer.Pebble, tmp_path: Path) -> None:
    served = serve("restart.example.org")
    assert served.issued()
    served.proxy.stop()
    before = pebble.orders()
    again = Vestibule(tmp_path, served.proxy.file.read_text(), [pebble.tls_port])
    try:
        assert is_trusted(pebble, pebble.tls_port, "restart.example.org")
        assert pebble.orders() == before
    finally:
        again.stop()


def test_an_issuer_in_the_house_may_certify_any_name(serve: Serve, pebble: issuer.Pebble) -> None:
    """A reload brings the site; what is open stays open."""
    served = serve("first.example.org")
    assert served.issued()
    text = served.proxy.file.read_text().replace('["first.example.org"]', '["first.example.org", "second.example.org"]')
    served.proxy.write(text)
    assert served.proxy.control("reload").returncode == 0
    assert served.proxy.wait_until(lambda: is_trusted(pebble, pebble.tls_port, "second.example.org"))


def test_a_hundred_swaps_lose_no_handshake_and_no_request(serve: Serve, pebble: issuer.Pebble, tmp_path: Path) -> None:
    """Clients come without a pause while the certificate changes a hundred times; every kept connection goes on, too."""
    served = serve("swaps.example.org", workers=2)
    assert served.issued()
    store = DirectoryStore(tmp_path / "state" / "acme")
    record = Record(store, store.keys("certificates")[0].removeprefix("certificates/").removesuffix(".pem"))
    failures: list[str] = []
    counts = {"handshakes": 0, "requests": 0}
    serials: set[int] = set()
    over = threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = b"GET /counter HTTP/1.1\r\nHost: swaps.example.org\r\n\r\n"

    def knock() -> None:
        while not over.is_set():
            try:
                with (
                    socket.create_connection(("127.0.0.1", pebble.tls_port), 10) as plain,
                    context.wrap_socket(plain, server_hostname="swaps.example.org") as secure,
                ):
                    counts["handshakes"] += 1
                    serials.add(x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"").serial_number)
                    for _ in range(3):
                        secure.sendall(request)
                        if not secure.recv(65_536).startswith(b"HTTP/1.1 200"):
                            failures.append("an answer that is not 200")
                        counts["requests"] += 1
            except OSError as bad:
                failures.append(repr(bad))

    threads = [threading.Thread(target=knock) for _ in range(3)]
    for each in threads:
        each.start()
    try:
        for _ in range(100):
            paper = Paper("swaps.example.org")
            record.keep_pair(KeyPair(paper.pem, paper.key_pem()))
            assert ask(find_sockets(tmp_path / "state")[0], "look")["ok"]
            # A slow machine shakes hands less often than it swaps: each certificate is met before the next one comes.
            end = time.monotonic() + 10
            while paper.certificate.serial_number not in serials and not failures and time.monotonic() < end:
                time.sleep(0.002)
    finally:
        over.set()
        for each in threads:
            each.join(20)
    assert failures == []
    assert len(serials) >= 100, "the certificates did not change while clients knocked"
    assert counts["requests"] >= 300
    assert presented(pebble.tls_port, "swaps.example.org").serial_number == paper.certificate.serial_number
