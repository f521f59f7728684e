"""What is done with a server's answer: ``handle_response``, ``replace_status``, ``copy_response``, ``copy_response_headers``.

Facts (Caddy's documentation, "reverse_proxy", "Intercepting responses"): the first block whose matcher holds handles the answer; the
answer itself is then dropped, unless ``copy_response`` sends it on. A block that answers nothing lets the request go on to what stands
behind the ``reverse_proxy``: that is how ``forward_auth`` asks.

Rules: an answer of fixed parts, and the server's own with another status or other fields, are actions on the answer. Whoever else
answers in a server's place is a route of its own (``flow``), and what is said of the server's fields there is kept.

Not here: conditions on answers (``matchers``).
"""

from __future__ import annotations

import re

from vestibule.dialects.caddy.lexer import Token
from vestibule.dialects.caddy.placeholders import State
from vestibule.dialects.caddy.report import Report
from vestibule.dialects.caddy.rules import End, Mark, Rules
from vestibule.dialects.caddy.tree import Segment
from vestibule.model.config import Action, AddHeader, RemoveHeader, ReplaceAnswer, Respond, SetHeader, SetStatus, When
from vestibule.model.config import Redirect as RedirectTo
from vestibule.model.expr import AllOf, Compare, Const, Expr, Var

_COPIED = re.compile(r"\{(?:http\.reverse_proxy|rp)\.header\.([^{}]+)\}")
_TOLD = ("x-forwarded-method", "x-forwarded-uri")

SERVERS_OWN = (Compare("==", Var("error_status"), Const(0)), Var("proxied"))
"""Tests for the answer of a server that was asked for its own sake, and not in the place of an error."""


class Answers:
    """Reads what stands in blocks for answers."""

    def __init__(self, rules: Rules, report: Report) -> None:
        self._rules = rules
        self._report = report

    def actions(self, segments: list[Segment], state: State) -> tuple[Action, ...] | None:
        """Return what a block does as actions on the answer; None where it is more than that."""
        edits: list[Action] = []
        kept: list[tuple[str, Expr]] = []
        sent: tuple[Action, ...] | None = None
        whole: ReplaceAnswer | None = None
        for segment in segments:
            if len(segment.tokens) > 1 and segment.token(1).text.startswith(("@", "/")) and segment.name != "redir":
                return None
            first = 2 if len(segment.tokens) > 1 and segment.token(1).text == "*" else 1
            if segment.name == "copy_response":
                status = self._status(segment, first)
                sent = (SetStatus(status),) if status else ()
                break
            if segment.name == "copy_response_headers":
                kept += self._kept(segment)
                continue
            if segment.name not in ("header", "respond", "redir", "vars"):
                return None
            step, state = self._rules.step(segment, first, None, state)
            if isinstance(step, Mark):
                edits += step.actions
            elif isinstance(step, End):
                whole = _whole(step)
                break
        if sent is not None:
            return (*sent, *edits)
        if whole is None or any(not isinstance(each, (SetHeader, AddHeader, RemoveHeader)) for each in edits):
            return None
        # They are made while the server's fields are still there; what would be removed is not.
        own = [(each.name, each.value) for each in edits if isinstance(each, (SetHeader, AddHeader))]
        return (ReplaceAnswer(whole.status, whole.body, (*kept, *own, *whole.headers)),)

    def copied(self, segments: tuple[Segment, ...], keep: dict[str, Expr]) -> tuple[tuple[Segment, ...], tuple[Action, ...]]:
        """Return a block without `copy_response_headers`, and actions that give the fields it names to whoever answers there."""
        rest: list[Segment] = []
        actions: list[Action] = []
        for segment in segments:
            if segment.name == "route" and len(segment.tokens) == 1:
                inside, more = self.copied(segment.inside(), keep)
                rest.append(Segment(segment.tokens, inside))
                actions += more
                continue
            if segment.name != "copy_response_headers" or len(segment.tokens) > 1:
                rest.append(segment)
                continue
            for name, value in self._kept(segment):
                keep[f"answer.{name.lower()}"] = value
                there = Var("kept", f"answer.{name.lower()}")
                actions.append(When(Compare("!=", there, Const("")), (SetHeader(name, there),)))
        return tuple(rest), tuple(actions)

    def _status(self, segment: Segment, first: int) -> int:
        """Return the status that an answer is sent on with; 0 for its own, and in the place of an error for that of the error."""
        if first >= len(segment.tokens) or segment.tokens[first].text in ("{err.status_code}", "{http.error.status_code}"):
            return 0
        text = segment.tokens[first].text
        if text.isdecimal() and len(text) == 3 and 200 <= int(text) <= 599 and int(text) not in (204, 205, 304):
            return int(text)
        self._report.error(segment.tokens[first], "out-of-range", f"`{text}` is no status here", "use 200 to 599")
        return 0

    def _kept(self, segment: Segment) -> list[tuple[str, Expr]]:
        names: list[str] = []
        for line in segment.inside():
            if line.name == "include" and not any(word.lower() == "set-cookie" for word in line.texts()):
                names += line.texts()
            elif line.name == "include":
                self._report.not_built(line.head, "keeping a field of several lines", "leave `Set-Cookie` out")
            else:
                self._report.not_built(line.head, f"`{line.name}` of `copy_response_headers`", "name fields with `include`")
        if not segment.inside():
            self._report.not_built(segment.head, "`copy_response_headers` for all fields", "name them with `include`")
        return [(name, Var("response_header", name.lower())) for name in names]

    def replaced_status(self, token: Token) -> tuple[Action, ...]:
        """Return the action of ``replace_status``."""
        return (SetStatus(self._status(Segment((token, token)), 1)),)


def chained(blocks: list[tuple[Expr | None, tuple[Action, ...]]], own: tuple[Expr, ...]) -> tuple[Action, ...]:
    """Return the actions of the first block whose condition holds; all have further tests in common."""
    actions: tuple[Action, ...] = ()
    for test, inside in reversed(blocks):
        tests = own if test is None or test == Const(True) else (*own, test)
        actions = (When(AllOf(tests), inside, actions),)
    return actions


def _whole(step: End) -> ReplaceAnswer | None:
    source = step.piece.source
    if isinstance(source, Respond):
        typed = () if source.body is None else (("Content-Type", Const("text/plain; charset=utf-8")),)
        return ReplaceAnswer(source.status, source.body, (*source.headers, *typed))
    if isinstance(source, RedirectTo):
        return ReplaceAnswer(source.status, None, (("Location", source.location),))
    return None


def as_question(segment: Segment) -> Segment:
    """Return a ``reverse_proxy`` as the ``forward_auth`` that it is, where it asks and goes on; else as it is."""
    lines = {line.name: line for line in segment.inside()}
    handled = [line for line in segment.inside() if line.name == "handle_response"]
    rewrite = lines.get("rewrite")
    if (
        len(handled) != 1
        or rewrite is None
        or len(rewrite.tokens) != 2
        or lines.get("method") is None
        or lines["method"].texts() != ["GET"]
    ):
        return segment
    matcher = lines.get("".join(handled[0].texts()[:1]))
    if matcher is None or matcher.texts() != ["status", "2xx"] or not handled[0].inside():
        return segment
    copied: list[Segment] = []
    for line in handled[0].inside():
        found = _COPIED.fullmatch(line.token(2).text) if len(line.tokens) == 3 and line.name == "request_header" else None
        if found is None:
            return segment
        name = line.token(1).text
        copied.append(Segment((_renamed(line.head, "copy_headers"), _renamed(line.token(1), f"{found[1]}>{name}"))))
    kept = [line for line in segment.inside() if line.name in ("header_up", "transport", "trusted_proxies") and not _is_told(line)]
    uri = Segment((_renamed(rewrite.head, "uri"), rewrite.token(1)))
    return Segment((_renamed(segment.head, "forward_auth"), *segment.tokens[1:]), (uri, *kept, *copied))


def _is_told(line: Segment) -> bool:
    return line.name == "header_up" and "".join(line.texts()[:1]).lower() in _TOLD


def _renamed(token: Token, text: str) -> Token:
    return Token(text, token.span, token.fresh)
