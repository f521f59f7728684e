"""Layer 4: connections that are passed on as they are, by the name their client asks for or by where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.model.action import BandwidthLimit
from vestibule.model.expr import Expr


@dataclass(frozen=True, slots=True)
class TcpRoute:
    """Where connections go that meet a condition. All given conditions must hold. Without ``upstream`` and ``listener`` they are
    closed."""

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
