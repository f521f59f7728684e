"""httpd's variables, in rules, in fields and in log lines, as expressions.

Facts: ``%{NAME}`` in ``RewriteRule`` and expressions names variables of the server; in fields and logs a letter behind the brace
says where to look: ``i`` a request field, ``o`` a field of the answer, ``e`` a variable of ``SetEnv``, ``s`` and ``x`` one of TLS.

Rules: what is known and has no counterpart is an error that says so.
"""

from __future__ import annotations

import re

from vestibule.dialects.part import with_query
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span, did_you_mean
from vestibule.model.expr import EMPTY, Call, Compare, Concat, Const, Default, Expr, If, Match, Var, concat

_SERVER = re.compile(r"%\{([^}]*)\}|\$\{?([0-9])\}?|%([0-9])")
_FORMAT = re.compile(r"%(?:(%)|([<>]?)(?:![0-9,]+|[0-9,]+)?([<>]?)(?:\{([^}]*)\})?(\^?[A-Za-z]{1,2}))")

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _of_time(group: int) -> Expr:
    """Return a part of the time of day as logs have it: day, month, year, hour, minute, second."""
    pattern = "^([0-9]+)/([A-Za-z]+)/([0-9]+):([0-9]+):([0-9]+):([0-9]+)"
    return Call("capture", (Var("time_local"), Const(pattern), Const(str(group))))


def _month() -> Expr:
    """Return the month as two digits."""
    made: Expr = EMPTY
    for number, name in reversed(list(enumerate(_MONTHS, 1))):
        made = If(Compare("==", _of_time(2), Const(name)), Const(f"{number:02}"), made)
    return made


SERVER_VARIABLES: dict[str, Expr] = {
    "TIME": concat([_of_time(3), _month(), *[_of_time(group) for group in (1, 4, 5, 6)]]),
    "TIME_YEAR": _of_time(3),
    "TIME_MON": _month(),
    "TIME_DAY": _of_time(1),
    "TIME_HOUR": _of_time(4),
    "TIME_MIN": _of_time(5),
    "TIME_SEC": _of_time(6),
    "HTTP_HOST": Var("host_port"),
    "HTTP_USER_AGENT": Var("header", "User-Agent"),
    "HTTP_REFERER": Var("header", "Referer"),
    "HTTP_COOKIE": Var("header", "Cookie"),
    "HTTP_ACCEPT": Var("header", "Accept"),
    "HTTP_FORWARDED": Var("header", "Forwarded"),
    "HTTP_PROXY_CONNECTION": Var("header", "Proxy-Connection"),
    "REMOTE_ADDR": Var("client_ip"),
    "REMOTE_HOST": Var("client_ip"),
    "REMOTE_PORT": Var("client_port"),
    "CONN_REMOTE_ADDR": Var("peer_ip"),
    "REQUEST_METHOD": Var("method"),
    "REQUEST_URI": Var("decoded_path"),
    "REQUEST_SCHEME": Var("scheme"),
    "QUERY_STRING": Var("query"),
    "SERVER_PORT": Var("server_port"),
    "SERVER_ADDR": Var("server_ip"),
    "SERVER_PROTOCOL": Var("protocol"),
    "HTTPS": If(Var("tls"), Const("on"), Const("off")),
    "DOCUMENT_URI": Var("decoded_path"),
    "HTTP2": If(Compare("==", Var("protocol"), Const("HTTP/2.0")), Const("on"), Const("off")),
    "IPV6": If(Match(":", Var("peer_ip")), Const("on"), Const("off")),
    "IS_SUBREQ": Const("false"),
    "CONTENT_TYPE": Var("response_header", "Content-Type"),
    "REQUEST_LOG_ID": Var("request_id"),
    "SERVER_SOFTWARE": Const("Apache"),
    "REMOTE_IDENT": EMPTY,
    "THE_REQUEST": Concat((Var("method"), Const(" "), Var("target"), Const(" "), Var("protocol"))),
    "UNIQUE_ID": Var("request_id"),
    "REQUEST_STATUS": Var("status"),
    "SSL_PROTOCOL": Var("tls_version"),
    "SSL_CIPHER": Var("tls_cipher"),
    "SSL_TLS_SNI": Var("tls_sni"),
    "SSL_CLIENT_VERIFY": Var("tls_client_verify"),
    "SSL_CLIENT_S_DN": Var("tls_client_subject"),
    "SSL_CLIENT_S_DN_CN": Var("tls_client_name"),
    "SSL_CLIENT_I_DN": Var("tls_client_issuer"),
    "SSL_CLIENT_M_SERIAL": Var("tls_client_serial"),
    "SSL_CLIENT_V_START": Var("tls_client_not_before"),
    "SSL_CLIENT_V_END": Var("tls_client_not_after"),
    "SSL_CLIENT_CERT": Var("tls_client_pem"),
}
"""Variables of the server. ``SERVER_NAME`` is the name of the virtual host, which each brings along."""

SET_EMPTY = Concat(())
"""The value of a variable of the environment that is set, to nothing; what is not set is `EMPTY`."""

NULL = Const("(null)")
"""What a field has in the place of a variable that is not set."""

_ALWAYS_THERE = ("REMOTE_ADDR", "REQUEST_METHOD", "REQUEST_SCHEME", "REQUEST_URI", "SERVER_NAME", "SERVER_PORT", "HTTPS")

_ABSENT_NAMES = "PATH_INFO SERVER_ADMIN API_VERSION TIME_WDAY CONTEXT_PREFIX HANDLER SCRIPT_USER SCRIPT_GROUP SSL_SESSION_ID"
_ABSENT = frozenset(_ABSENT_NAMES.split())

_LOG: dict[str, Expr] = {
    "h": Var("client_ip"),
    "a": Var("client_ip"),
    "A": Var("server_ip"),
    "B": Var("bytes_out"),
    "b": Var("bytes_out"),
    "O": Var("bytes_out"),
    "I": Var("bytes_in"),
    "D": Concat((Var("total_ms"), Const("000"))),
    "H": Var("protocol"),
    "k": Const("0"),
    "l": Const("-"),
    "L": Var("request_id"),
    "m": Var("method"),
    "p": Var("server_port"),
    "q": with_query("?"),
    "r": SERVER_VARIABLES["THE_REQUEST"],
    "s": Var("status"),
    "T": Call("seconds", (Var("total_ms"),)),
    "t": Concat((Const("["), Var("time_local"), Const("]"))),
    "U": Var("decoded_path"),
    "V": Var("host"),
    "v": Var("site"),
    "X": Const("+"),
}

_LOG_SPECIAL: dict[tuple[str, str], Expr] = {
    ("ms", "T"): Var("total_ms"),
    ("s", "T"): Call("seconds", (Var("total_ms"),)),
    ("c", "a"): Var("peer_ip"),
    ("remote", "p"): Var("client_port"),
    ("local", "p"): Var("server_port"),
    ("canonical", "p"): Var("server_port"),
}


class Names:
    """What variables mean at one place. ``rule`` and ``condition`` are subject and pattern of ``$1`` and ``%1``."""

    def __init__(self, record: Record, server_name: str) -> None:
        self._record = record
        self.server_name = server_name
        self.environment: dict[str, Expr] = {}
        self.settable: set[str] = set()
        """Names of variables that something sets, whatever their values."""
        self.passed: dict[str, str] = {}
        """The environment of the process, for `PassEnv`."""
        self.user: Expr = EMPTY
        self.document_root = ""
        self.file: Expr | None = None
        """The name of the file that is asked for, where rules are looked at: the path, before it is known."""
        self.is_canonical = False
        """Whether the virtual host has one name, whatever name clients use (`UseCanonicalName`)."""
        self.rule: tuple[Expr, str] | None = None
        self.condition: tuple[Expr, str] | None = None

    def template(self, text: str, span: Span, encode: bool = False) -> Expr:
        """Return the expression of a text of a rule or an expression; ``encode`` writes captures of the path as in a target."""
        parts: list[Expr] = []
        at = 0
        for found in _SERVER.finditer(text):
            parts.append(Const(_unescaped(text[at : found.start()])))
            if found[1] is not None:
                parts.append(self.variable(found[1], span))
            elif found[2] is not None:
                captured = _captured(self.rule, found[2])
                parts.append(Call("encode_path", (captured,)) if encode and captured != EMPTY else captured)
            else:
                parts.append(_captured(self.condition, found[3]))
            at = found.end()
        parts.append(Const(_unescaped(text[at:])))
        return concat(parts)

    def captured(self, number: str) -> Expr:
        """Return what a group of the last regular expression captured."""
        return _captured(self.rule, number)

    def captured_before(self, number: str) -> Expr:
        """Return what a group of the last condition captured."""
        return _captured(self.condition, number)

    def has_groups(self) -> bool:
        """Tell whether the last regular expression has groups."""
        return self.rule is not None and re.compile(self.rule[1]).groups > 0

    def with_groups(self, text: str) -> Expr:
        """Return a text in which only ``$1`` and its kin are put in."""
        parts: list[Expr] = []
        at = 0
        for found in re.finditer(r"\$([0-9])", text):
            parts += [Const(text[at : found.start()]), self.captured(found[1])]
            at = found.end()
        return concat([*parts, Const(text[at:])])

    def variable(self, name: str, span: Span) -> Expr:
        """Return what ``%{NAME}`` stands for."""
        kind, colon, argument = name.partition(":")
        if colon:
            return self._of_kind(kind.upper(), argument, span)
        if name.upper() == "SERVER_NAME":
            return Const(self.server_name) if self.server_name and self.is_canonical else Var("host")
        if name.upper() in ("DOCUMENT_ROOT", "CONTEXT_DOCUMENT_ROOT"):
            return Const(self.document_root)
        if name.upper() in ("REQUEST_FILENAME", "SCRIPT_FILENAME"):
            if self.file is None:
                self._record.error(span, "not-built", f"the variable `%{{{name}}}` here is not built yet", "write `%{REQUEST_URI}`")
            return self.file or EMPTY
        if name.upper() == "REMOTE_USER":
            return self.user
        if name.upper() == "AUTH_TYPE":
            return If(Compare("==", self.user, EMPTY), EMPTY, Const("Basic")) if self.user != EMPTY else EMPTY
        known = SERVER_VARIABLES.get(name.upper())
        if known is not None:
            return known
        if name.upper() in _ABSENT:
            self._record.error(span, "not-built", f"the variable `%{{{name}}}` is not built yet", "take it out")
        else:
            near = did_you_mean(name.upper(), [*SERVER_VARIABLES, "SERVER_NAME"])
            hint = near if near.startswith("did") else ""
            self._record.error(span, "unknown-variable", f"there is no variable `%{{{name}}}`", hint)
        return EMPTY

    def _of_kind(self, kind: str, argument: str, span: Span) -> Expr:
        if kind in ("HTTP", "REQ", "REQ_NOVARY"):
            return Var("host_port") if argument.lower() == "host" else Var("header", argument)
        if kind == "RESP":
            return Var("response_header", argument)
        if kind == "SSL":
            return self.variable(argument if argument.startswith("SSL_") or argument == "HTTPS" else f"SSL_{argument}", span)
        if kind in ("ENV", "REQENV"):
            return self.user if argument == "REMOTE_USER" else as_text(self.environment.get(argument, EMPTY))
        if kind in ("LA-U", "LA-F"):
            # Our order leaves nothing that would be known later only.
            return self.variable(argument, span)
        self._record.error(span, "not-built", f"the variable `%{{{kind}:{argument}}}` is not built yet", "take it out")
        return EMPTY

    def field(self, text: str, span: Span) -> Expr:
        """Return the value of ``Header`` and ``RequestHeader``."""
        return self._format(text, span, {"t": Concat((Const("t="), Var("time"))), "D": Var("head_ms")})

    def log(self, text: str, span: Span) -> Expr:
        """Return the line of a ``LogFormat``; what is absent is a dash."""
        made = self._format(_unescaped(text), span, _LOG)
        parts = made.parts if isinstance(made, Concat) else (made,)
        return concat([part if isinstance(part, Const) else Default(part, Const("-")) for part in parts])

    def _format(self, text: str, span: Span, letters: dict[str, Expr]) -> Expr:
        parts: list[Expr] = []
        at = 0
        for found in _FORMAT.finditer(text):
            parts.append(Const(text[at : found.start()]))
            at = found.end()
            parts.append(Const("%") if found[1] else self._directive(found[4], found[5], span, letters, found[0]))
        rest = text[at:]
        return concat([*parts, Const(rest)])

    def _directive(self, argument: str | None, letter: str, span: Span, letters: dict[str, Expr], written: str) -> Expr:
        found: Expr | None = None
        if argument is None and letters is _LOG and letter == "u":
            found = self.user
        elif argument is None and letter == "v" and self.server_name:
            found = Const(self.server_name)
        elif argument is None:
            found = letters.get(letter)
        elif letter == "i":
            found = Var("host_port") if argument.lower() == "host" else Var("header", argument)
        elif letter == "o":
            found = Var("response_header", argument)
        elif letter == "C":
            found = Var("cookie", argument)
        elif letter == "e":
            found = self._of_environment(argument, span, letters is not _LOG)
            found = as_text(found if letters is _LOG else _with_null(found))
        elif letter == "n" and letters is _LOG:
            found = Var("kept", f"note.{argument}")
        elif letter in ("s", "x"):
            found = self.variable(argument, span)
            if letters is _LOG or argument in _ALWAYS_THERE:
                return found
            return Default(found, NULL) if found != EMPTY else NULL
        elif letters is _LOG:
            found = _LOG_SPECIAL.get((argument, letter)) or (Var("time_local") if letter == "t" else None)
        if found is None:
            self._record.error(span, "not-built", f"`{written}` is not built yet", "take it out")
            return EMPTY
        return Const("-") if letters is _LOG and found == EMPTY else found

    def _of_environment(self, name: str, span: Span, warns: bool) -> Expr:
        """Return a variable of the environment, with those that modules put there: `mod_ssl` its own, with `+StdEnvVars`."""
        if name == "REMOTE_USER":
            return Default(self.user, NULL) if warns and self.user != EMPTY else self.user
        known = self.environment.get(name)
        if known is not None:
            return known
        if name == "UNIQUE_ID" or name == "HTTPS" or (name.startswith("SSL_") and name in SERVER_VARIABLES):
            known = SERVER_VARIABLES[name]
            return Default(known, NULL) if warns and name.startswith("SSL_") else known
        if warns and name not in self.settable:
            self._record.warning(span, "unset-variable", f"nothing here sets the variable `{name}`, so it is absent", "check its spelling")
        return EMPTY


def as_text(value: Expr) -> Expr:
    """Return the text of a variable of the environment."""
    if isinstance(value, If):
        return If(value.test, as_text(value.then), as_text(value.otherwise))
    return EMPTY if value == SET_EMPTY else value


def _with_null(value: Expr) -> Expr:
    """Return a variable of the environment as a field has it."""
    if isinstance(value, If):
        return If(value.test, _with_null(value.then), _with_null(value.otherwise))
    return NULL if value == EMPTY else value


def _captured(of: tuple[Expr, str] | None, number: str) -> Expr:
    return EMPTY if of is None else Call("capture", (of[0], Const(of[1]), Const(number)))


def _unescaped(text: str) -> str:
    """Take the backslashes off that keep a character from its meaning."""
    return re.sub(r"\\([\\%$\"'])", r"\1", text).replace("\\t", "\t").replace("\\n", "\n")


def to_pattern(pattern: str, ignore_case: bool = False) -> str:
    """Return a regular expression of httpd as Python writes it. Raises ``ValueError`` for what cannot be carried over."""
    made = re.sub(r"\(\?<([A-Za-z_][A-Za-z0-9_]*)>", r"(?P<\1>", pattern)
    if ignore_case:
        made = f"(?i){made}"
    try:
        re.compile(made)
    except (re.error, OverflowError, RecursionError) as bad:
        raise ValueError(f"`{pattern}` is no regular expression vestibule can use: {bad}") from None
    return made
