"""Every table of the TOML language; the parts stand in ``schema_*``.

Not here: what a key is (``table``), how tables become the model (``parse``) and back (``write``).
"""

from __future__ import annotations

from vestibule.dialects.toml.form import Shape
from vestibule.dialects.toml.schema_acme import ACME, DNS_PROVIDER, ISSUER, ON_DEMAND
from vestibule.dialects.toml.schema_listen import (
    CERTIFICATE,
    LISTENER,
    TCP_ROUTE,
    TLS_PROFILE,
)
from vestibule.dialects.toml.schema_route import (
    ACTION,
    ANSWER,
    AUTH_REQUEST,
    BANDWIDTH_LIMIT,
    CONCURRENCY_LIMIT,
    ERROR,
    FILES,
    HSTS,
    OTHERWISE,
    RATE_LIMIT,
    REDIRECT,
    RESPOND,
    ROUTE,
    SITE,
)
from vestibule.dialects.toml.schema_settings import (
    ACCESS_LOG,
    COMMAND_SOCKET,
    COMPRESSION,
    ERROR_LOG,
    FORWARDING,
    LIMITS,
    PROCESS,
    SYSLOG,
    TIMEOUTS,
)
from vestibule.dialects.toml.schema_upstream import (
    BALANCE,
    HEALTH,
    OUTLIERS,
    PASSIVE,
    POOL,
    RETRY,
    SERVER,
    STICKY,
    UPSTREAM,
    UPSTREAM_TLS,
)
from vestibule.dialects.toml.table import LOG, NETWORKS, TABLE, Key, Table
from vestibule.model import config as model

__all__ = [
    "ACCESS_LOG",
    "ACME",
    "ACTION",
    "ANSWER",
    "AUTH_REQUEST",
    "BALANCE",
    "BANDWIDTH_LIMIT",
    "CERTIFICATE",
    "COMMAND_SOCKET",
    "COMPRESSION",
    "CONCURRENCY_LIMIT",
    "DNS_PROVIDER",
    "ERROR",
    "ERROR_LOG",
    "FILES",
    "FLAT",
    "FORWARDING",
    "HEALTH",
    "HSTS",
    "ISSUER",
    "LIMITS",
    "LISTENER",
    "ON_DEMAND",
    "OTHERWISE",
    "OUTLIERS",
    "PASSIVE",
    "POOL",
    "PROCESS",
    "RATE_LIMIT",
    "REDIRECT",
    "RESPOND",
    "RETRY",
    "ROOT",
    "ROUTE",
    "SERVER",
    "SITE",
    "STICKY",
    "SYSLOG",
    "TCP_ROUTE",
    "TIMEOUTS",
    "TLS_PROFILE",
    "UPSTREAM",
    "UPSTREAM_TLS",
]

ROOT = Table(
    "",
    model.Config,
    "The top of the file.",
    (
        Key("trusted_proxies", NETWORKS, '["10.0.0.0/8", "fd00::/8"]', "trusted_proxies"),
        Key("process", Shape(TABLE), "{ workers = 2 }", "process"),
        Key("timeouts", Shape(TABLE), '{ connect = "3s" }', "timeouts"),
        Key("limits", Shape(TABLE), '{ body = "50GB" }', "limits"),
        Key("forwarding", Shape(TABLE), '{ forwarded = "set" }', "forwarding"),
        Key(
            "access_log",
            Shape(LOG),
            '"stdout"',
            "access_log",
        ),
        Key("error_log", Shape('a table, or "stdout", "stderr", "off", a path or "syslog:HOST:PORT"'), '{ level = "debug" }', "error_log"),
        Key("listeners", Shape("a table of tables"), '{ local = { address = "127.0.0.1:8080" } }', "listeners"),
        Key("tls_profiles", Shape("a table of tables"), '{ strict = { minimum = "1.3" } }', "tls_profiles"),
        Key("certificates", Shape("a table of tables"), '{ photos = { cert = "fullchain.pem" } }', "certificates"),
        Key("acme", Shape(TABLE), '{ email = "you@example.org" }', "acme"),
        Key(
            "issuers",
            Shape("a table of tables"),
            '{ house = { directory = "https://ca.lan/acme/directory" } }',
            "issuers",
        ),
        Key(
            "dns_providers",
            Shape("a table of tables"),
            '{ home = { provider = "cloudflare", options = { auth_token = "file:token" } } }',
            "dns_providers",
        ),
        Key("upstreams", Shape("a table of tables"), '{ immich = { servers = ["http://immich:2283"] } }', "upstreams"),
        Key("sites", Shape("a table of tables"), '{ "photos.lan" = { to = "http://immich:2283" } }', "sites"),
    ),
)

FLAT = (
    PROCESS,
    COMMAND_SOCKET,
    TIMEOUTS,
    LIMITS,
    FORWARDING,
    ACCESS_LOG,
    ERROR_LOG,
    SYSLOG,
    TLS_PROFILE,
    CERTIFICATE,
    ACME,
    ON_DEMAND,
    ISSUER,
    DNS_PROVIDER,
    UPSTREAM_TLS,
    POOL,
    RETRY,
    HSTS,
    BALANCE,
    STICKY,
    PASSIVE,
    OUTLIERS,
    HEALTH,
)
"""Tables whose keys are the fields of one class, one for one (a name is the table's own)."""
