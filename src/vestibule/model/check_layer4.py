"""What is wrong with how a listener takes connections in, and where it passes them on.

Not here: what belongs to HTTP (``check``, ``check_route``).
"""

from __future__ import annotations

from collections.abc import Sequence

from vestibule.model.check_expr import check_test, check_text
from vestibule.model.check_route import check_bandwidth, check_limit
from vestibule.model.config import Config, Listener, Sessions, UdpAddress, Upstream
from vestibule.model.expr import EMPTY, Phase, Var, walk
from vestibule.model.findings import Findings
from vestibule.model.quantity import parse_host, parse_network
from vestibule.model.upstream import server_text

_PROTOCOL_MOST = 255
"""Bytes of a protocol's name (RFC 7301 section 3.1)."""


def check_layer4(found: Findings, path: str, listener: Listener, config: Config, here: Sequence[str]) -> None:
    """Check PROXY headers and routes of a listener; ``here`` are the sites served on it."""
    if isinstance(listener.address, UdpAddress):
        _check_datagrams(found, path, listener)
    elif listener.sessions is not None:
        hint = "write its address as `udp://...`, or leave `sessions` out"
        found.error(f"{path}.sessions", "conflict", "only a UDP listener has sessions", hint)
    if not listener.half_close and (not listener.routes or isinstance(listener.address, UdpAddress)):
        hint = "leave `half_close` out"
        found.error(f"{path}.half_close", "unused", "only TCP connections that are passed on by `routes` end in halves", hint)
    strict = listener.proxy_protocol_mode == "strict"
    if listener.proxy_protocol and strict and not config.trusted_proxies and not listener.proxy_protocol_from:
        found.error(
            f"{path}.proxy_protocol",
            "nobody-trusted",
            "a PROXY header is taken from trusted proxies only, and there are none",
            "name their networks in `trusted_proxies` or `proxy_protocol_from`",
        )
    if listener.proxy_protocol_from and not listener.proxy_protocol:
        found.error(f"{path}.proxy_protocol_from", "unused", "no PROXY header is expected here", "set `proxy_protocol`")
    if not strict and not listener.proxy_protocol:
        found.error(f"{path}.proxy_protocol_mode", "unused", "no PROXY header is expected here", "set `proxy_protocol`")
    for at, network in enumerate(listener.proxy_protocol_from):
        try:
            parse_network(network)
        except ValueError as bad:
            found.error(f"{path}.proxy_protocol_from[{at}]", "bad-network", str(bad))
    if not listener.routes or not listener.tls:
        for name in ("certificates", "alpn"):
            if getattr(listener, name):
                why = "sites bring their own" if not listener.routes else "TLS is passed on here, not ended"
                found.error(f"{path}.{name}", "conflict", why, "this goes with `tls` and `routes`")
    if not listener.routes:
        return
    if here:
        message = f"connections are passed on as they are, so the site `{here[0]}` is never reached"
        found.error(f"{path}.routes", "conflict", message, "serve it on a listener of its own, and name that in a route")
    if listener.tls:
        _check_tls(found, path, listener, config)
    _check_routes(found, path, listener, config)


def _check_tls(found: Findings, path: str, listener: Listener, config: Config) -> None:
    """Check what TLS needs that is ended here."""
    if not listener.certificates:
        hint = "name them in `certificates`, or leave `tls` out: TLS is passed on as it is then"
        found.error(f"{path}.tls", "no-certificate", "TLS ends here, and there is no certificate", hint)
    known = [each.name for each in config.certificates]
    for at, name in enumerate(listener.certificates):
        found.reference(f"{path}.certificates[{at}]", "certificate", name, known)
    for at, protocol in enumerate(listener.alpn):
        if not 1 <= len(protocol.encode()) <= _PROTOCOL_MOST or not protocol.isascii() or protocol in listener.alpn[:at]:
            found.error(f"{path}.alpn[{at}]", "bad-protocol", f"`{protocol}` is no further protocol", "ALPN names are like `h2` or `imap`")
    for at, route in enumerate(listener.routes):
        if any(isinstance(each, Var) and each.name == "first_bytes" for each in walk(route.when or EMPTY)):
            why = "TLS is ended here, and what comes inside is not waited for"
            found.error(f"{path}.routes[{at}].when", "conflict", why, "choose by `tls_sni` or `tls_alpn`")
        if route.listener:
            why = "TLS was ended already, and a listener takes connections over from their first byte"
            found.error(f"{path}.routes[{at}].listener", "conflict", why, "leave `tls` out, and end it in the other listener")


def _check_datagrams(found: Findings, path: str, listener: Listener) -> None:
    """Check what a listener of datagrams may not say, and what belongs together there."""
    if not listener.routes:
        hint = "name the servers in `routes`; HTTP/3 is not spoken"
        found.error(f"{path}.routes", "missing", "datagrams are only passed on, and there are no routes", hint)
    for name in ("tls", "proxy_protocol"):
        if getattr(listener, name):
            found.error(f"{path}.{name}", "conflict", "that is for connections, and this listener takes datagrams", f"leave `{name}` out")
    for at, route in enumerate(listener.routes):
        for name in ("names", "listener", "bandwidth"):
            if getattr(route, name):
                message = "that is for connections, and this listener takes datagrams"
                found.error(f"{path}.routes[{at}].{name}", "conflict", message, f"leave `{name}` out")
    sessions = listener.sessions or Sessions()
    found.at_least(f"{path}.sessions.idle_ms", sessions.idle_ms, 1)
    found.at_least(f"{path}.sessions.most", sessions.most, 1)
    if sessions.requests is not None:
        found.at_least(f"{path}.sessions.requests", sessions.requests, 1)
    if sessions.responses is not None:
        found.at_least(f"{path}.sessions.responses", sessions.responses, 0)


def _check_takers(found: Findings, path: str, upstream: Upstream) -> None:
    """Check that datagrams can be sent to the servers of an upstream."""
    for server in upstream.servers:
        text = server_text(server)
        if server.path:
            found.error(path, "conflict", f"`{text}` is a unix socket, and datagrams go to a port", "write `udp://host:port`")
        if server.tls:
            found.error(path, "conflict", f"`{text}` is asked by TLS, and datagrams are passed on as they are", "write `udp://host:port`")
        if server.proxy_protocol == "v1":
            message = f"`{text}` is told its clients by version 1 of the PROXY protocol, which knows no datagrams"
            found.error(path, "conflict", message, 'write `proxy_protocol = "v2"`')


def _check_routes(found: Findings, path: str, listener: Listener, config: Config) -> None:
    takes_datagrams = isinstance(listener.address, UdpAddress)
    phase = Phase.ACCEPT if takes_datagrams else Phase.TLS
    upstreams = [each.name for each in config.upstreams]
    others = [each.name for each in config.listeners if not each.routes]
    for at, route in enumerate(listener.routes):
        where = f"{path}.routes[{at}]"
        if route.upstream and route.listener:
            found.error(f"{where}.listener", "conflict", "an upstream takes the connection already", "keep one of the two")
        if route.upstream:
            found.reference(f"{where}.upstream", "upstream", route.upstream, upstreams)
            for upstream in config.upstreams if takes_datagrams else ():
                if upstream.name == route.upstream:
                    _check_takers(found, f"{where}.upstream", upstream)
        if route.listener and not takes_datagrams:
            found.reference(f"{where}.listener", "listener without routes", route.listener, others)
        for number, name in enumerate(route.names):
            try:
                parse_host(name)
            except ValueError as bad:
                found.error(f"{where}.names[{number}]", "bad-host", str(bad))
        if route.when is not None:
            check_test(found, f"{where}.when", route.when, phase)
        for number, limit in enumerate(route.bandwidth):
            check_bandwidth(found, f"{where}.bandwidth[{number}]", limit, Phase.TLS)
        for number, most in enumerate(route.concurrency):
            check_limit(found, f"{where}.concurrency[{number}]", most, phase)
        if route.concurrency and route.listener:
            message = "a connection that another listener takes over is not counted here"
            found.error(f"{where}.concurrency", "conflict", message, "limit it in the listener that takes it over")
        if route.answer is not None:
            check_text(found, f"{where}.answer", route.answer, phase, is_field=False)
            if route.upstream or route.listener:
                found.error(f"{where}.answer", "conflict", "the connection is passed on already", "keep one of the two")
        if route.bandwidth and not route.upstream and not takes_datagrams:
            message = "only what goes to an upstream is limited here"
            found.error(f"{where}.bandwidth", "conflict", message, "limit it in the listener that takes the connection over")
        if not route.names and route.when is None and at + 1 < len(listener.routes):
            found.warning(f"{path}.routes[{at + 1}]", "unreachable", "the route before takes every connection")
            return
