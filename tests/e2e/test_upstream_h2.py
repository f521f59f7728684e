"""Upstreams that speak HTTP/2: nginx with and without TLS, and what is said of one that does not.

Facts: Debian's nginx takes HTTP/2 on plain listeners by prior knowledge, and by ALPN on those with TLS.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.differential.originals import Running

from .certs import Authority
from .client import Client, close_all
from .ports import free_ports
from .rig import Vestibule, settings

_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    log_format seen '$server_protocol $request_method $request_length $scheme';
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} {how};
        access_log {folder}/seen.log seen;
        {tls}
        location / {{ root {folder}/files; }}
        location /said {{ return 200 "$server_protocol $host $scheme"; }}
        location /put {{ return 201 "taken"; }}
    }}
}}
"""

pytestmark = [
    pytest.mark.http1,
    pytest.mark.skipif(shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") is None, reason="nginx is not installed"),
]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Start nginx that listens in a way, and a proxy in front of it."""
    with contextlib.ExitStack() as stack:

        def run(how: str) -> Client:
            behind, front = free_ports(2)
            folder = tmp_path / "nginx"
            (folder / "files").mkdir(parents=True)
            (folder / "files" / "big").write_bytes(bytes(range(256)) * 20_000)
            secure = "ssl" in how
            authority = Authority()
            chain, key = authority.leaf("photos.test")
            (folder / "chain.pem").write_bytes(chain)
            (folder / "key.pem").write_bytes(key)
            authority.write_root(tmp_path / "ca.pem")
            tls = f"ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem;" if secure else ""
            (folder / "main.conf").write_text(_NGINX.format(folder=folder, port=behind, how=how, tls=tls))
            running = Running(["nginx", "-p", str(folder), "-c", str(folder / "main.conf")], folder, [behind], dict(os.environ))
            stack.callback(running.stop)
            trust = 'tls = { ca = "ca.pem", name = "photos.test" }' if secure else ""
            config = (
                f'{settings(tmp_path)}\n[upstreams.app]\nservers = ["{"https" if secure else "http"}://127.0.0.1:{behind}"]\n'
                f'pool.protocol = "h2"\n{trust}\n[sites."*"]\nlisten = "127.0.0.1:{front}"\nto = "app"\ntimeouts = {{ hold = "0s" }}\n'
            )
            proxy = Vestibule(tmp_path, config, [front])
            stack.callback(proxy.stop)
            stack.callback(close_all)
            return Client(("127.0.0.1", front))

        yield run


@pytest.mark.parametrize("how", ["http2", "ssl http2"])
def test_nginx(how: str, start: Callable[..., Client], tmp_path: Path) -> None:
    client = start(how)
    scheme = b"https" if "ssl" in how else b"http"
    for _ in range(3):
        assert client.get("/said").body == b"HTTP/2.0 photos.test " + scheme
    assert client.get("/big").body == bytes(range(256)) * 20_000
    assert client.request("HEAD", "/big").find("Content-Length") == b"5120000"
    assert client.request("POST", "/put", body=bytes(3_000_000)).status == 201
    assert client.get("/missing").status == 404
    seen = (tmp_path / "nginx" / "seen.log").read_text().splitlines()
    assert {line.split(" ")[0] for line in seen} == {"HTTP/2.0"}


@pytest.mark.parametrize("how", ["", "ssl"])
def test_server_without_http2(how: str, start: Callable[..., Client]) -> None:
    """What it speaks is told, not guessed."""
    client = start(how)
    response = client.request("GET", "/said", [("Accept", "application/json")])
    assert response.status == 502
    assert b"upstream." in response.body
