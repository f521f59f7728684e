"""A source that answers with a fault: for paths that are never served."""

from vestibule.contract import Source
from vestibule.exchange import Exchange
from vestibule.fault import Fault, FaultKind


class Closed(Source):
    """Answers every request with the error page of one fault."""

    def __init__(self, kind: FaultKind, detail: str = "") -> None:
        self._kind = kind
        self._detail = detail

    def start(self, ex: Exchange) -> None:
        ex.fail(Fault(self._kind, self._detail))
