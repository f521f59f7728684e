"""Edits of fields: in order, on one line each, and remembered only where that is right."""

import pytest

from vestibule.contract import Plan
from vestibule.http.head import ResponseHead
from vestibule.plan.expr import CONST, EXCHANGE, FIELDS, Const, ConstTest, Match
from vestibule.plan.functions import ReplacePrefix
from vestibule.plan.sent import LINE
from vestibule.plan.steps.edit import (
    AddField,
    Edit,
    EditLines,
    EditRequest,
    EditResponse,
    EditWhen,
    FixedResponse,
    HideFields,
    RemoveField,
    RemoveMatching,
    SetField,
)
from vestibule.plan.steps.hsts import hsts_edit
from vestibule.plan.variables import FieldLine, Header, Query, ResponseHeader

from .fakes import FakeUpstream, answer_of, fields, idle, request, respond

SECTION = fields("Host: a", "A: 1", "B: 2", "a: 3")


def after(*edits: Edit) -> bytes:
    ex = idle()
    made = SECTION
    for edit in edits:
        made = edit.apply(ex, made)
    return made.block


def test_set_replaces_every_line() -> None:
    assert after(SetField(b"a", Const(b"x"))) == b"Host: a\r\nB: 2\r\na: x\r\n"


def test_empty_value_removes_or_adds_nothing() -> None:
    assert after(SetField(b"A", Const(b""))) == b"Host: a\r\nB: 2\r\n"
    assert after(AddField(b"A", Const(b" "))) == SECTION.block


def test_empty_value_is_kept_where_that_is_said() -> None:
    assert after(SetField(b"A", Const(b" "), True), AddField(b"C", Const(b""), True)) == b"Host: a\r\nB: 2\r\nA: \r\nC: \r\n"


def test_add_and_remove() -> None:
    assert after(AddField(b"C", Const(b"4")), RemoveField(b"A")) == b"Host: a\r\nB: 2\r\nC: 4\r\n"


@pytest.mark.parametrize(
    ("part", "left"),
    [(b"a", b"Host: a\r\nB: 2\r\n"), (b"b", b"Host: a\r\nA: 1\r\na: 3\r\n"), (b"x", SECTION.block), (b"host", SECTION.block)],
)
def test_fields_are_removed_by_a_pattern_but_what_frames_a_message(part: bytes, left: bytes) -> None:
    assert after(RemoveMatching(Match(part, FieldLine(EXCHANGE), False))) == left
    assert LINE.value == b""


def test_host_is_set_in_its_place_and_never_lost() -> None:
    assert after(SetField(b"host", Const(b"b.example"))) == b"Host: b.example\r\nA: 1\r\nB: 2\r\na: 3\r\n"
    assert after(SetField(b"Host", Const(b""))) == SECTION.block


def test_value_cannot_make_a_line() -> None:
    made = after(SetField(b"A", Const(b"x\r\nEvil: 1\x00")))
    assert made == b"Host: a\r\nB: 2\r\nA: x  Evil: 1\r\n"


def test_each_line_is_changed_by_itself() -> None:
    line = FieldLine(EXCHANGE)
    assert after(EditLines(b"A", ReplacePrefix(line, Const(b"1"), Const(b"x\r\n")))) == b"Host: a\r\nB: 2\r\nA: x\r\nA: 3\r\n"
    assert after(EditLines(b"a", ReplacePrefix(line, Const(b"1"), Const(b"")))) == b"Host: a\r\nB: 2\r\na: 3\r\n"
    assert after(EditLines(b"A", line)) == SECTION.block
    assert after(EditLines(b"none", Const(b"x"))) == SECTION.block
    assert after(EditLines(b"host", Const(b"b"))) == b"Host: b\r\nA: 1\r\nB: 2\r\na: 3\r\n"
    assert line.text(idle()) == b""


def test_condition() -> None:
    inner: list[Edit] = [RemoveField(b"A"), AddField(b"C", Const(b"4"))]
    assert after(EditWhen(ConstTest(False), inner)) == SECTION.block
    assert after(EditWhen(ConstTest(True), inner)) == b"Host: a\r\nB: 2\r\nC: 4\r\n"


def test_scope_is_the_widest() -> None:
    assert RemoveField(b"a").scope == CONST
    assert SetField(b"a", Header(b"b")).scope == FIELDS
    assert EditWhen(Header(b"b"), [AddField(b"a", Query(EXCHANGE))]).scope == EXCHANGE


@pytest.mark.parametrize("steady", [True, False])
def test_request_without_forward_is_edited_all_the_same(steady: bool) -> None:
    up = FakeUpstream()
    request(Plan("p", up, [EditRequest([SetField(b"A", Const(b"1"))], steady)]))
    assert up.request().fields.get(b"a") == b"1"


def test_response_edits_see_each_other() -> None:
    up = FakeUpstream()
    edits: list[Edit] = [SetField(b"A", Const(b"1")), SetField(b"B", ResponseHeader(b"a")), RemoveField(b"Server")]
    ex, down = request(Plan("p", up, response=[EditResponse(edits)]))
    respond(ex, 200, "Server: x", "Content-Length: 0")
    assert answer_of(down).fields.block == b"Content-Length: 0\r\nA: 1\r\nB: 1\r\n"
    assert answer_of(down).fields.content_length == 0


def test_fixed_response_is_made_once_for_a_block() -> None:
    step = FixedResponse([SetField(b"A", Const(b"1"))])
    block = fields("Content-Length: 2")
    made = []
    for _ in range(2):
        ex = idle()
        ex.response = ResponseHead(200, b"", block)
        step.run(ex)
        made.append(ex.response.fields)
    assert made[0] is made[1]
    assert made[0].block == b"Content-Length: 2\r\nA: 1\r\n"


def test_memory_of_a_fixed_response_is_bounded_and_right() -> None:
    step = FixedResponse([SetField(b"A", Const(b"1"))])
    for i in range(600):
        ex = idle()
        ex.response = ResponseHead(200, b"", fields(f"N: {i}"))
        step.run(ex)
        assert ex.response.fields.get(b"n") == b"%d" % i


@pytest.mark.parametrize(("came", "left"), [("A: 1\r\nX-Up: 2\r\nB: 3\r\nx-up: 4", b"A: 1\r\nB: 3\r\n"), ("A: 1", b"A: 1\r\n")])
def test_hidden_fields(came: str, left: bytes) -> None:
    ex = idle()
    before = fields(*came.split("\r\n"))
    ex.response = ResponseHead(200, b"", before)
    HideFields([b"x-up", b"x-other"]).run(ex)
    assert ex.response.fields.block == left
    assert (ex.response.fields is before) == (len(came) == 4)


def test_steps_without_a_response_do_nothing() -> None:
    ex = idle()
    assert FixedResponse([]).run(ex) == EditResponse([]).run(ex) == 0
    assert ex.response is None


@pytest.mark.parametrize(
    ("below", "line"),
    [(False, b"Strict-Transport-Security: max-age=9\r\n"), (True, b"Strict-Transport-Security: max-age=9; includeSubDomains\r\n")],
)
def test_hsts(below: bool, line: bytes) -> None:
    assert hsts_edit(9, below).apply(idle(), fields("strict-transport-security: max-age=1")).block == line


def test_inside_a_condition_too_an_edit_sees_what_the_one_before_it_made() -> None:
    plan = Plan("p", FakeUpstream(), response=[EditResponse([EditWhen(ConstTest(True), [
        AddField(b"A", Const(b"1")), AddField(b"A", Const(b"2")), AddField(b"B", ResponseHeader(b"a")),
    ])])])  # fmt: skip
    ex, down = request(plan)
    respond(ex, 200)
    assert answer_of(down).fields.get(b"b") == b"1, 2"
