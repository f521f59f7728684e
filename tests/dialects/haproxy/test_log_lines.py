"""Lines that a haproxy.cfg sends to a syslog server: vestibule's are read as HAProxy's are."""

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.dialects.haproxy.test_serve import serving
from tests.e2e.client import Client
from tests.e2e.ports import free_ports

TEXT = """\
global
    log 127.0.0.1:SYSLOG local0 info
    log 127.0.0.1:SYSLOG local1 notice

defaults
    log global
    timeout connect 5s
    timeout client 1m
    timeout server 1m

frontend door
    mode http
    option httplog
    option dontlognull
    bind 127.0.0.1:PORT
    capture request header Host len 40
    http-request deny deny_status 403 if { path /denied }
    use_backend nobody if { path /lost }
    use_backend empty if { path /none }
    default_backend photos

backend photos
    mode http
    server one 127.0.0.1:UPSTREAM

backend empty
    mode http
    server gone 127.0.0.1:NOBODY disabled

backend nobody
    mode http
    retries 0
    server two 127.0.0.1:NOBODY

listen through
    mode tcp
    option tcplog
    bind 127.0.0.1:RAW
    server one 127.0.0.1:UPSTREAM
"""

HEAD = r"<134>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d haproxy\[\d+\]: "
CAME = r"127\.0\.0\.1:\d+ \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3}\] "
COUNTS = r"\d+/\d+/\d+/\d+/\d+ \d+/\d+ "


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Return where lines are sent to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(20)
        yield made


def heard(server: socket.socket) -> str:
    """Return the next line of a request."""
    for _ in range(50):
        line = server.recv(5_000).decode()
        if line.startswith("<134>"):
            return line
    raise AssertionError("no line of a request came")


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_requests_and_connections_are_told_to_syslog(tmp_path: Path, server: socket.socket, original: bool) -> None:
    raw, nobody = free_ports(2)
    text = TEXT.replace("SYSLOG", str(server.getsockname()[1])).replace("RAW", str(raw)).replace("NOBODY", str(nobody))
    with serving(tmp_path, "haproxy.cfg", text, original) as (port, _, _):
        for path, line in (
            ("/a?b=1", rf"door photos/SERVER 0/0/\d+/\d+/\d+ 200 \d+ - - ---- {COUNTS}"),
            ("/denied", rf"door door/<NOSRV> 0/-1/-1/-1/\d+ 403 \d+ - - (PR|LR)-- {COUNTS}"),
            ("/lost", rf"door nobody/two 0/0/-1/-1/\d+ 503 \d+ - - SC-- {COUNTS}"),
            ("/none", rf"door empty/<NOSRV> 0/-1/-1/-1/\d+ 503 \d+ - - SC-- {COUNTS}"),
        ):
            Client(("127.0.0.1", port)).request("GET", path)
            said = heard(server)
            expected = HEAD + CAME + line.replace("SERVER", r"[^ ]+") + r'\{[^}]*\} "GET ' + re.escape(path) + ' HTTP/1.1"\n?'
            assert re.fullmatch(expected, said), said
            # What was started is who speaks, and not one of its workers.
            stat = Path(f"/proc/{said.partition('haproxy[')[2].partition(']')[0]}/stat").read_text()
            assert stat.rpartition(")")[2].split()[1] == str(os.getpid())
        Client(("127.0.0.1", port), name="photos.test", version="h2").request("GET", "/h2?a")
        said = heard(server)
        assert said.rstrip().endswith(' {photos.test} "GET http://photos.test/h2?a HTTP/2.0"'), said
        with socket.create_connection(("127.0.0.1", raw), 10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert sock.recv(10_000)
        said = heard(server)
        assert re.fullmatch(HEAD + CAME + r"through through/[^ ]+ \d+/\d+/\d+ \d+ -- " + COUNTS.strip() + "\n?", said), said


FORMAT = """\
global
    log 127.0.0.1:SYSLOG local0 info

frontend door
    mode http
    log global
    option dontlognull
    log-format "<%HM|%HPO|%HP|%HU|%HQ>"
    bind 127.0.0.1:PORT
    timeout client 1m
    http-request return status 200
"""


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_what_is_asked_for_is_told_as_it_came(tmp_path: Path, server: socket.socket, original: bool) -> None:
    with serving(tmp_path, "haproxy.cfg", FORMAT.replace("SYSLOG", str(server.getsockname()[1])), original) as (port, _, _):
        for version, target, line in (
            ("h1", "/a", "<GET|/a|/a|/a|>"),
            ("h1", "/a?q=1", "<GET|/a|/a|/a?q=1|?q=1>"),
            ("h1", "http://photos.test/a?q=1", "<GET|/a|http://photos.test/a|http://photos.test/a?q=1|?q=1>"),
            ("h2", "/a", "<GET|/a|http://photos.test/a|http://photos.test/a|>"),
            ("h2", "/a?q=1", "<GET|/a|http://photos.test/a|http://photos.test/a?q=1|?q=1>"),
        ):
            Client(("127.0.0.1", port), name="photos.test", version=version).request("GET", target)
            said = heard(server)
            assert said.rstrip().endswith(": " + line), said


CAPTURED = """\
frontend door
    mode http
    log 127.0.0.1:SYSLOG local0 info
    option dontlognull
    log-format "<%hr>"
    bind 127.0.0.1:PORT
    timeout client 1m
    declare capture request len 20
    http-request capture req.hdr(host) len 6
    http-request capture path len 64 if { path_beg /a }
    http-request set-path /moved
    http-request capture method id 0 if { query -m found }
    http-request return status 200
"""


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_what_rules_capture_is_told_as_it_was_then(tmp_path: Path, server: socket.socket, original: bool) -> None:
    with serving(tmp_path, "haproxy.cfg", CAPTURED.replace("SYSLOG", str(server.getsockname()[1])), original) as (port, _, _):
        for target, line in (("/a", "<{|photos|/a}>"), ("/b?c", "<{GET|photos|}>"), ("/a/b?c", "<{GET|photos|/a/b}>")):
            Client(("127.0.0.1", port), name="photos.test").request("GET", target)
            said = heard(server)
            assert said.rstrip().endswith(": " + line), said


ROUNDS = """\
frontend door
    mode http
    bind 127.0.0.1:PORT
    timeout client 1m
    default_backend photos

backend photos
    mode http
    log 127.0.0.1:SYSLOG local0 info
    timeout connect 5s
    timeout server 1m
    option log-health-checks
    option httpchk
    http-check connect addr 127.0.0.1:UPSTREAM
    http-check set-var(check.what) str(first)
    http-check send meth GET uri-lf /%[var(check.what)] ver HTTP/1.1 hdr Host a.lan hdr X-Who %[be_name]/%[srv_name]
    http-check expect status 200
    http-check connect addr 127.0.0.1 port UPSTREAM
    http-check set-var-fmt(check.what) %[var(check.what)]-then
    http-check send meth POST uri-lf /%[var(check.what)] ver HTTP/1.1 hdr Host b.lan body-lf "of %[be_name]"
    http-check expect rstatus ^EXPECTED
    server one 127.0.0.1:NOBODY check inter 200ms rise 1 fall 1
"""


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
@pytest.mark.parametrize(("expected", "news"), [("2", "succeeded.*code: 200"), ("3", "failed, reason: Layer7 wrong status, code: 200")])
def test_a_check_asks_more_than_once(tmp_path: Path, server: socket.socket, original: bool, expected: str, news: str) -> None:
    (nobody,) = free_ports(1)
    text = ROUNDS.replace("SYSLOG", str(server.getsockname()[1])).replace("NOBODY", str(nobody)).replace("EXPECTED", expected)
    with serving(tmp_path, "haproxy.cfg", text, original) as (_, upstream, _):
        for _ in range(50):
            line = server.recv(5_000).decode()
            if "Health check for server photos/one" in line:
                break
        assert re.search(f"Health check for server photos/one {news}", line), line
        first, then = upstream.requests[:2]
        assert (first.line, first.body) == (b"GET /first HTTP/1.1", b"")
        assert {(b"host", b"a.lan"), (b"x-who", b"photos/one")} <= {(name.lower(), value) for name, value in first.fields}
        assert (then.line, then.body) == (b"POST /first-then HTTP/1.1", b"of photos")


ENDS = """\
defaults
    log 127.0.0.1:SYSLOG local0 info
    option dontlognull
    timeout connect 5s
    timeout client 1m
    timeout server 1m

frontend through
    mode tcp
    bind 127.0.0.1:RAW
    log-format "<%ts|%fp|%ft>"
    default_backend bytes

backend bytes
    server one 127.0.0.1:UPSTREAM

frontend door
    mode http
    bind 127.0.0.1:PORT
    log-format "<%ts|%tsc>"
    option http-buffer-request
    timeout http-request 300ms
    http-request return status 200 if { path /own }
    use_backend nobody if { path /lost }
    default_backend photos

backend photos
    mode http
    server one 127.0.0.1:UPSTREAM

backend nobody
    mode http
    retries 0
    server two 127.0.0.1:NOBODY
"""


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_formats_say_how_it_ended(tmp_path: Path, server: socket.socket, original: bool) -> None:
    raw, nobody = free_ports(2)
    text = ENDS.replace("SYSLOG", str(server.getsockname()[1])).replace("RAW", str(raw)).replace("NOBODY", str(nobody))
    with serving(tmp_path, "haproxy.cfg", text, original) as (port, _, _):
        for path, line in (("/a", "<--|---->"), ("/own", "<LR|LR-->"), ("/lost", "<SC|SC-->")):
            Client(("127.0.0.1", port)).request("GET", path)
            said = heard(server)
            assert said.rstrip().endswith(": " + line), said
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            # A body that does not come in time is a request that did not.
            sock.sendall(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
            assert sock.recv(10_000).startswith(b"HTTP/1.1 408")
            said = heard(server)
            assert said.rstrip().endswith(": <cR|cR-->"), said
        with socket.create_connection(("127.0.0.1", raw), 10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert sock.recv(10_000)
        said = heard(server)
        assert said.rstrip().endswith(f": <--|{raw}|through>"), said
