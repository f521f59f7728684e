"""Regular expressions of PCRE as Python writes them."""

from __future__ import annotations

import re

import pytest

from vestibule.dialects.nginx.patterns import to_pattern


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        (r"^\Qa.b*\E$", b"a.b*", b"axb"),
        (r"^\Q[x", b"[x", b"x"),
        (r"^\p{N}$", b"\xbd", b"a"),
        (r"^\pN$", b"5", b"a"),
        (r"^[\p{Lu}_]$", b"\xc9", b"\xe9"),
        (r"^\P{L}$", b"5", b"a"),
        (r"^\p{^L}$", b"5", b"a"),
        (r"^[^\p{L&}]$", b"5", b"Z"),
        (r"^\p{Any}$", b"\xff", b""),
        (r"^a(?i)b$", b"aB", b"Ab"),
        (r"^(?:(?i)a)b$", b"Ab", b"aB"),
        (r"^a(?s-i).b$", b"a\nb", b"A\nb"),
        (r"^[(?i)]$", b"(", b"a"),
        (r"^\(?i$", b"(i", b"(I"),
        (r"^[]\h]$", b"\xa0", b"h"),
        (r"^[^]]$", b"[", b"]"),
        (r"^\H\x{2f}\z", b"a/", b"a/\n"),
        (r"^a\Z", b"a\n", b"ab"),
        (r"^[[:alpha:][]$", b"[", b"5"),
        (r"^(?<name>a)(?P=name)$", b"aa", b"a"),
    ],
)
def test_what_a_pattern_fits(pattern: str, fits: bytes, fits_not: bytes) -> None:
    made = re.compile(to_pattern(pattern).encode())
    assert made.search(fits), made
    assert not made.search(fits_not), made


def test_case_is_ignored_but_where_it_is_not() -> None:
    made = re.compile(to_pattern("^a(?-i)b$", ignore_case=True).encode())
    assert made.search(b"Ab")
    assert not made.search(b"aB")


@pytest.mark.parametrize("pattern", [r"\p{Nonsense}", r"\p{Greek}", "a(?i)b|c", "(", r"\X", "[[:^alpha:]]"])
def test_what_cannot_be_carried_over_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no regular expression vestibule can use"):
        to_pattern(pattern)
