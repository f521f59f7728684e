"""Sessions of datagrams: who gets one, when it ends, and what becomes of those that cannot have one.

The reactor's time is moved, so nothing here waits for a time-out.
"""

import contextlib
import errno
import gc
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.conformance.stream import Spy
from tests.conformance.transport import settle_garbage
from vestibule.contract import Client, LogLine, Plan, Relays, Source, Timeouts
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_NO_ROUTE, UPSTREAM_BUSY, Fault
from vestibule.http.fields import EMPTY
from vestibule.http.h1 import HeadLimits
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.http.proxy_protocol import V2, parse_proxy_header
from vestibule.net.reactor import Reactor
from vestibule.plan.expr import Const
from vestibule.plan.sources.closed import Closed
from vestibule.plan.sources.fixed import Respond
from vestibule.proxy.balance import Balancer, Hash, PeakEwma, Server, SourceKey
from vestibule.proxy.door import AT_LIMIT, Door, Porch, Refusals, SessionLimits, Tally, response_table
from vestibule.proxy.keyed import Keying
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.raw import HangUp
from vestibule.proxy.relays import BodyRelays
from vestibule.proxy.rules import Rules
from vestibule.proxy.standing import Board
from vestibule.proxy.udp import Sessions, UdpDown, UdpUp
from vestibule.proxy.upstream import Upstream

HOUR_MS = 3_600_000


class Far:
    """A server. It answers nothing by itself."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.port: int = self.sock.getsockname()[1]
        self.got: list[tuple[bytes, tuple[str, int]]] = []

    def read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.got.append(self.sock.recvfrom(70_000))

    def answer(self, data: bytes, at: int = -1) -> None:
        self.sock.sendto(data, self.got[at][1])

    def data(self) -> list[bytes]:
        return [each[0] for each in self.got]


class Log(LogLine):
    """What a log line knows of each session."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, int, int, int, str]] = []
        self.faults: list[str] = []
        self.clients: list[Client] = []

    def write(self, ex: Exchange) -> None:
        self.lines.append((ex.datagrams_in, ex.datagrams_out, ex.request_bytes, ex.response_bytes, ex.upstream_name))
        self.faults.append("" if ex.fault is None else f"{ex.fault.kind.name}: {ex.fault.detail}")
        self.clients.append(ex.client)


class Heard(Refusals):
    def __init__(self) -> None:
        super().__init__(AT_LIMIT)
        self.lines: list[tuple[str, dict[str, str]]] = []

    def tell(self, text: str, details: dict[str, str]) -> None:
        self.lines.append((text, details))


class House:
    """A listener in front of some servers."""

    def __init__(
        self,
        limits: SessionLimits | None = None,
        servers: int = 1,
        host: str = "127.0.0.1",
        source: Source | None = None,
        rules: Rules | None = None,
        balancer: Balancer | None = None,
        announce: int = 0,
        most: int = -1,
        named: str = "",
    ) -> None:
        self.reactor = Reactor()
        self.fars = [Far() for _ in range(servers)]
        self.book = AddressBook()
        self.pools: list[Pool] = []
        for far in self.fars:
            target = Target(named or "127.0.0.1", far.port, "", None, "", Keying(announce) if announce else None, datagrams=True)
            pool_limits = PoolLimits(connections_most=most)
            self.pools.append(Pool(self.reactor, target, self.book, pool_limits, HeadLimits(), response_table()))
        board = Board()
        members = [Server(pool, standing=board.find(pool.name)) for pool in self.pools]
        self.upstream = Upstream("u", members, balancer=balancer, rules=rules, board=board)
        self.log = Log()
        self.limits = limits or SessionLimits()
        plan = Plan("p", source or self.upstream, log=[self.log], error_page=HangUp())
        door = Door("dns", plan, HeadLimits(), Timeouts(), raw=True, sessions=self.limits)
        self.tally = Tally()
        self.porch = Porch(self.reactor, door, BodyRelays(), self.tally)
        self.heard = Heard()
        self.sessions = Sessions(self.porch, self.heard)
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.front.bind((host, 0))
        self.port: int = self.front.getsockname()[1]
        self.sessions.serve([self.dup()])
        self.clients: list[socket.socket] = []

    def dup(self) -> socket.socket:
        """Return another descriptor of the listener's socket, as each generation has one."""
        sock = self.front.dup()
        sock.setblocking(False)
        return sock

    def client(self, host: str = "127.0.0.1") -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(5)
        sock.connect((host, self.port))
        self.clients.append(sock)
        return sock

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.turn(2)
            for far in self.fars:
                if far.sock.fileno() >= 0:
                    far.read()

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(500):
            if condition():
                return
            self.turn()
        raise AssertionError("it did not come about")

    def later(self, by_ms: int) -> None:
        """Let time pass."""
        self.reactor.ahead_ms += by_ms
        self.turn(2)

    def close(self) -> None:
        self.sessions.close()
        self.turn()
        assert self.tally.sessions == 0 and [pool.connections for pool in self.pools] == [0] * len(self.pools)
        for sock in [self.front, *self.clients, *[far.sock for far in self.fars]]:
            sock.close()
        self.reactor.close()


Build = Callable[..., House]


@pytest.fixture
def build() -> Iterator[Build]:
    made: list[House] = []

    def make(*args: object, **named: object) -> House:
        made.append(House(*args, **named))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for house in made:
        house.close()


def asked(house: House, near: socket.socket, data: bytes, far: int = 0) -> None:
    """Send, and wait until the server has it."""
    near.send(data)
    house.until(lambda: data in house.fars[far].data())


def answered(house: House, near: socket.socket, data: bytes, far: int = 0, at: int = -1) -> None:
    """Have the server answer, and the client hear it."""
    house.fars[far].answer(data, at)
    near.setblocking(False)
    heard: list[bytes] = []

    def hear() -> bool:
        with contextlib.suppress(BlockingIOError):
            heard.append(near.recv(70_000))
        return bool(heard)

    house.until(hear)
    assert heard == [data]


# ---------------------------------------------------------------- what belongs together


def test_a_client_keeps_its_session_and_hears_its_server_alone(build: Build) -> None:
    house = build()
    one, two = house.client(), house.client()
    for data in (b"a", b"", b"b"):
        asked(house, one, data)
    asked(house, two, b"c")
    (far,) = house.fars
    sources = [address for _, address in far.got]
    assert len(set(sources[:3])) == 1 and sources[3] != sources[0]
    answered(house, two, b"for two")
    answered(house, one, b"for one", at=0)
    answered(house, one, b"", at=1)
    assert house.tally.sessions == 2 and house.pools[0].load() == 2
    house.later(house.limits.idle_ms + 100)
    assert house.tally.sessions == 0
    name = f"127.0.0.1:{far.port}"
    assert sorted(house.log.lines) == [(1, 1, 1, 7, name), (3, 2, 2, 7, name)]
    assert house.log.faults == ["", ""]
    client = house.log.clients[0]
    assert (client.address, client.local_address, client.local_port) == (b"127.0.0.1", b"127.0.0.1", house.port)
    assert {each.port for each in house.log.clients} == {one.getsockname()[1], two.getsockname()[1]}


def test_two_addresses_of_a_wildcard_are_two_sessions(build: Build) -> None:
    house = build(host="0.0.0.0")
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    house.clients.append(near)
    near.settimeout(5)
    near.bind(("127.0.0.1", 0))
    near.sendto(b"one", ("127.0.0.1", house.port))
    near.sendto(b"two", ("127.0.0.2", house.port))
    house.until(lambda: len(house.fars[0].got) == 2)
    for answer, at, host in ((b"2", 1, "127.0.0.2"), (b"1", 0, "127.0.0.1")):
        house.fars[0].answer(answer, at)
        house.turn(5)
        assert near.recvfrom(10) == (answer, (host, house.port))
    house.later(HOUR_MS)
    assert sorted(each.local_address for each in house.log.clients) == [b"127.0.0.1", b"127.0.0.2"]


def test_silence_of_both_ends_a_session(build: Build) -> None:
    house = build(SessionLimits(idle_ms=10_000))
    near = house.client()
    asked(house, near, b"a")
    house.later(8_000)
    answered(house, near, b"b")
    house.later(8_000)
    assert house.tally.sessions == 1
    asked(house, near, b"c")
    house.later(8_000)
    assert house.tally.sessions == 1
    house.later(3_000)
    assert house.tally.sessions == 0
    asked(house, near, b"again")
    assert len({address for _, address in house.fars[0].got}) == 2


# ---------------------------------------------------------------- how many


def test_as_many_answers_as_are_expected_end_it(build: Build) -> None:
    house = build(SessionLimits(responses=2))
    near = house.client()
    asked(house, near, b"a")
    answered(house, near, b"1")
    assert house.tally.sessions == 1
    answered(house, near, b"2")
    assert house.tally.sessions == 0 and house.log.faults == [""]


def test_what_is_never_answered_is_sent_and_over(build: Build) -> None:
    house = build(SessionLimits(responses=0))
    near = house.client()
    for number in range(3):
        asked(house, near, b"%d" % number)
        assert house.tally.sessions == 0
    assert len(house.log.lines) == 3 and set(house.log.faults) == {""}


def test_after_so_many_datagrams_the_next_begins_another(build: Build) -> None:
    house = build(SessionLimits(requests=2, responses=1))
    near = house.client()
    for data in (b"a", b"b", b"c"):
        asked(house, near, data)
    sources = [address for _, address in house.fars[0].got]
    assert sources[0] == sources[1] != sources[2]
    assert house.tally.sessions == 2
    answered(house, near, b"1", at=0)
    assert house.tally.sessions == 2, "one answer is missing"
    answered(house, near, b"2", at=1)
    assert house.tally.sessions == 1
    answered(house, near, b"3", at=2)
    assert house.tally.sessions == 1, "one datagram may still come"
    house.later(HOUR_MS)
    assert house.tally.sessions == 0 and house.log.faults == ["", ""]


def test_an_answer_that_does_not_come_is_the_servers_failure(build: Build) -> None:
    rules = Rules()
    rules.max_fails = 1
    house = build(SessionLimits(idle_ms=1_000, responses=1), servers=2, rules=rules)
    near = house.client()
    asked(house, near, b"a")
    house.later(1_200)
    assert house.log.faults == ["upstream.timeout_head: 0 of 1 datagrams came, then none for 1000 ms (sessions.idle)"]
    for number in range(3):
        asked(house, near, b"%d" % number, 1)
        answered(house, near, b"x", 1)
    assert house.fars[0].data() == [b"a"]


# ---------------------------------------------------------------- which server


def test_a_server_that_is_not_there_is_passed_over(build: Build) -> None:
    rules = Rules()
    rules.max_fails = 1
    house = build(servers=2, rules=rules)
    house.fars[0].sock.close()
    near = house.client()
    asked(house, near, b"a", 1)
    answered(house, near, b"b", 1)
    assert house.pools[0].connections == 0
    house.later(HOUR_MS)
    assert house.log.lines == [(1, 1, 1, 1, f"127.0.0.1:{house.fars[1].port}")] and house.log.faults == [""]


def test_nobody_there_is_told_once_for_each_session(build: Build) -> None:
    house = build()
    house.fars[0].sock.close()
    near = house.client()
    for _ in range(2):
        near.send(b"a")
        lines = len(house.log.lines)
        house.until(lambda seen=lines: len(house.log.lines) > seen)  # type: ignore[misc]
    assert house.log.faults == [f"upstream.refused: 127.0.0.1:{house.fars[0].port}: Connection refused"] * 2


def test_a_server_that_goes_away_ends_its_sessions(build: Build) -> None:
    house = build(servers=2)
    near = house.client()
    asked(house, near, b"a")
    answered(house, near, b"b")
    house.fars[0].sock.close()
    near.send(b"c")
    house.until(lambda: bool(house.log.faults))
    assert house.log.faults[0].startswith("upstream.refused")
    asked(house, near, b"d", 1)


def test_a_server_that_cannot_be_reached_at_all(build: Build) -> None:
    house = build()
    near = house.client()
    asked(house, near, b"a")
    (session,) = house.sessions._all
    ex = session.exchange
    assert ex is not None and isinstance(ex.up, UdpUp)
    ex.up.on_lost(errno.EHOSTUNREACH, "No route to host")
    assert house.log.faults == [f"upstream.unreachable: 127.0.0.1:{house.fars[0].port}: No route to host"]


def test_a_name_without_addresses(build: Build) -> None:
    house = build(named="dns.test")
    near = house.client()
    near.send(b"a")
    house.until(lambda: bool(house.log.faults))
    assert house.log.faults == ["upstream.unresolved: dns.test"]
    house.book.update("dns.test", ["255.255.255.255", "127.0.0.1"])
    asked(house, near, b"b")


def test_no_address_that_takes_datagrams(build: Build) -> None:
    house = build(named="dns.test")
    house.book.update("dns.test", ["255.255.255.255"])
    near = house.client()
    near.send(b"a")
    house.until(lambda: bool(house.log.faults))
    assert house.log.faults == [f"upstream.unreachable: 255.255.255.255:{house.fars[0].port}: Permission denied"]


def test_a_server_has_no_more_sessions_than_it_may(build: Build) -> None:
    house = build(most=1)
    asked(house, house.client(), b"a")
    house.client().send(b"b")
    house.until(lambda: bool(house.log.faults))
    assert house.log.faults == [f"{UPSTREAM_BUSY.name}: 127.0.0.1:{house.fars[0].port}: it has 1 sessions"]


def test_clients_stay_with_their_server_by_address(build: Build) -> None:
    house = build(servers=3, balancer=Hash(SourceKey(32, 64), 0))
    for number in range(10):
        house.client().send(b"%d" % number)
    house.until(lambda: sum(len(far.got) for far in house.fars) == 10)
    assert sorted(len(far.got) for far in house.fars) == [0, 0, 10]


def test_the_time_to_the_first_answer_is_learnt(build: Build) -> None:
    rules = Rules()
    rules.learns = True
    house = build(servers=2, rules=rules, balancer=PeakEwma())
    near = house.client()
    near.send(b"a")
    house.until(lambda: any(far.got for far in house.fars))
    at = 0 if house.fars[0].got else 1
    house.later(500)
    answered(house, near, b"b", at)
    (session,) = house.sessions._all
    assert session.exchange is not None and session.exchange.head_ms >= 500
    for _ in range(3):
        near = house.client()
        asked(house, near, b"to the other", 1 - at)


def test_an_answer_never_leads_to_another_server(build: Build) -> None:
    rules = Rules()
    rules.retry_statuses = frozenset((200,))  # nobody would
    house = build(servers=2, rules=rules)
    near = house.client()
    asked(house, near, b"a")
    assert house.upstream.servers[0].watches
    answered(house, near, b"b")
    assert house.fars[1].got == []


def test_no_route_is_told_and_leaves_nothing(build: Build) -> None:
    house = build(source=Closed(PROXY_NO_ROUTE))
    near = house.client()
    near.send(b"a")
    house.until(lambda: bool(house.log.faults))
    assert house.log.faults == ["proxy.no_route: "] and house.tally.sessions == 0


def test_a_text_may_answer(build: Build) -> None:
    house = build(source=Respond(200, [], [], Const(b"no")))
    near = house.client()
    near.send(b"a")
    house.turn(3)
    assert near.recv(10) == b"no"
    assert house.tally.sessions == 0 and house.log.faults == [""]


def test_servers_are_told_of_clients_in_the_first_datagram(build: Build) -> None:
    house = build(announce=V2)
    near = house.client()
    near.send(b"hello")
    near.send(b"again")
    house.until(lambda: len(house.fars[0].got) == 2)
    first, second = house.fars[0].data()
    header = parse_proxy_header(first)
    assert header is not None and first[13] == 0x12 and first[header.size :] == b"hello" and second == b"again"
    assert (header.source, header.source_port) == (b"127.0.0.1", near.getsockname()[1])
    assert (header.destination, header.destination_port) == (b"127.0.0.1", house.port)


# ---------------------------------------------------------------- limits


def test_too_many_sessions_leave_new_clients_out(build: Build) -> None:
    house = build(SessionLimits(most=2))
    nears = [house.client() for _ in range(4)]
    for near in nears:
        near.send(b"x")
    house.until(lambda: house.tally.sessions_refused == 2)
    assert house.tally.sessions == 2 and len(house.fars[0].got) == 2
    assert house.heard.lines == [
        (
            "a datagram was dropped: there are 2 sessions already (sessions.most)",
            {"client": "127.0.0.1", "listener": "dns"},
        )
    ]
    asked(house, nears[0], b"known")
    house.later(HOUR_MS)
    asked(house, nears[3], b"there is room")


def test_what_cannot_be_sent_is_counted(build: Build) -> None:
    house = build()
    near = house.client()
    asked(house, near, b"a")
    (session,) = house.sessions._all
    ex = session.exchange
    assert ex is not None
    ex.on_request_body(bytes(65_530), False)
    ex.on_response_body(bytes(65_530), False)
    house.turn()
    assert house.tally.datagrams_dropped == 2
    house.later(HOUR_MS)
    up = ex.up
    assert up is None


def test_a_queue_that_is_full_drops_and_counts(build: Build) -> None:
    house = build()
    asked(house, house.client(), b"a")
    (session,) = house.sessions._all
    ex = session.exchange
    assert ex is not None
    for _ in range(10):
        ex.on_request_body(bytes(60_000), False)
        ex.on_response_body(bytes(60_000), False)
    assert house.tally.datagrams_dropped == 12


# ---------------------------------------------------------------- reloads and the end


def test_a_session_outlives_the_sockets_of_a_generation(build: Build) -> None:
    house = build()
    near = house.client()
    asked(house, near, b"a")
    house.sessions.serve([house.dup()])
    answered(house, near, b"b")
    asked(house, near, b"c")
    assert len({address for _, address in house.fars[0].got}) == 1


def test_stopping_ends_what_is_quiet_and_delivers_what_comes(build: Build) -> None:
    house = build()
    near = house.client()
    asked(house, near, b"a")
    house.sessions.stop()
    house.later(1_000)
    answered(house, near, b"late")
    house.later(1_500)
    assert house.tally.sessions == 1
    near.setblocking(True)
    near.send(b"for another worker")
    house.turn(3)
    assert house.fars[0].data() == [b"a"]
    house.later(1_000)
    assert house.tally.sessions == 0


def test_a_listener_that_is_gone_ends_its_sessions(build: Build) -> None:
    house = build()
    asked(house, house.client(), b"a")
    (session,) = house.sessions._all
    house.sessions.close()
    assert house.log.faults == ["proxy.stopping: the listener is gone"]
    session.cut(Fault(PROXY_NO_ROUTE))
    session.on_deadline()
    assert len(house.log.faults) == 1


def streams_alive() -> list[object]:
    return [each for each in gc.get_objects() if isinstance(each, UdpDown | UdpUp | Exchange)]


def test_sessions_leave_no_descriptor_and_no_garbage(build: Build) -> None:
    house = build(SessionLimits(responses=1))
    near = house.client()
    asked(house, near, b"warm")
    answered(house, near, b"1")
    house.turn()
    settle_garbage()
    before = len(os.listdir("/proc/self/fd"))
    others = len(streams_alive())  # of a test that failed, its traceback holds them
    gc.disable()
    try:
        for number in range(300):
            asked(house, near, b"%d" % number)
            answered(house, near, b"y")
        house.turn()
        assert len(os.listdir("/proc/self/fd")) == before
        assert len(streams_alive()) <= others + 1
    finally:
        gc.enable()


# ---------------------------------------------------------------- the streams alone


def test_both_streams_keep_what_they_promise_to_an_exchange(build: Build) -> None:
    house = build()
    near = house.client()
    asked(house, near, b"a")
    (session,) = house.sessions._all
    ex = session.exchange
    assert ex is not None and isinstance(ex.up, UdpUp)
    for stream in (session, ex.up):
        assert stream.send_head(ResponseHead(200, b"", EMPTY), False)
        assert stream.send_trailers(EMPTY)
        assert stream.open_tunnel() and not stream.takes_rest()
        assert stream.relay_port() is None and stream.relay_left() == 0
        stream.pause()
        stream.resume()
    up = ex.up
    house.later(HOUR_MS)
    up.on_datagram(b"nobody wants it")
    up.on_dropped()
    up.on_lost(errno.ECONNREFUSED, "")
    up.release()
    session.on_datagram(b"nobody is there")
    session.send_body(b"x", False)
    assert house.tally.sessions == 0 and house.pools[0].connections == 0


def test_a_client_of_another_kind_gets_datagrams_too(build: Build) -> None:
    house = build()
    spy = Spy()
    client = Client(b"192.0.2.1", 1, b"192.0.2.2", 53, b"http")
    ex = Exchange(spy, client, Plan("p", house.upstream), Relays(), house.reactor.now_ms)
    ex.on_request(RequestHead(b"UDP", b"-", b"", EMPTY, b"UDP"), False)
    ex.on_request_body(b"a", False)
    house.until(lambda: house.fars[0].data() == [b"a"])
    house.fars[0].answer(b"b")
    house.turn(3)
    assert ex.response_bytes == 1
    up = ex.up
    assert isinstance(up, UdpUp)
    up.on_dropped()
    ex.on_response_body(b"", True)
    ex.on_request_body(b"", True)
