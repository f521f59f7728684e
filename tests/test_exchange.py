"""The exchange itself: steps, plans in plans, filters, local answers, and what it does when nobody is there.

Not here: the course of messages (`tests/plays`), the contract of streams (`tests/conformance`).
"""

from collections.abc import Callable

import pytest

from tests.conformance.stream import Spy
from vestibule.contract import (
    ANSWERED,
    DOWN,
    PASS,
    UP,
    WAIT,
    BodyFilter,
    Client,
    ErrorPage,
    FilterMaker,
    LogLine,
    Plan,
    Relays,
    Source,
    Step,
    Timeouts,
)
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, PROXY_DENIED, UPSTREAM_LOST, UPSTREAM_REFUSED, Fault
from vestibule.http.fields import Fields, fields_of
from vestibule.http.head import RequestHead, ResponseHead


class Down(Spy):
    """The client's side, which remembers heads."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []
        self.fields: Fields | None = None

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        assert isinstance(head, ResponseHead)
        self.statuses.append(head.status)
        self.fields = head.fields
        return super().send_head(head, end)

    def refuse_rest(self) -> None:
        self._note("refuse_rest")


class Slow(Source):
    """A source whose stream comes when the test says so."""

    def __init__(self) -> None:
        self.ex: Exchange | None = None
        self.cancelled = 0
        self.retries = 0

    @property
    def started(self) -> bool:
        return self.ex is not None

    def start(self, ex: Exchange) -> None:
        self.ex = ex

    def retry(self, ex: Exchange, fault: Fault) -> bool:
        self.retries += 1
        ex.drop_up(fault)
        ex.waiting = True
        return self.retries == 1

    def cancel(self, ex: Exchange) -> None:
        self.cancelled += 1


class Say(Step):
    """A step that says what it is told to, after doing something."""

    def __init__(self, said: int, does: Callable[[Exchange], None] | None = None) -> None:
        self.said = said
        self.does = does
        self.runs = 0

    def run(self, ex: Exchange) -> int:
        self.runs += 1
        if self.does is not None:
            self.does(ex)
        return self.said


class Lines(LogLine):
    def __init__(self) -> None:
        self.faults: list[str] = []

    def write(self, ex: Exchange) -> None:
        self.faults.append(ex.fault.kind.name if ex.fault is not None else "")


class Upper(BodyFilter):
    def feed(self, data: bytes, end: bool) -> bytes:
        return data.upper() + (b"!" if end else b"") if data != b"drop" else b""


class UpperMaker(FilterMaker):
    def wants(self, ex: Exchange) -> bool:
        return ex.response is not None and ex.response.status == 200

    def make(self, ex: Exchange) -> BodyFilter:
        return Upper()


class Page(ErrorPage):
    def answer(self, ex: Exchange, fault: Fault) -> None:
        ex.answer(fault.status, [(b"X-Fault", fault.kind.name.encode())], b"page")


def request(method: bytes = b"GET", body: int = -1) -> RequestHead:
    pairs = [(b"Host", b"a")] + ([(b"Content-Length", b"%d" % body)] if body >= 0 else [])
    return RequestHead(method, b"/", b"a", fields_of(pairs), b"HTTP/1.1")


def begin(plan: Plan) -> tuple[Down, Exchange]:
    down = Down()
    return down, Exchange(down, Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http"), plan, Relays(), 1000)


def answer_head(status: int = 200) -> ResponseHead:
    return ResponseHead(status, b"", fields_of([]))


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
