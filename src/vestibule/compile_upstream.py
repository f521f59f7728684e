"""Upstreams of the model to sources with their pools.

Rules: a pool is state. It is found again by what identifies it: the server, its TLS and the settings of its connections.

Not here: which route asks which upstream (`compile.py`).
"""

import hashlib
import ssl
from typing import Final

from vestibule.compile_expr import Mistakes
from vestibule.compile_state import PoolState, Registry, Root
from vestibule.compile_tls import reason
from vestibule.exchange import Source
from vestibule.fault import PROXY_NO_ROUTE
from vestibule.http.h1 import HeadLimits
from vestibule.http.proxy_protocol import V1, V2
from vestibule.link.messages import Assets, KeyPair
from vestibule.model import config as model
from vestibule.net.reactor import Reactor
from vestibule.net.tls import client_context
from vestibule.plan.sources.closed import Closed
from vestibule.proxy.pool import Pool, PoolLimits, Target
from vestibule.proxy.upstream import Server, Upstream

_ANNOUNCE: Final = {"": 0, "v1": V1, "v2": V2}


class UpstreamMaker:
    """Makes the sources that answer from upstream servers."""

    def __init__(self, mistakes: Mistakes, config: model.Config, assets: Assets, registry: Registry, reactor: Reactor, root: Root) -> None:
        self._mistakes = mistakes
        self._config = config
        self._assets = assets
        self._registry = registry
        self._reactor = reactor
        self._root = root
        self._sources: dict[tuple[str, int, bool], Source] = {}

    def source(self, key: str, name: str, head_bytes: int, raw: bool = False) -> Source:
        """Make the source of an upstream, or find the one made before. `raw` connections carry bytes, not HTTP."""
        made = self._sources.get((name, head_bytes, raw))
        if made is not None:
            return made
        found = [each for each in self._config.upstreams if each.name == name]
        if not found:
            self._mistakes.add(f"{key}.upstream", f"there is no upstream `{name}`")
            return Closed(PROXY_NO_ROUTE)
        upstream = found[0]
        place = f"upstreams[{self._config.upstreams.index(upstream)}]"
        servers = [Server(self._pool(place, upstream, each, head_bytes, raw), each.weight, each.backup) for each in upstream.servers]
        if not servers:
            self._mistakes.add(f"{place}.servers", "an upstream needs a server")
            return Closed(PROXY_NO_ROUTE)
        source = Upstream(name, servers, upstream.retry.attempts)
        self._sources[(name, head_bytes, raw)] = source
        return source

    def _pool(self, key: str, upstream: model.Upstream, server: model.Server, head_bytes: int, raw: bool) -> Pool:
        """Find or make the connections to one server."""
        tls = upstream.tls
        settings = upstream.pool
        pair = self._assets.client_certificates.get(upstream.name)
        ca = self._assets.authorities.get(tls.ca, "") if tls.ca else ""
        secrets = "" if not server.tls else _digest(repr(tls) + ca + (pair.chain_pem + pair.key_pem if pair else ""))
        name = f"pool {server.host} {server.port} {server.path} {secrets} {settings!r} {head_bytes} {server.proxy_protocol} {raw}"
        state = self._registry.find(name)
        self._root.named.add(name)
        if isinstance(state, PoolState):
            return state.pool
        most = -1 if settings.max_connections is None else settings.max_connections
        limits = PoolLimits(settings.idle_ms, settings.max_idle, most, settings.max_waiting, settings.wait_ms)
        context = self._context(key, tls, pair, ca) if server.tls else None
        tls_name = (tls.name or server.host or "localhost") if server.tls else ""
        announce = _ANNOUNCE[server.proxy_protocol]
        target = Target(server.host, server.port, server.path, context, tls_name, announce, raw)
        pool = Pool(self._reactor, target, self._registry.book, limits, HeadLimits(head_bytes, 8_192, 200), self._registry.responses)
        self._registry.put(name, PoolState(pool))
        self._root.made.append(name)
        return pool

    def _context(self, key: str, tls: model.UpstreamTls, pair: KeyPair | None, ca: str) -> ssl.SSLContext | None:
        """Make the TLS context of connections to a server."""
        if tls.ca and not ca:
            self._mistakes.add(f"{key}.tls.ca", f"`{tls.ca}` was not read")
        if tls.cert and pair is None:
            self._mistakes.add(f"{key}.tls.cert", f"`{tls.cert}` was not read")
        chain = b"" if pair is None else pair.chain_pem.encode()
        private = b"" if pair is None else pair.key_pem.encode()
        try:
            return client_context(tls.verify, ca.encode(), chain, private)
        except (OSError, ValueError) as bad:
            self._mistakes.add(f"{key}.tls", reason(bad))
            return None

    def host(self, key: str, name: str) -> bytes:
        """Return the Host that the servers of an upstream are addressed by."""
        hosts = {_server_host(server) for each in self._config.upstreams if each.name == name for server in each.servers}
        if len(hosts) > 1:
            self._mistakes.add(key, f"the servers of `{name}` have different addresses; write the Host that they expect")
        return min(hosts).encode() if hosts else b""


def _server_host(server: model.Server) -> str:
    """Return the Host of a server: its port is left out where it is the scheme's own (RFC 9110 4.2)."""
    if server.path:
        return "localhost"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return host if server.port == (443 if server.tls else 80) else f"{host}:{server.port}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
