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

Not here: the parts (``settings``, ``door``, ``layer4``, ``upstream``, ``action``, ``source``; all are reached through this module),
what is valid (``check``), the JSON form (``wire``), file syntax (``dialects``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.model.acme import BUILT_IN_ISSUERS, Acme, Challenge, DnsProvider, Issuer, OnDemand
from vestibule.model.action import (
    Action,
    AddHeader,
    AddTrailer,
    AuthRequest,
    BandwidthLimit,
    BasicAuth,
    ClientCertificate,
    ConcurrencyLimit,
    Count,
    Deny,
    DropBody,
    EarlyHint,
    EditHeader,
    HangUp,
    KeepAlive,
    RateLimit,
    ReadBody,
    RemoveHeader,
    RemoveHeaders,
    ReplaceAnswer,
    RequestAction,
    Rewrite,
    SetBody,
    SetClient,
    SetHeader,
    SetMethod,
    SetStatus,
    SetTimeouts,
    SetVariable,
    StripPrefix,
    Substitute,
    When,
)
from vestibule.model.balance import Agent, Balance, EventLog, HealthCheck, Outliers, Passive, Sticky
from vestibule.model.door import (
    BUILT_IN_PROFILES,
    Address,
    Certificate,
    InheritedAddress,
    Listener,
    TcpAddress,
    TlsProfile,
    UdpAddress,
    UnixAddress,
)
from vestibule.model.layer4 import Sessions, TcpRoute
from vestibule.model.settings import (
    REDACTED,
    AccessLog,
    CommandSocket,
    Compression,
    ErrorLog,
    Forwarding,
    Limits,
    Process,
    Syslog,
    Timeouts,
)
from vestibule.model.source import (
    Again,
    ErrorRoute,
    Files,
    Metrics,
    PathMatch,
    Proxy,
    Redirect,
    Respond,
    Route,
    Source,
    Switch,
    routes_inside,
)
from vestibule.model.upstream import (
    Pool,
    Retry,
    Server,
    Upstream,
    UpstreamTls,
)

__all__ = [
    "ANY_HOST",
    "BUILT_IN_ISSUERS",
    "BUILT_IN_PROFILES",
    "REDACTED",
    "AccessLog",
    "Acme",
    "Action",
    "AddHeader",
    "AddTrailer",
    "Address",
    "Again",
    "Agent",
    "AuthRequest",
    "Balance",
    "BandwidthLimit",
    "BasicAuth",
    "Certificate",
    "Challenge",
    "ClientCertificate",
    "CommandSocket",
    "Compression",
    "ConcurrencyLimit",
    "Config",
    "Count",
    "Deny",
    "DnsProvider",
    "DropBody",
    "EarlyHint",
    "EditHeader",
    "ErrorLog",
    "ErrorRoute",
    "EventLog",
    "Files",
    "Forwarding",
    "HangUp",
    "HealthCheck",
    "Hsts",
    "InheritedAddress",
    "Issuer",
    "KeepAlive",
    "Limits",
    "Listener",
    "Metrics",
    "OnDemand",
    "Outliers",
    "Passive",
    "PathMatch",
    "Pool",
    "Process",
    "Proxy",
    "RateLimit",
    "ReadBody",
    "Redirect",
    "RemoveHeader",
    "RemoveHeaders",
    "ReplaceAnswer",
    "RequestAction",
    "Respond",
    "Retry",
    "Rewrite",
    "Route",
    "Server",
    "Sessions",
    "SetBody",
    "SetClient",
    "SetHeader",
    "SetMethod",
    "SetStatus",
    "SetTimeouts",
    "SetVariable",
    "Site",
    "Source",
    "Sticky",
    "StripPrefix",
    "Substitute",
    "Switch",
    "Syslog",
    "TcpAddress",
    "TcpRoute",
    "Timeouts",
    "TlsProfile",
    "UdpAddress",
    "UnixAddress",
    "Upstream",
    "UpstreamTls",
    "When",
    "routes_inside",
]

ANY_HOST = "*"
"""In ``Site.hosts``: whatever no other site on the listener is named for, a request without a host included."""


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
    acme: bool = False
    """Whether a trusted certificate for its hosts is issued by ACME. Until it is there, the local CA's serves."""
    on_demand: bool = False
    """Whether each name of its hosts gets a certificate by ACME of its own, issued when a client first asks for the name; the client
    waits in its handshake. Hosts may be wildcards, or any."""
    issuers: tuple[str, ...] = ()
    """Who is asked for that, by name, the next where one fails; empty is as ``acme.issuers``."""
    redirect_http: bool = False
    """Whether requests on listeners without TLS are sent (308) to https on the same host."""
    https_port: int = 443
    """The port in that redirect: the one clients see."""
    hsts: Hsts | None = None
    """Strict-Transport-Security; None sends none."""
    immich: bool = True
    """Whether Immich is behind it: a failure below ``/api/`` is then told as JSON whatever the client accepts."""
    error_fields: bool = True
    """Whether pages for errors say that they are not to be stored (Cache-Control), and when to ask again (Retry-After)."""
    timeouts: Timeouts | None = None
    """Time-outs; None is as the configuration's."""
    limits: Limits | None = None
    """Limits; None is as the configuration's."""
    forwarding: Forwarding | None = None
    """Forwarding; None is as the configuration's."""
    access_log: AccessLog | None = None
    """The access log; None is as the configuration's."""
    compression: Compression | None = None
    """Which answers are compressed; None compresses nothing."""
    errors: tuple[ErrorRoute, ...] = ()
    """Who answers in the place of errors, the first that is for a status; the others have vestibule's own page."""
    host_patterns: tuple[str, ...] = ()
    """Further hosts, by regular expressions found in them without regard to case. They are tried where no name of a site fits, in
    written order over all sites."""
    default_host: str = ""
    """What ``host`` is for a request that names none, as one of HTTP/1.0 may."""
    client_profile: str = ""
    """The TLS profile that says which certificates clients are asked for in handshakes that name this site; empty is as the listener's.
    Nothing else of the profile counts, no session is resumed on such listeners, and a connection that was not asked so is misdirected
    here (421)."""


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
    acme: Acme = Acme()
    """What holds for certificates that are issued automatically."""
    issuers: tuple[Issuer, ...] = ()
    """Issuers besides Let's Encrypt and ZeroSSL."""
    dns_providers: tuple[DnsProvider, ...] = ()
    """Who writes the records that prove names by DNS."""
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

    @property
    def wants_acme(self) -> bool:
        """Whether any certificate is issued automatically."""
        return any(site.acme or site.on_demand for site in self.sites)

    @property
    def metrics(self) -> tuple[Metrics, ...]:
        """All sources that show figures."""
        found: list[Metrics] = []
        for site in self.sites:
            found += _metrics_of(site.source, site.errors)
        return tuple(dict.fromkeys(found))

    @property
    def wants_counts(self) -> bool:
        """Whether anybody wants to know how many requests there are: a page, or whoever sends commands."""
        return bool(self.metrics or self.process.command_sockets)


def _metrics_of(source: Source, errors: tuple[ErrorRoute, ...] | None) -> list[Metrics]:
    """Return the sources at and inside a source that show figures."""
    found = [source] if isinstance(source, Metrics) else []
    for _, route in routes_inside("", source, errors):
        found += _metrics_of(route.source, route.errors)
    return found
