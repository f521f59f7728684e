"""Fields of answers: ``add_header``, ``add_trailer``, ``expires``, and the cookies that ``proxy_cookie_*`` changes.

Facts:
* ``add_header`` without ``always``, and ``expires``, are for answers with the statuses of ``_GOOD``.
* A cookie's ``Domain`` is compared without regard to case and to a dot before it, its ``Path`` by its beginning. The first rule
  that fits a cookie changes it.

Not here: what is hidden and where redirects lead (``proxying``).
"""

from __future__ import annotations

import re

from vestibule.dialects.nginx.early import known_at
from vestibule.dialects.nginx.flow import decoded, not_built
from vestibule.dialects.nginx.levels import realm_fields
from vestibule.dialects.nginx.patterns import to_pattern
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.userids import userid_fields
from vestibule.dialects.nginx.values import parse_time
from vestibule.dialects.nginx.variables import Names
from vestibule.model.check_expr import TOKEN
from vestibule.model.check_route import FRAMING
from vestibule.model.config import Action, AddHeader, AddTrailer, EditHeader, SetHeader, Substitute, When
from vestibule.model.expr import EMPTY, AllOf, Call, Const, Expr, If, InSet, Match, Not, Phase, Var, concat

_GOOD = ("200", "201", "204", "206", "301", "302", "303", "304", "307", "308")
_TEXTS = ("text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript", "application/rss+xml")
_DAY_MS = 86_400_000
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
    """Return the actions of ``expires``, ``add_header`` and ``add_trailer`` that hold in a block."""
    always: list[Action] = [*_charset(scope, names), *userid_fields(scope, names), *realm_fields(scope, names)]
    good: list[Action] = list(_expires(scope, names))
    trailers = scope.nearest("add_trailer")
    names = names.copy()
    for directive in (*scope.nearest("add_header"), *trailers):
        name = directive.text(0)
        at = Phase.LOG if directive.name == "add_trailer" else Phase.RESPONSE
        value = known_at(decoded(names.text(directive.args[1])), at)
        if not TOKEN.fullmatch(name):
            scope.record.error(directive.place(0), "bad-field", f"`{name}` is no field name")
            continue
        if name.lower() == "alt-svc" and isinstance(value, Const) and "h3" in str(value.value):
            scope.record.warning(directive.span, "left-out", "this promises HTTP/3 and is left out", "it is not spoken here")
            continue
        if name.lower() == "trailer" and trailers:
            scope.record.warning(
                directive.span, "left-out", "`Trailer` is left out", "it belongs to one connection; trailers come without it"
            )
            continue
        if name.lower() in FRAMING:
            message = f"`{name}` is left out"
            scope.record.warning(directive.span, "left-out", message, "it belongs to one connection, and vestibule writes it")
            continue
        action = _field(directive, name, value)
        if directive.name == "add_trailer":
            _note_trailer(names, name, value)
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


def _charset(scope: Scope, names: Names) -> list[Action]:
    """Return what names the charset of answers that are texts and do not say theirs."""
    directive = scope.find("charset")
    if directive is None or directive.text() == "off":
        return []
    named = scope.find("charset_types")
    types = dict.fromkeys(("text/html", *(_TEXTS if named is None else named.texts)))
    kind = Var("response_header", "Content-Type")
    is_text = Match("." if "*" in types else rf"^(?:{'|'.join(re.escape(each) for each in types)})\s*(?:;|$)", kind, True)
    tests: list[Expr] = [is_text, Not(Match(r";\s*charset=", kind, True))]
    charset = names.text(directive.args[0])
    if not isinstance(charset, Const):
        tests.append(Not(InSet(charset, ("", "off"))))
    return [When(AllOf(tuple(tests)), (SetHeader("Content-Type", concat([kind, Const("; charset="), charset])),))]


def _note_trailer(names: Names, name: str, value: Expr) -> None:
    """Have a trailer be known to those after it."""
    variable = f"sent_trailer_{name.lower().replace('-', '_')}"
    before = names.own.get(variable)
    names.own[variable] = value if before is None else concat([before, Const(", "), value])


def _field(directive: Directive, name: str, value: Expr) -> Action:
    if directive.name == "add_trailer":
        return AddTrailer(name, value)
    return SetHeader(name, value) if name.lower() in _REPLACING else AddHeader(name, value)


# ---------------------------------------------------------------- texts in bodies


def substitutions(scope: Scope, names: Names) -> tuple[Action, ...]:
    """Return what ``sub_filter`` changes in the bodies of answers."""
    texts: list[tuple[str, Expr]] = []
    for directive in scope.nearest("sub_filter"):
        text = names.fixed(directive.args[0])
        if text is None:
            not_built(scope.record, directive.place(0), "a text to look for that depends on the request", "write the text itself")
        elif not text:
            scope.record.error(directive.place(0), "bad-value", "an empty text is everywhere", "write what is looked for")
        else:
            texts.append((text, names.text(directive.args[1])))
    if not texts:
        return ()
    types = tuple(dict.fromkeys(("text/html", *scope.find_all("sub_filter_types"))))
    once, keeps = scope.flag("sub_filter_once", True), scope.flag("sub_filter_last_modified", False)
    return (Substitute(tuple(texts), ("*",) if "*" in types else types, once, keeps),)


# ---------------------------------------------------------------- expires


def _expires(scope: Scope, names: Names) -> list[Action]:
    """Return what ``expires`` makes: a date, and what caches go by."""
    directive = scope.find("expires")
    if directive is None or directive.texts == ("off",):
        return []
    word = directive.args[-1]
    since = Var("response_header", "Last-Modified") if len(directive.args) == 2 else None
    if since is not None and directive.text(0) != "modified":
        scope.record.error(directive.place(0), "bad-value", f"`{directive.text(0)}` is unknown here", "write `modified` or nothing")
        return []
    try:
        date, control = _stale(names.text(word), since)
    except ValueError as bad:
        scope.record.error(word.span, "bad-value", str(bad), "write a time, `epoch`, `max` or `off`")
        return []
    made: list[Action] = []
    for name, value in (("Expires", date), ("Cache-Control", control)):
        if isinstance(value, Const) or (since is None and "$" not in word.text):
            made.append(SetHeader(name, value))
        else:
            # An empty value is `off`: what the upstream says stays.
            made.append(When(Not(InSet(value, ("",))), (SetHeader(name, value),)))
    return made


def _stale(text: Expr, since: Expr | None) -> tuple[Expr, Expr]:
    """Return what ``Expires`` and ``Cache-Control`` are by a text. Raises ``ValueError`` for a fixed one that says no time."""
    if since is None:
        try:
            return _each(text, _date_of), _each(text, _control_of)
        except _UnknownError:
            pass
    elif isinstance(text, Const):
        parse_time(str(text.value).lstrip("+-"))
    return Call("expiry", (text, since or EMPTY, Const("date"))), Call("expiry", (text, since or EMPTY, Const("control")))


class _UnknownError(Exception):
    """What is known only when an answer is made."""


def _each(value: Expr, change: _Change) -> Expr:
    """Change the texts that a value may have; raise ``_UnknownError`` where they are not known beforehand."""
    if isinstance(value, Const):
        return change(str(value.value))
    if isinstance(value, If):
        return If(value.test, _each(value.then, change), _each(value.otherwise, change))
    raise _UnknownError


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
        if text.startswith("@"):
            if parse_time(text[1:]) > _DAY_MS:
                raise ValueError(f"`{text}` is no time of the day")
            return Call("expiry", (Const(text), EMPTY, Const("date" if self._date else "control")))
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
    # A pattern may fit nothing as well, and a cookie without the attribute is left alone.
    fits = AllOf((Match(split, _LINE), Match(pattern, found, ignore_case)))
    return If(fits, concat([before, within.text(rule.args[1]), after]), otherwise)


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
