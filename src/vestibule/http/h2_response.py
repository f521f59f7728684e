"""From decoded fields to a response head: the field rules of RFC 9113 8 for what a server sends.

Facts: an answer that is malformed must not be passed on (RFC 9113 8.1.1); the rules for names and values are those of requests.

Rules
  1. The result is what an HTTP/1 server would have sent, with a length where the answer is over with its head.
  2. Faults are the upstream's.

Not here: requests, trailers (`h2_request.py`), streams (`h2_client.py`).
"""

from typing import Final

from vestibule.fault import UPSTREAM_BAD_FRAMING, UPSTREAM_BAD_SYNTAX, UPSTREAM_HEAD_TOO_LARGE, ProtocolError
from vestibule.http.fields import FieldsTable
from vestibule.http.h2_request import check_pair, joined, shown
from vestibule.http.head import ResponseHead
from vestibule.http.hpack import Decoder

# Answers that never have a body, whatever their fields say (RFC 9110 6.4.1).
BODILESS: Final = (204, 304)


class ResponseMaker:
    """Makes response heads from the header blocks of one connection."""

    def __init__(self, table: FieldsTable, decoder: Decoder) -> None:
        self._table = table
        self._decoder = decoder

    def make(self, block: bytes, end: bool, bodiless: bool) -> ResponseHead:
        """Return the head in a whole header block; `end` says that no body follows, `bodiless` that none may.

        Raises HpackError (the connection is lost) or ProtocolError.
        """
        decoder = self._decoder
        pairs = decoder.decode(block)
        if decoder.over:
            raise ProtocolError(UPSTREAM_HEAD_TOO_LARGE, f"over {decoder.list_most} bytes or {decoder.count_most} fields")
        status = 0
        lines: list[bytes] = []
        for name, value in pairs:
            if name[:1] == b":":
                if name != b":status" or status or lines:
                    raise _malformed(f"pseudo-field {shown(name)} in an answer, twice, or behind a field")
                if len(value) != 3 or not value.isdigit():
                    raise _malformed(f":status {shown(value)}")
                status = int(value)
                continue
            try:
                check_pair(name, value)
            except ProtocolError as error:
                raise _malformed(error.detail) from None
            lines.append(name + b": " + value)
        if status < 100 or status == 101 or status > 599:
            raise _malformed(f":status {status}")
        if status < 200:
            if end:
                raise _malformed(f"{status} that ends the stream")
            return ResponseHead(status, b"", self._table.find(joined(lines)))
        fields = self._table.find(joined(lines))
        if end and not bodiless and status not in BODILESS:
            if fields.content_length > 0:
                raise ProtocolError(UPSTREAM_BAD_FRAMING, "content-length, and no body")
            if fields.content_length < 0:
                lines.append(b"content-length: 0")
                fields = self._table.find(joined(lines))
        return ResponseHead(status, b"", fields)


def _malformed(detail: str) -> ProtocolError:
    return ProtocolError(UPSTREAM_BAD_SYNTAX, detail)
