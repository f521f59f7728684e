"""What checks lead to, what is kept over a reload, and commands; one check is a fake."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vestibule.control import health as module
from vestibule.control.agent import Answer, Question, understand
from vestibule.control.check import Outcome, Probe
from vestibule.control.health import Health
from vestibule.control.logs import ErrorLog
from vestibule.control.resolver import Resolver
from vestibule.link.messages import ServerState
from vestibule.model.config import Agent, Config, HealthCheck, Server, Upstream

CHECK = HealthCheck("tcp", interval_ms=100, fast_ms=100, rise=2, fall=3, jitter=0)
ONE, TWO = Server("192.0.2.1", 80), Server("192.0.2.2", 80)


def config(*servers: Server, check: HealthCheck | None = CHECK, name: str = "u") -> Config:
    return Config((), (), (Upstream(name, servers, health=check),))


class Town:
    """A `Health` whose servers are well or sick as the test says."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        journal = ErrorLog(tmp_path)
        self.sick: set[str] = set()
        self.asked: list[str] = []
        self.told: list[tuple[str, bool, str, int]] = []
        self.mosts: list[int] = []
        self.names: dict[str, list[str]] = {}
        self.resolver = Resolver(journal, lambda _: None)
        monkeypatch.setattr(self.resolver, "report", lambda: self.names)
        monkeypatch.setattr(module, "examine", self._examine)
        self._journal = journal
        self._state = tmp_path / "state"
        self.health = Health(journal, self.resolver, self._tell, self._state)

    def restart(self) -> None:
        """Begin as another program with the same directory."""
        self.health.stop()
        self.told.clear()
        self.health = Health(self._journal, self.resolver, self._tell, self._state)

    async def _examine(self, probe: Probe, addresses: Mapping[str, list[str]]) -> Outcome:
        self.asked.append(probe.server.host)
        return Outcome("sick", "invalid", 7) if probe.server.host in self.sick else Outcome(layer=7)

    def _tell(self, states: dict[str, ServerState]) -> None:
        self.mosts += [state.most for state in states.values()]
        self.told += [(key, state.up, state.mode, state.weight) for key, state in states.items()]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.01)

    def play(self, story: Callable[["Town"], Any]) -> None:
        async def whole() -> None:
            await story(self)
            self.health.stop()

        asyncio.run(whole())


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    return Town(tmp_path, monkeypatch)


def test_so_many_checks_in_a_row_change_a_server(town: Town) -> None:
    async def story(town: Town) -> None:
        town.health.watch(config(ONE, TWO), Path())
        await town.until(lambda: len(town.asked) >= 4)
        assert town.told == []
        town.sick.add("192.0.2.1")
        since = town.asked.count("192.0.2.1")
        await town.until(lambda: bool(town.told))
        assert town.told == [("u 192.0.2.1:80", False, "", -1)]
        assert town.asked.count("192.0.2.1") - since == 3
        assert [state.up for state in town.health.states().values()] == [False]
        town.sick.clear()
        since = town.asked.count("192.0.2.1")
        await town.until(lambda: len(town.told) == 2)
        assert town.told[1] == ("u 192.0.2.1:80", True, "", -1)
        assert town.asked.count("192.0.2.1") - since == 2 and town.health.states() == {}

    town.play(story)


def test_a_reload_keeps_what_is_known(town: Town) -> None:
    async def story(town: Town) -> None:
        town.sick.add("192.0.2.1")
        town.health.watch(config(ONE), Path())
        await town.until(lambda: bool(town.told))
        town.told.clear()
        town.health.watch(config(ONE, TWO), Path())
        town.health.watch(config(ONE, TWO, check=replace(CHECK, rise=5)), Path())
        assert town.told == [] and town.health.report()[0]["state"] == "down"
        town.health.watch(config(TWO), Path())
        assert town.told == [("u 192.0.2.1:80", True, "", -1)], "one that comes back must not be what it was"
        town.told.clear()
        town.sick.add("192.0.2.2")
        await town.until(lambda: bool(town.told))
        town.health.watch(config(TWO, check=None), Path())
        assert town.told[-1] == ("u 192.0.2.2:80", True, "", -1), "nobody asks any more"

    town.play(story)


def test_servers_that_names_stand_for(town: Town) -> None:
    async def story(town: Town) -> None:
        town.names = {"all:many.test": ["192.0.2.7", "2001:db8::7"], "srv:_x._tcp.test": ["192.0.2.8 81 5 1"]}
        servers = (Server("many.test", 80, resolve="all"), Server("_x._tcp.test", 9, resolve="srv"))
        town.health.watch(config(*servers), Path())
        assert [row["server"] for row in town.health.report()] == ["192.0.2.7:80", "[2001:db8::7]:80", "192.0.2.8:81"]
        town.names["all:many.test"] = ["192.0.2.9"]
        town.health.refresh()
        assert [row["server"] for row in town.health.report()] == ["192.0.2.9:80", "192.0.2.8:81"]
        await town.until(lambda: "192.0.2.9" in town.asked)

    town.play(story)


def test_commands(town: Town) -> None:
    async def story(town: Town) -> None:
        town.health.watch(config(ONE, replace(TWO, disabled=True), check=None), Path())
        do = town.health.command
        assert [row["state"] for row in town.health.report()] == ["up", "disabled"]
        assert do(["drain", "u", "192.0.2.1:80"]) == [] and do(["enable", "u", "192.0.2.2:80"]) == []
        assert [row["state"] for row in town.health.report()] == ["draining", "up"]
        assert do(["weight", "u", "all", "7"]) == []
        assert town.told[-2:] == [("u 192.0.2.1:80", True, "drain", 7), ("u 192.0.2.2:80", True, "ready", 7)]
        assert do(["disable", "u", "192.0.2.2:80"]) == []
        assert [row["state"] for row in town.health.report()] == ["draining", "disabled"]
        assert town.asked == []

    town.play(story)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "`` is unknown"),
        (["stop", "u", "all"], "`stop` is unknown"),
        (["drain", "u"], "needs an upstream, a server"),
        (["weight", "u", "all"], "and a weight"),
        (["weight", "u", "all", "-1"], "no weight"),
        (["weight", "u", "all", "99999"], "no weight"),
        (["drain", "v", "all"], "there is no upstream `v`; there are u"),
        (["drain", "u", "x"], "`u` has no server `x`; it has 192.0.2.1:80"),
    ],
)
def test_a_command_that_makes_no_sense(town: Town, words: list[str], why: str) -> None:
    async def story(town: Town) -> None:
        town.health.watch(config(ONE, check=None), Path())
        (reason,) = town.health.command(words)
        assert why in reason and town.told == []

    town.play(story)


def test_commands_hold_over_a_restart(town: Town) -> None:
    async def story(town: Town) -> None:
        town.health.watch(config(ONE, TWO, check=None), Path())
        assert town.health.command(["drain", "u", "192.0.2.1:80"]) == []
        assert town.health.command(["weight", "u", "192.0.2.2:80", "7"]) == []
        town.restart()
        town.health.watch(config(ONE, TWO, check=None), Path())
        assert town.told == [("u 192.0.2.1:80", True, "drain", -1), ("u 192.0.2.2:80", True, "", 7)]
        assert [row["state"] for row in town.health.report()] == ["draining", "up"]
        # One that leaves the configuration and comes back is as configured, now and after another restart.
        town.health.watch(config(TWO, check=None), Path())
        town.restart()
        town.health.watch(config(ONE, TWO, check=None), Path())
        assert town.told == [("u 192.0.2.2:80", True, "", 7)]

    town.play(story)


class Beside:
    """Agents that say what the test says, by host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.says: dict[str, str] = {}
        self.asked = 0
        monkeypatch.setattr(module, "ask", self._ask)

    async def _ask(self, question: Question, addresses: Mapping[str, list[str]]) -> Answer:
        self.asked += 1
        return understand(self.says.get(question.server.host, ""))


def with_agents(*servers: Server, check: HealthCheck | None = None) -> Config:
    return Config((), (), (Upstream("u", servers, health=check, agent=Agent(9000, interval_ms=100)),))


def test_an_agent_says_what_its_server_takes(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Beside(monkeypatch)

    async def story(town: Town) -> None:
        async def says(text: str, *told: object) -> None:
            beside.says["192.0.2.1"] = text
            await town.until(lambda: bool(town.told) and town.told[-1] == ("u 192.0.2.1:80", *told))

        town.health.watch(with_agents(replace(ONE, weight=40), TWO), Path())
        await says("down # tired", False, "", -1)
        await says("drain", False, "drain", -1)  # what is not said stays
        await says("up 50%", True, "drain", 20)
        await says("ready 1%", True, "", 1)  # a little is not nothing
        await says("0%", True, "", 0)
        await says("maint 100%", True, "maintenance", 40)
        beside.says["192.0.2.1"] = "maxconn:30"
        await town.until(lambda: town.mosts[-1:] == [30])
        seen = beside.asked
        beside.says["192.0.2.1"] = ""
        await town.until(lambda: beside.asked > seen + 4)
        assert town.told[-1] == ("u 192.0.2.1:80", True, "maintenance", 40)
        assert {row["server"]: row["state"] for row in town.health.report()} == {"192.0.2.1:80": "disabled", "192.0.2.2:80": "up"}
        assert {key for key, *_ in town.told} == {"u 192.0.2.1:80"}

    town.play(story)


def test_checks_and_commands_stand_beside_an_agent(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Beside(monkeypatch)

    async def story(town: Town) -> None:
        town.sick.add("192.0.2.1")
        beside.says["192.0.2.1"] = "up"
        town.health.watch(with_agents(ONE, TWO, check=CHECK), Path())
        await town.until(lambda: town.told[-1:] == [("u 192.0.2.1:80", False, "", -1)])  # both must agree
        town.sick.clear()
        await town.until(lambda: town.told[-1:] == [("u 192.0.2.1:80", True, "", -1)])
        assert town.health.command(["weight", "u", "192.0.2.1:80", "30"]) == []
        beside.says["192.0.2.1"] = "50% drain"
        await town.until(lambda: town.told[-1:] == [("u 192.0.2.1:80", True, "drain", 15)])
        assert town.health.command(["disable", "u", "192.0.2.1:80"]) == []
        assert town.told[-1] == ("u 192.0.2.1:80", True, "maintenance", 15)
        beside.says["192.0.2.1"] = "50%"
        asked = beside.asked
        await town.until(lambda: beside.asked > asked + 3)  # each of the two was asked
        assert town.health.command(["enable", "u", "192.0.2.1:80"]) == []
        assert town.told[-1] == ("u 192.0.2.1:80", True, "ready", 15)
        # Nobody asks any more.
        town.health.watch(config(ONE, TWO), Path())
        assert town.told[-1] == ("u 192.0.2.1:80", True, "ready", 30)

    town.play(story)
