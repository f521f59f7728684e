"""The matcher ``expression``: conditions in CEL, the Common Expression Language, with Caddy's placeholders and functions.

Facts (Caddy's documentation, "Request matchers"; the language definition of CEL): ``{placeholder}`` stands for a value;
every standard matcher is a function of the same name, and what it takes by name is a map (``header({'Name': 'value'})``).
``&&`` binds tighter than ``||``; texts stand in any of three quotes, and a backslash escapes within the first two.

Rules: what yields true or false becomes a test, anything else a value; values are not converted into each other, except
that a number of the model compared with a text of digits compares as a number.

Not here: the matchers themselves (``matchers``), placeholders (``placeholders``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from vestibule.dialects.caddy.placeholders import State, placeholder
from vestibule.dialects.read import Unreadable
from vestibule.model.expr import EMPTY, AllOf, AnyOf, Call, Compare, Const, Expr, If, InSet, Kind, Match, Not, concat
from vestibule.model.vocabulary import kind_of

MatcherTest = Callable[[str, list[str], State], Expr]
"""Returns the test of a matcher with its arguments. Raises ``Unreadable``."""

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<placeholder>\{[A-Za-z?%][^{}\s'"`,:]*\})
    |(?P<text>r?"(?:\\.|[^"\\])*"|r?'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<number>[0-9]+(?:\.[0-9]+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    )""",
    re.VERBOSE,
)

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}

_OPERATORS: Final[dict[str, Literal["==", "!=", "<", "<=", ">", ">="]]] = {
    "==": "==",
    "!=": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}

_FUNCTIONS = (
    "path",
    "path_regexp",
    "host",
    "method",
    "header",
    "header_regexp",
    "query",
    "protocol",
    "remote_ip",
    "client_ip",
    "vars",
    "vars_regexp",
    "file",
)

_DEPTH_MOST = 24


@dataclass(frozen=True, slots=True)
class _Map:
    """A map of names to values; it is only an argument of matchers."""

    pairs: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class _List:
    """A list; it stands behind ``in`` and in arguments."""

    items: tuple[Expr, ...]


_Value = Expr | _Map | _List


def read_expression(text: str, state: State, test: MatcherTest) -> Expr:
    """Return the test that an expression says. Raises ``Unreadable``."""
    reader = _Reader(text, state, test)
    found = _as_test(reader.choice())
    reader.end()
    return found


class _Reader:
    """Reads one expression; used once."""

    def __init__(self, text: str, state: State, test: MatcherTest) -> None:
        self._tokens = _split(text)
        self._at = 0
        self._depth = 0
        self._state = state
        self._test = test

    # ------------------------------------------------------------ tokens

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) and self._tokens[self._at][0] in ("mark", "name") else ""

    def _take(self, mark: str) -> bool:
        if self._peek() == mark:
            self._at += 1
            return True
        return False

    def _need(self, mark: str) -> None:
        if not self._take(mark):
            raise Unreadable("syntax", f"`{mark}` is missing in the expression{self._near()}")

    def _near(self) -> str:
        return f" before `{self._tokens[self._at][1]}`" if self._at < len(self._tokens) else ""

    def end(self) -> None:
        """Make sure that everything was read."""
        if self._at < len(self._tokens):
            raise Unreadable("syntax", f"`{self._tokens[self._at][1]}` is not expected in the expression")

    # ------------------------------------------------------------ operators, loosest first

    def choice(self) -> _Value:
        """``test ? one : other``."""
        self._depth += 1
        if self._depth > _DEPTH_MOST:
            raise Unreadable("too-deep", f"the expression is nested more than {_DEPTH_MOST} deep")
        found = self._any()
        if self._take("?"):
            test = _as_test(found)
            one = self.choice()
            self._need(":")
            found = _chosen(test, one, self.choice())
        self._depth -= 1
        return found

    def _any(self) -> _Value:
        found = self._all()
        while self._take("||"):
            found = _joined(AnyOf, _as_test(found), _as_test(self._all()))
        return found

    def _all(self) -> _Value:
        found = self._relation()
        while self._take("&&"):
            found = _joined(AllOf, _as_test(found), _as_test(self._relation()))
        return found

    def _relation(self) -> _Value:
        found = self._sum()
        while True:
            mark = self._peek()
            if mark in _OPERATORS:
                self._at += 1
                found = _compared(_OPERATORS[mark], found, self._sum())
            elif mark == "in":
                self._at += 1
                found = _within(found, self._sum())
            else:
                return found

    def _sum(self) -> _Value:
        found = self._unary()
        while self._take("+"):
            found = concat([_as_text(found), _as_text(self._unary())])
        if self._peek() in ("-", "*", "/", "%"):
            raise Unreadable("not-built", "arithmetic in an expression: not built yet")
        return found

    def _unary(self) -> _Value:
        if self._take("!"):
            inner = _as_test(self._unary())
            return inner.test if isinstance(inner, Not) else Not(inner)
        return self._member()

    def _member(self) -> _Value:
        found = self._primary()
        while self._take("."):
            name = self._peek()
            self._at += 1
            self._need("(")
            found = _called(name, _as_text(found), self._arguments(")"))
        return found

    # ------------------------------------------------------------ values

    def _primary(self) -> _Value:
        if self._at >= len(self._tokens):
            raise Unreadable("syntax", "the expression ends too early")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "placeholder":
            return placeholder(text[1:-1], self._state)
        if kind == "text":
            return Const(_unquoted(text))
        if kind == "number":
            return Const(int(text)) if text.isdecimal() else Const(text)
        if text == "(":
            found = self.choice()
            self._need(")")
            return found
        if text == "[":
            return _List(tuple([_as_value(each) for each in self._arguments("]")]))
        if text == "{":
            return self._map()
        if kind == "name":
            return self._named(text)
        raise Unreadable("syntax", f"`{text}` is not expected in the expression")

    def _named(self, name: str) -> _Value:
        if name in ("true", "false"):
            return Const(name == "true")
        if name in ("null", "nil"):
            return EMPTY
        if not self._take("("):
            raise Unreadable("syntax", f"`{name}` is nothing that an expression knows", "placeholders stand in braces")
        arguments = self._arguments(")")
        if name in ("string", "int") and len(arguments) == 1:
            return arguments[0]
        if name == "size" and len(arguments) == 1:
            return Call("length", (_as_text(arguments[0]),))
        if name not in _FUNCTIONS:
            raise Unreadable("not-built", f"the function `{name}`: not built yet")
        return self._matcher(name, arguments)

    def _matcher(self, name: str, arguments: list[_Value]) -> Expr:
        """Return the test of a matcher that is called as a function."""
        if len(arguments) == 1 and isinstance(arguments[0], _Map):
            tests: list[Expr] = []
            for key, values in arguments[0].pairs:
                words = [f"{key}={value}" for value in values] if name == "query" else [key, *values]
                if name == "header":
                    tests.append(_any_of([self._test(name, [key, value], self._state) for value in values]))
                else:
                    tests.append(self._test(name, words, self._state))
            return tests[0] if len(tests) == 1 else AllOf(tuple(tests))
        words = []
        for each in arguments:
            if not isinstance(each, Const):
                raise Unreadable("not-built", f"what `{name}()` takes here: not built yet", "write texts in quotes")
            words.append(str(each.value))
        if name in ("path_regexp", "header_regexp", "vars_regexp") and words and words[0] == "":
            words.pop(0)
        return self._test(name, words, self._state)

    def _arguments(self, closing: str) -> list[_Value]:
        found: list[_Value] = []
        while not self._take(closing):
            found.append(self.choice())
            if not self._take(","):
                self._need(closing)
                break
        return found

    def _map(self) -> _Map:
        pairs: list[tuple[str, tuple[str, ...]]] = []
        while not self._take("}"):
            key = _fixed(self.choice())
            self._need(":")
            value = self.choice()
            pairs.append((key, tuple([_fixed(each) for each in value.items]) if isinstance(value, _List) else (_fixed(value),)))
            if not self._take(","):
                self._need("}")
                break
        return _Map(tuple(pairs))


def _split(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise Unreadable("syntax", f"the expression is not understood at `{text[at : at + 12].strip()}`")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    if text.startswith("r"):
        return text[2:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1])


# ---------------------------------------------------------------- values


def _as_value(value: _Value) -> Expr:
    if isinstance(value, (_Map, _List)):
        raise Unreadable("syntax", "a list or a map cannot stand here")
    return value


def _as_test(value: _Value) -> Expr:
    found = _as_value(value)
    if kind_of(found) is not Kind.TEST:
        raise Unreadable("syntax", "a value stands where something true or false is expected", 'compare it: `{…} == "x"`')
    return found


def _as_text(value: _Value) -> Expr:
    found = _as_value(value)
    if kind_of(found) is Kind.TEST:
        raise Unreadable("syntax", "something true or false stands where a text is expected")
    return Const(str(found.value)) if isinstance(found, Const) else found


def _fixed(value: _Value) -> str:
    if not isinstance(value, Const):
        raise Unreadable("not-built", "what is not a fixed text here: not built yet", "write a text in quotes")
    return str(value.value)


def _joined(how: type[AllOf] | type[AnyOf], one: Expr, other: Expr) -> Expr:
    return how((*one.tests, other)) if isinstance(one, how) else how((one, other))


def _any_of(tests: list[Expr]) -> Expr:
    return tests[0] if len(tests) == 1 else AnyOf(tuple(tests))


def _chosen(test: Expr, one: _Value, other: _Value) -> Expr:
    then, otherwise = _as_value(one), _as_value(other)
    if kind_of(then) is Kind.TEST and kind_of(otherwise) is Kind.TEST:
        return AnyOf((AllOf((test, then)), AllOf((Not(test), otherwise))))
    return If(test, _as_text(then), _as_text(otherwise))


def _compared(op: Literal["==", "!=", "<", "<=", ">", ">="], one: _Value, other: _Value) -> Expr:
    left, right = _as_value(one), _as_value(other)
    if isinstance(left, Const) and not isinstance(right, Const):
        turned: Mapping[str, Literal["==", "!=", "<", "<=", ">", ">="]] = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
        return _compared(turned.get(op, op), right, left)
    if isinstance(right, Const) and isinstance(right.value, bool):
        # `vars NAME true` holds a text here.
        test = left if kind_of(left) is Kind.TEST else Compare("==", left, Const(str(right.value).lower()))
        return test if right.value == (op == "==") else Not(test)
    if Kind.TEST in (kind_of(left), kind_of(right)):
        raise Unreadable("syntax", "something true or false cannot be compared with a value")
    if kind_of(left) is Kind.NUMBER and isinstance(right, Const) and str(right.value).isdecimal():
        right = Const(int(right.value))
    elif kind_of(left) is not Kind.NUMBER and isinstance(right, Const):
        right = Const(str(right.value))
    numbers = kind_of(left) is Kind.NUMBER and kind_of(right) is Kind.NUMBER
    if not numbers and op not in ("==", "!="):
        raise Unreadable("not-built", f"comparing texts with `{op}`: not built yet")
    if kind_of(left) is Kind.NUMBER and not numbers:
        raise Unreadable("syntax", "a number is compared with a text")
    return Compare(op, left, right)


def _within(one: _Value, other: _Value) -> Expr:
    left = _as_value(one)
    if not isinstance(other, _List):
        raise Unreadable("not-built", "`in` without a list: not built yet", "write `{…} in ['a', 'b']`")
    if kind_of(left) is not Kind.NUMBER and all(isinstance(each, Const) for each in other.items):
        return InSet(left, tuple([str(each.value) for each in other.items if isinstance(each, Const)]))
    return _any_of([_compared("==", left, each) for each in other.items])


def _called(name: str, subject: Expr, arguments: list[_Value]) -> Expr:
    """Return what a function of texts says of one."""
    if name in ("lowerAscii", "upperAscii") and not arguments:
        return Call("lower" if name == "lowerAscii" else "upper", (subject,))
    if name == "size" and not arguments:
        return Call("length", (subject,))
    patterns: dict[str, tuple[str, str]] = {"contains": ("", ""), "startsWith": ("^", ""), "endsWith": ("", r"\Z")}
    if len(arguments) == 1 and name == "matches":
        return Match(_fixed(arguments[0]), subject)
    if len(arguments) == 1 and name in patterns:
        before, after = patterns[name]
        return Match(before + re.escape(_fixed(arguments[0])) + after, subject)
    raise Unreadable("not-built", f"the function `.{name}()` here: not built yet")
