"""mod_expires: until when answers may be kept.

Facts: a time is ``A600``, or ``access plus 1 month 2 days``; a month has 30 days. An answer that says so itself stays as it is. What has
no time by its type has the default one.

Rules: times that count from the last change of a file are errors.
"""

from __future__ import annotations

import re

from vestibule.dialects.apache.proxying import appended
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.model.config import Action, SetHeader, When
from vestibule.model.expr import EMPTY, AllOf, Call, Compare, Const, Expr, Match, Var

_UNITS = {"year": 31_536_000, "month": 2_592_000, "week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def expiring(scope: Scope, inner: Scope) -> tuple[Action, ...]:
    """Return what a section inside of a scope does with answers; ``inner`` may be the scope itself."""
    active = inner.own("ExpiresActive") or scope.nearest("ExpiresActive")
    if not active or active[-1].text().lower() != "on":
        return ()
    actions: list[Action] = []
    named = scope.all if inner is scope else inner.own
    for directive in named("ExpiresByType"):
        main, _, sub = directive.text(0).lower().partition("/")
        kind = "[^;]*" if sub == "*" else re.escape(sub)
        actions += _kept(
            scope, directive, 1, Match(rf"^{re.escape(main)}/{kind}[ \t]*(?:;|$)", Var("response_header", "Content-Type"), True)
        )
    for directive in named("ExpiresDefault")[-1:]:
        actions += _kept(scope, directive, 0, None)
    # Errors are not kept.
    return (When(Compare("<", Var("status"), Const(400)), tuple(actions)),) if actions else ()


def _kept(scope: Scope, directive: Directive, at: int, test: Expr | None) -> list[Action]:
    seconds = _seconds(scope, directive, at)
    if seconds is None:
        return []
    silent = Compare("==", Var("response_header", "Expires"), EMPTY)
    control = appended(Var("response_header", "Cache-Control"), Const(f"max-age={seconds}"))
    until = Call("http_date", (Const(seconds),))
    whole = silent if test is None else AllOf((silent, test))
    return [When(whole, (SetHeader("Cache-Control", control), SetHeader("Expires", until)))]


def _seconds(scope: Scope, directive: Directive, at: int) -> int | None:
    """Return how long an answer may be kept; None, noted, where that cannot be said."""
    text = directive.text(at).lower()
    short = re.fullmatch(r"([am])([0-9]{1,10})", text)
    if short is not None and short[1] == "a":
        return int(short[2])
    words = text.split()
    if short is not None or words[:1] == ["modification"]:
        not_built(scope.record, directive, at, "a time from the last change of a file", "count from `access`")
        return None
    if words[:1] not in (["access"], ["now"]):
        scope.record.error(directive.place(at), "bad-value", f"`{text}` is no time", "write `access plus 1 month`")
        return None
    words = words[2:] if words[1:2] == ["plus"] else words[1:]
    total = 0
    for number, unit in zip(words[::2], words[1::2], strict=False):
        worth = _UNITS.get(unit.removesuffix("s"))
        if worth is None or not number.isdecimal():
            scope.record.error(directive.place(at), "bad-value", f"`{number} {unit}` is no time", "write `access plus 1 month`")
            return None
        total += int(number) * worth
    if not words or len(words) % 2:
        scope.record.error(directive.place(at), "bad-value", f"`{text}` is no time", "write `access plus 1 month`")
        return None
    return total
