"""How the upstream is reached: connections kept and chosen, tries, time-outs, and what is said when it fails.

Facts: RFC 9110 9.2.2 for what may be sent twice. Immich (Node) closes idle connections after 5 s.
Not here: an upstream that answers nonsense (test_upstream_faults).
"""

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .client import Client, Truncated
from .ports import free_ports
from .rig import Rig, Vestibule, settings
from .upstream import Gone, Request, Turn, Upstream, echo

Make = Callable[..., Rig]
JSON = ("Accept", "application/json")
BROWSER = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")


def test_connection_is_used_again(client: Client, upstream: Upstream) -> None:
    for _ in range(5):
        assert client.get("/").status == 200
    assert len({request.connection for request in upstream.take(5)}) == 1


@pytest.mark.upstream_h1("a connection of HTTP/2 carries many requests; tests/e2e/test_upstream_h2.py has its own")
def test_requests_at_once_get_connections_of_their_own(client: Client, upstream: Upstream) -> None:
    go = threading.Event()

    def script(turn: Turn) -> None:
        go.wait(20)
        turn.answer(turn.request.target)

    upstream.script = script
    exchanges = [client.open("GET", f"/{number}") for number in range(5)]
    requests = upstream.take(5)
    go.set()
    assert len({request.connection for request in requests}) == 5
    assert [exchange.read_response().body for exchange in exchanges] == [b"/%d" % number for number in range(5)]


@pytest.mark.upstream_h1("a connection of HTTP/2 carries many requests; tests/e2e/test_upstream_h2.py has its own")
def test_connection_the_upstream_will_close_is_not_used_again(client: Client, upstream: Upstream) -> None:
    """RFC 9112 9.6."""
    upstream.drop_idle()
    upstream.script = lambda turn: turn.answer(extra=b"Connection: close\r\n")
    for _ in range(2):
        assert client.get("/").status == 200
    first, second = upstream.take(2)
    assert first.connection != second.connection


@pytest.mark.upstream_h1("a connection of HTTP/2 carries many requests; tests/e2e/test_upstream_h2.py has its own")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_idempotent_request_survives_a_stale_connection(method: str, client: Client, upstream: Upstream) -> None:
    """RFC 9112 9.3.1: the upstream closed just as the request came; it is sent again on another."""
    warm(client, upstream)

    def script(turn: Turn) -> None:
        if len(upstream.requests) == 1:
            turn.reset()
        else:
            echo(turn)

    upstream.script = script
    assert client.request(method, "/again").status == 200
    first, second = upstream.take(2)
    assert first.target == second.target == b"/again"
    assert first.connection != second.connection


@pytest.mark.parametrize("end", [lambda turn: turn.close(), lambda turn: turn.reset()], ids=["FIN", "RST"])
def test_post_is_never_sent_twice(end: Callable[[Turn], None], client: Client, upstream: Upstream) -> None:
    warm(client, upstream)
    upstream.script = end
    response = client.request("POST", "/once", [JSON], b"hello")
    assert response.status == 502
    time.sleep(0.1)
    assert [request.target for request in upstream.requests] == [b"/once"]


def test_get_on_a_fresh_connection_is_not_tried_for_ever(client: Client, upstream: Upstream) -> None:
    upstream.drop_idle()
    upstream.script = lambda turn: turn.close()
    assert client.get("/", JSON).status == 502
    assert len(upstream.requests) <= 3


def test_request_is_not_tried_again_once_its_answer_began(client: Client, upstream: Upstream) -> None:
    warm(client, upstream)

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        turn.close()

    upstream.script = script
    try:
        status = client.get("/").status
    except Truncated:
        status = 502
    assert status == 502
    assert len(upstream.requests) == 1


def test_idle_connections_closed_meanwhile_cause_no_errors(client: Client, upstream: Upstream) -> None:
    for number in range(20):
        assert client.get(f"/{number}").status == 200
        upstream.drop_idle()
    assert [request.target for request in upstream.requests] == [b"/%d" % number for number in range(20)]


def warm(client: Client, upstream: Upstream) -> None:
    """Leave exactly one idle connection in the pool, and forget the request that made it."""
    upstream.drop_idle()
    assert client.get("/warm").status == 200
    assert upstream.wait_for(lambda: not upstream.is_busy)
    upstream.rest()


@pytest.mark.upstream_h1("a connection of HTTP/2 carries many requests; tests/e2e/test_upstream_h2.py has its own")
def test_pool_lets_go_before_the_upstream_does(make: Make) -> None:
    rig = make(more='[upstreams.own]\nservers = ["http://127.0.0.1:UPSTREAM"]\npool.idle = "200ms"', to="own")
    assert rig.client.get("/").status == 200
    assert rig.upstream.connections == 1
    assert rig.upstream.wait_for(lambda: rig.upstream.open_connections == 0)


@pytest.mark.upstream_h1("a connection of HTTP/2 carries many requests; tests/e2e/test_upstream_h2.py has its own")
def test_requests_wait_for_a_connection_when_there_is_a_limit(make: Make) -> None:
    more = '[upstreams.own]\nservers = ["http://127.0.0.1:UPSTREAM"]\npool = { max_connections = 1, max_waiting = 1, wait = "5s" }'
    rig = make(more=more, to="own")
    go = threading.Event()

    def script(turn: Turn) -> None:
        go.wait(20)
        turn.answer(turn.request.target)

    rig.upstream.script = script
    first = rig.client.open("GET", "/1")
    rig.upstream.take()
    others = {}
    for path in ("/2", "/3"):
        wire = rig.client.wire()
        others[wire.sock] = path, rig.client.open("GET", path, [JSON], wire=wire)
    # One of them waits, whichever came first; the other is one too many.
    (answered,), _, _ = select.select(list(others), [], [], 20)
    _, refused = others.pop(answered)
    response = refused.read_response()
    assert response.status == 503
    assert response.find("Retry-After") is not None
    go.set()
    assert first.read_response().body == b"/1"
    ((path, waiting),) = others.values()
    assert waiting.read_response().body == path.encode()
    assert len({request.connection for request in rig.upstream.requests}) == 1


# ---------------------------------------------------------------- when it cannot be reached


@pytest.fixture(scope="module")
def dead_upstream(make: Make) -> Rig:
    """A proxy whose upstream is not running."""
    rig = make()
    rig.upstream.close()
    return rig


@pytest.fixture
def dead(dead_upstream: Rig, version: str) -> Rig:
    return dead_upstream.speaking(version)


def test_browser_is_told_which_hop_failed(dead: Rig) -> None:
    response = dead.client.get("/photos", BROWSER)
    assert response.status == 502
    assert (response.find("Content-Type") or b"").startswith(b"text/html")
    text = response.body.decode().lower()
    assert "upstream" in text
    assert "refused" in text
    assert (response.find("Cache-Control") or b"no-store") == b"no-store"


@pytest.mark.parametrize(("path", "accept"), [("/api/server/ping", "*/*"), ("/photos", "application/json")])
def test_program_is_told_the_same_as_json(path: str, accept: str, dead: Rig) -> None:
    response = dead.client.get(path, ("Accept", accept))
    assert response.status == 502
    assert (response.find("Content-Type") or b"").startswith(b"application/json")
    told = json.loads(response.body)
    assert "upstream" in json.dumps(told)


def test_it_is_told_when_to_come_again(dead: Rig) -> None:
    value = dead.client.get("/", BROWSER).find("Retry-After")
    assert value is not None
    assert value.isdigit()


def test_error_page_reflects_nothing_of_the_request(dead: Rig) -> None:
    """A page that repeats what it was sent can be made to run it."""
    response = dead.client.get("/<script>alert(1)</script>?<script>", BROWSER, ("User-Agent", "<script>x"))
    assert b"<script>" not in response.body


def test_connection_to_the_client_outlives_an_error(dead: Rig) -> None:
    with dead.client.connect() as wire:
        for _ in range(2):
            assert dead.client.request("GET", "/", [JSON], wire=wire).status == 502


def test_head_gets_an_error_without_a_body(dead: Rig) -> None:
    with dead.client.connect() as wire:
        for _ in range(2):
            assert dead.client.request("HEAD", "/", wire=wire).status == 502


def test_upstream_that_comes_back_is_used(make: Make, tmp_path: Path) -> None:
    socket_path = tmp_path / "late.sock"
    rig = make(more=f'[upstreams.own]\nservers = ["unix:{socket_path}"]', to="own")
    assert rig.client.get("/", JSON).status in (502, 503)
    late = Upstream(path=socket_path)
    try:
        end = time.monotonic() + 15
        while (status := rig.client.get("/", JSON).status) != 200 and time.monotonic() < end:
            time.sleep(0.05)
        assert status == 200
    finally:
        late.close()


def test_upstream_on_a_unix_socket(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "upstream.sock"
    upstream = Upstream(path=path)
    try:
        rig = make(to=f"unix:{path}")
        assert rig.client.request("POST", "/a", body=b"hello").body == b"ok"
        request = upstream.take_one()
        assert (request.body, request.find("Host")) == (b"hello", b"photos.test")
    finally:
        upstream.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_either_address_family_is_found_behind_a_name(family: socket.AddressFamily, make: Make) -> None:
    """`localhost` is ::1 and 127.0.0.1; the server listens on one of them."""
    found = {info[0] for info in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    if family not in found:
        pytest.skip("localhost has no such address here")
    upstream = Upstream(family=family)
    try:
        rig = make(to=f"http://localhost:{upstream.port}")
        for _ in range(3):
            assert rig.client.get("/").status == 200
    finally:
        upstream.close()


def test_name_without_an_address_is_told(make: Make) -> None:
    rig = make(to="http://nowhere.invalid:2283")
    response = rig.client.get("/", JSON)
    assert response.status in (502, 503)
    assert b"upstream" in response.body


# ---------------------------------------------------------------- time-outs


@pytest.fixture(scope="module")
def hasty(make: Make) -> Rig:
    """A proxy with short time-outs."""
    times = 'connect = "1s"\nrequest_head = "1200ms"\nbody_idle = "1200ms"\nresponse_head = "1200ms"\nkeep_alive = "1200ms"'
    return make(more=f"[timeouts]\n{times}")


@pytest.fixture
def hurry(hasty: Rig, version: str) -> Iterator[Rig]:
    hasty.upstream.rest()
    yield hasty.speaking(version)
    hasty.upstream.rest()


def wait_long(turn: Turn) -> None:
    """Say nothing until the proxy leaves."""
    turn.is_left()


def test_answer_that_does_not_come_is_504_and_named(hurry: Rig) -> None:
    hurry.upstream.script = wait_long
    response = hurry.client.get("/", JSON)
    assert response.status == 504
    assert b"response_head" in response.body
    assert hurry.upstream.wait_for(lambda: hurry.upstream.open_connections == 0), "the upstream side was left open"


def test_answer_that_stalls_is_cut(hurry: Rig) -> None:
    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        turn.is_left()

    hurry.upstream.script = script
    with pytest.raises(Truncated):
        hurry.client.get("/")


def test_slow_answer_with_progress_is_not_cut(hurry: Rig) -> None:
    """Time-outs are about progress: this takes longer than any of them."""

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
        for _ in range(15):
            time.sleep(0.1)
            turn.send(b"x")

    hurry.upstream.script = script
    assert hurry.client.get("/").body == b"x" * 15


def test_slow_upload_with_progress_is_not_cut(hurry: Rig) -> None:
    exchange = hurry.client.open("POST", "/", length=15)
    for _ in range(15):
        time.sleep(0.1)
        exchange.send_body(b"x")
    exchange.end_body()
    assert exchange.read_response().status == 200
    assert hurry.upstream.take_one().body == b"x" * 15


def test_interim_responses_are_progress(hurry: Rig) -> None:
    def script(turn: Turn) -> None:
        for _ in range(15):
            time.sleep(0.1)
            turn.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        turn.answer()

    hurry.upstream.script = script
    assert hurry.client.get("/").status == 200


def test_upload_that_stalls_is_408(hurry: Rig) -> None:
    exchange = hurry.client.open("POST", "/", [JSON], length=10)
    exchange.send_body(b"abc")
    assert exchange.read_response().status == 408
    assert exchange.is_dropped()
    assert not hurry.upstream.take_one().is_whole


@pytest.fixture(scope="module")
def impatient(make: Make) -> Rig:
    """A proxy whose one site has less patience than its listener."""
    return make(site='timeouts.body_idle = "700ms"')


def test_site_may_have_less_patience_with_an_upload_than_its_listener(impatient: Rig, version: str) -> None:
    impatient.upstream.rest()
    exchange = impatient.client.speaking(version).open("POST", "/", [JSON], length=10)
    exchange.send_body(b"abc")
    assert exchange.read_response().status == 408
    assert not impatient.upstream.take_one().is_whole
    impatient.upstream.rest()


def test_site_may_have_less_patience_with_a_reader_than_its_listener(impatient: Rig, version: str) -> None:
    """A client that takes nothing of its answer is let go, and the upstream with it."""
    impatient.upstream.rest()
    left: list[bool] = []

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                turn.send(b"x" * 65536)
        except Gone:
            left.append(True)
            raise

    impatient.upstream.script = script
    exchange = impatient.client.speaking(version).open("GET", "/")
    assert exchange.read_head().status == 200
    assert impatient.upstream.wait_for(lambda: bool(left))
    impatient.upstream.rest()


def test_upstream_that_takes_no_body_is_504(hurry: Rig) -> None:
    done = threading.Event()

    def script(turn: Turn) -> None:
        done.wait(20)
        turn.close()

    hurry.upstream.script = script
    exchange = hurry.client.open("POST", "/", [JSON], length=100_000_000)

    def send() -> None:
        with contextlib.suppress(OSError):
            for _ in range(1000):
                exchange.send_body(b"x" * 100_000)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        status = exchange.read_response().status
    except Truncated:
        status = 504
    done.set()
    exchange.wire.reset()
    sender.join(30)
    assert not sender.is_alive()
    assert status == 504


@pytest.mark.http1
@pytest.mark.parametrize("begun", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_head_that_does_not_end_is_408(begun: bytes, hurry: Rig) -> None:
    wire = hurry.client.raw(begun)
    assert wire.read_response().status == 408
    assert wire.is_closed()
    assert hurry.upstream.requests == []


@pytest.mark.http1
def test_drops_do_not_extend_the_time_of_a_head(hurry: Rig) -> None:
    """Slow loris: the time of a head is counted from its beginning."""
    wire = hurry.client.raw(b"GET / HTTP/1.1\r\n")
    began = time.monotonic()
    while not select.select([wire.sock], [], [], 0.1)[0]:
        assert time.monotonic() - began < 8
        wire.send(b"A: b\r\n")
    wire.finish()
    assert wire.read_rest()[:12] in (b"HTTP/1.1 408", b"")
    assert hurry.upstream.requests == []


def test_idle_connection_is_closed_without_a_word(hurry: Rig) -> None:
    with hurry.client.connect() as wire:
        assert hurry.client.request("GET", "/", wire=wire).status == 200
        assert wire.is_closed()


def test_connection_without_a_request_is_closed(hurry: Rig) -> None:
    """And one that has not even said which version it speaks."""
    wire = hurry.client.wire()
    assert wire.read_rest()[:12] in (b"", b"HTTP/1.1 408")
    assert hurry.client.connect().is_closed() or hurry.client.version == "h1"


# ---------------------------------------------------------------- limits and several servers


@pytest.mark.parametrize("is_chunked", [True, False])
def test_body_over_the_limit_is_413_and_names_the_limit(is_chunked: bool, limited: Rig) -> None:
    exchange = limited.client.open("POST", "/", [JSON], length=None if is_chunked else 2000)
    exchange.send_body(b"x" * 2000)
    exchange.end_body()
    response = exchange.read_response()
    assert response.status == 413
    assert b"1000" in response.body
    assert b"limits.body" in response.body
    assert not any(request.is_whole for request in limited.upstream.requests)


def test_body_within_the_limit_passes(limited: Rig) -> None:
    assert limited.client.request("POST", "/", body=b"x" * 1000).status == 200


@pytest.fixture(scope="module")
def limited_proxy(make: Make) -> Rig:
    return make(site='limits.body = "1KB"')


@pytest.fixture
def limited(limited_proxy: Rig, version: str) -> Iterator[Rig]:
    limited_proxy.upstream.rest()
    yield limited_proxy.speaking(version)
    limited_proxy.upstream.rest()


def test_next_server_is_tried_when_one_is_down(make: Make, behind: str) -> None:
    gone = free_ports(1)[0]
    servers = f'["http://127.0.0.1:{gone}", "http://127.0.0.1:UPSTREAM"]'
    rig = make(more=f'[upstreams.own]\nservers = {servers}\npool.protocol = "{"http/1.1" if behind == "h1" else behind}"', to="own")
    for number in range(6):
        assert rig.client.request("POST", f"/{number}", body=b"hello").status == 200
    bodies: list[Request] = rig.upstream.take(6)
    assert [request.body for request in bodies] == [b"hello"] * 6


def test_sites_are_told_apart_by_host(tmp_path: Path) -> None:
    """The longest match wins, ports and case do not matter, and an unknown host is 421."""
    one, two = Upstream(), Upstream()
    port = free_ports(1)[0]
    config = settings(tmp_path)
    for host, upstream in (("photos.test", one), ("*.photos.test", two)):
        config += f'[sites."{host}"]\nlisten = "127.0.0.1:{port}"\nto = "http://127.0.0.1:{upstream.port}"\n'
    proxy = Vestibule(tmp_path, config, [port])
    client = Client(("127.0.0.1", port))
    try:
        for host in ("photos.test", "PHOTOS.test:8443", "a.photos.test", "photos.test."):
            assert client.get("/", ("Host", host)).status == 200, host
        assert client.get("/", ("Host", "other.test"), JSON).status == 421
        assert [request.find("Host") for request in one.requests] == [b"photos.test", b"PHOTOS.test:8443", b"photos.test."]
        assert [request.find("Host") for request in two.requests] == [b"a.photos.test"]
    finally:
        proxy.stop()
        one.close()
        two.close()
