"""Changes to fields, of a request on its way up and of a response on its way down.

Facts: a request edit that depends only on the client's fields and connection gives the same result as
long as both are the same, which on a kept connection is nearly always; a response edit of fixed texts
gives the same result for each block that comes again.

Rules
  Edits apply in order. An empty value removes (set) or adds nothing (add), where it is not said to be kept.
  A value that could not stand on one line is cleaned, so no value can add a line of its own.
  A request keeps exactly one Host line: it can be set, not removed (RFC 9112 3.2).

Not here: the fields that every proxied request gets (`forward.py`).
"""

from typing import Final

from vestibule.contract import PASS, Step
from vestibule.exchange import Exchange
from vestibule.http.fields import Fields
from vestibule.http.semantics import clean_value
from vestibule.plan.expr import CONST, Node
from vestibule.plan.sent import LINE, SentFields, came_fields

# Response sections whose edit is remembered, for each step.
_KNOWN_MOST: Final = 256

# Fields that say how a message is read and where it goes; no pattern takes them away.
_FRAMING: Final = (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"te", b"trailer", b"keep-alive")


class Edit:
    """One change to a section. `scope` is what it depends on besides the section."""

    def __init__(self, scope: int) -> None:
        self.scope = scope

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        """Return the changed section."""
        raise NotImplementedError


def set_field(fields: Fields, name: bytes, lower: bytes, value: bytes, keep_empty: bool = False) -> Fields:
    """Return a section in which a field has one value, or, where that is empty and such are not kept, is not there. Host always is."""
    if lower == b"host":
        return fields.with_host(value) if value else fields
    rest = fields.without((lower,))
    return rest.plus([(name, value)]) if value or keep_empty else rest


class SetField(Edit):
    """Give a field one value in place of all it had; an empty one removes it, unless it is kept."""

    def __init__(self, name: bytes, value: Node, keep_empty: bool = False) -> None:
        super().__init__(value.scope)
        self._keep_empty = keep_empty
        self._name = name
        self._lower = name.lower()
        self._value = value

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        return set_field(fields, self._name, self._lower, clean_value(self._value.text(ex)), self._keep_empty)


class AddField(Edit):
    """Add one more line of a field, unless its value is empty and such are not kept."""

    def __init__(self, name: bytes, value: Node, keep_empty: bool = False) -> None:
        super().__init__(value.scope)
        self._keep_empty = keep_empty
        self._name = name
        self._value = value

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        value = clean_value(self._value.text(ex))
        return fields.plus([(self._name, value)]) if value or self._keep_empty else fields


class RemoveField(Edit):
    """Remove every line of a field."""

    def __init__(self, name: bytes) -> None:
        super().__init__(CONST)
        self._lower = name.lower()

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        return fields.without((self._lower,))


class RemoveMatching(Edit):
    """Remove every field whose name a pattern is found in, but what frames a message."""

    def __init__(self, pattern: Node) -> None:
        super().__init__(CONST)
        self._pattern = pattern

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        names: list[bytes] = []
        for name in fields.names:
            if name.lower not in _FRAMING and name.lower not in names:
                LINE.value = name.lower
                if self._pattern.test(ex):
                    names.append(name.lower)
        LINE.value = b""
        return fields.without(names) if names else fields


class EditLines(Edit):
    """Change each line of a field by itself; one that becomes empty is removed."""

    def __init__(self, name: bytes, value: Node) -> None:
        super().__init__(value.scope)
        self._name = name
        self._lower = name.lower()
        self._value = value

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        before = fields.get_all(self._lower)
        if not before:
            return fields
        after: list[bytes] = []
        for line in before:
            LINE.value = line
            after.append(clean_value(self._value.text(ex)))
        LINE.value = b""
        if after == before:
            return fields
        if self._lower == b"host":
            return fields.with_host(after[0]) if after[0] else fields
        return fields.without((self._lower,)).plus([(self._name, line) for line in after if line])


class EditWhen(Edit):
    """Change the section only if a test is true."""

    def __init__(self, condition: Node, edits: list[Edit], others: list[Edit] | None = None) -> None:
        otherwise = [] if others is None else others
        scope = condition.scope
        for edit in edits:
            scope = max(scope, edit.scope)
        for edit in otherwise:
            scope = max(scope, edit.scope)
        super().__init__(scope)
        self._condition = condition
        self._edits = edits
        self._others = otherwise

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        response = ex.response
        for edit in self._edits if self._condition.test(ex) else self._others:
            before = fields
            fields = edit.apply(ex, before)
            # What an edit made of a response, the next one sees, inside a condition too.
            if response is not None and response.fields is before:
                response.fields = fields
        return fields


class EditRequest(Step):
    """Changes the fields that go upstream. `steady` says that they depend on fields and connection alone."""

    def __init__(self, edits: list[Edit], steady: bool) -> None:
        self._edits = edits
        self._steady = steady

    def run(self, ex: Exchange) -> int:
        head = ex.request
        before = head.fields
        if self._steady and isinstance(before, SentFields) and before.next_step is self and before.next_fields is not None:
            head.fields = before.next_fields
            return PASS
        fields = before
        for edit in self._edits:
            fields = edit.apply(ex, fields)
        sent = SentFields(fields, came_fields(head), head.authority)
        if self._steady and isinstance(before, SentFields):
            before.next_step = self
            before.next_fields = sent
        head.fields = sent
        return PASS


class EditResponse(Step):
    """Changes the fields of the response; each edit sees what the one before it made."""

    def __init__(self, edits: list[Edit]) -> None:
        self._edits = edits

    def run(self, ex: Exchange) -> int:
        response = ex.response
        if response is not None:
            for edit in self._edits:
                response.fields = edit.apply(ex, response.fields)
        return PASS


class HideFields(Step):
    """Keeps fields of an upstream's answer from the client; `lowers` are their names."""

    def __init__(self, lowers: list[bytes]) -> None:
        self._lowers = frozenset(lowers)

    def run(self, ex: Exchange) -> int:
        response = ex.response
        if response is not None:
            hidden = self._lowers
            for name in response.fields.names:
                if name.lower in hidden:
                    response.fields = response.fields.without(hidden)
                    break
        return PASS


class FixedResponse(Step):
    """Changes the fields of the response in a way that depends on nothing else, and remembers the result."""

    def __init__(self, edits: list[Edit]) -> None:
        self._edits = edits
        self._known: dict[Fields, Fields] = {}

    def run(self, ex: Exchange) -> int:
        response = ex.response
        if response is None:
            return PASS
        before = response.fields
        known = self._known.get(before)
        if known is None:
            known = before
            for edit in self._edits:
                known = edit.apply(ex, known)
            if len(self._known) >= _KNOWN_MOST:
                self._known.clear()
            self._known[before] = known
        response.fields = known
        return PASS
