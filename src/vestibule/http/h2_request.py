"""From decoded fields to a request head: the field rules of RFC 9113 8.

Facts
  What HTTP/2 carries in length-prefixed strings HTTP/1 carries in lines. A name or value that would be two
  lines there, a length said twice, a host said differently in two places: each is a way to smuggle
  (RFC 9113 8.2.1, 10.3).
  A browser sends the same fields with nearly every request; only `:path` changes.

Rules
  1. A request that breaks a rule is *malformed* and never forwarded, not even mended. `ProtocolError` with
     status 400 means RST_STREAM(PROTOCOL_ERROR); other kinds have an answer (405, 414, 417, 431).
  2. The result is what an HTTP/1 client would have sent: `Host` first, cookie crumbs joined, a body without
     a length marked as chunked. Nobody after this asks which version it was.
  3. The parse of the regular fields is kept under their bytes while the HPACK table stays as it is.

Not here: counting (`hpack.py`), trailers on the wire, streams (`h2.py`).
"""

from typing import Final

from vestibule.fault import (
    CLIENT,
    CLIENT_BAD_FRAMING,
    CLIENT_BAD_HOST,
    CLIENT_BAD_METHOD,
    CLIENT_BAD_SYNTAX,
    CLIENT_BAD_TARGET,
    CLIENT_HEAD_TOO_LARGE,
    CLIENT_TARGET_TOO_LONG,
    ProtocolError,
)
from vestibule.http.fields import Fields, FieldsTable, parse_trailers
from vestibule.http.h1 import HeadLimits
from vestibule.http.head import RequestHead
from vestibule.http.hpack import Decoder
from vestibule.http.name import CONNECTION, CONTENT_LENGTH, HOP_BY_HOP, HOST, TE, TOKEN_CHARS, TRANSFER_ENCODING, UPGRADE, find_name
from vestibule.http.target import check_authority, check_target

PROTOCOL: Final = b"HTTP/2.0"

_METHOD_LONGEST: Final = 32
_SECTIONS_MOST: Final = 32
_SECTION_LONGEST: Final = 2048
_CHECKED_MOST: Final = 256

# Methods whose meaning expects a body: without one they say "Content-Length: 0" (RFC 9110 8.6).
_WITH_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))


class Section:
    """The regular fields of a request as header lines, before authority and framing are known."""

    def __init__(self, size: int, count: int) -> None:
        self.lines: list[bytes] = []
        self.host: bytes | None = None
        self.length: bytes | None = None
        self.priority = b""
        self.size = size
        self.count = count
        # The last two results: with and without a body of unknown length, for one authority.
        self.authority = b""
        self.fields: Fields | None = None
        self.chunked: Fields | None = None


class RequestMaker:
    """Makes request heads from the header blocks of one connection."""

    def __init__(self, limits: HeadLimits, table: FieldsTable, decoder: Decoder, side: int = CLIENT) -> None:
        self.limits = limits
        self.priority = b""  # the priority field of the last request
        self.tunnel = False  # the last request was an extended CONNECT (RFC 8441)
        self.method = b""  # of the last request that was decoded, whatever became of it
        self._table = table
        self._decoder = decoder
        self._side = side  # who sends the trailers
        self._sections: dict[bytes, Section] = {}
        self._generation = 0
        self._authorities: dict[bytes, bool] = {}  # those that passed check_authority
        # The last whole block and what it said, for clients that ask the same again.
        self._last_block = b""
        self._last_head: RequestHead | None = None
        self._last_priority = b""
        self._last_generation = 0

    def forget(self) -> None:
        """Drop what is memoised: the connection is idle."""
        self._sections.clear()
        self._authorities.clear()
        self._last_block = b""
        self._last_head = None

    def skip(self, block: bytes) -> None:
        """Decode a block for its effect on the table only. Raises HpackError."""
        self._decoder.decode(block)

    def make(self, block: bytes, end: bool) -> RequestHead:
        """Return the head of the request in a whole header block; `end` says that no body follows.

        Raises HpackError (the connection is lost) or ProtocolError (rule 1).
        """
        last = self._last_head
        if last is not None and end and block == self._last_block and self._decoder.generation == self._last_generation:
            self.tunnel = False
            self.priority = self._last_priority
            return RequestHead(last.method, last.target, last.authority, last.fields, PROTOCOL)
        decoder = self._decoder
        generation = decoder.generation
        pairs = decoder.begin(block)
        self.method = _method_of(pairs)
        section = self._section(block, pairs)
        if decoder.over or section is None:
            raise ProtocolError(
                CLIENT_HEAD_TOO_LARGE, f"over {decoder.list_most} bytes (limits.head) or {decoder.count_most} fields (limits.fields)"
            )
        head = self._head(pairs, section, end)
        self.priority = section.priority
        if end and generation == decoder.generation and len(block) <= _SECTION_LONGEST and not self.tunnel:
            self._last_block = block
            self._last_generation = generation
            # A copy, because a plan may change what it was given (a rewrite, for one).
            self._last_head = RequestHead(head.method, head.target, head.authority, head.fields, PROTOCOL)
            self._last_priority = section.priority
        return head

    def _head(self, pairs: list[tuple[bytes, bytes]], section: Section, end: bool) -> RequestHead:
        """Make the head of checked pseudo-fields and fields."""
        method = b""
        scheme = b""
        path = b""
        authority = b""
        protocol = b""
        seen = 0
        for name, value in pairs:
            if name == b":method":
                bit = 1
                method = value
            elif name == b":path":
                bit = 2
                path = value
            elif name == b":scheme":
                bit = 4
                scheme = value
            elif name == b":authority":
                bit = 8
                authority = value
            elif name == b":protocol":
                bit = 16
                protocol = value
            else:
                raise malformed(f"pseudo-field {shown(name)} in a request")
            if seen & bit:
                raise malformed(f"{shown(name)} twice")
            seen |= bit
        self.tunnel = False
        _check_method(method, seen)
        if seen & 7 != 7:
            raise malformed("a pseudo-field is missing")
        if scheme not in (b"https", b"http"):
            raise malformed(f":scheme {shown(scheme)}")
        self._check_path(method, path)
        if seen & 16:
            self._check_protocol(method, protocol)
        authority = self._authority(authority, seen & 8 != 0, section)
        return RequestHead(b"GET" if self.tunnel else method, path, authority, self._fields(section, method, authority, end), PROTOCOL)

    def trailers(self, block: bytes) -> Fields:
        """Return the trailer section in a whole header block. Raises HpackError or ProtocolError."""
        decoder = self._decoder
        pairs = decoder.decode(block)
        if decoder.over:
            raise ProtocolError(CLIENT_HEAD_TOO_LARGE, "trailers over the limit")
        lines: list[bytes] = []
        for name, value in pairs:
            check_pair(name, value)
            lines.append(name + b": " + value)
        return parse_trailers(joined(lines), self._side, self.limits.fields)

    def _section(self, block: bytes, pairs: list[tuple[bytes, bytes]]) -> Section | None:
        """Return the regular fields, from memory where their bytes are known; None when they are over the limit."""
        decoder = self._decoder
        if decoder.generation != self._generation:
            self._generation = decoder.generation
            self._sections.clear()
        tail = block[decoder.at :]
        found = self._sections.get(tail)
        if found is not None:
            decoder.account(found.size, found.count)
            return found
        before = len(pairs)
        size = decoder.size
        count = decoder.count
        decoder.rest(pairs)
        if decoder.over:
            return None
        at = before
        while at < len(pairs) and pairs[at][0][:1] == b":":
            at += 1
        regular = pairs[at:]
        del pairs[at:]
        section = _make_section(regular, decoder.size - size, decoder.count - count)
        if at == before and decoder.generation == self._generation and len(tail) <= _SECTION_LONGEST:
            if len(self._sections) >= _SECTIONS_MOST:
                self._sections.clear()
            self._sections[tail] = section
        return section

    def _check_path(self, method: bytes, path: bytes) -> None:
        if len(path) > self.limits.target:
            raise ProtocolError(CLIENT_TARGET_TOO_LONG, f"over {self.limits.target} bytes (limits.target)")
        if path[:1] != b"/" and not (path == b"*" and method == b"OPTIONS"):
            raise ProtocolError(CLIENT_BAD_TARGET, ":path is not a path")
        check_target(path)

    def _check_protocol(self, method: bytes, protocol: bytes) -> None:
        """Extended CONNECT (RFC 8441 4): `:protocol` comes with CONNECT only, and we tunnel WebSockets only."""
        if method != b"CONNECT":
            raise malformed(":protocol without CONNECT")
        if protocol.lower() != b"websocket":
            raise ProtocolError(CLIENT_BAD_METHOD, f"CONNECT with :protocol {shown(protocol)}")
        self.tunnel = True

    def _authority(self, authority: bytes, said: bool, section: Section) -> bytes:
        """Return the one authority that `:authority` and `host` agree on (RFC 9113 8.3.1)."""
        host = section.host
        if not said:
            if host is None and self.limits.hostless:
                return b""
            if host is None:
                raise ProtocolError(CLIENT_BAD_HOST, "neither :authority nor host")
            authority = host
        elif host is not None and host.lower() != authority.lower():
            raise ProtocolError(CLIENT_BAD_HOST, ":authority and host differ")
        if authority not in self._authorities:
            check_authority(authority)
            if len(self._authorities) >= _CHECKED_MOST:
                self._authorities.clear()
            self._authorities[authority] = True
        return authority

    def _fields(self, section: Section, method: bytes, authority: bytes, end: bool) -> Fields:
        """Return the section with Host in front and the framing that an HTTP/1 sender would say."""
        if section.authority != authority:
            section.authority = authority
            section.fields = None
            section.chunked = None
        if self.tunnel:
            if section.length is not None:
                raise ProtocolError(CLIENT_BAD_FRAMING, "content-length with CONNECT")
            return self._table.find(_block(authority, section.lines, b"Connection: Upgrade\r\nUpgrade: websocket\r\n"))
        if end:
            if section.length is not None and section.length != b"0":
                raise ProtocolError(CLIENT_BAD_FRAMING, "content-length, and no body")
            if section.length is None and method in _WITH_BODY:
                return self._table.find(_block(authority, section.lines, b"Content-Length: 0\r\n"))
        elif section.length is None:
            chunked = section.chunked
            if chunked is None:
                chunked = self._table.find(_block(authority, section.lines, b"Transfer-Encoding: chunked\r\n"))
                section.chunked = chunked
            return chunked
        fields = section.fields
        if fields is None:
            fields = self._table.find(_block(authority, section.lines, b""))
            section.fields = fields
        return fields


def _method_of(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Return what `:method` says, if it stands among these: an answer to HEAD has no body, even one that refuses it."""
    for name, value in pairs:
        if name == b":method":
            return value
    return b""


def _check_method(method: bytes, seen: int) -> None:
    if not seen & 1 or not method or len(method) > _METHOD_LONGEST or method.translate(None, TOKEN_CHARS):
        raise malformed(":method is missing or not a token")
    # A plain CONNECT would tunnel to anywhere, TRACE echo credentials (RFC 9110 9.3.6, 9.3.8). They are
    # looked at first, because a CONNECT has neither :scheme nor :path (RFC 9113 8.5).
    if method == b"TRACE":
        raise ProtocolError(CLIENT_BAD_METHOD, "TRACE")
    if method == b"CONNECT" and not seen & 16:
        if seen & 6 or not seen & 8:
            raise malformed("CONNECT with :scheme or :path, or without :authority")
        raise ProtocolError(CLIENT_BAD_METHOD, "CONNECT")


def _make_section(pairs: list[tuple[bytes, bytes]], size: int, count: int) -> Section:
    """Check regular fields and lay them out as lines (RFC 9113 8.2)."""
    section = Section(size, count)
    lines = section.lines
    cookie_at = -1
    for name, value in pairs:
        role = check_pair(name, value)
        if role:
            if role == HOST:
                if section.host is not None:
                    raise ProtocolError(CLIENT_BAD_HOST, "host twice")
                section.host = value
                continue
            if role == CONTENT_LENGTH:
                if section.length is not None:
                    raise ProtocolError(CLIENT_BAD_FRAMING, "content-length twice")
                section.length = value
        elif name == b"cookie":
            if cookie_at >= 0:
                # Crumbs are one field for everybody but HPACK (RFC 9113 8.2.3).
                lines[cookie_at] += b"; " + value
                continue
            cookie_at = len(lines)
        elif name == b"priority":
            section.priority = section.priority + b"," + value if section.priority else value
        lines.append(name + b": " + value)
    return section


def check_pair(name: bytes, value: bytes) -> int:
    """Check one regular field of either side and return the role of its name (RFC 9113 8.2.1, 8.2.2)."""
    known = find_name(name)
    if known is None or known.lower != name:
        raise malformed(f"field name {shown(name)}")
    if value and (value[0] <= 32 or value[-1] <= 32) and value.strip(b" \t") != value:
        raise malformed(f"blanks around the value of {shown(name)}")
    if b"\n" in value or b"\r" in value or b"\0" in value:
        raise malformed(f"control byte in {shown(name)}")
    role = known.role
    if role:
        if role in (CONNECTION, TRANSFER_ENCODING, UPGRADE) or (role == HOP_BY_HOP and name in (b"keep-alive", b"proxy-connection")):
            raise malformed(f"{shown(name)} belongs to HTTP/1")
        if role == TE and value.lower() != b"trailers":
            raise malformed("te is not trailers")
    return role


def _block(authority: bytes, lines: list[bytes], framing: bytes) -> bytes:
    """Return the header section as HTTP/1 would send it."""
    if not authority:
        # Only where a request may say no host.
        return joined(lines) + framing
    return b"".join((b"Host: ", authority, b"\r\n", joined(lines), framing))


def joined(lines: list[bytes]) -> bytes:
    """Return lines as a header section."""
    return b"\r\n".join(lines) + b"\r\n" if lines else b""


def malformed(detail: str) -> ProtocolError:
    """Return the error of a message that breaks a rule (rule 1)."""
    return ProtocolError(CLIENT_BAD_SYNTAX, detail)


def shown(text: bytes) -> str:
    """Return a name or value as messages show it."""
    return repr(text[:60])[1:]
