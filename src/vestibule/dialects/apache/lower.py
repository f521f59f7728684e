"""A tree of directives to the model.

Facts: what a file leaves out has httpd's default. In a file without ``Listen`` the addresses of the virtual hosts are listened on,
and port 80 without those. Of the virtual hosts at the best fitting address the first whose name fits serves, else the first. The
server outside serves only where no virtual host is.

Rules: every mistake is noted and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from vestibule.dialects.apache.directives import DIRECTIVES
from vestibule.dialects.apache.fields import condition_of
from vestibule.dialects.apache.listening import Doors, Host, hosts_of, server_name_of
from vestibule.dialects.apache.md import ManagedDomains
from vestibule.dialects.apache.patterns import network
from vestibule.dialects.apache.scope import Pruner, Scope, not_built
from vestibule.dialects.apache.sections import as_answered
from vestibule.dialects.apache.sites import Lowered, SiteMaker
from vestibule.dialects.apache.tls import Tls
from vestibule.dialects.apache.tree import Directive, Tree
from vestibule.dialects.apache.upstreams import Upstreams
from vestibule.dialects.apache.variables import Names
from vestibule.dialects.read import Loaded, ReadText, read_nothing
from vestibule.dialects.record import Record
from vestibule.model.check import check
from vestibule.model.config import (
    ANY_HOST,
    AccessLog,
    Config,
    ErrorLog,
    Forwarding,
    Limits,
    Listener,
    Process,
    Site,
    Syslog,
    Timeouts,
)
from vestibule.model.diagnostic import Span, did_you_mean
from vestibule.model.expr import ALWAYS, EMPTY, Expr
from vestibule.model.syslog import FACILITIES, PREFIX

_DEBIAN = {
    "APACHE_RUN_USER": "www-data",
    "APACHE_RUN_GROUP": "www-data",
    "APACHE_PID_FILE": "/run/apache2/apache2.pid",
    "APACHE_RUN_DIR": "/run/apache2",
    "APACHE_LOCK_DIR": "/var/lock/apache2",
    "APACHE_LOG_DIR": "/var/log/apache2",
}
"""What Debian's start script puts into the environment, and its files refer to."""

_LEVELS: dict[str, Literal["debug", "info", "warning", "error"]] = {
    "debug": "debug", "info": "info", "notice": "info", "warn": "warning", "error": "error", "crit": "error", "alert": "error",
    "emerg": "error",
}  # fmt: skip

_FORMATS = {
    "common": '%h %l %u %t "%r" %>s %O',
    "combined": "",
    "vhost_combined": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
    "vhost_common": '%v %h %l %u %t "%r" %>s %b',
}

_ANYBODY = ("0.0.0.0/0", "::/0")


@dataclass(slots=True)
class _Server:
    """A virtual host on its way; or the server outside, which has no directive of its own."""

    scope: Scope
    span: Span
    host: Host
    lowered: Lowered | None = None
    log: AccessLog | None = None
    listeners: list[str] = field(default_factory=list)


def parse(name: str, text: str, read_text: ReadText = read_nothing, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read a configuration of httpd; ``name`` is what messages call the file, ``environment`` what the process knows."""
    record = Record(name)
    tree = Tree(record, read_text)
    tree.environment = {**_DEBIAN, **(environment or {})}
    directives = tree.read(name, text)
    files = tuple(dict.fromkeys(tree.files))
    if record.has_errors:
        return Loaded(None, record.merge(()), files, record.place)
    kept = Pruner(record).prune(directives, "server")
    config = _Lowering(record, read_text, Scope(record, kept), tree.environment).config()
    record.settle(config)
    return Loaded(config, record.merge(check(config, record.place)), files, record.place)


class _Lowering:
    """Lowers one configuration."""

    def __init__(self, record: Record, read_text: ReadText, main: Scope, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._record = record
        self._read_text = read_text
        self._main = main
        self._upstreams = Upstreams(record)
        self._tls = Tls(record)
        self._managed = ManagedDomains(record, main)
        self._doors = Doors(record, main)

    def config(self) -> Config:
        """Return the model of the file."""
        main = self._main
        self._refuse_open_proxy()
        servers = [self._server(each) for each in main.own("VirtualHost")]
        if not servers:
            outside = Host(server_name_of(self._record, main), {}, {}, ())
            servers = [_Server(main, main.directives[0].span if main.directives else Span(), outside)]
        self._doors.open([server.host for server in servers])
        timeouts, limits = _timeouts_of(main), self._limits_of(main)
        for server in servers:
            self._lower(server, timeouts, limits)
        common = servers[0].log if servers[0].scope is main else self._access_log(main, Names(self._record, ""))
        for server in servers:
            server.log = None if server.log == common else server.log
        listeners = self._listeners(servers, timeouts, limits)
        trusted = self._trusted([server.scope for server in servers])
        if not trusted:
            # httpd takes a PROXY header from whoever connects; who may is for the address to say.
            listeners = tuple([replace(each, proxy_protocol_from=_ANYBODY) if each.proxy_protocol else each for each in listeners])
        return Config(
            listeners=listeners,
            sites=self._sites(servers, timeouts, limits),
            upstreams=self._upstreams.all(),
            process=self._process(),
            certificates=self._tls.certificates(),
            acme=self._managed.acme,
            issuers=self._managed.issuers,
            tls_profiles=self._tls.profiles(),
            trusted_proxies=trusted,
            timeouts=timeouts,
            limits=limits,
            forwarding=Forwarding("pass", "pass", "client", "drop"),
            access_log=common or AccessLog(),
            error_log=self._error_log([server.scope for server in servers]),
        )

    def _refuse_open_proxy(self) -> None:
        for scope in (self._main, *[Scope(self._record, each.block or ()) for each in self._main.own("VirtualHost")]):
            for directive in scope.own("ProxyRequests", "ProxyVia"):
                if directive.text().lower() not in ("off", "none"):
                    row = DIRECTIVES[directive.name]
                    not_built(self._record, directive, 0, f"`{row.name} {directive.text()}`", "vestibule is a reverse proxy; write `Off`")

    def _server(self, directive: Directive) -> _Server:
        scope = Scope(self._record, directive.block or (), self._main)
        host = Host(server_name_of(self._record, scope), *hosts_of(self._record, scope), directive.args)
        return _Server(scope, directive.span, host)

    def _lower(self, server: _Server, timeouts: Timeouts, limits: Limits) -> None:
        scope = server.scope
        own = _timeouts_of(scope)
        own = replace(own, request_head_ms=timeouts.request_head_ms, keep_alive_ms=timeouts.keep_alive_ms)
        names = Names(self._record, server.host.name)
        names.document_root = scope.text("DocumentRoot").rstrip("/")
        names.passed = self._environment
        names.is_canonical = scope.flag("UseCanonicalName", False)
        trusted = self._trusted([scope]) if scope.find("RemoteIPHeader") is not None else ()
        server.lowered = SiteMaker(scope, names, self._upstreams, self._read_text, trusted).make(own, limits)
        server.log = self._access_log(scope, names)

    # ------------------------------------------------------------ listeners, sites

    def _listeners(self, servers: list[_Server], timeouts: Timeouts, limits: Limits) -> tuple[Listener, ...]:
        made: list[Listener] = []
        for door in self._doors.all():
            here = [servers[at] for at in door.servers]
            if not here:
                self._record.warning(door.span, "unused", f"no virtual host is on `{door.name}`", "write one for it")
                continue
            default = here[0]
            tls = [server for server in here if server.scope.flag("SSLEngine", door.says_tls)]
            if tls and len(tls) != len(here):
                other = next(server for server in here if server not in tls)
                message = f"`{door.name}` speaks TLS for another virtual host"
                self._record.error(other.span, "conflict", message, "turn `SSLEngine` on here, or use two ports")
            for server in here:
                server.listeners.append(door.name)
            own_times, own_limits = _timeouts_of(default.scope), self._limits_of(default.scope)
            same = (own_times.request_head_ms, own_times.keep_alive_ms) == (timeouts.request_head_ms, timeouts.keep_alive_ms)
            self._record.origin(f"listeners[{len(made)}]", door.span)
            strict = any(server.scope.flag("SSLStrictSNIVHostCheck", False) for server in here)
            made.append(
                Listener(
                    name=door.name,
                    address=door.address,
                    tls=bool(tls),
                    tls_profile=self._tls.profile(default.scope, [server.scope for server in here], door.span) if tls else "intermediate",
                    unknown_sni="default" if tls and not strict else "refuse",
                    default_site=self._site_name(default, servers),
                    protocols=self._protocols(default.scope),
                    proxy_protocol=default.scope.flag("RemoteIPProxyProtocol", False),
                    backlog=self._main.count("ListenBacklog", 1_024),
                    timeouts=None if same else own_times,
                    limits=None if own_limits == limits else own_limits,
                )
            )
        return tuple(made)

    def _protocols(self, scope: Scope) -> tuple[Literal["h1", "h2"], ...]:
        """Return the HTTP versions of a socket, most wanted first."""
        directive = scope.find("Protocols")
        named: dict[str, Literal["h1", "h2"]] = {"h2": "h2", "h2c": "h2", "http/1.1": "h1"}
        spoken: list[Literal["h1", "h2"]] = []
        for word in directive.args if directive is not None else ():
            found = named.get(word.text.lower())
            if found is None:
                self._record.error(word.span, "bad-value", f"`{word.text}` is no protocol here", "write `h2 http/1.1`")
            elif found not in spoken:
                spoken.append(found)
        # HTTP/1.1 is always spoken, named or not.
        return tuple(spoken) if "h1" in spoken else (*spoken, "h1")

    def _sites(self, servers: list[_Server], timeouts: Timeouts, limits: Limits) -> tuple[Site, ...]:
        made: list[Site] = []
        for server in servers:
            doors = [door for door in self._doors.all() if door.name in server.listeners]
            hosts = tuple(server.host.hosts)
            if not hosts and not server.host.patterns:
                doors = [door for door in doors if servers[door.servers[0]] is server]
                hosts = (ANY_HOST,)
            if not doors:
                self._record.warning(server.span, "unreachable", "nothing leads to this virtual host", "check its address and its name")
                continue
            assert server.lowered is not None
            path = f"sites[{len(made)}]"
            self._record.origin(path, server.span)
            for index, span in enumerate(server.host.hosts.values()):
                self._record.origin(f"{path}.hosts[{index}]", span)
            for index, span in enumerate(server.host.patterns.values()):
                self._record.origin(f"{path}.host_patterns[{index}]", span)
            lowered = server.lowered
            has_tls = any(server.scope.flag("SSLEngine", door.says_tls) for door in doors)
            certificates = self._tls.certificates_of(server.scope, server.span) if has_tls else ()
            asked = self._tls.asks_of([[servers[at].scope for at in door.servers] for door in doors], server.scope) if has_tls else ()
            made.append(
                Site(
                    name=self._site_name(server, servers),
                    hosts=hosts,
                    host_patterns=tuple(server.host.patterns),
                    listeners=tuple([door.name for door in doors]),
                    source=lowered.part.source,
                    request=asked + lowered.part.request,
                    response=lowered.part.response,
                    certificates=certificates,
                    acme=has_tls and not certificates and self._managed.has(hosts),
                    timeouts=lowered.timeouts if lowered.timeouts != timeouts else None,
                    limits=lowered.limits if lowered.limits != limits else None,
                    forwarding=lowered.forwarding if lowered.forwarding != Forwarding("pass", "pass", "client", "drop") else None,
                    access_log=server.log,
                    errors=lowered.errors,
                    compression=lowered.compression,
                    immich=False,
                )
            )
        return tuple(made)

    def _site_name(self, server: _Server, servers: list[_Server]) -> str:
        own = next(iter(server.host.hosts), "")
        where = " ".join([door.name for door in self._doors.all() if servers.index(server) in door.servers])
        if not own:
            return f"default on {where}"
        firsts = [next(iter(each.host.hosts), "") for each in servers]
        return own if firsts.count(own) == 1 else f"{own} on {where}"

    # ------------------------------------------------------------ levels

    def _limits_of(self, scope: Scope) -> Limits:
        requests: int | None = scope.count("MaxKeepAliveRequests", 100) or None
        if not scope.flag("KeepAlive", True):
            requests = 1
        line = scope.count("LimitRequestLine", 8_190)
        return Limits(
            head_bytes=max(4 * scope.count("LimitRequestFieldSize", 8_190), 8_192),
            fields=scope.count("LimitRequestFields", 100) or 10_000,
            target_bytes=line,
            requests_per_connection=requests,
        )

    # ------------------------------------------------------------ the program

    def _process(self) -> Process:
        main = self._main
        group = main.text("Group")
        return Process(
            user=main.text("User"),
            group="" if group.startswith("#") else group,
            pid_file=main.text("PidFile"),
            stop_ms=main.time("GracefulShutdownTimeout", 0) or Process().stop_ms,
        )

    def _trusted(self, scopes: list[Scope]) -> tuple[str, ...]:
        networks: dict[str, Span] = {}
        directives: list[Directive] = []
        for scope in scopes:
            directives.extend(scope.all("RemoteIPInternalProxy", "RemoteIPTrustedProxy"))
        if directives and any(not scope.all("RemoteIPInternalProxy", "RemoteIPTrustedProxy") for scope in scopes):
            message = "a trusted proxy is trusted by every virtual host of the file"
            self._record.warning(directives[0].span, "differs", message, "say it outside of them, if that is meant")
        for directive in dict.fromkeys(directives):
            for word in directive.args:
                try:
                    networks.setdefault(network(word.text), word.span)
                except ValueError as bad:
                    self._record.error(word.span, "bad-network", str(bad))
        for scope in scopes:
            header = scope.find("RemoteIPHeader")
            if header is not None and not networks:
                message = "httpd believes everybody here; vestibule believes trusted proxies only"
                self._record.error(header.span, "nobody-trusted", message, "name them with `RemoteIPInternalProxy`")
        for at, span in enumerate(networks.values()):
            self._record.origin(f"trusted_proxies[{at}]", span)
        return tuple(networks)

    def _access_log(self, scope: Scope, names: Names) -> AccessLog | None:
        """Return the access log of a server: its own, or that of the server outside; None where there is none."""
        found = [*scope.nearest("CustomLog", "TransferLog"), *self._main.own("GlobalLog")]
        if not found:
            return None
        logs = [self._log_of(scope, each, names) for each in found]
        return replace(logs[0], also=tuple(logs[1:]))

    def _log_of(self, scope: Scope, directive: Directive, names: Names) -> AccessLog:
        """Return the log of one line."""
        target = _target(self._record, directive)
        text = directive.text(1) if directive.name != "transferlog" else "common"
        span = directive.place(1)
        when: Expr = ALWAYS
        if len(directive.args) > 2:
            when = as_answered(condition_of(self._record, names, directive.args[2]))
        for each in scope.all("LogFormat"):
            if each.text(1) == text:
                text, span = each.text(0), each.place(0)
        if (text == "combined" or _is_combined(text)) and names.user == EMPTY:
            return AccessLog(target, "combined", when=when)
        line = _FORMATS.get(text, text)
        if "%" not in line:
            self._record.error(directive.place(1), "unknown-reference", f"there is no log format `{text}`", "define it with `LogFormat`")
            return AccessLog(target)
        return AccessLog(target, "template", as_answered(names.log(line, span)), when=when)

    def _error_log(self, scopes: list[Scope]) -> ErrorLog:
        found = next((made for scope in (self._main, *scopes) if (made := scope.find("ErrorLog")) is not None), None)
        log = ErrorLog()
        if found is not None:
            log = replace(log, target=_target(self._record, found))
            if found.text().lower().startswith("syslog"):
                log = self._syslog(found, log)
        for scope in scopes:
            for directive in scope.own("ErrorLog", "LogLevel") if scope is not self._main else []:
                if directive is not found and (directive.name == "loglevel" or directive.text() != (found.text() if found else "")):
                    row = DIRECTIVES[directive.name]
                    self._record.warning(directive.span, "left-out", f"this `{row.name}` is left out", "there is one log of the program")
        level = self._main.find("LogLevel")
        for word in level.args if level is not None else ():
            if ":" in word.text:
                continue
            if word.text.lower().startswith("trace"):
                log = replace(log, level="debug")
            elif word.text.lower() in _LEVELS:
                log = replace(log, level=_LEVELS[word.text.lower()])
            else:
                self._record.error(word.span, "bad-value", f"`{word.text}` is no level", "it is one of debug, info, notice, warn, error")
        return log

    def _syslog(self, directive: Directive, log: ErrorLog) -> ErrorLog:
        """Read ``syslog:FACILITY:TAG``, either of which may be left out."""
        _, facility, tag, *_ = [*directive.text().split(":"), "", ""]
        facility = facility.lower() or "local7"
        if facility not in FACILITIES:
            self._record.error(directive.place(0), "bad-value", f"`{facility}` is no facility", did_you_mean(facility, FACILITIES))
            return log
        how = Syslog(facility=facility, tag=tag or "apache2", format="local")  # type: ignore[arg-type]  # there is such a facility
        return replace(log, target=f"{PREFIX}/dev/log", syslog=how)


def _timeouts_of(scope: Scope) -> Timeouts:
    """Return the time-outs of a server: ``Timeout`` stands for most of them."""
    idle = scope.time("Timeout", 60_000)
    wait = scope.time("ProxyTimeout", idle)
    head = 40_000
    for word in [each for directive in scope.nearest("RequestReadTimeout") for each in directive.args]:
        key, _, value = word.text.partition("=")
        if key.lower() == "header":
            longest = value.partition(",")[0].rpartition("-")[2]
            head = int(longest) * 1_000 if longest.isdecimal() and int(longest) else idle
        elif key.lower() not in ("body", "handshake"):
            scope.record.error(word.span, "bad-value", f"`{word.text}` is no time-out of requests", "write `header=20-40,MinRate=500`")
    return Timeouts(
        connect_ms=wait,
        hold_ms=0,
        request_head_ms=head,
        body_idle_ms=max(idle, wait),
        response_head_ms=wait,
        keep_alive_ms=scope.time("KeepAliveTimeout", 5_000) or 1,
        tunnel_idle_ms=wait,
    )


def _target(record: Record, directive: Directive) -> str:
    text = directive.text()
    if text.startswith("|") or (text.startswith("syslog") and directive.name != "errorlog"):
        logger = text.startswith("syslog") or "logger" in text
        hint = "write to a file; logs at a syslog server are `access_log` of vestibule's own language" if logger else ""
        not_built(record, directive, 0, f"the log target `{text}`", hint or "write to a file or to /dev/stdout")
        return "stdout"
    return {"/dev/stdout": "stdout", "/dev/stderr": "stderr", "/dev/null": "off"}.get(text, text)


def _is_combined(text: str) -> bool:
    """Tell whether a format is the combined one, in one of its usual spellings."""
    plain = text.replace('\\"', '"')
    return plain in [f'%h %l %u %t "%r" %>s %{letter} "%{{Referer}}i" "%{{User-Agent}}i"' for letter in "bBO"]
