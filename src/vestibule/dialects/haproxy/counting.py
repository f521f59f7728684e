"""What clients do: ``stick-table`` with counters, ``track-sc``, and the fetches that read them.

Facts (HAProxy configuration manual, chapters 4.2 and 7.3): ``track-sc0 KEY`` counts by a key in the ``stick-table`` of the proxy, or in
that of another one with ``table NAME``; ``sc_http_req_rate(0)`` is how many requests came within the period of
``http_req_rate(PERIOD)``; a rule of a connection counts a connection once, any other a request. ``src_http_req_rate`` looks up the
client's address, and ``table_http_req_rate(TABLE)`` what stands before it. ``gpc(N)`` stores counters with the numbers 0 to N-1.

Rules
  Each counter of a table is a count of the model, whose result stands in a variable of the slot from then on. What is looked up
  is looked up before the rule whose condition asks for it.
  What nobody reads is counted all the same, since another rule may.
  Counters that are not kept are errors where they are read, because leaving them out would let through what was to be refused.

Not here: the conditions around it (``acl``), the rules (``rules``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.quantity import parse_time
from vestibule.dialects.haproxy.sample import Sample
from vestibule.dialects.haproxy.state import State, Tracked, not_built
from vestibule.dialects.haproxy.tree import Section
from vestibule.dialects.read import Unreadable
from vestibule.model.config import Action, Count, RateLimit, SetVariable, When
from vestibule.model.expr import EMPTY, AllOf, Compare, Const, Expr, Var

_OF_REQUESTS = ("http_req_cnt", "http_req_rate")
_OF_CONNECTIONS = ("conn_cnt", "conn_rate", "sess_cnt", "sess_rate")
_OF_ERRORS = ("http_err_cnt", "http_err_rate")
_OF_FAILURES = ("http_fail_cnt", "http_fail_rate")
_OF_BYTES: dict[str, Literal["bytes_in", "bytes_out"]] = {
    "bytes_in_cnt": "bytes_in",
    "bytes_in_rate": "bytes_in",
    "bytes_out_cnt": "bytes_out",
    "bytes_out_rate": "bytes_out",
}
_PLAIN = (*_OF_REQUESTS, *_OF_CONNECTIONS, *_OF_ERRORS, *_OF_FAILURES, *_OF_BYTES, "conn_cur")
_OF_RULES = re.compile(r"gpc[0-9]{1,2}(?:_rate)?|gpt[0-9]{1,2}")

_STORE = re.compile(r"([a-z0-9_]+)(?:\(([^()]*)\))?")
_RULE = re.compile(r"sc-(inc-gpc|add-gpc|set-gpt)(?:([0-9]{1,2})\(([0-2])\)|\(([0-9]{1,2}),([0-2])\))")
_ARRAYS_MOST = 100


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
    is_tracked: bool = False
    """Whether any rule counts in it."""

    def count(self, counter: str, slot: str, key: Expr, add: int = 1) -> Count:
        """Return what counts by a key and keeps the result for a slot."""
        made = Count(key, f"{self.name} {counter}", f"sc{slot}.{counter}", add, self.periods[counter], False, self.keys, self.expire_ms)
        if counter == "conn_cur":
            return replace(made, while_open=add == 1)
        if add and counter in _OF_BYTES:
            return replace(made, of=_OF_BYTES[counter])
        return made

    def look(self, counter: str, key: Expr, name: str) -> Count:
        """Return what looks up how many there are of a key; without a counter, whether it is in the table."""
        first = counter or next(iter(self.periods))
        how: Literal["look", "find"] = "look" if counter else "find"
        return Count(key, f"{self.name} {first}", name, 1, self.periods[first], False, self.keys, self.expire_ms, how)


def rate_test(sample: Sample, patterns: list[str], state: State) -> RateTest | None:
    """Return the test of a rate that nothing else counts; None if the sample is something else. Raises ``Unreadable``."""
    name, arguments = sample.fetch, sample.arguments
    if name != "src_http_req_rate":
        return None
    table = state.table("".join(arguments[:1]))
    if table is not None and table.is_tracked:
        return None  # it is counted elsewhere, and looked up here
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
                stored.update(_stored(each[1], each[2] or ""))
        periods = {name: period for name, period in stored.items() if is_kept(name)}
        size = after.get("size", "")
        number, unit = size.rstrip("kmg"), {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(size[-1:], 1)
        keys = int(number) * unit if number.isdecimal() and len(number) < 10 else 16_384
        return Table(section.name, periods, stored, max(1, keys), _time(after.get("expire", "")))
    return None


def table_words(section: Section, table: Table) -> str:
    """Describe a table for who asks what is counted in it."""
    words = next((each.arguments() for each in section.effective() if each.name == "stick-table"), [])
    kind = dict(pairwise(words)).get("type", "ip")
    return " ".join(["table", kind, str(table.keys), *[f"{name}:{period}" for name, period in table.stored.items()]])


def tracked_tables(section: Section) -> list[str]:
    """Return the proxies in whose tables the rules of a section count."""
    found: list[str] = []
    for statement in section.effective():
        words = statement.line.texts(0)
        if any(word.startswith("track-sc") for word in words):
            found.append(words[words.index("table") + 1] if "table" in words[:-1] else section.name)
    return found


def is_kept(counter: str) -> bool:
    """Tell whether a counter of a table is one that is kept here."""
    return counter in _PLAIN or _OF_RULES.fullmatch(counter) is not None


def _stored(name: str, argument: str) -> dict[str, int]:
    """Return the counters that a word after ``store`` means, with their periods. Arrays are counters with numbers."""
    if name not in ("gpc", "gpc_rate", "gpt"):
        return {name: _time(argument) if name.endswith("_rate") else 0}
    number, _, period = argument.partition(",")
    many = min(int(number), _ARRAYS_MOST) if number.isdecimal() and len(number) < 4 else 0
    base, _, rate = name.partition("_")
    return {f"{base}{at}{'_rate' if rate else ''}": _time(period) if rate else 0 for at in range(many)}


def _time(text: str | None) -> int:
    try:
        return parse_time(text) if text else 0
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
        elif counter in (*_OF_REQUESTS, *_OF_CONNECTIONS, *_OF_BYTES, "conn_cur"):
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
    """Return what counts answers that say the client did wrong, and those that say the server did."""
    actions: list[Action] = []
    for family, least in ((_OF_ERRORS, 400), (_OF_FAILURES, 500)):
        counts: list[Action] = []
        for slot, tracked in state.tracked.items():
            table = tables.get(tracked.table)
            for counter in family:
                if table is not None and counter in table.periods:
                    counts.append(table.count(counter, slot, Var("kept", f"sc{slot}")))
        if counts:
            these = AllOf((Compare(">=", Var("status"), Const(least)), Compare("<", Var("status"), Const(least + 100))))
            actions.append(When(these, tuple(counts)))
    return actions


def changed(line: Line, at: int, state: State, tables: dict[str, Table]) -> list[Action]:
    """Return what ``sc-inc-gpc0(SLOT)``, ``sc-add-gpc(N,SLOT) NUMBER`` and ``sc-set-gpt0(SLOT) NUMBER`` do. Raises ``Unreadable``."""
    word = line.text(at)
    found = _RULE.fullmatch(word)
    if found is None:
        raise Unreadable("syntax", f"`{word}` names no slot", "write `sc-inc-gpc0(0)`")
    verb, slot, index = found[1], found[3] or found[5], found[2] or found[4]
    tracked = _tracked(slot, state)
    table = tables.get(tracked.table)
    name = f"{verb[-3:]}{int(index)}"
    kept = [each for each in (name, f"{name}_rate") if table is not None and each in table.periods]
    if table is None or not kept:
        hint = f"add `stick-table type ip size 100k expire 1m store {name}` to `{tracked.table}`"
        raise Unreadable("unknown-reference", f"`{tracked.table}` has no `stick-table` with `{name}`", hint)
    number = 1
    if verb != "inc-gpc":
        text = line.text(at + 1) if at + 1 < len(line.words) else ""
        if not text.isdecimal() or len(text) > 10:
            what = f"`{text}` is no number that can be kept" if text else f"`{word}` needs a number"
            raise Unreadable("bad-value", what, f"write `{word} 1`")
        number = int(text)
    counts = [table.count(each, slot, Var("kept", f"sc{slot}"), number) for each in kept]
    return [replace(each, how="set") if verb == "set-gpt" else each for each in counts]


def takes_number(word: str) -> bool:
    """Tell whether a number follows a rule that changes a counter."""
    return not word.startswith("sc-inc-gpc")


def _tracked(slot: str, state: State) -> Tracked:
    found = state.tracked.get(slot)
    if found is None:
        raise not_built(f"slot {slot}, which nothing before this line tracks", f"write `http-request track-sc{slot} src` before it")
    return found


def limit_of(test: RateTest, table: str, period_ms: int, status: int) -> RateLimit:
    """Return the limit that refuses what a test finds; all limits of one table and key count together."""
    # What may come at once is as much as in a period: the account is even again once as much time went by.
    return RateLimit(test.key, max(1, test.most), period_ms, max(0, test.most - 1), status=status, zone=f"{table} {test.most}")
