"""``server`` and ``location`` to routes.

Facts:
* An exact path wins; else the longest prefix, if it says ``^~``; else the first regular expression; else that prefix. That is the
  order ``best`` of a switch.
* Where a prefix ends with a slash and is proxied, the path without that slash is redirected to it.
* A location inside another is looked for after the outer one was found; regular expressions outside are tried after those inside.

Rules: a server whose only location is ``/`` needs no switch. What a location does not serve is answered 404; a server that serves
nothing at all, or a location that is there to serve files, is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from vestibule.dialects.nginx.accel import accel_routes, all_in, is_wanted
from vestibule.dialects.nginx.answers import added_fields, substitutions
from vestibule.dialects.nginx.error_lines import Telling
from vestibule.dialects.nginx.files import caught_by, conditions_of, errors_of, files_of, media_type, place_names
from vestibule.dialects.nginx.flow import FLOW, Fields, Flow, not_built, redirect
from vestibule.dialects.nginx.levels import (
    Formats,
    access_log_of,
    access_of,
    compression_of,
    excepted,
    forwarding_of,
    kept_by,
    limits_of,
    method_limits_of,
    timeouts_of,
)
from vestibule.dialects.nginx.limiting import Questions, Zones, learn_answers, limits_on, pace_of, route_of
from vestibule.dialects.nginx.origin import origin_of
from vestibule.dialects.nginx.patterns import to_pattern
from vestibule.dialects.nginx.proxying import proxied
from vestibule.dialects.nginx.referers import learn_referers
from vestibule.dialects.nginx.scope import Scope
from vestibule.dialects.nginx.secure_links import learn_secure_links
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.upstreams import Upstreams
from vestibule.dialects.nginx.userids import learn_userid
from vestibule.dialects.nginx.variables import BODY, Names
from vestibule.dialects.part import NOTHING, Part, choose, encoded, with_query
from vestibule.dialects.read import ReadText
from vestibule.dialects.record import Record
from vestibule.model.config import (
    AccessLog,
    Action,
    Again,
    Compression,
    Deny,
    DropBody,
    ErrorRoute,
    Files,
    Forwarding,
    KeepAlive,
    Limits,
    Metrics,
    PathMatch,
    Proxy,
    ReadBody,
    Rewrite,
    Route,
    SetBody,
    SetMethod,
    SetVariable,
    Source,
    Switch,
    Timeouts,
)
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Const, Expr, If, Match, Not, Var, concat

_BODY_BUFFER = 16_384
_BODY_MOST = 65_535
"""One less than a request may have held back."""
_BODY_MS = 60_000

_ABOUT_NOTHING = ("add_header", "allow", "deny", "auth_basic", "auth_request", "limit_req", "limit_conn")
"""What holds also for a request that no location takes."""

_MODIFIERS = ("=", "~", "~*", "^~")


@dataclass(frozen=True, slots=True)
class Level:
    """Values that a site or route hands down."""

    timeouts: Timeouts
    limits: Limits
    forwarding: Forwarding
    access_log: AccessLog | None
    compression: Compression | None = None
    errors: tuple[ErrorRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """A part with the values that hold for it."""

    part: Part
    level: Level


@dataclass(frozen=True, slots=True)
class _Path:
    """Where a location is: ``prefix`` is empty for a regular expression."""

    prefix: str = "/"
    exact: bool = False
    captures: str = ""
    names: tuple[str, ...] = ()


class Locations:
    """Lowers the blocks of one server."""

    def __init__(
        self,
        record: Record,
        upstreams: Upstreams,
        formats: Formats,
        read_text: ReadText,
        trusted: tuple[str, ...] | None,
        zones: Zones,
        leads_on: bool,
        telling: Telling | None = None,
    ) -> None:
        """``leads_on`` says that answers of upstreams may lead on in every server; ``telling`` is where refusals are told."""
        self._telling = telling
        zones.are_told = telling is not None
        self._leads_on = leads_on
        self._record = record
        self._zones = zones
        self._questions = Questions(record, Scope(record, ()), upstreams)
        self._is_question = False
        self._server: Scope | None = None  # where answers of upstreams may lead on
        self._trusted = trusted
        self._upstreams = upstreams
        self._formats = formats
        self._read_text = read_text
        self._serves = False
        self._usual = KeepAlive()
        self._kept: tuple[Action, ...] = ()  # how connections are kept in the server
        self._tells_body = False  # somewhere in the server the body of a request is said

    def server(self, scope: Scope, names: Names, outer: Level, span: Directive, usual: KeepAlive) -> Served:
        """Return what a server makes of a request; ``outer`` holds outside, and connections are kept as is ``usual``."""
        self._serves = False
        self._usual = usual
        self._kept = kept_by(scope, usual)
        self._tells_body = any("request_body" in text for each in all_in(scope.directives) for text in each.texts)
        self._server = scope if self._leads_on or is_wanted(scope) else None
        self._questions = Questions(self._record, scope, self._upstreams)
        names = names.copy()
        names.near = set(names.near)
        names.own.update(place_names(scope, names))
        learn_referers(scope, names)
        learn_secure_links(scope, names)
        learn_userid(scope, names)
        level = self._level(scope, outer, names)
        chosen: list[Level] = [level]

        def rest(inside: Names, condition: Directive | None) -> Part:
            del condition  # a server has none with directives of a location
            served = self._choice(scope, inside, level, _Path())
            chosen[0] = served.level
            return served.part

        program = [each for each in scope.directives if each.name in FLOW]
        part = self._flow(scope, names, level, False).lower(program, names, rest)
        if not isinstance(part.source, Switch) and part.request and _goes_round(Served(part, chosen[0])):
            part = Part(Switch((Route(part.source, request=part.request, response=part.response),)))
        part = self._with_questions(scope, names, chosen[0], part.before(*self._kept))
        turns_away = scope.flag("ssl_reject_handshake", False)
        if not self._serves and not _answers(part.source) and not turns_away and not self._record.has_errors:
            hint = "say `proxy_pass`, `return` or `root`"
            self._record.warning(span.span, "unreachable", "this server answers 404 to everything", hint)
        return Served(part, chosen[0])

    def _with_questions(self, scope: Scope, names: Names, level: Level, part: Part) -> Part:
        """Add the routes that answer questions; no request finds them by itself."""
        if not self._questions.asked:
            return part
        around = names.copy()
        for directive in scope.own("set"):
            around.own[directive.text(0).removeprefix("$").lower()] = around.text(directive.args[1])
        routes: list[Route] = []
        self._is_question = True
        for path, directive in self._questions.asked.items():
            match = self._match(directive)
            if match is not None:
                found = self._location(Scope(self._record, directive.block or (), scope), around, level, match[0])
                route = replace(_route(None, found, level), name=route_of(path), when=Const(False))
                routes.append(self._record.mark(route, directive.span))
        self._is_question = False
        if isinstance(part.source, Switch):
            return replace(part, source=replace(part.source, routes=(*routes, *part.source.routes)))
        # What is done before the source is not done for a question, too.
        return Part(Switch((*routes, Route(part.source, request=part.request, response=part.response))))

    def _level(self, scope: Scope, outer: Level, names: Names) -> Level:
        # What is set here is known in the line that is written at the end.
        ended = names.copy()
        for directive in scope.own("set"):
            ended.own[directive.text(0).removeprefix("$").lower()] = ended.text(directive.args[1])
        log = access_log_of(scope, self._formats, ended)
        if log is not None and self._telling is not None:
            log = replace(log, also=(*log.also, *self._telling.lines(scope, ended, self._read_text)))
        limits = limits_of(scope, outer.limits)
        forwarding = forwarding_of(scope, self._trusted)
        errors = errors_of(scope, names)
        if self._server is not None:
            errors = (*errors, *accel_routes(self._server, scope))
        return Level(timeouts_of(scope, outer.timeouts), limits, forwarding, log, compression_of(scope), errors)

    def _flow(self, scope: Scope, names: Names, level: Level, in_location: bool) -> Flow:
        origin = origin_of(scope, names)
        return Flow(self._record, media_type(scope), in_location, self._fields_of(scope), caught_by(level.errors), origin)

    # ------------------------------------------------------------ locations

    def _choice(self, scope: Scope, names: Names, level: Level, path: _Path, beside: Callable[[], Served] | None = None) -> Served:
        """Return what the locations of a block, and what stands beside them, make of a request."""
        locations = scope.own("location")
        is_served = (
            path.prefix != "/"
            or path.exact
            or scope.own("proxy_pass", "try_files", "stub_status")
            or scope.find("root") is not None
            or (scope.nearest(*_ABOUT_NOTHING) and not any(each.texts in (("/",), ("^~", "/")) for each in scope.own("location")))
        )
        own = beside() if beside is not None else self._content(scope, names, level, path) if is_served else None
        if not locations:
            return own or Served(NOTHING, level)
        routes: list[Route] = []
        served: list[Served] = []
        for directive in locations:
            if directive.text(0).startswith("@"):
                routes.append(self._named(directive, scope, names, level))
                continue
            match = self._match(directive)
            if match is None:
                continue
            where, path_match = match
            found = self._location(Scope(self._record, directive.block or (), scope), names, level, where)
            served.append(found)
            routes.append(self._record.mark(_route(path_match, found, level), directive.span))
            slashless = _slashless(directive, found.part.source, locations, scope, names)
            if slashless is not None:
                routes.append(self._record.mark(slashless, directive.span))
        routes = [*self._nested_first(scope, locations, names, level), *routes]
        if own is not None:
            routes.append(_route(None, own, level))
        # One location for every path is no choice, unless a request comes back to it: then who may enter is asked again.
        if len(routes) == 1 and routes[0].path == PathMatch("prefix", "/") and not _goes_round(served[0]):
            return served[0]
        forwardings = [each.level.forwarding for each in served if isinstance(each.part.source, Proxy)]
        if forwardings and level.forwarding != forwardings[0]:
            before, level = level.forwarding, replace(level, forwarding=forwardings[0])
            routes = [self._record.changed(route, _inherit(route, before, level)) for route in routes]
        return Served(Part(Switch(tuple(routes), "best")), level)

    def _match(self, directive: Directive) -> tuple[_Path, PathMatch] | None:
        """Read what a location is for; None for one that no request finds."""
        words = list(directive.args)
        modifier = words.pop(0).text if len(words) == 2 else ""
        text = words[0].text
        if modifier and modifier not in _MODIFIERS:
            self._record.error(directive.place(0), "bad-value", f"`{modifier}` is unknown before a path", "it is `=`, `~`, `~*` or `^~`")
            return None
        # `location =/path` and `location ~pattern` are written without a blank too.
        if not modifier:
            for known in ("=", "^~", "~*", "~"):
                if text.startswith(known):
                    modifier, text = known, text.removeprefix(known)
                    break
        if modifier in ("~", "~*"):
            try:
                pattern = to_pattern(text)
                return _Path("", captures=to_pattern(text, modifier == "~*")), PathMatch("regex", pattern, modifier == "~*")
            except ValueError as bad:
                self._record.error(words[0].span, "bad-regex", str(bad))
                return None
        if not text.startswith("/"):
            self._record.error(words[0].span, "bad-path", f"the path `{text}` does not begin with `/`")
            return None
        path = _as_matched(text)
        if modifier == "=":
            return _Path(path, exact=True), PathMatch("exact", path)
        return _Path(path), PathMatch("prefix", path, final=modifier == "^~")

    def _named(self, directive: Directive, scope: Scope, names: Names, level: Level) -> Route:
        """Return the route of a named location, which no request finds by itself."""
        found = self._location(Scope(self._record, directive.block or (), scope), names, level, _Path(""))
        return self._record.mark(replace(_route(None, found, level), name=directive.text(0), when=Const(False)), directive.span)

    def _location(self, scope: Scope, names: Names, outer: Level, path: _Path) -> Served:
        inside = names.copy()
        inside.near = set(names.near)
        if path.captures:
            inside.captures = (Var("decoded_path"), path.captures)
        learn_answers(scope, inside)
        scope.prefix, scope.exact = path.prefix, path.exact
        inside.own.update(place_names(scope, inside))
        if scope.own("valid_referers"):
            learn_referers(scope, inside)
        if scope.own("secure_link", "secure_link_md5", "secure_link_secret"):
            learn_secure_links(scope, inside)
        if scope.own("userid", "userid_name", "userid_service"):
            learn_userid(scope, inside)
        level = self._level(scope, outer, inside)
        chosen = [level]
        is_plain = not scope.own("location")

        def rest(found: Names, condition: Directive | None) -> Part:
            if condition is not None:
                return self._in_condition(condition, scope, found, outer, path)
            served = self._content(scope, found, level, path)
            chosen[0] = served.level
            return served.part

        program = [each for each in scope.directives if each.name in FLOW]

        def own() -> Served:
            return Served(self._flow(scope, inside, level, True).lower(program, inside.copy(), rest), chosen[0])

        # The program is for what no location inside takes.
        whole = own() if is_plain else self._choice(scope, inside, level, path, own if program else None)
        part, chosen[0] = whole.part, whole.level
        if program and scope.own("limit_except"):
            # The block is a place of its own, which the program of the location is not for.
            bare = _route(None, self._content(scope, inside.copy(), level, path), level)
            part = choose(excepted(scope), Part(Switch((bare,))), part)
        for directive in scope.own("limit_except"):
            if any(each.name == "proxy_pass" for each in directive.block or ()):
                # An upstream of its own for those methods.
                part = choose(excepted(scope), self._in_condition(directive, scope, inside.copy(), outer, path), part)
        if _answers(part.source):
            self._serves = True
        kept = kept_by(scope, self._usual)
        if kept != self._kept:
            part = part.before(*(kept or (self._usual,)))
        if scope.own("internal"):
            part = choose(Var("around"), part, replace(NOTHING, response=added_fields(scope, inside)))
        return Served(part, chosen[0])

    def _fields_of(self, scope: Scope) -> Fields:
        """Return what adds the fields of a block to the answers of its program."""

        def fields(names: Names, condition: Directive | None) -> tuple[Action, ...]:
            return added_fields(scope if condition is None else Scope(self._record, condition.block or (), scope), names)

        return fields

    def _in_condition(self, condition: Directive, scope: Scope, names: Names, outer: Level, path: _Path) -> Part:
        """Return what a location serves where an ``if`` with directives of its own fitted."""
        inside = Scope(self._record, [each for each in condition.block or () if each.name not in FLOW], scope)
        served = self._content(inside, names, self._level(inside, outer, names), path, scope)
        # It differs from the location in its level, so it is a route of its own.
        return Part(Switch((_route(None, served, self._level(scope, outer, names)),)))

    def _content(self, scope: Scope, names: Names, level: Level, path: _Path, condition_of: Scope | None = None) -> Served:
        """Return what a location serves: an upstream, or nothing. A block of ``if`` has what its location has, ``condition_of``."""
        names = names.copy()
        # Who may enter is asked of requests; of questions, no more than what their location counts by itself.
        question = None if self._is_question else self._questions.of(scope, names)
        counted = (
            scope if not self._is_question else Scope(self._record, [each for each in scope.directives if each.name.startswith("limit_")])
        )
        limits = [
            *limits_on(counted, names, self._zones),
            *pace_of(scope, names, bool(scope.own("proxy_pass") or (condition_of and condition_of.own("proxy_pass")))),
        ]
        access = () if self._is_question else access_of(scope, names, self._read_text, question)
        if question is not None and any(each.text(0) == "$args" for each in scope.nearest("auth_request_set")):
            access = (*access, Rewrite(query=names.own["args"]))
        methods = () if self._is_question else method_limits_of(scope, names, self._read_text)
        before: tuple[Action, ...] = (*limits, *access, *methods)
        directives = scope.own("proxy_pass")
        if not directives and condition_of is not None:
            directives = condition_of.own("proxy_pass")
        if scope.own("stub_status") and not directives:
            self._serves = True
            return Served(Part(Metrics("nginx"), before, added_fields(scope, names)), level)
        if not directives:
            files = files_of(scope, names)
            if files is not None:
                self._serves = True
                asked, answered = conditions_of(scope)
                after = (*answered, *added_fields(scope, names), *substitutions(scope, names))
                return Served(Part(files, (*before, *asked), after), level)
            refused = (*before, *NOTHING.request) if before != (Deny(403),) else before
            return Served(Part(NOTHING.source, refused, added_fields(scope, names)), level)
        if scope.own("try_files"):
            what = "`try_files` beside `proxy_pass`"
            not_built(self._record, scope.own("try_files")[0].span, what, "put `proxy_pass` into a named location, and name it last")
        self._serves = True
        changed: tuple[Action, ...] = ()
        body = scope.find("proxy_set_body")
        if body is not None:
            changed = (SetBody(names.text(body.args[0])),)
        elif not scope.flag("proxy_pass_request_body", True):
            changed = (DropBody(),)
        method = scope.find("proxy_method")
        if method is not None:
            changed = (*changed, SetMethod(names.text(method.args[0])))
        around = (*scope.directives, *(condition_of.directives if condition_of is not None else ()))
        rewritten = any(each.name == "rewrite" for each in around)
        place = (path.prefix, path.exact, rewritten)
        found = proxied(scope, names, directives[0], self._upstreams, place, self._trusted)
        if not found:
            return Served(NOTHING, level)
        # Looked into only where something of the location, or around it, asks for it.
        wanted = BODY in names.near or (self._tells_body and bool(level.errors))  # a page for an error may, too
        looked = _look_into_body(scope) if wanted and not self._is_question else ()
        before = (*before, *looked, *changed)
        if len(found) == 1:
            _, part, forwarding = found[0]
            return Served(part.before(*before), replace(level, forwarding=forwarding))
        routes: list[Route] = []
        for test, part, forwarding in found:
            route = _route(None, Served(part, replace(level, forwarding=forwarding)), level)
            routes.append(replace(route, when=test))
        return Served(Part(Switch(tuple(routes)), before), level)

    def _nested_first(self, scope: Scope, locations: list[Directive], names: Names, level: Level) -> list[Route]:
        """Return the regular expressions inside prefixes, where others stand outside: they are tried before those.

        A switch in a switch would try them after. They count where theirs is the longest prefix.
        """
        found: list[Route] = []
        if not any(_is_regex(each) for each in locations):
            return found
        prefixes = [each.text(len(each.args) - 1) for each in locations if not _is_regex(each) and not each.text(0).startswith(("=", "@"))]
        for outer in locations:
            prefix = outer.text(len(outer.args) - 1)
            if prefix not in prefixes or outer.text(0).startswith(("^~", "=")) or _is_regex(outer):
                continue
            longer = tuple([_begins(each) for each in prefixes if each != prefix and each.startswith(prefix)])
            here: Expr = AllOf((_begins(prefix), Not(AnyOf(longer)))) if longer else _begins(prefix)
            around = Scope(self._record, outer.block or (), scope)
            around.prefix = prefix
            for inner in [each for each in outer.block or () if each.name == "location" and _is_regex(each)]:
                match = self._match(inner)
                if match is not None:
                    served = self._location(Scope(self._record, inner.block or (), around), names, level, match[0])
                    found.append(self._record.mark(replace(_route(match[1], served, level), when=here), inner.span))
        return found


def _look_into_body(scope: Scope) -> tuple[Action, ...]:
    """Return what keeps the body of a request that is not larger than the buffer for it."""
    size = min(scope.size("client_body_buffer_size", _BODY_BUFFER), _BODY_MOST)
    is_larger = Compare(">", Call("length", (Var("body"),)), Const(size))
    return ReadBody(size + 1, scope.time("client_body_timeout", _BODY_MS)), SetVariable(BODY, If(is_larger, EMPTY, Var("body")))


def _goes_round(served: Served) -> bool:
    """Tell whether a request may be given back to the site."""
    waiting: list[Source] = [served.part.source, *[each.source for each in served.level.errors]]
    while waiting:
        source = waiting.pop()
        if isinstance(source, Again):
            return True
        if isinstance(source, Switch):
            waiting += [each for route in source.routes for each in (route.source, *[error.source for error in route.errors or ()])]
        if isinstance(source, Files) and source.otherwise is not None:
            waiting.append(source.otherwise)
    return False


def _begins(prefix: str) -> Expr:
    return Match(f"^{re.escape(_as_matched(prefix))}", Var("decoded_path"))


def _as_matched(path: str) -> str:
    """Return a decoded path as paths are compared: a percent sign stays encoded, so that it is none that encodes."""
    return path.replace("%", "%25")


def _is_regex(directive: Directive) -> bool:
    return directive.text(0).startswith("~")


def _answers(source: Source) -> bool:
    """Tell whether somebody answers, as far as can be seen."""
    if isinstance(source, Switch):
        return any(_answers(route.source) for route in source.routes)
    return source != NOTHING.source


def _route(path: PathMatch | None, served: Served, outer: Level) -> Route:
    part, level = served.part, served.level
    return Route(
        part.source,
        path=path,
        request=part.request,
        response=part.response,
        timeouts=level.timeouts if level.timeouts != outer.timeouts else None,
        limits=level.limits if level.limits != outer.limits else None,
        forwarding=level.forwarding if level.forwarding != outer.forwarding else None,
        access_log=level.access_log if level.access_log != outer.access_log else None,
        compression=level.compression if level.compression != outer.compression else None,
        errors=level.errors if level.errors != outer.errors else None,
    )


def _inherit(route: Route, before: Forwarding, level: Level) -> Route:
    """Leave the forwarding out of a route that has the one of its switch; give those that had the outer one theirs."""
    if route.forwarding is None and isinstance(route.source, (Proxy, Switch)):
        return replace(route, forwarding=before)
    return route if route.forwarding != level.forwarding else replace(route, forwarding=None)


def _slashless(directive: Directive, source: Source, locations: list[Directive], outer: Scope, names: Names) -> Route | None:
    """Return the redirect from the path of a proxied location without its slash at the end."""
    path = directive.text(len(directive.args) - 1)
    is_prefix = len(directive.args) == 1 or directive.text(0) == "^~"
    if not is_prefix or not path.endswith("/") or len(path) == 1 or not path.startswith("/") or not isinstance(source, Proxy):
        return None
    bare = path[:-1]
    if any(each.texts in (("=", bare), ("=" + bare,), (bare,), ("^~", bare)) for each in locations):
        return None
    scope = Scope(outer.record, directive.block or (), outer)
    source = redirect(301, concat([encoded(Const(path)), with_query("?")]), origin_of(scope, names))
    return Route(source, path=PathMatch("exact", _as_matched(bare)), response=added_fields(scope, names))
