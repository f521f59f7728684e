"""Layer 4: connections and datagrams that are passed on as they are, by the name their client asks for or by where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.model.action import BandwidthLimit, ConcurrencyLimit
from vestibule.model.expr import Expr


@dataclass(frozen=True, slots=True)
class TcpRoute:
    """Where connections go that meet a condition. All given conditions must hold. Without ``upstream``, ``listener`` and ``answer``
    they are closed."""

    upstream: str = ""
    """The upstream whose servers get the connection."""
    listener: str = ""
    """The listener of this configuration that takes the connection over, as if it had been accepted there."""
    names: tuple[str, ...] = ()
    """Names a TLS client may ask for (SNI): exact, or ``*.example.org`` for all below one; none named is any client."""
    when: Expr | None = None
    """A further test, of what is known of a connection: ``tls_sni``, ``tls_alpn``, ``peer_ip``, ``server_port``
    and the like."""
    bandwidth: tuple[BandwidthLimit, ...] = ()
    """Limits of the bytes in a second: of what the client sends (``request``) and of what it gets (``response``)."""
    answer: Expr | None = None
    """A text that the client gets, after which the connection is closed."""
    concurrency: tuple[ConcurrencyLimit, ...] = ()
    """How many connections of a key may be open at a time; further ones are closed."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Which datagrams belong together: those between one client and the server that was chosen for it. Each worker counts its own."""

    idle_ms: int = 120_000
    """How long both sides may be silent. Two minutes is the least that RFC 4787 (section 4.3) asks of what stands between."""
    responses: int | None = None
    """Datagrams that a server answers each one of a client with. Once they have come the session is over, and where some are missing
    when it is idle the server has failed; 0 is for what is never answered. Unset leaves the end to ``idle``."""
    requests: int | None = None
    """Datagrams of a client after which the next one begins a session of its own; 1 has a server chosen for each."""
    most: int = 4_096
    """Sessions at a time; datagrams of further clients are dropped. Each holds a descriptor."""
