"""A site behind TLS and a password, as a haproxy.cfg and as a Caddyfile, served end to end."""

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.differential.originals import Running
from tests.e2e.certs import Authority
from tests.e2e.client import Client
from tests.e2e.rig import environment, free_ports
from tests.e2e.upstream import Upstream

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


@contextmanager
def serving(folder: Path, name: str, text: str) -> Iterator[tuple[int, Upstream, Authority]]:
    """Serve a configuration with a certificate for photos.test, in front of an upstream that says ok."""
    (port,) = free_ports(1)
    authority = Authority()
    authority.bundle(folder / "photos.pem", "photos.test").chmod(0o600)
    upstream = Upstream()
    file = folder / name
    file.write_text(text.replace("PORT", str(port)).replace("UPSTREAM", str(upstream.port)).replace("FOLDER", str(folder)))
    command = [sys.executable, "-m", "vestibule", "run", str(file), "--workers", "1"]
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
        assert passed.status == 200
        (seen,) = upstream.requests
        assert seen.body == b"abc" * 1000
        fields = {name.lower(): value for name, value in seen.fields}
        assert fields[b"x-forwarded-proto"] == b"https"
        assert fields[b"x-forwarded-port"] == str(port).encode()
        assert fields[b"x-real-ip"] == address.encode()
        assert [value for name, value in seen.fields if name.lower() == b"x-forwarded-for"] == [b"198.51.100.1", address.encode()]
        assert client.request("GET", "/", [credentials("anna:wrong")]).status == 401


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
