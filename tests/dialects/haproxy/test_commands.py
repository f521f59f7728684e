"""The socket for commands of a haproxy.cfg: vestibule answers what HAProxy answers."""

import http.client
import re
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.dialects.haproxy.test_serve import serving
from tests.e2e.certs import Authority

ADMIN = """\
global
    stats socket FOLDER/admin.sock mode 600 level admin
"""
DEFAULTS = """
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m

"""
TEXT = (
    ADMIN
    + "    stats socket FOLDER/user.sock mode 600 level user\n"
    + DEFAULTS
    + """\
frontend door
    bind 127.0.0.1:PORT
    default_backend photos

backend photos
    server one 127.0.0.1:UPSTREAM weight 4
    server two 127.0.0.1:UPSTREAM weight 8 backup
"""
)

TALK = (
    ("user", "get weight photos/one", "4 (initial 4)\n\n"),
    ("user", "set weight photos/one 2", "Permission denied\n\n"),
    ("admin", "set weight photos/one 2", "\n"),
    ("admin", "get weight photos/one; set weight photos/one 100%; get weight photos/one", "2 (initial 4)\n\n\n4 (initial 4)\n\n"),
    ("admin", "set server photos/one state maint", "\n"),
    ("admin", "set server photos/one state odd", "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n"),
    ("admin", "set server photos/nobody state ready", "No such server.\n\n"),
    ("admin", "set server nobody/one state ready", "No such backend.\n\n"),
    ("admin", "enable server photos", "Require 'backend/server'.\n\n"),
)


def ask(path: Path, line: str) -> str:
    # Ports are open a moment before the sockets for commands are.
    until = time.monotonic() + 10
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(line.encode() + b"\n")
        data = b""
        while piece := sock.recv(65_536):
            data += piece
    return data.decode()


def statuses(folder: Path) -> dict[str, str]:
    """Return the status of each line of `show stat`."""
    head, *lines = ask(folder / "user.sock", "show stat").strip().split("\n")
    at = head.split(",").index("status")
    return {"/".join(line.split(",")[:2]): line.split(",")[at] for line in lines}


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_commands_are_answered_alike(tmp_path: Path, original: bool) -> None:
    text = TEXT.replace("two 127.0.0.1:UPSTREAM", "two 127.0.0.2:UPSTREAM")
    with serving(tmp_path, "haproxy.cfg", text, original):
        assert statuses(tmp_path) == {
            "door/FRONTEND": "OPEN",
            "photos/one": "no check",
            "photos/two": "no check",
            "photos/BACKEND": "UP",
        }
        for level, line, answer in TALK:
            assert ask(tmp_path / f"{level}.sock", line) == answer, line
        assert statuses(tmp_path)["photos/one"] == "MAINT"
        assert ask(tmp_path / "admin.sock", "disable server photos/two; show stat").count("MAINT") == 2
        assert statuses(tmp_path)["photos/BACKEND"] == "DOWN"


MAPPED = (
    ADMIN
    + DEFAULTS
    + """\
frontend door
    bind 127.0.0.1:PORT
    http-request deny if { req.hdr(user-agent) -m str -f FOLDER/agents.acl }
    http-request return status 200 hdr x-place %[path,map_beg(FOLDER/places.map,nowhere)] content-type text/plain string well
"""
)

CHANGES = (
    ("show map FOLDER/places.map", "/a one\n/b two\n\n"),
    ("add map FOLDER/places.map /c three", "\n"),
    ("set map FOLDER/places.map /a other", "\n"),
    ("del map FOLDER/places.map /b", "\n"),
    ("del map FOLDER/places.map /b", "Key not found.\n\n"),
    ("add map FOLDER/places.map <<\n/d four\n/e five\n", "\n"),
    ("show map FOLDER/places.map", "/a other\n/c three\n/d four\n/e five\n\n"),
    ("prepare map FOLDER/places.map", "New version created: 1\n\n"),
    ("add map @1 FOLDER/places.map /f six", "\n"),
    ("show map @1 FOLDER/places.map", "/f six\n\n"),
    ("commit map @1 FOLDER/places.map", "\n"),
    ("show map FOLDER/places.map", "/f six\n\n"),
    ("clear map FOLDER/places.map", "\n"),
    ("show map FOLDER/places.map", "\n"),
    ("add map FOLDER/places.map /g seven", "\n"),
    ("add acl FOLDER/agents.acl Odd\\ Thing\\;", "\n"),
    ("show acl FOLDER/agents.acl", "Odd Thing;\n\n"),
    ("show map FOLDER/none.map", "Unknown map identifier. Please use #<id> or <file>.\n\n"),
)


def place(port: int, path: str, agent: str) -> tuple[int, str]:
    """Return the status of an answer, and the field that a map makes."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request("GET", path, headers={"User-Agent": agent})
        answer = client.getresponse()
        return answer.status, answer.headers.get("x-place", "")


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_maps_and_lists_are_changed_alike(tmp_path: Path, original: bool) -> None:
    (tmp_path / "places.map").write_text("# path and place\n/a one\n/b \t two\n")
    (tmp_path / "agents.acl").write_text("")
    with serving(tmp_path, "haproxy.cfg", MAPPED, original) as (port, _, _):
        assert place(port, "/a/b", "Odd Thing;") == (200, "one")
        for line, answer in CHANGES:
            said = ask(tmp_path / "admin.sock", line.replace("FOLDER", str(tmp_path)))
            # Numbers of entries are each program's own.
            assert re.sub("(?m)^0x[0-9a-f]+ ", "", said) == answer, line
        assert place(port, "/g", "Odd") == (200, "seven")
        assert place(port, "/a/b", "Odd") == (200, "nowhere")
        assert place(port, "/g", "Odd Thing;")[0] == 403


SECURED = """\
global
    stats socket FOLDER/admin.sock mode 600 level admin
    crt-base FOLDER

defaults
    mode http
    retries 0
    http-reuse never
    timeout connect 5s
    timeout client 1m
    timeout server 1m

listen door
    bind 127.0.0.1:PORT
    use-server two if { path_beg /two }
    use-server three if { path_beg /three }
    use-server one if { path_beg /one }
    http-response add-header x-shown %[ssl_s_s_dn(CN)],%[ssl_s_serial,hex]
    server one FOLDER/in.sock ssl no-ssl-reuse verify none sni str(one.test) crt FOLDER/client.pem
    server two FOLDER/in.sock ssl no-ssl-reuse verify none sni str(two.test)
    server three FOLDER/in.sock ssl no-ssl-reuse verify required ca-file FOLDER/ca.pem sni str(one.test) crt FOLDER/client.pem

listen inside
    bind FOLDER/in.sock ssl strict-sni crt-list FOLDER/hosts.list
    server app 127.0.0.1:UPSTREAM
"""


def shown(port: int, path: str) -> tuple[int, str]:
    """Return the status of an answer, and which certificate the server inside showed."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.headers.get("x-shown", "")


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_certificates_are_changed_alike(tmp_path: Path, original: bool) -> None:
    files = {name: tmp_path / f"{name}.pem" for name in ("old", "new", "client", "ca", "other")}
    authority, stranger = Authority(), Authority()
    for name, host in (("old", "one.test"), ("new", "one.test"), ("client", "anna.test"), ("other", "two.test")):
        authority.bundle(files[name], host).chmod(0o600)
    stranger.write_root(files["ca"])
    (tmp_path / "hosts.list").write_text("old.pem one.test\nold.pem spare.test\n")
    with serving(tmp_path, "haproxy.cfg", SECURED, original) as (port, _, _):

        def say(line: str, payload: Path | None = None) -> str:
            text = "" if payload is None else f" <<\n{payload.read_text().strip()}\n"
            return ask(tmp_path / "admin.sock", line.replace("FOLDER", str(tmp_path)) + text)

        first = shown(port, "/one")
        assert first[0] == 200
        serial = re.search("(?m)^Serial: (.*)$", say("show ssl cert FOLDER/old.pem"))
        assert serial is not None and first[1].endswith(serial[1])
        # Not before it is committed.
        assert say("set ssl cert FOLDER/old.pem", files["new"]).startswith("Transaction created for certificate")
        assert shown(port, "/one") == first
        assert say("abort ssl cert FOLDER/old.pem").startswith("Transaction aborted for certificate")
        assert say("commit ssl cert FOLDER/old.pem").startswith("No ongoing transaction!")
        say("set ssl cert FOLDER/old.pem", files["new"])
        assert "Success!" in say("commit ssl cert FOLDER/old.pem")
        _certificates_are_added(port, say, first, files["other"])
        # Authorities of servers.
        assert shown(port, "/three")[0] == 503
        root = authority.write_root(tmp_path / "root.pem")
        assert say("set ssl ca-file FOLDER/ca.pem", root).startswith("transaction created")
        assert "Success!" in say("commit ssl ca-file FOLDER/ca.pem")
        assert shown(port, "/three")[0] == 200
        assert "1 certificate" in say("show ssl ca-file")
        assert "Can't" in say("set ssl cert FOLDER/none.pem", files["new"])


def _certificates_are_added(port: int, say: Callable[..., str], first: tuple[int, str], other: Path) -> None:
    """Add a certificate and its line, and take them away again."""
    second = shown(port, "/one")
    assert second[0] == 200 and second != first
    assert shown(port, "/two")[0] == 503
    assert say("new ssl cert FOLDER/other.pem").startswith("New empty certificate store")
    say("set ssl cert FOLDER/other.pem", other)
    assert "Success!" in say("commit ssl cert FOLDER/other.pem")
    assert "Success!" in say("add ssl crt-list FOLDER/hosts.list <<\nFOLDER/other.pem two.test\n")
    assert "other.pem" in say("show ssl crt-list FOLDER/hosts.list")
    assert shown(port, "/two")[0] == 200
    # The list leaves out the folder that `crt-base` says.
    assert say("del ssl crt-list FOLDER/hosts.list FOLDER/old.pem:2").startswith("Entry ")
    assert "spare.test" not in say("show ssl crt-list FOLDER/hosts.list")
    assert "in use" in say("del ssl cert FOLDER/other.pem")
    assert say("del ssl crt-list FOLDER/hosts.list FOLDER/other.pem").startswith("Entry ")
    assert shown(port, "/two")[0] == 503
    assert "deleted!" in say("del ssl cert FOLDER/other.pem")


COUNTED = (
    ADMIN
    + DEFAULTS
    + """\
frontend door
    bind 127.0.0.1:PORT
    http-request track-sc0 hdr_ip(x-a),ipmask(24,64) table app
    http-request return status 200 content-type text/plain string well

backend app
    stick-table type ipv6 size 20 expire 360s store gpc0,http_req_cnt,http_req_rate(10s)
"""
)

_ROW = "0x: key=%s use=0 exp= %sgpc0=0 http_req_cnt=%d http_req_rate(10000)=%d\n"


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_what_is_counted_is_told_alike(tmp_path: Path, original: bool) -> None:
    with serving(tmp_path, "haproxy.cfg", COUNTED, original) as (port, _, _):

        def say(line: str) -> str:
            said = ask(tmp_path / "admin.sock", line)
            for _ in range(100):
                # A client has its answer before the program has let go of the row that counts it.
                if not re.search(" use=[1-9]", said):
                    break
                time.sleep(0.05)
                said = ask(tmp_path / "admin.sock", line)
            return re.sub("exp=[0-9]+", "exp=", re.sub("(?m)^0x[0-9a-f]+", "0x", said))

        for address in ("2001:db8:1::7", "192.168.1.7", "192.168.1.9"):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
                client.request("GET", "/", headers={"X-A": address})
                assert client.getresponse().status == 200
        head = "# table: app, type: ipv6, size:20, used:%d\n"
        rows = [_ROW % ("::ffff:192.168.1.0", "", 2, 2), _ROW % ("2001:db8:1::", "", 1, 1)]
        assert say("show table app") == head % 2 + "".join(rows) + "\n"
        assert say("show table") == head % 2 + "\n"
        assert say("clear table app key 2001:db8:1::") == "\n"
        assert say("show table app") == head % 1 + rows[0] + "\n"
        assert say("clear table app") == "\n"
        assert say("show table app") == head % 0 + "\n"
        assert say("show table nothing") == "No such table\n\n" or say("show table nothing").startswith("No such")
