"""``secure_link``: what ``$secure_link`` and ``$secure_link_expires`` are.

Facts: ``secure_link`` gives a digest in base64 for URLs and, behind the first comma, the second when the link ends; ``secure_link_md5``
is the text that was digested. The variable is empty where the digest is another or the moment is no number, ``0`` once the moment is
over, and ``1`` else. The text may have ``$secure_link_expires`` in it.

``secure_link_secret`` is an older way: the second segment of the path is the MD5, in hexadecimal, of what follows it, which the variable
is then, and the secret.

Not here: conditions (``flow``).
"""

from __future__ import annotations

from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.variables import Names
from vestibule.model.expr import EMPTY, AllOf, Call, Compare, Const, Expr, If, Match, Not, Var, concat

_NOW = Call("divide", (Var("time_ms"), Const(1_000)))
_DIGITS_MOST = 15
"""Digits of a moment; nginx takes four more."""


def learn_secure_links(scope: Scope, names: Names) -> None:
    """Have both variables known in ``names``."""
    link, digested = scope.find("secure_link"), scope.find("secure_link_md5")
    names.own["secure_link"] = names.own["secure_link_expires"] = EMPTY
    nearest = scope.nearest("secure_link", "secure_link_md5", "secure_link_secret")
    if nearest and nearest[0].name == "secure_link_secret":
        names.own["secure_link"] = _by_secret(nearest[0])
        return
    if link is None or digested is None:
        return
    said = names.text(link.args[0])
    expires = Call("capture", (said, Const("^[^,]*,(.*)$"), Const("1")))
    names.own["secure_link_expires"] = expires
    digest = Call("capture", (said, Const("^([^,]{0,24})(?:,|$)"), Const("1")))
    # Digits of base64 that padding or other bytes follow count up to these.
    plain = Call("capture", (digest, Const("^[A-Za-z0-9_-]{22}(?==*$)"), Const("0")))
    is_right = Compare("==", Call("base64url_decode", (plain,)), Call("digest", (names.text(digested.args[0]), Const("md5"))))
    has_end = Match(",", said)
    is_moment = Match(f"^0*[1-9][0-9]{{0,{_DIGITS_MOST - 1}}}$", expires)
    is_over = AllOf((has_end, Compare("<", Call("number", (expires,)), _NOW)))
    is_wrong = Not(AllOf((is_right, Not(AllOf((has_end, Not(is_moment)))))))
    names.own["secure_link"] = If(is_wrong, EMPTY, If(is_over, Const("0"), Const("1")))


def _by_secret(directive: Directive) -> Expr:
    """Return the end of the target that the digest before it is of."""
    given, rest = [Call("capture", (Var("target"), Const("^/[^/]*/([0-9A-Fa-f]{32})/(.*)$"), Const(at))) for at in ("1", "2")]
    digest = Call("digest", (concat([rest, Const(directive.text())]), Const("md5")))
    return If(Compare("==", Call("hex_decode", (given,)), digest), rest, EMPTY)
