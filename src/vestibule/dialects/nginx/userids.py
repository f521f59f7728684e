"""``userid``: a cookie that tells clients apart, and ``$uid_got`` and ``$uid_set``.

Facts: the cookie has sixteen bytes in base64. The first four are ``userid_service``, or else, but for ``v1``, our address. The
variables have the name of the cookie and the bytes as four numbers of this machine, in hexadecimal. ``userid_mark`` is a sign in the
place of the first ``=``: a cookie without it is sent again with it. ``$uid_reset`` neither empty nor ``0`` has a new one sent.

Rules: the other twelve bytes are those of a digest of what identifies the exchange, and not time, process and count.

Not here: conditions (``flow``).
"""

from __future__ import annotations

import re

from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.values import parse_time
from vestibule.dialects.nginx.variables import Names
from vestibule.model.config import Action, AddHeader, When
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Concat, Const, Expr, If, InSet, Not, Var, concat

_KINDS = ("on", "v1", "log", "off")
_FOREVER = "Thu, 31-Dec-37 23:55:55 GMT"
_DATE = "%a, %d-%b-%y %H:%M:%S GMT"
_NOW = Call("divide", (Var("time_ms"), Const(1_000)))
_FLAGS = ("secure", "httponly", "samesite=strict", "samesite=lax", "samesite=none")
_BYTES = 16
_DIGITS = 22
"""Digits of base64 that count; what follows is padding and the mark."""


def learn_userid(scope: Scope, names: Names) -> None:
    """Have the variables known in ``names``."""
    kind = _kind(scope)
    names.own["uid_got"] = names.own["uid_set"] = EMPTY
    if kind == "off":
        return
    name = scope.text("userid_name", "uid")
    got, known = _got(scope, names)
    names.own["uid_got"] = If(known, _as_words(name, got), EMPTY)
    if kind != "log":
        names.own["uid_set"] = If(known, EMPTY, _as_words(name, _made(scope, kind)))


def userid_fields(scope: Scope, names: Names) -> list[Action]:
    """Return what sends the cookie."""
    kind = _kind(scope)
    if kind not in ("on", "v1"):
        return []
    got, known = _got(scope, names)
    mark = scope.text("userid_mark", "off")
    fields: list[Action] = []
    text: Expr = Call("base64", (_made(scope, kind),))
    sent: Expr = Not(known)
    if mark != "off":
        if not re.fullmatch(r"[A-Za-z0-9=]", mark):
            scope.record.error(
                scope.nearest("userid_mark")[0].place(0), "bad-value", f"`{mark}` is no mark", "it is a letter, a digit, `=` or `off`"
            )
            return []
        # What is known is sent again with the mark.
        text = If(known, Call("base64", (got,)), text)
        text = concat([Call("slice", (text, Const(0), Const(_DIGITS))), Const(f"{mark}=")])
        cookie = Var("cookie", scope.text("userid_name", "uid"))
        sent = AnyOf((sent, Compare("!=", Call("slice", (cookie, Const(_DIGITS), Const(1))), Const(mark))))
    line = concat([Const(f"{scope.text('userid_name', 'uid')}="), text, *_attributes(scope)])
    fields.append(When(sent, (AddHeader("Set-Cookie", line), *_policy(scope))))
    return fields


def _kind(scope: Scope) -> str:
    kind = scope.text("userid", "off")
    if kind not in _KINDS:
        scope.record.error(
            scope.nearest("userid")[0].place(0), "bad-value", f"`{kind}` is unknown here", "it is `on`, `v1`, `log` or `off`"
        )
        return "off"
    return kind


def _got(scope: Scope, names: Names) -> tuple[Expr, Expr]:
    """Return the bytes that a client's cookie has, and whether they count."""
    cookie = Var("cookie", scope.text("userid_name", "uid"))
    digits = Call("capture", (cookie, Const(f"^[A-Za-z0-9+/]{{{_DIGITS}}}"), Const("0")))
    got = Call("base64_decode", (concat([digits, Const("==")]),))
    known: Expr = Compare("==", Call("length", (got,)), Const(_BYTES))
    reset = names.own.get("uid_reset")
    return got, known if reset is None else AllOf((known, InSet(reset, ("", "0"))))


def _made(scope: Scope, kind: str) -> Expr:
    """Return the bytes of a new cookie."""
    rest = Call(
        "slice", (Call("digest", (concat([Var("request_id"), Var("peer_ip"), Var("client_port")]), Const("md5"))), Const(4), Const(12))
    )
    service = scope.count("userid_service", 0) if scope.find("userid_service") is not None else None
    first: Expr
    if service is not None:
        first = Call("hex_decode", (Const((service % 2**32).to_bytes(4, "little" if kind == "v1" else "big").hex()),))
    elif kind == "v1":
        first = Call("hex_decode", (Const("00000000"),))
    else:
        # Of IPv6 the last four bytes; a socket in the file system has none.
        digits = concat([Const("00000000"), Call("hex", (Call("address_bytes", (Var("server_ip"),)),))])
        first = Call("hex_decode", (Call("capture", (digits, Const(".{8}$"), Const("0"))),))
    return Concat((first, rest))


def _as_words(name: str, data: Expr) -> Expr:
    """Return bytes as four numbers whose lowest byte comes first."""
    digits = Call("upper", (Call("hex", (data,)),))
    parts = [Call("slice", (digits, Const(8 * word + 2 * byte), Const(2))) for word in range(4) for byte in (3, 2, 1, 0)]
    return concat([Const(f"{name}="), *parts])


def _attributes(scope: Scope) -> list[Expr]:
    """Return what stands behind the value."""
    made: list[Expr] = []
    expires = scope.text("userid_expires", "off")
    if expires == "max":
        made.append(Const(f"; expires={_FOREVER}"))
    elif expires != "off":
        try:
            seconds = parse_time(expires) // 1_000
        except ValueError as bad:
            scope.record.error(scope.nearest("userid_expires")[0].place(0), "bad-value", str(bad), "write a time, `max` or `off`")
            return []
        made += [Const("; expires="), Call("format_date", (Call("add", (_NOW, Const(seconds))), Const(_DATE), Const("utc")))]
    domain = scope.text("userid_domain", "none")
    if domain != "none":
        made.append(Const(f"; domain={domain}"))
    made.append(Const("; path=" + scope.text("userid_path", "/")))
    for flags in scope.nearest("userid_flags"):
        for word in flags.args:
            if word.text in _FLAGS:
                made.append(Const(f"; {word.text}"))
            elif word.text != "off":
                scope.record.error(
                    word.span, "bad-value", f"`{word.text}` is no flag", "it is `secure`, `httponly`, `samesite=...` or `off`"
                )
    return made


def _policy(scope: Scope) -> tuple[Action, ...]:
    text = scope.text("userid_p3p", "none")
    return () if text == "none" else (AddHeader("P3P", Const(text)),)
