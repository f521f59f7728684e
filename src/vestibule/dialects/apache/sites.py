"""One virtual host to one site: rules, then ``ProxyPass``, then redirects; around them what sections ask for.

Facts: rules and redirects of the virtual host itself answer before anybody is asked who he is; what sections say about access holds
for all other answers, 404 too. Of several sections that fit, the last that says something about access decides alone.

Not here: which hosts and sockets (``lower``), which requests a section is about (``sections``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vestibule.dialects.apache.access import Access
from vestibule.dialects.apache.compressing import compression_of
from vestibule.dialects.apache.deciding import settled
from vestibule.dialects.apache.directory_rules import mapping_of, ruled
from vestibule.dialects.apache.expiring import expiring
from vestibule.dialects.apache.fields import ANSWERED, Fields, conditional, without_host
from vestibule.dialects.apache.files import STATUS, FileSites, Mapping, error_routes
from vestibule.dialects.apache.pacing import paced
from vestibule.dialects.apache.proxying import Passes, added_to_requests, client_field, forwarding_of, reversed_cookies, reversed_fields
from vestibule.dialects.apache.redirects import redirect_route
from vestibule.dialects.apache.rewriting import Inside, Rewriting, engine_is_on, program_of
from vestibule.dialects.apache.rule_text import RuleTexts
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.sections import Section, Sections, as_answered, both
from vestibule.dialects.apache.substituting import substitutions
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.upstreams import Target, Upstreams, balancer_environment, bare_url, is_balancer
from vestibule.dialects.apache.variables import Names
from vestibule.dialects.part import NOTHING, Part, choose
from vestibule.dialects.read import ReadText
from vestibule.dialects.record import Record
from vestibule.model.config import (
    Action,
    Compression,
    ErrorRoute,
    Files,
    Forwarding,
    Limits,
    Metrics,
    PathMatch,
    Proxy,
    RemoveHeader,
    Route,
    Source,
    Switch,
    Timeouts,
    When,
)
from vestibule.model.expr import EMPTY, Const, Expr, If, InNet, Var, concat

_EARLY = ("SetEnvIf", "SetEnvIfNoCase", "SetEnvIfExpr", "BrowserMatch", "BrowserMatchNoCase")
_LATE = ("SetEnv", "UnsetEnv", "PassEnv")
_NO_ROOT = "/etc/apache2/htdocs"
"""Debian's httpd has it where no `DocumentRoot` is."""
_REDIRECTS = ("Redirect", "RedirectPermanent", "RedirectTemp", "RedirectMatch")


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a virtual host becomes."""

    part: Part
    timeouts: Timeouts
    limits: Limits
    forwarding: Forwarding
    errors: tuple[ErrorRoute, ...]
    compression: Compression | None


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
        self._guard: tuple[Action, ...] = ()
        self._sections: list[Section] = []
        self._files = FileSites(scope.record, scope, names, read_text)

    def make(self, timeouts: Timeouts, limits: Limits) -> Lowered:
        """Return what it makes of a request."""
        scope, fields = self._scope, self._fields
        fields.environment(scope.all(*_EARLY))
        program = program_of(scope) if engine_is_on(scope) else []
        passes = Passes(self._record, self._upstreams, self._names, timeouts, self._inside_proxy, client_field(scope))
        texts = RuleTexts(self._record, self._names, scope, self._read_text)
        rewriting = Rewriting(self._record, self._names, passes, scope, texts)
        rewriting.read(program)
        sections = Sections(scope, self._names).all()
        for section in sections:
            fields.captured(section)
            fields.environment(section.scope.own(*_EARLY), section.test)
        self._sections = sections
        before = self._access(sections)
        documents = [each for each in sections if each.scope.own("ErrorDocument", "ProxyErrorOverride")]
        if program or scope.all(*_REDIRECTS) or self._may_serve_files() or documents:
            # Some answer first, or are asked more, so all bring the question along.
            before, self._guard = (), before
        self._check(sections)
        fields.set_early()
        fields.environment(scope.all(*_LATE))
        for section in sections:
            fields.environment(section.scope.own(*_LATE), section.test)
        plain = self._routes(passes, sections)
        routes = self._with_section_rules(self._ruled(plain, plain, passes, texts), plain, passes, sections, texts, rewriting)
        part = rewriting.lower(lambda rule: self._as_part(routes) if rule is None else self._file(rule, plain, passes, texts))
        part = self._with_documents(part, documents)
        part, timeouts, forwarding = _merged(self._record, part, timeouts, forwarding_of("client", client_field(scope)))
        self._names.environment.update(balancer_environment(passes.upstreams))
        request, response, left = self._changed_fields(sections)
        before = (*self._paces(sections), *before)
        reverse = self._reversed(sections)
        field = client_field(scope)
        if self._trusted and field:
            request = (*request, When(InNet(Var("peer_ip"), self._trusted), (RemoveHeader(field),)))
        elif self._trusted:
            # What a trusted proxy said of the client was taken from the field.
            came = left.get("x-forwarded-for", Var("header", "X-Forwarded-For"))
            left["x-forwarded-for"] = If(InNet(Var("peer_ip"), self._trusted), EMPTY, came)
        added = added_to_requests(scope, self._names, left) if _proxies(part.source) else ()
        whole = Part(
            part.source, (*before, *request, *added, *part.request), (*part.response, *substitutions(scope, sections), *reverse, *response)
        )
        errors = error_routes(self._record, scope, self._names)
        return Lowered(whole, timeouts, limits, forwarding, errors, compression_of(scope, sections))

    def _with_documents(self, part: Part, sections: list[Section]) -> Part:
        """Return a part that answers errors as sections say: the last that fits, and those around it."""
        routes: list[Route] = []
        for section in reversed(sections):
            scope = self._scope
            for each in (*reversed(section.around), section.scope):
                scope = scope if each in (self._scope, self._scope.outer) else Scope(self._record, each.directives, scope)
            errors = error_routes(self._record, scope, self._names)
            routes.append(Route(part.source, when=section.test, request=part.request, response=part.response, errors=errors))
            if section.test is None:
                break
        else:
            routes.append(Route(part.source, request=part.request, response=part.response))
        return Part(Switch(tuple(routes))) if sections else part

    def _paces(self, sections: list[Section]) -> tuple[Action, ...]:
        """Return how fast answers go; of several sections that fit, the last decides."""
        environment = self._names.environment
        decided: list[tuple[Section, tuple[Action, ...]]] = []
        for section, directives in (
            (Section("/", False, None, None, self._scope), self._scope.nearest("SetOutputFilter")),
            *[(each, each.scope.own("SetOutputFilter")) for each in sections],
        ):
            made = paced(directives, environment)
            if made is not None:
                decided.append((section, made))
        return settled(decided)

    def _with_section_rules(
        self,
        routes: list[Route],
        plain: list[Route],
        passes: Passes,
        sections: list[Section],
        texts: RuleTexts,
        rewriting: Rewriting,
    ) -> list[Route]:
        """Put the rules of sections in front of routes; of several sections that fit, the last one's count, and of directories none."""
        made = list(routes)
        for section in sections:
            rules = section.scope.own("RewriteRule")
            if rules and rewriting.has_upstreams():
                hint = "write all rules in the virtual host"
                not_built(self._record, rules[0], 0, "a rule in a section beside one with `P` in the virtual host", hint)
            program = section.scope.own("RewriteCond", "RewriteRule")
            engine = section.scope.own("RewriteEngine") or self._scope.nearest("RewriteEngine")
            if not program and not section.scope.own("RewriteEngine"):
                continue
            is_on = bool(engine) and engine[-1].text().lower() == "on"
            part = self._by_section_rules(program if is_on else [], plain, passes, sections, section, texts)
            # The rules of a section before this one do not count where this one fits, even if it has none.
            if program or len(made) > len(routes):
                route = Route(part.source, when=section.test, request=part.request, response=part.response)
                made.insert(0, self._record.mark(route, section.scope.directives[0].span))
        return made

    def _by_section_rules(
        self,
        program: list[Directive],
        routes: list[Route],
        passes: Passes,
        sections: list[Section],
        section: Section,
        texts: RuleTexts,
    ) -> Part:
        """Return what the rules of one section, and routes behind them, make of a request."""
        root = self._names.document_root or _NO_ROOT
        file = concat([Const(root.removeprefix(section.path)), Var("decoded_path")])
        scopes = [self._scope, *[each.scope for each in sections]]
        proxied = section.is_if or any(each.own("ProxyPass", "ProxyPassMatch") for each in scopes)
        inside = Inside(section.test, file, proxied, self._guard, None if proxied else concat([Const(root), Var("decoded_path")]))
        rewriting = Rewriting(self._record, self._names, passes, self._scope, texts, inside)
        rewriting.read(program)
        return rewriting.lower(lambda _: self._as_part(routes))

    def _ruled(self, routes: Sequence[Route], plain: list[Route], passes: Passes, texts: RuleTexts) -> list[Route]:
        """Return routes of which those of files ask the rules of their directories; ``plain`` are those that ask none."""
        made: list[Route] = []
        for route in routes:
            source = route.source
            if isinstance(source, Switch):
                inner = tuple(self._ruled(source.routes, plain, passes, texts))
                changed = route if inner == source.routes else replace(route, source=replace(source, routes=inner))
            elif isinstance(source, Files):
                changed = self._by_directory_rules(route, source, plain, passes, texts)
            else:
                changed = route
            made.append(route if changed is route else self._record.changed(route, changed))
        return made

    def _by_directory_rules(self, route: Route, source: Files, plain: list[Route], passes: Passes, texts: RuleTexts) -> Route:
        files = part = Part(source, (), route.response)
        mapping = mapping_of(route, source)
        for section in ruled(self._files, self._scope, mapping or Mapping("", source.root)):
            if mapping is None:
                for each in section.program[:1]:
                    hint = "write an `Alias` whose names are those of the files, or rules in the virtual host"
                    not_built(self._record, each, 0, "a rule for files that `AliasMatch` or an `Alias` gives other names", hint)
                continue
            inside = Inside(section.test, section.file, False, (), section.name, section.base)
            rewriting = Rewriting(self._record, self._names, passes, self._scope, texts, inside)
            rewriting.read(section.program)
            made = rewriting.lower(lambda rule: files if rule is None else self._as_part(plain))
            part = made if section.test is None else choose(section.test, made, part)
        if mapping is not None:
            route = self._with_documents_of_files(route, mapping)
        if part is files:
            return route
        return replace(route, source=Switch((Route(part.source, request=part.request, response=part.response),)), response=())

    def _with_documents_of_files(self, route: Route, mapping: Mapping) -> Route:
        """Return a route of files with what their directories say of errors."""
        scope = self._scope
        for directive in self._files.directories(mapping):
            inner = Scope(self._record, directive.block or (), scope)
            for each in inner.own("ErrorDocument")[:1]:
                if self._files.inside(directive, mapping) is not None:
                    hint = "write it for the whole directory that is shown, or in a `<Location>`"
                    not_built(self._record, each, 0, "`ErrorDocument` for a part of the files", hint)
                scope = inner
        return route if scope is self._scope else replace(route, errors=error_routes(self._record, scope, self._names))

    def _changed_fields(self, sections: list[Section]) -> tuple[tuple[Action, ...], tuple[Action, ...], dict[str, Expr]]:
        """Return what is done to fields of requests and answers, and what is known of those of requests then."""
        fields, scope = self._fields, self._scope
        request, left = fields.actions(scope.all("RequestHeader"), in_request=True)
        request = self._of_host(request, scope, sections)
        response, _ = fields.actions(scope.all("Header"), in_request=False)
        response = expiring(scope, scope) + response
        # Those that are read again must not become as deep as there are sections.
        edits = [each for section in sections for each in section.scope.own("RequestHeader") if each.text(0) not in ("set", "unset")]
        read = {*[each.text(1).rstrip(":").lower() for each in edits], "x-forwarded-for", "x-forwarded-host", "x-forwarded-server", "host"}
        for section in sections:
            response += conditional(section.later, expiring(scope, section.scope))
            made, known = fields.actions(section.scope.own("RequestHeader"), in_request=True, before=left)
            inner = Scope(self._record, section.scope.directives, scope)
            request += conditional(section.test, self._of_host(made, inner, []))
            for name, value in known.items():
                other = left.get(name, Var("host_port") if name == "host" else Var("header", name))
                if value != other:
                    left[name] = value if section.test is None else If(section.test, value, other)
            request += tuple(fields.shortened(sorted(read & known.keys()), left))
            made, _ = fields.actions(section.scope.own("Header"), in_request=False)
            response += conditional(section.later, made)
        return request, response, left

    def _of_host(self, actions: tuple[Action, ...], scope: Scope, sections: list[Section]) -> tuple[Action, ...]:
        """Return actions without those on Host where the server is asked by its own; X-Forwarded-Host has what they make of it."""
        if scope.flag("ProxyPreserveHost", False):
            return actions
        kept = without_host(actions)
        for section in sections if kept != actions else ():
            for each in section.scope.own("ProxyPreserveHost"):
                if each.text().lower() == "on":
                    hint = "write the `RequestHeader` in the section, too"
                    not_built(self._record, each, 0, "`ProxyPreserveHost` here, and a `RequestHeader` of Host outside,", hint)
        return kept

    def _check(self, sections: list[Section]) -> None:
        """Note what may stand in sections and has no meaning there yet."""
        for section in sections:
            self._files.check_section(section.scope)
            passes = section.scope.own("ProxyPass", "ProxyPassMatch")
            if section.is_if:
                for each in passes:
                    not_built(self._record, each, 0, f"`{each.written}` in `<If>`", "write a `RewriteRule` with the flag `P`")
            if section.is_if or not passes:
                for each in section.scope.own("ProxyPreserveHost"):
                    if each.text().lower() != self._scope.text("ProxyPreserveHost", "off").lower():
                        hint = "write it in the virtual host, or beside a `ProxyPass`"
                        not_built(self._record, each, 0, "`ProxyPreserveHost` for a part of the paths", hint)

    # ------------------------------------------------------------ access

    def _inside_proxy(self, target: Target) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
        """Return what sections for the address of a target do with requests and answers."""
        request = self._guard
        response: tuple[Action, ...] = ()
        for directive in self._scope.all("Proxy"):
            text = bare_url(directive.text())
            is_part = not target.balancer and text.startswith(target.url) and text != target.url.rstrip("/")
            if is_part and self._says_something(directive):
                what = "a section for a part of what is proxied to"
                not_built(self._record, directive, 0, what, "write a `ProxyPass` for that part, or a `<Location>`")
            if is_balancer(directive.text(), target.balancer) if target.balancer else text and target.url.startswith(text):
                scope = Scope(self._record, directive.block or ())
                actions = Access(scope, self._read_text, self._names, (self._scope,)).actions() or ()
                sections = self._scope.all("Location", "LocationMatch")
                if actions and any(each.name == "require" for section in sections for each in section.block or ()):
                    not_built(self._record, directive, 0, "`Require` both here and in a `<Location>`", "write it in one of them")
                request += actions + self._fields.actions(scope.own("RequestHeader"), in_request=True)[0]
                response += self._fields.actions(scope.own("Header"), in_request=False)[0]
        return request, response

    def _says_something(self, directive: Directive) -> bool:
        """Tell whether a section says more than that everybody may."""
        scope = Scope(self._record, directive.block or ())
        silent = ("proxyset", "require", "order", "allow", "deny")
        more = any(each.name not in silent for each in scope.directives)
        return more or bool(Access(scope, self._read_text, self._names, (self._scope,)).actions())

    def _may_serve_files(self) -> bool:
        """Tell whether a request may come to a file: there is one, and not every path is proxied."""
        scope = self._scope
        if not scope.all("DocumentRoot", "Alias", "AliasMatch", "ScriptAlias", "ScriptAliasMatch"):
            return any(each.scope.own("Alias") for each in self._sections)
        passes = [each.texts for each in scope.all("ProxyPass")]
        for section in self._sections:
            passes += [(section.path, *each.texts) for each in section.scope.own("ProxyPass")]
        return not any(each[0] == "/" and "!" not in each[1:2] for each in passes) or any("!" in each[1:2] for each in passes)

    def _before_file(self, mapping: Mapping | None) -> tuple[Action, ...]:
        """Return what is asked before a file is shown."""
        if mapping is None:
            return self._guard
        around = [Section("/", False, test, None, scope) for test, scope in self._files.guarded(mapping)]
        return self._access([*around, *self._sections])

    def _access(self, sections: list[Section]) -> tuple[Action, ...]:
        """Return the actions of access; of several sections that fit, the last decides."""
        methods: list[tuple[Section, tuple[Action, ...]]] = []
        shown: list[tuple[Section, tuple[Action, ...]]] = []
        decided: list[tuple[Section, tuple[Action, ...]]] = []
        required: list[Section] = []
        user: Expr = EMPTY
        for section in sections:
            access = Access(section.scope, self._read_text, self._names, section.around)
            certificate, actions = access.client_certificate(), access.actions()
            allowed = access.methods()
            if allowed is not None:
                methods.append((section, allowed))
            if certificate is not None:
                shown.append((section, certificate))
            if actions is not None:
                merging = access.merges()
                if merging is not None and any(_crosses(section, each) for each in required):
                    hint = "name the sections so that one is inside the other, or write all it requires here"
                    not_built(self._record, merging, 0, "merging with a section that only some of its requests meet", hint)
                required.append(section)
                decided.append((section, actions))
                name = access.user()
                user = name if section.test is None else If(section.test, name, user) if name != user else user
        self._names.user = user
        return settled(methods) + settled(shown) + settled(decided)

    # ------------------------------------------------------------ routes

    def _routes(self, passes: Passes, sections: list[Section]) -> list[Route]:
        """Return the routes, first those of sections, of which a later one wins."""
        routes: list[Route] = []
        after: list[Route] = []
        # Those of the virtual host come before those of the server outside.
        own = self._scope.own(*_REDIRECTS)
        outer = self._scope.outer.all(*_REDIRECTS) if self._scope.outer is not None else []
        for directive in [*own, *outer]:
            made = redirect_route(self._record, directive, self._names)
            if made is not None:
                after.append(self._record.mark(made, directive.span))
        for section in reversed(sections):
            for directive in section.scope.own("SetHandler"):
                if directive.text().lower() == STATUS:
                    # What is proxied never comes to a handler, so this is behind those routes.
                    shown = Route(Metrics("apache"), when=section.test, request=self._guard)
                    after.append(self._record.mark(shown, directive.span))
        if self._may_serve_files():
            self._files.check_scripts()
            paths = [(each.path, each.scope) for each in sections if not each.is_if and not each.is_pattern]
            after += [self._with_answers(each) for each in self._files.routes(self._before_file, paths)]
        for section in reversed([each for each in sections if not each.is_if]):
            for directive in section.scope.own("ProxyPass", "ProxyPassMatch"):
                inner = Scope(self._record, section.scope.directives, self._scope)
                made = passes.route(directive, inner, section.path, section.is_pattern)
                if made is not None:
                    routes.append(self._record.mark(self._left_out(made, after), directive.span))
        inherits = self._scope.flag("ProxyPassInherit", True)
        for directive in (self._scope.all if inherits else self._scope.own)("ProxyPass", "ProxyPassMatch"):
            made = passes.route(directive, self._scope)
            if made is not None:
                routes.append(self._record.mark(self._left_out(made, after), directive.span))
        for section in reversed(sections):
            for directive in section.scope.own(*_REDIRECTS):
                made = redirect_route(self._record, directive, self._names, section)
                if made is not None:
                    # Inside a section a redirect comes before everything else, but for the question who it is.
                    made = replace(made, request=(*self._guard, *made.request))
                    routes.insert(0, self._record.mark(made, directive.span))
        return [*routes, *after]

    def _left_out(self, made: Route, after: list[Route]) -> Route:
        """Return a route as it is, or, of what is left out of proxying, with the redirects and files that it still meets."""
        if made.source != NOTHING.source:
            return made
        source = Switch((*after, *self._otherwise())) if after else made.source
        return replace(made, source=source, request=() if after else (*self._guard, *made.request))

    def _file(self, rule: Directive, plain: list[Route], passes: Passes, texts: RuleTexts) -> Part:
        """Return what answers a request whose path a rule made the name of a file."""
        self._files.check_scripts()
        route = self._files.renamed(self._before_file)
        if route is None:
            hint = "add the flag `PT` if a `ProxyPass` shall follow"
            self._record.warning(rule.place(1), "differs", "this leads to a file, and there is no `DocumentRoot`", hint)
            return NOTHING.before(*self._guard)
        return Part(Switch(tuple(self._ruled([self._with_answers(route)], plain, passes, texts))))

    def _with_answers(self, route: Route) -> Route:
        """Return a route of files with what sections by directory do with answers."""
        if not isinstance(route.source, Files):
            return route
        response: tuple[Action, ...] = ()
        for test, scope in self._files.guarded(Mapping(route.source.strip, route.source.root)):
            if scope is not self._scope and scope is not self._scope.outer:
                # They are for the files themselves, not for refusals.
                made, _ = self._fields.actions(scope.own("Header"), in_request=False)
                inside = [each for one in made for each in (one.actions if isinstance(one, When) and one.test == ANSWERED else (one,))]
                response += conditional(both(ANSWERED, None if test is None else as_answered(test)), tuple(inside))
        return self._record.changed(route, replace(route, response=response)) if response else route

    def _otherwise(self) -> list[Route]:
        """Return the route of what nobody serves: it is asked who it is from, too."""
        return [Route(NOTHING.source, request=(*self._guard, *NOTHING.request))] if self._guard else []

    def _as_part(self, routes: list[Route]) -> Part:
        if not routes:
            return NOTHING.before(*self._guard)
        for at, route in enumerate(routes):
            if (route.path is None or route.path == PathMatch("prefix", "/")) and route.when is None:
                # Nothing comes to those behind it.
                return Part(Switch(tuple(routes[: at + 1])))
        return Part(Switch((*routes, *self._otherwise())))

    def _reversed(self, sections: list[Section]) -> tuple[Action, ...]:
        """Return what ``ProxyPassReverse`` and its kin do with answers; those in a section do it there."""
        names = ("ProxyPassReverseCookieDomain", "ProxyPassReverseCookiePath")
        rules = [(each, "") for each in self._scope.all("ProxyPassReverse")]
        made = reversed_fields(self._record, rules, self._members) + reversed_cookies(self._scope.all(*names))
        for section in sections:
            inside: list[tuple[Directive, str]] = []
            for each in section.scope.own("ProxyPassReverse"):
                if section.is_pattern or section.is_if:
                    not_built(self._record, each, 0, "`ProxyPassReverse` for anything but a path", "name the path")
                else:
                    inside.append((each, section.path if len(each.args) == 1 else ""))
            actions = reversed_fields(self._record, inside, self._members) + reversed_cookies(section.scope.own(*names))
            made += conditional(section.later, actions)
        return made

    def _members(self, target: Target) -> list[Target]:
        return self._upstreams.members(target, self._scope)


def _crosses(section: Section, other: Section) -> bool:
    """Tell whether some requests of a section meet another, and some do not."""
    if any(each is other.scope for each in section.around):
        return False
    if section.is_pattern or other.is_pattern or section.is_if or other.is_if:
        return True
    one, two = section.path.rstrip("/"), other.path.rstrip("/")
    return one == two or one.startswith(f"{two}/") or two.startswith(f"{one}/")


def _merged(record: Record, part: Part, timeouts: Timeouts, usual: Forwarding) -> tuple[Part, Timeouts, Forwarding]:
    """Take the one route for every path out of its switch; find the forwarding that routes have in common."""
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
