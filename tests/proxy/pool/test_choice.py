"""Servers that choose their version, what is learned of them, who waits, who has a connection alone (rule 5 of `proxy/pool.py`).

Facts: the connections are plain here, and the test says what was agreed on.
"""

import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.conformance.stream import Spy
from tests.proxy.town import ANSWER, Town
from vestibule.contract import DOWN
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, UPSTREAM_TLS, Fault
from vestibule.http.fields import fields_of
from vestibule.http.h1 import HeadLimits
from vestibule.http.h2_frames import END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame_header
from vestibule.http.head import RequestHead
from vestibule.proxy.door import response_table
from vestibule.proxy.pool import Pool, PoolLimits, Target
from vestibule.proxy.standing import Board, Standing
from vestibule.proxy.upstream import Server, Upstream

GREETING = frame_header(0, SETTINGS, 0, 0)


def answer(stream: int) -> bytes:
    """Return a whole 200 on a stream of HTTP/2."""
    return frame_header(1, HEADERS, END_HEADERS | END_STREAM, stream) + b"\x88"


class Chooser(Town):
    """One server that may choose, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.upstream = Upstream("u", [Server(self.chooser())])
        self.spoken = self.pools[0]
        self.greeted: list[socket.socket] = []

    def chooser(self, limits: PoolLimits | None = None) -> Pool:
        plain = self.pool(limits)
        target = Target("127.0.0.1", plain.target.port, "", None, "", narrow=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self.pools[-1] = Pool(self.reactor, target, self.book, limits or PoolLimits(), HeadLimits(), response_table())
        return self.pools[-1]

    def choose_h2(self) -> None:
        """Have those that are being made agree on HTTP/2, if it was offered; then greet."""
        for opening in self.spoken._opening:
            opening.chose_h2 = not opening.narrow
        self.turn()
        for sock in self.socks:
            if sock not in self.greeted and sock.recv(3, socket.MSG_PEEK) == b"PRI":
                self.greeted.append(sock)
                sock.sendall(GREETING)
        self.turn()

    def ask_upgrade(self) -> tuple[Spy, Exchange]:
        spy = Spy()
        ex = self.exchange(self.upstream, spy)
        fields = fields_of([(b"Host", b"a"), (b"Connection", b"upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", b"a")])
        ex.on_request(RequestHead(b"GET", b"/", b"a", fields, b"HTTP/1.1"), True)
        return spy, ex

    def heard(self, at: int) -> bytes:
        self.socks[at].setblocking(False)
        try:
            return self.socks[at].recv(65_536)
        except BlockingIOError:
            return b""


@pytest.fixture
def town() -> Iterator[Chooser]:
    made = Chooser()
    yield made
    made.close()


def statuses(asked: list[tuple[Spy, Exchange]]) -> list[int]:
    return [0 if ex.response is None else ex.response.status for _, ex in asked]


def test_requests_wait_for_the_first_connection_and_share_it(town: Chooser) -> None:
    asked = [town.ask(town.upstream) for _ in range(5)]
    assert (town.spoken.connections, town.spoken.load()) == (1, 5)
    town.choose_h2()
    assert (town.spoken.connections, town.spoken.load()) == (1, 5)
    town.socks[0].sendall(b"".join(answer(1 + 2 * at) for at in range(5)))
    town.turn()
    assert statuses(asked) == [200] * 5
    assert town.spoken.load() == 0


def test_requests_have_one_each_where_http_1_is_chosen(town: Chooser) -> None:
    asked = [town.ask(town.upstream) for _ in range(3)]
    town.turn(6)
    assert (town.spoken.connections, town.spoken.load()) == (3, 3)
    town.answer_all()
    assert statuses(asked) == [200] * 3
    assert town.spoken.idle() == 3
    again = town.ask(town.upstream)
    assert (town.spoken.connections, town.spoken.idle()) == (3, 2)
    town.answer_all()
    assert statuses([again]) == [200]


def test_who_waits_is_bounded() -> None:
    town = Chooser()
    pool = town.chooser(PoolLimits(waiting_most=2))
    upstream = Upstream("v", [Server(pool)])
    asked = [town.ask(upstream) for _ in range(5)]
    assert statuses(asked) == [0, 0, 0, 503, 503]
    town.turn(6)
    town.answer_all()
    assert statuses(asked[:3]) == [200] * 3
    town.close()


def test_requests_of_both_versions_count_for_the_limit() -> None:
    town = Chooser()
    pool = town.chooser(PoolLimits(connections_most=1))
    upstream = Upstream("v", [Server(pool)])
    asked = [town.ask(upstream) for _ in range(2)]
    town.turn(6)
    assert (pool.connections, pool.load(), pool.is_full()) == (1, 2, True)
    for _ in range(2):
        town.socks[-1].sendall(ANSWER)
        town.turn()
    assert statuses(asked) == [200] * 2
    assert (pool.connections, pool.load(), pool.is_full()) == (1, 0, False)
    town.close()


def test_an_upgrade_has_a_connection_of_http_1(town: Chooser) -> None:
    asked = [town.ask(town.upstream)]
    town.choose_h2()
    upgrade = town.ask_upgrade()
    town.choose_h2()
    assert town.spoken.connections == 2
    assert town.heard(1).startswith(b"GET / HTTP/1.1\r\n")
    asked.append(town.ask(town.upstream))
    town.turn()
    assert town.spoken.connections == 2, "what is no upgrade shares"
    town.socks[0].sendall(answer(1) + answer(3))
    town.socks[1].sendall(ANSWER)
    town.turn()
    assert statuses([*asked, upgrade]) == [200] * 3
    assert town.spoken.idle() == 1
    town.ask_upgrade()
    assert (town.spoken.connections, town.spoken.idle()) == (2, 0), "the next one has the same connection"


def test_an_upgrade_that_was_given_up_leaves_its_connection_to_the_next(town: Chooser) -> None:
    first = town.ask_upgrade()
    first[1].on_fault(DOWN, Fault(CLIENT_GONE))
    second = town.ask_upgrade()
    assert town.spoken.connections == 1
    other = town.ask(town.upstream)
    assert town.spoken.connections == 2, "one that has no choice teaches nothing"
    town.choose_h2()
    town.socks[0].sendall(ANSWER)
    town.socks[1].sendall(answer(1))
    town.turn()
    assert statuses([second, other]) == [200, 200]


def test_the_server_may_change_its_mind(town: Chooser) -> None:
    first = town.ask(town.upstream)
    town.choose_h2()
    town.socks[0].sendall(answer(1))
    town.turn()
    town.socks.pop().close()
    town.turn()
    assert town.spoken.connections == 0
    asked = [town.ask(town.upstream) for _ in range(2)]
    town.turn(8)
    assert town.spoken.connections == 2
    town.answer_all()
    assert statuses([first, *asked]) == [200] * 3
    for sock in town.socks:
        sock.close()
    town.turn()
    del town.socks[:]
    asked = [town.ask(town.upstream) for _ in range(3)]
    town.choose_h2()
    assert town.spoken.connections == 3, "each was made when HTTP/1.1 was spoken"
    for sock in town.socks:
        sock.sendall(answer(1))
    town.turn()
    assert statuses(asked) == [200] * 3


def test_shared_connections_are_left_when_http_1_is_chosen(town: Chooser) -> None:
    pool = town.spoken
    first = town.ask(town.upstream)
    town.choose_h2()
    town.socks[0].sendall(frame_header(6, SETTINGS, 0, 0) + b"\0\3\0\0\0\1")  # one request at a time
    town.turn()
    second = town.ask(town.upstream)
    town.turn(6)
    assert pool.connections == 2
    town.socks[1].sendall(ANSWER)
    town.socks[0].sendall(answer(1))
    town.turn()
    assert statuses([first, second]) == [200, 200]
    assert (pool.connections, pool.idle()) == (1, 1), "the shared one is gone"


def test_after_a_failure_it_is_learned_anew(town: Chooser) -> None:
    first = town.ask(town.upstream)
    town.turn(6)
    town.socks[0].sendall(ANSWER)
    town.turn()
    town.socks.pop().close()
    town.turn()
    town.ruin(0)
    asked = [town.ask(town.upstream)]
    town.wait(lambda: statuses(asked) == [502])
    assert statuses([first]) == [200]
    asked = [town.ask(town.upstream) for _ in range(3)]
    assert town.spoken.connections == 1, "the others wait"
    town.wait(lambda: statuses(asked) == [502] * 3)
    town.rebuild(0)
    asked = [town.ask(town.upstream) for _ in range(3)]
    assert town.spoken.connections == 1
    town.choose_h2()
    town.socks[-1].sendall(b"".join(answer(1 + 2 * at) for at in range(3)))
    town.turn()
    assert statuses(asked) == [200] * 3


def told_of(pool: Pool) -> tuple[Upstream, Standing]:
    """Return an upstream of one server, and what the control process tells of it."""
    board = Board()
    standing = board.find("v")
    return Upstream("v", [Server(pool, standing=standing)], board=board), standing


def test_an_agent_may_limit_a_server_and_lift_that_again() -> None:
    """What is above a new limit goes when it is free; who waits is served when it is lifted."""
    town = Chooser()
    pool = town.pool()
    upstream, standing = told_of(pool)
    asked = [town.ask(upstream) for _ in range(3)]
    town.turn(6)
    town.answer_all()
    assert (pool.connections, pool.idle()) == (3, 3)
    standing.told(True, 0, -1, 0, 2)
    asked += [town.ask(upstream) for _ in range(2)]
    assert (pool.connections, pool.idle(), pool.is_full()) == (2, 0, True)
    standing.told(True, 0, -1, 0, 1)
    asked += [town.ask(upstream) for _ in range(2)]
    assert (pool.connections, pool.load()) == (2, 4), "two wait"
    standing.told(True, 0, -1, 0, 0)
    asked.append(town.ask(upstream))
    assert (pool.connections, pool.load()) == (5, 5)
    town.socks.pop(0).close()  # its connection was given up
    standing.told(True, 0, -1, 0, -1)
    town.turn(6)
    town.answer_all()
    assert statuses(asked) == [200] * 8
    assert pool.most == -1
    town.close()


def test_connections_above_a_lower_limit_are_given_up_when_they_are_free() -> None:
    town = Chooser()
    pool = town.pool()
    upstream, standing = told_of(pool)
    asked = [town.ask(upstream) for _ in range(3)]
    town.turn(6)
    standing.told(True, 0, -1, 0, 1)
    asked.append(town.ask(upstream))
    assert (pool.connections, pool.load()) == (3, 4)
    town.answer_all()
    assert (pool.connections, pool.load()) == (1, 1)
    town.turn()
    town.socks[-1].sendall(ANSWER)
    town.turn()
    assert statuses(asked) == [200] * 4
    assert (pool.connections, pool.idle()) == (1, 1)
    town.close()


def test_who_waits_for_a_connection_is_judged_by_why_it_failed(town: Chooser) -> None:
    """The upstream has the first one told another status; why TLS failed no time mends, so the others are not held."""
    town.upstream.rules.unreachable_status = 503
    asked = [town.ask(town.upstream, hold_ms=60_000) for _ in range(3)]
    opening = town.spoken._opening[0]
    town.spoken.failed(opening, Fault(UPSTREAM_TLS, "no"))
    # What really dials goes on, for nobody.
    opening.ex = None
    town.spoken._opening.append(opening)
    town.spoken.connections += 1
    assert [ex.over for _, ex in asked] == [True] * 3
    faults = [ex.fault for _, ex in asked]
    assert [fault is not None and (fault.kind.name, fault.status, fault.detail) for fault in faults] == [("upstream.tls", 503, "no")] * 3
    assert len({id(fault) for fault in faults}) == 3
