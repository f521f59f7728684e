"""Requests without their bodies, or with others: what answers in the place of an error is asked by a GET, or the HEAD that it was.

Facts: nginx and httpd ask for their error documents so, whatever was asked for; a body that was refused cannot be sent on.

Rules: what described the body is forgotten for good, since a request that goes round in a site has its fields made anew from what came.
"""

from vestibule.contract import PASS, Step
from vestibule.exchange import Exchange
from vestibule.http.fields import Fields
from vestibule.http.head import RequestHead
from vestibule.plan.expr import Node
from vestibule.plan.sent import RewrittenHead, SentFields, came_fields, came_target, own_target

_OF_A_BODY = (b"content-length", b"transfer-encoding", b"expect", b"content-encoding", b"trailer")


class AsGet(Step):
    """Makes a GET of the request, where it is not whole, for the target that it had before one was made for the server alone; the
    method that the client used stays known."""

    def run(self, ex: Exchange) -> int:
        head = ex.request
        target = own_target(head)
        if target != head.target:
            head = RewrittenHead(head, target, came_target(head))
            head.own_target = b""
        if not ex.whole and (_tells_of_a_body(head.fields) or head.fields.upgrade):
            head = without_body(head)
        if not ex.whole and head.method not in (b"GET", b"HEAD"):
            head = RewrittenHead(head, head.target, came_target(head))
            head.method = b"GET"
        ex.request = head
        return PASS


class DropBody(Step):
    """Leaves the body out, and what describes it."""

    def run(self, ex: Exchange) -> int:
        if _tells_of_a_body(ex.request.fields):
            ex.request = without_body(ex.request)
        ex.drop_body()
        return PASS


class SetBody(Step):
    """Puts another body in the place of the request's."""

    def __init__(self, body: Node) -> None:
        self._body = body

    def run(self, ex: Exchange) -> int:
        body = self._body.text(ex)
        head = RewrittenHead(ex.request, ex.request.target, came_target(ex.request))
        came = _with_length(came_fields(ex.request), len(body))
        head.fields = SentFields(_with_length(head.fields, len(body)), came, head.authority)
        ex.request = head
        ex.drop_body()
        ex.put_body(body)
        return PASS


def without_body(head: RequestHead) -> RewrittenHead:
    """Return a request that says nothing of a body any more and asks for no other protocol, and did neither when it came.

    What is answered in the place of a WebSocket, or decides about one, is no WebSocket.
    """
    made = RewrittenHead(head, head.target, came_target(head))
    sent = bodiless(head.fields)
    came = bodiless(came_fields(head))
    sent.upgrade = b""
    came.upgrade = b""
    made.fields = SentFields(sent, came, head.authority)
    return made


def _tells_of_a_body(fields: Fields) -> bool:
    return fields.content_length >= 0 or fields.chunked or fields.expects_continue


def _with_length(fields: Fields, size: int) -> Fields:
    """Return fields that describe a body of so many bytes."""
    made = bodiless(fields).plus([(b"Content-Length", b"%d" % size)])
    made.content_length = size
    return made


def bodiless(fields: Fields) -> Fields:
    """Return other fields, without what describes a body. Those given are shared by all requests with the same block."""
    made = fields.without(_OF_A_BODY).plus([])
    made.content_length = -1
    made.chunked = False
    made.expects_continue = False
    return made
