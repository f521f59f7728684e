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
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span, did_you_mean
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Concat, Const, Expr, If, InNet, InSet, Var, concat
from vestibule.model.vocabulary import VARIABLES

VARIABLE = re.compile(r"\$(?:([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})", re.ASCII)
"""A variable in a text."""

_PREFIXES: dict[str, str] = {}
"""Beginnings of names that take an argument: ``http_`` and the variable it means."""

_SINGLE: dict[str, Expr] = {}

for _row in VARIABLES.values():
    if _row.argument and _row.nginx:
        _PREFIXES[_row.nginx.removeprefix("$").removesuffix("NAME")] = _row.name
    elif _row.nginx:
        _SINGLE[_row.nginx.removeprefix("$")] = Var(_row.name)
# A name that goes out later in nginx than in the vocabulary, or under several spellings.
_PREFIXES["upstream_http_"] = "response_header"

_FORWARDED = Var("header", "X-Forwarded-For")
_CLIENT = Var("client_ip")


def _is_empty(expr: Expr) -> Compare:
    return Compare("==", expr, EMPTY)


def _in_seconds(name: str) -> Expr:
    return Call("seconds", (Var(name),))


_COMPOSED: dict[str, Expr] = {
    "ssl_client_escaped_cert": Call("url_encode", (Var("tls_client_pem"),)),
    "ssl_client_raw_cert": Var("tls_client_pem"),
    "document_uri": Var("decoded_path"),
    "query_string": Var("query"),
    "is_args": If(_is_empty(Var("query")), EMPTY, Const("?")),
    "https": If(Var("tls"), Const("on"), EMPTY),
    "request": Concat((Var("method"), Const(" "), Var("target"), Const(" "), Var("protocol"))),
    "content_type": Var("header", "Content-Type"),
    "content_length": Var("header", "Content-Length"),
    "http_host": Var("host_port"),
    "proxy_add_x_forwarded_for": If(_is_empty(_FORWARDED), _CLIENT, Concat((_FORWARDED, Const(", "), _CLIENT))),
    "realip_remote_port": Var("client_port"),
    "binary_remote_addr": _CLIENT,
    "bytes_sent": Var("bytes_out"),
    "request_time": _in_seconds("total_ms"),
    "upstream_response_time": _in_seconds("head_ms"),
    "upstream_header_time": _in_seconds("head_ms"),
    "upstream_connect_time": _in_seconds("upstream_connect_ms"),
    "upstream_status": Var("status"),
    # A request is served one at a time, and nothing is cached.
    "pipe": Const("."),
    "upstream_cache_status": EMPTY,
    # Early data is not taken.
    "ssl_early_data": EMPTY,
    "upstream_response_length": Var("bytes_out"),
    "http2": If(Compare("==", Var("protocol"), Const("HTTP/2.0")), If(Var("tls"), Const("h2"), Const("h2c")), EMPTY),
    "msec": _in_seconds("time_ms"),
    # Without the fraction, and with the offset that UTC has.
    "time_iso8601": Concat((Call("capture", (Var("time"), Const("^.{19}"), Const("0"))), Const("+00:00"))),
    "nginx_version": Const("1.22.1"),
    "gzip_ratio": EMPTY,
    "request_completion": Const("OK"),
}

_ABSENT_NAMES = (
    "ancient_browser arg_ body_bytes connection connection_requests connection_time connections_active date_gmt date_local document_root"
    " fastcgi_script_name geoip_country_code hostname invalid_referer limit_rate memcached_key modern_browser"
    " pid proxy_protocol_addr proxy_protocol_port proxy_protocol_server_addr proxy_protocol_server_port proxy_internal_body_length"
    " realpath_root request_body request_body_file request_filename secure_link ssl_alpn_protocol ssl_cipher ssl_ciphers"
    " ssl_client_cert ssl_client_escaped_cert ssl_client_fingerprint ssl_client_i_dn ssl_client_raw_cert ssl_client_s_dn"
    " ssl_client_serial ssl_client_v_end ssl_client_v_remain ssl_client_v_start ssl_client_verify ssl_curve ssl_curves"
    " ssl_server_cert ssl_session_id ssl_session_reused tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd tcpinfo_rcv_space time_msec"
    " upstream_bytes_received upstream_bytes_sent upstream_cookie_ upstream_queue_time"
    " uid_got uid_set"
)
_ABSENT = frozenset(_ABSENT_NAMES.split())
"""Variables of nginx that have no counterpart."""


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
        self.elsewhere: frozenset[str] = frozenset()
        self.for_log = False

    def copy(self) -> Names:
        """Return the same names, to be changed apart."""
        twin = Names(self._record, self.own, self.client)
        twin.elsewhere = self.elsewhere
        twin.for_log = self.for_log
        twin.captures = self.captures
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
        if name.isdigit():
            return self._group(name, span)
        lower = name.lower()
        if lower in self.own:
            return self.own[lower]
        if self.captures is not None and name in _groups(self.captures[1]):
            return Call("capture", (self.captures[0], Const(self.captures[1]), Const(name)))
        # Composed ones first: seconds in nginx are milliseconds in the vocabulary.
        known = _COMPOSED.get(lower) or _SINGLE.get(lower)
        if known is not None and lower != "proxy_host":
            return known
        if lower.startswith("upstream_cookie_") and lower != "upstream_cookie_":
            pattern = f"(?:^|, ?){re.escape(name[len('upstream_cookie_') :])}=([^;,]*)"
            return Call("capture", (Var("response_header", "Set-Cookie"), Const(pattern), Const("1")))
        for prefix, variable in _PREFIXES.items():
            argument = lower.removeprefix(prefix)
            if argument and argument != lower:
                return Var(variable, name[len(prefix) :] if variable in ("arg", "cookie") else field_name(argument))
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
        if self.for_log and name in _ABSENT:
            self._record.warning(span, "differs", f"`${name}` is not known here and is written as `-`", "take it out of the format")
            return
        if name in _ABSENT or name == "proxy_host":
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


def to_pattern(pattern: str, ignore_case: bool = False) -> str:
    """Return a regular expression of nginx as Python writes it. Raises ``ValueError`` for what cannot be carried over."""
    made = re.sub(r"\(\?<([A-Za-z_][A-Za-z0-9_]*)>", r"(?P<\1>", pattern)
    # `$` of PCRE may match before a line break at the end; paths and fields have none, but decoded ones might.
    if ignore_case:
        made = f"(?i){made}"
    try:
        re.compile(made)
    except (re.error, OverflowError, RecursionError) as bad:
        raise ValueError(f"`{pattern}` is no regular expression vestibule can use: {bad}") from None
    return made


def _groups(pattern: str) -> dict[str, int]:
    return dict(re.compile(pattern).groupindex)


def spellings() -> list[tuple[str, bool]]:
    """Return every variable of nginx that is known, with whether it is supported; for the documentation."""
    supported = {*_SINGLE, *_COMPOSED, *[f"{prefix}NAME" for prefix in _PREFIXES], "proxy_host", "proxy_port", "server_name"}
    return sorted([(name, True) for name in supported] + [(name, False) for name in _ABSENT - supported])
