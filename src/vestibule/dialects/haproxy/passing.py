"""Frontends in ``mode tcp``: their rules as the routes of a listener of layer 4.

Facts (HAProxy configuration manual, chapter 4): ``tcp-request`` rules run first, set by set; ``accept`` skips the rest of its set and
``reject`` closes the connection. ``inspect-delay`` is how long to wait for the bytes that a condition asks for. Then ``use_backend``
rules choose, and ``default_backend`` is what is left.

Rules: a connection that no backend takes is closed, as in HAProxy.

Not here: servers (``servers``), listeners (``listen``), conditions (``acl``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vestibule.dialects.haproxy.report import Report, span
from vestibule.dialects.haproxy.rules import Rules
from vestibule.dialects.haproxy.settings import USUAL, Settings, exchange_timeouts
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.tree import Statement
from vestibule.dialects.origin import Origins
from vestibule.model.config import TcpRoute, Timeouts
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import AllOf, AnyOf, Expr, Not

_SETS = ("tcp-request connection", "tcp-request session", "tcp-request content")
_VERBS = ("accept", "reject")


@dataclass(slots=True)
class Choice:
    """One way out of a frontend: the backend, where it is named, and under which condition."""

    backend: str
    statement: Statement | None
    test: Expr | None


@dataclass(slots=True)
class Passing:
    """What a frontend does with connections: those it refuses, then who gets the rest."""

    refused: list[TcpRoute] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)


def read_passing(settings: Settings, rules: Rules, report: Report, origins: Origins, state: State) -> Passing:
    """Read the rules of a frontend in ``mode tcp``. A ``listen`` section without a choice of backends chooses itself."""
    found = Passing()
    for name in _SETS:
        _read_set(settings.all(name), rules, report, origins, state, found)
    for statement in settings.all("use_backend"):
        name = "".join(statement.arguments()[:1])
        sound, test = rules.test(statement.line, statement.first + 1, state)
        if "%" in name:
            report.not_built(statement.line, statement.first, f"the backend `{name}`", "name it, with a condition")
        elif sound:
            found.choices.append(Choice(name, statement, test))
    default = settings.last("default_backend")
    if default is not None:
        found.choices.append(Choice("".join(default.arguments()[:1]), default, None))
    elif settings.section.kind == "listen":
        found.choices.append(Choice(settings.section.name, None, None))
    refuse_answers(settings, report)
    for statement in settings.all("http-request"):
        report.error(statement.line, 0, "wrong-mode", "there are no requests in `mode tcp`", "write `mode http`")
    return found


def refuse_answers(settings: Settings, report: Report) -> None:
    """Refuse rules about what servers say: it is passed on unseen."""
    for statement in settings.all("tcp-response content"):
        report.not_built(statement.line, 0, "`tcp-response` in `mode tcp`", "write `mode http`, or leave it out")


def _read_set(statements: list[Statement], rules: Rules, report: Report, origins: Origins, state: State, found: Passing) -> None:
    """Read one set of ``tcp-request`` rules."""
    accepted: list[Expr] = []
    for statement in statements:
        line, at = statement.line, statement.first
        verb = line.text(at)
        if verb not in _VERBS:
            report.not_built(line, at, f"`{verb}` in `tcp-request`", did_you_mean(verb, _VERBS))
            continue
        sound, test = rules.test(line, at + 1, state)
        if not sound:
            continue
        if verb == "accept":
            if test is None:
                return
            accepted.append(test)
            continue
        spared = Not(AnyOf(tuple(accepted)) if len(accepted) > 1 else accepted[0]) if accepted else None
        both = [each for each in (spared, test) if each is not None]
        when = both[0] if len(both) == 1 else AllOf(tuple(both)) if both else None
        found.refused.append(origins.at(span(line), TcpRoute(when=when)))


def passing_timeouts(front: Settings, backs: list[Settings]) -> Timeouts | None:
    """Return the time-outs of a listener of layer 4: the longest that any of its backends asks for; None for vestibule's own."""
    usual = USUAL
    each = [exchange_timeouts(front, back) for back in backs] or [exchange_timeouts(front, None)]
    made = replace(
        usual,
        connect_ms=max([one.connect_ms for one in each]),
        tunnel_idle_ms=max([one.tunnel_idle_ms for one in each]),
        tls_handshake_ms=front.delay("tcp-request inspect-delay") or usual.tls_handshake_ms,
    )
    return None if made == usual else made
