"""The functions of httpd's expressions, as functions of the vocabulary."""

from __future__ import annotations

from vestibule.model.expr import Call, Const, Expr
from vestibule.model.vocabulary import FUNCTIONS

FUNCTIONS_OF_HTTPD: dict[str, str] = {
    "tolower": "lower",
    "toupper": "upper",
    "escape": "url_encode",
    "unescape": "url_decode",
    "base64": "base64",
    "unbase64": "base64_decode",
    "md5": "digest",
    "sha1": "digest",
    "replace": "",
    "file": "",
    "filemod": "",
    "filesize": "",
    "ldap": "",
}
"""httpd's names with ours; without one, there is none."""


def call_of(name: str, arguments: list[Expr]) -> Expr | None:
    """Return the call of one of httpd's functions; None where there is none like it."""
    if name in ("md5", "sha1") and len(arguments) == 1:
        return Call("hex", (Call("digest", (arguments[0], Const(name))),))
    row = FUNCTIONS.get(FUNCTIONS_OF_HTTPD[name])
    if row is None or len(row.arguments) != len(arguments):
        return None
    return Call(row.name, tuple(arguments))
