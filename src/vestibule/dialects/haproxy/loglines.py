"""The lines of ``option httplog`` and ``option tcplog``, as expressions.

Facts (HAProxy configuration manual, 8.2.2, 8.2.3 and 8.5): times are -1 where it did not come to that; of the four letters at the end
of an exchange the first says who ended it and the second when. Programs that read such lines count fields and letters.

Rules: what vestibule does not know stands as HAProxy writes "none": the time in the queue and that of the request's head, which
are part of the others, are 0; so are the counts of connections and of those that wait; cookies are ``-``.

Not here: formats of one's own (``sample``).
"""

from __future__ import annotations

from vestibule.dialects.haproxy.ends import absent, connection_end, request_end
from vestibule.dialects.haproxy.formats import format_expr
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.variables import ASKED, SERVER, TARGET
from vestibule.model.expr import EMPTY, Call, Compare, Concat, Const, Default, Expr, If, InSet, Var, concat

_NONE = Const("-1")


def http_line(frontend: str, state: State) -> Expr:
    """Return the line of ``option httplog``."""
    asked = Compare("!=", ASKED, EMPTY)
    connected = Default(Var("upstream_connect_ms"), _NONE)
    # HAProxy counts from the request's last byte to the server, vestibule from the arrival of its head.
    answered = If(absent("head_ms"), _NONE, Call("subtract", (Var("head_ms"), Var("upstream_connect_ms"))))
    return _concat(
        format_expr("%ci:%cp", state),
        " [",
        _moment(),
        "] ",
        _names(frontend),
        " 0/",
        If(asked, Const("0"), _NONE),
        "/",
        connected,
        "/",
        answered,
        "/",
        Var("total_ms"),
        " ",
        Default(Var("status"), _NONE),
        " ",
        Var("bytes_out"),
        " - - ",
        request_end(),
        "-- 0/0/0/0/0 0/0 ",
        *_captured(state),
        '"',
        Var("method"),
        " ",
        TARGET,
        " ",
        Var("protocol"),
        '"',
    )


def tcp_line(frontend: str) -> Expr:
    """Return the line of ``option tcplog``."""
    asked = Compare("!=", ASKED, EMPTY)
    connected = Default(Var("upstream_connect_ms"), _NONE)
    return _concat(
        _client(),
        " [",
        _moment(),
        "] ",
        _names(frontend),
        " ",
        If(asked, Const("0"), _NONE),
        "/",
        connected,
        "/",
        Var("total_ms"),
        " ",
        Var("bytes_out"),
        " ",
        connection_end(),
        " 0/0/0/0/0 0/0",
    )


def _concat(*parts: Expr | str) -> Expr:
    return concat([Const(part) if isinstance(part, str) else part for part in parts])


def _client() -> Expr:
    return Concat((Var("peer_ip"), Const(":"), Var("client_port")))


def _moment() -> Expr:
    """Return when the request came, in the time of the place, with milliseconds."""
    came = Call("subtract", (Var("time_ms"), Var("total_ms")))
    second = Call("format_date", (Call("divide", (came, Const(1_000))), Const("%d/%b/%Y:%H:%M:%S"), Const("local")))
    # `seconds` of less than one has three digits behind "0.".
    rest = Call("slice", (Call("seconds", (Call("modulo", (came, Const(1_000))),)), Const(1), Const(4)))
    return Concat((second, rest))


def _names(frontend: str) -> Expr:
    """Return the frontend, the backend and the server."""
    back = Default(Var("upstream"), Const(frontend))
    # A tilde behind the frontend says that the client spoke TLS.
    front = If(InSet(Var("scheme"), ("https",)), Const(f"{frontend}~ "), Const(f"{frontend} "))
    return Concat((front, back, Const("/"), SERVER))


def with_names(expr: Expr, names: tuple[tuple[str, str], ...]) -> Expr:
    """Return a line that calls servers by their names, ``UPSTREAM/NAME`` each with the address it stands for."""
    if expr == SERVER:
        keys: dict[str, list[str]] = {}
        for name, address in names:
            upstream, _, server = name.rpartition("/")
            keys.setdefault(server, []).append(f"{upstream}/{address}")
        chosen = Concat((Var("upstream"), Const("/"), ASKED))
        found: Expr = SERVER
        for server, places in keys.items():
            found = If(InSet(chosen, tuple(places)), Const(server), found)
        return found
    if isinstance(expr, Concat):
        return Concat(tuple([with_names(part, names) for part in expr.parts]))
    if isinstance(expr, If):
        return If(expr.test, with_names(expr.then, names), with_names(expr.otherwise, names))
    if isinstance(expr, Call):
        return Call(expr.function, tuple([with_names(each, names) for each in expr.arguments]))
    return expr


def _captured(state: State) -> list[Expr | str]:
    """Return what is captured of fields, each with a blank behind it."""
    parts: list[Expr | str] = []
    for alias in ("%hr", "%hs"):
        captured = format_expr(alias, state)
        if captured != EMPTY:
            parts.extend([captured, " "])
    return parts
