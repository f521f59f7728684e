"""HPACK: header lists to bytes and back (RFC 7541).

Facts
  Both ends keep a table that blocks may add to, so every block must be decoded, in order, whatever
  becomes of its stream; a block that cannot be decoded ends the connection (RFC 9113 4.3).
  A few bytes can name many fields: what a block costs is known only while decoding it.

Rules
  1. The decoder counts name + value + 32 for every field as it goes (RFC 9113 6.5.2). Over the limit it
     keeps the table right but no more fields, so memory is bounded and the stream can be told 431.
  2. `generation` changes when the table does. While it stays, equal bytes mean equal fields: that is
     what callers may memoise on.
  3. The encoder puts into its table only what is likely to come again on the same connection. Cookies are
     marked "never indexed" (RFC 7541 7.1.3).

Not here: what a field list means (`h2_request.py`), frames (`h2.py`).
"""

from typing import Final

from vestibule.http import huffman
from vestibule.http.fields import Fields
from vestibule.http.hpack_tables import STATIC
from vestibule.http.name import HOST

TABLE_BYTES: Final = 4096  # SETTINGS_HEADER_TABLE_SIZE until somebody says otherwise (RFC 9113 6.5.2)
ENTRY_OVERHEAD: Final = 32  # RFC 7541 4.1
_STATIC_COUNT: Final = 61

# A shift past this would make a number no table or string here can have (RFC 7541 5.1 asks for a limit).
_SHIFT_MOST: Final = 28

# Dead entries at the front of a table's list before it is cut.
_SLACK: Final = 64

# A list over its limit is decoded to its end, for the sake of the table and of an answer, up to so many times the fields allowed.
FAR_OVER: Final = 4

_LEARNED_MOST: Final = 1024
_LEARNED_LONGEST: Final = 64


class HpackError(Exception):
    """A block cannot be decoded: the connection is lost, COMPRESSION_ERROR (RFC 9113 4.3)."""


class HpackFlood(HpackError):
    """A list of so many fields that decoding it to its end is what the peer is after: the connection is lost, ENHANCE_YOUR_CALM."""


class _Strings:
    """Decoded strings by their Huffman code: names and short values come again and again. One per worker."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}

    def decode(self, coded: bytes) -> bytes:
        found = self.table.get(coded)
        if found is not None:
            return found
        try:
            text = huffman.decode(coded)
        except huffman.HuffmanError as error:
            raise HpackError(str(error)) from None
        if len(coded) <= _LEARNED_LONGEST:
            if len(self.table) >= _LEARNED_MOST:
                self.table.clear()
            self.table[coded] = text
        return text


_STRINGS: Final = _Strings()


class Decoder:
    """The decoding half of one connection.

    `list_most` and `count_most` limit a header list (bytes as RFC 9113 6.5.2 counts them, and fields).
    After `begin` and `rest`, `size` and `count` tell what the list measured and `over` whether it broke a limit.
    """

    def __init__(self, list_most: int, count_most: int, table_most: int = TABLE_BYTES) -> None:
        self.list_most = list_most
        self.count_most = count_most
        self._count_end = FAR_OVER * count_most
        self.table_most = table_most  # what our SETTINGS allow
        self.generation = 0
        self.size = 0
        self.count = 0
        self.over = False
        self.at = 0
        self.table_bytes = 0
        self._table_limit = table_most  # what the peer chose within that
        self._entries: list[tuple[bytes, bytes]] = []  # newest last; those before _first are gone
        self._first = 0
        self._block = b""

    def begin(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Start on a block: decode the pseudo-fields in front and leave `at` where something else begins.

        Table size updates are taken too; they may stand only at the start (RFC 7541 4.2).
        Raises HpackError.
        """
        self._block = block
        self.at = 0
        self.size = 0
        self.count = 0
        self.over = False
        pairs: list[tuple[bytes, bytes]] = []
        while self.at < len(block):
            byte = block[self.at]
            if byte & 0xE0 == 0x20:
                if self.count:
                    break
                self._resize(self._integer(5))
                continue
            at = self.at
            index = self._integer(7 if byte >= 0x80 else 6 if byte >= 0x40 else 4)
            if index == 0:
                self.at = at
                break  # a name in letters: rarely a pseudo-field, and `rest` knows those as well
            entry = self._entry(index)
            if entry[0][:1] != b":":
                self.at = at
                break
            if byte < 0x80:
                entry = (entry[0], self._string())
                if byte >= 0x40:
                    self._insert(entry)
            self._take(entry, pairs)
        return pairs

    def rest(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Decode what `begin` left, appending to `pairs`. Raises HpackError."""
        block = self._block
        size = len(block)
        while self.at < size:
            byte = block[self.at]
            if byte >= 0x80:
                self._take(self._entry(self._integer(7)), pairs)
            elif byte & 0xE0 == 0x20:
                raise HpackError("table size update after a field")
            else:
                index = self._integer(6 if byte >= 0x40 else 4)
                name = self._entry(index)[0] if index else self._string()
                entry = (name, self._string())
                if byte >= 0x40:
                    self._insert(entry)
                self._take(entry, pairs)
        self._block = b""

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Return the fields of a whole block (those within the limits). Raises HpackError."""
        pairs = self.begin(block)
        self.rest(pairs)
        return pairs

    def account(self, size: int, count: int) -> None:
        """Count fields that the caller knew without decoding them."""
        self.size += size
        self.count += count
        if self.size > self.list_most or self.count > self.count_most:
            self.over = True

    def _take(self, entry: tuple[bytes, bytes], pairs: list[tuple[bytes, bytes]]) -> None:
        self.count += 1
        self.size += len(entry[0]) + len(entry[1]) + ENTRY_OVERHEAD
        if self.over:
            # A byte may stand for a field, so the work for a block is not bounded by its length alone.
            if self.count > self._count_end:
                raise HpackFlood(f"over {self._count_end} fields")
            return
        if self.size > self.list_most or self.count > self.count_most:
            self.over = True
            return
        pairs.append(entry)

    def _integer(self, bits: int) -> int:
        """Read an integer with a prefix of so many bits at `at` (RFC 7541 5.1)."""
        block = self._block
        mask = (1 << bits) - 1
        value = block[self.at] & mask
        self.at += 1
        if value < mask:
            return value
        shift = 0
        while True:
            if self.at >= len(block):
                raise HpackError("integer cut short")
            if shift > _SHIFT_MOST:
                raise HpackError("integer too large")
            byte = block[self.at]
            self.at += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _string(self) -> bytes:
        """Read a string literal at `at` (RFC 7541 5.2)."""
        block = self._block
        if self.at >= len(block):
            raise HpackError("string missing")
        coded = block[self.at] >= 0x80
        size = self._integer(7)
        end = self.at + size
        if end > len(block):
            raise HpackError("string cut short")
        text = block[self.at : end]
        self.at = end
        return _STRINGS.decode(text) if coded else text

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        """Return the entry at an index of the joint address space (RFC 7541 2.3.3)."""
        if index == 0:
            raise HpackError("index 0")
        if index <= _STATIC_COUNT:
            return STATIC[index]
        at = len(self._entries) - (index - _STATIC_COUNT)
        if at < self._first:
            raise HpackError("index past the table")
        return self._entries[at]

    def _insert(self, entry: tuple[bytes, bytes]) -> None:
        self.generation += 1
        size = len(entry[0]) + len(entry[1]) + ENTRY_OVERHEAD
        self._evict(self._table_limit - size)
        if size <= self._table_limit:
            self._entries.append(entry)
            self.table_bytes += size

    def _resize(self, limit: int) -> None:
        if limit > self.table_most:
            raise HpackError("table size update over the limit")
        self.generation += 1
        self._table_limit = limit
        self._evict(limit)

    def _evict(self, room: int) -> None:
        """Drop the oldest entries until the table takes no more than `room` (RFC 7541 4.3)."""
        while self.table_bytes > room and self._first < len(self._entries):
            name, value = self._entries[self._first]
            self.table_bytes -= len(name) + len(value) + ENTRY_OVERHEAD
            self._entries[self._first] = _GONE
            self._first += 1
        if self._first == len(self._entries) or self._first > _SLACK:
            del self._entries[: self._first]
            self._first = 0


_GONE: Final = (b"", b"")


def _fill_indices() -> dict[bytes, int]:
    table: dict[bytes, int] = {}
    for i in range(_STATIC_COUNT, 0, -1):
        table[STATIC[i][0]] = i
    return table


_NAME_INDEX: Final[dict[bytes, int]] = _fill_indices()
_PAIR_INDEX: Final[dict[tuple[bytes, bytes], int]] = {STATIC[i]: i for i in range(1, _STATIC_COUNT + 1)}

# Fields whose value is the same for many answers of one server: worth a place in the table.
_STEADY: Final = frozenset(
    b"accept-ranges access-control-allow-credentials access-control-allow-headers access-control-allow-methods "
    b"access-control-allow-origin access-control-expose-headers alt-svc cache-control content-encoding content-language "
    b"content-security-policy content-type cross-origin-embedder-policy cross-origin-opener-policy "
    b"cross-origin-resource-policy permissions-policy pragma referrer-policy server strict-transport-security "
    b"timing-allow-origin vary via x-content-type-options x-dns-prefetch-control x-download-options x-frame-options "
    b"x-permitted-cross-domain-policies x-powered-by x-xss-protection".split()
)

# A guess at such a value costs the attacker nothing if the table tells him that he was right.
_SECRET: Final = frozenset((b"set-cookie", b"authorization", b"cookie", b"proxy-authorization"))

_STEADY_LONGEST: Final = 512

_STATUS: Final[dict[int, bytes]] = {int(STATIC[i][1]): bytes((0x80 | i,)) for i in range(8, 15)}

# Encoded sections kept per connection while its table stays.
_BLOCKS_MOST: Final = 16


def encode_integer(value: int, bits: int, first: int) -> bytes:
    """Return `value` with a prefix of so many bits under the flags of `first` (RFC 7541 5.1)."""
    mask = (1 << bits) - 1
    if value < mask:
        return bytes((first | value,))
    out: list[int] = [first | mask]
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_string(text: bytes) -> bytes:
    """Return a string literal, coded where that is shorter (RFC 7541 5.2)."""
    size = huffman.coded_size(text)
    if size < len(text):
        return encode_integer(size, 7, 0x80) + huffman.encode(text)
    return encode_integer(len(text), 7, 0) + text


class _Prefixes:
    """Names in literals without a place in the table: the first bytes of such a field, by name. One per worker."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}

    def find(self, name: bytes) -> bytes:
        found = self.table.get(name)
        if found is not None:
            return found
        flags = 0x10 if name in _SECRET else 0
        index = _NAME_INDEX.get(name, 0)
        prefix = encode_integer(index, 4, flags) if index else bytes((flags,)) + encode_string(name)
        if len(self.table) >= _LEARNED_MOST:
            self.table.clear()
        self.table[name] = prefix
        return prefix


_PREFIXES: Final = _Prefixes()
_INDEXED: Final[list[bytes]] = [bytes((0x80 | index,)) for index in range(127)]
_SHORT: Final[list[bytes]] = [bytes((size,)) for size in range(127)]


# `te: trailers`, not kept in the table.
_TE_TRAILERS: Final = b"\x00\x02te\x08trailers"
_PROTOCOL_NAME: Final = b"\x00" + encode_string(b":protocol")


class Encoder:
    """The encoding half of one connection."""

    def __init__(self) -> None:
        self.table_bytes = 0
        self._table_limit = TABLE_BYTES
        self._announce: list[int] = []  # table sizes the next block must begin with (RFC 7541 4.2)
        self._serials: dict[bytes, int] = {}  # line -> number of its insertion
        self._lines: list[tuple[bytes, int]] = []  # (line, size) in order of insertion
        self._inserted = 0  # insertions so far; the newest entry has this number
        self._blocks: dict[Fields, bytes] = {}

    def limit_table(self, most: int) -> None:
        """Take in the peer's SETTINGS_HEADER_TABLE_SIZE; we never use more than the default."""
        limit = min(most, TABLE_BYTES)
        if limit == self._table_limit and not self._announce:
            return
        # The smallest size in between must be told as well as the last (RFC 7541 4.2).
        if self._announce:
            self._announce = [min(self._announce[0], limit), limit]
        else:
            self._announce = [limit]
        self._table_limit = limit
        self._blocks.clear()
        self._evict(limit)

    def head(self, status: int, fields: Fields) -> bytes:
        """Return the block of a response head: `:status` and the fields that are not of one hop only."""
        code = _STATUS.get(status)
        if code is None:
            code = b"\x08\x03%03d" % status
        if self._announce:
            code = self._announcement() + code
        return code + self.section(fields)

    def request(self, method: bytes, scheme: bytes, path: bytes, authority: bytes, fields: Fields, protocol: bytes = b"") -> bytes:
        """Return the block of a request head: the pseudo-fields, and the fields but Host that are not of one hop only.

        `TE: trailers` is all of TE that HTTP/2 has (RFC 9113 8.2.2), and stays. `protocol` is that of an extended CONNECT (RFC 8441 4).
        """
        out = [self._announcement()] if self._announce else []
        out.append(b"\x82" if method == b"GET" else b"\x83" if method == b"POST" else b"\x02" + encode_string(method))
        out.append(b"\x87" if scheme == b"https" else b"\x86")
        out.append(b"\x04" + encode_string(path))
        if authority:
            out.append(b"\x01" + encode_string(authority))
        if protocol:
            out.append(_PROTOCOL_NAME + encode_string(protocol))
        out.append(self.section(fields, True))
        te = fields.get(b"te") if fields.has_hop_by_hop else None
        if te is not None and b"trailers" in te.lower():
            out.append(_TE_TRAILERS)
        return b"".join(out)

    def trailers(self, fields: Fields) -> bytes:
        """Return the block of a trailer section."""
        if self._announce:
            return self._announcement() + self.section(fields)
        return self.section(fields)

    def section(self, fields: Fields, hostless: bool = False) -> bytes:
        """Return the fields encoded against the table as it is, adding to it what is likely to come again."""
        found = self._blocks.get(fields)
        if found is not None:
            return found
        inserted = self._inserted
        clean = fields.end_to_end()
        out: list[bytes] = []
        for i in range(len(clean.names)):
            if hostless and clean.names[i].role == HOST:
                continue  # `:authority` says it
            self._field(clean.names[i].lower, clean.lines[i], out)
        block = b"".join(out)
        if self._inserted == inserted:
            if len(self._blocks) >= _BLOCKS_MOST:
                self._blocks.clear()
            self._blocks[fields] = block
        return block

    def forget(self) -> None:
        """Drop the memory of encoded sections: the connection is idle."""
        self._blocks.clear()

    def _field(self, name: bytes, line: bytes, out: list[bytes]) -> None:
        serial = self._serials.get(line, 0)
        if serial:
            index = _STATIC_COUNT + 1 + self._inserted - serial
            out.append(_INDEXED[index] if index < 127 else encode_integer(index, 7, 0x80))
            return
        value = line[line.index(b":") + 1 :].strip(b" \t")
        if name in _STEADY and len(line) <= _STEADY_LONGEST:
            self._steady(name, value, line, out)
            return
        out.append(_PREFIXES.find(name))
        size = len(value)
        # No Huffman code here: the value is likely new, and coding it would cost more than the bytes.
        out.append(_SHORT[size] if size < 127 else encode_integer(size, 7, 0))
        out.append(value)

    def _steady(self, name: bytes, value: bytes, line: bytes, out: list[bytes]) -> None:
        index = _PAIR_INDEX.get((name, value), 0)
        if index:
            out.append(bytes((0x80 | index,)))
            return
        size = len(name) + len(value) + ENTRY_OVERHEAD
        flags = 0x40 if size <= self._table_limit else 0
        index = _NAME_INDEX.get(name, 0)
        out.append(encode_integer(index, 6 if flags else 4, flags))
        if not index:
            out.append(encode_string(name))
        out.append(encode_string(value))
        if flags:
            self._evict(self._table_limit - size)
            self._inserted += 1
            self._serials[line] = self._inserted
            self._lines.append((line, size))
            self.table_bytes += size
            self._blocks.clear()

    def _evict(self, room: int) -> None:
        gone = 0
        while self.table_bytes > room:
            line, size = self._lines[gone]
            self.table_bytes -= size
            del self._serials[line]
            gone += 1
        if gone:
            del self._lines[:gone]
            self._blocks.clear()

    def _announcement(self) -> bytes:
        out = b"".join([encode_integer(size, 5, 0x20) for size in self._announce])
        self._announce = []
        return out
