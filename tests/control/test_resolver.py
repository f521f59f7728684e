"""Names looked up again and again."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vestibule.control import resolver as module
from vestibule.control.logs import ErrorLog
from vestibule.control.resolver import Resolver, look_up, names_of
from vestibule.model.config import Config, Server, Upstream


class Dns:
    """Answers from a table; a name that is not in it fails, one mapped to None hangs."""

    def __init__(self, **table: list[str] | None) -> None:
        self.table: dict[str, list[str] | None] = dict(table)
        self.released = threading.Event()
        self.asked = 0

    def __call__(self, name: str) -> list[str]:
        self.asked += 1
        if name not in self.table:
            raise OSError(-2, "Name or service not known")
        found = self.table[name]
        if found is None:
            self.released.wait(10)
            found = self.table[name] or []
        return list(found)


@pytest.fixture
def journal(tmp_path: Path) -> ErrorLog:
    log = ErrorLog(tmp_path)
    log.open_target("error.log", "info")
    return log


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORT_S", 0.01)
    monkeypatch.setattr(module, "LONG_S", 0.02)


async def until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true within 5 s")


def kinds(tmp_path: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in (tmp_path / "error.log").read_text().splitlines()]


def test_addresses_move_and_are_told(journal: ErrorLog, tmp_path: Path) -> None:
    async def play() -> None:
        dns = Dns(immich=["10.0.0.1", "fd00::1"])
        told: list[dict[str, list[str]]] = []
        names = Resolver(journal, told.append, dns)
        assert await names.addresses({"immich"}, 5) == {"immich": ["10.0.0.1", "fd00::1"]}
        told.clear()
        dns.table["immich"] = ["fd00::1", "10.0.0.1"]
        asked = dns.asked
        await until(lambda: dns.asked > asked + 2)
        assert told == []
        dns.table["immich"] = ["10.0.0.2"]
        await until(lambda: told == [{"immich": ["10.0.0.2"]}])
        assert names.report() == {"immich": ["10.0.0.2"]}
        names.keep(set())
        asked = dns.asked
        await asyncio.sleep(0.05)
        assert dns.asked == asked

    asyncio.run(play())
    assert kinds(tmp_path) == ["resolver.moved"]


def test_silence_keeps_what_was_known_and_is_told_once(journal: ErrorLog, tmp_path: Path) -> None:
    async def play() -> None:
        dns = Dns(immich=["10.0.0.1"])
        names = Resolver(journal, lambda _: None, dns)
        await names.addresses({"immich"}, 5)
        del dns.table["immich"]
        asked = dns.asked
        await until(lambda: dns.asked > asked + 3)
        assert names.report() == {"immich": ["10.0.0.1"]}
        dns.table["immich"] = ["10.0.0.1"]
        await until(lambda: "resolver.found" in kinds(tmp_path))
        names.keep(set())

    asyncio.run(play())
    assert kinds(tmp_path) == ["resolver.failed", "resolver.found"]


def test_a_start_does_not_wait_for_a_name_that_hangs(journal: ErrorLog) -> None:
    async def play() -> None:
        dns = Dns(slow=None, quick=["10.0.0.1"])
        told: list[dict[str, list[str]]] = []
        names = Resolver(journal, told.append, dns)
        assert await names.addresses({"slow", "quick", "wrong"}, 0.05) == {"quick": ["10.0.0.1"], "slow": [], "wrong": []}
        # The answer that comes after the patience is told like a change.
        dns.table["slow"] = ["10.0.0.9"]
        dns.released.set()
        await until(lambda: {"slow": ["10.0.0.9"]} in told)
        names.keep(set())

    asyncio.run(play())


def test_a_lookup_that_never_ends_is_asked_anew(journal: ErrorLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.02)

    async def play() -> None:
        dns = Dns(slow=None)
        names = Resolver(journal, lambda _: None, dns)
        await names.addresses({"slow"}, 5)
        await until(lambda: dns.asked > 2)
        names.keep(set())
        dns.released.set()

    asyncio.run(play())


def test_look_up_takes_addresses_and_refuses_nonsense() -> None:
    assert look_up("127.0.0.1") == ["127.0.0.1"]
    assert "127.0.0.1" in look_up("localhost")
    with pytest.raises((OSError, UnicodeError)):
        look_up("x" * 70 + ".example")


def test_names_are_hosts_that_are_no_addresses() -> None:
    servers = (Server("immich", 2283), Server("10.0.0.1", 80), Server("fd00::1", 80), Server(path="/run/x.sock"))
    assert names_of(Config((), (), (Upstream("a", servers),))) == {"immich"}
