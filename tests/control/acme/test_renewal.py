"""When certificates are renewed and failures tried again, at any hour a clock may show."""

import http.server
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.control.papers import Paper
from vestibule.control.acme import keeper, renewal, work
from vestibule.control.acme.client import RefusedError, Session, retry_time
from vestibule.control.acme.records import Record, Story
from vestibule.control.acme.store import DirectoryStore
from vestibule.control.acme.wanted import Issuer, Wanted
from vestibule.control.certs import Facts
from vestibule.link.messages import KeyPair

DAY = 86_400.0
START = datetime(2026, 1, 1, tzinfo=UTC)
T0 = START.timestamp()


def facts(days: int = 90) -> Facts:
    return Facts("id", "", ("a.example",), "", START, START + timedelta(days=days), False)


def test_what_is_not_there_is_due() -> None:
    assert renewal.is_due(None, Story(), T0)


@pytest.mark.parametrize(("day", "due"), [(0, False), (50, False), (59, False), (61, True), (89, True), (100, True)])
def test_it_is_renewed_when_a_third_is_left(day: int, due: bool) -> None:
    assert renewal.is_due(facts(), Story(), T0 + day * DAY) is due


def test_chance_spreads_renewals_over_three_days() -> None:
    times = {renewal.after_success("one", facts(), T0).renew_at for _ in range(200)}
    assert min(times) >= T0 + 57 * DAY
    assert max(times) <= T0 + 60 * DAY
    assert max(times) - min(times) > DAY


def test_a_decided_time_holds_but_not_past_the_last_sixth() -> None:
    assert renewal.renewal_time(facts(), Story(renew_at=T0 + 10 * DAY)) == T0 + 10 * DAY
    assert renewal.renewal_time(facts(), Story(renew_at=T0 + 1_000 * DAY)) == T0 + 75 * DAY


def test_waits_grow_and_stay_below_the_limit_of_failed_validations() -> None:
    story, now, tries = Story(), T0, []
    for _ in range(12):
        story = renewal.after_failure(story, "because", None, now)
        tries.append(now)
        now = story.next_try_at
    waits = [b - a for a, b in itertools.pairwise(tries)]
    assert waits[-1] > 10 * 3_600
    assert all(wait < DAY for wait in waits)
    # Let's Encrypt: five failed validations of a name in an hour.
    assert max(len([each for each in tries if start <= each < start + 3_600]) for start in tries) <= 4


def test_a_retry_after_is_a_lower_bound() -> None:
    refused = RefusedError("rateLimited", "", T0 + 5 * 3_600)
    assert renewal.after_failure(Story(), "", refused, T0).next_try_at == T0 + 5 * 3_600
    assert renewal.after_failure(Story(failures=9), "", refused, T0).next_try_at > T0 + 9 * 3_600
    # Nobody waits for ever.
    never = RefusedError("rateLimited", "", T0 + 10_000 * DAY)
    assert renewal.after_failure(Story(), "", never, T0).next_try_at == T0 + renewal.LONGEST_S


def test_nothing_is_tried_before_its_time_also_after_a_restart() -> None:
    story = renewal.after_failure(Story(), "", None, T0)
    assert not renewal.is_due(None, story, T0 + 10)
    assert renewal.is_due(None, story, T0 + 100)
    assert renewal.is_due(None, replace(story, forced=True), T0 + 10)


def test_a_time_written_by_a_clock_in_the_future_does_not_stop_renewals() -> None:
    story = renewal.after_failure(Story(), "", None, T0 + 3_650 * DAY)
    assert renewal.is_due(None, story, T0)


def test_a_clock_before_the_certificate_orders_nothing() -> None:
    """A machine without a battery wakes up in 1970."""
    assert renewal.is_clock_wrong(facts(), 0.0)
    assert not renewal.is_due(facts(), Story(renew_at=1.0), 0.0)
    assert not renewal.is_clock_wrong(facts(), T0 - 1_800)


def test_advice_is_asked_for_when_it_is_time() -> None:
    assert renewal.wants_advice(Story(), facts(), T0)
    assert not renewal.wants_advice(Story(ask_again_at=T0 + 60), facts(), T0)
    # Written by a clock in the future.
    assert renewal.wants_advice(Story(ask_again_at=T0 + 100 * DAY), facts(), T0)
    # RFC 9773 section 4.3: not after the end.
    assert not renewal.wants_advice(Story(), facts(), T0 + 91 * DAY)


def test_retry_after_in_both_forms() -> None:
    assert abs(retry_time("120") - datetime.now(UTC).timestamp() - 120) < 5
    assert retry_time("Thu, 01 Jan 2026 00:00:00 GMT") == T0
    assert retry_time("") == retry_time("soon") == 0.0


def test_the_identifier_of_a_certificate_is_that_of_the_rfc() -> None:
    """RFC 9773 section 4.1 and appendix A: the serial number keeps its leading zero."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    identifier = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4".lower())
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(0x8765432100000000).not_valid_before(START).not_valid_after(START + timedelta(days=1))
    authority = x509.AuthorityKeyIdentifier(identifier, None, None)
    made = builder.add_extension(authority, critical=False).sign(key, SHA256())
    from vestibule.control.certs import pem_of

    assert renewal.certificate_id(pem_of([made])) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyEAAAAA"
    assert renewal.certificate_id(Paper("x").pem) == ""


# ---------------------------------------------------------------- an issuer with advice


class Advisor:
    """A directory with renewal information, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.info: object = {}
        self.retry_after = ""
        self.status = 200
        self.meanwhile: Callable[[], object] = lambda: None
        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if self.path != "/dir":
                    outer.meanwhile()
                base = f"http://127.0.0.1:{self.server.server_address[1]}"  # type: ignore[index,str-bytes-safe]
                resources = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo")
                names = {name: f"{base}/{name}" for name in resources}
                body = json.dumps(names if self.path == "/dir" else outer.info).encode()
                self.send_response(200 if self.path == "/dir" else outer.status)
                self.send_header("Content-Type", "application/json")
                if outer.retry_after and self.path != "/dir":
                    self.send_header("Retry-After", outer.retry_after)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.issuer = Issuer("advisor", f"http://127.0.0.1:{self.server.server_address[1]}/dir")
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()


@pytest.fixture
def advisor() -> Iterator[Advisor]:
    made = Advisor()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join(10)


def window(start: datetime, hours: float = 24) -> dict[str, object]:
    return {"suggestedWindow": {"start": start.isoformat(), "end": (start + timedelta(hours=hours)).isoformat()}}


def chain() -> str:
    return Paper("a.example", Paper("CA")).pem


def advise(advisor: Advisor, store: DirectoryStore, story: Story, now: float) -> Story:
    session = Session(advisor.issuer, store)
    try:
        return renewal.take_advice(session, chain(), story, now)
    finally:
        session.close()


def test_a_moment_in_the_window_is_picked_and_kept(advisor: Advisor, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    now = datetime.now(UTC)
    advisor.info = window(now + timedelta(days=3)) | {"explanationURL": "https://issuer.example/why"}
    advisor.retry_after = "3600"
    story = advise(advisor, store, Story(renew_at=1.0), now.timestamp())
    assert 3 * DAY <= story.renew_at - now.timestamp() <= 4 * DAY
    assert abs(story.ask_again_at - now.timestamp() - 3_600) < 60
    assert story.explanation == "https://issuer.example/why"
    again = advise(advisor, store, story, now.timestamp())
    assert again.renew_at == story.renew_at
    # The issuer must revoke it soon.
    advisor.info = window(now - timedelta(days=2))
    assert advise(advisor, store, story, now.timestamp()).renew_at < now.timestamp()


@pytest.mark.parametrize(
    "info", [{}, [], {"suggestedWindow": {}}, {"suggestedWindow": {"start": "soon", "end": "later"}}, {"suggestedWindow": 1}]
)
def test_advice_that_makes_no_sense_changes_nothing(advisor: Advisor, tmp_path: Path, info: object) -> None:
    advisor.info = info if isinstance(info, dict) else {"suggestedWindow": info}
    assert advise(advisor, DirectoryStore(tmp_path), Story(renew_at=7.0), T0).renew_at == 7.0


def test_an_issuer_in_trouble_is_asked_later(advisor: Advisor, tmp_path: Path) -> None:
    advisor.status = 503
    story = advise(advisor, DirectoryStore(tmp_path), Story(renew_at=7.0), T0)
    assert (story.renew_at, story.ask_again_at) == (7.0, T0 + 6 * 3_600)


def test_how_often_to_ask_stays_within_a_minute_and_a_day(advisor: Advisor, tmp_path: Path) -> None:
    now = datetime.now(UTC).timestamp()
    for said, least, most in (("1", 60, 60), ("999999", DAY, DAY)):
        advisor.retry_after = said
        story = advise(advisor, DirectoryStore(tmp_path), Story(), now)
        assert least <= story.ask_again_at - now <= most


def test_advice_is_written_down(advisor: Advisor, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    authority = Paper("CA")
    paper = Paper("a.example", authority)
    record = Record(store, "id")
    record.keep_pair(KeyPair(paper.pem, paper.key_pem()))
    record.keep_story(Story(issuer="advisor", issued_at=5.0))
    advisor.info = window(datetime.now(UTC) - timedelta(days=2))
    wanted = Wanted("id", ("a.example",), ("site",), (advisor.issuer,), "ecdsa", {}, {})
    work.advise(store, wanted)
    assert renewal.is_due(record.facts(), record.story(), datetime.now(UTC).timestamp())
    asked = len(advisor.asked)
    work.advise(store, wanted)
    assert len(advisor.asked) == asked


def test_a_renewal_somebody_asked_for_while_the_issuer_was_asked_for_advice_stands(advisor: Advisor, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    paper = Paper("a.example", Paper("CA"))
    record = Record(store, "id")
    record.keep_pair(KeyPair(paper.pem, paper.key_pem()))
    record.keep_story(Story(issuer="advisor", issued_at=5.0))
    advisor.info = window(datetime.now(UTC) + timedelta(days=3))
    advisor.meanwhile = lambda: keeper.force(store, "id")
    work.advise(store, Wanted("id", ("a.example",), ("site",), (advisor.issuer,), "ecdsa", {}, {}))
    story = record.story()
    assert story.forced
    assert story.renew_at > T0, "the advice was taken, too"


def test_who_asks_for_a_renewal_takes_back_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written meanwhile by who has the lock is not overwritten with what was there before."""
    monkeypatch.setattr(keeper, "FORCE_S", 30.0)
    was_read = threading.Event()

    class Watched(DirectoryStore):
        def read(self, key: str) -> bytes | None:
            was_read.set()
            return super().read(key)

    store = Watched(tmp_path)
    record = Record(store, "id")
    with store.lock("id", 1):
        asking = threading.Thread(target=keeper.force, args=(store, "id"))
        asking.start()
        assert not was_read.wait(0.2)
        record.keep_story(Story(issuer="advisor", issued_at=5.0))
    asking.join(30)
    assert (record.story().forced, record.story().issued_at) == (True, 5.0)


def test_a_renewal_may_be_asked_for_while_an_order_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FORCE_S", 0.0)
    store = DirectoryStore(tmp_path)
    with store.lock("id", 1):
        keeper.force(store, "id")
    assert Record(store, "id").story().forced
