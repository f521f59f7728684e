"""What happens to a request from some point on, for dialects whose rules run one after the other.

Facts: the model has actions, one source and switches. A rule that answers under a condition, or a choice between ways,
becomes a switch whose last route holds everything that comes after it.

Rules: routes are joined into one switch where nothing stands between them, so nesting grows with the policy only.

Not here: the rules of a dialect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vestibule.model.config import (
    Action,
    AuthRequest,
    Compression,
    ErrorRoute,
    Forwarding,
    Limits,
    PathMatch,
    Route,
    SetHeader,
    Source,
    Switch,
    Timeouts,
    When,
)
from vestibule.model.expr import Expr, Var, walk

# Variables that say something else once the target was rewritten.
_OF_TARGETS = ("path", "decoded_path", "query", "arg")


@dataclass(frozen=True, slots=True)
class Piece:
    """Actions, who answers, actions on the answer, and what holds meanwhile; None is as around it."""

    source: Source
    request: tuple[Action, ...] = ()
    response: tuple[Action, ...] = ()
    timeouts: Timeouts | None = None
    limits: Limits | None = None
    forwarding: Forwarding | None = None
    errors: tuple[ErrorRoute, ...] | None = None
    compression: Compression | None = None

    def before(self, request: Sequence[Action], response: Sequence[Action] = ()) -> Piece:
        """Return the piece that does these actions first; those on the answer come after its own."""
        if self.forwarding is not None and self.forwarding.host == "upstream":
            request = [_asked_for_itself(action) for action in request]
        return replace(self, request=(*request, *self.request), response=(*self.response, *response))

    def route(self, test: Expr | None = None, path: PathMatch | None = None) -> Route:
        """Return the piece as a route with a condition."""
        return Route(
            self.source,
            path=path,
            when=test,
            request=self.request,
            response=self.response,
            timeouts=self.timeouts,
            limits=self.limits,
            forwarding=self.forwarding,
            errors=self.errors,
            compression=self.compression,
        )


def _asked_for_itself(action: Action) -> Action:
    """Return an action that asks with the Host of the client, where the route it comes to stand in gives its server another."""
    if isinstance(action, When):
        actions = tuple([_asked_for_itself(each) for each in action.actions])
        return replace(action, actions=actions, otherwise=tuple([_asked_for_itself(each) for each in action.otherwise]))
    if not isinstance(action, AuthRequest) or any(isinstance(each, SetHeader) and each.name.lower() == "host" for each in action.request):
        return action
    return replace(action, request=(SetHeader("Host", Var("host_port")), *action.request))


def switched(routes: Sequence[Route], last: Piece) -> Piece:
    """Return the piece that tries routes and then does the last; without routes, that is the last alone."""
    if not routes:
        return last
    if isinstance(last.source, Switch) and last.source.order == "written" and last == Piece(last.source):
        return Piece(Switch((*routes, *last.source.routes)))
    return Piece(Switch((*routes, last.route())))


def reads_path(expr: Expr) -> bool:
    """Tell whether an expression follows from a target that may be rewritten."""
    return any(isinstance(each, Var) and each.name in _OF_TARGETS for each in walk(expr))


def without_path(values: dict[str, Expr | None]) -> dict[str, Expr | None]:
    """Return what is known of names once the target was rewritten: nothing of those whose value follows from it."""
    return {name: None if value is None or reads_path(value) else value for name, value in values.items()}
