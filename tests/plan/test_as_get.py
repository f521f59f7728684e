"""The request for what answers in the place of an error, and for a question."""

import pytest

from vestibule.contract import PASS, Plan
from vestibule.http.head import ResponseHead
from vestibule.plan.sent import came_method
from vestibule.plan.steps.as_get import AsGet, DropBody, bodiless

from .fakes import FakeStream, FakeUpstream, fields, idle


def test_a_post_becomes_a_get_without_its_body() -> None:
    ex = idle("/a", "Content-Length: 3", "X-A: 1", method="POST")
    assert AsGet().run(ex) == PASS
    assert (ex.request.method, came_method(ex.request), ex.request.fields.content_length) == (b"GET", b"POST", -1)
    assert ex.request.fields.get(b"content-length") is None
    assert ex.request.fields.get(b"x-a") == b"1"


def test_the_fields_of_other_requests_stay_as_they_are() -> None:
    """A body without a length has no line of its own over HTTP/2, and the section is shared by all requests that bring it."""
    shared = fields("X-A: 1")
    shared.chunked = True
    made = bodiless(shared)
    assert shared.chunked
    assert not made.chunked
    assert made.block == shared.block


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_a_get_already_stays_as_it_is(method: str) -> None:
    ex = idle("/a", "X-A: 1", method=method)
    before = ex.request
    assert AsGet().run(ex) == PASS
    assert ex.request is before
    ex = idle("/a", "Content-Length: 3", method=method)
    AsGet().run(ex)
    assert ex.request.method == method.encode() and ex.request.fields.content_length == -1


def test_a_method_without_a_body() -> None:
    ex = idle("/a", method="DELETE")
    AsGet().run(ex)
    assert (ex.request.method, came_method(ex.request)) == (b"GET", b"DELETE")


def test_a_body_that_is_dropped_never_arrives() -> None:
    up = FakeUpstream()
    ex = idle("/a", "Content-Length: 3", "X-A: 1", method="POST")
    down = FakeStream()
    ex.down = down
    ex.plan = Plan("p", up, [DropBody()])
    ex.on_request(ex.request, False)
    assert up.request().fields.get(b"content-length") is None
    assert (up.request().method, up.stream.ended) == (b"POST", True)
    ex.on_request_body(b"abc", True)
    assert up.stream.body == b""
    ex.on_response(ResponseHead(204, b"", fields()), True)
    assert (ex.over, up.stream.released, down.released) == (True, 1, 1)


def test_an_answer_does_not_wait_for_a_body_that_is_dropped() -> None:
    up = FakeUpstream()
    ex = idle("/a", "Content-Length: 3", method="POST")
    ex.down = FakeStream()
    ex.plan = Plan("p", up, [DropBody()])
    ex.on_request(ex.request, False)
    ex.on_response(ResponseHead(204, b"", fields()), True)
    assert (ex.over, up.stream.released, up.stream.faults) == (True, 1, [])


def test_a_tunnel_passes_bytes_both_ways_where_bodies_are_dropped() -> None:
    up = FakeUpstream()
    ex = idle("/a")
    ex.down = FakeStream()
    ex.plan = Plan("p", up, [DropBody()])
    ex.on_request(ex.request, True)
    ex.on_switched(ResponseHead(101, b"", fields("Connection: upgrade", "Upgrade: websocket")))
    ex.on_request_body(b"ping", False)
    assert up.stream.body == b"ping"
