"""Rules that edit: fields, targets, methods and addresses of ``http-request`` and its kin; and what all rules are read with.

Facts (HAProxy configuration manual, chapter 4.2): ``replace-header`` takes the whole value, ``replace-value`` each item between commas;
``replace-path`` and its kin replace the whole of what they look at.

Rules: reading a rule gives a step and the state after it (see ``sample.State``).

Not here: rules that answer, refuse and count (``rules``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vestibule.dialects.haproxy.acl import ALWAYS, Acls, AuthTest, to_test
from vestibule.dialects.haproxy.formats import read_format
from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.report import Report, span
from vestibule.dialects.haproxy.sample import as_text, may_be_empty, read_names, read_sample, trimmed
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.targets import NORMALIZERS, grouped, retargeted, split_query, unmarked
from vestibule.dialects.haproxy.tree import Statement
from vestibule.dialects.haproxy.users import Userlist
from vestibule.dialects.haproxy.variables import FETCHES
from vestibule.dialects.origin import Origins
from vestibule.dialects.read import Unreadable
from vestibule.model.config import (
    Action,
    AddHeader,
    EarlyHint,
    EditHeader,
    RemoveHeader,
    RemoveHeaders,
    Rewrite,
    SetHeader,
    SetMethod,
    Source,
    When,
)
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import EMPTY, AllOf, Call, Concat, Const, Default, Expr, If, Kind, Match, Var, concat
from vestibule.model.vocabulary import kind_of


@dataclass(frozen=True, slots=True)
class Do:
    """Actions, their condition in them."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class End:
    """An answer; without a test, always."""

    test: Expr | None
    source: Source
    line: Line


@dataclass(frozen=True, slots=True)
class Skip:
    """The rest of this set of rules is skipped; without a test, always."""

    test: Expr | None
    line: Line


Step = Do | End | Skip


class Editor:
    """Reads the rules of one proxy that edit."""

    def __init__(self, acls: Acls, userlists: dict[str, Userlist], report: Report, origins: Origins) -> None:
        self._acls = acls
        self._userlists = userlists
        self._report = report
        self._origins = origins

    # ------------------------------------------------------------ conditions

    def test(self, line: Line, at: int, state: State) -> tuple[bool, Expr | None]:
        """Read the condition at a word of a line: whether it is sound, and its test where there is one."""
        found = self._acls.condition(line, at, state)
        if found is None:
            return False, None
        if found == ALWAYS:
            return True, None
        try:
            test = to_test(found, lambda each: self._members(line, at, each))
            return test is not None, test
        except Unreadable as bad:
            self._report.error(line, at, bad.code, bad.message, bad.hint)
            return False, None

    def _do(self, line: Line, test: Expr | None, *actions: Action) -> Do:
        """Make a step of actions, wrapped in their condition if there is one, and note where they stand."""
        for action in actions:
            self._origins.at(span(line), action)
        if test is None:
            return Do(actions)
        return Do((self._origins.at(span(line), When(test, actions)),))

    def _members(self, line: Line, at: int, test: AuthTest) -> tuple[tuple[str, str], ...] | None:
        userlist = self._userlists.get(test.userlist)
        if userlist is None:
            hint = did_you_mean(test.userlist, list(self._userlists))
            self._report.error(line, at, "unknown-reference", f"there is no userlist `{test.userlist}`", hint)
            return None
        for group in test.groups:
            if group not in userlist.groups:
                hint = did_you_mean(group, list(userlist.groups))
                self._report.error(line, at, "unknown-reference", f"there is no group `{group}` in `{test.userlist}`", hint)
                return None
        return userlist.members(test.groups)

    # ------------------------------------------------------------ edits

    def edit(self, statement: Statement, rule: str, state: State, response: bool = False) -> tuple[Step | None, State]:
        """Read a rule that edits a field, of requests or of responses."""
        line, first = statement.line, statement.first
        name = line.text(first)
        if not name:
            self._report.error(line, first, "missing", f"`{rule}` needs the name of a field")
            return None, state
        action: Action
        if rule == "replace-header":
            return self._replace_header(line, first, state, response)
        if rule == "replace-value":
            return self._replace_value(line, first, state, response)
        if rule == "del-header":
            if line.text(first + 1) == "-m":
                return self._remove_matching(line, first, state, response)
            sound, test = self.test(line, first + 1, state)
            action = RemoveHeader(name)
            value: Expr | None = EMPTY
        else:
            if first + 1 >= len(line.words):
                self._report.error(line, first, "missing", f"`{rule}` needs a value", f"write `{rule} {name} VALUE`")
                return None, state
            expr = read_format(line, first + 1, state, self._report)
            sound, test = self.test(line, first + 2, state)
            if expr is None:
                return None, state
            sets = rule == "set-header"
            kept = name.lower() != "host" and may_be_empty(expr)
            action = SetHeader(name, expr, kept) if sets else AddHeader(name, expr, kept)
            value = expr if sets else None
        if not sound:
            return None, state
        after = state if response else self._after_edit(name, value, test, state)
        return self._do(line, test, action), after

    def _replaced(self, line: Line, first: int, subject: Expr, state: State) -> tuple[Expr, Expr] | None:
        """Read a pattern and a format at a place of a line: the test that it is found, and what the whole becomes."""
        pattern = line.text(first)
        if first + 1 >= len(line.words):
            self._report.error(line, first, "missing", "a regular expression and what replaces it are expected")
            return None
        expr = read_format(line, first + 1, state, self._report)
        if expr is None:
            return None
        parts: list[Expr] = []
        for part in expr.parts if isinstance(expr, Concat) else (expr,):
            parts.extend(grouped(part, pattern, subject))
        return Match(pattern, subject), concat(parts)

    def _replace_path(self, line: Line, first: int, state: State) -> tuple[Step | None, State]:
        found = self._replaced(line, first, Var("path"), state)
        sound, test = self.test(line, first + 2, state)
        if found is None or not sound:
            return None, state
        matches, path = found
        return self._do(line, matches if test is None else AllOf((test, matches)), Rewrite(path)), state.after_rewrite()

    def _replace_target(self, line: Line, first: int, state: State) -> tuple[Step | None, State]:
        """Path and query, as they are, become what the format says, where the pattern is found in them."""
        found = self._replaced(line, first, FETCHES["pathq"], state)
        sound, test = self.test(line, first + 2, state)
        if found is None or not sound:
            return None, state
        matches, target = found
        return self._do(line, matches if test is None else AllOf((test, matches)), retargeted(target)), state.after_rewrite()

    def _replace_header(self, line: Line, first: int, state: State, response: bool) -> tuple[Step | None, State]:
        """The whole value becomes what the format says, where the pattern is found in it."""
        name = line.text(first)
        key = name.lower()
        subject: Expr | None = Var("response_header", key)
        if not response:
            subject = state.headers.get(key, Var("host_port") if key == "host" else Var("header", key))
        if subject is None or key in ("set-cookie", "cookie"):
            # Each line by itself, as it is at this moment.
            found = self._replaced(line, first + 1, Var("field_line"), state)
            sound, test = self.test(line, first + 3, state)
            if found is None or not sound:
                return None, state
            action = EditHeader(name, If(found[0], found[1], Var("field_line")))
            return self._do(line, test, action), state if response else state.with_header(key, None)
        found = self._replaced(line, first + 1, subject, state)
        sound, test = self.test(line, first + 3, state)
        if found is None or not sound:
            return None, state
        matches, value = found
        both = matches if test is None else AllOf((test, matches))
        after = state if response else self._after_edit(name, value, both, state)
        return self._do(line, both, SetHeader(name, value)), after

    def _replace_value(self, line: Line, first: int, state: State, response: bool) -> tuple[Step | None, State]:
        """Each value between commas that the pattern is found in becomes what the format says."""
        name, pattern = line.text(first), line.text(first + 1)
        if first + 2 >= len(line.words):
            self._report.error(line, first, "missing", "a regular expression and what replaces it are expected")
            return None, state
        text = read_format(line, first + 2, state, self._report)
        sound, test = self.test(line, first + 3, state)
        if text is None or not sound:
            return None, state
        action = EditHeader(name, Call("replace_items", (Var("field_line"), Const(pattern), text)))
        return self._do(line, test, action), state if response else state.with_header(name, None)

    def _remove_matching(self, line: Line, first: int, state: State, response: bool) -> tuple[Step | None, State]:
        """``del-header NAME -m METHOD``."""
        sound, test = self.test(line, first + 3, state)
        pattern = read_names(line, first, self._report)
        if pattern is None or not sound:
            return None, state
        if not response:
            for key in state.headers:
                state = state.with_header(key, None)
            state = state.with_removed(pattern)
        return self._do(line, test, RemoveHeaders(pattern)), state

    def address(self, line: Line, first: int, rule: str, state: State) -> State:
        """``set-src`` and its kin: where an address is asked for from now on, this is it."""
        value = read_sample(line, first, state, self._report)
        sound, test = self.test(line, first + 1, state)
        if value is None or not sound:
            return state
        fetch = rule.removeprefix("set-").replace("-", "_")
        before = state.addresses.get(fetch, FETCHES[fetch])
        if fetch in ("src", "dst"):
            # What is no address changes nothing.
            value = Default(Call("mask", (as_text(value), Const(32), Const(128))), before)
        else:
            value = value if kind_of(value) is Kind.NUMBER else Call("number", (as_text(value),))
        return state.with_address(fetch, value if test is None else If(test, value, before))

    def _changed(self, line: Line, first: int, rule: str, state: State) -> tuple[Step | None, State]:
        """Read a rule that changes the method or the target, or sends a hint."""
        if rule == "normalize-uri":
            return self._normalize(line, first, state)
        at = first + (rule == "early-hint")
        if at >= len(line.words):
            self._report.error(line, first, "missing", f"`{rule}` needs a value")
            return None, state
        value = read_format(line, at, state, self._report)
        sound, test = self.test(line, at + 1, state)
        if value is None or not sound:
            return None, state
        if rule == "early-hint":
            return self._do(line, test, EarlyHint(line.text(first), value)), state
        return self._do(line, test, SetMethod(value)), state

    def _normalize(self, line: Line, first: int, state: State) -> tuple[Step | None, State]:
        how, end = line.text(first), first + 1
        known = how in NORMALIZERS
        while line.text(end) in ("full", "strict") and known:
            how, end = how + " " + line.text(end), end + 1
        sound, test = self.test(line, end, state)
        if how not in NORMALIZERS:
            self._report.error(line, first, "syntax", f"`{how}` is no way to normalize", did_you_mean(how, list(NORMALIZERS)))
            return None, state
        if not sound:
            return None, state
        part, way = NORMALIZERS[how]
        subject = Var("path") if part == "path" else Var("query")
        made = Call("normalize", (subject, Const(way)))
        actions = (Rewrite(made, None),) if part == "path" else (Rewrite(None, made),)
        if part == "both":
            actions = (Rewrite(Call("normalize", (Var("path"), Const(way))), made),)
        if part == "none":
            return None, state  # a target never has a fragment here: it is refused where it comes in
        return self._do(line, test, *actions), state.after_rewrite()

    @staticmethod
    def _after_edit(name: str, value: Expr | None, test: Expr | None, state: State) -> State:
        """Keep what a field is from now on, for rules that read it."""
        key = name.lower()
        value = None if value is None else trimmed(value)
        if value is not None and test is not None:
            before = state.headers.get(key, Var("host_port") if key == "host" else Var("header", key))
            value = If(test, value, before) if before is not None else None
        return state.with_header(key, value)

    def _rewrite(self, line: Line, first: int, rule: str, state: State) -> tuple[Step | None, State]:
        expr = read_format(line, first, state, self._report)
        sound, test = self.test(line, first + 1, state)
        if first >= len(line.words):
            self._report.error(line, first, "missing", f"`{rule}` needs a value")
            return None, state
        if expr is None or not sound:
            return None, state
        if rule == "set-path":
            action = Rewrite(expr)
        elif rule == "set-query":
            action = Rewrite(None, unmarked(expr))
        else:
            path, query = split_query(expr)
            action = retargeted(expr) if path is None else Rewrite(path, query)
        return self._do(line, test, action), state.after_rewrite()
