"""Pages of figures beside the originals': the same form, whatever the numbers."""

import contextlib
import csv
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.client import Client, Response
from tests.e2e.message import Truncated
from tests.e2e.ports import free_ports
from tests.e2e.rig import environment

from .originals import Running

NGINX = """\
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events {}
http {
    access_log off;
    server { listen 127.0.0.1:PORT; location = /status { stub_status; } location / { return 200 hello; } }
}
"""

HAPROXY = """\
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend door
    bind 127.0.0.1:PORT
    stats enable
    stats uri /status
    stats refresh 10s
    stats auth admin:secret
    default_backend app
backend app
    server one 127.0.0.1:9 weight 4
    server two 127.0.0.2:9 backup
"""

APACHE = """\
ServerRoot FOLDER
ServerName original.example
PidFile FOLDER/httpd.pid
ErrorLog FOLDER/error.log
Mutex file:FOLDER default
Listen 127.0.0.1:PORT
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule status_module /usr/lib/apache2/modules/mod_status.so
<Location "/status">
    SetHandler server-status
</Location>
"""

KEY = ("Authorization", "Basic YWRtaW46c2VjcmV0")


class Both:
    """The original and vestibule with the same file, each on a port of its own."""

    def __init__(self, folder: Path, text: str, name: str, original: Callable[[Path], list[str]]) -> None:
        self.running: list[Running] = []
        self.ports = free_ports(2)
        for port, who in zip(self.ports, ("original", "vestibule"), strict=True):
            inside = folder / who
            inside.mkdir()
            file = inside / name
            file.write_text(text.replace("PORT", str(port)).replace("FOLDER", str(inside)))
            command = original(file) if who == "original" else [sys.executable, "-m", "vestibule", "run", str(file), "--workers", "1"]
            self.running.append(Running(command, inside, [port], environment() | {"XDG_STATE_HOME": str(inside / "state")}))

    def get(self, target: str, *fields: tuple[str, str], method: str = "GET") -> tuple[Response, Response]:
        one, other = [self._ask(port, method, target, list(fields)) for port in self.ports]
        return one, other

    @staticmethod
    def _ask(port: int, method: str, target: str, fields: list[tuple[str, str]]) -> Response:
        """Ask until there is an answer that is not about being just started."""
        for _ in range(100):
            with contextlib.suppress(Truncated):
                response = Client(("127.0.0.1", port)).request(method, target, fields)
                if response.status != 503:
                    break
            time.sleep(0.1)
        return response

    def stop(self) -> None:
        for each in self.running:
            each.stop()


def shape(response: Response) -> str:
    """Return a text with one figure for all numbers."""
    return re.sub(r"\d+", "N", response.body.decode())


def test_stub_status(tmp_path: Path) -> None:
    both = Both(tmp_path, NGINX, "nginx.conf", lambda file: ["nginx", "-p", str(file.parent), "-c", str(file)])
    try:
        one, other = both.get("/status")
        assert (one.status, other.status) == (200, 200)
        assert shape(one) == shape(other)
        assert one.find("Content-Type") == other.find("Content-Type")
        one, other = both.get("/status", method="POST")
        assert one.status == other.status == 405
    finally:
        both.stop()


def test_statistics(tmp_path: Path) -> None:
    both = Both(tmp_path, HAPROXY, "haproxy.cfg", lambda file: ["haproxy", "-db", "-f", str(file)])
    try:
        refused = both.get("/status;csv")
        assert [each.status for each in refused] == [401, 401]
        assert len({each.find("WWW-Authenticate") for each in refused}) == 1
        tables: list[dict[tuple[str, str], list[str]]] = []
        for page in both.get("/status;csv", KEY):
            assert page.find("Content-Type") == b"text/plain"
            rows = list(csv.reader(page.body.decode().removeprefix("# ").splitlines()))
            columns = rows[0][: rows[0].index("agg_check_status") + 1]
            tables.append({(row[0], row[1]): row for row in rows})
            tables[-1]["", ""] = columns
        one, other = tables
        assert one.keys() == other.keys()
        assert one["", ""] == other["", ""]
        for name in ("status", "weight", "act", "bck", "type", "mode"):
            at = one["", ""].index(name)
            for key in [("door", "FRONTEND"), ("app", "one"), ("app", "two"), ("app", "BACKEND")]:
                assert one[key][at] == other[key][at], (name, key)
        for page in both.get("/status", KEY):
            assert page.find("Content-Type").partition(b";")[0] == b"text/html"  # type: ignore[union-attr]  # it is there
            assert page.find("Refresh") == b"10"
    finally:
        both.stop()


@pytest.mark.parametrize("target", ["/status?auto", "/status"])
def test_server_status(tmp_path: Path, target: str) -> None:
    both = Both(tmp_path, APACHE, "httpd.conf", lambda file: ["apache2", "-f", str(file), "-DFOREGROUND"])
    try:
        one, other = both.get(target)
        assert (one.status, other.status) == (200, 200)
        kinds = [(page.find("Content-Type") or b"").partition(b";")[0] for page in (one, other)]
        assert kinds[0] == kinds[1]
        if target.endswith("auto"):
            theirs, ours = [[line.partition(": ")[0] for line in page.body.decode().splitlines()[1:]] for page in (one, other)]
            # One that has not answered anything yet does not say how much an answer was, nor a rate in its first second.
            assert set(ours) - set(theirs) <= {"BytesPerReq", "ReqPerSec", "BytesPerSec"}
    finally:
        both.stop()
