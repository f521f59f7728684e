"""Another answer, or another status, in the place of a server's.

Facts: whether an answer may pass is known once its head is there (HAProxy's `http-response deny` and its kin).

Rules: what replaces an answer has its own fields and body; edits behind it change those. The exchange drops the server's.

Not here: answers that ask no server (`plan/sources/fixed.py`).
"""

from vestibule.exchange import Exchange
from vestibule.http.fields import Fields, fields_of
from vestibule.http.semantics import clean_value
from vestibule.plan.expr import EXCHANGE, Node
from vestibule.plan.steps.edit import Edit


class SetStatus(Edit):
    """Gives an answer another status."""

    def __init__(self, status: int, reason: bytes) -> None:
        super().__init__(EXCHANGE)
        self._status = status
        self._reason = reason

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        response = ex.response
        # One without a body stays so: whoever reads it counts on that (RFC 9110 15.3.5, 15.4.5). A switch of protocols is none.
        if response is not None and response.status >= 200 and response.status not in (204, 304):
            response.status = self._status or ex.error_status or response.status
            response.reason = self._reason
        return fields


class ReplaceAnswer(Edit):
    """Answers in the place of a server."""

    def __init__(self, status: int, body: Node | None, names: list[bytes], values: list[Node]) -> None:
        super().__init__(EXCHANGE)
        self._status = status
        self._body = body
        self._names = names
        self._values = values

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        response = ex.response
        if response is None:
            return fields
        body = b"" if self._body is None else self._body.text(ex)
        pairs: list[tuple[bytes, bytes]] = []
        for i in range(len(self._names)):
            value = clean_value(self._values[i].text(ex))
            if value:
                pairs.append((self._names[i], value))
        if self._status not in (204, 304):
            pairs.append((b"Content-Length", b"%d" % len(body)))
        response.status = self._status
        response.reason = b""
        ex.instead = body
        return fields_of(pairs)
