"""The options by which HAProxy tells servers of the client: ``forwardfor``, ``originalto``, ``forwarded``.

Facts (HAProxy configuration manual, chapter 4.2): each adds a line of its own behind what the client sent, after all
rules were run; ``except NET`` leaves clients of a network out, ``if-none`` those whose field is there where neither option
lacks it, ``header`` names another field. The option of the backend counts before that of the frontend. ``forwarded`` says
``proto`` and ``for``.

Not here: rules (``rules``).
"""

from __future__ import annotations

import ipaddress
import re

from vestibule.dialects.haproxy.acl import opposite
from vestibule.dialects.haproxy.report import Report, span
from vestibule.dialects.haproxy.settings import Settings
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.tree import Statement
from vestibule.dialects.origin import Origins
from vestibule.model.config import Action, AddHeader, When
from vestibule.model.expr import AllOf, Compare, Concat, Const, Expr, If, InNet, Match, Var, concat

_ADDED = {"option forwardfor": ("X-Forwarded-For", Var("peer_ip")), "option originalto": ("X-Original-To", Var("server_ip"))}

_FOR: Expr = If(Match(":", Var("peer_ip")), Concat((Const('"['), Var("peer_ip"), Const(']"'))), Var("peer_ip"))
_FORWARDED = concat([Const("proto="), Var("scheme"), Const(";for="), _FOR])
"""RFC 7239 section 6: an IPv6 address stands in brackets and quotes."""


def told_actions(front: Settings, back: Settings, state: State, report: Report, origins: Origins) -> list[Action]:
    """Return the actions of the options that hold for a request from a frontend to a backend."""
    actions: list[Action] = []
    for name, (field, usual) in _ADDED.items():
        value = state.addresses.get("src" if usual == Var("peer_ip") else "dst", usual)
        statements = [each for each in (back.last(name), front.last(name)) if each is not None]
        if statements:
            action = _action(statements, field, value, state, report)
            actions.append(origins.at(span(statements[0].line), action))
    statement = back.last("option forwarded") or front.last("option forwarded")
    if statement is not None:
        if statement.arguments():
            report.not_built(statement.line, statement.first, "parameters of `option forwarded`", "write it without")
        actions.append(origins.at(span(statement.line), AddHeader("Forwarded", _FORWARDED)))
    return actions


def _action(statements: list[Statement], field: str, value: Expr, state: State, report: Report) -> Action:
    """Make the action of one option; ``statements`` are those of backend and frontend, as far as there are."""
    tests: list[Expr] = []
    names: list[str] = []
    for statement in statements:
        words = statement.arguments()
        at = 0
        while at < len(words):
            following = words[at + 1] if at + 1 < len(words) else ""
            if words[at] == "if-none":
                at += 1
                continue
            if words[at] == "except" and following:
                tests.append(_outside(statement, at + 1, following, value, report))
            elif words[at] == "header" and following:
                names.append(following)
            else:
                place = statement.first + at
                report.error(
                    statement.line, place, "syntax", f"`{words[at]}` is not expected here", "write `except NET`, `header NAME` or `if-none`"
                )
            at += 2
    if all("if-none" in each.arguments() for each in statements):
        tests.append(_missing(names[0] if names else field, state))
    action = AddHeader(names[0] if names else field, value)
    unique = tuple(dict.fromkeys(tests))
    if not unique:
        return action
    return When(unique[0] if len(unique) == 1 else AllOf(unique), (action,))


def _missing(name: str, state: State) -> Expr:
    if any(re.search(each, name.lower()) for each in state.removed):
        return Compare("==", Var("request_header", name.lower()), Const(""))
    value = state.headers.get(name.lower(), Var("header", name.lower()))
    # What an earlier rule added to cannot be told apart any more, and is there in any case.
    return Const(False) if value is None else Compare("==", value, Const(""))


def _outside(statement: Statement, at: int, text: str, value: Expr, report: Report) -> Expr:
    try:
        network = str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        report.error(statement.line, statement.first + at, "bad-network", f"`{text}` is neither an address nor a network")
        network = "192.0.2.0/32"
    return opposite(InNet(value, (network,)))
