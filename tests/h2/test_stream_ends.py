"""Exchanges over HTTP/2: time that the test lets pass, clients that do not read, and what comes behind an answer."""

from collections.abc import Callable, Iterator

import pytest

from vestibule.contract import Plan, Source, Timeouts
from vestibule.exchange import Exchange
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2_frames import (
    CANCEL,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_TIMEOUT,
    WINDOW_UPDATE,
)

from .house import BODY, GET, POST, WEBSOCKET, House, Wire, frame, number, setting

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Says(Source):
    """Answers by itself."""

    def __init__(self, body: bytes = BODY) -> None:
        self.body = body

    def start(self, ex: Exchange) -> None:
        ex.answer(200, [], self.body)


@pytest.fixture
def build() -> Iterator[Callable[..., House]]:
    """Make houses with settings of their own."""
    made: list[House] = []

    def start(answers: bool = False, **timeouts: int) -> House:
        made.append(House(Timeouts(**timeouts), HeadLimits(), answers))
        return made[-1]

    yield start
    for house in made:
        house.close()
        assert house.tally.exchanges == 0 and house.tally.connections == 0 and house.tally.tunnels == 0


def pass_time(house: House, seconds: float) -> None:
    """Let time pass, and the proxy notice."""
    house.reactor.ahead_ms += int(seconds * 1000) + 101
    house.settle(4)


def count(house: House) -> int:
    return house.tally.exchanges


def clog(house: House, wire: Wire) -> None:
    """Have a client that does not read, and so much to say to it that the proxy reads no more from it."""
    wire.reading = False
    for _ in range(400):
        wire.transport.write(frame(PING, 0, 0, b"12345678") * 4_000)
        house.turn(0)
        if wire.transport.queued() >= 1_000_000:
            break
    wire.send(frame(PING, 0, 0, b"alive???"))
    house.settle(4)
    assert wire.transport.is_paused()


# ---------------------------------------------------------------- behind an answer


@pytest.mark.parametrize("behind", ["body", "trailers", "reset"])
def test_what_comes_behind_a_whole_answer_that_has_not_gone_yet(build: Callable[..., House], behind: str) -> None:
    """The client gives no credit, so the answer stays; nobody wants the rest of its request."""
    house = build()
    house.plan.source = Says()
    wire = house.connect(settings=setting(4, 0))
    wire.request(1, POST, end=False)
    wire.wait_for(HEADERS, 1)
    assert count(house) == 0
    if behind == "reset":
        wire.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
        assert wire.is_alive()
        return
    wire.send(frame(DATA, END_STREAM, 1, b"more") if behind == "body" else wire.headers(1, [(b"x-sum", b"1")]))
    wire.send(frame(WINDOW_UPDATE, 0, 1, number(100)))
    assert wire.wait_for(DATA, 1)[3] == BODY and wire.is_alive()


@pytest.mark.parametrize("with_trailers", [True, False])
def test_a_request_whose_rest_comes_with_it_is_answered_before_that_is_read(build: Callable[..., House], with_trailers: bool) -> None:
    house = build()
    house.plan.source = Says()
    wire = house.connect()
    rest = wire.headers(1, POST, end=False)
    rest += wire.headers(1, [(b"x-sum", b"1")]) if with_trailers else frame(DATA, END_STREAM, 1, b"more")
    wire.send(rest)
    assert wire.answer(1)[1] == BODY
    wire.request(3)
    assert wire.answer(3)[1] == BODY


# ---------------------------------------------------------------- clients that do not read


def test_a_client_that_reads_again_is_read_again(build: Callable[..., House]) -> None:
    house = build(answers=True)
    wire = house.connect()
    clog(house, wire)
    wire.request(1)
    house.settle(4)
    assert count(house) == 0, "what it asks for is not looked at"
    wire.reading = True
    assert wire.answer(1)[1] == BODY
    assert not wire.transport.is_paused()


def test_a_client_that_does_not_read_is_told_of_the_end_and_read_empty(build: Callable[..., House]) -> None:
    house = build(keep_alive_ms=5_000)
    wire = house.connect()
    clog(house, wire)
    pass_time(house, 61)
    assert not wire.transport.is_paused(), "it is closing, so nothing that comes can wait"
    wire.connection.on_stopping()
    wire.send(frame(PING, 0, 0, b"anybody?"))
    pass_time(house, 1)
    assert house.tally.connections == 0


# ---------------------------------------------------------------- stopping and bugs


def test_who_is_told_twice_to_stop_stops_once(build: Callable[..., House]) -> None:
    house = build(answers=True)
    wire = house.connect()
    for _ in range(2):
        wire.connection.on_stopping()
        house.settle(2)
    assert wire.wait_for_goaway()
    house.settle(4)
    assert not any(row[0] == GOAWAY for row in wire.frames)
    pass_time(house, 1.2)
    assert wire.wait_for_goaway()
    house.until(lambda: house.tally.connections == 0)


def test_a_bug_ends_a_connection_once(build: Callable[..., House]) -> None:
    house = build()
    wire = house.connect()
    wire.request(1)
    house.call()
    for _ in range(2):
        wire.connection.on_bug()
        assert house.tally.connections == 0 and count(house) == 0
    while wire.next_frame() is not None:
        pass
    assert wire.closed


# ---------------------------------------------------------------- time


def test_an_idle_connection_gives_up_what_only_saves_work_and_serves_on(build: Callable[..., House]) -> None:
    house = build(answers=True, keep_alive_ms=60_000)
    wire = house.connect()
    wire.request(1)
    assert wire.answer(1)[1] == BODY
    pass_time(house, 5)
    pass_time(house, 5)
    wire.request(3)
    assert wire.answer(3)[1] == BODY
    pass_time(house, 61)
    assert wire.dies_of(NO_ERROR)


def test_a_connection_that_was_never_used_is_kept_as_long_as_any_other(build: Callable[..., House]) -> None:
    house = build(request_head_ms=4_000, keep_alive_ms=6_000)
    wire = house.connect()
    pass_time(house, 4)
    assert wire.is_alive()
    pass_time(house, 2)
    assert wire.dies_of(NO_ERROR)


def test_a_block_has_its_time_however_slowly_it_comes(build: Callable[..., House]) -> None:
    house = build(request_head_ms=4_000)
    wire = house.connect()
    wire.request(1)
    house.call()
    head = wire.headers(3, GET)
    for at in range(3):
        wire.send(head[at * 2 : at * 2 + 2])
        pass_time(house, 1)
    assert count(house) == 1
    pass_time(house, 1.5)
    assert wire.dies_of(NO_ERROR) and count(house) == 0


def test_a_site_may_have_less_patience_than_its_listener(build: Callable[..., House]) -> None:
    house = build(body_idle_ms=60_000)
    house.plan.timeouts = Timeouts(body_idle_ms=2_000)
    wire = house.connect()
    wire.request(1, POST, end=False)
    house.call()
    pass_time(house, 2)
    assert wire.answer(1)[0][":status"] == "408"


def test_it_is_not_the_clients_turn_while_the_server_does_not_read(build: Callable[..., House]) -> None:
    """Nothing moves for longer than a body may idle, and it is not for want of the client."""
    house = build(body_idle_ms=3_000, response_head_ms=60_000)
    wire = house.connect()
    wire.request(1)
    call = house.call()
    pass_time(house, 4)
    pass_time(house, 4)
    assert count(house) == 1
    call.answer()
    assert wire.answer(1)[1] == BODY


def test_streams_are_looked_at_one_by_one(build: Callable[..., House]) -> None:
    house = build(body_idle_ms=4_000, response_head_ms=60_000)
    wire = house.connect()
    wire.request(1, POST, end=False)
    house.call()
    pass_time(house, 2)
    wire.request(3, POST, end=False)
    house.call(1)
    pass_time(house, 2)
    assert wire.answer(1)[0][":status"] == "408" and count(house) == 1
    pass_time(house, 2)
    assert wire.answer(3)[0][":status"] == "408" and count(house) == 0


def test_an_idle_tunnel_ends(build: Callable[..., House]) -> None:
    house = build(tunnel_idle_ms=3_000, body_idle_ms=60_000)
    wire = house.connect()
    wire.request(1, WEBSOCKET, end=False)
    call = house.call()
    call.send(SWITCH)
    wire.wait_for(HEADERS, 1)
    assert house.tally.tunnels == 1
    pass_time(house, 2)
    wire.send(frame(DATA, 0, 1, b"ping"))
    house.until(lambda: call.got.endswith(b"ping"))
    pass_time(house, 2)
    assert house.tally.tunnels == 1
    pass_time(house, 2)
    assert house.tally.tunnels == 0 and count(house) == 0
    assert wire.wait_for_reset(1)


def test_streams_are_due_before_settings_that_are_not_acknowledged(build: Callable[..., House]) -> None:
    house = build(request_head_ms=10_000, body_idle_ms=60_000, response_head_ms=60_000)
    house.plan.timeouts = Timeouts(body_idle_ms=700)
    wire = house.connect(greet=False)
    wire.send(PREFACE + frame(SETTINGS, 0, 0) + wire.headers(1, GET))
    house.call()
    pass_time(house, 0.8)
    assert count(house) == 1 and wire.connection.deadline.at_ms <= house.reactor.now_ms + 10_000
    pass_time(house, 10)
    assert count(house) == 0 and wire.dies_of(SETTINGS_TIMEOUT)


def test_a_request_that_comes_while_the_connection_is_left_has_its_time(build: Callable[..., House]) -> None:
    """The client has not heard of it yet."""
    house = build(body_idle_ms=60_000)
    house.plan.timeouts = Timeouts(body_idle_ms=300)
    wire = house.connect()
    wire.connection.on_stopping()
    wire.request(1, GET)
    house.call()
    wire.request(3, POST, end=False)
    house.call(1)
    pass_time(house, 0.4)
    assert count(house) == 1, "one is late, and the other waits for the server"
    house.call().answer()
    pass_time(house, 1)
    house.until(lambda: house.tally.connections == 0)


def test_a_body_that_stalls_holds_up_a_stop_no_longer_than_its_time(build: Callable[..., House]) -> None:
    house = build(body_idle_ms=2_000, keep_alive_ms=75_000)
    wire = house.connect()
    wire.request(1, POST, end=False)
    house.call()
    wire.connection.on_stopping()
    pass_time(house, 1.1)
    assert count(house) == 1
    pass_time(house, 2)
    assert count(house) == 0
    house.until(lambda: house.tally.connections == 0)


def test_a_tunnel_is_looked_at_while_a_block_is_on_its_way(build: Callable[..., House]) -> None:
    house = build(tunnel_idle_ms=1_000, request_head_ms=30_000)
    wire = house.connect()
    wire.request(1, WEBSOCKET, end=False)
    call = house.call()
    wire.send(wire.headers(3, GET)[:5])
    house.settle(2)
    call.send(SWITCH)
    wire.wait_for(HEADERS, 1)
    pass_time(house, 1)
    assert house.tally.tunnels == 0 and wire.connection.deadline.at_ms <= house.reactor.now_ms + 30_000
    pass_time(house, 30)
    assert house.tally.connections == 0 or wire.dies_of(NO_ERROR)


def test_a_stream_that_is_not_paused_gets_no_more_time_and_is_no_tunnel(build: Callable[..., House]) -> None:
    house = build()
    wire = house.connect()
    wire.request(1, POST, end=False)
    house.call()
    stream = wire.connection.streams[1]
    before = stream.slot.moved_ms
    house.reactor.now_ms += 500
    stream.resume()
    assert stream.slot.moved_ms == before
    assert not stream.open_tunnel() and house.tally.tunnels == 0


def test_a_plan_without_times_has_the_doors(build: Callable[..., House]) -> None:
    house = build(body_idle_ms=2_000)
    house.plan.timeouts = None
    assert isinstance(house.plan, Plan)
    wire = house.connect(settings=setting(4, 0))
    house.plan.source = Says()
    wire.request(1)
    wire.wait_for(HEADERS, 1)
    assert count(house) == 0
    pass_time(house, 3)
    assert wire.wait_for_reset(1)
