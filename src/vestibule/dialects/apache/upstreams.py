"""Who is proxied to: addresses, ``<Proxy balancer://...>`` with its members, and what ``ProxySet`` says of them.

Facts:
* A member whose connection fails is left out for ``retry`` seconds, 60 unless said, where there are others.
* Members of a lower ``lbset`` serve alone while one of them is well; one with status H serves when no other of its set does, one with
  status R in httpd already when one of them does not.
* How long is waited for a member, and whether its connections are kept, may differ in httpd; here it is one for a balancer.
* ``stickysession`` names a cookie of the application's, behind whose first ``.`` stands the ``route`` of a member.
* ``h2://`` is HTTP/2 over TLS, ``h2c://`` without.
* ``<Proxy http://...>`` with ``ProxySet`` is about every address that begins so; the longest counts.

Not here: which paths go where (``proxying``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm

from vestibule.dialects.apache.health import health_of
from vestibule.dialects.apache.options import BALANCER, HEALTH, WORKER, Options, read_options
from vestibule.dialects.apache.scope import Scope, authorities_between, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.record import Record
from vestibule.model.config import Balance, HealthCheck, Passive, Pool, Retry, Server, Sticky, Upstream, UpstreamTls
from vestibule.model.diagnostic import Span
from vestibule.model.expr import EMPTY, Call, Compare, Const, Default, Expr, If, Var
from vestibule.model.quantity import format_server, parse_local_address, parse_port, parse_server_host

_SCHEMES = {"http": False, "https": True, "ws": False, "wss": True, "h2c": False, "h2": True}
_FOREIGN = ("ajp", "fcgi", "scgi", "uwsgi", "ftp", "fdpass")
_RETRY_MS = 60_000
_LONGEST = ("timeout", "connectiontimeout", "acquire")


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: scheme, authority and the path that takes the place of another."""

    tls: bool
    authority: str
    path: str
    socket: str = ""
    is_h2: bool = False
    """Whether HTTP/2 is spoken to it."""

    @property
    def host(self) -> str:
        """The Host such a target is asked by."""
        return self.authority.removesuffix(":443" if self.tls else ":80")

    @property
    def url(self) -> str:
        """The address as `bare_url` writes it."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"

    @property
    def balancer(self) -> str:
        """The name of the balancer, if it is one."""
        return self.authority.removeprefix("balancer://") if self.authority.startswith("balancer://") else ""


@dataclass(frozen=True, slots=True)
class Used:
    """An upstream as a path uses it: its name, the path its members have in front, and how long is waited for them."""

    name: str
    host: str
    path: str = ""
    timeout_ms: int | None = None
    connect_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Member:
    """One server of an upstream with its options."""

    server: Server
    target: Target
    options: Options
    span: Span


def read_target(record: Record, directive: Directive, text: str, at: int) -> Target | None:
    """Take an address apart; None, noted, where it is none that can be proxied to."""
    socket, bar, rest = text.partition("|")
    if bar and socket.startswith("unix:"):
        text, socket = rest, socket.removeprefix("unix:")
    else:
        socket = ""
    scheme, separator, after = text.partition("://")
    scheme = scheme.lower()
    if scheme in _FOREIGN:
        not_built(record, directive, at, f"an upstream that speaks `{scheme}`", "only HTTP upstreams are spoken to")
        return None
    if not separator or scheme not in (*_SCHEMES, "balancer"):
        record.error(directive.place(at), "bad-value", f"`{text}` is no address to proxy to", "write `http://host:port/`")
        return None
    found = re.match(r"[^/?]*", after)
    assert found is not None
    prefix = "balancer://" if scheme == "balancer" else ""
    return Target(_SCHEMES.get(scheme, False), prefix + found[0], after[len(found[0]) :], socket, scheme in ("h2", "h2c"))


class Upstreams:
    """The upstreams of a configuration."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._made: dict[str, Upstream] = {}

    def all(self) -> tuple[Upstream, ...]:
        """Return all that are used."""
        return tuple(self._made.values())

    def get(self, name: str) -> Upstream:
        """Return one that was used."""
        return self._made[name]

    def use(self, target: Target, scope: Scope, directive: Directive, first: int) -> Used | None:
        """Return the upstream that a target means, making it; its options stand in the directive from ``first`` on. None, noted, where
        there is none."""
        if target.balancer:
            return self._use_balancer(target, scope, directive, first)
        options = read_options(self._record, directive, first, WORKER).over(worker_options(self._record, scope, target))
        member = _Member(server_of(self._record, directive, target), target, options, directive.span)
        name = format_server(member.server) or target.authority
        upstream = replace(Upstream(name, (member.server,)), pool=_pool([member], options, scope), health=self._health([member], scope))
        made = self._keep(upstream, scope, directive, directive.span)
        return Used(made, target.host, "", options.time("timeout"), options.time("connectiontimeout"))

    def members(self, target: Target, scope: Scope) -> list[Target]:
        """Return the addresses behind a balancer."""
        found = [read_target(self._record, each, each.text(at), at) for each, at in _members_of(scope, target.balancer)]
        return [each for each in found if each is not None]

    # ------------------------------------------------------------ balancers

    def _use_balancer(self, target: Target, scope: Scope, directive: Directive, first: int) -> Used | None:
        members: list[_Member] = []
        listed = _members_of(scope, target.balancer)
        for each, at in listed:
            own = read_target(self._record, each, each.text(at), at)
            if own is not None and not own.balancer:
                options = read_options(self._record, each, at + 1, WORKER).over(worker_options(self._record, scope, own))
                members.append(_Member(server_of(self._record, each, own), own, options, each.span))
        if not members:
            if not listed:
                message = f"`balancer://{target.balancer}` has no `BalancerMember`"
                hint = f"write `<Proxy balancer://{target.balancer}>` with its members"
                self._record.error(directive.span, "unknown-reference", message, hint)
            return None
        options = read_options(self._record, directive, first, BALANCER)
        for each, at in _settings_of(scope, target.balancer):
            options = options.over(read_options(self._record, each, at, BALANCER))
        waits = self._common(members)
        asked = [each for each in members if _is_asked(each)]
        self._check_alike(asked, HEALTH)
        paths = {each.target.path.rstrip("/") for each in members}
        if len({each.target.is_h2 for each in members}) > 1:
            self._not_alike(members, "HTTP/2 and HTTP/1.1 in one balancer", "write `h2://` or `h2c://` for all, or for none")
        if len(paths) > 1:
            self._not_alike(members, "members with different paths", "give all members the same path")
        sticky = self._sticky(options, members)
        upstream = Upstream(
            target.balancer,
            tuple(self._ranked(members, sticky is not None)),
            pool=_pool(members, waits, scope),
            retry=Retry(attempts=_attempts(options, len(members)), on=("connect",)),
            balance=self._balance(options),
            passive=_passive(members, options),
            sticky=sticky,
            health=self._health(asked, scope) if asked else None,
        )
        name = self._keep(upstream, scope, directive, listed[0][0].span)
        hosts = {each.target.host for each in members}
        host = hosts.pop() if len(hosts) == 1 else "upstream"
        return Used(name, host, paths.pop(), waits.time("timeout"), waits.time("connectiontimeout"))

    def _check_alike(self, members: list[_Member], keys: tuple[str, ...]) -> None:
        for key in keys:
            if len({each.options.text(key) for each in members}) > 1:
                self._not_alike(members, f"`{key}` that differs among the members of a balancer", "write the same for all")

    def _common(self, members: list[_Member]) -> Options:
        """Return the options that all members share: where they differ, the longest time-out that is written, with a warning."""
        found = dict(members[0].options.given)
        for key in (*_LONGEST, "ttl", "disablereuse", "enablereuse"):
            texts = {each.options.text(key) for each in members}
            found.pop(key, None)
            given = [each.options for each in members if key in each.options.given]
            if len(texts) > 1:
                message = f"`{key}` is one for all members of a balancer: the longest, and what keeps fewer connections"
                self._record.warning(given[0].given[key].span, "differs", message, "write the same for all")
            if given:
                order = sorted(given, key=lambda each: (each.flag(key) if key.endswith("reuse") else each.time(key)) or 0)
                found[key] = order[-1 if key in (*_LONGEST, "disablereuse") else 0].given[key]
        return Options(self._record, found)

    def _not_alike(self, members: list[_Member], what: str, hint: str) -> None:
        self._record.error(members[-1].span, "not-built", f"{what} is not built yet", hint)

    def _ranked(self, members: list[_Member], marked: bool) -> list[Server]:
        """Return the servers of a balancer with weights, ranks and, where clients stay, marks."""
        weights = [self._weight(each) for each in members]
        whole = lcm(*[each.denominator for each in weights])
        sets = [each.options.count("lbset") or 0 for each in members]
        servers: list[Server] = []
        for at, member in enumerate(members):
            letters = self._letters(member)
            own = Passive(max_fails=0) if "I" in letters else _own_passive(member, members[0])
            standby = bool(letters & {"H", "R"})
            # A set's own standby comes before the next set.
            priority = 2 * sets[at] + standby if any(sets) else 0
            servers.append(
                replace(
                    member.server,
                    weight=int(weights[at] * whole),
                    backup=standby and not any(sets),
                    disabled=bool(letters & {"D", "S", "N"}),
                    priority=priority,
                    max_connections=member.options.count("max") or None,
                    mark=member.options.text("route") if marked else "",
                    check=_is_asked(member) or not any(_is_asked(each) for each in members),
                    max_fails=None if own is None else own.max_fails,
                    fail_window_ms=None if own is None or not own.max_fails else own.window_ms,
                )
            )
        return servers

    def _weight(self, member: _Member) -> Fraction:
        text = member.options.text("loadfactor") or "1"
        if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?", text) or not 1 <= Fraction(text) <= 100:
            self._record.error(member.options.given["loadfactor"].span, "bad-value", f"`{text}` is no load factor", "write 1 to 100")
            return Fraction(1)
        return Fraction(text)

    def _letters(self, member: _Member) -> set[str]:
        """Return the letters of a member's status that are set."""
        letters: set[str] = set()
        sign = "+"
        for letter in member.options.text("status").upper():
            if letter in "+-":
                sign = letter
            elif letter not in "DSIRHENC":
                span = member.options.given["status"].span
                self._record.error(span, "bad-value", f"`{letter}` is no status of a member", "write letters such as `+H` or `+D`")
            elif sign == "-":
                letters.discard(letter)
            else:
                letters.add(letter)
        if "R" in letters:
            span = member.options.given["status"].span
            message = "a hot spare serves when no other does, not already when one of them does not"
            self._record.warning(span, "differs", message, "write `+H`")
        return letters

    def _balance(self, options: Options) -> Balance:
        method = options.text("lbmethod").lower() or "byrequests"
        if method == "bybusyness":
            return Balance("least_connections")
        if method == "bytraffic":
            span = options.given["lbmethod"].span
            self._record.warning(span, "differs", "requests are counted, not bytes", "`bybusyness` follows the load, too")
        elif method == "heartbeat":
            options.not_built("lbmethod", "`lbmethod=heartbeat`", "write `bybusyness`")
        elif method != "byrequests":
            span = options.given["lbmethod"].span
            self._record.error(span, "bad-value", f"`{method}` is no way of balancing", "write `byrequests` or `bybusyness`")
        return Balance()

    def _sticky(self, options: Options, members: list[_Member]) -> Sticky | None:
        text = options.text("stickysession")
        if not text:
            return None
        span = options.given["stickysession"].span
        if not any(each.options.text("route") for each in members):
            self._record.warning(span, "unused", "no member has a `route`, so no client stays", "write `route=` behind each member")
            return None
        cookie, bar, parameter = text.partition("|")
        separator = options.text("stickysessionsep") or "."
        return Sticky(
            cookie,
            parameter=parameter if bar else cookie,
            separator="" if separator.lower() == "off" else separator,
            give=False,
            strict=options.flag("nofailover") or False,
        )

    def _health(self, members: list[_Member], scope: Scope) -> HealthCheck | None:
        return health_of(self._record, members[0].options, members[0].target.path, members[0].target.host, scope)

    # ------------------------------------------------------------ what all have

    def _keep(self, upstream: Upstream, scope: Scope, directive: Directive, span: Span) -> str:
        """Keep an upstream under a name that nothing else has; return the name."""
        if any(server.tls for server in upstream.servers) and not scope.flag("SSLProxyEngine", False):
            message = "httpd speaks TLS to upstreams only with `SSLProxyEngine On`"
            self._record.error(directive.span, "missing", message, "add it to the virtual host")
        upstream = replace(upstream, tls=_tls(scope, upstream))
        name, number = upstream.name, 1
        while (known := self._made.get(upstream.name)) is not None and known != upstream:
            number += 1
            upstream = replace(upstream, name=f"{name} #{number}")
        if upstream.name not in self._made:
            self._record.origin(f"upstreams[{len(self._made)}]", span)
            self._made[upstream.name] = upstream
        return upstream.name


def is_balancer(text: str, name: str) -> bool:
    """Tell whether an address is that of a balancer."""
    return text.lower().rstrip("/") == f"balancer://{name.lower()}"


def _members_of(scope: Scope, name: str) -> list[tuple[Directive, int]]:
    """Return the members of a balancer, each with the place of its address, as the nearest scope lists them."""
    found: list[tuple[Directive, int]] = []
    for section in scope.own("Proxy"):
        if is_balancer(section.text(), name):
            found.extend([(each, 0) for each in section.block or () if each.name == "balancermember"])
    found.extend([(each, 1) for each in scope.own("BalancerMember") if is_balancer(each.text(), name) and len(each.args) > 1])
    return found if found or scope.outer is None else _members_of(scope.outer, name)


def _settings_of(scope: Scope, name: str) -> list[tuple[Directive, int]]:
    """Return what sets options of a balancer, each with the place of the first, the one that counts most last."""
    found = _settings_of(scope.outer, name) if scope.outer is not None else []
    for section in scope.own("Proxy"):
        if is_balancer(section.text(), name):
            found.extend([(each, 0) for each in section.block or () if each.name == "proxyset"])
    return [*found, *[(each, 1) for each in scope.own("ProxySet") if is_balancer(each.text(), name)]]


def worker_options(record: Record, scope: Scope, target: Target) -> Options:
    """Return what ``<Proxy http://...>`` and ``ProxySet`` say of an address: the longest that it begins with."""
    url = target.url
    best: list[Directive] = []
    length = 0
    for section in scope.all("Proxy"):
        text = bare_url(section.text())
        if url.startswith(text) and len(text) > length:
            best, length = [each for each in section.block or () if each.name == "proxyset"], len(text)
    found = Options(record)
    for each in best:
        found = read_options(record, each, 0, WORKER).over(found)
    for each in scope.all("ProxySet"):
        text = bare_url(each.text())
        if text and url.startswith(text):
            found = read_options(record, each, 1, WORKER).over(found)
    return found


def bare_url(text: str) -> str:
    """Return an address as it is compared; empty where it is none of a server."""
    text = text.rpartition("|")[2].rstrip("*").rstrip("/")
    scheme, separator, rest = text.partition("://")
    names = {"ws": "http", "wss": "https", "http": "http", "https": "https", "h2c": "http", "h2": "https"}
    return f"{names[scheme.lower()]}://{rest}" if separator and scheme.lower() in names else ""


def server_of(record: Record, directive: Directive, target: Target) -> Server:
    """Return the server that a target names; a mistake in it is noted."""
    if target.socket:
        return Server(path=target.socket, tls=target.tls)
    host, colon, port = target.authority.rpartition(":")
    if not colon or target.authority.endswith("]"):
        host, port = target.authority, ""
    try:
        return Server(parse_server_host(host), parse_port(port) if port else (443 if target.tls else 80), tls=target.tls)
    except ValueError as bad:
        record.error(directive.span, "bad-address", str(bad), "write `http://host:port/`")
        return Server("unread", 1, tls=target.tls)


def _tls(scope: Scope, upstream: Upstream) -> UpstreamTls:
    if not any(server.tls for server in upstream.servers):
        return UpstreamTls()
    verify = scope.text("SSLProxyVerify", "none").lower() == "require"
    ca = scope.text("SSLProxyCACertificateFile") if verify else ""
    for name in ("SSLProxyCheckPeerName", "SSLProxyCheckPeerCN"):
        directive = scope.find(name)
        if verify and directive is not None and not scope.flag(name, True):
            not_built(scope.record, directive, 0, f"`{name} Off` beside `SSLProxyVerify require`", "leave one of them out")
    lists = scope.text("SSLProxyCARevocationFile") if verify and scope.text("SSLProxyCARevocationCheck").lower() == "chain" else ""
    depth = authorities_between(scope, "SSLProxyVerifyDepth") if verify else None
    return UpstreamTls(verify=verify, ca=ca, cert=scope.text("SSLProxyMachineCertificateFile"), crl=lists, depth=depth)


def _pool(members: list[_Member], options: Options, scope: Scope) -> Pool:
    """Return how connections to members are kept; what only one of them says counts for it alone and is not here."""
    pool = Pool(protocol="h2" if members[0].target.is_h2 else "http/1.1")
    idle = options.time("ttl")
    if idle is not None:
        pool = replace(pool, idle_ms=idle)
    most = options.count("max")
    if most and len(members) == 1:
        pool = replace(pool, max_connections=most)
    wait = options.time("acquire", 1_000)
    if wait:
        pool = replace(pool, wait_ms=wait)
    if options.flag("disablereuse") or options.flag("enablereuse") is False:
        pool = replace(pool, max_idle=0)
    return replace(pool, local_address=_local_address(scope))


def _local_address(scope: Scope) -> str:
    """Return the address that connections are made from; empty where nothing is said."""
    directive = scope.find("ProxySourceAddress")
    if directive is None:
        return ""
    try:
        return parse_local_address(directive.text())
    except ValueError as bad:
        scope.record.error(directive.place(0), "bad-address", str(bad), "write an address of this machine")
        return ""


def _attempts(options: Options, members: int) -> int:
    more = options.count("maxattempts")
    return members if more is None else more + 1


def _passive(members: list[_Member], options: Options) -> Passive:
    wait = members[0].options.time("retry")
    statuses = tuple([int(each) for each in options.text("failonstatus").split(",") if each.isdecimal()])
    if wait == 0:
        return Passive(max_fails=0)
    return Passive(window_ms=_RETRY_MS if wait is None else wait, statuses=statuses)


def _own_passive(member: _Member, first: _Member) -> Passive | None:
    """Return how long a member is left out, where that is not as for the first one."""
    wait = member.options.time("retry")
    return None if wait == first.options.time("retry") else _passive([member], member.options)


def _is_asked(member: _Member) -> bool:
    """Tell whether health checks ask a member."""
    given = member.options.given
    return "hctemplate" in given or member.options.text("hcmethod").lower() not in ("", "none")


def balancer_environment(upstreams: list[Upstream]) -> dict[str, Expr]:
    """Return the variables of the environment that a balancer sets, for the upstreams of one virtual host."""
    found: dict[str, Expr] = {}
    for upstream in reversed([each for each in upstreams if each.sticky is not None]):
        for name, value in _of_session(upstream).items():
            before = found.get(name)
            found[name] = value if before is None else If(Compare("==", Var("upstream"), Const(upstream.name)), value, before)
    return found


def _of_session(upstream: Upstream) -> dict[str, Expr]:
    sticky = upstream.sticky
    assert sticky is not None
    mark = Var("upstream_mark")
    begin = f"[^{re.escape(sticky.separator)}]*{re.escape(sticky.separator)}" if sticky.separator else ""
    in_cookie = Call("capture", (Var("cookie", sticky.cookie), Const(f"^{begin}(.+)"), Const("1")))
    inside = begin.replace("[^", "[^/;?&")
    in_target = Call("capture", (Var("target"), Const(f"[;?&]{re.escape(sticky.parameter)}={inside}([^/;?&]+)"), Const("1")))
    route = Default(in_target, in_cookie)
    return {
        "BALANCER_SESSION_STICKY": Const(sticky.cookie),
        "BALANCER_SESSION_ROUTE": If(Compare("!=", route, EMPTY), route, EMPTY),
        "BALANCER_WORKER_ROUTE": If(Compare("!=", mark, EMPTY), mark, EMPTY),
        "BALANCER_ROUTE_CHANGED": If(Compare("==", route, mark), EMPTY, Const("1")),
    }
