"""What identifies a request: ``unique-id-format``.

Facts (HAProxy configuration manual, chapters 4.2 and 8.2.4): a frontend has a format of its own; ``unique-id``, ``%ID``, the field of
``unique-id-header`` and PROXY headers all tell the same text. ``%{+X}o`` has numbers of aliases written in hexadecimal.

Rules: a format that would not yield the same text each time, or is not the only one of a file, gives way to vestibule's own identifiers.

Not here: formats (``formats``), where identifiers are told (``lower``, ``servers``).
"""

from __future__ import annotations

from vestibule.dialects.haproxy.formats import ALIAS, format_expr
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.state import State, not_built
from vestibule.dialects.haproxy.tree import Section, Statement
from vestibule.dialects.read import Unreadable
from vestibule.model.expr import Expr, Var, walk

_OWN = Var("request_id")
_HEXADECIMAL = "%{+X}o"
_FLEETING = ("random", "uuid", "time_ms", "time", "time_local", "total_ms")


def identity_of(sections: list[Section], report: Report) -> Expr:
    """Return what identifies requests; vestibule's own, told, where the formats of a file cannot be had."""
    formats: dict[str, Statement] = {}
    for section in sections:
        for each in section.lines:
            if each.name == "unique-id-format":
                formats["".join(each.arguments()[:1])] = each
    for text, statement in formats.items():
        try:
            expr = _expr(text)
        except Unreadable as bad:
            why = bad.message
        else:
            if len(formats) == 1:
                return expr
            why = "there are several"
        message = f"`unique-id-format` is left out: {why}"
        report.warning(statement.line, statement.first, "left-out", message, "vestibule's own identifiers are used")
    return _OWN


def _expr(text: str) -> Expr:
    plain = text.replace(_HEXADECIMAL, "", 1).lstrip()
    if _HEXADECIMAL in text and ALIAS.search(plain):
        raise not_built("numbers in hexadecimal")
    expr = format_expr(plain, State())
    if any(isinstance(each, Var) and each.name in _FLEETING for each in walk(expr)):
        raise not_built("what differs each time it is read")
    return expr
