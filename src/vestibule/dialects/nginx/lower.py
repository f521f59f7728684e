"""A tree of directives to the model.

Facts: what a file leaves out has nginx's default; a file without ``http`` is a fragment of one, as people keep them. Time-outs,
limits and TLS settings of a connection are those of the default server of its socket.

Rules: every mistake is noted and the rest goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from vestibule.dialects.nginx.levels import forwarding_of, limits_of, log_formats, target_of, timeouts_of
from vestibule.dialects.nginx.limiting import Zones
from vestibule.dialects.nginx.listening import Door, Doors, hosts_of
from vestibule.dialects.nginx.location import Level, Locations, Served
from vestibule.dialects.nginx.maps import read_tables
from vestibule.dialects.nginx.scope import Pruner, Scope, outer_context
from vestibule.dialects.nginx.stream import read_stream
from vestibule.dialects.nginx.tls import Tls
from vestibule.dialects.nginx.tree import Directive, Tree
from vestibule.dialects.nginx.upstreams import Upstreams
from vestibule.dialects.nginx.variables import Names
from vestibule.dialects.read import Loaded, ReadText, read_nothing
from vestibule.dialects.record import Record
from vestibule.model.check import check
from vestibule.model.config import (
    ANY_HOST,
    AccessLog,
    Action,
    Config,
    ErrorLog,
    Listener,
    Process,
    Site,
    TlsProfile,
)
from vestibule.model.diagnostic import Span
from vestibule.model.expr import EMPTY, Call, Const, If, Match, Var
from vestibule.model.quantity import parse_network

_LEVELS: dict[str, Literal["debug", "info", "warning", "error"]] = {
    "debug": "debug",
    "info": "info",
    "notice": "info",
    "warn": "warning",
    "error": "error",
    "crit": "error",
    "alert": "error",
    "emerg": "error",
}


_ANNOUNCED = {
    "proxy_protocol_addr": "peer_ip",
    "proxy_protocol_port": "client_port",
    "proxy_protocol_server_addr": "server_ip",
    "proxy_protocol_server_port": "server_port",
}
"""What a PROXY header says, which is what the connection counts as from then on."""


def parse(name: str, text: str, read_text: ReadText = read_nothing) -> Loaded:
    """Read a configuration of nginx; ``name`` is what messages call the file."""
    record = Record(name)
    tree = Tree(record, read_text)
    directives = tree.read(name, text)
    files = tuple(dict.fromkeys(tree.files))
    if record.has_errors:
        return Loaded(None, record.merge(()), files, record.place)
    context = outer_context(directives)
    kept = Pruner(record).prune(directives, context)
    config = _Lowering(record, read_text).config(kept, context)
    record.settle(config)
    return Loaded(config, record.merge(check(config, record.place)), files, record.place)


class _Server:
    """A ``server`` block on its way."""

    def __init__(self, directive: Directive, scope: Scope) -> None:
        self.directive = directive
        self.scope = scope
        self.hosts: dict[str, Span] = {}
        self.patterns: dict[str, Span] = {}
        self.captures: list[str] = []
        self.served: Served | None = None
        has_certificate = scope.find("ssl_certificate") is not None
        self.turns_away = scope.flag("ssl_reject_handshake", False) and not has_certificate
        """Whether it is there to refuse TLS handshakes for unknown names, and for nothing else."""


class _Lowering:
    """Lowers one configuration."""

    def __init__(self, record: Record, read_text: ReadText) -> None:
        self._record = record
        self._read_text = read_text
        self._upstreams = Upstreams(record)
        self._doors = Doors(record)
        self._tls = Tls(record)

    def config(self, directives: tuple[Directive, ...], context: str) -> Config:
        """Return the model of a file."""
        record = self._record
        main = Scope(record, directives if context == "main" else ())
        inner: list[Directive] = []
        for block in main.own("http"):
            inner.extend(block.block or ())
        http = Scope(record, inner if context == "main" else directives, main)
        names = Names(record)
        names.elsewhere = _set_in(directives)
        read_tables(record, http.own("geo", "map", "split_clients"), names)
        for directive in http.own("upstream"):
            self._upstreams.declare(directive, names)
        limits = limits_of(http)
        events = [each for block in main.own("events") for each in block.block or ()]
        connections = Scope(record, events).count("worker_connections", 0)
        if connections:
            limits = replace(limits, connections=connections)
        servers = [_Server(each, Scope(record, each.block or (), http)) for each in http.own("server")]
        trusted = self._trusted(http, servers)
        level = Level(timeouts_of(http), limits, forwarding_of(http, bool(trusted)), None)
        self._listen(servers)
        formats = log_formats(http)
        self._serve(servers, Locations(record, self._upstreams, formats, self._read_text, bool(trusted), Zones(record, http)), names, level)
        listeners, profiles = self._listeners(servers, level)
        sites = self._sites(servers, level)
        self._upstreams.warn_unused()
        made = Config(
            listeners=listeners,
            sites=sites,
            upstreams=self._upstreams.all(),
            process=self._process(main),
            certificates=self._tls.certificates(),
            tls_profiles=profiles,
            trusted_proxies=trusted,
            timeouts=level.timeouts,
            limits=level.limits,
            forwarding=level.forwarding,
            access_log=AccessLog(),
            error_log=self._error_log(main, http),
        )
        return read_stream(record, main, made, self._tls)

    # ------------------------------------------------------------ servers

    def _listen(self, servers: list[_Server]) -> None:
        for at, server in enumerate(servers):
            listens = server.scope.own("listen")
            for directive in listens:
                self._doors.add(at, directive)
            if not listens:
                self._doors.add_default(at, server.directive.span)
            found = hosts_of(self._record, server.scope.own("server_name"))
            server.hosts, server.patterns, server.captures = found.names, found.patterns, found.captures
        for at in range(len(servers)):
            self._drop_taken_hosts(at, servers, self._doors.of(at))

    def _serve(self, servers: list[_Server], locations: Locations, names: Names, level: Level) -> None:
        for at, server in enumerate(servers):
            inside = names.copy()
            is_announced = any(door.proxy_protocol for door in self._doors.of(at))
            inside.own.update({name: Var(means) if is_announced else EMPTY for name, means in _ANNOUNCED.items()})
            first = server.scope.find("server_name")
            _capture_host(inside, server.captures)
            inside.own["server_name"] = Const(first.text().removeprefix(".") if first is not None else "")
            server.served = locations.server(server.scope, inside, level, server.directive)

    def _listeners(self, servers: list[_Server], level: Level) -> tuple[tuple[Listener, ...], tuple[TlsProfile, ...]]:
        made: list[Listener] = []
        for door in self._doors.all():
            self._record.origin(f"listeners[{len(made)}]", door.span)
            default = servers[door.default_server]
            timeouts, limits = timeouts_of(default.scope), replace(limits_of(default.scope), connections=level.limits.connections)
            body = level.limits.body_bytes
            limits = replace(limits, body_bytes=body)
            usual = (level.timeouts.request_head_ms, level.timeouts.keep_alive_ms)
            same_times = (timeouts.request_head_ms, timeouts.keep_alive_ms) == usual
            made.append(
                Listener(
                    name=door.name,
                    address=door.address,
                    tls=door.tls,
                    tls_profile=self._tls.profile(door, [servers[at].scope for at in door.servers], default.scope),
                    unknown_sni="refuse" if door.tls and default.scope.flag("ssl_reject_handshake", False) else "default",
                    default_site="" if default.turns_away and door.tls else self._name(door.default_server, servers),
                    protocols=("h2", "h1") if door.http2 or default.scope.flag("http2", False) else ("h1",),
                    proxy_protocol=door.proxy_protocol,
                    backlog=door.backlog or 1_024,
                    timeouts=None if same_times else timeouts,
                    limits=None if limits == level.limits else limits,
                )
            )
            if not door.tls:
                made[-1] = replace(made[-1], unknown_sni="refuse")
        return tuple(made), self._tls.profiles()

    def _sites(self, servers: list[_Server], level: Level) -> tuple[Site, ...]:
        made: list[Site] = []
        for at, server in enumerate(servers):
            doors = [door for door in self._doors.of(at) if not (door.tls and server.turns_away)]
            assert server.served is not None
            defaults = [door for door in doors if door.default_server == at]
            hosts = tuple(server.hosts)
            if server.turns_away and not doors:
                continue
            if not hosts and not server.patterns:
                if len(defaults) != len(doors):
                    message = "without a name this server serves only where it is the default"
                    self._record.warning(server.directive.span, "unreachable", message, "give it a `server_name`")
                doors, hosts = defaults, (ANY_HOST,)
                if not defaults:
                    continue
            path = f"sites[{len(made)}]"
            self._record.origin(path, server.directive.span)
            for index, span in enumerate(server.hosts.values()):
                self._record.origin(f"{path}.hosts[{index}]", span)
            for index, span in enumerate(server.patterns.values()):
                self._record.origin(f"{path}.host_patterns[{index}]", span)
            made.append(self._site(at, servers, hosts, doors, level))
        return tuple(made)

    def _drop_taken_hosts(self, at: int, servers: list[_Server], doors: list[Door]) -> None:
        """Of two servers with one name on one socket the first serves, as in nginx."""
        for host, span in list(servers[at].hosts.items()):
            for other in range(at):
                shared = any(other in door.servers for door in doors)
                if shared and host in servers[other].hosts:
                    self._record.warning(span, "unreachable", f"another server is named `{host}` here; this one is not asked for it")
                    servers[at].hosts.pop(host, None)

    def _name(self, at: int, servers: list[_Server]) -> str:
        return _site_name(at, servers, self._doors.of(at))

    def _site(self, at: int, servers: list[_Server], hosts: tuple[str, ...], doors: list[Door], level: Level) -> Site:
        server = servers[at]
        assert server.served is not None
        part, own = server.served.part, server.served.level
        certificates: tuple[str, ...] = ()
        if any(door.tls for door in doors):
            certificates = self._tls.certificates_of(server.scope, server.directive.span)
            for door in doors:
                if not certificates and door.tls and door.default_server != at:
                    default = servers[door.default_server]
                    certificates = self._tls.certificates_of(default.scope, default.directive.span)
        return Site(
            name=self._name(at, servers),
            hosts=hosts,
            listeners=tuple([door.name for door in doors]),
            source=part.source,
            request=self._asks(doors, servers, at) + part.request,
            response=part.response,
            certificates=certificates,
            timeouts=own.timeouts if own.timeouts != level.timeouts else None,
            limits=own.limits if own.limits != level.limits else None,
            forwarding=own.forwarding if own.forwarding != level.forwarding else None,
            immich=False,
            access_log=own.access_log,
            compression=own.compression,
            errors=own.errors,
            host_patterns=tuple(server.patterns),
        )

    def _asks(self, doors: list[Door], servers: list[_Server], at: int) -> tuple[Action, ...]:
        """Return what a server asks of clients beyond what its sockets do; the places of its own actions move."""
        around = [(door, [servers[each].scope for each in door.servers]) for door in doors]
        return self._tls.asks_of(around, servers[at].scope)

    # ------------------------------------------------------------ the program

    def _process(self, main: Scope) -> Process:
        user = main.find("user")
        # A whole file that does not say has one, as in nginx; a fragment leaves it to vestibule.
        workers = 1 if main.directives and main.find("worker_processes") is None else 0
        if main.text("worker_processes", "auto") != "auto":
            workers = main.count("worker_processes", 0)
        return Process(
            workers=workers,
            user=user.text(0) if user is not None else "",
            group=user.text(1) if user is not None else "",
            pid_file=main.text("pid"),
            stop_ms=main.time("worker_shutdown_timeout", Process().stop_ms),
        )

    def _trusted(self, http: Scope, servers: list[_Server]) -> tuple[str, ...]:
        """Return the networks of ``set_real_ip_from`` at any level; trust is one list in vestibule."""
        scopes = [http, *[server.scope for server in servers]]
        scopes += [Scope(self._record, each.block or ()) for server in servers for each in server.scope.own("location")]
        networks: dict[str, Span] = {}
        for scope in scopes:
            for directive in scope.own("set_real_ip_from"):
                try:
                    networks.setdefault(parse_network(directive.text()), directive.span)
                except ValueError as bad:
                    self._record.error(directive.place(0), "bad-network", str(bad))
        own = [{each.text() for each in server.scope.nearest("set_real_ip_from")} for server in servers]
        if networks and any(each and len(each) != len(networks) for each in own):
            message = "a trusted proxy is trusted by every server that has one"
            self._record.warning(next(iter(networks.values())), "differs", message, "say all of them in `http`, if that is meant")
        for at, span in enumerate(networks.values()):
            self._record.origin(f"trusted_proxies[{at}]", span)
        return tuple(networks)

    def _error_log(self, main: Scope, http: Scope) -> ErrorLog:
        found = http.find("error_log") or main.find("error_log")
        if found is None:
            return ErrorLog()
        level = found.text(1) or "error"
        if level not in _LEVELS:
            self._record.error(found.place(1), "bad-value", f"`{level}` is no level", "it is one of debug, info, notice, warn, error, crit")
        target, syslog = target_of(http, found)
        return ErrorLog(target, _LEVELS.get(level, "error"), syslog)


def _set_in(directives: Iterable[Directive]) -> frozenset[str]:
    """Return the variables that are set anywhere in a file."""
    found: set[str] = set()
    for directive in directives:
        if directive.name in ("set", "auth_request_set"):
            found.add(directive.text(0).removeprefix("$").lower())
        found |= _set_in(directive.block or ())
    return frozenset(found)


def _capture_host(names: Names, patterns: list[str]) -> None:
    """Have the groups of a server's regular expressions known in it: that of the first that fits."""
    host = Var("host")
    for pattern in reversed(patterns):
        for group in re.compile(pattern).groupindex:
            found = Call("capture", (host, Const(pattern), Const(group)))
            names.own[group.lower()] = If(Match(pattern, host), found, names.own.get(group.lower(), EMPTY))
    if len(patterns) == 1:
        names.captures = (host, patterns[0])


def _site_name(at: int, servers: list[_Server], doors: list[Door]) -> str:
    """Name a site by its first host, and by its listeners where another site has that name or it has none."""
    own = _first_name(servers[at])
    where = " ".join([door.name for door in doors])
    if not own:
        return f"default on {where}" if where else f"server {at + 1}"
    firsts = [_first_name(server) for server in servers]
    if firsts.count(own) == 1:
        return own
    return f"{own} on {where}"


def _first_name(server: _Server) -> str:
    return next(iter((*server.hosts, *server.patterns)), "")
