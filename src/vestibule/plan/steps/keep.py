"""What steps leave for those after them: values under names, another method, another client, hints.

Rules: a value is taken at the moment of its step. A hint goes only to clients that expect interim answers (RFC 9110 15.2).

Not here: how a value is found again (`plan/variables.py`), fields (`edit.py`).
"""

from typing import Final

from vestibule.contract import PASS, Around, Step
from vestibule.exchange import Exchange
from vestibule.http.address import parse_v4, parse_v6
from vestibule.http.fields import EMPTY, Fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.http.name import find_name
from vestibule.http.semantics import clean_value
from vestibule.plan.expr import EXCHANGE, Node
from vestibule.plan.sent import RewrittenHead, came_target
from vestibule.plan.steps.edit import Edit

_OF_BODIES: Final = (
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"transfer-encoding",
    b"accept-ranges",
    b"last-modified",
    b"etag",
)


def keep(ex: Exchange, name: bytes, value: bytes, is_shared: bool) -> None:
    """Keep a value for the request, or for its connection."""
    if is_shared:
        shared = ex.client.kept
        if shared is None:
            shared = {}
            ex.client.kept = shared
        shared[name] = value
        return
    own = ex.kept
    if own is None:
        own = {}
        ex.kept = own
    own[name] = value


class Keep(Step):
    """Keeps a value under a name."""

    def __init__(self, name: bytes, value: Node, is_shared: bool) -> None:
        self._name = name
        self._value = value
        self._is_shared = is_shared

    def run(self, ex: Exchange) -> int:
        keep(ex, self._name, self._value.text(ex), self._is_shared)
        return PASS


class KeepAnswered(Edit):
    """Keeps a value under a name, among the changes of a response."""

    def __init__(self, name: bytes, value: Node, is_shared: bool) -> None:
        super().__init__(EXCHANGE)
        self._name = name
        self._value = value
        self._is_shared = is_shared

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        keep(ex, self._name, self._value.text(ex), self._is_shared)
        return fields


class SetMethod(Step):
    """Sends another method; what is no method is not taken."""

    def __init__(self, method: Node) -> None:
        self._method = method

    def run(self, ex: Exchange) -> int:
        method = self._method.text(ex)
        head = ex.request
        # A method is a token, as the name of a field is (RFC 9110 5.6.2, 9.1). CONNECT would open a tunnel that nobody asked for.
        if method == head.method or method == b"CONNECT" or find_name(method) is None:
            return PASS
        # What a HEAD is answered with has no body, and who asked otherwise waits for one (RFC 9110 9.3.2).
        if method == b"HEAD":
            return PASS
        if head.method == b"HEAD" and ex.down is not None:
            ex.down = _Bodiless(ex.down)
        changed = RewrittenHead(head, head.target, came_target(head))
        changed.method = method
        ex.request = changed
        return PASS


class SetClient(Step):
    """Says who the client is from here on; what is no address changes nothing."""

    def __init__(self, address: Node) -> None:
        self._address = address

    def run(self, ex: Exchange) -> int:
        address = self._address.text(ex)
        if parse_v4(address) >= 0 or parse_v6(address) >= 0:
            ex.client_address = address
        return PASS


class _Bodiless(Around):
    """The stream to a client that asked with HEAD, where the server was asked otherwise: it gets the head of the answer alone."""

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        return self._inner.send_head(head, isinstance(head, RequestHead) or head.status >= 200)

    def send_body(self, data: bytes, end: bool) -> bool:
        return True

    def send_trailers(self, fields: Fields) -> bool:
        return True


class WithoutBody(Step):
    """Has an answer whose status allows no body come without one, and without what it says of it (RFC 9110 6.4.1)."""

    def run(self, ex: Exchange) -> int:
        if ex.down is not None:
            ex.down = _Bare(ex.down)
        return PASS


class _Bare(_Bodiless):
    """The stream to a client that is told a status without a body, whatever answers."""

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        head.fields = head.fields.without(_OF_BODIES)
        return super().send_head(head, end)


class EarlyHints(Step):
    """Sends fields before the answer (RFC 8297)."""

    def __init__(self, names: list[bytes], values: list[Node]) -> None:
        self._names = names
        self._values = values

    def run(self, ex: Exchange) -> int:
        if ex.request.protocol == b"HTTP/1.0":
            return PASS
        pairs: list[tuple[bytes, bytes]] = []
        for i in range(len(self._names)):
            value = clean_value(self._values[i].text(ex))
            if value:
                pairs.append((self._names[i], value))
        if pairs:
            ex.on_interim(ResponseHead(103, b"Early Hints", EMPTY.plus(pairs)))
        return PASS
