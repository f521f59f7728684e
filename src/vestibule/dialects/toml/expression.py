"""The text of expressions in TOML: templates (``https://{host}{target}``) and tests (``method == "POST"``).

Facts, the grammar::

    template = ( text | "{{" | "}}" | "{" any "}" )*
    any      = all ( "or" all )*
    all      = not ( "and" not )*
    not      = "not" not | compare
    compare  = choice [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) choice
                      | ( "~" | "~*" ) string | ( "in" | "in*" | "within" ) "[" string ( "," string )* "]" ]
    choice   = primary [ "??" choice ]
    primary  = string | number | "true" | "false" | name [ ":" argument ] | name "(" any ( "," any )* ")" | "(" any ")"

Strings are written as in JSON. ``~`` finds a regular expression, ``within`` asks for networks, ``a ?? b`` is b where a
is empty; a star ignores case. ``if(test, a, b)``, ``concat``, ``all`` and ``any`` are built in, other functions are
those of the vocabulary.

Rules: reading what was written gives the same tree, nothing merged or simplified. Errors are ``ValueError``.

Not here: whether the names exist and the kinds fit (``model/check_route.py``).
"""

from __future__ import annotations

import json
import re
from typing import Literal

from vestibule.model.expr import (
    AllOf,
    AnyOf,
    Call,
    Compare,
    Concat,
    Const,
    Default,
    Expr,
    If,
    InNet,
    InSet,
    Match,
    Not,
    Var,
)

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\n]+)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<number>-?[0-9]+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>\?\?|==|!=|<=|>=|~\*|[<>~*(),:\[\]{}])""",
    re.VERBOSE | re.ASCII,
)
_ARGUMENT = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)

_WORDS = frozenset(("and", "or", "not", "in", "within", "true", "false", "if", "concat", "all", "any"))

_COMPARE: dict[str, Literal["==", "!=", "<", "<=", ">", ">="]] = {
    "==": "==",
    "!=": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}

_MAX_DEPTH = 40
"""Nesting the reader follows; ``check`` allows a little less, with a kinder message."""

_MAX_DIGITS = 18


def parse_template(text: str) -> Expr:
    """Read a template. Raises ``ValueError``."""
    parts: list[Expr] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char not in "{}":
            literal.append(char)
            at += 1
        elif text.startswith(char * 2, at):
            literal.append(char)
            at += 2
        elif char == "}":
            raise ValueError(f"`}}` at character {at + 1} closes nothing; write `}}}}` for a brace")
        else:
            if literal:
                parts.append(Const("".join(literal)))
                literal = []
            reader = _Reader(text, at + 1)
            parts.append(reader.any())
            at = reader.close()
    if literal or not parts:
        parts.append(Const("".join(literal)))
    return parts[0] if len(parts) == 1 else Concat(tuple(parts))


def parse_test(text: str) -> Expr:
    """Read an expression that stands alone. Raises ``ValueError``."""
    reader = _Reader(text, 0)
    expr = reader.any()
    reader.end()
    return expr


class _Reader:
    """Reads one expression, token by token, from a place in a text."""

    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self._at = at
        self._depth = 0
        self._kind = ""
        self._token = ""
        self._start = at
        self._advance()

    def close(self) -> int:
        """Return the offset after the ``}`` that ends the expression."""
        if self._token != "}" or self._kind != "sign":
            raise self._expected("`}`")
        return self._start + 1

    def end(self) -> None:
        """Insist that nothing follows."""
        if self._kind != "end":
            raise self._expected("the end")

    def any(self) -> Expr:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"the expression is nested more than {_MAX_DEPTH} deep")
        tests = [self._all()]
        while self._take("name", "or"):
            tests.append(self._all())
        self._depth -= 1
        return tests[0] if len(tests) == 1 else AnyOf(tuple(tests))

    def _all(self) -> Expr:
        tests = [self._not()]
        while self._take("name", "and"):
            tests.append(self._not())
        return tests[0] if len(tests) == 1 else AllOf(tuple(tests))

    def _not(self) -> Expr:
        count = 0
        while self._take("name", "not"):
            count += 1
        if count > _MAX_DEPTH:
            raise ValueError(f"the expression is nested more than {_MAX_DEPTH} deep")
        expr = self._compare()
        for _ in range(count):
            expr = Not(expr)
        return expr

    def _compare(self) -> Expr:
        left = self._choice()
        token = self._token
        if self._kind == "sign" and token in _COMPARE:
            self._advance()
            return Compare(_COMPARE[token], left, self._choice())
        if self._kind == "sign" and token in ("~", "~*"):
            self._advance()
            return Match(self._string(), left, token == "~*")
        if self._take("name", "in"):
            ignore_case = self._take("sign", "*")
            return InSet(left, self._strings(), ignore_case)
        if self._take("name", "within"):
            return InNet(left, self._strings())
        return left

    def _choice(self) -> Expr:
        values = [self._primary()]
        while self._take("sign", "??"):
            values.append(self._primary())
        if len(values) > _MAX_DEPTH:
            raise ValueError(f"the expression is nested more than {_MAX_DEPTH} deep")
        expr = values.pop()
        while values:
            expr = Default(values.pop(), expr)
        return expr

    def _primary(self) -> Expr:
        if self._kind == "string":
            return Const(self._string())
        if self._kind == "number":
            if len(self._token) > _MAX_DIGITS:
                raise ValueError(f"the number at character {self._start + 1} is too large")
            number = int(self._token)
            self._advance()
            return Const(number)
        if self._take("sign", "("):
            inner = self.any()
            self._need(")")
            return inner
        if self._kind == "name" and self._token in ("true", "false"):
            value = self._token == "true"
            self._advance()
            return Const(value)
        if self._kind == "name" and (self._token not in _WORDS or self._token in ("if", "concat", "all", "any")):
            return self._named()
        raise self._expected("a value")

    def _named(self) -> Expr:
        """A variable, with or without an argument, or a function."""
        name = self._token
        if self._text.startswith(":", self._at):
            return self._argument(name)
        self._advance()
        if self._take("sign", "("):
            return self._call(name, self._arguments())
        if name in _WORDS:
            raise self._expected("`(`")
        return Var(name)

    def _argument(self, name: str) -> Expr:
        """The argument follows its colon without a blank; a bare one may hold ``-`` and ``.``."""
        match = _ARGUMENT.match(self._text, self._at + 1)
        if match is not None:
            self._at = match.end()
            self._advance()
            return Var(name, match[0])
        self._at += 1
        self._advance()
        if self._kind != "string":
            raise self._expected(f"a name after `{name}:`")
        return Var(name, self._string())

    def _arguments(self) -> tuple[Expr, ...]:
        if self._take("sign", ")"):
            return ()
        arguments = [self.any()]
        while self._take("sign", ","):
            arguments.append(self.any())
        self._need(")")
        return tuple(arguments)

    def _call(self, name: str, arguments: tuple[Expr, ...]) -> Expr:
        if name == "concat":
            return Concat(arguments)
        if name == "all":
            return AllOf(arguments)
        if name == "any":
            return AnyOf(arguments)
        if name == "if":
            if len(arguments) != 3:
                raise ValueError('`if` takes a test and two values: `if(tls, "on", "off")`')
            return If(*arguments)
        return Call(name, arguments)

    def _strings(self) -> tuple[str, ...]:
        self._need("[")
        if self._take("sign", "]"):
            return ()
        values = [self._string()]
        while self._take("sign", ","):
            values.append(self._string())
        self._need("]")
        return tuple(values)

    def _string(self) -> str:
        if self._kind != "string":
            raise self._expected('a string in `"`')
        try:
            value = json.loads(self._token)
        except ValueError:
            raise ValueError(f"the string at character {self._start + 1} has an escape that JSON does not know") from None
        self._advance()
        return str(value)

    def _need(self, sign: str) -> None:
        if not self._take("sign", sign):
            raise self._expected(f"`{sign}`")

    def _take(self, kind: str, token: str) -> bool:
        """Step over a token if it is the next one."""
        if self._kind != kind or self._token != token:
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        while True:
            self._start = self._at
            if self._at >= len(self._text):
                self._kind, self._token = "end", ""
                return
            match = _TOKEN.match(self._text, self._at)
            if match is None:
                raise ValueError(f"`{self._text[self._at]}` at character {self._at + 1} means nothing here")
            self._at = match.end()
            self._kind, self._token = str(match.lastgroup), match[0]
            if self._kind != "blank":
                return

    def _expected(self, what: str) -> ValueError:
        found = f"`{self._token}`" if self._token else "the end"
        return ValueError(f"{what} is expected at character {self._start + 1}, not {found}")


# ---------------------------------------------------------------- writing

# How tightly each form binds; what binds more loosely than its place allows goes into parentheses.
_ANY, _ALL, _NOT, _CHOICE, _PRIMARY = range(5)


def format_template(expr: Expr) -> str:
    """Write an expression as a template."""
    parts = expr.parts if isinstance(expr, Concat) and len(expr.parts) > 1 else (expr,)
    alone = len(parts) == 1
    pieces: list[str] = []
    was_literal = False
    for part in parts:
        # Two neighbouring literals would be read as one, and an empty one not at all.
        literal = isinstance(part, Const) and isinstance(part.value, str) and not was_literal and (alone or part.value != "")
        if literal and isinstance(part, Const) and _is_plain(str(part.value)):
            pieces.append(str(part.value).replace("{", "{{").replace("}", "}}"))
            was_literal = True
        else:
            pieces.append("{" + _format(part, _ANY) + "}")
            was_literal = False
    return "".join(pieces)


def format_test(expr: Expr) -> str:
    """Write an expression that stands alone."""
    return _format(expr, _ANY)


def _is_plain(text: str) -> bool:
    """Whether TOML can carry the text itself; lone surrogates need the escapes of a string."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _format(expr: Expr, place: int) -> str:
    """Write an expression for a place; parentheses where it binds too loosely for it."""
    text, binds = _written(expr)
    return f"({text})" if binds < place else text


def _written(expr: Expr) -> tuple[str, int]:
    if isinstance(expr, AnyOf):
        if len(expr.tests) < 2:
            return f"any({_list(expr.tests)})", _PRIMARY
        return " or ".join([_format(test, _ALL) for test in expr.tests]), _ANY
    if isinstance(expr, AllOf):
        if len(expr.tests) < 2:
            return f"all({_list(expr.tests)})", _PRIMARY
        return " and ".join([_format(test, _NOT) for test in expr.tests]), _ALL
    if isinstance(expr, Not):
        return f"not {_format(expr.test, _NOT)}", _NOT
    # A comparison binds as `not` does: it may stand behind `not`, and inside nothing tighter.
    if isinstance(expr, Compare):
        return f"{_format(expr.left, _CHOICE)} {expr.op} {_format(expr.right, _CHOICE)}", _NOT
    if isinstance(expr, Match):
        sign = "~*" if expr.ignore_case else "~"
        return f"{_format(expr.subject, _CHOICE)} {sign} {json.dumps(expr.pattern)}", _NOT
    if isinstance(expr, InSet):
        sign = "in*" if expr.ignore_case else "in"
        return f"{_format(expr.subject, _CHOICE)} {sign} [{_strings(expr.values)}]", _NOT
    if isinstance(expr, InNet):
        return f"{_format(expr.subject, _CHOICE)} within [{_strings(expr.networks)}]", _NOT
    if isinstance(expr, Default):
        return f"{_format(expr.value, _PRIMARY)} ?? {_format(expr.fallback, _CHOICE)}", _CHOICE
    return _written_primary(expr), _PRIMARY


def _written_primary(expr: Const | Var | Call | Concat | If) -> str:
    if isinstance(expr, Const):
        return json.dumps(expr.value)
    if isinstance(expr, Var):
        if not expr.argument:
            return expr.name
        bare = _ARGUMENT.fullmatch(expr.argument)
        return f"{expr.name}:{expr.argument if bare else json.dumps(expr.argument)}"
    if isinstance(expr, Concat):
        return f"concat({_list(expr.parts)})"
    if isinstance(expr, If):
        return f"if({_list((expr.test, expr.then, expr.otherwise))})"
    return f"{expr.function}({_list(expr.arguments)})"


def _list(exprs: tuple[Expr, ...]) -> str:
    return ", ".join([_format(expr, _ANY) for expr in exprs])


def _strings(values: tuple[str, ...]) -> str:
    return ", ".join([json.dumps(value) for value in values])
