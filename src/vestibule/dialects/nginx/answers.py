"""Fields of answers: ``add_header``, ``expires``, and the cookies that ``proxy_cookie_*`` changes.

Facts:
* ``add_header`` without ``always``, and ``expires``, are for answers with the statuses of ``_GOOD``.
* A cookie's ``Domain`` is compared without regard to case and to a dot before it, its ``Path`` by its beginning. The first rule
  that fits a cookie changes it.

Not here: what is hidden and where redirects lead (``proxying``).
"""

from __future__ import annotations

import re

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.values import parse_time
from vestibule.dialects.nginx.variables import Names, to_pattern
from vestibule.model.check_route import TOKEN
from vestibule.model.config import Action, AddHeader, EditHeader, SetHeader, When
from vestibule.model.expr import EMPTY, Call, Const, Expr, If, InSet, Match, Not, Var, concat

_GOOD = ("200", "201", "204", "206", "301", "302", "303", "304", "307", "308")
_REPLACING = ("last-modified", "etag")

_LINE = Var("field_line")
_FLAGS = {
    "secure": ("Secure", True),
    "httponly": ("HttpOnly", True),
    "samesite=strict": ("SameSite=Strict", True),
    "samesite=lax": ("SameSite=Lax", True),
    "samesite=none": ("SameSite=None", True),
    "nosecure": ("Secure", False),
    "nohttponly": ("HttpOnly", False),
    "nosamesite": ("SameSite", False),
}


def added_fields(scope: Scope, names: Names) -> tuple[Action, ...]:
    """Return the actions of ``expires`` and ``add_header`` that hold in a block."""
    always: list[Action] = []
    good: list[Action] = list(_expires(scope, names))
    for directive in scope.nearest("add_header"):
        name = directive.text(0)
        value = names.text(directive.args[1])
        if not TOKEN.fullmatch(name):
            scope.record.error(directive.place(0), "bad-field", f"`{name}` is no field name")
            continue
        if name.lower() == "alt-svc" and isinstance(value, Const) and "h3" in str(value.value):
            scope.record.warning(directive.span, "left-out", "this promises HTTP/3 and is left out", "it is not spoken here")
            continue
        action = SetHeader(name, value) if name.lower() in _REPLACING else AddHeader(name, value)
        if directive.text(2) == "always":
            always.append(action)
        elif directive.text(2):
            scope.record.error(directive.place(2), "bad-value", f"`{directive.text(2)}` is unknown here", "write `always` or nothing")
        else:
            good.append(action)
    # Their order among each other shows in no field: equal names with and without `always` are not told apart by anyone.
    if good:
        always.append(When(InSet(Var("status"), _GOOD), tuple(good)))
    return tuple(always)


# ---------------------------------------------------------------- expires


def _expires(scope: Scope, names: Names) -> list[Action]:
    """Return what ``expires`` makes: a date, and what caches go by."""
    directive = scope.find("expires")
    if directive is None or directive.texts == ("off",):
        return []
    word = directive.args[-1]
    if directive.text(0) == "modified" or word.text.startswith("@"):
        not_built(scope.record, directive.place(0), f"`expires {directive.text(0)}`", "write a time from now on")
        return []
    try:
        date = _each(names.text(word), _date_of)
        control = _each(names.text(word), _control_of)
    except ValueError as bad:
        scope.record.error(word.span, "bad-value", str(bad), "write a time, `epoch`, `max` or `off`")
        return []
    made: list[Action] = []
    for name, value in (("Expires", date), ("Cache-Control", control)):
        if isinstance(value, Const) or "$" not in word.text:
            made.append(SetHeader(name, value))
        else:
            # An empty value is `off`: what the upstream says stays.
            made.append(When(Not(InSet(value, ("",))), (SetHeader(name, value),)))
    return made


def _each(value: Expr, change: _Change) -> Expr:
    """Change the texts that a value may have; raise ``ValueError`` where they are not known beforehand."""
    if isinstance(value, Const):
        return change(str(value.value))
    if isinstance(value, If):
        return If(value.test, _each(value.then, change), _each(value.otherwise, change))
    raise ValueError("what this variable is cannot be known beforehand; use a `map` of fixed values")


class _Change:
    """What is made of one value of ``expires``."""

    def __init__(self, date: bool) -> None:
        self._date = date

    def __call__(self, text: str) -> Expr:
        if text in ("off", ""):
            return EMPTY
        if text == "epoch":
            return Const("Thu, 01 Jan 1970 00:00:01 GMT" if self._date else "no-cache")
        if text == "max":
            return Const("Thu, 31 Dec 2037 23:55:55 GMT" if self._date else "max-age=315360000")
        seconds = parse_time(text.lstrip("+-")) // 1_000 * (-1 if text.startswith("-") else 1)
        if self._date:
            return Call("http_date", (Const(seconds),))
        return Const(f"max-age={seconds}" if seconds >= 0 else "no-cache")


_date_of = _Change(True)
_control_of = _Change(False)


# ---------------------------------------------------------------- cookies


def cookie_actions(scope: Scope, names: Names) -> tuple[Action, ...]:
    """Return what changes the cookies of an upstream."""
    made: list[Action] = []
    for directive in ("proxy_cookie_domain", "proxy_cookie_path"):
        rules = scope.nearest(directive)
        attribute = directive.removeprefix("proxy_cookie_")
        value: Expr = _LINE
        for rule in reversed(rules):
            if rule.texts == ("off",):
                value = _LINE
                break
            value = _changed(scope, names, rule, attribute, value)
        if value != _LINE:
            made.append(EditHeader("Set-Cookie", value))
    for rule in scope.nearest("proxy_cookie_flags"):
        if rule.texts == ("off",):
            return tuple(made)
        made.extend(_flags(scope, rule))
    return tuple(made)


def _changed(scope: Scope, names: Names, rule: Directive, attribute: str, otherwise: Expr) -> Expr:
    """Return the line of a cookie with the value of an attribute replaced, where a rule fits it."""
    if len(rule.args) != 2:
        scope.record.error(rule.span, "arguments", f"`{rule.name}` takes `off`, or what to replace and by what")
        return otherwise
    text = rule.text(0)
    # The line up to the value, the value, and what follows it.
    dot = r"\.?" if attribute == "domain" else ""
    split = rf"(?i)^([^;]*(?:;[^;]*?)*?;\s*{attribute}\s*=\s*){dot}([^;]*)(.*)$"
    before, found, after = [Call("capture", (_LINE, Const(split), Const(str(at)))) for at in (1, 2, 3)]
    if not text.startswith("~"):
        if "$" in text:
            not_built(scope.record, rule.place(0), "a variable in what is replaced", "write a regular expression")
            return otherwise
        quoted = re.escape(text.lstrip(".") if attribute == "domain" else text)
        has = rf"(?i)^[^;]*(?:;[^;]*?)*?;\s*{attribute}\s*=\s*{dot}"
        has += rf"{quoted}\s*(?:;|$)" if attribute == "domain" else rf"(?-i:{quoted})"
        rest = Const("") if attribute == "domain" else Call("replace_prefix", (found, Const(text), EMPTY))
        return If(Match(has, _LINE), concat([before, names.text(rule.args[1]), rest, after]), otherwise)
    # A domain is compared without regard to case in any case.
    ignore_case = text.startswith("~*") or attribute == "domain"
    bare = text.removeprefix("~*") if text.startswith("~*") else text[1:]
    within = names.copy()
    try:
        pattern = to_pattern(bare)
        within.captures = (found, to_pattern(bare, ignore_case))
    except ValueError as bad:
        scope.record.error(rule.place(0), "bad-regex", str(bad))
        return otherwise
    return If(Match(pattern, found, ignore_case), concat([before, within.text(rule.args[1]), after]), otherwise)


def _flags(scope: Scope, rule: Directive) -> list[Action]:
    """Return what adds attributes to a cookie and takes them away."""
    name = rule.text(0)
    if name.startswith("~"):
        try:
            cookie = to_pattern(name.removeprefix("~*") if name.startswith("~*") else name[1:])
        except ValueError as bad:
            scope.record.error(rule.place(0), "bad-regex", str(bad))
            return []
        fits = Match(cookie, Call("capture", (_LINE, Const(r"^\s*([^=;\s]*)"), Const("1"))), True)
    else:
        fits = Match(rf"^\s*{re.escape(name)}\s*=", _LINE, True)
    made: list[Action] = []
    for word in rule.args[1:]:
        attribute, adds = _FLAGS.get(word.text, ("", False))
        if not attribute:
            what = f"`{word.text}` is no flag of a cookie"
            scope.record.error(word.span, "bad-value", what, "it is `secure`, `httponly`, `samesite=...`, or one of them with `no`")
            continue
        bare = attribute.partition("=")[0]
        split = rf"(?i)^(.*?)\s*;\s*{bare}\s*(?:=[^;]*)?(;.*)?$"
        without = concat([Call("capture", (_LINE, Const(split), Const(at))) for at in ("1", "2")])
        line = If(Match(split, _LINE), without, _LINE)
        value = concat([line, Const(f"; {attribute}")]) if adds else line
        made.append(EditHeader("Set-Cookie", If(fits, value, _LINE)))
    return made
