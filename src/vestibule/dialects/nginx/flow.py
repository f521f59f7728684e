"""``set``, ``if``, ``return`` and ``rewrite``: a little program that runs before a request is served.

Facts: nginx runs these in written order, in ``server`` before a location is chosen and in ``location`` after. A ``rewrite`` sees
the decoded path as the ones before it left it. ``last`` and ``break`` end the program. Where the path was changed inside a location
and no ``break`` came after, a location is looked for anew. What else stands in an ``if`` holds where it was the last that fitted.

Rules: the program is followed once, when it is read. A variable is replaced by its expression; a condition becomes a choice of
routes, of which the first that fits answers; what follows a condition is lowered for both ways out of it.

Not here: the rest of a server or location, which comes in as ``Rest``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Literal, TypeAlias

from vestibule.dialects.nginx.early import known_at
from vestibule.dialects.nginx.lexer import Word
from vestibule.dialects.nginx.origin import placed
from vestibule.dialects.nginx.patterns import to_pattern
from vestibule.dialects.nginx.tree import Directive
from vestibule.dialects.nginx.variables import Names, either
from vestibule.dialects.part import NOTHING, Part, choose, encoded, with_query
from vestibule.dialects.record import Record
from vestibule.model.config import Action, Again, Deny, HangUp, Redirect, Respond, Rewrite, SetStatus, When
from vestibule.model.diagnostic import Span
from vestibule.model.expr import (
    EMPTY,
    AllOf,
    AnyOf,
    Call,
    Compare,
    Concat,
    Const,
    Expr,
    If,
    InSet,
    Kind,
    Match,
    Not,
    Phase,
    Var,
    concat,
    walk,
)
from vestibule.model.vocabulary import kind_of

FLOW = ("set", "if", "return", "rewrite", "break")
"""The directives of the program."""

_PATH = Var("decoded_path")
_REDIRECTS: dict[int, Literal[301, 302, 303, 307, 308]] = {301: 301, 302: 302, 303: 303, 307: 307, 308: 308}
_NO_ANSWER = 444
_ALWAYS = ("^", ".*", "(.*)", "^.*", "^(.*)")
"""Patterns that are found in every path."""
_MOST_BRANCHES = 200

_ARGS = ("args", "query_string", "is_args")
"""What `set $args` changes."""


Rest: TypeAlias = Callable[[Names, "Directive | None"], Part]
"""What follows the program, where it does not answer by itself: with the ``if`` whose other directives hold, if one does."""

Fields: TypeAlias = Callable[[Names, "Directive | None"], tuple[Action, ...]]
"""What is added to an answer that the program gives, inside an ``if`` or not."""

_Made: TypeAlias = Part | Callable[[Part], Part] | None
"""What a directive makes: the end, what stands around what follows, or nothing."""


@dataclass(frozen=True, slots=True)
class _State:
    """How far a request got: whether its path was changed, and the ``if`` that it is in."""

    changed: bool = False
    inside: Directive | None = None


class Flow:
    """Lowers the program of one server or location."""

    def __init__(
        self, record: Record, media_type: Expr, in_location: bool, fields: Fields, caught: frozenset[int], origin: Expr | None
    ) -> None:
        """``caught`` are the statuses that have a page of their own; ``origin`` stands before a path in a Location, if anything."""
        self._origin = origin
        self._record = record
        self._caught = caught
        self._fields = fields
        self._media_type = media_type
        self._in_location = in_location
        self._branches = 0

    def lower(self, program: Sequence[Directive], names: Names, rest: Rest) -> Part:
        """Return what a program and what follows it make of a request."""
        return self._lower(program, names, rest, _State())

    def _lower(self, program: Sequence[Directive], names: Names, rest: Rest, state: _State) -> Part:
        passed: list[Callable[[Part], Part]] = []
        end: Part | None = None
        for at, first in enumerate(program):
            made: _Made = None
            if first.name == "set":
                self._set(first, names, names)
            elif first.name == "break":
                made = rest(names, state.inside)
            elif first.name == "return":
                made = self._answered(self._return(first, names), names, state)
            elif first.name == "rewrite":
                made = self._rewrite(first, program[at + 1 :], names, rest, state)
            else:
                made = self._if(first, program[at + 1 :], names, rest, state)
            if isinstance(made, Part):
                end = made
                break
            if made is not None:
                passed.append(made)
        if end is None:
            end = Part(Again()) if state.changed and self._in_location else rest(names, state.inside)
        for around in reversed(passed):
            end = around(end)
        return end

    def _answered(self, part: Part, names: Names, state: _State) -> Part:
        return Part(part.source, part.request, (*part.response, *self._fields(names, state.inside)))

    # ------------------------------------------------------------ set, return

    def _set(self, directive: Directive, names: Names, target: Names) -> str:
        """Give a variable its value, read with ``names`` and set in ``target``; return its name."""
        name = directive.text(0)
        if not name.startswith("$") or len(name) < 2:
            self._record.error(directive.place(0), "bad-value", f"`{name}` is no variable", "write `set $name value;`")
            return ""
        target.own[name[1:].lower()] = value = names.text(directive.args[1])
        if name.lower() == "$args":
            # Two names of one thing, and what stands before it.
            mark = (
                EMPTY if value == EMPTY else Const("?") if isinstance(value, Const) else If(Compare("==", value, EMPTY), EMPTY, Const("?"))
            )
            target.own.update({"args": value, "query_string": value, "is_args": mark})
        return name[1:].lower()

    def _return(self, directive: Directive, names: Names) -> Part:
        words = directive.args
        text = words[0].text
        if len(words) == 1 and not text.isdecimal():
            if not text.startswith(("http://", "https://", "$scheme")):
                message = f"`{text}` is neither a status nor an address"
                self._record.error(words[0].span, "bad-value", message, "write `return 404;` or `return 302 /path;`")
            return self._redirected(302, _encoded_captures(names, words[0]))
        if not text.isdecimal() or not (200 <= int(text) <= 599) or len(text) != 3:
            self._record.error(words[0].span, "bad-value", f"`{text}` is no status that can be returned", "use 200 to 599")
            return NOTHING
        status = int(text)
        if status == _NO_ANSWER:
            return Part(Respond(403), (HangUp(),))
        if len(words) == 2:
            return self._answer(status, words[1], names)
        if status < 300 and status != 204:
            return Part(Respond(status, None, (("Content-Type", self._media_type),)))
        if status < 400:
            return Part(Respond(status))
        # An answer and no refusal, so that `add_header ... always` counts for it, as in nginx.
        said = f"{status} {_reason(status)}"
        page = f"<!DOCTYPE html>\n<title>{said}</title>\n<body>\n<h1>{said}</h1>\n</body>\n"
        # In the place of an error its status is its own.
        stays = (SetStatus(status),) if names.is_led_on else ()
        answer = Part(Respond(status, Const(page), (("Content-Type", Const("text/html")),)), (), stays)
        if status not in self._caught:
            return answer
        return choose(Compare("==", Var("error_status"), Const(0)), Part(Respond(status), (Deny(status),)), answer)

    def _answer(self, status: int, word: Word, names: Names) -> Part:
        if "status" not in names.own:
            # It is this one's, or that of the error in whose place this one is.
            names = names.copy()
            names.own["status"] = If(Compare("==", Var("error_status"), Const(0)), Const(str(status)), Var("error_status"))
        if status in _REDIRECTS:
            return self._redirected(status, known_at(_encoded_captures(names, word), Phase.REQUEST))
        if status in (204, 304):
            return Part(Respond(status))
        text = known_at(decoded(names.text(word)), Phase.REQUEST)
        return Part(Respond(status, text, (("Content-Type", self._media_type),)))

    def _redirected(self, status: int, location: Expr) -> Part:
        """Return what sends a client elsewhere, unless a page answers in the place of that."""
        # No error in the place of an error has a page.
        first = Compare("==", Var("error_status"), Const(0))
        caught = (When(first, (Deny(status),)),) if status in self._caught else ()
        return Part(redirect(status, location, self._origin), caught)

    # ------------------------------------------------------------ rewrite

    def _rewrite(self, directive: Directive, others: Sequence[Directive], names: Names, rest: Rest, state: _State) -> _Made:
        flag = directive.text(2)
        if flag not in ("", "last", "break", "redirect", "permanent"):
            hint = "it is one of `last`, `break`, `redirect`, `permanent`"
            self._record.error(directive.place(2), "bad-value", f"`{flag}` is no flag of `rewrite`", hint)
            return None
        try:
            pattern = to_pattern(directive.text(0))
        except ValueError as bad:
            self._record.error(directive.place(0), "bad-regex", str(bad))
            return None
        test: Expr = Const(True) if pattern in _ALWAYS else Match(pattern, _PATH)
        within = names.copy()
        within.captures = (_PATH, pattern)
        target = directive.args[1]
        if flag in ("redirect", "permanent") or target.text.startswith(("http://", "https://", "$scheme")):
            status = 301 if flag == "permanent" else 302
            away = self._answered(self._redirected(status, self._location(target, within)), names, state)
            return _by(test, away)
        path = self._new_path(target, within)
        # In `server` a location is looked for afterwards in any case. What captured is remembered for what comes after, as far
        # as it still matches the changed path: it does not, so it is only good here.
        if not self._in_location and (not flag or not others):
            return lambda after: after.before(path if test == Const(True) else When(test, (path,)))
        if flag == "last" and self._in_location:
            done = Part(Again())
        elif flag:
            done = rest(within, state.inside)
        elif not self._may_branch(directive):
            return NOTHING
        else:
            done = self._lower(others, names.copy(), rest, replace(state, changed=True))
        return _by(test, done.before(path))

    def _new_path(self, word: Word, names: Names) -> Rewrite:
        """Return the rewrite to a text; a ``?`` at its end leaves the old query out."""
        path, mark, query = word.text.partition("?")
        made = encoded(names.template(path, word.span))
        if not mark:
            return Rewrite(made)
        added = names.template(query, word.span)
        if query.endswith("?") or query == "":
            return Rewrite(made, names.template(query.removesuffix("?"), word.span))
        return Rewrite(made, concat([added, with_query("&")]))

    def _location(self, word: Word, names: Names) -> Expr:
        """Return the Location of a redirect by ``rewrite``: the query goes along unless the text ends with ``?``."""
        text = word.text
        if text.endswith("?"):
            return _encoded_captures(names, Word(text[:-1], word.span))
        made = _encoded_captures(names, word)
        return concat([made, with_query("&" if "?" in text else "?")])

    # ------------------------------------------------------------ if

    def _if(self, directive: Directive, others: Sequence[Directive], names: Names, rest: Rest, state: _State) -> _Made:
        within = names.copy()
        test = self.condition(directive, within)
        body = directive.block or ()
        program = [each for each in body if each.name in FLOW]
        inside = state
        if len(program) < len(body):
            if not self._in_location:
                outside = next(each for each in body if each.name not in FLOW)
                message = f"`{outside.name}` cannot stand in an `if` of a server"
                self._record.error(outside.span, "wrong-place", message, "put the `if` into a location")
                return NOTHING
            inside = replace(state, inside=directive)
        elif state.inside is not None:
            # The last one that fits is the one that counts: what stood in the one before does no more.
            inside = replace(state, inside=directive)
        elif all(each.name == "set" for each in body):
            for each in body:
                name = self._set(each, within, within)
                for known in _ARGS if name == "args" else (name,):
                    before = names.variable(known, each.span) if known in _ARGS else names.own.get(known, EMPTY)
                    names.own[known] = _later(test, within.own.get(known, EMPTY), before)
            return None if self._may_branch(directive) else NOTHING
        # What returns does not go on, and doubles nothing.
        if not any(each.name == "return" for each in program) and not self._may_branch(directive):
            return NOTHING
        return _by(test, self._lower((*program, *others), within, rest, inside))

    def _may_branch(self, directive: Directive) -> bool:
        self._branches += 1
        if self._branches > _MOST_BRANCHES:
            self._record.error(directive.span, "too-deep", "there are too many conditions here", "use a `map`")
            return False
        return True

    def condition(self, directive: Directive, names: Names) -> Expr:
        """Return the test of an ``if``; groups of its regular expression are known in ``names`` afterwards."""
        words = _bare(directive.args)
        if len(words) not in (1, 2, 3):
            message = "this is no condition"
            self._record.error(directive.span, "bad-condition", message, "write `if ($name = text)` or `if ($name ~ pattern)`")
            return Const(False)
        first = words[0]
        if first.text.removeprefix("!") in ("-f", "-d", "-e", "-x") and len(words) == 2:
            return self._file_test(first, words[1], names)
        if not first.text.startswith("$") or len(words) == 2:
            self._record.error(first.span, "bad-condition", f"a variable is expected, not `{first.text}`", "write `if ($name = text)`")
            return Const(False)
        subject = names.text(first)
        if len(words) == 1:
            return Not(InSet(subject, ("", "0")))
        return self._compared(subject, words[1], words[2], names)

    def _file_test(self, operator: Word, word: Word, names: Names) -> Expr:
        """Return the test of what stands at a path; the directory that it is below must be known beforehand."""
        made = names.text(word)
        parts = list(made.parts) if isinstance(made, Concat) else [made]
        first = parts[0]
        directory, slash, rest = str(first.value).rpartition("/") if isinstance(first, Const) else ("", "", "")
        if not slash or not directory:
            hint = "begin it with a fixed directory"
            not_built(self._record, operator.span, f"`{operator.text} {word.text}`", hint)
            return Const(False)
        path = concat([encoded(each) for each in (Const(f"/{rest}"), *parts[1:])])
        if operator.text.endswith("x"):
            executable = Compare("!=", Call("executable", (Const(directory), path)), EMPTY)
            return Not(executable) if operator.text.startswith("!") else executable
        is_file: Expr = Compare("!=", Call("existing", (Const(directory), path)), EMPTY)
        if isinstance(path, Const) and str(path.value).endswith("/"):
            is_file = Const(False)
        elif not isinstance(path, Const):
            is_file = AllOf((is_file, Not(Match("/$", path))))
        is_directory = Compare("!=", Call("existing", (Const(directory), concat([path, Const("/")]))), EMPTY)
        found = {"f": is_file, "d": is_directory, "e": AnyOf((is_file, is_directory))}[operator.text[-1]]
        return Not(found) if operator.text.startswith("!") else found

    def _compared(self, subject: Expr, operator: Word, value: Word, names: Names) -> Expr:
        if operator.text in ("=", "!="):
            other = names.text(value)
            if isinstance(other, Const) and kind_of(subject) is not Kind.TEXT:
                same: Expr = InSet(subject, (str(other.value),))
                return same if operator.text == "=" else Not(same)
            return Compare("==" if operator.text == "=" else "!=", subject, other)
        if operator.text in ("~", "~*", "!~", "!~*"):
            ignore_case = operator.text.endswith("*")
            try:
                pattern = to_pattern(value.text)
                names.captures = (subject, to_pattern(value.text, ignore_case))
            except ValueError as bad:
                self._record.error(value.span, "bad-regex", str(bad))
                return Const(False)
            found = Match(pattern, subject, ignore_case)
            return Not(found) if operator.text.startswith("!") else found
        self._record.error(operator.span, "bad-condition", f"`{operator.text}` compares nothing", "use `=`, `!=`, `~`, `~*`, `!~`, `!~*`")
        return Const(False)


def _later(test: Expr, value: Expr, before: Expr) -> Expr:
    """Return what a variable is after a condition that sets it; many that set it to one value are one test."""
    if isinstance(before, If) and before.then == value:
        return If(either((before.test, test)), value, before.otherwise)
    return If(test, value, before)


def _by(test: Expr, then: Part) -> _Made:
    """Return what a test chooses; what follows one that always fits is not looked at."""
    return then if test == Const(True) else lambda otherwise: choose(test, then, otherwise)


REASONS = {
    302: "Moved Temporarily",
    405: "Not Allowed",
    408: "Request Time-out",
    413: "Request Entity Too Large",
    414: "Request-URI Too Large",
    416: "Requested Range Not Satisfiable",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}
"""What nginx says of a status, where that is not what the RFC says."""


def _reason(status: int) -> str:
    if status in REASONS:
        return REASONS[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _encoded_captures(names: Names, word: Word) -> Expr:
    """Return the text of a Location: what was captured from a decoded path is encoded again, and so is ``$uri``."""
    made = names.text(word)
    parts = made.parts if isinstance(made, Concat) else (made,)
    return concat([Call("encode_path", (part,)) if _is_decoded(part) else part for part in parts])


def _is_decoded(expr: Expr) -> bool:
    if isinstance(expr, Call) and expr.function == "capture":
        return any(each == _PATH for each in walk(expr))
    return expr == _PATH


def decoded(text: Expr) -> Expr:
    """Return a text for people and fields: ``$uri`` is decoded to its end, slashes and percent signs too."""
    parts = text.parts if isinstance(text, Concat) else (text,)
    return concat([Call("url_decode", (part,)) if _is_decoded(part) else part for part in parts])


def redirect(status: int, location: Expr, origin: Expr | None) -> Redirect | Respond:
    """Return what sends a client elsewhere: to a URL, or, without an ``origin`` for paths, to what is written."""
    if origin is None:
        return Respond(status, headers=(("Location", location),))
    return Redirect(placed(location, origin), _REDIRECTS[status])


def _bare(words: Sequence[Word]) -> list[Word]:
    """Take the brackets off a condition."""
    texts = [word.text for word in words]
    if not texts or not texts[0].startswith("(") or not texts[-1].endswith(")"):
        return []
    texts[0] = texts[0][1:]
    texts[-1] = texts[-1][:-1]
    return [Word(text, word.span) for text, word in zip(texts, words, strict=True) if text or word.quoted]


def not_built(record: Record, span: Span, what: str, hint: str = "take it out, or keep nginx for this part") -> None:
    """Note something that is known and cannot be done yet."""
    record.error(span, "not-built", f"{what} is not built yet", hint)
