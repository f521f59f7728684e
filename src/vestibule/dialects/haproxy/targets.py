"""Paths and queries that rules make: how a text becomes a target.

Facts: a rule may set path and query in one text (HAProxy configuration manual, ``set-pathq``, ``set-uri``), the model has them apart.

Not here: the rules (``rules``).
"""

from __future__ import annotations

from vestibule.dialects.haproxy.sample import with_groups
from vestibule.dialects.haproxy.variables import QUERY_MARKED
from vestibule.model.config import Rewrite
from vestibule.model.expr import EMPTY, AllOf, Call, Concat, Const, Expr, InSet, Var, concat

NORMALIZERS = {
    "fragment-strip": ("none", ""),
    "fragment-encode": ("none", ""),
    "path-merge-slashes": ("path", "merge-slashes"),
    "path-strip-dot": ("path", "strip-dot"),
    "path-strip-dotdot": ("path", "strip-dotdot"),
    "path-strip-dotdot full": ("path", "strip-dotdot-full"),
    "percent-decode-unreserved": ("both", "decode-unreserved"),
    "percent-decode-unreserved strict": ("both", "decode-unreserved"),
    "percent-to-uppercase": ("both", "to-uppercase"),
    "percent-to-uppercase strict": ("both", "to-uppercase"),
    "query-sort-by-name": ("query", "sort-by-name"),
}
"""Ways of ``normalize-uri``: which part of the target they change, and how."""


def grouped(part: Expr, pattern: str, subject: Expr) -> list[Expr]:
    """Put what groups matched in the place of ``\\1`` and its kin; ``\\0`` is all that matched."""
    return with_groups(str(part.value), pattern, subject) if isinstance(part, Const) else [part]


def retargeted(target: Expr) -> Rewrite:
    """Return what makes a text, which is known only with the request, the target: a scheme and a host in it are left out."""
    local = Call("replace", (target, Const("^[A-Za-z][A-Za-z0-9+.-]*://[^/?]*"), Const(""), Const("")))
    path = Call("field", (local, Const(1), Const(1), Const("?")))
    return Rewrite(path, Call("field", (local, Const(2), Const(0), Const("?"))))


def unmarked(expr: Expr) -> Expr:
    """Take the ``?`` off a query, where it was written."""
    if isinstance(expr, Const) and isinstance(expr.value, str):
        return Const(expr.value.removeprefix("?"))
    if expr == QUERY_MARKED:
        return Var("query")
    if isinstance(expr, Concat) and isinstance(expr.parts[0], Const):
        return concat([Const(str(expr.parts[0].value).removeprefix("?")), *expr.parts[1:]])
    return expr


def monitored(uri: str) -> Expr:
    """Return whether a request is for the ``monitor-uri``. One with a host is met by its path at that host, in whichever form."""
    _, mark, rest = uri.partition("://")
    if not mark:
        return InSet(Var("path"), (uri,))
    host, slash, path = rest.partition("/")
    asked = Var("host_port" if ":" in host else "host")
    return AllOf((InSet(asked, (host.lower(),)), InSet(Var("path"), (slash + path,))))


def split_query(expr: Expr) -> tuple[Expr | None, Expr | None]:
    """Split a path with a query at the ``?``; no query is an empty one. The path is None where this cannot be told."""
    parts: list[Expr] = list(expr.parts) if isinstance(expr, Concat) else [expr]
    if parts[-1] == QUERY_MARKED:
        kept = concat(parts[:-1])
        return (None, None) if "?" in str(kept) or kept == EMPTY else (kept, None)
    path: list[Expr] = []
    for at, part in enumerate(parts):
        if isinstance(part, Const) and "?" in str(part.value):
            before, _, after = str(part.value).partition("?")
            return concat([*path, Const(before)]), concat([Const(after), *parts[at + 1 :]])
        if part in (Var("target"), QUERY_MARKED):
            return None, None
        path.append(part)
    return concat(path), EMPTY
