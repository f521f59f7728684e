"""What plans have alike and keeps nothing of its own, made once for all of them.

Facts: a request to one of ten thousand sites finds the parts that all sites share in the processor's cache; each part that
a site has for itself is a miss, some 0.1 to 0.5 µs of a request. So a plan's own are a few words in a row (`contract.Plan`).

Rule: what is shared is never changed after it was given out.

Not here: what has a state (`compile_state.py`).
"""

from typing import Final

from vestibule.compile_expr import wire
from vestibule.contract import LogLine, Step, Timeouts
from vestibule.http.address import NetworkSet
from vestibule.model import config as model
from vestibule.plan.error_page import ClearPage
from vestibule.plan.steps.deny import CheckPath
from vestibule.plan.steps.edit import Edit
from vestibule.plan.steps.forward import KEEP, REMOVE, SET, Forward, Terms

_FORWARDING_MODES: Final = {"set": SET, "remove": REMOVE, "pass": KEEP}


class Once:
    """What was given out so far."""

    def __init__(self) -> None:
        self._terms: dict[tuple[model.Forwarding, int, bytes], Terms] = {}
        self._forwards: dict[int, Forward] = {}
        self._timeouts: dict[tuple[model.Timeouts, int], Timeouts] = {}
        self._pages: dict[tuple[bool, bool], ClearPage] = {}
        self._checks = {resolved: CheckPath(resolved) for resolved in (False, True)}
        self._steps: dict[tuple[int, ...], list[Step]] = {}
        self._logs: dict[tuple[int, ...], list[LogLine]] = {}

    def terms(self, forwarding: model.Forwarding, trusted: NetworkSet, mode: int, host: bytes) -> Terms:
        """Return the terms of this forwarding; `trusted` follows from it."""
        return self._terms.setdefault(
            (forwarding, mode, host),
            Terms(
                trusted,
                _FORWARDING_MODES[forwarding.x_forwarded],
                _FORWARDING_MODES[forwarding.forwarded],
                mode,
                host,
                forwarding.underscores == "allow",
                wire(forwarding.client_field),
                forwarding.client_walk,
                forwarding.client_announced,
                forwarding.trusts_sockets,
            ),
        )

    def forward(self, terms: Terms, edits: list[Edit]) -> Forward:
        """Return the first step of a site; `terms` are of `self.terms`."""
        return Forward(terms, edits) if edits else self._forwards.setdefault(id(terms), Forward(terms, []))

    def timeouts(self, timeouts: model.Timeouts, hold_ms: int = 0) -> Timeouts:
        """Return time-outs that nobody changes; `hold_ms` counts where nothing is said of it."""
        return self._timeouts.setdefault((timeouts, hold_ms), timeouts_of(timeouts, hold_ms))

    def page(self, immich: bool, has_fields: bool) -> ClearPage:
        """Return the error page of sites of a kind."""
        return self._pages.setdefault((immich, has_fields), ClearPage(immich, has_fields))

    def check(self, resolved: bool) -> CheckPath:
        """Return the step that looks at paths."""
        return self._checks[resolved]

    def steps(self, steps: list[Step]) -> list[Step]:
        """Return a list of the very same steps."""
        return self._steps.setdefault(tuple([id(step) for step in steps]), steps)

    def log(self, lines: list[LogLine]) -> list[LogLine]:
        """Return a list of the very same log lines."""
        return self._logs.setdefault(tuple([id(line) for line in lines]), lines)


def timeouts_of(timeouts: model.Timeouts, hold_ms: int = 0) -> Timeouts:
    """Make time-outs; `hold_ms` counts where nothing is said of it."""
    return Timeouts(
        timeouts.connect_ms,
        timeouts.request_head_ms,
        timeouts.body_idle_ms,
        timeouts.response_head_ms,
        timeouts.keep_alive_ms,
        timeouts.tunnel_idle_ms,
        timeouts.tls_handshake_ms,
        hold_ms if timeouts.hold_ms is None else timeouts.hold_ms,
    )
