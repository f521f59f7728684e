"""``Redirect`` and its kin.

Facts: redirects of a virtual host are looked at only where no ``ProxyPass`` fits, those in a section before all that; there, a path may
be left out, and the address may have variables in it. What follows the path is put behind the address, unless the path was left out, and
so is the query.
"""

from __future__ import annotations

from typing import Literal

from vestibule.dialects.apache.expressions import read_string
from vestibule.dialects.apache.lexer import Word
from vestibule.dialects.apache.proxying import path_match
from vestibule.dialects.apache.sections import Section, both
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.variables import Names, to_pattern
from vestibule.dialects.part import with_query
from vestibule.dialects.record import Record
from vestibule.model.config import Deny, PathMatch, Redirect, Respond, Route
from vestibule.model.expr import EMPTY, Call, Const, Expr, Var, concat

STATUSES: dict[str, Literal[301, 302, 303, 307, 308]] = {
    "permanent": 301, "temp": 302, "seeother": 303, "301": 301, "302": 302, "303": 303, "307": 307, "308": 308, "": 302,
}  # fmt: skip

_PATH = Var("decoded_path")


def redirect_route(record: Record, directive: Directive, names: Names, section: Section | None = None) -> Route | None:
    """Return the route of a redirect; ``section`` is what it stands in."""
    words = list(directive.args)
    status = {"redirectpermanent": "permanent", "redirecttemp": "temp"}.get(directive.name, "")
    first = words[0].text.lower()
    if directive.name in ("redirect", "redirectmatch") and (first in STATUSES or first == "gone" or first.isdecimal()):
        status = words.pop(0).text.lower()
    number = 410 if status == "gone" else int(status) if status.isdecimal() and status not in STATUSES else 0
    is_bare = section is not None and len(words) < (1 if number else 2)
    path = None if is_bare else words.pop(0).text if words else ""
    is_pattern = directive.name == "redirectmatch"
    match: PathMatch | None = None
    try:
        if path is not None:
            match = PathMatch("regex", to_pattern(path)) if is_pattern else _redirect_match(path)
    except ValueError as bad:
        record.error(directive.place(0), "bad-regex", str(bad))
        return None
    test = section.test if section is not None else None
    if number:
        if not 400 <= number <= 599:
            record.error(directive.span, "bad-value", f"`{status}` is no status that can be answered here")
            return None
        return Route(Respond(number), path=match, when=test, request=(Deny(number),))
    if not words:
        record.error(directive.span, "arguments", "a redirect needs a target")
        return None
    target = words[0]
    location = _location(record, names, path, is_pattern, target)
    made = Redirect(concat([location, with_query("?")]), STATUSES.get(status, 302))
    if section is not None and path is None and not section.is_if and not section.is_pattern and both(test, None) is not None:
        # The path says it as well as the test of the section.
        return Route(made, path=path_match(section.path))
    return Route(made, path=match, when=test)


def _location(record: Record, names: Names, path: str | None, is_pattern: bool, target: Word) -> Expr:
    """Return where a redirect leads."""
    if path is None:
        # In a section the target is the whole of it: nothing of the path goes behind.
        return read_string(record, names, target.text, target.span)
    if is_pattern:
        names.rule = (_PATH, to_pattern(path))
        return names.template(target.text, target.span, encode=True)
    return concat([Const(target.text), Call("replace_prefix", (Var("path"), Const(path), EMPTY))])


def _redirect_match(path: str) -> PathMatch:
    if not path.startswith("/"):
        raise ValueError(f"the path `{path}` does not begin with `/`")
    return path_match(path)
