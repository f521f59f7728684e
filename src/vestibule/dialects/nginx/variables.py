"""nginx's variables and texts with variables in them, as expressions.

Facts: a name is what follows ``$``, or stands in ``${...}``; ``$1`` to ``$9`` and named groups are what the last regular
expression that matched has captured. Names are the same in any case.

Rules: what stands for one value of the vocabulary is found there; ``_COMPOSED`` holds what is made of several. A variable that
is known and has no counterpart is an error that says so.

Not here: the variables a file defines itself (``maps``, ``flow``); they come in by ``Names``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.patterns import groups_of
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span, did_you_mean
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Concat, Const, Expr, If, InNet, InSet, Match, Var, concat
from vestibule.model.vocabulary import VARIABLES

VARIABLE = re.compile(r"\$(?:([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})", re.ASCII)
"""A variable in a text."""

BODY = "request_body"
"""What the body of a request is kept under, where a variable asks for it."""

_PREFIXES: dict[str, str] = {}
"""Beginnings of names that take an argument: ``http_`` and the variable it means."""

_SINGLE: dict[str, Expr] = {}

for _row in VARIABLES.values():
    if _row.argument and _row.nginx:
        _PREFIXES[_row.nginx.removeprefix("$").removesuffix("NAME")] = _row.name
    elif _row.nginx:
        _SINGLE[_row.nginx.removeprefix("$")] = Var(_row.name)

_FORWARDED = Var("header", "X-Forwarded-For")
_CLIENT = Var("client_ip")
_METHOD = Var("method")


_TLVS = {"alpn": "1", "authority": "2", "unique_id": "5", "ssl": "32", "netns": "48", "ssl_verify": "32.verify"} | {
    f"ssl_{name}": f"32.{number}" for number, name in enumerate(("version", "cn", "cipher", "sig_alg", "key_alg"), 33)
}
"""Types of TLVs in PROXY headers by the names that nginx has for them."""


def _tlv(name: str) -> str:
    """Return the type that a name of nginx means; empty where it is none."""
    found = re.fullmatch(r"(ssl_)?0x0*([0-9a-f]{1,2})", name)
    if found is None:
        return _TLVS.get(name, "")
    return f"{'32.' if found[1] else ''}{int(found[2], 16)}"


def _upstream_cookie(name: str) -> Expr:
    """Return the value that the first `Set-Cookie` of a name has, up to its first attribute."""
    line = Call("first_item", (Var("each_upstream_header", "Set-Cookie"), Match(f"(?i)^{re.escape(name)} *=", Var("item"))))
    return Call("capture", (line, Const("= *([^;]*)"), Const("1")))


def _is_empty(expr: Expr) -> Compare:
    return Compare("==", expr, EMPTY)


def _in_seconds(name: str) -> Expr:
    return Call("seconds", (Var(name),))


_DATE = "%A, %d-%b-%Y %H:%M:%S "
_SINCE_1970 = Call("divide", (Var("time_ms"), Const(1_000)))

_COMPOSED: dict[str, Expr] = {
    "ssl_client_escaped_cert": Call("url_encode", (Var("tls_client_pem"),)),
    "ssl_client_raw_cert": Var("tls_client_pem"),
    # Lines but the first begin with a tab, so that the whole may stand in a field.
    "ssl_client_cert": Call("replace", (Call("trim_end", (Var("tls_client_pem"), Const("\n"))), Const("\n"), Const("\n\t"), Const("g"))),
    "ssl_client_s_dn_legacy": Call("certificate", (Var("tls_client_der"), Const("subject"))),
    "ssl_client_i_dn_legacy": Call("certificate", (Var("tls_client_der"), Const("issuer"))),
    "ssl_session_reused": If(Var("tls"), If(Var("tls_resumed"), Const("r"), Const(".")), EMPTY),
    "document_uri": Var("decoded_path"),
    "query_string": Var("query"),
    "slice_range": Var("header", "Range"),  # of the client: nothing is cached in slices
    "is_args": If(_is_empty(Var("query")), EMPTY, Const("?")),
    "https": If(Var("tls"), Const("on"), EMPTY),
    "request": Concat((Var("method"), Const(" "), Var("target"), Const(" "), Var("protocol"))),
    "content_type": Var("header", "Content-Type"),
    "content_length": Var("header", "Content-Length"),
    "http_host": Var("host_port"),
    "proxy_add_x_forwarded_for": If(_is_empty(_FORWARDED), _CLIENT, Concat((_FORWARDED, Const(", "), _CLIENT))),
    "realip_remote_port": Var("client_port"),
    "binary_remote_addr": _CLIENT,
    "request_time": _in_seconds("total_ms"),
    "connection_time": _in_seconds("connection_ms"),
    # A request is served one at a time, and nothing is cached.
    "pipe": Const("."),
    "upstream_cache_status": EMPTY,
    # Early data is not taken.
    "ssl_early_data": EMPTY,
    "upstream_response_length": If(_is_empty(Var("tried_addresses")), EMPTY, Var("bytes_out")),
    "http2": If(Compare("==", Var("protocol"), Const("HTTP/2.0")), If(Var("tls"), Const("h2"), Const("h2c")), EMPTY),
    "msec": _in_seconds("time_ms"),
    # Without the fraction, and with the offset that UTC has.
    "time_iso8601": Concat((Call("capture", (Var("time"), Const("^.{19}"), Const("0"))), Const("+00:00"))),
    "nginx_version": Const("1.22.1"),
    "date_gmt": Call("format_date", (_SINCE_1970, Const(f"{_DATE}GMT"), Const("utc"))),
    "date_local": Call("format_date", (_SINCE_1970, Const(f"{_DATE}%Z"), Const("local"))),
    "gzip_ratio": EMPTY,
    # Kept where the body is looked into (`location`); empty before, as in nginx.
    "request_body": Var("kept", BODY),
    "request_completion": Const("OK"),
    "limit_req_status": Var("kept", "limit_req_status"),
    "limit_conn_status": Var("kept", "limit_conn_status"),
}

_ABSENT_NAMES = (
    "ancient_browser arg_ body_bytes connections_active connections_reading connections_waiting"
    " connections_writing document_root fastcgi_path_info fastcgi_script_name geoip_country_code"
    " memcached_key modern_browser msie proxy_internal_body_length sent_http_ sent_trailer_"
    " uid_reset upstream_http_ upstream_trailer_"
    " realpath_root request_body_file request_filename ssl_cipher ssl_ciphers"
    " ssl_client_cert ssl_client_escaped_cert ssl_client_fingerprint ssl_client_i_dn ssl_client_raw_cert ssl_client_s_dn"
    " ssl_client_serial ssl_client_v_end ssl_client_v_remain ssl_client_v_start ssl_client_verify ssl_curve ssl_curves"
    " ssl_server_cert tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd tcpinfo_rcv_space time_msec"
    " upstream_bytes_received upstream_bytes_sent upstream_cookie_ upstream_queue_time"
    " uid_got uid_set"
)
_ABSENT = frozenset(_ABSENT_NAMES.split())
"""Variables of nginx that have no counterpart."""

_FAMILIES = ("proxy_protocol_tlv_", "upstream_trailer_", "sent_trailer_")
"""Beginnings of more of them."""


class Names:
    """What names mean at one place of a file: those it has defined, then those of nginx.

    ``client`` is what stands for the address of the client; ``captures`` is the subject and the pattern that ``$1`` and named groups
    refer to; ``elsewhere`` are variables that are set somewhere in the file, and empty where they are not;
    ``for_log`` says that a value that there is none of does no harm.
    """

    def __init__(self, record: Record, own: Mapping[str, Expr] | None = None, client: Expr = _CLIENT) -> None:
        self._record = record
        self.client = client
        self.own: dict[str, Expr] = dict(own or {})
        self.captures: tuple[Expr, str] | None = None
        self.captured: dict[str, Expr] = {}
        """What named groups of a ``map`` have captured."""
        self.elsewhere: frozenset[str] = frozenset()
        self.for_log = False
        self.is_led_on = False
        """Whether a request may be sent on as GET, as to the page of an error."""
        self.port: Expr = EMPTY
        """What stands behind the host where a redirect names the socket."""
        self.used: set[str] = set()
        """What was asked for so far, by these names and their copies."""
        self.near: set[str] = set()
        """The same of one location and what is around it."""

    def copy(self) -> Names:
        """Return the same names, to be changed apart."""
        twin = Names(self._record, self.own, self.client)
        twin.captured = self.captured
        twin.elsewhere = self.elsewhere
        twin.for_log = self.for_log
        twin.port = self.port
        twin.is_led_on = self.is_led_on
        twin.captures = self.captures
        twin.used = self.used
        twin.near = self.near
        return twin

    def text(self, word: Word) -> Expr:
        """Return the expression of a text with variables in it."""
        return self.template(word.text, word.span)

    def template(self, text: str, span: Span) -> Expr:
        """Return the expression of a text; a mistake in it is placed at ``span``."""
        parts: list[Expr] = []
        at = 0
        for found in VARIABLE.finditer(text):
            parts.append(Const(text[at : found.start()]))
            parts.append(self.variable(found[1] or found[2], span))
            at = found.end()
        parts.append(Const(text[at:]))
        return concat(parts)

    def fixed(self, word: Word) -> str | None:
        """Return a text that does not depend on the request, or None."""
        expr = self.text(word)
        return expr.value if isinstance(expr, Const) and isinstance(expr.value, str) else None

    def variable(self, name: str, span: Span) -> Expr:
        """Return what a variable stands for."""
        if name.isdecimal():
            return self._group(name, span)
        lower = name.lower()
        self.used.add(lower)
        self.near.add(lower)
        if lower == "limit_rate":
            # Bytes, whatever unit it was set in.
            return Call("bytes_meant", (self.own.get(lower, EMPTY),))
        if lower in self.own:
            return self.own[lower]
        if self.captures is not None and name in groups_of(self.captures[1]):
            return Call("capture", (self.captures[0], Const(self.captures[1]), Const(name)))
        # Composed ones first: seconds in nginx are milliseconds in the vocabulary.
        known = _COMPOSED.get(lower) or _SINGLE.get(lower)
        if lower == "proxy_host" and self.for_log:
            # A log stands outside the place that proxies, and knows the upstream by its name.
            return Call("capture", (Var("upstream"), Const("^(?:https?://)?(.*)$"), Const("1")))
        if known is not None and lower != "proxy_host":
            return Var("sent_method") if known == _METHOD and self.is_led_on and not self.for_log else known
        tlv = _tlv(lower.removeprefix("proxy_protocol_tlv_")) if lower.startswith("proxy_protocol_tlv_") else ""
        if tlv:
            return Var("announced_tlv", tlv)
        if lower.startswith("upstream_cookie_") and lower != "upstream_cookie_":
            return _upstream_cookie(name[len("upstream_cookie_") :])
        for prefix, variable in _PREFIXES.items():
            argument = lower.removeprefix(prefix)
            if not argument or argument == lower:
                continue
            if variable == "arg":
                # In any case, and as it is sent.
                return Call("capture", (Var("query"), Const(f"(?i)(?:^|&){argument}=([^&]*)"), Const("1")))
            return Var(variable, name[len(prefix) :] if variable == "cookie" else field_name(argument))
        if lower in self.captured:
            return self.captured[lower]
        self._unknown(lower, span)
        return EMPTY

    def _group(self, number: str, span: Span) -> Expr:
        if self.captures is None:
            self._record.error(span, "unknown-variable", f"`${number}` is what a regular expression captures, and there is none here")
            return EMPTY
        return Call("capture", (self.captures[0], Const(self.captures[1]), Const(number)))

    def _unknown(self, name: str, span: Span) -> None:
        if name in self.elsewhere:
            return  # empty here, as in nginx
        if self.for_log and (name in _ABSENT or name == "proxy_port" or name.startswith(_FAMILIES)):
            self._record.warning(span, "differs", f"`${name}` is not known here and is written as `-`", "take it out of the format")
            return
        if name == "request_body_file":
            self._record.warning(span, "differs", f"`${name}` is always empty", "bodies stream, and are in no files")
            return
        if name in ("document_root", "request_filename"):
            self._record.error(span, "not-built", f"the variable `${name}` is unknown where no `root` is said", "say `root`")
            return
        if name in _ABSENT or name in ("proxy_host", "proxy_port") or name.startswith(_FAMILIES):
            self._record.error(span, "not-built", f"the variable `${name}` is not built yet", "take it out")
            return
        near = did_you_mean(name, [*_SINGLE, *_COMPOSED, *self.own])
        hint = near if near.startswith("did") else ""
        self._record.error(span, "unknown-variable", f"there is no variable `${name}`", hint)


def either(tests: Sequence[Expr]) -> Expr:
    """Return the test that one of some holds; texts and networks that one subject is compared with are one list."""
    sets: dict[tuple[Expr, bool], list[str]] = {}
    nets: dict[Expr, list[str]] = {}
    others: list[Expr] = []
    for test in [inner for each in tests for inner in (each.tests if isinstance(each, AnyOf) else (each,))]:
        if isinstance(test, InSet):
            sets.setdefault((test.subject, test.ignore_case), []).extend(test.values)
        elif isinstance(test, InNet):
            nets.setdefault(test.subject, []).extend(test.networks)
        else:
            others.append(test)
    made: list[Expr] = [InSet(subject, tuple(dict.fromkeys(values)), ignore) for (subject, ignore), values in sets.items()]
    made += [InNet(subject, tuple(dict.fromkeys(networks))) for subject, networks in nets.items()]
    made += others
    return made[0] if len(made) == 1 else AnyOf(tuple(made))


def choices_of(expr: Expr, most: int) -> list[tuple[Expr | None, Expr]]:
    """Return what a text may be, each with its test: the first that fits is it, and the last has none.

    Raises ``ValueError`` where there are more than ``most``.
    """
    if isinstance(expr, If):
        made = [(_both(expr.test, test), text) for test, text in choices_of(expr.then, most)] + choices_of(expr.otherwise, most)
    elif isinstance(expr, Concat):
        made = [(None, EMPTY)]
        for part in expr.parts:
            made = [(_both(test, other), concat([text, more])) for test, text in made for other, more in choices_of(part, most)]
            if len(made) > most:
                break
    else:
        made = [(None, expr)]
    if len(made) > most:
        raise ValueError(f"there are more than {most} of them")
    return made


def _both(one: Expr | None, other: Expr | None) -> Expr | None:
    if one is None or other is None:
        return one or other
    return one if one == other else AllOf((one, other))


def field_name(name: str) -> str:
    """Return the field that ``$http_NAME`` means, in the case that people know it by."""
    return "-".join([part.capitalize() for part in name.split("_")])


def spellings() -> list[tuple[str, bool]]:
    """Return every variable of nginx that is known, with whether it is supported; for the documentation."""
    by_place = (
        "proxy_host",
        "proxy_port",
        "server_name",
        "document_root",
        "request_filename",
        "invalid_referer",
        "secure_link",
        "secure_link_expires",
        "limit_rate",
    )
    supported = {*_SINGLE, *_COMPOSED, *[f"{prefix}NAME" for prefix in _PREFIXES], *by_place}
    return sorted([(name, True) for name in supported] + [(name, False) for name in _ABSENT - supported])
