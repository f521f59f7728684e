"""``Header``, ``RequestHeader``, ``SetEnvIf`` and their kin: fields that are set, and the variables that decide about it.

Facts: ``append`` and ``merge`` lengthen the line there is, ``add`` makes a new one. ``always`` also holds for errors of httpd
itself; vestibule makes no difference.

Rules: a variable of ``SetEnvIf`` is replaced by the test it stands for.
"""

from __future__ import annotations

from dataclasses import replace

from vestibule.dialects.apache.proxying import appended
from vestibule.dialects.apache.scope import not_built
from vestibule.dialects.apache.tree import Directive
from vestibule.dialects.apache.variables import Names, to_pattern
from vestibule.dialects.record import Record
from vestibule.model.check_route import TOKEN
from vestibule.model.config import Action, AddHeader, RemoveHeader, SetHeader, When
from vestibule.model.expr import EMPTY, Compare, Const, Default, Expr, If, Match, Not, Var

_ACTIONS = ("set", "append", "add", "merge", "unset", "setifempty", "edit", "edit*", "echo", "note")
_SUBJECTS: dict[str, Expr] = {
    "remote_addr": Var("client_ip"),
    "remote_host": Var("client_ip"),
    "server_addr": Var("server_ip"),
    "request_method": Var("method"),
    "request_protocol": Var("protocol"),
    "request_uri": Var("decoded_path"),
}
_OURS = ("connection", "upgrade", "keep-alive", "te", "trailer", "proxy-connection")


class Fields:
    """Lowers the fields of one site."""

    def __init__(self, record: Record, names: Names) -> None:
        self._record = record
        self._names = names

    def environment(self, directives: list[Directive]) -> None:
        """Follow the directives that set variables."""
        names = self._names
        for directive in directives:
            if directive.name == "setenv":
                names.environment[directive.text(0)] = Const(directive.text(1))
            elif directive.name == "unsetenv":
                for word in directive.args:
                    names.environment.pop(word.text, None)
            else:
                self._set_if(directive)

    def _set_if(self, directive: Directive) -> None:
        browser = directive.name.startswith("browsermatch")
        first = 0 if browser else 1
        subject = Var("header", "User-Agent") if browser else self._subject(directive)
        ignore_case = directive.name.endswith("nocase")
        try:
            pattern = to_pattern(directive.text(first))
        except ValueError as bad:
            self._record.error(directive.place(first), "bad-regex", str(bad))
            return
        test = Match(pattern, subject, ignore_case)
        for word in directive.args[first + 1 :]:
            name, equals, value = word.text.partition("=")
            unset = name.startswith("!")
            name = name.removeprefix("!")
            made = EMPTY if unset else Const(value if equals else "1")
            self._names.environment[name] = If(test, made, self._names.environment.get(name, EMPTY))

    def _subject(self, directive: Directive) -> Expr:
        name = directive.text(0)
        known = _SUBJECTS.get(name.lower())
        if known is not None:
            return known
        if name in self._names.environment:
            return self._names.environment[name]
        return Var("host_port") if name.lower() == "host" else Var("header", name)

    # ------------------------------------------------------------ fields

    def actions(self, directives: list[Directive], in_request: bool) -> tuple[tuple[Action, ...], dict[str, Expr]]:
        """Return the actions of directives, and what is known of the fields they leave behind, by lower-case name."""
        actions: list[Action] = []
        left: dict[str, Expr] = {}
        for directive in directives:
            made = self._action(directive, in_request, left)
            if made is not None:
                actions.append(made)
        return tuple(actions), left

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
        if verb in ("echo", "note", "edit", "edit*"):
            not_built(self._record, replace(directive, args=tuple(words)), 0, f"`{verb}`", "write `set`")
            return None
        if not TOKEN.fullmatch(name):
            self._record.error(words[1].span, "bad-field", f"`{name}` is no field name")
            return None
        condition = words[2 if verb == "unset" else 3 :]
        if name.lower() in _OURS and in_request:
            return None
        value: Expr = EMPTY
        if verb != "unset":
            if len(words) < 3:
                self._record.error(directive.span, "arguments", f"`{verb}` needs a value")
                return None
            value = self._names.field(words[2].text, words[2].span)
        have = left.get(name.lower(), Var("header" if in_request else "response_header", name))
        action, after = _made(verb, name, value, have)
        tests = [self._test(directive, word.text) for word in condition if word.text.lower() != "early"]
        if not tests:
            left[name.lower()] = after
            return action
        left[name.lower()] = If(tests[0], after, have)
        return When(tests[0], (action,))

    def _test(self, directive: Directive, text: str) -> Expr:
        """Return the test of ``env=``."""
        key, equals, name = text.partition("=")
        if key.lower() != "env" or not equals:
            not_built(self._record, directive, len(directive.args) - 1, f"the condition `{text}`", "use `SetEnvIf` and `env=`")
            return Const(False)
        wanted = not name.startswith("!")
        name = name.removeprefix("!")
        if name.upper() == "HTTPS":
            test: Expr = Var("tls")
        else:
            value = self._names.environment.get(name, EMPTY)
            test = Compare("!=", value, EMPTY) if value != EMPTY else Const(False)
        return test if wanted else Not(test)


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
        return SetHeader(name, whole), whole
    return SetHeader(name, value), value


def conditional(test: Expr | None, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Return actions that are done only if a test is true; without one, the actions."""
    if test is None or not actions:
        return actions
    return (When(test, actions),)
