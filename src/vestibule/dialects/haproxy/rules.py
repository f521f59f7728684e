"""The rules of a proxy: ``http-request`` and its kin, ``tcp-request``, ``redirect``.

Facts (HAProxy configuration manual, chapter 4.2): rules are run in the order they are written, those for connections
first and redirects last; the first that ends the evaluation decides.

Rules
  Reading a rule gives a step and the state after it (see ``sample.State``).
  A rule that cannot be read is noted and does nothing, so that all mistakes are found.

Not here: how steps become routes (``lower``), answers (``answers``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from vestibule.dialects.haproxy.acl import ALWAYS, Acls, AuthTest, Condition, Term, to_test
from vestibule.dialects.haproxy.answers import Pages, answer_of, condition_at, read_redirect, read_return, refusal, unless_empty
from vestibule.dialects.haproxy.counting import RateTest, Table, changed, limit_of, takes_number, track_actions
from vestibule.dialects.haproxy.editing import Do, Editor, End, Skip, Step
from vestibule.dialects.haproxy.formats import read_format
from vestibule.dialects.haproxy.lexer import Line
from vestibule.dialects.haproxy.pacing import Paces
from vestibule.dialects.haproxy.quantity import parse_time
from vestibule.dialects.haproxy.report import Report, span
from vestibule.dialects.haproxy.sample import as_text, constant_of, is_fleeting, is_shared, read_sample, variable_expr
from vestibule.dialects.haproxy.state import State
from vestibule.dialects.haproxy.tree import Statement
from vestibule.dialects.haproxy.users import Userlist
from vestibule.dialects.haproxy.variables import IF_KNOWN
from vestibule.dialects.origin import Origins
from vestibule.dialects.read import ReadText, Unreadable
from vestibule.model.config import (
    Action,
    BasicAuth,
    Deny,
    HangUp,
    ReadBody,
    Respond,
    SetStatus,
    SetTimeouts,
    SetVariable,
    Source,
)
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import EMPTY, AllOf, Call, Compare, Const, Default, Expr, If, Kind, Var
from vestibule.model.vocabulary import kind_of

_UNLESS = "write `unless { http_auth(USERLIST) }`"
_VARIABLE_RULE = re.compile(r"(?:set-var|set-var-fmt|unset-var)\(([^,()]*)(?:,([^()]*))?\)")
_BUFFER = 16_384
"""Bytes of a body that are waited for where nothing is said."""

Tables = Callable[[str], Table | None]
"""The table of a proxy; None where it has none."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """A rate, and the table that it is of."""

    test: RateTest
    table: str
    period_ms: int


class Rules(Editor):
    """Reads the rules of one proxy."""

    def __init__(
        self,
        acls: Acls,
        userlists: dict[str, Userlist],
        report: Report,
        origins: Origins,
        read_text: ReadText,
        pages: Pages,
        tables: Tables,
        paces: Paces,
    ) -> None:
        super().__init__(acls, userlists, report, origins)
        self._pages = pages
        self._tables = tables
        self._paces = paces
        self._read_text = read_text

    # ------------------------------------------------------------ requests

    def request(self, statement: Statement, state: State, proxy: str) -> tuple[Step | None, State]:
        """Read an ``http-request`` rule; ``proxy`` is the name of its section, which is the realm of ``auth``."""
        line, rule = statement.line, statement.name.removeprefix("http-request ")
        if rule == "set-bandwidth-limit":
            return self.pace(statement, state, response=False), state
        if rule == "replace-path":
            return self._replace_path(line, statement.first, state)
        if rule in ("set-header", "add-header", "del-header", "replace-header", "replace-value"):
            return self.edit(statement, rule, state)
        if rule in ("replace-pathq", "replace-uri"):
            return self._replace_target(line, statement.first, state)
        if rule in ("set-path", "set-pathq", "set-query", "set-uri"):
            return self._rewrite(line, statement.first, rule, state)
        if rule in ("set-var", "set-var-fmt", "unset-var"):
            return self.variable(line, rule, state)
        if rule in ("set-src", "set-src-port", "set-dst", "set-dst-port"):
            return None, self.address(line, statement.first, rule, state)
        if rule in ("set-method", "early-hint", "normalize-uri"):
            return self._changed(line, statement.first, rule, state)
        if rule == "wait-for-body":
            return self._wait(line, statement.first, state), state
        if rule == "set-timeout":
            return self._set_timeout(line, statement.first, state), state
        if rule in ("deny", "tarpit"):
            return self._deny(line, statement.first, rule, state, proxy), state
        if rule in ("reject", "silent-drop"):
            return self._hang_up(line, statement.first, state), state
        if rule.startswith("track-sc"):
            return self._track(line, statement.first, rule[-1], state, proxy)
        if rule.startswith("sc-"):
            return self.change(statement, state), state
        if rule == "capture":
            return self._capture(line, statement.first, state)
        if rule == "auth":
            return self._auth(line, statement.first, state, proxy), state
        end = condition_at(line, statement.first)
        sound, test = self.test(line, end, state)
        if rule == "allow":
            return (Skip(test, line) if sound else None), state
        source: Source | None
        if rule == "redirect":
            source = read_redirect(line, statement.first, end, state, self._report)
            leads = unless_empty(line, statement.first, end, state, self._report)
            if leads == Compare("!=", EMPTY, EMPTY):
                return None, state  # a map without lines leads nowhere
            if leads is not None:
                test = leads if test is None else AllOf((test, leads))
        else:
            source = read_return(line, statement.first, end, state, self._report, self._read_text, 200, self._pages)
        return (End(test, source, line) if sound and source is not None else None), state

    def pace(self, statement: Statement, state: State, response: bool) -> Step | None:
        """Read a rule that puts a limit of bytes in."""
        limit, end = self._paces.limit(statement, state, response)
        sound, test = self.test(statement.line, end, state)
        return self._do(statement.line, test, limit) if sound and limit is not None else None

    def redirect(self, statement: Statement, state: State) -> Step | None:
        """Read a ``redirect`` line."""
        end = condition_at(statement.line, statement.first)
        sound, test = self.test(statement.line, end, state)
        source = read_redirect(statement.line, statement.first, end, state, self._report, literal=True)
        return End(test, source, statement.line) if sound and source is not None else None

    def variable(self, line: Line, rule: str, state: State) -> tuple[Step | None, State]:
        """Read a rule that sets or forgets a variable. There is no step: its value stands in for its name from now on."""
        at = next((index for index, word in enumerate(line.words) if word.text.startswith(rule + "(")), len(line.words))
        found = _VARIABLE_RULE.fullmatch(line.text(at))
        if found is None:
            self._report.error(line, at, "syntax", f"`{rule}` needs a variable", f"write `{rule}(txn.NAME)`")
            return None, state
        name = found[1].strip()
        state.assigned.add(name)
        if is_shared(name):
            state.real.add(name)
        if rule == "unset-var":
            value: Expr | None = EMPTY
            sound, test = self.test(line, at + 1, state)
        else:
            if at + 1 >= len(line.words):
                self._report.error(line, at, "missing", f"`{rule}` needs a value")
                return None, state
            how = read_format if rule == "set-var-fmt" else read_sample
            value = how(line, at + 1, state, self._report)
            sound, test = self.test(line, at + 2, state)
        if value is None or not sound:
            return None, state
        if found[2]:
            known = IF_KNOWN.get(found[2].strip())
            if known is None:
                self._report.not_built(line, at, f"`{found[2].strip()}` of a variable", "write a condition behind the rule")
                return None, state
            held = variable_expr(name, state)  # its name was looked at
            told = Compare(known, as_text(held), EMPTY)
            test = told if test is None else AllOf((told, test))
        had = name in state.variables or is_shared(name)
        if rule == "set-var" and had and kind_of(value) is Kind.TEXT and not isinstance(value, Const):
            # What is not there changes nothing.
            there = Compare("!=", as_text(value), EMPTY)
            test = there if test is None else AllOf((test, there))
        if is_fleeting(value) or (test is not None and is_fleeting(test)):
            state.real.add(name)
        step = self._do(line, test, SetVariable(name, as_text(value), is_shared(name))) if name in state.real else None
        after: Expr | None = value
        if test is not None:
            before = state.variables.get(name, EMPTY)
            after = If(test, as_text(value), as_text(before)) if before is not None else None
        return step, state.with_variable(name, after)

    def _deny(self, line: Line, first: int, rule: str, state: State, proxy: str) -> Step | None:
        end = condition_at(line, first)
        status = 403 if rule == "deny" else 500
        if self._is_silent(line, first, end, status):
            return self._hang_up(line, first, state)
        limited, condition = self._limits(line, end, state, proxy)
        if limited:
            answer = read_return(line, first, end, state, self._report, self._read_text, status, self._pages)
            if answer is None or condition is None:
                return None
            if answer.body is not None or answer.headers or answer.status < 400:
                self._report.not_built(line, first, "an answer of its own to a rate", "say a `deny_status`, and the page with `errorfile`")
            return Do(tuple([self._limit(line, rate, others, max(400, answer.status)) for rate, others in condition]))
        sound, test = self.test(line, end, state)
        answer = read_return(line, first, end, state, self._report, self._read_text, status, self._pages)
        if not sound or answer is None:
            return None
        if rule == "tarpit":
            self._report.warning(line, 1, "left-out", "`tarpit` answers at once", "the connection is not held")
        if answer.body is None and not answer.headers and answer.status >= 400:
            return self._do(line, test, Deny(answer.status))
        return End(test, answer, line)

    def _wait(self, line: Line, first: int, state: State) -> Step | None:
        """``wait-for-body time TIME [at-least BYTES]``."""
        end = condition_at(line, first)
        sound, test = self.test(line, end, state)
        words = {line.text(at): line.text(at + 1) for at in range(first, end, 2)}
        size = words.get("at-least", "0").removesuffix("k")  # 0 is all of it
        try:
            within = parse_time(words["time"])
            least = (int(size) if size.isdecimal() else -1) * (1024 if words.get("at-least", "").endswith("k") else 1)
            if least < 0:
                raise ValueError
        except (KeyError, ValueError):
            self._report.error(line, first, "syntax", "a time is expected, and perhaps bytes", "write `wait-for-body time 5s at-least 1k`")
            return None
        if set(words) - {"time", "at-least"} or not sound:
            self._report.error(line, first, "syntax", "this is no way to wait", "write `wait-for-body time 5s`")
            return None
        return self._do(line, test, ReadBody(max(1, min(least or _BUFFER, 65_536)), max(1, within)))

    def _set_timeout(self, line: Line, first: int, state: State) -> Step | None:
        """``set-timeout server|tunnel TIME``."""
        which, text = line.text(first), line.text(first + 1)
        sound, test = self.test(line, first + 2, state)
        if which == "client":
            self._report.not_built(line, first, "`set-timeout client`", "set that of the server; the longer one holds for bodies")
            return None
        if which not in ("server", "tunnel"):
            self._report.error(line, first, "syntax", f"`{which}` is no time-out that can be set", "write `set-timeout server 30s`")
            return None
        try:
            time_ms = parse_time(text)
        except ValueError:
            if "(" not in text:
                self._report.error(line, first + 1, "syntax", f"`{text}` is no time", "write `set-timeout server 30s`")
                return None
            value = read_sample(line, first + 1, state, self._report)
            computed = None if value is None else constant_of(value)
            if computed is None or computed < 1:
                if value is not None:
                    hint = "write the time, with a rule for each condition"
                    self._report.not_built(line, first + 1, "a time-out that is computed so", hint)
                return None
            time_ms = computed
        action = SetTimeouts(time_ms) if which == "server" else SetTimeouts(tunnel_idle_ms=time_ms)
        return self._do(line, test, action) if sound else None

    def _is_silent(self, line: Line, first: int, end: int, status: int) -> bool:
        """Tell whether a refusal is to send nothing: its file is empty, or a section says so."""
        words = [line.text(at) for at in range(first, end)]
        pairs = dict(pairwise(words))
        text = pairs.get("deny_status", pairs.get("status", ""))
        status = int(text) if text.isdecimal() else status
        if pairs.get("errorfile") == "/dev/null":
            return True
        return "errorfiles" in pairs and self._pages.is_silent(pairs["errorfiles"], status)

    def _hang_up(self, line: Line, first: int, state: State) -> Step | None:
        sound, test = self.test(line, condition_at(line, first), state)
        return self._do(line, test, HangUp()) if sound else None

    # ------------------------------------------------------------ what clients do

    def _limits(self, line: Line, at: int, state: State, proxy: str) -> tuple[bool, list[tuple[_Limit | None, Expr | None]] | None]:
        """Tell whether the condition of a line is about rates; return each with the tests beside it, None after a mistake."""
        if at >= len(line.words) or line.text(at) != "if" or not self._acls.asks_rates(line, at, state):
            return False, None
        condition = self._acls.condition(line, at, state)
        if condition is None:
            return True, None
        found: list[tuple[_Limit | None, Expr | None]] = []
        for alternative in condition:
            rates = [term.test for term in alternative if isinstance(term.test, RateTest) and not term.negated]
            others = tuple([term for term in alternative if not isinstance(term.test, RateTest) or term.negated])
            if len(rates) > 1:
                hint = "write a rule for each alternative, with one rate in it"
                self._report.not_built(line, at, "a condition that joins rates so", hint)
                return True, None
            if not rates:
                found.append((None, to_test((others,), lambda each: self._members(line, at, each))))
                continue
            table = rates[0].table or proxy
            known = self._tables(table)
            period = known.periods.get("http_req_rate") if known is not None else None
            if period is None:
                hint = f"add `stick-table type ip size 100k expire 1m store http_req_rate(10s)` to `{table}`"
                self._report.error(line, at, "unknown-reference", f"`{table}` has no `stick-table` with `http_req_rate(PERIOD)`", hint)
                return True, None
            try:
                test = to_test((others,), lambda each: self._members(line, at, each)) if others else None
            except Unreadable as bad:
                self._report.error(line, at, bad.code, bad.message, bad.hint)
                return True, None
            found.append((_Limit(rates[0], table, period), test))
        return True, found

    def _limit(self, line: Line, limit: _Limit | None, others: Expr | None, status: int) -> Action:
        if limit is None:
            return self._do(line, others, Deny(status)).actions[0]
        action = limit_of(limit.test, limit.table, limit.period_ms, status)
        return self._do(line, others, action).actions[0]

    def track(self, statement: Statement, state: State, proxy: str) -> tuple[Step | None, State]:
        """Read ``tcp-request … track-sc0``."""
        per_connection = statement.name != "tcp-request content"
        return self._track(statement.line, statement.first + 1, statement.line.text(statement.first)[-1], state, proxy, per_connection)

    def _track(
        self, line: Line, first: int, slot: str, state: State, proxy: str, per_connection: bool = False
    ) -> tuple[Step | None, State]:
        """``track-sc0 KEY [table NAME]``."""
        end = condition_at(line, first)
        key = read_sample(line, first, state, self._report)
        sound, test = self.test(line, end, state)
        name = line.text(first + 2) if line.text(first + 1) == "table" and first + 2 < end else proxy
        table = self._tables(name)
        if key is None or not sound:
            return None, state
        if table is None:
            hint = f"add `stick-table type ip size 100k expire 1m store http_req_rate(10s)` to `{name}`"
            self._report.error(line, first, "unknown-reference", f"`{name}` has no `stick-table`", hint)
            return None, state
        if per_connection and "conn_cur" in table.periods:
            self._report.warning(line, first, "conn-cur", "`conn_cur` counts requests that are under way", "idle connections do not count")
        actions = track_actions(slot, as_text(key), test, table, state, per_connection)
        return self._do(line, None, *actions), state.with_tracked(slot, name, tuple(table.periods))

    def change(self, statement: Statement, state: State) -> Step | None:
        """Read ``sc-inc-gpc0(SLOT)`` and its kin."""
        line = statement.line
        at = next((index for index, word in enumerate(line.words) if word.text.startswith("sc-")), len(line.words))
        sound, test = self.test(line, at + 1 + takes_number(line.text(at)), state)
        try:
            tables = {each.table: self._tables(each.table) for each in state.tracked.values()}
            actions = changed(line, at, state, {name: table for name, table in tables.items() if table is not None})
        except Unreadable as bad:
            self._report.error(line, at, bad.code, bad.message, bad.hint)
            return None
        return self._do(line, test, *actions) if sound else None

    def _capture(self, line: Line, first: int, state: State) -> tuple[Step | None, State]:
        """``capture SAMPLE len N`` takes the next slot, ``capture SAMPLE id N`` one that was declared."""
        end = condition_at(line, first)
        value = read_sample(line, first, state, self._report)
        sound, test = self.test(line, end, state)
        how, text = line.text(first + 1), line.text(first + 2)
        if how not in ("len", "id") or not text.isdecimal():
            self._report.error(line, first + 1, "syntax", "`len` or `id` with a number is expected", "write `capture SAMPLE len 32`")
            return None, state
        if value is None or not sound:
            return None, state
        slot = int(text) if how == "id" else state.slots.get((line.file, line.number))
        if slot is None:
            self._report.error(line, first + 1, "misplaced", "only frontends declare captures", "write `capture SAMPLE id N`")
            return None, state
        value = as_text(value)
        if how == "len":
            value = Call("slice", (value, Const(0), Const(int(text))))
        state = state.with_capture(value if test is None else If(test, value, EMPTY), slot)
        if state.logged is None:
            return None, state
        # A line of a log tells what was captured at this moment.
        name = ("capture.req.hdr", str(slot))
        kept = f"capture{slot}"
        state.logged[name] = Default(Var("kept", kept), EMPTY)
        return self._do(line, test, SetVariable(kept, value)), state

    def reject(self, statement: Statement, state: State) -> Step | None:
        """Read a ``tcp-request`` rule: ``accept`` skips the others, ``reject`` refuses the request."""
        line, at = statement.line, statement.first
        verb = line.text(at)
        if verb not in ("accept", "reject", "silent-drop"):
            if not verb:
                self._report.error(line, at, "missing", "`accept` or `reject` is expected here")
            else:
                self._report.not_built(line, at, f"`{verb}` in `tcp-request`", did_you_mean(verb, ("accept", "reject")))
            return None
        sound, test = self.test(line, at + 1, state)
        if not sound:
            return None
        if verb == "accept":
            return Skip(test, line)
        return self._do(line, test, HangUp())

    # ------------------------------------------------------------ credentials

    def _auth(self, line: Line, first: int, state: State, proxy: str) -> Step | None:
        """Read ``http-request auth``: who fails its condition because of ``http_auth`` is asked for credentials."""
        end = condition_at(line, first)
        realm, at = proxy, first
        while at < end:
            if line.text(at) != "realm" or at + 1 >= end:
                self._report.error(line, at, "syntax", f"`{line.text(at)}` is not expected here", "write `realm NAME`, then the condition")
                return None
            realm, at = line.text(at + 1), at + 2
        condition = self._acls.condition(line, end, state)
        if condition is None:
            return None
        if not any(isinstance(term.test, AuthTest) for alternative in condition for term in alternative):
            sound, test = self.test(line, end, state)
            self._report.warning(line, end, "nobody-passes", "nobody can pass, since no userlist is named", _UNLESS)
            page = "<html><body><h1>401 Unauthorized</h1>\nYou need a valid user and password to access this content.\n</body></html>\n"
            refused = answer_of(401, page)
            asks = ("WWW-Authenticate", Const(f'Basic realm="{realm}"'))
            return End(test, self._origins.at(span(line), replace(refused, headers=(*refused.headers, asks))), line) if sound else None
        actions: list[Action] = []
        for alternative in condition:
            action = self._ask(line, end, alternative, realm)
            if action is None:
                return None
            actions.append(action)
        return Do(tuple(actions))

    def _ask(self, line: Line, at: int, alternative: tuple[Term, ...], realm: str) -> Action | None:
        """Make the action of one alternative: asks unless one of the users is shown, where the other terms hold."""
        users: dict[str, str] = {}
        others: Condition = ALWAYS
        asked = False
        for term in alternative:
            if not isinstance(term.test, AuthTest):
                others = ((*others[0], term),)
                continue
            members = self._members(line, at, term.test)
            if members is None:
                return None
            if not term.negated:
                self._report.not_built(line, at, "asking those who have shown credentials", "write `unless { http_auth(USERLIST) }`")
                return None
            asked = True
            users.update(members)
        if not asked:
            self._report.error(line, at, "nobody-passes", "nobody could pass, since no userlist is named", _UNLESS)
            return None
        auth = BasicAuth(tuple(users.items()), realm)
        test = to_test(others, lambda each: self._members(line, at, each)) if others[0] else None
        return self._do(line, test, auth).actions[0]

    # ------------------------------------------------------------ answers

    def response(self, statement: Statement, state: State) -> tuple[Step | None, State]:
        """Read an ``http-response`` or ``http-after-response`` rule."""
        line, first = statement.line, statement.first
        rule = statement.name.partition(" ")[2]
        if rule == "content":
            rule = line.text(first).partition("(")[0]
            if rule not in ("set-var", "set-var-fmt", "unset-var") and not rule.startswith(("sc-inc-gpc", "sc-add-gpc", "sc-set-gpt")):
                return self._inspect(line, first, state), state
        if rule.endswith("-header") or rule == "replace-value":
            return self.edit(statement, rule, state, response=True)
        if rule in ("set-var", "set-var-fmt", "unset-var"):
            return self.variable(line, rule, state)
        if rule == "set-bandwidth-limit":
            return self.pace(statement, state, response=True), state
        if rule.startswith("sc-"):
            return self.change(statement, state), state
        if rule == "set-status":
            return self._set_status(line, first, state), state
        if rule == "wait-for-body":
            return self._wait(line, first, state), state
        end = condition_at(line, first)
        sound, test = self.test(line, end, state)
        if rule == "allow":
            if end > first:
                self._report.error(line, first, "syntax", f"`{line.text(first)}` is not expected here", "write a condition")
                return None, state
            return (Skip(test, line) if sound else None), state
        source: Source | None
        if rule == "redirect":
            source = read_redirect(line, first, end, state, self._report)
        else:
            status = 502 if rule == "deny" else 200
            source = read_return(line, first, end, state, self._report, self._read_text, status, self._pages)
            if rule == "deny" and isinstance(source, Respond) and source.body is None and not source.headers:
                source = self._pages.page("", source.status) or refusal(source.status)
        return (End(test, source, line) if sound and source is not None else None), state

    def _inspect(self, line: Line, first: int, state: State) -> Step | None:
        """``tcp-response content``: ``accept`` skips the others of its set, ``reject`` refuses the answer."""
        verb = line.text(first)
        sound, test = self.test(line, first + 1, state)
        if verb == "close":
            self._report.warning(line, first, "left-out", "`close` is left out", "connections to servers are kept as the pool has them")
            return None
        if verb not in ("accept", "reject"):
            self._report.not_built(line, first, f"`{verb}` in `tcp-response`", did_you_mean(verb, ("accept", "reject")))
            return None
        if verb == "accept":
            return Skip(test, line) if sound else None
        self._report.warning(
            line, first, "answered", "the client gets 502, where HAProxy closes its connection", "write `http-response deny`"
        )
        return End(test, self._pages.page("", 502) or refusal(502), line) if sound else None

    def _set_status(self, line: Line, first: int, state: State) -> Step | None:
        """``set-status STATUS [reason WORDS]``."""
        text, at, reason = line.text(first), first + 1, ""
        if line.text(at) == "reason":
            reason, at = line.text(at + 1), at + 2
        sound, test = self.test(line, at, state)
        if not text.isdecimal() or len(text) != 3 or not 200 <= int(text) <= 599 or text in ("204", "304"):
            hint = "use 200 to 599, but for 204 and 304, which have no body"
            self._report.error(line, first, "out-of-range", f"`{text}` is no status that any answer can have", hint)
            return None
        return self._do(line, test, SetStatus(int(text), reason)) if sound else None
