"""Steps that end a request here, with the error page of its plan.

Not here: the page (`plan/error_page.py`).
"""

from typing import Final

from vestibule.exchange import ANSWERED, PASS, Exchange, Step
from vestibule.fault import NEVER, PROXY, PROXY_DENIED, Fault, FaultKind, ProtocolError
from vestibule.http.target import normal_path

_TEXTS: Final[dict[int, str]] = {
    401: "This request needs credentials.",
    404: "There is nothing here.",
    410: "What was here is gone.",
    429: "Too many requests came from this client.",
    503: "This service is not available at the moment.",
}


class Deny(Step):
    """Answers with an error."""

    def __init__(self, status: int) -> None:
        kind = PROXY_DENIED
        if status != PROXY_DENIED.status:
            # The same fault to logs and metrics, with the status that was asked for.
            kind = FaultKind(PROXY_DENIED.name, PROXY, status, NEVER, _TEXTS.get(status, PROXY_DENIED.text), "")
        self._kind = kind

    def run(self, ex: Exchange) -> int:
        ex.fail(Fault(self._kind))
        return ANSWERED


class CheckPath(Step):
    """Refuses a path that has no normal form, before an expression is asked about it (RFC 3986 2.1, 5.2.4)."""

    def run(self, ex: Exchange) -> int:
        try:
            normal_path(ex.request.path())
        except ProtocolError as error:
            ex.fail(Fault(error.kind, error.detail))
            return ANSWERED
        return PASS
