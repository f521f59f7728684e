"""``map``, ``geo`` and ``split_clients``: variables whose value is looked up in a table.

Facts: ``map`` compares texts without regard to case, exact ones first, then regular expressions in written order, then
``default``; with ``hostnames`` also names with ``*`` at their beginning or end, longer ones first. ``geo`` takes the most specific
network, or of ``ranges`` the last that has the address; with ``proxy`` that of a client in X-Forwarded-For. ``split_clients`` shares out
by MurmurHash2, in hundredths of a percent of 2**32.

Rules: each becomes one expression of conditions, put in wherever the variable is used. Tables may use each other in any order.
"""

from __future__ import annotations

import bisect
import ipaddress
import re
from collections.abc import Sequence

from vestibule.dialects.nginx.patterns import groups_of, to_pattern
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.values import read_network
from vestibule.dialects.nginx.variables import VARIABLE, Names, either
from vestibule.dialects.record import Record
from vestibule.model.expr import EMPTY, AnyOf, Call, Compare, Const, Expr, If, InNet, InSet, Match, Not, Var

_MOST_IN_A_ROW = 12
"""Entries of a table that are written one inside the other."""

_LAST = ipaddress.IPv4Address("255.255.255.255")
_EVERY = ("0.0.0.0/0", "::/0")
_SHARE = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?%", re.ASCII)
_WHOLE = 10_000


def read_tables(record: Record, directives: Sequence[Directive], names: Names) -> None:
    """Define the variables of all tables, those that others use first."""
    waiting = list(directives)
    while waiting:
        known = {_variable(each) for each in waiting}
        ready = [each for each in waiting if not known & (_used_by(each) - {_variable(each)})]
        # Where they go round, the first is read all the same, and names what is missing.
        for directive in ready or waiting[:1]:
            _READERS[directive.name](record, directive, names)
            waiting.remove(directive)


def _variable(directive: Directive) -> str:
    return directive.text(len(directive.args) - 1).removeprefix("$").lower()


def _used_by(directive: Directive) -> set[str]:
    """Return the variables that a table names."""
    texts = [*directive.texts[:-1], *[text for entry in directive.block or () for text in entry.texts]]
    return {(found[1] or found[2]).lower() for text in texts for found in VARIABLE.finditer(text)}


def read_map(record: Record, directive: Directive, names: Names) -> None:
    """Define the variable of a ``map``."""
    subject = names.text(directive.args[0])
    name = _name(record, directive, 1)
    by_host = any(entry.name == "hostnames" and not entry.args for entry in directive.block or ())
    exact: list[tuple[Expr, Expr]] = []
    wild: list[tuple[str, Expr]] = []
    patterns: list[tuple[Expr, Expr]] = []
    default: Expr = EMPTY
    for entry in directive.block or ():
        key = entry.name
        if key in ("volatile", "hostnames") and not entry.args:
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
        elif by_host and (key.startswith(("*.", ".")) or key.endswith(".*")):
            wild.append((key.lower(), names.text(entry.args[0])))
        else:
            text = key.removeprefix("\\")
            # Names may be written with the dot of the root.
            texts = (text, f"{text}.") if by_host and "." in text else (text,)
            exact.append((InSet(subject, texts, ignore_case=True), names.text(entry.args[0])))
    before = [*_merged(exact), *_wildcards(wild, subject)]
    names.own[name] = chain([*before, *patterns], default)
    _learn_captures(names, subject, [(test, EMPTY) for test, _ in before], patterns)


def _learn_captures(names: Names, subject: Expr, before: list[tuple[Expr, Expr]], patterns: list[tuple[Expr, Expr]]) -> None:
    """Have named groups of a table's patterns be variables: what was captured by the pattern that the subject fitted."""
    fitted = [test for test, _ in patterns if isinstance(test, Match)]
    for group in sorted({name for test in fitted for name in groups_of(test.pattern)}):
        found: list[tuple[Expr, Expr]] = []
        for test in fitted:
            pattern = f"(?i){test.pattern}" if test.ignore_case else test.pattern
            captured: Expr = Call("capture", (subject, Const(pattern), Const(group))) if group in groups_of(test.pattern) else EMPTY
            found.append((test, captured))
        names.captured.setdefault(group.lower(), chain([*before, *found], EMPTY))


def _wildcards(entries: list[tuple[str, Expr]], subject: Expr) -> list[tuple[Expr, Expr]]:
    """Return the tests of names with ``*``: those at the beginning first, the longest of each first."""
    made: list[tuple[bool, int, Expr, Expr]] = []
    for key, value in entries:
        at_end = key.endswith(".*")
        if at_end:
            pattern = f"^{re.escape(key[:-1])}"
        else:
            pattern = f"(?:^|\\.){re.escape(key[1:])}\\.?$" if key.startswith(".") else f"{re.escape(key[1:])}\\.?$"
        made.append((at_end, -len(key), Match(pattern, subject, True), value))
    return [(test, value) for _, _, test, value in sorted(made, key=lambda each: each[:2])]


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
    subject = _address_of(record, directive, names.text(directive.args[0]) if len(directive.args) == 2 else names.client)
    name = _name(record, directive, len(directive.args) - 1)
    default: Expr = EMPTY
    networks: dict[str, Expr] = {}
    ranges = _Ranges()
    by_range = any(entry.name == "ranges" and not entry.args for entry in directive.block or ())
    for entry in directive.block or ():
        if entry.name in ("ranges", "proxy_recursive") and not entry.args:
            continue
        if entry.name == "proxy" and len(entry.args) == 1:
            continue
        if len(entry.args) != 1:
            record.error(entry.span, "arguments", "a line of `geo` is a network and a value")
        elif entry.name == "default":
            default = names.text(entry.args[0])
        else:
            is_deleted = entry.name == "delete"
            text = entry.text() if is_deleted else entry.name
            try:
                if by_range and "-" in text:
                    ends = _ends(text)
                    if is_deleted:
                        ranges.delete(*ends)
                    else:
                        ranges.add(*ends, names.text(entry.args[0]))
                elif is_deleted:
                    networks.pop(read_network(record, entry.place(0), text), None)
                else:
                    networks[read_network(record, entry.span, text)] = names.text(entry.args[0])
            except ValueError as bad:
                record.error(entry.span, "bad-network", str(bad))
    ordered = sorted(networks.items(), key=lambda each: -ipaddress.ip_network(each[0]).prefixlen)
    # What is no address is looked up as the last one there is.
    tests: list[tuple[Expr, Expr]] = []
    for network, value in ordered:
        test: Expr = InNet(subject, (network,))
        if len(directive.args) == 2 and _LAST in ipaddress.ip_network(network):
            test = AnyOf((test, Not(InNet(subject, _EVERY))))
        tests.append((test, value))
    found = [*ranges.tests(subject), *tests]
    names.own[name] = chain(found, default)


def _address_of(record: Record, directive: Directive, address: Expr) -> Expr:
    """Return the address that a ``geo`` looks up: behind its ``proxy`` networks that of the client they name."""
    proxies: list[str] = []
    walks = False
    for entry in directive.block or ():
        if entry.name == "proxy_recursive" and not entry.args:
            walks = True
        elif entry.name == "proxy" and len(entry.args) == 1:
            try:
                proxies.append(read_network(record, entry.place(0), entry.text()))
            except ValueError as bad:
                record.error(entry.place(0), "bad-network", str(bad))
    if not proxies:
        return address
    how = Const("all" if walks else "last")
    return Call("behind_proxies", (address, Var("header", "X-Forwarded-For"), Const(",".join(proxies)), how))


class _Ranges:
    """Ranges of addresses with values, none inside another: a later one takes its part of those before."""

    def __init__(self) -> None:
        self._held: list[tuple[int, int, Expr]] = []
        """In the order of their addresses."""

    def add(self, first: int, last: int, value: Expr) -> None:
        at, after = self._touched(first, last)
        kept: list[tuple[int, int, Expr]] = []
        for start, end, other in self._held[at:after]:
            if start < first:
                kept.append((start, first - 1, other))
            if end > last:
                kept.append((last + 1, end, other))
        self._held[at:after] = sorted([*kept, (first, last, value)], key=lambda each: each[0])

    def delete(self, first: int, last: int) -> None:
        at, after = self._touched(first, last)
        self._held[at:after] = [each for each in self._held[at:after] if each[0] < first or last < each[1]]

    def _touched(self, first: int, last: int) -> tuple[int, int]:
        """Return from where to where those are that have one of the addresses."""
        at = bisect.bisect_left(self._held, first, key=lambda each: each[1])
        return at, bisect.bisect_right(self._held, last, at, key=lambda each: each[0])

    def tests(self, subject: Expr) -> list[tuple[Expr, Expr]]:
        made: list[tuple[Expr, Expr]] = []
        for first, last, value in self._held:
            ends = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
            made.append((InNet(subject, tuple([str(each) for each in ipaddress.summarize_address_range(*ends)])), value))
        return made


def _ends(text: str) -> tuple[int, int]:
    """Return the first and the last address of a range. Raises ``ValueError``."""
    first, _, last = text.partition("-")
    try:
        ends = int(ipaddress.IPv4Address(first.strip())), int(ipaddress.IPv4Address(last.strip()))
        if ends[0] > ends[1]:
            raise ValueError("it ends before it begins")
    except ValueError as bad:
        raise ValueError(f"`{text}` is no range of addresses: {bad}") from None
    return ends


def _name(record: Record, directive: Directive, at: int) -> str:
    text = directive.text(at)
    if not text.startswith("$") or len(text) < 2:
        record.error(directive.place(at), "bad-value", f"`{text}` is no variable", f"write `{directive.name} ... $name {{ ... }}`")
    return text.removeprefix("$").lower()


def chain(entries: list[tuple[Expr, Expr]], default: Expr) -> Expr:
    """Return the value of the first entry whose test holds. Long tables become trees, so that no expression is nested deeply."""
    entries = _joined(entries)
    if len(entries) <= _MOST_IN_A_ROW:
        made = default
        for test, value in reversed(entries):
            made = If(test, value, made)
        return made
    first, second = entries[: len(entries) // 2], entries[len(entries) // 2 :]
    # Of those before, one holds: it is the last one if it is none of the others.
    return If(either([test for test, _ in first]), chain(first[:-1], first[-1][1]), chain(second, default))


def _joined(entries: list[tuple[Expr, Expr]]) -> list[tuple[Expr, Expr]]:
    """Join neighbours that have one value, where there are many entries."""
    if len(entries) <= _MOST_IN_A_ROW:
        return entries
    joined: list[tuple[list[Expr], Expr]] = []
    for test, value in entries:
        if joined and joined[-1][1] == value:
            joined[-1][0].append(test)
        else:
            joined.append(([test], value))
    return [(either(tests), value) for tests, value in joined]


def read_split(record: Record, directive: Directive, names: Names) -> None:
    """Define the variable of a ``split_clients``."""
    total = Call("checksum", (names.text(directive.args[0]), Const("murmur2")))
    name = _name(record, directive, 1)
    entries: list[tuple[Expr, Expr]] = []
    default: Expr = EMPTY
    shared, last = 0, 0
    for entry in directive.block or ():
        if len(entry.args) != 1:
            record.error(entry.span, "arguments", "a line of `split_clients` is a share and a value")
            continue
        value = names.text(entry.args[0])
        if entry.name == "*":
            default = value
            continue
        share = _SHARE.fullmatch(entry.name)
        part = int(share[1]) * 100 + int((share[2] or "").ljust(2, "0")) if share is not None else 0
        shared += part
        if part == 0 or shared > _WHOLE:
            message = f"`{entry.name}` is no share, or more than is left"
            record.error(entry.span, "bad-value", message, "write `20%` or `0.5%`, 100% in all, and `*` for the rest")
            continue
        # Each share is rounded down by itself, as nginx does it.
        last += part * 0xFFFFFFFF // _WHOLE
        entries.append((Compare("<", total, Const(last)), value))
    names.own[name] = chain(entries, default)


_READERS = {"map": read_map, "geo": read_geo, "split_clients": read_split}
