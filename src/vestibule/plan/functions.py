"""The functions of expressions, and the codings they share with other parts of a plan.

Rules: a function takes text as it is, valid or not, and never raises.

Not here: what functions there are (`model/vocabulary.py`); their arguments are checked before.
"""

from typing import Final

from vestibule.exchange import Exchange
from vestibule.plan.expr import Node, NumberNode

_UNRESERVED: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
_HEX: Final = b"0123456789abcdefABCDEF"


def url_encode(text: bytes, kept: bytes = _UNRESERVED) -> bytes:
    """Percent-encode all bytes but `kept`, by default the unreserved ones (RFC 3986 2.3)."""
    if not text.translate(None, kept):
        return text
    out: list[bytes] = []
    for i in range(len(text)):
        c = text[i : i + 1]
        out.append(c if c in kept else b"%%%02X" % text[i])
    return b"".join(out)


def url_decode(text: bytes) -> bytes:
    """Percent-decode; what is no valid escape stays as it is."""
    if b"%" not in text:
        return text
    parts = text.split(b"%")
    out: list[bytes] = [parts[0]]
    for part in parts[1:]:
        code = part[:2]
        if len(code) == 2 and not code.translate(None, _HEX):
            out.append(bytes.fromhex(code.decode("ascii")))
            out.append(part[2:])
        else:
            out.append(b"%")
            out.append(part)
    return b"".join(out)


class Lower(Node):
    """The text in lower case."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        return self._inner.text(ex).lower()


class Upper(Node):
    """The text in upper case."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        return self._inner.text(ex).upper()


class Length(NumberNode):
    """The number of bytes of the text."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def value(self, ex: Exchange) -> int:
        return len(self._inner.text(ex))


class UrlEncode(Node):
    """The text percent-encoded."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        return url_encode(self._inner.text(ex))


class UrlDecode(Node):
    """The text percent-decoded."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        return url_decode(self._inner.text(ex))


def make_call(name: str, arguments: list[Node]) -> Node | None:
    """Return the node of a function applied to nodes, or None if there is no such function of so many arguments."""
    if len(arguments) != 1:
        return None
    inner = arguments[0]
    if name == "lower":
        return Lower(inner)
    if name == "upper":
        return Upper(inner)
    if name == "length":
        return Length(inner)
    if name == "url_encode":
        return UrlEncode(inner)
    if name == "url_decode":
        return UrlDecode(inner)
    return None
