"""Nothing ambiguous is ever forwarded (RFC 9112 11.1, 11.2).

Not here: what a broken upstream sends (test_upstream_faults).
"""

import pytest

from .cases import CASES, HOST, SMUGGLED, Case
from .client import Client, Truncated, Wire
from .upstream import Turn, Upstream

pytestmark = pytest.mark.http1


def read_refusal(wire: Wire) -> tuple[int, bytes]:
    """Return the status of the answer and what follows it until the connection is closed."""
    return wire.read_response().status, wire.read_rest()


@pytest.mark.parametrize("case", [case for case in CASES if case.may_begin], ids=lambda case: case.name)
def test_refused(case: Case, client: Client, upstream: Upstream) -> None:
    with client.raw(case.send) as wire:
        status, rest = read_refusal(wire)
    assert status in case.statuses
    assert rest == b"", "the connection went on after a message that could not be understood"
    if case.reach == "nothing":
        assert upstream.requests == []
    else:
        # What was sent of it is there, then, and not found by the next test.
        assert client.get("/after").body == b"ok"
    assert upstream.wait_for(lambda: not upstream.is_busy), "the upstream was left with half a request"
    assert not any(request.is_whole for request in upstream.requests if request.target != b"/after")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_when_it_comes_second(case: Case, client: Client, upstream: Upstream) -> None:
    with client.raw(b"GET /first HTTP/1.1\r\n" + HOST + b"\r\n" + case.send) as wire:
        assert wire.read_response().body == b"ok"
        status, rest = read_refusal(wire)
    assert status in case.statuses
    assert rest == b""
    assert [request.target for request in upstream.requests if request.is_whole] == [b"/first"]


@pytest.mark.parametrize("case", [case for case in CASES if case.reach == "cut"], ids=lambda case: case.name)
def test_upstream_that_is_being_connected_is_let_go(case: Case, client: Client, upstream: Upstream) -> None:
    """The fault is seen before the connection to the upstream is there."""
    upstream.drop_idle()
    with client.raw(case.send) as wire:
        assert read_refusal(wire)[0] in case.statuses
    assert upstream.wait_for(lambda: not upstream.is_busy), "the upstream was left with half a request"
    assert client.get("/next").body == b"ok"
    assert [request.target for request in upstream.requests if request.is_whole] == [b"/next"]


def forwarded(client: Client, raw: bytes, count: int = 1) -> list[int]:
    """Send bytes, read so many answers, and return their statuses."""
    with client.raw(raw) as wire:
        return [wire.read_response().status for _ in range(count)]


def test_one_empty_line_before_a_request_is_skipped(client: Client, upstream: Upstream) -> None:
    """RFC 9112 2.2."""
    assert forwarded(client, b"\r\n" + SMUGGLED) == [200]
    assert upstream.take_one().line == b"GET /smuggled " + upstream.http


def test_later_minor_version_is_read_as_this_one(client: Client, upstream: Upstream) -> None:
    """RFC 9112 2.3: a higher minor version is processed as the highest one known."""
    assert forwarded(client, b"GET / HTTP/1.9\r\n" + HOST + b"\r\n") == [200]
    assert upstream.take_one().line == b"GET / " + upstream.http


def test_leading_zeros_of_a_length_are_normalised_or_refused(client: Client, upstream: Upstream) -> None:
    """RFC 9110 8.6 allows them, and other readers have taken them for octal."""
    status = forwarded(client, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 005\r\n\r\nhello")[0]
    if status == 200:
        assert upstream.take_one().find("Content-Length") == b"5"
    else:
        assert status == 400
        assert upstream.requests == []


def test_http_1_0_request_without_a_length_has_no_body(client: Client, upstream: Upstream) -> None:
    """RFC 9112 6.3 (7), and the connection is closed afterwards."""
    with client.raw(b"POST / HTTP/1.0\r\n" + HOST + b"\r\n" + SMUGGLED) as wire:
        assert wire.read_response().status == 200
        assert wire.read_rest() == b""
    assert upstream.take_one().find("Content-Length") in (None, b"0")


def test_absolute_form_counts_more_than_host(client: Client, upstream: Upstream) -> None:
    """RFC 9112 3.2.2: by the authority of the target, or not at all."""
    raw = b"GET http://photos.test/a HTTP/1.1\r\nHost: other.test\r\n\r\n"
    status = forwarded(client, raw)[0]
    if status == 200:
        assert upstream.take_one().find("Host") == b"photos.test"
    else:
        assert status == 400
        assert upstream.requests == []


def test_absolute_form_reaches_the_upstream_in_origin_form(client: Client, upstream: Upstream) -> None:
    """RFC 9112 3.2.1."""
    assert forwarded(client, b"GET http://photos.test/a?b=c HTTP/1.1\r\n" + HOST + b"\r\n") == [200]
    assert upstream.take_one().line == b"GET /a?b=c " + upstream.http


def test_underscored_framing_fields_are_dropped(client: Client, upstream: Upstream) -> None:
    """An upstream that reads `_` as `-` would see another message."""
    fields = b"Content_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 192.0.2.9\r\n"
    assert forwarded(client, b"GET / HTTP/1.1\r\n" + HOST + fields + b"\r\n") == [200]
    assert not [name for name in upstream.take_one().names if b"_" in name]


def test_trace_is_refused_or_stripped_of_credentials(client: Client, upstream: Upstream) -> None:
    """RFC 9110 9.3.8."""
    raw = b"TRACE / HTTP/1.1\r\n" + HOST + b"Cookie: secret\r\nAuthorization: Bearer secret\r\n\r\n"
    status = forwarded(client, raw)[0]
    assert status in (200, 405, 501)
    if status == 200:
        assert upstream.take_one().all("Cookie") == upstream.take_one().all("Authorization") == []
    else:
        assert upstream.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_unexpected_body_is_forwarded_in_its_frame(method: str, client: Client, upstream: Upstream) -> None:
    """RFC 9110 9.3.1: it must not remain in the buffer and be read as a request."""
    body = SMUGGLED
    raw = f"{method} / HTTP/1.1\r\nHost: photos.test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with client.raw(raw + b"GET /second HTTP/1.1\r\n" + HOST + b"\r\n") as wire:
        assert wire.read_response(method).status == 200
        assert wire.read_response().status == 200
    assert [request.target for request in upstream.take(2)] == [b"/", b"/second"]
    assert upstream.requests[0].body == body


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host", "Authorization"])
def test_forbidden_trailers_are_dropped(name: str, client: Client, upstream: Upstream) -> None:
    """RFC 9110 6.5.1: fields of framing, routing and authentication have no place there."""
    body = f"5\r\nhello\r\n0\r\n{name}: 3\r\nX-Fine: yes\r\n\r\n".encode()
    raw = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body
    status = forwarded(client, raw)[0]
    if status == 200:
        assert [field for field, _ in upstream.take_one().trailers] in ([client.spell(b"X-Fine")], [])
    else:
        assert status == 400
        assert not upstream.take_one().is_whole


def test_pipelined_requests_are_answered_in_order(client: Client, upstream: Upstream) -> None:
    """RFC 9112 9.3.2."""
    upstream.script = lambda turn: turn.answer(turn.request.target)
    raw = b"".join(b"GET /%d HTTP/1.1\r\n" % number + HOST + b"\r\n" for number in range(200))
    with client.raw(raw) as wire:
        assert [wire.read_response().body for _ in range(200)] == [b"/%d" % number for number in range(200)]


def test_request_after_an_upgrade_that_was_refused_is_a_request(client: Client, upstream: Upstream) -> None:
    """RFC 9110 7.8: a tunnel begins with 101 and not before."""

    def script(turn: Turn) -> None:
        # To an extended CONNECT any 2xx is the agreement (RFC 8441 4).
        turn.answer(status=b"403 Forbidden" if turn.request.find(":protocol") else b"200 OK")

    upstream.script = script
    first = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    refusal = 200 if upstream.version == "h1" else 403
    assert forwarded(client, first + b"GET /second HTTP/1.1\r\n" + HOST + b"\r\n", 2) == [refusal, 200]
    assert [request.target for request in upstream.take(2)] == [b"/", b"/second"]


def test_h2c_upgrade_does_not_get_through(client: Client, upstream: Upstream) -> None:
    """RFC 9113 3.1: it would open a second way to the upstream, past every rule here."""
    fields = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    assert forwarded(client, b"GET / HTTP/1.1\r\n" + HOST + fields) == [200]
    request = upstream.take_one()
    assert request.all("Upgrade") == request.all("HTTP2-Settings") == []


def test_connection_cannot_remove_framing_or_host(client: Client, upstream: Upstream) -> None:
    """RFC 9110 7.6.1; a sender that names them means to smuggle."""
    raw = b"POST / HTTP/1.1\r\n" + HOST + b"Connection: Content-Length, Host, X-Forwarded-For\r\nContent-Length: 5\r\n\r\nhello"
    status = forwarded(client, raw)[0]
    if status == 200:
        request = upstream.take_one()
        assert request.body == b"hello"
        assert request.find("Host") == b"photos.test"
        assert request.find("X-Forwarded-For") == b"127.0.0.1"
    else:
        assert status == 400
        assert upstream.requests == []


def test_body_cut_short_does_not_reach_the_upstream_as_whole(client: Client, upstream: Upstream) -> None:
    """RFC 9112 8."""
    for framing in (b"Content-Length: 10", b"Transfer-Encoding: chunked"):
        wire = client.raw(b"POST / HTTP/1.1\r\n" + HOST + framing + b"\r\n\r\n5\r\nhel")
        upstream.take()
        wire.finish()
        try:
            status = wire.read_head().status
        except Truncated:
            status = 400
        wire.close()
        assert status in (400, 408)
        assert upstream.wait_for(lambda: not upstream.requests[0].is_whole)
        upstream.rest()
