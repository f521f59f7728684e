"""Directives in Caddy's order as pieces of the model.

Facts (Caddy's documentation, "Directive order"): directives run in a fixed order whatever order they are written in;
of equal ones, that with the longer path runs first, those without a path last. ``route`` keeps the written order. Of
``handle`` and ``handle_path`` side by side, the first that matches is carried out, and of ``rewrite``. What nobody
answers is answered 200, empty.

Rules
  A directive that answers under a condition becomes a route; what comes after it, the last route of that switch.
  Edits of answers are carried down to whoever answers, so that what is said deeper down is done later.

Not here: single directives (``rules``, ``proxy``), addresses of sites (``site``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cmp_to_key

from vestibule.dialects.caddy.directives import DIRECTIVES, ONCE, ORDER
from vestibule.dialects.caddy.encode import read_encode
from vestibule.dialects.caddy.files import FileReader
from vestibule.dialects.caddy.matchers import Matcher, Matchers, path_test
from vestibule.dialects.caddy.placeholders import State, reads_path
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.rules import Edit, End, Keep, Limit, Mark, Rules
from vestibule.dialects.caddy.tree import Segment
from vestibule.dialects.origin import Origins
from vestibule.dialects.piece import Piece, switched
from vestibule.model.config import (
    Action,
    AddHeader,
    Compression,
    ErrorRoute,
    Files,
    Limits,
    Proxy,
    Redirect,
    Respond,
    Route,
    SetHeader,
    Source,
    StripPrefix,
    Switch,
    When,
)
from vestibule.model.expr import Const, Expr, Var

SITE_ONLY = ("bind", "tls", "log", "import", "handle_errors")

_REWRITES = ("rewrite", "uri", "handle_path")


@dataclass(frozen=True, slots=True)
class Carry:
    """What is handed down to whoever answers: edits of the answer, limits, the directory of files, what is compressed and replaced."""

    response: tuple[Action, ...] = ()
    limits: Limits | None = None
    root: str = ""
    compression: Compression | None = None
    replaced: tuple[ErrorRoute, ...] = ()
    """What ``intercept`` says."""


Tail = Callable[[State, Carry], Piece]


class Flow:
    """Lowers the directives of sites."""

    def __init__(self, rules: Rules, report: Report, origins: Origins, routes: dict[str, tuple[Segment, ...]]) -> None:
        self._routes = routes
        self._invoked: list[str] = []
        self._rules = rules
        self._report = report
        self._origins = origins
        self._files = FileReader(report)
        self.order = dict(ORDER)
        self._rewrites = False
        self._root = ""
        self.site_errors: tuple[ErrorRoute, ...] = ()
        """Who answers in the place of errors of the site that was read last."""
        self._replaces = True
        self.skipped: list[Expr] = []
        """Which requests of the site get no line in its log."""
        self._read: list[Segment] = []

    def site(self, segments: tuple[Segment, ...]) -> Piece:
        """Return what a site does."""
        matchers = Matchers(segments, self._report)
        matchers.check(State())
        roots = [each for each in segments if each.name == "root"]
        self._root = roots[-1].tokens[-1].text if roots else ""  # a block for errors has the site's, too
        self._rewrites = _has_rewrite(segments) or any(_has_rewrite(each) for each in self._routes.values())
        self.site_errors = ()
        self._replaces = False
        self.site_errors = self._errors(tuple([each for each in segments if each.name == "handle_errors"]))
        self._replaces = True
        self._skips(segments, matchers)
        return self._sorted(segments, matchers, State(patterns=matchers.patterns()), Carry(), _nothing, of_site=True)

    def _skips(self, segments: tuple[Segment, ...], matchers: Matchers) -> None:
        """Note which requests get no line in the log; those by a path that is rewritten cannot be told any more by then."""
        self.skipped = []
        self._read = []
        for segment in segments:
            if segment.name not in ("log_skip", "skip_log"):
                continue
            matcher, _ = matchers.take(segment, State())
            if matcher is not None and not (self._rewrites and matcher.test is not None and reads_path(matcher.test)):
                self.skipped.append(Const(True) if matcher.test is None else matcher.test)
                self._read.append(segment)

    # ------------------------------------------------------------ order

    def _sorted(
        self, segments: tuple[Segment, ...], matchers: Matchers, state: State, carry: Carry, tail: Tail, of_site: bool = False
    ) -> Piece:
        state = replace(state, patterns={**state.patterns, **matchers.patterns()})
        known = self._known(segments, of_site)
        known.sort(key=cmp_to_key(lambda one, other: self._compare(one, other, matchers)))
        return self._run(known, matchers, state, carry, tail)

    def _known(self, segments: tuple[Segment, ...], of_site: bool = False) -> list[Segment]:
        """Return the directives that are carried out; the others are told, but for those of the site as a whole."""
        known: list[Segment] = []
        for segment in segments:
            if segment.name.startswith("@"):
                continue
            row = DIRECTIVES.get(segment.name)
            if row is None:
                hint = near(segment.name, list(DIRECTIVES))
                hint = hint if hint.startswith("did") else "see the matrix of directives"
                self._report.error(segment.head, "unknown-directive", f"there is no directive `{segment.name}`", hint)
            elif any(segment is each for each in self._read):
                continue
            elif row.state == "harmless":
                self._report.left_out(segment.head, f"`{segment.name}`", row.advice)
            elif row.state == "error":
                self._report.not_built(segment.head, f"`{segment.name}`", row.advice)
            elif segment.name not in SITE_ONLY:
                known.append(segment)
            elif not of_site:
                message = f"`{segment.name}` belongs to a site as a whole"
                self._report.error(segment.head, "wrong-place", message, "write it outside of this block")
        return known

    def _compare(self, one: Segment, other: Segment, matchers: Matchers) -> int:
        """Caddy's order of two directives; 0 keeps the written one."""
        # `handle_path` is a `handle` that also takes its path off.
        first, second = [self.order["handle" if each.name == "handle_path" else each.name] for each in (one, other)]
        if first != second:
            return first - second
        a, b = matchers.path_of(one), matchers.path_of(other)
        sign = -1 if one.name == "vars" else 1
        if a and b:
            left, right = a.removesuffix("*"), b.removesuffix("*")
            if len(left) != len(right):
                return sign * (len(right) - len(left))
            return sign * (a.endswith("*") - b.endswith("*"))
        if bool(a) != bool(b):
            return sign * (-1 if a else 1)
        has = matchers.has_one(other) - matchers.has_one(one)
        return sign * has

    # ------------------------------------------------------------ one after the other

    def _run(self, segments: list[Segment], matchers: Matchers, state: State, carry: Carry, tail: Tail) -> Piece:
        """Return what directives do in this order, and then ``tail``."""
        request: list[Action] = []
        for at, segment in enumerate(segments):
            rest = segments[at + 1 :]
            if segment.name in ONCE and ONCE[segment.name] == "handle":
                return self._handles(segments[at:], matchers, state, carry, tail).before(request)
            matcher, first = matchers.take(segment, state)
            if matcher is None:
                continue
            state = replace(state, pattern=matchers.pattern_of(segment) or state.pattern)
            if segment.name == "route":
                inner = matchers.inner(segment.inside())
                body = self._known(segment.inside())

                def after(later: State, carried: Carry, rest: list[Segment] = rest) -> Piece:
                    return self._run(rest, matchers, later, carried, tail)

                piece = self._run(body, inner, state, carry, after)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail).before(request)
            if segment.name == "invoke":

                def resume(later: State, carried: Carry, rest: list[Segment] = rest) -> Piece:
                    return self._run(rest, matchers, later, carried, tail)

                piece = self._invoke(segment, first, state, carry, resume)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail).before(request)
            if segment.name == "rewrite" and rest and rest[0].name == "rewrite" and matcher.test is not None:
                action = self._rules.rewrite(segment, first, state)
                piece = self._run([each for each in rest if each.name != "rewrite"], matchers, state.after_rewrite(), carry, tail)
                piece = piece.before([action] if action is not None else [])
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail).before(request)
            if segment.name in ("root", "encode", "intercept"):
                if segment.name == "intercept":
                    carried = replace(carry, replaced=(*self._intercepted(segment, first, carry), *carry.replaced))
                elif segment.name == "root":
                    carried = replace(carry, root=self._files.root(segment, first))
                else:
                    carried = replace(carry, compression=read_encode(segment, first, self._report))
                if matcher.test is None or matcher.test == Const(True):
                    carry = carried
                    continue
                piece = self._run(rest, matchers, state, carried, tail)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail).before(request)
            if segment.name == "try_files":
                piece = self._try_files(segment, first, self._run(rest, matchers, state, carry, tail), carry, state)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail).before(request)
            if segment.name == "file_server":
                files = self._files.server(segment, first, carry.root)
                piece = _carried(Piece(Respond(404) if files is None else self._origins.at(segment.span, files)), carry)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail).before(request)
            step, state = self._rules.step(segment, first, matcher.test, state)
            if isinstance(step, Edit):
                request.extend(self._when(segment, matcher.test, step.actions))
                if segment.name == "rewrite":
                    segments_left = [each for each in rest if each.name != "rewrite"] if matcher.test is None else rest
                    if len(segments_left) != len(rest):
                        return self._run(segments_left, matchers, state, carry, tail).before(request)
            elif isinstance(step, Mark):
                self._check_values(segment, step)
                if matcher.test is not None and self._rewrites and reads_path(matcher.test):
                    marked = replace(carry, response=(*carry.response, *step.actions))
                    piece = self._run(rest, matchers, state, marked, tail)
                    return self._either(segment, matcher, piece, rest, matchers, state, carry, tail).before(request)
                carry = replace(carry, response=(*carry.response, *self._when(segment, matcher.test, step.actions)))
            elif isinstance(step, Limit):
                limited = replace(carry, limits=step.limits)
                if matcher.test is None:
                    carry = limited
                    continue
                piece = self._run(rest, matchers, state, limited, tail)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail).before(request)
            elif isinstance(step, End):
                piece = _carried(step.piece, carry)
                replaced = (*(self._replaced(segment, carry) if segment.name == "reverse_proxy" else ()), *carry.replaced)
                source = piece.source
                if isinstance(source, Respond) and any(source.status in each.statuses for each in carry.replaced):
                    self._report.not_built(segment.head, "an answer of the proxy's own that is replaced", "use `error`")
                if replaced:
                    piece = replace(piece, errors=(*replaced, *self.site_errors))
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail).before(request)
            else:
                assert step is None or isinstance(step, Keep)
        return tail(state, carry).before(request)

    def _try_files(self, segment: Segment, first: int, piece: Piece, carry: Carry, state: State) -> Piece:
        """Have files looked for before the piece answers, which must serve files itself."""
        tries = self._files.tries(segment, first, state)
        source = piece.source
        if not isinstance(source, Files) or source.tries or piece.request:
            what = "`try_files` where something else than `file_server` answers"
            self._report.not_built(segment.head, what, "use `handle` and `file_server`")
            return piece
        found = Files(carry.root or source.root, index=source.index, tries=tries, otherwise=source, types=source.types, hidden=True)
        return replace(piece, source=self._origins.at(segment.span, found))

    def _errors(self, segments: tuple[Segment, ...]) -> tuple[ErrorRoute, ...]:
        """Return what ``handle_errors`` blocks say, those for some statuses first."""
        found: list[ErrorRoute] = []
        for segment in segments:
            statuses = self._statuses(segment)
            # An answer with a status of its own keeps it; any other has that of the error.
            piece = self._sorted_alone(segment.inside(), State(), self._root)
            own = {_has_own_status(source) for source in _answers(piece.source)}
            if len(own) > 1:
                self._report.not_built(segment.head, "`handle_errors` in which some answers have a status of their own and others not")
            route = ErrorRoute(piece.source, statuses, 0 if own == {True} else None, False, piece.request, piece.response)
            found.append(self._origins.at(segment.span, route))
        return tuple(sorted(found, key=lambda each: not each.statuses))

    def _sorted_alone(self, segments: tuple[Segment, ...], state: State, root: str) -> Piece:
        matchers = Matchers(segments, self._report)
        matchers.check(state)
        return self._sorted(segments, matchers, replace(state, patterns=matchers.patterns()), Carry(root=root), _nothing)

    def _replaced(self, segment: Segment, carry: Carry) -> tuple[ErrorRoute, ...]:
        """Return what ``handle_response`` blocks answer in the place of servers' answers, which must be errors by their status.

        What edits the answer afterwards holds for them, too, as it is of the route.
        """
        named = {line.name: line for line in segment.inside() if line.name.startswith("@")}
        found: list[ErrorRoute] = []
        for line in segment.inside():
            if line.name == "header_down" and any(each.name == "handle_response" for each in segment.inside()):
                self._report.warning(line.head, "differs", "`header_down` also edits what stands in the place of an answer")
            if line.name != "handle_response":
                continue
            if not self._replaces:
                self._report.not_built(line.head, "`handle_response` within what answers in the place of an error", "leave it out")
                continue
            self._replaces = False
            state = State().with_variable("http.reverse_proxy.status_code", Var("error_status"))
            piece = self._sorted_alone(line.inside(), state, carry.root)
            self._replaces = True
            statuses = self._replaced_statuses(line, named)
            if statuses:
                route = ErrorRoute(piece.source, statuses, 0, True, piece.request, piece.response)
                found.append(self._origins.at(line.span, route))
        return tuple(found)

    def _intercepted(self, segment: Segment, first: int, carry: Carry) -> tuple[ErrorRoute, ...]:
        """Return what ``intercept`` answers in the place of answers that come after it."""
        if first < len(segment.tokens):
            text = segment.token(first).text
            self._report.error(segment.token(first), "syntax", f"`{text}` is not expected here", "write a path or `@NAME`")
        for line in segment.inside():
            if line.name == "replace_status":
                self._report.not_built(line.head, "`replace_status`", "leave it out")
            elif line.name != "handle_response" and not line.name.startswith("@"):
                known = ("handle_response", "replace_status")
                self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `intercept`", near(line.name, known))
        return self._replaced(segment, carry)

    def _replaced_statuses(self, line: Segment, named: dict[str, Segment]) -> tuple[int, ...]:
        """Return the statuses of a ``handle_response``; empty, noted, where it is for anything else."""
        name = "".join(line.texts()[:1])
        if name and name not in named:
            self._report.error(line.token(1), "unknown-reference", f"there is no matcher `{name}`", near(name, list(named)))
            return ()
        matcher = named.get(name)
        inside = matcher.inside() if matcher is not None else ()
        parts = [*inside, *([Segment(matcher.tokens[1:])] if matcher is not None and len(matcher.tokens) > 1 else [])]
        if len(parts) != 1 or parts[0].name != "status" or not parts[0].texts() or len(line.tokens) > 2:
            what = "`handle_response` for other answers than those of a status"
            self._report.not_built(line.head, what, "name a matcher such as `@error status 5xx`")
            return ()
        return self._statuses(parts[0])

    def _statuses(self, segment: Segment) -> tuple[int, ...]:
        statuses: list[int] = []
        for token in segment.tokens[1:]:
            text = token.text
            if len(text) == 3 and text[0] in "45" and text[1:] == "xx":
                statuses.extend(range(int(text[0]) * 100, int(text[0]) * 100 + 100))
            elif text.isdecimal() and len(text) == 3 and text[0] in "45":
                statuses.append(int(text))
            else:
                self._report.error(token, "bad-value", f"`{text}` is no status of an error", "write 404 or 5xx")
        return tuple(statuses)

    def _invoke(self, segment: Segment, first: int, state: State, carry: Carry, tail: Tail) -> Piece:
        """Do what a named route says, with its own matchers, and then what comes after it."""
        name = segment.token(first).text if first < len(segment.tokens) else ""
        if name not in self._routes:
            self._report.error(segment.token(first), "unknown-reference", f"there is no route `{name}`", near(name, list(self._routes)))
            return tail(state, carry)
        if name in self._invoked:
            self._report.error(segment.token(first), "too-deep", f"the route `{name}` invokes itself")
            return tail(state, carry)
        self._invoked.append(name)

        def after(later: State, carried: Carry) -> Piece:
            # What follows is outside of the route, and may invoke it again.
            self._invoked.pop()
            piece = tail(later, carried)
            self._invoked.append(name)
            return piece

        inside = self._routes[name]
        piece = self._sorted(inside, Matchers(inside, self._report), state, carry, after)
        self._invoked.pop()
        return piece

    def _check_values(self, segment: Segment, step: Mark) -> None:
        """A value is made when the answer comes, and would follow from the path as it was rewritten until then."""
        if self._rewrites and any(isinstance(each, (SetHeader, AddHeader)) and reads_path(each.value) for each in step.actions):
            self._report.not_built(
                segment.head, "the path in a field of answers of a site that rewrites it", "use `{http.request.orig_uri}`"
            )

    def _either(  # what a place in the order is made of
        self,
        segment: Segment,
        matcher: Matcher,
        piece: Piece,
        rest: list[Segment],
        matchers: Matchers,
        state: State,
        carry: Carry,
        tail: Tail,
    ) -> Piece:
        """Return the piece where the matcher holds, and what comes after it where not."""
        if matcher.test is None or matcher.test == Const(True):
            # The rest is never reached, and its mistakes are told all the same.
            self._run(rest, matchers, state, carry, tail)
            return piece
        return switched([self._route(segment, matcher, piece)], self._run(rest, matchers, state, carry, tail))

    def _route(self, segment: Segment, matcher: Matcher, piece: Piece) -> Route:
        path = matcher.as_path()
        if matcher.path and (path is not None or matcher.test == Const(True)):
            return self._origins.at(segment.span, piece.route(None, path))
        return self._origins.at(segment.span, piece.route(matcher.test))

    def _when(self, segment: Segment, test: Expr | None, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        if test is None or not actions:
            return actions
        return (self._origins.at(segment.span, When(test, actions)),)

    # ------------------------------------------------------------ handle

    def _handles(self, segments: list[Segment], matchers: Matchers, state: State, carry: Carry, tail: Tail) -> Piece:
        """Read ``handle`` and ``handle_path`` side by side, of which one is carried out, and then what follows."""
        group = [each for each in segments if ONCE.get(each.name) == "handle"]
        rest = [each for each in segments if ONCE.get(each.name) != "handle"]
        routes: list[Route] = []

        def after(later: State, carried: Carry) -> Piece:
            return self._run(rest, matchers, later, carried, tail)

        for segment in group:
            matcher = self._matcher(segment, matchers, state)
            if matcher is None:
                continue
            if segment.block is None:
                self._report.error(segment.head, "missing", f"`{segment.name}` needs a block")
            inner = matchers.inner(segment.inside())
            state = replace(state, pattern=matchers.pattern_of(segment) or state.pattern)
            strip = _strip(segment)
            within = state.after_rewrite() if strip is not None else state
            piece = self._sorted(segment.inside(), inner, within, carry, after)
            if strip is not None:
                piece = piece.before([self._origins.at(segment.span, strip)])
            if matcher.test is None:
                after(state, carry)
                return switched(routes, piece)
            routes.append(self._route(segment, matcher, piece))
        return switched(routes, after(state, carry))

    def _matcher(self, segment: Segment, matchers: Matchers, state: State) -> Matcher | None:
        if segment.name == "handle":
            matcher, first = matchers.take(segment, state)
            if first < len(segment.tokens):
                self._report.error(
                    segment.token(first), "syntax", f"`{segment.token(first).text}` is not expected here", "write a path or `@NAME`"
                )
            return matcher
        text = "".join(segment.texts()[:1])
        if not text.startswith("/"):
            self._report.error(segment.token(1), "syntax", "`handle_path` needs a path", "write `handle_path /PATH/*`")
            return None
        return Matcher(path_test(text, state), text)


def _strip(segment: Segment) -> StripPrefix | None:
    """Return the action by which ``handle_path`` takes its path off."""
    if segment.name != "handle_path":
        return None
    prefix = segment.token(1).text.removesuffix("*").removesuffix("/")
    return StripPrefix(prefix) if prefix else None


def _answers(source: Source) -> list[Source]:
    """Return who may answer in a source in the end."""
    if isinstance(source, Switch):
        return [each for route in source.routes for each in _answers(route.source)]
    if isinstance(source, Files) and source.otherwise is not None:
        return [source, *_answers(source.otherwise)]
    return [source]


def _has_own_status(source: Source) -> bool:
    """Tell whether an answer in the place of an error has a status of its own, as Caddy has it."""
    return isinstance(source, (Proxy, Redirect)) or (isinstance(source, Respond) and source.status != 200)


def _has_rewrite(segments: tuple[Segment, ...]) -> bool:
    return any(each.name in _REWRITES or _has_rewrite(each.inside()) for each in segments)


def _nothing(state: State, carry: Carry) -> Piece:
    """What Caddy does where nobody answers."""
    del state
    return _carried(Piece(Respond(200)), carry)


def _carried(piece: Piece, carry: Carry) -> Piece:
    response = (*piece.response, *carry.response)
    return replace(piece, response=response, limits=carry.limits or piece.limits, compression=carry.compression)
