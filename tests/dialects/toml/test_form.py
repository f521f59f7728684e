"""How single values are read and written."""

from __future__ import annotations

import datetime
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.dialects.toml.form import (
    COUNT,
    DURATION,
    FIELDS,
    FLAG,
    PERMISSIONS,
    SECONDS,
    SIZE,
    TEMPLATE,
    TEST,
    TEXT,
    TEXTS,
    Choice,
    Form,
    ListOf,
    Shape,
    Unlimited,
    key_text,
    kind_name,
    quote,
)
from vestibule.model.expr import Var

CHOICE = Choice("set", "pass")
ONE = ListOf(TEXT, one_alone=True)


@given(st.text())
def test_any_text_is_quoted_or_refused(text: str) -> None:
    try:
        written = quote(text)
    except ValueError:
        assert any("\ud800" <= char <= "\udfff" for char in text)
        return
    assert tomllib.loads(f"a = {written}\n{key_text(text)} = 1" if text != "a" else f"a = {written}")["a"] == text


@pytest.mark.parametrize(("key", "text"), [("a-b_1", "a-b_1"), ("a.b", '"a.b"'), ("", '""'), ("é", '"é"'), ('"', '"\\""')])
def test_keys_are_bare_where_they_may_be(key: str, text: str) -> None:
    assert key_text(key) == text


@pytest.mark.parametrize(
    ("form", "written", "value"),
    [
        (TEXT, '"a"', "a"),
        (FLAG, "true", True),
        (FLAG, "false", False),
        (COUNT, "5", 5),
        (PERMISSIONS, "0o660", 0o660),
        (SIZE, '"16KiB"', 16384),
        (DURATION, '"75s"', 75_000),
        (SECONDS, '"365d"', 31_536_000),
        (Unlimited(COUNT), '"unlimited"', None),
        (Unlimited(COUNT), "7", 7),
        (CHOICE, '"pass"', "pass"),
        (TEMPLATE, '"{path}"', Var("path")),
        (TEST, '"tls"', Var("tls")),
        (TEXTS, '["a", "b"]', ("a", "b")),
        (ONE, '["a"]', ("a",)),
        (FIELDS, '{ X = "a", Y = "b" }', (("X", "a"), ("Y", "b"))),
        (FIELDS, '[["X", "a"], ["Y", "b"], ["X", "c"]]', (("X", "a"), ("Y", "b"), ("X", "c"))),
    ],
)
def test_values_survive(form: Form, written: str, value: object) -> None:
    assert form.read(tomllib.loads(f"a = {written}")["a"]) == value
    assert form.write(value) == written


def test_one_value_may_stand_without_brackets() -> None:
    assert ONE.read("a") == ("a",)
    with pytest.raises(ValueError, match="expected an array"):
        TEXTS.read("a")


@pytest.mark.parametrize(
    ("form", "value", "message"),
    [
        (TEXT, 5, "expected a text, not a number"),
        (TEXT, "a\0", "a NUL byte"),
        (FLAG, 1, "expected true or false, not a number"),
        (COUNT, True, "expected a whole number, not true or false"),
        (COUNT, -1, "negative"),
        (COUNT, 2**60, "too large"),
        (SIZE, 5, "with its unit, not a bare number"),
        (SIZE, [], 'expected a size such as "16KiB", not an array'),
        (SECONDS, "1500ms", "whole seconds"),
        (Unlimited(COUNT), "none", 'or write "unlimited"'),
        (CHOICE, "sett", "did you mean `set`?"),
        (CHOICE, 5, "expected one of"),
        (TEMPLATE, 5, "expected a template, not a number"),
        (TEMPLATE, "{", "a value is expected"),
        (TEST, {}, "expected a test, not a table"),
        (FIELDS, "X: a", "expected a table of texts, or an array of pairs, not a text"),
        (FIELDS, [["X", "a", "b"]], "expected a pair"),
        (FIELDS, [["X", 1]], "expected a text, not a number"),
    ],
)
def test_mistakes_say_what_was_expected(form: Form, value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        form.read(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "name"),
    [("", "a text"), (1, "a number"), (1.5, "a fraction"), (True, "true or false"), ([], "an array"), ({}, "a table")],
)
def test_types_have_names(value: Any, name: str) -> None:
    assert kind_name(value) == name
    assert kind_name(datetime.date(2026, 1, 1)) == "a date or time"


def test_a_shape_is_left_to_those_who_know_it() -> None:
    assert Shape("a table").read({"a": 1}) == {"a": 1}
    with pytest.raises(NotImplementedError):
        Shape("a table").write({})
