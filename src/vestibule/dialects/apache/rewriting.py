"""``RewriteRule`` with its conditions, and ``Redirect``.

Facts:
* Rules of a virtual host run before ``ProxyPass`` is looked at; ``Redirect`` only where no ``ProxyPass`` fits.
* Conditions belong to the next rule and all must hold, but for those with ``[OR]``.
* ``$1`` is what the rule's pattern captured in the path, ``%1`` what the last condition's did.
* A new path without ``[P]``, ``[R]`` or ``[PT]`` names a file.

Rules: rules are followed once, when they are read, and become choices of routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from vestibule.dialects.apache.proxying import Passes, path_match
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.upstreams import read_target
from vestibule.dialects.apache.variables import Names, to_pattern
from vestibule.dialects.part import NOTHING, Part, choose, encoded, with_query
from vestibule.dialects.record import Record
from vestibule.model.config import Deny, PathMatch, Redirect, Respond, Rewrite, Route, Switch
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Const, Expr, If, InSet, Kind, Match, Not, Var, concat, walk
from vestibule.model.vocabulary import kind_of

_PATH = Var("decoded_path")
_STATUSES: dict[str, Literal[301, 302, 303, 307, 308]] = {
    "permanent": 301, "temp": 302, "seeother": 303, "301": 301, "302": 302, "303": 303, "307": 307, "308": 308, "": 302,
}  # fmt: skip
_WITHOUT_EFFECT = ("L", "END", "NE", "NS", "DPI", "B", "BNP", "BNE", "NC", "QSA", "QSL", "UNSAFEALLOW3F", "UNSAFEPREFIXSTAT")
_MOST_RULES = 200
_EVERY_PATH = ("^", ".*", "^.*$", "^(.*)$", "(.*)", "^.*", "^/(.*)$", "^/(.*)", "^/?(.*)", "^/?(.*)$", "/(.*)", "^/")


class Rewriting:
    """Lowers the rules of one virtual host."""

    def __init__(self, record: Record, names: Names, passes: Passes, scope: Scope) -> None:
        self._record = record
        self._names = names
        self._passes = passes
        self._scope = scope

    def lower(self, program: Sequence[Directive], rest: Callable[[], Part]) -> Part:
        """Return what rules, conditions among them, and what follows make of a request."""
        if len(program) > _MOST_RULES:
            self._record.error(program[0].span, "too-deep", f"there are more than {_MOST_RULES} rules here")
            return rest()
        conditions: list[Directive] = []
        for at, directive in enumerate(program):
            if directive.name == "rewritecond":
                conditions.append(directive)
            else:
                return self._rule(directive, conditions, program[at + 1 :], rest)
        for directive in conditions:
            self._record.warning(directive.span, "left-out", "this condition has no rule below it", "take it out")
        return rest()

    def _rule(self, rule: Directive, conditions: list[Directive], others: Sequence[Directive], rest: Callable[[], Part]) -> Part:
        """Return what one rule, and those after it, make of a request."""
        flags = self._flags(rule, 2)
        self._names.condition = None
        test = self._test(rule, conditions, "NC" in flags)
        if test is None:
            return self.lower(others, rest)
        if "F" in flags or "G" in flags:
            status = 403 if "F" in flags else 410
            return choose(test, Part(Respond(status), (Deny(status),)), self.lower(others, rest))
        if "E" in flags:
            name, _, value = flags["E"].partition(":")
            made = self._names.template(value, rule.span)
            self._names.environment[name] = If(test, made, self._names.environment.get(name, EMPTY))
        text = rule.text(1)
        if flags.get("R", "").startswith(("4", "5")):
            return choose(test, self._redirect(rule, flags), self.lower(others, rest))
        if text == "-":
            if "L" in flags or "END" in flags:
                return choose(test, rest(), self.lower(others, rest))
            return self.lower(others, rest)
        is_url = text.startswith(("http://", "https://", "%{REQUEST_SCHEME}", "ws://", "wss://", "balancer://"))
        if "P" in flags:
            return choose(test, self._proxied(rule, flags), self.lower(others, rest))
        if "R" in flags or is_url:
            return choose(test, self._redirect(rule, flags), self.lower(others, rest))
        if "PT" not in flags:
            not_built(self._record, rule, 1, "a rule that leads to a file", "add the flag `PT` if a `ProxyPass` shall follow")
        # `PT` ends the rules as `L` does.
        return choose(test, rest().before(self._new_path(text, rule, flags)), self.lower(others, rest))

    def _flags(self, directive: Directive, at: int) -> dict[str, str]:
        text = directive.text(at)
        if not text:
            return {}
        if not (text.startswith("[") and text.endswith("]")):
            self._record.error(directive.place(at), "bad-value", f"`{text}` is no list of flags", "write `[L,R=301]`")
            return {}
        flags: dict[str, str] = {}
        longer = {"LAST": "L", "REDIRECT": "R", "PROXY": "P", "FORBIDDEN": "F", "GONE": "G", "NOCASE": "NC", "ORNEXT": "OR"}
        longer |= {"QSAPPEND": "QSA", "QSDISCARD": "QSD", "NOESCAPE": "NE", "PASSTHROUGH": "PT", "ENV": "E", "NOSUBREQ": "NS"}
        for each in text[1:-1].split(","):
            name, _, value = each.strip().partition("=")
            key = longer.get(name.upper(), name.upper())
            if key not in (*_WITHOUT_EFFECT, "R", "P", "F", "G", "QSD", "PT", "E", "OR"):
                not_built(self._record, directive, at, f"the flag `{name}`")
            flags[key] = value
        return flags

    # ------------------------------------------------------------ tests

    def _test(self, rule: Directive, conditions: list[Directive], ignore_case: bool) -> Expr | None:
        """Return the test of a rule with its conditions, and set what ``$1`` and ``%1`` mean."""
        text = rule.text(0)
        negated = text.startswith("!")
        try:
            pattern = to_pattern(text.removeprefix("!"))
            self._names.rule = (_PATH, to_pattern(text.removeprefix("!"), ignore_case))
        except ValueError as bad:
            self._record.error(rule.place(0), "bad-regex", str(bad))
            return None
        found: Expr = Match(pattern, _PATH, ignore_case)
        tests: list[Expr] = [Not(found) if negated else found]
        # A pattern that every path fits is no test.
        if not negated and pattern in (
            "^",
            ".*",
            "^.*$",
            "^(.*)$",
            "(.*)",
            "^.*",
            "^/(.*)$",
            "^/(.*)",
            "^/?(.*)",
            "^/?(.*)$",
            "/(.*)",
            "^/",
        ):
            tests = []
        either: list[Expr] = []
        for condition in conditions:
            flags = self._flags(condition, 2)
            test = self._condition(condition, "NC" in flags)
            if test is None:
                return None
            either.append(test)
            if "OR" not in flags:
                tests.append(either[0] if len(either) == 1 else AnyOf(tuple(either)))
                either = []
        if either:
            tests.append(AnyOf(tuple(either)))
        return tests[0] if len(tests) == 1 else AllOf(tuple(tests))

    def _condition(self, condition: Directive, ignore_case: bool) -> Expr | None:
        text = condition.text(1)
        if condition.text(0).lower() == "expr":
            not_built(self._record, condition, 0, "an expression", "write `%{NAME} pattern`")
            return None
        subject = self._names.template(condition.text(0), condition.place(0))
        negated = text.startswith("!")
        bare = text.removeprefix("!")
        if bare.startswith("-") and len(bare) in (2, 3):
            not_built(self._record, condition, 1, f"the test `{bare}`", "files are not looked for")
            return None
        if bare.startswith("="):
            test: Expr = self._equal(subject, bare[1:], ignore_case)
        elif bare.startswith((">", "<")):
            not_built(self._record, condition, 1, "a comparison of order", "write a regular expression")
            return None
        else:
            try:
                pattern = to_pattern(bare)
                if not negated:
                    self._names.condition = (subject, to_pattern(bare, ignore_case))
            except ValueError as bad:
                self._record.error(condition.place(1), "bad-regex", str(bad))
                return None
            test = _simple(subject, bare) or Match(pattern, subject, ignore_case)
        return Not(test) if negated else test

    def _equal(self, subject: Expr, text: str, ignore_case: bool) -> Expr:
        value = "" if text == '""' else text
        if ignore_case or kind_of(subject) is not Kind.TEXT:
            return InSet(subject, (value,), ignore_case)
        return Compare("==", subject, Const(value))

    # ------------------------------------------------------------ what comes of it

    def _proxied(self, rule: Directive, flags: dict[str, str]) -> Part:
        text = rule.text(1)
        fixed = text
        for mark in ("$", "%"):
            fixed = fixed.partition(mark)[0]
        target = read_target(self._record, rule, fixed, 1)
        if target is None:
            return NOTHING
        way = self._passes.use(target, self._scope, rule, len(rule.args))
        if way is None:
            return NOTHING
        rest = text[text.index("://") + 3 :]
        _, slash, path = rest.partition("/")
        action = self._new_path(f"/{path}" if slash else "/", rule, flags)
        same = isinstance(action.path, Call) and action.path == Call("encode_path", (_PATH,))
        whole = self._names.rule is not None and path in ("$1", "%{REQUEST_URI}") and _takes_all(self._names.rule[1])
        if way.path and action.path is not None:
            action = replace(action, path=concat([encoded(Const(way.path)), action.path]))
            same = whole = False
        return _as_part(way.route(None, () if same or whole else (action,)))

    def _new_path(self, text: str, rule: Directive, flags: dict[str, str]) -> Rewrite:
        path, mark, query = text.partition("?")
        made = self._names.template(path, rule.place(1), encode=True)
        made = Call("encode_path", (_PATH,)) if made == _PATH else encoded(made) if isinstance(made, Const) else made
        if "QSD" in flags and not mark:
            return Rewrite(made, EMPTY)
        if not mark:
            return Rewrite(made)
        added = self._names.template(query, rule.place(1))
        return Rewrite(made, concat([added, with_query("&")]) if "QSA" in flags else added)

    def _redirect(self, rule: Directive, flags: dict[str, str]) -> Part:
        status = flags.get("R", "")
        if status not in _STATUSES:
            if status.isdigit() and 400 <= int(status) <= 599:
                return Part(Respond(int(status)), (Deny(int(status)),))
            self._record.error(rule.place(2), "bad-value", f"`{status}` is no status of a redirect")
        text = rule.text(1)
        location = self._names.template(text.removesuffix("?"), rule.place(1), encode="NE" not in flags)
        if any(each == _PATH for each in walk(location)) and "NE" not in flags:
            location = _path_encoded(location)
        if "?" not in text and "QSD" not in flags:
            location = concat([location, with_query("?")])
        elif "QSA" in flags:
            location = concat([location, with_query("&")])
        return Part(Redirect(location, _STATUSES.get(status, 302)))


def _simple(subject: Expr, pattern: str) -> Expr | None:
    """Return the plain test that a common pattern is, so that equal policies are equal."""
    https = If(Var("tls"), Const("on"), Const("off"))
    if subject == https and pattern in ("off", "^off$"):
        return Not(Var("tls"))
    if subject == https and pattern in ("on", "^on$"):
        return Var("tls")
    return None


def _takes_all(pattern: str) -> bool:
    return pattern in ("^/?(.*)", "^/?(.*)$", "^/(.*)", "^/(.*)$", "/(.*)")


def _path_encoded(expr: Expr) -> Expr:
    """Return a text in which the decoded path is written as in a target; what is encoded already stays."""
    if expr == _PATH:
        return Call("encode_path", (expr,))
    parts = getattr(expr, "parts", None)
    return expr if parts is None else concat([_path_encoded(part) for part in parts])


def _as_part(route: Route) -> Part:
    """Return a route as a part; its forwarding needs a switch of its own."""
    return Part(Switch((route,)))


# ---------------------------------------------------------------- redirects


def redirect_route(record: Record, directive: Directive, names: Names, section: str = "") -> Route | None:
    """Return the route of a ``Redirect``; ``section`` is the path of the section it stands in."""
    words = list(directive.args)
    status = {"redirectpermanent": "permanent", "redirecttemp": "temp"}.get(directive.name, "")
    first = words[0].text.lower()
    if directive.name in ("redirect", "redirectmatch") and (first in _STATUSES or first == "gone" or first.isdigit()):
        status = words.pop(0).text.lower()
    path = section or (words.pop(0).text if words else "")
    target = words[0] if words else None
    is_pattern = directive.name == "redirectmatch"
    try:
        match = PathMatch("regex", to_pattern(path)) if is_pattern else _redirect_match(path)
    except ValueError as bad:
        record.error(directive.place(0), "bad-regex", str(bad))
        return None
    if status == "gone" or (status.isdigit() and status not in _STATUSES):
        number = 410 if status == "gone" else int(status)
        if not 400 <= number <= 599:
            record.error(directive.span, "bad-value", f"`{status}` is no status that can be answered here")
            return None
        return Route(Respond(number), path=match, request=(Deny(number),))
    if target is None:
        record.error(directive.span, "arguments", "a redirect needs a target")
        return None
    if is_pattern:
        names.rule = (_PATH, to_pattern(path))
        location = names.template(target.text, target.span, encode=True)
    else:
        rest: Expr = Call("replace_prefix", (Var("path"), Const(path), EMPTY))
        location = concat([Const(target.text), rest])
    return Route(Redirect(concat([location, with_query("?")]), _STATUSES.get(status, 302)), path=match)


def _redirect_match(path: str) -> PathMatch:
    if not path.startswith("/"):
        raise ValueError(f"the path `{path}` does not begin with `/`")
    return path_match(path)


def engine_is_on(scope: Scope) -> bool:
    """Tell whether the rules of a site are looked at; they are not inherited from outside."""
    own = scope.own("RewriteEngine")
    return bool(own) and own[-1].text().lower() == "on"
