"""When workers are asked, and what they show then."""

import asyncio
from typing import Any

import pytest

from vestibule.control.metrics import collect
from vestibule.control.metrics.collect import Collector
from vestibule.model.config import Config, Metrics, Site

from .example import CONFIG, PROGRAM, ROWS

SHOWN = Config(CONFIG.listeners, (Site("s", ("*",), ("front",), Metrics("nginx")),), CONFIG.upstreams)


class Crew:
    """Workers; those that are `quick` answer at once."""

    def __init__(self, *pids: int, quick: bool = True) -> None:
        self.pids = list(pids)
        self.quick = quick
        self.asked = 0
        self.shown: list[dict[str, str]] = []
        self.config: Config | None = SHOWN
        self.collector = Collector(self, lambda: self.config, lambda at: PROGRAM, lambda: ROWS)

    def ask_counts(self) -> list[int]:
        self.asked += 1
        for pid in self.pids if self.quick else ():
            asyncio.get_running_loop().call_soon(self.collector.take, pid, *counts(self.asked))
        return self.pids

    def show_pages(self, pages: dict[str, str]) -> None:
        self.shown.append(pages)


def counts(requests: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"process": {"accepted": 1, "requests": requests}}, {"process": {"connections": 1, "exchanges": 0}}


def page(crew: Crew) -> list[str]:
    (text,) = set(crew.shown[-1].values())
    return text.splitlines()


async def wait_for(crew: Crew, times: int) -> None:
    async with asyncio.timeout(5):
        while len(crew.shown) < times:
            await asyncio.sleep(0.005)


def test_pages_are_shown_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "EVERY_S", 0.01)

    async def work() -> None:
        crew = Crew(1, 2)
        task = asyncio.ensure_future(crew.collector.run())
        await wait_for(crew, 2)
        task.cancel()
        assert page(crew)[1:4] == ["Active connections: 2 ", "server accepts handled requests", " 2 2 4 "]

    asyncio.run(work())


def test_another_configuration_is_shown_at_once() -> None:
    async def work() -> None:
        crew = Crew(1)
        task = asyncio.ensure_future(crew.collector.run())
        await wait_for(crew, 1)
        crew.config = CONFIG  # it shows nothing
        crew.collector.wake()
        await wait_for(crew, 2)
        assert crew.shown[-1] == {}
        asked = crew.asked
        await crew.collector.show()
        assert (len(crew.shown), crew.asked) == (2, asked)
        crew.config = None
        await crew.collector.show()
        assert (await crew.collector.fresh()).process.count("accepted") == 1
        task.cancel()

    asyncio.run(work())


def test_one_that_does_not_answer_counts_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "PATIENCE_S", 0.05)

    async def work() -> None:
        crew = Crew(1, 2, quick=False)
        crew.collector.take(1, *counts(5))
        assert (await crew.collector.fresh()).process.count("requests") == 5

    asyncio.run(work())


def test_one_that_dies_is_not_waited_for() -> None:
    async def work() -> None:
        crew = Crew(1, 2, quick=False)
        crew.collector.take(2, *counts(5))
        asyncio.get_running_loop().call_later(0.01, crew.collector.take, 1, *counts(7))
        asyncio.get_running_loop().call_later(0.02, crew.collector.lose, 2)
        async with asyncio.timeout(0.9):
            picture = await crew.collector.fresh()
        assert (picture.process.count("requests"), picture.process.gauge("connections")) == (12, 1)

    asyncio.run(work())
