"""Other answers in the place of a server's."""

import pytest

from vestibule.contract import Plan
from vestibule.http.head import ResponseHead
from vestibule.plan.expr import Const, Node
from vestibule.plan.steps.edit import AddField, Edit, EditResponse
from vestibule.plan.steps.instead import ReplaceAnswer, SetStatus
from vestibule.plan.variables import Query

from .fakes import FakeStream, FakeUpstream, answer_of, idle, request, respond


def replaced(status: int = 403, body: Node | None = None) -> list[Edit]:
    return [ReplaceAnswer(status, body, [b"X-By", b"None"], [Const(b"us"), Query(3)]), AddField(b"X-After", Const(b"1"))]


def asked(edits: list[Edit], method: str = "GET") -> tuple[FakeUpstream, FakeStream]:
    up = FakeUpstream()
    ex, down = request(Plan("p", up, response=[EditResponse(edits)]), method=method)
    respond(ex, 200, "Server: x", "Content-Length: 5", body=b"hello")
    assert ex.over
    return up, down


def test_the_answer_of_a_server_is_dropped_for_ours() -> None:
    up, down = asked(replaced(body=Const(b"no")))
    assert answer_of(down).status == 403
    assert answer_of(down).fields.block == b"X-By: us\r\nContent-Length: 2\r\nX-After: 1\r\n"
    assert (down.body, down.ended, down.released) == (b"no", True, 1)
    assert len(up.stream.faults) == 1, "its body is not read, so its connection cannot be kept"


def test_one_without_a_body_ends_with_its_head() -> None:
    _, down = asked(replaced())
    assert (answer_of(down).fields.get(b"content-length"), down.body, down.ended) == (b"0", b"", True)
    _, down = asked(replaced(204))
    assert answer_of(down).fields.get(b"content-length") is None
    _, down = asked(replaced(body=Const(b"no")), "HEAD")
    assert (answer_of(down).fields.get(b"content-length"), down.body, down.ended) == (b"2", b"", True)


def test_a_server_that_was_done_is_used_again() -> None:
    up = FakeUpstream()
    ex, down = request(Plan("p", up, response=[EditResponse(replaced())]))
    respond(ex, 404)
    assert (up.stream.released, up.stream.faults, down.released) == (1, [], 1)


def test_an_answer_of_our_own_is_replaced_too() -> None:
    up = FakeUpstream()
    ex, down = request(Plan("p", up, response=[EditResponse(replaced(410, Const(b"gone")))]))
    ex.answer(500, [], b"first")
    assert (answer_of(down).status, down.body) == (410, b"gone")


def test_a_switch_of_protocols_is_replaced() -> None:
    up = FakeUpstream()
    ex, down = request(Plan("p", up, response=[EditResponse(replaced(body=Const(b"no")))]))
    ex.on_switched(ResponseHead(101, b"", ex.request.fields))
    assert (answer_of(down).status, down.body, ex.tunneling) == (403, b"no", False)


@pytest.mark.parametrize(("came", "sent"), [(200, 404), (500, 404), (204, 204), (304, 304)])
def test_another_status(came: int, sent: int) -> None:
    ex, down = request(Plan("p", FakeUpstream(), response=[EditResponse([SetStatus(404, b"Not Here")])]))
    respond(ex, came)
    assert answer_of(down).status == sent
    assert answer_of(down).reason == (b"Not Here" if sent == 404 else b"")


def test_without_a_response_nothing_happens() -> None:
    ex = idle()
    for edit in (*replaced(), SetStatus(404, b"")):
        assert edit.apply(ex, ex.request.fields).get(b"host") is not None
    assert ex.instead is None
