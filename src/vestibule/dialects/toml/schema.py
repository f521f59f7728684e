"""Every key of the TOML language: its form, the field of the model it sets, and an example.

Rules:
* A key with a ``field`` is documented by that field's own text and has its default; sugar has its own ``doc``.
* Each table lists its keys in the order they are written and documented.
* An example is TOML that can stand where the key stands; the tests parse them all.

Not here: how tables become the model (``parse``) and back (``write``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.dialects.toml.form import (
    COUNT,
    DURATION,
    FLAG,
    PAIRS,
    PATH,
    PERMISSIONS,
    SECONDS,
    SIZE,
    TEMPLATE,
    TEST,
    TEXT,
    TEXTS,
    Choice,
    Form,
    ListOf,
    Shape,
    Text,
    Unlimited,
)
from vestibule.model import config as model
from vestibule.model.quantity import parse_host, parse_network


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    form: Form
    example: str
    field: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the class of the model it fills, and its keys."""

    title: str
    cls: type
    doc: str
    keys: tuple[Key, ...]

    def names(self) -> list[str]:
        """Return the names of the keys."""
        return [key.name for key in self.keys]

    def key(self, name: str) -> Key:
        """Return a key that is known to be there."""
        for key in self.keys:
            if key.name == name:
                return key
        raise KeyError(name)


NETWORKS = ListOf(Text("a network", parse_network), one_alone=True)
HOSTS = ListOf(Text("a host", parse_host), one_alone=True)
NAMES = ListOf(Text("a name"), one_alone=True)
FORWARD = Choice("set", "remove", "pass")
LOG_TARGET = Text('"stdout", "stderr", "off" or a path')
TABLE = "a table"

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
        Key("concurrent", Unlimited(COUNT), "2000", "concurrent"),
    ),
)

FORWARDING = Table(
    "forwarding",
    model.Forwarding,
    "What upstreams are told about the client. May stand at the top, in a site, and in a route.",
    (
        Key("x_forwarded", FORWARD, '"set"', "x_forwarded"),
        Key("forwarded", FORWARD, '"set"', "forwarded"),
        Key("host", TEXT, '"client"', "host"),
        Key("underscores", Choice("drop", "allow"), '"drop"', "underscores"),
    ),
)

ACCESS_LOG = Table(
    "access_log",
    model.AccessLog,
    'One line for each finished exchange. May stand where `forwarding` may; `access_log = "off"` alone sets the target.',
    (
        Key("target", LOG_TARGET, '"/var/log/vestibule/access.log"', "target"),
        Key("format", Choice("json", "combined", "template"), '"combined"', "format"),
        Key("template", TEMPLATE, '"{client_ip} {method} {path} {status} {total_ms}"', "template"),
        Key("redact", TEXTS, '["key", "slug", "token"]', "redact"),
    ),
)

ERROR_LOG = Table(
    "error_log",
    model.ErrorLog,
    "What the program has to say about itself.",
    (
        Key("target", LOG_TARGET, '"stderr"', "target"),
        Key("level", Choice("debug", "info", "warning", "error"), '"info"', "level"),
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
        Key("stop", DURATION, '"30s"', "stop_ms"),
    ),
)

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
            " `systemd:name` for a socket passed by socket activation. Needed.",
        ),
        Key("v6only", FLAG, "true", doc="For an IPv6 address: leave IPv4 clients out. The default is true."),
        Key("mode", PERMISSIONS, "0o660", doc="Permissions of a unix socket. The default is 0o660."),
        Key("user", TEXT, '"vestibule"', doc="Owner of a unix socket."),
        Key("group", TEXT, '"www-data"', doc="Group of a unix socket."),
        Key("tls", FLAG, "true", "tls"),
        Key("tls_profile", TEXT, '"modern"', "tls_profile"),
        Key("unknown_sni", Choice("refuse", "default"), '"default"', "unknown_sni"),
        Key("default_site", TEXT, '"photos.example.org"', "default_site"),
        Key("protocols", ListOf(Choice("h1", "h2")), '["h2", "h1"]', "protocols"),
        Key("proxy_protocol", FLAG, "false", "proxy_protocol"),
        Key("backlog", COUNT, "1024", "backlog"),
        Key("timeouts", Shape(TABLE), '{ request_head = "30s" }', "timeouts"),
        Key("limits", Shape(TABLE), '{ head = "32KiB" }', "limits"),
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
        Key("groups", TEXTS, '["X25519", "prime256v1"]', "groups"),
        Key("tickets", FLAG, "true", "tickets"),
        Key("client_ca", PATH, '"family-ca.pem"', "client_ca"),
        Key("client_verify", Choice("require", "optional"), '"optional"', "client_verify"),
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
    ),
)

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

_SOURCE_KEYS = (
    Key(
        "to",
        Shape("a server's URL or the name of an upstream"),
        '"http://immich:2283"',
        doc="The upstream that answers. With `routes`, what no route takes goes there.",
    ),
    Key(
        "respond",
        Shape(TABLE),
        '{ status = 200, body = "up and well\\n", headers = { Content-Type = "text/plain" } }',
        doc="Answer by itself, instead of `to`: `status` (200), `body` (a template), `headers` (a table of templates, or an"
        " array of pairs where a name repeats).",
    ),
    Key(
        "redirect",
        Shape("a template, or a table"),
        '{ location = "https://photos.example.org{target}", status = 302 }',
        doc="Send the client elsewhere, instead of `to`: `location` (a template), `status` (301, 302, 303, 307 or 308; 308 unless said).",
    ),
    Key("routes", Shape("an array of tables"), '[{ prefix = "/api/", to = "http://immich:2283" }]', doc="See `routes`."),
    Key(
        "order",
        Choice("written", "best"),
        '"best"',
        doc="How a route is chosen. `written`, the default: the first that matches. `best`, after nginx: an exact path; else"
        " the longest prefix if it is `final`; else the first matching regex; else that longest prefix; else the first route"
        " without a path.",
    ),
)

_ACTION_KEYS = (
    Key("request", Shape("an array of actions"), '[{ strip_prefix = "/photos" }]', "request"),
    Key("response", Shape("an array of actions"), '[{ remove = "Server" }]', "response"),
    Key(
        "request_headers",
        Shape("a table of templates"),
        '{ X-Client = "{client_ip}", X-Debug = false }',
        doc="Fields to set in the request after the actions of `request`; `false` removes one.",
    ),
    Key(
        "response_headers",
        Shape("a table of templates"),
        '{ X-Content-Type-Options = "nosniff" }',
        doc="Fields to set in the response after the actions of `response`; `false` removes one.",
    ),
)

_LEVEL_KEYS = (
    Key("timeouts", Shape(TABLE), '{ response_head = "30m" }', doc="Time-outs here and inside; see `[timeouts]`."),
    Key("limits", Shape(TABLE), '{ body = "1GB" }', doc="Limits here and inside; see `[limits]`."),
    Key("forwarding", Shape(TABLE), '{ host = "upstream" }', doc="Forwarding here and inside; see `[forwarding]`."),
    Key(
        "access_log",
        Shape('a table, or "stdout", "stderr", "off" or a path'),
        '"off"',
        doc="The access log here and inside; see `[access_log]`.",
    ),
)

SITE = Table(
    "sites.NAME",
    model.Site,
    "A host and who answers for it. The name of the table is the host, unless `hosts` says otherwise.",
    (
        Key("hosts", HOSTS, '["photos.example.org", "*.photos.example.org"]', "hosts"),
        Key(
            "listen",
            Shape("an address or the name of a listener, or an array of them"),
            '["https://:8443", "http://127.0.0.1:8080"]',
            doc="Where the site is served. An address has TLS if the site has a certificate; `http://` and `https://` before it"
            " say otherwise. Without this key: `:443` and `:80` with a certificate, else `:8080`. TLS clients that name no"
            " host are refused, unless the site has the host `*` or a declared listener says otherwise.",
        ),
        *_SOURCE_KEYS,
        Key(
            "cert",
            PATH,
            '"fullchain.pem"',
            doc="A PEM file with the certificate and its chain, and the key unless `key` names another file.",
        ),
        Key("key", PATH, '"key.pem"', doc="A PEM file with the private key."),
        Key("password_file", PATH, '"key.password"', doc="A file whose first line opens an encrypted key."),
        Key("certificates", NAMES, '["photos-rsa", "photos-ecdsa"]', "certificates"),
        Key(
            "tls",
            Choice("internal", "off"),
            '"internal"',
            doc="`internal` has a certificate made by the local CA; `off` serves plain HTTP. Without a certificate and without"
            " `listen`, hosts that no public authority could certify (localhost, `.lan`, addresses) are `internal`, others"
            " `off`.",
        ),
        Key(
            "redirect_http",
            FLAG,
            "true",
            doc="Whether requests on listeners without TLS are sent (308) to https on the same host. The default is true"
            " where the site also has a listener with TLS.",
        ),
        Key("https_port", COUNT, "443", doc="The port in that redirect. The default is that of the first TLS listener."),
        Key(
            "hsts",
            Shape("true, false or a table"),
            '{ max_age = "365d", include_subdomains = true }',
            doc="Strict-Transport-Security for answers over TLS: `true`, or a table with `max_age` (730d) and"
            " `include_subdomains` (false).",
        ),
        Key("immich", FLAG, "true", "immich"),
        *_ACTION_KEYS,
        *_LEVEL_KEYS,
    ),
)

ROUTE = Table(
    "routes",
    model.Route,
    "A condition with what happens to the requests that meet it. All given conditions must hold; with none, every request"
    " does. Routes may hold routes.",
    (
        Key("name", TEXT, '"uploads"', "name"),
        Key("path", PATH, '"/favicon.ico"', doc="The path is equal to this, percent-decoded once, without dot segments."),
        Key(
            "prefix",
            PATH,
            '"/api/"',
            doc="The path begins with this, byte by byte: end it with `/` to mean a directory.",
        ),
        Key("regex", TEXT, "'^/api/assets/[0-9a-f-]+$'", doc="This regular expression is found in the path."),
        Key("ignore_case", FLAG, "true", doc="Whether `regex` ignores case."),
        Key("final", FLAG, "true", doc='With `prefix` and `order = "best"`: no regex may win over it.'),
        Key("methods", NAMES, '["POST", "PUT"]', "methods"),
        Key("when", TEST, "'not (client_ip within [\"192.168.0.0/16\"])'", "when", "A further test."),
        *_SOURCE_KEYS,
        *_ACTION_KEYS,
        *_LEVEL_KEYS,
    ),
)

ACTION = Table(
    "actions",
    object,
    "One step before (`request`) or after (`response`) the source: an inline table with one of `set`, `add`, `remove`,"
    " `strip_prefix`, `rewrite`, `query`, `deny`, `basic_auth`, `actions`. The last five but `actions` are for requests only.",
    (
        Key("set", TEXT, '"X-Client"', doc="Give this field the `value`, replacing all it had. An empty value removes it."),
        Key("add", TEXT, '"Set-Cookie"', doc="Add one more line of this field with the `value`. An empty value adds none."),
        Key("value", TEMPLATE, '"{client_ip}"', doc="The value for `set` and `add`."),
        Key("remove", TEXT, '"Server"', doc="Remove every line of this field."),
        Key("strip_prefix", PATH, '"/photos"', doc="Take this off the path; a path without it stays."),
        Key("rewrite", TEMPLATE, '"/immich{path}"', doc="Replace the path."),
        Key("query", TEMPLATE, '"v=2"', doc="Replace the query; empty removes it. Alone or together with `rewrite`."),
        Key("deny", COUNT, "403", doc="Answer with an error page of this status and stop."),
        Key(
            "basic_auth",
            PAIRS,
            '{ alice = "$6$salt$..." }',
            doc="Let only requests pass that show the name and password of a user, and ask others for them (401). A password"
            " is a hash as `htpasswd` or `openssl passwd -6` write it, or `{PLAIN}` and the password itself.",
        ),
        Key("realm", TEXT, '"photos"', doc="With `basic_auth`: what the browser shows when it asks."),
        Key("when", TEST, "'method == \"POST\"'", doc="Do this only if the test is true."),
        Key("actions", Shape("an array of actions"), "[{ deny = 403 }]", doc="With `when`: what to do, in order."),
    ),
)

RESPOND = Table(
    "respond",
    model.Respond,
    "An answer of the proxy's own.",
    (
        Key("status", COUNT, "200", "status"),
        Key("body", TEMPLATE, '"up and well\\n"', "body"),
        Key("headers", Shape("a table of templates, or an array of pairs"), '{ Content-Type = "text/plain" }', "headers"),
    ),
)

REDIRECT = Table(
    "redirect",
    model.Redirect,
    "The client is sent elsewhere. A template alone is the `location`.",
    (
        Key("location", TEMPLATE, '"https://photos.example.org{target}"', "location"),
        Key("status", COUNT, "302", "status"),
    ),
)

HSTS = Table(
    "hsts",
    model.Hsts,
    "Strict-Transport-Security.",
    (
        Key("max_age", SECONDS, '"365d"', "max_age_s"),
        Key("include_subdomains", FLAG, "true", "include_subdomains"),
    ),
)

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
        Key("access_log", Shape('a table, or "stdout", "stderr", "off" or a path'), '"stdout"', "access_log"),
        Key("error_log", Shape('a table, or "stdout", "stderr", "off" or a path'), '{ level = "debug" }', "error_log"),
        Key("listeners", Shape("a table of tables"), '{ local = { address = "127.0.0.1:8080" } }', "listeners"),
        Key("tls_profiles", Shape("a table of tables"), '{ strict = { minimum = "1.3" } }', "tls_profiles"),
        Key("certificates", Shape("a table of tables"), '{ photos = { cert = "fullchain.pem" } }', "certificates"),
        Key("upstreams", Shape("a table of tables"), '{ immich = { servers = ["http://immich:2283"] } }', "upstreams"),
        Key("sites", Shape("a table of tables"), '{ "photos.lan" = { to = "http://immich:2283" } }', "sites"),
    ),
)

FLAT = (PROCESS, TIMEOUTS, LIMITS, FORWARDING, ACCESS_LOG, ERROR_LOG, TLS_PROFILE, CERTIFICATE, UPSTREAM_TLS, POOL, RETRY, HSTS)
"""Tables whose keys are the fields of one class, one for one (a name is the table's own)."""
