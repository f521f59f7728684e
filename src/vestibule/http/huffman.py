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


class _Tree:
    """The code tree: for each inner node its two children; a leaf is written as -1 - symbol."""

    def __init__(self) -> None:
        self.zero: list[int] = [0]
        self.one: list[int] = [0]
        for symbol in range(_EOS + 1):
            self._add(symbol, HUFFMAN_CODES[symbol], HUFFMAN_LENGTHS[symbol])

    def _add(self, symbol: int, code: int, length: int) -> None:
        node = 0
        for shift in range(length - 1, 0, -1):
            side = self.one if code >> shift & 1 else self.zero
            if side[node] == 0:
                side[node] = len(self.zero)
                self.zero.append(0)
                self.one.append(0)
            node = side[node]
        side = self.one if code & 1 else self.zero
        side[node] = -1 - symbol

    def fill(self, state: int, nexts: list[int], texts: list[bytes]) -> None:
        """Fill the 256 cells of a state: where each byte leads (-1 where EOS is met), and what it completes.

        That is two symbols at most, because no code is shorter than five bits.
        """
        for byte in range(256):
            node = state
            text = b""
            for shift in range(7, -1, -1):
                node = self.one[node] if byte >> shift & 1 else self.zero[node]
                if node < 0:
                    symbol = -1 - node
                    if symbol == _EOS:
                        break
                    text += bytes((symbol,))
                    node = 0
            nexts.append(node)
            texts.append(text)

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
_NEXTS: Final[list[list[int]]] = [[] for _ in _TREE.zero]
_TEXTS: Final[list[list[bytes]]] = [[] for _ in _TREE.zero]


class HuffmanError(Exception):
    """A string is not validly coded. Caught in `hpack.py`."""


def decode(data: bytes) -> bytes:
    """Return the string coded in `data`. Raises HuffmanError (RFC 7541 5.2)."""
    state = 0
    out: list[bytes] = []
    for i in range(len(data)):
        nexts = _NEXTS[state]
        texts = _TEXTS[state]
        if not nexts:
            _TREE.fill(state, nexts, texts)
        byte = data[i]
        out.append(texts[byte])
        state = nexts[byte]
        if state < 0:
            raise HuffmanError("EOS in a string")
    if not _ENDS[state]:
        raise HuffmanError("padding is not ones, or more than seven bits")
    return b"".join(out)


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
