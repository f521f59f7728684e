"""Header sections: what is read from them, what is forwarded, and every change a new one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.fault import CLIENT, UPSTREAM, ProtocolError
from vestibule.http.fields import EMPTY, Fields, FieldsTable, fields_of, parse_fields, parse_trailers

NAMES = st.sampled_from([b"X-A", b"x-b", b"Cookie", b"Accept", b"Content-Type", b"X_Under", b"Keep-Alive", b"TE", b"X-Hop", b"Via"])
VISIBLE = "".join(chr(c) for c in range(32, 256) if c != 127)
VALUES = st.text(VISIBLE, max_size=20).map(lambda value: value.encode("latin-1").strip(b" \t"))
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


def block_of(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in pairs)


@given(PAIRS)
def test_every_line_is_kept_in_order(pairs: list[tuple[bytes, bytes]]) -> None:
    fields = parse_fields(block_of(pairs), CLIENT, 100)
    assert fields.pairs() == [(name.lower(), value) for name, value in pairs]
    assert fields.spelled() == pairs
    assert fields.block == block_of(pairs)
    for name, _ in pairs:
        same = [value for other, value in pairs if other.lower() == name.lower()]
        assert fields.get(name.lower()) == same[0]
        assert fields.get_all(name.lower()) == same
    assert fields.get(b"absent") is None and fields.get_all(b"absent") == []


@given(PAIRS)
def test_hops_are_dropped_and_nothing_else(pairs: list[tuple[bytes, bytes]]) -> None:
    fields = parse_fields(block_of([*pairs, (b"Connection", b"close, X-Hop")]), CLIENT, 100)
    kept = [(name.lower(), value) for name, value in pairs if name.lower() not in (b"keep-alive", b"te", b"x-hop")]
    clean = fields.end_to_end()
    assert clean.pairs() == kept
    assert clean is fields.end_to_end(), "made once"
    assert clean.end_to_end().pairs() == kept
    assert parse_fields(clean.block, CLIENT, 100).pairs() == kept


@given(PAIRS, st.lists(NAMES, max_size=3))
def test_without(pairs: list[tuple[bytes, bytes]], names: list[bytes]) -> None:
    lowers = [name.lower() for name in names]
    fields = parse_fields(block_of(pairs), CLIENT, 100)
    less = fields.without(lowers)
    assert less.pairs() == [pair for pair in fields.pairs() if pair[0] not in lowers]
    assert parse_fields(less.block, CLIENT, 100).pairs() == less.pairs()
    assert fields.block == block_of(pairs), "a section never changes"


@given(PAIRS, PAIRS)
def test_plus(pairs: list[tuple[bytes, bytes]], more: list[tuple[bytes, bytes]]) -> None:
    fields = parse_fields(block_of(pairs), CLIENT, 100)
    added = fields.plus(more)
    assert added.pairs() == fields.pairs() + [(name.lower(), value) for name, value in more]
    assert parse_fields(added.block, CLIENT, 100).pairs() == added.pairs()
    assert added.has_underscore == any(b"_" in name for name, _ in [*pairs, *more])
    replaced = fields.replaced([(b"x-a", b"new")])
    assert replaced.get_all(b"x-a") == [b"new"] and replaced.pairs()[-1] == (b"x-a", b"new")


@pytest.mark.parametrize(
    "pair",
    [(b"", b"a"), (b"X Y", b"a"), (b"X", b"a\r\nY: b"), (b"X", b"a\n"), (b"X", b"\r"), (b"X", b"\0"), (b"X:", b"a"), (b"X", b"\x7f")],
)
def test_lines_that_are_none_cannot_be_added(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="not a header line"):
        EMPTY.plus([pair])


def test_framing_facts_survive_changes() -> None:
    fields = parse_fields(b"Host: a\r\nContent-Length: 5\r\nConnection: X-B\r\nX-B: 1\r\n", CLIENT, 100)
    for changed in (fields.end_to_end(), fields.plus([(b"X", b"1")]), fields.without([b"x-b"]), fields.with_host(b"b")):
        assert changed.content_length == 5 and not changed.chunked
    chunked = parse_fields(b"Host: a\r\nTransfer-Encoding: chunked\r\n", CLIENT, 100)
    assert chunked.end_to_end().chunked and chunked.end_to_end().block == b"Host: a\r\n"


def test_with_host_puts_it_first_and_once() -> None:
    fields = parse_fields(b"X: 1\r\nhost: a\r\nConnection: X\r\n", CLIENT, 100).with_host(b"b:1")
    assert fields.pairs() == [(b"host", b"b:1"), (b"x", b"1"), (b"connection", b"X")]
    assert fields.host == b"b:1"
    assert fields.end_to_end().pairs() == [(b"host", b"b:1")]


@pytest.mark.parametrize("name", [b"Content-Length", b"Host", b"Content-Type", b"Cookie", b"Authorization", b"Transfer-Encoding"])
def test_connection_cannot_take_away_what_frames_or_routes(name: bytes) -> None:
    value = {b"Content-Length": b"5", b"Transfer-Encoding": b"chunked"}.get(name, b"a")
    fields = parse_fields(b"Connection: %s\r\n%s: %s\r\n" % (name, name, value), CLIENT, 100)
    clean = fields.end_to_end()
    if name == b"Transfer-Encoding":
        assert clean.chunked
    else:
        assert clean.get(name.lower()) == value


@pytest.mark.parametrize(
    ("block", "upgrade"),
    [
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"websocket"),
        (b"Connection: keep-alive, upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", b"a, b"),
        (b"Upgrade: websocket\r\n", b""),
        (b"Connection: Upgrade\r\n", b""),
        (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b""),
        (b"Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n", b""),
    ],
)
def test_upgrades(block: bytes, upgrade: bytes) -> None:
    fields = parse_fields(block, CLIENT, 100)
    assert fields.upgrade == upgrade
    assert fields.end_to_end().get(b"upgrade") is None
    assert fields.end_to_end().upgrade == upgrade


def test_underscores() -> None:
    fields = parse_fields(b"X_Real_IP: 1\r\nX-Real-IP: 2\r\nContent_Length: 3\r\n", CLIENT, 100)
    assert fields.content_length == -1
    assert fields.without_underscores().pairs() == [(b"x-real-ip", b"2")]
    clean = parse_fields(b"X: 1\r\n", CLIENT, 100)
    assert clean.without_underscores() is clean


def test_too_many_lines() -> None:
    assert len(parse_fields(b"X: 1\r\n" * 3, CLIENT, 3).names) == 3
    for side, fault in ((CLIENT, "client.head_too_large"), (UPSTREAM, "upstream.head_too_large")):
        with pytest.raises(ProtocolError) as caught:
            parse_fields(b"X: 1\r\n" * 4, side, 3)
        assert caught.value.kind.name == fault


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        (b"X-Sum: 1\r\n", b"X-Sum: 1\r\n"),
        (b"Content-Length: 5\r\nX: 1\r\nTransfer-Encoding: gzip\r\n", b"X: 1\r\n"),
        (b"HOST: a\r\nAuthorization: b\r\nSet-Cookie: c\r\nX-Forwarded-For: d\r\nTrailer: e\r\n", b""),
    ],
)
def test_trailers_that_must_not_come_late_are_dropped(block: bytes, kept: bytes) -> None:
    assert parse_trailers(block, CLIENT, 100).block == kept


@pytest.mark.parametrize("block", [b"Host: a\x00\r\n", b"Host : a\r\n", b"X\r\n", b"Host: a\nX: b\r\n", b"Host: a\r b\r\n"])
def test_bad_trailers_are_refused_even_where_they_would_be_dropped(block: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_trailers(block, UPSTREAM, 100)
    assert caught.value.kind.name == "upstream.bad_syntax"


def test_fields_of_reads_the_framing_of_our_own_lines() -> None:
    assert fields_of([(b"Content-Length", b"5")]).content_length == 5
    with pytest.raises(ProtocolError):
        fields_of([(b"Content-Length", b"5"), (b"Content-Length", b"6")])


class TestTable:
    """The table of parsed sections."""

    def test_a_block_is_parsed_once(self) -> None:
        table = FieldsTable(CLIENT, 100)
        assert table.find(b"X: 1\r\n") is table.find(b"X: 1\r\n")

    def test_a_bad_block_is_bad_each_time(self) -> None:
        table = FieldsTable(CLIENT, 100)
        for _ in range(2):
            with pytest.raises(ProtocolError):
                table.find(b"X : 1\r\n")

    def test_it_stays_small(self) -> None:
        table = FieldsTable(CLIENT, 100, entries=3, longest=10)
        first = table.find(b"A: 1\r\n")
        long = table.find(b"A: 23456789\r\n")
        assert table.find(b"A: 23456789\r\n") is not long, "too long to be kept"
        assert table.find(b"A: 1\r\n") is first
        found: list[Fields] = [table.find(b"A: %d\r\n" % number) for number in range(2, 9)]
        assert table.find(b"A: 1\r\n") is not first, "emptied when full"
        assert found[0].get(b"a") == b"2"


REFUSED = [
    (b"Content-Length: 5\r\nContent-Length: 5\r\n", "bad_framing"),
    (b"Content-Length: +5\r\n", "bad_framing"),
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "bad_framing"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "bad_framing"),
    (b"Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", "bad_framing"),
    (b"X: 1\nY: 2\r\n", "bad_syntax"),
    (b"X: a\rb\r\n", "bad_syntax"),
    (b"X: a\x00\r\n", "bad_syntax"),
    (b": a\r\n", "bad_syntax"),
    (b"X Y: a\r\n", "bad_syntax"),
]


@pytest.mark.parametrize(("block", "fault"), REFUSED)
@pytest.mark.parametrize("side", [CLIENT, UPSTREAM])
def test_what_is_no_section_is_the_fault_of_who_sent_it(block: bytes, fault: str, side: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_fields(block, side, 100)
    assert caught.value.kind.name == ("client." if side == CLIENT else "upstream.") + fault


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        (b"Host: a\r\nHost: a\r\n", "client.bad_host"),
        (b"Expect: 200-ok\r\n", "client.bad_expectation"),
        (b"Expect: 100-continue\r\nExpect: 100-continue\r\n", "client.bad_expectation"),
        (b"Transfer-Encoding: gzip\r\n", "client.bad_coding"),
    ],
)
def test_what_only_a_client_may_not_say(block: bytes, fault: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_fields(block, CLIENT, 100)
    assert caught.value.kind.name == fault


@pytest.mark.parametrize("value", [b"a b", b":8443a", b"a:0", b"[::1", b"a:b", b"a@b"])
def test_a_host_that_is_none_is_noted_for_who_may_let_it_pass(value: bytes) -> None:
    fields = parse_fields(b"Host: " + value + b"\r\n", CLIENT, 100)
    assert fields.bad_host and fields.host is None
    with pytest.raises(ProtocolError, match="Host twice"):
        parse_fields(b"Host: " + value + b"\r\nHost: a\r\n", CLIENT, 100)


def test_what_an_upstream_says_of_requests_means_nothing() -> None:
    fields = parse_fields(b"Host: a b\r\nHost: c\r\nExpect: nothing\r\n", UPSTREAM, 100)
    assert fields.host == b"c" and not fields.expects_continue
    assert parse_fields(b"Expect: 100-Continue\r\n", CLIENT, 100).expects_continue
    with pytest.raises(ProtocolError) as caught:
        parse_fields(b"Transfer-Encoding: gzip\r\n", UPSTREAM, 100)
    assert caught.value.kind.name == "upstream.bad_framing"


def test_connection_options() -> None:
    fields = parse_fields(b"Connection: CLOSE, , x-a\r\nConnection: Keep-Alive, x-b\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n", CLIENT, 100)
    assert fields.close and fields.keep_alive and fields.nominated == [b"x-a", b"x-b"]
    assert fields.end_to_end().pairs() == [(b"x-c", b"3")]


def test_one_line_of_cookies_or_none() -> None:
    fields = parse_fields(b"Cookie: a=1\r\nX: 1\r\nCookie: b=2\r\n", CLIENT, 100)
    assert fields.with_cookies(b"c=3").pairs() == [(b"x", b"1"), (b"cookie", b"c=3")]
    assert fields.with_cookies(b"").pairs() == [(b"x", b"1")]
    assert parse_fields(b"Cookie: a=1\r\n", CLIENT, 100).with_cookies(b"").block == b""


def test_too_many_trailers_are_the_fault_of_who_sent_them() -> None:
    for side, fault in ((CLIENT, "client.head_too_large"), (UPSTREAM, "upstream.head_too_large")):
        with pytest.raises(ProtocolError) as caught:
            parse_trailers(b"X: 1\r\n" * 4, side, 3)
        assert caught.value.kind.name == fault
