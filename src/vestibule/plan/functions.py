"""The functions of expressions, and the codings they share with other parts of a plan.

Rules: a function takes text as it is, valid or not, and never raises.

Not here: what functions there are (`model/vocabulary.py`); their arguments are checked before.
"""

import re
import time
from typing import Final

from vestibule.exchange import Exchange
from vestibule.http.dates import http_date
from vestibule.plan.expiry import Expiry
from vestibule.plan.expr import EXCHANGE, Const, Node, NumberNode
from vestibule.plan.items import make_item_call
from vestibule.plan.lists import make_list_call
from vestibule.plan.lookup import Executable, Existing
from vestibule.plan.steps.bandwidth import size_of
from vestibule.plan.sums import make_sum_call
from vestibule.plan.texts import make_text_call

_UNRESERVED: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
_HEX: Final = b"0123456789abcdefABCDEF"

# Visible bytes but those that mean something in a target. A decoded slash is one between segments.
_IN_PATH: Final = bytes(c for c in range(33, 127) if c not in b'%?#"<>\\^`{|}')


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


def form_decoded(text: bytes) -> bytes | None:
    """Return a name or a value of a form as it was before it was coded; None where an escape is broken."""
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    for part in text.split(b"%")[1:]:
        if len(part) < 2 or part[:2].translate(None, _HEX):
            return None
    return url_decode(text)


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


class BytesMeant(NumberNode):
    """The number of bytes that a size means."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def value(self, ex: Exchange) -> int:
        return size_of(self._inner.text(ex))


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


def encode_path(path: bytes) -> bytes:
    """Percent-encode a path in normal form; the encoded slashes and percent signs that are left in it stay encoded."""
    if path.find(b"%") < 0:
        return url_encode(path, _IN_PATH)
    parts = []
    for piece in path.split(b"%2F"):
        parts.append(b"%25".join([url_encode(part, _IN_PATH) for part in piece.split(b"%25")]))
    return b"%2F".join(parts)


class EncodePath(Node):
    """A decoded path as it goes into a target."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        return encode_path(self._inner.text(ex))


class ReplacePrefix(Node):
    """The text with another beginning, if it begins as told."""

    def __init__(self, inner: Node, prefix: Node, replacement: Node) -> None:
        super().__init__(max(inner.scope, prefix.scope, replacement.scope))
        self._inner = inner
        self._prefix = prefix
        self._replacement = replacement

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        prefix = self._prefix.text(ex)
        if not text.startswith(prefix):
            return text
        return self._replacement.text(ex) + text[len(prefix) :]


class ReplaceText(Node):
    """The text with another wherever one stands in it."""

    def __init__(self, inner: Node, wanted: Node, replacement: Node) -> None:
        super().__init__(max(inner.scope, wanted.scope, replacement.scope))
        self._inner = inner
        self._wanted = wanted
        self._replacement = replacement

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        wanted = self._wanted.text(ex)
        return text.replace(wanted, self._replacement.text(ex)) if wanted else text


class Capture(Node):
    """What a group of a pattern matched; a group there is none of matches nothing."""

    def __init__(self, inner: Node, pattern: bytes, group: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._pattern = re.compile(pattern)
        self._group = self._pattern.groupindex.get(group.decode("utf-8", "replace"), -1)
        if group and not group.translate(None, b"0123456789") and len(group) < 4:
            number = int(group)
            self._group = number if number <= self._pattern.groups else -1

    def find(self, ex: Exchange) -> bytes | None:
        found = self._pattern.search(self._inner.text(ex))
        return found.group(self._group) if found is not None and self._group >= 0 else None


class Replace(Node):
    """A text with what a pattern matches replaced, where groups stand for what they matched: once, or everywhere."""

    def __init__(self, inner: Node, pattern: bytes, replacement: bytes, flags: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._pattern = re.compile(pattern, re.IGNORECASE if b"i" in flags else 0)
        self._most = 0 if b"g" in flags else 1
        # A group that there is none of stands for nothing.
        self._pieces = re.split(rb"\\([0-9])", replacement)

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.text(ex)
        parts: list[bytes] = []
        at = 0
        for times, found in enumerate(self._pattern.finditer(text), 1):
            parts.append(text[at : found.start()])
            for i in range(len(self._pieces)):
                piece = self._pieces[i]
                if i % 2 == 0:
                    parts.append(piece)
                elif int(piece) <= self._pattern.groups:
                    parts.append(found.group(int(piece)) or b"")
            at = found.end()
            if times == self._most:
                break
        parts.append(text[at:])
        return b"".join(parts)


class FormTexts(Node):
    """All values of a name in a form that another node yields, decoded; pairs with a broken escape are none."""

    def __init__(self, inner: Node, name: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._name = name

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.find(ex)
        if not text:
            return None
        values: list[bytes] = []
        for pair in text.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name == self._name or (name and form_decoded(name) == self._name):
                plain = form_decoded(value)
                if plain is not None:
                    values.append(plain)
        return b",".join(values) if values else None


class HttpDate(Node):
    """A moment from now on, as HTTP writes it."""

    def __init__(self, inner: Node) -> None:
        super().__init__(EXCHANGE)
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        return http_date(int(time.time()) + self._inner.number(ex))


class Seconds(Node):
    """Milliseconds as seconds."""

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.scope)
        self._inner = inner

    def find(self, ex: Exchange) -> bytes | None:
        value = self._inner.number(ex)
        return b"%d.%03d" % (value // 1000, value % 1000)


def make_call(name: str, arguments: list[Node]) -> Node | None:
    """Return the node of a function applied to nodes, or None if there is no such function of so many arguments.

    Raises `re.error` for a pattern that is none.
    """
    if name == "replace" and len(arguments) == 4:
        return _make_replace(arguments)
    made = make_text_call(name, arguments)
    if made is None:
        made = make_item_call(name, arguments)
    if made is None:
        made = make_list_call(name, arguments)
    if made is None:
        made = make_sum_call(name, arguments)
    if made is not None:
        return made
    if len(arguments) == 3:
        return _make_of_three(name, arguments[0], arguments[1], arguments[2])
    if name in ("existing", "executable") and len(arguments) == 2 and isinstance(arguments[0], Const):
        return (Existing if name == "existing" else Executable)(arguments[0].value, arguments[1])
    if name == "form_texts" and len(arguments) == 2 and isinstance(arguments[1], Const):
        return FormTexts(arguments[0], arguments[1].value)
    if len(arguments) != 1:
        return None
    inner = arguments[0]
    if name == "encode_path":
        return EncodePath(inner)
    if name == "seconds":
        return Seconds(inner)
    if name == "http_date":
        return HttpDate(inner)
    if name == "lower":
        return Lower(inner)
    if name == "upper":
        return Upper(inner)
    if name == "length":
        return Length(inner)
    if name == "bytes_meant":
        return BytesMeant(inner)
    if name == "url_encode":
        return UrlEncode(inner)
    if name == "url_decode":
        return UrlDecode(inner)
    return None


def _make_replace(arguments: list[Node]) -> Node | None:
    pattern, replacement, flags = arguments[1:]
    if isinstance(pattern, Const) and isinstance(replacement, Const) and isinstance(flags, Const):
        return Replace(arguments[0], pattern.value, replacement.value, flags.value)
    return None


def _make_of_three(name: str, first: Node, second: Node, third: Node) -> Node | None:
    if name == "replace_prefix":
        return ReplacePrefix(first, second, third)
    if name == "replace_text":
        return ReplaceText(first, second, third)
    if name == "expiry" and isinstance(third, Const):
        since = None if isinstance(second, Const) and not second.value else second
        return Expiry(first, since, third.value == b"date")
    if name == "capture" and isinstance(second, Const) and isinstance(third, Const):
        return Capture(first, second.value, third.value)
    return None
