"""A tree of directives to the model.

Facts: what a file leaves out has nginx's default; a file without ``http`` is a fragment of one, as people keep them. Time-outs,
limits and TLS settings of a connection are those of the default server of its socket.

Rules: every mistake is noted and the rest goes on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from vestibule.dialects.nginx.accel import is_said
from vestibule.dialects.nginx.error_lines import telling_of
from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.levels import forwarding_of, keeping_of, limits_of, log_formats, networks_of, target_of, timeouts_of
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.limiting import Zones, answers_in
from vestibule.dialects.nginx.listening import Door, Doors, first_name, hosts_of, port_of, without_longer
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
    Config,
    ErrorLog,
    KeepAlive,
    Listener,
    Process,
    Site,
)
from vestibule.model.diagnostic import Span
from vestibule.model.expr import EMPTY, Call, Compare, Const, If, Match, Var
from vestibule.model.quantity import parse_resolver

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


_OF_A_SERVER = frozenset(("server_name", "remote_port"))
"""Variables that depend on the server."""

_NO_HOST = "^$"
"""What is for requests that name no host: what `server_name ""` says, which the default server need not."""

_PEER, _ANNOUNCED, _PORT_OF_PEER = Var("peer_ip"), Var("announced_ip"), Var("client_port")
_PORT = If(
    Compare("==", Var("client_ip"), _PEER),
    _PORT_OF_PEER,
    If(Compare("==", Var("client_ip"), _ANNOUNCED), Var("announced_port"), _PORT_OF_PEER),
)
"""The port of a client that a PROXY header may have named."""


def parse(name: str, text: str, read_text: ReadText = read_nothing, tells: bool = False) -> Loaded:
    """Read a configuration of nginx; ``name`` is what messages call the file. ``tells`` has the error log tell of refusals, as nginx's."""
    record = Record(name)
    tree = Tree(record, read_text)
    directives = tree.read(name, text)
    files = tuple(dict.fromkeys(tree.files))
    if record.has_errors:
        return Loaded(None, record.merge(()), files, record.place)
    context = outer_context(directives)
    kept = Pruner(record).prune(directives, context)
    config = _Lowering(record, read_text, tells).config(kept, context)
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
        self.name = ""
        """What ``$server_name`` is."""
        has_certificate = scope.find("ssl_certificate") is not None
        self.turns_away = scope.flag("ssl_reject_handshake", False) and not has_certificate
        """Whether it is there to refuse TLS handshakes for unknown names, and for nothing else."""


class _Lowering:
    """Lowers one configuration."""

    def __init__(self, record: Record, read_text: ReadText, tells: bool) -> None:
        self._record = record
        self._read_text = read_text
        self._tells = tells
        self._upstreams = Upstreams(record)
        self._doors = Doors(record)
        self._tls = Tls(record)
        self._tables: list[Directive] = []
        self._by_server = False  # a table means something else in each server
        self._asks_host = False  # `$host` is used
        self._firsts: Counter[str] = Counter()  # how many servers have a first name

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
        names.is_led_on = is_said(directives) or any(each.name == "error_page" for each in _all_in(directives))
        names.captured = answers_in(record, directives)
        self._tables = http.own("geo", "map", "split_clients")
        read_tables(record, self._tables, names)
        self._by_server = bool(names.used & _OF_A_SERVER)
        for directive in http.own("upstream"):
            self._upstreams.declare(directive, names)
        limits = limits_of(http)
        events = [each for block in main.own("events") for each in block.block or ()]
        connections = Scope(record, events).count("worker_connections", 0)
        if connections:
            limits = replace(limits, connections=connections)
        servers = [_Server(each, Scope(record, each.block or (), http)) for each in http.own("server")]
        trusted = self._trusted(http, servers)
        level = Level(timeouts_of(http), limits, forwarding_of(http, trusted), None)
        self._listen(servers)
        formats = log_formats(http)
        zones, telling = Zones(record, http), telling_of(main, http) if self._tells else None
        locations = Locations(record, self._upstreams, formats, self._read_text, trusted, zones, is_said(directives), telling)
        self._serve(servers, locations, names, level)
        self._asks_host = "host" in names.used
        listeners = self._listeners(servers, level)
        sites = self._sites(servers, level)
        self._upstreams.warn_unused()
        made = Config(
            listeners=listeners,
            sites=sites,
            upstreams=self._upstreams.all(),
            process=self._with_resolvers(self._process(main), directives),
            certificates=self._tls.certificates(),
            tls_profiles=self._tls.profiles(),
            trusted_proxies=trusted or (),
            timeouts=level.timeouts,
            limits=level.limits,
            forwarding=level.forwarding,
            access_log=AccessLog(),
            error_log=self._error_log(main, http),
        )
        return read_stream(record, main, made, self._tls)

    # ------------------------------------------------------------ servers

    def _listen(self, servers: list[_Server]) -> None:
        tails: set[str] = set()
        for at, server in enumerate(servers):
            listens = server.scope.own("listen")
            for directive in listens:
                self._doors.add(at, directive)
            if not listens:
                self._doors.add_default(at, server.directive.span)
            found = hosts_of(self._record, server.scope.own("server_name"))
            server.hosts, server.patterns, server.captures = found.names, found.patterns, found.captures
            tails |= found.tails
        for server in servers:
            server.patterns = {without_longer(each, tails) if each in tails else each: span for each, span in server.patterns.items()}
        taken: dict[str, list[int]] = {}
        for at, server in enumerate(servers):
            self._drop_taken_hosts(server, taken, self._doors.of(at))
            for host in server.hosts:
                taken.setdefault(host, []).append(at)
        self._firsts = Counter([_first_name(server) for server in servers])

    def _serve(self, servers: list[_Server], locations: Locations, names: Names, level: Level) -> None:
        for at, server in enumerate(servers):
            inside = names.copy()
            if any(door.proxy_protocol for door in self._doors.of(at)):
                inside.own["remote_port"] = _PORT
            first = server.scope.find("server_name")
            _capture_host(inside, server.captures)
            server.name = first_name(first)
            inside.own["server_name"] = Const(server.name)
            inside.port = port_of(self._doors.of(at))
            if self._by_server:
                read_tables(self._record, self._tables, inside)
            server.served = locations.server(server.scope, inside, level, server.directive, self._usual(at, servers))

    def _usual(self, at: int, servers: list[_Server]) -> KeepAlive:
        """Return how the listeners of a server keep connections, where they all do so alike."""
        found = {keeping_of(servers[door.default_server].scope) for door in self._doors.of(at)}
        one = found.pop() if len(found) == 1 else KeepAlive()
        return replace(one, age_ms=None, told_s=0)

    def _listeners(self, servers: list[_Server], level: Level) -> tuple[Listener, ...]:
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
                    tls_profile=self._tls.profile(door, default.scope, answers=True),
                    unknown_sni="refuse" if door.tls and default.scope.flag("ssl_reject_handshake", False) else "default",
                    default_site="" if default.turns_away and door.tls else self._name(door.default_server, servers),
                    refused_sni=self._refused(door, servers),
                    protocols=("h2", "h1") if door.http2 or default.scope.flag("http2", False) else ("h1",),
                    proxy_protocol=door.proxy_protocol,
                    proxy_protocol_mode="note" if door.proxy_protocol else "strict",
                    backlog=door.backlog or 1_024,
                    timeouts=None if same_times else timeouts,
                    limits=None if limits == level.limits else limits,
                )
            )
            if not door.tls:
                made[-1] = replace(made[-1], unknown_sni="refuse")
        return tuple(made)

    def _refused(self, door: Door, servers: list[_Server]) -> tuple[str, ...]:
        """Return the names for which a socket makes no handshake."""
        names: dict[str, None] = {}
        for at in door.servers if door.tls else ():
            server = servers[at]
            if not server.scope.flag("ssl_reject_handshake", False):
                continue
            names.update(dict.fromkeys([host for host in server.hosts if host != ANY_HOST]))
            for span in server.patterns.values():
                not_built(self._record, span, "refusing handshakes by a pattern", "write the names that are refused")
        return tuple(names)

    def _sites(self, servers: list[_Server], level: Level) -> tuple[Site, ...]:
        made: list[Site] = []
        for at, server in enumerate(servers):
            doors = [door for door in self._doors.of(at) if not (door.tls and server.turns_away)]
            assert server.served is not None
            defaults = [door for door in doors if door.default_server == at]
            hosts = tuple(server.hosts)
            if len(defaults) != len(doors):
                for word in [each for directive in server.scope.own("server_name") for each in directive.args if not each.text]:
                    if not hosts and not server.patterns:
                        self._firsts[_NO_HOST] += 1
                    server.patterns.setdefault(_NO_HOST, word.span)
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

    def _drop_taken_hosts(self, server: _Server, taken: dict[str, list[int]], doors: list[Door]) -> None:
        """Of two servers with one name on one socket the first serves, as in nginx."""
        for host, span in list(server.hosts.items()):
            for other in taken.get(host, ()):
                if any(other in door.servers for door in doors):
                    self._record.warning(span, "unreachable", f"another server is named `{host}` here; this one is not asked for it")
                    server.hosts.pop(host, None)

    def _name(self, at: int, servers: list[_Server]) -> str:
        """Name a site by its first host, and by its listeners where another site has that name or it has none."""
        own = _first_name(servers[at])
        where = " ".join([door.name for door in self._doors.of(at)])
        if not own:
            return f"default on {where}" if where else f"server {at + 1}"
        return own if self._firsts[own] == 1 else f"{own} on {where}"

    def _site(self, at: int, servers: list[_Server], hosts: tuple[str, ...], doors: list[Door], level: Level) -> Site:
        server = servers[at]
        assert server.served is not None
        part, own = server.served.part, server.served.level
        defaults = [(door, servers[door.default_server].scope) for door in doors]
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
            request=(self._tls.asks_of(server.scope) if certificates else ()) + part.request,
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
            default_host=server.name if self._asks_host and (_NO_HOST in server.patterns or self._serves_hostless(at, doors)) else "",
            client_profile=self._tls.client_profile(defaults, server.scope, server.directive.span),
        )

    def _serves_hostless(self, at: int, doors: list[Door]) -> bool:
        """Tell whether requests that name no host may come to a server: it is a default, or TLS names the server before."""
        return any(door.tls or door.default_server == at for door in doors)

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

    def _with_resolvers(self, process: Process, directives: Iterable[Directive]) -> Process:
        """Return the process with the DNS servers of the first `resolver`, if requests name hosts."""
        lines = [each for each in _all_in(directives) if each.name == "resolver"]
        first = lines[0] if lines else None
        if first is None:
            return process
        servers: list[str] = []
        families = {"ipv4", "ipv6"}
        for word in first.args if self._upstreams.are_named_by_requests() else ():
            key, equals, value = word.text.partition("=")
            if equals:
                self._resolver_option(word, key, value, families)
            else:
                try:
                    parse_resolver(word.text)
                    servers.append(word.text)
                except ValueError:
                    message = f"the DNS server `{word.text}` is left out"
                    self._record.warning(word.span, "left-out", message, "write its address, so that nothing has to be looked up for it")
        for line in lines if not servers else lines[1:]:
            if not servers or line.texts != first.texts:
                message = "names of upstreams are looked up again and again, by the system's resolver"
                hint = message if not servers else "the first `resolver` of the file is asked"
                self._record.warning(line.span, "left-out", "this `resolver` is left out", hint)
        if not servers:
            return process
        resolve: Literal["any", "ipv4", "ipv6"] = "any" if len(families) != 1 else "ipv4" if "ipv4" in families else "ipv6"
        return replace(process, resolvers=tuple(servers), resolve=resolve)

    def _resolver_option(self, word: Word, key: str, value: str, families: set[str]) -> None:
        """Read one option of a `resolver`; a family that is off is taken out of ``families``."""
        if key in ("ipv4", "ipv6") and value in ("on", "off"):
            if value == "off":
                families.discard(key)
            if not families:
                self._record.error(word.span, "conflict", "no family of addresses is left to ask for", "take `ipv4=off` or `ipv6=off` away")
        elif key == "valid":
            message = f"`{word.text}` is left out"
            self._record.warning(word.span, "left-out", message, "addresses are kept as long as their DNS server says")
        elif key == "status_zone":
            self._record.warning(word.span, "left-out", f"`{word.text}` is left out", "questions are not counted")
        else:
            self._record.error(word.span, "unknown-option", f"`{word.text}` is no option of a resolver")

    def _trusted(self, http: Scope, servers: list[_Server]) -> tuple[str, ...] | None:
        """Return the networks of ``set_real_ip_from`` that hold everywhere: the first that are said; None where none are."""
        scopes = [http, *[server.scope for server in servers]]
        waiting = [each for server in servers for each in server.scope.own("location")]
        while waiting:
            block = Scope(self._record, waiting.pop(0).block or ())
            scopes.append(block)
            waiting += block.own("location")
        for scope in scopes:
            lines = scope.own("set_real_ip_from")
            if lines:
                networks = networks_of(Scope(Record(""), ()), lines)
                spans = {each.text(): each.span for each in reversed(lines)}
                for at, span in enumerate(spans.values()):
                    self._record.origin(f"trusted_proxies[{at}]", span)
                return networks
        return None

    def _error_log(self, main: Scope, http: Scope) -> ErrorLog:
        found = http.find("error_log") or main.find("error_log")
        if found is None:
            return ErrorLog()
        level = found.text(1) or "error"
        if level not in _LEVELS:
            self._record.error(found.place(1), "bad-value", f"`{level}` is no level", "it is one of debug, info, notice, warn, error, crit")
        target, syslog = target_of(http, found)
        return ErrorLog(target, _LEVELS.get(level, "error"), syslog)


def _all_in(directives: Iterable[Directive]) -> Iterable[Directive]:
    """Yield directives with those in their blocks, but for what is of `stream`."""
    for directive in directives:
        if directive.name != "stream":
            yield directive
            yield from _all_in(directive.block or ())


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


def _first_name(server: _Server) -> str:
    return next(iter((*server.hosts, *server.patterns)), "")
