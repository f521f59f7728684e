"""``X-Accel-Redirect``: an upstream's answer that sends the request on to another location.

Facts: nginx looks for the field in every answer of an upstream, and looks for a location anew, with GET and without the answer's body;
of its fields those of ``_PASSED`` go on. What begins with ``@`` is a named location, and a path that climbs is none.

Rules: answers are looked at in servers that have a location for it: one that is ``internal`` and that nothing else in the server leads
to; or that ask for the field by its variable; in all, where the file says the field itself. Elsewhere no answer is.

Not here: pages for errors (``files``), which are routed in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable

from vestibule.dialects.nginx.files import AS_GET
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.model.config import Again, Deny, ErrorRoute, Rewrite, When
from vestibule.model.expr import EMPTY, Call, Compare, Const, Match, Var

_FIELD = "X-Accel-Redirect"
_ASKED = "upstream_http_x_accel_redirect"
_PASSED = ("Content-Type", "Content-Disposition", "Cache-Control", "Expires", "Accept-Ranges", "Set-Cookie")
_TARGET = Var("kept", _FIELD)


def is_wanted(server: Scope) -> bool:
    """Tell whether a server has a location that only answers of upstreams lead to, or asks for the field."""
    within = list(all_in(server.directives))
    if any(_ASKED in text.lower() for each in within for text in each.texts):
        return True
    around: Scope | None = server
    leading: list[str] = []
    while around is not None:
        leading += [each.text(len(each.args) - 1) for each in around.own("error_page", "auth_request")]
        around = around.outer
    leading += [each.text(len(each.args) - 1) for each in within if each.name in ("error_page", "auth_request", "try_files")]
    for location in [each for each in within if each.name == "location"]:
        path = location.text(len(location.args) - 1).lstrip("=^~* ")
        is_internal = not path.startswith("@") and any(each.name == "internal" for each in location.block or ())
        if is_internal and not any(text.startswith(path) for text in leading):
            return True
    return False


def is_said(directives: Iterable[Directive]) -> bool:
    """Tell whether a file says the field itself, as one does that serves the upstream, too."""
    return any(each.name == "add_header" and each.text(0).lower() == _FIELD.lower() for each in all_in(directives))


def all_in(directives: Iterable[Directive]) -> Iterable[Directive]:
    """Return directives with all that is inside them."""
    for directive in directives:
        yield directive
        yield from all_in(directive.block or ())


def accel_routes(server: Scope, scope: Scope) -> tuple[ErrorRoute, ...]:
    """Return what follows the field in the answers of a block that proxies."""
    if not scope.own("proxy_pass") or _FIELD.lower() in [text.lower() for text in scope.find_all("proxy_ignore_headers")]:
        return ()
    said = Var("response_header", _FIELD)
    keep = ((_FIELD, said),)
    made: list[ErrorRoute] = []
    for name in [each.text(0) for each in server.own("location") if each.text(0).startswith("@")]:
        named = Compare("==", said, Const(name))
        made.append(ErrorRoute(Again(name), (), 0, True, (), (), named, keep, _PASSED))
    # Its path may be escaped or not, as nginx takes it.
    decoded = Call("url_decode", (Call("capture", (_TARGET, Const("^[^?]*"), Const("0"))),))
    path = Call("encode_path", (decoded,))
    query = Call("capture", (_TARGET, Const(r"\?(.*)$"), Const("1")))
    anew = (When(Match(r"(?:^|/)\.\.(?:/|$)", decoded), (Deny(404),)), Rewrite(path, query), AS_GET)
    made.append(ErrorRoute(Again(), (), 0, True, anew, (), Compare("!=", said, EMPTY), keep, _PASSED))
    return tuple(made)
