"""How it went with each server that was asked for one exchange, the last one included, as a list.

Facts: servers of one upstream stand with `, ` between, and where another upstream took over with ` : `. What did not come about is
a dash, so that all lists are of one length.

Not here: the name of the server that answered, and other variables (`variables.py`).
"""

import time
from typing import Final

from vestibule.contract import Attempt
from vestibule.exchange import Exchange
from vestibule.fault import UPSTREAM
from vestibule.plan.expr import EXCHANGE, Node

ADDRESSES: Final = 0
STATUSES: Final = 1
CONNECT: Final = 2
HEAD: Final = 3
TOOK: Final = 4

_NOTHING: Final = b"-"


class Tried(Node):
    """One thing of all servers that were asked; absent where none was."""

    def __init__(self, what: int) -> None:
        super().__init__(EXCHANGE)
        self._what = what

    def find(self, ex: Exchange) -> bytes | None:
        line = b""
        between = b""
        if ex.attempts is not None:
            for each in ex.attempts:
                line += between + self._text(each)
                between = b" : " if each.last else b", "
        chosen = ex.chosen
        if chosen is not None and chosen.address:
            line += between + self._text(_now(ex, chosen.address))
        return line or None

    def _text(self, attempt: Attempt) -> bytes:
        if self._what == ADDRESSES:
            return attempt.address
        if self._what == STATUSES:
            return b"%d" % attempt.status if attempt.status > 0 else _NOTHING
        value = attempt.took_ms
        if self._what == CONNECT:
            value = attempt.connect_ms
        elif self._what == HEAD:
            value = attempt.head_ms
        return b"%d.%03d" % (value // 1000, value % 1000) if value >= 0 else _NOTHING


def _now(ex: Exchange, address: bytes) -> Attempt:
    """Return how it stands with the server that is asked now, or was the last."""
    status = ex.up_status
    fault = ex.fault
    if status < 0 and fault is not None and fault.kind.side == UPSTREAM:
        status = fault.kind.status
    took_ms = -1
    if ex.over:
        took_ms = max(0, (ex.ended_ms or int(time.monotonic() * 1000)) - ex.try_ms)
    return ex.attempt(address, status, took_ms, False)
