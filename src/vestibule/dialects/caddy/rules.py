"""Single directives of a site: what each does.

Facts are those of Caddy's documentation of each directive.

Rules: reading a directive gives a step and the state after it; None, noted, if it cannot be read.

Not here: order and matchers (``flow``), ``reverse_proxy`` (``proxy``), what holds for a whole site (``site``).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace

from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.matchers import AnswerMatchers
from vestibule.dialects.caddy.placeholders import MESSAGE, USER, State, read_expr, read_target
from vestibule.dialects.caddy.proxy import Proxies
from vestibule.dialects.caddy.quantity import parse_bytes
from vestibule.dialects.caddy.replacing import as_done, read_uri
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.tree import Segment
from vestibule.dialects.origin import Origins
from vestibule.dialects.piece import Piece
from vestibule.model.config import (
    Action,
    BasicAuth,
    Deny,
    HangUp,
    Limits,
    Metrics,
    Redirect,
    RemoveHeader,
    RemoveHeaders,
    Respond,
    Rewrite,
    SetHeader,
    SetVariable,
    Source,
    When,
)
from vestibule.model.expr import EMPTY, Call, Concat, Const, Default, Expr, If, InSet, Match, Var, concat

_REDIRECTS = {"permanent": 301, "temporary": 302, "301": 301, "302": 302, "303": 303, "307": 307, "308": 308}


_LEADS = """\
<!DOCTYPE html>
<html>
	<head>
		<title>Redirecting...</title>
		<script>window.location.replace("@");</script>
		<meta http-equiv="refresh" content="0; URL='@'">
	</head>
	<body>Redirecting to <a href="@">@</a>...</body>
</html>
"""
"""Caddy's page of `redir TO html`; the target comes at each `@`."""

_UNSAFE = (("\\", "%5C"), ('"', "%22"), ("'", "%27"), ("<", "%3C"), (">", "%3E"))


@dataclass(frozen=True, slots=True)
class Edit:
    """Actions on the request."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Actions on the answer; ``waits`` where their values are those of the moment it comes, and not of now."""

    actions: tuple[Action, ...]
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """Limits from here on."""

    limits: Limits


@dataclass(frozen=True, slots=True)
class End:
    """An answer."""

    piece: Piece


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing but what the state says."""


_GROUP = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")

Step = Edit | Mark | Limit | End | Keep | None


class Rules:
    """Reads the directives of one file."""

    def __init__(self, proxies: Proxies, report: Report, origins: Origins) -> None:
        self._proxies = proxies
        self._report = report
        self._origins = origins
        self.tells_messages = False
        """Whether what `error` says is told in the place of errors."""

    def step(self, segment: Segment, first: int, test: Expr | None, state: State) -> tuple[Step, State]:
        """Read a directive whose arguments begin at the token ``first``; ``test`` is its matcher's."""
        name = segment.name
        if name == "reverse_proxy":
            return End(self._proxies.read(segment, first, state)), state
        if name == "header":
            return self._lines(segment, first, state, Mark), state
        if name == "request_header":
            step = self._lines(segment, first, state, Edit)
            return step, _after_edits(step, test, state)
        if name == "forward_auth":
            ask = self._proxies.ask(segment, first, state)
            return (Edit((self._origins.at(segment.span, ask),)) if ask is not None else None), state
        if name in ("basicauth", "basic_auth"):
            user: Expr = Var("user")
            if test is not None:
                user = If(test, user, state.variables.get(USER) or EMPTY)
            return self._basic_auth(segment, first), state.with_variable(USER, user)
        if name == "rewrite":
            action = self.rewrite(segment, first, state)
            return (Edit((action,)), state.after_rewrite()) if action is not None else (None, state)
        if name == "method":
            return self._method(segment, first, test, state)
        if name == "uri":
            return self._uri(segment, first, state)
        if name == "abort":
            return Edit((self._origins.at(segment.span, HangUp()),)), state
        if name == "respond":
            return self._respond(segment, first, state), state
        if name == "metrics":
            return self._metrics(segment), state
        if name == "redir":
            return self._redir(segment, first, state), state
        if name == "error":
            return self._error(segment, first, state), state
        if name == "request_body":
            return self._request_body(segment), state
        if name == "vars":
            return Keep(), self._vars(segment, first, test, state)
        return Keep(), self._map(segment, first, state)

    # ------------------------------------------------------------ fields

    def _lines(self, segment: Segment, first: int, state: State, step: type[Edit] | type[Mark]) -> Step:
        """Read edits of fields, on the line or one on each line of the block."""
        actions: list[Action] = []
        test: Expr | None = None
        if first < len(segment.tokens):
            actions.extend(self._proxies.edits(segment, first, state, step is Edit or _waits(segment, first)))
        waits = step is Edit or any(line.name in ("defer", "match") or _waits(line, 0) for line in segment.inside())
        for line in as_done(segment.inside()):
            if line.name == "match" and step is Mark:
                test = AnswerMatchers((), self._report).read(line)
            elif line.name != "defer":
                actions.extend(self._proxies.edits(line, 0, state, waits))
        if test is not None and actions:
            actions = [self._origins.at(segment.span, When(test, tuple(actions)))]
        if step is Mark:
            return Mark(tuple(actions), (waits and bool(segment.inside())) or (first < len(segment.tokens) and _waits(segment, first)))
        return step(tuple(actions))

    # ------------------------------------------------------------ credentials

    def _basic_auth(self, segment: Segment, first: int) -> Step:
        words = segment.texts(first)
        if words[:1] not in ([], ["bcrypt"], ["argon2id"], ["scrypt"]):
            hint = near(words[0], ("bcrypt", "argon2id", "scrypt"))
            self._report.error(segment.token(first), "syntax", f"`{words[0]}` is no kind of hash", hint)
            return None
        realm = words[1] if len(words) > 1 else "restricted"
        users: dict[str, str] = {}
        for line in segment.inside():
            secret = "".join(line.texts()[:1])
            if not secret:
                self._report.error(line.head, "missing", f"the user `{line.name}` has no hash", "make one with `htpasswd -nB`")
            elif line.name in users:
                self._report.error(line.head, "duplicate-name", f"the user `{line.name}` is here already")
            elif words[:1] == ["scrypt"]:
                users[line.name] = _scrypt_hash(secret, "".join(line.texts()[1:2]))
            elif len(line.tokens) > 2:
                self._report.not_built(line.token(2), "salts besides the hash")
            else:
                users[line.name] = _hash(secret)
        return Edit((self._origins.at(segment.span, BasicAuth(tuple(users.items()), realm)),))

    # ------------------------------------------------------------ targets

    def rewrite(self, segment: Segment, first: int, state: State) -> Action | None:
        """Read ``rewrite TO``: what has a ``?`` replaces the query, what has none keeps it."""
        if first >= len(segment.tokens):
            self._report.error(segment.head, "missing", "`rewrite` needs a target", "write `rewrite * /PATH`")
            return None
        target = read_target(segment.tokens[first], state, self._report)
        return None if target is None else self._origins.at(segment.span, Rewrite(*target))

    def _method(self, segment: Segment, first: int, test: Expr | None, state: State) -> tuple[Step, State]:
        action = self._proxies.method(segment, first)
        if action is None:
            return None, state
        value: Expr = action.method
        if test is not None:
            value = If(test, value, state.variables.get("http.request.method") or Var("method"))
        return Edit((action,)), state.with_variable("http.request.method", value)

    def _uri(self, segment: Segment, first: int, state: State) -> tuple[Step, State]:
        actions = read_uri(segment, first, state, self._report)
        if actions is None:
            return None, state
        return Edit(tuple([self._origins.at(segment.span, each) for each in actions])), state.after_rewrite()

    # ------------------------------------------------------------ answers

    def _respond(self, segment: Segment, first: int, state: State) -> Step:
        tokens = list(segment.tokens[first:])
        status, body = 200, None
        if len(tokens) == 1 and tokens[0].text.isdecimal() and len(tokens[0].text) == 3:
            status = self._status(tokens[0], 200, 200)
        elif tokens:
            body = read_expr(tokens[0], state, self._report, keeps_unknown=True)
            if len(tokens) > 1:
                status = self._status(tokens[1], 200, 200)
        for line in segment.inside():
            if line.name == "body" and len(line.tokens) > 1:
                body = read_expr(line.token(1), state, self._report, keeps_unknown=True)
            elif line.name == "close":
                self._report.left_out(line.head, "`close`", "the client decides about its connection")
            else:
                self._report.error(
                    line.head, "unknown-option", f"`{line.name}` is unknown in `respond`", near(line.name, ("body", "close"))
                )
        if body == EMPTY or status in (204, 304):
            body = None
        return End(Piece(self._origins.at(segment.span, Respond(status, body))))

    def _metrics(self, segment: Segment) -> Step:
        for line in segment.inside():
            if line.name == "disable_openmetrics":
                self._report.left_out(line.head, "`disable_openmetrics`", "scrapers get the form that they accept")
            else:
                self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `metrics`")
        self._report.warning(segment.head, "differs", "the names of figures are vestibule's own, not Caddy's", "see docs/metrics.md")
        return End(Piece(self._origins.at(segment.span, Metrics())))

    def _redir(self, segment: Segment, first: int, state: State) -> Step:
        tokens = list(segment.tokens[first:])
        if not tokens:
            self._report.error(segment.head, "missing", "`redir` needs a target", "write `redir https://HOST{uri}`")
            return None
        code = 302
        if len(tokens) > 1:
            text = tokens[1].text
            if text == "html":
                return self._redirecting_page(segment, tokens[0], state)
            if text not in _REDIRECTS and not (text == "401" or re.fullmatch("3[0-9][0-9]", text)):
                self._report.error(tokens[1], "out-of-range", f"`{text}` is no redirect", "use `permanent`, `temporary` or a code")
                return None
            code = _REDIRECTS.get(text) or int(text)
        location = read_expr(tokens[0], replace(state, wire=True), self._report)
        if location is None:
            return None
        # What is no whole address stays so: the scheme that the client knows may be another in front.
        source: Source = Redirect(location, code)  # type: ignore[arg-type]  # one of those named above
        if not _is_whole(location) or str(code) not in _REDIRECTS:
            source = Respond(code, headers=(("Location", location),))
        return End(Piece(self._origins.at(segment.span, source)))

    def _redirecting_page(self, segment: Segment, target: Token, state: State) -> Step:
        """Return the page that leads a browser elsewhere, and nobody else."""
        location = read_expr(target, replace(state, wire=True), self._report)
        if location is None:
            return None
        # What a client has written into its target must not end a text or a tag.
        for char, code in _UNSAFE:
            location = _put(location, char, code)
        shown = _put(location, "&", "&amp;")
        parts: list[Expr] = []
        for at, text in enumerate(_LEADS.split("@")):
            parts += [Const(text), shown if at else location]
        page = concat(parts[:-1])
        source = Respond(200, page, headers=(("Content-Type", Const("text/html; charset=utf-8")),))
        return End(Piece(self._origins.at(segment.span, source)))

    def _error(self, segment: Segment, first: int, state: State) -> Step:
        tokens = list(segment.tokens[first:])
        status = 500
        if len(tokens) == 1 and tokens[0].text.isdecimal():
            status = self._status(tokens[0], 500, 400)
        elif len(tokens) > 1:
            status = self._status(tokens[1], 500, 400)
        deny = self._origins.at(segment.span, Deny(status))
        if not tokens or (len(tokens) == 1 and tokens[0].text.isdecimal()):
            return Edit((deny,))
        message = read_expr(tokens[0], state, self._report)
        if not self.tells_messages or message is None:
            self._report.left_out(tokens[0], "the message of `error`", "vestibule's own error page is sent")
            return Edit((deny,))
        return Edit((SetVariable(MESSAGE, message), deny))

    def _status(self, token: Token, otherwise: int, least: int) -> int:
        if token.text.isdecimal() and len(token.text) == 3 and least <= int(token.text) <= 599:
            return int(token.text)
        self._report.error(token, "out-of-range", f"`{token.text}` is no status here", f"use {least} to 599")
        return otherwise

    def _request_body(self, segment: Segment) -> Step:
        limits = Limits()
        for line in segment.inside():
            if line.name == "max_size" and len(line.tokens) > 2:
                self._report.error(line.token(2), "syntax", f"`{line.token(2).text}` is not expected here", "write `max_size 10MB`")
            if line.name != "max_size":
                self._report.not_built(line.head, f"`{line.name}` of `request_body`", "say `max_size`")
                continue
            try:
                limits = Limits(body_bytes=parse_bytes("".join(line.texts())))
            except ValueError as bad:
                self._report.error(line.token(1), "bad-value", str(bad), "write `10MB`")
        return Limit(limits)

    # ------------------------------------------------------------ variables

    def _vars(self, segment: Segment, first: int, test: Expr | None, state: State) -> State:
        pairs: list[tuple[str, Token | None]] = []
        tokens = segment.tokens[first:]
        if tokens:
            pairs.append((tokens[0].text, tokens[1] if len(tokens) > 1 else None))
        pairs.extend([(line.name, line.tokens[1] if len(line.tokens) > 1 else None) for line in segment.inside()])
        for name, token in pairs:
            value = read_expr(token, state, self._report) if token is not None else None
            if token is None:
                self._report.error(segment.head, "missing", f"the variable `{name}` has no value")
            elif value is not None:
                before = state.variables.get(name, EMPTY)
                if test is not None:
                    value = If(test, value, before) if before is not None else None
                state = state.with_variable(name, value)
        return state

    def _map(self, segment: Segment, first: int, state: State) -> State:
        """Read ``map SOURCE {NAME}… { input output… }``; ``~`` begins a regular expression, ``-`` is no value."""
        tokens = segment.tokens[first:]
        if len(tokens) < 2:
            self._report.error(segment.head, "missing", "`map` needs a source and a name", "write `map {path} {NAME} { … }`")
            return state
        source = read_expr(tokens[0], state, self._report)
        if source is None:
            return state
        for line in segment.inside():
            if len(line.tokens) > len(tokens):
                self._report.error(line.token(len(tokens)), "syntax", "there are more values than placeholders", "name one for each")
        for at, token in enumerate(tokens[1:]):
            name = token.text.strip("{}")
            value: Expr = EMPTY
            for line in reversed(segment.inside()):
                outputs = line.tokens[1:]
                if at >= len(outputs) or (outputs[at].text == "-" and line.name != "default"):
                    continue
                is_pattern = line.name.startswith("~") and not line.head.quoted
                result = self._map_output(outputs[at], source, line.name[1:] if is_pattern else "", state)
                if result is None:
                    continue
                if line.name == "default":
                    value = Default(value, result) if value != EMPTY else result
                elif is_pattern:
                    value = If(Match(line.name[1:], source), result, value)
                else:
                    value = If(InSet(source, (line.name,)), result, value)
            state = state.with_variable(name, value)
            state = replace(state, lazy=state.lazy | {name})
        return state

    def _map_output(self, token: Token, source: Expr, pattern: str, state: State) -> Expr | None:
        """Return an output; ``$1`` and ``${1}`` are what the groups of its regular expression matched."""
        if not pattern:
            return read_expr(token, state, self._report, keeps_unknown=True)
        parts: list[Expr] = []
        at = 0
        for found in _GROUP.finditer(token.text):
            before = read_expr(replace(token, text=token.text[at : found.start()]), state, self._report)
            if before is None:
                return None
            parts += (before, Call("capture", (source, Const(pattern), Const(found[1] or found[2]))))
            at = found.end()
        rest = read_expr(replace(token, text=token.text[at:]), state, self._report)
        return None if rest is None else concat([*parts, rest])


def _waits(line: Segment, at: int) -> bool:
    """Tell whether an edit has the whole directive wait for the answer of a server."""
    return line.token(at).text[:1] in (">", "-")


def _put(text: Expr, char: str, code: str) -> Expr:
    """Return a text with one character written otherwise."""
    if isinstance(text, Const):
        return Const(str(text.value).replace(char, code))
    return Call("replace_text", (text, Const(char), Const(code)))


def _is_whole(location: Expr) -> bool:
    """Tell whether a target is known to begin with a scheme."""
    first = location.parts[0] if isinstance(location, Concat) else location
    return isinstance(first, Const) and re.match("[A-Za-z][A-Za-z0-9+.-]*:", str(first.value)) is not None


def _after_edits(step: Step, test: Expr | None, state: State) -> State:
    """Keep what fields of the request are from now on."""
    if not isinstance(step, Edit):
        return state
    for action in step.actions:
        if isinstance(action, RemoveHeaders):
            state = state.without_headers(action.pattern, test is None)
            continue
        if isinstance(action, SetHeader):
            value: Expr | None = action.value
        else:
            value = EMPTY if isinstance(action, RemoveHeader) else None
        name = getattr(action, "name", "")
        if test is not None and value is not None:
            before = state.headers.get(name.lower(), Var("header", name.lower()))
            value = If(test, value, before) if before is not None else None
        state = state.with_header(name, value)
    return state


def _scrypt_hash(secret: str, salt: str) -> str:
    """Return the hash as it is kept here; Caddy writes it and its salt in base64, and always takes the same parameters."""
    return f"$scrypt$ln=15,r=8,p=1${salt.rstrip('=')}${secret.rstrip('=')}"


def _hash(secret: str) -> str:
    """Return the hash; older versions of Caddy write it in base64."""
    if secret.startswith("$"):
        return secret
    try:
        plain = base64.b64decode(secret, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return secret
    return plain if plain.startswith("$") else secret
