"""Tables of the doors: listeners, TLS, certificates."""

from __future__ import annotations

from vestibule.dialects.toml.form import (
    COUNT,
    DURATION,
    FLAG,
    PAIRS,
    PATH,
    PERMISSIONS,
    TEMPLATE,
    TEST,
    TEXT,
    TEXTS,
    Choice,
    ListOf,
    Shape,
    Text,
)
from vestibule.dialects.toml.table import LOG, NAMES, NETWORKS, TABLE, Key, Table
from vestibule.model import config as model
from vestibule.model.quantity import parse_host

LISTENER = Table(
    "listeners.NAME",
    model.Listener,
    "A socket that accepts clients. A site's `listen` makes the common ones; declare one to give it options.",
    (
        Key(
            "address",
            Shape("an address"),
            '"[::1]:8443"',
            doc="Where it listens: `:8080` (every address of both families), `127.0.0.1:8080`, `[::1]:8080`, `unix:/path`, or"
            " `systemd:name` for a socket passed by socket activation; `udp://` before a port takes datagrams. Needed.",
        ),
        Key("v6only", FLAG, "true", doc="For an IPv6 address: leave IPv4 clients out. The default is true."),
        Key("mode", PERMISSIONS, "0o660", doc="Permissions of a unix socket. The default is 0o660."),
        Key("user", TEXT, '"vestibule"', doc="Owner of a unix socket."),
        Key("group", TEXT, '"www-data"', doc="Group of a unix socket."),
        Key("tls", FLAG, "true", "tls"),
        Key("tls_profile", TEXT, '"modern"', "tls_profile"),
        Key("unknown_sni", Choice("refuse", "default", "strict"), '"default"', "unknown_sni"),
        Key("refused_sni", ListOf(Text("a host", parse_host), one_alone=True), '["old.example.org"]', "refused_sni"),
        Key("default_site", TEXT, '"photos.example.org"', "default_site"),
        Key("protocols", ListOf(Choice("h1", "h2")), '["h2", "h1"]', "protocols"),
        Key("proxy_protocol", FLAG, "false", "proxy_protocol"),
        Key("proxy_protocol_from", NETWORKS, '["10.0.0.1"]', "proxy_protocol_from"),
        Key("proxy_protocol_mode", Choice("strict", "open", "note"), '"open"', "proxy_protocol_mode"),
        Key("routes", Shape("an array of tables"), '[{ names = ["mail.example.org"], to = "tcp://192.168.1.25:443" }]', "routes"),
        Key("certificates", NAMES, '["mail"]', "certificates"),
        Key("alpn", NAMES, '["imap"]', "alpn"),
        Key("backlog", COUNT, "1024", "backlog"),
        Key("bare_lf", FLAG, "false", "bare_lf"),
        Key("half_close", FLAG, "true", "half_close"),
        Key("hostless", FLAG, "false", "hostless"),
        Key("exact", FLAG, "false", "exact"),
        Key("foreign_host", FLAG, "false", "foreign_host"),
        Key("wordy", FLAG, "false", "wordy"),
        Key("reasons", PAIRS, '{ 404 = "Nothing Here" }', "reasons"),
        Key("sessions", Shape(TABLE), "{ responses = 1 }", "sessions"),
        Key("timeouts", Shape(TABLE), '{ request_head = "30s" }', "timeouts"),
        Key("limits", Shape(TABLE), '{ head = "32KiB" }', "limits"),
        Key(
            "access_log",
            Shape(LOG),
            '"off"',
            "access_log",
        ),
    ),
)

TCP_ROUTE = Table(
    "listeners.NAME.routes",
    model.TcpRoute,
    "Layer 4: where connections go that meet a condition, as they are. The first that matches is taken; one without `to`,"
    " `listener` and `answer` closes them, and so does having none that matches.",
    (
        Key("names", ListOf(Text("a host", parse_host), one_alone=True), '["mail.example.org", "*.lan.example.org"]', "names"),
        Key("when", TEST, "'peer_ip within [\"192.168.0.0/16\"]'", "when"),
        Key(
            "to",
            Shape("a server's address or the name of an upstream"),
            '"tcp://192.168.1.25:443"',
            doc="The upstream whose servers get the connection: its name, `tcp://host:port`, or `tls://host:port` to encrypt it anew;"
            " of a UDP listener, `udp://host:port`.",
        ),
        Key("listener", TEXT, '"web"', "listener"),
        Key("answer", TEMPLATE, '"{peer_ip}"', "answer"),
        Key(
            "concurrency",
            Shape("an array of tables"),
            '[{ key = "{peer_ip}", most = 10 }]',
            "concurrency",
            "How many connections of a key may be open at a time; further ones are closed. See `concurrency_limit`.",
        ),
        Key(
            "bandwidth",
            Shape("an array of tables"),
            '[{ of = "request", rate = "2MB" }]',
            "bandwidth",
            'Limits of the bytes in a second of what the client sends (`of = "request"`) and gets; see `bandwidth_limit`.',
        ),
    ),
)

SESSIONS = Table(
    "listeners.NAME.sessions",
    model.Sessions,
    "Which datagrams of a UDP listener belong together: those between one client and the server that was chosen for it. Each worker"
    " counts its own.",
    (
        Key("idle", DURATION, '"30s"', "idle_ms"),
        Key("responses", COUNT, "1", "responses"),
        Key("requests", COUNT, "1", "requests"),
        Key("most", COUNT, "4096", "most"),
    ),
)

TLS_PROFILE = Table(
    "tls_profiles.NAME",
    model.TlsProfile,
    "How TLS is spoken with clients, besides the built-in profiles `intermediate` and `modern`.",
    (
        Key("minimum", Choice("1.2", "1.3"), '"1.2"', "minimum"),
        Key("maximum", Choice("1.2", "1.3"), '"1.3"', "maximum"),
        Key("ciphers", TEXTS, '["ECDHE-ECDSA-AES128-GCM-SHA256"]', "ciphers"),
        Key("suites", TEXTS, '["TLS_AES_128_GCM_SHA256"]', "suites"),
        Key("groups", TEXTS, '["X25519", "prime256v1"]', "groups"),
        Key("tickets", FLAG, "true", "tickets"),
        Key("client_ca", PATH, '"family-ca.pem"', "client_ca"),
        Key("client_ca_more", PATH, '"guests-ca.pem"', "client_ca_more"),
        Key("client_verify", Choice("require", "optional", "any", "shown"), '"optional"', "client_verify"),
        Key("client_crl", PATH, '"family-crl.pem"', "client_crl"),
        Key("client_depth", COUNT, "1", "client_depth"),
    ),
)

CERTIFICATE = Table(
    "certificates.NAME",
    model.Certificate,
    "A certificate with its key, for sites to name. A site's own `cert` is shorter.",
    (
        Key("cert", PATH, '"fullchain.pem"', "cert"),
        Key("key", PATH, '"key.pem"', "key"),
        Key("password_file", PATH, '"key.password"', "password_file"),
        Key("chain", PATH, '"chain.pem"', "chain"),
        Key("hosts", ListOf(TEXT), '["photos.lan", "!old.photos.lan"]', "hosts"),
    ),
)
