"""Functions that take texts apart, code them and digest them.

Facts: RFC 4648 (base64, hexadecimal), RFC 2104 (HMAC), RFC 8259 section 7 (strings of JSON).

Rules: a function takes text as it is, valid or not, and never raises; what cannot be decoded is absent.

Not here: functions that know of targets (`functions.py`), sums (`sums.py`); which there are (`model/vocabulary.py`).
"""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Final

from vestibule.exchange import Exchange
from vestibule.http.address import Network, NetworkSet, bare_address, format_v4, format_v6, parse_address, parse_v4, parse_v6
from vestibule.plan.expr import Const, ConstNumber, Node, NumberNode, TruthNode

_CODINGS: Final = ("base64", "base64_decode", "base64url", "base64url_decode", "hex", "hex_decode", "json", "address_bytes")
_HEX: Final = b"0123456789abcdefABCDEF"
_BLANK: Final = b" \t"
_CHUNKS: Final = (b"hex", b"decimal", b"whole-hex", b"whole-decimal")
_OPERATIONS: Final = ("add", "subtract", "multiply", "divide", "modulo", "bit_and", "bit_or", "bit_xor")

# What a 64-bit register holds; sums stay below.
_MOST: Final = (1 << 62) - 1


def coded(name: str, text: bytes) -> bytes | None:
    """Return a text in a coding, or out of one; None where it is in no such coding."""
    if name == "base64":
        return base64.b64encode(text)
    if name == "base64url":
        return base64.urlsafe_b64encode(text).rstrip(b"=")
    if name == "hex":
        return text.hex().encode()
    if name == "json":
        shown = json.dumps(text.decode("utf-8", "ignore"), ensure_ascii=False)
        return shown[1:-1].encode()
    if name == "address_bytes":
        four = parse_v4(text)
        six = parse_v6(text) if four < 0 else -1
        return four.to_bytes(4, "big") if four >= 0 else six.to_bytes(16, "big") if six >= 0 else None
    try:
        if name == "hex_decode":
            return binascii.unhexlify(text)
        if name == "base64url_decode":
            text = text.replace(b"-", b"+").replace(b"_", b"/")
            return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None


class Coded(Node):
    """A text in a coding, or out of one."""

    def __init__(self, name: str, inner: Node) -> None:
        super().__init__(inner.scope)
        self._name = name
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        return coded(self._name, self._inner.text(ex))


class Digest(Node):
    """The digest of a text, as bytes; with a key, its HMAC."""

    def __init__(self, inner: Node, algorithm: str, key: Node | None = None) -> None:
        super().__init__(inner.scope if key is None else max(inner.scope, key.scope))
        self._inner = inner
        self._algorithm = algorithm
        self._key = key

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        if self._key is None:
            return hashlib.new(self._algorithm, text).digest()
        return hmac.new(self._key.text(ex), text, self._algorithm).digest()


class Parts(Node):
    """Some of the parts of a text between separators, counted from 1, or from the end downwards from -1; `count` of them, 0 for all
    that follow. Words are never empty: separators side by side are one."""

    def __init__(self, inner: Node, first: int, count: int, separators: bytes, words: bool) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._first = first
        self._count = count
        self._words = words
        self._separator = separators[:1]
        self._flat = bytes.maketrans(separators, self._separator * len(separators))

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        spans: list[tuple[int, int]] = []
        begin = 0
        for part in text.translate(self._flat).split(self._separator):
            spans.append((begin, begin + len(part)))
            begin += len(part) + 1
        if self._words:
            spans = [span for span in spans if span[0] < span[1]]
        at = self._first - 1 if self._first > 0 else len(spans) + self._first
        if not 0 <= at < len(spans):
            return None
        if self._first > 0:
            last = len(spans) - 1 if self._count == 0 else min(len(spans) - 1, at + self._count - 1)
            return text[spans[at][0] : spans[last][1]]
        # From the end, what is before belongs to it.
        before = 0 if self._count == 0 else max(0, at - self._count + 1)
        return text[spans[before][0] : spans[at][1]]


class Slice(Node):
    """`count` bytes of a text from an offset on, all where it is negative."""

    def __init__(self, inner: Node, first: int, count: int) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._first = first
        self._count = count

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        end = len(text) if self._count < 0 else self._first + self._count
        return text[self._first : end]


class Chunks(Node):
    """The bytes of a text as numbers, so many in each, with a text between; the last one may be shorter, or is left out with `whole`."""

    def __init__(self, inner: Node, between: bytes, size: int, form: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._between = between
        self._size = size
        self._is_hex = form.endswith(b"hex")
        self._is_whole = form.startswith(b"whole-")

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        if self._is_whole:
            text = text[: len(text) - len(text) % self._size]
        chunks: list[bytes] = []
        for at in range(0, len(text), self._size):
            chunk = text[at : at + self._size]
            chunks.append(chunk.hex().encode() if self._is_hex else b"%d" % int.from_bytes(chunk, "big"))
        return self._between.join(chunks)


class Preferred(Node):
    """The one of some names that a field of preferences, such as Accept-Language, likes best; the first of equals there."""

    def __init__(self, inner: Node, names: bytes, otherwise: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._names = [name for name in names.split(b";") if name]
        self._otherwise = otherwise

    def find(self, ex: Exchange) -> bytes | None:
        best = 0
        found = self._otherwise
        for part in self._inner.text(ex).split(b","):
            pieces = part.split(b";")
            name = pieces[0].strip(_BLANK)
            if name not in self._names:
                name = name.partition(b"-")[0]
            weight = _weight_of(pieces[1:])
            if weight > best and name in self._names:
                best = weight
                found = name
        return found


def _weight_of(parameters: list[bytes]) -> int:
    """Return the weight among the parameters of a preference, in thousandths; one that cannot be read is none (RFC 9110 12.4.2)."""
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip(_BLANK).lower() != b"q":
            continue
        value = value.strip(_BLANK)
        whole, _, rest = value.partition(b".")
        if whole not in (b"0", b"1") or len(rest) > 3 or rest.translate(None, b"0123456789"):
            return 0
        return min(1000, int(whole) * 1000 + int((rest + b"000")[:3]))
    return 1000


class Trim(Node):
    """A text without some characters at its start or its end."""

    def __init__(self, inner: Node, characters: bytes, at_start: bool) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._characters = characters
        self._at_start = at_start

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        return text.lstrip(self._characters) if self._at_start else text.rstrip(self._characters)


class Mask(Node):
    """An address with all but its first bits zero; what is no address is absent."""

    def __init__(self, inner: Node, bits4: int, bits6: int) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._bits4 = bits4
        self._bits6 = bits6

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        if b":" in text:
            six = parse_v6(text)
            return None if six < 0 else format_v6(six >> (128 - self._bits6) << (128 - self._bits6))
        four = parse_v4(text)
        if four < 0:
            return None
        return format_v4(four >> (32 - self._bits4) << (32 - self._bits4))


class MaskBy(Node):
    """An address with the bits alone that a mask has, IPv4 inside IPv6 as IPv4; absent where there is no mask of its family."""

    def __init__(self, inner: Node, mask4: bytes, mask6: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._mask4 = parse_v4(mask4)
        self._mask6 = parse_v6(mask6)

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        if b":" in text:
            six = parse_v6(text)
            if six >> 32 != 0xFFFF:
                return None if six < 0 or self._mask6 < 0 else format_v6(six & self._mask6)
            four = six & 0xFFFFFFFF
        else:
            four = parse_v4(text)
        return None if four < 0 or self._mask4 < 0 else format_v4(four & self._mask4)


class BehindProxies(Node):
    """An address, or, where it is one of some proxies, the one that they name last in a list; `walks` goes on behind further proxies."""

    def __init__(self, address: Node, named: Node, proxies: NetworkSet, walks: bool) -> None:
        super().__init__(max(address.scope, named.scope))
        self._address = address
        self._named = named
        self._proxies = proxies
        self._walks = walks

    def find(self, ex: Exchange) -> bytes | None:
        address = bare_address(self._address.text(ex))
        if not self._proxies.has(address):
            return address
        for text in reversed(self._named.text(ex).split(b",")):
            before = bare_address(text)
            if not before:
                break
            address = before
            if not self._walks or not self._proxies.has(address):
                break
        return address


class FromHex(NumberNode):
    """A text of hexadecimal digits as a number; else 0."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def value(self, ex: Exchange) -> int:
        text = self._inner.text(ex)
        return int(text, 16) if 0 < len(text) < 16 and not text.translate(None, _HEX) else 0


class ToNumber(NumberNode):
    """A text of digits as a number; else 0."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def value(self, ex: Exchange) -> int:
        return self._inner.number(ex)


class Arithmetic(NumberNode):
    """What becomes of two numbers. Nothing is below 0, nor above what a register holds; what is divided by 0 is the most."""

    def __init__(self, operation: str, left: Node, right: Node) -> None:
        super().__init__(max(left.scope, right.scope))
        self._operation = operation
        self._left = left
        self._right = right

    def value(self, ex: Exchange) -> int:
        return min(_MOST, max(0, self._result(min(self._left.number(ex), _MOST), min(self._right.number(ex), _MOST))))

    def _result(self, left: int, right: int) -> int:
        name = self._operation
        if name == "add":
            return left + right
        if name == "subtract":
            return left - right
        if name == "multiply":
            return left * right
        if name == "divide":
            return left // right if right else _MOST
        if name == "modulo":
            return left % right if right else 0
        if name == "bit_and":
            return left & right
        return left | right if name == "bit_or" else left ^ right


class Before(TruthNode):
    """True when a text stands before another, byte by byte."""

    def __init__(self, first: Node, second: Node) -> None:
        super().__init__(max(first.scope, second.scope))
        self._first = first
        self._second = second

    def test(self, ex: Exchange) -> bool:
        return self._first.text(ex) < self._second.text(ex)


def make_text_call(name: str, arguments: list[Node]) -> Node | None:
    """Return the node of one of these functions, or None if there is none of the name with such arguments. What says how a text is
    taken apart must be fixed.
    """
    count = len(arguments)
    if count == 0:
        return None
    inner = arguments[0]
    if count == 1:
        if name == "number":
            return ToNumber(inner)
        if name == "hex_number":
            return FromHex(inner)
        return Coded(name, inner) if name in _CODINGS else None
    if count == 2 and name == "before":
        return Before(inner, arguments[1])
    if count == 2 and name in _OPERATIONS:
        return Arithmetic(name, inner, arguments[1])
    if name == "hmac" and count == 3 and isinstance(arguments[1], Const):
        algorithm = arguments[1].value.decode("latin-1")
        return Digest(inner, algorithm, arguments[2]) if algorithm in hashlib.algorithms_guaranteed else None
    if name == "behind_proxies" and count == 4 and isinstance(arguments[2], Const) and isinstance(arguments[3], Const):
        # Networks are checked before; what is none has no address in it.
        proxies = NetworkSet([Network(each) for each in arguments[2].value.split(b",") if parse_address(each.partition(b"/")[0]) >= 0])
        return BehindProxies(inner, arguments[1], proxies, arguments[3].value == b"all")
    texts = [node.value for node in arguments[1:] if isinstance(node, Const)]
    numbers = [node.fixed for node in arguments[1:] if isinstance(node, ConstNumber)]
    return _make_fixed(name, inner, texts, numbers) if len(texts) + len(numbers) == count - 1 else None


def _make_fixed(name: str, inner: Node, texts: list[bytes], numbers: list[int]) -> Node | None:
    """Return the node of a function whose other arguments are fixed."""
    shape = (len(numbers), len(texts))
    if shape == (0, 1):
        word = texts[0].decode("latin-1")
        if name == "digest" and word in hashlib.algorithms_guaranteed and not word.startswith("shake"):
            return Digest(inner, word)
        if name in ("trim_start", "trim_end"):
            return Trim(inner, texts[0], name == "trim_start")
    if shape == (2, 1) and name in ("field", "word") and texts[0]:
        return Parts(inner, numbers[0], max(0, numbers[1]), texts[0], name == "word")
    if shape == (1, 2) and name == "chunks" and numbers[0] > 0 and texts[1] in _CHUNKS:
        return Chunks(inner, texts[0], numbers[0], texts[1])
    if shape == (0, 2) and name == "preferred":
        return Preferred(inner, texts[0], texts[1])
    if shape == (0, 2) and name == "mask_by":
        return MaskBy(inner, texts[0], texts[1])
    if shape == (2, 0) and name == "slice":
        return Slice(inner, max(0, numbers[0]), numbers[1])
    if shape == (2, 0) and name == "mask":
        return Mask(inner, numbers[0], numbers[1])
    return None
