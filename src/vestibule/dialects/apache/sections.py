"""``<Location>``, ``<If>`` and their kin: the requests that a section is about.

Facts, as httpd merges them: ``<Proxy *>`` first, then ``<Location>`` in written order, those of the server outside before those of
the virtual host, then ``<If>`` in the same order, those inside a ``<Location>`` at the end. ``<ElseIf>`` and ``<Else>`` belong to the
``<If>`` before them. A section by path compares by segments; ``*`` in one stands for no slash.

Not here: what sections say (``sites``, ``access``, ``fields``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vestibule.dialects.apache.expressions import negated, read_test
from vestibule.dialects.apache.patterns import is_shell_pattern, shell_pattern
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.upstreams import bare_url
from vestibule.dialects.apache.variables import Names, to_pattern
from vestibule.model.expr import AllOf, AnyOf, Call, Compare, Const, Expr, Match, Var

_EVERYWHERE = (False, "")

_CHAIN = ("if", "elseif", "else")


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its path, the test of a request being inside, and what it says."""

    path: str
    is_pattern: bool
    test: Expr | None
    """None for every request."""
    later: Expr | None
    """The same for answers, when the path may have been rewritten already."""
    scope: Scope
    is_if: bool = False
    around: tuple[Scope, ...] = ()
    """The sections that hold wherever this one does, the nearest first."""


def as_answered(expr: Expr) -> Expr:
    """Return what an expression of a request is once there is an answer: the path is the one that the client sent."""
    came = Call("url_decode", (Call("capture", (Var("target"), Const("^([^?]*)"), Const("1"))),))
    return in_place_of(expr, Var("decoded_path"), came)


def in_place_of(expr: Expr, old: Expr, new: Expr) -> Expr:
    """Return an expression in which one expression is replaced wherever it stands."""
    made: Expr = _with(expr, old, new)
    return made


def _with(value: Any, old: Expr, new: Expr) -> Any:
    """Return an expression, or a part of one, in which one expression is replaced wherever it stands."""
    if value == old:
        return new
    if isinstance(value, tuple):
        return tuple([_with(each, old, new) for each in value])
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    return dataclasses.replace(value, **{each.name: _with(getattr(value, each.name), old, new) for each in dataclasses.fields(value)})


def both(one: Expr | None, other: Expr | None) -> Expr | None:
    """Return the test that both hold; None is a test that always does."""
    if one is None or other is None:
        return other if one is None else one
    return AllOf((*(one.tests if isinstance(one, AllOf) else (one,)), *(other.tests if isinstance(other, AllOf) else (other,))))


def bases_of(path: str) -> list[str]:
    """Return the paths that a path is inside of, itself included: `/a/b` is inside of `/a`."""
    parts = path.rstrip("/").split("/")
    return ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]


def _place_of(section: Section) -> tuple[bool, str]:
    """Return what sections inside this one know it by."""
    if section.test is None:
        return _EVERYWHERE
    return (True, section.path) if section.is_pattern else (False, section.path.rstrip("/"))


class Sections:
    """Finds the sections of a virtual host."""

    def __init__(self, scope: Scope, names: Names) -> None:
        self._scope = scope
        self._record = scope.record
        self._names = names

    def all(self) -> list[Section]:
        """Return them in the order in which they count."""
        scope = self._scope
        proxies: list[Section] = []
        made: list[Section] = []
        for directive in scope.all("Proxy", "ProxyMatch"):
            # `<Proxy *>` is for all that is proxied, which is all there is; others name an upstream and are looked at there.
            if directive.text() == "*":
                proxies.append(Section("/", False, None, None, Scope(self._record, directive.block or ())))
            elif not bare_url(directive.text()) and not directive.text().lower().startswith("balancer://"):
                not_built(self._record, directive, 0, f"`<{directive.written} {' '.join(directive.texts)}>`", "name the address")
        for directive in scope.all("Location", "LocationMatch"):
            section = self._by_path(directive)
            if section is not None:
                made.append(section)
        with_scopes = self._with_surroundings(made)
        conditional: list[tuple[int, Section]] = []
        for level in self._levels():
            conditional += self._chain(level.directives, None)
        for each in with_scopes:
            conditional += self._chain(each.scope.directives, each)
        # What stands inside of one counts after all that stand in none.
        conditional.sort(key=lambda each: each[0])
        return [*proxies, *with_scopes, *[section for _, section in conditional]]

    def _levels(self) -> list[Scope]:
        levels = [self._scope]
        while levels[0].outer is not None:
            levels.insert(0, levels[0].outer)
        return levels

    def _with_surroundings(self, sections: Sequence[Section]) -> list[Section]:
        """Return sections by path with those that each is inside of, the nearest first, and the levels outside."""
        levels = tuple(reversed(self._levels()))
        before: dict[tuple[bool, str], list[tuple[int, Scope]]] = {}
        found: list[Section] = []
        for at, section in enumerate(sections):
            around = list(before.get(_EVERYWHERE, ()))
            if section.test is not None:
                around += before.get((True, section.path), ())
                for path in () if section.is_pattern else bases_of(section.path):
                    around += before.get((False, path), ())
            around.sort(key=lambda each: each[0], reverse=True)
            found.append(dataclasses.replace(section, around=(*[scope for _, scope in around], *levels)))
            before.setdefault(_place_of(section), []).append((at, section.scope))
        return found

    def _chain(self, directives: Sequence[Directive], outer: Section | None, depth: int = 0) -> list[tuple[int, Section]]:
        """Return the sections by condition among directives, with those inside them, and how deep each stands in others."""
        made: list[tuple[int, Section]] = []
        before: list[Expr] | None = None
        for directive in directives:
            if directive.name not in _CHAIN:
                continue
            if directive.name == "if":
                before = []
            elif before is None:
                self._record.error(directive.span, "wrong-place", f"`<{directive.written}>` has no `<If>` before it")
                continue
            assert before is not None
            test: Expr | None = None
            if directive.name != "else":
                text = directive.text() if len(directive.args) == 1 else directive.raw
                test = read_test(self._record, self._names, text, directive.place(0))
                if test is None:
                    continue
            whole: Expr | None = outer.test if outer is not None else None
            for each in before:
                whole = both(whole, negated(each))
            whole = both(whole, test)
            if test is not None:
                before.append(test)
            if directive.name == "else":
                before = None
            later = None if whole is None else as_answered(whole)
            scope = Scope(self._record, directive.block or ())
            around = (outer.scope, *outer.around) if outer is not None else tuple(reversed(self._levels()))
            section = Section(outer.path if outer is not None else "/", False, whole, later, scope, True, around)
            made.append((depth, section))
            made += self._chain(scope.directives, section, depth + 1)
        return made

    def _by_path(self, directive: Directive) -> Section | None:
        words = list(directive.texts)
        is_pattern = directive.name == "locationmatch"
        if words[0] == "~" and len(words) == 2:
            is_pattern, words = True, words[1:]
        path = words[0]
        scope = Scope(self._record, directive.block or ())
        if not is_pattern and not path.startswith("/"):
            self._record.error(directive.place(0), "bad-path", f"the path `{path}` does not begin with `/`")
            return None
        decoded, target = Var("decoded_path"), Var("target")
        if is_pattern or is_shell_pattern(path):
            try:
                pattern = to_pattern(path) if is_pattern else shell_pattern(path, by_segment=True)
            except ValueError as bad:
                self._record.error(directive.place(0), "bad-regex", str(bad))
                return None
            found = Match(pattern, decoded)
            return Section(path if is_pattern else pattern, True, found, as_answered(found), scope)
        if path == "/":
            return Section(path, False, None, None, scope)
        bare = re.escape(path.rstrip("/"))
        if path.endswith("/"):
            return Section(path, False, Match(f"^{bare}/", decoded), Match(f"^{bare}/", target), scope)
        inside: Expr = AnyOf((Compare("==", decoded, Const(path)), Match(f"^{bare}/", decoded)))
        return Section(path, False, inside, Match(f"^{bare}(?:[/?]|$)", target), scope)
