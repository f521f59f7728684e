"""Placeholders of Caddy and what they are in the vocabulary of the model.

Facts: names are those of Caddy's documentation ("Placeholders" of JSON config, "Caddyfile shorthands"). ``\\{`` is a brace.

Not here: matchers (``matchers``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.piece import reads_path, without_path
from vestibule.dialects.read import Unreadable
from vestibule.model.expr import EMPTY, Call, Compare, Concat, Const, Default, Expr, If, Match, Var, concat

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_$?%][^{}\s]*)\}")

_QUERY = Var("query")
QUERY_MARKED: Expr = If(Compare("==", _QUERY, EMPTY), EMPTY, Concat((Const("?"), _QUERY)))
URI: Expr = Concat((Var("path"), QUERY_MARKED))
"""The target as it is now; as long as nothing changed it, ``target`` says it to the letter."""

_NAMES: dict[str, Expr] = {
    "http.request.host": Var("host"),
    "http.request.hostport": Var("host_port"),
    "http.request.method": Var("method"),
    "http.request.scheme": Var("scheme"),
    "http.request.proto": Var("protocol"),
    "http.request.uri": URI,
    "http.request.uri.path": Var("path"),
    "http.request.uri.query": _QUERY,
    "http.request.uri.prefixed_query": QUERY_MARKED,
    "http.request.orig_uri": Var("target"),
    "http.request.remote": Concat((Var("peer_ip"), Const(":"), Var("client_port"))),
    "http.request.remote.host": Var("peer_ip"),
    "http.request.remote.port": Var("client_port"),
    "http.request.local.host": Var("server_ip"),
    "http.request.local.port": Var("server_port"),
    "http.request.uuid": Var("request_id"),
    "http.request.tls.version": Var("tls_version"),
    "http.request.tls.cipher_suite": Var("tls_cipher"),
    "http.request.tls.server_name": Var("tls_sni"),
    "http.request.tls.client.subject": Var("tls_client_subject"),
    "http.request.tls.client.issuer": Var("tls_client_issuer"),
    "http.request.tls.client.fingerprint": Var("tls_client_fingerprint"),
    "http.request.tls.client.certificate_pem": Var("tls_client_pem"),
    "http.request.tls.client.certificate_der_base64": Var("tls_client_certificate"),
    "http.vars.client_ip": Var("client_ip"),
    "http.reverse_proxy.upstream.hostport": Var("upstream_address"),
    "http.reverse_proxy.upstream.address": Var("upstream_address"),
    "http.response.status": Var("status"),
    "time.now": Var("time"),
    "time.now.common_log": Var("time_local"),
}


def _group(subject: Expr, pattern: str) -> Expr:
    """Return what the only group of a regular expression matches."""
    return Call("capture", (subject, Const(pattern), Const("1")))


_NAMES |= {
    "http.request.port": _group(Var("host_port"), r":([0-9]+)\Z"),
    "http.request.orig_method": Var("method"),
    "http.request.orig_uri.path": Call("url_decode", (_group(Var("target"), r"^([^?]*)"),)),
    "http.request.orig_uri.query": _group(Var("target"), r"^[^?]*\?(.*)"),
    "http.request.orig_uri.prefixed_query": _group(Var("target"), r"^[^?]*(\?.*)"),
    "http.request.uri.path.dir": _group(Var("decoded_path"), r"^(.*/)"),
    "http.request.uri.path.file": _group(Var("decoded_path"), r"([^/]*)\Z"),
    "http.request.uri.path.file.ext": _group(Var("decoded_path"), r"(\.[^./]*)\Z"),
    "http.reverse_proxy.upstream.host": _group(Var("upstream_address"), r"^\[?(.*?)\]?(?::[0-9]+)?\Z"),
    "http.reverse_proxy.upstream.port": _group(Var("upstream_address"), r":([0-9]+)\Z"),
    "http.reverse_proxy.status_code": Var("status"),
    "http.shutting_down": Const("false"),
    "time.now.year": _group(Var("time"), r"^([0-9]+)"),
}

_SHORT = {
    "host": "http.request.host",
    "hostport": "http.request.hostport",
    "method": "http.request.method",
    "scheme": "http.request.scheme",
    "uri": "http.request.uri",
    "path": "http.request.uri.path",
    "query": "http.request.uri.query",
    "?query": "http.request.uri.prefixed_query",
    "prefixed_query": "http.request.uri.prefixed_query",
    "remote": "http.request.remote",
    "remote_host": "http.request.remote.host",
    "remote_port": "http.request.remote.port",
    "port": "http.request.port",
    "uuid": "http.request.uuid",
    "client_ip": "http.vars.client_ip",
    "tls_version": "http.request.tls.version",
    "tls_cipher": "http.request.tls.cipher_suite",
    "tls_client_subject": "http.request.tls.client.subject",
    "tls_client_issuer": "http.request.tls.client.issuer",
    "tls_client_fingerprint": "http.request.tls.client.fingerprint",
    "tls_client_certificate_pem": "http.request.tls.client.certificate_pem",
    "tls_client_certificate_der_base64": "http.request.tls.client.certificate_der_base64",
    "dir": "http.request.uri.path.dir",
    "file": "http.request.uri.path.file",
    "orig_method": "http.request.orig_method",
    "orig_uri": "http.request.orig_uri",
    "orig_path": "http.request.orig_uri.path",
    "orig_path.dir": "http.request.orig_uri.path.dir",
    "rp.status_code": "http.reverse_proxy.status_code",
    "err.status_code": "http.error.status_code",
    "err.status_text": "http.error.status_text",
    "err.message": "http.error.message",
    "upstream_hostport": "http.reverse_proxy.upstream.hostport",
}

_STATUS_TEXTS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
"""Words for the statuses of errors that arise here, as Go writes them."""


def _status_text() -> Expr:
    text: Expr = EMPTY
    for status, words in _STATUS_TEXTS.items():
        text = If(Compare("==", Var("error_status"), Const(status)), Const(words), text)
    return text


_NAMES["http.error.status_code"] = Var("error_status")
_NAMES["http.error.status_text"] = _status_text()

MESSAGE = "error.message"
"""The name under which what `error` says is kept."""

_NAMES["http.error.message"] = Default(Var("kept", MESSAGE), _NAMES["http.error.status_text"])

_FAMILIES = {
    "header.": "header",
    "http.request.header.": "header",
    "cookie.": "cookie",
    "http.request.cookie.": "cookie",
    "query.": "arg",
    "http.request.uri.query.": "arg",
    "http.response.header.": "response_header",
    "http.reverse_proxy.header.": "response_header",
    "rp.header.": "response_header",
    "resp.header.": "response_header",
}

_LABELS = re.compile(r"(?:labels|http\.request\.host\.labels)\.([0-9]{1,3})")
_SEGMENTS = re.compile(r"(?:path|http\.request\.uri\.path)\.([0-9]{1,3})")

_UNBUILT = [
    "args",
    "env",
    "err",
    "file",
    "http.auth",
    "http.error",
    "http.intercept",
    "http.regexp",
    "http.request.body",
    "http.request.duration",
    "http.request.tls.client",
    "http.reverse_proxy",
    "http.request.uri.path.file.base",
    "re",
    "resp",
    "rp",
    "system",
    "time",
    "tls_client",
    "blocks",
    "block",
    "http.request.orig_uri.",
]


@dataclass(frozen=True, slots=True)
class State:
    """What is known where a directive stands: variables set before, and whether the target was changed.

    A value of None cannot be told any more.
    """

    variables: dict[str, Expr | None] = field(default_factory=dict)
    headers: dict[str, Expr | None] = field(default_factory=dict)
    removed: tuple[tuple[str, Expr | None], ...] = ()
    """Patterns of names of fields that were removed, with what is left of them."""
    rewritten: bool = False
    patterns: dict[str, tuple[Expr, str]] = field(default_factory=dict)
    """Regular expressions of matchers by their names, with what they are searched for in."""
    pattern: str = ""
    """The name of the one that was searched for last."""
    root: str = ""
    """The directory of files."""
    wire: bool = False
    """Whether a path is wanted as it stands in a target; elsewhere it is decoded."""
    lazy: frozenset[str] = frozenset()
    """Variables that are made whenever they are read, from what the target is then."""
    kept: dict[str, Expr] | None = None
    """What is kept of an answer that is replaced, by name; noted as it is read. None where no answer is."""

    def with_variable(self, name: str, value: Expr | None) -> State:
        """Return the state after a variable was set."""
        return replace(self, variables={**self.variables, name: value})

    def with_header(self, name: str, value: Expr | None) -> State:
        """Return the state after a field of the request was set."""
        return replace(self, headers={**self.headers, name.lower(): value})

    def without_headers(self, pattern: str, always: bool) -> State:
        """Return the state after fields of the request were removed by a pattern of their names, for some requests or ``always``."""
        value = EMPTY if always else None
        headers = {name: value if re.search(pattern, name) else known for name, known in self.headers.items()}
        return replace(self, headers=headers, removed=(*self.removed, (pattern, value)))

    def after_rewrite(self) -> State:
        """Return the state after the target changed: what was made from the old one is lost."""
        variables = {**without_path(self.variables), **{name: self.variables[name] for name in self.lazy}}
        return replace(self, variables=variables, headers=without_path(self.headers), rewritten=True)


def spelt(name: str) -> str:
    """Return a regular expression for a name in a query as clients may spell it: servers decode names."""
    found = ""
    for byte in name.encode():
        digits = f"{byte:02x}"
        code = "%" + "".join([f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits])
        plain = re.escape(chr(byte)) if 32 < byte < 127 else r"\+" if byte == 32 else ""
        found += f"(?:{plain}|{code})" if plain else code
    return found


def text_expr(text: str, state: State, keeps_unknown: bool = False) -> Expr:
    """Return the expression of a text with placeholders; ``keeps_unknown`` leaves those there are not. Raises ``Unreadable``."""
    parts: list[Expr] = []
    at = 0
    for found in _PLACEHOLDER.finditer(text):
        if found.start() > 0 and text[found.start() - 1] == "\\":
            continue
        try:
            value = placeholder(found[1], state)
        except Unreadable as bad:
            if keeps_unknown and bad.code == "unknown-placeholder":
                continue
            raise
        parts.append(Const(_plain(text[at : found.start()])))
        parts.append(value)
        at = found.end()
    parts.append(Const(_plain(text[at:])))
    return concat(parts)


def _plain(text: str) -> str:
    return text.replace("\\{", "{").replace("\\}", "}")


def placeholder(name: str, state: State) -> Expr:
    """Return the expression of a placeholder without its braces. Raises ``Unreadable``."""
    full = _SHORT.get(name, name)
    if full.startswith(("file_match.", "http.matchers.file.")):
        return _of_file(full.rpartition(".")[2], state, name)
    if full in state.variables:
        return _known(state.variables[full], name)
    if full == "http.request.uri" and not state.rewritten:
        return Var("target")
    if full == "http.request.uri.path" and not state.wire:
        return Var("decoded_path")
    if full in _NAMES:
        return _NAMES[full]
    for prefix, key in (("vars.", ""), ("http.vars.", "")):
        if full.startswith(prefix):
            variable = key + full.removeprefix(prefix)
            return _known(state.variables[variable], name) if variable in state.variables else EMPTY
    for prefix in ("re.", "http.regexp."):
        if full.startswith(prefix):
            return _of_group(full.removeprefix(prefix), state, name)
    for prefix, variable in _FAMILIES.items():
        if full.startswith(prefix) and len(full) > len(prefix):
            return _of_family(variable, full.removeprefix(prefix), state, name)
    if full == USER:
        return EMPTY  # nobody was asked before
    labels = _LABELS.fullmatch(full)
    if labels is not None:
        # The last label is number 0.
        return _group(Var("host"), rf"(?:^|\.)([^.]+)(?:\.[^.]+){{{labels[1]}}}\Z")
    segments = _SEGMENTS.fullmatch(full)
    if segments is not None:
        return _group(Var("decoded_path"), rf"^(?:/[^/]*){{{segments[1]}}}/([^/]*)")
    if any(full == each or full.startswith((each if each.endswith(".") else each + ".",)) for each in _UNBUILT):
        raise Unreadable("not-built", f"the placeholder `{{{name}}}`: not built yet")
    hint = near(name, [*_SHORT, *_NAMES])
    raise Unreadable("unknown-placeholder", f"there is no placeholder `{{{name}}}`", hint if hint.startswith("did") else "")


USER = "http.auth.user.id"
"""The variable that `basic_auth` sets: who has logged in."""

FOUND = "http.matchers.file.relative"
"""The variable that a matcher `file` sets: the path that it found, as it goes into a target."""


def _of_file(part: str, state: State, name: str) -> Expr:
    """``{file_match.PART}``: what the matcher ``file`` found."""
    if FOUND not in state.variables or part not in ("relative", "absolute", "type", "remainder"):
        raise Unreadable("unknown-reference", f"`{{{name}}}` belongs to no matcher `file`", "let the directive have one")
    value = _known(state.variables[FOUND], name)
    if part == "remainder":
        return EMPTY  # of paths that are split, for FastCGI
    if part == "type":
        return If(Match(r"/\Z", value), Const("directory"), Const("file"))
    plain = value if state.wire else Call("url_decode", (value,))
    return plain if part == "relative" else Concat((Const(state.root.rstrip("/")), plain))


def _of_group(text: str, state: State, name: str) -> Expr:
    """``{re.NAME.GROUP}``: what a group of a matcher's expression matched; of the only one, without its name."""
    pattern_name, dot, group = text.rpartition(".")
    if not dot:
        pattern_name = state.pattern or (next(iter(state.patterns)) if len(state.patterns) == 1 else "")
    if pattern_name not in state.patterns:
        hint = near(pattern_name, list(state.patterns))
        raise Unreadable("unknown-reference", f"`{{{name}}}` belongs to no `path_regexp` or `header_regexp`", hint)
    subject, pattern = state.patterns[pattern_name]
    if state.rewritten and reads_path(subject):
        return _known(None, name)
    return Call("capture", (subject, Const(pattern), Const(group)))


def _known(value: Expr | None, name: str) -> Expr:
    if value is None:
        raise Unreadable("not-built", f"reading `{{{name}}}` after what it was made from has changed: not built yet", "read it before")
    return value


def _of_family(variable: str, argument: str, state: State, name: str) -> Expr:
    if variable == "header" and argument.lower() in state.headers:
        return _known(state.headers[argument.lower()], name)
    for pattern, left in state.removed if variable == "header" else ():
        if re.search(pattern, argument.lower()):
            return _known(left, name)
    gone = any(re.search(pattern, "cookie") for pattern, _ in state.removed)
    if variable == "cookie" and (gone or "cookie" in state.headers):
        return _known(None, name)
    if variable == "header" and argument.lower() == "host":
        return EMPTY  # Go's server takes Host out of the fields
    if variable == "response_header" and state.kept is not None:
        name = f"answer.{argument.lower()}"
        state.kept[name] = Var(variable, argument.lower())
        return Var("kept", name)
    if variable == "arg":
        return Call("form_texts", (Var("query"), Const(argument)))
    return Var(variable, argument.lower() if variable in ("header", "response_header") else argument)


def read_expr(token: Token, state: State, report: Report, keeps_unknown: bool = False) -> Expr | None:
    """Return the expression of a token; None, noted, if it cannot be had."""
    try:
        return text_expr(token.text, state, keeps_unknown)
    except Unreadable as bad:
        report.error(token, bad.code, bad.message, bad.hint)
        return None


def split_text(text: str) -> tuple[str, str | None]:
    """Split a target at the first ``?`` outside of placeholders: its path, and its query, None where it has none."""
    depth = 0
    for at, char in enumerate(text):
        depth += 1 if char == "{" else -1 if char == "}" else 0
        if char == "?" and depth == 0:
            return text[:at], text[at + 1 :]
    return text, None


def query_expr(text: str, state: State) -> Expr:
    """Return a query with placeholders. What they stand for is escaped, but for the query itself, which is one; a part that is empty
    has no ``&``. Raises ``Unreadable``."""
    state = replace(state, wire=False)
    made: Expr = EMPTY
    begins_part = True
    for found in _PART.finditer(text):
        is_last = not found[2]
        part = _escaped(found[1], state, begins_part)
        if not begins_part:
            part = concat([Const("="), part])
        elif made != EMPTY and part != EMPTY:
            marked = concat([Const("&"), part])
            part = marked if _is_something(part) and _is_something(made) else _after_something(made, part, marked)
        made = concat([made, part])
        begins_part = found[2] == "&"
        if is_last:
            break
    return made


_PART = re.compile(r"([^=&]*)([=&]?)")


def _escaped(text: str, state: State, begins_part: bool) -> Expr:
    """Return a name or a value of a query."""
    parts: list[Expr] = []
    at = 0
    for found in _PLACEHOLDER.finditer(text):
        value = placeholder(found[1], state)
        plain = begins_part and _SHORT.get(found[1], found[1]) == "http.request.uri.query"
        parts += [Const(_plain(text[at : found.start()])), value if plain or isinstance(value, Const) else Call("url_encode", (value,))]
        at = found.end()
    return concat([*parts, Const(_plain(text[at:]))])


def _is_something(expr: Expr) -> bool:
    """Tell whether a text is not empty, whatever the request."""
    parts = expr.parts if isinstance(expr, Concat) else (expr,)
    return any(isinstance(each, Const) and each != EMPTY for each in parts)


def _after_something(before: Expr, part: Expr, marked: Expr) -> Expr:
    """Return a part with its mark, where neither it nor what stands before it is empty."""
    made = marked if _is_something(part) else If(Compare("==", part, EMPTY), EMPTY, marked)
    return made if _is_something(before) else If(Compare("==", before, EMPTY), part, made)


def read_query(token: Token, text: str, state: State, report: Report) -> Expr | None:
    """Return the expression of a query in a token; None, noted, if it cannot be had."""
    try:
        return query_expr(text, state)
    except Unreadable as bad:
        report.error(token, bad.code, bad.message, bad.hint)
        return None


def read_target(token: Token, state: State, report: Report) -> tuple[Expr | None, Expr | None] | None:
    """Return path and query of a target, of which what it does not say is None; None, noted, if it cannot be had."""
    plain, asked = split_text(token.text)
    query = read_query(token, asked, state, report) if asked is not None else None
    if asked is not None and query is None:
        return None
    if asked is not None and plain == "":
        return None, query
    made = read_expr(replace(token, text=plain), replace(state, wire=True), report)
    if made is None:
        return None
    path, own = split_target(made)
    if path is None and own is None:
        report.not_built(token, "this target of `rewrite`", "write a path, and a query behind a `?`")
        return None
    return path, query if query is not None else own


def split_target(expr: Expr) -> tuple[Expr | None, Expr | None]:
    """Split a target at its ``?``. Without one the query is kept; a query alone keeps the path."""
    parts = list(expr.parts) if isinstance(expr, Concat) and expr != URI else [expr]
    if parts and parts[-1] in (Var("target"), URI):
        parts[-1] = Var("path")
    elif len(parts) > 1 and parts[-1] == QUERY_MARKED:
        parts.pop()
    path: list[Expr] = []
    for at, part in enumerate(parts):
        if isinstance(part, Const) and "?" in str(part.value):
            before, _, after = str(part.value).partition("?")
            kept = concat([*path, Const(before)])
            return (None if kept == EMPTY else kept), concat([Const(after), *parts[at + 1 :]])
        if part in (Var("target"), QUERY_MARKED):
            return None, None
        path.append(part)
    return concat(path), None
