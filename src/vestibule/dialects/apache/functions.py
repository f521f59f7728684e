"""The functions of httpd's expressions, and its tests of files, as functions of the vocabulary."""

from __future__ import annotations

from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Concat, Const, Expr, Match, Not, Var, concat
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


def in_order(operator: str, left: Expr, right: Expr, shorter_first: bool) -> Expr:
    """Return the comparison of two texts by `<` or its kin; in rules a shorter one stands before a longer."""
    if operator in (">", "<="):
        left, right = right, left
    before: Expr = Call("before", (left, right))
    if shorter_first:
        one, other = Call("length", (left,)), Call("length", (right,))
        before = AnyOf((Compare("<", one, other), AllOf((Compare("==", one, other), before))))
    return Not(before) if operator.endswith("=") else before


def is_there(operator: str, subject: Expr) -> Expr | None:
    """Return the test that a file, or a directory, has a name; None where there is no such test."""
    if operator not in ("-f", "-s", "-d", "-e"):
        return None
    parts = subject.parts if isinstance(subject, Concat) else (subject,)
    fixed = str(parts[0].value) if isinstance(parts[0], Const) else ""
    rest = list(parts[1:] if fixed else parts)
    if rest and _begins_with_slash(rest[0]):
        root, wanted = fixed.rstrip("/"), concat(rest)
    else:
        root, _, begin = fixed.rpartition("/")
        wanted = concat([Const(f"/{begin}".replace("%", "%25")), *rest])
    is_file = AllOf((Not(Match("/$", wanted)), _stands(root, wanted)))
    is_directory = _stands(root, concat([wanted, Const("/")]))
    return is_directory if operator == "-d" else AnyOf((is_file, is_directory)) if operator == "-e" else is_file


def _stands(root: str, path: Expr) -> Expr:
    return Compare("!=", Call("existing", (Const(root or "/"), path)), EMPTY)


def _begins_with_slash(expr: Expr) -> bool:
    """Tell whether a text is a path, or one with another beginning."""
    if isinstance(expr, Call) and expr.function == "replace_prefix":
        return _begins_with_slash(expr.arguments[0]) and str(getattr(expr.arguments[2], "value", "")).startswith("/")
    return expr == Var("decoded_path")
