"""The directives of a Caddyfile: the order they run in, and what becomes of each.

Facts: names and order are those of Caddy's documentation ("Caddyfile Directives", "Directive order"), versions 2.6 to 2.10.

Rules: ``supported`` directives are carried out; ``harmless`` ones are left out with a warning that says why; ``error`` ones
are refused with what to do.

Not here: what is inside their blocks (``rules``, ``proxy``, ``site``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["supported", "harmless", "error"]


@dataclass(frozen=True, slots=True)
class Directive:
    """One row: a directive, what becomes of it, what it is, and what to do or why it does no harm."""

    name: str
    state: State
    doc: str
    advice: str = ""


_ORDERED = (
    Directive("tracing", "harmless", "Traces of requests.", "requests are not traced"),
    Directive("map", "supported", "Placeholders whose values follow from another value."),
    Directive("vars", "supported", "Variables for later use."),
    Directive("fs", "error", "File systems.", "leave it out"),
    Directive("root", "supported", "The directory files are served from."),
    Directive("log_append", "harmless", "Fields of log lines.", "the access log says what vestibule logs"),
    Directive("skip_log", "supported", "The older name of `log_skip`."),
    Directive("log_skip", "supported", "Requests without a line in the access log."),
    Directive("log_name", "harmless", "Which log a request goes to.", "a request goes to all logs of its site"),
    Directive("header", "supported", "Edit fields of answers."),
    Directive("copy_response_headers", "supported", "In `handle_response`: keep fields of the answer, by `include`."),
    Directive("request_body", "supported", "`max_size`: the largest request body."),
    Directive("redir", "supported", "Send clients elsewhere; `html` sends browsers alone."),
    Directive("method", "supported", "Ask servers with another method; a HEAD stays one."),
    Directive("rewrite", "supported", "Replace path and query."),
    Directive("uri", "supported", "Edit path and query; in `path_regexp`, and in parts of a value, placeholders are refused."),
    Directive("try_files", "supported", "Look for files; the first that is there replaces the path. `=404` ends it."),
    Directive("basicauth", "supported", "The older name of `basic_auth`."),
    Directive("basic_auth", "supported", "Ask for a name and a password."),
    Directive("forward_auth", "supported", "Ask another server who may pass."),
    Directive("request_header", "supported", "Edit fields of requests."),
    Directive("encode", "supported", "Compress answers with gzip; other formats are left out."),
    Directive("push", "harmless", "HTTP/2 pushes.", "browsers have dropped them"),
    Directive("intercept", "supported", "Replace answers of servers, as `handle_response` of `reverse_proxy` does."),
    Directive("templates", "error", "Pages with Go templates.", "write plain pages, or put a server for them behind `reverse_proxy`"),
    Directive("invoke", "supported", "A named route."),
    Directive("handle", "supported", "Directives for the first of several that matches."),
    Directive("handle_path", "supported", "As `handle`, and takes its path off."),
    Directive("route", "supported", "Directives in the order they are written."),
    Directive("abort", "supported", "Cut the connection."),
    Directive("error", "supported", "An error page."),
    Directive("copy_response", "supported", "In `handle_response`: send the answer on, with another status if need be."),
    Directive("respond", "supported", "An answer of the proxy's own."),
    Directive("metrics", "supported", "Figures for Prometheus, by vestibule's own names."),
    Directive("reverse_proxy", "supported", "Servers that answer."),
    Directive(
        "php_fastcgi",
        "error",
        "PHP over FastCGI.",
        "put a server of HTTP before PHP (images have `apache` variants), and use `reverse_proxy`",
    ),
    Directive("file_server", "supported", "Files; `browse` lists directories with a page of vestibule's own."),
    Directive("acme_server", "error", "An ACME server.", "leave it out"),
)

ORDER: dict[str, int] = {each.name: at for at, each in enumerate(_ORDERED)}
"""Where a directive stands in Caddy's order."""

_ELSEWHERE = (
    Directive("bind", "supported", "Addresses to listen on."),
    Directive("tls", "supported", "Certificates and versions of TLS."),
    Directive("log", "supported", "The access log."),
    Directive("import", "supported", "Put a snippet or files here."),
    Directive("handle_errors", "supported", "Who answers in the place of errors."),
)

_PLUGINS = (
    Directive("rate_limit", "error", "A plugin: limits of rates.", "say `rate_limit` in vestibule's own language (`adapt --to toml`)"),
    Directive("ratelimit", "error", "A plugin: limits of rates.", "say `rate_limit` in vestibule's own language (`adapt --to toml`)"),
    Directive("cache", "error", "A plugin: a cache.", "leave it out; what the application says of caching passes"),
    Directive("authenticate", "error", "A plugin: logins.", "ask a server who may pass, with `forward_auth`"),
    Directive("authorize", "error", "A plugin: logins.", "ask a server who may pass, with `forward_auth`"),
    Directive("authp", "error", "A plugin: logins.", "ask a server who may pass, with `forward_auth`"),
    Directive("coraza_waf", "error", "A plugin: a filter of attacks.", "leave it out"),
    Directive("crowdsec", "error", "A plugin: a list of attackers.", "leave it out, and let the firewall bouncer of CrowdSec see to it"),
    Directive("geoip", "error", "A plugin: countries of clients.", "leave it out"),
    Directive("webdav", "error", "A plugin: WebDAV.", "put a server for it behind `reverse_proxy`"),
    Directive("cgi", "error", "A plugin: CGI.", "put a server for it behind `reverse_proxy`"),
    Directive("exec", "error", "A plugin: commands.", "leave it out"),
    Directive("replace", "error", "A plugin: replaces text in answers.", "leave it out"),
    Directive("realip", "error", "A plugin: who the client is.", "say `trusted_proxies` in the global option `servers`"),
    Directive("tailscale_auth", "error", "A plugin: Tailscale's users.", "ask a server who may pass, with `forward_auth`"),
)

DIRECTIVES: dict[str, Directive] = {each.name: each for each in (*_ORDERED, *_ELSEWHERE, *_PLUGINS)}

ONCE = {"handle": "handle", "handle_path": "handle", "rewrite": "rewrite"}
"""Directives of which only the first that matches is carried out, by group."""

_TUNE = "it tunes a part of Caddy that is built otherwise here"

OPTIONS: dict[str, Directive] = {
    each.name: each
    for each in (
        Directive("debug", "supported", "Log more."),
        Directive("http_port", "supported", "The port of plain HTTP, 80."),
        Directive("https_port", "supported", "The port of HTTPS, 443."),
        Directive("default_bind", "supported", "Addresses to listen on."),
        Directive("auto_https", "supported", "`off` and `disable_redirects`."),
        Directive("local_certs", "supported", "Certificates of the local CA for every host."),
        Directive("servers", "supported", "Time-outs, trusted proxies, protocols, PROXY headers; for one address, too."),
        Directive("order", "supported", "Another place in the order of directives."),
        Directive("log", "harmless", "The log of the program.", "it goes to standard error as JSON"),
        Directive("email", "supported", "Where issuers may write to."),
        Directive("acme_ca", "supported", "The directory of the issuer."),
        Directive("acme_ca_root", "supported", "Who certifies that directory."),
        Directive("acme_dns", "supported", "Prove names by DNS."),
        Directive("acme_eab", "supported", "An external account."),
        Directive("on_demand_tls", "supported", "Certificates issued when a client asks: `ask`, `permission http`, `interval`, `burst`."),
        Directive("cert_issuer", "supported", "`acme` or `zerossl`."),
        Directive("preferred_chains", "harmless", "Certificates.", "the issuer's first chain is used"),
        Directive("key_type", "supported", "Keys of certificates."),
        Directive("cert_lifetime", "harmless", "Certificates.", "the issuer decides"),
        Directive("renew_interval", "harmless", "Certificates.", "renewals are looked for every few seconds"),
        Directive("renewal_window_ratio", "harmless", "Certificates.", "the issuer advises, or a third of the lifetime is left"),
        Directive("ocsp_stapling", "harmless", "Certificates.", "answers of OCSP are not stapled"),
        Directive("ocsp_interval", "harmless", "Certificates.", "answers of OCSP are not stapled"),
        Directive("skip_install_trust", "harmless", "Trust in the local CA.", "vestibule installs nothing"),
        Directive("pki", "harmless", "The local CA.", "there is one local CA"),
        Directive("storage", "harmless", "Where certificates are kept.", "they are kept in the state directory"),
        Directive("storage_check", "harmless", "Where certificates are kept.", _TUNE),
        Directive("storage_clean_interval", "harmless", "Where certificates are kept.", _TUNE),
        Directive("admin", "harmless", "Caddy's admin API.", "`vestibule status` asks vestibule's own socket"),
        Directive("persist_config", "harmless", "Keep the running configuration.", "the file is the configuration"),
        Directive("grace_period", "supported", "How long exchanges may go on when the program stops."),
        Directive("shutdown_delay", "harmless", "Wait before stopping.", _TUNE),
        Directive("metrics", "harmless", "Figures for Prometheus.", "requests are counted where a site has `metrics`"),
        Directive("default_sni", "supported", "The host of TLS clients that name none, or one that no site is for."),
        Directive("fallback_sni", "supported", "The same."),
        Directive("dynamic_dns", "error", "A plugin.", "leave it out"),
        Directive("events", "error", "Events.", "leave it out"),
        Directive("filesystem", "error", "File systems.", "leave it out"),
        Directive("layer4", "error", "A plugin.", "leave it out"),
        Directive("dns", "supported", "Prove names by DNS."),
        Directive("ech", "harmless", "Encrypted hellos.", "they are not built yet"),
    )
}
"""Global options."""

PROXY_OPTIONS: dict[str, Directive] = {
    each.name: each
    for each in (
        Directive("to", "supported", "Servers."),
        Directive("header_up", "supported", "Edit fields of requests."),
        Directive("header_down", "supported", "Edit fields of answers."),
        Directive("lb_policy", "supported", "How a server is chosen; `random` is in turn."),
        Directive("lb_retries", "supported", "Tries after the first."),
        Directive("transport", "supported", "`http`: time-outs, TLS, kept connections."),
        Directive("trusted_proxies", "supported", "Proxies whose X-Forwarded fields are believed."),
        Directive("lb_try_duration", "supported", "How long requests wait for a server to come back."),
        Directive("lb_try_interval", "harmless", "How often to try.", "one of the requests that wait tries every 200 ms"),
        Directive("lb_retry_match", "harmless", "What is tried again.", "a request is tried again wherever that cannot do anything twice"),
        Directive("flush_interval", "harmless", "When bytes are passed on.", "they are passed on at once always"),
        Directive("buffer_requests", "harmless", "Buffer bodies.", "bodies stream"),
        Directive("buffer_responses", "harmless", "Buffer bodies.", "bodies stream"),
        Directive("request_buffers", "harmless", "Buffer bodies.", "bodies stream"),
        Directive("response_buffers", "harmless", "Buffer bodies.", "bodies stream"),
        Directive("max_buffer_size", "harmless", "Buffer bodies.", "bodies stream"),
        Directive("stream_timeout", "harmless", "End of WebSockets.", "they end with silence of an hour"),
        Directive("stream_close_delay", "harmless", "WebSockets and reloads.", "a reload leaves them alone"),
        Directive("verbose_logs", "harmless", "Logs.", "the access log says what vestibule logs"),
        Directive("health_uri", "supported", "Ask servers how they are: the path and query."),
        Directive("health_path", "supported", "The older name of `health_uri`."),
        Directive("health_port", "supported", "Another port to ask."),
        Directive("health_interval", "supported", "The time between two checks, 30 s."),
        Directive("health_timeout", "supported", "How long a check may take, 5 s."),
        Directive("health_passes", "supported", "Good checks until a server is up."),
        Directive("health_fails", "supported", "Bad checks until it is down."),
        Directive("health_method", "supported", "The method of checks."),
        Directive("health_status", "supported", "Which answers mean well."),
        Directive("health_body", "supported", "What the answer contains."),
        Directive("health_headers", "supported", "Fields to ask with."),
        Directive("health_upstream", "error", "Ask another server.", "leave it out; `health_port` asks another port"),
        Directive("health_request_body", "supported", "A body to ask with."),
        Directive(
            "health_follow_redirects", "harmless", "Redirected checks.", "a redirect means well unless `health_status` says otherwise"
        ),
        Directive("fail_duration", "supported", "How long a failure counts, and its server is left out."),
        Directive("max_fails", "supported", "Failures until a server is left out, 1."),
        Directive("unhealthy_status", "supported", "Answers that are failures."),
        Directive("unhealthy_latency", "supported", "An answer that took longer is a failure."),
        Directive("unhealthy_request_count", "supported", "Requests that a server may have at a time; counted in each worker."),
        Directive("dynamic", "supported", "`a`, `srv`, `multi`: servers that DNS names, followed as long as it says they hold."),
        Directive(
            "handle_response",
            "supported",
            "Replace answers by what matches: any by `respond`, `redir` and `copy_response`; errors by whatever answers, those that arise"
            " here too. One that asks and goes on is `forward_auth`.",
        ),
        Directive("replace_status", "supported", "Replace the status."),
        Directive("method", "supported", "Ask with another method; a HEAD stays one."),
        Directive("rewrite", "supported", "Another target for the servers."),
    )
}
"""What may stand in the block of ``reverse_proxy``."""

TRANSPORT_OPTIONS: dict[str, Directive] = {
    each.name: each
    for each in (
        Directive("tls", "supported", "Speak TLS."),
        Directive("tls_insecure_skip_verify", "supported", "Do not verify."),
        Directive("tls_server_name", "supported", "The name to send and to verify."),
        Directive("tls_trusted_ca_certs", "supported", "Authorities."),
        Directive("tls_trust_pool", "supported", "`file`: authorities."),
        Directive("tls_client_auth", "supported", "A certificate to show."),
        Directive("dial_timeout", "supported", "Connecting."),
        Directive("response_header_timeout", "supported", "Until the head of an answer."),
        Directive("read_timeout", "supported", "Silence of a server."),
        Directive("write_timeout", "supported", "A server that takes nothing."),
        Directive("keepalive", "supported", "How long idle connections are kept."),
        Directive("keepalive_idle_conns", "supported", "How many are kept."),
        Directive("keepalive_idle_conns_per_host", "supported", "How many are kept."),
        Directive("max_conns_per_host", "supported", "Connections at a time; counted in each worker."),
        Directive("versions", "supported", "`1.1 2` lets servers with TLS choose; `2` and `h2c` speak HTTP/2, to servers that do."),
        Directive("read_buffer", "harmless", "Buffers.", "bodies stream"),
        Directive("write_buffer", "harmless", "Buffers.", "bodies stream"),
        Directive("max_response_header", "harmless", "Buffers.", "64 KiB are enough for a head"),
        Directive("compression", "harmless", "Ask for compressed answers.", "what the client accepts is asked for"),
        Directive("dial_fallback_delay", "harmless", "Two families of addresses.", "both are tried"),
        Directive("expect_continue_timeout", "harmless", "100 Continue.", "the server's own answer is passed on"),
        Directive("keepalive_interval", "harmless", "Probes.", "the kernel's are used"),
        Directive("tls_timeout", "harmless", "Handshakes.", "`dial_timeout` holds for both"),
        Directive("tls_renegotiation", "harmless", "TLS 1.2.", "nobody renegotiates"),
        Directive("tls_curves", "harmless", "Groups of TLS.", "those of the TLS library are used"),
        Directive("resolvers", "error", "Name servers.", "leave it out; names are looked up by the system, so name the servers there"),
        Directive("local_address", "supported", "The address connections come from."),
        Directive("proxy_protocol", "supported", "`v1`, `v2`: begin connections with who the client is."),
        Directive("forward_proxy_url", "error", "Another proxy in between.", "leave it out"),
        Directive("network_proxy", "error", "Another proxy in between.", "leave it out"),
        Directive("tls_except_ports", "supported", "Servers without TLS among those that have it."),
    )
}
"""What may stand in the block of ``transport http``."""
