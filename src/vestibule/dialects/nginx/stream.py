"""``stream``: connections that are passed on as they are, by the name a TLS client asks for and by where it comes from.

Facts: a ``server`` passes all of its connections to one place, which a ``map`` may choose by ``$ssl_preread_server_name`` and its
kin. With ``ssl`` behind ``listen``, TLS ends here and what is inside is passed on. ``allow`` and ``deny`` come first. Silence ends
a connection after ``proxy_timeout`` (10 min).

Rules: a place that a ``map`` chooses is one of the texts that are in it: each becomes a route. An empty one closes the connection.

Not here: listeners and sites of ``http`` (``lower``).
"""

from __future__ import annotations

from dataclasses import replace

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.levels import denied_of
from vestibule.dialects.nginx.limiting import pace_of_stream
from vestibule.dialects.nginx.listening import Doors
from vestibule.dialects.nginx.maps import read_tables
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tls import Tls
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.upstreams import Target, Upstreams
from vestibule.dialects.nginx.variables import Names, choices_of
from vestibule.dialects.record import Record
from vestibule.model.config import Config, Listener, TcpRoute, Timeouts
from vestibule.model.diagnostic import Span
from vestibule.model.expr import EMPTY, Const, Expr, If, Var
from vestibule.model.quantity import parse_network

_TEN_MINUTES = 600_000
_MOST_ROUTES = 1_000
"""What a `map` of hosts may come to. Nobody writes more by hand."""

_NAMES: dict[str, Expr] = {
    "remote_addr": Var("peer_ip"),
    "binary_remote_addr": Var("peer_ip"),
    "remote_port": Var("client_port"),
    "ssl_server_name": Var("tls_sni"),
    "ssl_preread_server_name": Var("tls_sni"),
    "ssl_preread_alpn_protocols": Var("tls_alpn"),
    # Which version it will be is settled later; people ask whether there is one.
    "ssl_preread_protocol": If(Var("tls_hello"), Const("TLSv1.3"), EMPTY),
    "protocol": Const("TCP"),
}
"""What variables mean before there is a request."""


def read_stream(record: Record, main: Scope, config: Config, tls: Tls) -> Config:
    """Return a configuration with what the ``stream`` block of a file adds; ``tls`` collects certificates and profiles."""
    inner = [each for block in main.own("stream") for each in block.block or ()]
    return _Streams(record, Scope(record, inner, main), config, tls).read() if inner else config


class _Streams:
    """Lowers the ``stream`` block."""

    def __init__(self, record: Record, scope: Scope, config: Config, tls: Tls) -> None:
        self._record = record
        self._tls = tls
        self._scope = scope
        self._config = config
        self._names = Names(record, _NAMES, Var("peer_ip"))
        self._upstreams = Upstreams(record, len(config.upstreams), "stream ")

    def read(self) -> Config:
        """Return the whole configuration."""
        read_tables(self._record, self._scope.own("geo", "map", "split_clients"), self._names)
        for directive in self._scope.own("upstream"):
            self._upstreams.declare(directive, self._names)
        listeners = list(self._config.listeners)
        for server in self._scope.own("server"):
            scope = Scope(self._record, server.block or (), self._scope)
            announcers = self._announcers(scope)
            listeners += self._listeners(server, scope, announcers, len(listeners))
        self._upstreams.warn_unused()
        names = [each.name for each in listeners]
        for at, name in enumerate(names):
            if name in names[:at]:
                self._record.error(self._record.place(f"listeners[{at}]"), "duplicate", f"`{name}` is listened on already")
        upstreams = (*self._config.upstreams, *self._upstreams.all())
        return replace(
            self._config,
            listeners=tuple(listeners),
            upstreams=upstreams,
            certificates=self._tls.certificates(),
            tls_profiles=self._tls.profiles(),
        )

    def _announcers(self, scope: Scope) -> tuple[str, ...]:
        """Return whose PROXY headers say who the client is."""
        networks: list[str] = []
        for directive in scope.nearest("set_real_ip_from"):
            try:
                networks.append(parse_network(directive.text()))
            except ValueError as bad:
                self._record.error(directive.place(0), "bad-network", str(bad))
        return tuple(networks)

    def _listeners(self, server: Directive, scope: Scope, announcers: tuple[str, ...], first: int) -> list[Listener]:
        listens = scope.own("listen")
        if not listens:
            self._record.error(server.span, "missing", "this server listens nowhere", "add `listen`")
        doors = Doors(self._record)
        for directive in listens:
            if "udp" in directive.texts[1:]:
                not_built(self._record, directive.span, "UDP", "take this `listen` away")
            else:
                doors.add(0, directive)
        routes = self._routes(server, scope)
        timeouts = Timeouts(
            connect_ms=scope.time("proxy_connect_timeout", 60_000),
            body_idle_ms=scope.time("proxy_timeout", _TEN_MINUTES),
            tls_handshake_ms=scope.time("preread_timeout", 30_000),
            tunnel_idle_ms=scope.time("proxy_timeout", _TEN_MINUTES),
            hold_ms=0,
        )
        certificates = self._tls.certificates_of(scope, server.span) if any(door.tls for door in doors.all()) else ()
        alpn = scope.find("ssl_alpn")
        made: list[Listener] = []
        for door in doors.all():
            self._record.origin(f"listeners[{first + len(made)}]", door.span)
            made.append(
                Listener(
                    door.name,
                    door.address,
                    tls=door.tls,
                    tls_profile=self._tls.profile(door, [scope], scope),
                    unknown_sni="default" if door.tls else "refuse",
                    certificates=certificates if door.tls else (),
                    alpn=tuple(dict.fromkeys(alpn.texts)) if door.tls and alpn is not None else (),
                    proxy_protocol=door.proxy_protocol,
                    proxy_protocol_from=announcers if door.proxy_protocol else (),
                    routes=routes,
                    backlog=door.backlog or 1_024,
                    timeouts=timeouts,
                )
            )
        return made

    def _routes(self, server: Directive, scope: Scope) -> tuple[TcpRoute, ...]:
        routes: list[TcpRoute] = []
        denied = denied_of(scope, scope.nearest("allow", "deny"), Var("peer_ip"))
        if denied != Const(False):
            routes.append(TcpRoute(when=None if denied == Const(True) else denied))
        passes = scope.own("proxy_pass")
        if not passes:
            self._record.error(server.span, "missing", "this server passes connections nowhere", "add `proxy_pass`")
            return tuple(routes)
        word = passes[0].args[0]
        names = self._names.copy()
        for directive in scope.own("set"):
            names.own[directive.text(0).removeprefix("$").lower()] = names.text(directive.args[1])
        paces = pace_of_stream(scope, names)
        try:
            choices = choices_of(names.text(word), _MOST_ROUTES)
        except ValueError as bad:
            self._record.error(word.span, "too-deep", str(bad))
            return tuple(routes)
        for test, text in choices:
            if not isinstance(text, Const):
                not_built(self._record, word.span, "a server that depends on the connection", "name the servers, in a `map`")
                return tuple(routes)
            upstream = self._upstream(scope, str(text.value), word.span) if text.value else ""
            routes.append(TcpRoute(upstream, when=test, bandwidth=paces if upstream else ()))
        return tuple(routes)

    def _upstream(self, scope: Scope, text: str, span: Span) -> str:
        tls = scope.flag("proxy_ssl", False)
        if not text.startswith("unix:") and ":" not in text and not self._upstreams.has(text):
            self._record.error(span, "bad-address", f"`{text}` has no port and is no `upstream`", "write `host:port`")
            return ""
        announce = scope.flag("proxy_protocol", False)
        return self._upstreams.use(Target(tls, text.lower(), None, True), scope, span, "v1" if announce else "")
