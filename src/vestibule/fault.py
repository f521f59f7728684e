"""What can go wrong on the data plane, as values.

Facts: a failed request is told apart by three things: who failed (the side), what the client is
told (the status), and whether trying again is safe (RFC 9110 9.2.2). The last is known best where
the fault is born, so it travels with the fault.

Rules: `ProtocolError` is raised inside codecs only and caught in one place per connection class;
any other exception out of a codec is a bug. `Fault` is passed, never raised. Every kind is a row of
`KINDS`; error pages, log lines and the reference page read the same row.

Not here: mistakes in configuration (`model/diagnostic.py`).
"""

from typing import Final

CLIENT: Final = 0
UPSTREAM: Final = 1
PROXY: Final = 2

SIDE_NAMES: Final = ("client", "upstream", "proxy")

# May the request be sent again to an upstream?
NEVER: Final = 0
IF_REUSED: Final = 1  # only when the connection had served before: the peer may have closed it meanwhile
SAFE: Final = 2  # nothing of the request reached an application
REPEATABLE: Final = 3  # the server may have acted on it: only what may be repeated, where that is asked for


class FaultKind:
    """One row of the table of faults.

    `status` is the answer while no response head was sent; 0 means that no answer can be given.
    `mend` tells the person who reads the error page or the log what to do about it.
    """

    def __init__(self, name: str, side: int, status: int, retry: int, text: str, mend: str) -> None:
        self.name = name
        self.side = side
        self.status = status
        self.retry = retry
        self.text = text
        self.mend = mend


class Fault:
    """One failure of one exchange: a kind of the table and the detail of this case."""

    def __init__(self, kind: FaultKind, detail: str = "", retry: int = -1) -> None:
        self.kind = kind
        self.detail = detail
        self.retry = kind.retry if retry < 0 else retry

    @property
    def status(self) -> int:
        return self.kind.status

    def __repr__(self) -> str:
        return f"Fault({self.kind.name}: {self.detail})" if self.detail else f"Fault({self.kind.name})"


class ProtocolError(Exception):
    """The peer broke the protocol. Raised by codecs; `kind` says how, `detail` where."""

    def __init__(self, kind: FaultKind, detail: str = "") -> None:
        super().__init__(f"{kind.name}: {detail}")
        self.kind = kind
        self.detail = detail


KINDS: Final[dict[str, FaultKind]] = {}


def _kind(name: str, status: int, text: str, mend: str = "", retry: int = NEVER) -> FaultKind:
    side = SIDE_NAMES.index(name.partition(".")[0])
    row = FaultKind(name, side, status, retry, text, mend)
    KINDS[name] = row
    return row


# The client broke the protocol (RFC 9110, 9112, 9113): refused, nothing forwarded, connection closed.
CLIENT_BAD_SYNTAX: Final = _kind("client.bad_syntax", 400, "The request is not valid HTTP.")
CLIENT_BAD_FRAMING: Final = _kind("client.bad_framing", 400, "The length of the request body is ambiguous or invalid.")
CLIENT_BAD_HOST: Final = _kind("client.bad_host", 400, "The Host of the request is missing or invalid.")
CLIENT_BAD_TARGET: Final = _kind("client.bad_target", 400, "The request target is invalid.")
CLIENT_BAD_CODING: Final = _kind(
    "client.bad_coding", 501, "The request uses a transfer coding other than chunked.", "Send the body with Content-Length or chunked."
)
CLIENT_BAD_VERSION: Final = _kind("client.bad_version", 505, "This version of HTTP is not spoken here.")
CLIENT_BAD_EXPECTATION: Final = _kind("client.bad_expectation", 417, "Only the expectation 100-continue is known.")
CLIENT_BAD_METHOD: Final = _kind("client.bad_method", 405, "This method is not allowed here.")
CLIENT_TARGET_TOO_LONG: Final = _kind(
    "client.target_too_long", 414, "The request target is longer than allowed.", "Raise limits.target if such targets are wanted."
)
CLIENT_HEAD_TOO_LARGE: Final = _kind(
    "client.head_too_large", 431, "The request head is larger than allowed.", "Raise limits.head or limits.fields if such heads are wanted."
)
CLIENT_BODY_TOO_LARGE: Final = _kind(
    "client.body_too_large", 413, "The request body is larger than allowed.", "Raise or remove limits.body for this site or route."
)
CLIENT_MISDIRECTED: Final = _kind("client.misdirected", 421, "This connection was opened for another host name.")
CLIENT_NO_CERTIFICATE: Final = _kind(
    "client.no_certificate", 403, "This address asks for a client certificate, and none was shown.",
    "Install the certificate you were given in this browser or device, and choose it when asked.",
)  # fmt: skip
CLIENT_BAD_CERTIFICATE: Final = _kind("client.bad_certificate", 403, "The client certificate that was shown is not accepted here.")
CLIENT_GONE: Final = _kind("client.gone", 0, "The client went away before the exchange was over.")
CLIENT_STREAM_RESET: Final = _kind("client.stream_reset", 0, "The client cancelled the request.")
CLIENT_TLS: Final = _kind("client.tls", 0, "The TLS handshake or a TLS record failed.")
CLIENT_TIMEOUT_HEAD: Final = _kind("client.timeout_head", 408, "The request head did not arrive in time.")
CLIENT_TIMEOUT_BODY: Final = _kind(
    "client.timeout_body", 408, "The client sent no byte of the body for too long.", "timeouts.body_idle sets how long."
)
CLIENT_TIMEOUT_WRITE: Final = _kind(
    "client.timeout_write", 0, "The client took no byte of the response for too long.", "timeouts.body_idle sets how long."
)
CLIENT_TIMEOUT_IDLE: Final = _kind("client.timeout_idle", 0, "The connection was idle for too long.")
CLIENT_ABUSE: Final = _kind("client.abuse", 0, "The client sent too many odd frames.")

# The upstream could not be reached, or broke the protocol.
UPSTREAM_REFUSED: Final = _kind(
    "upstream.refused", 502, "The upstream server refused the connection.", "Is it running, and is its address right?", SAFE
)
UPSTREAM_UNREACHABLE: Final = _kind(
    "upstream.unreachable", 502, "The upstream server cannot be reached.", "Is its address right, and is there a route to it?", SAFE
)
UPSTREAM_UNRESOLVED: Final = _kind(
    "upstream.unresolved", 502, "The name of the upstream server has no address.", "Is the name right, and does DNS know it?", SAFE
)
UPSTREAM_TLS: Final = _kind(
    "upstream.tls",
    502,
    "The TLS handshake with the upstream server failed.",
    "Check its certificate, or the tls settings of the upstream.",
    SAFE,
)
UPSTREAM_LOST: Final = _kind("upstream.lost", 502, "The upstream server closed the connection before it answered.", "", IF_REUSED)
UPSTREAM_TRUNCATED: Final = _kind("upstream.truncated", 502, "The upstream server ended its answer before it was complete.")
UPSTREAM_BAD_SYNTAX: Final = _kind("upstream.bad_syntax", 502, "The answer of the upstream server is not valid HTTP.", "", REPEATABLE)
UPSTREAM_BAD_FRAMING: Final = _kind(
    "upstream.bad_framing", 502, "The length of the upstream server's answer is ambiguous or invalid.", "", REPEATABLE
)
UPSTREAM_BAD_UPGRADE: Final = _kind("upstream.bad_upgrade", 502, "The upstream server switched to a protocol nobody asked for.")
UPSTREAM_NO_TUNNEL: Final = _kind(
    "upstream.no_tunnel",
    502,
    "The upstream server takes no WebSockets over HTTP/2.",
    "Speak HTTP/1.1 with it.",
)
UPSTREAM_SURPLUS: Final = _kind("upstream.surplus", 502, "The upstream server sent bytes that belong to no request.")
UPSTREAM_HEAD_TOO_LARGE: Final = _kind(
    "upstream.head_too_large", 502, "The head of the upstream server's answer is too large.", "", REPEATABLE
)
UPSTREAM_TIMEOUT_CONNECT: Final = _kind(
    "upstream.timeout_connect", 504, "The upstream server did not accept the connection in time.", "timeouts.connect sets how long.", SAFE
)
UPSTREAM_TIMEOUT_HEAD: Final = _kind(
    "upstream.timeout_head", 504, "The upstream server did not answer in time.", "timeouts.response_head sets how long.", REPEATABLE
)
UPSTREAM_TIMEOUT_BODY: Final = _kind(
    "upstream.timeout_body", 504, "The upstream server sent no byte of its answer for too long.", "timeouts.body_idle sets how long."
)
UPSTREAM_TIMEOUT_WRITE: Final = _kind(
    "upstream.timeout_write", 504, "The upstream server took no byte of the request for too long.", "timeouts.body_idle sets how long."
)
UPSTREAM_BUSY: Final = _kind(
    "upstream.busy", 503, "All connections to the upstream server are in use.", "Raise max_connections of the upstream.", SAFE
)
UPSTREAM_DOWN: Final = _kind("upstream.down", 503, "No upstream server is available.", "", SAFE)

# Vestibule itself.
PROXY_NO_SITE: Final = _kind("proxy.no_site", 421, "No site is configured for this host name.", "Add the host name to a site.")
PROXY_NO_ROUTE: Final = _kind("proxy.no_route", 404, "No route of this site matches the request.")
PROXY_NO_SERVER: Final = _kind("proxy.no_server", 500, "The request names no server that it could go to.")
PROXY_DENIED: Final = _kind("proxy.denied", 403, "The configuration denies this request.")
PROXY_LIMITED: Final = _kind("proxy.limited", 429, "There were too many requests at a time.", "Wait a little, and then try again.")
PROXY_BUSY: Final = _kind("proxy.busy", 503, "Too many passwords are being checked.", "Wait a little, and then try again.")
PROXY_ASKED: Final = _kind("proxy.asked", 500, "Whether this request may pass could not be found out.")
PROXY_LOOP: Final = _kind("proxy.loop", 500, "The configuration sends this request round in circles.")
PROXY_STOPPING: Final = _kind("proxy.stopping", 503, "The proxy is stopping.")
PROXY_TUNNEL_IDLE: Final = _kind("proxy.tunnel_idle", 0, "The tunnel was idle for too long.", "timeouts.tunnel_idle sets how long.")
PROXY_INTERNAL: Final = _kind("proxy.internal", 500, "The proxy failed on this request; this is a bug of vestibule.")
