"""Whoever is silent for too long is not waited for, and the other side is told, over every version on both sides."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from .client import Truncated
from .rig import Rig
from .upstream import Gone, Turn

PIECE = bytes(65536)


@pytest.fixture(scope="module")
def strict(make: Callable[..., Rig]) -> Rig:
    return make(site='timeouts = { response_head = "1s", body_idle = "1500ms" }')


@pytest.fixture
def rig(strict: Rig, version: str) -> Iterator[Rig]:
    strict.upstream.rest()
    yield strict.speaking(version)
    strict.upstream.rest()


def test_upstream_that_does_not_answer(rig: Rig) -> None:
    left: list[bool] = []
    rig.upstream.script = lambda turn: left.append(turn.is_left())
    response = rig.client.get("/")
    assert response.status == 504
    assert b"upstream.timeout_head" in rig.client.request("GET", "/", [("Accept", "application/json")]).body
    assert rig.upstream.wait_for(lambda: len(left) == 2)
    assert left == [True, True]


def test_upstream_that_goes_silent_in_its_answer(rig: Rig) -> None:
    left: list[bool] = []

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        left.append(turn.is_left())

    rig.upstream.script = script
    exchange = rig.client.open("GET", "/")
    assert exchange.read_head().status == 200
    with pytest.raises(Truncated) as cut:
        exchange.read_body()
    assert cut.value.got == b"hello"
    assert rig.upstream.wait_for(lambda: bool(left))
    assert left == [True]


def test_upstream_that_takes_nothing_of_an_upload(rig: Rig) -> None:
    go = threading.Event()

    def script(turn: Turn) -> None:
        go.wait(20)
        with contextlib.suppress(Gone):
            while turn.recv():
                pass

    rig.upstream.script = script
    exchange = rig.client.open("POST", "/", length=None)
    stop = threading.Event()

    def flood() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                exchange.send_body(PIECE)

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    try:
        assert exchange.read_head().status == 504
    finally:
        stop.set()
        exchange.close()
        sender.join(20)
        go.set()


def test_client_that_goes_silent_in_its_upload(rig: Rig) -> None:
    gone: list[bool] = []

    def script(turn: Turn) -> None:
        try:
            turn.read_body()
        except Gone:
            gone.append(True)
            raise

    rig.upstream.script = script
    exchange = rig.client.open("POST", "/", length=100)
    exchange.send_body(b"hello")
    assert exchange.read_head().status == 408
    assert rig.upstream.wait_for(lambda: bool(gone))


def test_slow_answers_that_move_are_waited_for(rig: Rig) -> None:
    pause = threading.Event()

    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
        for _ in range(12):
            pause.wait(0.15)
            turn.send(b"x")

    rig.upstream.script = script
    assert rig.client.get("/").body == b"x" * 12
