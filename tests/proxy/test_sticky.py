"""Marks: signed alike everywhere, taken from cookies and headers, set once."""

import pytest

from tests.conformance.stream import Spy
from tests.proxy.yard import Yard
from vestibule.exchange import Exchange
from vestibule.http.fields import EMPTY, fields_of
from vestibule.http.head import ResponseHead
from vestibule.proxy.sticky import PREFIX, REWRITE, Marks, SetMark, Where
from vestibule.proxy.upstream import Upstream


def marked(yard: Yard, key: bytes = b"k", cookie: bytes = b"srv", header: bytes = b"") -> Marks:
    marks = Marks(key, "u", Where(cookie, header))
    marks.take(yard.servers)
    return marks


def answered(yard: Yard, ex: Exchange, at: int, scheme: bytes = b"http") -> Exchange:
    ex.client.scheme = scheme
    ex.chosen = yard.servers[at]
    ex.up = Spy()
    ex.response = ResponseHead(200, b"", EMPTY)
    return ex


def test_marks_depend_on_the_key_and_the_server_alone() -> None:
    one, two, other = Yard(1, 1), Yard(1, 1), Yard(1, 1)
    marked(one)
    marked(two)
    marked(other, b"x")
    tokens = [[server.token for server in yard.servers] for yard in (one, two, other)]
    assert tokens[0] == tokens[1] != tokens[2] and tokens[0][0] != tokens[0][1]
    assert all(len(token) == 32 and b"127" not in token for token in tokens[0])
    for yard in (one, two, other):
        yard.close()


@pytest.mark.parametrize("value", [b"srv=%s", b"a=b; srv=%s; c=d", b"srv=stale; srv=%s", b" srv = %s "])
def test_a_cookie_names_its_server(value: bytes) -> None:
    yard = Yard(1, 1)
    marks = marked(yard)
    assert marks.find(yard.exchange(headers=[(b"Cookie", value % yard.servers[1].token)])) is yard.servers[1]
    yard.close()


@pytest.mark.parametrize("value", [b"", b"srv=", b"srv=0123", b"xsrv=%s", b"srv=%sx"])
def test_what_is_no_mark_names_nobody(value: bytes) -> None:
    yard = Yard(1, 1)
    marks = marked(yard)
    value = value.replace(b"%s", yard.servers[1].token)
    assert marks.find(yard.exchange(headers=[(b"Cookie", value)])) is None
    yard.close()


def test_a_header_names_its_server() -> None:
    yard = Yard(1, 1)
    marks = marked(yard, cookie=b"", header=b"X-Server")
    assert marks.find(yard.exchange(headers=[(b"x-server", yard.servers[0].token)])) is yard.servers[0]
    ex = answered(yard, yard.exchange(), 1)
    SetMark(Where(b"", b"X-Server"), b"", -1).run(ex)
    assert ex.response is not None and ex.response.fields.get(b"x-server") == yard.servers[1].token
    yard.close()


@pytest.mark.parametrize(
    ("secure", "scheme", "ends"),
    [(-1, b"http", b"A"), (-1, b"https", b"A; Secure"), (1, b"http", b"A; Secure"), (0, b"https", b"A")],
)
def test_a_cookie_is_set_with_its_attributes(secure: int, scheme: bytes, ends: bytes) -> None:
    yard = Yard(1)
    marked(yard)
    ex = answered(yard, yard.exchange(), 0, scheme)
    SetMark(Where(b"srv", b""), b"; A", secure).run(ex)
    assert ex.response is not None
    assert ex.response.fields.get(b"set-cookie") == b"srv=" + yard.servers[0].token + b"; " + ends
    yard.close()


def test_nothing_is_set_where_the_mark_is_right_or_nobody_was_asked() -> None:
    yard = Yard(1, 1)
    marked(yard)
    right = answered(yard, yard.exchange(headers=[(b"Cookie", b"srv=" + yard.servers[0].token)]), 0)
    own = answered(yard, yard.exchange(), 0)
    own.up = None  # an answer of ours
    for ex in (right, own):
        SetMark(Where(b"srv", b""), b"", -1).run(ex)
        assert ex.response is not None and ex.response.fields is EMPTY
    yard.close()


def routed(yard: Yard, strict: bool = False) -> Marks:
    """Marks as an application gives them behind its session; the last server has none."""
    for at, server in enumerate(yard.servers[:-1]):
        server.mark = b"r%d" % at
    marks = Marks(b"k", "u", Where(b"SID", b"", b"sid", b"."), False, strict)
    marks.take(yard.servers)
    return marks


@pytest.mark.parametrize(
    ("target", "cookie", "at"),
    [
        ("/", b"SID=abc.r1", 1),
        ("/", b"SID=abc.r0; other=1", 0),
        ("/x;sid=abc.r1", b"", 1),
        ("/x;sid=abc.r1/y", b"", 1),
        ("/x?a=b&sid=abc.r1", b"", 1),
        ("/x;sid=abc.r1", b"SID=abc.r0", 1),
        ("/", b"SID=abc", None),
        ("/", b"SID=r1", None),
        ("/", b"SID=abc.r2", None),
        ("/", b"SID=abc.r1.r0", None),
        ("/", b"SID=.", None),
        ("/xsid=abc.r1", b"", None),
    ],
)
def test_a_mark_of_ones_own_stands_behind_a_session(target: str, cookie: bytes, at: int | None) -> None:
    yard = Yard(1, 1, 1)
    marks = routed(yard)
    found = marks.find(yard.exchange(target=target, headers=[(b"Cookie", cookie)]))
    assert found is (None if at is None else yard.servers[at])
    yard.close()


def test_a_server_without_a_mark_has_none_where_none_is_given() -> None:
    yard = Yard(1, 1, 1)
    routed(yard)
    assert [server.token for server in yard.servers] == [b"r0", b"r1", b""]
    yard.close()


@pytest.mark.parametrize("strict", [False, True])
def test_a_client_whose_server_is_out_gets_another_or_none(strict: bool) -> None:
    yard = Yard(1, 1, 1)
    upstream = Upstream("u", yard.servers, board=yard.board, marks=routed(yard, strict), reactor=yard.reactor)
    ex = yard.exchange(headers=[(b"Cookie", b"SID=abc.r1")])
    assert upstream.choose(ex) is yard.servers[1]
    yard.servers[1].standing.up = False
    yard.board.version += 1
    assert (upstream.choose(ex) is None) is strict
    assert upstream.choose(yard.exchange()) is not None
    yard.close()


def own(yard: Yard, where: Where) -> Marks:
    """Marks of one's own: `a`, `b`, and none for the third server."""
    for server, mark in zip(yard.servers, (b"a", b"b", b""), strict=False):
        server.mark = mark
    marks = Marks(b"k", "u", where, signs=False)
    marks.take(yard.servers)
    return marks


def cookies(ex: Exchange) -> list[bytes]:
    return ex.request.fields.get_all(b"cookie")


@pytest.mark.parametrize(
    ("came", "at", "left"),
    [
        (b"srv=b", 1, []),
        (b"x=1; srv=b; y=2", 1, [b"x=1; y=2"]),
        (b"x=1; srv=stale", -1, [b"x=1"]),
        (b"x=1", -1, [b"x=1"]),
    ],
)
def test_servers_do_not_see_a_hidden_mark(came: bytes, at: int, left: list[bytes]) -> None:
    yard = Yard(1, 1)
    marks = own(yard, Where(b"srv", b"", hidden=True))
    ex = yard.exchange(headers=[(b"Cookie", came)])
    for _ in range(2):  # a second try finds the same
        assert marks.find(ex) is (yard.servers[at] if at >= 0 else None)
    assert cookies(ex) == left
    yard.close()


def test_a_hidden_mark_is_given_once_and_the_servers_own_is_taken_out() -> None:
    yard = Yard(1, 1)
    where = Where(b"srv", b"", hidden=True)
    marks = own(yard, where)
    given: list[list[bytes]] = []
    for came in (b"srv=b", b"srv=a"):
        ex = yard.exchange(headers=[(b"Cookie", came)])
        marks.find(ex)
        answered(yard, ex, 1)
        assert ex.response is not None
        ex.response = ResponseHead(200, b"", fields_of([(b"Set-Cookie", b"srv=mine; Path=/"), (b"Set-Cookie", b"s=1"), (b"ETag", b"1")]))
        SetMark(where, b"; Path=/", 0, private=True).run(ex)
        assert ex.response is not None
        given.append(ex.response.fields.get_all(b"set-cookie"))
        assert (b"cache-control", b"private") in ex.response.fields.pairs() or came == b"srv=b"
    assert given == [[b"s=1"], [b"s=1", b"srv=b; Path=/"]]
    yard.close()


def test_where_the_server_sets_nothing_under_our_name_its_cookies_stay() -> None:
    yard = Yard(1)
    where = Where(b"srv", b"", hidden=True)
    own(yard, where)
    ex = answered(yard, yard.exchange(), 0)
    ex.response = ResponseHead(200, b"", fields_of([(b"Set-Cookie", b"s=1"), (b"Set-Cookie", b"t=2")]))
    SetMark(where, b"", 0).run(ex)
    assert ex.response.fields.get_all(b"set-cookie") == [b"s=1", b"t=2", b"srv=a"]
    yard.close()


def test_a_server_without_a_mark_gives_none() -> None:
    yard = Yard(1, 1, 1)
    own(yard, Where(b"srv", b""))
    ex = answered(yard, yard.exchange(), 2)
    SetMark(Where(b"srv", b""), b"", 0).run(ex)
    assert ex.response is not None and ex.response.fields is EMPTY
    yard.close()


@pytest.mark.parametrize(
    ("how", "came", "left", "sets"),
    [
        (REWRITE, b"s=b; t=1", [b"s=b; t=1"], b"s=b; Path=/"),
        (PREFIX, b"s=b~abc; t=1", [b"s=abc; t=1"], b"s=b~new; Path=/"),
        (PREFIX, b"s=b", [b"s=b"], b"s=b~new; Path=/"),
    ],
)
def test_the_mark_is_in_the_applications_cookie(how: int, came: bytes, left: list[bytes], sets: bytes) -> None:
    yard = Yard(1, 1)
    where = Where(b"s", b"", how=how)
    ex = yard.exchange(headers=[(b"Cookie", came)])
    assert own(yard, where).find(ex) is yard.servers[1] and cookies(ex) == left
    answered(yard, ex, 1)
    step = SetMark(where, b"", 0)
    step.run(ex)
    assert ex.response is not None and ex.response.fields is EMPTY  # where the application sets nothing, nothing is set
    ex.response = ResponseHead(200, b"", fields_of([(b"Set-Cookie", b"t=2"), (b"Set-Cookie", b"s=new; Path=/")]))
    step.run(ex)
    assert ex.response.fields.get_all(b"set-cookie") == [b"t=2", sets]
    yard.close()


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([], []),
        ([(b"ETag", b"1")], [b"private"]),
        ([(b"Cache-Control", b"max-age=5")], [b"max-age=5", b"private"]),
        ([(b"Cache-Control", b"no-store"), (b"ETag", b"1")], [b"no-store"]),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_what_no_cache_keeps_needs_no_word(status: int, pairs: list[tuple[bytes, bytes]], said: list[bytes]) -> None:
    yard = Yard(1, 1)
    own(yard, Where(b"srv", b""))
    ex = answered(yard, yard.exchange(), 0)
    ex.response = ResponseHead(status, b"", fields_of(pairs))
    SetMark(Where(b"srv", b""), b"", 0, private=True).run(ex)
    kept = said if status == 200 else [value for name, value in pairs if name == b"Cache-Control"]
    assert ex.response.fields.get_all(b"cache-control") == kept
    yard.close()
