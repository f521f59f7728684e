"""``valid_referers``: what ``$invalid_referer`` is.

Facts: a Referer is valid if its host is one of the list, whatever its port, and its path begins as the entry's does; ``none`` lets those
pass that have none, ``blocked`` those that are no URL of HTTP, ``server_names`` those of the server itself. A regular expression is
looked for behind the scheme, or in the host if it is one of the server's names. Paths alone are looked at with their case.

Not here: conditions (``flow``).
"""

from __future__ import annotations

import re

from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.patterns import to_pattern
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.variables import Names
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Const, Expr, If, Match, Not, Var

_REFERER = Var("header", "Referer")
_BEHIND_SCHEME = Call("capture", (_REFERER, Const("(?i)^https?://(.*)$"), Const("1")))

_IS_ABSENT = Compare("==", Var("header_lines", "Referer"), Const(0))
_SHORTEST = len("http://i.ru")
"""What is shorter is no URL."""
_HOST_MOST = 256

_HOST = Call("capture", (_REFERER, Const("(?i)^https?://([^:/]*)"), Const("1")))


def learn_referers(scope: Scope, names: Names) -> None:
    """Have ``$invalid_referer`` known in ``names``."""
    tests: list[Expr] = []
    for word in [word for directive in scope.nearest("valid_referers") for word in directive.args]:
        if word.text == "none":
            tests.append(_IS_ABSENT)
        elif word.text == "blocked":
            tests.append(AllOf((Not(_IS_ABSENT), Not(Match(f"^(?=.{{{_SHORTEST}}})https?://", _REFERER, True)))))
        elif word.text == "server_names":
            names_of_it = [each for directive in scope.nearest("server_name") for each in directive.args if each.text]
            tests += [_of_name(scope, each, _HOST) for each in names_of_it]
        else:
            tests.append(_of_name(scope, word))
    if not tests:
        names.own["invalid_referer"] = EMPTY
        return
    too_long = Match(f"^https?://[^:/]{{{_HOST_MOST + 1}}}", _REFERER, True)
    names.own["invalid_referer"] = If(AllOf((AnyOf(tuple(tests)), Not(too_long))), EMPTY, Const("1"))


def _of_name(scope: Scope, word: Word, looked_in: Expr = _BEHIND_SCHEME) -> Expr:
    """Return the test of one entry of the list; a regular expression is looked for in ``looked_in``."""
    if word.text.startswith("~"):
        try:
            # A pattern may fit nothing as well, and what is no URL of HTTP is none of these.
            return AllOf((Match("^https?://", _REFERER, True), Match(to_pattern(word.text[1:]), looked_in, True)))
        except ValueError as bad:
            scope.record.error(word.span, "bad-regex", str(bad))
            return Const(False)
    host, slash, path = word.text.partition("/")
    host = host.lower()
    if host.startswith("."):
        pattern = rf"(?:[^:/]+\.)?{re.escape(host[1:])}"
    else:
        pattern = re.escape(host).replace(r"\*", "[^:/]+")
    rest = rf"(?::[0-9]*)?/{re.escape(path)}" if slash else "(?:[:/]|$)"
    return Match(f"^(?i:https?://{pattern}){rest}", _REFERER)
