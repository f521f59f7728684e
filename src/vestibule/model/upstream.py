"""Upstreams: servers that answer the same requests, and how they are spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How TLS is spoken with an upstream."""

    verify: bool = True
    """Whether the server's certificate must be valid for its name."""
    name: str = ""
    """The name to send (SNI) and to verify; empty is the server's host."""
    ca: str = ""
    """A PEM file of the authorities to trust; empty is the system's."""
    cert: str = ""
    """A client certificate to show, PEM."""
    key: str = ""
    """Its key; empty when it is in ``cert``."""
    password_file: str = ""
    """A file of which one line opens an encrypted key."""


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


@dataclass(frozen=True, slots=True)
class Retry:
    """When a request is tried again. A request that may have had an effect is never sent twice."""

    attempts: int = 3
    """Tries in all, the first included."""


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
