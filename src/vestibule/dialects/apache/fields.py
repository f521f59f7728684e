"""``Header``, ``RequestHeader``, ``SetEnvIf`` and their kin: fields that are set, and the variables that decide about it.

Facts: ``append`` and ``merge`` lengthen the line there is, ``add`` makes a new one. ``always`` also holds for errors and redirects of
httpd itself, and reaches nothing that an upstream said.

Rules: a variable of ``SetEnvIf`` is replaced by the test it stands for. A page that `ErrorDocument` names counts as no error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from vestibule.dialects.apache.expressions import negated, read_string, read_test, with_backslashes
from vestibule.dialects.apache.lexer import Word
from vestibule.dialects.apache.proxying import appended
from vestibule.dialects.apache.scope import not_built
from vestibule.dialects.apache.sections import Section, as_answered, both
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.variables import SET_EMPTY, Names, as_text, to_pattern
from vestibule.dialects.record import Record
from vestibule.model.check_expr import TOKEN
from vestibule.model.config import Action, AddHeader, EditHeader, RemoveHeader, SetHeader, SetVariable, When
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Const, Default, Expr, If, Match, Var, walk

_ACTIONS = ("set", "append", "add", "merge", "unset", "setifempty", "edit", "edit*", "echo", "note")
_SUBJECTS: dict[str, Expr] = {
    "remote_addr": Var("client_ip"),
    "remote_host": Var("client_ip"),
    "server_addr": Var("server_ip"),
    "request_method": Var("method"),
    "request_protocol": Var("protocol"),
    "request_uri": Var("decoded_path"),
}
_PLAIN = re.compile("[-A-Za-z0-9_]*")
_OURS = ("connection", "upgrade", "keep-alive", "te", "trailer", "proxy-connection")

DOCUMENT = "error.document"
"""The variable that says that a page of the site stands in the place of an error."""

ANSWERED: Expr = AnyOf(
    (
        Var("proxied"),
        Compare("<", Var("status"), Const(300)),
        Compare("==", Var("status"), Const(304)),
        Compare("!=", Var("kept", DOCUMENT), EMPTY),
    )
)
"""Whether an answer is more than an error or a redirect of our own."""

_LONG = 24
"""From how many parts on a value that is needed several times is kept under a name, and not written several times."""


class Fields:
    """Lowers the fields of one site."""

    def __init__(self, record: Record, names: Names) -> None:
        self._record = record
        self._names = names
        self._before_set: dict[str, Expr] = {}
        self._always: set[str] = set()
        """Names of fields that `Header always` gives, in lower case: what it takes off or edits are those."""
        self._kept = 0

    def environment(self, directives: list[Directive], inside: Expr | None = None) -> None:
        """Follow the directives that set variables; ``inside`` is the test of their section."""
        for directive in directives:
            if directive.name == "setenv":
                self._set(directive.text(0), Const(directive.text(1)) if directive.text(1) else SET_EMPTY, inside)
            elif directive.name == "passenv":
                for word in directive.args:
                    value = self._names.passed.get(word.text)
                    if value is None:
                        self._record.warning(word.span, "unused", f"the environment has no `{word.text}`", "httpd sets nothing then, too")
                    else:
                        self._set(word.text, Const(value), inside)
            elif directive.name == "unsetenv":
                for word in directive.args:
                    # What `SetEnvIf` or a rule has set stays.
                    self._set(word.text, self._before_set.get(word.text, EMPTY), inside)
            else:
                self._set_if(directive, inside)

    def set_early(self) -> None:
        """All that `SetEnvIf` and rules set is set; what follows is `SetEnv`'s."""
        self._before_set = dict(self._names.environment)

    def _set(self, name: str, value: Expr, test: Expr | None) -> None:
        """Give a variable a value where a test holds."""
        environment = self._names.environment
        self._names.settable.add(name)
        before = environment.get(name, EMPTY)
        if value == EMPTY and test is None:
            environment.pop(name, None)
        elif value != before:
            environment[name] = value if test is None or test == Const(True) else If(test, value, before)

    def captured(self, section: Section) -> None:
        """Set the variables of groups with names in the pattern of a section."""
        if isinstance(section.test, Match):
            for name in re.compile(section.test.pattern).groupindex:
                value = Call("capture", (section.test.subject, Const(section.test.pattern), Const(name)))
                # What took no part in a match is not set.
                self._set(f"MATCH_{name.upper()}", value, both(section.test, Compare("!=", value, EMPTY)))

    def _set_if(self, directive: Directive, inside: Expr | None) -> None:
        names = self._names
        kept = names.rule
        names.rule = None
        first = 0 if directive.name in ("browsermatch", "browsermatchnocase", "setenvifexpr") else 1
        if directive.name == "setenvifexpr":
            test = read_test(self._record, names, directive.text(0), directive.place(0), leaves_groups=True)
        else:
            test = self._matched(directive, first)
        for word in directive.args[first + 1 :] if test is not None else ():
            name, equals, value = word.text.partition("=")
            made: Expr = EMPTY
            if not name.startswith("!"):
                # A pattern without groups puts nothing into a value.
                made = (names.with_groups(value) if names.has_groups() else Const(value)) if value else SET_EMPTY if equals else Const("1")
            self._set(name.removeprefix("!"), made, both(inside, test))
        names.rule = kept

    def _matched(self, directive: Directive, first: int) -> Expr | None:
        """Return the test of a pattern; its groups are known from then on."""
        subject = self._subject(directive) if first else Var("header", "User-Agent")
        ignore_case = directive.name.endswith("nocase")
        try:
            self._names.rule = (subject, to_pattern(directive.text(first), ignore_case))
            return Match(to_pattern(directive.text(first)), subject, ignore_case)
        except ValueError as bad:
            self._record.error(directive.place(first), "bad-regex", str(bad))
            return None

    def _subject(self, directive: Directive) -> Expr:
        name = directive.text(0)
        known = _SUBJECTS.get(name.lower())
        if known is not None:
            return known
        if name in self._names.environment:
            return as_text(self._names.environment[name])
        if not _PLAIN.fullmatch(name):
            # A name with other characters is a pattern of names.
            name = name.removeprefix("^").removesuffix("$")
            if not _PLAIN.fullmatch(name) or directive.text(0) != f"^{name}$":
                not_built(self._record, directive, 0, f"`{directive.text(0)}`, a pattern that may be several fields,", "name the field")
        return Var("host_port") if name.lower() == "host" else Var("header", name)

    # ------------------------------------------------------------ fields

    def actions(
        self, directives: list[Directive], in_request: bool, before: dict[str, Expr] | None = None
    ) -> tuple[tuple[Action, ...], dict[str, Expr]]:
        """Return the actions of directives, and what is known of the fields they leave behind, by lower-case name; ``before`` says it of
        those that directives have left here before."""
        actions: list[Action] = []
        left: dict[str, Expr] = dict(before or {})
        for directive in directives:
            # A field of an answer is read as it is by then.
            if in_request and directive.text(0).lower() not in ("set", "unset"):
                actions += self.shortened([directive.text(1).rstrip(":").lower()], left)
            made = self._action(directive, in_request, left if in_request else {})
            if made is None:
                continue
            if not in_request and directive.text(0).lower() == "always":
                made = self._of_always(directive, made)
                if made is None:
                    continue
            last = actions[-1] if actions else None
            if in_request or directive.text(0).lower() == "always":
                actions.append(made)
            elif isinstance(last, When) and last.test == ANSWERED:
                actions[-1] = replace(last, actions=(*last.actions, made))
            else:
                actions.append(When(ANSWERED, (made,)))
        return tuple(actions), left

    def shortened(self, names: Iterable[str], left: dict[str, Expr]) -> list[Action]:
        """Keep what is known of fields under names where it is long: each directive of a field may repeat it."""
        made: list[Action] = []
        for name in names:
            known = left.get(name, EMPTY)
            if sum(1 for _ in islice(walk(known), _LONG)) == _LONG:
                self._kept += 1
                left[name] = Var("kept", f"field.{self._kept}")
                made.append(SetVariable(f"field.{self._kept}", known))
        return made

    def _of_always(self, directive: Directive, made: Action) -> Action | None:
        """Return what `Header always` does: what an upstream said is not among the fields that it takes off or edits."""
        verb, name = directive.text(1).lower(), directive.text(2).rstrip(":")
        if verb in ("unset", "edit", "edit*") and name.lower() not in self._always:
            message = f"`always {verb}` does nothing here, as in httpd: it knows the fields of `Header always` alone, and none is `{name}`"
            self._record.warning(directive.span, "unused", message, f"leave `always` out to {verb.rstrip('*')} what an upstream says")
            return None
        self._always.add(name.lower())
        return made

    def _action(self, directive: Directive, in_request: bool, left: dict[str, Expr]) -> Action | None:
        """Return the action of one ``Header`` or ``RequestHeader``."""
        words = list(directive.args)
        if not in_request and words[0].text.lower() in ("always", "onsuccess"):
            words.pop(0)
        verb = words[0].text.lower() if words else ""
        if verb not in _ACTIONS or len(words) < 2:
            self._record.error(directive.span, "bad-value", f"`{verb}` is nothing that can be done", "write `set Name value`")
            return None
        name = words[1].text.rstrip(":")
        if verb == "echo" and not in_request:
            for word in words[2:]:
                message = f"the condition `{word.text}` of `echo` is not built yet"
                self._record.error(word.span, "not-built", message, "write `set`")
            return self._echo(words[1])
        if verb == "note" and not in_request and len(words) > 2:
            return self._noted(words, name)
        if verb in ("echo", "note"):
            not_built(self._record, replace(directive, args=tuple(words)), 0, f"`{verb}`", "write `set`")
            return None
        if not TOKEN.fullmatch(name):
            self._record.error(words[1].span, "bad-field", f"`{name}` is no field name")
            return None
        if verb in ("edit", "edit*"):
            return self._edited(directive, words, in_request, left)
        condition = words[2 if verb == "unset" else 3 :]
        if name.lower() in _OURS and in_request:
            return None
        value: Expr = EMPTY
        if verb != "unset":
            if len(words) < 3:
                self._record.error(directive.span, "arguments", f"`{verb}` needs a value")
                return None
            text, span = words[2].text, words[2].span
            if text.startswith("expr="):
                value = read_string(self._record, self._names, text.removeprefix("expr="), span)
            else:
                value = self._names.field(text, span)
            value = value if in_request else as_answered(value)
        have = left.get(name.lower(), Var("header" if in_request else "response_header", name))
        action, after = _made(verb, name, value, have)
        if isinstance(action, SetHeader) and verb == "set":
            # What is made is the value, also where that is nothing.
            action = replace(action, keep_empty=not isinstance(value, Const) or value == EMPTY)
        tests = [condition_of(self._record, self._names, word) for word in condition if word.text.lower() != "early"]
        tests = tests if in_request else [as_answered(each) for each in tests]
        if not tests or tests[0] == Const(True):
            left[name.lower()] = after
            return action
        if tests[0] == Const(False):
            return None
        left[name.lower()] = If(tests[0], after, have)
        return When(tests[0], (action,))

    def _noted(self, words: list[Word], name: str) -> Action:
        """Return the action of ``Header note``, which keeps a field of the answer for logs."""
        kept = SetVariable(f"note.{words[2].text}", Var("response_header", name))
        tests = [as_answered(condition_of(self._record, self._names, word)) for word in words[3:4]]
        return When(tests[0], (kept,)) if tests else kept

    def _edited(self, directive: Directive, words: list[Word], in_request: bool, left: dict[str, Expr]) -> Action | None:
        """Return the action of ``edit``, which changes each line of a field by a pattern."""
        if len(words) < 4:
            self._record.error(directive.span, "arguments", "`edit` needs a pattern and a replacement")
            return None
        name = words[1].text.rstrip(":")
        replacement = self._names.field(words[3].text, words[3].span)
        if not isinstance(replacement, Const):
            self._record.error(words[3].span, "not-built", "variables in a replacement of `edit` are not built yet", "write a fixed text")
            return None
        try:
            pattern = Const(to_pattern(words[2].text))
        except ValueError as bad:
            self._record.error(words[2].span, "bad-regex", str(bad))
            return None
        flags = Const("g" if words[0].text == "edit*" else "")
        rest = (pattern, Const(with_backslashes(str(replacement.value))), flags)
        action: Action = EditHeader(name, Call("replace", (Var("field_line"), *rest)))
        have = left.get(name.lower(), Var("header" if in_request else "response_header", name))
        after: Expr = Call("replace", (have, *rest))
        tests = [condition_of(self._record, self._names, word) for word in words[4:] if word.text.lower() != "early"]
        tests = tests if in_request else [as_answered(each) for each in tests]
        left[name.lower()] = If(tests[0], after, have) if tests else after
        return When(tests[0], (action,)) if tests else action

    def _echo(self, word: Word) -> Action | None:
        """Return the action of ``Header echo``, which gives fields of the request back."""
        name = word.text.removeprefix("^").removesuffix("$")
        if not TOKEN.fullmatch(name) or word.text != f"^{name}$":
            message = f"`echo {word.text}`, which may be several fields, is not built yet"
            self._record.error(word.span, "not-built", message, "write `echo ^Name$` for each")
            return None
        return AddHeader(name, Var("request_header", name))


def without_host(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Return actions without those that change the Host."""
    kept: list[Action] = []
    for each in actions:
        if isinstance(each, When):
            inside = without_host(each.actions)
            kept += [replace(each, actions=inside)] if inside else []
        elif getattr(each, "name", "").lower() != "host":
            kept.append(each)
    return tuple(kept)


def condition_of(record: Record, names: Names, word: Word) -> Expr:
    """Return the test of ``env=`` or ``expr=``."""
    key, equals, name = word.text.partition("=")
    if key.lower() == "expr" and equals:
        return read_test(record, names, name, word.span) or Const(False)
    if key.lower() != "env" or not equals:
        record.error(word.span, "bad-value", f"`{word.text}` is no condition", "write `env=NAME` or `expr=...`")
        return Const(False)
    wanted = not name.startswith("!")
    name = name.removeprefix("!")
    test = is_set(names.environment.get(name, EMPTY))
    if name.upper() == "HTTPS":
        test = Var("tls") if test == Const(False) else AnyOf((Var("tls"), test))
    return test if wanted else negated(test)


def is_set(value: Expr) -> Expr:
    """Return the test that a variable of the environment is set, be it to nothing."""
    if not isinstance(value, If):
        return Const(value != EMPTY)
    then, otherwise = is_set(value.then), is_set(value.otherwise)
    if then == otherwise:
        return then
    if then == Const(True):
        return value.test if otherwise == Const(False) else AnyOf((value.test, otherwise))
    if otherwise == Const(False):
        return both(value.test, then) or then
    not_here = both(negated(value.test), otherwise) if otherwise != Const(True) else negated(value.test)
    return not_here or otherwise if then == Const(False) else AnyOf((AllOf((value.test, then)), not_here or otherwise))


def _made(verb: str, name: str, value: Expr, have: Expr) -> tuple[Action, Expr]:
    """Return an action, and what the field is after it."""
    if verb == "unset":
        return RemoveHeader(name), EMPTY
    if verb == "add":
        return AddHeader(name, value), appended(have, value)
    if verb == "setifempty":
        return SetHeader(name, Default(have, value)), Default(have, value)
    if verb in ("append", "merge"):
        whole = appended(have, value)
        if verb == "merge" and isinstance(value, Const):
            # What is on the list already is not put there again.
            whole = If(Match(rf"(?:^|,)\s*{re.escape(str(value.value))}\s*(?:,|$)", have), have, whole)
        return SetHeader(name, whole), whole
    return SetHeader(name, value), value


def conditional(test: Expr | None, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Return actions that are done only if a test is true; without one, the actions."""
    if test is None or not actions:
        return actions
    return (When(test, actions),)
