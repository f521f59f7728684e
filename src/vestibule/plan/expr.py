"""Expressions ready to run: a tree of nodes, each of which yields text, a number or a truth.

Facts: one node object with a method per kind costs a fifth of scanning a template, and can be folded,
compared and asked what it depends on.

Rules
  `scope` says what a value depends on, the widest of its parts; what was made from values of a scope up
  to FIELDS may be kept as long as connection and fields are the same.
  Absent text is None to `find` and empty to `text`. An absent number is 0, a failed look-up is false.
  Evaluation never raises and changes nothing.

Not here: variables (`variables.py`), functions (`functions.py`), the tree of the configuration, which
`compile.py` turns into this one.
"""

import re
from typing import Final

from vestibule.contract import Client, Plan, Relays, Source, Stream
from vestibule.exchange import Exchange
from vestibule.http.address import NetworkSet, bare_address

# What a value depends on, each including those before it.
CONST: Final = 0
CONNECTION: Final = 1
FIELDS: Final = 2  # the header section, and the authority it goes with
EXCHANGE: Final = 3  # anything that differs between two requests with equal fields

# Comparisons.
EQ: Final = 0
NE: Final = 1
LT: Final = 2
LE: Final = 3
GT: Final = 4
GE: Final = 5
OPERATORS: Final = ("==", "!=", "<", "<=", ">", ">=")


class Node:
    """A part of an expression. A text node overrides `find`, a number `number`, a test `test`."""

    def __init__(self, scope: int) -> None:
        self.scope = scope

    def find(self, ex: Exchange) -> bytes | None:
        """Return the text, or None where there is none."""
        raise NotImplementedError

    def text(self, ex: Exchange) -> bytes:
        """Return the text, empty where there is none."""
        return self.find(ex) or b""

    def number(self, ex: Exchange) -> int:
        """Return the value of a number; of a text that is all digits, its value, else 0."""
        text = self.text(ex)
        if not text or len(text) > 18 or text.translate(None, b"0123456789"):
            return 0
        value = 0
        for c in text:
            value = value * 10 + c - 48
        return value

    def test(self, ex: Exchange) -> bool:
        """Return the truth of a test; a value is true when it is there and not empty."""
        return bool(self.find(ex))

    def items(self, ex: Exchange) -> list[bytes]:
        """Return the values of a list; a text is its only one, and none where it is empty."""
        text = self.find(ex)
        return [text] if text else []


class NumberNode(Node):
    """Yields a number; a negative one is absent."""

    def find(self, ex: Exchange) -> bytes | None:
        value = self.value(ex)
        return None if value < 0 else b"%d" % value

    def number(self, ex: Exchange) -> int:
        value = self.value(ex)
        return 0 if value < 0 else value

    def test(self, ex: Exchange) -> bool:
        return self.value(ex) > 0

    def value(self, ex: Exchange) -> int:
        """Return the number, or -1 where there is none."""
        raise NotImplementedError


class TruthNode(Node):
    """Yields a truth."""

    def find(self, ex: Exchange) -> bytes | None:
        return b"true" if self.test(ex) else b"false"

    def test(self, ex: Exchange) -> bool:
        raise NotImplementedError


class Const(Node):
    """A fixed text."""

    def __init__(self, value: bytes) -> None:
        super().__init__(CONST)
        self.value = value

    def find(self, ex: Exchange) -> bytes | None:
        return self.value

    def text(self, ex: Exchange) -> bytes:
        return self.value


class ConstNumber(NumberNode):
    """A fixed number."""

    def __init__(self, fixed: int) -> None:
        super().__init__(CONST)
        self.fixed = fixed

    def find(self, ex: Exchange) -> bytes | None:
        return b"%d" % self.fixed

    def number(self, ex: Exchange) -> int:
        return self.fixed

    def value(self, ex: Exchange) -> int:
        return self.fixed


class ConstTest(TruthNode):
    """A fixed truth."""

    def __init__(self, value: bool) -> None:
        super().__init__(CONST)
        self.value = value

    def test(self, ex: Exchange) -> bool:
        return self.value


def widest(nodes: list[Node]) -> int:
    """Return the widest scope of these nodes."""
    scope = CONST
    for node in nodes:
        scope = max(scope, node.scope)
    return scope


class Concat(Node):
    """The texts of the parts, one after the other."""

    def __init__(self, parts: list[Node]) -> None:
        super().__init__(widest(parts))
        self.parts = parts

    def find(self, ex: Exchange) -> bytes | None:
        return self.text(ex)

    def text(self, ex: Exchange) -> bytes:
        return b"".join([part.text(ex) for part in self.parts])


def concat(parts: list[Node]) -> Node:
    """Join parts into the cheapest equal node: neighbouring constants merge, one part stands alone."""
    merged: list[Node] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, Const) and isinstance(last, Const):
            merged[-1] = Const(last.value + part.value)
        elif not isinstance(part, Const) or part.value:
            merged.append(part)
    if not merged:
        return Const(b"")
    return merged[0] if len(merged) == 1 else Concat(merged)


class Match(TruthNode):
    """True when the pattern is found anywhere in the subject."""

    def __init__(self, pattern: bytes, subject: Node, ignore_case: bool) -> None:
        super().__init__(subject.scope)
        self._pattern = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
        self._subject = subject

    def test(self, ex: Exchange) -> bool:
        return self._pattern.search(self._subject.text(ex)) is not None


class CompareText(TruthNode):
    """True when two texts are equal byte by byte, or when they are not."""

    def __init__(self, equal: bool, left: Node, right: Node) -> None:
        super().__init__(max(left.scope, right.scope))
        self._equal = equal
        self._left = left
        self._right = right

    def test(self, ex: Exchange) -> bool:
        return (self._left.text(ex) == self._right.text(ex)) == self._equal


class CompareNumber(TruthNode):
    """Compares two numbers."""

    def __init__(self, op: int, left: Node, right: Node) -> None:
        super().__init__(max(left.scope, right.scope))
        self._op = op
        self._left = left
        self._right = right

    def test(self, ex: Exchange) -> bool:
        left = self._left.number(ex)
        right = self._right.number(ex)
        op = self._op
        if op == EQ:
            return left == right
        if op == NE:
            return left != right
        if op == LT:
            return left < right
        if op == LE:
            return left <= right
        return left > right if op == GT else left >= right


class InSet(TruthNode):
    """True when the subject's text is one of the values."""

    def __init__(self, subject: Node, values: list[bytes], ignore_case: bool) -> None:
        super().__init__(subject.scope)
        self._subject = subject
        self._ignore_case = ignore_case
        self._values: set[bytes] = {value.lower() if ignore_case else value for value in values}

    def test(self, ex: Exchange) -> bool:
        text = self._subject.text(ex)
        return (text.lower() if self._ignore_case else text) in self._values


class InNet(TruthNode):
    """True when the subject is an address inside one of the networks."""

    def __init__(self, subject: Node, networks: NetworkSet) -> None:
        super().__init__(subject.scope)
        self._subject = subject
        self._networks = networks

    def test(self, ex: Exchange) -> bool:
        return self._networks.has(bare_address(self._subject.text(ex)))


class AllOf(TruthNode):
    """True when every test is."""

    def __init__(self, tests: list[Node]) -> None:
        super().__init__(widest(tests))
        self._tests = tests

    def test(self, ex: Exchange) -> bool:
        for node in self._tests:  # noqa: SIM110 - because mypyc makes a slow generator of `all(...)`
            if not node.test(ex):
                return False
        return True


class AnyOf(TruthNode):
    """True when one test is."""

    def __init__(self, tests: list[Node]) -> None:
        super().__init__(widest(tests))
        self._tests = tests

    def test(self, ex: Exchange) -> bool:
        for node in self._tests:  # noqa: SIM110 - because mypyc makes a slow generator of `any(...)`
            if node.test(ex):
                return True
        return False


class Not(TruthNode):
    """The opposite of a test."""

    def __init__(self, negated: Node) -> None:
        super().__init__(negated.scope)
        self._negated = negated

    def test(self, ex: Exchange) -> bool:
        return not self._negated.test(ex)


class If(Node):
    """One of two values, by a test."""

    def __init__(self, condition: Node, then: Node, otherwise: Node) -> None:
        super().__init__(max(condition.scope, then.scope, otherwise.scope))
        self._condition = condition
        self._then = then
        self._otherwise = otherwise

    def _choice(self, ex: Exchange) -> Node:
        return self._then if self._condition.test(ex) else self._otherwise

    def find(self, ex: Exchange) -> bytes | None:
        return self._choice(ex).find(ex)

    def number(self, ex: Exchange) -> int:
        return self._choice(ex).number(ex)

    def test(self, ex: Exchange) -> bool:
        return self._choice(ex).test(ex)


class Default(Node):
    """A value, or the fallback where it is absent or empty."""

    def __init__(self, value: Node, fallback: Node) -> None:
        super().__init__(max(value.scope, fallback.scope))
        self._value = value
        self._fallback = fallback

    def find(self, ex: Exchange) -> bytes | None:
        return self._value.find(ex) or self._fallback.find(ex)

    def number(self, ex: Exchange) -> int:
        return self._value.number(ex) if self._value.find(ex) else self._fallback.number(ex)

    def test(self, ex: Exchange) -> bool:
        return self._value.test(ex) if self._value.find(ex) else self._fallback.test(ex)


def folded(node: Node, is_test: bool, is_number: bool) -> Node:
    """Return a constant in place of a node that depends on nothing."""
    if node.scope != CONST or isinstance(node, (Const, ConstNumber, ConstTest)):
        return node
    if is_test:
        return ConstTest(node.test(_NO_EXCHANGE))
    if is_number:
        return ConstNumber(node.number(_NO_EXCHANGE))
    return Const(node.text(_NO_EXCHANGE))


# What constants are evaluated with: they ask it nothing.
_NO_EXCHANGE: Final = Exchange(Stream(), Client(b"", 0, b"", 0, b"http"), Plan("", Source()), Relays(), 0)
