"""What is wrong with how a listener takes connections in, and where it passes them on.

Not here: what belongs to HTTP (``check``, ``check_route``).
"""

from __future__ import annotations

from collections.abc import Sequence

from vestibule.model.check_route import check_bandwidth, check_test
from vestibule.model.config import Config, Listener
from vestibule.model.expr import Phase
from vestibule.model.findings import Findings
from vestibule.model.quantity import parse_host, parse_network

_PROTOCOL_MOST = 255
"""Bytes of a protocol's name (RFC 7301 section 3.1)."""


def check_layer4(found: Findings, path: str, listener: Listener, config: Config, here: Sequence[str]) -> None:
    """Check PROXY headers and routes of a listener; ``here`` are the sites served on it."""
    if listener.proxy_protocol and not config.trusted_proxies and not listener.proxy_protocol_from:
        found.error(
            f"{path}.proxy_protocol",
            "nobody-trusted",
            "a PROXY header is taken from trusted proxies only, and there are none",
            "name their networks in `trusted_proxies` or `proxy_protocol_from`",
        )
    if listener.proxy_protocol_from and not listener.proxy_protocol:
        found.error(f"{path}.proxy_protocol_from", "unused", "no PROXY header is expected here", "set `proxy_protocol`")
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
        if route.listener:
            why = "TLS was ended already, and a listener takes connections over from their first byte"
            found.error(f"{path}.routes[{at}].listener", "conflict", why, "leave `tls` out, and end it in the other listener")


def _check_routes(found: Findings, path: str, listener: Listener, config: Config) -> None:
    upstreams = [each.name for each in config.upstreams]
    others = [each.name for each in config.listeners if not each.routes]
    for at, route in enumerate(listener.routes):
        where = f"{path}.routes[{at}]"
        if route.upstream and route.listener:
            found.error(f"{where}.listener", "conflict", "an upstream takes the connection already", "keep one of the two")
        if route.upstream:
            found.reference(f"{where}.upstream", "upstream", route.upstream, upstreams)
        if route.listener:
            found.reference(f"{where}.listener", "listener without routes", route.listener, others)
        for number, name in enumerate(route.names):
            try:
                parse_host(name)
            except ValueError as bad:
                found.error(f"{where}.names[{number}]", "bad-host", str(bad))
        if route.when is not None:
            check_test(found, f"{where}.when", route.when, Phase.TLS)
        for number, limit in enumerate(route.bandwidth):
            check_bandwidth(found, f"{where}.bandwidth[{number}]", limit, Phase.TLS)
        if route.bandwidth and not route.upstream:
            message = "only what goes to an upstream is limited here"
            found.error(f"{where}.bandwidth", "conflict", message, "limit it in the listener that takes the connection over")
        if not route.names and route.when is None and at + 1 < len(listener.routes):
            found.warning(f"{path}.routes[{at + 1}]", "unreachable", "the route before takes every connection")
            return
