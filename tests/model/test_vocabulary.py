"""The tables of variables and functions, and what they say about expressions."""

from __future__ import annotations

import re

import pytest

from vestibule.model.expr import (
    AllOf,
    Call,
    Compare,
    Concat,
    Const,
    Default,
    Expr,
    If,
    InNet,
    InSet,
    Kind,
    Match,
    Not,
    Phase,
    Var,
)
from vestibule.model.vocabulary import FUNCTIONS, VARIABLES, kind_of, phase_of, scope_of

IP = Var("client_ip")


@pytest.mark.parametrize("name", VARIABLES)
def test_rows_are_whole(name: str) -> None:
    row = VARIABLES[name]
    assert re.fullmatch("[a-z][a-z_]*", name)
    assert row.doc.endswith(".")
    # What is known before a request may not change with it, or rewritten header blocks would be reused wrongly.
    # The clock goes on and requests are counted, whatever the connection.
    assert (row.phase <= Phase.TLS) == (row.scope == "connection") or name in (
        *("time", "time_ms", "time_local", "connection_requests", "connection_ms", "tls_client_days", "random", "uuid"),
        *("upstream_servers", "upstream_requests", "upstream_waiting"),
    )
    for spelling in (row.nginx, row.caddy, row.apache, row.haproxy):
        assert ("NAME" in spelling) <= bool(row.argument)
        assert not spelling or not row.argument or "NAME" in spelling


def test_no_two_variables_are_spelled_alike() -> None:
    for dialect in ("nginx", "caddy", "apache", "haproxy"):
        spellings = [getattr(row, dialect) for row in VARIABLES.values() if getattr(row, dialect)]
        assert len(spellings) == len(set(spellings)), dialect


def test_no_name_means_two_things() -> None:
    assert not set(VARIABLES) & set(FUNCTIONS)
    assert not (set(VARIABLES) | set(FUNCTIONS)) & {"if", "concat", "all", "any", "and", "or", "not", "in", "within", "true", "false"}


@pytest.mark.parametrize(
    ("expr", "kind"),
    [
        (Const("a"), Kind.TEXT),
        (Const(1), Kind.NUMBER),
        (Const(True), Kind.TEST),
        (IP, Kind.ADDRESS),
        (Var("nobody"), Kind.TEXT),
        (Call("length", (IP,)), Kind.NUMBER),
        (Call("nobody", ()), Kind.TEXT),
        (Concat((Const(1), Const(2))), Kind.TEXT),
        (Match("x", IP), Kind.TEST),
        (Compare("==", Const(1), Const(1)), Kind.TEST),
        (InSet(IP, ()), Kind.TEST),
        (InNet(IP, ()), Kind.TEST),
        (AllOf(()), Kind.TEST),
        (Not(Const(True)), Kind.TEST),
        (If(Const(True), Const(1), Const(2)), Kind.NUMBER),
        (If(Const(True), Const(1), Const("")), Kind.TEXT),
        (Default(Var("status"), Const(0)), Kind.NUMBER),
        (Default(IP, Const("-")), Kind.TEXT),
    ],
)
def test_kinds(expr: Expr, kind: Kind) -> None:
    assert kind_of(expr) is kind


def test_an_expression_is_known_when_its_last_variable_is() -> None:
    assert phase_of(Const("a")) is Phase.ACCEPT
    assert phase_of(Concat((Var("server_port"), Var("scheme")))) is Phase.TLS
    assert phase_of(If(Var("tls"), Var("host"), Default(Var("status"), Const(0)))) is Phase.RESPONSE
    assert phase_of(Var("nobody")) is Phase.ACCEPT


def test_an_expression_depends_on_the_widest_scope_in_it() -> None:
    assert scope_of(Const("a")) == "connection"
    assert scope_of(Concat((Var("scheme"), Var("server_port")))) == "connection"
    assert scope_of(Concat((Var("scheme"), Var("header", "X")))) == "fields"
    assert scope_of(Concat((Var("header", "X"), Var("path")))) == "exchange"
