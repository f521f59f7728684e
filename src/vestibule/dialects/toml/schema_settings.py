"""Tables of what holds everywhere unless said otherwise: time-outs, limits, forwarding, logs, the process."""

from __future__ import annotations

from vestibule.dialects.toml.form import (
    COUNT,
    DURATION,
    FLAG,
    PAIRS,
    PATH,
    PERMISSIONS,
    SIZE,
    TEMPLATE,
    TEST,
    TEXT,
    TEXTS,
    Choice,
    ListOf,
    Unlimited,
)
from vestibule.dialects.toml.table import FORWARD, LOG_TARGET, NETWORKS, Inline, Key, Table
from vestibule.model import config as model
from vestibule.model.syslog import FACILITIES, SEVERITIES

TIMEOUTS = Table(
    "timeouts",
    model.Timeouts,
    "How long each step may go without progress. May stand at the top, in a listener, in a site, and in a route; what a"
    " table leaves out is as outside it.",
    (
        Key("connect", DURATION, '"5s"', "connect_ms"),
        Key("request_head", DURATION, '"60s"', "request_head_ms"),
        Key("body_idle", DURATION, '"10m"', "body_idle_ms"),
        Key("response_head", DURATION, '"10m"', "response_head_ms"),
        Key("keep_alive", DURATION, '"75s"', "keep_alive_ms"),
        Key("tunnel_idle", DURATION, '"1h"', "tunnel_idle_ms"),
        Key("tls_handshake", DURATION, '"15s"', "tls_handshake_ms"),
        Key(
            "hold",
            DURATION,
            '"10s"',
            "hold_ms",
            "How long a request waits for a server while none can be reached, as when Immich restarts. Only requests of which nothing was"
            " sent, or that may be repeated, wait; `0s` fails at once. Unless said it is 10 s for a site with Immich behind it (`immich`),"
            " and none for others.",
        ),
    ),
)

LIMITS = Table(
    "limits",
    model.Limits,
    "How much a peer may ask for. May stand where `timeouts` may.",
    (
        Key("head", SIZE, '"16KiB"', "head_bytes"),
        Key("fields", COUNT, "100", "fields"),
        Key("target", SIZE, '"8KiB"', "target_bytes"),
        Key("body", Unlimited(SIZE), '"50GB"', "body_bytes"),
        Key("response_head", SIZE, '"64KiB"', "response_head_bytes"),
        Key("requests_per_connection", Unlimited(COUNT), "1000", "requests_per_connection"),
        Key("connections", Unlimited(COUNT), "16384", "connections"),
        Key("connection_rate", Unlimited(COUNT), "500", "connection_rate"),
        Key("concurrent", Unlimited(COUNT), "2000", "concurrent"),
    ),
)

FORWARDING = Table(
    "forwarding",
    model.Forwarding,
    "What upstreams are told about the client, and what clients are not told of them. May stand at the top, in a site, and in a route.",
    (
        Key("x_forwarded", FORWARD, '"set"', "x_forwarded"),
        Key("forwarded", FORWARD, '"set"', "forwarded"),
        Key("host", TEXT, '"client"', "host"),
        Key("underscores", Choice("drop", "allow"), '"drop"', "underscores"),
        Key("client_field", TEXT, '"CF-Connecting-IP"', "client_field"),
        Key("client_walk", FLAG, "true", "client_walk"),
        Key("client_announced", FLAG, "false", "client_announced"),
        Key("trusts_sockets", FLAG, "true", "trusts_sockets"),
        Key("trusted", NETWORKS, '["10.0.0.1"]', "trusted"),
        Key("hide", TEXTS, '["X-Powered-By"]', "hide"),
    ),
)

SYSLOG = Table(
    "syslog",
    model.Syslog,
    "What stands before lines that go to a syslog server.",
    (
        Key("facility", Choice(*FACILITIES), '"local0"', "facility"),
        Key("severity", Choice(*SEVERITIES), '"notice"', "severity"),
        Key("tag", TEXT, '"photos"', "tag"),
        Key("format", Choice("local", "rfc3164", "rfc5424"), '"rfc5424"', "format"),
    ),
)

ACCESS_LOG = Table(
    "access_log",
    model.AccessLog,
    'One line for each finished exchange. May stand where `forwarding` may; `access_log = "off"` alone sets the target. Several logs'
    " are an array of such tables, each complete: `[[access_log]]`.",
    (
        Key("target", LOG_TARGET, '"/var/log/vestibule/access.log"', "target"),
        Key("file", TEMPLATE, '"{host}.log"', "file"),
        Key("format", Choice("json", "combined", "template"), '"combined"', "format"),
        Key("template", TEMPLATE, '"{client_ip} {method} {path} {status} {total_ms}"', "template"),
        Key("redact", TEXTS, '["key", "slug", "token"]', "redact"),
        Key("when", TEST, "'status >= 400'", "when"),
        Key("escape", Choice("text", "json"), '"json"', "escape"),
        Key("syslog", Inline(SYSLOG), '{ facility = "local0" }', "syslog"),
    ),
)

ERROR_LOG = Table(
    "error_log",
    model.ErrorLog,
    "What the program has to say about itself.",
    (
        Key("target", LOG_TARGET, '"stderr"', "target"),
        Key("level", Choice("debug", "info", "warning", "error"), '"info"', "level"),
        Key("syslog", Inline(SYSLOG), '{ facility = "local1" }', "syslog"),
    ),
)

COMMAND_SOCKET = Table(
    "command_sockets",
    model.CommandSocket,
    "A unix socket that takes HAProxy's commands.",
    (
        Key("path", PATH, '"/run/vestibule/commands.sock"', "path"),
        Key("mode", PERMISSIONS, "0o660", "mode"),
        Key("user", TEXT, '"monitor"', "user"),
        Key("group", TEXT, '"monitor"', "group"),
        Key("level", Choice("user", "operator", "admin"), '"admin"', "level"),
        Key("servers", PAIRS, '{ "photos/one" = "192.0.2.10:2283" }', "servers"),
        Key("numbers", PAIRS, '{ photos = "3" }', "numbers"),
        Key("lists", PAIRS, '{ "hosts.map" = "map" }', "lists"),
    ),
)

PROCESS = Table(
    "process",
    model.Process,
    "The program as the operating system sees it.",
    (
        Key("workers", COUNT, "2", "workers"),
        Key("user", TEXT, '"vestibule"', "user"),
        Key("group", TEXT, '"vestibule"', "group"),
        Key("state_dir", PATH, '"/var/lib/vestibule"', "state_dir"),
        Key("pid_file", PATH, '"/run/vestibule.pid"', "pid_file"),
        Key("admin_socket", PATH, '"/run/vestibule/admin.sock"', "admin_socket"),
        Key("command_sockets", ListOf(Inline(COMMAND_SOCKET)), '[{ path = "/run/vestibule/commands.sock" }]', "command_sockets"),
        Key("stop", DURATION, '"30s"', "stop_ms"),
        Key("resolvers", TEXTS, '["192.168.1.1", "[2001:db8::1]:5353"]', "resolvers"),
        Key("resolve", Choice("any", "ipv4", "ipv6"), '"ipv4"', "resolve"),
    ),
)

COMPRESSION = Table(
    "compress",
    model.Compression,
    "Answers compressed with gzip for clients that take it; nothing is by default. `true` is the table without keys.",
    (
        Key("types", TEXTS, '["text/html", "application/json"]', "types"),
        Key("min", SIZE, '"1KiB"', "min_bytes"),
        Key("level", COUNT, "4", "level"),
    ),
)
