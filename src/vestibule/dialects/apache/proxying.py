"""``ProxyPass`` and what belongs to it.

Facts:
* The first ``ProxyPass`` of a virtual host that fits answers; a path without a slash at its end fits itself and what is below it.
  ``!`` as the target leaves a path out.
* What the path is replaced by is the path of the target; the rest follows decoded and encoded anew, with ``nocanon`` as it came.
* Host is the target's unless ``ProxyPreserveHost`` is on. X-Forwarded-For, -Host and -Server are added to what came.

Not here: rules (``rewriting``), which site (``lower``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from vestibule.dialects.apache.scope import Scope
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.upstreams import Target, Upstreams, read_target
from vestibule.dialects.apache.variables import Names, to_pattern
from vestibule.dialects.part import NOTHING, ORIGIN, encoded
from vestibule.dialects.record import Record
from vestibule.model.config import (
    Action,
    EditHeader,
    Forwarding,
    PathMatch,
    Proxy,
    Rewrite,
    Route,
    SetHeader,
    Timeouts,
    Upstream,
    When,
)
from vestibule.model.expr import EMPTY, AllOf, Call, Compare, Const, Expr, If, Match, Not, Var, concat

_DOTS = r"(?i)/(?:\.|%2e){1,2}(?:/|$)"
"""Segments of a path that mean another place: such a path does not go on as it came."""

ActionsOf: TypeAlias = Callable[[Target], tuple[tuple[Action, ...], tuple[Action, ...]]]
"""Returns what ``<Proxy>`` sections do with requests to a target, and with the answers."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a request goes to an upstream: who it is, the path of its members, what ``<Proxy>`` says, how long is waited."""

    source: Proxy
    path: str
    inside: tuple[tuple[Action, ...], tuple[Action, ...]]
    timeouts: Timeouts | None
    forwarding: Forwarding

    def route(self, path: PathMatch | None, rewrite: tuple[Action, ...]) -> Route:
        """Return the route that goes this way."""
        request, response = self.inside
        return Route(
            self.source,
            path=path,
            request=(*request, *rewrite),
            response=response,
            timeouts=self.timeouts,
            forwarding=self.forwarding,
        )


# ---------------------------------------------------------------- routes


class Passes:
    """Makes the routes of the ``ProxyPass`` directives of one virtual host."""

    def __init__(self, record: Record, upstreams: Upstreams, names: Names, timeouts: Timeouts, actions_of: ActionsOf, field: str) -> None:
        self.upstreams: list[Upstream] = []
        self._record = record
        self._actions_of = actions_of
        self._client_field = field
        self._upstreams = upstreams
        self._names = names
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
        used = None if target is None else self.use(target, scope, directive, at + 1)
        if target is None or used is None:
            return None
        if is_pattern:
            rewrite = self._rewrite_by_groups(directive, at, path, text, target, used.path)
        else:
            rewrite = self._rewrite(path, replace(target, path=used.path + target.path))
            if rewrite and _goes_as_it_came(directive, at):
                after = Call("replace_prefix", (Var("path"), Const(path), EMPTY))
                made = Rewrite(concat([encoded(Const(used.path + target.path)), after]))
                rewrite = (When(_is_plain(f"^{re.escape(path)}"), (made,), rewrite),)
        return used.route(match, rewrite)

    def use(self, target: Target, scope: Scope, directive: Directive, first: int) -> Way | None:
        """Return the way to a target, whose options stand in the directive from ``first`` on; None, noted, where there is none."""
        used = self._upstreams.use(target, scope, directive, first)
        if used is None:
            return None
        self.upstreams.append(self._upstreams.get(used.name))
        host = "client" if scope.flag("ProxyPreserveHost", False) else used.host
        made = self._timeouts
        if used.timeout_ms is not None:
            wait = used.timeout_ms
            made = replace(made, connect_ms=wait, response_head_ms=wait, body_idle_ms=max(wait, made.body_idle_ms), tunnel_idle_ms=wait)
        if used.connect_ms is not None:
            made = replace(made, connect_ms=used.connect_ms)
        inside = self._actions_of(target)
        waits = None if made == self._timeouts else made
        return Way(Proxy(used.name), used.path, inside, waits, forwarding_of(host, self._client_field))

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

    def _rewrite_by_groups(self, directive: Directive, at: int, path: str, text: str, target: Target, front: str) -> tuple[Action, ...]:
        """Return what makes the path of what a pattern's groups are; ``front`` is what members of a balancer have in front of it."""
        self._names.rule = (Var("decoded_path"), to_pattern(path))
        authority = target.authority.removeprefix("balancer://")
        rest = text[text.index(authority) + len(authority) :]
        if "$" in rest:
            made = (Rewrite(concat([encoded(Const(front)), self._names.template(rest, directive.place(at), encode=True)])),)
            if not _goes_as_it_came(directive, at):
                return made
            self._names.rule = (Var("path"), to_pattern(path))
            as_it_came = Rewrite(concat([encoded(Const(front)), self._names.template(rest, directive.place(at))]))
            return (When(_is_plain(to_pattern(path)), (as_it_came,), made),)
        # Without a group the whole path follows.
        whole = f"{front}{rest}".removesuffix("/") if front else rest
        return (Rewrite(concat([encoded(Const(whole)), Var("path")])),) if whole not in ("", "/") else ()

    @staticmethod
    def _rewrite(path: str, target: Target) -> tuple[Action, ...]:
        if path == (target.path or ("" if path != "/" else "/")):
            return ()
        after = Call("encode_path", (Call("replace_prefix", (Var("decoded_path"), Const(path), EMPTY)),))
        return (Rewrite(concat([encoded(Const(target.path)), after])),)


def _goes_as_it_came(directive: Directive, at: int) -> bool:
    """Tell whether a path keeps the escapes that the client wrote (`nocanon`)."""
    return any(word.lower() == "nocanon" for word in directive.texts[at + 1 :])


def _is_plain(pattern: str) -> Expr:
    """Return the test that a path fits as it came, and says by itself where it leads."""
    return AllOf((Match(pattern, Var("path")), Not(Match(_DOTS, Var("path")))))


def forwarding_of(host: str, field: str) -> Forwarding:
    """Return how requests are forwarded: with this Host, and the client named by this field."""
    return Forwarding("pass", "pass", host, "drop", field)


def client_field(scope: Scope) -> str:
    """Return the field in which trusted proxies say who the client is; empty is X-Forwarded-For."""
    name = scope.text("RemoteIPHeader")
    return "" if name.lower() == "x-forwarded-for" else name


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

MembersOf: TypeAlias = Callable[[Target], list[Target]]
"""Returns the addresses behind a balancer."""


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


def reversed_fields(record: Record, rules: list[tuple[Directive, str]], members: MembersOf) -> tuple[Action, ...]:
    """Return what ``ProxyPassReverse`` makes of the fields of an answer that say where something is.

    ``rules`` come with the path of their section, or an empty one.
    """
    pairs: list[tuple[str, str]] = []
    for directive, section in rules:
        path, url = (section, directive.text(0)) if section else (directive.text(0), directive.text(1))
        if not path or not url:
            record.error(directive.span, "arguments", "`ProxyPassReverse` takes a path and an address")
            continue
        pairs.extend([(path, each) for each in _addresses(record, directive, url, members)])
    actions: list[Action] = []
    for name in ("Location", "Content-Location"):
        field = Var("response_header", name)
        value: Expr = field
        for path, url in reversed(pairs):
            made = Call("replace_prefix", (field, Const(url), concat([*ORIGIN, Const(path)])))
            value = made if value == field else If(Compare("!=", made, field), made, value)
        if value != field:
            actions.append(SetHeader(name, value))
    return tuple(actions)


def reversed_cookies(rules: list[Directive]) -> tuple[Action, ...]:
    """Return what ``ProxyPassReverseCookiePath`` and ``ProxyPassReverseCookieDomain`` make of cookies; the first that fits counts."""
    line = Var("field_line")
    actions: list[Action] = []
    for name, begin, end in (
        ("proxypassreversecookiedomain", r"(;[ \t]*(?i:domain)=)(?i:", r")(?=[ \t]*(?:;|$))"),
        ("proxypassreversecookiepath", r"(;[ \t]*(?i:path)=)(?:", ")"),
    ):
        value: Expr = line
        for directive in reversed([each for each in rules if each.name == name]):
            pattern = begin + re.escape(directive.text(0)) + end
            made = Call("replace", (line, Const(pattern), Const(f"\\1{directive.text(1)}"), EMPTY))
            value = made if value == line else If(Compare("!=", made, line), made, value)
        if value != line:
            actions.append(EditHeader("Set-Cookie", value))
    return tuple(actions)


def _addresses(record: Record, directive: Directive, url: str, members: MembersOf) -> list[str]:
    """Return the addresses that one address stands for: those of all members of a balancer."""
    url = url.rpartition("|")[2]
    if not url.lower().startswith("balancer://"):
        scheme, separator, rest = url.partition("://")
        return [{"ws": "http", "wss": "https", "h2c": "http", "h2": "https"}.get(scheme.lower(), scheme) + separator + rest]
    target = read_target(record, directive, url, 0)
    if target is None:
        return []
    found = [f"{'https' if each.tls else 'http'}://{each.authority}{each.path.rstrip('/')}{target.path}" for each in members(target)]
    if not found:
        record.error(directive.span, "unknown-reference", f"`{url}` has no `BalancerMember`", "declare the balancer")
    return found
