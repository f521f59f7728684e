"""``limit_req``, ``limit_conn``, ``limit_rate`` and ``auth_request``: what a request has to pass before it is served, and how fast.

Facts:
* A zone has a key; requests for which it is empty are not limited. Without ``nodelay`` what comes too early waits its turn, with
  ``delay=n`` what is beyond ``n``; beyond ``burst`` it is refused (503 unless said).
* The question of ``auth_request`` is a GET without a body and a query, answered by the location of its path; 2xx lets pass. Who may
  enter that location is not asked then.
* ``set $limit_rate`` counts instead of ``limit_rate``, whose value may have variables. ``proxy_limit_rate`` is how fast an upstream is
  read, which without files in between is how fast the client is answered.
* Each is inherited as a whole.

Rules: the location that a question goes to is found when the file is read, so its path has no variables. One that only passes on
to one server is asked there; every other one is a route of its own.

Not here: addresses and passwords (``levels``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.proxying import path_actions, request_fields, targets_of
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.upstreams import Upstreams
from vestibule.dialects.nginx.values import parse_count, parse_size
from vestibule.dialects.nginx.variables import Names
from vestibule.dialects.record import Record
from vestibule.model.config import Action, AuthRequest, BandwidthLimit, ConcurrencyLimit, RateLimit, Rewrite, SetHeader
from vestibule.model.expr import EMPTY, Call, Compare, Const, Expr, If, Var

_STATE_BYTES = 64
"""What nginx keeps for one key, by which sizes of zones are meant."""
_KEYS_MOST = 65_536
_SECOND_MS = 1_000
_NO_RATE = (EMPTY, Const("0"))
_OF_QUESTIONS = (
    *("internal", "auth_request", "proxy_pass", "proxy_set_header", "proxy_pass_request_body", "proxy_http_version", "proxy_buffering"),
    *("proxy_ssl_verify", "proxy_ssl_trusted_certificate", "proxy_ssl_name", "proxy_ssl_server_name"),
)
"""What a location may say that does nothing but pass questions on to one server."""
_STATUS = "$upstream_status"
_OF_ANSWER = re.compile(r"\$(?:upstream_http|sent_http|upstream_cookie)_[a-z0-9_]+|\$upstream_status", re.ASCII)
"""What is known of an answer wherever it is asked for."""
_STATUS_AS = "status of the question"
"""What the status of an answer is kept under."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone: by what is counted, how many keys it has room for, and for requests the rate."""

    key: Word
    keys: int
    requests: int = 0
    period_ms: int = _SECOND_MS


class Zones:
    """The zones of a file, those of requests and those of connections apart."""

    def __init__(self, record: Record, http: Scope) -> None:
        self._record = record
        self._by_name: dict[tuple[str, str], Zone] = {}
        self._http = http
        self._asks: dict[str, bool] = {}  # by variable
        self.are_told = False
        """Whether the error log tells of requests that are held up."""
        for directive in http.own("limit_req_zone", "limit_conn_zone"):
            self._declare(directive)

    def _declare(self, directive: Directive) -> None:
        known = ("zone", "rate") if directive.name == "limit_req_zone" else ("zone",)
        options: dict[str, str] = {}
        for word in directive.args[1:]:
            key, _, value = word.text.partition("=")
            options[key] = value
            if key not in known:
                self._record.error(word.span, "unknown-option", f"`{word.text}` is no option of `{directive.name}`")
        name, _, size = options.get("zone", "").partition(":")
        try:
            keys = min(_KEYS_MOST, max(1, parse_size(size) // _STATE_BYTES))
            requests, period_ms = _rate(options.get("rate", "")) if directive.name == "limit_req_zone" else (0, _SECOND_MS)
        except ValueError as bad:
            self._record.error(directive.span, "bad-value", str(bad), "write `zone=name:10m`, and `rate=10r/s` for requests")
            return
        self._by_name[(directive.name, name)] = Zone(directive.args[0], keys, requests, period_ms)

    def kept(self, variable: str) -> str:
        """Return the name that what becomes of requests is kept under: that of its variable, if the file or its error log asks for it."""
        if self.are_told:
            return variable
        asks = self._asks.get(variable)
        if asks is None:
            asks = self._asks[variable] = _asks_for(self._http.directives, f"${variable}")
        return variable if asks else ""

    def find(self, kind: str, name: str, word: Word) -> Zone | None:
        """Return a zone; None, noted, where there is none."""
        zone = self._by_name.get((f"{kind}_zone", name))
        if zone is None:
            self._record.error(word.span, "unknown-reference", f"there is no zone `{name}`", f"define it with `{kind}_zone`")
        return zone


def _asks_for(directives: Sequence[Directive], variable: str) -> bool:
    return any(any(variable in text for text in each.texts) or _asks_for(each.block or (), variable) for each in directives)


def _rate(text: str) -> tuple[int, int]:
    number, slash, unit = text.partition("r/")
    if not slash or unit not in ("s", "m"):
        raise ValueError(f"`{text}` is no rate")
    return parse_count(number, 1), _SECOND_MS * (60 if unit == "m" else 1)


def limits_on(scope: Scope, names: Names, zones: Zones) -> list[Action]:
    """Return the limits that hold in a block."""
    made: list[Action] = []
    status = scope.count("limit_req_status", 503)
    trial, kept = scope.flag("limit_req_dry_run", False), zones.kept("limit_req_status")
    for directive in scope.nearest("limit_req") if kept or not trial else ():
        found = _rate_limit(scope.record, directive, names, zones, status)
        if found is not None:
            made.append(replace(found, status_as=kept, trial=trial))
    status = scope.count("limit_conn_status", 503)
    trial, kept = scope.flag("limit_conn_dry_run", False), zones.kept("limit_conn_status")
    for directive in scope.nearest("limit_conn") if kept or not trial else ():
        zone = zones.find("limit_conn", directive.text(0), directive.args[0])
        try:
            most = parse_count(directive.text(1), 1)
        except ValueError as bad:
            scope.record.error(directive.place(1), "bad-value", str(bad))
            continue
        if zone is not None:
            made.append(ConcurrencyLimit(names.text(zone.key), most, status, directive.text(0), kept, trial))
    return made


def pace_of(scope: Scope, names: Names, proxies: bool) -> list[Action]:
    """Return how fast answers of a block go, which has an upstream or has not."""
    made: list[Action] = []
    rate = _bytes_of(scope, "limit_rate", names)
    own = names.own.get("limit_rate")
    if own is not None and own != EMPTY:
        rate = own if isinstance(own, Const) else If(Compare("!=", own, EMPTY), own, rate)
    after = _bytes_of(scope, "limit_rate_after", names)
    if rate not in _NO_RATE:
        made.append(BandwidthLimit(rate, after=after if after not in _NO_RATE else None))
    rate = _bytes_of(scope, "proxy_limit_rate", names)
    if proxies and rate not in _NO_RATE:
        made.append(BandwidthLimit(rate))
    return made


def pace_of_stream(scope: Scope, names: Names) -> tuple[BandwidthLimit, ...]:
    """Return how fast bytes go through a server of ``stream``."""
    made: list[BandwidthLimit] = []
    for name, of in (("proxy_upload_rate", "request"), ("proxy_download_rate", "response")):
        rate = _bytes_of(scope, name, names)
        if rate not in _NO_RATE:
            made.append(BandwidthLimit(rate, of))
    return tuple(made)


def _bytes_of(scope: Scope, name: str, names: Names) -> Expr:
    """Return the bytes that a directive says, an expression where it has variables."""
    directive = scope.find(name)
    if directive is None:
        return EMPTY
    if "$" in directive.text():
        return names.text(directive.args[0])
    try:
        return Const(str(parse_size(directive.text())))
    except ValueError as bad:
        scope.record.error(directive.place(0), "bad-value", str(bad))
        return EMPTY


def _rate_limit(record: Record, directive: Directive, names: Names, zones: Zones, status: int) -> RateLimit | None:
    zone: Zone | None = None
    name, burst, at_once = "", 0, 0
    delays = True
    for word in directive.args:
        key, _, value = word.text.partition("=")
        try:
            if key == "zone":
                name, zone = value, zones.find("limit_req", value, word)
            elif key == "burst":
                burst = parse_count(value)
            elif key == "delay":
                at_once = parse_count(value)
            elif word.text == "nodelay":
                delays = False
            else:
                record.error(word.span, "unknown-option", f"`{word.text}` is no option of `limit_req`")
        except ValueError as bad:
            record.error(word.span, "bad-value", str(bad))
    if not name:
        record.error(directive.span, "missing", "`limit_req` needs its zone", "write `limit_req zone=name`")
    if zone is None:
        return None
    once = min(at_once, burst) if delays else None
    return RateLimit(names.text(zone.key), zone.requests, zone.period_ms, burst, once, status, name, zone.keys)


# ---------------------------------------------------------------- auth_request


class Questions:
    """The questions of one server, and the locations that answer them otherwise than by passing them on to one server."""

    def __init__(self, record: Record, server: Scope, upstreams: Upstreams) -> None:
        self._record = record
        self._server = server
        self._upstreams = upstreams
        self.asked: dict[str, Directive] = {}
        """The locations that answer by themselves, by the path that is asked for."""

    def of(self, scope: Scope, names: Names) -> AuthRequest | None:
        """Return whom a block asks whether a request may pass; what the answer says is known in ``names`` afterwards."""
        directive = scope.find("auth_request")
        if directive is None or directive.text() == "off":
            return None
        path = directive.text().partition("?")[0]
        location = _location_of(self._server, path)
        if location is None or "$" in path:
            not_built(self._record, directive.place(0), "a question that no location answers", "have a location of this path answer")
            return None
        passes = [each for each in location.block or () if each.name == "proxy_pass"]
        made: AuthRequest | None = None
        if passes and all(each.name in _OF_QUESTIONS for each in location.block or ()):
            made = self._passed_on(location, passes[0], path, names)
        if made is None:
            self.asked[path] = location
            made = AuthRequest(path=Const(path), query=EMPTY, route=route_of(path))
        learn_answers(scope, names)
        if any(each.text(1) == _STATUS for each in scope.nearest("auth_request_set")):
            made = replace(made, status_as=_STATUS_AS)
        return made

    def _passed_on(self, location: Directive, proxy_pass: Directive, path: str, names: Names) -> AuthRequest | None:
        """Return the question that one server answers; None where it is not one, and known."""
        record = self._record
        inside = Scope(record, location.block or (), self._server)
        targets = targets_of(record, proxy_pass.args[0], names, self._upstreams.names())
        target = targets[0][1] if len(targets) == 1 else None
        if target is None or target.by is not None:
            return None
        upstream = self._upstreams.use(target, inside, proxy_pass.place(0))
        asked = names.copy()
        asked.own["uri"] = asked.own["document_uri"] = Const(path)
        asked.own["args"] = asked.own["query_string"] = asked.own["is_args"] = EMPTY
        host, fields = request_fields(inside, asked, target)
        exact = location.text(0) == "=" or location.text(0).startswith("=")
        prefix = location.text(len(location.args) - 1).removeprefix("=")
        where: Expr | None = Const(path)
        query: Expr | None = EMPTY
        for action in path_actions(record, target, proxy_pass.span, prefix, exact or prefix == path, False):
            if isinstance(action, Rewrite):
                where, query = action.path or where, action.query or query
        if target.rest == Var("target"):
            where, query = None, None
        actions = fields if host == "client" else (SetHeader("Host", Const(host)), *fields)
        return AuthRequest(upstream, where, query, request=actions) if upstream else None


def route_of(path: str) -> str:
    """Name the route that answers questions for a path."""
    return f"question {path}"


def learn_answers(scope: Scope, names: Names) -> None:
    """Have what ``auth_request_set`` takes from an answer known in ``names``."""
    for directive in scope.nearest("auth_request_set"):
        _set_from_answer(scope.record, directive, names)


def answers_in(record: Record, directives: Sequence[Directive]) -> dict[str, Expr]:
    """Return what ``auth_request_set`` takes from answers anywhere in a file, under names that mean one thing in all of it.

    A location that ``error_page`` leads to knows what was taken in the one before.
    """
    taken = _answered_in(directives)
    names = Names(record)
    for directive in taken:
        values = {each.text(1) for each in taken if each.text(0) == directive.text(0)}
        if len(values) == 1 and _OF_ANSWER.fullmatch(directive.text(1)):
            _set_from_answer(record, directive, names)
    return names.own


def _answered_in(directives: Sequence[Directive]) -> list[Directive]:
    made: list[Directive] = []
    for each in directives:
        if each.name == "auth_request_set":
            made.append(each)
        made += _answered_in(each.block or ())
    return made


def _location_of(server: Scope, path: str) -> Directive | None:
    """Return the location that a fixed path leads to, of those that are no regular expressions."""
    best: Directive | None = None
    for each in server.own("location"):
        words = [text for text in each.texts if text not in ("=", "^~")]
        named = words[0] if len(words) == 1 else ""
        is_exact = each.text(0).startswith("=")
        named = named.removeprefix("=")
        if is_exact and named == path:
            return each
        longest = 0 if best is None else len(best.text(len(best.args) - 1))
        if not is_exact and named.startswith("/") and path.startswith(named) and len(named) > longest:
            best = each
    return best


def _set_from_answer(record: Record, directive: Directive, names: Names) -> None:
    name, value = directive.text(0), directive.text(1)
    if not name.startswith("$"):
        record.error(directive.place(0), "bad-value", f"`{name}` is no variable", "write `auth_request_set $name $upstream_http_x;`")
        return
    for prefix in ("$upstream_http_", "$sent_http_"):
        if value.startswith(prefix) and value[len(prefix) :].replace("_", "").isalnum():
            field = "-".join([part.capitalize() for part in value[len(prefix) :].split("_")])
            names.own[name[1:].lower()] = Var("auth_header", field)
            return
    cookie = value.removeprefix("$upstream_cookie_")
    if cookie != value and cookie:
        pattern = f"(?:^|, ?){re.escape(cookie)}=([^;,]*)"
        names.own[name[1:].lower()] = Call("capture", (Var("auth_header", "Set-Cookie"), Const(pattern), Const("1")))
        return
    if value == _STATUS:
        names.own[name[1:].lower()] = Var("kept", _STATUS_AS)
        return
    if "$upstream_" in value:
        not_built(record, directive.place(1), f"`{value}` of a question", "fields of the answer are known, as `$upstream_http_NAME`")
        return
    names.own[name[1:].lower()] = names.text(directive.args[1])
