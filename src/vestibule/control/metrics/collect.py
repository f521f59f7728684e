"""Collecting from the workers and giving them the pages back, every two seconds while a page is configured.

Rules
* A page is as old as the last collection: two seconds, and a little more where a worker is slow to answer.
* A worker that does not answer in time counts with what it said before.
* Where no page is configured nobody is asked; commands then ask for themselves.

Not here: sums (`ledger.py`), what pages say (`pages.py` and its neighbours), the link (`supervisor.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vestibule.control.metrics.ledger import Ledger, Sums
from vestibule.control.metrics.pages import write_pages
from vestibule.control.metrics.picture import Picture, Program, make_picture
from vestibule.model.config import Config

EVERY_S = 2.0
PATIENCE_S = 1.0


class Workers(Protocol):
    """Those who count."""

    def ask_counts(self) -> list[int]:
        """Ask all of them; return their process ids."""

    def show_pages(self, pages: dict[str, str]) -> None:
        """Have all of them show these pages."""


class _Round:
    """One time that workers are asked."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.owing = set(pids)
        self.done = asyncio.Event()
        self.heard(-1)

    def heard(self, pid: int) -> None:
        self.owing.discard(pid)
        if not self.owing:
            self.done.set()


class Collector:
    """Keeps the figures of the whole proxy. `read` gives the configuration that is served, `describe` what else there is to say of it
    at a moment, `report` how servers stand."""

    def __init__(
        self,
        workers: Workers,
        read: Callable[[], Config | None],
        describe: Callable[[float], Program],
        report: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._workers = workers
        self._read = read
        self._describe = describe
        self._report = report
        self._ledger = Ledger()
        self._rounds: list[_Round] = []
        self._woken = asyncio.Event()
        self._is_showing = False

    # ------------------------------------------------------------ from the workers

    def busy(self, upstream: str, server: str) -> int:
        """Tell how many requests a server has, as of the last count."""
        return int(self._ledger.gauges().get("servers", {}).get(upstream, {}).get(server, {}).get("active", 0))

    def take(self, pid: int, counters: Sums, gauges: Sums) -> None:
        """A worker says what it counted."""
        self._ledger.take(pid, counters, gauges)
        for each in self._rounds:
            each.heard(pid)

    def lose(self, pid: int) -> None:
        """A worker is gone."""
        self._ledger.lose(pid)
        for each in self._rounds:
            each.heard(pid)

    # ------------------------------------------------------------ the work

    async def run(self) -> None:
        """Collect and show, for ever."""
        while True:
            self._woken.clear()
            await self.show()
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                pass

    def wake(self) -> None:
        """Another configuration serves: do not wait for the time."""
        self._woken.set()

    async def show(self) -> None:
        """Have the workers show the pages that are configured, as they are now."""
        config = self._read()
        sources = config.metrics if config is not None else ()
        if not sources:
            if self._is_showing:
                self._workers.show_pages({})
            self._is_showing = False
            return
        picture = await self.fresh()
        self._workers.show_pages(write_pages(picture, sources))
        self._is_showing = True

    async def fresh(self) -> Picture:
        """Return the figures of now."""
        asked = _Round(self._workers.ask_counts())
        self._rounds.append(asked)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asked.done.wait()
        except TimeoutError:
            pass
        self._rounds.remove(asked)
        config = self._read() or Config((), (), ())
        return make_picture(self._describe(time.time()), config, self._ledger.counters(), self._ledger.gauges(), self._report())
