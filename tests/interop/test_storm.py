"""A fast scroll: most thumbnails are cancelled as soon as they were asked for, again and again.

Facts: browsers cancel with RST_STREAM, which is also how rapid reset works (CVE-2023-44487); the one must not
be taken for the other. `STORM_S` in the environment makes it longer.
"""

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Client, Exchange, Truncated
from tests.e2e.client_h2 import FrameConnection
from tests.e2e.rig import Rig, build, tear_down
from tests.e2e.upstream import Turn

STORM_S = float(os.environ.get("STORM_S", "5"))
WAVE = 200
CANCELLED = 0.8
MOST_STREAMS = 100  # what browsers open at once
THUMBNAIL = bytes(range(256)) * 80


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = build(tmp_path)
    yield made.speaking("h2")
    tear_down(made)


class Crowd:
    """Counts what the upstream has to do at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self._lock = threading.Lock()

    def serve(self, turn: Turn) -> None:
        """Answer a thumbnail after a moment, as a server does that reads it from a disk."""
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            time.sleep(0.002)
            turn.answer(THUMBNAIL, extra=b"Content-Type: image/webp\r\n")
        finally:
            with self._lock:
                self.now -= 1


def figures(rig: Rig) -> dict[str, int]:
    """Return what the one worker is busy with."""
    (worker,) = json.loads(rig.proxy.control("status", "--json").stdout)["workers"]
    # A busy worker may have said nothing in time.
    return {name: count for name, count in worker.get("figures", {}).items() if name in ("connections", "exchanges", "tunnels")}


def wave(client: Client, wire: FrameConnection, dice: random.Random) -> int:
    """Ask for many thumbnails, cancel most of them sooner or later, read the others; return how many were read."""
    kept: list[Exchange] = []
    doubtful: list[Exchange] = []
    for number in range(WAVE):
        assert wire.wait_for(lambda: wire.h2.open_outbound_streams < MOST_STREAMS or not wire.is_open)
        exchange = client.open("GET", f"/api/assets/{number}/thumbnail?size=thumbnail", wire=wire)
        if dice.random() >= CANCELLED:
            kept.append(exchange)
        elif dice.random() < 0.5:
            exchange.abort()
        else:
            doubtful.append(exchange)
        if len(doubtful) + len(kept) >= MOST_STREAMS // 2:
            settle(kept, doubtful)
    return settle(kept, doubtful) + WAVE


def settle(kept: list[Exchange], doubtful: list[Exchange]) -> int:
    """Cancel some exchanges and read the others to their end."""
    while doubtful:
        doubtful.pop().abort()
    count = len(kept)
    while kept:
        response = kept.pop().read_response()
        assert (response.status, response.body) == (200, THUMBNAIL)
    return count


def test_storm_of_cancelled_thumbnails_leaves_nothing(rig: Rig) -> None:
    """No GOAWAY, no leak, no pile-up upstream."""
    crowd = Crowd()
    rig.upstream.script = crowd.serve
    dice = random.Random(1)
    with rig.client.connect() as wire:
        assert isinstance(wire, FrameConnection)
        wire.wait_for_settings()
        wave(rig.client, wire, dice)
        before = resident(rig.proxy.workers[0])
        end = time.monotonic() + STORM_S
        waves = 0
        while time.monotonic() < end:
            wave(rig.client, wire, dice)
            waves += 1
        assert wire.goaways == []
        assert rig.client.request("GET", "/after", wire=wire).body == THUMBNAIL
        assert rig.proxy.wait_until(lambda: figures(rig).get("exchanges") == 0)
        assert crowd.most <= MOST_STREAMS, "more was going on upstream than the client wanted"
        assert rig.upstream.wait_for(lambda: not rig.upstream.is_busy)
        assert resident(rig.proxy.workers[0]) - before < 8_000_000
    assert waves > 0
    assert rig.proxy.wait_until(lambda: figures(rig) == {"connections": 0, "exchanges": 0, "tunnels": 0})
    rig.upstream.failures.clear()


def test_client_that_finishes_nothing_is_ended(rig: Rig) -> None:
    """Rapid reset: cancelling everything, for ever, is no gallery."""
    rig.upstream.script = Crowd().serve
    with rig.client.connect() as wire:
        assert isinstance(wire, FrameConnection)
        wire.wait_for_settings()
        with pytest.raises((Truncated, OSError)):
            for number in range(20_000):
                assert wire.wait_for(lambda: wire.h2.open_outbound_streams < MOST_STREAMS or not wire.is_open)
                rig.client.open("GET", f"/{number}", wire=wire).abort()
        assert wire.is_closed()
        assert 11 in wire.goaways  # ENHANCE_YOUR_CALM
    assert rig.proxy.wait_until(lambda: figures(rig) == {"connections": 0, "exchanges": 0, "tunnels": 0})
    assert rig.client.get("/next").body == THUMBNAIL


def resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
