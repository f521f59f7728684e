"""``proxy_pass`` and what belongs to it: upstreams, the path that is asked for, fields of the request and of the answer.

Facts:
* The Host sent upstream is ``$proxy_host``, the name in ``proxy_pass``, unless ``proxy_set_header Host`` says otherwise.
* A path in ``proxy_pass`` takes the place of the location's prefix, in the decoded path; without one the path goes as it came.
* A redirect of the upstream to itself is rewritten to us unless ``proxy_redirect`` says otherwise.
* Connection, Upgrade and their kin belong to one connection; vestibule writes them, and WebSockets pass without them.

Not here: which location proxies (``location``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vestibule.dialects.nginx.flow import not_built
from vestibule.dialects.nginx.levels import added_fields
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.values import parse_count
from vestibule.dialects.nginx.variables import Names, to_pattern
from vestibule.dialects.part import Part, encoded
from vestibule.dialects.record import Record
from vestibule.model.check_route import TOKEN
from vestibule.model.config import (
    Action,
    AddHeader,
    Forwarding,
    Pool,
    Proxy,
    RemoveHeader,
    Retry,
    Rewrite,
    Server,
    SetHeader,
    Upstream,
    UpstreamTls,
)
from vestibule.model.diagnostic import Span
from vestibule.model.expr import EMPTY, Call, Compare, Concat, Const, Expr, If, Match, Var, concat
from vestibule.model.quantity import format_server, parse_port, parse_server_host

_OURS = ("connection", "upgrade", "keep-alive", "te", "trailer", "proxy-connection", "transfer-encoding", "content-length")
UNREAD = "unread"
"""The host of a server whose address could not be read."""

_LOCATION = Var("response_header", "Location")


@dataclass(frozen=True, slots=True)
class Target:
    """A ``proxy_pass`` taken apart. ``rest`` is what follows the authority: None for nothing at all."""

    tls: bool
    authority: str
    rest: Expr | None
    is_fixed: bool
    """Whether it was written without variables; only then nginx replaces prefixes and rewrites redirects by itself."""

    @property
    def scheme(self) -> str:
        """The scheme."""
        return "https" if self.tls else "http"

    @property
    def host(self) -> str:
        """What ``$proxy_host`` is."""
        default = ":443" if self.tls else ":80"
        return "localhost" if self.authority.startswith("unix:") else self.authority.removesuffix(default)


class Upstreams:
    """The upstreams of a configuration: declared ones, and one for each address that is proxied to."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._declared: dict[str, Directive] = {}
        self._made: dict[str, Upstream] = {}

    def declare(self, directive: Directive) -> None:
        """Take an ``upstream`` block."""
        name = directive.text(0)
        if name in self._declared:
            self._record.error(directive.place(0), "duplicate-name", f"there are two upstreams named `{name}`")
        self._declared[name] = directive

    def all(self) -> tuple[Upstream, ...]:
        """Return all that are used."""
        return tuple(self._made.values())

    def warn_unused(self) -> None:
        """Note declared ones that nobody uses."""
        used = {name.partition("://")[2] or name for name in self._made}
        for name, directive in self._declared.items():
            if name not in used and not any(each.startswith(f"{name} ") for each in used):
                self._record.warning(directive.span, "unused", f"no location uses the upstream `{name}`")

    def use(self, target: Target, scope: Scope, span: Span) -> str:
        """Return the name of the upstream that a target means, making it; empty, noted, where its address is none."""
        tls = _upstream_tls(scope, target)
        attempts = _attempts(scope)
        block = self._declared.get(target.authority)
        if block is None:
            server = _server(self._record, span, target.authority, target.tls)
            if server.host == UNREAD:
                return ""
            upstream = Upstream(format_server(server) or target.authority, (server,), tls, Pool(), Retry(attempts))
        else:
            span = block.span
            name = f"https://{target.authority}" if target.tls else target.authority
            upstream = replace(self._from_block(name, block, target.tls), tls=tls, retry=Retry(attempts))
        # The same servers spoken to in another way are another upstream.
        name, number = upstream.name, 1
        while (known := self._made.get(upstream.name)) is not None and known != upstream:
            number += 1
            upstream = replace(upstream, name=f"{name} #{number}")
        if upstream.name not in self._made:
            self._record.origin(f"upstreams[{len(self._made)}]", span)
            self._made[upstream.name] = upstream
        return upstream.name

    def _from_block(self, name: str, block: Directive, tls: bool) -> Upstream:
        scope = Scope(self._record, block.block or ())
        servers: list[Server] = []
        for directive in scope.own("server"):
            server = self._declared_server(directive, tls)
            if server is not None:
                servers.append(server)
        pool = Pool()
        if scope.find("keepalive") is not None:
            pool = replace(pool, max_idle=scope.count("keepalive", pool.max_idle))
        if scope.find("keepalive_timeout") is not None:
            pool = replace(pool, idle_ms=scope.time("keepalive_timeout", pool.idle_ms))
        limits = {each for each in [_option(directive, "max_conns") for directive in scope.own("server")] if each}
        if len(limits) == 1:
            pool = replace(pool, max_connections=parse_count(limits.pop(), 1))
        elif limits:
            not_built(self._record, block.span, "`max_conns` that differs from server to server", "give all servers the same")
        return Upstream(name, tuple(servers), pool=pool)

    def _declared_server(self, directive: Directive, tls: bool) -> Server | None:
        server = _server(self._record, directive.place(0), directive.text(0), tls)
        for word in directive.args[1:]:
            key, _, value = word.text.partition("=")
            if word.text == "backup":
                server = replace(server, backup=True)
            elif word.text == "down":
                return None
            elif word.text == "resolve":
                continue
            elif key in ("weight", "max_conns"):
                try:
                    number = parse_count(value, 1)
                except ValueError as bad:
                    self._record.error(word.span, "bad-value", str(bad))
                    continue
                server = replace(server, weight=number) if key == "weight" else server
            elif key in ("max_fails", "fail_timeout", "slow_start"):
                what = f"`{key}` is left out"
                self._record.warning(word.span, "left-out", what, "a server that does not answer is passed over for each request anew")
            else:
                self._record.error(word.span, "unknown-option", f"`{word.text}` is no option of a server")
        return server


def _option(directive: Directive, name: str) -> str:
    for word in directive.args[1:]:
        key, equals, value = word.text.partition("=")
        if equals and key == name and value.isdigit() and len(value) < 9 and value.strip("0"):
            return value
    return ""


def _server(record: Record, span: Span, address: str, tls: bool) -> Server:
    """Read the address of a server; without a port it is that of the scheme."""
    if address.startswith("unix:"):
        return Server(path=address.removeprefix("unix:"), tls=tls)
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, ""
    try:
        return Server(parse_server_host(host), parse_port(port) if port else (443 if tls else 80), tls=tls)
    except ValueError as bad:
        record.error(span, "bad-address", str(bad), "write `host:port`")
        return Server(UNREAD, 1, tls=tls)


def _upstream_tls(scope: Scope, target: Target) -> UpstreamTls:
    if not target.tls:
        return UpstreamTls()
    name = scope.text("proxy_ssl_name")
    if "$" in name:
        name_directive = scope.find("proxy_ssl_name")
        assert name_directive is not None
        if name != "$proxy_host":
            not_built(scope.record, name_directive.place(0), "a name that changes from request to request", "write the name itself")
        name = ""
    verify = scope.flag("proxy_ssl_verify", False)
    is_name = not target.authority.startswith("unix:")
    return UpstreamTls(
        verify=verify,
        # With an `upstream` block the name of the block is what nginx sends.
        name=name or (target.authority.partition(":")[0] if is_name and not target.authority.startswith("[") else ""),
        ca=scope.text("proxy_ssl_trusted_certificate") if verify else "",
        crl=scope.text("proxy_ssl_crl") if verify else "",
        cert=scope.text("proxy_ssl_certificate"),
        key=scope.text("proxy_ssl_certificate_key"),
        password_file=scope.text("proxy_ssl_password_file"),
    )


def _attempts(scope: Scope) -> int:
    directive = scope.find("proxy_next_upstream")
    for word in directive.args if directive is not None else ():
        if word.text == "off":
            return 1
        if word.text not in ("error", "timeout"):
            what = f"another server after `{word.text}`"
            not_built(scope.record, word.span, what, "`error` and `timeout` are; take the rest out")
    return scope.count("proxy_next_upstream_tries", 0) or Retry().attempts


# ---------------------------------------------------------------- the target


def read_target(record: Record, word: Word, names: Names) -> Target | None:
    """Take a ``proxy_pass`` apart; None, noted, where its server depends on the request."""
    made = names.text(word)
    parts = made.parts if isinstance(made, Concat) else (made,)
    first = parts[0]
    text = first.value if isinstance(first, Const) else ""
    if not isinstance(text, str) or not text.startswith(("http://", "https://")):
        if isinstance(first, Const):
            record.error(word.span, "bad-value", f"`{text}` is no address to proxy to", "write `http://host:port`")
        else:
            not_built(record, word.span, "an upstream that depends on the request", "write its address, and a location for each")
        return None
    scheme, _, after = text.partition("://")
    if after.startswith("unix:"):
        path, colon, rest = after.removeprefix("unix:").partition(":")
        authority, tail = f"unix:{path}", rest if colon else ""
    else:
        authority, tail = _split(after)
    if not authority or (not tail and len(parts) > 1 and not _begins_path(parts[1])):
        not_built(record, word.span, "an upstream that depends on the request", "write its address, and a location for each")
        return None
    rest_expr = concat([Const(tail), *parts[1:]])
    return Target(scheme == "https", authority.lower(), None if rest_expr == EMPTY else rest_expr, "$" not in word.text)


def _split(text: str) -> tuple[str, str]:
    for at, char in enumerate(text):
        if char in "/?":
            return text[:at], text[at:]
    return text, ""


def _begins_path(expr: Expr) -> bool:
    return expr in (Var("target"), Var("path"), Var("decoded_path"))


def path_actions(record: Record, target: Target, span: Span, prefix: str, exact: bool, rewritten: bool) -> tuple[Action, ...]:
    """Return the rewrite that a path in ``proxy_pass`` asks for; ``prefix`` is that of the location, empty for a regular one."""
    rest = target.rest
    if rest is None or rewritten:
        return ()
    if not target.is_fixed:
        return _variable_path(record, rest, span)
    text = str(rest.value) if isinstance(rest, Const) else ""
    path, mark, _ = text.partition("?")
    if mark:
        not_built(record, span, "a query in `proxy_pass`", "use `rewrite` to add one")
    if not prefix:
        message = "a path cannot stand here: no prefix would be replaced by it"
        record.error(span, "conflict", message, "take the path away, or use `rewrite ... break`")
        return ()
    base = encoded(Const(path))
    if exact:
        return (Rewrite(base),)
    after = Call("encode_path", (Call("replace_prefix", (Var("decoded_path"), Const(prefix), EMPTY)),))
    return (Rewrite(concat([base, after])),)


def _variable_path(record: Record, rest: Expr, span: Span) -> tuple[Action, ...]:
    """A path with variables is sent as it stands."""
    parts = list(rest.parts) if isinstance(rest, Concat) else [rest]
    if parts == [Var("target")]:
        return ()
    # `$request_uri` is path and query; the query goes along by itself.
    with_query = [Var("path") if part == Var("target") else part for part in parts]
    is_args = If(Compare("==", Var("query"), EMPTY), EMPTY, Const("?"))
    if with_query[-2:] == [is_args, Var("query")]:
        with_query = with_query[:-2]
    elif Var("target") not in parts:
        if any("?" in str(part.value) for part in parts if isinstance(part, Const)):
            not_built(record, span, "a query in `proxy_pass`", "use `rewrite` to add one")
        return (Rewrite(concat([encoded(part) for part in with_query]), EMPTY),)
    if any(part == is_args or part == Var("query") for part in with_query):
        not_built(record, span, "a query in the middle of `proxy_pass`", "end it with `$is_args$args`")
    made = concat([encoded(part) for part in with_query])
    return () if made == Call("encode_path", (Var("decoded_path"),)) else (Rewrite(made),)


# ---------------------------------------------------------------- fields


def request_fields(scope: Scope, names: Names, target: Target) -> tuple[str, tuple[Action, ...]]:
    """Return the Host that goes upstream, as ``Forwarding.host`` has it, and the actions on the other fields."""
    host = target.host
    actions: list[Action] = []
    seen: set[str] = set()
    local = names.copy()
    local.own.update(proxy_host=Const(target.host), proxy_port=Const(_port(target)))
    for directive in scope.nearest("proxy_set_header"):
        name = directive.text(0)
        value = local.text(directive.args[1])
        lower = name.lower()
        if not TOKEN.fullmatch(name):
            scope.record.error(directive.place(0), "bad-field", f"`{name}` is no field name")
        elif lower == "host":
            host = _host_of(scope, directive, value, actions)
        elif lower in _OURS:
            _check_ours(scope.record, directive, lower, value)
        elif value == EMPTY:
            actions.append(RemoveHeader(name))
        else:
            actions.append(AddHeader(name, value) if lower in seen else SetHeader(name, value))
        seen.add(lower)
    return host, tuple(actions)


def _port(target: Target) -> str:
    port = target.authority.rpartition(":")[2]
    return port if port.isdigit() else "443" if target.tls else "80"


def _host_of(scope: Scope, directive: Directive, value: Expr, actions: list[Action]) -> str:
    if value == Var("host_port"):
        return "client"
    if value == EMPTY:
        scope.record.error(directive.place(1), "bad-value", "a request needs its Host (RFC 9112 section 3.2)", "write `$http_host`")
        return "client"
    if isinstance(value, Const):
        return str(value.value)
    actions.append(SetHeader("Host", value))
    return "client"


def _check_ours(record: Record, directive: Directive, lower: str, value: Expr) -> None:
    """Fields of one connection are written by vestibule; what nginx needs them for works without."""
    if lower in ("connection", "upgrade", "keep-alive", "te", "trailer", "proxy-connection") or value == EMPTY:
        return
    message = f"`{directive.text(0)}` is not yours to change"
    record.error(directive.span, "framing-field", message, "it says where the body ends, and vestibule writes it")


def response_actions(scope: Scope, names: Names, target: Target, prefix: str) -> tuple[Action, ...]:
    """Return the actions on the answer: hidden fields, redirects, added fields."""
    hidden = [RemoveHeader(each.text()) for each in scope.nearest("proxy_hide_header")]
    return (*hidden, *_redirects(scope, names, target, prefix), *added_fields(scope, names))


def _redirects(scope: Scope, names: Names, target: Target, prefix: str) -> list[Action]:
    """Return what makes redirects of the upstream lead to us."""
    rules = scope.nearest("proxy_redirect")
    value: Expr = _LOCATION
    if not rules:
        made = _default_redirect(target, prefix, value)
        return [] if made is None else [SetHeader("Location", made)]
    for rule in reversed(rules):
        if rule.texts == ("off",):
            return []
        made = _default_redirect(target, prefix, value) if rule.texts == ("default",) else _redirect(scope.record, rule, names, value)
        value = made if made is not None else value
    return [] if value == _LOCATION else [SetHeader("Location", value)]


def _default_redirect(target: Target, prefix: str, otherwise: Expr) -> Expr | None:
    """The address in ``proxy_pass`` is replaced by the location's."""
    if not target.is_fixed:
        return None
    base = f"{target.scheme}://{target.authority}"
    path = str(target.rest.value) if isinstance(target.rest, Const) else ""
    return _replaced(Const(base + (path or "/")), Const(prefix if path and prefix else "/"), otherwise)


def _redirect(record: Record, rule: Directive, names: Names, otherwise: Expr) -> Expr | None:
    if len(rule.args) != 2:
        record.error(rule.span, "arguments", "`proxy_redirect` takes `off`, `default`, or what to replace and by what")
        return None
    text = rule.text(0)
    if not text.startswith("~"):
        return _replaced(names.text(rule.args[0]), names.text(rule.args[1]), otherwise)
    ignore_case = text.startswith("~*")
    bare = text.removeprefix("~*") if ignore_case else text[1:]
    within = names.copy()
    try:
        pattern = to_pattern(bare.lstrip())
        within.captures = (_LOCATION, to_pattern(bare.lstrip(), ignore_case))
    except ValueError as bad:
        record.error(rule.place(0), "bad-regex", str(bad))
        return None
    return If(Match(pattern, _LOCATION, ignore_case), _absolute(within.text(rule.args[1])), otherwise)


def _replaced(old: Expr, new: Expr, otherwise: Expr) -> Expr:
    """Return the Location with one beginning replaced by another; ``otherwise`` is for those that begin differently."""
    made = Call("replace_prefix", (_LOCATION, old, _absolute(new)))
    return made if otherwise == _LOCATION else If(Compare("!=", made, _LOCATION), made, otherwise)


def _absolute(new: Expr) -> Expr:
    """A path is one on the host that was asked for: clients of Immich want it whole."""
    first = new.parts[0] if isinstance(new, Concat) else new
    if isinstance(first, Const) and str(first.value).startswith("/"):
        return concat([Var("scheme"), Const("://"), Var("host_port"), new])
    return new


def proxied(
    scope: Scope, names: Names, directive: Directive, upstreams: Upstreams, place: tuple[str, bool, bool]
) -> tuple[Part, Forwarding] | None:
    """Return what a ``proxy_pass`` makes of a request.

    ``place`` is the prefix of its location (empty for a regular expression), whether that is the whole path, and whether the
    path was rewritten before, which leaves a path in ``proxy_pass`` without effect.
    """
    target = read_target(scope.record, directive.args[0], names)
    if target is None:
        return None
    prefix, exact, rewritten = place
    name = upstreams.use(target, scope, directive.place(0))
    if not name:
        return None
    host, fields = request_fields(scope, names, target)
    path = path_actions(scope.record, target, directive.place(0), prefix, exact, rewritten)
    underscores = scope.flag("underscores_in_headers", False)
    forwarding = Forwarding("pass", "pass", host, "allow" if underscores else "drop")
    # Fields first: what they are made of is what the client asked for.
    part = Part(Proxy(name), (*fields, *path), response_actions(scope, names, target, prefix))
    return part, forwarding
