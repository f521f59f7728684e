"""Steps that end a request here, with the error page of its plan.

Not here: the page (`plan/error_page.py`).
"""

from typing import Final

from vestibule.contract import ANSWERED, PASS, Step
from vestibule.exchange import Exchange
from vestibule.fault import (
    CLIENT_BAD_CERTIFICATE,
    CLIENT_BAD_TARGET,
    CLIENT_NO_CERTIFICATE,
    NEVER,
    PROXY,
    PROXY_DENIED,
    Fault,
    FaultKind,
    ProtocolError,
)
from vestibule.http.target import normal_path

_HEX: Final = b"0123456789abcdefABCDEF"

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


class HangUp(Step):
    """Ends without an answer."""

    def run(self, ex: Exchange) -> int:
        ex.hang_up(Fault(PROXY_DENIED, "the connection is closed without an answer"))
        return ANSWERED


class ClientCertificate(Step):
    """Lets only requests pass whose client showed a certificate that was accepted."""

    def __init__(self, status: int) -> None:
        self._none = with_status(CLIENT_NO_CERTIFICATE, status)
        self._bad = with_status(CLIENT_BAD_CERTIFICATE, status)

    def run(self, ex: Exchange) -> int:
        shown = ex.client.certificate
        if shown is None:
            ex.fail(Fault(self._none))
            return ANSWERED
        if shown.result != 0:
            ex.fail(Fault(self._bad, shown.error))
            return ANSWERED
        return PASS


def with_status(kind: FaultKind, status: int) -> FaultKind:
    """Return the same fault to logs and metrics, with the status that was asked for."""
    return kind if status == kind.status else FaultKind(kind.name, kind.side, status, kind.retry, kind.text, kind.mend)


def refuse(ex: Exchange, error: ProtocolError) -> None:
    """Answer a request that should not have been sent; what follows on its connection is not trusted either."""
    if ex.down is not None:
        ex.down.refuse_rest()
    ex.fail(Fault(error.kind, error.detail))


class CheckPath(Step):
    """Refuses a path that two readers would take for two things (RFC 3986 2.1, 5.2.4).

    A broken escape or an encoded NUL always is one. `resolved` also refuses a path that climbs over
    the root, for plans whose expressions ask for the path in normal form.
    """

    def __init__(self, resolved: bool) -> None:
        self._resolved = resolved

    def run(self, ex: Exchange) -> int:
        target = ex.request.target
        # `find`, because `in` between bytes first tries the left one as a number, and fails expensively.
        if target.find(b"%") < 0 and (not self._resolved or target.find(b"/.") < 0):
            return PASS  # most requests; nothing in them can be read in two ways
        path = ex.request.path()
        try:
            if self._resolved:
                normal_path(path)
            else:
                check_escapes(path)
        except ProtocolError as error:
            refuse(ex, error)
            return ANSWERED
        return PASS


def check_escapes(path: bytes) -> None:
    """Raise ProtocolError for a `%` without two digits behind it, and for an encoded NUL."""
    for part in path.split(b"%")[1:]:
        code = part[:2]
        if len(code) != 2 or code.translate(None, _HEX) or code == b"00":
            raise ProtocolError(CLIENT_BAD_TARGET, "broken percent-encoding or an encoded NUL")
