"""Fetches that look at the first bytes of a connection in ``mode tcp``.

Facts (HAProxy configuration manual, chapter 7.3.5): ``req.payload(OFFSET,LENGTH)`` is there once so many bytes have come, and with a
length of 0 it is all that there are behind the offset; ``req.len`` counts what has come. A condition on either is tried again with
each byte, until ``inspect-delay`` is over.

Rules: a connection waits for as many bytes as any of its conditions may need, and each is tried once.

Not here: what a ClientHello says (``variables``).
"""

from __future__ import annotations

from collections.abc import Sequence

from vestibule.dialects.read import Unreadable
from vestibule.model.expr import Call, Const, Expr, Var

PAYLOADS = ("req.payload", "payload")
LENGTHS = ("req.len", "req_len")

_MOST = 9_999
"""Bytes that a connection may be kept waiting for."""


def payload_expr(name: str, arguments: tuple[str, ...]) -> Expr:
    """Return a part of the first bytes. Raises ``Unreadable``."""
    if len(arguments) != 2 or not all(each.isdecimal() and each.isascii() for each in arguments):
        raise Unreadable("argument", f"`{name}` needs an offset and a length", f"write `{name}(0,4)`")
    offset, length = int(arguments[0][:6]), int(arguments[1][:6])
    seen = _first(offset + max(length, 1), name)
    return Call("slice", (seen, Const(offset), Const(length or -1)))


def length_expr(patterns: Sequence[str] = ()) -> Expr:
    """Return how many bytes there are, where that is compared with these. Raises ``Unreadable``."""
    numbers = [int(part[:6]) for each in patterns for part in each.split(":") if part.isdecimal()]
    more = 1 if "gt" in patterns else 0
    return Call("length", (_first(max([1, *numbers]) + more, LENGTHS[0]),))


def _first(count: int, name: str) -> Expr:
    if count > _MOST:
        raise Unreadable("bad-value", f"`{name}` looks at more than {_MOST} bytes", "a connection waits for those it looks at")
    return Var("first_bytes", str(count))
