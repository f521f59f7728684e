"""Secrets stay out of logs in every spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.plan.redact import HIDDEN, Redactor

NAMES = [b"key", b"slug", b"apiKey", b"sessionKey", b"token", b"code", b"password", b"state"]
FULL = Redactor(NAMES, True)
SECRET = b"s3cr3t"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["plain", "upper", "escaped", "list", "second", "semicolon"])
def test_secret_value_is_hidden(name: bytes, form: str) -> None:
    query = name + b"=" + SECRET
    if form == "upper":
        query = name.upper() + b"=" + SECRET
    elif form == "escaped":
        query = b"".join(b"%%%02x" % c for c in name) + b"=" + SECRET
    elif form == "list":
        query = name + b"%5B%5D=" + SECRET + b"&" + name + b"[0]=" + SECRET
    elif form == "second":
        query = b"a=1&" + name + b"=" + SECRET + b"&b=2"
    elif form == "semicolon":
        query = b"a=1;" + name + b"=" + SECRET
    for found in (FULL.query(query), FULL.target(b"/x?" + query), FULL.link(b"https://a/x?" + query), FULL.link(b"https://a/x#" + query)):
        assert SECRET not in found
        assert HIDDEN in found


@pytest.mark.parametrize("query", [b"", b"a=1&b=2", b"keys=1", b"monkey=2", b"key", b"key=", b"a=key", b"=key", b"&&=;"])
def test_other_queries_stay(query: bytes) -> None:
    assert FULL.query(query) == query
    assert FULL.target(b"/a?" + query) == b"/a?" + query


def test_rest_of_the_target_stays() -> None:
    assert FULL.target(b"/api/assets/1?size=thumb&key=abc=d&c=2?x") == b"/api/assets/1?size=thumb&key=***&c=2?x"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (b"/share/abc", b"/share/***"),
        (b"/share/abc/photos/1?x=1", b"/share/***/photos/1?x=1"),
        (b"/s/holiday", b"/s/***"),
        (b"/%73hare/abc", b"/%73hare/***"),
        (b"/share", b"/share"),
        (b"/share/", b"/share/"),
        (b"/shared/abc", b"/shared/abc"),
        (b"/search?q=a", b"/search?q=a"),
        (b"/", b"/"),
    ],
)
def test_share_in_a_path(path: bytes, wanted: bytes) -> None:
    assert FULL.target(path) == wanted
    assert Redactor(NAMES, False).target(path) == path


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        (b"https://photos.example/share/abc?key=1", b"https://photos.example/share/***?key=***"),
        (b"https://user:pass@photos.example/a", b"https://***@photos.example/a"),
        (b"https://user:p@ss@photos.example?code=1", b"https://***@photos.example?code=***"),
        (b"https://photos.example", b"https://photos.example"),
        (b"https://photos.example/a#top", b"https://photos.example/a#top"),
        (b"/relative?token=1", b"/relative?token=***"),
        (b"", b""),
    ],
)
def test_link(link: bytes, wanted: bytes) -> None:
    assert FULL.link(link) == wanted


@given(st.binary(max_size=40))
def test_never_fails_and_hides_once(text: bytes) -> None:
    once = FULL.target(text)
    assert FULL.target(once) == once
    FULL.link(text)


def test_memory_of_names_is_bounded_and_right() -> None:
    redactor = Redactor(NAMES, False)
    for turn in range(2):
        for i in range(1_200):
            assert not redactor.is_secret(b"name%d" % i), turn
            assert redactor.is_secret(b"key[%d]" % i)
    assert not redactor.is_secret(b"x" * 1_000)
    assert len(redactor._judged) <= 512
    assert all(len(name) <= 64 for name in redactor._judged)
