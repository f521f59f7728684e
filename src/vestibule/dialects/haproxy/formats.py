"""Log formats of HAProxy as expressions of the model.

Facts (HAProxy configuration manual, chapter 8.2.4): in a format, ``%[…]`` is a sample expression, ``%name`` an alias and ``%%`` a per
cent sign; flags in braces say how an item is written.

Not here: sample expressions (``sample``), lines that a program knows by name (``loglines``).
"""

from __future__ import annotations

import re

from vestibule.dialects.haproxy.ends import connection_end, request_end
from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.report import Report
from vestibule.dialects.haproxy.sample import as_text, fetch_expr, split_sample, whole_expr
from vestibule.dialects.haproxy.state import State, not_built
from vestibule.dialects.haproxy.variables import LOG_ALIASES, NUMBERED_FETCHES, UNBUILT_ALIASES, server_of
from vestibule.dialects.read import Unreadable
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import EMPTY, Compare, Const, Expr, If, InSet, Var, concat

ALIAS = re.compile(r"%(\{[^}]*\})?([A-Za-z]+)")


def format_expr(text: str, state: State) -> Expr:
    """Return the expression of a log format, as fields and redirects have them. Raises ``Unreadable``."""
    parts: list[Expr] = []
    at = 0
    while at < len(text):
        mark = text.find("%", at)
        if mark < 0:
            parts.append(Const(text[at:]))
            break
        parts.append(Const(text[at:mark]))
        part, at = _format_item(text, mark, state)
        parts.append(part)
    return concat(parts)


def _format_item(text: str, at: int, state: State) -> tuple[Expr, int]:
    """Read what begins with the per cent sign at an index; return it with the index behind."""
    if text.startswith("%%", at):
        return Const("%"), at + 2
    start = at + 1
    flags = ""
    if text.startswith("{", start):
        end = text.find("}", start)
        if end < 0:
            raise Unreadable("syntax", "the brace after `%` is never closed")
        flags, start = text[start + 1 : end], end + 1
    if text.startswith("[", start):
        end = _closing(text, start)
        expr = _shown(text[start + 1 : end].strip(), state)
        return _flagged(expr, flags), end + 1
    if flags and text[start : start + 1] in ("", " "):
        # Flags that stand alone hold for all that follows.
        return _flagged(EMPTY, flags), start
    found = ALIAS.match(text, at)
    if found is None:
        raise Unreadable("syntax", f"`{text[at : at + 2]}` is no item of a format", "write `%%` for a per cent sign")
    return _flagged(_alias(found[2], state), flags), found.end()


def _shown(text: str, state: State) -> Expr:
    """Return what a sample is in a format: nothing where it reads a number and finds no text."""
    sample = split_sample(text)
    expr = as_text(whole_expr(sample, state))
    if sample.fetch not in NUMBERED_FETCHES:
        return expr
    return If(Compare("==", as_text(fetch_expr(NUMBERED_FETCHES[sample.fetch], sample.arguments, state)), EMPTY), EMPTY, expr)


def _alias(name: str, state: State) -> Expr:
    if name == "ft":
        return If(InSet(Var("scheme"), ("https",)), Const(f"{state.frontend}~"), Const(state.frontend))
    if name == "f":
        return Const(state.frontend)
    if name == "o":
        return EMPTY
    if name == "ID":
        return state.identity
    if name in ("hr", "hs"):
        return _captures("capture.req.hdr" if name == "hr" else "capture.res.hdr", state)
    moved = {"ci": "src", "cp": "src_port", "fi": "dst", "fp": "dst_port"}.get(name, "")
    if moved in state.addresses:
        return state.addresses[moved]
    if name in ("ts", "tsc"):
        end = connection_end() if state.raw else request_end()
        return end if name == "ts" else concat([end, Const("--")])
    if name == "s" and state.servers:
        return server_of(state.servers, is_number=False)
    if name in LOG_ALIASES:
        return LOG_ALIASES[name]
    if name in UNBUILT_ALIASES:
        raise not_built(f"`%{name}` in a format")
    raise Unreadable("unknown-alias", f"there is no `%{name}` in formats", did_you_mean(name, []) or "write `%%` for a per cent sign")


def _captures(name: str, state: State) -> Expr:
    """Return what was captured, in braces with bars between; nothing where nothing ever is."""
    slots = sorted([slot for held, slot in state.captures if held == name], key=int)
    parts: list[Expr] = []
    for slot in slots:
        parts.extend([Const("|" if parts else "{"), state.captures[(name, slot)]])
    return concat([*parts, Const("}")]) if parts else EMPTY


def _flagged(expr: Expr, flags: str) -> Expr:
    wanted = [each.strip() for each in flags.split(",") if each.strip()]
    if "+Q" in wanted:
        expr = concat([Const('"'), expr, Const('"')]) if expr != EMPTY else expr
    for each in wanted:
        if each not in ("+Q", "-Q", "-X", "-E"):
            raise not_built(f"the flag `{each}` in a format")
    return expr


def _closing(text: str, start: int) -> int:
    """Return the index of the bracket that closes the one at ``start``, quotes and inner brackets apart."""
    depth = 0
    quote = ""
    for at in range(start, len(text)):
        char = text[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if depth == 0:
                return at
    raise Unreadable("syntax", f"the bracket of `{text[start:]}` is never closed", "end it with `]`")


def read_format(line: Line, at: int, state: State, report: Report) -> Expr | None:
    """Return the expression of the format at a word of a line; None, noted, if it cannot be had."""
    try:
        return format_expr(line.text(at), state)
    except Unreadable as bad:
        report.error(line, at, bad.code, bad.message, bad.hint)
        return None
