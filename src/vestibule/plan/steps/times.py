"""Time-outs that a request is given on its way, and how long the connection it came on is kept.

Facts: which plan a request goes through next is often decided after the rule that knows how long it may take.

Rules: what was set holds in every plan that is entered afterwards; all else is as that plan has it.
"""

from vestibule.contract import PASS, Keeping, Step, Timeouts
from vestibule.exchange import Exchange


class _Set(Timeouts):
    """Time-outs of which some were set; -1 leaves one as the plan has it."""

    def __init__(self, outer: Timeouts, response_head_ms: int, tunnel_idle_ms: int) -> None:
        super().__init__(
            outer.connect_ms,
            outer.request_head_ms,
            max(outer.body_idle_ms, response_head_ms),
            outer.response_head_ms if response_head_ms < 0 else response_head_ms,
            outer.keep_alive_ms,
            outer.tunnel_idle_ms if tunnel_idle_ms < 0 else tunnel_idle_ms,
            outer.tls_handshake_ms,
            outer.hold_ms,
        )
        self._outer = outer
        self._response_head_ms = response_head_ms
        self._tunnel_idle_ms = tunnel_idle_ms

    def within(self, outer: Timeouts) -> Timeouts:
        return _Set(outer, self._response_head_ms, self._tunnel_idle_ms)

    def also(self, response_head_ms: int, tunnel_idle_ms: int) -> Timeouts:
        """Return these with others set as well."""
        head_ms = self._response_head_ms if response_head_ms < 0 else response_head_ms
        return _Set(self._outer, head_ms, self._tunnel_idle_ms if tunnel_idle_ms < 0 else tunnel_idle_ms)


class KeepAlive(Step):
    """Says how long the client's connection is kept after the answer."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping

    def run(self, ex: Exchange) -> int:
        if ex.down is not None:
            ex.down.keep(self._keeping)
        return PASS


class SetTimeouts(Step):
    """Sets time-outs for one exchange; -1 leaves one alone."""

    def __init__(self, response_head_ms: int, tunnel_idle_ms: int) -> None:
        self._response_head_ms = response_head_ms
        self._tunnel_idle_ms = tunnel_idle_ms

    def run(self, ex: Exchange) -> int:
        now = ex.timeouts
        if isinstance(now, _Set):
            ex.timeouts = now.also(self._response_head_ms, self._tunnel_idle_ms)
        else:
            ex.timeouts = _Set(now, self._response_head_ms, self._tunnel_idle_ms)
        return PASS
