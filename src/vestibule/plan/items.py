"""Functions that know what stands in a text: lists of fields, documents, dates, credentials.

Facts: a list has commas between its items, and a comma inside quotes is none (RFC 9110 5.6.1, 5.6.4).

Rules: a function takes text as it is, valid or not, and never raises.

Not here: plain pieces of texts (`texts.py`); which functions there are (`model/vocabulary.py`).
"""

import json
import re
import time
from typing import Final

from vestibule.exchange import Exchange
from vestibule.plan.certificates import CertificatePart, is_part
from vestibule.plan.expr import Const, Node, TruthNode
from vestibule.plan.password import Users

_BLANK: Final = b" \t"

# What a date may say is bounded by what `strftime` takes.
_SECONDS_MOST: Final = 253_402_300_799

_SLASHES: Final = re.compile(rb"//+")
_HEX: Final = b"0123456789abcdefABCDEF"
_WAYS: Final = (
    b"merge-slashes",
    b"strip-dot",
    b"strip-dotdot",
    b"strip-dotdot-full",
    b"sort-by-name",
    b"decode-unreserved",
    b"to-uppercase",
)

_STEP: Final = re.compile(rb"\.([A-Za-z0-9_$-]+)|\[(\d{1,6})\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")


def pieces_of(text: bytes) -> list[bytes]:
    """Return what stands between the commas of a list; a comma inside quotes is none."""
    if b'"' not in text:
        return text.split(b",")
    items: list[bytes] = []
    begin = 0
    quoted = False
    at = 0
    while at < len(text):
        c = text[at]
        if c == 92 and quoted:
            at += 1
        elif c == 34:
            quoted = not quoted
        elif c == 44 and not quoted:
            items.append(text[begin:at])
            begin = at + 1
        at += 1
    items.append(text[begin:])
    return items


class ReplaceItems(Node):
    """A list in which each item that a pattern is found in is replaced by a text, in which `\\1` is the first group."""

    def __init__(self, inner: Node, pattern: bytes, text: Node) -> None:
        super().__init__(max(inner.scope, text.scope))
        self._inner = inner
        self._pattern = re.compile(pattern)
        self._text = text

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.find(ex)
        if text is None:
            return None
        made: list[bytes] = []
        for item in pieces_of(text):
            found = self._pattern.search(item.strip(_BLANK))
            made.append(item if found is None else _expanded(self._text.text(ex), found))
        return b",".join(made)


def _expanded(text: bytes, found: re.Match[bytes]) -> bytes:
    """Put what groups matched into a text; a backslash before anything but a digit stands for what follows it."""
    out: list[bytes] = []
    at = 0
    while at < len(text):
        c = text[at : at + 1]
        if c == b"\\" and at + 1 < len(text):
            at += 1
            c = text[at : at + 1]
            if c.isdigit():
                number = int(c)
                groups = (found.group(), *found.groups())
                c = (groups[number] or b"") if number < len(groups) else b""
        out.append(c)
        at += 1
    return b"".join(out)


class Normalize(Node):
    """A path or a query in one of its normal forms (RFC 3986 6.2.2)."""

    def __init__(self, inner: Node, way: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._way = way

    def find(self, ex: Exchange) -> bytes | None:
        text = self._inner.find(ex)
        if text is None:
            return None
        way = self._way
        if way == b"merge-slashes":
            return _SLASHES.sub(b"/", text)
        if way == b"strip-dot":
            return _undotted(text)
        if way == b"strip-dotdot":
            return _climbed(text, False)
        if way == b"strip-dotdot-full":
            return _climbed(text, True)
        if way == b"sort-by-name":
            return _sorted(text)
        return _recoded(text, way == b"to-uppercase")


def _sorted(query: bytes) -> bytes:
    """Sort pairs by their names; those of one name keep their order."""
    named: list[tuple[bytes, int, bytes]] = []
    for pair in query.split(b"&"):
        named.append((pair.partition(b"=")[0], len(named), pair))
    named.sort()
    return b"&".join([pair for _, _, pair in named])


def _undotted(path: bytes) -> bytes:
    """Take out segments that are one dot."""
    segments = path.split(b"/")
    kept = [segment for segment in segments if segment != b"."]
    if segments[-1] == b".":
        kept.append(b"")
    return b"/".join(kept)


def _climbed(path: bytes, is_full: bool) -> bytes:
    """Take out segments that are two dots, each with the one before it; those that climb over the root only if `is_full`."""
    if path[:1] != b"/":
        return path
    kept: list[bytes] = []
    segments = path[1:].split(b"/")
    for segment in segments:
        if segment != b"..":
            kept.append(segment)
        elif kept and kept[-1] != b"..":
            kept.pop()
        elif not is_full:
            kept.append(segment)
    if segments[-1] == b".." and (not kept or kept[-1] != b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def _recoded(text: bytes, to_upper: bool) -> bytes:
    """Write escapes in capitals, or take out those that are not needed (RFC 3986 2.3)."""
    parts = text.split(b"%")
    out: list[bytes] = [parts[0]]
    for part in parts[1:]:
        code = part[:2]
        if len(code) < 2 or code.translate(None, _HEX):
            out.append(b"%" + part)
            continue
        one = bytes.fromhex(code.decode("ascii"))
        if to_upper:
            out.append(b"%" + code.upper() + part[2:])
        elif one.isalnum() or one in b"-._~":
            out.append(one + part[2:])
        else:
            out.append(b"%" + part)
    return b"".join(out)


class FormatDate(Node):
    """A moment, in seconds since 1970, as a format of `strftime` says it; of the place or of Greenwich."""

    def __init__(self, inner: Node, form: bytes, is_local: bool) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._form = form.decode("utf-8", "replace")
        self._is_local = is_local

    def find(self, ex: Exchange) -> bytes | None:
        second = min(self._inner.number(ex), _SECONDS_MOST)
        moment = time.localtime(second) if self._is_local else time.gmtime(second)
        return time.strftime(self._form, moment).encode("utf-8", "replace")


class JsonValue(Node):
    """What stands at a place of a document in JSON: a text as it is, a truth as 1 or 0, else as JSON has it."""

    def __init__(self, inner: Node, place: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._keys: list[tuple[str, int]] = []
        rest = place.removeprefix(b"$")
        while rest:
            step = _STEP.match(rest)
            if step is None:
                raise re.error("no place of a document")
            number = step.group(2)
            if number is not None:
                self._keys.append(("", int(number)))
            else:
                key = step.group(1) or step.group(3) or step.group(4) or b""
                self._keys.append((key.decode("utf-8", "replace"), -1))
            rest = rest[step.end() :]

    def find(self, ex: Exchange) -> bytes | None:
        try:
            value: object = json.loads(self._inner.text(ex))
        except (ValueError, RecursionError):
            return None
        for key, at in self._keys:
            if at < 0:
                if not isinstance(value, dict) or key not in value:
                    return None
                value = value[key]
            else:
                if not isinstance(value, list) or at >= len(value):
                    return None
                value = value[at]
        if isinstance(value, str):
            return value.encode("utf-8", "replace")
        if value is None:
            return None
        if isinstance(value, bool):
            return b"1" if value else b"0"
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


class IsUser(TruthNode):
    """Whether a value of Authorization shows the name and password of one of some users."""

    def __init__(self, inner: Node, users: Users) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self.users = users

    def test(self, ex: Exchange) -> bool:
        return self.users.accepts(self._inner.text(ex))


def users_of(text: bytes) -> Users:
    """Return the users that a text names, each line a name, a colon and a stored password."""
    names: list[bytes] = []
    secrets: list[bytes] = []
    for line in text.split(b"\n"):
        name, colon, secret = line.partition(b":")
        if colon:
            names.append(name)
            secrets.append(secret)
    return Users(names, secrets)


def make_item_call(name: str, arguments: list[Node]) -> Node | None:
    """Return the node of one of these functions, or None. Raises `re.error` for a pattern or a place that is none."""
    if not arguments:
        return None
    inner = arguments[0]
    second = arguments[1] if len(arguments) > 1 else inner
    if len(arguments) == 2 and isinstance(second, Const):
        if name == "normalize":
            return Normalize(inner, second.value) if second.value in _WAYS else None
        if name == "json_value":
            return JsonValue(inner, second.value)
        if name == "certificate":
            return CertificatePart(inner, second.value) if is_part(second.value) else None
        if name == "is_user":
            return IsUser(inner, users_of(second.value))
    if len(arguments) == 3 and isinstance(second, Const):
        third = arguments[2]
        if name == "replace_items":
            return ReplaceItems(inner, second.value, third)
        if name == "format_date" and isinstance(third, Const):
            return FormatDate(inner, second.value, third.value == b"local")
    return None
