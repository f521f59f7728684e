"""What clients do: ``stick-table`` with counters, ``track-sc``, and the fetches that read them.

Facts (HAProxy configuration manual, chapters 4.2 and 7.3): ``track-sc0 KEY`` counts by a key in the ``stick-table`` of the proxy, or in
that of another one with ``table NAME``; ``sc_http_req_rate(0)`` is how many requests came within the period of
``http_req_rate(PERIOD)``; a rule of a connection counts a connection once, any other a request. ``src_http_req_rate`` looks up the
client's address.

Rules
  Each counter of a table is a count of the model, whose result stands in a variable of the slot from then on.
  What nobody reads is counted all the same, since another rule may.
  Counters that are not kept are errors where they are read, because leaving them out would let through what was to be refused.

Not here: the conditions around it (``acl``), the rules (``rules``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from vestibule.dialects.haproxy.quantity import parse_time
from vestibule.dialects.haproxy.sample import Sample, State, Tracked, Unreadable, not_built
from vestibule.dialects.haproxy.tree import Section
from vestibule.model.config import Action, Count, RateLimit, SetVariable, When
from vestibule.model.expr import EMPTY, AllOf, Compare, Const, Expr, Var

_OF_REQUESTS = ("http_req_cnt", "http_req_rate")
_OF_CONNECTIONS = ("conn_cnt", "conn_rate")
_OF_ERRORS = ("http_err_cnt", "http_err_rate")
_OF_RULES = {"0": ("gpc0", "gpc0_rate"), "1": ("gpc1", "gpc1_rate")}
COUNTERS = (*_OF_REQUESTS, *_OF_CONNECTIONS, *_OF_ERRORS, *_OF_RULES["0"], *_OF_RULES["1"], "conn_cur")
"""Counters of a table that are kept."""

_STORE = re.compile(r"([a-z0-9_]+)(?:\(([^()]*)\))?")
_RULE = re.compile(r"sc-inc-gpc([01])\(([0-2])\)")


@dataclass(frozen=True, slots=True)
class RateTest:
    """The test that a key had more than ``most`` requests in the period of its table."""

    key: Expr
    table: str
    most: int


@dataclass(frozen=True, slots=True)
class Table:
    """What a ``stick-table`` keeps: the period of each counter, 0 where it counts for good, those that are ours to count and all of
    them; how many keys, and for how long."""

    name: str
    periods: dict[str, int] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    keys: int = 16_384
    expire_ms: int = 0

    def count(self, counter: str, slot: str, key: Expr, add: int = 1) -> Count:
        """Return what counts by a key and keeps the result for a slot."""
        zone, name = f"{self.name} {counter}", f"sc{slot}.{counter}"
        return Count(key, zone, name, add, self.periods[counter], counter == "conn_cur", self.keys, self.expire_ms)


def rate_test(sample: Sample, patterns: list[str]) -> RateTest | None:
    """Return the test of a rate that is looked up; None if the sample is something else. Raises ``Unreadable``."""
    name, arguments = sample.fetch, sample.arguments
    if name != "src_http_req_rate":
        return None
    words = [*patterns, "", ""]
    op, number = (words[0], words[1]) if words[0] in ("gt", "ge") else ("", "")
    if not number.isdecimal() or len(patterns) != 2 or len(number) > 9 or int(number) < (1 if op == "ge" else 0) or sample.converters:
        raise not_built(
            "a rate that is compared so", f"write `{name} gt 100`, or track with `track-sc0 src` and read `sc_http_req_rate(0)`"
        )
    return RateTest(Var("peer_ip"), "".join(arguments[:1]), int(number) - (op == "ge"))


def table_of(section: Section | None) -> Table | None:
    """Return what the ``stick-table`` of a proxy keeps; None if it has none."""
    for statement in section.effective() if section is not None else []:
        if statement.name != "stick-table" or section is None:
            continue
        words = statement.arguments()
        after = dict(pairwise(words))
        stored: dict[str, int] = {}
        for at, word in enumerate(words):
            for each in _STORE.finditer(words[at + 1]) if word == "store" and at + 1 < len(words) else ():
                stored[each[1]] = _time(each[2]) if each[1].endswith("_rate") else 0
        periods = {name: period for name, period in stored.items() if name in COUNTERS}
        size = after.get("size", "")
        number, unit = size.rstrip("kmg"), {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(size[-1:], 1)
        keys = int(number) * unit if number.isdecimal() and len(number) < 10 else 16_384
        return Table(section.name, periods, stored, max(1, keys), _time(after.get("expire", "")))
    return None


def _time(text: str | None) -> int:
    try:
        return parse_time(text or "0")
    except ValueError:
        return 0


def track_actions(slot: str, key: Expr, test: Expr | None, table: Table, state: State, per_connection: bool) -> list[Action]:
    """Return what ``track-sc`` does. A slot that tracks something already goes on with that."""
    held = Var("kept", f"sc{slot}")
    actions: list[Action] = [SetVariable(f"sc{slot}", key)]
    once: list[Action] = []
    for counter in table.periods:
        if counter in _OF_CONNECTIONS and per_connection:
            once.append(table.count(counter, slot, held))
            actions.append(table.count(counter, slot, held, 0))
        elif counter in (*_OF_REQUESTS, *_OF_CONNECTIONS, "conn_cur"):
            actions.append(table.count(counter, slot, held))
        else:
            actions.append(table.count(counter, slot, held, 0))
    if once:
        actions.insert(1, When(Var("first_request"), tuple(once)))
    tests = [] if slot not in state.tracked else [Compare("==", held, EMPTY)]
    if test is not None:
        tests.append(test)  # type: ignore[arg-type]  # tests of both kinds stand side by side
    if not tests:
        return actions
    return [When(tests[0] if len(tests) == 1 else AllOf(tuple(tests)), tuple(actions))]


def error_actions(state: State, tables: dict[str, Table]) -> list[Action]:
    """Return what counts answers that say the client did wrong."""
    counts: list[Action] = []
    for slot, tracked in state.tracked.items():
        table = tables.get(tracked.table)
        for counter in _OF_ERRORS:
            if table is not None and counter in table.periods:
                counts.append(table.count(counter, slot, Var("kept", f"sc{slot}")))
    if not counts:
        return []
    wrong = AllOf((Compare(">=", Var("status"), Const(400)), Compare("<", Var("status"), Const(500))))
    return [When(wrong, tuple(counts))]


def increment(word: str, state: State, tables: dict[str, Table]) -> list[Action]:
    """Return what ``sc-inc-gpc0(SLOT)`` does. Raises ``Unreadable``."""
    found = _RULE.fullmatch(word)
    if found is None:
        raise Unreadable("syntax", f"`{word}` names no slot", "write `sc-inc-gpc0(0)`")
    tracked = _tracked(found[2], state)
    table = tables.get(tracked.table)
    kept = [each for each in _OF_RULES[found[1]] if table is not None and each in table.periods]
    if table is None or not kept:
        hint = f"add `stick-table type ip size 100k expire 1m store gpc{found[1]}` to `{tracked.table}`"
        raise Unreadable("unknown-reference", f"`{tracked.table}` has no `stick-table` with `gpc{found[1]}`", hint)
    return [table.count(each, found[2], Var("kept", f"sc{found[2]}")) for each in kept]


def _tracked(slot: str, state: State) -> Tracked:
    found = state.tracked.get(slot)
    if found is None:
        raise not_built(f"slot {slot}, which nothing before this line tracks", f"write `http-request track-sc{slot} src` before it")
    return found


def limit_of(test: RateTest, table: str, period_ms: int, status: int) -> RateLimit:
    """Return the limit that refuses what a test finds; all limits of one table and key count together."""
    # What may come at once is as much as in a period: the account is even again once as much time went by.
    return RateLimit(test.key, max(1, test.most), period_ms, max(0, test.most - 1), status=status, zone=f"{table} {test.most}")
