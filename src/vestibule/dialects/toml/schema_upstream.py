"""Tables of upstreams and their servers."""

from __future__ import annotations

from vestibule.dialects.toml.form import (
    COUNT,
    DURATION,
    FLAG,
    PATH,
    TEXT,
    Choice,
    Shape,
    Unlimited,
)
from vestibule.dialects.toml.table import TABLE, Key, Table
from vestibule.model import config as model

SERVER = Table(
    "servers",
    model.Server,
    "One server of an upstream.",
    (
        Key(
            "address",
            Shape("a server"),
            '"http://192.168.1.20:2283"',
            doc="`http://host:port`, `https://host`, or `unix:/path`. Needed.",
        ),
        Key("tls", FLAG, "false", doc="Whether to speak TLS over a unix socket. With a host, `https://` says it."),
        Key("weight", COUNT, "1", "weight"),
        Key("backup", FLAG, "false", "backup"),
        Key("proxy_protocol", Choice("v1", "v2"), '"v2"', "proxy_protocol"),
    ),
)

UPSTREAM_TLS = Table(
    "upstreams.NAME.tls",
    model.UpstreamTls,
    "How TLS is spoken with the servers that have it.",
    (
        Key("verify", FLAG, "true", "verify"),
        Key("name", TEXT, '"immich.lan"', "name"),
        Key("ca", PATH, '"lan-ca.pem"', "ca"),
        Key("cert", PATH, '"client.pem"', "cert"),
        Key("key", PATH, '"client-key.pem"', "key"),
        Key("password_file", PATH, '"client.password"', "password_file"),
    ),
)

POOL = Table(
    "upstreams.NAME.pool",
    model.Pool,
    "Connections kept to the upstream, counted in each worker.",
    (
        Key("idle", DURATION, '"4s"', "idle_ms"),
        Key("max_idle", COUNT, "64", "max_idle"),
        Key("max_connections", Unlimited(COUNT), "200", "max_connections"),
        Key("max_waiting", COUNT, "1024", "max_waiting"),
        Key("wait", DURATION, '"30s"', "wait_ms"),
    ),
)

RETRY = Table(
    "upstreams.NAME.retry",
    model.Retry,
    "When a request is tried again.",
    (Key("attempts", COUNT, "3", "attempts"),),
)

UPSTREAM = Table(
    "upstreams.NAME",
    model.Upstream,
    "Servers that answer the same requests, for `to` to name. A URL in `to` is enough for one server without options.",
    (
        Key(
            "servers",
            Shape("an array of servers, each its address or a table"),
            '["http://immich:2283", { address = "http://192.168.1.20:2283", backup = true }]',
            "servers",
        ),
        Key("tls", Shape(TABLE), '{ ca = "lan-ca.pem" }', "tls"),
        Key("pool", Shape(TABLE), "{ max_idle = 16 }", "pool"),
        Key("retry", Shape(TABLE), "{ attempts = 2 }", "retry"),
    ),
)
