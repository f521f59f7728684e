"""The text of expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.model.strategies import expressions

from vestibule.dialects.toml.expression import format_template, format_test, parse_template, parse_test
from vestibule.model.expr import (
    AllOf,
    AnyOf,
    Call,
    Compare,
    Concat,
    Const,
    Default,
    Expr,
    If,
    InNet,
    InSet,
    Match,
    Not,
    Var,
)

PATH, HOST, TLS = Var("path"), Var("host"), Var("tls")


@given(expressions)
def test_what_is_written_reads_back_the_same(expr: Expr) -> None:
    assert parse_template(format_template(expr)) == expr
    assert parse_test(format_test(expr)) == expr


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("", Const("")),
        ("plain", Const("plain")),
        ("{path}", PATH),
        ("{ path }", PATH),
        ("https://{host}{path}", Concat((Const("https://"), HOST, PATH))),
        ("{{{path}}}", Concat((Const("{"), PATH, Const("}")))),
        ("{header:X-Foo}", Var("header", "X-Foo")),
        ('{header:"a b"}', Var("header", "a b")),
        ('a{"b"}', Concat((Const("a"), Const("b")))),
        ("{5}{true}", Concat((Const(5), Const(True)))),
        ('{"\\u00e4\\""}', Const('ä"')),
        ('{"}"}', Const("}")),
    ],
)
def test_templates(text: str, expr: Expr) -> None:
    assert parse_template(text) == expr


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("tls", TLS),
        ("not tls", Not(TLS)),
        ("not not tls", Not(Not(TLS))),
        ('path == "/a"', Compare("==", PATH, Const("/a"))),
        ("status >= -5", Compare(">=", Var("status"), Const(-5))),
        ('path ~ "^/a"', Match("^/a", PATH)),
        ('path ~* "^/a"', Match("^/a", PATH, ignore_case=True)),
        ('host in ["a", "b"]', InSet(HOST, ("a", "b"))),
        ("host in []", InSet(HOST, ())),
        ('host in* ["a"]', InSet(HOST, ("a",), ignore_case=True)),
        ('client_ip within ["10.0.0.0/8"]', InNet(Var("client_ip"), ("10.0.0.0/8",))),
        ("host ?? path ?? 1", Default(HOST, Default(PATH, Const(1)))),
        ("(host ?? path) ?? 1", Default(Default(HOST, PATH), Const(1))),
        ("lower(host)", Call("lower", (HOST,))),
        ("f()", Call("f", ())),
        ("if(tls, 1, 2)", If(TLS, Const(1), Const(2))),
        ("concat(host, path)", Concat((HOST, PATH))),
        ("all()", AllOf(())),
        ("any(tls)", AnyOf((TLS,))),
        ("tls and tls or tls", AnyOf((AllOf((TLS, TLS)), TLS))),
        ("tls and (tls or tls)", AllOf((TLS, AnyOf((TLS, TLS))))),
        ("not tls and tls", AllOf((Not(TLS), TLS))),
        ("not (tls and tls)", Not(AllOf((TLS, TLS)))),
        ('not host == "a"', Not(Compare("==", HOST, Const("a")))),
        ("tls\n  and\ttls", AllOf((TLS, TLS))),
    ],
)
def test_tests(text: str, expr: Expr) -> None:
    assert parse_test(text) == expr
    assert parse_test(format_test(expr)) == expr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a value is expected at character 2, not the end"),
        ("}", "`}` at character 1 closes nothing"),
        ("{path", "`}` is expected at character 6, not the end"),
        ("{path path}", "`}` is expected at character 7, not `path`"),
        ("{path, }", "`}` is expected at character 6, not `,`"),
        ("{(path}", "`)` is expected at character 7, not `}`"),
        ("{ä}", "`ä` at character 2 means nothing here"),
        ("{header: X}", "a name after `header:` is expected at character 10, not `X`"),
        ("{and}", "a value is expected at character 2, not `and`"),
        ("{if}", "`(` is expected at character 4, not `}`"),
        ("{if(tls, 1)}", "`if` takes a test and two values"),
        ("{path ~ path}", 'a string in `"` is expected at character 9, not `path`'),
        ('{path in "a"}', "`[` is expected at character 10"),
        ('{"\\q"}', "the string at character 2 has an escape that JSON does not know"),
        ("{" + "9" * 19 + "}", "the number at character 2 is too large"),
        ("{" + "(" * 60 + "path" + ")" * 60 + "}", "nested more than 40 deep"),
        ("{" + "not " * 60 + "tls}", "nested more than 40 deep"),
        ("{" + "path ?? " * 60 + "path}", "nested more than 40 deep"),
    ],
)
def test_mistakes_name_the_character(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_template(text)
    assert message in str(caught.value)


def test_a_test_ends_where_it_ends() -> None:
    with pytest.raises(ValueError, match="the end is expected at character 5, not `path`"):
        parse_test("tls path")


@given(st.text(alphabet='{}()[]"\\:,~*=<>!? abcnot019_-.\n', max_size=30))
def test_no_text_raises_anything_but_value_errors(text: str) -> None:
    for read in (parse_template, parse_test):
        try:
            read(text)
        except ValueError as bad:
            assert str(bad)
