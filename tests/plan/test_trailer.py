"""Fields behind a body."""

import pytest

from vestibule.contract import Plan
from vestibule.fault import UPSTREAM_TRUNCATED, Fault
from vestibule.http.fields import EMPTY, fields_of
from vestibule.http.head import ResponseHead
from vestibule.plan.expr import EXCHANGE, Const, Node
from vestibule.plan.sources.fixed import Respond
from vestibule.plan.steps.edit import AddField, EditResponse
from vestibule.plan.steps.instead import ReplaceAnswer
from vestibule.plan.steps.trailer import AddTrailer, Trailing
from vestibule.plan.variables import BytesOut, Query

from .fakes import FakeStream, FakeUpstream, answer_of, idle, request, respond


def asked(value: Node, *lines: str, method: str = "GET", status: int = 200, body: bytes = b"hello") -> FakeStream:
    edits = [AddTrailer(b"X-One", Const(b"1")), AddTrailer(b"X-Two", value), AddField(b"X-Field", Const(b"1"))]
    ex, down = request(Plan("p", FakeUpstream(), response=[EditResponse(edits)]), method=method)
    respond(ex, status, *lines, body=body)
    assert ex.over
    return down


def test_they_come_behind_the_body_which_has_no_length_then() -> None:
    down = asked(BytesOut(EXCHANGE), "Content-Length: 5")
    assert answer_of(down).fields.block == b"X-Field: 1\r\n"
    assert answer_of(down).fields.content_length == -1
    assert (down.body, down.ended, down.released) == (b"hello", True, 1)
    assert down.trailers is not None
    assert down.trailers.block == b"X-One: 1\r\nX-Two: 5\r\n", "the value is that of the end"


def test_an_empty_value_adds_none() -> None:
    down = asked(Query(3))
    assert down.trailers is not None
    assert down.trailers.block == b"X-One: 1\r\n"


def test_an_answer_that_is_all_head_has_them_too() -> None:
    down = asked(Query(3), "Content-Length: 0", body=b"")
    assert down.trailers is not None
    assert (down.body, down.ended) == (b"", True)


@pytest.mark.parametrize(("method", "status", "body"), [("HEAD", 200, b""), ("GET", 304, b"")])
def test_an_answer_without_a_body_has_none(method: str, status: int, body: bytes) -> None:
    down = asked(Query(3), method=method, status=status, body=body)
    assert (down.trailers, down.ended) == (None, True)


def test_those_of_the_server_come_first() -> None:
    ex, down = request(Plan("p", FakeUpstream(), response=[EditResponse([AddTrailer(b"X-Ours", Const(b"1"))])]))
    ex.on_response(ResponseHead(200, b"", EMPTY), False)
    ex.on_response_body(b"a", False)
    ex.on_response_trailers(fields_of([(b"X-Theirs", b"2")]))
    assert down.trailers is not None
    assert (down.trailers.block, down.body) == (b"X-Theirs: 2\r\nX-Ours: 1\r\n", b"a")


def test_where_none_has_a_value_the_body_just_ends() -> None:
    ex, down = request(Plan("p", FakeUpstream(), response=[EditResponse([AddTrailer(b"X-None", Query(3))])]))
    respond(ex, 200, "Content-Length: 5", body=b"hello")
    assert (ex.over, down.trailers, down.body, down.ended) == (True, None, b"hello", True)


def test_what_we_answer_ourselves_has_them() -> None:
    source = Respond(200, [b"Content-Type"], [Const(b"text/x")], Const(b"text"))
    _, down = request(Plan("p", source, response=[EditResponse([AddTrailer(b"X-Ours", Const(b"1"))])]))
    assert down.trailers is not None
    assert (down.body, answer_of(down).fields.block) == (b"text", b"Content-Type: text/x\r\n")


def test_a_cut_answer_has_none() -> None:
    ex, down = request(Plan("p", FakeUpstream(), response=[EditResponse([AddTrailer(b"X-Ours", Const(b"1"))])]))
    ex.on_response(ResponseHead(200, b"", EMPTY), False)
    ex.on_fault(1, Fault(UPSTREAM_TRUNCATED))
    assert (down.trailers, len(down.faults)) == (None, 1)


def test_the_stream_around_passes_the_rest_on() -> None:
    inner = FakeStream()
    around = Trailing(idle(), inner)
    around.pause()
    around.resume()
    around.refuse_rest()
    around.relayed(1)
    assert (around.relay_port(), around.relay_left(), around.open_tunnel(), around.takes_rest()) == (None, 0, False, False)


@pytest.mark.parametrize("status", [204, 304])
def test_what_is_put_in_the_place_of_an_answer_may_have_none(status: int) -> None:
    """Chunks behind a head that says of none would be read as the next answer."""
    edits = [AddTrailer(b"X-One", Const(b"1")), ReplaceAnswer(status, None, [], [])]
    ex, down = request(Plan("p", FakeUpstream(), response=[EditResponse(edits)]))
    respond(ex, 200, "Content-Length: 5", body=b"hello")
    assert (ex.over, answer_of(down).status, down.trailers, down.ended) == (True, status, None, True)


def test_an_end_without_bytes_has_them_and_one_after_the_exchange_has_none() -> None:
    ex, down = request(Plan("p", FakeUpstream(), response=[EditResponse([AddTrailer(b"X-Ours", Const(b"1"))])]))
    ex.on_response(ResponseHead(200, b"", EMPTY), False)
    around = ex.down
    assert isinstance(around, Trailing)
    ex.on_response_body(b"a", False)
    ex.on_response_body(b"", True)
    assert down.trailers is not None
    assert (down.trailers.block, down.body, down.released) == (b"X-Ours: 1\r\n", b"a", 1)
    down.trailers = None
    around.send_trailers(EMPTY)
    assert down.trailers is None, "whose exchange is over has no values any more"
