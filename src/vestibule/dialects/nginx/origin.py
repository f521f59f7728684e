"""Where a ``Location`` leads that is written as a path.

Facts: nginx puts its scheme before it, the host that was asked for (with ``server_name_in_redirect`` the first name of the server; the
address of the socket where a request names none), and the port of the socket unless that is the usual one of the scheme.
``port_in_redirect off`` leaves the port out, ``absolute_redirect off`` all of it.

Not here: which answers have a Location (``flow``, ``files``, ``proxying``), and which port the sockets have (``listening``).
"""

from __future__ import annotations

from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.variables import Names
from vestibule.model.expr import EMPTY, Concat, Const, Default, Expr, If, Match, Var, concat

_SCHEME = Var("scheme")
_HOST = Default(Var("host"), Var("server_ip"))


def origin_of(scope: Scope, names: Names) -> Expr | None:
    """Return what a block puts before a path in a Location; None where it leaves the path as it is."""
    if not scope.flag("absolute_redirect", True):
        return None
    host: Expr = _HOST
    if scope.flag("server_name_in_redirect", False):
        host = names.own.get("server_name", EMPTY)
    port = names.port if scope.flag("port_in_redirect", True) else EMPTY
    return concat([_SCHEME, Const("://"), host, port])


def placed(location: Expr, origin: Expr | None) -> Expr:
    """Return a Location with what belongs before it, where it is a path."""
    if origin is None:
        return location
    first = location.parts[0] if isinstance(location, Concat) else location
    if isinstance(first, Const):
        return concat([origin, location]) if str(first.value).startswith("/") else location
    if first == _SCHEME:
        return location
    return If(Match("^/", location), concat([origin, location]), location)
