"""Bodies stream: at once, in both framings and both directions, and never end as whole when cut.

Facts: Immich uploads are one POST of the whole file; its archives are chunked; it answers a known
picture before the body has come (RFC 9112 9.3 allows that). Interim responses: RFC 9110 15.2.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .client import Client, Exchange, Truncated
from .rig import Rig
from .upstream import ENDS, Gone, Turn, Upstream

Leave = Callable[[Exchange], None]
PIECE = bytes(range(256)) * 256
FRAMINGS = [True, False]
FRAMING_NAMES = ["chunked", "with a length"]

pytestmark = pytest.mark.upstream_tls


@pytest.mark.parametrize("is_chunked", FRAMINGS, ids=FRAMING_NAMES)
@pytest.mark.parametrize("size", [1, 100, 65536, 3_000_001])
def test_upload_arrives_whole(is_chunked: bool, size: int, client: Client, upstream: Upstream) -> None:
    body = (PIECE * (size // len(PIECE) + 1))[:size]
    exchange = client.open("POST", "/api/assets", length=None if is_chunked else size)
    for start in range(0, size, 50_000):
        exchange.send_body(body[start : start + 50_000])
    exchange.end_body()
    assert exchange.read_response().body == b"ok"
    exchange.close()
    request = upstream.take_one()
    assert request.is_whole
    assert request.body == body
    assert (request.find("Content-Length") is None) is is_chunked
    assert (request.find("Transfer-Encoding") is not None) is (is_chunked and upstream.version == "h1")


@pytest.mark.parametrize("is_chunked", FRAMINGS, ids=FRAMING_NAMES)
def test_first_bytes_arrive_before_the_last_are_sent(is_chunked: bool, client: Client, upstream: Upstream) -> None:
    arrived = threading.Event()

    def read_some(turn: Turn) -> None:
        assert turn.read_start(5) == b"hello"
        arrived.set()
        turn.close()

    upstream.script = read_some
    exchange = client.open("POST", "/", length=None if is_chunked else 1_000_000)
    exchange.send_body(b"hello")
    assert arrived.wait(20)
    exchange.abort()


@pytest.mark.parametrize("is_chunked", FRAMINGS, ids=FRAMING_NAMES)
def test_download_arrives_whole(is_chunked: bool, client: Client, upstream: Upstream) -> None:
    count = 40

    def send(turn: Turn) -> None:
        if is_chunked:
            turn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(count):
                turn.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
            turn.send(b"0\r\n\r\n")
        else:
            turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count * len(PIECE)))
            for _ in range(count):
                turn.send(PIECE)

    upstream.script = send
    with client.connect() as wire:
        for _ in range(2):
            response = client.request("GET", "/", wire=wire)
            assert response.body == PIECE * count
            assert (response.find("Content-Length") is None) is is_chunked


def test_body_ended_by_close_arrives_whole(client: Client, upstream: Upstream) -> None:
    """RFC 9112 6.3 (8)."""

    def send(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + PIECE)
        turn.close()

    upstream.script = send
    assert client.get("/").body == PIECE


def test_each_line_is_passed_on_at_once(client: Client, upstream: Upstream) -> None:
    """Immich's sync stream: a line must not wait for the next."""
    more = threading.Semaphore(0)

    def lines(turn: Turn) -> None:
        turn.read_body()
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/jsonlines+json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            line = b'{"n":%d}\n' % number
            turn.send(b"%x\r\n%b\r\n" % (len(line), line))
            more.acquire(timeout=20)
        turn.send(b"0\r\n\r\n")

    upstream.script = lines
    exchange = client.open("POST", "/api/sync/stream")
    assert exchange.read_head().status == 200
    for number in range(5):
        assert exchange.read_piece() == b'{"n":%d}\n' % number
        more.release()
    assert exchange.read_piece() == b""
    exchange.close()


def test_head_is_passed_on_before_the_body_begins(client: Client, upstream: Upstream) -> None:
    go = threading.Event()

    def slow(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        go.wait(20)
        turn.send(b"hello")

    upstream.script = slow
    exchange = client.open("GET", "/")
    assert exchange.read_head().status == 200
    go.set()
    assert exchange.read_body() == b"hello"
    exchange.close()


# ---------------------------------------------------------------- answers before the body has come


def answer_at_once(turn: Turn) -> None:
    """Answer without reading the body, and drain it, as Node does."""
    turn.answer(b'{"status":"duplicate"}')
    turn.read_body()


@pytest.mark.parametrize("is_chunked", FRAMINGS, ids=FRAMING_NAMES)
def test_early_answer_reaches_the_client(is_chunked: bool, client: Client, upstream: Upstream) -> None:
    upstream.script = answer_at_once
    exchange = client.open("POST", "/api/assets", length=None if is_chunked else 100_000_000)
    exchange.send_body(b"x" * 1000)
    assert exchange.read_response().body == b'{"status":"duplicate"}'
    exchange.abort()


@pytest.mark.parametrize("is_chunked", FRAMINGS, ids=FRAMING_NAMES)
def test_early_answer_reaches_a_client_that_sends_everything_first(is_chunked: bool, client: Client, upstream: Upstream) -> None:
    """Most clients read only when they have sent; they must find the answer and not a reset."""
    upstream.script = answer_at_once
    size = 40 * len(PIECE)
    exchange = client.open("POST", "/api/assets", length=None if is_chunked else size)
    for _ in range(40):
        exchange.send_body(PIECE)
    exchange.end_body()
    assert exchange.read_response().status == 200
    exchange.close()


def test_early_refusal_with_close_reaches_the_client(client: Client, upstream: Upstream) -> None:
    def refuse(turn: Turn) -> None:
        turn.answer(b"too large", b"413 Content Too Large", b"Connection: close\r\n")
        turn.close()

    upstream.script = refuse
    exchange = client.open("POST", "/", length=10_000_000)
    exchange.send_body(b"x" * 1000)
    response = exchange.read_response()
    assert (response.status, response.body) == (413, b"too large")
    exchange.close()


@pytest.mark.upstream_h1("a stream of HTTP/2 that is given up leaves its connection well")
def test_connection_whose_body_was_not_sent_is_not_used_again(client: Client, upstream: Upstream) -> None:
    """Else the next request would be read as the rest of that body (RFC 9112 9.3)."""
    upstream.drop_idle()

    def answer_only(turn: Turn) -> None:
        turn.answer()
        turn.is_left()

    upstream.script = answer_only
    exchange = client.open("POST", "/first", length=1000)
    exchange.send_body(b"x" * 10)
    assert exchange.read_response().status == 200
    exchange.abort()
    first = upstream.take_one()
    upstream.script = Turn.answer
    assert client.get("/second").status == 200
    assert upstream.take(2)[1].connection != first.connection


# ---------------------------------------------------------------- interim responses


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
        b"HTTP/1.1 104 Upload Resumption Supported\r\nLocation: /api/upload/1\r\nUpload-Draft-Interop-Version: 8\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
    ],
)
def test_interim_response_is_passed_on(interim: bytes, client: Client, upstream: Upstream) -> None:
    def script(turn: Turn) -> None:
        turn.send(interim)
        turn.read_body()
        turn.send(interim)
        turn.answer()

    upstream.script = script
    exchange = client.open("POST", "/", length=5)
    first = exchange.read_head()
    line, *fields = interim.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert first.status == int(line.split()[1])
    assert first.fields == [(client.spell(name), value) for name, _, value in (line.partition(b": ") for line in fields)]
    exchange.send_body(b"hello")
    exchange.end_body()
    response = exchange.read_response()
    assert [head.status for head in response.interims] == [first.status]
    assert (response.status, response.body) == (200, b"ok")
    exchange.close()
    assert upstream.take_one().body == b"hello"


@pytest.mark.http1
def test_interim_response_is_not_sent_to_http_1_0(client: Client, upstream: Upstream) -> None:
    """RFC 9110 15.2."""

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        turn.answer()

    upstream.script = script
    with client.raw(b"GET / HTTP/1.0\r\nHost: photos.test\r\n\r\n") as wire:
        assert wire.read_head().status == 200


def test_expectation_is_met_by_the_upstream(client: Client, upstream: Upstream) -> None:
    """RFC 9110 10.1.1: 100 comes before the body, and once."""

    def script(turn: Turn) -> None:
        if turn.request.find("Expect") is not None:
            turn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        turn.read_body()
        turn.answer()

    upstream.script = script
    exchange = client.open("POST", "/", [("Expect", "100-continue")], length=5)
    assert exchange.read_head().status == 100
    exchange.send_body(b"hello")
    exchange.end_body()
    response = exchange.read_response()
    assert (response.status, response.interims) == (200, [])
    exchange.close()
    assert upstream.take_one().body == b"hello"


def test_expectation_is_refused_by_the_upstream(client: Client, upstream: Upstream) -> None:
    """RFC 9110 10.1.1: a final answer instead of 100, and the body is never sent."""
    upstream.script = lambda turn: turn.answer(b"no", b"401 Unauthorized")
    exchange = client.open("POST", "/", [("Expect", "100-continue")], length=5)
    heads = [exchange.read_head()]
    if heads[0].status == 100:
        # The proxy may ask for the body by itself; the final answer must come all the same.
        exchange.send_body(b"hello")
        heads.append(exchange.read_head())
    assert heads[-1].status == 401
    exchange.close()


def test_expectation_with_the_body_sent_at_once(client: Client, upstream: Upstream) -> None:
    """RFC 9110 10.1.1: a client need not wait."""
    exchange = client.open("POST", "/", [("Expect", "100-Continue")], length=5)
    exchange.send_body(b"hello")
    exchange.end_body()
    assert exchange.read_response().status == 200
    exchange.close()
    assert upstream.take_one().body == b"hello"


# ---------------------------------------------------------------- trailers


def test_request_trailers_pass(client: Client, upstream: Upstream) -> None:
    """RFC 9112 7.1.2."""
    exchange = client.open("POST", "/", [("Trailer", "Repr-Digest")], length=None)
    exchange.send_body(b"hello")
    exchange.end_body([(b"Repr-Digest", b"sha-256=:x:"), (b"X-Count", b"5")])
    assert exchange.read_response().status == 200
    exchange.close()
    assert upstream.take_one().trailers == [(client.spell(b"Repr-Digest"), b"sha-256=:x:"), (client.spell(b"X-Count"), b"5")]


def test_response_trailers_pass(client: Client, upstream: Upstream) -> None:
    upstream.script = lambda turn: turn.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: abc\r\n\r\n"
    )
    with client.connect() as wire:
        for _ in range(2):
            response = client.request("GET", "/", [("TE", "trailers")], wire=wire)
            assert (response.body, response.trailers) == (b"hello", [(client.spell(b"X-Sum"), b"abc")])


# ---------------------------------------------------------------- what is cut stays cut

CUT = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", id="length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc", id="chunk"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="between chunks"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", id="before the end"),
]


@pytest.mark.parametrize("end", ENDS, ids=["FIN", "RST"])
@pytest.mark.parametrize("sent", CUT)
def test_cut_answer_is_not_taken_for_whole(sent: bytes, end: Callable[[Turn], None], client: Client, upstream: Upstream) -> None:
    """RFC 9112 8."""

    def cut(turn: Turn) -> None:
        turn.send(sent)
        time.sleep(0.05)  # lets the bytes be read before a reset throws them away
        end(turn)

    upstream.script = cut
    exchange = client.open("GET", "/")
    try:
        response = exchange.read_response()
    except Truncated:
        return
    finally:
        exchange.close()
    assert response.status == 502, "a cut answer came as a whole one"


def cancel(exchange: Exchange) -> None:
    """Give up the request: the whole connection in HTTP/1, the stream alone in HTTP/2."""
    exchange.abort()


def vanish(exchange: Exchange) -> None:
    """Lose the connection."""
    exchange.wire.reset()


LEAVE = [cancel, vanish]


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("is_chunked", FRAMINGS, ids=FRAMING_NAMES)
def test_client_that_aborts_its_upload_ends_the_upstream_side(is_chunked: bool, leave: Leave, client: Client, upstream: Upstream) -> None:
    left: list[bool] = []

    def script(turn: Turn) -> None:
        try:
            turn.read_body()
        except Gone:
            left.append(True)
            raise

    upstream.script = script
    exchange = client.open("POST", "/", length=None if is_chunked else 10_000_000)
    exchange.send_body(PIECE)
    upstream.take()
    leave(exchange)
    # Long before any time-out.
    assert upstream.wait_for(lambda: bool(left))
    assert not upstream.take_one().is_whole


@pytest.mark.parametrize("leave", LEAVE)
def test_client_that_leaves_before_the_answer_ends_the_upstream_side(leave: Leave, client: Client, upstream: Upstream) -> None:
    left: list[bool] = []
    upstream.script = lambda turn: left.append(turn.is_left())
    exchange = client.open("GET", "/")
    upstream.take()
    leave(exchange)
    assert upstream.wait_for(lambda: bool(left), 15)
    assert left == [True]


@pytest.mark.parametrize("leave", LEAVE)
def test_client_that_leaves_amid_a_download_ends_the_upstream_side(leave: Leave, client: Client, upstream: Upstream) -> None:
    left: list[bool] = []

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                turn.send(PIECE)
        except Gone:
            left.append(True)
            raise

    upstream.script = script
    exchange = client.open("GET", "/")
    assert exchange.read_head().status == 200
    assert len(exchange.read_some(100_000)) >= 100_000
    leave(exchange)
    assert upstream.wait_for(lambda: bool(left))


# ---------------------------------------------------------------- back pressure


def resident(pids: list[int]) -> int:
    """Return the resident bytes of some processes together."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def settle(count: list[int], within_s: float = 10.0) -> int:
    """Wait until a count stands still, and return it."""
    until = time.monotonic() + within_s
    steady = -1
    while count[0] != steady and time.monotonic() < until:
        steady = count[0]
        time.sleep(0.3)
    return steady


def test_upload_to_a_stalled_upstream_is_held_back(plain: Rig, client: Client, upstream: Upstream) -> None:
    """The client is made to wait; nothing is heaped up in memory or on disk."""
    go = threading.Event()

    def script(turn: Turn) -> None:
        go.wait(20)
        turn.read_body()
        turn.answer()

    upstream.script = script
    exchange = client.open("POST", "/", length=None)
    upstream.take()
    before = resident(plain.proxy.workers)
    sent = [0]
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set() and sent[0] < 200_000_000:
            exchange.send_body(PIECE)
            sent[0] += len(PIECE)

    sender = threading.Thread(target=flood)
    sender.start()
    try:
        assert settle(sent) < 100_000_000, "nothing held the client back"
        assert resident(plain.proxy.workers) - before < 8_000_000
    finally:
        stop.set()
        go.set()
        sender.join(20)
    exchange.end_body()
    assert exchange.read_response().status == 200
    exchange.close()
    request = upstream.take_one()
    assert request.is_whole
    assert len(request.body) == sent[0]


def test_download_by_a_stalled_client_is_held_back(plain: Rig, client: Client, upstream: Upstream) -> None:
    sent = [0]
    size = 200_000_000

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent[0] < size:
            turn.send(PIECE)
            sent[0] += len(PIECE)

    upstream.script = script
    exchange = client.open("GET", "/")
    assert exchange.read_head().status == 200
    before = resident(plain.proxy.workers)
    assert settle(sent) < 100_000_000, "nothing held the upstream back"
    assert resident(plain.proxy.workers) - before < 8_000_000
    exchange.abort()


def test_long_upload_leaves_memory_flat(plain: Rig, client: Client, upstream: Upstream) -> None:
    counted: list[int] = []

    def script(turn: Turn) -> None:
        left = size
        while left:
            left -= len(turn.recv())
        counted.append(size)
        turn.answer()

    size = 1500 * len(PIECE)
    upstream.script = script
    exchange = client.open("POST", "/", length=size)
    for _ in range(100):
        exchange.send_body(PIECE)
    before = resident(plain.proxy.workers)
    for _ in range(1400):
        exchange.send_body(PIECE)
    assert exchange.read_response().status == 200
    exchange.close()
    assert counted == [size]
    assert abs(resident(plain.proxy.workers) - before) < 10_000_000
