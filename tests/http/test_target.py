"""Targets, authorities and the one form of a path that routing sees."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.fault import ProtocolError
from vestibule.http.target import (
    check_authority,
    check_target,
    host_of,
    is_same,
    normal_path,
    split_absolute,
    split_authority,
    with_slashes,
)

PATHS = [
    (b"/", b"/"),
    (b"/a", b"/a"),
    (b"/a/", b"/a/"),
    (b"/%61", b"/a"),
    (b"/%41%2e", b"/A."),
    (b"//a///b//", b"/a/b/"),
    (b"/a/./b", b"/a/b"),
    (b"/a/../b", b"/b"),
    (b"/a/b/..", b"/a/"),
    (b"/a/..", b"/"),
    (b"/.", b"/"),
    (b"/a/.", b"/a/"),
    (b"/a/%2e%2E/b", b"/b"),
    (b"/a%2fb", b"/a%2Fb"),
    (b"/a%2Fb", b"/a%2Fb"),
    (b"/a%2f..b%2f.c", b"/a%2F..b%2F.c"),
    (b"/a%2fb/./c/../d", b"/a%2Fb/d"),
    (b"/.hidden", b"/.hidden"),
    (b"/...", b"/..."),
    (b"/..a/b", b"/..a/b"),
    (b"/a%5cb", b"/a\\b"),
    (b"/a;x=1/b", b"/a;x=1/b"),
    (b"/%C3%A4", b"/\xc3\xa4"),
    (b"/%20", b"/ "),
]


@pytest.mark.parametrize(("path", "normal"), PATHS)
def test_normal_paths(path: bytes, normal: bytes) -> None:
    assert normal_path(path) == normal


@pytest.mark.parametrize(
    "path",
    [b"/%", b"/%2", b"/%zz", b"/a%2", b"/%+1", b"/% 1", b"/%00", b"/a/%00b", b"/..", b"/../a", b"/a/../..", b"/%2e%2e/a", b"/a/..//.."],
)
def test_paths_that_are_refused(path: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        normal_path(path)
    assert caught.value.kind.name == "client.bad_target"


@pytest.mark.parametrize(
    "path",
    [
        b"/open/..%2fadmin",
        b"/%2e%2e%2fb",
        b"/a%2f..%2fb",
        b"/a%2F.",
        b"/open%2F../admin",
        b"/open/.%2fx",
        b"/a%2Fb/../c",
        b"/a/b%2fc/d/../..",
    ],
)
def test_a_path_that_climbs_for_who_decodes_slashes_is_refused(path: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        normal_path(path)
    assert caught.value.kind.name == "client.bad_target"


@given(st.lists(st.sampled_from([b"/", b".", b"..", b"a", b"%2e", b"%2f", b"b"]), max_size=12))
def test_who_takes_encoded_slashes_for_slashes_sees_the_same_path(parts: list[bytes]) -> None:
    raw = b"/" + b"".join(parts)
    try:
        path = normal_path(raw)
        decoded = normal_path(raw.replace(b"%2f", b"/"))
    except ProtocolError:
        return
    assert re.sub(b"/+", b"/", path.replace(b"%2F", b"/")) == decoded


@given(st.lists(st.sampled_from([b"/", b".", b"..", b"a", b"%2e", b"%2f", b"%61", b"b"]), max_size=12))
def test_no_dot_segment_and_no_empty_one_is_left(parts: list[bytes]) -> None:
    try:
        path = normal_path(b"/" + b"".join(parts))
    except ProtocolError:
        return
    segments = path.split(b"/")
    assert segments[0] == b""
    assert not {b".", b".."} & set(segments[1:])
    assert b"" not in segments[1:-1]


@pytest.mark.parametrize("byte", [*range(33), 35, *range(127, 256)])
def test_bytes_that_cannot_stand_in_a_target(byte: int) -> None:
    with pytest.raises(ProtocolError):
        check_target(b"/a" + bytes([byte]))


def test_all_other_bytes_can() -> None:
    check_target(b"/" + bytes(c for c in range(33, 127) if c != 35))


@pytest.mark.parametrize(
    ("authority", "parts"),
    [
        (b"a", (b"a", b"")),
        (b"a:80", (b"a", b"80")),
        (b"a:", (b"a", b"")),
        (b"[::1]", (b"[::1]", b"")),
        (b"[::1]:8443", (b"[::1]", b"8443")),
        (b"192.0.2.1:1", (b"192.0.2.1", b"1")),
        (b"xn--mnchen-3ya.de", (b"xn--mnchen-3ya.de", b"")),
    ],
)
def test_authorities(authority: bytes, parts: tuple[bytes, bytes]) -> None:
    check_authority(authority)
    assert split_authority(authority) == parts


@pytest.mark.parametrize(
    "authority",
    [
        b"",
        b":80",
        b"a:0",
        b"a:65536",
        b"a:8 0",
        b"a:+8",
        b"a:99999999",
        b"a b",
        b"a/b",
        b"u@a",
        b"a,b",
        b"[::1",
        b"[::1]80",
        b"[]",
        b"[g]",
        b"::1",
        b"a\x00",
        b"\xe9",
    ],
)
def test_what_is_no_authority(authority: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_authority(authority)
    assert caught.value.kind.name == "client.bad_host"


@pytest.mark.parametrize(
    ("authority", "host"),
    [(b"A.Example:80", b"a.example"), (b"a.", b"a"), (b"a.:80", b"a"), (b"[2001:DB8::1]:80", b"[2001:db8::1]"), (b"", b"")],
)
def test_the_host_for_routing(authority: bytes, host: bytes) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"http://a", (b"a", b"/")),
        (b"HTTPS://a:1/b?c", (b"a:1", b"/b?c")),
        (b"http://a?b=/c", (b"a", b"/?b=/c")),
        (b"http:///b", (b"", b"/b")),
    ],
)
def test_absolute_targets(target: bytes, parts: tuple[bytes, bytes]) -> None:
    assert split_absolute(target) == parts


@pytest.mark.parametrize("target", [b"a", b"*", b"a:80", b"ftp://a/", b"http:/a", b"//a", b""])
def test_what_is_no_absolute_target(target: bytes) -> None:
    with pytest.raises(ProtocolError):
        split_absolute(target)


def test_encoded_slash_and_encoded_percent_sign_stay_apart() -> None:
    assert normal_path(b"/a%2Fb") == b"/a%2Fb"
    assert normal_path(b"/a%252Fb") == b"/a%252Fb"


@pytest.mark.parametrize(
    ("path", "read"),
    [(b"/admin%2Fx", b"/admin/x"), (b"/a%2F%2Fb", b"/a/b"), (b"/%2Fa/", b"/a/"), (b"/a%2F", b"/a/"), (b"/a/b", b"/a/b")],
)
def test_a_path_as_who_takes_an_encoded_slash_for_one_reads_it(path: bytes, read: bytes) -> None:
    assert with_slashes(path) == read


@pytest.mark.parametrize(
    ("one", "other", "tls", "same"),
    [
        (b"a.example", b"A.example:80", False, True),
        (b"a.example:443", b"a.example:", True, True),
        (b"[::1]:80", b"[::1]", False, True),
        (b"a.example:80", b"a.example", True, False),
        (b"a.example:8080", b"a.example", False, False),
        (b"a.example", b"b.example", False, False),
        (b"[::1]", b"[::2]", False, False),
    ],
)
def test_authorities_that_are_one(one: bytes, other: bytes, tls: bool, same: bool) -> None:
    assert is_same(one, other, tls) is same
    assert is_same(other, one, tls) is same
