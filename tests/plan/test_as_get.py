"""The request for what answers in the place of an error, and for a question."""

import pytest

from vestibule.contract import PASS, Plan
from vestibule.http.address import NetworkSet
from vestibule.http.head import ResponseHead
from vestibule.plan.expr import Const
from vestibule.plan.sent import came_method, came_target, own_target
from vestibule.plan.steps.as_get import AsGet, DropBody, SetBody, bodiless
from vestibule.plan.steps.forward import ForwardAgain, Terms
from vestibule.plan.steps.rewrite import Rewrite

from .fakes import FakeStream, FakeUpstream, fields, idle


def test_a_post_becomes_a_get_without_its_body() -> None:
    ex = idle("/a", "Content-Length: 3", "X-A: 1", method="POST")
    assert AsGet().run(ex) == PASS
    assert (ex.request.method, came_method(ex.request), ex.request.fields.content_length) == (b"GET", b"POST", -1)
    assert ex.request.fields.get(b"content-length") is None
    assert ex.request.fields.get(b"x-a") == b"1"


def test_what_answers_is_asked_for_the_target_that_was_not_made_for_the_server() -> None:
    ex = idle("/a?b")
    Rewrite(Const(b"/sent"), None, True).run(ex)
    AsGet().run(ex)
    assert (ex.request.target, own_target(ex.request), came_target(ex.request)) == (b"/a?b", b"/a?b", b"/a?b")


def test_a_request_that_nobody_had_stays_whole() -> None:
    ex = idle("/a", "Content-Length: 3", method="POST")
    ex.whole = True
    Rewrite(Const(b"/sent"), None, True).run(ex)
    AsGet().run(ex)
    assert (ex.request.method, ex.request.target, ex.request.fields.content_length) == (b"POST", b"/a", 3)


def test_the_fields_of_other_requests_stay_as_they_are() -> None:
    """A body without a length has no line of its own over HTTP/2, and the section is shared by all requests that bring it."""
    shared = fields("X-A: 1")
    shared.chunked = True
    made = bodiless(shared)
    assert shared.chunked
    assert not made.chunked
    assert made.block == shared.block


def test_what_answers_in_the_place_of_a_websocket_is_none() -> None:
    ex = idle("/a", "Connection: Upgrade", "Upgrade: websocket")
    assert AsGet().run(ex) == PASS
    assert ex.request.fields.upgrade == b""
    ForwardAgain(Terms(NetworkSet([])), [], False).run(ex)
    assert ex.request.fields.upgrade == b""


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


@pytest.mark.parametrize("length", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_a_route_that_forwards_anew_sends_the_length_of_the_other_body(length: str) -> None:
    """Else bytes of it would be a request of their own, or the server would wait for more (RFC 9112 6.3)."""
    ex = idle("/a", length, "X-A: 1", method="POST")
    SetBody(Const(b"ours")).run(ex)
    ForwardAgain(Terms(NetworkSet([])), [], False).run(ex)
    sent = ex.request.fields
    assert (sent.content_length, sent.chunked, sent.get_all(b"content-length"), sent.get(b"x-a")) == (4, False, [b"4"], b"1")
    assert sent.get(b"transfer-encoding") is None


@pytest.mark.parametrize(("body", "sent"), [(b"", b""), (b"ours", b"ours")])
def test_another_body_goes_in_its_place(body: bytes, sent: bytes) -> None:
    up = FakeUpstream()
    ex = idle("/a", "Content-Length: 3", "Content-Type: a/b", method="POST")
    ex.down = FakeStream()
    ex.plan = Plan("p", up, [SetBody(Const(body))])
    ex.on_request(ex.request, False)
    assert up.request().fields.get_all(b"content-length") == [b"%d" % len(sent)]
    assert (up.request().fields.content_length, up.request().fields.get(b"content-type")) == (len(sent), b"a/b")
    assert (up.stream.body, up.stream.ended) == (sent, True)
    ex.on_request_body(b"abc", True)
    assert (up.stream.body, ex.request_bytes, ex.own_body) == (sent, 3, bool(sent))
    ex.on_response(ResponseHead(204, b"", fields()), True)
    assert ex.over
