"""Upstreams: servers that answer the same requests, and how they are spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vestibule.model.balance import Agent, Balance, EventLog, HealthCheck, Outliers, Passive, Sticky
from vestibule.model.expr import Expr

RetryCause: TypeAlias = Literal["connect", "lost", "timeout", "invalid"]


@dataclass(frozen=True, slots=True)
class Server:
    """One address of an upstream: a host with a port, or a unix socket."""

    host: str = ""
    """A name (looked up again and again while the program runs) or an address."""
    port: int = 0
    """The port."""
    path: str = ""
    """A unix socket, instead of host and port."""
    tls: bool = False
    """Whether to speak TLS to it."""
    weight: int = 1
    """Its share of the requests, relative to the others'."""
    backup: bool = False
    """Used only while no other server is."""
    proxy_protocol: Literal["", "v1", "v2"] = ""
    """Begin each connection with a PROXY protocol header of this version, which tells the server who the client is; empty sends
    none."""
    disabled: bool = False
    """Whether it gets no requests until ``vestibule upstream enable`` says so."""
    priority: int = 0
    """Servers of the lowest number that are well share the requests; the next number serves while none of them is."""
    max_connections: int | None = None
    """Connections to this server at a time, instead of the pool's ``max_connections``."""
    resolve: Literal["one", "all", "srv"] = "one"
    """What a name stands for. ``one``: one server, whose addresses are tried in turn. ``all``: a server for each of its
    addresses. ``srv``: the servers that its SRV records name, with their ports, weights and priorities."""
    mark: str = ""
    """What marks clients that stay with this server, as it stands in the cookie, the header or the parameter of ``sticky``; empty
    has a signed mark."""
    max_fails: int | None = None
    """Failures after which this server is left out, instead of the ``max_fails`` of ``passive``."""
    fail_window_ms: int | None = None
    """The time in which they are counted and for which it is left out, instead of the ``window`` of ``passive``."""
    check: bool = True
    """Whether this server is asked how it is, where the upstream says how; it counts as well otherwise."""
    check_host: str = ""
    """Another address to ask."""
    check_port: int = 0
    """Another port to ask, instead of that of ``health``."""
    agent: bool = True
    """Whether the agent beside this server is asked, where the upstream says how."""
    agent_host: str = ""
    """Another address of it."""
    agent_port: int = 0
    """Another port of it."""
    tls_name: str = ""
    """The name to send (SNI) and to verify, instead of the ``name`` of ``tls``."""
    tls_verify: bool = True
    """Whether its certificate must be valid for its name, where ``tls`` says that those of servers must."""
    tls_cert: str = ""
    """The client certificate to show to it, PEM with its key, instead of the ``cert`` of ``tls``."""
    tls_ciphers: tuple[str, ...] = ()
    """The ciphers of TLS 1.2 to offer to it, instead of the ``ciphers`` of ``tls``."""


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How TLS is spoken with an upstream."""

    verify: bool = True
    """Whether the server's certificate must be valid for its name."""
    name: str = ""
    """The name to send (SNI) and to verify; empty is the server's host."""
    ca: str = ""
    """A PEM file of the authorities to trust; empty is the system's."""
    crl: str = ""
    """A PEM file of revocation lists; with it every authority on the way to a trusted one needs one that is in force."""
    cert: str = ""
    """A client certificate to show, PEM."""
    key: str = ""
    """Its key; empty when it is in ``cert``."""
    password_file: str = ""
    """A file of which one line opens an encrypted key."""
    minimum: Literal["1.2", "1.3"] = "1.2"
    """The oldest version to speak."""
    maximum: Literal["1.2", "1.3"] = "1.3"
    """The newest version to offer."""
    ciphers: tuple[str, ...] = ()
    """OpenSSL names of ciphers to offer for TLS 1.2; empty offers the library's."""
    suites: tuple[str, ...] = ()
    """OpenSSL names of suites to offer for TLS 1.3; empty offers all three that the library has. Checks offer all."""
    groups: tuple[str, ...] = ()
    """OpenSSL names of key exchange groups to offer; empty offers the library's, as checks do."""
    name_from: Expr | None = None
    """What makes the name of each request, instead of ``name``, which stands in where this is no host name. A connection serves requests
    for its own name alone. A server's ``tls_name`` comes before it; servers that speak HTTP/2 have one name."""
    depth: int | None = None
    """How many authorities may stand between the server's certificate and a trusted one; unset leaves that open. Checks do not look
    at it."""


Announced = Literal["tls", "tls_name", "tls_cipher", "server_name", "alpn", "checksum"]


@dataclass(frozen=True, slots=True)
class Pool:
    """Connections kept to an upstream, counted in each worker."""

    idle_ms: int = 4_000
    """How long an idle connection is kept. Node closes at 5 s, and the first to close must be us."""
    max_idle: int = 64
    """Idle connections kept for each server; 0 closes each after its exchange."""
    max_connections: int | None = None
    """Connections to each server at a time; more requests wait."""
    max_waiting: int = 1_024
    """Requests that may wait for a connection; further ones are answered 503."""
    wait_ms: int = 30_000
    """How long a request may wait for a connection (503)."""
    protocol: Literal["http/1.1", "h2", "auto"] = "http/1.1"
    """What its servers speak. ``h2`` is HTTP/2, which gRPC needs: by ALPN over TLS, by prior knowledge (h2c) otherwise. Requests share
    connections there, ``max_connections`` counts requests, and WebSockets are streams, for servers that take them (RFC 8441).
    ``auto`` offers both to servers with TLS, and each chooses (ALPN) whenever a connection is made; WebSockets have HTTP/1.1 then, and
    servers without TLS, too. Checks speak HTTP/1.1."""
    bare_lf: bool = False
    """Whether a line of an answer's head may end with LF alone, as scripts write it; otherwise that is an error (502)."""
    local_address: str = ""
    """The address of this machine that connections are made from; only addresses of its family are connected to. Empty leaves it to
    the system, as checks do in any case."""
    reuse: Literal["shared", "proven", "safe", "private"] = "shared"
    """Which kept connections a request over HTTP/1.1 may have. ``shared``: any. ``safe``: any, but for the first request of a client, which
    has one of its own, since it could not be sent again unseen. ``proven``: as ``safe``, and a first request may have one that served two
    before. ``private``: one that served the same client alone, for servers that know by the connection who has logged in."""
    announced: tuple[Announced, ...] = ()
    """What PROXY headers of version 2 tell beside addresses, where ``proxy_protocol`` has such begin connections: ``tls``, whether the
    client speaks TLS, its version, whether a certificate was shown and what came of verifying it; with ``tls_name`` the common name in
    it and with ``tls_cipher`` the cipher suite besides; ``server_name``, the name that the client asked for in TLS; ``alpn``, the protocol
    agreed on there; ``checksum``, a CRC32C of the header."""
    announced_id: Expr | None = None
    """What identifies a request in PROXY headers of version 2, where ``proxy_protocol`` has such begin connections. Each text has a
    connection of its own."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When a request is tried again. A request that may have had an effect is never sent twice."""

    attempts: int = 3
    """Tries in all, the first included. Meeting a kept connection that the server had closed is none, the first time."""
    on: tuple[RetryCause, ...] = ("connect", "lost")
    """What is tried again. ``connect``: no connection could be made, so any request. The others are for requests that may be
    repeated (GET, HEAD, OPTIONS, PUT, DELETE) and whose body was not sent yet: ``lost``, the connection broke before the answer;
    ``timeout``, no answer in time; ``invalid``, an answer that is no HTTP."""
    statuses: tuple[int, ...] = ()
    """Answers after which another server is asked, if the request may be repeated."""
    budget: int = 20
    """How many requests may be tried again for each 100 requests, beyond a few a second. Connections that could not be made
    do not count: nobody had any work from them. Nor does the first move from a server that is left out to one that is well."""
    within_ms: int = 0
    """The time since the request came after which nothing is tried again; 0 is any."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Servers that answer the same requests."""

    name: str
    """How routes refer to it."""
    servers: tuple[Server, ...]
    """Its servers."""
    tls: UpstreamTls = UpstreamTls()
    """How TLS is spoken with those servers that have it."""
    pool: Pool = Pool()
    """Its kept connections."""
    retry: Retry = Retry()
    """When a request is tried again."""
    balance: Balance = Balance()
    """Which server gets the next request."""
    passive: Passive = Passive()
    """When a server is left out because its requests fail."""
    sticky: Sticky | None = None
    """Whether a client stays with its server."""
    outliers: Outliers | None = None
    """Whether servers that fail more than others are ejected."""
    health: HealthCheck | None = None
    """Whether servers are asked how they are."""
    agent: Agent | None = None
    """Whether programs beside the servers are asked how these want to be used."""
    address: Expr | None = None
    """Where each request goes, made of the request, instead of servers: a host or an address, with a port or without. Whoever may ask
    can have requests sent wherever the expression lets them."""
    address_tls: bool = False
    """Whether to speak TLS there."""
    unreachable_status: int = 0
    """The status of the answer where no connection to any server came about: 500 to 599. 0 is 502, and 504 where it took too long."""
    events: tuple[EventLog, ...] = ()
    """Where is told what becomes of the servers, besides the error log."""

    def server_key(self, server: Server) -> str:
        """Name a server among those of all upstreams, the same in every process."""
        return f"{self.name} {server_text(server)}"


def server_text(server: Server) -> str:
    """Write where a server is, as logs and commands name it."""
    if server.path:
        return f"unix:{server.path}"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"
