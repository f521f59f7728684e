"""Sample fetches, converters and log aliases of HAProxy, and what they are in the vocabulary of the model.

Facts: names are those of the configuration manual of HAProxy 2.6, chapters 7.3 and 8.2.4. Spellings in the vocabulary's
table hold where a fetch is one variable; here stands what that table cannot say.

Not here: reading of expressions (``sample``), conditions (``acl``).
"""

from __future__ import annotations

from typing import Literal

from vestibule.model.expr import EMPTY, AllOf, Call, Compare, Concat, Const, Default, Expr, If, InSet, Match, Not, Var

_QUERY = Var("query")

QUERY_MARKED: Expr = If(Compare("==", _QUERY, Const("")), Const(""), Concat((Const("?"), _QUERY)))
"""The query with its ``?``, or nothing."""


def bearer_of(field: str) -> Expr:
    """Return the token in a field such as Authorization (RFC 6750 2.1)."""
    return Call("capture", (Var("header", field), Const("^(?i:bearer) +([^ ]+)"), Const("1")))


_BASIC = Call("base64_decode", (Call("capture", (Var("header", "authorization"), Const("^(?i:basic) +([^ ]+)"), Const("1"))),))
_HAS_BEARER = Compare("!=", bearer_of("authorization"), Const(""))

ASKED = Default(Var("upstream_address"), Call("capture", (Var("tried_addresses"), Const("([^ ,]+)\\Z"), Const("1"))))
"""The server of an exchange; the last one that was tried where none was reached."""

SERVER = Default(ASKED, Const("<NOSRV>"))
"""The same in a line, before servers have their names (``loglines.with_names``)."""

_URL_HOST = r"://\[?([0-9a-fA-F.:]+?)\]?(?::[0-9]*)?\Z"
_URL_PORT = r":([0-9]+)\Z"

TARGET = If(
    AllOf((Compare("==", Var("protocol"), Const("HTTP/2.0")), Match("^/", Var("target")))),
    Concat((Var("scheme"), Const("://"), Var("header", "host"), Var("target"))),
    Concat((Var("target_origin"), Var("target"))),
)
"""What a request asks for, in lines of logs: a request of HTTP/2 has a whole URL there, and one of HTTP/1 where the client wrote it."""


def server_of(servers: tuple[tuple[str, str], ...], is_number: bool) -> Expr:
    """Return the name of the server that answered, or its number."""
    found: Expr = Const("")
    for at in range(len(servers), 0, -1):
        name, address = servers[at - 1]
        found = If(Compare("==", Var("upstream_address"), Const(address)), Const(str(at) if is_number else name), found)
    return found


_VERSION = Call("replace", (Var("protocol"), Const("^HTTP/"), Const(""), Const("")))

FETCHES: dict[str, Expr] = {
    "src": Var("peer_ip"),
    "src_port": Var("client_port"),
    "dst": Var("server_ip"),
    "dst_port": Var("server_port"),
    "ssl_fc": Var("tls"),
    "fc_src": Var("peer_ip"),
    "fc_src_port": Var("client_port"),
    "fc_dst": Var("server_ip"),
    "fc_dst_port": Var("server_port"),
    "bc_dst": Call("capture", (Var("upstream_address"), Const("^\\[?([0-9a-fA-F.:]+)\\]?:[0-9]+\\Z"), Const("1"))),
    "bc_dst_port": Call("number", (Call("capture", (Var("upstream_address"), Const(":([0-9]+)\\Z"), Const("1"))),)),
    "fc_http_major": If(Compare("==", Var("protocol"), Const("HTTP/2.0")), Const(2), Const(1)),
    "fc_pp_authority": Var("announced_tlv", "2"),
    "fc_pp_unique_id": Var("announced_tlv", "5"),
    "ssl_fc_sni": Var("tls_sni"),
    "ssl_fc_has_sni": Compare("!=", Var("tls_sni"), Const("")),
    "ssl_fc_alpn": Var("tls_protocol"),
    "ssl_fc_is_resumed": Var("tls_resumed"),
    "ssl_fc_session_id": Call("hex_decode", (Var("tls_session"),)),
    "ssl_fc_protocol": Var("tls_version"),
    "ssl_fc_cipher": Var("tls_cipher"),
    "ssl_c_used": Not(InSet(Var("tls_client_verify"), ("NONE", ""))),
    "ssl_fc_has_crt": Not(InSet(Var("tls_client_verify"), ("NONE", ""))),
    "ssl_c_verify": Var("tls_client_error"),
    "ssl_c_err": Var("tls_client_error"),
    "ssl_bc": Var("upstream_tls"),
    "ssl_bc_protocol": Var("upstream_tls_version"),
    "ssl_bc_cipher": Var("upstream_tls_cipher"),
    "ssl_bc_alpn": Var("upstream_tls_protocol"),
    "ssl_bc_is_resumed": Var("upstream_tls_resumed"),
    "method": Var("method"),
    "path": Var("path"),
    "query": _QUERY,
    "pathq": Concat((Var("path"), QUERY_MARKED)),
    "url": Var("target"),
    "url_ip": Call("mask", (Call("capture", (Var("target_origin"), Const(_URL_HOST), Const("1"))), Const(32), Const(128))),
    "url_port": Call(
        "number",
        (
            If(
                Match(_URL_PORT, Var("target_origin")),
                Call("capture", (Var("target_origin"), Const(_URL_PORT), Const("1"))),
                If(Match("^https", Var("target_origin"), True), Const("443"), If(Match(".", Var("target_origin")), Const("80"), EMPTY)),
            ),
        ),
    ),
    "status": Var("status"),
    "txn.status": Var("status"),
    "date_us": Call("modulo", (Call("multiply", (Var("time_ms"), Const(1_000))), Const(1_000_000))),
    "always_true": Const(True),
    "always_false": Const(False),
    "be_name": Var("upstream"),
    "base": Concat((Var("host_port"), Var("path"))),
    "baseq": Concat((Var("host_port"), Var("path"), QUERY_MARKED)),
    "req.ver": _VERSION,
    "req_ver": _VERSION,
    "capture.req.method": Var("method"),
    "capture.req.uri": Var("target"),
    "capture.req.ver": Var("protocol"),
    "http_auth_user": Var("user"),
    "http_auth_pass": Call("capture", (_BASIC, Const("(?s)^[^:]*:(.*)"), Const("1"))),
    "http_auth_type": If(Compare("!=", Var("user"), Const("")), Const("Basic"), If(_HAS_BEARER, Const("Bearer"), Const(""))),
    "http_auth_bearer": bearer_of("authorization"),
    "http_first_req": Var("first_request"),
    "req.body": Var("body"),
    "req.body_len": Call("length", (Var("body"),)),
    "req.body_size": If(
        Compare("!=", Var("header", "content-length"), Const("")),
        Call("number", (Var("header", "content-length"),)),
        Call("length", (Var("body"),)),
    ),
    "res.ver": _VERSION,
    "resp_ver": _VERSION,
    "capture.res.ver": Concat((Const("HTTP/"), _VERSION)),
    "hostname": Var("hostname"),
    "pid": Var("process_id"),
    "uuid": Var("uuid"),
    "bytes_in": Var("bytes_in"),
    "bytes_out": Var("bytes_out"),
}
"""Fetches without arguments. ``fe_name`` is known where the expression stands."""

RAW_FETCHES: dict[str, Expr] = {
    "req.ssl_sni": Var("tls_sni"),
    "req_ssl_sni": Var("tls_sni"),
    "req.ssl_alpn": Var("tls_alpn"),
    "req.ssl_hello_type": If(Var("tls_hello"), Const(1), Const(0)),
    "req_ssl_hello_type": If(Var("tls_hello"), Const(1), Const(0)),
}
"""Fetches that look into a ClientHello, which only a connection in ``mode tcp`` still has."""

CERTIFICATES: dict[str, Expr] = {
    "ssl_c_": Var("tls_client_der"),
    "ssl_f_": Var("tls_own_der"),
    "ssl_s_": Var("upstream_tls_der"),
}
"""Whose certificate a fetch looks into, by how its name begins: the client's, ours, the server's."""

CERTIFICATE_PARTS: dict[str, str] = {
    "der": "",
    "sha1": "sha1",
    "serial": "serial",
    "notafter": "not_after",
    "notbefore": "not_before",
    "sig_alg": "signature",
    "key_alg": "key",
    "version": "version",
    "s_dn": "subject",
    "i_dn": "issuer",
}
"""What it looks for, by how its name ends; nothing is the whole."""

CERTIFICATE_NAMES: dict[tuple[str, tuple[str, ...]], Expr] = {
    ("ssl_c_s_dn", ("cn",)): Var("tls_client_name"),
    ("ssl_c_s_dn", ("CN",)): Var("tls_client_name"),
    ("ssl_c_s_dn", ("", "0", "rfc2253")): Var("tls_client_subject"),
    ("ssl_c_i_dn", ("", "0", "rfc2253")): Var("tls_client_issuer"),
}
"""Names in client certificates, by the arguments of the fetch; other ways of writing them are not built."""

_SHA256 = ("sha2", ("256",))
_HEX = ("hex", ())

CERTIFICATE_BYTES: dict[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], Expr] = {
    ("ssl_c_serial", (_HEX,)): Var("tls_client_serial"),
    ("ssl_c_sha1", (_HEX,)): Call("upper", (Var("tls_client_short_fingerprint"),)),
    ("ssl_c_der", (("base64", ()),)): Var("tls_client_certificate"),
    ("ssl_c_der", (_SHA256, _HEX)): Call("upper", (Var("tls_client_fingerprint"),)),
}
"""Fetches of bytes with the converters that make a text of them; what else is done to that follows."""

NAMED_FETCHES: dict[str, str] = {
    "hdr": "header",
    "req.hdr": "header",
    "req.fhdr": "header_line",
    "fhdr": "header_line",
    "res.hdr": "response_header",
    "res.fhdr": "response_header_line",
    "shdr": "response_header",
}
"""Fetches whose argument is a name."""

IF_KNOWN: dict[str, Literal["==", "!="]] = {
    "ifexists": "!=",
    "ifset": "!=",
    "ifnotempty": "!=",
    "ifnotexists": "==",
    "ifnotset": "==",
    "ifempty": "==",
}
"""When a variable is set: what is empty counts as not there."""

NAME_METHODS = {"str": ("^", "\\Z"), "beg": ("^", ""), "end": ("", "\\Z"), "sub": ("", ""), "reg": ("", "")}
"""What stands around a name for each way of ``del-header -m``."""

COUNTED_FETCHES: dict[str, str] = {
    "hdr_cnt": "hdr",
    "req.hdr_cnt": "hdr",
    "fhdr_cnt": "req.fhdr",
    "req.fhdr_cnt": "req.fhdr",
    "shdr_cnt": "res.hdr",
    "res.hdr_cnt": "res.hdr",
    "res.fhdr_cnt": "res.fhdr",
}
"""Fetches that count, each with the one of what is counted."""

NUMBERED_FETCHES: dict[str, str] = {
    "hdr_val": "hdr",
    "req.hdr_val": "hdr",
    "res.hdr_val": "res.hdr",
    "shdr_val": "res.hdr",
    "cook_val": "cook",
    "req.cook_val": "cook",
    "res.cook_val": "res.cook",
    "scook_val": "res.cook",
    "url_param_val": "url_param",
    "urlp_val": "urlp",
}
"""Fetches that read a number, each with the one of the text it is read from."""

LISTS = frozenset(("hdr", "req.hdr", "res.hdr", "shdr"))
"""Fetches that take a field apart at its commas; conditions look at each part."""

UNBUILT_FETCHES: dict[str, str] = {
    "srv_name": "read it in an `http-response` rule",
    "srv_id": "read it in an `http-response` rule",
    "srv_is_up": "ask with `nbsrv(BACKEND)` how many are",
    "req.ssl_sni": "use `ssl_fc_sni` where TLS ends here",
    "req_ssl_sni": "use `ssl_fc_sni` where TLS ends here",
    "req.ssl_hello_type": "",
    "req_ssl_hello_type": "",
    "req.len": "a request head is always complete; the bytes of a connection are counted in `mode tcp`",
    "req_len": "a request head is always complete; the bytes of a connection are counted in `mode tcp`",
    "req.payload": "look at the fields or the body of a request, or at the bytes of a connection in `mode tcp`",
    "res.len": "the head of an answer is always complete",
    "res.payload": "look at the fields of an answer",
    "payload": "look at the fields or the body of a request, or at the bytes of a connection in `mode tcp`",
    "payload_lv": "write `req.payload(OFFSET,LENGTH)`",
    "req.payload_lv": "write `req.payload(OFFSET,LENGTH)`",
    "fe_conn": "",
    "fe_req_rate": "",
    "be_sess_rate": "",
    "capture.req.hdr": "",
    "lua": "",
    "src_is_local": "",
    **dict.fromkeys(
        (
            *(
                "accept_date",
                "act_conn",
                "avg_queue",
                "base32",
                "bc_src",
                "bc_src_port",
                "be_conn_free",
                "be_id",
                "connslots",
                "dst_is_local",
            ),
            *("fc_err", "fc_pp_tlv", "fc_rtt", "fe_defbe", "nbproc", "request_date", "res.body", "res.body_len"),
            *("res.hdrs", "req.hdrs", "req.hdrs_bin", "server_status", "srv_conn", "srv_conn_free", "srv_queue", "srv_weight"),
            *("ssl_fc_alg_keysize", "ssl_fc_cipherlist_str", "ssl_fc_curve", "ssl_fc_err", "ssl_fc_hsk_err", "ssl_fc_use_keysize"),
            *("req.proto_http", "req_proto_http", "stopping", "thread", "uptime", "url32"),
        ),
        "",
    ),
    **dict.fromkeys(
        (
            *("bc_err", "bc_err_str", "bc_http_major", "cpu_calls", "cpu_ns_avg", "cpu_ns_tot"),
            *("distcc_body", "distcc_param", "dst_conn", "fc_dst_is_local", "fc_err_str", "fc_fackets"),
            *("fc_lost", "fc_rcvd_proxy", "fc_reordering", "fc_retrans", "fc_rttvar", "fc_sacked"),
            *("fc_src_is_local", "fc_unacked", "fcgi.docroot", "fcgi.index", "fe_sess_rate", "internal.htx.data"),
            *(
                "internal.htx.free",
                "internal.htx.free_data",
                "internal.htx.has_eom",
                "internal.htx.nbblks",
                "internal.htx.size",
                "internal.htx.used",
            ),
            *(
                "internal.htx_blk.data",
                "internal.htx_blk.hdrname",
                "internal.htx_blk.hdrval",
                "internal.htx_blk.size",
                "internal.htx_blk.start_line",
                "internal.htx_blk.type",
            ),
            *("internal.strm.is_htx", "last_rule_file", "last_rule_line", "lat_ns_avg", "lat_ns_tot", "prio_class"),
            *("prio_offset", "rdp_cookie", "rdp_cookie_cnt", "rep_ssl_hello_type", "req.rdp_cookie", "req.rdp_cookie_cnt"),
            *("req.ssl_ec_ext", "req.ssl_st_ext", "req.ssl_ver", "req_ssl_ver", "res.body_size", "res.cache_hit"),
            *("res.cache_name", "res.comp", "res.comp_algo", "res.hdrs_bin", "res.payload_lv", "res.ssl_hello_type"),
            *("so_id", "so_name", "srv_iweight", "srv_sess_rate", "srv_uweight", "ssl_fc_cipherlist_bin"),
            *(
                "ssl_fc_cipherlist_hex",
                "ssl_fc_cipherlist_xxh",
                "ssl_fc_client_early_traffic_secret",
                "ssl_fc_client_handshake_traffic_secret",
                "ssl_fc_client_random",
                "ssl_fc_client_traffic_secret_0",
            ),
            *(
                "ssl_fc_early_exporter_secret",
                "ssl_fc_ecformats_bin",
                "ssl_fc_eclist_bin",
                "ssl_fc_err_str",
                "ssl_fc_exporter_secret",
                "ssl_fc_extlist_bin",
            ),
            *(
                "ssl_fc_has_early",
                "ssl_fc_npn",
                "ssl_fc_protocol_hello_id",
                "ssl_fc_server_handshake_traffic_secret",
                "ssl_fc_server_random",
                "ssl_fc_server_traffic_secret_0",
            ),
            *("ssl_fc_session_key", "ssl_fc_unique_id", "ssl_s_chain_der", "table_avl", "table_cnt"),
        ),
        "",
    ),
    **dict.fromkeys(
        ("be_server_timeout", "be_tunnel_timeout", "cur_server_timeout", "cur_tunnel_timeout", "fe_client_timeout"), "write the time"
    ),
}
"""Fetches that are known and not built, with what to do."""

UNBUILT_CONVERTERS = (
    "51d.single",
    "aes_gcm_dec",
    "capture-req",
    "capture-res",
    "da-csv-conv",
    "debug",
    "fix_is_valid",
    "fix_tag_value",
    "htonl",
    "ipv6_mask",
    "jwt_verify",
    "mqtt_field_value",
    "mqtt_is_valid",
    "protobuf",
    "rfc7239_field",
    "rfc7239_is_valid",
    "rfc7239_n2nn",
    "rfc7239_n2np",
    "set-var",
    "unset-var",
    "base2",
    "nbsrv",
    "srv_is_up",
    "ungrpc",
    "when",
    "x509_v_err_str",
    "map_beg_ip",
    "map_dir_ip",
    "map_dom_ip",
    "map_end_ip",
    "map_int_ip",
    "map_ip_ip",
    "map_reg_ip",
    "map_str_ip",
    "map_sub_ip",
    "srv_queue",
    "table_expire",
    "table_idle",
    "table_server_id",
    "table_trackers",
)
"""Converters that are known and not built."""

LOG_ALIASES: dict[str, Expr] = {
    "ci": Var("peer_ip"),
    "cp": Var("client_port"),
    "fi": Var("server_ip"),
    "fp": Var("server_port"),
    "HM": Var("method"),
    "HP": Call("capture", (TARGET, Const("^([^?]*)"), Const("1"))),
    "HPO": Var("path"),
    "HQ": QUERY_MARKED,
    "HU": TARGET,
    "HV": Var("protocol"),
    "ST": Var("status"),
    "B": Var("bytes_out"),
    "U": Var("bytes_in"),
    "Ta": Var("total_ms"),
    "Tt": Var("total_ms"),
    "Tr": Var("head_ms"),
    "Tc": Var("upstream_connect_ms"),
    "b": Default(Var("upstream"), Const("<NOSRV>")),
    "s": SERVER,
    "t": Var("time_local"),
    "tr": Var("time_local"),
    "T": Var("time"),
    "sslc": Default(Var("tls_cipher"), Const("-")),
    "sslv": Default(Var("tls_version"), Const("-")),
    "r": Concat((Var("method"), Const(" "), TARGET, Const(" "), Var("protocol"))),
}
"""Aliases of log formats that the model can say."""

UNBUILT_ALIASES = [
    "CC",
    "CS",
    "H",
    "Td",
    "Tdx",
    "Th",
    "Ti",
    "Tl",
    "Tq",
    "TR",
    "TR",
    "Tw",
    "Ts",
    "Tu",
    "ac",
    "bc",
    "bi",
    "bp",
    "bq",
    "cw",
    "fc",
    "hrl",
    "hsl",
    "lc",
    "ms",
    "pid",
    "rc",
    "rt",
    "sc",
    "si",
    "sp",
    "sq",
    "trg",
    "trl",
]
"""Aliases that are known and not built."""
