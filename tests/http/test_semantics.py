"""Lists and Forwarded (RFC 7239), read without failing and written so that others can read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.http.semantics import (
    clean_value,
    forwarded_element,
    forwarded_for,
    forwarded_node,
    quote,
    split_list,
    unquote,
)


def test_list_splits_outside_of_quotes_only() -> None:
    assert split_list(b'a, "b, c" , d\t,,e') == [b"a", b'"b, c"', b"d", b"", b"e"]
    assert split_list(b'"a\\", b", c') == [b'"a\\", b"', b"c"]
    assert split_list(b"a;b", b";") == [b"a", b"b"]


@given(st.binary(max_size=20))
def test_quote_and_unquote_are_inverse(value: bytes) -> None:
    assert unquote(quote(value)) == value


def test_token_needs_no_quotes() -> None:
    assert quote(b"photos.example") == b"photos.example"
    assert quote(b"photos.example:8443") == b'"photos.example:8443"'
    assert quote(b"") == b'""'
    assert unquote(b'"') == b'"'


@pytest.mark.parametrize(
    ("address", "node"),
    [(b"192.0.2.1", b"192.0.2.1"), (b"2001:db8::1", b'"[2001:db8::1]"'), (b"unix:", b"unknown"), (b"", b"unknown")],
)
def test_node(address: bytes, node: bytes) -> None:
    assert forwarded_node(address) == node


def test_element_is_read_back() -> None:
    element = forwarded_element(b"2001:db8::1", b"[::1]:8443", b"https")
    assert element == b'for="[2001:db8::1]";host="[::1]:8443";proto=https'
    assert forwarded_for([element]) == [b"[2001:db8::1]"]
    assert forwarded_element(b"192.0.2.1", b"", b"http") == b"for=192.0.2.1;proto=http"


def test_elements_in_order_and_gaps_kept() -> None:
    values = [b'proto=https;For="[2001:db8::1]:47", host=a', b"by=x;for=192.0.2.60"]
    assert forwarded_for(values) == [b"[2001:db8::1]:47", b"", b"192.0.2.60"]


@given(st.binary(max_size=40))
def test_reading_never_fails(value: bytes) -> None:
    assert len(forwarded_for([value])) == len(split_list(value))


def test_open_quote_swallows_nothing_that_is_believed() -> None:
    """A client's quote without end must not make a later hop's entry look like another's."""
    assert forwarded_for([b'for="192.0.2.1, for=10.0.0.1']) == [b'"192.0.2.1, for=10.0.0.1']


@given(st.binary(max_size=40))
def test_clean_value_stands_on_one_line(value: bytes) -> None:
    clean = clean_value(value)
    assert not any(c < 32 and c != 9 for c in clean)
    assert clean == clean.strip(b" \t")


def test_clean_value_keeps_what_is_clean() -> None:
    assert clean_value(b" a\r\nX-Evil: 1\x00b ") == b"a  X-Evil: 1 b"
    assert clean_value("Grüße".encode()) == "Grüße".encode()
