"""Tables of upstreams and their servers."""

from __future__ import annotations

from vestibule.dialects.toml.form import (
    COUNT,
    DURATION,
    FIELDS,
    FLAG,
    PAIRS,
    PATH,
    SECONDS,
    TEMPLATE,
    TEXT,
    TEXTS,
    Choice,
    ListOf,
    Shape,
    Unlimited,
)
from vestibule.dialects.toml.schema_settings import SYSLOG
from vestibule.dialects.toml.table import LOG_TARGET, TABLE, Inline, Key, Table
from vestibule.model import config as model
from vestibule.model.syslog import SEVERITIES

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
        Key("disabled", FLAG, "false", "disabled"),
        Key("priority", COUNT, "0", "priority"),
        Key("max_connections", Unlimited(COUNT), "100", "max_connections"),
        Key("resolve", Choice("one", "all", "srv"), '"all"', "resolve"),
        Key("mark", TEXT, '"a"', "mark"),
        Key("max_fails", COUNT, "3", "max_fails"),
        Key("fail_window", DURATION, '"30s"', "fail_window_ms"),
        Key("check", FLAG, "true", "check"),
        Key("check_host", TEXT, '"192.168.1.20"', "check_host"),
        Key("check_port", COUNT, "8081", "check_port"),
        Key("agent", FLAG, "true", "agent"),
        Key("agent_host", TEXT, '"192.168.1.20"', "agent_host"),
        Key("agent_port", COUNT, "9000", "agent_port"),
        Key("tls_name", TEXT, '"immich.lan"', "tls_name"),
        Key("tls_verify", FLAG, "true", "tls_verify"),
        Key("tls_cert", PATH, '"one.pem"', "tls_cert"),
        Key("tls_ciphers", TEXTS, '["ECDHE-ECDSA-AES128-GCM-SHA256"]', "tls_ciphers"),
    ),
)

UPSTREAM_TLS = Table(
    "upstreams.NAME.tls",
    model.UpstreamTls,
    "How TLS is spoken with the servers that have it.",
    (
        Key("verify", FLAG, "true", "verify"),
        Key("name", TEXT, '"immich.lan"', "name"),
        Key("name_from", TEMPLATE, '"{host}"', "name_from"),
        Key("ca", PATH, '"lan-ca.pem"', "ca"),
        Key("crl", PATH, '"lan-crl.pem"', "crl"),
        Key("depth", COUNT, "1", "depth"),
        Key("cert", PATH, '"client.pem"', "cert"),
        Key("key", PATH, '"client-key.pem"', "key"),
        Key("password_file", PATH, '"client.password"', "password_file"),
        Key("minimum", Choice("1.2", "1.3"), '"1.2"', "minimum"),
        Key("maximum", Choice("1.2", "1.3"), '"1.3"', "maximum"),
        Key("ciphers", TEXTS, '["ECDHE-ECDSA-AES128-GCM-SHA256"]', "ciphers"),
        Key("suites", TEXTS, '["TLS_AES_128_GCM_SHA256"]', "suites"),
        Key("groups", TEXTS, '["X25519", "prime256v1"]', "groups"),
    ),
)

ANNOUNCED = ListOf(Choice("tls", "tls_name", "tls_cipher", "server_name", "alpn", "checksum"))

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
        Key("protocol", Choice("http/1.1", "h2", "auto"), '"h2"', "protocol"),
        Key("bare_lf", FLAG, "false", "bare_lf"),
        Key("reuse", Choice("shared", "proven", "safe", "private"), '"private"', "reuse"),
        Key("announced", ANNOUNCED, '["tls", "tls_name"]', "announced"),
        Key("announced_id", TEMPLATE, '"{request_id}"', "announced_id"),
        Key("local_address", TEXT, '"192.168.1.2"', "local_address"),
    ),
)

RETRY = Table(
    "upstreams.NAME.retry",
    model.Retry,
    "When a request is tried again.",
    (
        Key("attempts", COUNT, "3", "attempts"),
        Key("on", ListOf(Choice("connect", "lost", "timeout", "invalid")), '["connect", "lost"]', "on"),
        Key("statuses", ListOf(COUNT), "[502, 503]", "statuses"),
        Key("budget", COUNT, "20", "budget"),
        Key("within", DURATION, '"10s"', "within_ms"),
    ),
)

BALANCE = Table(
    "upstreams.NAME.balance",
    model.Balance,
    "Which server gets the next request.",
    (
        Key(
            "method",
            Choice("round_robin", "least_connections", "peak_ewma", "random_two", "source", "hash", "first"),
            '"least_connections"',
            "method",
        ),
        Key("key", TEMPLATE, '"{target}"', "key"),
        Key("bound", COUNT, "125", "bound"),
        Key("ipv4_bits", COUNT, "24", "ipv4_bits"),
        Key("ipv6_bits", COUNT, "64", "ipv6_bits"),
        Key("slow_start", DURATION, '"30s"', "slow_start_ms"),
        Key("overflow", FLAG, "true", "overflow"),
        Key("table", Choice("", "sdbm", "djb2", "crc32"), '"sdbm"', "table"),
    ),
)

STICKY = Table(
    "upstreams.NAME.sticky",
    model.Sticky,
    "Keeping a client with its server, by a cookie or a header.",
    (
        Key("cookie", TEXT, '"server"', "cookie"),
        Key("header", TEXT, '"X-Server"', "header"),
        Key("path", TEXT, '"/"', "path"),
        Key("domain", TEXT, '"example.org"', "domain"),
        Key("max_age", SECONDS, '"1d"', "max_age_s"),
        Key("http_only", FLAG, "true", "http_only"),
        Key("secure", Choice("auto", "always", "never"), '"auto"', "secure"),
        Key("same_site", Choice("", "lax", "strict", "none"), '"lax"', "same_site"),
        Key("parameter", TEXT, '"jsessionid"', "parameter"),
        Key("separator", TEXT, '"."', "separator"),
        Key("give", FLAG, "true", "give"),
        Key("strict", FLAG, "false", "strict"),
        Key("signed", FLAG, "true", "signed"),
        Key("hidden", FLAG, "false", "hidden"),
        Key("private", FLAG, "false", "private"),
        Key("how", Choice("own", "rewrite", "prefix"), '"own"', "how"),
        Key("yields", FLAG, "false", "yields"),
        Key("posts", FLAG, "false", "posts"),
        Key("attributes", ListOf(TEXT), '["Priority=High"]', "attributes"),
    ),
)

PASSIVE = Table(
    "upstreams.NAME.passive",
    model.Passive,
    "Leaving out a server whose requests fail.",
    (
        Key("max_fails", COUNT, "1", "max_fails"),
        Key("window", DURATION, '"10s"', "window_ms"),
        Key("statuses", ListOf(COUNT), "[500, 503]", "statuses"),
        Key("latency", DURATION, '"30s"', "latency_ms"),
    ),
)

OUTLIERS = Table(
    "upstreams.NAME.outliers",
    model.Outliers,
    "Ejecting servers that fail more than the others. An empty table is enough.",
    (
        Key("consecutive", COUNT, "5", "consecutive"),
        Key("percent", COUNT, "50", "percent"),
        Key("requests", COUNT, "20", "requests"),
        Key("window", DURATION, '"10s"', "window_ms"),
        Key("eject", DURATION, '"30s"', "eject_ms"),
        Key("max_percent", COUNT, "34", "max_percent"),
    ),
)

HEALTH = Table(
    "upstreams.NAME.health",
    model.HealthCheck,
    "Asking servers whether they are well. An empty table asks Immich's ping.",
    (
        Key("kind", Choice("immich", "http", "tcp", "tls", "talk"), '"immich"', "kind"),
        Key("method", TEXT, '"GET"', "method"),
        Key("path", TEXT, '"/health"', "path"),
        Key("version", Choice("1.1", "1.0"), '"1.0"', "version"),
        Key("alpn", ListOf(TEXT), '["h2", "http/1.1"]', "alpn"),
        Key("host", TEXT, '"photos.lan"', "host"),
        Key("headers", FIELDS, '{ X-Probe = "yes" }', "headers"),
        Key("content", TEXT, '"{}"', "content"),
        Key("statuses", ListOf(COUNT), "[200]", "statuses"),
        Key("body", TEXT, '"ok"', "body"),
        Key("pattern", TEXT, '\'"status": *"up"\'', "pattern"),
        Key("head_pattern", TEXT, "'(?i)\\r\\nX-Role: *primary\\r'", "head_pattern"),
        Key("talk", ListOf(TEXT), '["send PING\\r\\n", "expect +PONG"]', "talk"),
        Key("port", COUNT, "8081", "port"),
        Key("interval", DURATION, '"2s"', "interval_ms"),
        Key("fast", DURATION, '"1s"', "fast_ms"),
        Key("down", DURATION, '"1s"', "down_ms"),
        Key("timeout", DURATION, '"2s"', "timeout_ms"),
        Key("rise", COUNT, "2", "rise"),
        Key("fall", COUNT, "3", "fall"),
        Key("jitter", COUNT, "10", "jitter"),
        Key("tls", Choice("auto", "always", "never"), '"always"', "tls"),
        Key("tls_name", TEXT, '"immich.lan"', "tls_name"),
        Key("proxy_protocol", Choice("auto", "never", "v1", "v2"), '"v2"', "proxy_protocol"),
    ),
)

AGENT = Table(
    "upstreams.NAME.agent",
    model.Agent,
    "Asking a program beside each server how the server wants to be used.",
    (
        Key("port", COUNT, "9000", "port"),
        Key("host", TEXT, '"192.168.1.20"', "host"),
        Key("send", TEXT, '"status\\n"', "send"),
        Key("interval", DURATION, '"2s"', "interval_ms"),
        Key("timeout", DURATION, '"2s"', "timeout_ms"),
    ),
)

EVENT_LOG = Table(
    "upstreams.NAME.events",
    model.EventLog,
    "Where is told what becomes of the servers: an array of such tables.",
    (
        Key("target", LOG_TARGET, '"syslog:127.0.0.1:514"', "target"),
        Key("syslog", Inline(SYSLOG), '{ facility = "local0" }', "syslog"),
        Key("most", Choice(*SEVERITIES), '"notice"', "most"),
        Key("least", Choice(*SEVERITIES), '"err"', "least"),
        Key("checks", FLAG, "true", "checks"),
        Key("servers", PAIRS, '{ one = "192.0.2.10:2283" }', "servers"),
    ),
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
        Key("address", TEMPLATE, '"{header:X-Backend}"', "address"),
        Key("address_tls", FLAG, "true", "address_tls"),
        Key("tls", Shape(TABLE), '{ ca = "lan-ca.pem" }', "tls"),
        Key("pool", Shape(TABLE), "{ max_idle = 16 }", "pool"),
        Key("retry", Shape(TABLE), "{ attempts = 2 }", "retry"),
        Key("balance", Shape(TABLE), '{ method = "least_connections" }', "balance"),
        Key("passive", Shape(TABLE), "{ max_fails = 3 }", "passive"),
        Key("sticky", Shape(TABLE), '{ cookie = "server" }', "sticky"),
        Key("outliers", Shape(TABLE), "{}", "outliers"),
        Key("health", Shape(TABLE), "{}", "health"),
        Key("agent", Shape(TABLE), "{ port = 9000 }", "agent"),
        Key("unreachable_status", COUNT, "503", "unreachable_status"),
        Key("events", ListOf(Inline(EVENT_LOG)), '[{ target = "syslog:127.0.0.1:514", checks = true }]', "events"),
    ),
)
