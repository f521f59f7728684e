"""What holds everywhere unless a site or route says otherwise: time-outs, limits, forwarding, logs; and the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vestibule.model.expr import ALWAYS, Expr

REDACTED = ("key", "slug", "apiKey", "sessionKey", "token", "code", "password", "state")
"""Query names whose values never reach a log: Immich's share and session keys, and what OAuth hands around."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may go without progress. None of them limits the total length of an exchange."""

    connect_ms: int = 5_000
    """Establishing one connection to an upstream server, TLS included."""
    request_head_ms: int = 60_000
    """From the first byte of a request (or the accepted connection) to the end of its head."""
    body_idle_ms: int = 600_000
    """Between two pieces of a request or response body, and for a client or upstream to take what is waiting for it."""
    response_head_ms: int = 600_000
    """From the end of the request until the upstream's response head. Interim responses start it again."""
    keep_alive_ms: int = 75_000
    """How long an idle client connection is kept for its next request."""
    tunnel_idle_ms: int = 3_600_000
    """Silence in both directions of a WebSocket or other upgraded connection. Immich pings every 25 s."""
    tls_handshake_ms: int = 15_000
    """From the accepted connection to the end of the TLS handshake with a client."""
    hold_ms: int | None = None
    """How long a request waits for a server while none can be reached, as when Immich restarts. Only requests of which nothing
    was sent, or that may be repeated, wait; 0 fails at once. None is 10 seconds for a site with Immich behind it, 0 for others."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a peer may ask for. Whatever goes over is answered with the status named here."""

    head_bytes: int = 16_384
    """Size of a request head or trailer section (431)."""
    fields: int = 100
    """Number of fields in a request head or trailer section (431)."""
    target_bytes: int = 8_192
    """Length of a request target (414)."""
    body_bytes: int | None = None
    """Size of a request body (413). Unlimited by default: Immich uploads have no natural size."""
    response_head_bytes: int = 65_536
    """Size of an upstream's response head (502)."""
    requests_per_connection: int | None = None
    """Requests on one client connection before it is closed in good order."""
    connections: int | None = 16_384
    """Client connections of one worker at a time; more wait in the kernel's queue."""
    connection_rate: int | None = None
    """Client connections in a second that a worker takes at each listener; more wait in the kernel's queue."""
    concurrent: int | None = None
    """Exchanges in flight at a time in one worker (503)."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What upstreams are told about the client, and what clients are not told of them. Trusted peers are those in ``trusted_proxies`` of
    the whole unless said otherwise."""

    x_forwarded: Literal["set", "remove", "pass"] = "set"
    """X-Real-IP, X-Forwarded-For, -Proto, -Host and -Port. ``set`` writes them, replacing what an untrusted peer sent and
    continuing what a trusted one sent; ``remove`` only deletes an untrusted peer's; ``pass`` leaves them as they came."""
    forwarded: Literal["set", "remove", "pass"] = "remove"
    """The Forwarded field of RFC 7239, in the same three ways."""
    host: str = "client"
    """The Host sent upstream: ``client`` for the client's own, port included; ``upstream`` for the server's address;
    anything else is sent as it stands."""
    underscores: Literal["drop", "allow"] = "drop"
    """Request fields with ``_`` in their names. Many applications read ``X_Real_IP`` as ``X-Real-IP``, so they are
    dropped unless allowed."""
    client_field: str = ""
    """The field in which trusted proxies say who the client is, such as ``CF-Connecting-IP``; empty is X-Forwarded-For, or Forwarded
    where there is none; ``-`` asks none of them, and the client is who connected."""
    client_walk: bool = True
    """Whether that list is walked from its end past all trusted addresses; otherwise its last address alone is believed."""
    client_announced: bool = False
    """Whether the PROXY header of a trusted peer says who the client is, instead of a field; for listeners that only note it."""
    trusted: tuple[str, ...] = ()
    """The networks of trusted peers here; none named is those of ``trusted_proxies`` of the whole."""
    hide: tuple[str, ...] = ()
    """Fields of upstreams' answers that clients do not get."""
    trusts_sockets: bool = True
    """Whether peers on unix sockets are trusted. Who may open one is decided by its permissions."""


Facility = Literal[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip
"""In the order of their numbers."""

Severity = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
"""In the order of their numbers."""


@dataclass(frozen=True, slots=True)
class Syslog:
    """What stands before lines that go to a syslog server."""

    facility: Facility = "daemon"
    """What part of the system speaks."""
    severity: Severity = "info"
    """How serious a line of the access log is; the error log has a level for each line."""
    tag: str = "vestibule"
    """The name of the program."""
    format: Literal["local", "rfc3164", "rfc5424"] = "rfc3164"
    """``rfc3164`` is what every server reads, ``local`` the same without the name of the host, as on ``/dev/log``; ``rfc5424`` has
    times with their zone."""


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One line for each finished exchange."""

    target: str = "stdout"
    """``stdout``, ``stderr``, ``off``, the path of a file, or a syslog server: ``syslog:HOST:PORT`` by UDP, ``syslog:/dev/log`` on the
    same machine. Lines that a server does not take wait up to 4 MB in each worker; what is lost then is counted in ``vestibule status``."""
    format: Literal["json", "combined", "template"] = "json"
    """``json`` for one object a line, ``combined`` for the format web statistics read, ``template`` for your own."""
    template: Expr | None = None
    """The line, when the format is ``template``. Every variable may be used."""
    redact: tuple[str, ...] = REDACTED
    """Query names whose values are replaced before the line is written."""
    when: Expr = ALWAYS
    """Only exchanges for which this test is true get a line. Every variable may be used."""
    escape: Literal["text", "json"] = "text"
    """How values stand on the line of a template: ``text`` writes what could break a line as ``\\xHH``, ``json`` as a string of
    JSON has it, between the quotes that the template sets."""
    syslog: Syslog = Syslog()
    """What stands before lines that go to a syslog server."""
    also: tuple[AccessLog, ...] = ()
    """Further logs of the same exchanges."""
    file: Expr | None = None
    """The file below ``target``, which is a directory then: each line goes to the one that this says when the exchange is over. Workers
    open it when they have lines for it, so it needs no opening anew once it was moved away. Every variable may be used."""


@dataclass(frozen=True, slots=True)
class ErrorLog:
    """What the program has to say about itself: starts, reloads, faults, refused configurations."""

    target: str = "stderr"
    """``stdout``, ``stderr``, ``off``, the path of a file, or a syslog server as in ``access_log``; what it does not take goes to
    standard error."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious level that is written."""
    syslog: Syslog = Syslog()
    """What stands before lines that go to a syslog server."""


@dataclass(frozen=True, slots=True)
class CommandSocket:
    """A socket that takes HAProxy's commands, for programs that speak them."""

    path: str
    """The file of the socket; or ``tcp:HOST:PORT``, or ``fd@N`` for a socket that listens already. Who reaches one of these two may say
    all that ``level`` allows: keep them to this machine."""
    mode: int = 0o600
    """Its permissions."""
    user: str = ""
    """Its owner; empty is who started vestibule."""
    group: str = ""
    """Its group; empty is the owner's."""
    level: Literal["user", "operator", "admin"] = "operator"
    """What may be asked there: ``user`` figures, ``operator`` what went wrong too, ``admin`` changes of servers."""
    servers: tuple[tuple[str, str], ...] = ()
    """Names of servers, ``UPSTREAM/NAME``, each with the address it stands for; others are called by their address."""
    numbers: tuple[tuple[str, str], ...] = ()
    """Numbers of upstreams, where they have some; others are counted."""
    lists: tuple[tuple[str, str], ...] = ()
    """Files whose lines commands may show and change, each with what it is: ``map``, ``acl`` or ``crt-list``; and tables of counts, with
    ``table``, their type, their size, and their counters with a colon and the period in milliseconds."""


@dataclass(frozen=True, slots=True)
class Process:
    """The program as the operating system sees it."""

    workers: int = 0
    """Worker processes; 0 is one for each processor core."""
    user: str = ""
    """The account to become once ports are bound and keys are read; empty stays who started it."""
    group: str = ""
    """The group to become; empty is the user's own."""
    state_dir: str = ""
    """Where the local CA and other state are kept; empty lets the program choose (the user's state directory)."""
    pid_file: str = ""
    """A file to hold the process id; empty writes none."""
    admin_socket: str = ""
    """The unix socket ``vestibule reload`` and ``status`` talk to; empty puts it into the state directory."""
    command_sockets: tuple[CommandSocket, ...] = ()
    """Sockets that take HAProxy's commands (``show stat``, ``set server``)."""
    stop_ms: int = 30_000
    """How long exchanges in flight may go on after SIGTERM before they are cut."""
    resolvers: tuple[str, ...] = ()
    """DNS servers, addresses with a port or without, that are asked for the hosts that requests name (``address`` of an upstream); empty
    asks as the system does. Hosts that are written down are looked up by the system in any case."""
    resolve: Literal["any", "ipv4", "ipv6"] = "any"
    """Which addresses those servers are asked for."""


@dataclass(frozen=True, slots=True)
class Compression:
    """Which answers are compressed with gzip for clients that take it. What is marked ``no-transform`` never is."""

    types: tuple[str, ...] = (
        "text/*",
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "application/wasm",
        "application/xml",
        "application/rss+xml",
        "image/svg+xml",
    )
    """Media types; ``text/*`` is any text, ``*`` any type. An empty list compresses nothing."""
    min_bytes: int = 1_024
    """Shorter answers stay as they are, where their length is known."""
    level: int = 4
    """From 1, quick, to 9, small."""
