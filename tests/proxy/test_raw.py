"""Connections that are passed on as they are: what ends them, what is kept for another listener, and what may go past us.

Not here: what every stream must do (`tests/conformance`), whole connections (`tests/e2e/test_layer4.py`).
"""

import pytest

from tests.cast import Slow, Up
from tests.conformance.pair import Record
from tests.proxy.gate import REQUEST, Gate, choice, client, gate, hello
from tests.proxy.town import Town
from vestibule.contract import DOWN, Client, Stream, Timeouts
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, PROXY_DENIED, UPSTREAM_LOST, Fault
from vestibule.http.fields import EMPTY
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.transport import PlainTransport
from vestibule.proxy.announced import Doorman
from vestibule.proxy.raw import Handover, HangUp, Porches, RawDown, RawUp
from vestibule.proxy.upstream import Server, Upstream

OPENED = ResponseHead(200, b"", EMPTY)


def opened(one: Gate) -> tuple[Up, Exchange, RawDown]:
    """Return server, exchange and client's side of a connection that is carried."""
    one.connect()
    one.turn()
    ex, up = one.exchange(), Up()
    down = ex.down
    assert isinstance(down, RawDown)
    ex.connected(up, "u")
    ex.on_switched(OPENED)
    return up, ex, down


# ---------------------------------------------------------------- the client's side


def test_bytes_pass_and_each_direction_ends_alone() -> None:
    with gate(raw=True) as one:
        up, ex, down = opened(one)
        far = one.fars[0]
        assert (one.tally.connections, one.tally.exchanges, one.tally.tunnels) == (1, 1, 1) and down.takes_rest() is False
        far.send(b"hello")
        far.finish()
        one.turn()
        assert up.got == b"hello" and up.calls[-1] == "end" and not ex.over
        ex.on_response_body(b"bye", False)
        ex.on_response_trailers(EMPTY)
        one.turn()
        assert far.got == b"bye" and far.ended and ex.over and one.tally.connections == 0


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_plan_may_end_both_sides_with_one(who: str) -> None:
    with gate(raw=True) as one:
        one.plan.half_close = False
        up, ex, _ = opened(one)
        far = one.fars[0]
        far.send(b"hello")
        if who == "client":
            far.finish()
        one.turn()
        assert up.got == b"hello" and ex.over is (who == "client")
        if who == "server":
            ex.on_response_body(b"bye", True)
            one.turn()
        assert far.got == (b"" if who == "client" else b"bye")
        assert far.ended and not far.broken and ex.over and ex.fault is None and up.calls[-1] == "release" and one.tally.connections == 0


def test_a_last_piece_and_its_end_come_at_once() -> None:
    with gate(raw=True) as one:
        _, ex, _ = opened(one)
        ex.on_response_body(b"bye", True)
        one.turn()
        assert one.fars[0].got == b"bye" and one.fars[0].ended and not ex.over


def test_a_client_that_reads_slowly_holds_the_server_up() -> None:
    with gate(raw=True) as one:
        up, ex, down = opened(one)
        far = one.fars[0]
        far.reads = False
        while "pause" not in up.calls:
            ex.on_response_body(bytes(60_000), False)
        far.reads = True
        one.turn(20)
        assert up.calls[-1] == "resume"
        down.pause()
        one.turn(1)
        far.send(b"later")
        one.turn()
        assert up.got == b""
        down.resume()
        one.turn()
        assert up.got == b"later"


@pytest.mark.parametrize("is_open", [True, False])
def test_what_breaks_is_seen_to_be_cut_once_something_could_have_come(is_open: bool) -> None:
    with gate(raw=True) as one:
        one.connect()
        one.turn()
        ex = one.exchange()
        if is_open:
            ex.connected(Up(), "u")
            ex.on_switched(OPENED)
        ex.hang_up(Fault(UPSTREAM_LOST))
        one.turn()
        assert one.fars[0].broken is is_open and (one.fars[0].ended or is_open)


def test_a_client_that_resets() -> None:
    with gate(raw=True) as one:
        up, ex, _ = opened(one)
        one.fars[0].reset()
        one.turn()
        assert ex.over and ex.fault is not None and ex.fault.kind is CLIENT_GONE and up.calls[-1] == "abort"


def test_an_idle_connection_ends_in_good_order_and_one_that_moves_does_not() -> None:
    with gate(raw=True, tunnel_idle_ms=3_000) as one:
        up, ex, _ = opened(one)
        one.pass_time(2)
        one.fars[0].send(b"still here")
        one.turn()
        one.pass_time(2)
        assert not ex.over and up.got == b"still here"
        one.stop()
        assert not ex.over, "a stop waits for it"
        one.pass_time(2)
        assert ex.over and ex.fault is not None and ex.fault.kind.name == "client.timeout_idle"
        assert one.fars[0].ended and not one.fars[0].broken


def test_much_goes_past_us_and_little_does_not() -> None:
    with gate(raw=True) as one:
        _, ex, down = opened(one)
        assert down.relay_left() == 0 and down.relay_port() is down.transport
        one.fars[0].send(bytes(200_000))
        one.turn(8)
        assert ex.request_bytes == 200_000 and down.relay_left() > 1 << 40
    with gate(raw=True, tls=choice("x")) as one:
        one.secure(client("x"))
        one.turn(8)
        encrypted = one.exchange().down
        assert encrypted is not None and encrypted.relay_port() is None


def test_a_plan_may_refuse_before_the_first_bytes_are_passed_on() -> None:
    class Refuses(Slow):
        def start(self, ex: Exchange) -> None:
            super().start(ex)
            HangUp().answer(ex, Fault(PROXY_DENIED))

    source = Refuses()
    with gate(source, raw=True, inspects=0) as one:
        far = one.connect()
        far.send(hello("pass.example"))
        one.turn()
        assert source.ex is not None and source.ex.over and source.ex.request_bytes == 0
        assert far.ended or far.broken


# ---------------------------------------------------------------- a ClientHello that is awaited


@pytest.mark.parametrize("at", [3, 60])
def test_a_hello_may_come_in_pieces(at: int) -> None:
    with gate(raw=True, inspects=0) as one:
        said = hello("pass.example", "h2", "http/1.1")
        far = one.connect()
        far.send(said[:at])
        one.turn()
        assert not one.slow.started and one.tally.connections == 1
        far.send(said[at:])
        one.turn()
        about = one.exchange().client
        assert about.hello and (about.sni, about.alpn) == (b"pass.example", b"h2,http/1.1") and one.exchange().request_bytes == len(said)


@pytest.mark.parametrize("how", ["other", "waits"])
def test_what_is_no_hello_is_passed_on_without_a_name(how: str) -> None:
    with gate(raw=True, inspects=0, tls_handshake_ms=2_000) as one:
        far = one.connect()
        if how == "other":
            far.send(REQUEST)
            one.turn()
        else:
            one.pass_time(2)
        ex = one.exchange()
        assert not ex.client.hello and ex.client.sni == b"" and ex.request_bytes == (len(REQUEST) if how == "other" else 0)


@pytest.mark.parametrize("said", [b"SSH-2.0-x", hello("pass.example")])
@pytest.mark.parametrize("at", [1, 6])
def test_bytes_that_are_looked_at_are_awaited(said: bytes, at: int) -> None:
    with gate(raw=True, inspects=7) as one:
        far = one.connect()
        far.send(said[:at])
        one.turn()
        assert not one.slow.started
        far.send(said[at:])
        one.turn()
        ex = one.exchange()
        assert ex.client.first == said and ex.request_bytes == len(said) and ex.client.hello is (said[:1] != b"S")


def test_who_says_less_is_passed_on_in_time() -> None:
    with gate(raw=True, inspects=7, tls_handshake_ms=2_000) as one:
        one.connect().send(b"SSH")
        one.turn()
        one.pass_time(2)
        ex = one.exchange()
        assert ex.client.first == b"SSH" and ex.request_bytes == 3


@pytest.mark.parametrize("how", ["ends", "resets", "stops"])
def test_a_client_that_goes_before_its_hello(how: str) -> None:
    with gate(raw=True, inspects=0) as one:
        far = one.connect()
        one.turn()
        if how == "ends":
            far.finish()
        elif how == "resets":
            far.reset()
        else:
            one.stop()
        one.turn()
        assert one.tally.connections == 0 and not one.slow.started
        assert how == "resets" or far.ended or far.broken


# ---------------------------------------------------------------- another listener takes over


class Other(Doorman):
    """Takes what it is given."""

    def __init__(self) -> None:
        self.record = Record()
        self.early: list[bytes] = []

    def admit(self, transport: PlainTransport, client: Client, early: bytes) -> None:
        transport.owner = self.record
        self.early.append(early)


@pytest.mark.interpreted_only  # who takes over is a trait, and those cannot be derived from
@pytest.mark.parametrize("inspects", [0, -1])
def test_another_listener_begins_where_the_client_began(inspects: int) -> None:
    porches, other = Porches(), Other()
    porches.doormen["web"] = other
    with gate(Handover(porches, "web"), raw=True, inspects=inspects) as one:
        far = one.connect()
        said = hello("web.example")
        far.send(said)
        one.turn()
        assert other.early == [said if inspects == 0 else b""]
        assert (one.tally.connections, one.tally.exchanges, one.tally.tunnels) == (0, 0, 0)
        assert bytes(other.record.got) == (b"" if inspects == 0 else said)
        far.send(b"more")
        one.turn()
        assert other.record.got.endswith(b"more") and not far.ended


@pytest.mark.parametrize("why", ["unknown", "encrypted", "no connection"])
def test_what_cannot_be_handed_over_has_no_route(why: str) -> None:
    porches = Porches()
    source = Handover(porches, "web")
    with gate(source, raw=why != "no connection", tls=choice("x") if why == "encrypted" else None) as one:
        porches.doormen["web" if why != "unknown" else "other"] = one.entry
        far = one.secure(client("x")) if why == "encrypted" else one.connect()
        if why == "no connection":
            far.send(REQUEST)
        one.turn(8)
        if why == "no connection":
            assert far.got.startswith(b"HTTP/1.1 404 ")
        else:
            assert one.tally.connections == 0 and (far.ended or far.broken)


# ---------------------------------------------------------------- the server's side


class Way:
    """A connection to a server, and a client that is a spy."""

    def __init__(self, half_closed: bool = False, trailers: bool = False, body: bytes = b"") -> None:
        self.town = Town()
        self.pool = self.town.pool(raw=True)
        self.spy = Up()
        self.ex = self.town.exchange(Upstream("u", [Server(self.pool)]), self.spy)
        self.ex.timeouts = Timeouts()
        self.ex.on_request(RequestHead(b"TCP", b"-", b"", EMPTY, b"TCP"), False)
        if body:
            self.ex.on_request_body(body, False)
        if trailers:
            self.ex.on_request_trailers(EMPTY)
        elif half_closed:
            self.ex.on_request_body(b"", True)
        self.town.turn()
        (self.far,) = self.town.socks
        self.far.setblocking(False)

    def up(self) -> RawUp:
        assert isinstance(self.ex.up, RawUp)
        return self.ex.up

    def close(self) -> None:
        if not self.ex.over:
            self.ex.on_fault(DOWN, Fault(CLIENT_GONE))
        self.town.close()


@pytest.fixture
def ways():  # type: ignore[no-untyped-def]
    made: list[Way] = []

    def make(*args: bool, body: bytes = b"") -> Way:
        made.append(Way(*args, body=body))
        return made[-1]

    yield make
    for way in made:
        way.close()


def test_where_both_sides_end_with_one_a_client_that_had_finished_ends_it_once_there_is_a_server() -> None:
    town = Town()
    try:
        ex = town.exchange(Upstream("u", [Server(town.pool(raw=True))]), Up())
        ex.plan.half_close = False
        ex.on_request(RequestHead(b"TCP", b"-", b"", EMPTY, b"TCP"), False)
        ex.on_request_body(b"hello", True)
        assert not ex.over
        town.turn()
        town.socks[0].settimeout(10)
        assert ex.over and ex.fault is None and town.socks[0].recv(100) == b"hello" and town.socks[0].recv(100) == b""
    finally:
        town.close()


@pytest.mark.parametrize(("trailers", "body"), [(True, b""), (False, b""), (False, b"hello"), (True, b"hello")])
def test_a_client_that_had_finished_before_there_was_a_server(ways, trailers: bool, body: bytes) -> None:  # type: ignore[no-untyped-def]
    way = ways(True, trailers, body=body)
    assert way.far.recv(100) == (body or b"") and (not body or way.far.recv(100) == b"")
    assert way.ex.head_ms < 0
    for _ in range(2):
        way.far.send(b"answer")
        way.town.turn()
        first = way.ex.head_ms
        assert first >= 0, "when the server first said something"
        way.town.reactor.ahead_ms += 500
    assert way.spy.got == b"answeranswer" and way.ex.head_ms == first and not way.ex.over
    way.far.close()
    way.town.turn()
    assert way.ex.over and way.ex.fault is None and way.spy.calls[-1] == "release" and way.pool.connections == 0


def test_a_server_that_reads_slowly_holds_the_client_up(ways) -> None:  # type: ignore[no-untyped-def]
    way = ways()
    while "pause" not in way.spy.calls:
        way.ex.on_request_body(bytes(60_000), False)
    way.town.turn()
    assert way.spy.calls[-1] == "resume"
    way.up().pause()
    way.town.turn(1)
    way.far.send(b"later")
    way.town.turn()
    assert way.spy.got == b""
    way.up().resume()
    way.town.turn()
    assert way.spy.got == b"later"


def test_a_server_that_is_lost_is_struck_off_once(ways) -> None:  # type: ignore[no-untyped-def]
    way = ways()
    up = way.up()
    assert up.takes_rest() and up.open_tunnel() and up.relay_left() == 0 and up.relay_port() is up.transport
    up.transport.lose("reset")
    assert way.ex.over and way.ex.fault is not None and way.ex.fault.kind is UPSTREAM_LOST and way.pool.connections == 0
    assert not up.takes_rest() and up.relay_port() is None
    up.abort(Fault(UPSTREAM_LOST))
    assert way.pool.connections == 0


def test_a_server_behind_something_else_is_lost_as_any_other(ways) -> None:  # type: ignore[no-untyped-def]
    """A limit of bandwidth stands between, and hears of the end as from the exchange."""
    way = ways()
    up, between = way.up(), Up()
    way.ex.up = between
    assert isinstance(between, Stream)
    up.transport.lose("reset")
    assert way.ex.over and between.calls == ["abort"] and way.pool.connections == 0


def test_a_stop_lets_a_server_go_on(ways) -> None:  # type: ignore[no-untyped-def]
    way = ways()
    way.up().on_stopping()
    way.up().on_secured()
    way.far.send(bytes(200_000))
    way.town.wait(lambda: way.ex.response_bytes == 200_000)
    assert way.up().relay_left() > 1 << 40


def test_a_connection_of_which_something_has_gone_on_is_not_handed_over() -> None:
    with gate(raw=True) as one:
        _, _, down = opened(one)
        assert not down.can_hand_over() and down.open_tunnel()
