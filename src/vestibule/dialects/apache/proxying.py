"""``ProxyPass`` and what belongs to it.

Facts:
* The first ``ProxyPass`` of a virtual host that fits answers; a path without a slash at its end fits itself and what is below it.
  ``!`` as the target leaves a path out.
* What the path is replaced by is the path of the target; the rest follows as it is.
* Host is the target's unless ``ProxyPreserveHost`` is on. X-Forwarded-For, -Host and -Server are added to what came.

Not here: rules (``rewriting``), which site (``lower``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from vestibule.dialects.apache.scope import Scope, not_built, parse_count, parse_time
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.variables import Names, to_pattern
from vestibule.dialects.part import NOTHING, ORIGIN, Part, encoded
from vestibule.dialects.record import Record
from vestibule.model.config import (
    Action,
    Forwarding,
    PathMatch,
    Pool,
    Proxy,
    Rewrite,
    Route,
    Server,
    SetHeader,
    Timeouts,
    Upstream,
    UpstreamTls,
)
from vestibule.model.expr import EMPTY, Call, Compare, Const, Expr, If, Var, concat
from vestibule.model.quantity import format_server, parse_port, parse_server_host

_SCHEMES = {"http": False, "https": True, "ws": False, "wss": True}
_QUIET = ("upgrade", "retry", "keepalive", "acquire", "flushpackets", "flushwait", "nocanon", "enablereuse", "iobuffersize", "ping")
_QUIETER = ("receivebuffersize", "smax", "min", "status", "lbset", "redirect", "route", "failonstatus", "failontimeout", "growth")
_BALANCER_QUIET = ("lbmethod", "stickysession", "nofailover", "maxattempts", "timeout", "stickysessionsep", "scolonpathdelim")


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: scheme, authority and the path that takes the place of another."""

    tls: bool
    authority: str
    path: str
    socket: str = ""

    @property
    def host(self) -> str:
        """The Host such a target is asked by."""
        return self.authority.removesuffix(":443" if self.tls else ":80")


def read_target(record: Record, directive: Directive, text: str, at: int) -> Target | None:
    """Take an address apart; None, noted, where it is none that can be proxied to."""
    socket, bar, rest = text.partition("|")
    if bar and socket.startswith("unix:"):
        text, socket = rest, socket.removeprefix("unix:")
    else:
        socket = ""
    scheme, separator, after = text.partition("://")
    if scheme.lower() in ("ajp", "fcgi", "scgi", "uwsgi", "h2", "h2c", "ftp", "fdpass"):
        not_built(record, directive, at, f"an upstream that speaks `{scheme}`", "only HTTP upstreams are spoken to")
        return None
    if not separator or scheme.lower() not in (*_SCHEMES, "balancer"):
        record.error(directive.place(at), "bad-value", f"`{text}` is no address to proxy to", "write `http://host:port/`")
        return None
    found = re.match(r"[^/?]*", after)
    assert found is not None
    authority = found[0]
    return Target(
        _SCHEMES.get(scheme.lower(), False), ("balancer://" if scheme == "balancer" else "") + authority, after[len(authority) :], socket
    )


class Upstreams:
    """The upstreams of a configuration."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._balancers: dict[str, Directive] = {}
        self._made: dict[str, Upstream] = {}

    def declare(self, directive: Directive) -> None:
        """Take a ``<Proxy balancer://...>`` section."""
        self._balancers[directive.text().removesuffix("/").lower()] = directive

    def all(self) -> tuple[Upstream, ...]:
        """Return all that are used."""
        return tuple(self._made.values())

    def use(self, target: Target, scope: Scope, directive: Directive, options: dict[str, str]) -> str:
        """Return the name of the upstream that a target means, making it."""
        span = directive.span
        if target.authority.startswith("balancer://"):
            balancer = self._balancers.get(target.authority.lower())
            if balancer is None:
                self._record.error(span, "unknown-reference", f"there is no `<Proxy {target.authority}>`", "declare it")
                return ""
            span = balancer.span
            upstream = self._balancer(target.authority.removeprefix("balancer://"), balancer)
        else:
            server = _server(self._record, directive, target)
            upstream = Upstream(format_server(server) or target.authority, (server,))
        pool = _pool(self._record, directive, options, upstream.pool)
        if any(server.tls for server in upstream.servers) and not scope.flag("SSLProxyEngine", False):
            message = "httpd speaks TLS to upstreams only with `SSLProxyEngine On`"
            self._record.error(directive.span, "missing", message, "add it to the virtual host")
        upstream = replace(upstream, pool=pool, tls=_tls(scope, upstream))
        name, number = upstream.name, 1
        while (known := self._made.get(upstream.name)) is not None and known != upstream:
            number += 1
            upstream = replace(upstream, name=f"{name} #{number}")
        if upstream.name not in self._made:
            self._record.origin(f"upstreams[{len(self._made)}]", span)
            self._made[upstream.name] = upstream
        return upstream.name

    def _balancer(self, name: str, section: Directive) -> Upstream:
        servers: list[Server] = []
        for directive in section.block or ():
            if directive.name == "proxyset":
                options_of(self._record, directive, 0, _BALANCER_QUIET)
            elif directive.name == "balancermember":
                target = read_target(self._record, directive, directive.text(), 0)
                if target is None:
                    continue
                if target.path not in ("", "/"):
                    not_built(self._record, directive, 0, "a path in `BalancerMember`", "write it in `ProxyPass`")
                server = _server(self._record, directive, target)
                options = options_of(self._record, directive, 1, ("loadfactor", *_BALANCER_QUIET))
                status = options.get("status", "")
                if "D" in status.upper() or "S" in status.upper():
                    continue
                weight = options.get("loadfactor", "1")
                servers.append(replace(server, weight=int(weight) if weight.isdigit() else 1, backup="H" in status.upper()))
        if not servers:
            self._record.error(section.span, "missing", f"`{name}` has no `BalancerMember`")
            servers.append(Server("unread", 1))
        return Upstream(name, tuple(servers))


def _server(record: Record, directive: Directive, target: Target) -> Server:
    if target.socket:
        return Server(path=target.socket, tls=target.tls)
    host, colon, port = target.authority.rpartition(":")
    if not colon or target.authority.endswith("]"):
        host, port = target.authority, ""
    try:
        return Server(parse_server_host(host), parse_port(port) if port else (443 if target.tls else 80), tls=target.tls)
    except ValueError as bad:
        record.error(directive.span, "bad-address", str(bad), "write `http://host:port/`")
        return Server("unread", 1, tls=target.tls)


def _tls(scope: Scope, upstream: Upstream) -> UpstreamTls:
    if not any(server.tls for server in upstream.servers):
        return UpstreamTls()
    verify = scope.text("SSLProxyVerify", "none").lower() == "require"
    ca = scope.text("SSLProxyCACertificateFile") if verify else ""
    return UpstreamTls(verify=verify, ca=ca, cert=scope.text("SSLProxyMachineCertificateFile"))


def options_of(record: Record, directive: Directive, first: int, known: tuple[str, ...]) -> dict[str, str]:
    """Return the ``key=value`` arguments of a directive from one on, noting those that mean nothing."""
    options: dict[str, str] = {}
    for at in range(first, len(directive.args)):
        key, equals, value = directive.text(at).partition("=")
        key = key.lower()
        if key == "nocanon" and not equals:
            continue
        if not equals or key not in (*known, *_QUIET, *_QUIETER, "timeout", "connectiontimeout", "ttl", "max", "disablereuse"):
            record.error(directive.place(at), "unknown-option", f"`{directive.text(at)}` is no option here")
            continue
        options[key] = value
    return options


def _pool(record: Record, directive: Directive, options: dict[str, str], pool: Pool) -> Pool:
    try:
        if "ttl" in options:
            pool = replace(pool, idle_ms=parse_time(options["ttl"]))
        if "max" in options:
            pool = replace(pool, max_connections=parse_count(options["max"]))
    except ValueError as bad:
        record.error(directive.span, "bad-value", str(bad))
    if options.get("disablereuse", "").lower() == "on" or options.get("enablereuse", "").lower() == "off":
        pool = replace(pool, max_idle=0)
    return pool


# ---------------------------------------------------------------- routes


class Passes:
    """Makes the routes of the ``ProxyPass`` directives of one virtual host."""

    def __init__(self, record: Record, upstreams: Upstreams, names: Names, scope: Scope, timeouts: Timeouts) -> None:
        self._record = record
        self._upstreams = upstreams
        self._names = names
        self._scope = scope
        self._timeouts = timeouts

    def route(self, directive: Directive, scope: Scope, path: str = "", is_pattern: bool = False) -> Route | None:
        """Return the route of one directive; ``path`` is that of its section where it stands in one."""
        at = 0 if path else 1
        path = path or directive.text(0)
        is_pattern = is_pattern or directive.name == "proxypassmatch"
        match = self._match(directive, path, is_pattern)
        if match is None:
            return None
        text = directive.text(at)
        if text == "!":
            return Route(NOTHING.source, path=match, request=NOTHING.request)
        target = read_target(self._record, directive, _without_groups(text), at)
        if target is None:
            return None
        options = options_of(self._record, directive, at + 1, _BALANCER_QUIET if target.authority.startswith("balancer:") else ())
        part, forwarding = self.part(target, scope, directive, options)
        rewrite = self._rewrite(directive, at, path, is_pattern, text, target)
        timeouts = self._timed(directive, options)
        return Route(part.source, path=match, request=rewrite, timeouts=timeouts, forwarding=forwarding)

    def part(self, target: Target, scope: Scope, directive: Directive, options: dict[str, str]) -> tuple[Part, Forwarding]:
        """Return what answers for a target, and how requests are forwarded to it."""
        name = self._upstreams.use(target, scope, directive, options)
        host = "client" if scope.flag("ProxyPreserveHost", False) else target.host.removeprefix("balancer://")
        return Part(Proxy(name)), Forwarding("pass", "pass", host, "drop")

    def _timed(self, directive: Directive, options: dict[str, str]) -> Timeouts | None:
        made = self._timeouts
        try:
            if "timeout" in options:
                wait = parse_time(options["timeout"])
                made = replace(made, connect_ms=wait, response_head_ms=wait, body_idle_ms=max(wait, made.body_idle_ms), tunnel_idle_ms=wait)
            if "connectiontimeout" in options:
                made = replace(made, connect_ms=parse_time(options["connectiontimeout"]))
        except ValueError as bad:
            self._record.error(directive.span, "bad-value", str(bad))
        return None if made == self._timeouts else made

    def _match(self, directive: Directive, path: str, is_pattern: bool) -> PathMatch | None:
        if is_pattern:
            try:
                return PathMatch("regex", to_pattern(path))
            except ValueError as bad:
                self._record.error(directive.place(0), "bad-regex", str(bad))
                return None
        if not path.startswith("/"):
            self._record.error(directive.place(0), "bad-path", f"the path `{path}` does not begin with `/`")
            return None
        return path_match(path)

    def _rewrite(self, directive: Directive, at: int, path: str, is_pattern: bool, text: str, target: Target) -> tuple[Action, ...]:
        span = directive.place(at)
        if is_pattern:
            self._names.rule = (Var("decoded_path"), to_pattern(path))
            begin = text.index(target.authority.removeprefix("balancer://")) + len(target.authority.removeprefix("balancer://"))
            rest = text[begin:]
            if "$" not in rest:
                # Without a group the whole path follows.
                return (Rewrite(concat([encoded(Const(rest)), Var("path")])),) if rest not in ("", "/") else ()
            return (Rewrite(self._names.template(rest, span, encode=True)),)
        if path == (target.path or ("" if path != "/" else "/")):
            return ()
        after = Call("encode_path", (Call("replace_prefix", (Var("decoded_path"), Const(path), EMPTY)),))
        return (Rewrite(concat([encoded(Const(target.path)), after])),)


def path_match(path: str) -> PathMatch:
    """Return the condition on a path as httpd compares it: by segments."""
    if path.endswith("/"):
        return PathMatch("prefix", path)
    return PathMatch("regex", f"^{re.escape(path)}(?:/|$)")


def _without_groups(text: str) -> str:
    """Leave out what a pattern puts into the path of an address; its server must be fixed."""
    scheme, separator, rest = text.partition("://")
    authority = re.match(r"[^/?$]*", rest)
    return scheme + separator + (authority[0] if authority else "") + (rest[len(authority[0]) :].partition("$")[0] if authority else "")


# ---------------------------------------------------------------- fields


def added_to_requests(scope: Scope, names: Names, own: dict[str, Expr]) -> tuple[Action, ...]:
    """Return the fields that a proxied request gets; ``own`` holds what ``RequestHeader`` made of them before."""
    if not scope.flag("ProxyAddHeaders", True):
        return ()
    client, host = Var("client_ip"), own.get("host", Var("host_port"))
    server: Expr = Const(names.server_name) if names.server_name else Var("host")
    pairs = (("X-Forwarded-For", client), ("X-Forwarded-Host", host), ("X-Forwarded-Server", server))
    return tuple([SetHeader(name, appended(own.get(name.lower(), Var("header", name)), value)) for name, value in pairs])


def appended(before: Expr, value: Expr) -> Expr:
    """Return a list with one more value."""
    if before == EMPTY:
        return value
    return If(Compare("==", before, EMPTY), value, concat([before, Const(", "), value]))


def reversed_fields(record: Record, rules: list[tuple[Directive, str]]) -> tuple[Action, ...]:
    """Return what ``ProxyPassReverse`` makes of the fields of an answer that say where something is.

    ``rules`` come with the path of their section, or an empty one.
    """
    actions: list[Action] = []
    for name in ("Location", "Content-Location"):
        field = Var("response_header", name)
        value: Expr = field
        for directive, section in reversed(rules):
            path, url = (section, directive.text(0)) if section else (directive.text(0), directive.text(1))
            if not path or not url:
                record.error(directive.span, "arguments", "`ProxyPassReverse` takes a path and an address")
                continue
            url = "http" + url[2:] if url.startswith("ws") else url
            if url.startswith("balancer://"):
                not_built(record, directive, 1 if not section else 0, "`ProxyPassReverse` to a balancer", "name the members one by one")
                continue
            made = Call("replace_prefix", (field, Const(url), concat([*ORIGIN, Const(path)])))
            value = made if value == field else If(Compare("!=", made, field), made, value)
        if value != field:
            actions.append(SetHeader(name, value))
    return tuple(actions)
