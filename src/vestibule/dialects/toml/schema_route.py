"""Tables of sites and routes: conditions, actions, and who answers."""

from __future__ import annotations

from vestibule.dialects.toml.form import (
    COUNT,
    DURATION,
    FLAG,
    PAIRS,
    PATH,
    SECONDS,
    TEMPLATE,
    TEST,
    TEXT,
    TEXTS,
    Choice,
    ListOf,
    Named,
    Shape,
)
from vestibule.dialects.toml.table import HOSTS, NAMES, TABLE, Key, Table
from vestibule.model import config as model

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
    Key(
        "files",
        Shape(TABLE),
        '{ root = "/srv/www", index = ["index.html"] }',
        doc="A directory answers, instead of `to`; see `files`.",
    ),
    Key(
        "metrics",
        Shape("a form, or a table"),
        '"prometheus"',
        doc="Show what is going on, instead of `to`: `prometheus`, `json`, `html`, `nginx` (as its stub_status), `apache` (as its"
        " server-status), `haproxy` (as its statistics); see `metrics`. Who may see it is for `request` and `when` to say.",
    ),
    Key(
        "again",
        Shape("true, or the name of a route"),
        "true",
        doc="Ask the source of the site again, for the path as it is now, instead of `to`; or have one of its routes answer, by name.",
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

_ERROR_KEY = Key(
    "errors",
    Shape("an array of tables"),
    '[{ statuses = [502, 503], respond = { status = 503, body = "back soon\\n" } }]',
    doc="Who answers in the place of errors here and inside; see `errors`.",
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
    Key(
        "compress",
        Shape("true, false or a table"),
        '{ types = ["text/*"] }',
        doc="Which answers are compressed here and inside; see `compress`. `false` compresses none.",
    ),
)

SITE = Table(
    "sites.NAME",
    model.Site,
    "A host and who answers for it. The name of the table is the host, unless `hosts` says otherwise.",
    (
        Key("hosts", HOSTS, '["photos.example.org", "*.photos.example.org"]', "hosts"),
        Key("host_patterns", TEXTS, "['^photos[0-9]*[.]']", "host_patterns"),
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
        Key("password_file", PATH, '"key.password"', doc="A file of which one line opens an encrypted key."),
        Key("certificates", NAMES, '["photos-rsa", "photos-ecdsa"]', "certificates"),
        Key(
            "tls",
            Choice("acme", "on_demand", "internal", "off"),
            '"internal"',
            doc="`acme` has a trusted certificate issued automatically; `on_demand` has one issued for each name when a client first"
            " asks for it; `internal` has one made by the local CA; `off` serves"
            " plain HTTP. Without a certificate and without `listen`, public names are `acme`, and hosts that no public"
            " authority could certify (localhost, `.lan`, addresses) are `internal`; a site for any host is `off`.",
        ),
        Key("issuers", NAMES, '["house"]', "issuers"),
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
        Key("error_fields", FLAG, "true", "error_fields"),
        Key("default_host", TEXT, '"photos.example.org"', "default_host"),
        Key("client_profile", TEXT, '"members"', "client_profile"),
        *_ACTION_KEYS,
        *_LEVEL_KEYS,
        _ERROR_KEY,
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
        _ERROR_KEY,
    ),
)

ERROR = Table(
    "errors",
    model.ErrorRoute,
    "Who answers in the place of errors with some statuses, instead of vestibule's own page. The first that is for a status is taken."
    " The request is then a GET (or the HEAD it was) without a body. An error that it meets itself has vestibule's own page.",
    (
        Key("statuses", ListOf(COUNT), "[502, 503, 504]", "statuses"),
        Key("status", COUNT, "503", "status", "The status that the client sees: that of the error unless said; 0 is that of the answer."),
        Key("upstream", FLAG, "true", "upstream"),
        Key("when", TEST, "'response_header:X-Accel-Redirect != \"\"'", "when"),
        Key("passes", TEXTS, '["Set-Cookie", "Content-Type"]', "passes"),
        Key("whole", FLAG, "true", "whole"),
        Key("keep", Named(TEMPLATE), '{ file = "{response_header:X-Accel-Redirect}" }', "keep"),
        *_SOURCE_KEYS,
        *_ACTION_KEYS,
    ),
)

FILES = Table(
    "files",
    model.Files,
    "A directory answers GET and HEAD, with validators and ranges. Nothing outside it is read but through its own symbolic links.",
    (
        Key("root", PATH, '"/srv/www"', "root"),
        Key("strip", PATH, '"/static/"', "strip"),
        Key("index", NAMES, '["index.html"]', "index"),
        Key("tries", ListOf(TEMPLATE), '["{path}", "/index.html"]', "tries"),
        Key("default_type", TEXT, '"text/plain"', "default_type"),
        Key("types", PAIRS, '{ webp = "image/webp" }', "types"),
        Key("hidden", FLAG, "false", "hidden"),
        Key("hide", NAMES, '["drafts", "*.bak", "/private"]', "hide"),
        Key("listing", FLAG, "true", "listing"),
        Key("precompressed", ListOf(Choice("gzip", "br", "zstd")), '["br", "gzip"]', "precompressed"),
        Key("status", COUNT, "503", "status"),
        Key("slash", Choice("url", "path", "bare", "stay"), '"url"', "slash"),
        Key("origin", TEMPLATE, '"https://{host}"', "origin"),
        Key("otherwise", Shape(TABLE), '{ to = "http://immich:2283" }', doc="Who answers where no file is; without it that is 404."),
    ),
)

OTHERWISE = Table(
    "otherwise",
    object,
    "Who answers where no file is.",
    _SOURCE_KEYS,
)

ACTION = Table(
    "actions",
    object,
    "One step before (`request`) or after (`response`) the source: an inline table with one of `set`, `add`, `edit`, `remove`,"
    " `strip_prefix`, `rewrite`, `query`, `deny`, `hang_up`, `drop_body`, `set_body`, `read_body`, `set_timeouts`, `keep_alive`,"
    " `client_certificate`, `basic_auth`, `auth_request`,"
    " `rate_limit`, `concurrency_limit`, `set_method`, `set_client`, `early_hint`, `remove_matching`,"
    " `set_variable`, `set_status`, `add_trailer`, `answer`, `substitute`, `bandwidth_limit`, `count`, `actions`."
    " Those from `strip_prefix` to `early_hint` are for requests only,"
    " those from `set_status` to `substitute` for responses only.",
    (
        Key("set", TEXT, '"X-Client"', doc="Give this field the `value`, replacing all it had. An empty value removes it."),
        Key("add", TEXT, '"Set-Cookie"', doc="Add one more line of this field with the `value`. An empty value adds none."),
        Key("edit", TEXT, '"Set-Cookie"', doc="Change each line of this field into the `value`, in which `field_line` is the old one."),
        Key("value", TEMPLATE, '"{client_ip}"', doc="The value for `set`, `add`, `edit`, `early_hint`, `set_variable` and `add_trailer`."),
        Key("remove", TEXT, '"Server"', doc="Remove every line of this field."),
        Key("strip_prefix", PATH, '"/photos"', doc="Take this off the path; a path without it stays."),
        Key("rewrite", TEMPLATE, '"/immich{path}"', doc="Replace the path."),
        Key("query", TEMPLATE, '"v=2"', doc="Replace the query; empty removes it. Alone or together with `rewrite`."),
        Key(
            "upstream_only",
            FLAG,
            "true",
            doc="With `rewrite` and `query`: variables, and whoever answers in the place of an error, go by the target before.",
        ),
        Key("deny", COUNT, "403", doc="Answer with an error page of this status and stop."),
        Key("hang_up", FLAG, "true", doc="Close the client's connection without an answer; with HTTP/2 the request alone is reset."),
        Key("drop_body", FLAG, "true", doc="Send the request on without its body, which is read and goes nowhere."),
        Key("set_body", TEMPLATE, '"{method} {path}"', doc="Send the request on with this body; its own is read and goes nowhere."),
        Key(
            "client_certificate",
            COUNT,
            "403",
            doc="Let only requests pass whose client showed a certificate that was accepted; others get an error page of this"
            " status. The listener's TLS profile says which are, and may leave it to clients whether they show one.",
        ),
        Key(
            "basic_auth",
            PAIRS,
            '{ alice = "$6$salt$..." }',
            doc="Let only requests pass that show the name and password of a user, and ask others for them (401). A password"
            " is a hash as `htpasswd` or `openssl passwd -6` write it, or `{PLAIN}` and the password itself.",
        ),
        Key(
            "auth_request",
            Shape(TABLE),
            '{ to = "http://127.0.0.1:9091", path = "/api/verify", copy = { Remote-User = "Remote-User" } }',
            doc="Ask a server whether the request may pass; see `auth_request`.",
        ),
        Key("set_timeouts", Shape(TABLE), '{ response_head = "30m" }', doc="Give this request other time-outs; see `set_timeouts`."),
        Key("keep_alive", Shape(TABLE), '{ idle = "5s" }', doc="How long the client's connection is kept; see `keep_alive`."),
        Key("read_body", Shape(TABLE), '{ least = 16384, time = "5s" }', doc="Wait for the body before what follows; see `read_body`."),
        Key(
            "rate_limit",
            Shape(TABLE),
            '{ key = "{client_ip}", requests = 10, burst = 20 }',
            doc="Let only so many requests pass in a time; see `rate_limit`.",
        ),
        Key(
            "concurrency_limit",
            Shape(TABLE),
            '{ key = "{client_ip}", most = 50 }',
            doc="Let only so many requests be under way at a time; see `concurrency_limit`.",
        ),
        Key(
            "bandwidth_limit",
            Shape(TABLE),
            '{ rate = "2MB", after = "10MB" }',
            doc="Let only so many bytes of a body pass in a second; see `bandwidth_limit`.",
        ),
        Key(
            "count",
            Shape(TABLE),
            '{ key = "{client_ip}", zone = "logins", name = "tries", period = "1m" }',
            doc="Count by a key, and keep the result; see `count`.",
        ),
        Key("set_method", TEMPLATE, '"POST"', doc="Send this method to the server."),
        Key(
            "set_client",
            TEMPLATE,
            '"{header:cf-connecting-ip}"',
            doc="Say who the client is from here on: to servers in PROXY headers, where servers are chosen by the client, and in logs."
            " What is no address changes nothing. Whoever may send the field may be anybody: for what proxies say there is `forwarding`.",
        ),
        Key(
            "early_hint",
            TEXT,
            '"Link"',
            doc="Send this field with the `value` to the client at once, in an answer of status 103 before the real one.",
        ),
        Key(
            "add_trailer",
            TEXT,
            '"Server-Timing"',
            doc="Add this field with the `value` behind the body. Clients of HTTP/1.0 get none, and nor does an answer without a body.",
        ),
        Key("remove_matching", TEXT, '"^x-internal-"', doc="Remove every field whose name, in lower case, this is found in."),
        Key("set_variable", TEXT, '"old_path"', doc="Keep the `value` under this name; `kept:NAME` finds it."),
        Key("keep_empty", FLAG, "true", doc="With `set` and `add`: a field without a value is one."),
        Key("ignore_case", FLAG, "true", doc="With `strip_prefix`: compare ASCII letters in any case."),
        Key("connection", FLAG, "true", doc="With `set_variable`: keep it for all requests of the connection."),
        Key(
            "substitute", Shape(TABLE), '{ texts = { "http://a/" = "https://b/" } }', doc="Change the body of the answer; see `substitute`."
        ),
        Key("set_status", COUNT, "404", doc="Give the answer this status."),
        Key("reason", TEXT, '"Not Here"', doc="With `set_status`: the words behind the status."),
        Key("answer", Shape(TABLE), '{ status = 502, body = "no" }', doc="Answer so in the place of the server; see `answer`."),
        Key("realm", TEXT, '"photos"', doc="With `basic_auth`: what the browser shows when it asks."),
        Key("delay", DURATION, '"2s"', doc="With `basic_auth`: how long the answer to a wrong password, or to none, is held back."),
        Key("when", TEST, "'method == \"POST\"'", doc="Do this only if the test is true."),
        Key("actions", Shape("an array of actions"), "[{ deny = 403 }]", doc="With `when`: what to do, in order."),
        Key("otherwise", Shape("an array of actions"), "[{ deny = 404 }]", doc="With `actions`: what to do if the test is not true."),
    ),
)

AUTH_REQUEST = Table(
    "auth_request",
    model.AuthRequest,
    "Ask a server, or a route of the site, whether the request may pass. The question has the request's fields and no body; an answer"
    " from 200 to 299 lets it pass. Otherwise, or without an answer, it does not.",
    (
        Key("to", Shape("a server's URL or the name of an upstream"), '"http://127.0.0.1:9091"', doc="The server that is asked."),
        Key("path", TEMPLATE, '"/api/verify"', "path", "The path of the question: that of the request unless said."),
        Key("query", TEMPLATE, '"rd=https://login.example.org"', "query", "Its query: that of the request unless said; empty is none."),
        Key("method", TEXT, '"GET"', "method"),
        Key("request", Shape("an array of actions"), '[{ set = "X-Original-Method", value = "{method}" }]', "request"),
        Key("copy", PAIRS, '{ Remote-User = "Remote-User" }', "copy"),
        Key("pass_answer", FLAG, "true", "pass_answer"),
        Key("route", TEXT, '"verify"', "route"),
        Key("refused", Shape("an array of actions"), '[{ basic_auth = { alice = "$2y$…" } }]', "refused"),
        Key("status_as", TEXT, '"verdict"', "status_as"),
    ),
)

SUBSTITUTE = Table(
    "substitute",
    model.Substitute,
    "Put other texts in the place of some in the body of an answer, as it passes. One that is compressed keeps its body: servers"
    " do not compress for a request without `Accept-Encoding`.",
    (
        Key("texts", Named(TEMPLATE), '{ "</head>" = "<script src=/x.js></script></head>" }', "texts"),
        Key("types", TEXTS, '["text/html", "text/css"]', "types"),
        Key("once", FLAG, "false", "once"),
        Key("keep_validators", FLAG, "true", "keep_validators"),
    ),
)

SET_TIMEOUTS = Table(
    "set_timeouts",
    model.SetTimeouts,
    "Give this request other time-outs than its route has, in all that it goes through.",
    (
        Key("response_head", DURATION, '"30m"', "response_head_ms"),
        Key("tunnel_idle", DURATION, '"12h"', "tunnel_idle_ms"),
    ),
)

KEEP_ALIVE = Table(
    "keep_alive",
    model.KeepAlive,
    "How long the connection of a client that speaks HTTP/1 is kept after the answer to this request.",
    (
        Key("idle", DURATION, '"5s"', "idle_ms"),
        Key("requests", COUNT, "100", "requests"),
        Key("age", DURATION, '"1h"', "age_ms"),
        Key("told", COUNT, "5", "told_s"),
    ),
)

READ_BODY = Table(
    "read_body",
    model.ReadBody,
    "Wait for the body of the request before what follows, where `body` finds it then. What does not come in time is answered 408."
    " In `response` the answer is held back until its body is there, and the client gets 504 if it does not come in time.",
    (
        Key("least", COUNT, "16384", "least"),
        Key("time", DURATION, '"5s"', "time_ms"),
    ),
)

RATE_LIMIT = Table(
    "rate_limit",
    model.RateLimit,
    "Let only so many requests of a key pass in a time; further ones get an error page. Counted in each worker.",
    (
        Key("key", TEMPLATE, '"{client_ip}"', "key"),
        Key("requests", COUNT, "10", "requests"),
        Key("period", DURATION, '"1s"', "period_ms"),
        Key("burst", COUNT, "20", "burst"),
        Key(
            "at_once",
            COUNT,
            "5",
            "at_once",
            "How many of the burst go on at once, all of them unless said; further ones wait until it is their turn.",
        ),
        Key("status", COUNT, "429", "status"),
        Key("zone", TEXT, '"login"', "zone"),
        Key("keys", COUNT, "16384", "keys"),
        Key("status_as", TEXT, '"limited"', "status_as"),
        Key("trial", FLAG, "true", "trial"),
    ),
)

CONCURRENCY_LIMIT = Table(
    "concurrency_limit",
    model.ConcurrencyLimit,
    "Let only so many requests of a key be under way at a time; further ones get an error page. Counted in each worker."
    " Also in a route of layer 4, as `concurrency`, of connections.",
    (
        Key("key", TEMPLATE, '"{client_ip}"', "key"),
        Key("most", COUNT, "50", "most"),
        Key("status", COUNT, "503", "status"),
        Key("zone", TEXT, '"downloads"', "zone"),
        Key("status_as", TEXT, '"limited"', "status_as"),
        Key("trial", FLAG, "true", "trial"),
    ),
)

BANDWIDTH_LIMIT = Table(
    "bandwidth_limit",
    model.BandwidthLimit,
    "Let only so many bytes of a body pass in a second. Where several meet a body, all of them hold. What the proxy answers from"
    " memory is not slowed, nor is a WebSocket. Counted in each worker. Also in a route of layer 4, as `bandwidth`.",
    (
        Key("rate", TEMPLATE, '"2MB"', "rate"),
        Key("of", Choice("response", "request"), '"request"', "of"),
        Key("after", TEMPLATE, '"10MB"', "after", "How many bytes of each body pass first at full speed: none unless said."),
        Key(
            "key",
            TEMPLATE,
            '"{client_ip}"',
            "key",
            "Who shares the rate: all bodies with the same key; an empty one is no limit. Each body has its own unless said.",
        ),
        Key("zone", TEXT, '"downloads"', "zone"),
    ),
)

COUNT_TABLE = Table(
    "count",
    model.Count,
    "Count by a key, and keep how many there are now under a name, which `kept:NAME` finds. Counted in each worker.",
    (
        Key("key", TEMPLATE, '"{client_ip}"', "key"),
        Key("zone", TEXT, '"logins"', "zone"),
        Key("name", TEXT, '"tries"', "name"),
        Key("add", COUNT, "0", "add"),
        Key("period", DURATION, '"1m"', "period_ms"),
        Key("while_open", FLAG, "true", "while_open"),
        Key("keys", COUNT, "100000", "keys"),
        Key("expire", DURATION, '"10m"', "expire_ms"),
        Key("how", Choice("add", "set", "look", "find"), '"look"', "how"),
        Key("of", Choice("requests", "bytes_in", "bytes_out"), '"bytes_out"', "of"),
    ),
)

ANSWER = Table(
    "answer",
    model.ReplaceAnswer,
    "An answer in the place of a server's. The actions behind it change this answer.",
    (
        Key("status", COUNT, "502", "status"),
        Key("body", TEMPLATE, '"not for you\\n"', "body"),
        Key("headers", Shape("a table of templates, or an array of pairs"), '{ Content-Type = "text/plain" }', "headers"),
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

METRICS = Table(
    "metrics",
    model.Metrics,
    "A page with the figures of the whole proxy, some seconds old at most. A form alone is the `form`.",
    (
        Key("form", Choice("prometheus", "json", "html", "nginx", "apache", "haproxy"), '"html"', "form"),
        Key("version", FLAG, "false", "version"),
        Key("refresh", SECONDS, '"10s"', "refresh_s"),
        Key("only", NAMES, '["photos.example.org", "immich"]', "only"),
        Key("title", TEXT, '"the machine in the cellar"', "title"),
        Key("names", PAIRS, '{ "immich/first" = "10.0.0.5:2283" }', "names"),
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
