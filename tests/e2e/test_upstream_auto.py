"""Upstreams that choose between HTTP/2 and HTTP/1.1 (ALPN), and change their mind: nginx, HAProxy, Caddy, and a server made for it."""

import os
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.differential.originals import Running

from .certs import Authority, server
from .client import Client, close_all
from .ports import free_ports
from .rig import Vestibule, settings
from .test_upgrade import PATH, agree_and_echo
from .upstream import Upstream
from .upstream_h2 import FrameUpstream

pytestmark = pytest.mark.http1

Serve = Callable[[Path, int, Path, bool], list[str]]


def nginx(folder: Path, port: int, bundle: Path, both: bool) -> list[str]:
    temporary = " ".join([f"{each}_temp_path {folder}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")])
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port} ssl {'http2' if both else ''};\n"
        f'ssl_certificate {bundle}; ssl_certificate_key {bundle}; location / {{ return 200 "$server_protocol"; }} }} }}\n'
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, bundle: Path, both: bool) -> list[str]:
    (folder / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout client 9s\n timeout server 9s\n timeout connect 9s\n"
        f"frontend f\n bind 127.0.0.1:{port} ssl crt {bundle} alpn {'h2,' if both else ''}http/1.1\n"
        ' http-request return status 200 content-type text/plain lf-string "%HV"\n'
    )
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def caddy(folder: Path, port: int, bundle: Path, both: bool) -> list[str]:
    (folder / "Caddyfile").write_text(
        f"{{\n admin off\n auto_https off\n servers {{\n  protocols {'h1 h2' if both else 'h1'}\n }}\n}}\n"
        f'https://photos.test:{port} {{\n bind 127.0.0.1\n tls {bundle} {bundle}\n respond "{{http.request.proto}}"\n}}\n'
    )
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def table(port: int, folder: Path, more: str = "") -> str:
    """Return an upstream that may choose."""
    return (
        f'[upstreams.app]\nservers = ["https://127.0.0.1:{port}"]\npool = {{ protocol = "auto"{more} }}\n'
        f'tls = {{ ca = "{folder}/ca.pem", name = "photos.test" }}\n'
    )


def site(port: int, more: str = "") -> str:
    return f'[sites."*"]\nlisten = "127.0.0.1:{port}"\nto = "app"\ntimeouts = {{ hold = "0s"{more} }}\n'


@pytest.mark.parametrize("both", [True, False], ids=["h2 and http/1.1", "http/1.1"])
@pytest.mark.parametrize("serve", [nginx, haproxy, caddy])
def test_real_servers_choose(serve: Serve, both: bool, tmp_path: Path) -> None:
    """None of them waits for anything: the answer says what was spoken."""
    if shutil.which(serve.__name__, path=os.environ["PATH"] + ":/usr/sbin") is None:
        pytest.skip(f"{serve.__name__} is not installed")
    authority = Authority()
    authority.write_root(tmp_path / "ca.pem")
    behind, front = free_ports(2)
    folder = tmp_path / "server"
    folder.mkdir()
    words = serve(folder, behind, authority.bundle(tmp_path / "bundle.pem", "photos.test"), both)
    running = Running(words, folder, [behind], dict(os.environ) | {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)})
    try:
        proxy = Vestibule(tmp_path, settings(tmp_path) + table(behind, tmp_path) + site(front), [front])
        try:
            client = Client(("127.0.0.1", front))
            for _ in range(3):
                response = client.get("/")
                assert (response.status, response.body) == (200, b"HTTP/2.0" if both else b"HTTP/1.1")
        finally:
            close_all()
            proxy.stop()
    finally:
        running.stop()


class Chooser(FrameUpstream):
    """A server that speaks what was agreed on."""

    def converse(self, sock: socket.socket, number: int) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        if sock.selected_alpn_protocol() == "h2":
            super().converse(sock, number)
        else:
            Upstream.converse(self, sock, number)


class Changeable:
    """A proxy in front of a server that may change its mind."""

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        authority.write_root(folder / "ca.pem")
        self.tls = server(authority.bundle(folder / "bundle.pem", "photos.test"))
        self.choose("h2", "http/1.1")
        self.upstream = Chooser(tls=self.tls)
        (front,) = free_ports(1)
        self.proxy = Vestibule(folder, settings(folder) + table(self.upstream.port, folder) + site(front), [front])
        self.client = Client(("127.0.0.1", front))

    def choose(self, *protocols: str) -> None:
        """Agree on one of these from now on."""
        self.tls.set_alpn_protocols(list(protocols))

    def ask_many(self, count: int) -> list[int]:
        """Make so many requests at the same time, and return the statuses."""
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(self.client.get("/").status)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return statuses

    def stop(self) -> None:
        close_all()
        try:
            self.proxy.stop()
        finally:
            self.upstream.close()


@pytest.fixture
def changeable(tmp_path: Path) -> Iterator[Changeable]:
    made = Changeable(tmp_path)
    yield made
    made.stop()


def test_requests_that_come_at_once_share_the_first_connection(changeable: Changeable) -> None:
    assert changeable.ask_many(20) == [200] * 20
    assert changeable.upstream.connections == 1
    assert {request.line for request in changeable.upstream.requests} == {b"GET / HTTP/2"}


def test_no_request_is_lost_or_doubled_when_the_server_changes_its_mind(changeable: Changeable) -> None:
    upstream = changeable.upstream
    for protocols, line in (
        (["h2"], b"GET / HTTP/2"),
        (["http/1.1"], b"GET / HTTP/1.1"),
        ([], b"GET / HTTP/1.1"),
        (["h2"], b"GET / HTTP/2"),
    ):
        if protocols:
            changeable.choose(*protocols)
        upstream.rest()
        upstream.drop_idle()
        assert changeable.ask_many(10) == [200] * 10
        assert [request.line for request in upstream.requests] == [line] * 10


def test_a_websocket_has_http_1_where_everything_else_has_http_2(changeable: Changeable) -> None:
    upstream = changeable.upstream
    assert changeable.client.get("/").status == 200
    upstream.rest()
    upstream.script = agree_and_echo
    tunnel = changeable.client.open_tunnel(PATH)
    tunnel.send(b"ping")
    assert tunnel.read(4) == b"ping"
    assert upstream.take_one().line == f"GET {PATH} HTTP/1.1".encode()
    tunnel.close()


def test_who_waits_for_the_first_connection_does_not_wait_for_ever(tmp_path: Path) -> None:
    Authority().write_root(tmp_path / "ca.pem")
    silent = socket.create_server(("127.0.0.1", 0))
    (front,) = free_ports(1)
    upstream = table(silent.getsockname()[1], tmp_path, ", max_waiting = 2")
    proxy = Vestibule(tmp_path, settings(tmp_path) + upstream + site(front, ', connect = "3s"'), [front])
    try:
        client = Client(("127.0.0.1", front))
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(client.get("/").status)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(statuses) == [503, 503, 504, 504, 504]
    finally:
        close_all()
        proxy.stop()
        silent.close()
