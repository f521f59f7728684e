"""Which requests come to a rule, and as what: those that no rule before it has ended, or led past it.

Facts: a rule that answers, or has ``[L]``, ``[END]`` or ``[PT]``, ends the rules where it fits; ``[S=n]`` leaves out the next ones there,
and ``[C]`` those that are tied to it where it does not fit. Behind a rule with a new path, the path is that.

Rules: what is known is as short as it can be. Two ways that differ in one test alone are one way without it, and of patterns that begin
with different texts, such as ``^/a`` and ``^/b``, one at most fits.

Not here: what rules do (``rewriting``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from vestibule.dialects.apache.expressions import negated
from vestibule.dialects.apache.sections import in_place_of
from vestibule.model.expr import AllOf, Call, Concat, Const, Expr, Match, Not, walk

Changes: TypeAlias = tuple[tuple[Expr, Expr], ...]
"""What is something else from some rule on: the path, the query."""

_LITERAL = re.compile(r"(?:\\[^A-Za-z0-9]|[A-Za-z0-9/_~%:&=;,<>@!#\"' -])*")
_REPEATED = ("*", "?", "{")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a rule: the tests on it, each with whether it was true, and what has changed on it."""

    tests: tuple[tuple[Expr, bool], ...] = ()
    changes: Changes = ()

    def seen(self, expr: Expr) -> Expr:
        """Return what an expression is for a request that comes on this way, as one of the request as it came."""
        for old, new in self.changes:
            expr = in_place_of(expr, old, new)
        return expr

    def tested(self, test: Expr) -> Expr:
        """Return the test that a request comes on this way, and then fits another test."""
        tests = [each if holds else negated(each) for each, holds in self.tests]
        tests += [self.seen(test)] if test != Const(True) else []
        return AllOf(tuple(tests)) if len(tests) > 1 else tests[0] if tests else Const(True)


_WAYS_MOST = 200
"""So many ways to one rule are followed. Each rule that rewrites and goes on may double them."""


class Flow:
    """The ways to each of the rules, which are added in their order."""

    def __init__(self) -> None:
        self._ways: dict[int, list[Way]] = {0: [Way()]}

    def is_lost(self, at: int) -> bool:
        """Tell whether there are more ways to a rule than are followed."""
        return len(self._ways.get(at, [])) > _WAYS_MOST

    def to(self, at: int, test: Expr, values: Sequence[Expr]) -> list[Way]:
        """Return the ways to a rule of requests that may fit its test, as far as they make a difference to the test and to values."""
        found: list[Way] = []
        for way in self._ways.get(at, []):
            seen = way.seen(test)
            if any(holds and _excludes(each, seen) for each, holds in way.tests) or any(_excludes(each, seen) for each in _parts(seen)):
                continue
            tests = tuple([(each, holds) for each, holds in way.tests if holds or not _excludes(each, seen)])
            read = [each for expr in (test, *values) for each in walk(expr)]
            _put(found, Way(tests, tuple([change for change in way.changes if change[0] in read])))
        return found

    def leads(self, at: int, test: Expr, matched: int | None, missed: int, changes: Changes) -> None:
        """Note where a rule leads to: where it fits, with what it changes there, and where not; None ends the rules."""
        for to, holds in ((matched, True), (missed, False)):
            if to is None or test == Const(not holds):
                continue
            for way in self._ways.get(at, []):
                on = way if isinstance(test, Const) else replace(way, tests=(*way.tests, (way.seen(test), holds)))
                if holds and changes:
                    on = replace(on, changes=tuple([(old, way.seen(new)) for old, new in changes]))
                self._add(to, on)

    def _add(self, to: int, way: Way) -> None:
        _put(self._ways.setdefault(to, []), way)


def _put(ways: list[Way], way: Way) -> None:
    """Add a way to others, as one with that from which it differs in one test alone."""
    for each in list(ways):
        if each.changes != way.changes:
            continue
        one, other = set(each.tests), set(way.tests)
        if one <= other:
            return
        if other < one:
            ways.remove(each)
            _put(ways, way)
            return
        apart = one ^ other
        if len(apart) == 2 and len({test for test, _ in apart}) == 1:
            ways.remove(each)
            _put(ways, replace(way, tests=tuple([part for part in way.tests if part not in apart])))
            return
    ways.append(way)


def _excludes(one: Expr, other: Expr) -> bool:
    """Tell whether two tests cannot both hold, as far as can be seen."""
    return any(_apart(left, right) for left in _parts(one) for right in _parts(other))


def _parts(test: Expr) -> tuple[Expr, ...]:
    return test.tests if isinstance(test, AllOf) else (test,)


def _apart(one: Expr, other: Expr) -> bool:
    if isinstance(one, Not) or isinstance(other, Not):
        return one == negated(other)
    if not (isinstance(one, Match) and isinstance(other, Match)):
        return False
    if one is other:
        return not _agree(_beginning(one), _text_beginning(one.subject))
    return one.subject == other.subject and not _agree(_beginning(one), _beginning(other))


def _agree(one: str, other: str) -> bool:
    one, other = one.lower(), other.lower()
    return one.startswith(other) or other.startswith(one)


def _beginning(test: Match) -> str:
    """Return what a text that fits begins with; empty where that is not known."""
    pattern = test.pattern.removeprefix("(?i)")
    if not pattern.startswith("^") or "|" in pattern:
        return ""
    found = _LITERAL.match(pattern, 1)
    assert found is not None  # it may be empty
    text, behind = found[0], pattern[found.end() : found.end() + 1]
    if behind in _REPEATED:
        text = text[:-1].removesuffix("\\")
    return text.replace("\\", "")


def _text_beginning(expr: Expr) -> str:
    """Return what a text begins with, as far as it is known."""
    if isinstance(expr, Call) and expr.function in ("url_decode", "encode_path"):
        return _text_beginning(expr.arguments[0])
    first = expr.parts[0] if isinstance(expr, Concat) else expr
    return str(first.value).partition("%")[0] if isinstance(first, Const) else ""
