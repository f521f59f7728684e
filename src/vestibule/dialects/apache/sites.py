"""One virtual host to one site: rules, then ``ProxyPass``, then redirects; around them what sections by path ask for.

Facts: sections are looked at in written order, and what a later one says about access takes the place of what an earlier one says.
A section compares the path by segments.

Not here: which hosts and sockets (``lower``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from vestibule.dialects.apache.access import Access
from vestibule.dialects.apache.fields import Fields, conditional
from vestibule.dialects.apache.proxying import Passes, added_to_requests, reversed_fields
from vestibule.dialects.apache.rewriting import Rewriting, engine_is_on, redirect_route
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.upstreams import Target, Upstreams, balancer_environment, bare_url, is_balancer
from vestibule.dialects.apache.variables import Names, to_pattern
from vestibule.dialects.part import NOTHING, Part
from vestibule.dialects.read import ReadText
from vestibule.dialects.record import Record
from vestibule.model.config import (
    Action,
    Forwarding,
    Limits,
    PathMatch,
    Proxy,
    Route,
    Source,
    Switch,
    Timeouts,
)
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Compare, Const, Expr, If, InNet, Match, Not, Var

_ENVIRONMENT = ("SetEnv", "UnsetEnv", "SetEnvIf", "SetEnvIfNoCase", "BrowserMatch", "BrowserMatchNoCase")
_REDIRECTS = ("Redirect", "RedirectPermanent", "RedirectTemp", "RedirectMatch")


@dataclass(frozen=True, slots=True)
class Section:
    """A ``<Location>``: its path, the test of a path being inside, and what it says."""

    path: str
    is_pattern: bool
    test: Expr | None
    """None for every path."""
    later: Expr | None
    """The same for answers, when the path may have been rewritten already."""
    scope: Scope


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a virtual host becomes."""

    part: Part
    timeouts: Timeouts
    limits: Limits
    forwarding: Forwarding


class SiteMaker:
    """Lowers one virtual host, or the server outside all of them."""

    def __init__(self, scope: Scope, names: Names, upstreams: Upstreams, read_text: ReadText, trusted: tuple[str, ...]) -> None:
        self._scope = scope
        self._record: Record = scope.record
        self._names = names
        self._upstreams = upstreams
        self._read_text = read_text
        self._trusted = trusted
        self._fields = Fields(scope.record, names)

    def make(self, timeouts: Timeouts, limits: Limits) -> Lowered:
        """Return what it makes of a request."""
        scope, fields = self._scope, self._fields
        sections = self._sections()
        fields.environment(scope.all(*_ENVIRONMENT))
        passes = Passes(self._record, self._upstreams, self._names, timeouts, self._inside_proxy)
        routes = self._routes(passes, sections)
        program = scope.own("RewriteCond", "RewriteRule") if engine_is_on(scope) else []
        part = Rewriting(self._record, self._names, passes, scope).lower(program, lambda: _as_part(routes))
        part, timeouts, forwarding = _merged(self._record, part, timeouts)
        self._names.environment.update(balancer_environment(passes.upstreams))
        request, left = fields.actions(scope.all("RequestHeader"), in_request=True)
        response, _ = fields.actions(scope.all("Header"), in_request=False)
        reverse = reversed_fields(self._record, self._reverse_rules(sections), lambda target: self._upstreams.members(target, scope))
        before = self._access(sections)
        inside_request: tuple[Action, ...] = ()
        inside_response: tuple[Action, ...] = ()
        for section in sections:
            made, _ = fields.actions(section.scope.own("RequestHeader"), in_request=True)
            inside_request += conditional(section.test, made)
            made, _ = fields.actions(section.scope.own("Header"), in_request=False)
            inside_response += conditional(section.later, made)
        if self._trusted:
            # What a trusted proxy said of the client was taken from the field.
            came = left.get("x-forwarded-for", Var("header", "X-Forwarded-For"))
            left["x-forwarded-for"] = If(InNet(Var("peer_ip"), self._trusted), EMPTY, came)
        added = added_to_requests(scope, self._names, left) if _proxies(part.source) else ()
        whole = Part(
            part.source,
            (*before, *request, *inside_request, *added, *part.request),
            (*part.response, *reverse, *response, *inside_response),
        )
        return Lowered(whole, timeouts, limits, forwarding)

    # ------------------------------------------------------------ sections

    def _sections(self) -> list[Section]:
        made: list[Section] = []
        for directive in self._scope.all("Location", "LocationMatch", "Proxy", "ProxyMatch"):
            scope = Scope(self._record, directive.block or (), None)
            if directive.name in ("proxy", "proxymatch"):
                # `<Proxy *>` is for all that is proxied, which is all there is; others name an upstream (`_inside_proxy`).
                if directive.text() == "*":
                    # They are looked at before sections by path.
                    made.insert(0, Section("/", False, None, None, scope))
                elif not bare_url(directive.text()) and not directive.text().lower().startswith("balancer://"):
                    not_built(self._record, directive, 0, f"`<{directive.written} {directive.text()}>`", "name the address")
                continue
            section = self._section(directive, scope)
            if section is not None:
                made.append(section)
        return made

    def _inside_proxy(self, target: Target) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
        """Return what sections for the address of a target do with requests and answers."""
        request: tuple[Action, ...] = ()
        response: tuple[Action, ...] = ()
        for directive in self._scope.all("Proxy"):
            text = bare_url(directive.text())
            if is_balancer(directive.text(), target.balancer) if target.balancer else text and target.url.startswith(text):
                scope = Scope(self._record, directive.block or (), None)
                actions = Access(scope, self._read_text).actions() or ()
                sections = self._scope.all("Location", "LocationMatch")
                if actions and any(each.name == "require" for section in sections for each in section.block or ()):
                    not_built(self._record, directive, 0, "`Require` both here and in a `<Location>`", "write it in one of them")
                request += actions + self._fields.actions(scope.own("RequestHeader"), in_request=True)[0]
                response += self._fields.actions(scope.own("Header"), in_request=False)[0]
        return request, response

    def _section(self, directive: Directive, scope: Scope) -> Section | None:
        words = list(directive.texts)
        is_pattern = directive.name == "locationmatch"
        if words[0] == "~" and len(words) == 2:
            is_pattern, words = True, words[1:]
        path = words[0]
        try:
            pattern = to_pattern(path) if is_pattern else ""
        except ValueError as bad:
            self._record.error(directive.place(0), "bad-regex", str(bad))
            return None
        if not is_pattern and not path.startswith("/"):
            self._record.error(directive.place(0), "bad-path", f"the path `{path}` does not begin with `/`")
            return None
        if not is_pattern and any(mark in path for mark in "*?["):
            not_built(self._record, directive, 0, "a pattern of the shell in `<Location>`", "write `<LocationMatch>`")
            return None
        decoded, target = Var("decoded_path"), Var("target")
        if is_pattern:
            return Section(path, True, Match(pattern, decoded), Match(pattern, target), scope)
        if path == "/":
            return Section(path, False, None, None, scope)
        bare = re.escape(path.rstrip("/"))
        if path.endswith("/"):
            return Section(path, False, Match(f"^{bare}/", decoded), Match(f"^{bare}/", target), scope)
        inside: Expr = AnyOf((Compare("==", decoded, Const(path)), Match(f"^{bare}/", decoded)))
        return Section(path, False, inside, Match(f"^{bare}(?:[/?]|$)", target), scope)

    def _access(self, sections: list[Section]) -> tuple[Action, ...]:
        """Return the actions of access; of several sections that fit, the last decides."""
        shown: list[tuple[Expr | None, tuple[Action, ...]]] = []
        decided: list[tuple[Expr | None, tuple[Action, ...]]] = []
        for section in sections:
            access = Access(section.scope, self._read_text)
            certificate, actions = access.client_certificate(), access.actions()
            if certificate is not None:
                shown.append((section.test, certificate))
            if actions is not None:
                decided.append((section.test, actions))
        return self._settled(shown) + self._settled(decided)

    def _settled(self, decided: list[tuple[Expr | None, tuple[Action, ...]]]) -> tuple[Action, ...]:
        found: list[Action] = []
        for at, (test, actions) in enumerate(decided):
            later = [each for each, _ in decided[at + 1 :]]
            if None in later:
                continue
            tests: list[Expr] = [] if test is None else [test]
            tests += [Not(each) for each in later if each is not None]
            whole = None if not tests else tests[0] if len(tests) == 1 else AllOf(tuple(tests))
            found.extend(conditional(whole, actions))
        return tuple(found)

    # ------------------------------------------------------------ routes

    def _routes(self, passes: Passes, sections: list[Section]) -> list[Route]:
        """Return the routes, first those of sections, of which a later one wins."""
        routes: list[Route] = []
        after: list[Route] = []
        for directive in self._scope.all(*_REDIRECTS):
            made = redirect_route(self._record, directive, self._names)
            if made is not None:
                after.append(self._record.mark(made, directive.span))
        for section in reversed(sections):
            for directive in section.scope.own("ProxyPass", "ProxyPassMatch"):
                inner = Scope(self._record, section.scope.directives, self._scope)
                made = passes.route(directive, inner, section.path, section.is_pattern)
                if made is not None:
                    routes.append(self._record.mark(made, directive.span))
        inherits = self._scope.flag("ProxyPassInherit", True)
        for directive in (self._scope.all if inherits else self._scope.own)("ProxyPass", "ProxyPassMatch"):
            made = passes.route(directive, self._scope)
            if made is not None:
                # What is left out of proxying still meets the redirects.
                left_out = made.source == NOTHING.source and after
                made = replace(made, source=Switch(tuple(after)), request=()) if left_out else made
                routes.append(self._record.mark(made, directive.span))
        for section in reversed(sections):
            for directive in section.scope.own(*_REDIRECTS):
                made = redirect_route(self._record, directive, self._names, section.path)
                if made is not None:
                    # Inside a section a redirect comes before everything else.
                    routes.insert(0, self._record.mark(made, directive.span))
        return [*routes, *after]

    def _reverse_rules(self, sections: list[Section]) -> list[tuple[Directive, str]]:
        rules = [(each, "") for each in self._scope.all("ProxyPassReverse")]
        for section in sections:
            for each in section.scope.own("ProxyPassReverse"):
                if section.is_pattern:
                    not_built(self._record, each, 0, "`ProxyPassReverse` for a regular expression", "name the path")
                elif len(each.args) == 1:
                    rules.append((each, section.path))
                else:
                    rules.append((each, ""))
        return rules


def _as_part(routes: list[Route]) -> Part:
    return Part(Switch(tuple(routes))) if routes else NOTHING


def _merged(record: Record, part: Part, timeouts: Timeouts) -> tuple[Part, Timeouts, Forwarding]:
    """Take the one route for every path out of its switch; find the forwarding that routes have in common."""
    usual = Forwarding("pass", "pass", "client", "drop")
    source = part.source
    if not isinstance(source, Switch):
        return part, timeouts, usual
    first = source.routes[0]
    if len(source.routes) == 1 and first.path == PathMatch("prefix", "/") and first.when is None:
        merged = Part(first.source, (*part.request, *first.request), (*first.response, *part.response))
        return merged, first.timeouts or timeouts, first.forwarding or usual
    forwardings = [route.forwarding for route in source.routes if route.forwarding is not None]
    if not forwardings:
        return part, timeouts, usual
    common = forwardings[0]
    routes = [record.changed(route, replace(route, forwarding=None)) if route.forwarding == common else route for route in source.routes]
    return Part(Switch(tuple(routes), source.order), part.request, part.response), timeouts, common


def _proxies(source: Source) -> bool:
    if isinstance(source, Switch):
        return any(_proxies(route.source) for route in source.routes)
    return isinstance(source, Proxy)
