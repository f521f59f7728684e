"""A header or trailer section: the lines as they are sent, and what they say about framing.

Facts: a client on a keep-alive connection sends the same block again and again, and so does an
upstream within one second. `Fields` is therefore immutable, made once by the strict parse, and
found again by its bytes; forwarding sends the block, not a list of lines.

Rules: nothing here is lenient (RFC 9112 2.2, 5, 6.3): bare CR or LF, folded lines, blanks before
the colon, control bytes, a second Content-Length, Transfer-Encoding beside Content-Length, and any
coding but `chunked` are refused. Every change makes a new `Fields`.

Not here: start lines and bodies (`h1.py`), which lines to add (`plan/steps`).
"""

from collections.abc import Sequence
from typing import Final

from vestibule.fault import (
    CLIENT,
    CLIENT_BAD_CODING,
    CLIENT_BAD_EXPECTATION,
    CLIENT_BAD_FRAMING,
    CLIENT_BAD_HOST,
    CLIENT_BAD_SYNTAX,
    CLIENT_HEAD_TOO_LARGE,
    UPSTREAM_BAD_FRAMING,
    UPSTREAM_BAD_SYNTAX,
    UPSTREAM_HEAD_TOO_LARGE,
    ProtocolError,
)
from vestibule.http.name import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOP_BY_HOP,
    HOST,
    PLAIN,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    FieldName,
    find_name,
)
from vestibule.http.number import parse_decimal
from vestibule.http.target import is_authority

# Field values may hold VCHAR, obs-text, SP and HTAB (RFC 9110 5.5); CR and LF are counted apart.
_CONTROLS: Final = bytes(c for c in range(256) if (c < 32 and c not in (9, 10, 13)) or c == 127)

# Trailer fields that would change what the head said, or let somebody in (RFC 9110 6.5.1).
_FORBIDDEN_TRAILERS: Final = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type cookie "
    b"expect forwarded host keep-alive max-forwards proxy-authorization proxy-connection range set-cookie te trailer "
    b"transfer-encoding upgrade x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip".split()
)

# A Connection field may name any field to be dropped, but not what frames or routes the message.
_NEVER_NOMINATED: Final = frozenset((b"content-length", b"transfer-encoding", b"host", b"content-type", b"authorization", b"cookie"))


# Fields of requests of one value (RFC 9110 5.5). Those that frame or route a message are counted where they are read.
_SINGLE: Final = frozenset(
    (
        b"authorization",
        b"content-range",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
    )
)


class Fields:
    """One immutable header section.

    `block` is the section as sent on an HTTP/1 wire, each line ended by CRLF, without the empty line.
    `content_length` is -1 where there is none. `upgrade` is the Upgrade value if Connection names it.
    """

    def __init__(self, block: bytes, names: list[FieldName], lines: list[bytes]) -> None:
        self.block = block
        self.names = names
        self.lines = lines
        self.content_length = -1
        self.chunked = False
        self.close = False
        self.keep_alive = False
        self.expects_continue = False
        self.host: bytes | None = None
        self.bad_host = False  # there is one, and it names no host; `host` is None then
        self.upgrade = b""
        self.nominated: list[bytes] = []
        self.has_hop_by_hop = False
        self.has_underscore = False
        self._end_to_end: Fields | None = None
        self._is_single = False  # it was looked at, and has no field twice that has one value

    def repeated(self) -> bytes:
        """Return the (lower-case) name of a field of a request that has one value and is here twice; nothing where there is none."""
        if not self._is_single:
            seen: set[bytes] = set()
            for name in self.names:
                if name.lower in _SINGLE:
                    if name.lower in seen:
                        return name.lower
                    seen.add(name.lower)
            self._is_single = True
        return b""

    def get(self, lower: bytes) -> bytes | None:
        """Return the value of the first field of this (lower-case) name, without outer blanks, or None."""
        for i in range(len(self.names)):
            if self.names[i].lower == lower:
                return _value(self.lines[i])
        return None

    def get_all(self, lower: bytes) -> list[bytes]:
        """Return the values of all fields of this (lower-case) name in order."""
        return [_value(self.lines[i]) for i in range(len(self.names)) if self.names[i].lower == lower]

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Return (lower-case name, value) of every line in order, as HTTP/2 sends them."""
        return [(self.names[i].lower, _value(self.lines[i])) for i in range(len(self.names))]

    def spelled(self) -> list[tuple[bytes, bytes]]:
        """Return (name as it is written, value) of every line in order."""
        return [(line[: line.find(b":")], _value(line)) for line in self.lines]

    def end_to_end(self) -> "Fields":
        """Return the section without hop-by-hop fields and those that Connection names (RFC 9110 7.6.1).

        The framing facts stay, since they describe the message and not the hop.
        """
        if not self.has_hop_by_hop:
            return self
        if self._end_to_end is None:
            dropped = [False] * len(self.names)
            for i in range(len(self.names)):
                name = self.names[i]
                dropped[i] = name.role in (CONNECTION, TRANSFER_ENCODING, UPGRADE, TE, HOP_BY_HOP) or name.lower in self.nominated
            self._end_to_end = self._keep(dropped)
        return self._end_to_end

    def without(self, lowers: Sequence[bytes] | frozenset[bytes]) -> "Fields":
        """Return the section without the fields of these (lower-case) names."""
        return self._keep([name.lower in lowers for name in self.names])

    def without_underscores(self) -> "Fields":
        """Return the section without names that hold `_`, which CGI-like applications confuse with `-`."""
        if not self.has_underscore:
            return self
        return self._keep([name.underscore for name in self.names])

    def plus(self, pairs: list[tuple[bytes, bytes]]) -> "Fields":
        """Return the section with these (name, value) lines after the others.

        Raises ValueError when a name is no token or a value could not stand on one line.
        """
        names = list(self.names)
        lines = list(self.lines)
        added: list[bytes] = [self.block]
        for spelling, value in pairs:
            name = find_name(spelling)
            if name is None or value.find(b"\r") >= 0 or value.find(b"\n") >= 0 or value.translate(None, _CONTROLS) != value:
                raise ValueError(f"not a header line: {spelling!r}: {value!r}")
            line = spelling + b": " + value
            names.append(name)
            lines.append(line)
            added.append(line + b"\r\n")
        return self._derive(b"".join(added), names, lines)

    def replaced(self, pairs: list[tuple[bytes, bytes]]) -> "Fields":
        """Return the section with every field of these names gone and these lines after the others."""
        return self.without([name.lower() for name, _ in pairs]).plus(pairs)

    def with_host(self, host: bytes) -> "Fields":
        """Return the section with its Host line, put first, set to `host` (RFC 9110 7.2)."""
        rest = self.without((b"host",))
        line = b"Host: " + host
        name = find_name(b"Host")
        assert name is not None
        new = rest._derive(line + b"\r\n" + rest.block, [name, *rest.names], [line, *rest.lines])
        new.host = host
        return new

    def with_cookies(self, value: bytes) -> "Fields":
        """Return the section with one Cookie line of this value; with none where it is empty."""
        return self.replaced([(b"Cookie", value)]) if value else self.without((b"cookie",))

    def _keep(self, dropped: list[bool]) -> "Fields":
        if True not in dropped:
            return self
        names = [self.names[i] for i in range(len(dropped)) if not dropped[i]]
        lines = [self.lines[i] for i in range(len(dropped)) if not dropped[i]]
        block = b"\r\n".join(lines) + b"\r\n" if lines else b""
        return self._derive(block, names, lines)

    def _derive(self, block: bytes, names: list[FieldName], lines: list[bytes]) -> "Fields":
        new = Fields(block, names, lines)
        new.content_length = self.content_length
        new.chunked = self.chunked
        new.close = self.close
        new.keep_alive = self.keep_alive
        new.expects_continue = self.expects_continue
        new.host = self.host
        new.upgrade = self.upgrade
        for name in names:
            if name.role not in (PLAIN, HOST, CONTENT_LENGTH, EXPECT):
                new.has_hop_by_hop = True
            if name.underscore:
                new.has_underscore = True
        if new.has_hop_by_hop:
            new.nominated = self.nominated
        return new


def _value(line: bytes) -> bytes:
    return line[line.index(b":") + 1 :].strip(b" \t")


EMPTY: Final = Fields(b"", [], [])


def fields_of(pairs: list[tuple[bytes, bytes]]) -> Fields:
    """Make a section of (name, value) lines of our own, framing facts read from them.

    Raises ProtocolError (side upstream) when the lines contradict each other, ValueError when they are no lines.
    """
    made = EMPTY.plus(pairs)
    return parse_fields(made.block, 1, len(pairs) + 1)


def parse_fields(block: bytes, side: int, most: int) -> Fields:
    """Parse a header section strictly.

    `block` is the bytes after the start line up to and with the last line's CRLF; `side` (CLIENT or
    UPSTREAM) picks the faults; `most` is the greatest number of lines allowed.
    Raises ProtocolError. RFC 9112 5, 6.1 to 6.3; RFC 9110 5.5, 8.6, 10.1.1.
    """
    if not block:
        return Fields(b"", [], [])
    lines = block.split(b"\r\n")
    lines.pop()
    count = len(lines)
    if count > most:
        raise ProtocolError(CLIENT_HEAD_TOO_LARGE if side == CLIENT else UPSTREAM_HEAD_TOO_LARGE, f"more than {most} fields")
    if block.count(b"\n") != count or block.count(b"\r") != count:
        raise _bad_syntax(side, "bare CR or LF")
    if len(block.translate(None, _CONTROLS)) != len(block):
        raise _bad_syntax(side, "control byte in a field")

    names: list[FieldName] = []
    fields = Fields(block, names, lines)
    connection = False
    upgrade: bytes = b""
    for line in lines:
        colon = line.find(b":")
        name = find_name(line[:colon]) if colon > 0 else None
        if name is None:
            raise _bad_syntax(side, f"not a field line: {_shown(line)}")
        names.append(name)
        if name.underscore:
            fields.has_underscore = True
        if name.role == PLAIN:
            continue
        value = line[colon + 1 :].strip(b" \t")
        if name.role == CONNECTION:
            connection = True
            fields.has_hop_by_hop = True
            _read_connection(fields, value)
        elif name.role == UPGRADE:
            fields.has_hop_by_hop = True
            upgrade = value if not upgrade else upgrade + b", " + value
        else:
            _read_role(fields, name.role, value, side)
    if fields.chunked and fields.content_length >= 0:
        raise _bad_framing(side, "Transfer-Encoding beside Content-Length")
    if connection and upgrade and b"upgrade" in fields.nominated and b"h2c" not in upgrade.lower():
        # h2c stops here: an upstream that switched to it would take requests nobody checked (RFC 9113 3.1).
        fields.upgrade = upgrade
    return fields


def _read_role(fields: Fields, role: int, value: bytes, side: int) -> None:
    """Take in one line that steers framing or forwarding."""
    if role == CONTENT_LENGTH:
        if fields.content_length >= 0:
            raise _bad_framing(side, "Content-Length twice")
        fields.content_length = parse_decimal(value)
        if fields.content_length < 0:
            raise _bad_framing(side, f"Content-Length: {_shown(value)}")
    elif role == TRANSFER_ENCODING:
        fields.has_hop_by_hop = True
        if fields.chunked:
            raise _bad_framing(side, "Transfer-Encoding twice")
        if value.lower() != b"chunked":
            # With a Content-Length somewhere in the block the mismatch is an attack, not a wish (RFC 9112 6.3).
            if side == CLIENT and b"content-length" not in fields.block.lower():
                raise ProtocolError(CLIENT_BAD_CODING, f"Transfer-Encoding: {_shown(value)}")
            raise _bad_framing(side, f"Transfer-Encoding: {_shown(value)}")
        fields.chunked = True
    elif role == HOST:
        if (fields.host is not None or fields.bad_host) and side == CLIENT:
            raise ProtocolError(CLIENT_BAD_HOST, "Host twice")
        if value and side == CLIENT and not is_authority(value):
            fields.bad_host = True
        else:
            fields.host = value
    elif role == EXPECT:
        if side == CLIENT:
            if value.lower() != b"100-continue" or fields.expects_continue:
                raise ProtocolError(CLIENT_BAD_EXPECTATION, f"Expect: {_shown(value)}")
            fields.expects_continue = True
    else:
        fields.has_hop_by_hop = True


def _read_connection(fields: Fields, value: bytes) -> None:
    for part in value.split(b","):
        token = part.strip(b" \t").lower()
        if token == b"close":
            fields.close = True
        elif token == b"keep-alive":
            fields.keep_alive = True
        elif token and token not in _NEVER_NOMINATED:
            if not fields.nominated:
                fields.nominated = [token]
            else:
                fields.nominated.append(token)


def parse_trailers(block: bytes, side: int, most: int) -> Fields:
    """Parse a trailer section and drop the fields that must not come late (RFC 9110 6.5.1).

    Raises ProtocolError as `parse_fields` does for syntax; framing names are dropped unread.
    """
    lines = block.split(b"\r\n")
    kept: list[bytes] = []
    for line in lines:
        if line and line[: max(line.find(b":"), 0)].lower() not in _FORBIDDEN_TRAILERS:
            kept.append(line)
        elif line and (b"\n" in line or b"\r" in line or line.translate(None, _CONTROLS) != line):
            raise _bad_syntax(side, "control byte in a trailer")
    if len(lines) - 1 > most:
        raise ProtocolError(CLIENT_HEAD_TOO_LARGE if side == CLIENT else UPSTREAM_HEAD_TOO_LARGE, f"more than {most} trailers")
    if not kept:
        return EMPTY
    return parse_fields(b"\r\n".join(kept) + b"\r\n", side, most)


def _shown(value: bytes) -> str:
    return repr(value[:60])[1:]


def _bad_syntax(side: int, detail: str) -> ProtocolError:
    return ProtocolError(CLIENT_BAD_SYNTAX if side == CLIENT else UPSTREAM_BAD_SYNTAX, detail)


def _bad_framing(side: int, detail: str) -> ProtocolError:
    return ProtocolError(CLIENT_BAD_FRAMING if side == CLIENT else UPSTREAM_BAD_FRAMING, detail)


class FieldsTable:
    """Parsed sections by their bytes, bounded in number and size; one per side and worker.

    Only the strict parse fills it, so a hit is as strict as a parse. It is emptied when full: a full
    table means that few blocks come again.
    """

    def __init__(self, side: int, fields_most: int, entries: int = 1024, longest: int = 2048) -> None:
        self._side = side
        self._fields_most = fields_most
        self._entries = entries
        self._longest = longest
        self._table: dict[bytes, Fields] = {}

    def find(self, block: bytes) -> Fields:
        """Return the parse of this block. Raises ProtocolError as `parse_fields` does."""
        found = self._table.get(block)
        if found is not None:
            return found
        fields = parse_fields(block, self._side, self._fields_most)
        if len(block) <= self._longest:
            if len(self._table) >= self._entries:
                self._table.clear()
            self._table[block] = fields
        return fields
