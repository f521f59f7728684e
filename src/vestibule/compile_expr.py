"""Expressions of the model to nodes of a plan.

Rules: constants are folded and neighbouring texts merged. In a log template every value is escaped, and
every variable that can hold a secret is redacted, however deep it stands.

Not here: nodes (`plan/expr.py`), where expressions stand (`compile.py`).
"""

import os
import re

from vestibule.http.address import Network, NetworkSet
from vestibule.model import expr as tree
from vestibule.model.expr import Kind
from vestibule.model.vocabulary import kind_of
from vestibule.plan import expr as nodes
from vestibule.plan.access_log import Escaped, JsonEscaped, redacted_variable
from vestibule.plan.expr import Const, ConstNumber, ConstTest, Node, concat, folded
from vestibule.plan.functions import make_call
from vestibule.plan.items import IsUser
from vestibule.plan.password import Users
from vestibule.plan.redact import Redactor
from vestibule.plan.variables import Place, UpstreamCount, make_variable


class Mistakes:
    """What is wrong with a configuration, one line each, beginning with the key."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, key: str, text: str) -> None:
        """Note one; twice the same is once, since a site on two listeners is compiled twice."""
        line = f"{key}: {text}"
        if line not in self.lines:
            self.lines.append(line)


class ExprMaker:
    """Makes nodes. `asks_path` is set when one of a request wants the path in normal form. Files count from `directory`."""

    def __init__(self, mistakes: Mistakes, directory: str = "") -> None:
        self.asks_path = False
        self._directory = directory
        self._mistakes = mistakes
        self._redactor: Redactor | None = None
        self.slow: list[Users] = []  # those that conditions ask for and that take long to judge
        self._users: dict[tree.Call, Users] = {}
        self.counted: list[tuple[str, UpstreamCount]] = []  # those that want to know their source, each with its key

    def text(self, key: str, expr: tree.Expr, place: Place) -> Node:
        """Make the node of a text."""
        return self._node(key, expr, place)

    def test(self, key: str, expr: tree.Expr, place: Place) -> Node:
        """Make the node of a test."""
        if kind_of(expr) is not Kind.TEST:
            self._mistakes.add(key, "a test is expected here, not a value")
        return self._node(key, expr, place)

    def template(self, key: str, expr: tree.Expr, place: Place, redactor: Redactor, as_json: bool) -> Node:
        """Make the node of a log line, in which values are escaped as in JSON or as in text."""
        self._redactor = redactor
        parts: list[Node] = []
        for part in expr.parts if isinstance(expr, tree.Concat) else (expr,):
            node = self._node(key, part, place)
            if not isinstance(part, tree.Const):
                node = JsonEscaped(node) if as_json else Escaped(node)
            parts.append(node)
        self._redactor = None
        return concat(parts)

    def _node(self, key: str, expr: tree.Expr, place: Place) -> Node:
        made = self._make(key, expr, place)
        kind = kind_of(expr)
        if kind is Kind.LIST:
            return made
        return folded(made, kind is Kind.TEST, kind is Kind.NUMBER)

    def _nodes(self, key: str, exprs: tuple[tree.Expr, ...], place: Place) -> list[Node]:
        return [self._node(key, each, place) for each in exprs]

    def _arguments(self, key: str, call: tree.Call, place: Place) -> list[Node]:
        nodes = self._nodes(key, call.arguments, place)
        if call.function in ("existing", "executable") and nodes and isinstance(nodes[0], Const):
            nodes[0] = Const(os.path.join(os.fsencode(self._directory), nodes[0].value))
        return nodes

    def _make(self, key: str, expr: tree.Expr, place: Place) -> Node:
        if isinstance(expr, tree.Const):
            if isinstance(expr.value, bool):
                return ConstTest(expr.value)
            if isinstance(expr.value, int):
                return ConstNumber(expr.value)
            return Const(wire(expr.value))
        if isinstance(expr, tree.Var):
            return self._variable(key, expr, place)
        if isinstance(expr, tree.Call):
            try:
                call = make_call(expr.function, self._arguments(key, expr, place))
            except (re.error, OverflowError, RecursionError) as bad:
                self._mistakes.add(key, str(bad))
                return Const(b"")
            if isinstance(call, IsUser):
                self._share(call, expr)
            if call is None:
                self._mistakes.add(key, f"there is no function `{expr.function}` of {len(expr.arguments)} arguments")
            return call or Const(b"")
        if isinstance(expr, tree.Concat):
            return concat(self._nodes(key, expr.parts, place))
        if isinstance(expr, tree.If):
            return nodes.If(self._node(key, expr.test, place), self._node(key, expr.then, place), self._node(key, expr.otherwise, place))
        if isinstance(expr, tree.Default):
            return nodes.Default(self._node(key, expr.value, place), self._node(key, expr.fallback, place))
        return self._test_node(key, expr, place)

    def _share(self, call: IsUser, expr: tree.Call) -> None:
        """Have conditions that ask for the same users remember together whom they know."""
        call.users = self._users.setdefault(expr, call.users)
        if call.users.slow:
            self.slow.append(call.users)

    def _test_node(
        self,
        key: str,
        expr: tree.Match | tree.Compare | tree.InSet | tree.InNet | tree.AllOf | tree.AnyOf | tree.Not,
        place: Place,
    ) -> Node:
        if isinstance(expr, tree.AllOf):
            return nodes.AllOf(self._nodes(key, expr.tests, place))
        if isinstance(expr, tree.AnyOf):
            return nodes.AnyOf(self._nodes(key, expr.tests, place))
        if isinstance(expr, tree.Not):
            return nodes.Not(self._node(key, expr.test, place))
        if isinstance(expr, tree.Compare):
            return self._compare(key, expr, place)
        subject = self._node(key, expr.subject, place)
        if isinstance(expr, tree.InSet):
            return nodes.InSet(subject, [wire(value) for value in expr.values], expr.ignore_case)
        try:
            if isinstance(expr, tree.InNet):
                return nodes.InNet(subject, NetworkSet([Network(wire(network)) for network in expr.networks]))
            return nodes.Match(wire(expr.pattern), subject, expr.ignore_case)
        except (ValueError, re.error, OverflowError, RecursionError) as bad:
            self._mistakes.add(key, str(bad))
            return ConstTest(False)

    def _compare(self, key: str, expr: tree.Compare, place: Place) -> Node:
        left = self._node(key, expr.left, place)
        right = self._node(key, expr.right, place)
        if kind_of(expr.left) is Kind.NUMBER and kind_of(expr.right) is Kind.NUMBER:
            return nodes.CompareNumber(nodes.OPERATORS.index(expr.op), left, right)
        if expr.op not in ("==", "!="):
            self._mistakes.add(key, f"`{expr.op}` compares two numbers, and one side is none")
        return nodes.CompareText(expr.op != "!=", left, right)

    def _variable(self, key: str, expr: tree.Var, place: Place) -> Node:
        node = make_variable(expr.name, expr.argument, place)
        if node is None:
            self._mistakes.add(key, f"the variable `{expr.name}` is not part of this build")
            return Const(b"")
        if isinstance(node, UpstreamCount):
            self.counted.append((key, node))
        if expr.name == "decoded_path" and self._redactor is None:  # a log refuses nothing
            self.asks_path = True
        if self._redactor is not None:
            node = redacted_variable(expr.name, expr.argument, node, self._redactor)
        return node


def wire(text: str) -> bytes:
    """Return a text of the model as bytes; those that were no UTF-8 come out as they went in."""
    return text.encode("utf-8", "surrogateescape")
