"""Going through the routes of a site again, for a path that has changed.

Rules: fields are made anew from what the client sent, as the site sends them: what a route changed before it gave the request back
does not stay. How often a request may go round is the exchange's business (`Exchange.enter`).

Not here: which route is chosen (`plan/switch.py`).
"""

from vestibule.contract import Plan, Source, Step
from vestibule.exchange import Exchange


class Ring:
    """One site on one listener, once it is made: its source, its named routes, and the step that makes its fields."""

    def __init__(self, forward: Step) -> None:
        self.forward = forward
        self.around: Plan | None = None
        self.named: dict[bytes, Plan] = {}


class Again(Source):
    """Asks the source of the site again, or enters one of its routes by name."""

    def __init__(self, ring: Ring, to: bytes) -> None:
        self._ring = ring
        self._to = to

    def start(self, ex: Exchange) -> None:
        ring = self._ring
        plan = ring.named.get(self._to) if self._to else ring.around
        assert plan is not None  # compiled with the site
        ex.around = True
        ring.forward.run(ex)
        ex.enter(plan)
