"""During each flood other clients are served, and afterwards nothing of it is left: connections, descriptors, memory, a crash.

Not here: how long they wait (`python -m bench.siege`).
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.floods import FLOODS, LOCKED, SOCKETS, Flood, Seen, Target, start
from bench.household import Origin

from tests.attack import bounds
from tests.e2e.certs import Authority
from tests.e2e.client import Client, close_all
from tests.e2e.ports import free_ports
from tests.e2e.rig import Vestibule, settings

# Longer than the time for a head, so that slow ones meet it.
FLOOD_S = 3.0
HEAD_S = 2
# Of a worker beyond what it had before: what `SOCKETS` connections may hold is far less, and an allocator keeps some of what it got.
GROWTH_MOST = 48_000_000
PROBES_LEAST = 10
ANSWER_MOST_S = 10.0
# How long it may take until the attacker has done its worst and others were answered often enough.
PATIENCE_S = 60.0


@dataclass
class Rig:
    proxy: Vestibule
    target: Target
    clients: list[Client]

    def figures(self) -> dict[str, int]:
        found: dict[str, int] = {}

        def have_come() -> bool:
            (worker,) = json.loads(self.proxy.control("status", "--json").stdout)["workers"]
            found.update(worker.get("figures", {}))
            return bool(found)

        assert self.proxy.wait_until(have_come), "the worker says nothing"
        return found


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("floods")
    authority = Authority()
    authority.bundle(folder / "photos.pem", "photos.test")
    origin = Origin()
    (folder / "files").mkdir()
    (folder / "files" / "large").write_bytes(b"x" * 50_000_000)
    plain, secure = free_ports(2)
    config = (
        f'{settings(folder)}\n[timeouts]\nrequest_head = "{HEAD_S}s"\ntls_handshake = "{HEAD_S}s"\n'
        f'[sites."photos.test"]\nlisten = ["https://127.0.0.1:{secure}", "http://127.0.0.1:{plain}"]\ncert = "photos.pem"\n'
        f'redirect_http = false\nto = "http://127.0.0.1:{origin.port}"\naccess_log = "off"\n'
        f'[[sites."photos.test".routes]]\nprefix = "/files/"\nfiles = {{ root = "{folder}" }}\n{LOCKED}'
    )
    proxy = Vestibule(folder, config, [plain, secure])
    tls = authority.client()
    clients = [Client(("127.0.0.1", plain), None), Client(("127.0.0.1", secure), tls, version="h2")]
    for client in clients:
        for _ in range(20):
            assert client.get("/warm").status == 200
    yield Rig(proxy, Target(plain, secure), clients)
    close_all()
    proxy.stop()
    origin.close()


def resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Probe:
    """A client that wants nothing special: a new connection, a request, an answer."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.over = threading.Event()
        self.waits: list[float] = []
        self.wrong: list[str] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self.over.is_set():
            began = time.monotonic()
            try:
                status = self.client.get("/probe").status
            except Exception as bad:
                self.wrong.append(repr(bad))
            else:
                if status != 200:
                    self.wrong.append(str(status))
            self.waits.append(time.monotonic() - began)
            time.sleep(0.01)

    def stop(self) -> None:
        self.over.set()
        self.thread.join(30)


def has_begun(flood: Flood, seen: Seen) -> bool:
    """Tell whether the flood has all its connections, has used them more than once, and was cut off where it must be."""
    return seen.opened >= flood.sockets and seen.rounds > 1 and (seen.closed > 0 or not flood.ends)


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_others_are_served_and_nothing_is_left(flood: Flood, rig: Rig) -> None:
    (worker,) = rig.proxy.workers
    assert rig.proxy.wait_until(lambda: rig.figures()["connections"] == 0)
    before, open_before = resident(worker), descriptors(worker)
    running = start(flood, rig.target)
    probes = [Probe(client) for client in rig.clients]
    peak = 0
    end = time.monotonic() + FLOOD_S
    try:
        # On a busy machine the attacker takes longer to do its worst.
        while time.monotonic() < end or min(len(each.waits) for each in probes) < PROBES_LEAST or not has_begun(flood, running.attack.seen):
            peak = max(peak, resident(worker))
            time.sleep(0.02)
            assert time.monotonic() < end + PATIENCE_S, f"others are hardly served, or nothing is attacked: {running.attack.seen}"
    finally:
        for probe in probes:
            probe.stop()
        seen = running.stop()
    assert [probe.wrong for probe in probes] == [[], []]
    assert max(wait for probe in probes for wait in probe.waits) < ANSWER_MOST_S
    assert has_begun(flood, seen)
    assert rig.proxy.workers == [worker]
    assert peak - before < GROWTH_MOST + flood.sockets * flood.streams * (bounds.QUEUE + bounds.OBJECTS)
    assert rig.proxy.wait_until(lambda: rig.figures()["connections"] == 0), rig.figures()
    assert rig.figures()["exchanges"] == 0
    # Those to the upstream are kept for a while.
    assert rig.proxy.wait_until(lambda: descriptors(worker) <= open_before + SOCKETS * 2)
    assert [line for line in rig.proxy.said().splitlines() if "proxy.bug" in line] == []


def test_the_floods_have_names_of_their_own() -> None:
    assert len({flood.name for flood in FLOODS}) == len(FLOODS)
