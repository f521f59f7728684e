"""Targets that go upstream: always in origin form, always of bytes that may stand there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.http.target import check_target
from vestibule.plan.expr import Const, Node
from vestibule.plan.sent import came_target
from vestibule.plan.steps.rewrite import Rewrite, StripPrefix, prefix_end

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
    ],
)
def test_strip_prefix(target: str, prefix: str, wanted: bytes) -> None:
    ex = idle(target)
    StripPrefix(prefix.encode()).run(ex)
    assert ex.request.target == wanted
    assert came_target(ex.request) == target.encode()


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
