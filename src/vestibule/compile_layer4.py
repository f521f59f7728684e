"""Routes of connections and datagrams to plans: layer 4.

Rules: a route is a choice of a switch like any other; only its source knows that there is no HTTP.

Not here: what a connection is then (`proxy/raw.py`), what datagrams are (`proxy/udp.py`), upstreams (`compile_upstream.py`).
"""

from typing import Final

from vestibule.compile_expr import ExprMaker, Mistakes
from vestibule.compile_steps import StepMaker
from vestibule.compile_upstream import TCP, UDP, UpstreamMaker
from vestibule.contract import LogLine, Plan, Source, Step, Timeouts
from vestibule.fault import PROXY_NO_ROUTE
from vestibule.model import config as model
from vestibule.model import expr as tree
from vestibule.plan.sources.closed import Closed
from vestibule.plan.sources.fixed import Respond
from vestibule.plan.switch import ANY, WRITTEN, Choice, make_switch
from vestibule.plan.variables import Place
from vestibule.proxy.door import SessionLimits
from vestibule.proxy.raw import Handover, HangUp, Porches

_SNI: Final = tree.Var("tls_sni")
_OF_HELLO: Final = frozenset(("tls_sni", "tls_alpn", "tls_hello"))


class Layer4Maker:
    """Makes the plan of a listener that passes connections on."""

    def __init__(self, mistakes: Mistakes, exprs: ExprMaker, steps: StepMaker, upstreams: UpstreamMaker, porches: Porches) -> None:
        self._mistakes = mistakes
        self._exprs = exprs
        self._steps = steps
        self._upstreams = upstreams
        self._porches = porches

    def plan(self, key: str, listener: model.Listener, timeouts: Timeouts, log: list[LogLine]) -> Plan:
        """Make the plan of all routes of a listener; `log` has its lines."""
        choices: list[Choice] = []
        carries = UDP if isinstance(listener.address, model.UdpAddress) else TCP
        for at in range(len(listener.routes)):
            route = listener.routes[at]
            where = f"{key}.routes[{at}]"
            place = Place(listener.name.encode(), b"", route.upstream.encode())
            limits: list[Step] = []
            for number in range(len(route.concurrency)):
                limits.append(self._steps.concurrency(f"{where}.concurrency[{number}]", route.concurrency[number], place))
            for number in range(len(route.bandwidth)):
                limits.append(self._steps.bandwidth(f"{where}.bandwidth[{number}]", route.bandwidth[number], place))
            plan = Plan(
                listener.name,
                self._source(where, route, place, carries),
                limits,
                log=log,
                error_page=HangUp(),
                timeouts=timeouts,
                half_close=listener.half_close,
            )
            test = _test_of(route)
            condition = None if test is None else self._exprs.test(f"{where}.when", test, place)
            choices.append(Choice(plan, ANY, b"", False, False, [], condition))
        return Plan(listener.name, make_switch(choices, WRITTEN), log=log, error_page=HangUp(), timeouts=timeouts)

    def _source(self, key: str, route: model.TcpRoute, place: Place, carries: str) -> Source:
        if route.upstream:
            return self._upstreams.source(key, route.upstream, 0, carries)
        if route.listener:
            return Handover(self._porches, route.listener)
        if route.answer is not None:
            return Respond(200, [], [], self._exprs.text(f"{key}.answer", route.answer, place))
        return Closed(PROXY_NO_ROUTE)


def _test_of(route: model.TcpRoute) -> tree.Expr | None:
    """Return the condition of a route as one expression."""
    tests: list[tree.Expr] = []
    exact = tuple([name.lower() for name in route.names if not name.startswith("*.")])
    if exact:
        tests.append(tree.InSet(_SNI, exact))
    for name in route.names:
        if name.startswith("*."):
            tests.append(tree.Match("^[^.].*" + name[1:].lower().replace(".", "[.]") + "$", _SNI))
    named = tree.AnyOf(tuple(tests)) if tests else None
    if named is None or route.when is None:
        return named or route.when
    return tree.AllOf((named, route.when))


def session_limits(listener: model.Listener) -> SessionLimits | None:
    """Return the limits of the sessions of a listener that takes datagrams."""
    if not isinstance(listener.address, model.UdpAddress):
        return None
    said = listener.sessions or model.Sessions()
    requests = -1 if said.requests is None else said.requests
    return SessionLimits(said.idle_ms, said.most, requests, -1 if said.responses is None else said.responses)


def inspects(listener: model.Listener) -> int:
    """Return how many bytes of a client the routes of a listener wait for; 0 is its ClientHello alone, and -1 is nothing."""
    most = -1
    for route in listener.routes:
        if route.names:
            most = max(most, 0)
        for each in tree.walk(route.when) if route.when is not None else ():
            if isinstance(each, tree.Var) and each.name in _OF_HELLO:
                most = max(most, 0)
            elif isinstance(each, tree.Var) and each.name == "first_bytes":
                most = max(most, int(each.argument))
    return most
