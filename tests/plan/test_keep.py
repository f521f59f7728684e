"""What steps leave for those after them: values, other methods, hints."""

import pytest

from vestibule.contract import Plan, Step
from vestibule.fault import UPSTREAM
from vestibule.http.head import ResponseHead
from vestibule.plan.expr import Const, ConstTest
from vestibule.plan.steps.edit import AddField, EditResponse, EditWhen
from vestibule.plan.steps.keep import EarlyHints, Keep, KeepAnswered, SetClient, SetMethod, WithoutBody
from vestibule.plan.steps.when import When
from vestibule.plan.variables import Kept, Method, Path, Query, ResponseHeader

from .fakes import FakeUpstream, answer_of, client, fields, idle, request, respond

SHARED = Keep(b"n", Const(b"ours"), True)


def test_a_value_is_that_of_its_moment() -> None:
    ex = idle("/a?b=1")
    Keep(b"n", Path(3), False).run(ex)
    ex.request.target = b"/c"
    assert Kept(b"n").text(ex) == b"/a"
    assert Kept(b"m").text(ex) == b""


def test_a_request_keeps_its_own_before_that_of_its_connection() -> None:
    peer = client()
    one, _ = request(Plan("p", FakeUpstream(), [Keep(b"n", Const(b"mine"), False), SHARED]), peer=peer)
    other, _ = request(Plan("p", FakeUpstream()), peer=peer)
    stranger, _ = request(Plan("p", FakeUpstream()), peer=client())
    assert [Kept(b"n").text(ex) for ex in (one, other, stranger)] == [b"mine", b"ours", b""]


def test_an_answer_may_be_kept_before_it_is_changed() -> None:
    edits = [KeepAnswered(b"n", ResponseHeader(b"a"), False), AddField(b"A", Const(b"2")), AddField(b"B", Kept(b"n"))]
    ex, down = request(Plan("p", FakeUpstream(), response=[EditResponse(list(edits))]))
    respond(ex, 200, "A: 1")
    assert answer_of(down).fields.get(b"b") == b"1"


@pytest.mark.parametrize(
    ("method", "sent"), [(b"PUT", b"PUT"), (b"GET", b"GET"), (b"", b"GET"), (b"two words", b"GET"), (b"CONNECT", b"GET"), (b"x-y", b"x-y")]
)
def test_another_method_goes_up_and_the_first_stays_known(method: bytes, sent: bytes) -> None:
    up = FakeUpstream()
    ex, _ = request(Plan("p", up, [SetMethod(Const(method))]), "/a?b")
    assert (up.request().method, up.request().target) == (sent, b"/a?b")
    assert Method(3).text(ex) == b"GET"


@pytest.mark.parametrize("said", [b"192.0.2.7", b"2001:db8::7"])
def test_the_client_is_who_a_rule_says(said: bytes) -> None:
    ex = idle()
    before = ex.client_address
    for wrong in (b"", b"nobody", b"192.0.2.7, 192.0.2.8", b"192.0.2.7:80"):
        SetClient(Const(wrong)).run(ex)
        assert ex.client_address == before
    SetClient(Const(said)).run(ex)
    assert ex.client_address == said


def test_no_head_is_made_of_what_waits_for_a_body() -> None:
    ex = idle(method="GET")
    SetMethod(Const(b"HEAD")).run(ex)
    assert ex.request.method == b"GET"


def test_who_asked_with_head_gets_no_body() -> None:
    up = FakeUpstream()
    ex, down = request(Plan("p", up, [EarlyHints([b"Link"], [Const(b"</a>")]), SetMethod(Const(b"GET"))]), method="HEAD")
    assert up.request().method == b"GET"
    respond(ex, 200, "Content-Length: 4", body=b"body")
    assert (down.body, down.ended, answer_of(down).fields.content_length, down.released) == (b"", True, 4, 1)
    ex, down = request(Plan("p", up, [SetMethod(Const(b"GET"))]), method="HEAD")
    ex.on_response(ResponseHead(200, b"", fields("Transfer-Encoding: chunked", side=UPSTREAM)), False)
    ex.on_response_body(b"body", False)
    ex.on_response_trailers(fields("X: y"))
    assert (down.body, down.trailers, down.released) == (b"", None, 1)


def test_a_status_without_a_body_has_none_whoever_answers() -> None:
    up = FakeUpstream()
    ex, down = request(Plan("p", up, [WithoutBody()]))
    respond(ex, 204, "Content-Length: 4", "Content-Type: text/plain", "X-Kept: yes", body=b"body")
    assert (down.body, down.ended, down.released) == (b"", True, 1)
    assert answer_of(down).fields.block == b"X-Kept: yes\r\n"
    WithoutBody().run(ex)
    assert ex.down is None, "it was over"


def test_hints_go_before_the_answer_and_not_to_old_clients() -> None:
    steps: list[Step] = [EarlyHints([b"Link", b"Link", b"None"], [Const(b"</a>"), Const(b"</b>"), Query(3)])]
    ex, down = request(Plan("p", FakeUpstream(), steps))
    hint = down.heads[0]
    assert isinstance(hint, ResponseHead)
    assert (hint.status, hint.fields.block) == (103, b"Link: </a>\r\nLink: </b>\r\n")
    respond(ex, 200)
    assert answer_of(down).status == 200
    old = idle()
    old.request.protocol = b"HTTP/1.0"
    steps[0].run(old)
    EarlyHints([b"Link"], [Query(3)]).run(idle())
    assert getattr(old.down, "heads") == []  # noqa: B009


@pytest.mark.parametrize(("truth", "kept"), [(True, b"then"), (False, b"otherwise")])
def test_a_condition_has_another_side(truth: bool, kept: bytes) -> None:
    ex = idle()
    When(ConstTest(truth), [Keep(b"n", Const(b"then"), False)], [Keep(b"n", Const(b"otherwise"), False)]).run(ex)
    assert Kept(b"n").text(ex) == kept
    edit = EditWhen(ConstTest(truth), [AddField(b"A", Const(b"then"))], [AddField(b"A", Const(b"otherwise"))])
    assert edit.apply(ex, ex.request.fields).get(b"a") == kept
