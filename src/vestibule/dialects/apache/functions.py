"""The functions of httpd's expressions, as functions of the vocabulary."""

from __future__ import annotations

from vestibule.model.expr import Call, Expr
from vestibule.model.vocabulary import FUNCTIONS

FUNCTIONS_OF_HTTPD: dict[str, str] = {
    "tolower": "lower",
    "toupper": "upper",
    "escape": "url_encode",
    "unescape": "url_decode",
    "base64": "base64",
    "unbase64": "unbase64",
    "md5": "md5",
    "sha1": "sha1",
    "replace": "",
    "file": "",
    "filemod": "",
    "filesize": "",
    "ldap": "",
}
"""httpd's names with ours; without one, there is none."""


def call_of(name: str, arguments: list[Expr]) -> Expr | None:
    """Return the call of one of httpd's functions; None where there is none like it."""
    row = FUNCTIONS.get(FUNCTIONS_OF_HTTPD[name])
    if row is None or len(row.arguments) != len(arguments):
        return None
    return Call(row.name, tuple(arguments))
