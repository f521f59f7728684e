"""The request as it goes upstream, which still knows how it came.

Facts: steps change fields and target, while expressions and logs ask for what the client sent.

Rules: a step that edits fields puts a `SentFields` in place, one that rewrites a `RewrittenHead`; both
keep what came. A `SentFields` belongs to one connection, since it holds the address of its client:
an edit that depends on the fields and the connection alone may be remembered on it.
"""

from typing import Final

from vestibule.contract import Step
from vestibule.http.fields import Fields
from vestibule.http.head import RequestHead


class SentFields(Fields):
    """Edited request fields. `came` is what the client sent, `authority` what it was asked for then.

    `next_step` and `next_fields` are the last edit made to these fields and what it gave; `note` is
    what a log says of `came` after its redactor `note_owner`.
    """

    def __init__(self, fields: Fields, came: Fields, authority: bytes) -> None:
        super().__init__(fields.block, fields.names, fields.lines)
        self.content_length = fields.content_length
        self.chunked = fields.chunked
        self.close = fields.close
        self.keep_alive = fields.keep_alive
        self.expects_continue = fields.expects_continue
        self.host = fields.host
        self.upgrade = fields.upgrade
        self.nominated = fields.nominated
        self.has_hop_by_hop = fields.has_hop_by_hop
        self.has_underscore = fields.has_underscore
        self.came = came
        self.authority = authority
        self.next_step: Step | None = None
        self.next_fields: SentFields | None = None
        self.note_owner: object = None
        self.note = b""

    def with_host(self, host: bytes) -> Fields:
        return SentFields(super().with_host(host), self.came, self.authority)

    def with_cookies(self, value: bytes) -> Fields:
        return SentFields(super().with_cookies(value), self.came, self.authority)


class RewrittenHead(RequestHead):
    """A request whose target was rewritten; `came_target` is the one the client sent.

    `own_target` and `own_method` are what stands for the target and the method everywhere but upstream, if that is another one.
    """

    def __init__(self, head: RequestHead, target: bytes, came_target: bytes) -> None:
        super().__init__(head.method, target, head.authority, head.fields, head.protocol)
        self.origin = head.origin
        self.came_target = came_target
        self.came_method: bytes = came_method(head)
        self.own_target: bytes = head.own_target if isinstance(head, RewrittenHead) else b""
        self.own_method: bytes = head.own_method if isinstance(head, RewrittenHead) else b""


class Line:
    """The line of a field that is being changed by itself."""

    def __init__(self) -> None:
        self.value = b""


LINE: Final = Line()


def came_fields(head: RequestHead) -> Fields:
    """Return the fields as the client sent them."""
    fields = head.fields
    return fields.came if isinstance(fields, SentFields) else fields


def came_target(head: RequestHead) -> bytes:
    """Return the target as the client sent it."""
    return head.came_target if isinstance(head, RewrittenHead) else head.target


def own_target(head: RequestHead) -> bytes:
    """Return the target as the plan sees it."""
    return head.own_target or head.target if isinstance(head, RewrittenHead) else head.target


def own_method(head: RequestHead) -> bytes:
    """Return the method as the plan sees it."""
    return head.own_method or head.method if isinstance(head, RewrittenHead) else head.method


def came_method(head: RequestHead) -> bytes:
    """Return the method that the client used."""
    return head.came_method if isinstance(head, RewrittenHead) else head.method
