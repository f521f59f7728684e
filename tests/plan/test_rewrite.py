"""Targets that go upstream: always in origin form, always of bytes that may stand there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.http.target import check_target
from vestibule.plan.expr import Const, Node
from vestibule.plan.sent import came_target, own_target
from vestibule.plan.steps.keep import SetMethod
from vestibule.plan.steps.rewrite import Rewrite, StripPrefix, prefix_end
from vestibule.plan.variables import Place, make_variable

from .fakes import idle


def rewritten(target: str, path: str | None, query: str | None) -> bytes:
    ex = idle(target)
    parts: list[Node | None] = [None if each is None else Const(each.encode()) for each in (path, query)]
    Rewrite(parts[0], parts[1]).run(ex)
    assert came_target(ex.request) == target.encode()
    return ex.request.target


@pytest.mark.parametrize(
    ("target", "path", "query", "wanted"),
    [
        ("/a?b=c", "/new", None, b"/new?b=c"),
        ("/a?b=c", None, "x=1", b"/a?x=1"),
        ("/a?b=c", "/new", "", b"/new"),
        ("/a", "/new", "x", b"/new?x"),
        ("/a?", "/new", None, b"/new?"),
        ("/a", "new", None, b"/new"),
        ("/a", "", None, b"/"),
        ("/a", "/b c?d#e\r\n", None, b"/b%20c%3Fd%23e%0D%0A"),
        ("/a", None, "x=a b#?", b"/a?x=a%20b%23?"),
        ("*", "/new", "x", b"*"),
    ],
)
def test_rewrite(target: str, path: str | None, query: str | None, wanted: bytes) -> None:
    assert rewritten(target, path, query) == wanted


def test_a_target_for_the_server_alone() -> None:
    """Variables go on with the one before, and a lasting change after it is one of theirs again."""
    nodes = [node for name in ("path", "decoded_path", "query") if (node := make_variable(name, "", Place())) is not None]
    ex = idle("/a?b")
    for path in (b"/sent", b"/sent/again"):
        Rewrite(Const(path), None, True).run(ex)
        assert (ex.request.target, own_target(ex.request), came_target(ex.request)) == (path + b"?b", b"/a?b", b"/a?b")
    SetMethod(Const(b"PUT")).run(ex)
    assert (ex.request.method, own_target(ex.request)) == (b"PUT", b"/a?b")
    assert [each.find(ex) for each in nodes] == [b"/a", b"/a", b"b"]
    Rewrite(Const(b"/new"), None).run(ex)
    assert (ex.request.target, own_target(ex.request)) == (b"/new?b", b"/new?b")


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_whatever_comes_out_is_a_target(path: bytes, query: bytes) -> None:
    ex = idle()
    Rewrite(Const(path), Const(query)).run(ex)
    check_target(ex.request.target)
    assert ex.request.target[:1] == b"/"


@pytest.mark.parametrize(
    ("target", "prefix", "wanted"),
    [
        ("/photos/a?b", "/photos", b"/a?b"),
        ("/photos/a", "/photos/", b"/a"),
        ("/photos", "/photos", b"/"),
        ("/photos?x=1", "/photos", b"/?x=1"),
        ("/ph%6ftos/%61", "/photos", b"/%61"),
        ("/a%20b/c", "/a b", b"/c"),
        ("/photo", "/photos", b"/photo"),
        ("/other", "/photos", b"/other"),
        ("/ph%6", "/photos", b"/ph%6"),
        ("/ph%zztos", "/photos", b"/ph%zztos"),
        ("*", "/photos", b"*"),
        ("//photos/a", "/photos", b"/a"),
        ("/./ph%6ftos/%61%2Fb?c=//d", "/photos", b"/a%2Fb?c=//d"),
        ("/x/../photos", "/photos/", b"/x/../photos"),
        ("/x/../a%20b/c%25?", "/a b", b"/c%25?"),
        ("//other", "/photos", b"//other"),
        ("/../photos", "/photos", b"/../photos"),
    ],
)
def test_strip_prefix(target: str, prefix: str, wanted: bytes) -> None:
    ex = idle(target)
    StripPrefix(prefix.encode()).run(ex)
    assert ex.request.target == wanted
    assert came_target(ex.request) == target.encode()


@pytest.mark.parametrize(
    ("target", "prefix", "wanted"),
    [
        ("/PHOTOS/A?b", "/photos", b"/A?b"),
        ("/pHoTos/A", "/Photos", b"/A"),
        ("/PH%6fTO%53/%61A", "/photos", b"/%61A"),
        ("/%C3%84/A", "/ä", b"/%C3%84/A"),
        ("//PHOTOS/A", "/photos", b"/A"),
        ("/Photo", "/photos", b"/Photo"),
    ],
)
def test_strip_prefix_in_any_case(target: str, prefix: str, wanted: bytes) -> None:
    ex = idle(target)
    StripPrefix(prefix.encode(), ignore_case=True).run(ex)
    assert ex.request.target == wanted


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("/app/../app/admin?a=/..", b"/admin?a=/.."),
        ("/app/x/%2E%2e/y%41", b"/yA"),
        ("/app/x/..", b"/"),
        ("/app/a%41/..b/c..?d", b"/a%41/..b/c..?d"),
        ("/app/./b", b"/./b"),
        ("/app/../admin", b"/app/../admin"),
        ("/app/../../admin", b"/app/../../admin"),
    ],
)
def test_what_is_left_of_a_path_does_not_climb(target: str, wanted: bytes) -> None:
    """`/app/../app/admin` is `/app/admin` to who matches routes, and `/../app/admin` would be another path to the server."""
    ex = idle(target)
    StripPrefix(b"/app").run(ex)
    assert ex.request.target == wanted


@given(st.lists(st.tuples(st.sampled_from(b"abc/"), st.booleans()), max_size=8), st.sampled_from([b"", b"?x", b"/rest"]))
def test_any_spelling_of_a_prefix_is_found(letters: list[tuple[int, bool]], rest: bytes) -> None:
    prefix = b"/" + bytes(c for c, _ in letters)
    spelled = b"/" + b"".join(b"%%%02x" % c if coded else bytes([c]) for c, coded in letters)
    assert prefix_end(spelled + rest, prefix) == len(spelled)


def test_no_change_makes_no_new_head() -> None:
    ex = idle("/a?b")
    head = ex.request
    Rewrite(Const(b"/a"), None).run(ex)
    assert ex.request is head
