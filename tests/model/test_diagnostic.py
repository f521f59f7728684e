"""How mistakes are told."""

from __future__ import annotations

import pytest

from vestibule.model.diagnostic import Severity, Span, did_you_mean, error, has_errors, warning


@pytest.mark.parametrize(
    ("span", "place"),
    [
        (Span("v.toml", key="sites.a.to"), "v.toml:sites.a.to"),
        (Span("nginx.conf", 3, 7), "nginx.conf:3:7"),
        (Span("nginx.conf", 3), "nginx.conf:3"),
        (Span("v.toml", 3, 7, "a.b"), "v.toml:3:7"),
        (Span("v.toml"), "v.toml"),
        (Span(key="--to"), "--to"),
        (Span(), ""),
    ],
)
def test_places(span: Span, place: str) -> None:
    assert span.render() == place


def test_one_line_says_where_what_and_how_to_mend_it() -> None:
    assert error(Span("v.toml", key="a"), "x", "it is wrong", "mend it").render() == "v.toml:a: error: it is wrong; mend it"
    assert warning(Span("v.toml"), "x", "it is odd").render() == "v.toml: warning: it is odd"
    assert error(Span(), "x", "it is wrong").render() == "error: it is wrong"


def test_only_errors_forbid() -> None:
    odd, wrong = warning(Span(), "x", "odd"), error(Span(), "x", "wrong")
    assert (odd.severity, wrong.severity) == (Severity.WARNING, Severity.ERROR)
    assert not has_errors([odd])
    assert has_errors([odd, wrong])


def test_the_nearest_word_is_offered() -> None:
    assert did_you_mean("certt", ["key", "cert"]) == "did you mean `cert`?"
    assert did_you_mean("zzz", ["key", "cert"]) == "known here: `key`, `cert`"
    assert did_you_mean("zzz", []) == ""
