"""``stream``: connections and datagrams that are passed on as they are, by the name a TLS client asks for and by where it comes from.

Facts: a ``server`` passes all of its connections to one place, which a ``map`` may choose by ``$ssl_preread_server_name`` and its
kin, says a text with ``return`` and closes them, or gives them to a ``listen`` of ``http`` with ``pass``. With ``ssl`` behind
``listen``, TLS ends here and what is inside is passed on. ``allow`` and ``deny`` come first, then ``limit_conn``. Silence ends a
connection, or a session of datagrams, after ``proxy_timeout`` (10 min).

Rules: a place that a ``map`` chooses is one of the texts that are in it: each becomes a route. An empty one closes the connection.

Not here: listeners and sites of ``http`` (``lower``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.levels import Formats, access_log_of, denied_of, log_formats, networks_of
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.limiting import Zones, limits_on, pace_of_stream
from vestibule.dialects.nginx.listening import Doors
from vestibule.dialects.nginx.maps import read_tables
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tls import Tls
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.upstreams import Target, Upstreams
from vestibule.dialects.nginx.variables import Names, choices_of
from vestibule.dialects.record import Record
from vestibule.model.config import AccessLog, ConcurrencyLimit, Config, Listener, Sessions, TcpRoute, Timeouts, UdpAddress
from vestibule.model.diagnostic import Span
from vestibule.model.expr import EMPTY, Call, Compare, Const, Expr, If, InSet, Match, Var

_TEN_MINUTES = 600_000
_MOST_ROUTES = 1_000
"""What a `map` of hosts may come to. Nobody writes more by hand."""

_NAMES: dict[str, Expr] = {
    "remote_addr": Var("peer_ip"),
    "binary_remote_addr": Call("address_bytes", (Var("peer_ip"),)),
    "remote_port": Var("client_port"),
    "ssl_server_name": Var("tls_sni"),
    "ssl_preread_server_name": Var("tls_sni"),
    "ssl_preread_alpn_protocols": Var("tls_alpn"),
    # Which version it will be is settled later; people ask whether there is one.
    "ssl_preread_protocol": If(Var("tls_hello"), Const("TLSv1.3"), EMPTY),
    "protocol": If(Match("^udp://", Var("listener")), Const("UDP"), Const("TCP")),
    "bytes_sent": Const("0"),
    "bytes_received": Const("0"),
}
"""What variables mean before there is a request."""

_FAULT = Var("fault")
_STATUS = If(
    InSet(_FAULT, ("proxy.no_route", "proxy.denied")),
    Const("403"),
    If(
        InSet(_FAULT, ("proxy.limited",)),
        Const("503"),
        If(
            InSet(_FAULT, ("upstream.down", "upstream.refused", "upstream.unreachable", "upstream.unresolved", "upstream.timeout_connect")),
            Const("502"),
            Const("200"),
        ),
    ),
)


def _of_server(value: Expr) -> Expr:
    return If(Compare("==", Var("upstream_address"), EMPTY), EMPTY, value)


_ENDED: dict[str, Expr] = {
    "status": _STATUS,
    "bytes_sent": Var("bytes_out"),
    "bytes_received": Var("bytes_in"),
    "session_time": Call("seconds", (Var("total_ms"),)),
    "upstream_bytes_sent": _of_server(Var("bytes_in")),
    "upstream_bytes_received": _of_server(Var("bytes_out")),
    "upstream_connect_time": _of_server(Call("seconds", (Var("upstream_connect_ms"),))),
    "upstream_first_byte_time": _of_server(Call("seconds", (Var("head_ms"),))),
    "upstream_session_time": _of_server(Call("seconds", (Var("total_ms"),))),
}
"""What variables mean in the line that is written at the end."""


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
        self._formats: Formats = log_formats(scope)
        self._zones = Zones(record, scope)

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
        return networks_of(scope, scope.nearest("set_real_ip_from"))

    def _log(self, scope: Scope, names: Names) -> AccessLog | None:
        """Return where the lines of a server go; None is the log of the program, where the file says nothing."""
        for directive in scope.nearest("access_log"):
            if directive.text() != "off" and not any("=" not in each for each in directive.texts[1:] if each != "gzip"):
                self._record.error(directive.span, "missing", "connections have no format of their own", "name one of `log_format`")
                return None
        ended = names.copy()
        ended.own.update(_ENDED)
        return access_log_of(scope, self._formats, ended)

    def _listeners(self, server: Directive, scope: Scope, announcers: tuple[str, ...], first: int) -> list[Listener]:
        listens = scope.own("listen")
        if not listens:
            self._record.error(server.span, "missing", "this server listens nowhere", "add `listen`")
        doors = Doors(self._record, datagrams=True)
        for directive in listens:
            doors.add(0, directive)
        takes_datagrams = [isinstance(door.address, UdpAddress) for door in doors.all()]
        names = self._names.copy()
        if len(set(takes_datagrams)) == 1:
            names.own["protocol"] = Const("UDP" if takes_datagrams[0] else "TCP")
        for directive in scope.own("set"):
            names.own[directive.text(0).removeprefix("$").lower()] = names.text(directive.args[1])
        # Upstreams are named after what they carry, so both have routes of their own.
        routes = self._routes(server, scope, names, "tcp") if False in takes_datagrams or not takes_datagrams else ()
        datagram_routes = self._routes(server, scope, names, "udp") if True in takes_datagrams else ()
        sessions = Sessions(
            scope.time("proxy_timeout", _TEN_MINUTES),
            scope.count("proxy_responses", 0) if scope.find("proxy_responses") is not None else None,
            scope.count("proxy_requests", 0) or None,
        )
        log = self._log(scope, names)
        timeouts = Timeouts(
            connect_ms=scope.time("proxy_connect_timeout", 60_000),
            body_idle_ms=scope.time("proxy_timeout", _TEN_MINUTES),
            tls_handshake_ms=scope.time("preread_timeout", 30_000),
            tunnel_idle_ms=scope.time("proxy_timeout", _TEN_MINUTES),
            hold_ms=0,
        )
        certificates = self._tls.certificates_of(scope, server.span) if any(door.tls for door in doors.all()) else ()
        alpn = scope.find("ssl_alpn")
        passes = any(route.upstream for route in routes)
        mode: Literal["open", "note"] = "open" if announcers else "note"
        made: list[Listener] = []
        for door in doors.all():
            is_udp = isinstance(door.address, UdpAddress)
            self._record.origin(f"listeners[{first + len(made)}]", door.span)
            made.append(
                Listener(
                    door.name,
                    door.address,
                    tls=door.tls,
                    tls_profile=self._tls.profile(door, scope, answers=False),
                    unknown_sni="default" if door.tls else "refuse",
                    certificates=certificates if door.tls else (),
                    alpn=tuple(dict.fromkeys(alpn.texts)) if door.tls and alpn is not None else (),
                    proxy_protocol=door.proxy_protocol,
                    proxy_protocol_from=announcers if door.proxy_protocol else (),
                    proxy_protocol_mode=mode if door.proxy_protocol else "strict",
                    routes=datagram_routes if is_udp else routes,
                    backlog=door.backlog or 1_024,
                    timeouts=timeouts,
                    access_log=log,
                    sessions=sessions if is_udp else None,
                    half_close=is_udp or not passes or scope.flag("proxy_half_close", False),
                )
            )
        return made

    def _routes(self, server: Directive, scope: Scope, names: Names, kind: Literal["tcp", "udp"]) -> tuple[TcpRoute, ...]:
        routes: list[TcpRoute] = []
        denied = denied_of(scope, scope.nearest("allow", "deny"), Var("peer_ip"))
        if denied != Const(False):
            routes.append(TcpRoute(when=None if denied == Const(True) else denied))
        limits = tuple([each for each in limits_on(scope, names, self._zones) if isinstance(each, ConcurrencyLimit)])
        # A zone of `http` with the same name is another one.
        limits = tuple([replace(each, zone=f"stream {each.zone}") for each in limits])
        passes = scope.own("proxy_pass", "return", "pass")
        if not passes:
            self._record.error(server.span, "missing", "this server passes connections nowhere", "add `proxy_pass`")
            return tuple(routes)
        word = passes[0].args[0]
        if len(passes) > 1:
            self._record.error(passes[1].span, "duplicate", f"`{passes[0].name}` says already what becomes of connections", "keep one")
        if passes[0].name == "return":
            return (*routes, TcpRoute(answer=names.text(word), concurrency=limits))
        if passes[0].name == "pass" and limits:
            hint = "limit them where they are served"
            not_built(self._record, passes[0].span, "counting connections that another `listen` takes over", hint)
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
            if passes[0].name == "pass" and text.value:
                routes.append(TcpRoute(listener=self._taker(str(text.value), word.span), when=test))
                continue
            upstream = self._upstream(scope, str(text.value), word.span, kind) if text.value else ""
            routes.append(TcpRoute(upstream, when=test, bandwidth=paces if upstream else (), concurrency=limits if upstream else ()))
        return tuple(routes)

    def _taker(self, text: str, span: Span) -> str:
        """Return the name of the listener that an address in ``pass`` means."""
        doors = Doors(self._record)
        doors.add(0, Directive("listen", (Word(text, span),), span))
        return next((door.name for door in doors.all()), "")

    def _upstream(self, scope: Scope, text: str, span: Span, kind: Literal["tcp", "udp"]) -> str:
        tls = scope.flag("proxy_ssl", False)
        if not text.startswith("unix:") and ":" not in text and not self._upstreams.has(text):
            self._record.error(span, "bad-address", f"`{text}` has no port and is no `upstream`", "write `host:port`")
            return ""
        announce = scope.flag("proxy_protocol", False)
        directive = scope.find("proxy_protocol")
        if announce and kind == "udp" and directive is not None:
            # nginx writes version 1, whose lines know TCP alone.
            not_built(self._record, directive.span, "`proxy_protocol` for UDP", "take it out, or write version 2 in TOML")
            announce = False
        return self._upstreams.use(Target(tls, text.lower(), None, True), scope, span, "v1" if announce else "", kind)
