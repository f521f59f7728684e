"""What counts the requests of a plan, where somebody wants to know.

Facts: an exchange ends once, in the plan it is in then, whatever went wrong; what is counted there adds up.

Rules: a plan has these only where the configuration shows metrics; without them a request costs nothing for it.

Not here: the integers (`counts.py`), attempts that another one followed (`proxy/upstream.py`).
"""

from vestibule.contract import PASS, LogLine, Step
from vestibule.counts import Counts
from vestibule.exchange import Exchange
from vestibule.fault import UPSTREAM
from vestibule.plan.variables import total_ms


class BeginMeter(Step):
    """Counts what begins in a site."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def run(self, ex: Exchange) -> int:
        self._counts.begun += 1
        return PASS


class Meter(LogLine):
    """Counts what ends in a site, or at a listener."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def write(self, ex: Exchange) -> None:
        response = ex.response
        status = 0 if response is None else response.status
        counts = self._counts
        counts.end(status, ex.request_bytes, ex.response_bytes, total_ms(ex))
        if ex.fault is not None:
            counts.fault(ex.fault.kind.name)


class ServerMeter(LogLine):
    """Counts for the server that was asked last, whichever it was."""

    def write(self, ex: Exchange) -> None:
        chosen = ex.chosen
        if chosen is None or chosen.counts is None:
            return
        counts = chosen.counts
        response = ex.response
        fault = ex.fault
        if fault is not None and fault.kind.side == UPSTREAM:
            counts.failed()
        elif ex.head_ms >= 0 and response is not None:
            counts.answered(response.status)
            counts.heads += 1
            counts.head_ms += ex.head_ms
        else:
            counts.attempts += 1
        counts.bytes_in += ex.response_bytes
        counts.bytes_out += ex.request_bytes
