"""Choosing servers and connections: shares, backups, second tries, and pools that are closed.

Not here: retries seen from both ends (`tests/plays/test_retry.py`).
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.proxy.town import ANSWER, Town
from vestibule.contract import DOWN
from vestibule.counts import ServerCounts
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.http.fields import fields_of
from vestibule.http.head import RequestHead
from vestibule.proxy.family import Family, Kin, PoolMaker
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.rules import ON_INVALID, ON_LOST, Rules
from vestibule.proxy.standing import Board
from vestibule.proxy.sticky import Marks, Where
from vestibule.proxy.upstream import Server, Upstream

BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def town() -> Iterator[Town]:
    made = Town()
    yield made
    made.close()


def test_servers_get_their_share_evenly_spread(town: Town) -> None:
    upstream = Upstream("u", [Server(town.pool(), weight=3), Server(town.pool(), weight=1)])
    order = []
    for _ in range(8):
        before = town.pools[0].connections
        town.ask(upstream)
        order.append(int(town.pools[0].connections == before))
    assert order.count(0) == 6 and order[:4].count(1) == 1 and order[4:].count(1) == 1
    town.turn()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_refused_connection_goes_to_the_next_server(town: Town, method: bytes) -> None:
    """Nothing was sent, so even a POST may."""
    upstream = Upstream("u", [Server(town.pool()), Server(town.pool())])
    town.ruin(0)
    spy, ex = town.ask(upstream, method)
    town.turn()
    town.answer_all()
    assert ex.over and ex.fault is None and ex.tries == 2 and ex.upstream_name == town.pools[1].name
    assert spy.calls == ["head", "end", "release"]


def test_the_second_try_goes_to_another_server_whoever_is_next_in_turn(town: Town) -> None:
    """Round robin alone would meet the heavy server again."""
    upstream = Upstream("u", [Server(town.pool(), weight=10), Server(town.pool())])
    town.ruin(0)
    _, ex = town.ask(upstream)
    town.turn()
    town.answer_all()
    assert ex.over and ex.fault is None and ex.upstream_name == town.pools[1].name


def test_a_backup_serves_when_the_others_do_not(town: Town) -> None:
    upstream = Upstream("u", [Server(town.pool()), Server(town.pool(), backup=True)])
    for _ in range(3):
        town.ask(upstream)
    assert town.pools[1].connections == 0
    town.turn()
    town.answer_all()
    town.ruin(0)
    for pool in town.pools:
        pool.close()
    town.turn()
    _, ex = town.ask(upstream)
    town.turn()
    assert ex.tries == 2 and ex.upstream_name == town.pools[1].name
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    town.turn()


def test_when_nobody_listens_each_is_asked_once(town: Town) -> None:
    upstream = Upstream("u", [Server(town.pool()) for _ in range(4)], tries_most=3)
    for at in range(4):
        town.ruin(at)
    spy, ex = town.ask(upstream)
    town.turn(6)
    assert ex.over and ex.tries == 3 and ex.fault is not None and ex.fault.kind.name == "upstream.refused"
    assert spy.calls[0] == "head" and spy.calls[-1] == "release"


def test_a_connection_nobody_waits_for_any_more_is_kept(town: Town) -> None:
    pool = town.pool()
    upstream = Upstream("u", [Server(pool)])
    _, ex = town.ask(upstream)
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    town.turn()
    assert (pool.connections, pool.idle()) == (1, 1)
    _, ex = town.ask(upstream)
    assert ex.up is not None and pool.idle() == 0
    town.answer_all()
    assert ex.over and pool.idle() == 1


def test_no_more_idle_connections_than_allowed(town: Town) -> None:
    pool = town.pool(PoolLimits(idle_most=2))
    upstream = Upstream("u", [Server(pool)])
    for _ in range(5):
        town.ask(upstream)
    town.turn(6)
    assert pool.connections == 5
    town.answer_all()
    assert (pool.connections, pool.idle()) == (2, 2)


def test_a_closed_pool_finishes_what_it_serves(town: Town) -> None:
    pool = town.pool()
    upstream = Upstream("u", [Server(pool)])
    _, first = town.ask(upstream)
    _, second = town.ask(upstream)
    town.turn()
    town.socks[0].sendall(ANSWER)
    town.turn()
    assert (pool.connections, pool.idle()) == (2, 1)
    pool.close()
    town.turn()
    assert (pool.connections, pool.idle()) == (1, 0)
    town.socks[1].sendall(ANSWER)
    town.turn()
    assert first.over and second.over and pool.connections == 0


def test_the_connection_used_last_serves_first(town: Town) -> None:
    pool = town.pool()
    upstream = Upstream("u", [Server(pool)])
    for _ in range(2):
        town.ask(upstream)
    town.turn()
    town.socks[1].sendall(ANSWER)
    town.turn()
    town.socks[0].sendall(ANSWER)
    town.turn()
    for sock in town.socks:
        sock.recv(10_000)
    town.ask(upstream)
    town.turn()
    town.socks[1].setblocking(False)
    assert town.socks[0].recv(10_000).startswith(b"GET")
    with pytest.raises(BlockingIOError):
        town.socks[1].recv(1)


def test_addresses_come_from_the_book(town: Town) -> None:
    pool = town.pool(host="immich.internal")
    upstream = Upstream("u", [Server(pool)])
    _, ex = town.ask(upstream)
    town.turn()
    assert ex.fault is not None and ex.fault.kind.name == "upstream.unresolved" and ex.fault.detail == "immich.internal"
    town.book.update("immich.internal", ["127.0.0.1"])
    _, ex = town.ask(upstream)
    town.turn()
    town.answer_all()
    assert ex.over and ex.fault is None


@pytest.mark.parametrize(
    ("host", "path", "text"),
    [("a", "", "a:80"), ("::1", "", "[::1]:80"), ("192.0.2.1", "", "192.0.2.1:80"), ("", "/run/x", "unix:/run/x")],
)
def test_servers_are_named_as_logs_want_them(host: str, path: str, text: str) -> None:
    assert Target(host, 80, path, None, "").text() == text


def test_only_addresses_of_the_family_of_ours_are_connected_to() -> None:
    book = AddressBook()
    book.update("a.test", ["192.0.2.1", "2001:db8::1"])
    target = Target("a.test", 80, "", None, "")
    assert [(each.host, each.local) for each in target.endpoints(book)] == [("192.0.2.1", ""), ("2001:db8::1", "")]
    target.local = "::1"
    assert [(each.host, each.local) for each in target.endpoints(book)] == [("2001:db8::1", "::1")]


def test_a_connection_begun_for_a_cancelled_exchange_serves_the_next(town: Town) -> None:
    """Otherwise a storm of cancelled requests would dial as often as it cancels."""
    upstream = Upstream("o", [Server(town.pool())])
    for _ in range(20):
        _, ex = town.ask(upstream)
        ex.on_fault(DOWN, Fault(CLIENT_GONE))
    _, ex = town.ask(upstream)
    town.turn()
    assert town.pools[0].connections == 1
    assert len(town.socks) == 1
    assert not ex.over


# ---------------------------------------------------------------- who may serve


def fleet(town: Town, *weights: int, **settings: Any) -> Upstream:
    board = Board()
    servers = []
    for weight in weights:
        pool = town.pool()
        servers.append(Server(pool, weight, standing=board.find(pool.name)))
    return Upstream("u", servers, board=board, **settings)


def chosen(town: Town, upstream: Upstream, times: int = 12) -> list[int]:
    """Return how often each server is chosen, without asking it."""
    counts = [0] * len(upstream.servers)
    for _ in range(times):
        server = upstream.choose(town.exchange(upstream))
        if server is not None:
            counts[upstream.servers.index(server)] += 1
    return counts


def test_commands_and_checks_decide_who_serves(town: Town) -> None:
    upstream = fleet(town, 1, 1, 1)
    keys = [server.standing.key for server in upstream.servers]
    tell = upstream.board.told
    assert chosen(town, upstream) == [4, 4, 4]
    tell(keys[0], False, "", -1, 0)
    assert chosen(town, upstream) == [0, 6, 6]
    tell(keys[0], True, "", 4, 0)
    assert chosen(town, upstream) == [8, 2, 2]
    tell(keys[0], True, "drain", -1, 0)
    tell(keys[1], True, "maintenance", -1, 0)
    assert chosen(town, upstream) == [0, 0, 12]
    tell(keys[2], True, "", 0, 0)
    assert chosen(town, upstream) == [0, 0, 0]


def test_a_disabled_server_waits_for_its_command(town: Town) -> None:
    board = Board()
    pools = [town.pool(), town.pool()]
    servers = [Server(pool, standing=board.find(pool.name), disabled=pool is pools[1]) for pool in pools]
    upstream = Upstream("u", servers, board=board)
    assert chosen(town, upstream) == [12, 0]
    board.told(pools[1].name, True, "ready", -1, 0)
    assert chosen(town, upstream) == [6, 6]


def test_a_backup_helps_out_while_the_others_are_full_if_it_may(town: Town) -> None:
    for overflows in (True, False):
        pools = [town.pool(PoolLimits(connections_most=2)), town.pool()]
        upstream = Upstream("u", [Server(pools[0]), Server(pools[1], backup=True)], overflows=overflows)
        for _ in range(4):
            town.ask(upstream)
        town.turn()
        assert [pool.load() for pool in pools] == ([2, 2] if overflows else [4, 0])
        town.answer_all()
        town.turn()
        town.ask(upstream)
        assert pools[1].load() == 0, "and no longer than that"


def test_where_servers_and_backups_are_full_requests_wait_for_a_server(town: Town) -> None:
    pools = [town.pool(PoolLimits(connections_most=1)) for _ in range(2)]
    upstream = Upstream("u", [Server(pools[0]), Server(pools[1], backup=True)], overflows=True)
    for _ in range(3):
        town.ask(upstream)
    town.turn()
    assert [pool.load() for pool in pools] == [2, 1]


def test_whether_answers_are_watched_is_looked_at_again_when_failures_mean_something_else(town: Town) -> None:
    upstream = Upstream("u", [Server(town.pool()), Server(town.pool())])
    server = upstream.servers[0]
    assert not server.watches
    server.standing.max_fails = 3
    upstream.look_again()
    assert server.watches


def test_priorities_go_before_backups(town: Town) -> None:
    board = Board()
    ranks = [(5, False), (0, True), (5, False), (1, False)]
    servers = []
    for priority, backup in ranks:
        pool = town.pool()
        servers.append(Server(pool, 1, backup, board.find(pool.name), priority))
    upstream = Upstream("u", servers, board=board)
    order, counts = [], []
    for gone in ([3], [0, 2], [1]):
        order.append(chosen(town, upstream))
        counts.append(upstream.count_servers())
        for at in gone:
            board.told(servers[at].pool.name, False, "", -1, 0)
    assert order == [[0, 0, 0, 12], [6, 0, 6, 0], [0, 12, 0, 0]]
    assert chosen(town, upstream) == [0, 0, 0, 0]
    assert (*counts, upstream.count_servers()) == (3, 2, 1, 0)


def test_requests_in_hand_are_counted(town: Town) -> None:
    upstream = fleet(town, 1, 1)
    assert (upstream.count_requests(False), upstream.count_requests(True)) == (0, 0)
    upstream.start(town.exchange(upstream))
    assert (upstream.count_requests(False), upstream.count_requests(True)) == (1, 0)


def test_when_failures_keep_all_out_all_serve(town: Town) -> None:
    upstream = fleet(town, 1, 1)
    far = town.reactor.now_ms + 60_000
    assert upstream.count_servers() == 2
    upstream.standings[0].put_out(far)
    assert upstream.count_servers() == 1
    assert chosen(town, upstream) == [0, 12]
    upstream.standings[1].put_out(far)
    assert chosen(town, upstream) == [6, 6]


def test_who_was_out_is_back_in_time_and_warms_up(town: Town) -> None:
    upstream = fleet(town, 2, 2, slow_start_ms=10_000)
    back = town.reactor.now_ms + 1_000
    upstream.standings[0].put_out(back)
    shares = []
    for after in (-1, 0, 2_500, 5_000, 10_000):
        town.reactor.now_ms = back + after
        upstream.choose(town.exchange(upstream))
        shares.append(upstream.servers[0].share if upstream.standings[0].is_out(town.reactor.now_ms) is False else 0)
    assert shares == [0, 1, 50, 100, 200] and upstream.servers[1].share == 200


def test_a_full_server_is_passed_by(town: Town) -> None:
    upstream = Upstream("u", [Server(town.pool(PoolLimits(connections_most=1))), Server(town.pool())])
    upstream.servers[0].pool.connections = 1
    assert chosen(town, upstream) == [0, 12]
    upstream.servers[0].pool.connections = 0


# ---------------------------------------------------------------- held while none can be reached


def test_held_until_a_server_is_back(town: Town) -> None:
    upstream = fleet(town, 1)
    town.ruin(0)
    asked = [town.ask(upstream, method, hold_ms=5_000) for method in (b"GET", b"GET", b"POST")]
    town.turn()
    assert all(not ex.over and ex.waiting for _, ex in asked)
    town.rebuild(0)
    town.wait(lambda: len(town.socks) == 3)
    town.answer_all()
    assert [(ex.over, ex.fault) for _, ex in asked] == [(True, None)] * 3
    assert all(spy.calls == ["head", "end", "release"] for spy, _ in asked)


def test_holding_ends_with_the_fault_it_began_with(town: Town) -> None:
    upstream = fleet(town, 1)
    town.ruin(0)
    spy, ex = town.ask(upstream, hold_ms=400)
    town.wait(lambda: ex.over)
    assert ex.fault is not None and ex.fault.kind.name == "upstream.refused" and spy.calls[0] == "head"


def test_what_checks_say_is_down_is_held_for_too_and_answered_503(town: Town) -> None:
    upstream = fleet(town, 1)
    upstream.board.told(upstream.servers[0].standing.key, False, "", -1, 0)
    _, ex = town.ask(upstream, hold_ms=300)
    _, saved = town.ask(upstream, hold_ms=60_000)
    town.wait(lambda: ex.over)
    assert ex.fault is not None and ex.fault.kind.name == "upstream.down"
    upstream.board.told(upstream.servers[0].standing.key, True, "", -1, 0)
    town.wait(lambda: len(town.socks) == 1)
    town.answer_all()
    assert saved.over and saved.fault is None


def test_a_client_that_leaves_is_held_no_more(town: Town) -> None:
    upstream = fleet(town, 1)
    town.ruin(0)
    _, ex = town.ask(upstream, hold_ms=60_000)
    town.turn()
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    town.rebuild(0)
    for _ in range(40):
        town.reactor.turn(10)
    town.turn()
    assert town.socks == [] and ex.over


# ---------------------------------------------------------------- answers that are not taken


def again(**settings: Any) -> Rules:
    rules = Rules()
    rules.retry_statuses = frozenset((503,))
    for name, value in settings.items():
        setattr(rules, name, value)
    return rules


@pytest.mark.parametrize(("method", "passed"), [(b"GET", False), (b"PUT", False), (b"POST", True)])
def test_another_server_is_asked_after_a_status_if_the_request_may_be_repeated(town: Town, method: bytes, passed: bool) -> None:
    upstream = fleet(town, 1, 1, rules=again())
    spy, ex = town.ask(upstream, method)
    town.turn()
    town.socks[0].sendall(BUSY)
    town.turn()
    if passed:
        assert ex.over and ex.response is not None and ex.response.status == 503 and len(town.socks) == 1
        return
    assert not ex.over and len(town.socks) == 2 and spy.calls == []
    town.socks[1].sendall(ANSWER)
    town.turn()
    assert ex.over and ex.response is not None and ex.response.status == 200 and ex.tries == 2


def test_without_a_budget_the_answer_is_passed_on(town: Town) -> None:
    upstream = fleet(town, 1, 1, rules=again(saved=0))
    _, ex = town.ask(upstream)
    town.turn()
    town.socks[0].sendall(BUSY)
    town.turn()
    assert ex.over and ex.response is not None and ex.response.status == 503


def test_a_fresh_connection_that_dies_is_tried_again_where_asked(town: Town) -> None:
    upstream = fleet(town, 1, 1, rules=again(on=ON_LOST))
    _, get = town.ask(upstream)
    _, post = town.ask(upstream, b"POST")
    town.turn()
    for sock in town.socks:
        sock.close()
    town.socks.clear()
    town.turn()
    town.answer_all()
    assert get.over and get.fault is None and get.tries == 2
    assert post.over and post.fault is not None and post.tries == 1


def test_each_request_adds_its_share_to_the_budget(town: Town) -> None:
    upstream = fleet(town, 1, rules=again(saved=0, budget=30))
    for _ in range(50):
        town.ask(upstream)
    assert upstream.rules.saved == 1_020, "what is saved does not pile up"
    town.turn(60)
    town.answer_all()


def test_servers_are_asked_by_their_own_names(town: Town) -> None:
    """The first refuses, and the second is asked by its name, not by that of the first."""
    upstream = fleet(town, 1, 1, addresses=True)
    for at, server in enumerate(upstream.servers):
        server.host = b"server-%d.example" % at
    town.ruin(0)
    hosts = []
    for _ in range(2):
        _, ex = town.ask(upstream)
        town.turn(6)
        assert isinstance(ex.chosen, Server)
        hosts.append((ex.chosen.host, ex.request.fields.get_all(b"host")))
        town.answer_all()
    assert hosts == [(b"server-1.example", [b"server-1.example"])] * 2


def test_a_server_alone_is_asked_by_its_own_name(town: Town) -> None:
    upstream = fleet(town, 1, addresses=True)
    upstream.servers[0].host = b"alone.example"
    _, ex = town.ask(upstream)
    assert ex.request.fields.get_all(b"host") == [b"alone.example"]
    town.turn()
    town.answer_all()


@pytest.mark.parametrize(("within_ms", "status"), [(0, 200), (60_000, 200), (50, 503)])
def test_after_its_time_nothing_is_tried_again(town: Town, within_ms: int, status: int) -> None:
    upstream = fleet(town, 1, 1, rules=again(within_ms=within_ms))
    _, ex = town.ask(upstream)
    town.turn()
    town.wait(lambda: town.reactor.now_ms - ex.began_ms > 100)
    town.socks[0].sendall(BUSY)
    town.turn()
    for sock in town.socks[1:]:
        sock.sendall(ANSWER)
    town.turn()
    assert ex.over and ex.response is not None and ex.response.status == status


# ---------------------------------------------------------------- tries again, and what they cost


def status_of(ex: Exchange) -> int:
    assert ex.over and ex.response is not None
    return ex.response.status


def lose(town: Town) -> None:
    """Every connection breaks."""
    for sock in town.socks:
        sock.close()
    town.socks.clear()
    town.turn()


@pytest.mark.parametrize(("saved", "max_fails", "moves"), [(0, 0, False), (0, 1, True), (100, 0, True)])
def test_a_request_that_only_leaves_a_server_that_is_out_costs_no_budget(town: Town, saved: int, max_fails: int, moves: bool) -> None:
    upstream = fleet(town, 1, 1, rules=again(on=ON_LOST, saved=saved, max_fails=max_fails, window_ms=10_000))
    _, ex = town.ask(upstream)
    town.turn()
    lose(town)
    if moves:
        town.answer_all()
        assert ex.over and ex.fault is None and ex.tries == 2 and upstream.rules.saved == 0
    else:
        assert status_of(ex) == 502 and ex.tries == 1


@pytest.mark.parametrize("up", [True, False])
def test_a_server_alone_is_asked_again_unless_it_is_down_by_then(town: Town, up: bool) -> None:
    upstream = fleet(town, 1, rules=again(on=ON_LOST))
    _, ex = town.ask(upstream)
    town.turn()
    upstream.board.told(upstream.servers[0].standing.key, up, "", -1, 0)
    lose(town)
    town.answer_all()
    assert status_of(ex) == (200 if up else 502) and ex.tries == (2 if up else 1)


@pytest.mark.parametrize("asked", [True, False])
def test_an_answer_that_is_none_is_tried_again_where_asked(town: Town, asked: bool) -> None:
    upstream = fleet(town, 1, 1, rules=again(on=ON_INVALID if asked else 0))
    _, ex = town.ask(upstream)
    town.turn()
    town.socks[0].sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    town.turn()
    for sock in town.socks[1:]:
        sock.sendall(ANSWER)
    town.turn()
    assert status_of(ex) == (200 if asked else 502)


def test_a_held_request_whose_last_try_outlasts_its_time_is_held_no_more(town: Town) -> None:
    upstream = fleet(town, 1)
    town.ruin(0)
    _, ex = town.ask(upstream, hold_ms=60_000)
    town.wait(lambda: ex.tries == 2)
    ex.hold_until_ms = town.reactor.now_ms
    town.turn()
    assert ex.over and ex.fault is not None and ex.fault.kind.name == "upstream.refused"


def test_who_finds_nobody_and_is_not_held_is_told_at_once(town: Town) -> None:
    upstream = fleet(town, 1)
    upstream.board.told(upstream.servers[0].standing.key, False, "", -1, 0)
    spy, ex = town.ask(upstream)
    assert status_of(ex) == 503 and ex.fault is not None and ex.fault.kind.name == "upstream.down" and spy.calls[-1] == "release"


def test_answer_times_are_learnt_where_they_are_wanted(town: Town) -> None:
    for learns in (True, False):
        upstream = fleet(town, 1, 1, rules=again(learns=learns))
        town.ask(upstream)
        town.turn()
        town.reactor.ahead_ms += 700
        town.socks[-1].sendall(ANSWER)
        town.turn()
        expected = upstream.standings[0].expected(town.reactor.now_ms)
        assert expected > 500 if learns else expected == 0.0


@pytest.mark.parametrize(("settings", "out"), [({"fail_statuses": frozenset((200,))}, True), ({"latency_ms": 50}, True), ({}, False)])
def test_answers_may_count_as_failures(town: Town, settings: dict[str, Any], out: bool) -> None:
    upstream = fleet(town, 1, 1, rules=again(max_fails=1, window_ms=10_000, **settings))
    _, ex = town.ask(upstream)
    town.turn()
    town.reactor.ahead_ms += 100
    town.answer_all()
    assert status_of(ex) == 200 and upstream.standings[0].is_out(town.reactor.now_ms) is out


# ---------------------------------------------------------------- clients that belong to a server, servers of a name


def bound(town: Town, strict: bool = False) -> tuple[Upstream, RequestHead]:
    """Return an upstream of two servers, and a request that belongs to the second."""
    upstream = fleet(town, 1, 1)
    upstream.servers[1].mark = b"b"
    marks = Marks(b"k", "u", Where(b"srv", b""), False, strict)
    upstream.marks = marks
    marks.take(upstream.servers)
    upstream.board.version += 1
    return upstream, RequestHead(b"GET", b"/", b"a", fields_of([(b"Host", b"a"), (b"Cookie", b"srv=b")]), b"HTTP/1.1")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("up", "mode", "disabled", "out", "stays"),
    [
        (True, "", False, False, True),
        (True, "drain", False, False, True),
        (True, "", True, False, False),
        (True, "ready", True, False, True),
        (True, "maintenance", False, False, False),
        (False, "", False, False, False),
        (True, "", False, True, False),
    ],
)
def test_a_client_stays_with_its_server_while_that_serves(
    town: Town, strict: bool, up: bool, mode: str, disabled: bool, out: bool, stays: bool
) -> None:
    upstream, head = bound(town, strict)
    server = upstream.servers[1]
    server.disabled = disabled
    upstream.board.told(server.standing.key, up, mode, -1, 0)
    if out:
        server.standing.put_out(town.reactor.now_ms + 60_000)
    found = []
    for _ in range(4):
        ex = town.exchange(upstream)
        ex.request = head
        found.append(upstream.choose(ex))
    nobodys = upstream.choose(town.exchange(upstream))
    assert nobodys is not None, "who belongs to none is served all the same"
    if stays:
        assert found == [server] * 4
    else:
        assert found == [None if strict else upstream.servers[0]] * 4


@pytest.mark.parametrize("strict", [True, False])
def test_a_client_that_belongs_to_a_server_alone_is_not_tried_elsewhere(town: Town, strict: bool) -> None:
    upstream, head = bound(town, strict)
    town.ruin(1)
    ex = town.exchange(upstream)
    ex.on_request(head, True)
    town.turn()
    town.answer_all()
    assert status_of(ex) == (502 if strict else 200)


def test_marks_are_given_to_the_servers_an_upstream_has(town: Town) -> None:
    marks = Marks(b"k", "u", Where(b"srv", b""))
    upstream = fleet(town, 1, 1, marks=marks)
    tokens = [server.token for server in upstream.servers]
    assert len(set(tokens)) == 2 and all(len(token) == 32 for token in tokens)


class Makers(PoolMaker):
    """Makes the pools of addresses in the town."""

    def __init__(self, town: Town) -> None:
        self._town = town

    def make(self, host: str, port: int) -> Pool:
        return self._town.pool(host=host)


@pytest.mark.interpreted_only  # who makes pools is a trait, and those cannot be derived from
def test_the_servers_of_a_name_serve_beside_the_others_as_soon_as_they_are_known(town: Town) -> None:
    board = Board()
    family = Family(Kin(Makers(town), town.book), board, "u", "immich.test", 2283, False, 1, False, 1, False)
    fixed = town.pool()
    upstream = Upstream("u", [Server(fixed, priority=2, standing=board.find("fixed"))], board=board, families=[family])
    pools = []
    for addresses in ([], ["127.0.0.1"], []):
        town.book.update("all:immich.test", addresses)
        server = upstream.choose(town.exchange(upstream))
        assert server is not None
        assert upstream.choose(town.exchange(upstream)) is server, "nothing has changed since"
        pools.append(server.pool)
    assert pools == [fixed, town.pools[1], fixed], "theirs is the first rank"


def counted(pool: Pool, name: str) -> Server:
    server = Server(pool)
    server.counts = ServerCounts("u", name)
    return server


def told(server: Server) -> tuple[int, int, int]:
    assert server.counts is not None
    return server.counts.attempts, server.counts.failures, server.counts.retries


def test_attempts_that_another_one_followed_are_counted(town: Town) -> None:
    servers = [counted(town.pool(), "a"), counted(town.pool(), "b")]
    town.ruin(0)
    spy, _ = town.ask(Upstream("u", servers))
    town.turn()
    town.answer_all()
    assert "head" in spy.calls
    assert told(servers[0]) == (1, 1, 1)
    assert told(servers[1]) == (0, 0, 0)  # the log counts the last one


def test_what_is_held_and_what_is_not_taken_is_counted(town: Town) -> None:
    server = counted(town.pool(PoolLimits(connections_most=1)), "a")
    upstream = Upstream("u", [server], rules=again())
    town.ruin(0)
    _, ex = town.ask(upstream, hold_ms=60_000)
    town.wait(lambda: told(server) != (0, 0, 0))
    assert not ex.over and told(server) == (1, 1, 1)
    ex.on_fault(DOWN, Fault(CLIENT_GONE))

    servers = [counted(town.pool(), "b"), counted(town.pool(), "c")]
    town.ask(Upstream("u", servers, rules=again()))
    town.turn()
    town.socks[0].sendall(BUSY)
    town.turn()
    assert sorted([told(servers[0]), told(servers[1])]) == [(0, 0, 0), (1, 1, 1)]
    town.socks[1].sendall(ANSWER)
    town.turn()


def test_who_waits_is_told(town: Town) -> None:
    upstream = Upstream("u", [Server(town.pool(PoolLimits(connections_most=1)))])
    town.ask(upstream)
    assert town.pools[0].waiting() == 0
    town.ask(upstream)
    assert (town.pools[0].waiting(), town.pools[0].load()) == (1, 2)
    town.turn()
    town.answer_all()
    town.answer_all()
    assert town.pools[0].waiting() == 0
