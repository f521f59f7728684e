"""Routes of connections to plans: layer 4.

Rules: a route is a choice of a switch like any other; only its source knows that there is no HTTP.

Not here: what a connection is then (`proxy/raw.py`), upstreams (`compile_upstream.py`).
"""

from typing import Final

from vestibule.compile_expr import ExprMaker, Mistakes
from vestibule.compile_steps import StepMaker
from vestibule.compile_upstream import UpstreamMaker
from vestibule.contract import LogLine, Plan, Source, Step, Timeouts
from vestibule.fault import PROXY_NO_ROUTE
from vestibule.model import config as model
from vestibule.model import expr as tree
from vestibule.plan.sources.closed import Closed
from vestibule.plan.switch import ANY, WRITTEN, Choice, make_switch
from vestibule.plan.variables import Place
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
        for at in range(len(listener.routes)):
            route = listener.routes[at]
            where = f"{key}.routes[{at}]"
            place = Place(listener.name.encode(), b"", route.upstream.encode())
            limits: list[Step] = []
            for number in range(len(route.bandwidth)):
                limits.append(self._steps.bandwidth(f"{where}.bandwidth[{number}]", route.bandwidth[number], place))
            plan = Plan(listener.name, self._source(where, route), limits, log=log, error_page=HangUp(), timeouts=timeouts)
            test = _test_of(route)
            condition = None if test is None else self._exprs.test(f"{where}.when", test, place)
            choices.append(Choice(plan, ANY, b"", False, False, [], condition))
        return Plan(listener.name, make_switch(choices, WRITTEN), log=log, error_page=HangUp(), timeouts=timeouts)

    def _source(self, key: str, route: model.TcpRoute) -> Source:
        if route.upstream:
            return self._upstreams.source(key, route.upstream, 0, True)
        if route.listener:
            return Handover(self._porches, route.listener)
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


def inspects(listener: model.Listener) -> bool:
    """Tell whether a route of a listener asks what only a ClientHello says."""
    for route in listener.routes:
        if route.names:
            return True
        for each in tree.walk(route.when) if route.when is not None else ():
            if isinstance(each, tree.Var) and each.name in _OF_HELLO:
                return True
    return False
