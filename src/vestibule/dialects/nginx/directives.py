"""The table of nginx's directives: where each may stand, what it takes, and what vestibule makes of it.

Rules:
* Every directive is one of three: SUPPORTED, its meaning is in the model; HARMLESS, it may be left out and a warning says so;
  MISSING, it is an error that says what to do. A name that is not here is an error too.
* ``takes`` is ``flag`` for ``on`` or ``off``, or a number of arguments: ``1``, ``0-1``, ``2+``. ``block`` says that it has a block.
* ``doc`` of a supported directive says what becomes of it, that of the others why it is left out or what to do.

Not here: what arguments mean (``lower`` and its neighbours). The matrix in the documentation is rendered from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class How(Enum):
    """What becomes of a directive."""

    SUPPORTED = "supported"
    HARMLESS = "left out"
    MISSING = "error"


@dataclass(frozen=True, slots=True)
class Row:
    """One directive."""

    name: str
    contexts: tuple[str, ...]
    takes: str
    how: How
    doc: str
    block: bool = False

    def accepts(self, count: int) -> bool:
        """Tell whether so many arguments are right."""
        if self.takes == "flag":
            return count == 1
        low, dash, high = self.takes.partition("-")
        if low.endswith("+"):
            return count >= int(low[:-1])
        return int(low) <= count <= int(high if dash else low)


_PLACES = {
    "m": "main",
    "e": "events",
    "h": "http",
    "s": "server",
    "l": "location",
    "i": "if",
    "u": "upstream",
    "x": "limit_except",
    "t": "stream",
    "v": "stream server",
}


def _rows(how: How, *lines: tuple[str, str, str, str]) -> list[Row]:
    """Make rows; a ``{`` after the arguments says that there is a block."""
    made: list[Row] = []
    for names, places, takes, doc in lines:
        contexts = tuple([_PLACES[each] for each in places])
        made.extend([Row(name, contexts, takes.rstrip("{"), how, doc, takes.endswith("{")) for name in names.split()])
    return made


_ROWS = _rows(
    How.SUPPORTED,
    # The program.
    ("http events stream", "m", "0{", "what is inside"),
    ("user", "m", "1-2", "the account to become once ports are bound"),
    ("worker_processes", "m", "1",
     "worker processes; `auto` is one for each core. A whole file without it has one, a fragment one for each core"),
    ("pid", "m", "1", "the file that holds the process id"),
    ("error_log", "mhsl", "1-2", "the log of the program, from the outermost level; its levels become the four of vestibule"),
    ("worker_connections", "e", "1", "client connections of one worker"),
    ("worker_shutdown_timeout", "m", "1", "how long exchanges in flight may go on once the program stops"),
    # Servers.
    ("server", "h", "0{", "a site on its listeners"),
    ("listen", "s", "1+", "a listener; the first server that names it, or the one with `default_server`, serves unknown hosts"),
    ("server_name", "s", "1+", "the hosts of the site: exact, `*.name`, `.name`, `name.*`, regular expressions and what they capture"),
    ("location", "sl", "1-2{", "a route of a switch in nginx's order"),
    ("return", "sli", "1-2", "a redirect, or an answer of the proxy itself"),
    ("rewrite", "sli", "2-3", "a new path, or a redirect"),
    ("if", "sl", "1+{", "a condition around `return`, `set` and `rewrite`"),
    ("set", "sli", "2", "the variable's value, put in wherever it is used after"),
    ("break", "sli", "0", "the end of the rewrites"),
    ("map", "h", "2{", "an expression, put in wherever its variable is used"),
    ("geo", "h", "1-2{", "an expression on the client's address"),
    ("split_clients", "h", "2{", "an expression on the same sum of a text as in nginx, so the same clients get the same values"),
    ("default_type", "hsl", "1", "the Content-Type of a `return` with a text"),
    ("internal", "l", "0", "404, unless the request was led here by `error_page`, `try_files` or `rewrite`"),
    ("root", "hsli", "1", "the directory of files that no location proxies; without one anywhere they are 404"),
    ("alias", "l", "1", "the directory of a location's files"),
    ("index", "hsl", "1+", "files that are looked for in a directory"),
    ("try_files", "sl", "2+", "files that are looked for, and what answers where none is there"),
    ("types", "hsl", "0{", "media types of files, besides those that are known"),
    ("autoindex", "hsl", "flag", "whether directories without an index are listed"),
    ("if_modified_since", "hsl", "1", "`off`: files are sent whatever the client has; else it is as the RFC says"),
    ("max_ranges", "hsl", "1", "requests for more ranges of a file get the whole file; 0: all do"),
    ("gzip_static", "hsl", "1", "`precompressed` of files: `always` is as `on`"),
    ("brotli_static", "hsl", "1", "`precompressed` of files: `always` is as `on`"),
    ("disable_symlinks", "hsl", "1-2", "only `off`: symbolic links are followed"),
    ("secure_link", "hsl", "1", "what `$secure_link` and `$secure_link_expires` are by"),
    ("secure_link_md5", "hsl", "1", "the text whose digest a link has"),
    ("secure_link_secret", "l", "1", "what `$secure_link` is by: the end of a path that has its digest with this word before it"),
    ("userid", "hsl", "1", "whether a cookie tells clients apart: `on`, `v1`, `log` (which only reads it) or `off`"),
    ("userid_name userid_domain userid_path userid_expires userid_mark userid_service userid_p3p", "hsl", "1", "what the cookie says"),
    ("userid_flags", "hsl", "1-3", "attributes of the cookie"),
    ("valid_referers", "sl", "1+", "what `$invalid_referer` is by"),
    ("resolver", "hslu", "1+",
     "`process.resolvers`: who is asked for the hosts that requests name; the first of a file counts. Others are looked up by the system"),
    ("error_page", "hsli", "2+", "who answers in the place of an error"),
    ("limit_except", "l", "1+{", "`deny`, `allow`, `auth_basic` and `proxy_pass` for all other methods"),
    # What goes upstream.
    ("upstream", "h", "1{", "an upstream"),
    ("stub_status", "sl", "0-1", "the figures of the whole proxy, two seconds old at most"),
    ("proxy_pass", "lix", "1",
     "the upstream that answers, and the path it is asked for; with variables a block of that name, or any address that the request names"),
    ("proxy_bind", "hsl", "1-2", "`pool.local_address`: the address that connections are made from, or `off`"),
    ("proxy_method", "hsl", "1", "the method of the request for the upstream; a HEAD stays one"),
    ("proxy_set_header", "hsl", "2", "a field of the request; as in nginx, one here replaces all of the levels above"),
    ("proxy_pass_request_headers", "hsl", "flag", "`off`: of fields, only those of `proxy_set_header` go upstream"),
    ("proxy_pass_request_body", "hsl", "flag", "`off`: requests go upstream without their bodies"),
    ("proxy_set_body", "hsl", "1", "the body that goes upstream; such a request is not tried again once it was sent"),
    ("proxy_http_version", "hsl", "1", "1.1 is what vestibule speaks"),
    ("proxy_connect_timeout", "hsl", "1", "`timeouts.connect`"),
    ("proxy_read_timeout", "hsl", "1", "`timeouts.response_head`, `timeouts.tunnel_idle`, and a part in `timeouts.body_idle`"),
    ("proxy_header_timeout", "hsl", "1", "`timeouts.response_head`, instead of `proxy_read_timeout`"),
    ("proxy_send_timeout", "hsl", "1", "a part in `timeouts.body_idle`, which is the longest of those that nginx tells apart"),
    ("proxy_redirect", "hsl", "1-2", "the Location of an answer"),
    ("proxy_cookie_domain proxy_cookie_path", "hsl", "1-2", "the `Domain` and `Path` of an upstream's cookies"),
    ("proxy_cookie_flags", "hsl", "1+", "other attributes of an upstream's cookies"),
    ("proxy_hide_header", "hsl", "1", "a field that is taken from the answer"),
    ("proxy_pass_header", "hsl", "1", "a field that clients get, though it is hidden otherwise (`X-Accel-…`, `proxy_hide_header`)"),
    ("proxy_buffering", "hsl", "flag", "`off` is what vestibule does: bodies stream"),
    ("proxy_request_buffering", "hsl", "flag", "`off` is what vestibule does: bodies stream"),
    ("proxy_max_temp_file_size", "hsl", "1", "0 is what vestibule does: it writes no temporary files"),
    ("proxy_cache", "hsl", "1", "`off` is what vestibule does"),
    ("proxy_intercept_errors", "hsl", "flag", "whether `error_page` is for the answers of upstreams too"),
    ("proxy_next_upstream", "hsl", "1+",
     "after what another server is tried; never for a request that may have had an effect, so `non_idempotent` is left out"),
    ("proxy_next_upstream_tries", "hsl", "1", "`retry.attempts`; without it each server is asked once"),
    ("proxy_next_upstream_timeout", "hsl", "1", "`retry.within`"),
    ("proxy_ssl_verify", "hsl", "flag", "whether the certificate of the upstream must be valid"),
    ("proxy_ssl_trusted_certificate", "hsl", "1", "the authorities for upstreams"),
    ("proxy_ssl_crl", "hsl", "1", "the revocation lists for upstreams"),
    ("proxy_ssl_certificate", "hsl", "1", "the client certificate shown to upstreams"),
    ("proxy_ssl_certificate_key", "hsl", "1", "its key"),
    ("proxy_ssl_password_file", "hsl", "1", "what opens its key"),
    ("proxy_ssl_name", "hsl", "1", "the name sent to the upstream and verified"),
    ("proxy_ssl_server_name", "hsl", "flag", "`on` is what vestibule does: a name is always sent"),
    ("least_conn ip_hash", "u", "0", "`balance.method`"),
    ("hash", "u", "1-2", "`balance.method` and its key; servers that come and go always move few keys, as with `consistent`"),
    ("random", "u", "0-2", "the less busy of two servers drawn by weight"),
    ("least_time", "u", "1-2", "shortest expected wait, from answer times of late"),
    ("sticky", "u", "1+", "`cookie` keeps clients with their server; other ways are not built"),
    ("queue", "u", "1-2", "how many requests wait for a connection, and how long"),
    ("keepalive", "u", "1", "idle connections kept for each server"),
    ("keepalive_requests", "hslu", "1", "requests on one client connection, by location too; in an upstream it is left to the server"),
    # What comes from clients.
    ("client_max_body_size", "hsl", "1", "`limits.body`; 0 is no limit"),
    ("client_body_buffer_size", "hsl", "1", "the size up to which `$request_body` holds a body, 64 KiB at most; bodies stream otherwise"),
    ("client_body_timeout", "hsl", "1", "a part in `timeouts.body_idle`"),
    ("client_header_timeout", "hs", "1", "`timeouts.request_head`"),
    ("send_timeout", "hsl", "1", "a part in `timeouts.body_idle`"),
    ("keepalive_timeout", "hslu", "1-2",
     "`timeouts.keep_alive` of the listener, and `keep_alive` where it differs, or clients are told of it; in an upstream `pool.idle`"),
    ("keepalive_time", "hsl", "1", "how old a client connection may be; any age unless said"),
    ("keepalive_disable", "hsl", "1-2", "browsers whose connections are not kept; none unless said"),
    ("large_client_header_buffers", "hs", "2", "`limits.head` and `limits.target`"),
    ("underscores_in_headers", "hs", "flag", "whether fields with `_` in their names pass"),
    ("ignore_invalid_headers", "hs", "flag", "`off`: fields with `_` in their names pass; those with a dot always do"),
    ("set_real_ip_from", "hsl", "1", "a trusted proxy; the list of a block is its own"),
    ("real_ip_header", "hsl", "1", "the field that says who the client is, or `proxy_protocol`"),
    ("real_ip_recursive", "hsl", "flag", "whether its list is walked past trusted proxies"),
    # Who may.
    ("allow deny", "hslx", "1", "403 for addresses, the first that fits decides"),
    ("satisfy", "hsl", "1", "whether addresses and passwords must both fit, or `any` of them is enough"),
    ("auth_basic", "hslx", "1", "basic authentication with this realm"),
    ("auth_basic_user_file", "hslx", "1", "its users"),
    ("auth_delay", "hsl", "1", "how long the refusal of `auth_basic` is held back"),
    ("limit_req_zone limit_conn_zone", "h", "2-4", "what is counted by, and how many requests may come"),
    ("limit_req", "hsl", "1-3", "a limit of requests in a time, counted in each worker"),
    ("limit_conn", "hsl", "2", "a limit of requests at a time, counted in each worker"),
    ("limit_rate", "hsli", "1", "the bytes per second of an answer; `set $limit_rate` too. Answers of `return` are not slowed"),
    ("limit_rate_after", "hsli", "1", "the bytes of an answer that go at once"),
    ("proxy_limit_rate", "hsl", "1", "the bytes per second of an upstream's answer"),
    ("limit_req_status limit_conn_status", "hsl", "1", "the status of a refusal; 503 unless said"),
    ("limit_req_dry_run limit_conn_dry_run", "hsl", "flag", "`on` limits nothing"),
    ("log_not_found", "hsl", "flag", "whether the error log of `vestibule nginx` tells of files that are not there"),
    ("limit_req_log_level limit_conn_log_level", "hsl", "1", "at which level the error log of `vestibule nginx` tells of refusals"),
    ("auth_request", "hsl", "1", "whom to ask whether a request may pass: what the location of that path answers"),
    ("auth_request_set", "hsl", "2", "a variable from a field of the answer, `$upstream_http_NAME`, or `$upstream_status`"),
    # Answers.
    ("proxy_ignore_headers", "hsl", "1+", "`X-Accel-Redirect` is not followed then; the others have no effect in any case"),
    ("absolute_redirect", "hsl", "flag", "`off`: redirects to a path do not name the host; `on` names the one that was asked for"),
    ("port_in_redirect", "hsl", "flag", "whether redirects to a path name the port of the socket, where it is not the usual one"),
    ("server_name_in_redirect", "hsl", "flag", "`on`: redirects to a path name the first `server_name`"),
    ("gzip", "hsli", "flag", "whether answers are compressed"),
    ("gzip_types", "hsl", "1+", "media types besides text/html; `*` is any"),
    ("gzip_min_length gzip_comp_level", "hsl", "1", "from which size on, and how well"),
    ("expires", "hsli", "1-2", "`Expires` and `Cache-Control` of good answers"),
    ("charset", "hsli", "1", "what texts say of their charset that do not say one; nothing is recoded"),
    ("charset_types", "hsl", "1+", "media types besides text/html that are texts; `*` is any"),
    ("add_header", "hsli", "2-3", "a field of the answer, with `always` or for good answers only"),
    ("add_trailer", "hsli", "2-3", "a field behind the body, with `always` or for good answers only"),
    ("sub_filter", "hsl", "2", "another text in the bodies of answers that are not compressed; those of `return` stay"),
    ("sub_filter_types", "hsl", "1+", "media types besides text/html; `*` is any"),
    ("sub_filter_once sub_filter_last_modified", "hsl", "flag", "whether each text is replaced once, and whether `Last-Modified` stays"),
    # TLS.
    ("ssl_certificate", "hs", "1", "a certificate of the site; several may differ by key type"),
    ("ssl_certificate_key", "hs", "1", "its key"),
    ("ssl_password_file", "hs", "1", "what opens the key"),
    ("ssl_protocols", "hs", "1+", "the TLS profile of the listener, from 1.2 on"),
    ("ssl_ciphers", "hs", "1", "the TLS profile of the listener"),
    ("ssl_session_tickets", "hs", "flag", "whether sessions may be resumed, which is by tickets alone"),
    ("ssl_session_cache", "hs", "1-2", "sessions are resumed by tickets, which need none"),
    ("ssl_client_certificate", "hs", "1", "the authorities of client certificates"),
    ("ssl_trusted_certificate", "hs", "1", "authorities of client certificates, besides those of `ssl_client_certificate`"),
    ("ssl_crl", "hs", "1", "revocation lists for client certificates"),
    ("ssl_verify_depth", "hs", "1", "authorities between a client's certificate and a trusted one; 1 unless said"),
    ("ssl_verify_client", "hs", "1",
     "`on`, `optional` or `optional_no_ca`, of each server of a socket; requests without a certificate that is accepted get 400 (or what"
     " `error_page` says for 495 and 496), and those on a connection that was made for a server that asks otherwise get 421"),
    ("ssl_ocsp", "hs", "1", "only `off`: certificates of clients are checked against lists (`ssl_crl`)"),
    ("ssl_conf_command", "hs", "2", "`Ciphersuites`: the TLS profile of the listener; other commands are left out"),
    ("ssl_ecdh_curve", "hs", "1", "the TLS profile of the listener"),
    ("ssl_reject_handshake", "hs", "flag", "a handshake for an unknown name is refused"),
    ("http2", "hs", "flag", "HTTP/2 on the listeners of the server"),
    # Logs.
    ("access_log", "hsli", "1+", "the access logs: files, standard output or error, syslog servers"),
    ("log_format", "h", "2+", "a template of the access log; `escape=none` is as `default`"),
)  # fmt: skip

_ROWS += _rows(
    How.HARMLESS,
    ("daemon master_process", "m", "flag", "the service decides whether it runs in the background"),
    ("worker_rlimit_nofile worker_rlimit_core worker_priority worker_cpu_affinity thread_pool timer_resolution env lock_file pcre_jit"
     " working_directory load_module", "m", "1+", "vestibule runs its processes its own way"),
    ("multi_accept accept_mutex use accept_mutex_delay epoll_events debug_connection worker_aio_requests", "e", "1",
     "vestibule runs its event loop its own way"),
    ("types_hash_max_size types_hash_bucket_size server_names_hash_max_size server_names_hash_bucket_size map_hash_max_size"
     " map_hash_bucket_size variables_hash_max_size variables_hash_bucket_size proxy_headers_hash_max_size"
     " proxy_headers_hash_bucket_size", "hsl", "1", "tables have the size they need"),
    ("sendfile tcp_nopush tcp_nodelay reset_timedout_connection lingering_close lingering_time lingering_timeout postpone_output"
     " sendfile_max_chunk connection_pool_size request_pool_size output_buffers aio directio read_ahead", "hsl", "1+",
     "vestibule treats its sockets its own way"),
    ("server_tokens", "hsl", "1", "vestibule does not name itself"),
    ("chunked_transfer_encoding etag msie_padding msie_refresh merge_slashes"
     " recursive_error_pages", "hsl", "1+",
     "vestibule has one behaviour here, described in its documentation"),
    ("client_header_buffer_size client_body_temp_path client_body_in_file_only"
     " client_body_in_single_buffer subrequest_output_buffer_size", "hsl", "1+", "bodies stream, and heads take the memory they need"),
    ("proxy_buffers proxy_buffer_size proxy_busy_buffers_size proxy_temp_path proxy_temp_file_write_size proxy_socket_keepalive"
     " proxy_force_ranges proxy_ignore_client_abort proxy_send_lowat proxy_headers_hash_size", "hsl", "1+",
     "bodies stream; there is nothing to size"),
    ("proxy_ssl_session_reuse proxy_ssl_protocols proxy_ssl_ciphers proxy_ssl_verify_depth"
     " proxy_ssl_conf_command", "hsl", "1+", "vestibule has its own, safe choice here"),
    ("proxy_cache_path proxy_cache_valid proxy_cache_key proxy_cache_bypass proxy_no_cache proxy_cache_use_stale proxy_cache_lock"
     " proxy_cache_methods proxy_cache_min_uses proxy_cache_revalidate proxy_cache_background_update proxy_cache_lock_timeout"
     " proxy_cache_lock_age proxy_cache_max_range_offset proxy_cache_convert_head proxy_store proxy_store_access"
     " open_file_cache open_file_cache_errors open_file_cache_min_uses open_file_cache_valid", "hsli", "1+",
     "nothing is cached"),
    ("gunzip", "hsli", "flag", "what comes compressed goes on so; a server hears which codings the client takes"),
    ("gzip_vary gzip_proxied gzip_buffers gzip_http_version gzip_disable", "hsli", "1+",
     "with `gzip on`, what a client takes and the answer allows is compressed, and Vary says so"),
    ("brotli brotli_types brotli_comp_level", "hsli", "1+", "gzip is what vestibule compresses with"),
    ("ssl_session_timeout ssl_session_ticket_key ssl_prefer_server_ciphers ssl_dhparam ssl_buffer_size"
     " ssl_early_data ssl_stapling ssl_stapling_verify ssl_stapling_file ssl_stapling_responder"
     " ssl_handshake_timeout", "hs", "1+",
     "vestibule has its own, safe choice here"),
    ("http2_max_concurrent_streams http2_recv_buffer_size http2_chunk_size http2_body_preread_size http2_push_preload", "hsl", "1",
     "vestibule has its own, safe choice here"),
    ("http3 http3_hq http3_max_concurrent_streams http3_stream_buffer_size quic_retry quic_gso quic_host_key"
     " quic_active_connection_id_limit quic_bpf", "mhsl", "1", "HTTP/3 is not spoken; clients use HTTP/2"),
    ("resolver_timeout", "hslu", "1", "a request waits for a name as long as for a connection (`proxy_connect_timeout`)"),
    ("slice", "hsl", "1", "nothing is cached, so the server is asked for what the client asks for; that is what `$slice_range` says"),
    ("zone", "u", "1-2", "each worker has its own state"),
    ("log_subrequest open_log_file_cache uninitialized_variable_warn"
     " rewrite_log proxy_bind_dynamic", "hsli", "1+", "it concerns served files or messages of nginx alone"),
)  # fmt: skip

_ROWS += _rows(
    How.HARMLESS,
    ("autoindex_exact_size autoindex_format autoindex_localtime gzip_hash gzip_no_buffer gzip_window postpone_gzipping"
     " gunzip_buffers override_charset source_charset referer_hash_bucket_size referer_hash_max_size aio_write"
     " directio_alignment open_file_cache_events max_headers", "hsli", "1+",
     "vestibule has one behaviour here, described in its documentation"),
    ("http2_idle_timeout http2_max_concurrent_pushes http2_max_field_size http2_max_header_size http2_max_requests http2_pool_size"
     " http2_recv_timeout http2_streams_index_size", "hs", "1", "vestibule has its own, safe choice here"),
    ("debug_points", "m", "1", "it concerns messages of nginx alone"),
    ("ssi_ignore_recycled_buffers ssi_last_modified ssi_min_file_chunk ssi_silent_errors ssi_types ssi_value_length", "hsl", "1+",
     "without `ssi` they mean nothing"),
    ("ssl_ocsp_cache ssl_ocsp_responder", "hs", "1", "without `ssl_ocsp` they mean nothing"),
)  # fmt: skip

_LATER = "it is not built yet; take it out, or keep nginx for this part"

_ROWS += _rows(
    How.MISSING,
    ("mail", "m", "0{", "mail is not proxied; keep nginx for this part"),
    ("mirror mirror_request_body", "hsl", "1", _LATER),
    ("proxy_cache_purge", "hsl", "1-2", "nothing is cached"),
    ("ssi addition_types add_after_body add_before_body charset_map random_index post_action", "hsli", "0-2", _LATER),
    ("ancient_browser ancient_browser_value modern_browser modern_browser_value", "hsl", "1+", "use a `map` of `$http_user_agent`"),
    ("ssl_engine", "m", "1", "keys are read from files"),
    ("ssl", "hs", "flag", "write `listen 443 ssl`"),
    ("fastcgi_pass uwsgi_pass scgi_pass grpc_pass memcached_pass", "li", "1", "only HTTP upstreams are spoken to"),
    ("dav_methods dav_access create_full_put_path", "hsl", "1+", "files are served and not changed"),
    ("empty_gif flv mp4", "l", "0", "files are served as they are"),
    ("perl js_import js_content js_set lua_package_path content_by_lua_block access_by_lua_block rewrite_by_lua_block", "hsli", "1+",
     "programs inside the configuration are not run"),
)  # fmt: skip

DIRECTIVES: dict[str, Row] = {row.name: row for row in _ROWS}

_IN_STREAM = _rows(
    How.SUPPORTED,
    ("server", "t", "0{", "a listener that passes connections on"),
    ("listen", "v", "1+", "its address"),
    ("proxy_pass", "v", "1", "where connections go: an address, an upstream, or a variable of a `map` that names them"),
    ("upstream", "t", "1{", "an upstream"),
    ("split_clients", "t", "2{", "as in `http`"),
    ("map geo", "t", "1-2{", "an expression, put in wherever its variable is used"),
    ("set", "v", "2", "the variable's value"),
    ("ssl_preread", "tv", "flag", "what vestibule does where a variable asks for it"),
    ("preread_timeout", "tv", "1", "how long the hello of a client may take"),
    ("proxy_bind", "tv", "1-2", "as in `http`"),
    ("proxy_timeout", "tv", "1", "`timeouts.tunnel_idle`; with `listen … udp`, `sessions.idle`"),
    ("proxy_half_close", "tv", "flag", "`half_close`; `off` unless said"),
    ("proxy_responses", "tv", "1", "`sessions.responses`"),
    ("proxy_requests", "tv", "1", "`sessions.requests`"),
    ("proxy_connect_timeout", "tv", "1", "`timeouts.connect`"),
    ("proxy_protocol", "tv", "flag", "a PROXY header for the server"),
    ("proxy_upload_rate proxy_download_rate", "tv", "1", "the bytes per second from the client, and to it"),
    ("proxy_next_upstream", "tv", "flag", "whether another server is tried where no connection could be made"),
    ("proxy_next_upstream_tries", "tv", "1", "`retry.attempts`"),
    ("proxy_next_upstream_timeout", "tv", "1", "`retry.within`"),
    ("ssl_certificate ssl_certificate_key ssl_password_file ssl_ciphers ssl_client_certificate ssl_trusted_certificate ssl_crl"
     " ssl_verify_depth ssl_ecdh_curve", "tv", "1", "as in `http`, where TLS ends (`listen … ssl`)"),
    ("ssl_verify_client", "tv", "1", "`on`, `optional` or `optional_no_ca`; with the first two a certificate that is not accepted ends"
     " the handshake"),
    ("ssl_session_tickets", "tv", "flag", "as in `http`"),
    ("ssl_session_cache", "tv", "1-2", "as in `http`"),
    ("ssl_protocols", "tv", "1+", "as in `http`"),
    ("ssl_conf_command", "tv", "2", "as in `http`"),
    ("ssl_alpn", "tv", "1+", "the protocols offered by ALPN; without it none is agreed on"),
    ("proxy_ssl proxy_ssl_verify", "tv", "flag", "TLS to the server, and whether its certificate must be valid"),
    ("proxy_ssl_name proxy_ssl_trusted_certificate proxy_ssl_crl proxy_ssl_certificate proxy_ssl_certificate_key"
     " proxy_ssl_password_file", "tv", "1", "as in `http`"),
    ("set_real_ip_from", "tv", "1", "whose PROXY headers count on a `listen ... proxy_protocol`; those of others are but known"),
    ("allow deny", "tv", "1", "connections that are closed"),
    ("pass", "v", "1", "the `listen` of `http` that takes connections over, as if they had been made to it; a `map` may choose it"),
    ("return", "v", "1", "a text that the client gets before the connection is closed"),
    ("limit_conn_zone", "t", "2", "what connections are counted by"),
    ("limit_conn", "tv", "2", "how many connections of a key may be open; counted in each worker"),
    ("limit_conn_dry_run", "tv", "flag", "`on` limits nothing"),
    ("access_log", "tv", "1+", "the access logs of connections; without one anywhere they are in that of the program"),
    ("log_format", "t", "2+", "a template of the access log"),
    ("least_conn", "u", "0", "`balance.method`"),
    ("hash", "u", "1-2", "`balance.method` and its key"),
    ("random least_time", "u", "0-2", "`balance.method`"),
)  # fmt: skip

_IN_STREAM += _rows(
    How.HARMLESS,
    ("zone", "u", "1-2", "each worker has its own state"),
    ("error_log", "tv", "1+", "there is one error log, that of the program"),
    ("open_log_file_cache", "tv", "1+", "logs are open as long as they are in use"),
    ("limit_conn_log_level", "tv", "1", "refusals are in the access log"),
    ("ssl_session_timeout ssl_session_ticket_key ssl_prefer_server_ciphers ssl_dhparam ssl_handshake_timeout", "tv", "1",
     "vestibule has its own, safe choice here"),
    ("tcp_nodelay proxy_buffer_size proxy_socket_keepalive preread_buffer_size resolver resolver_timeout"
     " variables_hash_max_size variables_hash_bucket_size map_hash_max_size map_hash_bucket_size proxy_ssl_session_reuse"
     " proxy_ssl_protocols proxy_ssl_ciphers proxy_ssl_verify_depth proxy_ssl_conf_command proxy_ssl_server_name"
     " proxy_protocol_timeout", "tuv", "1+", "vestibule has its own, safe choice here"),
)  # fmt: skip

_IN_STREAM += _rows(
    How.MISSING,
    ("server_name", "v", "1+", "choose by `$ssl_preread_server_name` in a `map`"),
)  # fmt: skip

STREAM: dict[str, Row] = {row.name: row for row in _IN_STREAM}
"""The same of what may stand inside ``stream``."""

FOREIGN_PREFIXES = ("perl_", "js_", "image_filter", "xslt_")
"""Families of directives that belong to what is not served; each is an error that says so."""

IDLE_PREFIXES = ("fastcgi_", "uwsgi_", "scgi_", "grpc_", "memcached_")
"""Families of directives that do nothing without their `..._pass`, which is an error; each is left out."""
