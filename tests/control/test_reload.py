"""Generations with real processes that speak the link: all or nothing, deaths, ends."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from vestibule.control import supervisor as supervisor_module
from vestibule.control.acme.store import DirectoryStore
from vestibule.control.authority import LocalAuthority
from vestibule.control.listeners import Listeners
from vestibule.control.logs import AccessLogFiles, ErrorLog
from vestibule.control.process import Account
from vestibule.control.reload import Parts, Reloader, worker_count
from vestibule.control.resolver import Lookup, Resolver
from vestibule.control.source import ConfigFile
from vestibule.control.supervisor import Supervisor
from vestibule.model.config import Config

from .papers import Paper, write

FAKE = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]


def text(*, site: str = "a", workers: int = 2, listen: str = "127.0.0.1:0", more: str = "") -> str:
    return f"""
        [process]
        workers = {workers}
        [listeners.web]
        address = "{listen}"
        [sites.{site}]
        hosts = ["*"]
        listen = ["web"]
        to = "http://127.0.0.1:9"
        {more}
    """


class Rig:
    """A control process's inner parts in this process, with fake workers."""

    def __init__(self, base: Path, command: list[str], lookup: Lookup, account: Account) -> None:
        self.base = base
        self.file = base / "vestibule.toml"
        journal = ErrorLog(base)
        journal.open_target("error.log", "info")
        self.supervisor = Supervisor(journal, command, account)
        self.listeners = Listeners(base, {})
        self.resolver = Resolver(journal, self.supervisor.tell_addresses, lookup)
        self.source = ConfigFile(str(self.file))
        parts = Parts(
            journal=journal,
            access_logs=AccessLogFiles(base),
            listeners=self.listeners,
            resolver=self.resolver,
            authority=LocalAuthority(base / "state"),
            store=DirectoryStore(base / "state" / "acme"),
            supervisor=self.supervisor,
        )
        self.reloader = Reloader(self.source, parts)

    def write(self, config: str) -> None:
        self.file.write_text(config + '\n[error_log]\ntarget = "error.log"\n')

    async def start(self, config: str) -> None:
        self.write(config)
        outcome = await self.reloader.start(self.source.read())
        assert outcome.reasons == []

    async def reload(self, config: str) -> list[str]:
        self.write(config)
        return (await self.reloader.reload()).reasons

    async def workers(self) -> list[dict[str, Any]]:
        return await self.supervisor.status()

    async def pids(self) -> list[int]:
        return [row["pid"] for row in await self.workers()]

    def ask(self, path: str = "/") -> dict[str, Any]:
        return dict(json.loads(self.say(path)))

    def say(self, path: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.listeners.current.port("web")), 20) as sock:
            sock.sendall(f"GET {path}".encode())
            return sock.recv(1000)

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (self.base / "error.log").read_text().splitlines()]
        return [each for each in lines if each["kind"] == kind]

    async def end(self) -> None:
        hurry = asyncio.Event()
        hurry.set()
        await self.supervisor.stop(0, hurry)
        self.resolver.keep(set())
        self.listeners.close()


Play = Callable[[Rig], Awaitable[None]]


def no_address(name: str) -> list[str]:
    raise OSError(f"{name} is not asked for here")


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., None]:
    """Run a play on a rig and clean up after it."""

    def run(play: Play, command: list[str] = FAKE, lookup: Lookup = no_address, account: Account | None = None) -> None:
        async def whole() -> None:
            rig = Rig(tmp_path, command, lookup, account or Account())
            try:
                await play(rig)
            finally:
                await rig.end()

        asyncio.run(asyncio.wait_for(whole(), 40))

    return run


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(500):
        if await true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come true within 10 s")


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


def open_descriptors() -> set[str]:
    """What this process holds open, each with its number; what other tests left to the collector may go at any time."""
    named = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            named.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return named


def test_start_and_reload_bring_every_worker_to_the_generation(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text())
        assert {(await in_thread(rig.ask))["generation"] for _ in range(8)} == {1}
        before = await rig.pids()
        assert await rig.reload(text()) == []
        assert [row["figures"]["generation"] for row in await rig.workers()] == [2, 2]
        assert await rig.pids() == before
        assert {(await in_thread(rig.ask))["generation"] for _ in range(8)} == {2}
        keys = {row["figures"]["ticket_key"] for row in await rig.workers()}
        assert len(keys) == 1

    stage(play)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("this is no TOML", "vestibule.toml:1"),
        (text(more="nonsense = 1"), "nonsense"),
        (text(more='cert = "missing.pem"'), "missing.pem does not exist"),
        (text(listen="192.0.2.1:80"), "listeners.web.address: error: 192.0.2.1:80: this machine has no such address"),
        (text(more='access_log = "missing/access.log"'), "missing/access.log cannot be opened"),
        (text(site="refuse"), "the site `refuse` is refused"),
        (text(site="refuse", more='access_log = "new.log"'), "the site `refuse` is refused"),
    ],
)
def test_a_refused_reload_changes_nothing(stage: Callable[..., None], config: str, reason: str) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text())
        await rig.workers()
        before, descriptors = await rig.pids(), open_descriptors()
        reasons = await rig.reload(config)
        assert len(reasons) == 1
        assert reason in reasons[0]
        assert rig.reloader.generation == 1
        assert (await in_thread(rig.ask))["generation"] == 1
        assert await rig.pids() == before
        assert open_descriptors() - descriptors == set()
        assert any(reason in each["message"] for each in rig.events("reload.refused"))
        assert await rig.reload(text()) == []
        assert (await in_thread(rig.ask))["generation"] == 3

    stage(play)


def test_what_commands_changed_is_over_with_the_next_reload(stage: Callable[..., None], tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text())
        path = tmp_path / "some.map"
        rig.source.changes.put(path, b"changed")
        warned = len(rig.events("config.warning"))
        assert await rig.reloader.change() == []
        assert len(rig.events("config.warning")) == warned, "each command would tell them again"
        assert rig.source.changes.find(path) == b"changed"
        assert await rig.reload("nonsense") != []
        assert rig.source.changes.find(path) == b"changed"
        assert await rig.reload(text()) == []
        assert rig.source.changes.find(path) is None

    stage(play)


@pytest.mark.parametrize("more", ['access_log = "missing/access.log"', ""])
def test_names_of_a_refused_configuration_are_looked_up_no_more(stage: Callable[..., None], more: str) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text())
        named = text(site="a" if more else "refuse", more=more).replace("http://127.0.0.1:9", "http://inner.example")
        assert await rig.reload(named)
        assert rig.resolver.report() == {}

    stage(play)


def test_a_worker_that_dies_of_a_configuration_stops_the_reload(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text())
        reasons = await rig.reload(text(site="die"))
        assert len(reasons) == 2
        assert all("died while it prepared: exit status 7" in each for each in reasons)

        async def served() -> bool:
            rows = await rig.workers()
            return [row.get("figures", {}).get("generation") for row in rows] == [1, 1]

        await until(served)

    stage(play)


def test_a_worker_that_does_not_answer_stops_the_reload(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "ANSWER_S", 0.3)

    async def play(rig: Rig) -> None:
        monkeypatch.setattr(supervisor_module, "ANSWER_S", 20.0)
        await rig.start(text(workers=1))
        monkeypatch.setattr(supervisor_module, "ANSWER_S", 0.3)
        assert await rig.reload(text(site="deaf", workers=1)) == ["worker 0 did not answer within 0 s"]
        assert (await in_thread(rig.ask))["generation"] == 1

    stage(play)


def test_a_killed_worker_is_replaced_and_its_queue_is_served(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1))
        (old,) = await rig.pids()
        os.kill(old, signal.SIGSTOP)
        waiting = [asyncio.create_task(in_thread(rig.ask)) for _ in range(5)]
        await asyncio.sleep(0.1)
        os.kill(old, signal.SIGKILL)
        answers = await asyncio.gather(*waiting)
        assert len({each["pid"] for each in answers} | {old}) == 2
        assert {each["generation"] for each in answers} == {1}
        (row,) = await rig.workers()
        assert row["replaced"] == 1
        (event,) = rig.events("worker.died")
        assert event["how"] == "killed by SIGKILL"
        assert event["pid"] == old

    stage(play)


def test_a_worker_that_ends_by_itself_is_told_with_its_status(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1))
        assert await in_thread(lambda: rig.say("/die")) == b""

        async def told() -> bool:
            return [each["how"] for each in rig.events("worker.died")] == ["exit status 3"]

        await until(told)
        assert [each["message"] for each in rig.events("fake.last")] == ["last words"]
        assert (await in_thread(rig.ask))["generation"] == 1

    stage(play)


def test_one_that_dies_again_and_again_waits_longer_each_time(stage: Callable[..., None], tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1))
        # From now on every start fails.
        rig.supervisor._command[:] = [sys.executable, "-c", "import sys; sys.exit(9)"]
        os.kill((await rig.pids())[0], signal.SIGKILL)

        slot = rig.supervisor._slots[0]

        async def waits_longer() -> bool:
            left = slot.timer.when() - asyncio.get_running_loop().time() if slot.timer is not None else 0.0
            return slot.failures >= 4 and left > supervisor_module.FIRST_WAIT_S

        await until(waits_longer)
        assert len(rig.events("worker.died")) >= 4

    stage(play)


def test_more_and_fewer_workers(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1))
        (first,) = await rig.pids()
        assert await rig.reload(text(workers=3)) == []

        async def three() -> bool:
            rows = await rig.workers()
            return [row.get("figures", {}).get("generation") for row in rows] == [2, 2, 2]

        await until(three)
        assert (await rig.pids())[0] == first
        assert len({(await in_thread(rig.ask))["pid"] for _ in range(40)}) > 1
        assert await rig.reload(text(workers=1)) == []
        assert await rig.pids() == [first]
        assert {(await in_thread(rig.ask))["pid"] for _ in range(8)} == {first}
        assert rig.events("worker.died") == []
        # What one worker served beside another one is still served.
        assert await rig.reload(text(workers=2)) == []
        assert (await in_thread(rig.ask))["generation"] == 4

    stage(play)


def test_logs_are_passed_on_and_reopened(stage: Callable[..., None], tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1, more='access_log = "access.log"'))
        await in_thread(rig.ask)
        log = tmp_path / "access.log"
        log.rename(tmp_path / "access.log.1")
        await in_thread(rig.ask)
        assert await rig.reloader.reopen_logs() == []
        await in_thread(rig.ask)
        assert (tmp_path / "access.log.1").read_text() == "served\n" * 2
        assert log.read_text() == "served\n"
        os.kill((await rig.pids())[0], signal.SIGKILL)
        await in_thread(rig.ask)
        assert log.read_text() == "served\n" * 2

    stage(play)


def test_names_reach_the_workers_now_and_later(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vestibule.control.resolver.SHORT_S", 0.05)
    table = {"immich": ["10.0.0.1"]}

    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1).replace("127.0.0.1:9", "immich:9"))
        (row,) = await rig.workers()
        assert row["figures"]["addresses"] == {"immich": ["10.0.0.1"]}
        table["immich"] = ["10.0.0.2"]

        async def moved() -> bool:
            (row,) = await rig.workers()
            return bool(row["figures"]["addresses"] == {"immich": ["10.0.0.2"]})

        await until(moved)
        # A worker that comes later hears of it as well.
        os.kill((await rig.pids())[0], signal.SIGKILL)
        await in_thread(rig.ask)
        assert await moved()

    stage(play, lookup=lambda name: table[name])


def test_what_happens_while_workers_prepare_is_not_lost(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vestibule.control.resolver.SHORT_S", 0.05)
    table = {"immich": ["10.0.0.1"]}
    config = text().replace("127.0.0.1:9", "immich:9")

    async def play(rig: Rig) -> None:
        await rig.start(config)
        first, second = await rig.pids()
        # It has died before: the next one waits a little, and begins while the other one prepares.
        rig.supervisor._slots[0].failures = 4
        os.kill(first, signal.SIGKILL)
        os.kill(second, signal.SIGSTOP)

        async def died() -> bool:
            return rig.events("worker.died") != []

        await until(died)
        rig.write(config)
        reload = asyncio.create_task(rig.reloader.reload())

        async def preparing() -> bool:
            return rig.supervisor._answers is not None

        await until(preparing)
        slot = rig.supervisor._slots[0]
        assert slot.worker is None
        assert slot.timer is not None
        slot.timer.cancel()
        rig.supervisor._restart(slot)

        async def moved() -> bool:
            return rig.resolver.report() == {"immich": ["10.0.0.2"]}

        async def begun() -> bool:
            worker = rig.supervisor._slots[0].worker
            return worker is not None and worker.generation == 1

        await until(begun)
        table["immich"] = ["10.0.0.2"]
        await until(moved)
        assert not reload.done()
        os.kill(second, signal.SIGCONT)
        assert (await reload).reasons == []

        async def brought_along() -> bool:
            figures = [row.get("figures", {}) for row in await rig.workers()]
            return [(each.get("generation"), each.get("addresses")) for each in figures] == [(2, {"immich": ["10.0.0.2"]})] * 2

        await until(brought_along)
        assert rig.events("worker.refused") == []
        assert [each["pid"] for each in rig.events("worker.died")] == [first]

    stage(play, lookup=lambda name: table[name])


def test_changed_certificates_make_a_new_generation_of_the_same_configuration(stage: Callable[..., None], tmp_path: Path) -> None:
    old, new = Paper("a"), Paper("a")
    config = text(workers=1, more='cert = "cert.pem"\nkey = "key.pem"').replace("[sites", "tls = true\n[sites")

    async def play(rig: Rig) -> None:
        write(tmp_path / "cert.pem", old.pem)
        write(tmp_path / "key.pem", old.key_pem())
        await rig.start(config)
        assert (await rig.workers())[0]["figures"]["certificates"] == {"a": old.pem}
        write(tmp_path / "cert.pem", new.pem)
        refused = await rig.reloader.refresh("only half of it changed")
        assert "belongs to no certificate" in refused.reasons[0]
        write(tmp_path / "key.pem", new.key_pem())
        assert [rig.reloader.changed_files(), [path.name for path in rig.reloader.changed_files()]] == [[], ["cert.pem", "key.pem"]]
        assert (await rig.reloader.refresh("changed")).ok
        assert (await rig.workers())[0]["figures"]["certificates"] == {"a": new.pem}
        assert rig.reloader.is_due() == ""

    stage(play)


def test_internal_tls_comes_from_the_local_ca(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1, more='tls = "internal"').replace("[sites", "tls = true\n[sites").replace('"*"', '"localhost"'))
        (row,) = await rig.workers()
        assert list(row["figures"]["certificates"]) == ["internal:a"]
        assert "localhost" in rig.reloader.facts["internal:a"].names

    stage(play)


def test_a_leaf_of_the_local_ca_is_renewed_in_time(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        monkeypatch.setattr("vestibule.control.authority._BACKDATED", timedelta(days=5))
        await rig.start(text(workers=1, more='tls = "internal"').replace("[sites", "tls = true\n[sites").replace('"*"', '"localhost"'))
        first = (await rig.workers())[0]["figures"]["certificates"]["internal:a"]
        monkeypatch.undo()
        assert rig.reloader.is_due() == ""
        assert await rig.reloader.renew_internal() == ["a"]
        assert (await rig.workers())[0]["figures"]["certificates"]["internal:a"] != first
        assert rig.reloader.generation == 1, "connections are not disturbed for it"
        assert not rig.reloader.facts["internal:a"].is_due
        assert await rig.reloader.renew_internal() == []

    stage(play)


def test_a_leaf_that_cannot_be_had_is_not_tried_all_the_time(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        monkeypatch.setattr("vestibule.control.authority._BACKDATED", timedelta(days=5))
        await rig.start(text(workers=1, more='tls = "internal"').replace("[sites", "tls = true\n[sites").replace('"*"', '"localhost"'))
        assert rig.reloader.facts["internal:a"].is_due
        assert await rig.reloader.renew_internal() == ["a"], "made, and as short as the one before"
        assert await rig.reloader.renew_internal() == []

    stage(play)


def test_ticket_keys_get_old(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1))
        first = (await rig.workers())[0]["figures"]["ticket_key"]
        assert await rig.reload(text(workers=1)) == []
        assert (await rig.workers())[0]["figures"]["ticket_key"] == first
        monkeypatch.setattr("vestibule.control.reload.TICKET_KEY_S", -1.0)
        assert rig.reloader.is_due() == "new ticket key"
        assert (await rig.reloader.refresh("due")).ok
        assert (await rig.workers())[0]["figures"]["ticket_key"] != first

    stage(play)


def test_what_a_reload_cannot_change_is_told(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1))
        rig.write(text(workers=1).replace("workers = 1", 'workers = 1\npid_file = "x.pid"'))
        outcome = await rig.reloader.reload()
        assert outcome.ok
        assert any("process.pid_file: warning: this changes at the next start" in each for each in outcome.warnings)

    stage(play)


def test_a_first_start_that_fails_says_why(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        rig.write(text(workers=1))
        outcome = await rig.reloader.start(rig.source.read())
        assert outcome.reasons == ["worker 0 died while it prepared: exit status 5"]
        assert rig.reloader.generation == 0

    stage(play, command=[sys.executable, "-c", "import sys; sys.exit(5)"])


def test_a_program_that_is_not_there(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        rig.write(text(workers=1))
        outcome = await rig.reloader.start(rig.source.read())
        assert outcome.reasons == ["a worker cannot be started: No such file or directory"]

    stage(play, command=["/nowhere/python"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_become_the_account(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1))
        (row,) = await rig.workers()
        assert (row["figures"]["uid"], row["figures"]["groups"]) == (65534, [65533])

    # What the user `nobody` can surely run: the fake worker, read by us and passed as text.
    source = Path(FAKE[1]).read_text()
    stage(play, command=["/usr/bin/python3", "-c", source], account=Account(65534, 65534, (65533,)))


def test_stop_lets_them_finish(stage: Callable[..., None]) -> None:
    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1))
        with socket.create_connection(("127.0.0.1", rig.listeners.current.port("web")), 5) as sock:
            sock.sendall(b"GET /stall")
            assert await in_thread(lambda: sock.recv(100)) == b"waiting"
            await rig.supervisor.stop(5_000, asyncio.Event())
            assert sock.recv(100) == b"finished"
        assert rig.events("worker.died") == []
        assert await rig.workers() == []

    stage(play)


def test_one_that_does_not_stop_is_killed(stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "GRACE_S", 0.1)

    async def play(rig: Rig) -> None:
        await rig.start(text(workers=1))
        (pid,) = await rig.pids()
        os.kill(pid, signal.SIGSTOP)
        await rig.supervisor.stop(50, asyncio.Event())
        assert [each["pid"] for each in rig.events("worker.killed")] == [pid]
        assert not Path(f"/proc/{pid}").exists()

    stage(play)


def test_worker_count_follows_the_cores() -> None:
    assert worker_count(Config((), (), ())) == len(os.sched_getaffinity(0))
