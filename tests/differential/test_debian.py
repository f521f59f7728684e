"""Debian's whole tree of httpd, with modules and sites enabled by Debian's own commands, runs as it is.

Rules: nothing in the tree is changed for vestibule. What differs from a fresh `/etc/apache2` are the ports, which must be free here,
and the folders in `envvars`.
"""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.certs import Authority
from tests.e2e.client import Client, close_all
from tests.e2e.ports import free_ports
from tests.e2e.rig import environment
from tests.e2e.upstream import Upstream

from .battery import HOST, Ask
from .compare import got_by_client, seen_by_upstream
from .originals import SEARCH, Running
from .test_differential import answer

DEBIAN = Path("/etc/apache2")
MODULES = "proxy proxy_http proxy_wstunnel rewrite headers ssl remoteip"

SITE = """\
<IfModule mod_ssl.c>
<VirtualHost *:HTTPS>
    ServerName photos.example.org
    ServerAlias photos-?.example.org
    ServerAdmin webmaster@example.org
    SSLEngine on
    SSLCertificateFile FOLDER/site.pem
    ProxyPreserveHost On
    RequestHeader set X-Forwarded-Proto "https"
    RewriteEngine On
    RewriteCond %{HTTP:Upgrade} =websocket [NC]
    RewriteRule /(.*) ws://127.0.0.1:UPSTREAM/$1 [P,L]
    ProxyPass / http://127.0.0.1:UPSTREAM/
    ProxyPassReverse / http://127.0.0.1:UPSTREAM/
    Header always set Strict-Transport-Security "max-age=31536000"
    ErrorLog ${APACHE_LOG_DIR}/photos-error.log
    CustomLog ${APACHE_LOG_DIR}/photos-access.log combined
</VirtualHost>
</IfModule>
<VirtualHost *:HTTP>
    ServerName photos.example.org
    ServerAlias photos-?.example.org
    RewriteEngine on
    RewriteCond %{SERVER_NAME} =photos.example.org
    RewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} [END,NE,R=permanent]
    ProxyPass / http://127.0.0.1:UPSTREAM/
</VirtualHost>
"""

ASKS = (
    (0, Ask("GET", "/albums?x=%20y")),
    (0, Ask("GET", "/albums", (("Host", "photos-2.example.org"),))),
    (0, Ask("GET", "/nothing-here", (("Host", "default.example"),))),
    (0, Ask("GET", "/", (("Host", "default.example"),))),
    (0, Ask("GET", "/server-status", (("Host", "photos-2.example.org"),))),
    (1, Ask("GET", "/albums?x=%20y")),
    (1, Ask("POST", "/api/assets", (("Content-Type", "text/plain"),), b"abc")),
    (1, Ask("GET", "/up/redirect")),
    (1, Ask("GET", "/up/missing")),
)


def _lay_out(folder: Path, ports: list[int], upstream: int, authority: Authority, user: str) -> Path:
    """Copy Debian's tree and have Debian's commands enable things in it."""
    tree = folder / "apache2"
    shutil.copytree(DEBIAN, tree, symlinks=True)
    for name in ("log", "run", "lock"):
        (folder / name).mkdir()
    for each in [folder, *folder.parents[:2]]:
        each.chmod(0o755)
    (folder / "log").chmod(0o777)
    (tree / "envvars").write_text(
        f"export APACHE_RUN_USER={user}\nexport APACHE_RUN_GROUP={user}\nexport APACHE_PID_FILE={folder}/run/apache2.pid\n"
        f"export APACHE_RUN_DIR={folder}/run\nexport APACHE_LOCK_DIR={folder}/lock\nexport APACHE_LOG_DIR={folder}/log\n"
    )
    listens = (tree / "ports.conf").read_text()
    (tree / "ports.conf").write_text(listens.replace("Listen 80", f"Listen 127.0.0.1:{ports[0]}").replace("443", f"127.0.0.1:{ports[1]}"))
    default = tree / "sites-available" / "000-default.conf"
    default.write_text(default.read_text().replace("*:80", f"*:{ports[0]}"))
    site = SITE.replace("HTTPS", str(ports[1])).replace("HTTP>", f"{ports[0]}>").replace("FOLDER", str(folder))
    (tree / "sites-available" / "photos.conf").write_text(site.replace("UPSTREAM", str(upstream)))
    authority.bundle(folder / "site.pem", HOST)
    confined = {**os.environ, "APACHE_CONFDIR": str(tree), "PATH": SEARCH}
    for command in (["a2enmod", "-q", *MODULES.split()], ["a2ensite", "-q", "photos"]):
        done = subprocess.run(command, env=confined, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
    return tree


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def both(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Upstream, list[list[int]]]]:
    """httpd and vestibule, each with a tree of its own; and their ports, for HTTP and HTTPS."""
    if shutil.which("apache2", path=SEARCH) is None or shutil.which("a2enmod", path=SEARCH) is None:
        pytest.skip("Debian's apache2 is not installed")
    upstream = Upstream()
    upstream.script = answer
    found = free_ports(4)
    ports = [found[:2], found[2:]]
    running: list[Running] = []
    try:
        for which, each in enumerate(ports):
            folder = tmp_path_factory.mktemp("theirs" if which == 0 else "ours")
            # httpd does not serve as root; vestibule's program may lie where nobody else can read it.
            user = "www-data" if which == 0 and os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
            tree = _lay_out(folder, each, upstream.port, authority, user)
            variables = dict([line.removeprefix("export ").split("=", 1) for line in (tree / "envvars").read_text().splitlines()])
            theirs = ["apache2", "-d", str(tree), "-f", "apache2.conf", "-X"]
            ours = [sys.executable, "-m", "vestibule", "httpd", "-d", str(tree), "-X"]
            started = {**os.environ, **variables} if which == 0 else environment() | {"XDG_STATE_HOME": str(folder / "state")}
            running.append(Running(theirs if which == 0 else ours, folder, each, started))
        yield upstream, ports
    finally:
        close_all()
        for one in running:
            one.stop()
        upstream.close()


@pytest.mark.parametrize(("door", "ask"), ASKS, ids=[f"{door}-{ask.target}" for door, ask in ASKS])
def test_a_whole_tree_runs_as_it_is(door: int, ask: Ask, authority: Authority, both: tuple[Upstream, list[list[int]]]) -> None:
    upstream, ports = both
    told: list[object] = []
    for each in ports:
        upstream.requests = []
        fields = ask.fields if any(name == "Host" for name, _ in ask.fields) else (("Host", HOST), *ask.fields)
        client = Client(("127.0.0.1", each[door]), authority.client() if door == 1 else None, HOST)
        response = client.request(ask.method, ask.target, fields, ask.body)
        pair = (each[0], each[1])
        told.append((seen_by_upstream(upstream.requests, pair), got_by_client(response, bool(upstream.requests), pair)))
    assert told[0] == told[1]
