"""Fetches that may find several values: what conditions try, and which value an expression takes.

Facts (HAProxy configuration manual, chapters 7.1.1 and 7.3.6; Debian's 2.6 where it is silent): a condition holds if any value fits, unless
the fetch names one. ``hdr`` finds the items between commas, ``fhdr`` whole lines, ``cook`` the cookies of a name, ``url_param`` and
``body_param`` the pairs of a form, which end at ``&`` and ``;``; those of a query also at ``?``, or at the character that is said to begin
them. Elsewhere the last of fields and cookies counts, and the first of a form. A cookie that is empty is none.

Not here: how values are compared (``acl``), what else fetches are (``variables``).
"""

from __future__ import annotations

from vestibule.dialects.haproxy.state import State, not_built
from vestibule.dialects.haproxy.variables import FETCHES, NAMED_FETCHES, RAW_FETCHES
from vestibule.dialects.read import Unreadable
from vestibule.model.expr import Call, Const, Expr, Var

LINES = {
    "header": "each_header",
    "header_line": "each_header",
    "request_header": "each_request_header",
    "request_header_line": "each_request_header",
    "response_header": "each_response_header",
    "response_header_line": "each_response_header",
}
"""Variables that are a field or its last line, and those that are all its lines."""

FORMS = ("url_param", "urlp", "req.body_param")
COOKIES = ("cook", "req.cook", "res.cook", "scook")
COUNTED_COOKIES = ("cook_cnt", "req.cook_cnt", "res.cook_cnt", "scook_cnt")
FIELD_NAMES = {"req.hdr_names": Var("header_names"), "res.hdr_names": Var("response_header_names")}
COOKIE_NAMES = ("req.cook_names", "res.cook_names")

_ENDS = "&;"


def each_line(line: Expr) -> Expr:
    """Return all lines of the field that this is, or is the last one of. What a rule has set is one line."""
    return Var(LINES[line.name], line.argument) if isinstance(line, Var) and line.name in LINES else line


def form_values(name: str, arguments: tuple[str, ...]) -> Expr:
    """Return every value of a name in a query or a body. Raises ``Unreadable``."""
    key, begins = (*arguments, "", "")[:2]
    if not key:
        raise Unreadable("argument", f"`{name}` needs a name", f"write `{name}(NAME)`")
    if len(arguments) > 2 or (begins and name == "req.body_param"):
        raise not_built(f"`{name}` written so", f"write `{name}(NAME)`")
    if len(begins) > 1:
        raise Unreadable("argument", f"`{begins}` is more than one character", f"write `{name}({key},;)`")
    if name == "req.body_param":
        return Call("form_values", (Var("body"), Const(key), Const(_ENDS)))
    if begins and begins != "?":
        # What follows the first of these characters, wherever in the target it stands.
        text = Call("field", (FETCHES["pathq"], Const(2), Const(0), Const(begins)))
        return Call("form_values", (text, Const(key), Const(_ENDS if begins in _ENDS else _ENDS + begins)))
    return Call("form_values", (Var("query"), Const(key), Const(_ENDS + "?")))


def cookie_values(name: str, lines: Expr, arguments: tuple[str, ...]) -> Expr:
    """Return every value of a cookie in the lines of a field, of all cookies where none is named."""
    return Call("set_cookie_values" if is_set_cookie(name) else "cookie_values", (lines, Const("".join(arguments[:1]))))


def cookie_names(name: str, lines: Expr, arguments: tuple[str, ...]) -> Expr:
    """Return the names of all cookies in the lines of a field, as one text."""
    names = Call("set_cookie_names" if is_set_cookie(name) else "cookie_names", (lines,))
    return Call("joined", (names, Const("".join(arguments[:1]) or ",")))


def field_names(name: str, arguments: tuple[str, ...]) -> Expr:
    """Return the names of all fields, as one text."""
    names = FIELD_NAMES[name]
    separator = "".join(arguments[:1]) or ","
    return names if separator == "," else Call("joined", (Call("items", (names,)), Const(separator)))


def is_set_cookie(name: str) -> bool:
    """Tell whether a fetch looks at the cookies of an answer."""
    return name.startswith(("res.", "scook"))


def is_one(name: str, arguments: tuple[str, ...], state: State) -> bool:
    """Tell whether a fetch finds one value at most."""
    if name == "req.ssl_alpn":
        return not state.raw
    if name in FORMS or name in COOKIES:
        return False
    if name not in NAMED_FETCHES:
        return True
    # A request has one host.
    return "".join(arguments[1:2]) != "" or "".join(arguments[:1]).lower() in ("", "host")


def list_item(field: Expr, place: int) -> Expr:
    """Return one of the items of a field."""
    return Call("item_at", (Call("items", (each_line(field),)), Const(place)))


def alpn_values() -> Expr:
    """Return every protocol that a client offers."""
    return Call("items", (RAW_FETCHES["req.ssl_alpn"],))
