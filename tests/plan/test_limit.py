"""How many requests pass, which wait for their turn, and what is given back."""

from vestibule.contract import Plan
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.net.reactor import Reactor
from vestibule.plan.expr import Const
from vestibule.plan.steps.limit import Accounts, ConcurrencyLimit, Counts, Outcome, RateLimit
from vestibule.plan.variables import Arg

from .fakes import FakeStream, FakeUpstream, answer_of, request, respond

HOUR_MS = 3_600_000


def ask(step: RateLimit | ConcurrencyLimit, key: str = "a") -> tuple[Exchange, FakeStream, FakeUpstream]:
    up = FakeUpstream()
    ex, down = request(Plan("p", up, [step]), f"/?key={key}")
    return ex, down, up


def test_more_than_a_period_allows_is_refused(reactor: Reactor) -> None:
    step = RateLimit(reactor, Arg(b"key"), Accounts(10), 1, HOUR_MS, 1, -1, 429)
    for _ in range(2):
        assert ask(step)[2].exchange is not None
    _, down, up = ask(step)
    assert up.exchange is None and answer_of(down).status == 429
    assert ask(step, "b")[2].exchange is not None, "another key has its own account"
    assert ask(step, "")[2].exchange is not None, "what has no key is not counted"


def test_what_goes_beyond_waits_for_its_turn(reactor: Reactor) -> None:
    step = RateLimit(reactor, Arg(b"key"), Accounts(10), 1, 60_000, 5, 0, 429)
    assert ask(step)[2].exchange is not None
    _, _, up = ask(step)
    left, _, gone = ask(step)
    assert up.exchange is None and gone.exchange is None
    reactor.turn(0)
    left.hang_up(Fault(CLIENT_GONE))
    reactor.ahead_ms += 61_000
    for _ in range(3):
        reactor.turn(0)
    assert up.exchange is not None
    reactor.ahead_ms += 120_000
    for _ in range(3):
        reactor.turn(0)
    assert gone.exchange is None, "who has left does not go on"


def test_accounts_are_bounded_and_the_oldest_is_forgotten(reactor: Reactor) -> None:
    accounts = Accounts(2)
    step = RateLimit(reactor, Arg(b"key"), accounts, 1, HOUR_MS, 0, -1, 429)
    for key in ("a", "b", "c"):
        assert ask(step, key)[2].exchange is not None
    assert len(accounts) == 2
    assert ask(step, "a")[2].exchange is not None
    assert ask(step, "c")[2].exchange is None
    accounts.close()
    assert len(accounts) == 0


def test_so_many_at_a_time() -> None:
    counts = Counts()
    step = ConcurrencyLimit(Arg(b"key"), counts, 2, 503)
    first, second = ask(step), ask(step)
    _, down, up = ask(step)
    assert up.exchange is None and answer_of(down).status == 503
    assert ask(step, "")[2].exchange is not None
    respond(first[0], 200)
    assert counts.now == {b"a": 1}
    assert ask(step)[2].exchange is not None
    second[0].hang_up(Fault(CLIENT_GONE))
    counts.close()
    assert counts.now == {b"a": 1}, "those under way give back what they took"


def test_a_long_key_counts_by_its_beginning() -> None:
    counts = Counts()
    for end in (b"x", b"y"):
        request(Plan("p", FakeUpstream(), [ConcurrencyLimit(Const(b"k" * 256 + end), counts, 5, 503)]))
    assert counts.now == {b"k" * 256: 2}


def outcome_of(step: RateLimit | ConcurrencyLimit, key: str = "a") -> tuple[bytes | None, bool]:
    """Return what was kept of a request, and whether it went on."""
    ex, _, up = ask(step, key)
    return ex.kept.get(b"as") if ex.kept is not None else None, up.exchange is not None


def test_what_became_of_requests_is_kept(reactor: Reactor) -> None:
    step = RateLimit(reactor, Arg(b"key"), Accounts(10), 1, HOUR_MS, 2, 1, 429, Outcome(b"as", False))
    assert [outcome_of(step) for _ in range(4)] == [(b"PASSED", True), (b"PASSED", True), (b"DELAYED", False), (b"REJECTED", False)]
    assert outcome_of(step, "") == (None, True)


def test_a_trial_holds_nobody_up(reactor: Reactor) -> None:
    step = RateLimit(reactor, Arg(b"key"), Accounts(10), 1, HOUR_MS, 1, 0, 429, Outcome(b"as", True))
    wanted = [b"PASSED", b"DELAYED_DRY_RUN", b"REJECTED_DRY_RUN"]
    assert [outcome_of(step) for _ in range(3)] == [(each, True) for each in wanted]
    at_a_time = ConcurrencyLimit(Arg(b"key"), Counts(), 1, 503, Outcome(b"as", True))
    assert [outcome_of(at_a_time) for _ in range(2)] == [(b"PASSED", True), (b"REJECTED_DRY_RUN", True)]


def test_of_several_limits_the_one_that_holds_up_tells(reactor: Reactor) -> None:
    trial = RateLimit(reactor, Const(b"a"), Accounts(10), 1, HOUR_MS, 0, 0, 429, Outcome(b"as", True, b"first"))
    other = ConcurrencyLimit(Const(b"a"), Counts(), 9, 503, Outcome(b"as", True))
    kept = [request(Plan("p", FakeUpstream(), [trial, other]), "/")[0].kept for _ in range(2)]
    assert kept == [{b"as": b"PASSED"}, {b"as": b"REJECTED_DRY_RUN", b"as zone": b"first", b"as excess": b"0.999"}]
