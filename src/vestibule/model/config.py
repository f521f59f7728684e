"""The typed configuration that every dialect lowers into and ``compile`` turns into plans.

Facts: the shape mirrors the run-time plan. A site or a route is *ordered request actions, one source, ordered response
actions*; a ``Switch`` is a source that holds further routes, which is how nginx's ``location`` inside ``server``,
Caddy's nested ``handle`` and HAProxy's ``frontend`` to ``backend`` are all said.

Rules:
* Frozen and comparable: two files that mean the same give equal values.
* Durations are whole milliseconds (``_ms``), sizes whole bytes (``_bytes``). ``None`` in a limit means: no limit.
* ``timeouts``, ``limits``, ``forwarding`` and ``access_log`` of a site or route are complete values, already merged by
  the dialect; ``None`` means: as the enclosing one.
* Paths of files are as written; the control process resolves them against the directory of the configuration file.
* Names refer: listeners, upstreams, certificates and TLS profiles are looked up by name, and ``check`` proves they exist.
* The string under a field documents it; the reference pages are rendered from these strings.

Not here: what is valid (``check``), the JSON form (``wire``), file syntax (``dialects``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vestibule.model.expr import Expr

REDACTED = ("key", "slug", "apiKey", "sessionKey", "token", "code", "password", "state")
"""Query names whose values never reach a log: Immich's share and session keys, and what OAuth hands around."""

ANY_HOST = "*"
"""In ``Site.hosts``: whatever no other site on the listener is named for, a request without a host included."""

BUILT_IN_PROFILES = ("intermediate", "modern")
"""TLS profiles that exist without being declared, after Mozilla's recommendations of the same names."""


# ---------------------------------------------------------------- limits of time, size and trust


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
    concurrent: int | None = None
    """Exchanges in flight at a time in one worker (503)."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What upstreams are told about the client. Trusted peers are those in ``Config.trusted_proxies``."""

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


# ---------------------------------------------------------------- logs


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One line for each finished exchange."""

    target: str = "stdout"
    """``stdout``, ``stderr``, ``off``, or the path of a file."""
    format: Literal["json", "combined", "template"] = "json"
    """``json`` for one object a line, ``combined`` for the format web statistics read, ``template`` for your own."""
    template: Expr | None = None
    """The line, when the format is ``template``. Every variable may be used."""
    redact: tuple[str, ...] = REDACTED
    """Query names whose values are replaced before the line is written."""


@dataclass(frozen=True, slots=True)
class ErrorLog:
    """What the program has to say about itself: starts, reloads, faults, refused configurations."""

    target: str = "stderr"
    """``stdout``, ``stderr``, ``off``, or the path of a file."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious level that is written."""


# ---------------------------------------------------------------- the process and its doors


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
    stop_ms: int = 30_000
    """How long exchanges in flight may go on after SIGTERM before they are cut."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP port to listen on."""

    port: int
    """The port, 1 to 65535, or 0 for any free one."""
    host: str = "*"
    """An IPv4 or IPv6 address, or ``*`` for every address of both families."""
    v6only: bool = True
    """For an IPv6 address: leave IPv4 clients out. ``*`` takes both whatever this says."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket to listen on."""

    path: str
    """Where the socket is made."""
    mode: int = 0o660
    """Its permissions."""
    user: str = ""
    """Its owner; empty is who started the program."""
    group: str = ""
    """Its group; empty is that of who started the program."""


@dataclass(frozen=True, slots=True)
class InheritedAddress:
    """A socket that was open when the program started, as systemd's socket activation passes it."""

    name: str
    """``FileDescriptorName=`` of the socket unit."""


Address: TypeAlias = TcpAddress | UnixAddress | InheritedAddress


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that accepts clients."""

    name: str
    """How sites refer to it."""
    address: Address
    """Where it listens."""
    tls: bool = False
    """Whether clients speak TLS here. Certificates come from the sites on this listener."""
    tls_profile: str = "intermediate"
    """The TLS profile: ``intermediate``, ``modern``, or a declared one."""
    unknown_sni: Literal["refuse", "default"] = "refuse"
    """A TLS client that names no host or one no certificate covers: ``refuse`` the handshake, or go on with the
    certificate of the ``default_site`` (of the first site, where that is not set)."""
    default_site: str = ""
    """The site for hosts that no site here is named for; empty answers 421 unless a site has the host ``*``."""
    protocols: tuple[Literal["h1", "h2"], ...] = ("h2", "h1")
    """HTTP versions spoken, most wanted first. With TLS the client chooses among them (ALPN); without, HTTP/2 is known by
    the first bytes of a client that needs no asking (prior knowledge)."""
    proxy_protocol: bool = False
    """Whether each connection starts with a PROXY protocol header, taken from trusted proxies only."""
    backlog: int = 1_024
    """Connections the kernel keeps waiting."""
    timeouts: Timeouts | None = None
    """Time-outs of connections before a site is known."""
    limits: Limits | None = None
    """Limits of connections before a site is known."""


@dataclass(frozen=True, slots=True)
class TlsProfile:
    """How TLS is spoken with clients."""

    name: str
    """How listeners refer to it."""
    minimum: Literal["1.2", "1.3"] = "1.2"
    """The oldest version accepted."""
    maximum: Literal["1.2", "1.3"] = "1.3"
    """The newest version offered."""
    ciphers: tuple[str, ...] = ()
    """OpenSSL names for TLS 1.2; empty takes those of the intermediate profile."""
    groups: tuple[str, ...] = ()
    """OpenSSL names of key exchange groups; empty leaves the library's."""
    tickets: bool = True
    """Whether sessions may be resumed."""
    client_ca: str = ""
    """A PEM file of the authorities whose client certificates are accepted; empty asks for none."""
    client_verify: Literal["require", "optional"] = "require"
    """With ``client_ca``: whether a client must show a certificate or may."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key."""

    name: str
    """How sites refer to it."""
    cert: str
    """A PEM file with the certificate and its chain, and the key unless ``key`` names another file."""
    key: str = ""
    """A PEM file with the private key; empty when it is in ``cert``."""
    password_file: str = ""
    """A file whose first line opens an encrypted key."""


# ---------------------------------------------------------------- upstreams


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
    """A file whose first line opens an encrypted key."""


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


# ---------------------------------------------------------------- what happens to a request


@dataclass(frozen=True, slots=True)
class SetHeader:
    """Give a field one value, replacing all it had. An empty value removes the field."""

    name: str
    """The field."""
    value: Expr
    """Its value."""


@dataclass(frozen=True, slots=True)
class AddHeader:
    """Add one more line of a field. An empty value adds none."""

    name: str
    """The field."""
    value: Expr
    """Its value."""


@dataclass(frozen=True, slots=True)
class RemoveHeader:
    """Remove every line of a field."""

    name: str
    """The field."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Replace the path, the query or both. Request only."""

    path: Expr | None = None
    """The new path, which must begin with ``/``; None keeps it."""
    query: Expr | None = None
    """The new query without its ``?``; an empty one removes it; None keeps it."""


@dataclass(frozen=True, slots=True)
class StripPrefix:
    """Take a prefix off the path; a path without it stays. What remains begins with ``/``. Request only."""

    prefix: str
    """The prefix, beginning with ``/``."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Answer with an error page and stop. Request only."""

    status: int = 403
    """The status, 400 to 599."""


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """Let only requests pass that show the name and password of a user (RFC 7617); others are asked for them (401).
    Request only."""

    users: tuple[tuple[str, str], ...]
    """Names, each with a hash as ``htpasswd`` or ``crypt`` write it (``$2y$``, ``$6$``, ``$5$``, ``$apr1$``, ``$1$``,
    ``{SSHA}``, ``{SHA}``), or with ``{PLAIN}`` and the password itself."""
    realm: str = "vestibule"
    """What the browser shows when it asks."""


@dataclass(frozen=True, slots=True)
class When:
    """Do some actions only if a test is true."""

    test: Expr
    """The test."""
    actions: tuple[Action, ...]
    """What to do."""


Action: TypeAlias = SetHeader | AddHeader | RemoveHeader | Rewrite | StripPrefix | Deny | BasicAuth | When
"""A step before or after the source. Request actions run in order before it, response actions in order after it."""


# ---------------------------------------------------------------- who answers


@dataclass(frozen=True, slots=True)
class Proxy:
    """An upstream answers."""

    upstream: str
    """Its name."""


@dataclass(frozen=True, slots=True)
class Respond:
    """The proxy answers by itself."""

    status: int = 200
    """The status, 200 to 599."""
    body: Expr | None = None
    """The body; without one the answer is empty."""
    headers: tuple[tuple[str, Expr], ...] = ()
    """Fields of the answer, in order. Content-Length is added, and Content-Type where a body has none."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """The client is sent elsewhere."""

    location: Expr
    """The Location."""
    status: Literal[301, 302, 303, 307, 308] = 308
    """The status: 308 and 307 keep the method, 301 and 308 are permanent."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One of several routes answers; 404 when none matches."""

    routes: tuple[Route, ...]
    """The routes."""
    order: Literal["written", "best"] = "written"
    """``written``: the first that matches. ``best``, after nginx: an exact path; else the longest prefix if it is
    ``final``; else the first matching regex in written order; else that longest prefix; else the first route without a
    path. Of equal paths the first whose methods and test fit."""


Source: TypeAlias = Proxy | Respond | Redirect | Switch
"""Who answers."""


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A condition on the path, percent-decoded once and without dot segments."""

    kind: Literal["exact", "prefix", "regex"]
    """How to compare: equal, begins with (byte by byte: end it with ``/`` to mean a directory), or a regular expression
    found anywhere in it."""
    value: str
    """The path, prefix or regular expression."""
    ignore_case: bool = False
    """Whether case is ignored. Regular expressions only."""
    final: bool = False
    """With a prefix in a ``best`` switch: no regex may win over it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A condition with what happens to the requests that meet it. All given conditions must hold."""

    source: Source
    """Who answers."""
    name: str = ""
    """A name for logs and messages; may be empty."""
    path: PathMatch | None = None
    """The path; None is any."""
    methods: tuple[str, ...] = ()
    """The methods; none named is any."""
    when: Expr | None = None
    """A further test; None is none."""
    request: tuple[Action, ...] = ()
    """Actions before the source, in order, after those of what encloses the route."""
    response: tuple[Action, ...] = ()
    """Actions on the response, in order, before those of what encloses the route."""
    timeouts: Timeouts | None = None
    """Time-outs; None is as the enclosing route or site."""
    limits: Limits | None = None
    """Limits; None is as the enclosing route or site."""
    forwarding: Forwarding | None = None
    """Forwarding; None is as the enclosing route or site."""
    access_log: AccessLog | None = None
    """The access log; None is as the enclosing route or site."""


# ---------------------------------------------------------------- sites


@dataclass(frozen=True, slots=True)
class Hsts:
    """Strict-Transport-Security, sent with answers over TLS (RFC 6797)."""

    max_age_s: int = 63_072_000
    """How long browsers remember, in seconds. Two years is what Mozilla advises."""
    include_subdomains: bool = False
    """Whether it holds for every name below the host."""


@dataclass(frozen=True, slots=True)
class Site:
    """Hosts that are served alike."""

    name: str
    """How messages and logs refer to it."""
    hosts: tuple[str, ...]
    """Names in lower case without port: exact, ``*.example.org`` for all below one, ``*`` for any other."""
    listeners: tuple[str, ...]
    """The listeners it is served on."""
    source: Source
    """Who answers."""
    request: tuple[Action, ...] = ()
    """Actions before the source, in order."""
    response: tuple[Action, ...] = ()
    """Actions on the response, in order, after those of its routes."""
    certificates: tuple[str, ...] = ()
    """The certificates for its hosts on TLS listeners; several may differ by key type."""
    internal_tls: bool = False
    """Whether a certificate from the local CA is made for its hosts."""
    redirect_http: bool = False
    """Whether requests on listeners without TLS are sent (308) to https on the same host."""
    https_port: int = 443
    """The port in that redirect: the one clients see."""
    hsts: Hsts | None = None
    """Strict-Transport-Security; None sends none."""
    immich: bool = True
    """Whether Immich is behind it: a failure below ``/api/`` is then told as JSON whatever the client accepts."""
    timeouts: Timeouts | None = None
    """Time-outs; None is as the configuration's."""
    limits: Limits | None = None
    """Limits; None is as the configuration's."""
    forwarding: Forwarding | None = None
    """Forwarding; None is as the configuration's."""
    access_log: AccessLog | None = None
    """The access log; None is as the configuration's."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration."""

    listeners: tuple[Listener, ...]
    """The sockets that accept clients."""
    sites: tuple[Site, ...]
    """The sites."""
    upstreams: tuple[Upstream, ...]
    """The upstreams."""
    process: Process = Process()
    """The program as the operating system sees it."""
    certificates: tuple[Certificate, ...] = ()
    """The certificates."""
    tls_profiles: tuple[TlsProfile, ...] = ()
    """TLS profiles besides ``intermediate`` and ``modern``."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded fields, Forwarded and PROXY headers are believed."""
    timeouts: Timeouts = Timeouts()
    """Time-outs."""
    limits: Limits = Limits()
    """Limits."""
    forwarding: Forwarding = Forwarding()
    """What upstreams are told about the client."""
    access_log: AccessLog = AccessLog()
    """The access log of sites that have none of their own."""
    error_log: ErrorLog = ErrorLog()
    """The log of the program itself."""
