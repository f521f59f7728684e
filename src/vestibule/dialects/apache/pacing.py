"""mod_ratelimit: how fast answers go.

Facts: the filter does nothing where the variable `rate-limit` is not set. Its values are KiB: in a second, and `rate-initial-burst` at
once. Of several `SetOutputFilter` that fit, the last decides alone.
"""

from __future__ import annotations

from vestibule.dialects.apache.sections import as_answered
from vestibule.dialects.apache.tree import Directive
from vestibule.model.config import Action, BandwidthLimit
from vestibule.model.expr import EMPTY, Const, Expr, concat

RATE_LIMIT = "rate_limit"


def filters_of(directive: Directive) -> list[str]:
    """Return the names of the filters that a directive puts in, in small letters."""
    return [each.strip() for each in directive.text().lower().split(";")]


def paced(directives: list[Directive], environment: dict[str, Expr]) -> tuple[Action, ...] | None:
    """Return what the `SetOutputFilter` of a section says of the pace; None where it says nothing."""
    said = [each for each in directives if each.name == "setoutputfilter"]
    if not said:
        return None
    rate = _bytes(environment.get("rate-limit", EMPTY))
    if RATE_LIMIT not in filters_of(said[-1]) or rate == EMPTY:
        return ()
    burst = _bytes(environment.get("rate-initial-burst", EMPTY))
    return (BandwidthLimit(rate, after=None if burst == EMPTY else burst),)


def _bytes(kibibytes: Expr) -> Expr:
    if kibibytes == EMPTY:
        return EMPTY
    if isinstance(kibibytes, Const):
        text = str(kibibytes.value)
        return Const(str(int(text) * 1024)) if text.isascii() and text.isdecimal() and len(text) < 12 else EMPTY
    # It is asked when the body begins, and the path may have been rewritten by then.
    return concat([as_answered(kibibytes), Const("k")])
