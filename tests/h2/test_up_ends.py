"""HTTP/2 to upstreams: how requests and connections end, with a client that is a spy and time that the test lets pass."""

import socket
from collections.abc import Iterable, Iterator

import pytest

from tests.conformance.stream import Spy
from tests.proxy.town import Town
from vestibule.contract import DOWN, UP, Timeouts
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, UPSTREAM_LOST, Fault
from vestibule.http.fields import fields_of
from vestibule.http.h2_frames import CANCEL, NO_ERROR
from vestibule.http.head import RequestHead
from vestibule.plan.expr import Const
from vestibule.plan.steps.bandwidth import BandwidthLimit, SharedAccounts
from vestibule.proxy.pool import Pool
from vestibule.proxy.up_h2 import H2UpConnection, H2UpStream
from vestibule.proxy.upstream import Server, Upstream

from .far import Far

ASKS = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", b"x")]


class Street:
    """A town with one house that speaks HTTP/2."""

    def __init__(self) -> None:
        self.town = Town()
        self.pool: Pool = self.town.pool(h2=True)
        self.upstream = Upstream("u", [Server(self.pool)], tries_most=1)

    def ask(
        self,
        method: bytes = b"GET",
        pairs: Iterable[tuple[bytes, bytes]] = (),
        end: bool = True,
        **times: int,
    ) -> tuple[Spy, Exchange]:
        spy = Spy()
        ex = self.town.exchange(self.upstream, spy)
        ex.plan.timeouts = ex.timeouts = Timeouts(**times)
        ex.on_request(RequestHead(method, b"/", b"a", fields_of([(b"Host", b"a"), *pairs]), b"HTTP/1.1"), end)
        return spy, ex

    def far(self, requests: int = 1) -> Far:
        """Return the first connection at the server, once it has so many requests."""
        self.town.wait(lambda: bool(self.town.fars) and len(self.town.fars[0].heads) == requests)
        return self.town.fars[0]

    def connection(self) -> H2UpConnection:
        (connection,) = self.pool._shared
        return connection

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the connection look at its streams."""
        self.town.reactor.ahead_ms += int(seconds * 1000) + 101
        self.town.turn()


@pytest.fixture
def street() -> Iterator[Street]:
    made = Street()
    yield made
    made.town.close()


def stream_of(ex: Exchange) -> H2UpStream:
    assert isinstance(ex.up, H2UpStream)
    return ex.up


def fault_of(ex: Exchange) -> str:
    assert ex.over and ex.fault is not None
    return ex.fault.kind.name


def leave(ex: Exchange) -> None:
    ex.on_fault(DOWN, Fault(CLIENT_GONE))


# ---------------------------------------------------------------- connections


def test_a_connection_that_is_left_closes_after_its_last_request(street: Street) -> None:
    _, ex = street.ask()
    far = street.far()
    street.connection().on_stopping()
    street.town.turn()
    assert not far.closed
    far.answer(1)
    street.town.wait(lambda: far.closed)
    assert ex.over and ex.fault is None and street.pool.connections == 0


def test_an_idle_connection_is_closed_when_its_server_goes_away_or_it_is_left(street: Street) -> None:
    for goes_away in (True, False):
        street.town.fars.clear()
        street.ask()
        far = street.far()
        far.answer(1)
        street.town.turn()
        assert street.pool.connections == 1
        if goes_away:
            far.h2.close_connection()
            street.town.turn()
        else:
            street.connection().leave()
        assert street.pool.connections == 0


def test_a_reset_connection_and_a_bug_fail_what_is_on_it_once(street: Street) -> None:
    _, ex = street.ask()
    street.far()
    connection = street.connection()
    connection.on_bug()
    assert fault_of(ex) == "upstream.lost" and street.pool.connections == 0
    connection.on_bug()
    connection.leave()
    assert street.pool.connections == 0


def test_a_server_that_speaks_no_http2_is_told_of(street: Street) -> None:
    street.town.pools.clear()  # who knocks is met by the test
    house = street.town.houses.pop()
    _, ex = street.ask()
    street.town.turn()
    sock, _ = house.accept()
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    street.town.wait(lambda: ex.over)
    assert fault_of(ex) == "upstream.bad_syntax" and "does not speak HTTP/2" in (ex.fault.detail if ex.fault is not None else "")
    sock.close()
    house.close()


def test_a_connection_whose_last_request_is_never_taken_whole_is_given_up(street: Street) -> None:
    """The server answered early and gives no more credit: what is queued would stay for ever."""
    street.pool.limits.idle_ms = 2_000
    spy, ex = street.ask(b"POST", end=False)
    far = street.far()
    far.credits = False
    ex.on_request_body(bytes(100_000), True)
    street.town.turn()
    far.answer(1)
    street.town.wait(lambda: ex.over)
    assert ex.fault is None and street.pool.connections == 1 and spy.calls[-1] == "release"
    street.pass_time(2)
    assert street.pool.connections == 0


def test_what_is_left_of_a_request_whose_answer_was_taken_whole_still_goes(street: Street) -> None:
    _, ex = street.ask(b"POST", end=False)
    far = street.far()
    far.credits = False
    ex.on_request_body(bytes(200_000), False)
    ex.on_request_body(b"", True)
    street.town.turn()
    far.answer(1)
    street.town.wait(lambda: ex.over)
    for credit in (110_000, 1_000_000):
        far.h2.increment_flow_control_window(credit)
        far.h2.increment_flow_control_window(credit, 1)
        street.town.turn()
    street.town.wait(lambda: 1 in far.ended)
    assert len(far.bodies[1]) == 200_000 and street.pool.connections == 1


@pytest.mark.parametrize("passed", [True, False])
def test_an_early_answer_may_be_followed_by_a_reset(street: Street, passed: bool) -> None:
    """RFC 9113 8.1: the server does not want what is left of a request whose answer was taken whole."""
    _, ex = street.ask(b"POST", end=False)
    far = street.far()
    far.credits = False
    ex.on_request_body(bytes(100_000), passed)
    street.town.turn()
    far.answer(1)
    street.town.turn()
    assert ex.over is passed
    far.reset(1, NO_ERROR)
    street.town.wait(lambda: not street.connection().codec.streams)
    assert street.pool.connections == 1
    if not passed:
        assert ex.over and ex.fault is None


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_silent_server_is_asked_and_given_up(street: Street, method: bytes) -> None:
    """It may have gone while the connection was kept: what may be repeated is, on a new one, and that is no attempt more."""
    _, ex = street.ask()
    far = street.far()
    far.answer(1)
    street.town.turn()
    _, ex = street.ask(method, response_head_ms=60_000)
    street.far(2)
    street.pass_time(10)
    street.town.wait(lambda: far.pings == 1)
    street.pass_time(4)
    far.reads = False
    street.pass_time(7)
    street.town.turn()
    connection = street.connection()
    assert connection._asked_ms, "it is asked again"
    # Somebody looks before the time for the answer is over.
    connection.look_by(street.town.reactor.now_ms + 200)
    street.pass_time(0.3)
    assert not ex.over
    street.pass_time(5)
    if method == b"POST":
        assert fault_of(ex) == "upstream.lost" and street.pool.connections == 0
    else:
        street.town.wait(lambda: len(street.town.fars) == 2 and len(street.town.fars[1].heads) == 1)
        street.town.fars[1].answer(1)
        street.town.wait(lambda: ex.over)
        assert ex.fault is None
    far.reads = True


def test_a_shared_connection_that_is_lost_is_no_attempt_only_once(street: Street) -> None:
    """The connection that a request goes on over may have carried another, and be lost in its turn."""
    street.ask()
    street.far().answer(1)
    street.town.turn()
    _, ex = street.ask()
    first = street.far(2)
    street.connection().leave()
    _, other = street.ask()
    fars = street.town.fars
    street.town.wait(lambda: len(fars) == 2 and len(fars[1].heads) == 1)
    fars[1].answer(1)
    street.town.wait(lambda: other.over)
    first.sock.shutdown(socket.SHUT_RDWR)
    street.town.wait(lambda: len(fars[1].heads) == 2)
    fars[1].sock.shutdown(socket.SHUT_RDWR)
    street.town.wait(lambda: ex.over or len(fars) > 2)
    assert fault_of(ex) == "upstream.lost" and len(fars) == 2


# ---------------------------------------------------------------- time of a request


def test_a_server_that_takes_no_more_of_an_upload_in_time(street: Street) -> None:
    spy, ex = street.ask(b"POST", end=False, body_idle_ms=2_000)
    far = street.far()
    far.credits = False
    ex.on_request_body(bytes(200_000), False)
    assert spy.calls == ["pause"]
    street.pass_time(2)
    assert fault_of(ex) == "upstream.timeout_write"
    street.town.wait(lambda: far.resets.get(1) == CANCEL)


def test_credit_is_told_to_who_sends(street: Street) -> None:
    spy, ex = street.ask(b"POST", end=False)
    far = street.far()
    far.credits = False
    ex.on_request_body(bytes(200_000), False)
    street.town.turn()
    assert spy.calls == ["pause"]
    far.h2.increment_flow_control_window(1_000_000)
    far.h2.increment_flow_control_window(1_000_000, 1)
    street.town.wait(lambda: spy.calls == ["pause", "resume"])
    leave(ex)


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_stops(street: Street, whole: bool) -> None:
    """Where the request is not whole, the client's side keeps the time."""
    spy, ex = street.ask(b"POST", end=whole, body_idle_ms=2_000)
    far = street.far()
    far.head(1)
    street.town.wait(lambda: "head" in spy.calls)
    street.pass_time(2)
    if whole:
        assert fault_of(ex) == "upstream.timeout_body"
    else:
        assert not ex.over
        leave(ex)


@pytest.mark.parametrize("well", [True, False])
def test_a_server_that_does_not_answer_in_time_gets_more_where_others_are_answered(street: Street, well: bool) -> None:
    street.ask()
    far = street.far()
    far.answer(1)
    street.town.turn()
    _, slow = street.ask(response_head_ms=8_000)
    street.far(2)
    if well:
        street.town.reactor.ahead_ms += 7_000
        street.town.turn()
        far.h2.ping(b"I live! ")
        street.town.turn()
        street.town.reactor.ahead_ms += 1_200
    else:
        street.town.reactor.ahead_ms += 8_200
    street.town.turn()
    assert fault_of(slow) == "upstream.timeout_head" and (street.pool.connections == 1) is well


def test_a_stream_that_is_not_paused_is_not_given_more_time(street: Street) -> None:
    _, ex = street.ask()
    street.far()
    stream = stream_of(ex)
    slot = stream.slot
    assert slot is not None
    before = slot.moved_ms
    street.town.reactor.now_ms += 500
    stream.resume()
    assert slot.moved_ms == before
    stream.pause()
    stream.resume()
    assert slot.moved_ms == before + 500 and not slot.paused
    leave(ex)


# ---------------------------------------------------------------- ends of a request


def test_interim_answers_come_to_an_end(street: Street) -> None:
    _, ex = street.ask()
    far = street.far()
    for _ in range(200):
        if not ex.over:
            far.h2.send_headers(1, [(b":status", b"103")])
            street.town.turn(1)
    assert fault_of(ex) == "upstream.bad_syntax" and street.pool.connections == 1


def test_an_empty_piece_is_not_passed_on(street: Street) -> None:
    spy, ex = street.ask()
    far = street.far()
    far.head(1)
    far.h2.send_data(1, b"", pad_length=20)
    street.town.turn()
    assert spy.calls == ["head"]
    far.body(1, b"", True)
    street.town.wait(lambda: ex.over)
    assert spy.calls == ["head", "end", "release"]


def test_who_has_gone_is_not_told_of_what_comes_later(street: Street) -> None:
    _, ex = street.ask()
    street.far()
    stream = stream_of(ex)
    leave(ex)
    stream.lose("reset")
    stream.abort(Fault(UPSTREAM_LOST))
    assert fault_of(ex) == "client.gone" and street.pool.load() == 0


def test_a_stream_behind_a_limit_of_bandwidth_fails_as_any_other(street: Street) -> None:
    limit = BandwidthLimit(street.town.reactor, UP, Const(b"1"), None, None, SharedAccounts())
    spy = Spy()
    ex = street.town.exchange(street.upstream, spy)
    ex.plan.request = [*ex.plan.request, limit]
    ex.on_request(RequestHead(b"POST", b"/", b"a", fields_of([(b"Host", b"a")]), b"HTTP/1.1"), True)
    far = street.far()
    far.reset(1, CANCEL)
    street.town.wait(lambda: ex.over)
    assert fault_of(ex) == "upstream.lost" and spy.calls[-1] == "release" and street.pool.load() == 0


# ---------------------------------------------------------------- WebSockets


def test_a_server_that_is_known_to_take_websockets_is_asked_at_once(street: Street) -> None:
    street.town.tunnels = True
    street.ask()
    street.far().answer(1)
    street.town.turn()
    spy, ex = street.ask(pairs=ASKS)
    far = street.far(2)
    assert dict(far.heads[3])[b":protocol"] == b"websocket"
    far.head(3, end=True)
    street.town.wait(lambda: bool(spy.calls))
    assert ex.tunneling and ex.response is not None and ex.response.status == 101
    assert spy.calls == ["head", "end"], "the server's side has ended already"
    leave(ex)


def test_a_websocket_that_is_cancelled_before_it_is_refused(street: Street) -> None:
    street.ask()
    street.far().answer(1)
    street.town.turn()
    _, ex = street.ask(pairs=ASKS)
    leave(ex)
    street.town.turn()
    assert fault_of(ex) == "client.gone" and street.pool.connections == 1


def test_a_websocket_may_wait_for_the_greeting_for_long(street: Street) -> None:
    street.town.pools.clear()
    house = street.town.houses.pop()
    _, ex = street.ask(pairs=ASKS, response_head_ms=20_000, body_idle_ms=20_000)
    street.town.turn()
    sock, _ = house.accept()
    street.pass_time(10)
    assert not ex.over and street.connection()._asked_ms
    leave(ex)
    sock.close()
    house.close()
    street.town.turn()


@pytest.mark.parametrize("known", [True, False])
def test_a_websocket_with_a_body_is_asked_as_any_other_request(street: Street, known: bool) -> None:
    street.town.tunnels = True
    if known:
        street.ask()
        street.far().answer(1)
        street.town.turn()
    spy, ex = street.ask(pairs=[*ASKS, (b"Content-Length", b"5")], end=False)
    ex.on_request_body(b"hello", True)
    far = street.far(2 if known else 1)
    stream = max(far.heads)
    street.town.wait(lambda: far.bodies[stream] == b"hello")
    head = dict(far.heads[stream])
    assert head[b":method"] == b"GET" and b":protocol" not in head and b"upgrade" not in head
    far.answer(stream)
    street.town.wait(lambda: ex.over)
    assert ex.fault is None and not ex.tunneling and spy.got == b"hello, world"
