"""Lists of texts: the lines of a field, the items between commas, every value of a name; and tests that try each.

Facts: a client may send a field, a cookie or a name of its query as often as it likes. Who looks at one value alone can be shown another
one than the application looks at.

Rules: a comma or semicolon inside quotes separates nothing, and quotes end with their line. Nothing here raises.

Not here: functions of one text (`items.py`); which there are (`model/vocabulary.py`).
"""

from typing import Final

from vestibule.exchange import Exchange
from vestibule.plan.expr import CONNECTION, EXCHANGE, FIELDS, Const, ConstNumber, Node, NumberNode, TruthNode
from vestibule.plan.items import pieces_of
from vestibule.plan.sent import came_fields

_BLANK: Final = b" \t"


class Looked:
    """The value that is looked at. Evaluation never waits, so that there is one at a time."""

    def __init__(self) -> None:
        self.value = b""


LOOKED: Final = Looked()


class Item(Node):
    """The value of a list that is looked at: what stands around says what it depends on."""

    def __init__(self) -> None:
        super().__init__(CONNECTION)

    def find(self, ex: Exchange) -> bytes | None:
        return LOOKED.value


def _first_of(values: Node, tried: Node, ex: Exchange) -> bytes | None:
    """Return the first value of a list that a test holds for."""
    before = LOOKED.value
    found: bytes | None = None
    for value in values.items(ex):
        LOOKED.value = value
        if tried.test(ex):
            found = value
            break
    LOOKED.value = before
    return found


class AnyItem(TruthNode):
    """True when a test holds for one value of a list."""

    def __init__(self, values: Node, tried: Node) -> None:
        super().__init__(max(values.scope, tried.scope))
        self._values = values
        self._tried = tried

    def test(self, ex: Exchange) -> bool:
        return _first_of(self._values, self._tried, ex) is not None


class FirstItem(Node):
    """The first value of a list that a test holds for."""

    def __init__(self, values: Node, tried: Node) -> None:
        super().__init__(max(values.scope, tried.scope))
        self._values = values
        self._tried = tried

    def find(self, ex: Exchange) -> bytes | None:
        return _first_of(self._values, self._tried, ex)


class ItemAt(Node):
    """One value of a list, counted from 1, or from the end from -1."""

    def __init__(self, values: Node, index: int) -> None:
        super().__init__(values.scope)
        self._values = values
        self._index = index

    def find(self, ex: Exchange) -> bytes | None:
        values = self._values.items(ex)
        at = self._index - 1 if self._index > 0 else len(values) + self._index
        return values[at] if 0 <= at < len(values) else None


class ItemCount(NumberNode):
    """How many values a list has."""

    def __init__(self, values: Node) -> None:
        super().__init__(values.scope)
        self._values = values

    def value(self, ex: Exchange) -> int:
        return len(self._values.items(ex))


class ListNode(Node):
    """Yields several texts. As one text, which nothing asks for, it is the first."""

    def find(self, ex: Exchange) -> bytes | None:
        values = self.items(ex)
        return values[0] if values else None

    def items(self, ex: Exchange) -> list[bytes]:
        raise NotImplementedError


class EachHeader(ListNode):
    """Every line of a request field as the client sent it."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(FIELDS)
        self._lower = lower

    def items(self, ex: Exchange) -> list[bytes]:
        return came_fields(ex.request).get_all(self._lower)


class EachRequestHeader(ListNode):
    """Every line of a request field as steps have left it."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def items(self, ex: Exchange) -> list[bytes]:
        return ex.request.fields.get_all(self._lower)


class EachResponseHeader(ListNode):
    """Every line of a field of the response as it is now."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def items(self, ex: Exchange) -> list[bytes]:
        return [] if ex.response is None else ex.response.fields.get_all(self._lower)


class EachUpstreamHeader(ListNode):
    """Every line of a field of a server's last answer as it came."""

    def __init__(self, lower: bytes) -> None:
        super().__init__(EXCHANGE)
        self._lower = lower

    def items(self, ex: Exchange) -> list[bytes]:
        return [] if ex.came is None else ex.came.get_all(self._lower)


class Items(ListNode):
    """What stands between the commas of each value."""

    def __init__(self, values: Node) -> None:
        super().__init__(values.scope)
        self._values = values

    def items(self, ex: Exchange) -> list[bytes]:
        values = self._values.items(ex)
        if len(values) == 1 and b"," not in values[0]:
            return [values[0].strip(_BLANK)]
        return [piece.strip(_BLANK) for value in values for piece in pieces_of(value)]


class FormValues(ListNode):
    """Every value of a name in a form that another node yields."""

    def __init__(self, inner: Node, name: bytes, separators: bytes) -> None:
        super().__init__(inner.scope)
        self._inner = inner
        self._name = name
        self._first = separators[:1]
        self._others = [separators[at : at + 1] for at in range(1, len(separators))]

    def items(self, ex: Exchange) -> list[bytes]:
        text = self._inner.text(ex)
        for other in self._others:
            text = text.replace(other, self._first)
        found: list[bytes] = []
        for pair in text.split(self._first):
            name, mark, value = pair.partition(b"=")
            if mark and name == self._name:
                found.append(value)
        return found


class CookieValues(ListNode):
    """Every value of a cookie in the lines of a Cookie field, or of Set-Cookie fields, of all cookies without a name."""

    def __init__(self, lines: Node, name: bytes, is_set: bool) -> None:
        super().__init__(lines.scope)
        self._lines = lines
        self._name = name
        self._is_set = is_set

    def items(self, ex: Exchange) -> list[bytes]:
        found: list[bytes] = []
        for name, value in _cookies_of(self._lines.items(ex), self._is_set):
            if value and (name == self._name or not self._name):
                found.append(value)
        return found


class CookieNames(ListNode):
    """The names of the cookies in the lines of a Cookie field, or of Set-Cookie fields."""

    def __init__(self, lines: Node, is_set: bool) -> None:
        super().__init__(lines.scope)
        self._lines = lines
        self._is_set = is_set

    def items(self, ex: Exchange) -> list[bytes]:
        return [name for name, _ in _cookies_of(self._lines.items(ex), self._is_set) if name]


class Joined(Node):
    """The values of a list, with a text between."""

    def __init__(self, values: Node, between: bytes) -> None:
        super().__init__(values.scope)
        self._values = values
        self._between = between

    def find(self, ex: Exchange) -> bytes | None:
        return self._between.join(self._values.items(ex))


def _cookies_of(lines: list[bytes], is_set: bool) -> list[tuple[bytes, bytes]]:
    """Return the names and values in the lines of a Cookie field, or of Set-Cookie fields, which have one each (RFC 6265 4.1.1)."""
    found: list[tuple[bytes, bytes]] = []
    for line in lines:
        for pair in line.split(b";", 1)[:1] if is_set else _pairs_of(line):
            name, _, value = pair.partition(b"=")
            found.append((name.strip(_BLANK), value.strip(_BLANK)))
    return found


def _pairs_of(line: bytes) -> list[bytes]:
    """Return what stands between the commas and semicolons of a line of cookies."""
    if b'"' not in line:
        return line.replace(b",", b";").split(b";")
    # Where a semicolon counts as a comma does, quotes are looked at once.
    pairs: list[bytes] = []
    begin = 0
    quoted = False
    at = 0
    while at < len(line):
        c = line[at]
        if c == 92 and quoted:
            at += 1
        elif c == 34:
            quoted = not quoted
        elif (c == 44 or c == 59) and not quoted:
            pairs.append(line[begin:at])
            begin = at + 1
        at += 1
    pairs.append(line[begin:])
    return pairs


def make_list_variable(name: str, lower: bytes) -> Node | None:
    """Return the node of one of these variables, or None."""
    if name == "item":
        return Item()
    if name == "each_header":
        return EachHeader(lower)
    if name == "each_request_header":
        return EachRequestHeader(lower)
    if name == "each_response_header":
        return EachResponseHeader(lower)
    if name == "each_upstream_header":
        return EachUpstreamHeader(lower)
    return None


def make_list_call(name: str, arguments: list[Node]) -> Node | None:
    """Return the node of one of these functions, or None."""
    if not arguments:
        return None
    first = arguments[0]
    if len(arguments) == 1:
        if name == "items":
            return Items(first)
        if name in ("cookie_names", "set_cookie_names"):
            return CookieNames(first, name == "set_cookie_names")
        return ItemCount(first) if name == "item_count" else None
    second = arguments[1]
    if len(arguments) == 2:
        if name == "any_item":
            return AnyItem(first, second)
        if name == "first_item":
            return FirstItem(first, second)
        if name == "item_at" and isinstance(second, ConstNumber):
            return ItemAt(first, second.fixed)
        if name in ("cookie_values", "set_cookie_values") and isinstance(second, Const):
            return CookieValues(first, second.value, name == "set_cookie_values")
        if name == "joined" and isinstance(second, Const):
            return Joined(first, second.value)
        return None
    third = arguments[2]
    if name == "form_values" and len(arguments) == 3 and isinstance(second, Const) and isinstance(third, Const) and third.value:
        return FormValues(first, second.value, third.value)
    return None
