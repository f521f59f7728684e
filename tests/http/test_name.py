"""Field names: tokens, roles, and a memory that stays small and true."""

import pytest

from vestibule.http.name import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOP_BY_HOP,
    HOST,
    PLAIN,
    TE,
    TOKEN_CHARS,
    TRANSFER_ENCODING,
    UPGRADE,
    find_name,
)

ROLES = [
    (b"Content-Length", CONTENT_LENGTH),
    (b"Transfer-Encoding", TRANSFER_ENCODING),
    (b"Connection", CONNECTION),
    (b"Host", HOST),
    (b"Upgrade", UPGRADE),
    (b"Expect", EXPECT),
    (b"TE", TE),
    (b"Keep-Alive", HOP_BY_HOP),
    (b"Proxy-Connection", HOP_BY_HOP),
    (b"Proxy-Authorization", HOP_BY_HOP),
    (b"Proxy-Authenticate", HOP_BY_HOP),
    (b"HTTP2-Settings", HOP_BY_HOP),
    (b"Content-Type", PLAIN),
    (b"Trailer", PLAIN),
]


@pytest.mark.parametrize(("spelling", "role"), ROLES)
def test_every_spelling_has_the_role(spelling: bytes, role: int) -> None:
    for variant in (spelling, spelling.lower(), spelling.upper(), spelling.swapcase()):
        name = find_name(variant)
        assert name is not None and name.role == role and name.lower == spelling.lower()


@pytest.mark.parametrize("byte", [bytes([c]) for c in range(256) if bytes([c]) not in TOKEN_CHARS])
def test_what_is_no_token_is_no_name(byte: bytes) -> None:
    assert find_name(byte) is None
    assert find_name(b"X" + byte) is None
    assert find_name(byte + b"X") is None


def test_every_token_character_is_allowed() -> None:
    name = find_name(TOKEN_CHARS)
    assert name is not None and name.lower == TOKEN_CHARS.lower()
    assert find_name(b"") is None


def test_underscores_are_known() -> None:
    for spelling, has in ((b"X_Real_IP", True), (b"X-Real-IP", False), (b"_", True)):
        name = find_name(spelling)
        assert name is not None and name.underscore is has


def test_many_names_do_not_push_out_the_known_ones() -> None:
    """Anybody may fill the memory of names; what steers framing is found after it as before."""
    for number in range(5_000):
        name = find_name(b"X-Made-Up-%d" % number)
        assert name is not None and name.lower == b"x-made-up-%d" % number and name.role == PLAIN
    for spelling, role in ROLES:
        name = find_name(spelling.swapcase())
        assert name is not None and name.role == role
