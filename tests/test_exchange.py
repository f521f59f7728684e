"""The exchange itself: steps, plans in plans, filters, local answers, and what it does when nobody is there.

Not here: the course of messages (`tests/plays`), the contract of streams (`tests/conformance`).
"""

import pytest

from tests.cast import (
    Ends,
    Lines,
    Pace,
    Page,
    Picky,
    Say,
    Slow,
    TailMaker,
    Up,
    UpperMaker,
    Watching,
    answer_head,
    begin,
    error_plan,
    paced,
    put_in_place,
    request,
    serving,
)
from tests.conformance.stream import Spy
from vestibule.contract import ANSWERED, DOWN, PASS, UP, WAIT, BodyWaiter, Chosen, ErrorPlan, Plan, Timeouts
from vestibule.counts import ServerCounts
from vestibule.exchange import Exchange
from vestibule.fault import (
    CLIENT_GONE,
    NEVER,
    PROXY,
    PROXY_DENIED,
    UPSTREAM_BUSY,
    UPSTREAM_LOST,
    UPSTREAM_REFUSED,
    UPSTREAM_TRUNCATED,
    Fault,
    FaultKind,
)
from vestibule.http.fields import fields_of
from vestibule.http.head import ResponseHead


def test_steps_run_in_order_until_one_answers() -> None:
    first, second, third = Say(PASS), Say(ANSWERED, lambda ex: ex.answer(403, [], b"no")), Say(PASS)
    source, log = Slow(), Lines()
    down, ex = begin(Plan("p", source, request=[first, second, third], log=[log]))
    ex.on_request(request(), True)
    assert (first.runs, second.runs, third.runs) == (1, 1, 0)
    assert source.ex is None and ex.over
    assert down.statuses == [403] and down.got == b"no" and down.calls == ["head", "body", "end", "release"]
    assert log.faults == [""]


def test_a_step_that_waits_goes_on_where_it_was() -> None:
    waits, after, source = Say(WAIT), Say(PASS), Slow()
    down, ex = begin(Plan("p", source, request=[waits, after]))
    ex.on_request(request(), True)
    assert ex.waiting and after.runs == 0 and not source.started
    ex.proceed()
    assert (waits.runs, after.runs) == (1, 1) and source.ex is ex
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    assert source.cancelled == 1 and down.calls == ["abort"]


def test_a_body_that_comes_while_a_step_waits_is_held_in_bounds() -> None:
    source = Slow()
    down, ex = begin(Plan("p", source, request=[Say(WAIT)]))
    ex.on_request(request(b"POST", 100_000), False)
    ex.on_request_body(bytes(40_000), False)
    assert down.calls == []
    ex.on_request_body(bytes(40_000), False)
    assert down.calls == ["pause"]
    ex.on_request_body(bytes(20_000), True)
    ex.proceed()
    up = Spy()
    ex.connected(up, "u")
    assert len(up.got) == 100_000 and up.calls == ["head", "body", "body", "body", "end"]
    assert down.calls[-1] == "resume"


@pytest.mark.parametrize("enough", [True, False])
def test_who_was_paused_before_the_stream_came_goes_on_when_it_can(enough: bool) -> None:
    source = Slow()
    down, ex = begin(Plan("p", source))
    ex.on_request(request(b"POST", 200_000), False)
    ex.on_request_body(bytes(70_000), False)
    assert down.calls == ["pause"]
    up = Spy()
    up.more = not enough
    ex.connected(up, "u")
    assert down.calls == (["pause"] if enough else ["pause", "resume"])
    ex.on_drain(UP)
    assert down.calls[-1] == "resume"


def test_plans_in_plans_and_circles() -> None:
    inner_step, source = Say(PASS), Slow()
    inner = Plan("inner", source, request=[inner_step], timeouts=Timeouts(connect_ms=1))
    down, ex = begin(Plan("outer", Slow(), request=[Say(ANSWERED, lambda ex: ex.enter(inner))]))
    ex.on_request(request(), True)
    assert source.ex is ex and inner_step.runs == 1 and ex.plan is inner and ex.timeouts.connect_ms == 1

    def round_again(ex: Exchange) -> None:
        ex.enter(ex.plan)

    log = Lines()
    down, ex = begin(Plan("circle", Slow(), request=[Say(ANSWERED, round_again)], log=[log]))
    ex.on_request(request(), True)
    assert down.statuses == [500] and log.faults == ["proxy.loop"] and ex.over


def test_filters_change_the_body_and_its_end() -> None:
    source = Slow()
    down, ex = begin(Plan("p", source, filters=[UpperMaker()]))
    ex.on_request(request(), True)
    ex.connected(Spy(), "u")
    ex.on_response(answer_head(), False)
    ex.on_response_body(b"one", False)
    ex.on_response_body(b"drop", False)
    ex.on_response_body(b"two", True)
    assert down.got == b"ONETWO!" and ex.response_bytes == 7
    assert down.calls == ["head", "body", "body", "end", "release"]


def test_filters_that_are_not_wanted_are_not_made() -> None:
    down, ex = begin(Plan("p", Slow(), filters=[UpperMaker()]))
    ex.on_request(request(), True)
    ex.connected(Spy(), "u")
    ex.on_response(answer_head(404), False)
    ex.on_response_body(b"one", True)
    assert down.got == b"one"


def test_the_plans_error_page_answers_faults() -> None:
    log, source = Lines(), Slow()
    source.retries = 1
    down, ex = begin(Plan("p", source, error_page=Page(), log=[log]))
    ex.on_request(request(), True)
    ex.on_fault(UP, Fault(UPSTREAM_REFUSED))
    assert down.statuses == [502] and down.fields is not None and down.fields.get(b"x-fault") == b"upstream.refused"
    assert log.faults == ["upstream.refused"]


@pytest.mark.parametrize(("method", "status", "bodies"), [(b"HEAD", 403, 0), (b"GET", 204, 0), (b"GET", 304, 0), (b"GET", 403, 1)])
def test_local_answers_have_a_body_where_one_is_allowed(method: bytes, status: int, bodies: int) -> None:
    down, ex = begin(Plan("p", Slow(), request=[Say(ANSWERED, lambda ex: ex.answer(status, [], b"text"))]))
    ex.on_request(request(method), True)
    assert down.calls.count("body") == bodies and down.calls.count("end") == 1
    assert down.fields is not None
    assert down.fields.content_length == (-1 if status in (204, 304) else 4)


def test_a_local_answer_says_first_that_the_rest_is_not_wanted() -> None:
    down, ex = begin(Plan("p", Slow(), request=[Say(ANSWERED, lambda ex: ex.fail(Fault(PROXY_DENIED)))]))
    ex.on_request(request(b"POST", 5), False)
    assert down.calls[:2] == ["refuse_rest", "head"]


def test_a_fault_before_the_head_may_be_tried_again_and_after_it_not() -> None:
    source = Slow()
    down, ex = begin(Plan("p", source))
    ex.on_request(request(), True)
    first = Spy()
    ex.connected(first, "u")
    ex.on_fault(UP, Fault(UPSTREAM_LOST))
    assert source.retries == 1 and first.calls[-1] == "abort" and down.calls == []
    second = Spy()
    ex.connected(second, "u")
    ex.on_response(answer_head(), False)
    ex.on_fault(UP, Fault(UPSTREAM_LOST))
    assert source.retries == 1 and ex.over and down.calls == ["head", "abort"] and second.calls[-1] == "abort"


def test_nothing_comes_through_after_the_end() -> None:
    down, ex = begin(Plan("p", Slow()))
    ex.on_request(request(b"POST", 5), False)
    up = Spy()
    ex.connected(up, "u")
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    calls = (list(down.calls), list(up.calls))
    ex.on_request_body(b"x", True)
    ex.on_request_trailers(fields_of([]))
    ex.on_interim(answer_head(103))
    ex.on_response(answer_head(), False)
    ex.on_response_body(b"x", True)
    ex.on_response_trailers(fields_of([]))
    ex.on_switched(answer_head(101))
    ex.on_relayed(UP, 5, True)
    ex.on_drain(UP)
    ex.on_drain(DOWN)
    ex.on_fault(UP, Fault(UPSTREAM_LOST))
    ex.answer(200, [], b"x")
    assert (down.calls, up.calls) == calls


def test_bytes_are_counted() -> None:
    _, ex = begin(Plan("p", Slow()))
    ex.on_request(request(b"POST", 5), False)
    ex.connected(Spy(), "u")
    ex.on_request_body(b"12", False)
    ex.on_relayed(DOWN, 3, True)
    ex.on_response(answer_head(), False)
    ex.on_response_body(b"abc", False)
    ex.on_relayed(UP, 7, True)
    assert (ex.request_bytes, ex.response_bytes) == (5, 10) and ex.over


def test_headers_that_are_none_are_told_to_the_author_of_the_plan() -> None:
    down, ex = begin(Plan("p", Slow()))
    ex.request = request()
    with pytest.raises(ValueError, match="not a header line"):
        ex.answer(200, [(b"X", b"a\r\nY: b")], b"")
    assert down.statuses == []


# ---------------------------------------------------------------- the body and the trailers of the request


def test_a_body_passes_piece_by_piece_and_whoever_has_enough_pauses_the_other() -> None:
    down, up, ex = serving(Plan("p", Slow()), b"POST", 6)
    ex.on_request_body(b"abc", False)
    assert down.calls == []
    up.more = False
    ex.on_request_body(b"def", True)
    assert up.got == b"abcdef" and up.calls == ["head", "body", "body", "end"] and down.calls == ["pause"]
    ex.on_drain(UP)
    assert down.calls == ["pause", "resume"]
    down.more = False
    ex.on_response(answer_head(), False)
    assert up.calls[-1] == "pause"
    ex.on_drain(DOWN)
    assert up.calls[-1] == "resume"
    ex.on_response_body(b"x", False)
    assert up.calls[-1] == "pause"
    ex.on_response_body(b"y", True)
    assert ex.over and up.calls[-1] == "release" and down.calls[-1] == "release"


@pytest.mark.interpreted_only  # derives from what moves bytes past us
def test_bodies_are_offered_to_go_past_us_but_not_through_a_filter() -> None:
    relays = Watching()
    _, ex = begin(Plan("p", Slow(), filters=[UpperMaker()]), relays)
    ex.on_request(request(b"POST", 9), False)
    ex.connected(Up(), "u")
    ex.on_request_body(b"abc", False)
    ex.on_response(answer_head(404), False)
    ex.on_response_body(b"x", False)
    assert relays.asked == [DOWN, UP]
    _, ex = begin(ex.plan, relays)
    ex.on_request(request(), True)
    ex.connected(Up(), "u")
    ex.on_response(answer_head(200), False)
    ex.on_response_body(b"x", False)
    assert relays.asked == [DOWN, UP], "its filter sees every byte"


def test_an_end_alone_is_kept_while_a_step_waits() -> None:
    down, ex = begin(Plan("p", Slow(), request=[Say(WAIT)]))
    ex.on_request(request(b"POST", 0), False)
    ex.on_request_body(b"", True)
    ex.proceed()
    up = Up()
    ex.connected(up, "u")
    assert up.calls == ["head", "end"] and down.calls == []


def test_a_body_over_the_limit_is_refused_by_its_length_and_as_it_comes() -> None:
    log, source = Lines(), Slow()
    plan = Plan("p", source, body_most=5, log=[log])
    down, ex = begin(plan)
    ex.on_request(request(b"POST", 6), False)
    assert down.statuses == [413] and not source.started and ex.over
    down, up, ex = serving(plan, b"POST", 0)
    ex.on_request_body(b"12345", False)
    assert up.got == b"12345"
    ex.on_request_body(b"6", False)
    assert down.statuses == [413] and up.got == b"12345" and up.calls[-1] == "abort"
    assert log.faults == ["client.body_too_large"] * 2


@pytest.mark.parametrize("more", [True, False])
def test_trailers_end_the_request(more: bool) -> None:
    down, up, ex = serving(Plan("p", Slow()), b"POST", 5)
    ex.on_request_body(b"hello", False)
    up.more = more
    ex.on_request_trailers(fields_of([]))
    assert up.calls == ["head", "body", "trailers", "end"] and down.calls == ([] if more else ["pause"])
    ex.on_response(answer_head(), True)
    assert ex.over and up.calls[-1] == "release"


def test_trailers_that_come_before_the_server_are_kept() -> None:
    _, ex = begin(Plan("p", Slow()))
    ex.on_request(request(b"POST"), False)
    ex.on_request_body(b"hello", False)
    ex.on_request_trailers(fields_of([]))
    up = Up()
    ex.connected(up, "u")
    assert up.calls == ["head", "body", "trailers", "end"]


@pytest.mark.parametrize("how", ["body", "trailers"])
def test_an_early_answer_ends_when_the_request_does(how: str) -> None:
    down, up, ex = serving(Plan("p", Slow()), b"POST", 5)
    ex.on_response(answer_head(), True)
    assert not ex.over and down.calls == ["head", "end"], "the server reads on"
    if how == "body":
        ex.on_request_body(b"hello", True)
    else:
        ex.on_request_trailers(fields_of([]))
    assert ex.over and up.calls[-1] == "release" and down.calls[-1] == "release"


def test_a_server_that_answers_early_and_fails_then_has_answered() -> None:
    log = Lines()
    down, up, ex = serving(Plan("p", Slow(), log=[log]), b"POST", 5)
    ex.on_response(answer_head(), True)
    ex.on_fault(UP, Fault(UPSTREAM_LOST))
    assert ex.over and log.faults == [""] and down.calls[-1] == "release" and up.calls[-1] == "abort"


def test_an_early_answer_of_a_server_that_closes_refuses_the_rest_in_its_head() -> None:
    down, up, ex = serving(Plan("p", Slow()), b"POST", 5, rest=False)
    ex.on_response(ResponseHead(413, b"", fields_of([(b"Connection", b"close")])), True)
    assert down.calls == ["refuse_rest", "head", "end", "release"] and up.calls[-1] == "abort" and ex.over


def test_a_body_that_is_dropped_is_read_and_goes_nowhere() -> None:
    down, ex = begin(Plan("p", Slow(), request=[Say(WAIT)]))
    ex.on_request(request(b"POST", 100_000), False)
    ex.on_request_body(bytes(70_000), False)
    ex.drop_body()
    assert down.calls == ["pause", "resume"]
    ex.on_request_body(bytes(20_000), False)
    ex.proceed()
    up = Up()
    ex.connected(up, "u")
    assert up.calls == ["head", "end"] and ex.request_bytes == 90_000
    ex.on_request_trailers(fields_of([]))
    assert ex.request_ended and up.calls == ["head", "end"]
    ex.on_response(answer_head(), True)
    assert ex.over and up.calls[-1] == "release"


def test_a_body_that_is_dropped_before_it_came_ends_with_the_answer() -> None:
    down, ex = begin(Plan("p", Slow(), request=[Say(PASS, Exchange.drop_body)]))
    ex.on_request(request(b"POST", 5), False)
    up = Up()
    ex.connected(up, "u")
    ex.on_response(answer_head(), True)
    assert ex.over and down.calls == ["head", "end", "release"] and up.calls == ["head", "end", "release"]


# ---------------------------------------------------------------- steps in steps


def test_what_is_left_of_steps_that_hold_others_comes_before_the_next_step() -> None:
    first, second, last, source = Say(WAIT), Say(PASS), Say(PASS), Slow()

    def hold(ex: Exchange) -> None:
        ex.rests = [first, second]

    _down, ex = begin(Plan("p", source, request=[Say(WAIT, hold), last]))
    ex.on_request(request(), True)
    ex.proceed()
    assert (first.runs, second.runs, last.runs) == (1, 0, 0) and ex.waiting
    ex.proceed()
    assert (first.runs, second.runs, last.runs) == (1, 1, 1) and source.ex is ex


def test_a_rest_that_answers_is_the_last() -> None:
    denies, after, source = Say(ANSWERED, lambda ex: ex.fail(Fault(PROXY_DENIED))), Say(PASS), Slow()

    def hold(ex: Exchange) -> None:
        ex.rests = [denies, after]

    down, ex = begin(Plan("p", source, request=[Say(WAIT, hold), after]))
    ex.on_request(request(), True)
    ex.proceed()
    assert down.statuses == [403] and after.runs == 0 and not source.started and ex.over


# ---------------------------------------------------------------- answers in the place of others


def test_an_answer_takes_the_place_of_a_server_that_has_not_said_anything() -> None:
    down, up, ex = serving(Plan("p", Slow()))
    ex.answer(204, [], b"")
    assert down.statuses == [204] and up.calls[-1] == "abort" and ex.over


def test_a_response_step_changes_an_answer_of_our_own() -> None:
    refuse = Say(ANSWERED, lambda ex: ex.answer(200, [], b"ours"))
    down, ex = begin(Plan("p", Slow(), request=[refuse], response=[put_in_place(503, b"theirs")]))
    ex.on_request(request(), True)
    assert down.statuses == [503] and down.got == b"theirs"


@pytest.mark.parametrize(("whole", "last"), [(True, "release"), (False, "abort")])
def test_a_response_step_answers_in_the_place_of_the_server(whole: bool, last: str) -> None:
    down, up, ex = serving(Plan("p", Slow(), response=[put_in_place(503, b"ours")]))
    ex.on_response(answer_head(), whole)
    assert down.statuses == [503] and down.got == b"ours" and up.calls[-1] == last and ex.over


def test_an_answer_put_in_place_refuses_the_rest_of_the_request() -> None:
    down, up, ex = serving(Plan("p", Slow(), response=[put_in_place(503, b"")]), b"POST", 5)
    ex.on_response(answer_head(), True)
    assert down.calls == ["refuse_rest", "head", "end", "release"] and up.calls[-1] == "abort"


def test_a_step_may_put_an_answer_in_place_where_no_stream_is() -> None:
    """A source may hand over an answer of its own without a stream, as what is asked of memory does."""
    down, ex = begin(Plan("p", Slow(), response=[put_in_place(200, b"ours")]))
    ex.on_request(request(), True)
    ex.on_response(answer_head(), True)
    assert down.got == b"ours" and ex.over


def test_an_answer_without_a_stream_behind_it_has_nobody_to_pause_or_drop() -> None:
    down, ex = begin(Plan("p", Slow()))
    ex.on_request(request(), True)
    ex.drop_up(Fault(UPSTREAM_TRUNCATED))
    down.more = False
    ex.on_response(answer_head(), False)
    ex.on_drain(DOWN)
    assert down.calls == ["head"] and not ex.over
    ex.on_response_body(b"x", True)
    assert ex.over and down.calls == ["head", "body", "end", "release"]


def test_interim_heads_pass_before_the_answer_and_not_behind_it() -> None:
    down, _up, ex = serving(Plan("p", Slow()))
    ex.on_interim(answer_head(103))
    ex.on_response(answer_head(), False)
    ex.on_interim(answer_head(103))
    assert down.statuses == [103, 200]


@pytest.mark.interpreted_only  # derives from what a source chooses
def test_an_answer_that_the_source_does_not_take_reaches_nobody() -> None:
    down, _up, ex = serving(Plan("p", Slow()))
    picky = Picky()
    ex.chosen = picky
    ex.on_response(answer_head(503), True)
    assert down.calls == [] and not ex.over
    ex.on_response(answer_head(200), True)
    assert down.statuses == [200] and picky.seen == [503, 200]


# ---------------------------------------------------------------- plans in the place of errors


@pytest.mark.parametrize(("shown", "status", "seen"), [(0, 200, 200), (-1, 200, 404), (410, 200, 410), (410, 302, 302)])
def test_a_plan_answers_in_the_place_of_a_servers_error(shown: int, status: int, seen: int) -> None:
    down, up, ex = serving(
        Plan("p", Slow(), errors=[ErrorPlan(error_plan(status), (500,), 0, True), ErrorPlan(error_plan(status), (404,), shown, True)])
    )
    ex.on_response(answer_head(404), False)
    assert down.statuses == [seen] and down.got == b"sorry" and up.calls[-1] == "abort" and ex.over


def test_a_plan_answers_in_the_place_of_an_answer_that_passes_its_steps() -> None:
    seen: list[int] = []

    def looks(ex: Exchange) -> None:
        assert ex.response is not None
        seen.append(ex.response.status)

    for said in (PASS, ANSWERED):
        plans = [ErrorPlan(error_plan(206), (), 0, True, [Say(said, looks)], 200)]
        down, up, ex = serving(Plan("p", Slow(), errors=plans))
        ex.on_response(answer_head(201), True)
        assert down.statuses == ([206] if said == PASS else [201]) and ex.over
        assert up.calls[-1] == "release", "the server's answer was whole"
    assert seen == [201, 201]
    down, ex = begin(Plan("p", Slow(), request=[Say(ANSWERED, lambda ex: ex.fail(Fault(PROXY_DENIED)))], errors=plans))
    ex.on_request(request(), True)
    assert down.statuses == [403] and len(seen) == 2, "there is no answer to look at"


def test_fields_of_an_answer_may_go_on_into_the_one_in_its_place() -> None:
    said = [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Content-Type", b"text/x"), (b"X-Other", b"1")]
    passes = [b"set-cookie", b"content-type", b"x-none"]

    def answers(ex: Exchange) -> None:
        ex.answer(200, [(b"Content-Type", b"text/own"), (b"Set-Cookie", b"c=3")], b"sorry")

    def serves(ex: Exchange) -> None:
        ex.chosen = Chosen()
        answers(ex)

    for by_server in (False, True):
        inner = Plan("error", Slow(), request=[Say(ANSWERED, serves if by_server else answers)])
        _, _, ex = serving(Plan("p", Slow(), errors=[ErrorPlan(inner, (), 0, True, (), 200, passes)]))
        ex.on_response(ResponseHead(201, b"", fields_of(said)), False)
        assert ex.response is not None
        fields = ex.response.fields
        assert sorted(fields.get_all(b"set-cookie")) == [b"a=1", b"b=2", b"c=3"]
        assert fields.get_all(b"content-type") == ([b"text/own"] if by_server else [b"text/x"])
        assert fields.get_all(b"x-other") == []
        assert b"\r\nSet-Cookie: b=2" in fields.block, "as the server spelled it"


def test_who_answers_that_credentials_are_needed_says_how() -> None:
    def asks(ex: Exchange) -> None:
        assert ex.replaces(401) and not ex.replaces(402)
        ex.auth_answer = fields_of([(b"WWW-Authenticate", b"Basic")])
        ex.fail(Fault(FaultKind("proxy.denied", PROXY, 401, NEVER, "", "")))

    for shown in (-1, 0):
        plan = Plan("p", Slow(), request=[Say(ANSWERED, asks)], errors=[ErrorPlan(error_plan(), (401,), shown, False)])
        down, ex = begin(plan)
        ex.on_request(request(), True)
        assert down.statuses == [401 if shown else 200] and ex.response is not None
        assert ex.response.fields.get_all(b"www-authenticate") == [b"Basic"]


def test_a_servers_error_that_no_plan_takes_passes() -> None:
    down, _, ex = serving(Plan("p", Slow(), errors=[ErrorPlan(error_plan(), (500,), 0, True), ErrorPlan(error_plan(), (), 0, False)]))
    ex.on_response(answer_head(404), True)
    assert down.statuses == [404] and ex.over


@pytest.mark.parametrize(("status", "seen"), [(200, 410), (302, 302)])
def test_another_server_answers_in_the_place_of_an_error_without_the_body(status: int, seen: int) -> None:
    source = Slow()
    plan = Plan("p", Slow(), errors=[ErrorPlan(Plan("error", source), (), 410, True)])
    down, first, ex = serving(plan, b"POST", 5)
    ex.on_request_body(b"he", False)
    ex.on_response(answer_head(500), False)
    assert source.ex is ex and first.calls[-1] == "abort" and down.calls == ["refuse_rest"]
    second = Up()
    ex.connected(second, "v")
    ex.on_request_body(b"llo", True)
    assert second.calls == ["head", "end"] and ex.request_bytes == 5
    ex.on_response(ResponseHead(status, b"Fine", fields_of([])), True)
    assert down.statuses == [seen] and ex.over and ex.response is not None
    assert ex.response.reason == (b"" if status == 200 else b"Fine")


def test_a_request_that_no_server_had_goes_on_as_it_came() -> None:
    source = Slow()
    down, ex = begin(Plan("p", Slow(), errors=[ErrorPlan(Plan("error", source), (), 0, False, whole=True)]))
    ex.on_request(request(b"POST", 5), False)
    ex.on_request_body(b"he", False)
    ex.fail(Fault(PROXY_DENIED))
    assert ex.whole and source.ex is ex and down.calls == []
    second = Up()
    ex.connected(second, "v")
    ex.on_request_body(b"llo", True)
    assert second.got == b"hello" and second.calls[-1] == "end"


@pytest.mark.parametrize("kind", ["had", "client", "all", "dropped"])
def test_what_a_server_had_or_a_client_did_is_not_sent_on(kind: str) -> None:
    whole = kind != "all"
    plan = Plan("p", Slow(), errors=[ErrorPlan(Plan("error", Slow()), (), 0, True, whole=whole)], body_most=4 if kind == "client" else -1)
    if kind == "had":
        down, _, ex = serving(plan, b"POST", 5)
        ex.on_response(answer_head(500), False)
    else:
        down, ex = begin(plan)
        ex.on_request(request(b"POST"), False)
        if kind == "dropped":
            ex.drop_body()
        ex.on_request_body(b"hello", False)
        ex.fail(Fault(PROXY_DENIED))
    assert not ex.whole and "refuse_rest" in down.calls


def test_what_became_of_a_request_at_a_server_is_counted_before_another_plan_answers() -> None:
    counts = ServerCounts("u", "a:1")
    plan = Plan("p", Slow(), errors=[ErrorPlan(error_plan(), (), 0, True)])
    for fault in (Fault(UPSTREAM_REFUSED), Fault(PROXY_DENIED), None):
        _, _, ex = serving(plan)
        ex.chosen = Chosen()
        ex.chosen.counts = counts
        if fault is None:
            ex.on_response(answer_head(404), True)
        else:
            assert isinstance(plan.source, Slow)
            plan.source.retries = 1
            ex.on_fault(UP, fault)
        assert ex.over and ex.chosen is None
    assert (counts.attempts, counts.failures, counts.classes[4]) == (2, 1, 1), "what was not the server's is not counted for it"


def test_how_it_went_with_each_server_is_remembered() -> None:
    _, _, ex = serving(Plan("p", Slow()))
    ex.note_attempt(0, 1500, False)
    assert ex.attempts is None, "none was asked"
    ex.chosen = Chosen()
    ex.note_attempt(0, 1500, False)
    ex.note_attempt(503, 1700, True)
    assert ex.attempts is not None and [each.status for each in ex.attempts] == [0, 503]


def test_a_fault_in_the_place_of_a_fault_is_logged_and_the_first_is_told() -> None:
    log, source, last = Lines(), Slow(), Slow()
    source.retries = last.retries = 1
    inner = Plan("error", last, log=[log])
    down, ex = begin(Plan("p", source, errors=[ErrorPlan(inner, (502,), 200, False)]))
    ex.on_request(request(), True)
    ex.on_fault(UP, Fault(UPSTREAM_REFUSED))
    assert down.calls == [] and last.ex is ex and ex.error_status == 502
    ex.on_fault(UP, Fault(UPSTREAM_BUSY))
    assert down.statuses == [502] and b"502" in down.got and log.faults == ["upstream.busy"]


def test_a_plan_in_the_place_of_an_error_has_none_for_its_own() -> None:
    log, never = Lines(), Slow()
    fails = Say(ANSWERED, lambda ex: ex.fail(Fault(PROXY_DENIED)))
    inner = Plan("error", Slow(), request=[fails], errors=[ErrorPlan(Plan("never", never), (), 0, False)], log=[log])
    down, ex = begin(Plan("p", Slow(), request=[fails], errors=[ErrorPlan(inner, (), 200, False)]))
    ex.on_request(request(), True)
    assert down.statuses == [403] and not never.started and log.faults == ["proxy.denied"]


def test_a_fault_that_is_answered_after_all_stays_in_the_log() -> None:
    log, source = Lines(), Slow()
    source.retries = 1
    answers = Plan("error", Slow(), request=[Say(ANSWERED, lambda ex: ex.answer(200, [], b"sorry"))], log=[log])
    down, ex = begin(Plan("p", source, errors=[ErrorPlan(answers, (), 0, False)]))
    ex.on_request(request(), True)
    ex.on_fault(UP, Fault(UPSTREAM_REFUSED))
    assert down.statuses == [200] and log.faults == ["upstream.refused"]


# ---------------------------------------------------------------- trailers of the answer, and filters


def test_trailers_end_the_answer() -> None:
    seen = Say(PASS)
    down, _up, ex = serving(Plan("p", Slow(), response=[seen]))
    ex.on_response(answer_head(), False)
    ex.on_response_trailers(fields_of([]))
    assert down.calls == ["head", "trailers", "end", "release"] and ex.over and seen.runs == 1


@pytest.mark.parametrize("body", [b"hello", b""])
def test_what_a_filter_holds_comes_before_the_trailers(body: bytes) -> None:
    down, _up, ex = serving(Plan("p", Slow(), filters=[TailMaker()]))
    ex.on_response(answer_head(), False)
    ex.on_response_body(body, False)
    ex.on_response_trailers(fields_of([]))
    assert down.got == body and ex.response_bytes == len(body)
    assert down.calls == ["head", *(["body"] if body else []), "trailers", "end", "release"]


# ---------------------------------------------------------------- tunnels


@pytest.mark.interpreted_only  # derives from what moves bytes past us
def test_after_a_switch_both_directions_are_open_and_no_limit_of_bodies_holds() -> None:
    relays = Watching()
    seen = Say(PASS)
    down, ex = begin(Plan("p", Slow(), response=[seen], body_most=5), relays)
    ex.on_request(request(), True)
    up = Up()
    ex.connected(up, "u")
    ex.chosen = Picky(0)
    ex.on_switched(answer_head(101))
    assert down.statuses == [101] and ex.tunneling and relays.tunnels == 1 and seen.runs == 1
    assert ex.up_status == 101 and ex.chosen.seen == [101], "an answer as any other, to logs and to who counts failures"
    ex.on_request_body(b"longer than that", False)
    assert up.got == b"longer than that" and not ex.over
    ex.on_response_body(b"", True)
    assert not ex.over, "one direction is over"
    ex.on_request_body(b"", True)
    assert ex.over and up.calls[-1] == "release"


def test_a_switch_may_be_answered_otherwise() -> None:
    down, up, ex = serving(Plan("p", Slow(), response=[put_in_place(403, b"no")]))
    ex.on_switched(answer_head(101))
    assert down.statuses == [403] and down.got == b"no" and up.calls[-1] == "abort" and ex.over and not ex.tunneling


def test_bytes_that_went_past_us_are_told_to_whom_they_came_from() -> None:
    _down, up, ex = serving(Plan("p", Slow()), b"POST", 5)
    ex.on_relayed(DOWN, 3, False)
    ex.on_response(answer_head(), False)
    ex.on_relayed(UP, 7, False)
    assert up.passed == 7 and (ex.request_bytes, ex.response_bytes) == (3, 7) and up.calls == ["head"]
    ex.on_response_body(b"", True)
    assert not ex.over
    ex.on_relayed(DOWN, 2, True)
    assert ex.over and up.calls == ["head", "end", "release"]


# ---------------------------------------------------------------- limits of bytes per second


@pytest.mark.interpreted_only  # derives from what limits bandwidth
def test_an_exchange_whose_bytes_wait_ends_when_they_have_gone_and_lets_the_server_go_before() -> None:
    log = Lines()
    down, up, ex, pace = paced(Plan("p", Slow(), log=[log]))
    ex.on_drain(UP)
    assert down.calls == [], "the stream inside takes more, but the limit does not yet"
    ex.on_paced()
    assert not ex.over, "nothing has ended yet"
    ex.on_response(answer_head(), True)
    assert not ex.over and up.calls[-1] == "release" and log.faults == []
    pace.held = False
    ex.on_paced()
    assert ex.over and down.calls[-1] == "release" and log.faults == [""]
    ex.on_paced()
    assert log.faults == [""]


@pytest.mark.interpreted_only  # derives from what limits bandwidth
def test_a_tunnel_keeps_its_server_until_the_last_bytes_have_gone() -> None:
    _down, up, ex, pace = paced(Plan("p", Slow()))
    ex.on_switched(answer_head(101))
    ex.on_response_body(b"", True)
    ex.on_request_body(b"", True)
    assert not ex.over and up.calls[-1] == "end"
    pace.held = False
    ex.on_paced()
    assert ex.over and up.calls[-1] == "release"


@pytest.mark.interpreted_only  # derives from what limits bandwidth
def test_a_server_that_does_not_read_on_is_not_kept_for_bytes_that_wait() -> None:
    _down, ex = begin(Plan("p", Slow()))
    ex.pacing = Pace()
    ex.on_request(request(b"POST", 5), False)
    up = Up(rest=False)
    ex.connected(up, "u")
    ex.on_response(answer_head(), True)
    assert not ex.over and up.calls[-1] == "abort"
    ex.on_request_body(b"hello", True)
    assert up.got == b"", "the rest is read and goes nowhere"


@pytest.mark.interpreted_only  # derives from what limits bandwidth
@pytest.mark.parametrize("instead", [True, False])
def test_an_answer_from_memory_does_not_wait(instead: bool) -> None:
    down, _up, ex, pace = paced(Plan("p", Slow(), response=[put_in_place(503, b"ours")] if instead else []))
    if instead:
        ex.on_response(answer_head(), True)
    else:
        ex.answer(503, [], b"ours")
    assert pace.lifted == 1 and ex.over and down.got == b"ours"


# ---------------------------------------------------------------- the end


@pytest.mark.interpreted_only  # derives from what is done at the end
def test_what_is_to_be_done_at_the_end_is_done_once_however_it_ends() -> None:
    one, two = Ends(), Ends()
    down, up, ex = serving(Plan("p", Slow()))
    ex.at_end(one)
    ex.at_end(two)
    ex.hang_up(Fault(PROXY_DENIED))
    assert (one.ends, two.ends) == (1, 1) and down.calls == ["abort"] and up.calls[-1] == "abort"
    ex.hang_up(Fault(PROXY_DENIED))
    assert (one.ends, two.ends) == (1, 1) and down.calls == ["abort"]


def test_what_is_withdrawn_leaves_no_trace() -> None:
    log = Lines()
    down, ex = begin(Plan("p", Slow(), request=[Say(WAIT)], log=[log]))
    ex.on_request(request(), False)
    ex.withdraw()
    ex.on_request_body(b"x", True)
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    assert down.calls == [] and log.faults == [] and ex.over


@pytest.mark.parametrize(
    ("kind", "status", "counts"),
    [(None, 404, (1, 0, 1)), (UPSTREAM_REFUSED, 0, (1, 1, 0)), (PROXY_DENIED, 0, (0, 0, 0)), (UPSTREAM_REFUSED, -1, (0, 0, 0))],
)
def test_what_a_server_did_is_counted_before_a_plan_answers_in_its_place(
    kind: FaultKind | None, status: int, counts: tuple[int, int, int]
) -> None:
    source = Slow()
    source.retries = 1
    _, _, ex = serving(Plan("p", source, errors=[ErrorPlan(error_plan(), (), 0, True)]))
    server = ServerCounts("u", "s")
    ex.chosen = Chosen()
    if status >= 0:  # or nobody counts it
        ex.chosen.counts = server
    if kind is None:
        ex.on_response(answer_head(status), True)
    else:
        ex.on_fault(UP, Fault(kind))
    assert (server.attempts, server.failures, server.classes[4]) == counts
    assert ex.over and ex.chosen is None


# ---------------------------------------------------------------- bodies that somebody waits for


class Waits(BodyWaiter):
    """Notes what there was of the body whenever more came."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def on_body(self, ex: Exchange) -> None:
        self.seen.append(ex.held_back_body())


@pytest.mark.interpreted_only  # derives from a trait
@pytest.mark.parametrize("trailers", [False, True])
def test_who_waits_for_a_body_is_told_of_each_piece(trailers: bool) -> None:
    _down, ex = begin(Plan("p", Slow(), request=[Say(WAIT)]))
    ex.on_request(request(b"POST", 6), False)
    ex.body_waiter = waits = Waits()
    assert not ex.has_body(1) and ex.held_back_body() == b""
    ex.on_request_body(b"abc", False)
    assert ex.has_body(3) and not ex.has_body(4)
    if trailers:
        ex.on_request_trailers(fields_of([(b"X-End", b"1")]))
    else:
        ex.on_request_body(b"def", True)
    assert ex.has_body(1_000), "there will be no more"
    assert waits.seen == [b"abc", b"abc" if trailers else b"abcdef"]


def test_a_body_that_goes_nowhere_is_not_waited_for() -> None:
    _down, ex = begin(Plan("p", Slow(), request=[Say(WAIT)]))
    ex.on_request(request(b"POST", 6), False)
    ex.drop_body()
    assert ex.has_body(6) and ex.held_back_body() == b""
    said: list[bool] = []
    for data in (b"", b"ours"):
        ex.put_body(data)
        said.append(ex.own_body)
    assert said == [False, True] and ex.held_back_body() == b"ours"


def test_a_step_waits_in_its_plan_until_that_is_left_or_all_is_over() -> None:
    plan = Plan("p", Slow(), request=[Say(WAIT)])
    _down, ex = begin(plan)
    ex.on_request(request(), True)
    other = Plan("other", Slow())
    assert ex.waits_in(plan) and not ex.waits_in(other)
    ex.enter(other)
    assert not ex.waits_in(plan)
    ex.on_fault(DOWN, Fault(CLIENT_GONE, "x"))
    assert not ex.waits_in(other)


def test_what_is_put_behind_others_runs_after_them_and_before_the_next_step() -> None:
    order: list[str] = []

    def note(name: str, said: int = PASS) -> Say:
        return Say(said, lambda _: order.append(name))

    _down, ex = begin(Plan("p", Slow(), request=[note("first", WAIT), note("next")]))
    ex.on_request(request(), True)
    ex.wait_with([note("second", WAIT)])
    ex.wait_with([note("third")])
    ex.proceed()
    assert order == ["first", "second"]
    ex.proceed()
    assert order == ["first", "second", "third", "next"]


def test_a_switch_of_layer_4_has_no_status_of_a_server() -> None:
    down, _up, ex = serving(Plan("p", Slow()))
    ex.on_switched(answer_head(200))
    assert down.statuses == [200] and ex.up_status == -1


def test_an_error_of_an_error_is_replaced_by_nothing() -> None:
    plan = Plan("p", Slow(), errors=[ErrorPlan(error_plan(), [404], 0, False)])
    _down, ex = begin(plan)
    assert ex.replaces(404) and not ex.replaces(500)
    ex.error_status = 500
    assert not ex.replaces(404)
