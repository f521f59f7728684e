"""Which names get a certificate on demand: permission, rates, bounds, renewal. The issuer is a stand-in; `e2e/test_acme.py` has another."""

import asyncio
import http.server
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.control.papers import Paper
from vestibule.control.acme import demand as module
from vestibule.control.acme import keeper as keeping
from vestibule.control.acme.demand import Demand
from vestibule.control.acme.keeper import Keeper
from vestibule.control.acme.records import Record, Story, facts_of
from vestibule.control.acme.store import DirectoryStore, Store
from vestibule.control.acme.wanted import Wanted, wishes_of
from vestibule.control.acme.work import Result
from vestibule.control.logs import ErrorLog
from vestibule.dialects.toml.parse import parse
from vestibule.link.messages import KeyPair

WAIT_S = 10.0


class Endpoint:
    """Says which names may have certificates."""

    def __init__(self) -> None:
        self.allowed: set[str] = set()
        self.asked: list[str] = []
        self.pause_s = 0.0
        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                (name,) = parse_qs(urlsplit(self.path).query)["domain"]
                outer.asked.append(name)
                time.sleep(outer.pause_s)
                self.send_response(200 if name in outer.allowed else 403)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/may?x=1"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


class Rig:
    def __init__(self, folder: Path, endpoint: Endpoint, more: str) -> None:
        self.endpoint = endpoint
        self.store = DirectoryStore(folder / "acme")
        self.pairs: dict[str, KeyPair] = {}
        self.refused: list[tuple[str, int]] = []
        self.ordered: list[str] = []
        self.fails = False
        self.days = 90
        journal = ErrorLog(folder)
        journal.open_target(str(folder / "error.log"), "debug")
        self.keeper = Keeper(self.store, journal, self._nothing, self._nothing)
        self.demand = Demand(self.store, journal, self.keeper, self._tell)
        self.configure(folder, more)

    def configure(self, folder: Path, more: str = "") -> None:
        text = (
            f'[acme.on_demand]\nask = "{self.endpoint.url}"\n{more}\n[sites."*.example.org"]\ntls = "on_demand"\n'
            'listen = "https://127.0.0.1:1"\nto = "http://127.0.0.1:2"\n'
        )
        loaded = parse("v.toml", text)
        assert loaded.config is not None, loaded.diagnostics
        self.demand.want(wishes_of(loaded.config, folder).demanded)

    async def _nothing(self, *_: object) -> None:
        """No worker is there."""

    def _tell(self, pairs: dict[str, KeyPair], refused_ms: dict[str, int]) -> None:
        self.pairs |= pairs
        self.refused += refused_ms.items()

    def issue(self, store: Store, wanted: Wanted, prover: object, *, tell: Callable[[str], None]) -> Result:
        """Stand in for an issuer."""
        self.ordered += wanted.names
        record = Record(store, wanted.id)
        if self.fails:
            record.keep_story(Story(failures=1, next_try_at=time.time() + 600, reason="no way"))
            return Result(reasons=("no way",), next_try_at=time.time() + 600)
        paper = Paper(wanted.names[0], days=self.days, begins=-30)
        pair = KeyPair(paper.pem, paper.key_pem())
        record.keep_pair(pair)
        record.keep_story(Story(issuer="test", issued_at=time.time()))
        return Result(pair, facts_of(wanted.id, pair), "test", is_fresh=True)

    async def settled(self) -> None:
        end = time.monotonic() + WAIT_S
        while self.demand._pending and time.monotonic() < end:
            await asyncio.sleep(0.01)
        assert not self.demand._pending

    async def ask(self, *names: str) -> None:
        for name in names:
            self.demand.asked(name)
        await self.settled()


Play = Callable[[Rig], Coroutine[Any, Any, None]]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    endpoint = Endpoint()

    def run(play: Play, more: str = "") -> None:
        async def go() -> None:
            rig = Rig(tmp_path, endpoint, more)
            monkeypatch.setattr(keeping, "try_once", rig.issue)
            try:
                await play(rig)
            finally:
                rig.demand.close()
                rig.keeper.close()

        asyncio.run(go())

    yield run
    endpoint.close()


def test_a_name_that_may_have_one_gets_one_and_others_get_none(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        rig.endpoint.allowed = {"a.example.org"}
        await rig.ask("a.example.org", "b.example.org", "c.example.net", "a.example.org")
        assert list(rig.pairs) == ["a.example.org"]
        assert rig.ordered == ["a.example.org"]
        assert sorted(rig.endpoint.asked) == ["a.example.org", "b.example.org"]
        assert sorted(name for name, _ in rig.refused) == ["b.example.org", "c.example.net"]
        # A no holds for a while, and what is kept needs no question.
        await rig.ask("b.example.org", "a.example.org")
        assert len(rig.endpoint.asked) == 2
        (row,) = rig.demand.report()["refused"]  # type: ignore[misc]
        assert row["name"] == "b.example.org"
        assert "does not allow it (403)" in row["reason"]

    stage(play)


def test_what_is_kept_serves_after_a_restart_without_a_question(stage: Callable[..., None]) -> None:
    async def first(rig: Rig) -> None:
        rig.endpoint.allowed = {"a.example.org"}
        await rig.ask("a.example.org")

    async def second(rig: Rig) -> None:
        await rig.ask("a.example.org")
        assert list(rig.pairs) == ["a.example.org"]
        assert rig.ordered == []
        assert rig.endpoint.asked == ["a.example.org"]

    stage(first)
    stage(second)


def test_orders_are_bounded_in_rate(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        rig.endpoint.allowed = {f"{at}.example.org" for at in range(4)}
        await rig.ask(*sorted(rig.endpoint.allowed))
        assert len(rig.ordered) == 2
        assert len(rig.refused) == 2
        assert all(0 < refused_ms <= 60_001 for _, refused_ms in rig.refused)

    stage(play, 'orders = 2\nper = "50s"')


def test_names_are_bounded(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        rig.endpoint.allowed = {f"{at}.example.org" for at in range(3)}
        for name in sorted(rig.endpoint.allowed):
            await rig.ask(name)
        assert rig.ordered == ["0.example.org", "1.example.org"]
        assert [name for name, _ in rig.refused] == ["2.example.org"]

    stage(play, "names = 2")


def test_names_worked_on_are_bounded(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_MOST", 3)

    async def play(rig: Rig) -> None:
        await rig.ask(*[f"{at}.example.org" for at in range(5)])
        assert sorted(rig.endpoint.asked) == ["0.example.org", "1.example.org", "2.example.org"]
        assert [each for each in rig.refused[:2] if each[1] < 5_000] == rig.refused[:2]

    stage(play)


def test_questions_are_bounded_in_rate(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASKS_MOST", 2)

    async def play(rig: Rig) -> None:
        await rig.ask(*[f"{at}.example.org" for at in range(5)])
        assert len(rig.endpoint.asked) == 2
        assert len(rig.refused) == 5

    stage(play)


def test_an_endpoint_that_does_not_answer_is_a_no(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        rig.endpoint.allowed = {"a.example.org"}
        rig.endpoint.pause_s = 4.0
        began = time.monotonic()
        await rig.ask("a.example.org")
        assert time.monotonic() - began < 4.0
        assert (rig.ordered, len(rig.refused)) == ([], 1)
        (row,) = rig.demand.report()["refused"]  # type: ignore[misc]
        assert "did not say whether" in row["reason"]

    stage(play, 'ask_within = "200ms"')


def test_a_failed_order_is_not_repeated_at_once_nor_after_a_reload(stage: Callable[..., None], tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        rig.endpoint.allowed = {"a.example.org"}
        rig.fails = True
        await rig.ask("a.example.org")
        rig.configure(tmp_path)
        await rig.ask("a.example.org")
        assert rig.ordered == ["a.example.org"]
        (row,) = rig.demand.report()["refused"]  # type: ignore[misc]
        assert "too early for another: no way" in row["reason"]
        # By hand it is tried again.
        rig.fails = False
        assert await rig.demand.renew("a.example.org") == ["a.example.org"]
        await rig.ask("a.example.org")
        assert rig.ordered == ["a.example.org"] * 2
        assert await rig.demand.renew("a.example.net") == []

    stage(play)


def test_names_are_renewed_in_turn_while_they_may_be(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PASS_S", 0.01)

    async def play(rig: Rig) -> None:
        rig.endpoint.allowed = {"a.example.org", "b.example.org"}
        rig.days = 1  # due at once, and not over
        await rig.ask("a.example.org", "b.example.org")
        rig.endpoint.allowed = {"a.example.org"}
        rig.days = 90
        before = dict(rig.pairs)
        task = asyncio.create_task(rig.demand.run())
        end = time.monotonic() + WAIT_S
        while rig.pairs["a.example.org"] is before["a.example.org"] and time.monotonic() < end:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        assert rig.pairs["a.example.org"] is not before["a.example.org"]
        assert rig.pairs["b.example.org"] is before["b.example.org"], "it keeps the one it has"
        assert rig.ordered.count("a.example.org") == 2
        assert rig.ordered.count("b.example.org") == 1

    stage(play)


def test_whatever_happens_the_workers_hear_something(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        rig.endpoint.allowed = {"a.example.org", "b.example.org"}

        async def fail(wanted: Wanted) -> Result:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patched:
            patched.setattr(rig.keeper, "obtain", fail)
            await rig.ask("a.example.org")
        assert [name for name, _ in rig.refused] == ["a.example.org"]
        # A reload takes the site away while the endpoint thinks.
        rig.endpoint.pause_s = 0.2
        rig.demand.asked("b.example.org")
        await asyncio.sleep(0.05)
        rig.demand.want(None)
        await rig.settled()
        assert "b.example.org" in rig.pairs or "b.example.org" in [name for name, _ in rig.refused]

    stage(play)


def test_one_that_has_ended_is_ordered_anew(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        rig.endpoint.allowed = {"a.example.org"}
        rig.days = -1
        await rig.ask("a.example.org")
        rig.days = 90
        await rig.ask("a.example.org")
        assert rig.ordered == ["a.example.org"] * 2

    stage(play)


def test_a_reload_that_serves_no_such_names_refuses_them(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        rig.endpoint.allowed = {"a.example.org"}
        rig.demand.want(None)
        await rig.ask("a.example.org")
        assert (rig.ordered, [name for name, _ in rig.refused]) == ([], ["a.example.org"])
        assert rig.demand.report() == {}

    stage(play)
