"""Nodes yield what they say, fold, and know what they depend on."""

import pytest

from vestibule.http.address import Network, NetworkSet
from vestibule.plan import expr
from vestibule.plan.expr import EXCHANGE, FIELDS, Const, ConstNumber, ConstTest, Node, concat, folded
from vestibule.plan.variables import Header, HeadMs, Path, Status

from .fakes import idle

FOO = Header(b"foo")


def test_concat_merges_neighbours_and_keeps_the_widest_scope() -> None:
    node = concat([Const(b"a"), Const(b"b"), FOO, Const(b""), Const(b"c")])
    assert isinstance(node, expr.Concat)
    assert len(node.parts) == 3
    assert node.scope == FIELDS
    assert node.text(idle("/", "Foo: x")) == b"abxc"
    assert node.find(idle()) == b"abc"


def test_concat_of_little_is_less() -> None:
    assert concat([FOO]) is FOO
    nothing = concat([Const(b"")])
    assert isinstance(nothing, Const)
    assert nothing.value == b""


def test_absent_is_none_and_empty() -> None:
    ex = idle()
    assert FOO.find(ex) is None
    assert FOO.text(ex) == b""
    assert not FOO.test(ex)
    absent = HeadMs(EXCHANGE)
    assert absent.find(ex) is None
    assert absent.number(ex) == 0
    assert absent.text(ex) == b""
    assert not absent.test(ex)


@pytest.mark.parametrize(("text", "value"), [("12", 12), ("012", 12), ("-1", 0), ("1_0", 0), ("9" * 19, 0), ("x", 0)])
def test_text_as_number(text: str, value: int) -> None:
    assert FOO.number(idle("/", f"Foo: {text}")) == value


@pytest.mark.parametrize(
    ("op", "truths"),
    [("==", (False, True, False)), ("!=", (True, False, True)), ("<", (True, False, False)),
     ("<=", (True, True, False)), (">", (False, False, True)), (">=", (False, True, True))],
)  # fmt: skip
def test_compare_numbers(op: str, truths: tuple[bool, ...]) -> None:
    found = [expr.CompareNumber(expr.OPERATORS.index(op), ConstNumber(i), ConstNumber(2)).test(idle()) for i in (1, 2, 3)]
    assert tuple(found) == truths


def test_compare_texts() -> None:
    ex = idle("/", "Foo: a")
    assert expr.CompareText(True, FOO, Const(b"a")).test(ex)
    assert not expr.CompareText(False, FOO, Const(b"a")).test(ex)
    assert expr.CompareText(False, FOO, Const(b"A")).test(ex)


def test_match_is_found_anywhere() -> None:
    ex = idle("/", "Foo: xABCx")
    assert not expr.Match(b"abc", FOO, False).test(ex)
    assert expr.Match(b"abc", FOO, True).test(ex)
    assert not expr.Match(b"^ABC", FOO, False).test(ex)


def test_in_set() -> None:
    ex = idle("/", "Foo: Bar")
    assert expr.InSet(FOO, [b"x", b"Bar"], False).test(ex)
    assert not expr.InSet(FOO, [b"bar"], False).test(ex)
    assert expr.InSet(FOO, [b"BAR"], True).test(ex)


def test_in_net() -> None:
    networks = NetworkSet([Network(b"10.0.0.0/8")])
    assert expr.InNet(FOO, networks).test(idle("/", "Foo: 10.1.2.3:80"))
    assert not expr.InNet(FOO, networks).test(idle("/", "Foo: 11.1.2.3"))
    assert not expr.InNet(FOO, networks).test(idle("/", "Foo: ten"))


def test_logic() -> None:
    ex = idle()
    yes, no = ConstTest(True), ConstTest(False)
    assert expr.AllOf([]).test(ex)
    assert not expr.AnyOf([]).test(ex)
    assert not expr.AllOf([yes, no]).test(ex)
    assert expr.AnyOf([no, yes]).test(ex)
    assert expr.Not(no).test(ex)
    assert expr.Not(no).find(ex) == b"true"
    assert no.find(ex) == b"false"


def test_choice_and_default() -> None:
    choice = expr.If(expr.CompareText(True, FOO, Const(b"a")), Const(b"7"), Const(b""))
    assert choice.text(idle("/", "Foo: a")) == b"7"
    assert choice.number(idle("/", "Foo: a")) == 7
    assert not choice.test(idle())
    default = expr.Default(FOO, Const(b"1"))
    assert default.text(idle()) == b"1"
    assert default.number(idle()) == 1
    assert default.test(idle())
    assert default.text(idle("/", "Foo: 5")) == b"5"
    assert default.number(idle("/", "Foo: 5")) == 5
    assert default.test(idle("/", "Foo: 5"))


def test_folding() -> None:
    node: Node = expr.If(ConstTest(True), Const(b"a"), Const(b"b"))
    made = folded(node, False, False)
    assert isinstance(made, Const)
    assert made.value == b"a"
    truth = folded(expr.Not(ConstTest(True)), True, False)
    assert isinstance(truth, ConstTest)
    assert not truth.value
    number = folded(expr.Default(Const(b""), Const(b"12")), False, True)
    assert isinstance(number, ConstNumber)
    assert number.fixed == 12
    assert folded(FOO, False, False) is FOO
    assert folded(made, False, False) is made


def test_scopes_are_the_widest_of_the_parts() -> None:
    path, status = Path(EXCHANGE), Status(EXCHANGE)
    for node in (
        expr.Match(b"a", path, False),
        expr.CompareText(True, FOO, path),
        expr.CompareNumber(expr.EQ, status, ConstNumber(1)),
        expr.AllOf([expr.Not(expr.InSet(path, [], False)), ConstTest(True)]),
        expr.AnyOf([expr.InNet(path, NetworkSet([]))]),
        expr.If(ConstTest(True), Const(b""), path),
        expr.Default(FOO, path),
    ):
        assert node.scope == EXCHANGE
    assert expr.Not(expr.Match(b"a", FOO, False)).scope == FIELDS
