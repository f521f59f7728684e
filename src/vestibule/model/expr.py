"""The expression tree: what header values, redirects, conditions and log lines are made of.

Facts: each dialect spells expressions its own way (``$arg_id``, ``%[url_param(id)]``, ``{http.request.uri.query.id}``);
they all lower to these nodes, and ``plan`` evaluates its own nodes compiled from them.

Rules:
* Nodes are frozen and compare by value, so equal policies lower to equal models.
* An expression has one ``Kind`` and is known from one ``Phase`` on; ``kind_of`` and ``phase_of`` say which.
* A value that is absent (a header that was not sent) counts as empty text; ``Default`` gives it another value.
* Text is ``str``. Bytes that are not UTF-8 are carried by ``surrogateescape`` and leave the same way.

Not here: names of variables and functions (``vocabulary``), evaluation (``plan/expr.py``), spelling (``dialects``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal, TypeAlias


class Kind(Enum):
    """What an expression yields."""

    TEXT = "text"
    NUMBER = "number"
    TEST = "test"
    ADDRESS = "address"
    LIST = "list"
    """Several texts. Only functions take it."""


class Phase(IntEnum):
    """When a value is first known. An expression may be used from its own phase on, never before."""

    ACCEPT = 0
    TLS = 1
    REQUEST = 2
    UPSTREAM = 3
    RESPONSE = 4
    LOG = 5


@dataclass(frozen=True, slots=True)
class Const:
    """A fixed value."""

    value: str | int | bool


@dataclass(frozen=True, slots=True)
class Var:
    """A variable of ``vocabulary.VARIABLES``, with its argument when it takes one (``header:X-Foo``)."""

    name: str
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A function of ``vocabulary.FUNCTIONS`` applied to arguments."""

    function: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Concat:
    """The texts of the parts, one after the other."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """True when the regular expression is found anywhere in the subject (anchor it with ``^`` and ``$``)."""

    pattern: str
    subject: Expr
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Compare:
    """Compare two values: texts byte by byte, numbers by value. ``<`` and its kin are for numbers."""

    op: Literal["==", "!=", "<", "<=", ">", ">="]
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class InSet:
    """True when the subject's text is one of the values."""

    subject: Expr
    values: tuple[str, ...]
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class InNet:
    """True when the subject is an address inside one of the networks. What is no address is in none."""

    subject: Expr
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when every test is; the first false one ends the evaluation. Of no tests: true."""

    tests: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when one test is; the first true one ends the evaluation. Of no tests: false."""

    tests: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a test."""

    test: Expr


@dataclass(frozen=True, slots=True)
class If:
    """One of two values, by a test."""

    test: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class Default:
    """The value of an expression, or the fallback where it is absent or empty."""

    value: Expr
    fallback: Expr


Expr: TypeAlias = Const | Var | Call | Concat | Match | Compare | InSet | InNet | AllOf | AnyOf | Not | If | Default

EMPTY = Const("")
ALWAYS = Const(True)


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the expressions directly inside ``expr``, in the order they are evaluated."""
    if isinstance(expr, (Const, Var)):
        return ()
    if isinstance(expr, Concat):
        return expr.parts
    if isinstance(expr, Call):
        return expr.arguments
    if isinstance(expr, (Match, InSet, InNet)):
        return (expr.subject,)
    if isinstance(expr, Compare):
        return (expr.left, expr.right)
    if isinstance(expr, (AllOf, AnyOf)):
        return expr.tests
    if isinstance(expr, Not):
        return (expr.test,)
    if isinstance(expr, If):
        return (expr.test, expr.then, expr.otherwise)
    return (expr.value, expr.fallback)


def walk(expr: Expr) -> Iterator[Expr]:
    """Yield ``expr`` and everything inside it, parents first."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def concat(parts: list[Expr]) -> Expr:
    """Join parts into the simplest equal expression: neighbouring texts merge, one part stands alone."""
    merged: list[Expr] = []
    for part in parts:
        pieces = part.parts if isinstance(part, Concat) else (part,)
        for piece in pieces:
            last = merged[-1] if merged else None
            if isinstance(piece, Const) and isinstance(piece.value, str):
                if piece.value == "":
                    continue
                if isinstance(last, Const) and isinstance(last.value, str):
                    merged[-1] = Const(last.value + piece.value)
                    continue
            merged.append(piece)
    if not merged:
        return EMPTY
    return merged[0] if len(merged) == 1 else Concat(tuple(merged))
