"""Fields behind the body of an answer.

Facts: HTTP/1.1 has trailers behind chunks, HTTP/2 in a section of their own (RFC 9110 6.5); HTTP/1.0 has none, nor has an answer
without a body.

Rules: a value is taken when the body has ended; an empty one adds nothing. Trailers of the server come before ours. The length of
an answer that may have trailers is not told, since chunks have none.

Not here: trailers that pass (`exchange.py`), fields before the body (`edit.py`).
"""

from vestibule.contract import Around, Stream
from vestibule.exchange import Exchange
from vestibule.fault import Fault
from vestibule.http.fields import EMPTY, Fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.http.semantics import clean_value
from vestibule.plan.expr import EXCHANGE, Node
from vestibule.plan.steps.edit import Edit


class AddTrailer(Edit):
    """Adds a field behind the body."""

    def __init__(self, name: bytes, value: Node) -> None:
        super().__init__(EXCHANGE)
        self.name = name
        self.value = value

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        response = ex.response
        down = ex.down
        if response is None or down is None or response.status < 200 or response.status in (204, 304):
            return fields
        if ex.request.method == b"HEAD" or ex.request.protocol == b"HTTP/1.0":
            return fields
        if not isinstance(down, Trailing):
            down = Trailing(ex, down)
            ex.down = down
        down.added.append(self)
        if fields.content_length >= 0:
            fields = fields.without((b"content-length",))
            fields.content_length = -1
        return fields


class Trailing(Around):
    """A stream to the client that has trailers at its end."""

    def __init__(self, ex: Exchange, inner: Stream) -> None:
        super().__init__(inner)
        self.added: list[AddTrailer] = []
        self._ex: Exchange | None = ex

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        if end and isinstance(head, ResponseHead) and head.status in (204, 304):
            return self._inner.send_head(head, True)  # it was put in the place of one with a body
        more = self._inner.send_head(head, False)
        return self._end(EMPTY) if end else more

    def send_body(self, data: bytes, end: bool) -> bool:
        if not end:
            return self._inner.send_body(data, False)
        if data:
            self._inner.send_body(data, False)
        return self._end(EMPTY)

    def send_trailers(self, fields: Fields) -> bool:
        return self._end(fields)

    def _end(self, passed: Fields) -> bool:
        ex = self._ex
        pairs: list[tuple[bytes, bytes]] = []
        if ex is not None:
            for each in self.added:
                value = clean_value(each.value.text(ex))
                if value:
                    pairs.append((each.name, value))
        fields = passed.plus(pairs) if pairs else passed
        return self._inner.send_trailers(fields) if fields.names else self._inner.send_body(b"", True)

    def abort(self, fault: Fault) -> None:
        self._ex = None
        self._inner.abort(fault)

    def release(self) -> None:
        self._ex = None
        self._inner.release()
