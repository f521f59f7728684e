"""An identifier for each exchange, the same in its log line, its error page and the fields it sends.

Rules: made when first asked for, kept in slot 0 of the exchange's variables. Unique among workers by a
random beginning, within one by a count; it is a name, not a secret.
"""

import os
from typing import Final

from vestibule.exchange import Exchange

REQUEST_ID_SLOT: Final = 0


class _Counter:
    """The beginning is drawn anew in each process, since workers are forked from one that may have drawn."""

    def __init__(self) -> None:
        self.pid = 0
        self.begin = b""
        self.count = 0

    def draw(self) -> bytes:
        if self.pid != os.getpid():
            self.pid = os.getpid()
            self.begin = os.urandom(12).hex().encode("ascii")
        self.count += 1
        return self.begin + b"%08x" % self.count


_COUNTER: Final = _Counter()


def request_id(ex: Exchange) -> bytes:
    """Return the identifier of this exchange."""
    slots = ex.variables
    if slots is None:
        slots = [b""]
        ex.variables = slots
    if not slots[REQUEST_ID_SLOT]:
        slots[REQUEST_ID_SLOT] = _COUNTER.draw()
    return slots[REQUEST_ID_SLOT]
