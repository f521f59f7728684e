"""A condition around steps.

Rules: the test is made once. Where a step inside waits, those behind it run when the exchange goes on, before anything else.
"""

from vestibule.contract import ANSWERED, PASS, WAIT, Step
from vestibule.exchange import Exchange
from vestibule.plan.expr import Node


class When(Step):
    """Runs steps only if a test is true, and others if it is not."""

    def __init__(self, condition: Node, steps: list[Step], others: list[Step] | None = None) -> None:
        self._condition = condition
        self._steps = steps
        self._others: list[Step] = [] if others is None else others

    def run(self, ex: Exchange) -> int:
        return run_from(self._steps if self._condition.test(ex) else self._others, 0, ex)


class Only(Step):
    """Passes only where a test is true."""

    def __init__(self, condition: Node) -> None:
        self._condition = condition

    def run(self, ex: Exchange) -> int:
        return PASS if self._condition.test(ex) else ANSWERED


class Rest(Step):
    """What is left of the steps inside a condition."""

    def __init__(self, steps: list[Step], at: int) -> None:
        self._steps = steps
        self._at = at

    def run(self, ex: Exchange) -> int:
        return run_from(self._steps, self._at, ex)


def run_from(steps: list[Step], at: int, ex: Exchange) -> int:
    """Run steps from one of them on; return what the one said that did not pass, or PASS."""
    while at < len(steps):
        said = steps[at].run(ex)
        at += 1
        if said == WAIT and at < len(steps):
            # A step that holds this one may add its own rest behind.
            ex.rests = [*(ex.rests or []), Rest(steps, at)]
        if said != PASS:
            return said
    return PASS
