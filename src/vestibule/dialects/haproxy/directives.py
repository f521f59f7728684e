"""The directives of haproxy.cfg: where each may stand, and what becomes of it.

Facts: names, places and meanings are those of the configuration manuals of HAProxy 2.6 to 2.8, chapters 3, 4 and 5.

Rules
  ``supported`` directives are carried out by ``lower``. ``harmless`` ones are left out with a warning whose ``advice``
  says why that does no harm. ``error`` ones are refused with an ``advice`` that says what to do.
  In ``contexts``: G global, D defaults, F frontend, L listen, B backend, U userlist, E http-errors.
  Options, time-outs and rules are rows of their own, named with both their words.

Not here: words after the name (``bind`` and ``server`` options are in ``options``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["supported", "harmless", "error"]


@dataclass(frozen=True, slots=True)
class Directive:
    """One row: a directive, where it may stand, what becomes of it, and what it is."""

    name: str
    contexts: str
    state: State
    doc: str
    advice: str = ""


SECTIONS: dict[str, tuple[State, str]] = {
    "resolvers": ("harmless", "names are looked up by the system, again and again while the program runs"),
    "peers": ("harmless", "nothing is shared between instances"),
    "mailers": ("harmless", "no mails are sent; watch the error log"),
    "ring": ("harmless", "logs go to syslog servers, standard output or standard error"),
    "cache": ("error", "leave it out, with its `cache-use` and `cache-store` rules"),
    "fcgi-app": ("harmless", "no proxy can use it; put an HTTP server before the application"),
    "program": ("error", "start the program by itself"),
    "log-forward": ("error", "use a syslog server"),
    "crt-store": ("error", "name the files with `crt`"),
    "acme": ("error", "get certificates with an ACME client and name them with `crt`"),
    "traces": ("harmless", "nothing is traced"),
}
"""Sections that are known and not read."""

_KERNEL = "the kernel's default is right"
_LOG = "the access log says what vestibule logs"
_TUNE = "it tunes a part of HAProxy that is built otherwise here"


def _rows(state: State, contexts: str, names: str, doc: str, advice: str = "") -> list[Directive]:
    """Make the rows of directives that differ in their names alone; names are separated by bars."""
    return [Directive(name.strip(), contexts, state, doc, advice) for name in names.split("|")]


_GLOBAL = [
    *_rows("supported", "G", "user | group", "The account to become."),
    *_rows("supported", "G", "maxconn", "Connections at a time; counted in each worker."),
    *_rows("supported", "G", "nbthread", "How many workers there are."),
    *_rows("supported", "G", "pidfile", "A file for the process id."),
    *_rows("supported", "G", "stats socket", "A unix socket that takes commands: figures, and states and weights of servers."),
    *_rows("supported", "G", "log-send-hostname", "Lines at syslog servers name the host; it is always this machine's."),
    *_rows("supported", "GDFLB", "log-tag", "The name of the program in lines at syslog servers."),
    *_rows("supported", "G", "log", "Where logs go: a syslog server, standard output or error."),
    *_rows("supported", "G", "ssl-default-bind-ciphers", "Ciphers of TLS 1.2."),
    *_rows("supported", "G", "ssl-default-bind-ciphersuites", "Suites of TLS 1.3."),
    *_rows("supported", "G", "ssl-default-bind-curves", "Groups of TLS."),
    *_rows("supported", "G", "ssl-default-bind-options", "TLS versions and tickets."),
    *_rows("supported", "G", "ca-base | crt-base", "Directories that certificates count from."),
    *_rows("harmless", "G", "daemon", "Run in the background.", "vestibule stays in the foreground, as service managers want it"),
    *_rows("harmless", "G", "master-worker | nbproc | mworker-max-reloads | set-dumpable | node | description", "Processes.", _TUNE),
    *_rows("harmless", "G", "chroot", "Confine the process.", "workers open no files of their own"),
    *_rows("harmless", "G", "uid | gid", "Accounts by number.", "name the account with `user` and `group`"),
    *_rows(
        "harmless",
        "G",
        "stats timeout | stats maxconn",
        "The runtime socket.",
        "`vestibule status` asks vestibule's own socket",
    ),
    *_rows("harmless", "G", "ssl-default-bind-sigalgs", "Signatures of TLS.", "those of the TLS library are used"),
    *_rows("supported", "G", "ssl-default-server-ciphers", "Ciphers of TLS 1.2 to servers."),
    *_rows("supported", "G", "ssl-default-server-ciphersuites", "Suites of TLS 1.3 to servers."),
    *_rows("supported", "G", "ssl-default-server-curves", "Groups of TLS to servers."),
    *_rows("supported", "G", "ssl-default-server-options", "TLS versions to servers."),
    *_rows("harmless", "G", "ssl-dh-param-file | tune.ssl.default-dh-param", "Diffie-Hellman.", "only elliptic curves are used"),
    *_rows(
        "harmless",
        "G",
        "ssl-load-extra-files | ssl-engine | ssl-mode-async | issuers-chain-path",
        "Loading of certificates.",
        "a PEM file holds certificate, chain and key",
    ),
    *_rows(
        "harmless",
        "G",
        (
            "quiet | zero-warning | strict-limits | ulimit-n | fd-hard-limit | "
            "hard-stop-after | grace | spread-checks | busy-polling | noepoll | nopoll | nosplice | noreuseport | "
            "cpu-map | numa-cpu-mapping | thread-groups | "
            "maxcomprate | maxcompcpuusage | maxpipes | maxzlibmem | server-state-base | server-state-file | localpeer | "
            "default-path | unix-bind | external-check | insecure-fork-wanted | insecure-setuid-wanted | h1-case-adjust | "
            "h1-case-adjust-file | expose-experimental-directives | expose-deprecated-directives | "
            "profiling.tasks | setenv | presetenv | unsetenv | "
            "resetenv | wurfl-data-file | cluster-secret | close-spread-time | httpclient.ssl.verify | "
            "httpclient.resolvers.prefer"
        ),
        "The process.",
        _TUNE,
    ),
    *_rows(
        "harmless",
        "G",
        (
            "tune.bufsize.small | tune.buffers.limit | tune.buffers.reserve | tune.fail-alloc | tune.fd.edge-triggered | "
            "tune.h1.zero-copy-fwd-recv | tune.h1.zero-copy-fwd-send | tune.h2.be.initial-window-size | "
            "tune.h2.be.max-concurrent-streams | tune.h2.fe.initial-window-size | tune.h2.fe.max-concurrent-streams | "
            "tune.h2.max-frame-size | tune.h2.zero-copy-fwd-send | tune.idle-pool.shared | tune.listener.default-shards | "
            "tune.peers.max-updates-at-once | tune.quic.frontend.conn-tx-buffers.limit | tune.quic.max-frame-loss | "
            "tune.quic.retry-threshold | "
            "tune.quic.socket-owner | tune.ssl.capture-cipherlist-size | tune.ssl.ocsp-update.maxdelay | tune.ssl.ocsp-update.mindelay | "
            "tune.stick-counters | tune.takeover-other-tg-connections | tune.vars.proc-max-size | tune.vars.reqres-max-size | "
            "tune.vars.sess-max-size | tune.vars.txn-max-size | tune.pt.zero-copy-forwarding | "
            "tune.bufsize | tune.maxrewrite | tune.http.maxhdr | tune.comp.maxlevel | tune.h2.header-table-size | "
            "tune.h2.initial-window-size | tune.h2.max-concurrent-streams | tune.http.logurilen | tune.http.cookielen | "
            "tune.idletimer | tune.listener.multi-queue | tune.maxaccept | tune.maxpollevents | tune.memory.hot-size | "
            "tune.pattern.cache-size | tune.pipesize | tune.pool-high-fd-ratio | tune.pool-low-fd-ratio | "
            "tune.rcvbuf.client | tune.rcvbuf.server | tune.recv_enough | tune.runqueue-depth | tune.sched.low-latency | "
            "tune.sndbuf.client | tune.sndbuf.server | tune.ssl.cachesize | tune.ssl.capture-buffer-size | "
            "tune.ssl.force-private-cache | tune.ssl.hard-maxrecord | tune.ssl.keylog | tune.ssl.lifetime | "
            "tune.ssl.maxrecord | tune.ssl.ssl-ctx-cache-size | tune.vars.global-max-size | tune.zlib.memlevel | "
            "tune.zlib.windowsize"
        ),
        "Sizes and shares.",
        _TUNE,
    ),
    *_rows(
        "error",
        "G",
        "lua-load | lua-load-per-thread | lua-prepend-path | tune.lua.maxmem",
        "Lua.",
        "Lua is not run here; write the policy with rules",
    ),
    *_rows("error", "G", "module-load | module-path | deviceatlas-json-file | 51degrees-data-file", "Modules.", "leave it out"),
    *_rows("supported", "G", "maxconnrate | maxsessrate", "Connections in a second; counted at each listener of each worker."),
    *_rows("supported", "G", "maxsslrate", "The same for listeners with TLS."),
    *_rows(
        "error",
        "G",
        "maxsslconn",
        "Limits of the whole process.",
        "limit clients with `stick-table` and `sc_http_req_rate`, or connections with `maxconn`, and leave this out",
    ),
    *_rows("supported", "G", "ssl-server-verify", "Whether certificates of servers are verified where none of them says so."),
]

_PROXY = [
    *_rows("supported", "DFLB", "mode", "`http`, or `tcp` for connections that are passed on as they are."),
    *_rows("supported", "FL", "bind", "Where to listen; see the options."),
    *_rows("supported", "DFLB", "timeout client", "Silence of a client."),
    *_rows("supported", "DFLB", "timeout server", "Silence of a server."),
    *_rows("supported", "DFLB", "timeout connect", "Connecting to a server."),
    *_rows("supported", "DFLB", "timeout http-request", "Until a request head is complete."),
    *_rows("supported", "DFLB", "timeout http-keep-alive", "Until the next request of a connection."),
    *_rows("supported", "DFLB", "timeout queue", "Waiting for a connection slot of a server."),
    *_rows("supported", "DFLB", "timeout tunnel", "Silence of a WebSocket, both ways."),
    *_rows("harmless", "DFLB", "timeout client-fin | timeout server-fin", "Half-closed connections.", "they end with `timeout tunnel`"),
    *_rows("supported", "DFLB", "timeout check", "How long a health check may take."),
    *_rows("harmless", "DFLB", "timeout tarpit", "Delay of `tarpit`.", "`tarpit` answers at once"),
    *_rows("supported", "DFL", "maxconn", "Connections at a time; counted in each worker."),
    *_rows("supported", "DFLB", "log", "Where logs go: a syslog server, standard output or error."),
    *_rows("supported", "DFL", "log-format", "The line of the access log."),
    *_rows("harmless", "DFLB", "log-format-sd | error-log-format", "Logs.", _LOG),
    *_rows("supported", "FLB", "acl", "A named condition."),
    *_rows("supported", "FL", "use_backend", "Choose a backend by a condition."),
    *_rows("supported", "DFL", "default_backend", "The backend where no rule chose one."),
    *_rows("supported", "LB", "use-server", "Choose a server by a condition; balanced where none holds."),
    *_rows("supported", "LB", "server", "A server; see the options."),
    *_rows("supported", "DLB", "default-server", "Options of the servers after it."),
    *_rows("supported", "DLB", "balance", "Which server gets a request."),
    *_rows("supported", "DLB", "hash-type", "How `balance` hashes: by HAProxy's sums if `map-based`, else one consistent hash."),
    *_rows("supported", "DLB", "hash-balance-factor", "The most load of a server, in percent of its share, where `balance` hashes."),
    *_rows("supported", "DLB", "cookie", "Cookies that tie a client to a server."),
    *_rows("supported", "DLB", "dynamic-cookie-key", "Cookies made from addresses; vestibule has a key of its own."),
    *_rows("supported", "LB", "stick", "Tie clients to servers, by a hash and without a table."),
    *_rows("supported", "FLB", "stick-table", "A table: its counters, in each worker; `stick on` needs none here."),
    *_rows("supported", "DLB", "retries", "Tries after the first."),
    *_rows("supported", "DLB", "retry-on", "What is tried again."),
    *_rows("supported", "DFLB", "disabled", "Leave the proxy out."),
    *_rows("harmless", "DFLB", "enabled | id | description", "About the proxy.", "it says nothing that is needed"),
    *_rows("supported", "DFL", "monitor-uri", "A path answered by the proxy itself, for checks."),
    *_rows("supported", "FLB", "redirect", "Send clients elsewhere."),
    *_rows("supported", "DFL", "unique-id-header", "A field with the identifier of the request."),
    *_rows("supported", "DFL", "unique-id-format", "How identifiers look."),
    *_rows("supported", "DFLBE", "errorfile", "An answer in the place of an error."),
    *_rows("supported", "DFLB", "errorfiles | http-error", "Answers in the place of errors."),
    *_rows("supported", "DFLB", "errorloc | errorloc302 | errorloc303", "Redirects in the place of errors."),
    *_rows("supported", "DFL", "monitor fail", "Have the path for checks answer 503."),
    *_rows("supported", "DFLB", "compression", "Compress answers with gzip."),
    *_rows("harmless", "DFL", "backlog", "Connections the kernel keeps waiting.", _KERNEL),
    *_rows("supported", "DFL", "declare capture | capture request", "Keep fields for later rules."),
    *_rows("supported", "DFL", "capture response", "Keep fields for logs."),
    *_rows("harmless", "DFL", "capture cookie", "Capture for logs.", _LOG),
    *_rows(
        "harmless",
        "DLB",
        ("fullconn | load-server-state-from-file | server-state-file-name | max-keep-alive-queue | hash-preserve-affinity"),
        "Balancing.",
        "it has no effect here",
    ),
    *_rows("supported", "DLB", "http-reuse", "Reuse of connections to servers."),
    *_rows("supported", "DLB", "http-check", "What a health check sends, and what it expects."),
    *_rows("supported", "DLB", "tcp-check", "Health checks of connections: what is sent, and what must come."),
    *_rows("harmless", "DLB", "external-check", "Programs that check.", "no program is run; servers are well while they take connections"),
    *_rows("harmless", "DFLB", "email-alert", "Mails.", "no mails are sent; watch the error log"),
    *_rows("supported", "DFL", "rate-limit sessions", "Connections in a second; counted at each listener of each worker."),
    *_rows("supported", "LB", "dispatch", "A server without a name."),
    *_rows("error", "DFLB", "force-persist | ignore-persist | persist", "Persistence.", "leave it out"),
    *_rows("supported", "DLB", "source", "The address connections to servers come from."),
    *_rows("supported", "LB", "server-template", "The servers that a name stands for, however many."),
    *_rows("supported", "FLB", "filter bwlim-out | filter bwlim-in", "Limits of bytes in a time, for `set-bandwidth-limit`."),
    *_rows("harmless", "FLB", "filter compression", "The order of compression.", "there is one order here"),
    *_rows("error", "FLB", "filter", "Other filters.", "leave it out"),
    *_rows("error", "B", "use-fcgi-app", "FastCGI.", "put an HTTP server before the application"),
    *_rows(
        "supported",
        "DFLB",
        (
            "stats enable | stats uri | stats realm | stats auth | stats refresh | stats hide-version | "
            "stats scope | stats show-node | stats show-desc"
        ),
        "The page of statistics, and with `;csv` behind its URI the table of `show stat`; nobody changes anything on it.",
    ),
    *_rows("harmless", "DFLB", "stats show-legends | stats show-modules | stats bind-process", "More on the page of statistics.", _TUNE),
    *_rows("harmless", "DFLB", "stats admin", "Changes on the page of statistics.", "the page shows, and `vestibule upstream` changes"),
    *_rows("error", "DFLB", "stats http-request", "Rules for the page alone.", "write `http-request` rules for its path, and `stats auth`"),
    *_rows("harmless", "DFLB", "bind-process", "Processes.", _TUNE),
]

_OPTIONS = [
    *_rows("supported", "DFLB", "option forwardfor", "Add X-Forwarded-For."),
    *_rows("supported", "DFLB", "option originalto", "Add X-Original-To."),
    *_rows("supported", "DFLB", "option forwarded", "Add Forwarded (RFC 7239): `proto` and `for`."),
    *_rows("supported", "DFLB", "option httplog", "Log requests; `clf` in the common format."),
    *_rows("supported", "DFLB", "option tcplog", "Log connections."),
    *_rows("supported", "DFLB", "option dontlognull", "Connections without a request are never logged."),
    *_rows("harmless", "DFLB", "option httpslog", "Log requests and TLS.", "say it in a `log-format`; `option httplog` is known"),
    *_rows("supported", "DFLB", "option httpclose | option forceclose", "One request for each connection."),
    *_rows("supported", "DFLB", "option http-server-close", "Do not keep connections to servers."),
    *_rows("supported", "DFLB", "option http-keep-alive", "Keep connections, which is the default."),
    *_rows(
        "harmless",
        "DFLB",
        ("option dontlog-normal | option logasap | option log-separate-errors | option socket-stats | option contstats"),
        "Logs.",
        _LOG,
    ),
    *_rows("supported", "DFLB", "option log-health-checks", "Outcomes of checks are told where `log` says."),
    *_rows("supported", "DFLB", "option httpchk", "Health checks by a request."),
    *_rows("supported", "DFLB", "option tcp-check | option ssl-hello-chk", "Health checks by a connection, or a TLS handshake."),
    *_rows(
        "supported",
        "DFLB",
        "option ldap-check | option mysql-check | option pgsql-check | option redis-check | option smtpchk",
        "Health checks of other protocols.",
    ),
    *_rows(
        "supported",
        "DFLB",
        "option spop-check | option external-check",
        "Health checks of other protocols: here a connection is enough.",
    ),
    *_rows(
        "harmless",
        "DFLB",
        (
            "option tcpka | option clitcpka | option srvtcpka | option nolinger | option tcp-smart-accept | "
            "option tcp-smart-connect | option splice-auto | option splice-request | option splice-response"
        ),
        "Sockets.",
        _KERNEL,
    ),
    *_rows(
        "harmless",
        "DFLB",
        "option redispatch | option persist | option prefer-last-server",
        "Balancing.",
        "a request goes to the next server where one refuses",
    ),
    *_rows(
        "error", "DFLB", "option checkcache", "Refuse answers that caches could hand to others.", "set `Cache-Control` with `http-response`"
    ),
    *_rows("supported", "DFLB", "option http-restrict-req-hdr-names", "What becomes of fields with `_` in their names."),
    *_rows("supported", "DFLB", "option allbackups", "All backup servers share requests, not the first alone."),
    *_rows("harmless", "DFLB", "option abortonclose", "Give up waiting requests of clients that left.", "that is done always"),
    *_rows(
        "harmless",
        "DFLB",
        (
            "option http-no-delay | option http-ignore-probes | option http-pretend-keepalive | "
            "option http-use-proxy-header | option http-use-htx | option http-tunnel | option idle-close-on-response | "
            "option h1-case-adjust-bogus-client | option h1-case-adjust-bogus-server | "
            "option disable-h2-upgrade | option independent-streams | "
            "option accept-unsafe-violations-in-http-request | option accept-unsafe-violations-in-http-response"
        ),
        "Manners of HTTP.",
        "vestibule is strict always and keeps the case of fields",
    ),
    *_rows(
        "harmless",
        "DFLB",
        "option accept-invalid-http-request | option accept-invalid-http-response",
        "Let broken messages pass.",
        "they are refused, because two readers may take them for two things",
    ),
    *_rows("supported", "DFLB", "option http-buffer-request", "Wait for the body, as far as 16 KiB, before rules are run."),
    *_rows("error", "DFLB", "option http_proxy | option transparent", "Proxies of other kinds.", "leave it out"),
]

_RULES = [
    *_rows("supported", "DFLB", "http-request replace-path", "Rewrite the path by a regular expression."),
    *_rows(
        "supported",
        "DFLB",
        "http-request replace-header | http-response replace-header | http-after-response replace-header",
        "Give a field another value by a regular expression.",
    ),
    *_rows(
        "supported", "DFLB", "http-request set-header | http-request add-header | http-request del-header", "Edit fields of the request."
    ),
    *_rows(
        "supported",
        "DFLB",
        "http-response set-header | http-response add-header | http-response del-header",
        "Edit fields of the answers of servers.",
    ),
    *_rows(
        "supported",
        "DFLB",
        "http-after-response set-header | http-after-response add-header | http-after-response del-header",
        "Edit fields of every answer.",
    ),
    *_rows(
        "supported",
        "DFLB",
        "http-request set-path | http-request set-pathq | http-request set-query | http-request set-uri",
        "Rewrite the target.",
    ),
    *_rows("supported", "DFLB", "http-request deny | http-request tarpit", "Refuse a request; `tarpit` without its delay."),
    *_rows("supported", "DFLB", "http-request auth", "Ask for a name and a password of a userlist."),
    *_rows("supported", "DFLB", "http-request allow", "Skip the rules after it."),
    *_rows("supported", "DFLB", "http-request redirect", "Send clients elsewhere."),
    *_rows("supported", "DFLB", "http-request return", "Answer by itself."),
    *_rows(
        "supported", "DFLB", "http-request set-var | http-request set-var-fmt | http-request unset-var", "Keep a value for later rules."
    ),
    *_rows(
        "supported",
        "DFLB",
        "http-response set-var | http-response set-var-fmt | http-response unset-var | "
        "http-after-response set-var | http-after-response set-var-fmt | http-after-response unset-var",
        "Keep a value for later rules.",
    ),
    *_rows(
        "supported",
        "DFLB",
        "tcp-request connection | tcp-request session | tcp-request content",
        "`reject`, `accept` and `track-sc`; in `mode http` a refused client's connection is closed.",
    ),
    *_rows(
        "supported",
        "DFLB",
        "tcp-request inspect-delay",
        "How long to wait for a TLS hello in `mode tcp`; a request head is always complete before rules are run.",
    ),
    *_rows(
        "harmless",
        "DFLB",
        ("http-response capture | http-request set-log-level | http-response set-log-level | http-after-response capture"),
        "Logs.",
        _LOG,
    ),
    *_rows(
        "harmless",
        "DFLB",
        (
            "http-request set-nice | http-request set-mark | http-request set-tos | http-response set-nice | "
            "http-response set-mark | http-response set-tos | http-request set-priority-class | "
            "http-request set-priority-offset | http-request disable-l7-retry | http-request strict-mode | "
            "http-response strict-mode | http-after-response strict-mode | http-request wait-for-handshake"
        ),
        "Shares and marks.",
        "it has no effect here",
    ),
    *_rows(
        "supported",
        "DFLB",
        "http-request replace-value | http-response replace-value | http-after-response replace-value",
        "Give values between commas others by a regular expression.",
    ),
    *_rows("supported", "DFLB", "http-request replace-pathq | http-request replace-uri", "Rewrite path and query by a regular expression."),
    *_rows(
        "supported",
        "DFLB",
        "http-request set-method | http-response set-status | http-after-response set-status",
        "Change the start line.",
    ),
    *_rows(
        "supported",
        "DFLB",
        "http-request set-src | http-request set-src-port | http-request set-dst | http-request set-dst-port",
        "Change the addresses that later rules, fields and the log see; servers are chosen by those of the connection.",
    ),
    *_rows("supported", "DFLB", "http-request early-hint", "Send a field to the client before the answer (103)."),
    *_rows("supported", "DFLB", "http-request normalize-uri", "Write the target in a normal form."),
    *_rows(
        "supported",
        "DFLB",
        "http-request set-timeout",
        "Other time-outs for one request: `server` and `tunnel`. That of `server` shortens no silence in bodies.",
    ),
    *_rows("supported", "DFLB", "http-request wait-for-body", "Wait for the body, as far as 16 KiB, before the next rule."),
    *_rows("supported", "DFLB", "http-response wait-for-body", "Hold an answer back until its body is there, as far as 16 KiB."),
    *_rows("supported", "DFLB", "http-request reject | http-request silent-drop", "Close the connection without an answer."),
    *_rows("supported", "DFLB", "http-request capture", "Keep a value for later rules."),
    *_rows(
        "supported", "DFLB", "http-request set-bandwidth-limit | http-response set-bandwidth-limit", "Put in a filter of bytes in a time."
    ),
    *_rows("error", "DFLB", "http-response silent-drop", "Drop a connection.", "use `http-request silent-drop`"),
    *_rows(
        "supported",
        "DFLB",
        "http-response deny | http-response return | http-response redirect",
        "Answer in the place of a server.",
    ),
    *_rows(
        "supported",
        "DFLB",
        "http-request sc-inc-gpc0 | http-request sc-inc-gpc1 | http-response sc-inc-gpc0 | http-response sc-inc-gpc1 | "
        "http-request sc-inc-gpc | http-response sc-inc-gpc | http-request sc-add-gpc | http-response sc-add-gpc | "
        "http-request sc-set-gpt | http-response sc-set-gpt | http-request sc-set-gpt0 | http-response sc-set-gpt0",
        "Count more for what a slot tracks, or mark it with a number.",
    ),
    *_rows("supported", "DFLB", "http-response allow | http-after-response allow", "Skip the rules after it."),
    *_rows(
        "supported",
        "DFLB",
        "http-request track-sc0 | http-request track-sc1 | http-request track-sc2",
        "Count by a key in the `stick-table`; `sc_http_req_rate(0)` and its kin read it.",
    ),
    *_rows("error", "DFLB", "http-request cache-use | http-response cache-store", "The cache.", "leave it out"),
    *_rows(
        "error",
        "DFLB",
        "http-request lua | http-response lua",
        "Lua.",
        "write the policy with rules",
    ),
    *_rows("supported", "DFLB", "http-request use-service", "`prometheus-exporter`: figures for Prometheus, by vestibule's own names."),
    *_rows(
        "error",
        "DFLB",
        (
            "http-request do-resolve | http-request set-map | http-request del-map | "
            "http-request add-acl | http-request del-acl | http-response set-map | http-response add-acl | "
            "http-response del-acl | http-response del-map"
        ),
        "Rules of rarer use.",
        "leave it out",
    ),
    *_rows(
        "supported",
        "DLB",
        "tcp-response content",
        "Rules for answers in `mode http`, before `http-response`: `accept`, `reject` (the client gets 502), variables and counters.",
    ),
    *_rows(
        "harmless",
        "DLB",
        "tcp-response inspect-delay",
        "How long to wait for bytes of servers.",
        "the head of an answer is complete before rules are run",
    ),
    *_rows("error", "DFLB", "tcp-response", "Rules for bytes of servers.", "write `tcp-response content`"),
]

_USERS = [
    *_rows("supported", "U", "user", "A name with its password, plain or hashed."),
    *_rows("supported", "U", "group", "Names that belong together."),
]

DIRECTIVES: dict[str, Directive] = {}
for _row in [*_GLOBAL, *_PROXY, *_OPTIONS, *_RULES, *_USERS]:
    _known = DIRECTIVES.get(_row.name)
    if _known is None:
        DIRECTIVES[_row.name] = _row
    else:
        # `user`, `log` and `maxconn` mean much the same in several kinds of section.
        _doc = _known.doc if _known.doc == _row.doc else f"{_known.doc} {_row.doc}"
        DIRECTIVES[_row.name] = Directive(_row.name, _known.contexts + _row.contexts, _known.state, _doc, _known.advice or _row.advice)
