"""Numbers on the wire: what is one, what is none, and what `int()` would have taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.http.number import parse_decimal, parse_hex

NONE = [
    b"",
    b" ",
    b" 5",
    b"5 ",
    b"+5",
    b"-5",
    b"-0",
    b"1_0",
    b"5.0",
    b"0x5",
    b"5e1",
    b"\xd9\xa5",
    b"5\x00",
    b"5\n",
    b"/",
    b":",
    b"5a",
    b"a5",
]


@pytest.mark.parametrize("text", [*NONE, b"00", b"05", b"1" + b"0" * 15])
def test_no_decimal(text: bytes) -> None:
    assert parse_decimal(text) == -1


@pytest.mark.parametrize(
    "text", [text for text in NONE if text not in (b"5a", b"a5", b"5e1")] + [b"g", b"G", b"@", b"`", b"0" * 15, b"f" * 17]
)
def test_no_hex(text: bytes) -> None:
    assert parse_hex(text) == -1


@given(st.integers(0, 10**15 - 1))
def test_decimals(value: int) -> None:
    assert parse_decimal(b"%d" % value) == value


@given(st.integers(0, 16**12 - 1), st.booleans(), st.integers(0, 2))
def test_hex(value: int, upper: bool, zeros: int) -> None:
    text = b"0" * zeros + (b"%X" if upper else b"%x") % value
    assert parse_hex(text) == value


@given(st.lists(st.sampled_from(list(b"0123456789 +-_xa")), max_size=20).map(bytes))
def test_whatever_is_read_is_written_so(text: bytes) -> None:
    """A decimal has one spelling; anything that is read is that spelling."""
    value = parse_decimal(text)
    assert value == -1 or text == b"%d" % value
