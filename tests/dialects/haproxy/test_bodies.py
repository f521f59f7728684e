"""Rules that look into the bodies of requests: vestibule waits for them, and for how much of them, as HAProxy does."""

import socket
import threading
from pathlib import Path

import pytest
from tests.dialects.haproxy.test_serve import serving
from tests.e2e.upstream import Gone, Turn

TEXT = """\
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s

frontend door
    bind 127.0.0.1:PORT
    http-request wait-for-body time 300ms if { path /whole }
    http-request wait-for-body time 300ms at-least 10 if { path /some }
    http-request wait-for-body time 300ms at-least 0 if { path /any }
    http-request deny if { req.body -m sub evil }
    http-request return status 200 hdr x-told <%[req.body_len],%[req.body_param(user)],%[req.body_size]> if { path /whole /some /any }
    default_backend app

backend app
    option http-buffer-request
    timeout http-request 300ms
    http-request set-header x-told <%[req.body],%[req.body_len]>
    server app 127.0.0.1:UPSTREAM
"""

HALF = b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nuser=anna&abc"


def said(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Return the statuses of the answers and the field that tells of the body."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(request)
        text = b""
        while b"x-told" not in text.lower() and (piece := client.recv(65_536)):
            text += piece
    lines = text.split(b"\r\n")
    statuses = b" ".join(line.split()[1] for line in lines if line.startswith(b"HTTP/1.1 "))
    return statuses, b"".join(line for line in lines if line.lower().startswith(b"x-told"))


def posted(path: bytes, body: bytes, more: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s%s\r\n%s" % (path, length, more, body)


CHUNKED = b"POST /whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nuser=bob\r\n0\r\n\r\n"

TALK = (
    (posted(b"/whole", b"user=anna&x=1"), b"200", b"x-told: <13,anna,13>"),
    (posted(b"/whole", b"x=1&user=evil"), b"403", b""),
    (posted(b"/whole", b"user=anna&x=1", b"Expect: 100-continue\r\n"), b"100 200", b"x-told: <13,anna,13>"),
    (CHUNKED, b"200", b"x-told: <8,bob,8>"),
    (HALF % b"/whole", b"408", b""),
    (HALF % b"/any", b"408", b""),
    (posted(b"/whole", b"x=1;user=anna;y=2"), b"200", b"x-told: <17,anna,17>"),
    (HALF % b"/some", b"200", b"x-told: <13,anna,30>"),
    (b"GET /whole HTTP/1.1\r\nHost: a\r\n\r\n", b"200", b"x-told: <0,,0>"),
)


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_bodies_are_waited_for_alike(tmp_path: Path, original: bool) -> None:
    with serving(tmp_path, "haproxy.cfg", TEXT, original) as (port, upstream, _):
        for request, statuses, told in TALK:
            assert said(port, request) == (statuses, told), request
        # Who goes away while it is waited for leaves nothing behind.
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(HALF % b"/whole")
        # A backend waits as well, and its server gets the body.
        assert said(port, posted(b"/app", b"a=1"))[0] == b"200"
        (seen,) = upstream.requests
        assert seen.body == b"a=1"
        assert {name.lower(): value for name, value in seen.fields}[b"x-told"] == b"<a=1,3>"
        assert said(port, HALF % b"/app") == (b"408", b"")
        assert len(upstream.requests) == 1


HELD = """\
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s

frontend door
    bind 127.0.0.1:PORT
    default_backend app

backend app
    http-response wait-for-body time 300ms if { status 200 }
    http-response wait-for-body time 300ms at-least 10 if { status 201 }
    server app 127.0.0.1:UPSTREAM
"""


def half_an_answer(turn: Turn) -> None:
    """Send half of an answer, or in pieces; the rest of it follows only if the target asks for it."""
    status = turn.request.target.removeprefix(b"/")[:3]
    turn.send(b"HTTP/1.1 %s Fine\r\nContent-Length: 20\r\n\r\n" % status)
    turn.send(b"0123456789")
    if turn.request.target.endswith(b"whole"):
        turn.send(b"0123456789")
        return
    if turn.request.target.endswith(b"broken"):
        turn.is_closed = True
        return
    try:
        turn.recv()  # until whoever reads gives up
    except Gone:
        turn.is_closed = True


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_answers_are_held_back_until_their_bodies_are_there(tmp_path: Path, original: bool) -> None:
    with serving(tmp_path, "haproxy.cfg", HELD, original) as (port, upstream, _):
        upstream.script = half_an_answer
        for target, status, most in (
            (b"/200-whole", b"200", 20),
            (b"/200-half", b"504", 0),
            (b"/201-half", b"201", 10),
            (b"/201-broken", b"201", 10),
            (b"/202-half", b"202", 10),
        ):
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target)
                text = b""
                while text.partition(b"\r\n\r\n")[2].count(b"0123456789") < most // 10 or not text:
                    text += client.recv(65_536)
            assert text.split()[1] == status, target


def test_a_server_that_breaks_off_while_its_answer_is_held_is_an_error(tmp_path: Path) -> None:
    """HAProxy sends on what it has of it, and cuts the connection."""
    with serving(tmp_path, "haproxy.cfg", HELD) as (port, upstream, _):
        upstream.script = half_an_answer
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            for target, wanted in ((b"/200-broken", b"502"), (b"/200-whole", b"200")):
                client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target)
                reader = client.makefile("rb")
                assert reader.readline().split()[1] == wanted
                length = 0
                while (line := reader.readline().strip()) != b"":
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                assert (len(reader.read(length)) == length) and length > 0


TIMED = """\
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 200ms

listen door
    bind 127.0.0.1:PORT
    http-request set-timeout server 10s if { path_beg /slow }
    http-request redirect location /elsewhere if { path /gone }
    http-request set-timeout server 300ms if { path /slow/not }
    server app 127.0.0.1:UPSTREAM
"""


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_a_rule_may_give_a_request_more_time(tmp_path: Path, original: bool) -> None:
    late = threading.Event()

    def answers_late(turn: Turn) -> None:
        if turn.request.target == b"/slow":
            late.wait(0.6)
            turn.answer()
            return
        try:
            turn.recv()  # until whoever waits gives up
        except Gone:
            turn.is_closed = True

    with serving(tmp_path, "haproxy.cfg", TIMED, original) as (port, upstream, _):
        upstream.script = answers_late
        assert status(port, b"/slow") == b"200"
        assert status(port, b"/other") == b"504"
        assert status(port, b"/slow/not") == b"504"


def status(port: int, target: bytes) -> bytes:
    """Return the status of the answer to a request."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        return client.recv(65_536).split()[1]
