"""Requests without their bodies: what answers in the place of an error is asked by a GET, or the HEAD that it was.

Facts: nginx and httpd ask for their error documents so, whatever was asked for; a body that was refused cannot be sent on.

Rules: what described the body is forgotten for good, since a request that goes round in a site has its fields made anew from what came.
"""

from vestibule.contract import PASS, Step
from vestibule.exchange import Exchange
from vestibule.http.fields import Fields
from vestibule.plan.sent import RewrittenHead, SentFields, came_fields, came_target

_OF_A_BODY = (b"content-length", b"transfer-encoding", b"expect", b"content-encoding", b"trailer")


class AsGet(Step):
    """Makes a GET of the request; the method that the client used stays known."""

    def run(self, ex: Exchange) -> int:
        head = ex.request
        fields = head.fields
        if fields.content_length >= 0 or fields.chunked or fields.expects_continue:
            head = RewrittenHead(head, head.target, came_target(head))
            head.fields = SentFields(bodiless(fields), bodiless(came_fields(ex.request)), head.authority)
        if head.method not in (b"GET", b"HEAD"):
            head = RewrittenHead(head, head.target, came_target(head))
            head.method = b"GET"
        ex.request = head
        return PASS


class DropBody(Step):
    """Leaves the body out, and what describes it."""

    def run(self, ex: Exchange) -> int:
        head = ex.request
        fields = head.fields
        if fields.content_length >= 0 or fields.chunked or fields.expects_continue:
            head = RewrittenHead(head, head.target, came_target(head))
            head.fields = SentFields(bodiless(fields), bodiless(came_fields(ex.request)), head.authority)
            ex.request = head
        ex.drop_body()
        return PASS


def bodiless(fields: Fields) -> Fields:
    """Return other fields, without what describes a body. Those given are shared by all requests with the same block."""
    made = fields.without(_OF_A_BODY).plus([])
    made.content_length = -1
    made.chunked = False
    made.expects_continue = False
    return made
