"""``map`` and ``geo``: variables whose value is looked up in a table.

Facts: ``map`` compares texts without regard to case, exact ones first, then regular expressions in written order, then
``default``. ``geo`` takes the most specific network.

Rules: each becomes one expression of conditions, put in wherever the variable is used.
"""

from __future__ import annotations

import ipaddress

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.variables import Names, to_pattern
from vestibule.dialects.record import Record
from vestibule.model.expr import EMPTY, Expr, If, InNet, InSet, Match, Var
from vestibule.model.quantity import parse_network


def read_map(record: Record, directive: Directive, names: Names) -> None:
    """Define the variable of a ``map``."""
    subject = names.text(directive.args[0])
    name = _name(record, directive, 1)
    exact: list[tuple[Expr, Expr]] = []
    patterns: list[tuple[Expr, Expr]] = []
    default: Expr = EMPTY
    for entry in directive.block or ():
        key = entry.name
        if key in ("volatile", "hostnames") and not entry.args:
            if key == "hostnames":
                not_built(record, entry.span, "`hostnames`", "write the names as regular expressions")
            continue
        if len(entry.args) != 1 or entry.block is not None:
            record.error(entry.span, "arguments", "a line of `map` is a text and a value")
            continue
        if key == "default":
            default = names.text(entry.args[0])
        elif key.startswith("~"):
            found = _pattern(record, entry, subject, names)
            if found is not None:
                patterns.append(found)
        else:
            exact.append((InSet(subject, (key.removeprefix("\\"),), ignore_case=True), names.text(entry.args[0])))
    names.own[name] = _chain([*_merged(exact), *patterns], default)


def _pattern(record: Record, entry: Directive, subject: Expr, names: Names) -> tuple[Expr, Expr] | None:
    ignore_case = entry.name.startswith("~*")
    text = entry.name.removeprefix("~*") if ignore_case else entry.name[1:]
    within = names.copy()
    try:
        pattern = to_pattern(text)
        within.captures = (subject, to_pattern(text, ignore_case))
    except ValueError as bad:
        record.error(entry.span, "bad-regex", str(bad))
        return None
    return Match(pattern, subject, ignore_case), within.text(entry.args[0])


def _merged(entries: list[tuple[Expr, Expr]]) -> list[tuple[Expr, Expr]]:
    """Join neighbouring texts that have one value."""
    merged: list[tuple[Expr, Expr]] = []
    for test, value in entries:
        last = merged[-1] if merged else None
        if last is not None and last[1] == value and isinstance(last[0], InSet) and isinstance(test, InSet):
            merged[-1] = (InSet(test.subject, (*last[0].values, *test.values), test.ignore_case), value)
        else:
            merged.append((test, value))
    return merged


def read_geo(record: Record, directive: Directive, names: Names) -> None:
    """Define the variable of a ``geo``."""
    subject = names.text(directive.args[0]) if len(directive.args) == 2 else Var("client_ip")
    name = _name(record, directive, len(directive.args) - 1)
    default: Expr = EMPTY
    networks: list[tuple[int, Expr, Expr]] = []
    for entry in directive.block or ():
        if entry.name in ("ranges", "proxy", "proxy_recursive", "delete"):
            not_built(record, entry.span, f"`{entry.name}` in `geo`", "write networks")
        elif len(entry.args) != 1:
            record.error(entry.span, "arguments", "a line of `geo` is a network and a value")
        elif entry.name == "default":
            default = names.text(entry.args[0])
        else:
            try:
                network = parse_network(entry.name)
            except ValueError as bad:
                record.error(entry.span, "bad-network", str(bad))
                continue
            length = ipaddress.ip_network(network).prefixlen
            networks.append((length, InNet(subject, (network,)), names.text(entry.args[0])))
    ordered = sorted(networks, key=lambda each: -each[0])
    names.own[name] = _chain([(test, value) for _, test, value in ordered], default)


def _name(record: Record, directive: Directive, at: int) -> str:
    text = directive.text(at)
    if not text.startswith("$") or len(text) < 2:
        record.error(directive.place(at), "bad-value", f"`{text}` is no variable", f"write `{directive.name} ... $name {{ ... }}`")
    return text.removeprefix("$").lower()


def _chain(entries: list[tuple[Expr, Expr]], default: Expr) -> Expr:
    made = default
    for test, value in reversed(entries):
        made = If(test, value, made)
    return made
