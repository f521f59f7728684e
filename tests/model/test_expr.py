"""The expression tree itself."""

from __future__ import annotations

from hypothesis import given
from tests.model.strategies import expressions

from vestibule.model.expr import EMPTY, Concat, Const, Expr, If, Not, Var, children, concat, walk


@given(expressions)
def test_walk_meets_every_node_parents_first(expr: Expr) -> None:
    nodes = list(walk(expr))
    assert nodes[0] is expr
    assert len(nodes) == 1 + sum(len(list(walk(child))) for child in children(expr))


def test_children_are_in_order_of_evaluation() -> None:
    a, b, c = Const(True), Const(1), Const(2)
    assert children(If(a, b, c)) == (a, b, c)
    assert children(Not(a)) == (a,)
    assert children(Var("path")) == ()


def test_concat_makes_the_simplest_equal_expression() -> None:
    path = Var("path")
    assert concat([]) == EMPTY
    assert concat([Const("a"), Const(""), Const("b")]) == Const("ab")
    assert concat([path]) == path
    assert concat([Const("a"), Concat((Const("b"), path)), Const("")]) == Concat((Const("ab"), path))
    assert concat([Const(1), Const("b")]) == Concat((Const(1), Const("b")))
