"""What a side, a source and an error's plan do where nobody says otherwise."""

import pytest

from tests.cast import answer_head, begin
from tests.conformance.stream import Spy
from vestibule.contract import UP, Around, Attempt, Chosen, Client, ErrorPlan, PlainPage, Plan, Relays, Source, Step, Stream, Timeouts
from vestibule.fault import UPSTREAM_LOST, Fault
from vestibule.http.fields import EMPTY


class Passed(Spy):
    """Says yes to everything, and writes it down."""

    def relayed(self, count: int) -> None:
        self._note(f"relayed {count}")

    def refuse_rest(self) -> None:
        self._note("refuse_rest")

    def relay_left(self) -> int:
        return 5

    def open_tunnel(self) -> bool:
        return True

    def takes_rest(self) -> bool:
        return True


def client() -> Client:
    return Client(b"192.0.2.1", 50_000, b"192.0.2.2", 443, b"https")


def test_clients_are_numbered_and_forget_what_only_saves_work() -> None:
    first, second = client(), client()
    assert second.number == first.number + 1
    first.memo_step, first.memo_from, first.memo_to = Step(), EMPTY, EMPTY
    first.forget()
    left: list[object] = [first.memo_step, first.memo_from, first.memo_to]
    assert left == [None, None, None]
    assert first.own_certificate() == b""


def test_a_stream_can_nothing_beyond_its_bytes() -> None:
    stream = Stream()
    assert stream.relay_port() is None and stream.secured() is None
    assert stream.relay_left() == 0
    assert not stream.open_tunnel() and not stream.takes_rest()
    stream.relayed(7)
    stream.refuse_rest()
    assert stream.relay_left() == 0


def test_a_stream_around_another_passes_everything_but_relays() -> None:
    inner = Passed()
    outer = Around(inner)
    head = answer_head()
    assert outer.send_head(head, False) and outer.send_body(b"a", False) and outer.send_trailers(EMPTY)
    outer.pause()
    outer.resume()
    outer.abort(Fault(UPSTREAM_LOST, "x"))
    outer.release()
    outer.relayed(3)
    outer.refuse_rest()
    assert inner.calls == ["head", "body", "trailers", "end", "pause", "resume", "abort", "release", "relayed 3", "refuse_rest"]
    assert outer.relay_left() == 5 and outer.open_tunnel() and outer.takes_rest() and outer.secured() is None
    assert outer.relay_port() is None


def test_a_source_tries_nothing_again_and_a_choice_looks_at_no_answer() -> None:
    source, chosen = Source(), Chosen()
    _down, ex = begin(Plan("p", source))
    assert not source.retry(ex, Fault(UPSTREAM_LOST, "gone"))
    source.cancel(ex)
    assert not chosen.on_answer(ex, answer_head(503))
    assert (chosen.watches, chosen.token, chosen.address, chosen.counts) == (False, b"", b"", None)
    assert ex.response is None and ex.fault is None


def test_nothing_goes_past_an_exchange_where_nobody_relays() -> None:
    relays = Relays()
    _down, ex = begin(Plan("p", Source()), relays)
    assert not relays.try_body(ex, UP) and not relays.open_tunnel(ex)
    relays.stop(ex)
    assert ex.response is None


def test_the_plain_page_says_what_failed() -> None:
    down, ex = begin(Plan("p", Source()))
    PlainPage().answer(ex, Fault(UPSTREAM_LOST, "an address that is nobody's business"))
    assert down.statuses == [502]
    assert bytes(down.got) == f"502: {UPSTREAM_LOST.text}\n".encode()


def test_an_attempt_is_what_it_was_told() -> None:
    attempt = Attempt(b"192.0.2.3:80", 502, 1, 2, 3, True)
    assert (attempt.address, attempt.status, attempt.connect_ms, attempt.head_ms, attempt.took_ms) == (b"192.0.2.3:80", 502, 1, 2, 3)
    assert attempt.last


def plan(*errors: ErrorPlan) -> Plan:
    return Plan("p", Source(), errors=list(errors))


@pytest.mark.parametrize(
    ("statuses", "upstream", "least", "answer", "own"),
    [
        ((404, 502), False, 400, [], [404, 502]),
        ((404, 502), True, 400, [404, 502], [404, 502]),
        ((), False, 500, [], [500, 502, 599]),
        ((), True, 500, [500, 502, 599], [500, 502, 599]),
        ((200,), True, 400, [200], [200]),
    ],
)
def test_which_statuses_a_plan_for_errors_takes(
    statuses: tuple[int, ...], upstream: bool, least: int, answer: list[int], own: list[int]
) -> None:
    made = ErrorPlan(plan(), statuses, 0, upstream, least=least)
    asked = [200, 404, 500, 502, 599]
    assert [status for status in asked if made.takes(status, True)] == answer
    assert [status for status in asked if made.takes(status, False)] == own
    assert plan(made).replaces_from == (min(answer) if answer else 1000), "an answer below is never looked at"
    assert plan().replaces_from == 1000


def test_plans_take_their_lists_as_they_are_and_share_those_that_are_empty() -> None:
    steps = [Step()]
    made, other = Plan("p", Source(), request=steps), Plan("q", Source(), log=[])
    assert made.request is steps and made.body_most == -1 and made.timeouts is None
    assert made.log is other.log and made.errors is other.errors and made.filters is other.filters and made.response is other.request


def test_time_outs_are_what_immich_needs_unless_said_otherwise() -> None:
    assert Timeouts().body_idle_ms == 600_000
