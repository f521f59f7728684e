"""Letters that say how an exchange or a connection ended.

Facts (HAProxy configuration manual, 8.5): the first letter says who ended it, the second when; `--` is an end without fault.

Not here: the lines they stand in (`loglines`), formats (`formats`).
"""

from __future__ import annotations

from vestibule.dialects.haproxy.variables import ASKED
from vestibule.model.expr import EMPTY, Compare, Concat, Const, Expr, If, InSet, Var

_ENDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cR", ("client.timeout_head",)),
    ("cD", ("client.timeout_write", "client.timeout_idle", "proxy.tunnel_idle")),
    ("SC", ("upstream.refused", "upstream.unreachable", "upstream.unresolved", "upstream.tls", "upstream.down")),
    ("sC", ("upstream.timeout_connect",)),
    ("SH", ("upstream.lost",)),
    ("SD", ("upstream.truncated", "upstream.surplus")),
    ("sH", ("upstream.timeout_head",)),
    ("sD", ("upstream.timeout_body", "upstream.timeout_write")),
    ("sQ", ("upstream.busy",)),
    ("PH", ("upstream.bad_syntax", "upstream.bad_framing", "upstream.bad_upgrade", "upstream.head_too_large")),
    ("IR", ("proxy.internal",)),
)
"""Who ended an exchange and when, by what went wrong; of all others it was the proxy, at the request."""

_GONE = ("client.gone", "client.stream_reset")
_SLOW = "client.timeout_body"


def request_end() -> Expr:
    """Return how an exchange ended; one that asked no server ended here."""
    return _end(If(Compare("!=", ASKED, EMPTY), Const("--"), Const("LR")))


def connection_end() -> Expr:
    """Return how a connection ended that was passed on."""
    return _end(Const("--"))


def absent(name: str) -> Expr:
    """Return the test of whether there is nothing to say of a variable, a number included."""
    return InSet(Concat((Var(name), EMPTY)), ("",))


def _end(well: Expr) -> Expr:
    """Return who ended the exchange, and when."""
    fault = Var("fault")
    asked = Compare("!=", ASKED, EMPTY)
    connected = If(absent("upstream_connect_ms"), Const("CC"), Const("CH"))
    gone = If(absent("status"), If(asked, connected, Const("CR")), Const("CD"))
    found: Expr = Const("PR")
    for letters, kinds in reversed(_ENDS):
        found = If(InSet(fault, kinds), Const(letters), found)
    found = If(InSet(fault, _GONE), gone, found)
    found = If(InSet(fault, (_SLOW,)), If(asked, Const("cD"), Const("cR")), found)
    return If(absent("fault"), well, found)
