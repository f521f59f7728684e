"""Heads pass through whole, apart from what belongs to one hop, and the upstream learns who asked.

Facts: RFC 9110 7.6 for what a proxy may touch; X-Forwarded-* by convention; Forwarded, RFC 7239.
Not here: malformed heads (test_strict), bodies (test_bodies).
"""

from collections.abc import Callable

import pytest

from .client import Client
from .rig import Rig
from .upstream import Turn, Upstream

OURS = {b"x-real-ip", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"}
Make = Callable[..., Rig]


def test_fields_pass_in_order_and_as_written(client: Client, upstream: Upstream) -> None:
    headers = [
        ("Host", "photos.test"),
        ("user-agent", "Immich/2"),
        ("X-Immich-Checksum", "abc="),
        ("x-TWICE", "one"),
        ("Accept", "*/*"),
        ("x-twice", "two"),
        ("X-Empty", ""),
        ("X-Latin", "caf\xe9"),
        ("Cookie", "immich_access_token=a; b=c"),
    ]
    client.request("GET", "/a/b%20c?d=e&f=%2F", headers)
    request = upstream.take_one()
    assert request.line == b"GET /a/b%20c?d=e&f=%2F " + upstream.http
    passed = [(name, value) for name, value in request.fields if name.lower() not in OURS]
    # HTTP/2 knows names in lower case only, and the Host of an upstream that speaks HTTP/1 comes first (RFC 9113 8.2.1, 8.3.1).
    wanted = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    assert passed == [wanted[0]] + [(client.spell(name), value) for name, value in wanted[1:]]


@pytest.mark.parametrize(
    "target",
    ["//double", "/a/../b", "/a/./b", "/%2e%2e/a", "/a;b=c", "/a%2Fb", "/A%41", "/?", "/?a?b=/../c", "/a//b/", "/~a!$&'()*+,=:@"],
)
def test_target_is_not_rewritten(target: str, client: Client, upstream: Upstream) -> None:
    """The upstream reads the path; a proxy that has normalised it has changed the request."""
    client.get(target)
    assert upstream.take_one().target == target.encode()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH"])
def test_method_passes(method: str, client: Client, upstream: Upstream) -> None:
    assert client.request(method, "/").status == 200
    assert upstream.take_one().line.split()[0] == method.encode()


def test_options_of_the_server_itself(client: Client, upstream: Upstream) -> None:
    """RFC 9110 9.3.7."""
    assert client.request("OPTIONS", "*").status == 200
    assert upstream.take_one().line == b"OPTIONS * " + upstream.http


@pytest.mark.http1
def test_hop_by_hop_fields_stop_here(client: Client, upstream: Upstream) -> None:
    """RFC 9110 7.6.1."""
    headers = [
        ("Connection", "keep-alive, X-Mine, x-other"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "gzip"),
        ("X-Mine", "1"),
        ("X-Other", "2"),
        ("X-Kept", "3"),
        ("Upgrade", "foo"),
        ("Proxy-Authorization", "Basic eA=="),
    ]
    client.request("GET", "/", headers)
    request = upstream.take_one()
    for name in ("Keep-Alive", "Proxy-Connection", "X-Mine", "X-Other", "Upgrade", "Proxy-Authorization"):
        assert request.all(name) == [], name
    assert request.find("X-Kept") == b"3"
    assert request.find("TE") in (None, b"trailers")
    assert b"close" not in b",".join(request.all("Connection"))


@pytest.mark.upstream_h1("an answer with such fields is malformed in HTTP/2 (RFC 9113 8.2.2)")
def test_hop_by_hop_fields_of_a_response_stop_here(client: Client, upstream: Upstream) -> None:
    extra = b"Connection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: a\r\nX-Kept: 2\r\n"
    upstream.script = lambda turn: turn.answer(extra=extra)
    response = client.get("/")
    assert response.head.all("X-Mine") == response.head.all("Proxy-Connection") == []
    assert response.find("X-Kept") == b"2"
    assert b"timeout=5" not in b"".join(response.head.all("Keep-Alive"))


def test_response_fields_pass_in_order_and_as_written(client: Client, upstream: Upstream) -> None:
    lines = [
        b"Set-Cookie: a=b; Path=/; SameSite=Lax",
        b'ETag: W/"1-2"',
        b"set-cookie: c=d",
        b"Cache-Control: private, max-age=86400, no-transform",
        b"Location: app.immich:///oauth-callback?code=x",
        b"X-Latin: caf\xe9",
        b"Date: Tue, 01 Jan 2030 00:00:00 GMT",
        b"server: Express",
        b"X-Empty:",
    ]
    upstream.script = lambda turn: turn.answer(b"", b"201 Made To Order", b"\r\n".join(lines) + b"\r\n")
    response = client.get("/")
    assert response.status == 201
    if client.version == upstream.version == "h1":  # HTTP/2 has no reason phrases (RFC 9113 8.3.2)
        assert response.head.reason == b"Made To Order"
    wanted = [(client.spell(name), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    assert [each for each in response.head.fields if each in wanted] == wanted


@pytest.mark.parametrize(
    "location",
    ["app.immich:///oauth-callback?code=x", "original?edited=true", "/login", "http://127.0.0.1/a", "//other/b", "https://other.test:444/"],
)
def test_location_is_left_alone(location: str, client: Client, upstream: Upstream) -> None:
    upstream.script = lambda turn: turn.answer(b"", b"302 Found", f"Location: {location}\r\n".encode())
    assert client.get("/").find("Location") == location.encode()


def test_host_keeps_its_port(client: Client, upstream: Upstream) -> None:
    client.request("GET", "/", [("Host", "Photos.Test:8443")])
    request = upstream.take_one()
    assert request.find("Host") == b"Photos.Test:8443"
    assert request.find("X-Forwarded-Host") == b"Photos.Test:8443"


@pytest.mark.parametrize(("host", "port"), [("photos.test", b"80"), ("photos.test:8443", b"8443"), ("[::1]:81", b"81")])
def test_upstream_learns_who_asked(host: str, port: bytes, client: Client, upstream: Upstream) -> None:
    """The port is the one the client knows; ours would be wrong behind a port that is mapped."""
    client.get("/", ("Host", host))
    request = upstream.take_one()
    assert request.find("X-Real-IP") == b"127.0.0.1"
    assert request.find("X-Forwarded-For") == b"127.0.0.1"
    assert request.find("X-Forwarded-Proto") == b"http"
    assert request.find("X-Forwarded-Host") == host.encode()
    assert request.find("X-Forwarded-Port") == port
    assert request.find("Forwarded") is None


SPOOFS = [
    "X-Forwarded-For", "x-forwarded-for", "X-FORWARDED-PROTO", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-IP", "Forwarded",
    "X_Forwarded_For", "X_Real_IP", "x-forwarded_for", "X_Forwarded-Proto",
]  # fmt: skip


@pytest.mark.parametrize("name", SPOOFS)
def test_spoofed_field_never_gets_through(name: str, client: Client, upstream: Upstream) -> None:
    lie = "for=192.0.2.66;proto=https" if name == "Forwarded" else "192.0.2.66"
    named = [("Connection", name)] if client.version == "h1" else []
    client.request("GET", "/", [(name, lie), (name.lower(), lie), *named])
    assert b"192.0.2.66" not in upstream.take_one().raw_head


@pytest.fixture(scope="module")
def trusting_proxy(make: Make) -> Rig:
    """A proxy whose clients are trusted proxies, and which writes Forwarded too."""
    return make(site='forwarding.forwarded = "set"', trusted=["127.0.0.0/8"])


@pytest.fixture
def trusting(trusting_proxy: Rig, version: str) -> Rig:
    trusting_proxy.upstream.rest()
    return trusting_proxy.speaking(version)


def test_trusted_peer_is_continued(trusting: Rig) -> None:
    headers = [
        ("X-Forwarded-For", "192.0.2.1, 198.51.100.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "outside.test"),
        ("X-Forwarded-Port", "8443"),
    ]
    trusting.client.request("GET", "/", headers)
    request = trusting.upstream.take_one()
    forwarded_for = b", ".join(request.all("X-Forwarded-For"))
    assert forwarded_for == b"192.0.2.1, 198.51.100.7, 127.0.0.1"
    assert request.find("X-Forwarded-Proto") == b"https"
    assert request.find("X-Forwarded-Host") == b"outside.test"
    assert request.find("X-Forwarded-Port") == b"8443"
    # The right-most address that is no trusted proxy.
    assert request.find("X-Real-IP") == b"198.51.100.7"


def test_forwarded_is_written_when_asked_for(trusting: Rig) -> None:
    """RFC 7239 4."""
    trusting.client.request("GET", "/", [("Host", "photos.test:81")])
    value = trusting.upstream.take_one().find("Forwarded")
    assert value is not None
    parts = dict(part.strip().split(b"=", 1) for part in value.split(b";"))
    assert parts[b"for"] == b"127.0.0.1"
    assert parts[b"proto"] == b"http"
    # A colon is no token character (RFC 7239 4), so the value is quoted.
    assert parts[b"host"] == b'"photos.test:81"'


def test_forwarded_of_a_trusted_peer_is_continued(trusting: Rig) -> None:
    trusting.client.request("GET", "/", [("Forwarded", 'for="[2001:db8::1]:4711";proto=https')])
    values = b", ".join(trusting.upstream.take_one().all("Forwarded"))
    assert values.startswith(b'for="[2001:db8::1]:4711";proto=https, for=127.0.0.1')


def test_same_head_again_differs_only_where_it_should(client: Client, upstream: Upstream) -> None:
    """Heads are remembered between requests; a remembered one must not answer for another."""
    with client.connect() as wire:
        for number in range(4):
            host = f"h{number % 2}.test"
            client.request("GET", f"/{number}", [("Host", host), ("X-N", str(number))], wire=wire)
    for number, request in enumerate(upstream.take(4)):
        assert request.target == b"/%d" % number
        assert request.find("X-N") == b"%d" % number
        assert request.find("X-Forwarded-Host") == request.find("Host") == b"h%d.test" % (number % 2)


def test_keep_alive_serves_many_requests(client: Client, upstream: Upstream) -> None:
    upstream.script = lambda turn: turn.answer(turn.request.target)
    with client.connect() as wire:
        for number in range(20):
            assert client.request("GET", f"/{number}", wire=wire).body == b"/%d" % number


@pytest.mark.http1
def test_close_is_answered_with_close(client: Client, upstream: Upstream) -> None:
    """RFC 9112 9.6."""
    with client.connect() as wire:
        response = client.request("GET", "/", [("Connection", "close")], wire=wire)
        assert response.find("Connection") == b"close"
        assert wire.is_closed()
    assert b"close" not in b",".join(upstream.take_one().all("Connection"))


@pytest.mark.http1
def test_http_1_0_client_gets_what_it_understands(client: Client, upstream: Upstream) -> None:
    """RFC 9112 2.3, 7: no chunks for HTTP/1.0, and its connection is closed unless it asked otherwise."""

    def chunked(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")

    upstream.script = chunked
    with client.raw(b"GET / HTTP/1.0\r\nHost: photos.test\r\n\r\n") as wire:
        head = wire.read_head()
        assert head.find("Transfer-Encoding") is None
        assert wire.read_rest() == b"hello"
    assert upstream.take_one().line == b"GET / " + upstream.http


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_bodiless_statuses_keep_their_fields(status: bytes, client: Client, upstream: Upstream) -> None:
    """RFC 9110 15.3.5, 15.4.5."""
    upstream.script = lambda turn: turn.send(b"HTTP/1.1 " + status + b'\r\nETag: "x"\r\nCache-Control: private\r\n\r\n')
    with client.connect() as wire:
        for _ in range(2):
            response = client.request("GET", "/", wire=wire)
            assert response.status == int(status[:3])
            assert response.find("ETag") == b'"x"'
            assert response.find("Transfer-Encoding") is None


def test_304_may_tell_the_length_it_would_have_had(client: Client, upstream: Upstream) -> None:
    """RFC 9110 8.6: it announces no body."""
    upstream.script = lambda turn: turn.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n")
    with client.connect() as wire:
        for _ in range(2):
            assert client.request("GET", "/", wire=wire).find("Content-Length") in (None, b"1000")


def test_head_keeps_the_length_and_sends_no_body(client: Client, upstream: Upstream) -> None:
    """RFC 9110 9.3.2."""
    upstream.script = lambda turn: turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nAccept-Ranges: bytes\r\n\r\n")
    with client.connect() as wire:
        for _ in range(2):
            response = client.request("HEAD", "/", wire=wire)
            assert (response.find("Content-Length"), response.body) == (b"1000", b"")


def test_head_of_something_chunked_has_no_body(client: Client, upstream: Upstream) -> None:
    upstream.script = lambda turn: turn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with client.connect() as wire:
        for _ in range(2):
            assert client.request("HEAD", "/", wire=wire).status == 200


def test_coded_body_and_its_validator_are_not_touched(client: Client, upstream: Upstream) -> None:
    """RFC 9110 7.7: `no-transform`, and nothing here would transform without it either."""
    body = bytes(range(256)) * 64
    extra = b'Content-Encoding: br\r\nETag: "strong"\r\nCache-Control: private, no-transform\r\nVary: Accept-Encoding\r\n'
    upstream.script = lambda turn: turn.answer(body, extra=extra)
    response = client.get("/", ("Accept-Encoding", "br"))
    assert response.body == body
    assert response.find("ETag") == b'"strong"'
    assert response.find("Content-Encoding") == b"br"
    assert upstream.take_one().find("Accept-Encoding") == b"br"
