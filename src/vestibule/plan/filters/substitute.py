"""Other texts in the place of some in the body of an answer.

Facts: a text may begin in one piece of a body and end in another. What takes its place has another length, so that of the answer is not
known any more, and neither are parts of it (RFC 9110 14.2). nginx looks for texts without regard to the case of ASCII letters.

Rules
  1. No more is held back than what may be the beginning of a text.
  2. The text that is found first wins; of two at one place, the one that is written first.
  3. A body that is compressed stays as it is.

Not here: when a filter is asked (`exchange.py`), compression (`compress.py`), which follows.
"""

from vestibule.contract import BodyFilter, FilterMaker
from vestibule.exchange import Exchange
from vestibule.plan.expr import Node
from vestibule.plan.filters.compress import is_of_type

# No text is in a body from there on.
_NOWHERE = 1 << 62


class Substitution(BodyFilter):
    """One body on its way. `texts` are in lower case, `others` what takes their places."""

    def __init__(self, texts: list[bytes], others: list[bytes], once: bool) -> None:
        self._texts = list(texts)
        self._others = list(others)
        self._once = once
        self._held = b""
        self._longest = max([len(text) for text in texts], default=0)

    def feed(self, data: bytes, end: bool) -> bytes:
        whole = self._held + data if self._held else data
        self._held = b""
        if not self._texts:
            return whole
        lower = whole.lower()
        size = len(whole)
        out: list[bytes] = []
        done = 0
        begun = size
        places = [_find(lower, text, 0) for text in self._texts]
        while True:
            at = min(places, default=_NOWHERE)
            which = places.index(at) if places else 0
            if at > size - self._longest:
                before = -1
                if not end:
                    begun, before = self._begun(lower, done)
                if begun < at or (begun == at and before < which):
                    break
            out.append(whole[done:at])
            out.append(self._others[which])
            done = at + len(self._texts[which])
            if self._once:
                del places[which], self._texts[which], self._others[which]
            for i in range(len(places)):
                if places[i] < done:
                    places[i] = _find(lower, self._texts[i], done)
        out.append(whole[done:begun])
        self._held = whole[begun:]
        return b"".join(out)

    def _begun(self, lower: bytes, done: int) -> tuple[int, int]:
        """Return where, from `done` on, a text may have begun that ends in a later piece, and which; the end where none may."""
        size = len(lower)
        begun = size
        which = -1
        for i in range(len(self._texts)):
            text = self._texts[i]
            for held in range(min(len(text) - 1, size - done), size - begun, -1):
                if text.startswith(lower[size - held :]):
                    begun = size - held
                    which = i
                    break
        return begun, which


def _find(lower: bytes, text: bytes, at: int) -> int:
    found = lower.find(text, at)
    return _NOWHERE if found < 0 else found


class Substitute(FilterMaker):
    """Puts others in the place of texts, in answers of these media types; `condition` says of which answers, None of all."""

    def __init__(
        self, texts: list[bytes], others: list[Node], types: list[bytes], once: bool, keep_validators: bool, condition: Node | None = None
    ) -> None:
        self._texts = [text.lower() for text in texts]
        self._others = others
        self._types = frozenset(types)
        self._once = once
        self._keep_validators = keep_validators
        self._condition = condition

    def wants(self, ex: Exchange) -> bool:
        head = ex.response
        if head is None or head.fields.get(b"content-encoding") is not None:
            return False
        fields = head.fields
        if b"*" not in self._types and not is_of_type(fields.get(b"content-type"), self._types):
            return False
        if self._condition is not None and not self._condition.test(ex):
            return False
        dropped = [b"content-length", b"accept-ranges", b"etag"]
        tag = fields.get(b"etag") if self._keep_validators else None
        if not self._keep_validators:
            dropped.append(b"last-modified")
        fields = fields.without(dropped).plus([] if tag is None else [(b"ETag", tag if tag.startswith(b"W/") else b"W/" + tag)])
        fields.content_length = -1
        head.fields = fields
        return True

    def make(self, ex: Exchange) -> BodyFilter:
        return Substitution(self._texts, [other.text(ex) for other in self._others], self._once)


class _Row(BodyFilter):
    """Filters that follow each other."""

    def __init__(self, filters: list[BodyFilter]) -> None:
        self._filters = filters

    def feed(self, data: bytes, end: bool) -> bytes:
        for each in self._filters:
            if data or end:
                data = each.feed(data, end)
        return data


class Several(FilterMaker):
    """Makes all filters of a plan that are wanted, one after the other."""

    def __init__(self, makers: list[FilterMaker]) -> None:
        self._makers = makers
        self._wanted: list[FilterMaker] = []  # by the answer that was asked for last; it is made at once

    def wants(self, ex: Exchange) -> bool:
        self._wanted = [each for each in self._makers if each.wants(ex)]
        return bool(self._wanted)

    def make(self, ex: Exchange) -> BodyFilter:
        return _Row([each.make(ex) for each in self._wanted])
