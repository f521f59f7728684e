"""Variables that are used before they have their value.

Facts: nginx fills a text when it is needed, and a variable of the answer that has no value then is empty, a number of bytes 0, and
``$status`` 000. Fields of an answer are filled when its head is sent: what the answer is made of is known then, and how long it
became is not.

Rules: what is known too late is replaced wherever it stands in an expression, so that a ``map`` of such a variable takes its default.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from vestibule.model.expr import EMPTY, Concat, Const, Expr, Phase, Var, concat, walk
from vestibule.model.vocabulary import VARIABLES

_NONE: dict[str, Expr] = {"status": Const("000"), "bytes_out": Const("0"), "response_size": Const("0"), "bytes_in": Const("0")}
"""What stands for those that are not merely empty."""


def known_at(expr: Expr, phase: Phase) -> Expr:
    """Return an expression with what is not known in a phase replaced by what nginx has there."""
    late = [each for each in walk(expr) if isinstance(each, Var) and _phase(each) > phase]
    return _replaced(expr, phase) if late else expr


def _phase(var: Var) -> Phase:
    variable = VARIABLES.get(var.name)
    return Phase.ACCEPT if variable is None else variable.phase


def _replaced(expr: Expr, phase: Phase) -> Expr:
    if isinstance(expr, Var):
        return _NONE.get(expr.name, EMPTY) if _phase(expr) > phase else expr
    if isinstance(expr, Concat):
        return concat([_replaced(part, phase) for part in expr.parts])
    made: dict[str, Any] = {each.name: _inside(getattr(expr, each.name), phase) for each in fields(expr)}
    return type(expr)(**made)


def _inside(value: Any, phase: Phase) -> object:
    if isinstance(value, tuple):
        return tuple([_inside(each, phase) for each in value])
    return _replaced(value, phase) if hasattr(value, "__dataclass_fields__") else value
