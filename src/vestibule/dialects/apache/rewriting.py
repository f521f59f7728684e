"""``RewriteRule`` with its conditions.

Facts:
* Rules of a virtual host run before ``ProxyPass`` is looked at. They are not inherited from outside unless ``RewriteOptions`` says so.
* Conditions belong to the next rule and all must hold, but for those with ``[OR]``.
* ``$1`` is what the rule's pattern captured in the path, ``%1`` what the last condition's did.
* ``[C]`` ties the next rule to this one; ``[S=n]`` leaves out the next ones where this one fits.
* ``[N]`` begins with the first rule again, for the path as it is; vestibule ends that with 500 after 30 rounds.
* In a section rules come after the question who it is, and look at the name of the file, without the path of the section. A new path
  there is asked for from the beginning, unless that is where it came from; with ``[END]`` no rule is looked at again.
* A new path goes through the rules below; without ``[P]``, ``[R]`` or ``[PT]`` it names a file in the end.

Rules: rules are followed once, when they are read, and become choices of routes.

Not here: texts of rules (``rule_text``), ``Redirect`` (``redirects``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vestibule.dialects.apache.expressions import compare_numbers, negated, read_test
from vestibule.dialects.apache.functions import in_order, is_there
from vestibule.dialects.apache.proxying import Passes
from vestibule.dialects.apache.redirects import STATUSES
from vestibule.dialects.apache.rule_flow import Changes, Flow
from vestibule.dialects.apache.rule_text import RuleTexts
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.sections import as_answered, both
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.upstreams import read_target
from vestibule.dialects.apache.variables import SERVER_VARIABLES, SET_EMPTY, Names, to_pattern
from vestibule.dialects.part import NOTHING, Part, choose, encoded, with_query
from vestibule.dialects.record import Record
from vestibule.model.config import Action, AddHeader, Again, Deny, Redirect, Respond, Rewrite, Route, Switch, When
from vestibule.model.diagnostic import did_you_mean
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Const, Expr, If, InSet, Kind, Match, Not, Var, concat, walk
from vestibule.model.vocabulary import kind_of

_PATH = Var("decoded_path")
_WITHOUT_EFFECT = (
    "NS", "DPI", "BNP", "NC", "QSL", "UNSAFEALLOW3F", "UNSAFEPREFIXSTAT", "UNC", "NV",
)  # fmt: skip
_KNOWN = ("R", "P", "F", "G", "QSA", "QSD", "PT", "E", "OR", "L", "END", "NE", "C", "S", "CO", "B", "N")
_LONGER = {
    "LAST": "L", "REDIRECT": "R", "PROXY": "P", "FORBIDDEN": "F", "GONE": "G", "NOCASE": "NC", "ORNEXT": "OR", "QSAPPEND": "QSA",
    "QSDISCARD": "QSD", "NOESCAPE": "NE", "PASSTHROUGH": "PT", "ENV": "E", "NOSUBREQ": "NS", "CHAIN": "C", "SKIP": "S", "COOKIE": "CO",
    "NEXT": "N", "TYPE": "T", "HANDLER": "H", "DISCARDPATH": "DPI", "NOVARY": "NV", "QSLAST": "QSL",
}  # fmt: skip
_ANOTHER_ROUND = AllOf((Var("around"), Compare("==", Var("error_status"), Const(0))))
_BEHIND_SERVER = re.compile(r"^[a-z0-9]+://[^/?$%]*", re.IGNORECASE)
_OPTIONS = (
    "inherit", "inheritbefore", "inheritdown", "inheritdownbefore", "ignoreinherit", "allownoslash", "allowanyuri", "mergebase",
    "ignorecontextinfo", "legacyprefixdocroot", "longurloptimization", "unsafeprefixstat", "unsafeallow3f",
)  # fmt: skip
_MOST_WAYS = 12
_MOST_STEPS = 3_000
_STEPS_FOR_EACH = 4
_EVERY_PATH = ("^", ".*", "^.*$", "^(.*)$", "(.*)", "^.*", "^/(.*)$", "^/(.*)", "^/?(.*)", "^/?(.*)$", "/(.*)", "^/", ".", "^.+", ".+")
_EVERY_TEXT = ("^", ".*", "^.*$", "^(.*)$", "(.*)", "^.*", ".", "^.+$", "^.+", ".+", "^.")
_NUMBERS = ("-eq", "-ne", "-lt", "-le", "-gt", "-ge")


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule with its conditions and flags. Cookies and variables may be several."""

    directive: Directive
    conditions: tuple[Directive, ...]
    flags: dict[str, list[str]]

    def flag(self, name: str) -> str:
        """Return the value of a flag; empty where it has none."""
        return self.flags[name][-1] if name in self.flags else ""


@dataclass(frozen=True, slots=True)
class Inside:
    """The section that rules stand in: its test, what its rules look at, and what is asked before they are."""

    test: Expr | None
    file: Expr
    is_proxied: bool
    guard: tuple[Action, ...] = ()
    name: Expr | None = None
    """The whole name of the file; None where there may be none."""
    base: str | None = None
    """What is put in front of new paths without a slash, for clients; None where they cannot be."""


class Rewriting:
    """Lowers the rules of one virtual host, or of a section in it."""

    def __init__(
        self,
        record: Record,
        names: Names,
        passes: Passes,
        scope: Scope,
        texts: RuleTexts,
        inside: Inside | None = None,
    ) -> None:
        self._inside = inside
        self._record = record
        self._names = names
        self._passes = passes
        self._scope = scope
        self._texts = texts
        self._rules: list[_Rule] = []
        self._made: dict[tuple[int, int], tuple[Part, int]] = {}
        """What was made of the rules from one on, after which rule had renamed the path, and how many rules that takes."""
        self._steps = 0
        self._is_too_much = False
        self._round: Directive | None = None
        self._served: Callable[[Directive | None], Part] = lambda _: NOTHING
        self._sent: Redirect | None = None
        """Where clients are sent by a rule that does not end the rules; those below it look at that address."""

    def read(self, program: Sequence[Directive]) -> None:
        """Take the rules, conditions among them, and follow what sets variables."""
        conditions: list[Directive] = []
        for directive in program:
            if directive.name == "rewritecond":
                conditions.append(directive)
                continue
            self._rules.append(_Rule(directive, tuple(conditions), self._flags(directive, 2)))
            conditions = []
        for directive in conditions:
            self._record.warning(directive.span, "left-out", "this condition has no rule below it", "take it out")
        self._names.file = _PATH if self._inside is None else self._inside.name
        self._round = next((rule.directive for rule in reversed(self._rules) if "N" in rule.flags), None)
        if any("E" in rule.flags for rule in self._rules):
            self._follow()
        self._names.file = None

    def _follow(self) -> None:
        """Follow the rules as far as they set variables."""
        flow = Flow()
        for at, rule in enumerate(self._rules):
            if flow.is_lost(at):
                message = "there are too many ways to this rule to follow what variables are set"
                self._record.error(rule.directive.span, "too-many-ways", message, "end rules that rewrite with `[L]`")
                return
            test = self._test(rule)
            if "E" in rule.flags and test is not None:
                self._set_variables(rule, test, flow, at)
            text, flags = rule.directive.text(1), rule.flags
            ends = not flags.keys().isdisjoint(("F", "G", "P", "R", "L", "END", "PT", "N")) or _is_url(text)
            ends = ends or (text != "-" and self._inside is not None)
            changes = self._changes(text, rule) if text != "-" and not ends else ()
            skipped = rule.flag("S")
            following = at + 1 + (int(skipped) if skipped.isdecimal() else 0)
            missed = self._after_chain(at) if "C" in flags else at + 1
            flow.leads(at, Const(False) if test is None else test, None if ends else following, missed, changes)

    def _changes(self, text: str, rule: _Rule) -> Changes:
        """Return what a new path makes of path and query."""
        made = self._new_path(text, rule)
        changes: list[tuple[Expr, Expr]] = []
        if made.path is not None:
            changes.append((_PATH, Call("url_decode", (made.path,))))
        if made.query is not None:
            changes.append((Var("query"), made.query))
        return tuple(changes)

    def has_upstreams(self) -> bool:
        """Tell whether a rule leads to a server."""
        return any("P" in rule.flags for rule in self._rules)

    def lower(self, served: Callable[[Directive | None], Part]) -> Part:
        """Return what rules and what follows make of a request. ``served`` returns what follows; told of a rule, that has made the
        path the name of a file."""
        self._served = served
        self._names.file = _PATH if self._inside is None else self._inside.name
        made = self._from(0, None)
        self._names.file = None
        return made

    def _from(self, at: int, renames: Directive | None) -> Part:
        """Return what the rules from one on, and what follows, make of a request. The last rule is looked at first, so that many do not
        stand inside of each other."""
        at, of = min(at, len(self._rules)), id(renames)
        last = at if (of, at) in self._made else len(self._rules)
        for place in range(last, at - 1, -1):
            if (of, place) not in self._made:
                outside, self._steps = self._steps, 1
                part = self._step(place, renames)
                if self._steps > _MOST_STEPS + _STEPS_FOR_EACH * len(self._rules):
                    part, self._steps = self._lost(place), 1
                self._made[of, place] = part, self._steps
                self._steps = outside
        part, steps = self._made[of, at]
        self._steps += steps
        return part

    def _lost(self, at: int) -> Part:
        """Tell, once, that rules branch more often than is followed."""
        if not self._is_too_much:
            self._is_too_much = True
            span = self._rules[at].directive.span
            self._record.error(span, "too-deep", "rules branch too often here", "end rules with `L`, or use fewer of them")
        return NOTHING

    def _step(self, at: int, renames: Directive | None) -> Part:
        if self._is_too_much:
            return NOTHING
        if at >= len(self._rules) and self._sent is not None:
            return Part(self._sent)
        if at >= len(self._rules):
            if self._round is not None and renames is None:
                # A path that a round before has changed is the name of a file, too.
                return choose(_ANOTHER_ROUND, self._served(self._round), self._served(None))
            return self._served(renames)
        rule = self._rules[at]
        test = self._test(rule)
        if test is None:
            return self._from(at + 1, renames)
        missed = self._after_chain(at) if "C" in rule.flags else at + 1
        if self._sent is not None and test == Const(False):
            return self._from(missed, renames)
        return self._matched(rule, test, at, missed, renames)

    def _after_chain(self, at: int) -> int:
        while at < len(self._rules) and "C" in self._rules[at].flags:
            at += 1
        return at + 1

    def _matched(self, rule: _Rule, test: Expr, at: int, missed: int, renames: Directive | None) -> Part:
        flags, text = rule.flags, rule.directive.text(1)
        cookies = tuple([self._cookie(rule, each) for each in flags.get("CO", [])])
        answer = self._answer(rule)
        if answer is not None or (text != "-" and self._inside is not None):
            answer = answer or self._anew(rule, at)
            if isinstance(answer.source, Redirect) and self._inside is None and flags.keys().isdisjoint(("L", "END", "PT")):
                answer = self._goes_on(answer.source, at, renames)
            if self._inside is not None:
                answer = answer.before(*self._inside.guard)
            return self._chosen(test, _with_response(answer, cookies), lambda: self._from(missed, renames))
        if self._sent is not None and text != "-":
            hint = "end the rule with `L` that sends clients elsewhere"
            not_built(self._record, rule.directive, 1, "a new path behind a redirect that goes on", hint)
        following = self._following(rule, at)
        is_last = not flags.keys().isdisjoint(("L", "END", "PT"))
        if "N" in flags and self._inside is not None:
            not_built(self._record, rule.directive, 2, "the flag `N` in a section", "write the rule in the virtual host")
        if "N" in flags and not is_last:
            changes = (self._new_path(text, rule),) if text != "-" else ()
            part = Part(Again()).before(*changes)
            return self._chosen(test, _with_response(part, cookies), lambda: self._from(missed, renames))
        if text == "-":
            following = len(self._rules) if is_last else following
            if following == missed and not is_last:
                part = self._from(missed, renames)
                return _with_response(part, (When(as_answered(test), cookies),) if cookies else ())
            return self._chosen(test, _with_response(self._from(following, renames), cookies), lambda: self._from(missed, renames))
        # `PT` ends the rules as `L` does, and what `ProxyPass` and the like say of the new path holds.
        changed = self._new_path(text, rule)
        behind = len(self._rules) if is_last else following
        part = (self._served(None) if "PT" in flags else self._from(behind, rule.directive)).before(changed)
        return self._chosen(test, _with_response(part, cookies), lambda: self._from(missed, renames))

    def _following(self, rule: _Rule, at: int) -> int:
        """Return the rule that comes next where one fits."""
        skipped = rule.flag("S")
        if "S" in rule.flags and not skipped.isdecimal():
            self._record.error(rule.directive.place(2), "bad-value", f"`S={skipped}` says how many rules to leave out", "write `S=1`")
        return at + 1 + (int(skipped) if skipped.isdecimal() else 0)

    def _goes_on(self, sent: Redirect, at: int, renames: Directive | None) -> Part:
        """Return what the rules below make of a request that a rule has sent elsewhere, and not ended."""
        outside = self._sent, self._made
        self._sent, self._made = sent, {}
        part = self._from(self._following(self._rules[at], at), renames)
        self._sent, self._made = outside
        return part

    def _anew(self, rule: _Rule, at: int) -> Part:
        """Return what a new path by a rule in a section makes of a request: it is asked for from the beginning."""
        directive, flags = rule.directive, rule.flags
        is_last = at + 1 == len(self._rules) or not flags.keys().isdisjoint(("L", "END", "PT"))
        if not is_last or not flags.keys().isdisjoint(("S", "C", "N")):
            hint = "end the rule with `L` and nothing else, or write it in the virtual host"
            not_built(self._record, directive, 1, "a new path by a rule in a section with others behind it", hint)
        text = self._of_clients(directive)
        again = (self._served(directive) if "END" in flags else Part(Again())).before(self._new_path(text, rule))
        if directive.text(1).startswith("/"):
            return again
        # The same file once more is no new one.
        same = Compare("==", self._texts.read(text.partition("?")[0], directive.place(1)), _PATH)
        return choose(same, self._served(None), again)

    def _of_clients(self, directive: Directive) -> str:
        """Return the new path of a rule in a section as clients would write it."""
        text = directive.text(1)
        for name in ("%{REQUEST_FILENAME}", "%{SCRIPT_FILENAME}"):
            if text.startswith(name):
                text = "%{REQUEST_URI}" + text.removeprefix(name)
        text = text.removeprefix("%{DOCUMENT_ROOT}")
        if text.startswith(("/", "%{REQUEST_URI}")):
            return text
        base = self._inside.base if self._inside is not None else None
        if base is None:
            not_built(self._record, directive, 1, "a path without `/` in front here", "begin it with `/`")
        return f"{base or '/'}{text}"

    def _answer(self, rule: _Rule) -> Part | None:
        """Return what a rule answers by itself; None if it goes on."""
        flags, text = rule.flags, rule.directive.text(1)
        if "F" in flags or "G" in flags:
            status = 403 if "F" in flags else 410
            return Part(Respond(status), (Deny(status),))
        if rule.flag("R").startswith(("2", "4", "5")):
            return self._redirect(rule)  # a status that is no redirect is answered whatever the path
        if text == "-":
            return None
        if "P" in flags:
            return self._proxied(rule)
        return self._redirect(rule) if "R" in flags or _is_url(text) else None

    def _chosen(self, test: Expr, then: Part, otherwise: Callable[[], Part]) -> Part:
        if test == Const(True):
            return then
        return otherwise() if test == Const(False) else choose(test, then, otherwise())

    def _flags(self, directive: Directive, at: int) -> dict[str, list[str]]:
        text = directive.text(at)
        if not text:
            return {}
        if not (text.startswith("[") and text.endswith("]")):
            self._record.error(directive.place(at), "bad-value", f"`{text}` is no list of flags", "write `[L,R=301]`")
            return {}
        flags: dict[str, list[str]] = {}
        for each in text[1:-1].split(","):
            name, _, value = each.strip().partition("=")
            key = _LONGER.get(name.upper(), name.upper())
            if key not in (*_KNOWN, *_WITHOUT_EFFECT):
                not_built(self._record, directive, at, f"the flag `{name}`")
            flags.setdefault(key, []).append(value)
        return flags

    def _set_variables(self, rule: _Rule, test: Expr, flow: Flow, at: int) -> None:
        """Follow ``[E=NAME:value]``, and ``[E=!NAME]``, for requests that come to the rule."""
        environment = self._names.environment
        inside = None if self._inside is None else self._inside.test
        for each in rule.flags["E"]:
            name, _, value = each.partition(":")
            made = EMPTY if name.startswith("!") else self._texts.read(value, rule.directive.place(2))
            if made == EMPTY and not name.startswith("!"):
                made = SET_EMPTY
            name = name.removeprefix("!")
            self._names.settable.add(name)
            tests: dict[Expr, list[Expr]] = {}
            ways = flow.to(at, test, [made])
            if len(ways) > _MOST_WAYS:
                not_built(self._record, rule.directive, 2, "a variable behind so many rules", "set it further up")
            for way in ways[:_MOST_WAYS]:
                tests.setdefault(way.seen(made), []).append(way.tested(test))
            for seen, found in tests.items():
                whole = found[0] if len(found) == 1 else AnyOf(tuple(found))
                whole = (inside or whole) if whole == Const(True) else both(inside, whole) or whole
                environment[name] = seen if whole == Const(True) else If(whole, seen, environment.get(name, EMPTY))

    def _cookie(self, rule: _Rule, text: str) -> Action:
        """Return the cookie of ``[CO=name:value:domain:minutes:path:secure:httponly:samesite]``."""
        mark = text[0] if text.startswith(";") else ":"
        parts = [*_split(text.removeprefix(";"), mark), *[""] * 8][:8]
        name, value, domain, minutes, path, secure, http_only, same_site = parts
        span = rule.directive.place(2)
        if not name or not domain:
            self._record.error(span, "bad-value", f"`CO={text}` is no cookie", "write `CO=name:value:domain`")
        pieces: list[Expr] = [Const(f"{name}="), self._texts.read(value, span), Const("; path="), self._texts.read(path or "/", span)]
        pieces += [Const("; domain="), self._texts.read(domain, span)]
        if minutes not in ("", "0", "-1"):
            if not minutes.isdecimal():
                self._record.error(span, "bad-value", f"`{minutes}` is no number of minutes")
            else:
                pieces.append(Const(f"; max-age={int(minutes) * 60}"))
        pieces += [Const("; secure")] if secure.lower() in ("secure", "true", "1") else []
        pieces += [Const("; HttpOnly")] if http_only.lower() in ("httponly", "true", "1") else []
        pieces += [Const(f"; SameSite={same_site}")] if same_site.lower() not in ("", "false", "0") else []
        return AddHeader("Set-Cookie", concat(pieces))

    # ------------------------------------------------------------ tests

    def _test(self, rule: _Rule) -> Expr | None:
        """Return the test of a rule with its conditions, and set what ``$1`` and ``%1`` mean. None, noted, where it is none."""
        directive = rule.directive
        text = directive.text(0)
        ignore_case = "NC" in rule.flags
        is_negated = text.startswith("!")
        self._names.condition = None
        try:
            pattern = to_pattern(text.removeprefix("!"))
            subject = self._subject(pattern)
            self._names.rule = (subject, to_pattern(text.removeprefix("!"), ignore_case))
        except ValueError as bad:
            self._record.error(directive.place(0), "bad-regex", str(bad))
            return None
        if self._inside is not None and self._inside.is_proxied:
            self._check_section_rule(rule, pattern)
        found: Expr = Match(pattern, subject, ignore_case)
        tests: list[Expr] = [Not(found) if is_negated else found]
        if self._sent is not None and pattern.startswith(("^/", "^\\/", "^\\.")):
            return Const(is_negated)
        # A pattern that every path fits is no test.
        if not is_negated and pattern in (_EVERY_PATH if self._inside is None else _EVERY_TEXT):
            tests = []
        either: list[Expr] = []
        for condition in rule.conditions:
            flags = self._flags(condition, 2)
            test = self._condition(condition, "NC" in flags)
            if test is None:
                return None
            either.append(test)
            if "OR" not in flags:
                tests.append(either[0] if len(either) == 1 else AnyOf(tuple(either)))
                either = []
        if either:
            tests.append(AnyOf(tuple(either)))
        if Const(False) in tests:
            return Const(False)
        tests = [each for each in tests if each != Const(True)]
        return AllOf(tuple(tests)) if len(tests) > 1 else tests[0] if tests else Const(True)

    def _subject(self, pattern: str) -> Expr:
        """Return what a pattern is searched for in."""
        if self._sent is not None:
            return Call("url_decode", (Call("capture", (self._sent.location, Const("^([^?]*)"), Const("1"))),))
        return _PATH if self._inside is None else self._inside.file

    def _check_section_rule(self, rule: _Rule, pattern: str) -> None:
        """Note a rule that looks at what is no path: where something is proxied, httpd has the address of the server there."""
        texts = [rule.directive.text(1), *[each.text(0) for each in rule.conditions], rule.directive.text(2)]
        if pattern not in _EVERY_TEXT or any("$1" in each or "$0" in each for each in texts):
            hint = "write the rule in the virtual host, or the pattern `^` with `RewriteCond %{REQUEST_URI}`"
            not_built(self._record, rule.directive, 0, "a rule about the path beside a `ProxyPass`, or in an `<If>`,", hint)

    def _condition(self, condition: Directive, ignore_case: bool) -> Expr | None:
        text = condition.text(1)
        if condition.text(0).lower() == "expr":
            return read_test(self._record, self._names, text, condition.place(1))
        subject = self._texts.read(condition.text(0), condition.place(0))
        is_negated = text.startswith("!")
        bare = text.removeprefix("!")
        if bare.startswith(_NUMBERS):
            test = compare_numbers(bare[:3], subject, self._texts.read(bare[3:].strip(), condition.place(1)))
        elif bare.startswith("-") and len(bare) == 2:
            there = is_there(bare, subject) if bare != "-e" else None
            if there is None:
                not_built(self._record, condition, 1, f"the test `{bare}`", "files and directories are looked for, `-f` and `-d`")
                return None
            if bare == "-s":
                self._record.warning(condition.place(1), "differs", "a file is looked for, and may be empty", "write `-f`")
            test = there
        elif bare.startswith("="):
            test = self._equal(subject, bare[1:], ignore_case)
        elif bare.startswith((">", "<")):
            operator = bare[:2] if bare[1:2] == "=" else bare[0]
            value = bare[len(operator) :]
            test = in_order(operator, subject, Const("" if value == '""' else value), True)
        else:
            try:
                pattern = to_pattern(bare)
                if not is_negated:
                    self._names.condition = (subject, to_pattern(bare, ignore_case))
            except ValueError as bad:
                self._record.error(condition.place(1), "bad-regex", str(bad))
                return None
            test = _simple(subject, bare) or Match(pattern, subject, ignore_case)
        return negated(test) if is_negated else test

    def _equal(self, subject: Expr, text: str, ignore_case: bool) -> Expr:
        value = "" if text == '""' else text
        if ignore_case or kind_of(subject) is not Kind.TEXT:
            return InSet(subject, (value,), ignore_case)
        return Compare("==", subject, Const(value))

    # ------------------------------------------------------------ what comes of it

    def _proxied(self, rule: _Rule) -> Part:
        text = rule.directive.text(1)
        fixed = text
        for mark in ("$", "%"):
            fixed = fixed.partition(mark)[0]
        target = read_target(self._record, rule.directive, fixed, 1)
        if target is None:
            return NOTHING
        way = self._passes.use(target, self._scope, rule.directive, len(rule.directive.args))
        if way is None:
            return NOTHING
        # The path begins behind the server, whether a slash, a group or a variable stands there.
        rest = _BEHIND_SERVER.split(text, maxsplit=1)[-1]
        path = rest.removeprefix("/")
        rest = rest if rest and not rest.startswith("?") else f"/{rest}"
        action = self._new_path(rest, rule)
        if action.path is not None and not self._begins_with_slash(rest):
            action = replace(action, path=If(Match("^/", action.path), action.path, concat([Const("/"), action.path])))
        same = isinstance(action.path, Call) and action.path == Call("encode_path", (_PATH,))
        whole = (
            rest.startswith("/") and self._names.rule is not None and path in ("$1", "%{REQUEST_URI}") and _takes_all(self._names.rule[1])
        )
        if self._names.condition is not None and self._names.condition[0] == SERVER_VARIABLES["THE_REQUEST"] and path == "%1":
            # The target as the request line has it, query and all.
            whole, action = True, replace(action, query=None)
        kept = (same or whole) and "B" not in rule.flags and action.query is None
        if way.path and action.path is not None:
            action = replace(action, path=concat([encoded(Const(way.path)), action.path]))
            kept = False
        return _as_part(way.route(None, () if kept else (action,)))

    def _begins_with_slash(self, text: str) -> bool:
        """Tell whether a text of a rule begins with a slash, whatever the path is."""
        pattern = self._names.rule[1] if self._names.rule is not None else ""
        of_group = text.startswith("$1") and (pattern.startswith(("(/", "^(/")) or (pattern in _EVERY_PATH and "/" not in pattern))
        return text.startswith(("/", "%{REQUEST_URI}", "$0")) or of_group

    def _new_path(self, text: str, rule: _Rule) -> Rewrite:
        path, mark, query = text.partition("?")
        span = rule.directive.place(1)
        made = self._texts.read(path, span, "whole" if "B" in rule.flags else "path")
        made = Call("encode_path", (_PATH,)) if made == _PATH else encoded(made) if isinstance(made, Const) else made
        if "QSD" in rule.flags and not mark:
            return Rewrite(made, EMPTY)
        if not mark:
            return Rewrite(made)
        added = self._texts.read(query, span, "query" if "B" in rule.flags else "")
        return Rewrite(made, concat([added, with_query("&")]) if "QSA" in rule.flags else added)

    def _redirect(self, rule: _Rule) -> Part:
        status = rule.flag("R")
        span = rule.directive.place(1)
        if status not in STATUSES:
            if status.isdecimal() and 400 <= int(status) <= 599:
                return Part(Respond(int(status)), (Deny(int(status)),))
            if status.isdecimal() and 200 <= int(status) <= 299:
                return Part(Respond(int(status)))
            self._record.error(rule.directive.place(2), "bad-value", f"`{status}` is no status of a redirect")
        text = rule.directive.text(1)
        if self._inside is not None and not _BEHIND_SERVER.match(text) and not text.startswith("%{"):
            text = self._of_clients(rule.directive)
        escapes = "NE" not in rule.flags
        location = self._texts.read(text.removesuffix("?"), span, "whole" if "B" in rule.flags else "path" if escapes else "")
        if any(each == _PATH for each in walk(location)) and escapes:
            location = _path_encoded(location)
        if "?" not in text and "QSD" not in rule.flags:
            location = concat([location, with_query("?")])
        elif "QSA" in rule.flags:
            location = concat([location, with_query("&")])
        return Part(Redirect(location, STATUSES.get(status, 302)))


def _is_url(text: str) -> bool:
    """Tell whether a new path is an address, which the client is sent to."""
    return text.startswith(("http://", "https://", "%{REQUEST_SCHEME}", "ws://", "wss://", "balancer://"))


def _split(text: str, mark: str) -> list[str]:
    """Split a text at a mark that stands in no braces."""
    parts = [""]
    depth = 0
    for char in text:
        depth += 1 if char == "{" else -1 if char == "}" else 0
        if char == mark and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _with_response(part: Part, actions: tuple[Action, ...]) -> Part:
    return Part(part.source, part.request, (*actions, *part.response)) if actions else part


def _simple(subject: Expr, pattern: str) -> Expr | None:
    """Return the plain test that a common pattern is, so that equal policies are equal."""
    https = If(Var("tls"), Const("on"), Const("off"))
    if subject == https and pattern in ("off", "^off$"):
        return Not(Var("tls"))
    if subject == https and pattern in ("on", "^on$"):
        return Var("tls")
    # A variable that is there or not.
    ends = (subject.then, subject.otherwise) if isinstance(subject, If) else (subject,)
    is_fixed = all(isinstance(each, Const) for each in ends) and len({each == EMPTY for each in ends}) == 1
    return Const(ends[0] != EMPTY) if is_fixed and pattern in (".", ".+", "^.+$", "^.+", "1", "^1$") else None


def _takes_all(pattern: str) -> bool:
    return pattern in ("^/?(.*)", "^/?(.*)$", "^/(.*)", "^/(.*)$", "/(.*)")


def _path_encoded(expr: Expr) -> Expr:
    """Return a text in which the decoded path is written as in a target; what is encoded already stays."""
    if expr == _PATH:
        return Call("encode_path", (expr,))
    parts = getattr(expr, "parts", None)
    return expr if parts is None else concat([_path_encoded(part) for part in parts])


def _as_part(route: Route) -> Part:
    """Return a route as a part; its forwarding needs a switch of its own."""
    return Part(Switch((route,)))


def engine_is_on(scope: Scope) -> bool:
    """Tell whether the rules of a site are looked at; whether they are is not inherited from outside."""
    own = scope.own("RewriteEngine")
    return bool(own) and own[-1].text().lower() == "on"


def program_of(scope: Scope) -> list[Directive]:
    """Return the rules of a site with their conditions, and those of the server outside where ``RewriteOptions`` wants them."""
    for directive in scope.own("RewriteOptions"):
        for at, word in enumerate(directive.texts):
            if word.lower() not in _OPTIONS and not word.lower().startswith("maxredirects="):
                scope.record.error(directive.place(at), "bad-value", f"`{word}` is no option of rules", did_you_mean(word, _OPTIONS))
    own = scope.own("RewriteCond", "RewriteRule")
    if scope.outer is None:
        return own
    options = {word.lower() for each in scope.own("RewriteOptions") for word in each.texts}
    above = {word.lower() for each in scope.outer.own("RewriteOptions") for word in each.texts}
    outer = scope.outer.own("RewriteCond", "RewriteRule")
    if "ignoreinherit" in options:
        above = set()
    if "inheritbefore" in options or "inheritdownbefore" in above:
        return [*outer, *own]
    return [*own, *outer] if "inherit" in options or "inheritdown" in above else own
