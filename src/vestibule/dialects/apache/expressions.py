"""httpd's expressions: of ``<If>``, ``Require expr``, ``expr=``, ``RewriteCond expr`` and ``SetEnvIfExpr``.

Facts, as httpd parses them:
* ``!`` binds more than ``&&``, and that more than ``||``. ``.`` joins words; a regular expression is ``/.../`` or ``m#...#`` with flags.
* ``$1`` is what the last regular expression before it captured. A number is compared as one by ``-eq`` and its kin only.
* ``%{:...:}`` is an expression inside a text.

Rules: never raises on bad input; what is no expression, or cannot be done, is an error at the place of the text.

Not here: what variables mean (``variables``).
"""

from __future__ import annotations

import re
from typing import Literal

from vestibule.dialects.apache.functions import FUNCTIONS_OF_HTTPD, call_of, in_order, is_there
from vestibule.dialects.apache.patterns import ip_networks, shell_pattern
from vestibule.dialects.apache.variables import Names, to_pattern
from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span
from vestibule.model.expr import (
    EMPTY,
    AllOf,
    AnyOf,
    Call,
    Compare,
    Const,
    Expr,
    If,
    InNet,
    InSet,
    Kind,
    Match,
    Not,
    Var,
    concat,
)
from vestibule.model.vocabulary import kind_of

_TOKEN = re.compile(
    r"\s*(?:(?P<varexp>%\{:)|(?P<endexp>:\})|(?P<var>%\{)|(?P<quote>[\"'])|(?P<ref>\$[0-9])|(?P<op>=~|!~|==|!=|<=|>=|&&|\|\||[=<>!.(){},])"
    r"|(?P<digits>-?[0-9]+)|(?P<dash>-[A-Za-z_][A-Za-z0-9_]*)|(?P<id>[A-Za-z][A-Za-z0-9_]*)|(?P<slash>/)|(?P<bad>\S))"
)
_ORDER: dict[str, Literal["==", "!=", "<", "<=", ">", ">="]] = {
    "-eq": "==", "-ne": "!=", "-lt": "<", "-le": "<=", "-gt": ">", "-ge": ">=",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_FALSE = ("", "0", "off", "false", "no")
_FILES = ("-d", "-e", "-f", "-s", "-L", "-h", "-F", "-U", "-A", "-x")
_DEEPEST = 40


class _Bad(Exception):
    """A mistake in an expression; the text says which, and whether it is one of ours."""

    def __init__(self, text: str, is_ours: bool = False) -> None:
        super().__init__(text)
        self.is_ours = is_ours


class _Parser:
    """One expression."""

    def __init__(self, names: Names, text: str, span: Span) -> None:
        self._names = names
        self._text = text
        self._span = span
        self._at = 0
        self._depth = 0
        self._kind = ""
        self._word = ""
        self._before = 0

    # ------------------------------------------------------------ words of the language

    def next(self) -> None:
        """Read the next token."""
        self._before = self._at
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.lastgroup is None:
            self._kind, self._word, self._at = "end", "", len(self._text)
            return
        self._kind, self._word, self._at = found.lastgroup, found[found.lastgroup], found.end()

    def _is(self, *words: str) -> bool:
        return self._kind in ("op", "id", "dash") and self._word in words

    def _take(self, word: str) -> None:
        if not self._is(word):
            raise _Bad(f"`{word}` is expected before `{self._rest()}`")
        self.next()

    def _rest(self) -> str:
        return self._text[self._before :].strip()[:30] or "the end"

    def expect_end(self) -> None:
        """Nothing may follow."""
        if self._kind != "end":
            raise _Bad(f"`{self._rest()}` is not understood")

    # ------------------------------------------------------------ tests

    def test(self) -> Expr:
        """Read a test."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Bad("it is nested too deep")
        tests = [self._all()]
        while self._is("||", "or"):
            self.next()
            tests.append(self._all())
        self._depth -= 1
        return tests[0] if len(tests) == 1 else AnyOf(tuple(tests))

    def _all(self) -> Expr:
        tests = [self._not()]
        while self._is("&&", "and"):
            self.next()
            tests.append(self._not())
        return tests[0] if len(tests) == 1 else AllOf(tuple(tests))

    def _not(self) -> Expr:
        if self._is("!", "not"):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise _Bad("it is nested too deep")
            self.next()
            inner = self._not()
            self._depth -= 1
            return negated(inner)
        return self._one()

    def _one(self) -> Expr:
        if self._is("true", "false"):
            value = self._word == "true"
            self.next()
            return Const(value)
        if self._kind == "dash":
            return self._unary()
        if self._is("("):
            # A group of tests, or of words.
            at, before = self._at, self._before
            self.next()
            try:
                inner = self.test()
                self._take(")")
            except _Bad as bad:
                if bad.is_ours:
                    raise
                self._at, self._before, self._kind, self._word = at, before, "op", "("
            else:
                return inner
        return self._compared(self.word())

    def _unary(self) -> Expr:
        operator = self._word
        self.next()
        word = self.word()
        if operator == "-n":
            return Compare("!=", word, EMPTY)
        if operator == "-z":
            return Compare("==", word, EMPTY)
        if operator == "-T":
            return Not(InSet(word, _FALSE, True))
        if operator == "-R":
            return InNet(Var("client_ip"), self._networks(word))
        if operator in _FILES:
            made = is_there(operator, word)
            if made is None:
                raise _Bad(f"the test `{operator}` of a file", True)
            return made
        raise _Bad(f"there is no operator `{operator}`")

    def _compared(self, left: Expr) -> Expr:
        """Read what a word is compared with."""
        operator = self._word
        if self._is("=~", "!~"):
            pattern, ignore_case = self._regex()
            if operator != "!~" and re.compile(pattern).groups:
                # Groups stay until a pattern that has some matches.
                self._names.rule = (left, f"(?i){pattern}" if ignore_case else pattern)
            found = Match(pattern, left, ignore_case)
            return Not(found) if operator == "!~" else found
        if self._is("==", "=", "!="):
            self.next()
            right = self.word()
            if kind_of(left) is Kind.NUMBER and isinstance(right, Const):
                same: Expr = InSet(left, (str(right.value),))
            else:
                same = Compare("==", left, right)
            return negated(same) if operator == "!=" else same
        if self._is("<", "<=", ">", ">="):
            self.next()
            return in_order(operator, left, self.word(), False)
        if self._is("-in", "in"):
            self.next()
            return self._listed(left)
        if self._is(*_ORDER):
            self.next()
            return compare_numbers(operator, left, self.word())
        if self._kind == "dash":
            self.next()
            return self._binary(operator, left, self.word())
        raise _Bad(f"a comparison is expected before `{self._rest()}`")

    def _listed(self, left: Expr) -> Expr:
        if not self._is("{"):
            raise _Bad("a list that is not written `{ ... }`", True)
        self.next()
        words = [self.word()]
        while self._is(","):
            self.next()
            words.append(self.word())
        self._take("}")
        if all(isinstance(word, Const) for word in words):
            return InSet(left, tuple([str(word.value) for word in words if isinstance(word, Const)]))
        return AnyOf(tuple([Compare("==", left, word) for word in words]))

    def _binary(self, operator: str, left: Expr, right: Expr) -> Expr:
        if operator == "-ipmatch":
            return InNet(left, self._networks(right))
        if operator in ("-strmatch", "-strcmatch", "-fnmatch"):
            if not isinstance(right, Const):
                raise _Bad(f"a pattern behind `{operator}` that is not fixed", True)
            return Match(shell_pattern(str(right.value), operator == "-fnmatch"), left, operator == "-strcmatch")
        raise _Bad(f"there is no operator `{operator}`")

    def _networks(self, word: Expr) -> tuple[str, ...]:
        if not isinstance(word, Const):
            raise _Bad("a network that is not fixed", True)
        try:
            return ip_networks(str(word.value))
        except ValueError as bad:
            raise _Bad(str(bad)) from None

    def _regex(self) -> tuple[str, bool]:
        """Read a regular expression with its flags; the operator before it was read."""
        found = re.compile(r"\s*(?:/|m([/#$%^|?!'\",;:._-]))").match(self._text, self._at)
        if found is None:
            raise _Bad(f"a regular expression is expected before `{self._text[self._at :].strip()[:30]}`")
        mark = found[1] or "/"
        end = self._text.find(mark, found.end())
        if end < 0:
            raise _Bad("a regular expression has no end")
        pattern = self._text[found.end() : end]
        self._at = end + 1
        flags = re.compile("[a-z]*").match(self._text, self._at)
        assert flags is not None
        self._at = flags.end()
        if set(flags[0]) - set("ismg"):
            raise _Bad(f"`{flags[0]}` are no flags of a regular expression")
        self.next()
        if "s" in flags[0] or "m" in flags[0]:
            pattern = f"(?{''.join(sorted(set(flags[0]) & set('sm')))})" + pattern
        try:
            return to_pattern(pattern), "i" in flags[0]
        except ValueError as bad:
            raise _Bad(str(bad)) from None

    # ------------------------------------------------------------ words

    def word(self) -> Expr:
        """Read a word, and those that are joined to it."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Bad("it is nested too deep")
        parts = [self._part()]
        while self._is("."):
            self.next()
            parts.append(self._part())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else concat(parts)

    def _part(self) -> Expr:
        kind, word = self._kind, self._word
        if kind == "digits":
            self.next()
            return Const(word)
        if kind == "quote":
            return self._quoted(word)
        if kind == "ref":
            self.next()
            return self._names.captured(word[1:])
        if kind == "var":
            made = self._variable()
            self.next()
            return made
        if kind == "varexp":
            self.next()
            return self._inside()
        if self._is("("):
            self.next()
            made = self.word()
            self._take(")")
            return made
        if kind == "id":
            return self._function(word)
        raise _Bad(f"a value is expected before `{self._rest()}`")

    def _inside(self) -> Expr:
        """Read what stands in `%{: :}`, up to its end."""
        at, before, kind, word = self._at, self._before, self._kind, self._word
        try:
            test = self.test()
            made: Expr = If(test, Const("true"), Const("false"))
            if self._kind != "endexp":
                raise _Bad("`:}` is expected")
        except _Bad:
            self._at, self._before, self._kind, self._word = at, before, kind, word
            made = self.word()
            if self._kind != "endexp":
                raise _Bad(f"`:}}` is expected before `{self._rest()}`") from None
        self.next()
        return made

    def _function(self, name: str) -> Expr:
        if name == "sub":
            return self._substituted()
        if name in ("split", "join"):
            raise _Bad(f"`{name}`", True)
        self.next()
        if not self._is("("):
            raise _Bad(f"`{name}` is no value; quote it if it is a text")
        self.next()
        arguments = [self.word()]
        while self._is(","):
            self.next()
            arguments.append(self.word())
        self._take(")")
        return self._called(name, arguments)

    def _substituted(self) -> Expr:
        """Read what follows `sub`: `s/pattern/text/flags, word`."""
        found = re.compile(r"\s*(\()?\s*s([/#$%^|?!'\",;:._-])").match(self._text, self._at)
        parts = self._text[found.end() :].split(found[2], 2) if found is not None else []
        if found is None or len(parts) < 3:
            raise _Bad("`sub` is followed by `s/pattern/text/, word`")
        self._at = found.end() + len(parts[0]) + len(parts[1]) + 2
        flags = re.compile("[gi]*").match(self._text, self._at)
        assert flags is not None
        self._at = flags.end()
        try:
            pattern = to_pattern(parts[0])
        except ValueError as bad:
            raise _Bad(str(bad)) from None
        self.next()
        self._take(",")
        word = self.word()
        if found[1]:
            self._take(")")
        return Call("replace", (word, Const(pattern), Const(with_backslashes(parts[1])), Const(flags[0])))

    def _called(self, name: str, arguments: list[Expr]) -> Expr:
        key = name.lower()
        if key in ("req", "http", "req_novary", "resp", "reqenv", "env", "osenv", "note"):
            if len(arguments) != 1 or not isinstance(arguments[0], Const):
                raise _Bad(f"a name in `{name}` that is not fixed", True)
            kind = {"env": "REQENV", "osenv": "OSENV", "note": "NOTE", "http": "HTTP"}.get(key, key.upper())
            return self._names.variable(f"{kind}:{arguments[0].value}", self._span)
        if key not in FUNCTIONS_OF_HTTPD:
            raise _Bad(f"there is no function `{name}`")
        made = call_of(key, arguments)
        if made is None:
            raise _Bad(f"the function `{name}`", True)
        return made

    def _variable(self) -> Expr:
        """Read a variable behind its `%{`."""
        end = self._text.find("}", self._at)
        found = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(:)?").match(self._text, self._at)
        if end < 0 or found is None:
            raise _Bad("a variable has no end")
        name = found[1]
        if found[2] is None:
            self._at = end + 1
            if found.end() != end:
                raise _Bad(f"`%{{{self._text[found.start() : end]}}}` is no variable")
            return self._names.variable(name, self._span)
        self._at = found.end()
        argument = self._string("}")
        if name.lower() in FUNCTIONS_OF_HTTPD:
            return self._called(name, [argument])
        if not isinstance(argument, Const):
            raise _Bad(f"a name in `%{{{name}:...}}` that is not fixed", True)
        return self._names.variable(f"{name}:{argument.value}", self._span)

    def _quoted(self, mark: str) -> Expr:
        made = self._string(mark)
        self.next()
        return made

    def _string(self, mark: str) -> Expr:
        """Read a text up to a mark, or to the end where there is none; variables in it are put in."""
        parts: list[Expr] = []
        plain = ""
        while True:
            if self._at >= len(self._text):
                if mark:
                    raise _Bad("a text has no end")
                break
            char = self._text[self._at]
            if mark and char == mark:
                self._at += 1
                break
            escape = _ESCAPE.match(self._text, self._at) if char == "\\" else None
            if escape is not None:
                self._at = escape.end()
                plain += _unescaped(escape)
            elif self._text.startswith("%{", self._at) or re.compile(r"\$[0-9]").match(self._text, self._at):
                parts += [Const(plain), self._embedded()]
                plain = ""
            else:
                plain += char
                self._at += 1
        return concat([*parts, Const(plain)])

    def _embedded(self) -> Expr:
        """Read a variable inside a text."""
        if self._text[self._at] == "$":
            self._at += 2
            return self._names.captured(self._text[self._at - 1])
        if self._text.startswith("%{:", self._at):
            self._at += 3
            self.next()
            made = self._inside()
            # What was read ahead belongs to the text.
            self._at = self._before
            return made
        self._at += 2
        return self._variable()

    def string(self) -> Expr:
        """Read the whole as a text."""
        return self._string("")


def with_backslashes(text: str) -> str:
    """Return a replacement in which groups are written ``\\1`` instead of ``$1``."""
    return re.sub(r"\$([0-9])", r"\\\1", text)


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    if escape[2]:
        return chr(int(escape[2], 8) & 0xFF)
    return _LETTERS.get(escape[3], escape[3])


def _as_number(word: Expr) -> Expr:
    text = word.value if isinstance(word, Const) else None
    return Const(int(text)) if isinstance(text, str) and re.fullmatch("-?[0-9]{1,15}", text) else word


def compare_numbers(operator: str, left: Expr, right: Expr) -> Expr:
    """Return the comparison of two numbers; a text counts as the number it is, or as 0."""
    op = _ORDER[operator]
    left, right = _as_number(left), _as_number(right)
    if kind_of(left) is not Kind.NUMBER:
        left = Call("number", (left,))
    if kind_of(right) is not Kind.NUMBER:
        right = Call("number", (right,))
    return Compare(op, left, right)


def negated(test: Expr) -> Expr:
    """Return the opposite of a test, as simple as it can be."""
    if isinstance(test, Const):
        return Const(test.value is False)
    return test.test if isinstance(test, Not) else Not(test)


def read_test(record: Record, names: Names, text: str, span: Span, leaves_groups: bool = False) -> Expr | None:
    """Return the test that a text is; None, noted, where it is none. The groups of its last pattern are known behind it only where it
    `leaves_groups`."""
    kept = names.rule
    parser = _Parser(names, text, span)
    try:
        parser.next()
        made = parser.test()
        parser.expect_end()
    except _Bad as bad:
        _note(record, bad, span)
        return None
    finally:
        if not leaves_groups:
            names.rule = kept
    return simpler(made)


def read_string(record: Record, names: Names, text: str, span: Span) -> Expr:
    """Return the text that an expression of the form of a text stands for; empty, noted, where it is none."""
    parser = _Parser(names, text, span)
    try:
        return parser.string()
    except _Bad as bad:
        _note(record, bad, span)
        return EMPTY


def _note(record: Record, bad: _Bad, span: Span) -> None:
    if bad.is_ours:
        record.error(span, "not-built", f"{bad} in an expression is not built yet", "say it in another way, or keep httpd for this part")
    else:
        record.error(span, "bad-expression", f"this is no expression: {bad}", "")


def simpler(test: Expr) -> Expr:
    """Return common tests in the form that other ways of saying the same have."""
    https = If(Var("tls"), Const("on"), Const("off"))
    if isinstance(test, Not):
        return negated(simpler(test.test))
    if isinstance(test, AllOf):
        return AllOf(tuple([simpler(each) for each in test.tests]))
    if isinstance(test, AnyOf):
        return AnyOf(tuple([simpler(each) for each in test.tests]))
    if isinstance(test, Compare) and test.left == https and test.right in (Const("on"), Const("off")):
        wanted = (test.right == Const("on")) == (test.op == "==")
        return Var("tls") if wanted else Not(Var("tls"))
    if isinstance(test, Match) and test.subject == https and test.pattern in ("on", "^on$", "off", "^off$"):
        return Var("tls") if "on" in test.pattern else Not(Var("tls"))
    if isinstance(test, InSet) and isinstance(test.subject, Const):
        return Const(str(test.subject.value) in test.values)
    if isinstance(test, Compare) and isinstance(test.left, Const) and isinstance(test.right, Const) and test.op in ("==", "!="):
        return Const((test.left == test.right) == (test.op == "=="))
    return test
