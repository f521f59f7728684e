"""Lists of texts, and tests that try each value."""

import pytest

from vestibule.compile_expr import ExprMaker, Mistakes
from vestibule.http.head import ResponseHead
from vestibule.model.expr import AnyOf, Call, Concat, Const, Expr, InNet, InSet, Match, Not, Var
from vestibule.plan.expr import CONNECTION, EXCHANGE, FIELDS, Node
from vestibule.plan.variables import Place

from .fakes import fields, idle

ITEM = Var("item")


def made(expr: Expr) -> Node:
    mistakes = Mistakes()
    node = ExprMaker(mistakes).text("here", expr, Place())
    assert mistakes.lines == []
    return node


def each(name: str, *lines: str) -> list[bytes]:
    return made(Var("each_header", name)).items(idle("/", *lines))


def items(*lines: str) -> list[bytes]:
    return made(Call("items", (Var("each_header", "x"),))).items(idle("/", *lines))


def form(query: str, separators: str = "&;") -> list[bytes]:
    return made(Call("form_values", (Var("query"), Const("a"), Const(separators)))).items(idle(f"/{query}"))


def cookies(*lines: str) -> list[bytes]:
    values = Call("cookie_values", (Var("each_header", "cookie"), Const("a")))
    return made(values).items(idle("/", *[f"Cookie: {line}" for line in lines]))


def test_every_line_of_a_field_is_a_value() -> None:
    assert each("X", "X: a, b", "Y: c", "x:") == [b"a, b", b""]
    assert each("X", "Y: c") == []


def test_lines_of_answers_are_known_once_there_is_one() -> None:
    node = made(Var("each_response_header", "X"))
    ex = idle()
    assert node.items(ex) == []
    ex.response = ResponseHead(200, b"", fields("X: 1", "X: 2"))
    assert node.items(ex) == [b"1", b"2"]


def test_lines_of_a_server_stay_as_they_came() -> None:
    node = made(Var("each_upstream_header", "X"))
    ex = idle()
    assert node.items(ex) == []
    ex.came = fields("X: 1", "X: 2")
    ex.response = ResponseHead(200, b"", fields("X: 3"))
    assert node.items(ex) == [b"1", b"2"]


def test_lines_that_go_on_are_those_of_steps() -> None:
    assert made(Var("each_request_header", "X")).items(idle("/", "X: 1", "X: 2")) == [b"1", b"2"]


def test_items_stand_between_commas() -> None:
    assert items("X: a , b", "X: c") == [b"a", b"b", b"c"]
    assert items("X:", "X: ,d") == [b"", b"", b"d"]
    assert items('X: "a,b", c') == [b'"a,b"', b"c"]
    assert items("Y: a") == []


def test_quotes_end_with_their_line() -> None:
    assert items('X: "a', "X: 10.0.0.1") == [b'"a', b"10.0.0.1"]


def test_a_text_is_a_list_of_one() -> None:
    assert made(Call("items", (Const("a, b"),))).items(idle()) == [b"a", b"b"]
    assert made(Call("items", (Const(""),))).items(idle()) == []
    assert made(Call("item_count", (Var("header", "x"),))).number(idle("/", "X: a, b")) == 1


def test_every_value_of_a_name() -> None:
    assert form("?a=1&b=2&a=3") == [b"1", b"3"]
    assert form("?a=1;a=2&xa=3&a") == [b"1", b"2"]
    assert form("?a=1;a=2", "&") == [b"1;a=2"]
    assert form("?a=&%61=4") == [b""]
    assert form("") == []


def test_every_cookie_of_a_name() -> None:
    assert cookies("a=1; b=2;a = 3 ", "a=4") == [b"1", b"3", b"4"]
    assert cookies("a=1,a=2") == [b"1", b"2"]
    assert cookies('b="x\\";a=0";a="y;z",a=2') == [b'"y;z"', b"2"]
    assert cookies("a=; a; A=1") == []


@pytest.mark.parametrize(("index", "value"), [(1, b"a"), (2, b"b"), (-1, b"b"), (-2, b"a"), (3, b""), (-3, b"")])
def test_one_value(index: int, value: bytes) -> None:
    node = made(Call("item_at", (Call("items", (Const("a,b"),)), Const(index))))
    assert node.text(idle()) == value


def test_a_test_holds_for_any_value() -> None:
    inside = made(Call("any_item", (Call("items", (Var("each_header", "x"),)), InNet(ITEM, ("10.0.0.0/8",)))))
    assert inside.test(idle("/", "X: 192.0.2.1, 10.1.1.1"))
    assert inside.test(idle("/", "X: 10.1.1.1", "X: junk"))
    assert not inside.test(idle("/", "X: 192.0.2.1"))
    assert not inside.test(idle())


def test_no_value_is_no_value_that_differs() -> None:
    other = made(Call("any_item", (Var("each_header", "x"), Not(InSet(ITEM, ("a",))))))
    assert other.test(idle("/", "X: a", "X: b"))
    assert not other.test(idle("/", "X: a"))
    assert not other.test(idle())


def test_the_first_value_that_a_test_holds_for() -> None:
    first = made(Call("first_item", (Var("each_header", "x"), Match("^.o", ITEM))))
    assert first.find(idle("/", "X: one", "X: two")) is None
    assert first.find(idle("/", "X: one", "X: bon", "X: to")) == b"bon"
    assert first.find(idle()) is None
    outside = Call("any_item", (Var("each_header", "x"), Match("w", Concat((Call("first_item", (Const("y"), Match("y", ITEM))), ITEM)))))
    assert made(outside).test(idle("/", "X: w")), "the outer value is there again"


def test_lists_inside_of_lists() -> None:
    inner = Call("any_item", (Call("items", (ITEM,)), InSet(ITEM, ("b",))))
    both = made(Call("any_item", (Var("each_header", "x"), AnyOf((inner, InSet(ITEM, ("whole, line",)))))))
    assert both.test(idle("/", "X: a, b"))
    assert both.test(idle("/", "X: whole, line")), "the outer value is there again"
    assert not both.test(idle("/", "X: whole"))


def test_what_it_depends_on() -> None:
    assert made(Call("any_item", (Var("each_header", "x"), InSet(ITEM, ("a",))))).scope == FIELDS
    assert made(Call("any_item", (Var("each_header", "x"), InSet(Var("path"), ("/a",))))).scope == EXCHANGE
    assert made(Call("any_item", (Const("a"), InSet(ITEM, ("a",))))).scope == CONNECTION, "never evaluated before there is a value"
