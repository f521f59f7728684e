"""Upstreams of the model to sources with their pools.

Rules: pools and standings are state. A pool is found again by what identifies it: the server, its TLS and the settings of its
connections. A standing is found by upstream and server.

Not here: which route asks which upstream (`compile.py`).
"""

import hashlib
import ssl
from dataclasses import replace
from typing import Final

from vestibule.compile_expr import ExprMaker, Mistakes
from vestibule.compile_state import KinState, PoolState, Registry, Root, TurnState
from vestibule.compile_tls import reason
from vestibule.contract import Source, Step
from vestibule.counts import ServerCounts
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_NO_ROUTE
from vestibule.http.h1 import HeadLimits
from vestibule.http.proxy_protocol import V1, V2
from vestibule.link.messages import SERVER_PREFIX, Assets, KeyPair
from vestibule.model import config as model
from vestibule.model.expr import Expr
from vestibule.model.upstream import server_text
from vestibule.net.reactor import Reactor
from vestibule.net.tls import client_context
from vestibule.plan.expr import Node
from vestibule.plan.sources.closed import Closed
from vestibule.plan.variables import Place
from vestibule.proxy.anywhere import Anywhere
from vestibule.proxy.balance import Balancer, First, Hash, KeyText, LeastConnections, PeakEwma, RandomTwo, Server, SourceKey, TableHash
from vestibule.proxy.family import Family, Kin, PoolMaker
from vestibule.proxy.keyed import PRIVATE, PROVEN, SAFE, SHARED, Announced, Keying, RequestText
from vestibule.proxy.pool import Pool, PoolLimits, Target
from vestibule.proxy.rules import ON_CONNECT, ON_INVALID, ON_LOST, ON_TIMEOUT, Rules
from vestibule.proxy.sticky import OWN, PREFIX, REWRITE, Marks, SetMark, Where
from vestibule.proxy.upstream import Upstream

# What goes to servers: requests, the bytes of connections, or datagrams.
HTTP: Final = "http"
TCP: Final = "tcp"
UDP: Final = "udp"

_ANNOUNCE: Final = {"": 0, "v1": V1, "v2": V2}
_REUSE: Final = {"shared": SHARED, "proven": PROVEN, "safe": SAFE, "private": PRIVATE}
_CAUSES: Final = {"connect": ON_CONNECT, "lost": ON_LOST, "timeout": ON_TIMEOUT, "invalid": ON_INVALID}
_SECURE: Final = {"auto": -1, "always": 1, "never": 0}
_HOW: Final = {"own": OWN, "rewrite": REWRITE, "prefix": PREFIX}
_SAME_SITE: Final = {"lax": "Lax", "strict": "Strict", "none": "None"}


class _NodeKey(KeyText):
    """A text that an expression makes: the key of a hash, or an address."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def text(self, ex: Exchange) -> bytes:
        return self._node.text(ex)


class _NodeText(RequestText):
    """A text that an expression makes of a request."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def text(self, ex: Exchange) -> bytes:
        return self._node.text(ex)


class _Maker(PoolMaker):
    """Makes pools that differ in their address alone."""

    def __init__(
        self,
        registry: Registry,
        reactor: Reactor,
        context: ssl.SSLContext | None,
        tls_name: str,
        limits: PoolLimits,
        head_bytes: int,
        keyed: Keying | None,
        carries: str,
        bare_lf: bool,
        h2: bool,
        narrow: ssl.SSLContext | None,
        local: str,
    ) -> None:
        self._registry = registry
        self._reactor = reactor
        self._context = context
        self._tls_name = tls_name
        self._limits = limits
        self._head_bytes = head_bytes
        self._keyed = keyed
        self._carries = carries
        self._bare_lf = bare_lf
        self._h2 = h2
        self._narrow = narrow
        self._local = local

    def make(self, host: str, port: int) -> Pool:
        return self.at(host, port, "")

    def at(self, host: str, port: int, path: str) -> Pool:
        """Return a pool of a host or of a socket."""
        is_raw, are_datagrams = self._carries == TCP, self._carries == UDP
        tls, narrow = self._context, self._narrow
        tls_name = self._tls_name or host
        target = Target(host, port, path, tls, tls_name, self._keyed, is_raw, self._h2, are_datagrams, narrow)
        target.local = self._local
        heads = HeadLimits(self._head_bytes, 8_192, 200, self._bare_lf)
        return Pool(self._reactor, target, self._registry.book, self._limits, heads, self._registry.responses)


class UpstreamMaker:
    """Makes the sources that answer from upstream servers."""

    def __init__(
        self,
        mistakes: Mistakes,
        config: model.Config,
        assets: Assets,
        registry: Registry,
        reactor: Reactor,
        root: Root,
        exprs: ExprMaker,
    ) -> None:
        self._mistakes = mistakes
        self._config = config
        self._assets = assets
        self._registry = registry
        self._reactor = reactor
        self._root = root
        self._exprs = exprs
        self._sources: dict[tuple[str, int, str, bool], Source] = {}
        self._numbers = {each.name: at for at, each in enumerate(config.upstreams)}
        self._twins: dict[str, dict[int, str]] = {}

    def source(self, key: str, name: str, head_bytes: int, carries: str = HTTP, own_host: bool = False) -> Source:
        """Make the source of an upstream, or find the one made before. `carries` says what goes to its servers; with `own_host`
        they are asked by their own addresses."""
        addresses = own_host and len(self._hosts(name)) > 1
        made = self._sources.get((name, head_bytes, carries, addresses))
        if made is not None:
            return made
        upstream = self._find(name)
        if upstream is None:
            self._mistakes.add(f"{key}.upstream", f"there is no upstream `{name}`")
            return Closed(PROXY_NO_ROUTE)
        place = f"upstreams[{self._numbers[name]}]"
        if upstream.address is not None:
            anywhere = self._anywhere(place, upstream, upstream.address, head_bytes, carries)
            self._sources[(name, head_bytes, carries, addresses)] = anywhere
            return anywhere
        if not upstream.servers:
            self._mistakes.add(f"{place}.servers", "an upstream needs a server")
            return Closed(PROXY_NO_ROUTE)
        servers: list[Server] = []
        families: list[Family] = []
        for each in upstream.servers:
            if each.resolve == "one":
                standing = self._registry.board.find(upstream.server_key(each))
                self._root.take_standing(standing, *_own_fails(each))
                pool = self._pool(place, upstream, each, head_bytes, carries)
                server = Server(pool, each.weight, each.backup, standing, each.priority, each.disabled)
                server.mark = each.mark.encode()
                server.host = _server_host(each).encode()
                server.counts = self._counts(upstream, each)
                servers.append(server)
            else:
                families.append(self._family(place, upstream, each, head_bytes, carries))
        if len(servers) > 1:
            self._pass_on_turns(f"turn {name} {head_bytes} {carries} {addresses}", servers)
        source = Upstream(
            name,
            servers,
            upstream.retry.attempts,
            self._balancer(f"{place}.balance", upstream),
            _rules(upstream),
            self._registry.board,
            self._new_marks(upstream),
            upstream.balance.slow_start_ms,
            families,
            self._reactor,
            addresses,
            upstream.balance.overflow,
        )
        self._sources[(name, head_bytes, carries, addresses)] = source
        self._root.upstreams.append(name)
        self._root.take_source(source)
        return source

    def counted(self, key: str, name: str, head_bytes: int) -> Source:
        """Return the source whose servers are counted: one that is used, or else one made for it."""
        for (made, _, _, _), source in self._sources.items():
            if made == name:
                return source
        return self.source(key, name, head_bytes)

    def _pass_on_turns(self, name: str, servers: list[Server]) -> None:
        """Have servers share requests from where those of the last generation are."""
        known = self._registry.find(name)
        self._root.named.add(name)
        if isinstance(known, TurnState):
            known.pass_on(servers)
        else:
            self._registry.put(name, TurnState(servers))
            self._root.made.append(name)

    def _anywhere(self, key: str, upstream: model.Upstream, address: Expr, head_bytes: int, carries: str) -> Anywhere:
        """Make the source of an upstream whose server each request names."""
        port = 443 if upstream.address_tls else 80
        # What the places have in common; each has its own host.
        common = model.Server(port=port, tls=upstream.address_tls)
        kin = self._kin(key, upstream, common, head_bytes, carries)
        self._root.upstreams.append(upstream.name)
        where = _NodeKey(self._exprs.text(f"{key}.address", address, Place(b"", b"", upstream.name.encode())))
        return Anywhere(upstream.name, where, port, upstream.retry.attempts, _rules(upstream), kin, self._reactor, self._registry.lookups)

    def _counts(self, upstream: model.Upstream, server: model.Server) -> ServerCounts | None:
        """Find or make the counts of a server; None where nobody wants to know."""
        return self._registry.counts.server(upstream.name, server_text(server)) if self._root.counts else None

    def mark(self, name: str) -> Step | None:
        """Return the response step that gives clients of an upstream their mark, if it has one."""
        upstream = self._find(name)
        if upstream is None or upstream.sticky is None or not upstream.sticky.give:
            return None
        sticky = upstream.sticky
        attributes = f"; Path={sticky.path}" if sticky.path else ""
        if sticky.domain:
            attributes += f"; Domain={sticky.domain}"
        if sticky.max_age_s:
            attributes += f"; Max-Age={sticky.max_age_s}"
        if sticky.http_only:
            attributes += "; HttpOnly"
        if sticky.same_site:
            attributes += f"; SameSite={_SAME_SITE[sticky.same_site]}"
        attributes += "".join([f"; {each}" for each in sticky.attributes])
        return SetMark(_where(sticky), attributes.encode(), _SECURE[sticky.secure], sticky.private, sticky.yields, sticky.posts)

    def _find(self, name: str) -> model.Upstream | None:
        at = self._numbers.get(name, -1)
        return None if at < 0 else self._config.upstreams[at]

    def _new_marks(self, upstream: model.Upstream) -> Marks | None:
        """Make the marks of an upstream."""
        sticky = upstream.sticky
        if sticky is None:
            return None
        key = bytes.fromhex(self._assets.mark_key)
        return Marks(key, upstream.name, _where(sticky), sticky.give and sticky.signed, sticky.strict)

    def _balancer(self, key: str, upstream: model.Upstream) -> Balancer:
        """Make the way of choosing."""
        balance = upstream.balance
        method = balance.method
        if method == "least_connections":
            return LeastConnections()
        if method == "peak_ewma":
            return PeakEwma()
        if method == "random_two":
            return RandomTwo()
        if method == "first":
            return First()
        if method == "source":
            return Hash(SourceKey(balance.ipv4_bits, balance.ipv6_bits), balance.bound)
        if method == "hash":
            if balance.key is None:
                self._mistakes.add(f"{key}.key", "`hash` needs a key")
                return Balancer()
            place = Place(b"", b"", upstream.name.encode())
            text = _NodeKey(self._exprs.text(f"{key}.key", balance.key, place))
            return TableHash(text, balance.table) if balance.table else Hash(text, balance.bound)
        return Balancer()

    def _maker(self, key: str, upstream: model.Upstream, server: model.Server, head_bytes: int, carries: str) -> _Maker:
        """Make what makes pools of a server."""
        raw = carries != HTTP
        settings = upstream.pool
        most = server.max_connections if server.max_connections is not None else settings.max_connections
        limits = PoolLimits(settings.idle_ms, settings.max_idle, -1 if most is None else most, settings.max_waiting, settings.wait_ms)
        pair = self._assets.client_certificates.get(_pair_name(upstream, server))
        ca = self._ca(upstream)
        h2 = settings.protocol == "h2" and not raw
        context: ssl.SSLContext | None = None
        narrow: ssl.SSLContext | None = None
        tls_name = ""
        if server.tls:
            tls = upstream.tls if server.tls_verify else replace(upstream.tls, verify=False)
            if server.tls_cert:
                tls = replace(tls, cert=server.tls_cert)
            if server.tls_ciphers:
                tls = replace(tls, ciphers=server.tls_ciphers)
            tls_name = server.tls_name or upstream.tls.name or server.host or ("localhost" if server.path else "")
            may_choose = settings.protocol == "auto" and not raw
            offers: tuple[str, ...] = () if raw else ("h2",) if h2 else ("h2", "http/1.1") if may_choose else ("http/1.1",)
            lists = self._lists(upstream)
            context = self._context(key, tls, pair, ca, lists, offers)
            if may_choose:
                narrow = self._context(key, tls, pair, ca, lists, ("http/1.1",))
        keyed = self._keyed(key, upstream, server)
        bare_lf, local = settings.bare_lf, settings.local_address
        return _Maker(self._registry, self._reactor, context, tls_name, limits, head_bytes, keyed, carries, bare_lf, h2, narrow, local)

    def _keyed(self, key: str, upstream: model.Upstream, server: model.Server) -> Keying | None:
        """Make what says which requests may share a connection; None where all may."""
        announce = _ANNOUNCE[server.proxy_protocol]
        reuse = _REUSE[upstream.pool.reuse]
        name = self._text(f"{key}.tls.name_from", upstream, upstream.tls.name_from) if server.tls and not server.tls_name else None
        if not announce and reuse == SHARED and name is None:
            return None
        announced: Announced | None = None
        pool = upstream.pool
        if announce == V2 and (pool.announced or pool.announced_id is not None):
            identity = self._text(f"{key}.pool.announced_id", upstream, pool.announced_id)
            announced = Announced(identity, [str(each) for each in pool.announced])
        return Keying(announce, announced, name, reuse)

    def _text(self, key: str, upstream: model.Upstream, expr: Expr | None) -> RequestText | None:
        if expr is None:
            return None
        return _NodeText(self._exprs.text(key, expr, Place(b"", b"", upstream.name.encode())))

    def _twin(self, upstream: model.Upstream, server: model.Server) -> str:
        """Tell a server from those before it at the same address: each keeps connections of its own."""
        known = self._twins.get(upstream.name)
        if known is None:
            known = {}
            counts: dict[str, int] = {}
            for each in upstream.servers:
                text = server_text(each)
                count = counts.get(text, 0)
                counts[text] = count + 1
                known.setdefault(id(each), f" again {count}" if count else "")
            self._twins[upstream.name] = known
        return known.get(id(server), "")

    def _ca(self, upstream: model.Upstream) -> str:
        return self._assets.authorities.get(upstream.tls.ca, "") if upstream.tls.ca else ""

    def _lists(self, upstream: model.Upstream) -> str:
        return self._assets.revocations.get(upstream.tls.crl, "") if upstream.tls.crl else ""

    def _state_name(self, kind: str, upstream: model.Upstream, server: model.Server, head_bytes: int, carries: str) -> str:
        """Name the connections to a server by everything that identifies them."""
        pair = self._assets.client_certificates.get(_pair_name(upstream, server))
        secrets = ""
        if server.tls:
            # What the files hold, and not only their names: a reload is how they are read anew.
            held = [self._ca(upstream), self._lists(upstream), pair.chain_pem if pair else "", pair.key_pem if pair else ""]
            secrets = _digest(f"{upstream.tls!r} {server.tls_name} {server.tls_verify} {server.tls_ciphers} {held!r}")
        where = f"{server.host} {server.port} {server.path} {server.resolve}{self._twin(upstream, server)}"
        limits = f"{upstream.pool!r} {server.max_connections} {head_bytes}"
        name = f"{kind} {upstream.name} {where} {secrets} {limits} {server.proxy_protocol} {carries}"
        self._root.named.add(name)
        return name

    def _pool(self, key: str, upstream: model.Upstream, server: model.Server, head_bytes: int, carries: str) -> Pool:
        """Find or make the connections to one server."""
        name = self._state_name("pool", upstream, server, head_bytes, carries)
        state = self._registry.find(name)
        if isinstance(state, PoolState):
            return state.pool
        pool = self._maker(key, upstream, server, head_bytes, carries).at(server.host, server.port, server.path)
        self._registry.put(name, PoolState(pool))
        self._root.made.append(name)
        return pool

    def _kin(self, key: str, upstream: model.Upstream, server: model.Server, head_bytes: int, carries: str) -> Kin:
        """Find or make the connections to servers that differ in their addresses alone."""
        name = self._state_name("kin", upstream, server, head_bytes, carries)
        state = self._registry.find(name)
        if isinstance(state, KinState):
            return state.kin
        kin = Kin(self._maker(key, upstream, server, head_bytes, carries), self._registry.book)
        self._registry.put(name, KinState(kin))
        self._root.made.append(name)
        return kin

    def _family(self, key: str, upstream: model.Upstream, server: model.Server, head_bytes: int, carries: str) -> Family:
        """Find or make the connections to the servers that a name stands for."""
        kin = self._kin(key, upstream, server, head_bytes, carries)
        is_srv = server.resolve == "srv"
        board = self._registry.board
        family = Family(
            kin, board, upstream.name, server.host, server.port, is_srv, server.weight, server.backup, server.priority, server.disabled
        )
        family.max_fails, family.fail_window_ms = _own_fails(server)
        family.counts = self._counts(upstream, server)
        return family

    def _context(
        self, key: str, tls: model.UpstreamTls, pair: KeyPair | None, ca: str, lists: str, offers: tuple[str, ...]
    ) -> ssl.SSLContext | None:
        """Make the TLS context of connections to a server."""
        if tls.ca and not ca:
            self._mistakes.add(f"{key}.tls.ca", f"`{tls.ca}` was not read")
        if tls.cert and pair is None:
            self._mistakes.add(f"{key}.tls.cert", f"`{tls.cert}` was not read")
        if tls.crl and not lists:
            self._mistakes.add(f"{key}.tls.crl", f"`{tls.crl}` was not read")
        chain = b"" if pair is None else pair.chain_pem.encode()
        private = b"" if pair is None else pair.key_pem.encode()
        try:
            limits = (tls.minimum, tls.maximum, ":".join(tls.ciphers), ":".join(tls.suites), ":".join(tls.groups))
            depth = -1 if tls.depth is None else tls.depth
            return client_context(tls.verify, ca.encode(), chain, private, True, lists.encode(), offers, *limits, depth)
        except (OSError, ValueError) as bad:
            self._mistakes.add(f"{key}.tls", reason(bad))
            return None

    def host(self, key: str, name: str) -> bytes:
        """Return the Host that the servers of an upstream are addressed by; where it differs, that of one, until one is chosen."""
        hosts = self._hosts(name)
        upstream = self._find(name)
        if upstream is not None and upstream.address is not None:
            self._mistakes.add(key, f"which server `{name}` asks is not known beforehand; write the Host that it expects")
        if len(hosts) > 1 and upstream is not None and any(server.resolve != "one" for server in upstream.servers):
            self._mistakes.add(key, f"the servers of `{name}` have different addresses; write the Host that they expect")
        return min(hosts).encode() if hosts else b""

    def _hosts(self, name: str) -> set[str]:
        """Return the Hosts of the servers of an upstream."""
        upstream = self._find(name)
        return set() if upstream is None else {_server_host(server) for server in upstream.servers}


def _where(sticky: model.Sticky) -> Where:
    """Return where requests carry the marks of an upstream."""
    return Where(
        sticky.cookie.encode(),
        sticky.header.encode(),
        sticky.parameter.encode(),
        sticky.separator.encode(),
        _HOW[sticky.how],
        sticky.hidden,
    )


def _pair_name(upstream: model.Upstream, server: model.Server) -> str:
    """Return the name among the assets of what is shown to a server."""
    return SERVER_PREFIX + server.tls_cert if server.tls_cert else upstream.name


def _rules(upstream: model.Upstream) -> Rules:
    """Make the rules of an upstream."""
    rules = Rules()
    rules.on = 0
    for cause in upstream.retry.on:
        rules.on |= _CAUSES[cause]
    rules.retry_statuses = frozenset(upstream.retry.statuses)
    rules.budget = upstream.retry.budget
    rules.within_ms = upstream.retry.within_ms
    rules.unreachable_status = upstream.unreachable_status
    passive = upstream.passive
    rules.max_fails = passive.max_fails
    rules.window_ms = passive.window_ms
    rules.fail_statuses = frozenset(passive.statuses)
    rules.latency_ms = passive.latency_ms
    outliers = upstream.outliers
    if outliers is not None:
        rules.ejects = True
        rules.consecutive = outliers.consecutive
        rules.percent = outliers.percent
        rules.requests = outliers.requests
        rules.outlier_window_ms = outliers.window_ms
        rules.eject_ms = outliers.eject_ms
        rules.max_percent = outliers.max_percent
    rules.learns = upstream.balance.method == "peak_ewma"
    return rules


def _own_fails(server: model.Server) -> tuple[int, int]:
    """Return what leaves a server out where it has its own figures; -1 is as the others'."""
    return _or_others(server.max_fails), _or_others(server.fail_window_ms)


def _or_others(figure: int | None) -> int:
    return -1 if figure is None else figure


def _server_host(server: model.Server) -> str:
    """Return the Host of a server: its port is left out where it is the scheme's own (RFC 9110 4.2)."""
    if server.path:
        return "localhost"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return host if server.port == (443 if server.tls else 80) else server_text(server)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
