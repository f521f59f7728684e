"""Whatever breaks and whenever: no answer reaches the wrong client, no part passes for a whole, nothing is left behind.

Facts: every body names its request, so that a mixed-up one shows.
Rules: the dice are seeded; a failure can be thrown again.
"""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from .client import Client, Connection, Malformed, Truncated
from .rig import Rig
from .upstream import Turn, Upstream

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n"
)
WITH_LENGTH = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: W/"1"\r\n\r\nhello world'


@pytest.mark.parametrize("answer", [ANSWER, WITH_LENGTH], ids=["chunked", "with a length"])
@pytest.mark.parametrize("end", [lambda turn: turn.close(), lambda turn: turn.reset()], ids=["FIN", "RST"])
def test_answer_cut_at_any_byte_is_never_whole(answer: bytes, end: Callable[[Turn], None], client: Client, upstream: Upstream) -> None:
    """RFC 9112 8. POST, so that it is not tried again."""
    for cut in range(len(answer)):

        def script(turn: Turn, cut: int = cut) -> None:
            turn.read_body()
            turn.send(answer[:cut])
            end(turn)

        upstream.script = script
        try:
            status = client.request("POST", f"/{cut}", body=b"x").status
        except Truncated:
            status = 502
        assert status == 502, f"cut after {cut} bytes: {answer[:cut]!r}"

    def whole(turn: Turn) -> None:
        turn.read_body()
        turn.send(answer)

    upstream.script = whole
    assert client.request("POST", "/whole", body=b"x").body == b"hello world"


@pytest.mark.parametrize("answer", [ANSWER, WITH_LENGTH], ids=["chunked", "with a length"])
def test_answer_split_at_any_byte_is_whole(answer: bytes, client: Client, upstream: Upstream) -> None:
    ready = threading.Semaphore(0)
    with client.connect() as wire:
        for cut in range(1, len(answer)):

            def script(turn: Turn, cut: int = cut) -> None:
                turn.send(answer[:cut])
                ready.acquire(timeout=0.001)  # never given: a pause, so that the parts are read one by one
                turn.send(answer[cut:])

            upstream.script = script
            assert client.request("GET", f"/{cut}", wire=wire).body == b"hello world"


@pytest.mark.http1
def test_request_split_at_any_byte_is_whole(client: Client, upstream: Upstream) -> None:
    request = (
        b"POST /split HTTP/1.1\r\nHost: photos.test\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
        b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n"
    )
    pause = threading.Semaphore(0)
    with client.wire() as wire:
        for cut in range(1, len(request)):
            wire.send(request[:cut])
            pause.acquire(timeout=0.001)
            wire.send(request[cut:])
            assert wire.read_response().status == 200
    for each in upstream.requests:
        assert (each.body, [(name.lower(), value) for name, value in each.trailers]) == (b"hello world", [(b"x-sum", b"11")])
    assert len(upstream.requests) == len(request) - 1


@pytest.mark.http1
def test_request_given_up_at_any_byte_is_never_whole(client: Client, upstream: Upstream) -> None:
    request = b"POST /cut HTTP/1.1\r\nHost: photos.test\r\nContent-Length: 11\r\n\r\nhello world"
    for cut in range(1, len(request)):
        client.raw(request[:cut]).close()
    assert client.get("/after").status == 200
    assert upstream.wait_for(lambda: not upstream.is_busy)
    assert [each.target for each in upstream.requests if each.is_whole] == [b"/after"]


# ---------------------------------------------------------------- everything at once


def misbehave(turn: Turn) -> None:
    """Answer with the name of the request in a way the request asks for; some ways are broken.

    A stream of HTTP/2 has nothing behind its end, and breaks without its connection, which others are on.
    """
    name = turn.request.target
    how = turn.request.find("X-How")
    is_stream = turn.request.line.endswith(b" HTTP/2")
    if is_stream:
        how = {b"surplus": b"plain", b"nonsense": b"reset"}.get(how, how)  # type: ignore[arg-type]  # each has the field
    body = name * 2000
    if how == b"early":
        turn.answer(body)
        turn.read_body()
        return
    turn.read_body()
    if how == b"chunked":
        turn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 700):
            piece = body[start : start + 700]
            turn.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        turn.send(b"0\r\n\r\n")
    elif how == b"cut":
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[:-1]))
        turn.reset() if is_stream else turn.close()
    elif how == b"reset":
        turn.reset()
    elif how == b"surplus":
        # In one piece: what comes after the next request has been sent, nobody can tell from its answer.
        poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b%b" % (len(body), body, poison))
        turn.is_left(2)
    elif how == b"nonsense":
        turn.send(b"nonsense\r\n\r\n")
        turn.is_left(2)
    else:
        turn.answer(body)


WAYS = ["plain", "plain", "chunked", "early", "cut", "reset", "surplus", "nonsense"]


def visit(client: Client, name: str, dice: random.Random, wrong: list[str], shared: Connection | None = None) -> None:
    """Make some requests on one connection as a client does who may leave at any time."""
    wire = shared or client.connect()
    keeps = client.version != "h1"  # what breaks is one stream; the connection goes on
    for number in range(12):
        way = dice.choice(WAYS)
        path = f"/{name}-{number}/"
        length = dice.choice([0, 10, 70_000])
        exchange = client.open(dice.choice(["GET", "POST"]), path, [("X-How", way)], length, wire)
        try:
            if length:
                exchange.send_body(b"x" * (length // 2))
                if dice.random() < 0.1:
                    exchange.abort()
                    wire = wire if keeps else client.connect()
                    continue
                exchange.send_body(b"x" * (length - length // 2))
                exchange.end_body()
            response = exchange.read_response()
        except (Truncated, OSError):
            if way not in ("cut", "early"):
                wrong.append(f"{path} {way}: cut")
            if not keeps:
                wire.close()
                wire = client.connect()
            continue
        except Malformed as bad:
            wrong.append(f"{path} {way}: {bad}")
            return
        if response.status == 200:
            if way in ("cut", "nonsense", "reset") or response.body != path.encode() * 2000:
                wrong.append(f"{path} {way}: got {response.body[:40]!r}")
        elif way not in ("cut", "nonsense", "reset") or response.status != 502:
            wrong.append(f"{path} {way}: got {response.status}")
        if response.find("Connection") == b"close":
            wire.close()
            wire = client.connect()
    if shared is None:
        wire.close()


def test_no_stream_gets_the_answer_of_another(client: Client, upstream: Upstream) -> None:
    """Many requests on one connection at once, and what breaks one leaves the others alone."""
    if client.version == "h1":
        pytest.skip("one request at a time")
    upstream.script = misbehave
    wrong: list[str] = []
    with client.connect() as wire:
        threads = [threading.Thread(target=visit, args=(client, f"s{each}", random.Random(each), wrong, wire)) for each in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
        assert client.request("GET", "/last/", wire=wire).body == b"/last/" * 2000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_answer_reaches_another_client(seed: int, plain: Rig, client: Client, upstream: Upstream) -> None:
    worker = plain.proxy.workers[0]
    fds = Path(f"/proc/{worker}/fd")
    upstream.script = misbehave
    assert client.get("/warm/").status == 200
    wrong: list[str] = []
    dice = [random.Random(seed * 100 + each) for each in range(6)]
    threads = [threading.Thread(target=visit, args=(client, f"c{each}", dice[each], wrong)) for each in range(6)]
    before = len(list(fds.iterdir()))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert plain.proxy.workers == [worker], "the worker died"
    upstream.drop_idle()
    assert plain.proxy.wait_until(lambda: len(list(fds.iterdir())) <= before), "descriptors were left open"
    assert client.get("/after/").body == b"/after/" * 2000
