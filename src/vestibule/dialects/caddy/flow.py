"""Directives in Caddy's order as pieces of the model.

Facts (Caddy's documentation, "Directive order"): directives run in a fixed order whatever order they are written in;
of equal ones, that with the longer path runs first where each is for one path; else those without a matcher last. ``route``
keeps the written order. Of ``handle`` and ``handle_path`` side by side, the first that matches is carried out, and of ``rewrite``.
What nobody answers is answered 200, empty. Edits of answers that wait for the answer are done from the inside out: the first last.

Rules
  A directive that answers under a condition becomes a route; what comes after it, the last route of that switch.
  Edits of answers are carried down to whoever answers, so that what is said deeper down is done later.

Not here: single directives (``rules``, ``proxy``), addresses of sites (``site``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from vestibule.dialects.caddy.answers import SERVERS_OWN, Answers, as_question, chained
from vestibule.dialects.caddy.directives import DIRECTIVES, ONCE, ORDER
from vestibule.dialects.caddy.encode import read_encode
from vestibule.dialects.caddy.files import FileReader, Try, rewritten
from vestibule.dialects.caddy.matchers import AnswerMatchers, Matcher, Matchers
from vestibule.dialects.caddy.placeholders import FOUND, State
from vestibule.dialects.caddy.replacing import strip_prefix
from vestibule.dialects.caddy.report import Report, near
from vestibule.dialects.caddy.rules import Edit, End, Keep, Limit, Mark, Rules
from vestibule.dialects.caddy.tree import Segment
from vestibule.dialects.origin import Origins
from vestibule.dialects.piece import Piece, reads_path, switched
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
    SetStatus,
    SetVariable,
    Source,
    StripPrefix,
    Switch,
    When,
)
from vestibule.model.expr import EMPTY, AllOf, Compare, Const, Expr, Not, Var

ANSWER_ONLY = ("copy_response", "copy_response_headers")

SITE_ONLY = ("bind", "tls", "log", "import", "handle_errors")

_SKIPPED = "log_skip"
"""The variable of requests that get no line in the log."""

_SILENT = ("header", "vars", "map", "root", "encode", "request_body", "log_skip", "skip_log")
"""Directives that answer nothing, and let nobody else answer."""

_REWRITES = ("rewrite", "uri", "handle_path", "try_files")

_WAYS_MOST, _WAYS_EACH = 4_000, 10
"""So often, and so often again for each directive, are those of a site followed to their end. What goes on where a matcher holds
and where not doubles that each time."""

_TOLD = -1_000_000
"""What is left of ways where it was told that there are too many."""

_DEPTH_MOST = 100
"""So many of those, and blocks, may stand in each other."""


@dataclass(frozen=True, slots=True)
class Carry:
    """What is handed down to whoever answers: edits of the answer, limits, the directory of files, what is compressed and replaced."""

    response: tuple[Action, ...] = ()
    limits: Limits | None = None
    root: str = ""
    compression: Compression | None = None
    replaced: tuple[ErrorRoute, ...] = ()
    """What ``intercept`` says."""
    waiting: tuple[Action, ...] = ()
    """Edits that wait for the answer."""

    def with_edits(self, actions: tuple[Action, ...], wait: bool) -> Carry:
        """Return what is handed down after edits of the answer."""
        if wait:
            return replace(self, waiting=(*actions, *self.waiting))
        return replace(self, response=(*self.response, *actions))


Tail = Callable[[State, Carry], Piece]


@dataclass(frozen=True, slots=True)
class Otherwise:
    """A way that some requests take, or all, and where the others go on."""

    way: Route | Piece
    rest: list[Segment]
    state: State
    carry: Carry


class Flow:
    """Lowers the directives of sites."""

    def __init__(self, rules: Rules, report: Report, origins: Origins, routes: dict[str, tuple[Segment, ...]]) -> None:
        self._routes = routes
        self._invoked: list[str] = []
        self._rules = rules
        self._report = report
        self._origins = origins
        self._files = FileReader(report)
        self._answers = Answers(rules, report)
        self.order = dict(ORDER)
        self._rewrites = False
        self._root = ""
        self.site_errors: tuple[ErrorRoute, ...] = ()
        """Who answers in the place of errors of the site that was read last."""
        self._replaces = True
        self._kept = 0
        self._nobody = Respond(200)
        """What requests get that nobody answers."""
        self.skipped: list[Expr] = []
        """Which requests of the site get no line in its log."""
        self._read: list[Segment] = []
        self._ways_left = self._depth = 0

    def site(self, segments: tuple[Segment, ...]) -> Piece:
        """Return what a site does."""
        self._ways_left = _WAYS_MOST + _WAYS_EACH * _count(segments)
        matchers = Matchers(segments, self._report)
        self._root = _root_of(segments)  # a block for errors has the site's, too
        matchers.check(State(dict.fromkeys(_mapped(segments), EMPTY), root="/"))
        self._rewrites = _has_rewrite(segments) or any(_has_rewrite(each) for each in self._routes.values())
        self.site_errors = ()
        self._replaces = False
        self.site_errors = self._errors(tuple([each for each in segments if each.name == "handle_errors"]))
        self._replaces = True
        self._skips(segments, matchers)
        self._rules.tells_messages = any(_tells_message(each) for each in segments if each.name == "handle_errors")
        return self._sorted(segments, matchers, State(patterns=matchers.patterns()), Carry(), self._nothing, of_site=True)

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
        return self._run(self._ordered(known, matchers), matchers, state, carry, tail)

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
            elif segment.name in ANSWER_ONLY:
                self._report.error(segment.head, "wrong-place", f"`{segment.name}` belongs into `handle_response`", "leave it out")
            elif segment.name not in SITE_ONLY:
                known.append(segment)
            elif not of_site:
                message = f"`{segment.name}` belongs to a site as a whole"
                self._report.error(segment.head, "wrong-place", message, "write it outside of this block")
        return known

    def _ordered(self, segments: list[Segment], matchers: Matchers) -> list[Segment]:
        """Return directives in Caddy's order: each moves forward past those it comes before. Which way they are sorted matters, since
        of three, two may keep the written order towards the third and not towards each other."""
        found: list[Segment] = []
        for segment in segments:
            at = len(found)
            while at > 0 and self._compare(segment, found[at - 1], matchers) < 0:
                at -= 1
            found.insert(at, segment)
        return found

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
        has = matchers.has_one(other) - matchers.has_one(one)
        return sign * has

    # ------------------------------------------------------------ one after the other

    def _run(self, segments: list[Segment], matchers: Matchers, state: State, carry: Carry, tail: Tail) -> Piece:
        """Return what directives do in this order, and then ``tail``."""
        self._ways_left -= 1
        if self._ways_left < 0 or self._depth >= _DEPTH_MOST:
            return self._lost(segments)
        self._depth += 1
        segments = [as_question(each) if each.name == "reverse_proxy" else each for each in segments]
        passed: list[tuple[list[Action], Route]] = []
        found: Piece | None = None  # what is never reached behind it is read for its mistakes
        while True:
            request: list[Action] = []
            if self._ways_left < 0:
                found = found or Piece(self._nobody)
                break
            then = self._begin(segments, matchers, state, carry, tail, request)
            if isinstance(then, Piece):
                found = found or then.before(request)
                break
            if isinstance(then.way, Piece):
                found = found or then.way.before(request)
            elif found is None:
                passed.append((request, then.way))
            segments, state, carry = then.rest, then.state, then.carry
        self._depth -= 1
        for request, route in reversed(passed):
            found = switched([route], found).before(request)
        return found

    def _begin(
        self, segments: list[Segment], matchers: Matchers, state: State, carry: Carry, tail: Tail, request: list[Action]
    ) -> Piece | Otherwise:
        """Return what directives do, or that of the first which only some requests meet; `request` takes what is done before."""
        for at, segment in enumerate(segments):
            rest = segments[at + 1 :]
            if segment.name in ONCE and ONCE[segment.name] == "handle":
                return self._handles(segments[at:], matchers, state, carry, tail)
            matcher, first = matchers.take(segment, state)
            if matcher is None:
                continue
            state = _matched(replace(state, pattern=matchers.pattern_of(segment) or state.pattern), matcher)
            if segment.name == "route":
                inner = matchers.inner(segment.inside())
                body = self._known(segment.inside())

                def after(later: State, carried: Carry, rest: list[Segment] = rest) -> Piece:
                    return self._run(rest, matchers, later, carried, tail)

                within = replace(state, patterns={**state.patterns, **inner.patterns()})
                piece = self._run(body, inner, within, carry, after)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail, goes_on=True)
            if segment.name == "invoke":

                def resume(later: State, carried: Carry, rest: list[Segment] = rest) -> Piece:
                    return self._run(rest, matchers, later, carried, tail)

                piece = self._invoke(segment, first, state, carry, resume)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail, goes_on=True)
            if segment.name == "rewrite" and rest and rest[0].name == "rewrite" and matcher.test is not None:
                action = self._rules.rewrite(segment, first, state)
                piece = self._run([each for each in rest if each.name != "rewrite"], matchers, state.after_rewrite(), carry, tail)
                piece = piece.before([action] if action is not None else [])
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail)
            if segment.name in ("root", "encode", "intercept"):
                if segment.name == "intercept":
                    instead, on_answer = self._intercepted(segment, first, carry)
                    carried = replace(carry, replaced=(*instead, *carry.replaced), response=(*on_answer, *carry.response))
                elif segment.name == "root":
                    carried = replace(carry, root=self._files.root(segment, first))
                else:
                    carried = replace(carry, compression=read_encode(segment, first, self._report))
                inside = replace(state, root=carried.root)
                if matcher.test is None or matcher.test == Const(True):
                    carry, state = carried, inside
                    continue
                piece = self._run(rest, matchers, inside, carried, tail)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail)
            if segment.name in ("log_skip", "skip_log"):
                request.extend(self._when(segment, matcher.test, (SetVariable(_SKIPPED, Const("1")),)))
                skips: Expr = Compare("==", Var("kept", _SKIPPED), Const("1"))
                self.skipped += [skips] if skips not in self.skipped else []
                continue
            if segment.name == "try_files":
                tries = self._files.tries(segment, first, state)
                served = self._try_files(segment, tries, self._run(rest, matchers, state, carry, tail), carry)
                if served is not None:
                    return self._either(segment, matcher, served, rest, matchers, state, carry, tail, goes_on=True)
                request.extend(self._when(segment, matcher.test, rewritten(tries)))
                state = state.after_rewrite()
                continue
            if segment.name == "file_server":
                files = self._files.server(segment, first, carry.root)
                if files is not None and self._files.passes(segment):
                    files = replace(files, otherwise=_source_of(self._run(rest, matchers, state, Carry(root=carry.root), tail)))
                piece = self._carried(Piece(Respond(404) if files is None else self._origins.at(segment.span, files)), carry)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail)
            step, state = self._rules.step(segment, first, matcher.test, state)
            if isinstance(step, Edit):
                request.extend(self._when(segment, matcher.test, step.actions))
                if segment.name == "rewrite":
                    segments_left = [each for each in rest if each.name != "rewrite"] if matcher.test is None else rest
                    if len(segments_left) != len(rest):
                        return self._run(segments_left, matchers, state, carry, tail)
            elif isinstance(step, Mark):
                made, step = self._known_now(step)
                request.extend(self._when(segment, matcher.test, made))
                if matcher.test is not None and self._rewrites and reads_path(matcher.test):
                    marked = carry.with_edits(step.actions, step.waits)
                    piece = self._run(rest, matchers, state, marked, tail)
                    return self._either(segment, matcher, piece, rest, matchers, state, carry, tail)
                carry = carry.with_edits(self._when(segment, matcher.test, step.actions), step.waits)
            elif isinstance(step, Limit):
                limited = replace(carry, limits=step.limits)
                if matcher.test is None:
                    carry = limited
                    continue
                piece = self._run(rest, matchers, state, limited, tail)
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail)
            elif isinstance(step, End):
                piece = self._carried(step.piece, carry)
                replaced = carry.replaced
                if segment.name == "reverse_proxy":
                    instead, on_answer = self._replaced(segment, carry, any(each.name not in _SILENT for each in rest))
                    replaced = (*instead, *replaced)
                    piece = replace(piece, response=(*on_answer, *piece.response))
                source = piece.source
                if isinstance(source, Respond) and any(source.status in each.statuses for each in carry.replaced):
                    self._report.not_built(segment.head, "an answer of the proxy's own that is replaced", "use `error`")
                if replaced:
                    piece = replace(piece, errors=(*replaced, *self.site_errors))
                return self._either(segment, matcher, piece, rest, matchers, state, carry, tail)
            else:
                assert step is None or isinstance(step, Keep)
        return tail(state, carry)

    def _lost(self, segments: list[Segment]) -> Piece:
        """Give a site up that branches without end in sight; that is told once."""
        if segments and self._ways_left >= _TOLD:
            self._ways_left = _TOLD - 1
            message = "there are too many ways through the directives of this site"
            hint = "those with a matcher double them: put what belongs together into `handle` blocks, of which one is carried out"
            self._report.error(segments[0].head, "too-many-ways", message, hint)
        return Piece(self._nobody)

    def _try_files(self, segment: Segment, tries: tuple[Try, ...], piece: Piece, carry: Carry) -> Piece | None:
        """Have files looked for by the source that serves them, where that is all; None where the target is to change."""
        source = piece.source
        if not tries:
            return piece
        plain = isinstance(source, Files) and not (source.tries or source.hide or source.listing or source.otherwise)
        if not isinstance(source, Files) or not plain or piece.request or source.root != carry.root:
            return None
        if any(each.query is not None or each.status or each.found == each.path for each in tries):
            return None
        found = replace(source, tries=tuple([each.path for each in tries]), otherwise=source)
        return replace(piece, source=self._origins.at(segment.span, found))

    def _nothing(self, state: State, carry: Carry) -> Piece:
        """What Caddy does where nobody answers."""
        del state
        return self._carried(Piece(self._nobody), carry)

    def _carried(self, piece: Piece, carry: Carry) -> Piece:
        """Return who answers with what was handed down; edits of its answer are also for one in the place of an error."""
        edits = (*carry.response, *carry.waiting)
        response = (*piece.response, *edits)
        errors = self.site_errors if edits and self.site_errors and piece.errors is None else piece.errors
        limits = carry.limits or piece.limits
        return replace(piece, response=response, limits=limits, compression=carry.compression, errors=errors)

    def _errors(self, segments: tuple[Segment, ...]) -> tuple[ErrorRoute, ...]:
        """Return what ``handle_errors`` blocks say, those for some statuses first."""
        found: list[ErrorRoute] = []
        for segment in segments:
            statuses = self._statuses(segment)
            # An answer with a status of its own keeps it; any other has that of the error.
            piece = self._sorted_alone(segment.inside(), State(root=self._root), self._root)
            own = {_has_own_status(source) for source in _answers(piece.source)}
            if len(own) > 1:
                piece = self._with_statuses(piece)
                own = {True}
            route = ErrorRoute(piece.source, statuses, 0 if own == {True} else None, False, piece.request, piece.response)
            found.append(self._origins.at(segment.span, route))
        return tuple(sorted(found, key=lambda each: not each.statuses))

    def _with_statuses(self, piece: Piece) -> Piece:
        """Return a piece whose answers have the status of the error, where they have none of their own."""
        source = piece.source
        if isinstance(source, Switch):
            routes: list[Route] = []
            for route in source.routes:
                inner = self._with_statuses(Piece(route.source, response=route.response))
                routes.append(self._origins.move(route, replace(route, source=inner.source, response=inner.response)))
            return replace(piece, source=replace(source, routes=tuple(routes)))
        return piece if _has_own_status(source) else replace(piece, response=(SetStatus(0), *piece.response))

    def _sorted_alone(self, segments: tuple[Segment, ...], state: State, root: str) -> Piece:
        matchers = Matchers(segments, self._report)
        matchers.check(state)
        return self._sorted(segments, matchers, replace(state, patterns=matchers.patterns()), Carry(root=root), self._nothing)

    def _replaced(self, segment: Segment, carry: Carry, goes_on: bool = False) -> tuple[tuple[ErrorRoute, ...], tuple[Action, ...]]:
        """Return what stands in the place of servers' answers: who answers instead of errors, and actions on other answers.

        What edits the answer afterwards holds for both, as it is of the route.
        """
        named = tuple([line for line in segment.inside() if line.name.startswith("@")])
        found: list[ErrorRoute] = []
        blocks: list[tuple[Expr | None, tuple[Action, ...]]] = []
        handles = any(each.name == "handle_response" for each in segment.inside())
        for line in segment.inside():
            if line.name == "header_down" and handles:
                self._report.warning(line.head, "differs", "`header_down` also edits what stands for an answer that is no error")
            if line.name not in ("handle_response", "replace_status"):
                continue
            if not self._replaces and line.name == "handle_response":
                self._report.not_built(line.head, f"`{line.name}` within what answers in the place of an error", "leave it out")
                continue
            name = "".join(line.texts()[:1]) if line.token(1).text.startswith("@") else ""
            test = AnswerMatchers(named, self._report).named(line.token(1)) if name else None
            if name and test is None:
                continue
            if line.name == "replace_status":
                blocks.append((test, self._answers.replaced_status(line.tokens[-1])))
                continue
            if len(line.tokens) > (2 if name else 1):
                self._report.error(line.token(2), "syntax", f"`{line.tokens[-1].text}` is not expected here", "write `@NAME` alone")
                continue
            statuses = self._error_statuses(name, named)
            if statuses and not blocks and not any(each.name in ANSWER_ONLY for each in self._in_order(line.inside())):
                found.append(self._instead(line, statuses, carry, goes_on))
                continue
            inside = self._answers.actions(self._in_order(line.inside()), State(root=carry.root))
            if inside is None:
                # Of several blocks the first whose condition holds counts, and those that only change an answer are looked at later.
                tests: list[Expr] = [Const(False) if each is None else Not(each) for each, _ in blocks]
                route = self._instead(line, (), carry, goes_on)
                tests += [test] if test is not None and test != Const(True) else []
                when = AllOf(tuple(tests)) if len(tests) > 1 else tests[0] if tests else Const(True)
                found.append(self._origins.move(route, replace(route, when=when)))
                continue
            blocks.append((test, tuple([self._origins.at(line.span, each) for each in inside])))
        own = SERVERS_OWN if self._replaces else SERVERS_OWN[1:]
        return tuple(found), tuple([self._origins.at(segment.span, each) for each in chained(blocks, own)])

    def _in_order(self, segments: tuple[Segment, ...]) -> list[Segment]:
        """Return directives in the order they run in."""
        if len(segments) == 1 and segments[0].name == "route" and len(segments[0].tokens) == 1:
            return list(segments[0].inside())
        named = [each for each in segments if not each.name.startswith("@")]
        return sorted(named, key=lambda each: self.order.get(each.name, len(self.order)))

    def _instead(self, line: Segment, statuses: tuple[int, ...], carry: Carry, goes_on: bool) -> ErrorRoute:
        """Return who answers in the place of servers' answers."""
        self._replaces = False
        keep: dict[str, Expr] = {}
        state = replace(State(root=carry.root), kept=keep).with_variable("http.reverse_proxy.status_code", Var("error_status"))
        lines, copied = self._answers.copied(line.inside(), keep)
        piece = self._sorted_alone(lines, state, carry.root)
        if goes_on and any(each is self._nobody for each in _answers(piece.source)):
            what = "`handle_response` that answers nothing, and leaves that to what stands behind the `reverse_proxy`"
            self._report.not_built(line.head, what, "use `forward_auth` to ask a server, or answer there")
        self._replaces = True
        route = ErrorRoute(piece.source, statuses, 0, True, piece.request, (*copied, *piece.response), keep=tuple(keep.items()))
        return self._origins.at(line.span, route)

    def _error_statuses(self, name: str, named: tuple[Segment, ...]) -> tuple[int, ...]:
        """Return the statuses of a matcher that is for those of errors alone; empty for any other."""
        matcher = next((each for each in named if each.name == name), None)
        inside = matcher.inside() if matcher is not None else ()
        parts = [*inside, *([Segment(matcher.tokens[1:])] if matcher is not None and len(matcher.tokens) > 1 else [])]
        if len(parts) != 1 or parts[0].name != "status" or not parts[0].texts():
            return ()
        return self._statuses(parts[0]) if all(text[:1] in ("4", "5") for text in parts[0].texts()) else ()

    def _intercepted(self, segment: Segment, first: int, carry: Carry) -> tuple[tuple[ErrorRoute, ...], tuple[Action, ...]]:
        """Return what ``intercept`` does in the place of answers that come after it."""
        if first < len(segment.tokens):
            text = segment.token(first).text
            self._report.error(segment.token(first), "syntax", f"`{text}` is not expected here", "write a path or `@NAME`")
        for line in segment.inside():
            if line.name not in ("handle_response", "replace_status") and not line.name.startswith("@"):
                known = ("handle_response", "replace_status")
                self._report.error(line.head, "unknown-option", f"`{line.name}` is unknown in `intercept`", near(line.name, known))
        return self._replaced(segment, carry)

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

    def _known_now(self, step: Mark) -> tuple[tuple[Action, ...], Mark]:
        """Return the step with values that are kept now, and what keeps them: when the answer comes, the path may be another."""
        if not self._rewrites or step.waits:
            return (), step
        kept: list[Action] = []
        edits: list[Action] = []
        for each in step.actions:
            if isinstance(each, (SetHeader, AddHeader)) and reads_path(each.value):
                self._kept += 1
                name = f"header.{self._kept}"
                kept.append(SetVariable(name, each.value))
                edits.append(self._origins.move(each, replace(each, value=Var("kept", name))))
            else:
                edits.append(each)
        return tuple(kept), replace(step, actions=tuple(edits))

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
        goes_on: bool = False,
    ) -> Piece | Otherwise:
        """Return the piece where the matcher holds, and what comes after it where not; `goes_on` says that it also comes in the piece."""
        if matcher.test is None or matcher.test == Const(True):
            return piece if goes_on else Otherwise(piece, rest, state, carry)
        return Otherwise(self._route(segment, matcher, piece), rest, state, carry)

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
            state = _matched(replace(state, pattern=matchers.pattern_of(segment) or state.pattern), matcher)
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
        return matchers.by_path(segment.token(1), text, state)


def _strip(segment: Segment) -> StripPrefix | None:
    """Return the action by which ``handle_path`` takes its path off."""
    if segment.name != "handle_path":
        return None
    prefix = segment.token(1).text.removesuffix("*").removesuffix("/")
    return strip_prefix(prefix) if prefix else None


def _root_of(segments: tuple[Segment, ...]) -> str:
    """Return the directory of files of a site, the last one that it names outside of blocks that depend on the request."""
    found = ""
    for each in segments:
        if each.name == "root":
            found = each.tokens[-1].text
        elif each.name == "route" and len(each.tokens) == 1:
            found = _root_of(each.inside()) or found
    return found


def _matched(state: State, matcher: Matcher) -> State:
    """Return the state inside of a matcher."""
    return state if matcher.found is None else state.with_variable(FOUND, matcher.found)


def _source_of(piece: Piece) -> Source:
    """Return a piece as a source."""
    return piece.source if piece == Piece(piece.source) else Switch((piece.route(),))


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


def _tells_message(segment: Segment) -> bool:
    """Tell whether something within a block reads what `error` says."""
    own = any("{err.message}" in token.text or "{http.error.message}" in token.text for token in segment.tokens)
    return own or any(_tells_message(each) for each in segment.inside())


def _mapped(segments: tuple[Segment, ...]) -> list[str]:
    """Return the placeholders that `map` makes."""
    own = [token.text.strip("{}") for each in segments if each.name == "map" for token in each.tokens[2:]]
    return own + [name for each in segments for name in _mapped(each.inside())]


def _has_rewrite(segments: tuple[Segment, ...]) -> bool:
    return any(each.name in _REWRITES or _has_rewrite(each.inside()) for each in segments)


def _count(segments: tuple[Segment, ...]) -> int:
    """Return how many directives there are, with those in blocks."""
    return sum([1 + _count(each.inside()) for each in segments])
