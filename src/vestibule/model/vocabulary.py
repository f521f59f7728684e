"""The single table of variables and functions: what expressions may name, in every dialect.

Rules:
* Dialects look spellings up here, the compiler looks evaluators up by name, the docs render the table.
* ``scope`` says what a value depends on, so that the compiler can prove which rewritten header blocks may be reused:
  ``connection`` never changes on a connection, ``fields`` follows from the header block and the connection,
  ``exchange`` may differ for each request.
* In a spelling, ``NAME`` stands for the argument.

Not here: how a value is found (``plan/variables.py``), the text syntax of expressions (``dialects``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vestibule.model.expr import (
    AllOf,
    AnyOf,
    Call,
    Compare,
    Const,
    Default,
    Expr,
    If,
    InNet,
    InSet,
    Kind,
    Match,
    Not,
    Phase,
    Var,
    walk,
)

Scope: TypeAlias = Literal["connection", "fields", "exchange"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One row: a variable, what it yields, from when on, and how each dialect spells it."""

    name: str
    kind: Kind
    phase: Phase
    scope: Scope
    doc: str
    argument: str = ""
    nginx: str = ""
    caddy: str = ""
    apache: str = ""
    haproxy: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    """One row: a function, the kinds it takes, the kind it yields."""

    name: str
    arguments: tuple[Kind, ...]
    result: Kind
    doc: str


_T, _N, _B, _A, _L = Kind.TEXT, Kind.NUMBER, Kind.TEST, Kind.ADDRESS, Kind.LIST

_ROWS = (
    # The connection.
    Variable("peer_ip", _A, Phase.ACCEPT, "connection", "Address at the other end of the connection.",
             nginx="$realip_remote_addr", apache="%{c}a", haproxy="src"),
    Variable("client_port", _N, Phase.ACCEPT, "connection", "Port at the other end of the connection.",
             nginx="$remote_port", caddy="{remote_port}", apache="%{remote}p", haproxy="src_port"),
    Variable("server_ip", _A, Phase.ACCEPT, "connection", "Our address on the connection.",
             nginx="$server_addr", caddy="{http.request.local.host}", apache="%A", haproxy="dst"),
    Variable("server_port", _N, Phase.ACCEPT, "connection", "Our port on the connection.",
             nginx="$server_port", caddy="{http.request.local.port}", apache="%{local}p", haproxy="dst_port"),
    Variable("listener", _T, Phase.ACCEPT, "connection", "Name of the listener.", haproxy="fe_name"),
    Variable("scheme", _T, Phase.TLS, "connection", "`https` on a listener with TLS, else `http`.",
             nginx="$scheme", caddy="{scheme}", apache="%{REQUEST_SCHEME}x"),
    Variable("tls", _B, Phase.TLS, "connection", "Whether the client speaks TLS.", haproxy="ssl_fc"),
    Variable("tls_version", _T, Phase.TLS, "connection", "TLS version, such as `TLSv1.3`; empty without TLS.",
             nginx="$ssl_protocol", caddy="{tls_version}", apache="%{SSL_PROTOCOL}x", haproxy="ssl_fc_protocol"),
    Variable("tls_cipher", _T, Phase.TLS, "connection", "Name of the cipher suite; empty without TLS.",
             nginx="$ssl_cipher", caddy="{tls_cipher}", apache="%{SSL_CIPHER}x", haproxy="ssl_fc_cipher"),
    Variable("tls_ciphers", _T, Phase.TLS, "connection", "Names of the cipher suites that the client offered and the listener takes, with"
             " `:` between; empty without TLS.", nginx="$ssl_ciphers"),
    Variable("tls_resumed", _B, Phase.TLS, "connection", "Whether the client went on with a session of an earlier connection."),
    Variable("tls_session", _T, Phase.TLS, "connection", "Identifier of the TLS session, in hexadecimal; empty without one.",
             nginx="$ssl_session_id"),
    Variable("tls_protocol", _T, Phase.TLS, "connection", "What was agreed on by ALPN, such as `h2`; empty where nothing was.",
             nginx="$ssl_alpn_protocol"),
    Variable("tls_sni", _T, Phase.TLS, "connection", "Host name the client asked for in its TLS hello.",
             nginx="$ssl_server_name", caddy="{http.request.tls.server_name}", apache="%{SSL_TLS_SNI}x",
             haproxy="ssl_fc_sni"),
    Variable("tls_hello", _B, Phase.TLS, "connection",
             "Whether a connection that is passed on as it is begins with a TLS hello."),
    Variable("first_bytes", _T, Phase.TLS, "connection",
             "What a client sent first on a connection that is passed on as it is. The argument says how many bytes there are at least,"
             " which are waited for; while there are fewer it is empty.", argument="count", haproxy="req.payload(0,NAME)"),
    Variable("tls_alpn", _T, Phase.TLS, "connection",
             "Protocols the client offers in its TLS hello, with commas between, where the connection is passed on as it is; the one"
             " agreed on where TLS ends before that.",
             nginx="$ssl_preread_alpn_protocols"),
    Variable("tls_client_verify", _T, Phase.TLS, "connection",
             "What became of the client's certificate: `SUCCESS`, `FAILED:` and why, or `NONE` where none was shown; empty without"
             " TLS.",
             nginx="$ssl_client_verify", apache="%{SSL_CLIENT_VERIFY}x"),
    Variable("tls_client_error", _N, Phase.TLS, "connection",
             "OpenSSL's number for why the client's certificate is not accepted; 0 if it is, and where none was shown.",
             haproxy="ssl_c_verify"),
    Variable("tls_client_subject", _T, Phase.TLS, "connection",
             "Whose the client's certificate is, such as `CN=alice,O=Family` (RFC 4514); empty where none was shown, as all that"
             " follows.",
             nginx="$ssl_client_s_dn", caddy="{http.request.tls.client.subject}", apache="%{SSL_CLIENT_S_DN}x"),
    Variable("tls_client_name", _T, Phase.TLS, "connection", "The common name in the client's certificate.",
             apache="%{SSL_CLIENT_S_DN_CN}x", haproxy="ssl_c_s_dn(cn)"),
    Variable("tls_client_issuer", _T, Phase.TLS, "connection", "Who signed the client's certificate.",
             nginx="$ssl_client_i_dn", caddy="{http.request.tls.client.issuer}", apache="%{SSL_CLIENT_I_DN}x"),
    Variable("tls_client_serial", _T, Phase.TLS, "connection", "Serial number of the client's certificate, in hexadecimal.",
             nginx="$ssl_client_serial", apache="%{SSL_CLIENT_M_SERIAL}x", haproxy="ssl_c_serial,hex"),
    Variable("tls_client_fingerprint", _T, Phase.TLS, "connection", "SHA-256 of the client's certificate, in hexadecimal.",
             caddy="{http.request.tls.client.fingerprint}", haproxy="ssl_c_der,sha2(256),hex,lower"),
    Variable("tls_client_short_fingerprint", _T, Phase.TLS, "connection",
             "SHA-1 of the client's certificate, in hexadecimal, by which older programs know it.",
             nginx="$ssl_client_fingerprint", haproxy="ssl_c_sha1,hex,lower"),
    Variable("tls_client_not_before", _T, Phase.TLS, "connection", "Since when the client's certificate is valid.",
             nginx="$ssl_client_v_start", apache="%{SSL_CLIENT_V_START}x"),
    Variable("tls_client_not_after", _T, Phase.TLS, "connection", "Until when the client's certificate is valid.",
             nginx="$ssl_client_v_end", apache="%{SSL_CLIENT_V_END}x"),
    Variable("tls_client_days", _T, Phase.TLS, "exchange", "For how many whole days the client's certificate is valid yet.",
             nginx="$ssl_client_v_remain"),
    Variable("tls_client_certificate", _T, Phase.TLS, "connection", "The client's certificate (DER), in base64.",
             caddy="{http.request.tls.client.certificate_der_base64}", haproxy="ssl_c_der,base64"),
    Variable("tls_client_pem", _T, Phase.TLS, "connection", "The client's certificate as PEM; `url_encode` makes it fit for a header.",
             caddy="{http.request.tls.client.certificate_pem}", apache="%{SSL_CLIENT_CERT}x"),
    Variable("tls_client_der", _T, Phase.TLS, "connection", "The client's certificate whole, as bytes (DER).", haproxy="ssl_c_der"),
    Variable("tls_own_der", _T, Phase.TLS, "connection", "The certificate that the client was shown, as bytes (DER).", haproxy="ssl_f_der"),
    Variable("announced_ip", _A, Phase.ACCEPT, "connection", "Address of the client as a PROXY header has it; empty where none said one.",
             nginx="$proxy_protocol_addr"),
    Variable("announced_port", _T, Phase.ACCEPT, "connection", "Port of the client as a PROXY header has it.",
             nginx="$proxy_protocol_port"),
    Variable("announced_server_ip", _A, Phase.ACCEPT, "connection", "Address that the client connected to, as a PROXY header has it.",
             nginx="$proxy_protocol_server_addr"),
    Variable("announced_server_port", _T, Phase.ACCEPT, "connection", "Port that the client connected to, as a PROXY header has it.",
             nginx="$proxy_protocol_server_port"),
    Variable("announced_tlv", _T, Phase.ACCEPT, "connection",
             "What a PROXY header of version 2 says in a TLV of this type, a number up to 255; `32.34` is type 34 within that of TLS, and"
             " `32.verify` what became of the client's certificate there.",
             argument="type"),
    Variable("connection_number", _N, Phase.ACCEPT, "connection", "Number of the connection, counted in each worker.",
             nginx="$connection"),
    Variable("connection_ms", _N, Phase.ACCEPT, "exchange", "Milliseconds since the connection was accepted."),
    Variable("connection_requests", _N, Phase.ACCEPT, "exchange", "How many requests the connection has carried, this one included.",
             nginx="$connection_requests"),
    # The machine.
    Variable("hostname", _T, Phase.ACCEPT, "connection", "Name of the machine, in lower case.", nginx="$hostname"),
    Variable("process_id", _N, Phase.ACCEPT, "connection", "Number of the process of the worker.", nginx="$pid"),
    # The request.
    Variable("client_ip", _A, Phase.REQUEST, "fields",
             "Address of the client: the peer's, or, behind trusted proxies, the last one in X-Forwarded-For that is not"
             " theirs.",
             nginx="$remote_addr", caddy="{client_ip}", apache="%a"),
    Variable("method", _T, Phase.REQUEST, "exchange", "Method, such as `GET`.",
             nginx="$request_method", caddy="{method}", apache="%m", haproxy="method"),
    Variable("sent_method", _T, Phase.REQUEST, "exchange", "Method after the actions so far; a question to a server has its request's."),
    Variable("target", _T, Phase.REQUEST, "exchange", "Request target as the client sent it, query included.",
             nginx="$request_uri", caddy="{http.request.orig_uri}", apache="%{REQUEST_URI}x"),
    Variable("target_origin", _T, Phase.REQUEST, "exchange",
             "Scheme and host that the client wrote before the target (`http://host`), where it asked for a whole URL; else empty."),
    Variable("path", _T, Phase.REQUEST, "exchange",
             "Path as it goes upstream: percent-encoded, after rewrites so far, without the query.",
             caddy="{http.request.uri.path}", haproxy="path"),
    Variable("decoded_path", _T, Phase.REQUEST, "exchange",
             "Path percent-decoded once and without dot segments: what routes are matched with.",
             nginx="$uri", apache="%U"),
    Variable("query", _T, Phase.REQUEST, "exchange", "Query without its `?`; empty without one.",
             nginx="$args", caddy="{query}", apache="%{QUERY_STRING}e", haproxy="query"),
    Variable("arg", _T, Phase.REQUEST, "exchange", "First value of a query name, as sent.", argument="name",
             nginx="$arg_NAME", caddy="{query.NAME}"),
    Variable("protocol", _T, Phase.REQUEST, "exchange", "Protocol of the request, such as `HTTP/1.1`.",
             nginx="$server_protocol", caddy="{http.request.proto}", apache="%H"),
    Variable("host", _T, Phase.REQUEST, "fields", "Host the request is for, in lower case, without port.",
             nginx="$host", caddy="{host}", haproxy="hdr(host),field(1,:),lower"),
    Variable("host_port", _T, Phase.REQUEST, "fields", "Host as the client sent it, with its port if it has one.",
             nginx="$http_host", caddy="{hostport}", apache="%{Host}i", haproxy="hdr(host)"),
    Variable("header", _T, Phase.REQUEST, "fields", "A request field as the client sent it; several lines are joined by `, `.",
             argument="field", nginx="$http_NAME", caddy="{header.NAME}", apache="%{NAME}i", haproxy="req.hdr(NAME)"),
    Variable("header_line", _T, Phase.REQUEST, "fields", "The last line of a request field as the client sent it.",
             argument="field", haproxy="req.fhdr(NAME)"),
    Variable("header_lines", _N, Phase.REQUEST, "fields", "How many lines a request field came with.",
             argument="field", haproxy="req.fhdr_cnt(NAME)"),
    Variable("each_header", _L, Phase.REQUEST, "fields", "Every line of a request field as the client sent it, as a list.",
             argument="field"),
    Variable("header_names", _T, Phase.REQUEST, "fields",
             "Names of the request's fields as the client sent them, in lower case, with commas.",
             haproxy="req.hdr_names"),
    Variable("request_header", _T, Phase.REQUEST, "exchange",
             "A request field as it goes to the server, after the actions so far; several lines are joined by `, `.", argument="field"),
    Variable("request_header_line", _T, Phase.REQUEST, "exchange", "The last line of a request field as it goes to the server.",
             argument="field"),
    Variable("each_request_header", _L, Phase.REQUEST, "exchange",
             "Every line of a request field as it goes to the server, as a list.", argument="field"),
    Variable("item", _T, Phase.ACCEPT, "connection", "The value of a list that is looked at: inside `any_item`, and nowhere else."),
    Variable("first_request", _B, Phase.REQUEST, "exchange", "Whether the request is the first of its connection.",
             haproxy="http_first_req"),
    Variable("body", _T, Phase.REQUEST, "exchange",
             "What of the request's body was read (`read_body`) and has not gone to the server yet.", haproxy="req.body"),
    Variable("kept", _T, Phase.REQUEST, "exchange",
             "What `set_variable` kept under a name, for the request or else for its connection; empty where nothing is.",
             argument="variable"),
    Variable("cookie", _T, Phase.REQUEST, "fields", "Value of a cookie the client sent.", argument="cookie",
             nginx="$cookie_NAME", caddy="{cookie.NAME}", apache="%{NAME}C"),
    Variable("user", _T, Phase.REQUEST, "fields",
             "Name in the client's Basic credentials. Whether the password was right, only `basic_auth` before it knows: where none"
             " is asked for, anybody can write any name.",
             nginx="$remote_user", caddy="{http.auth.user.id}", apache="%u"),
    Variable("request_id", _T, Phase.REQUEST, "exchange", "An identifier of this exchange, unique in the logs.",
             nginx="$request_id", caddy="{http.request.uuid}", apache="%L", haproxy="unique-id"),
    Variable("site", _T, Phase.REQUEST, "exchange", "Name of the site that serves the request.",
             nginx="$server_name", apache="%v"),
    Variable("time", _T, Phase.ACCEPT, "exchange", "Time in UTC, such as `2026-01-31T12:34:56.789Z`.",
             nginx="$time_iso8601", caddy="{time.now}"),
    Variable("random", _N, Phase.ACCEPT, "exchange", "A number below 2 to the power of 32, another one each time."),
    Variable("uuid", _T, Phase.ACCEPT, "exchange", "A random UUID (RFC 9562), another one each time."),
    Variable("time_ms", _N, Phase.ACCEPT, "exchange", "Milliseconds since 1970."),
    Variable("time_local", _T, Phase.ACCEPT, "exchange", "Time as the combined log format has it.",
             nginx="$time_local", caddy="{time.now.common_log}", apache="%t"),
    # The upstream.
    Variable("upstream", _T, Phase.UPSTREAM, "exchange", "Name of the upstream; empty where none was asked.",
             nginx="$proxy_host", haproxy="be_name"),
    Variable("upstream_servers", _N, Phase.ACCEPT, "exchange",
             "How many servers of an upstream may serve now: they are up and take new clients. Those that stand by are counted only"
             " where no other may, and then those of the first rank.", argument="upstream", haproxy="nbsrv(NAME)"),
    Variable("upstream_requests", _N, Phase.ACCEPT, "exchange",
             "How many requests the servers of an upstream have in hand for this worker, those that wait for them included.",
             argument="upstream", haproxy="be_conn(NAME)"),
    Variable("upstream_waiting", _N, Phase.ACCEPT, "exchange",
             "How many requests of this worker wait for servers of an upstream that have as many as they may.",
             argument="upstream", haproxy="queue(NAME)"),
    Variable("upstream_address", _T, Phase.UPSTREAM, "exchange", "Address of the server, with its port.",
             caddy="{http.reverse_proxy.upstream.hostport}"),
    Variable("upstream_mark", _T, Phase.UPSTREAM, "exchange",
             "What marks clients that stay with the server; empty where nothing does.", apache="%{BALANCER_WORKER_ROUTE}e"),
    Variable("upstream_connect_ms", _N, Phase.UPSTREAM, "exchange",
             "Milliseconds until there was a connection to the server; 0 on a kept one."),
    Variable("upstream_tls", _B, Phase.UPSTREAM, "exchange", "Whether TLS is spoken with the server.", haproxy="ssl_bc"),
    Variable("upstream_tls_version", _T, Phase.UPSTREAM, "exchange", "Version of TLS that is spoken with the server.",
             haproxy="ssl_bc_protocol"),
    Variable("upstream_tls_cipher", _T, Phase.UPSTREAM, "exchange", "Cipher suite that is spoken with the server.",
             haproxy="ssl_bc_cipher"),
    Variable("upstream_tls_protocol", _T, Phase.UPSTREAM, "exchange", "What was agreed on with the server (ALPN).", haproxy="ssl_bc_alpn"),
    Variable("upstream_tls_resumed", _B, Phase.UPSTREAM, "exchange", "Whether a TLS session with the server was resumed.",
             haproxy="ssl_bc_is_resumed"),
    Variable("upstream_tls_der", _T, Phase.UPSTREAM, "exchange", "The server's certificate whole, as bytes (DER).", haproxy="ssl_s_der"),
    Variable("tried_addresses", _T, Phase.REQUEST, "exchange",
             "Addresses of all servers that were asked so far, in order, with `, ` between, and ` : ` where another upstream took over.",
             nginx="$upstream_addr"),
    Variable("tried_statuses", _T, Phase.REQUEST, "exchange",
             "What each of them answered, by its own word; 502 or 504 where it did not, and a dash for what did not come about.",
             nginx="$upstream_status"),
    Variable("tried_connect_seconds", _T, Phase.REQUEST, "exchange", "How long it took to connect to each of them.",
             nginx="$upstream_connect_time"),
    Variable("tried_head_seconds", _T, Phase.REQUEST, "exchange", "How long each of them took until the head of its answer.",
             nginx="$upstream_header_time"),
    Variable("tried_seconds", _T, Phase.REQUEST, "exchange", "How long each of them took until the end; of the last one at the end.",
             nginx="$upstream_response_time"),
    # The response.
    Variable("status", _N, Phase.RESPONSE, "exchange", "Status of the response.",
             nginx="$status", caddy="{http.response.status}", apache="%>s", haproxy="status"),
    Variable("response_header", _T, Phase.RESPONSE, "exchange",
             "A field of the response as it is now; several lines are joined by `, `.", argument="field",
             nginx="$sent_http_NAME", caddy="{http.response.header.NAME}", apache="%{NAME}o", haproxy="res.hdr(NAME)"),
    Variable("upstream_header", _T, Phase.REQUEST, "exchange",
             "A field of a server's last answer as it came, whatever was changed or taken away since; several lines are joined by `, `."
             " Empty before there is one.",
             argument="field", nginx="$upstream_http_NAME"),
    Variable("each_upstream_header", _L, Phase.REQUEST, "exchange", "Every line of a field of a server's last answer, as it came.",
             argument="field"),
    Variable("response_header_line", _T, Phase.RESPONSE, "exchange", "The last line of a field of the response as it is now.",
             argument="field", haproxy="res.fhdr(NAME)"),
    Variable("response_header_lines", _N, Phase.RESPONSE, "exchange", "How many lines a field of the response has now.",
             argument="field", haproxy="res.fhdr_cnt(NAME)"),
    Variable("response_header_names", _T, Phase.RESPONSE, "exchange",
             "Names of the fields of the response as it is now, in lower case, with commas.", haproxy="res.hdr_names"),
    Variable("each_response_header", _L, Phase.RESPONSE, "exchange", "Every line of a field of the response as it is now, as a list.",
             argument="field"),
    Variable("proxied", _B, Phase.RESPONSE, "exchange",
             "Whether the response is that of a server, and was not made here; in the access log it is false."),
    Variable("around", _B, Phase.REQUEST, "exchange",
             "Whether the request was given back to its site, or is for what answers in the place of an error."),
    Variable("field_line", _T, Phase.REQUEST, "exchange",
             "The line of a field that is being changed by itself; empty anywhere else."),
    Variable("head_ms", _N, Phase.RESPONSE, "exchange",
             "Milliseconds from the arrival of the request's head to that of the response's; of a connection that is passed on, to the"
             " first byte of the server."),
    # The end.
    Variable("bytes_in", _N, Phase.LOG, "exchange", "Bytes of request body taken from the client.",
             apache="%I", haproxy="bytes_in"),
    Variable("bytes_out", _N, Phase.LOG, "exchange", "Bytes of response body given to the client.",
             nginx="$body_bytes_sent", caddy="{http.response.size}", apache="%b", haproxy="bytes_out"),
    Variable("request_size", _N, Phase.REQUEST, "exchange",
             "Bytes of the request so far with its head, as HTTP/1.1 writes it but for chunks.",
             nginx="$request_length"),
    Variable("response_size", _N, Phase.LOG, "exchange", "Bytes of the response with its head, as HTTP/1.1 writes it but for chunks.",
             nginx="$bytes_sent"),
    Variable("total_ms", _N, Phase.REQUEST, "exchange", "Milliseconds from the arrival of the request's head until now, and in the log to"
             " the end.",
             nginx="$request_time", caddy="{http.response.duration_ms}", apache="%{ms}T"),
    Variable("auth_header", _T, Phase.REQUEST, "exchange",
             "A field of the answer of the server that was asked whether the request may pass (`auth_request`).", argument="field"),
    Variable("error_status", _N, Phase.REQUEST, "exchange",
             "Status of the error in whose place a route of `errors` answers; 0 elsewhere.",
             caddy="{err.status_code}", apache="%{REDIRECT_STATUS}e"),
    Variable("fault", _T, Phase.LOG, "exchange", "Kind of the fault that ended the exchange; empty when it went well."),
    Variable("datagrams_in", _N, Phase.LOG, "exchange", "Datagrams taken from the client, on a UDP listener."),
    Variable("datagrams_out", _N, Phase.LOG, "exchange", "Datagrams given to the client, on a UDP listener."),
)  # fmt: skip

VARIABLES: dict[str, Variable] = {row.name: row for row in _ROWS}

FUNCTIONS: dict[str, Function] = {
    row.name: row
    for row in (
        Function("lower", (_T,), _T, "The text in lower case (ASCII letters)."),
        Function("upper", (_T,), _T, "The text in upper case (ASCII letters)."),
        Function("length", (_T,), _N, "Number of bytes."),
        Function("bytes_meant", (_T,), _N, "The number of bytes that a size such as `500`, `40k` or `2MiB` means; 0 for what is none."),
        Function("url_encode", (_T,), _T, "Percent-encode all but unreserved characters (RFC 3986 section 2.3)."),
        Function("url_decode", (_T,), _T, "Percent-decode; what is no valid escape stays as it is."),
        Function("encode_path", (_T,), _T, "Write a `decoded_path`, or a part of one, as it goes into a target: the way back."),
        Function(
            "replace_prefix",
            (_T, _T, _T),
            _T,
            "The first text with its beginning, the second, replaced by the third; as it is where it begins otherwise.",
        ),
        Function(
            "replace_text",
            (_T, _T, _T),
            _T,
            "The first text with the second, wherever that stands in it, replaced by the third; as it is where the second is empty.",
        ),
        Function(
            "capture",
            (_T, _T, _T),
            _T,
            "What a group matched, third, when a regular expression, second, was searched for in"
            " the first text. A group is a number or a name; empty where nothing matched.",
        ),
        Function("http_date", (_N,), _T, "The moment so many seconds from now as HTTP writes it, such as `Sun, 06 Nov 1994 08:49:37 GMT`."),
        Function(
            "expiry",
            (_T, _T, _T),
            _T,
            "When an answer goes stale: third says whether `date`, for Expires, or `control`, for Cache-Control. The text, first, is a time"
            " from now such as `1h30m` or `-1`, `@15h30m` for the next time that it is so late, `epoch` or `max`; else nothing. Where"
            " second is a date, times count from there.",
        ),
        Function("seconds", (_N,), _T, "Milliseconds as seconds with three decimals."),
        Function("base64", (_T,), _T, "The text in base64 (RFC 4648 section 4)."),
        Function("base64_decode", (_T,), _T, "What a text in base64 says; nothing where it is none."),
        Function("base64url", (_T,), _T, "The text in base64 for URLs (RFC 4648 section 5), without padding."),
        Function("base64url_decode", (_T,), _T, "What a text in base64 for URLs says; nothing where it is none."),
        Function("hex", (_T,), _T, "The bytes of the text in hexadecimal, lower case."),
        Function("hex_decode", (_T,), _T, "The bytes that a text in hexadecimal says; nothing where it is none."),
        Function("address_bytes", (_T,), _T, "An address as the bytes it stands for, four or sixteen; nothing where it is none."),
        Function("json", (_T,), _T, "The text as it stands between the quotes of a string of JSON; what is no UTF-8 is left out."),
        Function("digest", (_T, _T), _T, "The digest of the text as bytes, by `md5`, `sha1`, `sha224`, `sha256`, `sha384` or `sha512`."),
        Function("hmac", (_T, _T, _T), _T, "The HMAC of the text as bytes, by a digest, second, with a key, third (RFC 2104)."),
        Function(
            "checksum",
            (_T, _T),
            _N,
            "A sum of the text, `crc32`, `crc32c`, `djb2`, `sdbm`, `wt6` or `murmur2`: to tell texts apart, not to prove anything.",
        ),
        Function("spread", (_N,), _N, "A number of 32 bits mixed so that each bit depends on all, as HAProxy does it."),
        Function(
            "xxhash",
            (_T, _T, _N),
            _T,
            "A sum of the text, `xxh32`, `xxh64` or `xxh3`, begun from a number, third; those of 64 bits are written with a sign.",
        ),
        Function(
            "chunks",
            (_T, _T, _N, _T),
            _T,
            "The bytes of a text as numbers, so many in each, third, with a text, second, between. Fourth is `hex` or `decimal`, or"
            " `whole-hex` or `whole-decimal` to leave out what is left at the end.",
        ),
        Function(
            "preferred",
            (_T, _T, _T),
            _T,
            "The one of some names, second, with `;` between, that a field such as Accept-Language likes best, `en` also for `en-GB`;"
            " third where it likes none.",
        ),
        Function(
            "field",
            (_T, _N, _N, _T),
            _T,
            "Parts of a text between separators, fourth, any character of them: the first to take, second, counted from 1 or from"
            " the end from -1, and how many, third, 0 for all that follow. Nothing where there is none.",
        ),
        Function("word", (_T, _N, _N, _T), _T, "As `field`, where separators side by side count as one."),
        Function("slice", (_T, _N, _N), _T, "Bytes of a text from an offset, second, on: as many as the third says, all if negative."),
        Function("trim_start", (_T, _T), _T, "The text without certain characters, second, at its start."),
        Function("trim_end", (_T, _T), _T, "The text without certain characters, second, at its end."),
        Function(
            "replace",
            (_T, _T, _T, _T),
            _T,
            "The text with what a regular expression, second, matches replaced by a text, third, in which `\\1` is the first group. Flags,"
            " fourth: `g` everywhere, `i` in any case.",
        ),
        Function(
            "any_item",
            (_L, _B),
            _B,
            "Whether a test, second, holds for one value of a list at least; `item` is that value. A text is a list of one, and of none"
            " where it is empty.",
        ),
        Function("first_item", (_L, _B), _T, "The first value of a list that a test, second, holds for; `item` is that value."),
        Function("item_at", (_L, _N), _T, "A value of a list: the number, second, from 1, or from the end from -1."),
        Function("item_count", (_L,), _N, "How many values a list has."),
        Function("items", (_L,), _L, "What stands between the commas of each value, without outer blanks; a comma inside quotes is none."),
        Function(
            "form_values",
            (_T, _T, _T),
            _L,
            "Every value of a name, second, in a form or a query, as sent; pairs end at any character of the third, such as `&;`.",
        ),
        Function(
            "form_texts",
            (_T, _T),
            _T,
            "All values of a name, second, in a form or a query, decoded, with commas between; a pair with a broken escape is none.",
        ),
        Function(
            "cookie_values",
            (_L, _T),
            _L,
            "Every value of a cookie, second, in the lines of a Cookie field; pairs end at `;` and `,` outside quotes, and what is empty is"
            " left out. Without a name those of all cookies.",
        ),
        Function("set_cookie_values", (_L, _T), _L, "The same of the lines of Set-Cookie fields, which have one cookie each."),
        Function("cookie_names", (_L,), _L, "The names of the cookies in the lines of a Cookie field."),
        Function("set_cookie_names", (_L,), _L, "The names of the cookies in the lines of Set-Cookie fields."),
        Function("joined", (_L, _T), _T, "The values of a list with a text, second, between."),
        Function(
            "replace_items",
            (_T, _T, _T),
            _T,
            "A list in which each item that a regular expression, second, is found in becomes a text, third, in which `\\1` is the"
            " first group.",
        ),
        Function(
            "normalize",
            (_T, _T),
            _T,
            "A path or a query in a normal form, second: `merge-slashes`, `strip-dot`, `strip-dotdot`, `strip-dotdot-full`,"
            " `sort-by-name`, `decode-unreserved` or `to-uppercase`.",
        ),
        Function(
            "format_date",
            (_N, _T, _T),
            _T,
            "A moment in seconds since 1970, written by a format of `strftime`, second; third is `local` or `utc`.",
        ),
        Function(
            "json_value",
            (_T, _T),
            _T,
            "What stands at a place, second, of a document in JSON, such as `$.user.roles[0]`: a text as it is, a truth as 1 or 0,"
            " else as JSON has it.",
        ),
        Function(
            "is_user",
            (_T, _T),
            _B,
            "Whether a value of Authorization shows one of some users: lines of a name, a colon and a stored password as `basic_auth`"
            " has them.",
        ),
        Function(
            "certificate",
            (_T, _T),
            _T,
            "A part, second, of a certificate as bytes (DER): `subject` and `issuer` in one line, `subject.CN` and its kin, `serial`,"
            " `sha1` and `sha256` as bytes, `not_before`, `not_after`, `signature`, `key` and `version`.",
        ),
        Function(
            "existing",
            (_T, _T),
            _T,
            "A path, second, if something stands there below a directory, first, at this moment: a file, or a directory where the path ends"
            " with `/`; else nothing.",
        ),
        Function(
            "executable",
            (_T, _T),
            _T,
            "A path, second, if what stands there below a directory, first, may be executed by its owner at this moment; else nothing.",
        ),
        Function("mask", (_T, _N, _N), _A, "An address with its first bits alone: so many of IPv4, second, and of IPv6, third."),
        Function(
            "mask_by",
            (_T, _T, _T),
            _A,
            "An address with the bits alone that a mask has: one of IPv4, second, and one of IPv6, third; IPv4 inside IPv6 is IPv4.",
        ),
        Function(
            "behind_proxies",
            (_A, _T, _T, _T),
            _A,
            "An address, or, where it is one of some proxies, third, networks with commas between, the address that stands last in a list,"
            " second. Fourth is `last`, or `all` to go on for as long as that one is a proxy, too.",
        ),
        Function("before", (_T, _T), _B, "Whether a text stands before another, second, byte by byte."),
        Function("number", (_T,), _N, "A text of digits as a number; 0 where it is none."),
        Function("hex_number", (_T,), _N, "A text of up to 15 hexadecimal digits as a number; 0 where it is none."),
        Function("add", (_N, _N), _N, "The sum."),
        Function("subtract", (_N, _N), _N, "The difference; 0 where that is less."),
        Function("multiply", (_N, _N), _N, "The product."),
        Function("divide", (_N, _N), _N, "The quotient, rounded down."),
        Function("modulo", (_N, _N), _N, "What is left of a division."),
        Function("bit_and", (_N, _N), _N, "The bits that both numbers have."),
        Function("bit_or", (_N, _N), _N, "The bits that one of the numbers has."),
        Function("bit_xor", (_N, _N), _N, "The bits that one of the numbers has alone."),
    )
}


def kind_of(expr: Expr) -> Kind:
    """Return what an expression yields. Unknown names count as text; ``check`` reports them."""
    if isinstance(expr, Const):
        if isinstance(expr.value, bool):
            return Kind.TEST
        return Kind.NUMBER if isinstance(expr.value, int) else Kind.TEXT
    if isinstance(expr, Var):
        variable = VARIABLES.get(expr.name)
        return variable.kind if variable else Kind.TEXT
    if isinstance(expr, Call):
        function = FUNCTIONS.get(expr.function)
        return function.result if function else Kind.TEXT
    if isinstance(expr, (Match, Compare, InSet, InNet, AllOf, AnyOf, Not)):
        return Kind.TEST
    if isinstance(expr, If):
        return _common(kind_of(expr.then), kind_of(expr.otherwise))
    if isinstance(expr, Default):
        return _common(kind_of(expr.value), kind_of(expr.fallback))
    return Kind.TEXT


def _common(one: Kind, other: Kind) -> Kind:
    """Two kinds that differ meet as text."""
    return one if one is other else Kind.TEXT


def phase_of(expr: Expr) -> Phase:
    """Return when an expression is known: when the last of its variables is. A constant is known from the start."""
    phases = [VARIABLES[each.name].phase for each in walk(expr) if isinstance(each, Var) and each.name in VARIABLES]
    return max(phases, default=Phase.ACCEPT)


def scope_of(expr: Expr) -> Scope:
    """Return what an expression depends on: the widest scope of its variables. A constant is of the connection."""
    scopes = {VARIABLES[each.name].scope for each in walk(expr) if isinstance(each, Var) and each.name in VARIABLES}
    if any(isinstance(each, Call) and each.function in ("http_date", "existing", "executable", "expiry") for each in walk(expr)):
        return "exchange"  # of the clock, of what is on the disk
    if "exchange" in scopes:
        return "exchange"
    return "fields" if "fields" in scopes else "connection"
