"""Where mistakes are placed, and which of them are told."""

from __future__ import annotations

from vestibule.dialects.toml.notes import Notes, join
from vestibule.model.diagnostic import Span, error, warning


def test_paths_are_written_as_in_the_file() -> None:
    assert join("", "sites") == "sites"
    assert join(join("sites", "a.test"), "to") == 'sites."a.test".to'
    assert join("sites.a.routes", 2) == "sites.a.routes[2]"


def test_a_place_is_the_nearest_one_known() -> None:
    notes = Notes("f")
    notes.origin("sites[0]", "sites.a")
    notes.origin("sites[0].source.routes[1]", "sites.a.routes[1]")
    assert notes.place("sites[0].source.routes[1].when") == Span("f", key="sites.a.routes[1]")
    assert notes.place("sites[0].source.routes[0].when") == Span("f", key="sites.a")
    assert notes.place("timeouts.connect_ms") == Span("f", key="timeouts")


def test_consequences_are_left_out() -> None:
    notes = Notes("f")
    notes.error("a", "bad-value", "not a table")
    notes.error("b", "missing", "no `x`")
    notes.hush("c")
    checked = [error(Span("f", key=key), "x", key) for key in ("a", "a.x", "a[0]", "ab", "b", "b.x", "c", "c.x")]
    told = [each.message for each in notes.merge([*checked, warning(Span("f", key="d"), "x", "d")])]
    assert told == ["not a table", "no `x`", "ab", "b.x", "c.x"]


def test_warnings_are_told_where_nothing_is_wrong() -> None:
    notes = Notes("f")
    notes.warning("a", "x", "odd")
    assert [each.message for each in notes.merge([warning(Span("f", key="b"), "x", "odd too")])] == ["odd", "odd too"]
