"""Fetches of counters: those of what a slot tracks, and those that are looked up in a table.

Facts (HAProxy configuration manual, chapter 7.3): ``sc_NAME(SLOT)`` and ``sc0_NAME`` read what ``track-sc`` tracks; ``src_NAME`` and the
converter ``table_NAME`` look an address or a text up in a table; ``gpc``, ``gpc_rate`` and ``gpt`` have the number of a counter first.

Not here: what tables keep (``counting``).
"""

from __future__ import annotations

import re

from vestibule.dialects.haproxy.state import State, not_built
from vestibule.dialects.read import Unreadable
from vestibule.model.expr import EMPTY, Call, Compare, Const, Expr, Var

_COUNTERS = (
    r"(?:get_)?((?:http_req|http_err|http_fail|conn|sess)_(?:cnt|rate)|conn_cur|bytes_(?:in|out)_rate|kbytes_(?:in|out)"
    r"|gpc[0-9]{1,2}(?:_rate)?|gpt[0-9]{1,2}|gpc_rate|gpc|gpt"
)
COUNTER = re.compile(rf"sc([012]?)_{_COUNTERS}|tracked|key)")
LOOKED_UP = re.compile(rf"(?:src|table)_{_COUNTERS})")


def counter_expr(slot: str, counter: str, arguments: tuple[str, ...], state: State) -> Expr:
    """Return what a slot counted."""
    if counter in _ARRAYS:
        counter, arguments = _of_array(counter, arguments)
    if not slot:
        slot, arguments = "".join(arguments[:1]), arguments[1:]
    tracked = state.tracked.get(slot)
    if tracked is None:
        hint = f"write `http-request track-sc{slot} src` before it" if slot else "write `sc_http_req_rate(0)`"
        raise not_built(f"slot {slot or '?'}, which nothing before this line tracks", hint)
    if arguments and arguments[0] != tracked.table:
        what = f"looking slot {slot} up in the table of `{arguments[0]}`"
        raise not_built(what, f"track it there: `track-sc{slot} KEY table {arguments[0]}`")
    if counter in ("tracked", "key"):
        key = Var("kept", f"sc{slot}")
        return key if counter == "key" else Compare("!=", key, EMPTY)
    counter, shift = _stored_as(counter)
    if counter not in tracked.counters:
        raise _not_stored(counter, tracked.table)
    return _shifted(Call("number", (Var("kept", f"sc{slot}.{counter}"),)), shift)


_ARRAYS = ("gpc", "gpc_rate", "gpt")


def _of_array(counter: str, arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the counter of an array that the first argument numbers, and the other arguments."""
    text = "".join(arguments[:1])
    if not text.isdecimal() or len(text) > 2:
        raise Unreadable("argument", f"`{text}` is no number of a counter", f"write `sc_get_{counter}(0,0)`")
    base, mark, rate = counter.partition("_")
    return f"{base}{int(text)}{mark}{rate}", arguments[1:]


def _stored_as(counter: str) -> tuple[str, int]:
    """Return the name under which a table stores what a fetch reads, and by how many bits that is larger."""
    return (f"{counter[1:]}_cnt", 10) if counter.startswith("kbytes") else (counter, 0)


def _shifted(number: Expr, bits: int) -> Expr:
    return Call("divide", (number, Const(1 << bits))) if bits else number


def _not_stored(counter: str, table: str) -> Unreadable:
    what = f"{counter}(10s)" if counter.endswith("_rate") else counter
    hint = f"add `stick-table type ip size 100k expire 1m store {what}` to `{table}`"
    return Unreadable("unknown-reference", f"`{table}` has no `stick-table` with `{counter}`", hint)


def lookup_expr(counter: str, key: Expr, arguments: tuple[str, ...], state: State) -> Expr:
    """Return what the table of a proxy counted of a key; without a counter, whether it is there at all."""
    if counter in _ARRAYS:
        counter, arguments = _of_array(counter, arguments)
    if state.lookups is None:
        raise not_built("looking a table up here", "keep it with `http-request set-var`, and read the variable")
    table = state.table("".join(arguments[:1]))
    name = "".join(arguments[:1]) or state.proxy
    counter, shift = _stored_as(counter)
    if table is None:
        raise _not_stored(counter or "http_req_cnt", name)
    if counter and counter not in table.periods:
        raise _not_stored(counter, name)
    if not table.periods:
        raise not_built(f"asking a table that counts nothing, as that of `{name}`", "add `store http_req_cnt` to it")
    found = state.lookups.add(table, counter, key)
    return _shifted(found, shift) if counter else Compare("!=", found, Const(0))
