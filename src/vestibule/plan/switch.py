"""Sources that answer by entering another plan: routing.

Facts: a table of routes is asked at every request and changed almost never, so it is turned into
dictionaries when it is made: exact paths by the path, prefixes by each length there is.

Rules
  A switch answers as the plain ordered list would; a property test compares both.
  The path is brought into normal form only where some route looks at it; one that has none is refused, and so is
  one whose route depends on whether an encoded slash is a slash: the server behind may read it either way.

Not here: what routes mean (`model/config.py`), paths (`http/target.py`).
"""

import re
from typing import Final

from vestibule.contract import Plan, Source
from vestibule.exchange import Exchange
from vestibule.fault import (
    CLIENT_BAD_TARGET,
    CLIENT_MISDIRECTED,
    CLIENT_NO_CERTIFICATE,
    PROXY_NO_ROUTE,
    PROXY_NO_SITE,
    Fault,
    ProtocolError,
)
from vestibule.http.target import host_of, normal_path, with_slashes
from vestibule.plan.expr import Node
from vestibule.plan.sources.challenge import OpenTokens
from vestibule.plan.steps.deny import refuse

# Kinds of path conditions.
ANY: Final = 0
EXACT: Final = 1
PREFIX: Final = 2
REGEX: Final = 3

# Orders of routes.
WRITTEN: Final = 0
BEST: Final = 1

# Spellings of hosts remembered by a switch. Anyone may send new ones; past this they are forgotten.
_KNOWN_MOST: Final = 1024

# From so many routes on an index is quicker than a walk.
_INDEX_FROM: Final = 8


class HostPattern:
    """A regular expression for hosts, without regard to case. Raises ValueError."""

    def __init__(self, pattern: bytes) -> None:
        try:
            self._pattern = re.compile(pattern, re.IGNORECASE)
        except re.error as bad:
            raise ValueError(f"no regular expression: {bad}") from bad

    def is_in(self, host: bytes) -> bool:
        """Tell whether it is found in a host."""
        return self._pattern.search(host) is not None


class HostSwitch(Source):
    """Chooses a site by the host that a request is for.

    Exact names win over wildcards, longer wildcards over shorter ones, these over patterns, all over the default.
    """

    def __init__(self, default: Plan | None) -> None:
        self._default = default
        self._exact: dict[bytes, Plan] = {}
        self._wildcards: dict[bytes, Plan] = {}
        self._patterns: list[tuple[HostPattern, Plan]] = []
        self._elsewhere: set[bytes] = set()
        self._strict_sni = False
        self._wants_certificate = False
        self._takes_any = False
        self._rules: dict[Plan, bytes] = {}
        self._known: dict[bytes, Plan] = {}
        self._tokens: OpenTokens | None = None
        self._challenge = default

    def claim(self, tokens: OpenTokens, plan: Plan) -> None:
        """Have the tokens of ACME that are open answered by a plan, before any site."""
        self._tokens = tokens
        self._challenge = plan

    def add(self, host: bytes, plan: Plan) -> None:
        """Serve a host (`a.example`), or all below one (`*.example`), by a plan."""
        if host[:2] == b"*.":
            self._wildcards[host[1:]] = plan
        else:
            self._exact[host] = plan

    def add_pattern(self, pattern: bytes, plan: Plan) -> None:
        """Serve the hosts that a regular expression is found in by a plan, where no name fits. Raises ValueError."""
        self._patterns.append((HostPattern(pattern), plan))

    def add_elsewhere(self, host: bytes) -> None:
        """Note a host that is served on other listeners only."""
        self._elsewhere.add(host)

    def bind_to_sni(self, wants_certificate: bool, takes_any: bool = False) -> None:
        """Serve on a connection only the site that its handshake was for (RFC 9110 7.4).

        For listeners that ask for client certificates: who was let in for one site asks for another.
        `wants_certificate` says that nobody gets in without one, as the handshake does by itself: but
        a connection may be older than the configuration that asks. With `takes_any` it need not be accepted.
        """
        self._strict_sni = True
        self._takes_any = takes_any
        self._wants_certificate = wants_certificate

    def bind_to_rules(self, plan: Plan, rules: bytes) -> None:
        """Serve a site only on connections whose handshake was for it, and whose client was asked for a certificate by these rules.

        For listeners whose sites ask clients for different things. Sites that ask for nothing are served on any connection.
        """
        self._rules[plan] = rules

    def find(self, host: bytes) -> Plan | None:
        """Return the plan of a host in lower case without port, or None."""
        found = self._exact.get(host)
        if found is not None:
            return found
        dot = host.find(b".")
        while dot >= 0:
            found = self._wildcards.get(host[dot:])
            if found is not None:
                return found
            dot = host.find(b".", dot + 1)
        for pattern, plan in self._patterns:
            if pattern.is_in(host):
                return plan
        return self._default

    def start(self, ex: Exchange) -> None:
        tokens = self._tokens
        if tokens is not None and tokens.answers and tokens.find(ex.request.target) is not None:
            assert self._challenge is not None  # claimed with the tokens
            ex.enter(self._challenge)
            return
        authority = ex.request.authority
        plan = self._known.get(authority)
        if plan is None:
            host = host_of(authority)
            plan = self.find(host)
            if plan is None:
                kind = CLIENT_MISDIRECTED if host in self._elsewhere else PROXY_NO_SITE
                ex.fail(Fault(kind, host.decode("ascii", "replace")))
                return
            if len(self._known) >= _KNOWN_MOST:
                self._known.clear()
            self._known[authority] = plan
        if self._rules and not self._is_asked_for(ex, plan):
            ex.fail(Fault(CLIENT_MISDIRECTED, "clients of this site are asked for other certificates"))
            return
        if self._strict_sni and ex.client.sni and self.find(ex.client.sni.lower()) is not plan:
            ex.fail(Fault(CLIENT_MISDIRECTED, f"the connection is for {ex.client.sni.decode('ascii', 'replace')}"))
            return
        if self._wants_certificate:
            shown = ex.client.certificate
            if shown is None or (shown.result != 0 and not self._takes_any):
                ex.fail(Fault(CLIENT_NO_CERTIFICATE, "the connection is older than the configuration"))
                return
        ex.enter(plan)

    def _is_asked_for(self, ex: Exchange, plan: Plan) -> bool:
        rules = self._rules.get(plan)
        if rules is None:
            return True
        client = ex.client
        return client.rules == rules and (not client.sni or self.find(client.sni.lower()) is plan)


class Choice:
    """One route: what a request must be, and the plan for those that are.

    `path` is a path, prefix or pattern after `kind`; no `methods` are any.
    """

    def __init__(
        self,
        plan: Plan,
        kind: int = ANY,
        path: bytes = b"",
        ignore_case: bool = False,
        final: bool = False,
        methods: list[bytes] | None = None,
        condition: Node | None = None,
    ) -> None:
        self.plan = plan
        self.kind = kind
        self.path = path
        self.final = final
        self.at = 0
        self._pattern: re.Pattern[bytes] | None = None
        if kind == REGEX:
            self._pattern = re.compile(path, re.IGNORECASE if ignore_case else 0)
        self._methods: set[bytes] | None = set(methods) if methods else None
        self._condition = condition

    def matches(self, path: bytes) -> bool:
        """Tell whether the path condition holds."""
        if self.kind == EXACT:
            return path == self.path
        if self.kind == PREFIX:
            return path.startswith(self.path)
        return self._pattern is None or self._pattern.search(path) is not None

    def fits(self, ex: Exchange) -> bool:
        """Tell whether the other conditions hold."""
        if self._methods is not None and ex.request.method not in self._methods:
            return False
        return self._condition is None or self._condition.test(ex)


class RouteSwitch(Source):
    """Enters the plan of the route that a request meets."""

    def __init__(self, choices: list[Choice]) -> None:
        self._needs_path = False
        for choice in choices:
            if choice.kind != ANY:
                self._needs_path = True

    def start(self, ex: Exchange) -> None:
        path = b""
        if self._needs_path:
            found = _path_of(ex)
            if found is None:
                return
            path = found
        chosen = self.find(ex, path)
        if path.find(b"%2F") >= 0 and self.find(ex, with_slashes(path)) is not chosen:
            refuse(ex, ProtocolError(CLIENT_BAD_TARGET, "with the encoded slash read as a slash, another route is meant"))
        elif chosen is None:
            ex.fail(Fault(PROXY_NO_ROUTE))
        else:
            ex.enter(chosen.plan)

    def find(self, ex: Exchange, path: bytes) -> Choice | None:
        """Return the route of a request with this normal path."""
        raise NotImplementedError


class RuleSwitch(RouteSwitch):
    """Enters the plan of the first route that matches, in written order."""

    def __init__(self, choices: list[Choice]) -> None:
        super().__init__(choices)
        self._choices = choices

    def find(self, ex: Exchange, path: bytes) -> Choice | None:
        for choice in self._choices:
            if choice.matches(path) and choice.fits(ex):
                return choice
        return None


class PathSwitch(RouteSwitch):
    """Enters the plan of one of many routes, chosen mostly by path.

    In WRITTEN order it is the first that matches. In BEST order, after nginx: an exact path; else the
    longest prefix if it is final; else the first pattern; else that prefix; else the first route
    without a path.
    """

    def __init__(self, choices: list[Choice], order: int) -> None:
        super().__init__(choices)
        self._order = order
        self._exact: dict[bytes, list[Choice]] = {}
        self._prefixes: dict[bytes, list[Choice]] = {}
        self._patterns: list[Choice] = []
        self._others: list[Choice] = []
        lengths: set[int] = set()
        for at in range(len(choices)):
            choice = choices[at]
            choice.at = at
            if choice.kind == EXACT:
                self._exact.setdefault(choice.path, []).append(choice)
            elif choice.kind == PREFIX:
                self._prefixes.setdefault(choice.path, []).append(choice)
                lengths.add(len(choice.path))
            elif choice.kind == REGEX:
                self._patterns.append(choice)
            else:
                self._others.append(choice)
        self._lengths = sorted(lengths, reverse=True)

    def find(self, ex: Exchange, path: bytes) -> Choice | None:
        return self._find_best(ex, path) if self._order == BEST else self._find_first(ex, path)

    def _find_best(self, ex: Exchange, path: bytes) -> Choice | None:
        exact = _first_fit(self._exact.get(path), ex)
        if exact is not None:
            return exact
        prefix: Choice | None = None
        for length in self._lengths:
            if length <= len(path):
                prefix = _first_fit(self._prefixes.get(path[:length]), ex)
                if prefix is not None:
                    break
        if prefix is not None and prefix.final:
            return prefix
        for choice in self._patterns:
            if choice.matches(path) and choice.fits(ex):
                return choice
        return prefix or _first_fit(self._others, ex)

    def _find_first(self, ex: Exchange, path: bytes) -> Choice | None:
        first = _first_fit(self._exact.get(path), ex)
        for length in self._lengths:
            if length <= len(path):
                first = _earlier(first, _first_fit(self._prefixes.get(path[:length]), ex))
        for choice in self._patterns:
            if first is not None and first.at < choice.at:
                break
            if choice.matches(path) and choice.fits(ex):
                first = choice
                break
        return _earlier(first, _first_fit(self._others, ex))


def _first_fit(choices: list[Choice] | None, ex: Exchange) -> Choice | None:
    if choices is not None:
        for choice in choices:
            if choice.fits(ex):
                return choice
    return None


def _earlier(one: Choice | None, other: Choice | None) -> Choice | None:
    if one is None:
        return other
    if other is None:
        return one
    return one if one.at < other.at else other


def _path_of(ex: Exchange) -> bytes | None:
    """Return the path in normal form, or None after the request was refused."""
    try:
        return normal_path(ex.request.path())
    except ProtocolError as error:
        refuse(ex, error)
        return None


def make_switch(choices: list[Choice], order: int) -> Source:
    """Return the quickest switch for these routes."""
    if order == WRITTEN and len(choices) < _INDEX_FROM:
        return RuleSwitch(choices)
    return PathSwitch(choices, order)
