"""A condition around steps.

Rules: the steps inside run at once, so none of them may wait; those of this directory never do.
"""

from vestibule.exchange import PASS, Exchange, Step
from vestibule.plan.expr import Node


class When(Step):
    """Runs steps only if a test is true."""

    def __init__(self, condition: Node, steps: list[Step]) -> None:
        self._condition = condition
        self._steps = steps

    def run(self, ex: Exchange) -> int:
        if self._condition.test(ex):
            for step in self._steps:
                said = step.run(ex)
                if said != PASS:
                    return said
        return PASS
