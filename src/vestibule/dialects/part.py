"""What languages with conditions build routes from: a part of what happens to a request.

Facts: nginx's rewrites, httpd's rules and the like are little programs that end in somebody who answers. Followed once, they
become choices between parts.

Not here: the languages.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from vestibule.model.config import Action, Deny, Respond, Route, Source, Switch
from vestibule.model.expr import EMPTY, Call, Compare, Const, Expr, If, Var, concat

ORIGIN = (Var("scheme"), Const("://"), Var("host_port"))
"""How the client addressed us."""


@dataclass(frozen=True, slots=True)
class Part:
    """What happens to a request: actions, who answers, actions on the response."""

    source: Source
    request: tuple[Action, ...] = ()
    response: tuple[Action, ...] = ()

    def before(self, *actions: Action) -> Part:
        """Return the same with actions put in front."""
        return Part(self.source, (*actions, *self.request), self.response)


NOTHING = Part(Respond(404), (Deny(404),))
"""What answers a request that nobody serves."""


def choose(test: Expr, then: Part, otherwise: Part) -> Part:
    """Return a part that is one of two by a test."""
    first = Route(then.source, when=test, request=then.request, response=then.response)
    rest = otherwise.source
    if not otherwise.request and not otherwise.response and isinstance(rest, Switch) and rest.order == "written":
        return Part(Switch((first, *rest.routes)))
    return Part(Switch((first, Route(rest, request=otherwise.request, response=otherwise.response))))


def encoded(path: Expr) -> Expr:
    """Return a decoded path as it goes into a target."""
    if isinstance(path, Const):
        return Const(quote(str(path.value), safe="/!$&'()*+,;=:@-._~[]"))
    # What is in its wire form already stays as it is.
    if path in (Var("path"), Var("target")):
        return path
    return Call("encode_path", (path,))


def with_query(mark: str) -> Expr:
    """Return the query with a mark before it, or nothing where there is none."""
    return If(Compare("==", Var("query"), EMPTY), EMPTY, concat([Const(mark), Var("query")]))
