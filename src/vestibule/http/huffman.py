"""The Huffman code of HPACK: strings to bits and back.

Facts: codes have 5 to 30 bits; a string is padded with the first bits of EOS, that is ones, to a whole
byte (RFC 7541 5.2). Padding of more than seven bits, padding that is not ones, and EOS inside a string
are decoding errors.

Rules: decoding walks a table of (state, byte); a state is a node of the code tree. A row of the table is
made when its state is first met: text meets about forty of the 256.
"""

from typing import Final

from vestibule.http.hpack_tables import HUFFMAN_CODES, HUFFMAN_LENGTHS

_EOS: Final = 256

# A cell packs the next state, how many symbols the byte completed (at most two: no code is shorter than
# five bits), and those symbols: next << 18 | count << 16 | first << 8 | second. BAD where EOS was met.
_BAD: Final = -1


class _Tree:
    """The code tree: for each inner node its two children; a leaf is written as -1 - symbol."""

    def __init__(self) -> None:
        self.zero: list[int] = [0]
        self.one: list[int] = [0]
        for symbol in range(_EOS + 1):
            self._add(symbol, HUFFMAN_CODES[symbol], HUFFMAN_LENGTHS[symbol])

    def _add(self, symbol: int, code: int, length: int) -> None:
        node = 0
        for shift in range(length - 1, -1, -1):
            side = self.one if code >> shift & 1 else self.zero
            if shift == 0:
                side[node] = -1 - symbol
                return
            if side[node] == 0:
                side[node] = len(self.zero)
                self.zero.append(0)
                self.one.append(0)
            node = side[node]

    def row(self, state: int) -> list[int]:
        """Return the 256 cells of a state."""
        return [self._cell(state, byte) for byte in range(256)]

    def _cell(self, state: int, byte: int) -> int:
        node = state
        count = 0
        symbols = 0
        for shift in range(7, -1, -1):
            node = self.one[node] if byte >> shift & 1 else self.zero[node]
            if node < 0:
                symbol = -1 - node
                if symbol == _EOS:
                    return _BAD
                symbols = symbols << 8 | symbol
                count += 1
                node = 0
        if count == 1:
            symbols <<= 8
        return node << 18 | count << 16 | symbols

    def ends(self) -> bytes:
        """Return, for each state, 1 if a string may end there: at most seven bits, all ones, since the last symbol."""
        good = bytearray(len(self.zero))
        node = 0
        for _ in range(8):
            good[node] = 1
            node = self.one[node]
        return bytes(good)


_TREE: Final = _Tree()
_ENDS: Final = _TREE.ends()
_NO_ROW: Final[list[int]] = []
_ROWS: Final[list[list[int]]] = [_NO_ROW] * len(_TREE.zero)


class HuffmanError(Exception):
    """A string is not validly coded. Caught in `hpack.py`."""


def decode(data: bytes) -> bytes:
    """Return the string coded in `data`. Raises HuffmanError (RFC 7541 5.2)."""
    state = 0
    out: list[int] = []
    for i in range(len(data)):
        row = _ROWS[state]
        if not row:
            row = _TREE.row(state)
            _ROWS[state] = row
        cell = row[data[i]]
        if cell < 0:
            raise HuffmanError("EOS in a string")
        count = cell >> 16 & 3
        if count:
            out.append(cell >> 8 & 255)
            if count == 2:
                out.append(cell & 255)
        state = cell >> 18
    if not _ENDS[state]:
        raise HuffmanError("padding is not ones, or more than seven bits")
    return bytes(out)


def coded_size(data: bytes) -> int:
    """Return how many bytes `encode` would make of `data`."""
    bits = 7
    for i in range(len(data)):
        bits += HUFFMAN_LENGTHS[data[i]]
    return bits >> 3


def encode(data: bytes) -> bytes:
    """Return `data` coded and padded."""
    out: list[int] = []
    held = 0
    bits = 0
    for i in range(len(data)):
        byte = data[i]
        size = HUFFMAN_LENGTHS[byte]
        held = held << size | HUFFMAN_CODES[byte]
        bits += size
        while bits >= 8:
            bits -= 8
            out.append(held >> bits & 255)
        held &= (1 << bits) - 1
    if bits:
        out.append((held << (8 - bits) | (255 >> bits)) & 255)
    return bytes(out)
