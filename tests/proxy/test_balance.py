"""Ways of choosing: their shares against exact expectation, what moves when a server leaves, bounds."""

from collections import Counter
from collections.abc import Callable, Iterator
from math import sqrt
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proxy.yard import Yard
from vestibule.exchange import Exchange
from vestibule.http.fields import EMPTY
from vestibule.http.head import ResponseHead
from vestibule.proxy.balance import (
    Balancer,
    First,
    Hash,
    KeyText,
    LeastConnections,
    Owner,
    PeakEwma,
    RandomTwo,
    Server,
    SourceKey,
    TableHash,
    spread,
)

TIMES = 10_000
WEIGHTS = (1, 2, 5)


class TargetKey(KeyText):
    def text(self, ex: Exchange) -> bytes:
        return ex.request.target


@pytest.fixture
def yards() -> Iterator[Callable[..., Yard]]:
    made: list[Yard] = []

    def make(*weights: int, most: int = -1) -> Yard:
        made.append(Yard(*weights, most=most))
        return made[-1]

    yield make
    for yard in made:
        yard.close()


@pytest.mark.parametrize(
    ("make", "keep"),
    [(Balancer, False), (LeastConnections, False), (LeastConnections, True), (PeakEwma, False), (PeakEwma, True)],
)
def test_what_takes_turns_is_exact(yards: Callable[..., Yard], make: Callable[[], Balancer], keep: bool) -> None:
    """Weights 1:2:5 of 10,000 are 1250, 2500 and 6250, to the request."""
    yard = yards(*WEIGHTS)
    if make is PeakEwma and not keep:
        for server in yard.servers:
            server.pool.connections = 0  # equal times: cost is 1/weight, so the heaviest is best until it has load
        assert yard.count(make(), TIMES) == {2: TIMES}
        return
    counts = yard.count(make(), TIMES, keep)
    assert all(abs(counts[at] - TIMES * weight // 8) <= 1 for at, weight in enumerate(WEIGHTS)), counts


def near(count: int, chance: float, times: int = TIMES) -> bool:
    """Tell whether a count is within four standard deviations of what a chance promises (once in 16,000 it is not)."""
    return abs(count - times * chance) <= 4 * sqrt(times * chance * (1 - chance))


@pytest.mark.parametrize("key", [SourceKey(32, 128), TargetKey()])
def test_hashes_share_by_weight(yards: Callable[..., Yard], key: KeyText) -> None:
    counts = yards(*WEIGHTS).count(Hash(key), TIMES)
    assert all(near(counts[at], weight / 8) for at, weight in enumerate(WEIGHTS)), counts


def test_two_random_choices_at_rest_share_by_weight(yards: Callable[..., Yard]) -> None:
    counts = yards(*WEIGHTS).count(RandomTwo(7), TIMES)
    assert all(near(counts[at], weight / 8) for at, weight in enumerate(WEIGHTS)), counts


def test_one_server_alone_is_drawn_once(yards: Callable[..., Yard]) -> None:
    assert yards(3).count(RandomTwo(7), 5) == {0: 5}


class Owning(Owner):
    """Wants another server after a 503."""

    def on_answer(self, server: Server, ex: Exchange, head: ResponseHead) -> bool:
        return head.status == 503


@pytest.mark.interpreted_only  # derives from a trait
def test_a_server_shows_answers_to_the_upstream_it_belongs_to(yards: Callable[..., Yard]) -> None:
    yard = yards(1)
    server, ex = yard.servers[0], yard.exchange()
    assert not server.on_answer(ex, ResponseHead(503, b"", EMPTY)), "it belongs to none"
    server.owner = Owning()
    assert [server.on_answer(ex, ResponseHead(status, b"", EMPTY)) for status in (200, 503)] == [False, True]


def test_two_random_choices_take_the_less_busy(yards: Callable[..., Yard]) -> None:
    """With equal weights and one server busy, it is chosen only if drawn twice, which two different servers never are."""
    yard = yards(1, 1, 1)
    yard.servers[0].pool.connections = 5
    counts = yard.count(RandomTwo(7), TIMES)
    assert counts[0] == 0 and near(counts[1], 1 / 2)


def test_two_random_choices_under_load_stay_level(yards: Callable[..., Yard]) -> None:
    counts = yards(1, 1, 1, 1).count(RandomTwo(7), TIMES, keep=True)
    assert max(counts.values()) - min(counts.values()) <= 8


def test_least_connections_fills_up_the_emptiest(yards: Callable[..., Yard]) -> None:
    yard = yards(1, 1, 1)
    yard.servers[0].pool.connections = 10
    yard.servers[1].pool.connections = 4
    assert yard.count(LeastConnections(), 6, keep=True) == {2: 5, 1: 1}


def test_peak_ewma_avoids_the_slow_and_forgets(yards: Callable[..., Yard]) -> None:
    yard = yards(1, 1)
    now = yard.reactor.now_ms
    yard.servers[0].standing.learn(900, now)
    yard.servers[1].standing.learn(30, now)
    assert yard.count(PeakEwma(), 20, keep=True) == {1: 20}
    slow = yard.servers[0].standing
    slow.learn(10, now)
    assert 10 < slow.expected(now) < 900, "one quick answer is not all there is to it"
    assert slow.expected(now + 120_000) < 1


def test_first_is_first_until_it_is_full(yards: Callable[..., Yard]) -> None:
    yard = yards(1, 1, 1, most=2)
    assert yard.count(First(), 6, keep=True) == {0: 2, 1: 2, 2: 2}
    yard.count(First(), 1)  # all are full: any


@settings(deadline=None)  # machines are busy
@given(st.lists(st.integers(1, 9), min_size=2, max_size=8), st.data())
def test_when_a_server_leaves_only_its_keys_move(weights: list[int], data: st.DataObject) -> None:
    yard = Yard(*weights)
    hashed = Hash(TargetKey())
    gone = data.draw(st.sampled_from(yard.servers))
    left = [server for server in yard.servers if server is not gone]
    for n in range(200):
        ex = yard.exchange(target=f"/{n}")
        before = hashed.choose(yard.servers, ex)
        after = hashed.choose(left, ex)
        assert after is before or before is gone
    yard.close()


def test_what_moves_when_a_server_leaves_is_its_share(yards: Callable[..., Yard]) -> None:
    yard = yards(*WEIGHTS)
    hashed = Hash(TargetKey())
    exchanges = [yard.exchange(target=f"/{n}") for n in range(TIMES)]
    moved = sum(hashed.choose(yard.servers, ex) is not hashed.choose(yard.servers[:2], ex) for ex in exchanges)
    assert near(moved, 5 / 8)


@settings(deadline=None)  # machines are busy
@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(101, 300), st.integers(1, 120))
def test_no_server_has_more_than_its_bound(weights: list[int], bound: int, requests: int) -> None:
    """Even where every request has one key."""
    yard = Yard(*weights)
    hashed = Hash(TargetKey(), bound)
    ex = yard.exchange(target="/one")
    for n in range(1, requests + 1):
        chosen = hashed.choose(yard.servers, ex)
        chosen.pool.connections += 1
        assert chosen.pool.connections <= -(-n * chosen.share * bound // (sum(weights) * 100))
    yard.close()


def test_what_moves_with_a_bound_is_the_share_and_what_was_over_it(yards: Callable[..., Yard]) -> None:
    yard = yards(1, 1, 1, 1)
    hashed = Hash(TargetKey(), 125)

    def spread(servers: list[Server]) -> list[Server]:
        for server in yard.servers:
            server.pool.connections = 0
        chosen = []
        for n in range(2_000):
            chosen.append(hashed.choose(servers, yard.exchange(target=f"/{n}")))
            chosen[-1].pool.connections += 1
        return chosen

    before, after = spread(yard.servers), spread(yard.servers[:3])
    moved = sum(one is not other for one, other in zip(before, after, strict=True))
    assert moved <= 2_000 * (1 / 4 + 0.25), moved
    assert max(Counter(server.pool.name for server in after).values()) <= 2_000 / 3 * 1.25 + 1


@pytest.mark.parametrize(
    ("bits4", "bits6", "one", "other", "same"),
    [
        (24, 128, "192.0.2.1", "192.0.2.250", True),
        (24, 128, "192.0.2.1", "192.0.3.1", False),
        (25, 128, "192.0.2.1", "192.0.2.250", False),
        (32, 64, "2001:db8::1", "2001:db8::ffff:1", True),
        (32, 61, "2001:db8::1", "2001:db8:0:7::1", True),
        (32, 128, "2001:db8::1", "2001:db8::2", False),
        (8, 8, "unix:", "unix:", True),
    ],
)
def test_the_first_bits_of_an_address(yards: Callable[..., Yard], bits4: int, bits6: int, one: str, other: str, same: bool) -> None:
    yard, key = yards(), SourceKey(bits4, bits6)
    assert (key.text(yard.exchange(one)) == key.text(yard.exchange(other))) is same


def test_hashes_are_the_same_after_every_start(yards: Callable[..., Yard]) -> None:
    """What the numbers are does not matter; that they never change does."""
    yard = yards(1, 1, 1)
    order = [yard.servers.index(Hash(TargetKey()).choose(yard.servers, yard.exchange(target=f"/{n}"))) for n in range(12)]
    assert order == [2, 0, 0, 0, 1, 1, 1, 0, 0, 2, 1, 0]


class NoKey(KeyText):
    def text(self, ex: Exchange) -> bytes:
        return b""


def test_requests_without_a_key_are_shared_in_turn() -> None:
    yard = Yard(1, 1)
    hashed = Hash(NoKey())
    chosen = [yard.servers.index(hashed.choose(yard.servers, yard.exchange())) for _ in range(4)]
    assert sorted(chosen[:2]) == [0, 1] and chosen[:2] == chosen[2:]
    yard.close()


def test_a_table_is_laid_out_by_weight_and_the_sum_of_a_key_says_where(yards: Callable[..., Yard]) -> None:
    assert spread([1, 1, 1, 1]) == [0, 1, 2, 3]
    assert spread([2, 4]) == [0, 1, 1]
    assert spread([3, 1]) == [0, 0, 0, 1]
    assert spread([0, 5]) == [1]
    assert spread([0, 0]) == []
    yard = yards(1, 1, 1, 1)
    hashed = TableHash(TargetKey(), "sdbm")
    chosen = [hashed.choose(yard.servers, yard.exchange(target=f"/url{n}")) for n in (1, 2, 3, 4)]
    # Where HAProxy sends these.
    assert [yard.servers.index(server) for server in chosen] == [1, 2, 3, 0]
    other = TableHash(TargetKey(), "crc32").choose(yard.servers, yard.exchange(target="/url1"))
    assert yard.servers.index(other) == crc32(b"/url1") % 4
