"""Servers that requests name: what names one, and how many are remembered."""

from collections.abc import Iterator

import pytest

from tests.conformance.stream import Spy
from tests.proxy.town import Town
from vestibule.contract import DOWN, Client, Plan, Relays, Timeouts
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, PROXY_NO_SERVER, UPSTREAM_REFUSED, UPSTREAM_UNRESOLVED, Fault
from vestibule.http.fields import fields_of
from vestibule.http.head import RequestHead
from vestibule.proxy import lookups as lookups_module
from vestibule.proxy.anywhere import PLACES_MOST, Anywhere, place_of
from vestibule.proxy.balance import KeyText
from vestibule.proxy.family import Kin, PoolMaker
from vestibule.proxy.lookups import Lookups
from vestibule.proxy.pool import Pool
from vestibule.proxy.rules import Rules
from vestibule.proxy.upstream import Upstream

pytestmark = pytest.mark.interpreted_only  # what builds pools is a trait, and those cannot be derived from


class Named(KeyText):
    """What the request says in a field."""

    def text(self, ex: Exchange) -> bytes:
        return ex.request.fields.get(b"to") or b""


class Builder(PoolMaker):
    """Builds each place a house, whatever its port."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.asked: list[tuple[str, int]] = []

    def make(self, host: str, port: int) -> Pool:
        self.asked.append((host, port))
        return self.town.pool()


@pytest.fixture
def town() -> Iterator[Town]:
    made = Town()
    yield made
    made.close()


def anywhere(town: Town, builder: Builder, lookups: Lookups | None = None) -> Anywhere:
    return Anywhere("u", Named(), 80, 1, Rules(), Kin(builder, town.book), town.reactor, lookups or Lookups(town.book))


def find(source: Anywhere, text: bytes) -> Upstream:
    place = place_of(text, 80)
    assert place is not None
    return source._find(place)


def ask(town: Town, source: Anywhere, to: bytes) -> Exchange:
    ex = Exchange(Spy(), Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http"), Plan("p", source), Relays(), town.reactor.now_ms)
    ex.on_request(RequestHead(b"GET", b"/", b"a", fields_of([(b"Host", b"a"), (b"To", to)]), b"HTTP/1.1"), True)
    return ex


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"192.0.2.1", ("192.0.2.1", 80)),
        (b"App.Lan:8080", ("app.lan", 8080)),
        (b"[2001:db8::1]:81", ("2001:db8::1", 81)),
        (b"a:", ("a", 80)),
        (b"", None),
        (b":80", None),
        (b"a:0", None),
        (b"a:65536", None),
        (b"a:8a", None),
        (b"a/b", None),
        (b"a b", None),
        (b"a@b", None),
        (b"unix:/run/a.sock", None),
        (b"[::1", None),
        (b"a" * 300, None),
    ],
)
def test_what_names_a_place(text: bytes, place: tuple[str, int] | None) -> None:
    assert place_of(text, 80) == place


def test_each_place_has_its_own_connections(town: Town) -> None:
    builder = Builder(town)
    source = anywhere(town, builder)
    for to in (b"192.0.2.1", b"192.0.2.1:81", b"192.0.2.1"):
        ex = ask(town, source, to)
        town.turn()
        town.answer_all()
        assert ex.over and ex.fault is None
    assert builder.asked == [("192.0.2.1", 80), ("192.0.2.1", 81)]


def test_what_names_nothing_is_refused(town: Town) -> None:
    builder = Builder(town)
    ex = ask(town, anywhere(town, builder), b"//")
    assert ex.over and ex.fault is not None and ex.fault.kind is PROXY_NO_SERVER and not builder.asked


def test_a_place_that_nobody_is_at_is_a_fault_of_its_own(town: Town) -> None:
    source = anywhere(town, Builder(town))
    ask(town, source, b"192.0.2.1")
    town.turn()
    town.answer_all()
    town.turn()
    town.ruin(0)
    town.pools[0].close()
    ex = ask(town, source, b"192.0.2.1")
    town.wait(lambda: ex.over)
    assert ex.fault is not None and ex.fault.kind is UPSTREAM_REFUSED


def test_a_client_that_leaves_is_not_waited_for(town: Town) -> None:
    source = anywhere(town, Builder(town))
    ex = ask(town, source, b"192.0.2.1")
    assert town.pools[0].load() == 1
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    town.turn()
    assert ex.over and town.pools[0].load() == 0


def test_the_place_asked_longest_ago_is_forgotten_first(town: Town) -> None:
    builder = Builder(town)
    source = anywhere(town, builder)
    first = find(source, b"192.0.2.1")
    for number in range(PLACES_MOST - 1):
        find(source, b"198.51.100.%d:%d" % (number % 200, 1000 + number))
    assert find(source, b"192.0.2.1") is first
    find(source, b"203.0.113.1")
    assert find(source, b"192.0.2.1") is first
    before = len(builder.asked)
    find(source, b"198.51.100.0:1000")
    assert len(builder.asked) == before + 1


def test_however_a_place_is_written_it_has_the_same_connections(town: Town) -> None:
    builder = Builder(town)
    source = anywhere(town, builder)
    first = find(source, b"app.lan")
    assert find(source, b"APP.lan:80") is first and len(builder.asked) == 1


def test_places_of_the_time_before_a_reload_do_not_pile_up(town: Town) -> None:
    builder = Builder(town)
    kin = Kin(builder, town.book)
    for generation in range(3):
        source = Anywhere("u", Named(), 80, 1, Rules(), kin, town.reactor, Lookups(town.book))
        for number in range(PLACES_MOST // 2 + 10):
            find(source, b"198.51.%d.1:%d" % (generation, 1000 + number))
    assert kin.count() <= PLACES_MOST
    before = len(builder.asked)
    find(source, b"198.51.2.1:1000")
    assert len(builder.asked) == before, "what is in use is kept"


def test_a_request_waits_for_the_name_that_it_names(town: Town) -> None:
    builder, lookups = Builder(town), Lookups(town.book)
    source = anywhere(town, builder, lookups)
    first, second = ask(town, source, b"app.lan:81"), ask(town, source, b"APP.lan")
    assert (builder.asked, lookups.waiting) == ([], 2)
    town.book.update("app.lan", ["192.0.2.1"])
    lookups.told("app.lan", town.reactor.now_ms)
    town.turn()
    town.answer_all()
    assert builder.asked == [("app.lan", 81), ("app.lan", 80)]
    assert first.over and second.over and first.fault is None and second.fault is None


def test_a_name_without_an_address_is_told(town: Town) -> None:
    builder, lookups = Builder(town), Lookups(town.book)
    source = anywhere(town, builder, lookups)
    ex = ask(town, source, b"none.lan")
    town.book.update("none.lan", [])
    lookups.told("none.lan", town.reactor.now_ms)
    again = ask(town, source, b"none.lan")
    for each in (ex, again):
        assert each.over and each.fault is not None and each.fault.kind is UPSTREAM_UNRESOLVED
    assert builder.asked == []


def test_nobody_waits_longer_for_a_name_than_for_a_connection(town: Town) -> None:
    lookups = Lookups(town.book)
    source = anywhere(town, Builder(town), lookups)
    ex = Exchange(Spy(), Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http"), Plan("p", source), Relays(), town.reactor.now_ms)
    ex.timeouts = Timeouts(connect_ms=100)
    ex.on_request(RequestHead(b"GET", b"/", b"a", fields_of([(b"Host", b"a"), (b"To", b"slow.lan")]), b"HTTP/1.1"), True)
    town.wait(lambda: ex.over)
    assert ex.fault is not None and ex.fault.kind is UPSTREAM_UNRESOLVED and "no answer from DNS" in ex.fault.detail
    assert lookups.waiting == 0
    lookups.told("slow.lan", town.reactor.now_ms)


def test_a_client_that_leaves_does_not_wait_for_a_name(town: Town) -> None:
    builder, lookups = Builder(town), Lookups(town.book)
    ex = ask(town, anywhere(town, builder, lookups), b"app.lan")
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    assert ex.over and lookups.waiting == 0
    town.book.update("app.lan", ["192.0.2.1"])
    lookups.told("app.lan", town.reactor.now_ms)
    assert builder.asked == []


@pytest.mark.parametrize("left", [0, 1])
def test_where_no_more_may_wait_there_is_no_address(town: Town, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    monkeypatch.setattr(lookups_module, "WAITING_MOST", left)
    lookups = Lookups(town.book)
    source = anywhere(town, Builder(town), lookups)
    asked = [ask(town, source, b"slow.lan") for _ in range(2)]
    assert [ex.over for ex in asked] == [left == 0, True] and lookups.waiting == left
    for ex in asked:
        ex.on_fault(DOWN, Fault(CLIENT_GONE))


def test_who_left_while_others_were_told_is_not_sent_anywhere(town: Town) -> None:
    """The end of one may end another, which is in the list of those who are told."""
    builder, lookups = Builder(town), Lookups(town.book)
    source = anywhere(town, builder, lookups)
    ex = ask(town, source, b"app.lan")
    source.cancel(ex)
    source.release(ex)
    assert builder.asked == [] and lookups.waiting == 0
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
