"""HTTP/1 codec: bytes in, events out; heads in, bytes out. No socket.

Facts
  A message is a start line, fields, an empty line and a body whose length the fields decide
  (RFC 9112 6.3). Only CRLF ends a line: section 2.2 lets a recipient take a bare LF for a start line
  or field, never for chunks, and every hop that does differs from one that does not.

Rules
  1. `feed` only appends. `next` pulls one event and returns its code; what belongs to the event lies
     in the reader's attributes until the next call.
  2. Errors are `ProtocolError`; after one, the reader must not be asked again.
  3. After the last event of a message `next` returns PAUSED until `restart`: a pipelined request is
     not looked at before its turn (RFC 9112 9.3.2).
  4. Limits are arguments, never globals.
  5. Where `HeadLimits.bare_lf` says so, a head may end its lines with LF alone; it is put into order before it is looked at, so
     that nothing after it meets one. Chunks and trailers never may.

Not here: what to do with a head (`exchange.py`), connection reuse (`proxy/`).
"""

from typing import Final

from mypy_extensions import mypyc_attr

from vestibule.fault import (
    CLIENT,
    CLIENT_BAD_FRAMING,
    CLIENT_BAD_HOST,
    CLIENT_BAD_METHOD,
    CLIENT_BAD_SYNTAX,
    CLIENT_BAD_TARGET,
    CLIENT_BAD_VERSION,
    CLIENT_HEAD_TOO_LARGE,
    CLIENT_TARGET_TOO_LONG,
    UPSTREAM,
    UPSTREAM_BAD_FRAMING,
    UPSTREAM_BAD_SYNTAX,
    UPSTREAM_HEAD_TOO_LARGE,
    ProtocolError,
)
from vestibule.http.fields import EMPTY, Fields, FieldsTable, parse_trailers
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.http.name import TOKEN_CHARS
from vestibule.http.number import parse_hex
from vestibule.http.target import check_authority, check_target, is_same, split_absolute

# Event codes.
NEED: Final = 0  # feed more bytes
HEAD: Final = 1  # `head` is there; `ended` tells that no body follows
DATA: Final = 2  # `data` is there; `ended` tells that it was the last
TRAILERS: Final = 3  # `trailers` is there; the message is over
INTERIM: Final = 4  # a 1xx head is in `head`; the final one is still to come (RFC 9110 15.2)
PAUSED: Final = 5  # the message is over; `restart` for the next

# States of a reader.
_START: Final = 0
_LENGTH: Final = 1
_CHUNK_SIZE: Final = 2
_CHUNK_DATA: Final = 3
_CHUNK_END: Final = 4
_TRAILER: Final = 5
_UNTIL_CLOSE: Final = 6
_OVER: Final = 7
_OPAQUE: Final = 8

# A chunk line with its extension, and all extensions of one body: nobody uses them but attackers.
_CHUNK_LINE_MOST: Final = 1024
_EXTENSIONS_MOST: Final = 16_384
_LINE_CONTROLS: Final = bytes(c for c in range(256) if (c < 32 and c != 9) or c == 127)

_METHODS: Final = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"PROPFIND", b"REPORT", b"MKCOL", b"COPY", b"MOVE")
)
_METHOD_LONGEST: Final = 32

# Those of registered methods, and `_`.
_EXACT_METHOD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-_"


class HeadLimits:
    """What a head may measure: bytes of the whole head, bytes of the target, number of field lines; how its lines may end; whether
    a request may say no host; whether it must be `exact`; and whether its target may name another host than Host."""

    def __init__(
        self,
        head: int = 16_384,
        target: int = 8_192,
        fields: int = 100,
        bare_lf: bool = False,
        hostless: bool = False,
        exact: bool = False,
        foreign_host: bool = False,
    ) -> None:
        self.head = head
        self.target = target
        self.fields = fields
        self.bare_lf = bare_lf
        self.hostless = hostless
        self.exact = exact
        self.foreign_host = foreign_host


@mypyc_attr(allow_interpreted_subclasses=False)
class Reader:
    """The part that both directions share: the buffer and the body."""

    def __init__(self, side: int, limits: HeadLimits) -> None:
        self.side = side
        self.limits = limits
        self.data = b""
        self.ended = False
        self.trailers = EMPTY
        self.left = 0  # body bytes still to come under Content-Length or in this chunk
        self._buffer = b""
        self._at = 0
        self._state = _START
        self._extensions = 0

    def feed(self, data: bytes) -> None:
        """Append what the peer sent."""
        if self._at == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def has_rest(self) -> bool:
        """Tell whether bytes were fed that no event has taken."""
        return self._at < len(self._buffer)

    def take_rest(self) -> bytes:
        """Give up the bytes no event has taken: what follows a switch of protocols."""
        rest = self._buffer[self._at :]
        self._buffer = b""
        self._at = 0
        return rest

    def is_idle(self) -> bool:
        """Tell whether no message has begun."""
        return self._state == _START and self._at == len(self._buffer)

    def is_over(self) -> bool:
        """Tell whether the message has been read to its end."""
        return self._state == _OVER

    def relayable(self) -> int:
        """Return how many body bytes may now pass beside the reader: those under Content-Length with none in the buffer."""
        if self._state == _LENGTH and self._at == len(self._buffer):
            return self.left
        return 0

    def awaited(self) -> int:
        """Return how many bytes are to come under Content-Length; 0 where that is not known."""
        return self.left if self._state == _LENGTH else 0

    def relayed(self, count: int) -> None:
        """Note that `count` body bytes passed beside the reader; with the last one the message is over."""
        self.left -= count
        if self.left == 0:
            self._state = _OVER

    def restart(self) -> None:
        """Look for the next message."""
        self._state = _START
        self._extensions = 0
        self.data = b""  # an idle connection must not keep the last piece of its last body

    def become_opaque(self) -> None:
        """From here on everything is DATA: the peers switched protocols."""
        self._state = _OPAQUE

    def finish(self) -> bool:
        """Tell the reader that the peer closed; return whether a message may end so (RFC 9112 6.3 rule 8)."""
        return self._state in (_UNTIL_CLOSE, _OVER, _OPAQUE) or self.is_idle()

    def _begin_body(self, fields: Fields) -> bool:
        """Set the state for the body that the fields announce; return whether there is none."""
        if fields.chunked:
            self._state = _CHUNK_SIZE
            return False
        if fields.content_length > 0:
            self.left = fields.content_length
            self._state = _LENGTH
            return False
        self._state = _OVER
        return True

    def _find_head(self) -> int:
        """Return where the empty line of the head begins (at its first CRLF), or -1 if it has not come.

        Raises when the head is too large, or when it is clear already that it will not be valid.
        """
        end = self._buffer.find(b"\r\n\r\n", self._at)
        size = (end if end >= 0 else len(self._buffer)) - self._at
        if size > self.limits.head:
            raise self._too_large(end)
        if end < 0 and self._at < len(self._buffer) and not (self.limits.bare_lf and self._state == _START):
            # A bare LF would keep us waiting for a CRLF that the peer does not mean to send.
            seen = self._buffer[self._at :]
            if seen.count(b"\n") != seen.count(b"\r\n"):
                raise self.bad_syntax("bare LF in the head")
        return end

    def _mend_lines(self) -> None:
        """Give the lines of the head that comes next their CR, once the whole head is there (rule 5)."""
        buffer = self._buffer
        end = buffer.find(b"\n\n", self._at)
        usual = buffer.find(b"\n\r\n", self._at)
        after = end + 2
        if end < 0 or 0 <= usual < end:
            end = usual
            after = usual + 3
        if end < 0:
            return
        head = buffer[self._at : after]
        if head.count(b"\n") != head.count(b"\r\n"):
            self._buffer = head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + buffer[after:]
            self._at = 0

    def _too_large(self, end: int) -> ProtocolError:
        if self.side == UPSTREAM:
            return ProtocolError(UPSTREAM_HEAD_TOO_LARGE, f"over {self.limits.head} bytes")
        line = self._buffer.find(b"\n" if self.limits.bare_lf else b"\r\n", self._at)
        if self._state == _START and (line if line >= 0 else len(self._buffer)) - self._at > self.limits.target:
            return ProtocolError(CLIENT_TARGET_TOO_LONG, f"over {self.limits.target} bytes (limits.target)")
        return ProtocolError(CLIENT_HEAD_TOO_LARGE, f"over {self.limits.head} bytes (limits.head)")

    def _next_body(self) -> int:
        """Pull the next event of the body."""
        while True:
            state = self._state
            if state == _LENGTH or state == _CHUNK_DATA:
                return self._take_data()
            if state == _CHUNK_SIZE:
                if not self._read_chunk_size():
                    return NEED
            elif state == _CHUNK_END:
                if not self._read_chunk_end():
                    return NEED
            elif state == _TRAILER:
                return self._read_trailers()
            elif state == _UNTIL_CLOSE or state == _OPAQUE:
                if self._at == len(self._buffer):
                    return NEED
                self.data = self.take_rest()
                self.ended = False
                return DATA
            else:
                return PAUSED

    def _take_data(self) -> int:
        have = len(self._buffer) - self._at
        if have == 0:
            return NEED
        if have <= self.left:
            self.data = self._buffer if self._at == 0 else self._buffer[self._at :]
            self._buffer = b""
            self._at = 0
            self.left -= have
        else:
            self.data = self._buffer[self._at : self._at + self.left]
            self._at += self.left
            self.left = 0
        self.ended = False
        if self.left == 0:
            if self._state == _LENGTH:
                self._state = _OVER
                self.ended = True
            else:
                self._state = _CHUNK_END
        return DATA

    def _read_chunk_size(self) -> bool:
        """Read `chunk-size [ext] CRLF` (RFC 9112 7.1); return False while it is incomplete."""
        end = self._buffer.find(b"\r\n", self._at)
        line = self._buffer[self._at : end if end >= 0 else len(self._buffer)]
        if len(line) > _CHUNK_LINE_MOST:
            raise self._bad_framing("chunk line too long")
        if end < 0:
            if b"\n" in line or b"\r" in line[:-1]:
                raise self._bad_framing("bare CR or LF in a chunk line")
            return False
        semicolon = line.find(b";")
        digits = line
        if semicolon >= 0:
            # Blanks before the semicolon are "bad whitespace" that a recipient must parse (RFC 9112 7.1.1).
            digits = line[:semicolon].rstrip(b" \t")
            self._extensions += len(line) - semicolon
            if self._extensions > _EXTENSIONS_MOST:
                raise self._bad_framing("chunk extensions too long")
            if line.translate(None, _LINE_CONTROLS) != line:
                raise self._bad_framing("control byte in a chunk extension")
        size = parse_hex(digits)
        if size < 0:
            raise self._bad_framing(f"chunk size {line[:40]!r}")
        self._at = end + 2
        self.left = size
        self._state = _CHUNK_DATA if size else _TRAILER
        return True

    def _read_chunk_end(self) -> bool:
        have = self._buffer[self._at : self._at + 2]
        if have != b"\r\n":
            if not have or have == b"\r":
                return False
            raise self._bad_framing("chunk data not followed by CRLF")
        self._at += 2
        self._state = _CHUNK_SIZE
        return True

    def _read_trailers(self) -> int:
        if self._buffer.startswith(b"\r\n", self._at):
            self._at += 2
            self._state = _OVER
            self.data = b""
            self.ended = True
            return DATA
        end = self._find_head()
        if end < 0:
            return NEED
        self.trailers = parse_trailers(self._buffer[self._at : end + 2], self.side, self.limits.fields)
        self._at = end + 4
        self._state = _OVER
        return TRAILERS

    def bad_syntax(self, detail: str) -> ProtocolError:
        """Return the refusal of this message, with the fault of the side it came from."""
        return ProtocolError(CLIENT_BAD_SYNTAX if self.side == CLIENT else UPSTREAM_BAD_SYNTAX, detail)

    def _bad_framing(self, detail: str) -> ProtocolError:
        return ProtocolError(CLIENT_BAD_FRAMING if self.side == CLIENT else UPSTREAM_BAD_FRAMING, detail)


class RequestReader(Reader):
    """Reads the requests of one client connection."""

    def __init__(self, limits: HeadLimits, table: FieldsTable) -> None:
        super().__init__(CLIENT, limits)
        self._skipped = False  # an empty line before this request
        self.head: RequestHead | None = None
        self.persistent = True  # may the connection serve another request after this one?
        self._table = table
        self._last_block = b""
        self._last_fields = EMPTY

    def next(self) -> int:
        """Return the code of the next event. Raises ProtocolError."""
        if self._state != _START:
            return self._next_body()
        if self._at == len(self._buffer):
            return NEED
        if self.limits.bare_lf:
            if self._buffer[self._at] == 10 and not self._skipped:
                self._skipped = True
                self._at += 1
                if self._at == len(self._buffer):
                    return NEED
            self._mend_lines()
        if self._buffer[self._at] == 13 and self._buffer.startswith(b"\r\n", self._at):
            # One empty line before a request is a known habit of old clients (RFC 9112 2.2).
            if self._skipped or self._buffer.startswith(b"\r\n", self._at + 2):
                raise self.bad_syntax("more than one empty line before the request")
            self._skipped = True
            self._at += 2
            if self._at == len(self._buffer):
                return NEED
        end = self._find_head()
        if end < 0:
            return NEED
        line_end = self._buffer.find(b"\r\n", self._at)
        line = self._buffer[self._at : line_end]
        block = self._buffer[line_end + 2 : end + 2]
        self._at = end + 4
        if block == self._last_block:
            fields = self._last_fields
        else:
            fields = self._table.find(block)
            self._last_block = fields.block  # the table's copy, so that idle connections do not keep one each
            self._last_fields = fields
        self._skipped = False
        self.head = self._make_head(line, fields)
        self.ended = self._begin_body(fields)
        return HEAD

    def obey(self, limits: HeadLimits, table: FieldsTable) -> None:
        """Read the next request by these limits, of which the table holds the number of fields."""
        self.limits = limits
        if table is not self._table:
            self._table = table
            self._last_block = b""
            self._last_fields = EMPTY

    def forget(self) -> None:
        """Give up what only saves work: the connection has been idle for a while."""
        self.head = None
        self._last_block = b""
        self._last_fields = EMPTY

    def _make_head(self, line: bytes, fields: Fields) -> RequestHead:
        """Read the request line and check it against the fields (RFC 9112 3)."""
        parts = line.split(b" ")
        if len(parts) != 3 or line.find(b"\n") >= 0:  # the same fault as when the line comes in pieces
            raise self.bad_syntax("not a request line")
        method, target, version = parts
        if method not in _METHODS:
            self._check_method(method)
        if version != b"HTTP/1.1":
            self._check_version(version, fields)
        else:
            self.persistent = not fields.close
        if len(target) > self.limits.target:
            raise ProtocolError(CLIENT_TARGET_TOO_LONG, f"over {self.limits.target} bytes (limits.target)")
        check_target(target)
        authority = fields.host
        if authority is None:
            if not self.limits.hostless and (fields.bad_host or version != b"HTTP/1.0"):
                raise ProtocolError(CLIENT_BAD_HOST, repr((fields.get(b"host") or b"")[:80])[1:] if fields.bad_host else "no Host")
            authority = b""
        if self.limits.exact:
            self._check_exactly(method, fields)
        if target[:1] == b"/" or (target == b"*" and method == b"OPTIONS"):
            return RequestHead(method, target, authority, fields, version)
        named, origin_form = self._check_absolute(target, authority)
        head = RequestHead(method, origin_form, named, fields, version)
        head.origin = target[: target.find(b"://") + 3] + named
        return head

    def _check_method(self, method: bytes) -> None:
        if not method or method.translate(None, TOKEN_CHARS) or len(method) > _METHOD_LONGEST:
            raise self.bad_syntax("not a method")
        # CONNECT would make a tunnel to anywhere, TRACE echo credentials (RFC 9110 9.3.6, 9.3.8).
        if method in (b"CONNECT", b"TRACE"):
            raise ProtocolError(CLIENT_BAD_METHOD, method.decode("ascii"))
        if method == b"PRI":
            raise ProtocolError(CLIENT_BAD_VERSION, "HTTP/2 preface on an HTTP/1 connection")

    def _check_exactly(self, method: bytes, fields: Fields) -> None:
        """Refuse what RFC 9110 leaves room for, where nothing of it is wanted."""
        if method.translate(None, _EXACT_METHOD):
            raise self.bad_syntax("not a method")
        if fields.host == b"":
            raise ProtocolError(CLIENT_BAD_HOST, "an empty Host")
        twice = fields.repeated()
        if twice:
            raise self.bad_syntax(f"{twice.decode('ascii')} twice")

    def _check_version(self, version: bytes, fields: Fields) -> None:
        """Take HTTP/1.0 with its own rules, later minors as 1.1 (RFC 9112 2.3, RFC 9110 2.5), nothing else."""
        if version == b"HTTP/1.0":
            if fields.chunked:
                raise ProtocolError(CLIENT_BAD_FRAMING, "Transfer-Encoding in HTTP/1.0")
            self.persistent = fields.keep_alive and not fields.close
            return
        if len(version) != 8 or version[:5] != b"HTTP/" or version[6:7] != b"." or not (version[5:6] + version[7:8]).isdigit():
            raise self.bad_syntax("not an HTTP version")
        if version[5] != 49:
            raise ProtocolError(CLIENT_BAD_VERSION, version.decode("ascii"))
        self.persistent = not fields.close

    def _check_absolute(self, target: bytes, authority: bytes) -> tuple[bytes, bytes]:
        """Take a target that is a whole URL apart into authority and origin form."""
        named, origin = split_absolute(target)
        check_authority(named)
        if (
            authority
            and not self.limits.foreign_host
            and named.lower() != authority.lower()
            and not is_same(named, authority, target[:5].lower() == b"https")
        ):
            raise ProtocolError(CLIENT_BAD_TARGET, "the target names another host than Host")
        return named, origin


class ResponseReader(Reader):
    """Reads the responses of one upstream connection."""

    def __init__(self, limits: HeadLimits, table: FieldsTable) -> None:
        super().__init__(UPSTREAM, limits)
        self.head: ResponseHead | None = None
        self.persistent = True
        self.switched = False  # the head is a 101
        self._table = table
        self._to_head = False
        self._last_line = b""
        self._last_status = 0
        self._last_reason = b""
        self._last_block = b""
        self._last_fields = EMPTY

    def expect(self, method: bytes) -> None:
        """Get ready for the response to a request of this method."""
        self._state = _START
        self._extensions = 0
        self._to_head = method == b"HEAD"
        self.switched = False

    def next(self) -> int:
        """Return the code of the next event. Raises ProtocolError."""
        if self._state != _START:
            return self._next_body()
        if self._at == len(self._buffer):
            return NEED
        if self.limits.bare_lf:
            self._mend_lines()
        end = self._find_head()
        if end < 0:
            return NEED
        line_end = self._buffer.find(b"\r\n", self._at)
        line = self._buffer[self._at : line_end]
        block = self._buffer[line_end + 2 : end + 2]
        self._at = end + 4
        if line != self._last_line:
            self._read_line(line)
        if block == self._last_block:
            fields = self._last_fields
        else:
            fields = self._table.find(block)
            self._last_block = fields.block  # the table's copy, so that idle connections do not keep one each
            self._last_fields = fields
        status = self._last_status
        self.head = ResponseHead(status, self._last_reason, fields)
        if status < 200:
            return self._read_interim(status, fields)
        if line[5:8] == b"1.0":
            if fields.chunked:
                raise self._bad_framing("Transfer-Encoding in HTTP/1.0")
            self.persistent = fields.keep_alive and not fields.close
        else:
            self.persistent = not fields.close
        self.ended = self._begin_response_body(status, fields)
        return HEAD

    def _read_line(self, line: bytes) -> None:
        """Read `HTTP/1.x SP 3DIGIT SP reason` (RFC 9112 4); the blank before an empty reason may be missing."""
        code = line[9:12]
        if (
            line[:7] != b"HTTP/1."
            or line[7:8] not in (b"0", b"1")
            or line[8:9] != b" "
            or len(code) != 3
            or not code.isdigit()
            or line[12:13] not in (b" ", b"")
            or line.translate(None, _LINE_CONTROLS) != line
        ):
            raise self.bad_syntax(f"not a status line: {line[:60]!r}")
        self._last_line = line
        self._last_status = (code[0] - 48) * 100 + (code[1] - 48) * 10 + code[2] - 48
        self._last_reason = line[13:]
        if self._last_status < 100:
            raise self.bad_syntax(f"status {self._last_status}")

    def _read_interim(self, status: int, fields: Fields) -> int:
        if status == 101:
            self.switched = True
            self.ended = False
            self.persistent = False
            self._state = _OVER  # until the owner decides that the switch was asked for
            return HEAD
        return INTERIM

    def _begin_response_body(self, status: int, fields: Fields) -> bool:
        if self._to_head or status == 204 or status == 304:
            self._state = _OVER
            return True
        if fields.chunked or fields.content_length >= 0:
            return self._begin_body(fields)
        self._state = _UNTIL_CLOSE
        self.persistent = False
        return False


def request_bytes(method: bytes, target: bytes, fields: Fields, upgrade: bytes) -> bytes:
    """Return the head of a request as HTTP/1.1 sends it: the fields' end-to-end lines and the framing (RFC 9112 3).

    `upgrade` is what to ask for, or nothing. A request that asks may have a chunked body all the same:
    without its framing the chunks would be read as the next request.
    """
    clean = fields.end_to_end() if fields.has_hop_by_hop else fields
    framing = b"Transfer-Encoding: chunked\r\n\r\n" if fields.chunked else b"\r\n"
    if upgrade:
        framing = b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n" + framing
    return b"".join((method, b" ", target, b" HTTP/1.1\r\n", clean.block, framing))


def status_line(status: int, reason: bytes) -> bytes:
    """Return the status line of a response, with its CRLF (RFC 9112 4)."""
    if status == 200 and (reason == b"OK" or not reason):
        return b"HTTP/1.1 200 OK\r\n"
    return b"HTTP/1.1 %d %s\r\n" % (status, reason or REASONS.get(status, b""))


def chunk_bytes(data: bytes) -> bytes:
    """Return one chunk (RFC 9112 7.1); `data` must not be empty."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"


def last_chunk(trailers: Fields) -> bytes:
    """Return the end of a chunked body with these trailers."""
    return b"0\r\n" + trailers.end_to_end().block + b"\r\n"


REASONS: Final[dict[int, bytes]] = {
    100: b"Continue",
    101: b"Switching Protocols",
    102: b"Processing",
    103: b"Early Hints",
    104: b"Upload Resumption Supported",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    206: b"Partial Content",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Range Not Satisfiable",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    422: b"Unprocessable Content",
    425: b"Too Early",
    426: b"Upgrade Required",
    428: b"Precondition Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    451: b"Unavailable For Legal Reasons",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    507: b"Insufficient Storage",
}
