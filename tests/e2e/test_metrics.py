"""Figures of the real program: over two workers, reloads, and workers that are killed."""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser

from .client import Client, close_all
from .ports import free_ports
from .rig import Vestibule, settings
from .upstream import Upstream

ROUTES = (
    '{ path = "/metrics", metrics = "prometheus" }, { path = "/json", metrics = "json" }, { path = "/nginx", metrics = "nginx" },'
    ' { path = "/status", metrics = "apache" }, { prefix = "/stats", metrics = { form = "haproxy", version = false } },'
    ' { path = "/page", metrics = { form = "html", refresh = "5s" } }, { prefix = "/dead", to = "dead" }, { prefix = "/", to = "u" }'
)


class Rig:
    """A proxy that shows its figures, with one server that answers and one where nobody listens."""

    def __init__(self, folder: Path) -> None:
        self.upstream = Upstream()
        self.upstream.script = lambda turn: turn.answer(b"hello")
        self.port, dead = free_ports(2)
        self.config = (
            f'{settings(folder, 2)}[timeouts]\nhold = "0s"\n[sites."*"]\nlisten = "127.0.0.1:{self.port}"\nimmich = false\n'
            f'routes = [{ROUTES}]\n[upstreams.u]\nservers = ["http://127.0.0.1:{self.upstream.port}"]\n'
            f'[upstreams.dead]\nservers = ["http://127.0.0.1:{dead}"]\n'
        )
        self.dead = f"127.0.0.1:{dead}"
        self.proxy = Vestibule(folder, self.config, [self.port])

    def get(self, target: str, *fields: tuple[str, str]) -> Any:
        """Ask over a connection of its own, so that any worker may answer."""
        return Client(("127.0.0.1", self.port)).get(target, *fields)

    def told(self) -> dict[str, Any]:
        response = self.get("/json")
        assert response.status in (200, 503), response.body
        found = json.loads(response.body) if response.status == 200 else {"sites": {}, "upstreams": {}}
        assert isinstance(found, dict)
        return found

    def counted(self) -> tuple[int, int]:
        """Return how many requests of the site went well, and how many the upstream was given."""
        told = self.told()
        site, servers = told["sites"].get("*", {"answers": {"2xx": 0}}), told["upstreams"].get("u", {})
        return site["answers"]["2xx"], sum(each["attempts"] for each in servers.values())

    def close(self) -> None:
        close_all()
        try:
            self.proxy.stop()
        finally:
            self.upstream.close()


@contextlib.contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    made = Rig(folder)
    try:
        yield made
    finally:
        made.close()


def test_every_form_over_two_workers(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        for _ in range(12):
            assert made.get("/a").body == b"hello"
        assert made.get("/dead").status == 502
        # Another worker's figures arrive within its next second: the last request's may come after those of all others.
        assert made.proxy.wait_until(lambda: made.counted()[1] == 12 and bool(made.told()["sites"].get("*", {}).get("faults")), 15)
        told = made.told()
        assert told["workers"] == 2
        assert told["sites"]["*"]["answers"]["5xx"] == 1
        assert told["sites"]["*"]["faults"] == {"upstream.refused": 1}
        assert told["upstreams"]["dead"][made.dead]["failures"] == 1

        page = made.get("/metrics")
        assert page.find("Content-Type") == b"text/plain; version=0.0.4; charset=utf-8"
        families = {family.name: family for family in parser.text_string_to_metric_families(page.body.decode())}
        upstream = [each for each in families["vestibule_upstream_attempts"].samples if each.labels["upstream"] == "u"]
        assert [each.value for each in upstream] == [12]
        page = made.get("/metrics", ("Accept", "application/openmetrics-text;version=1.0.0"))
        assert page.body.endswith(b"# EOF\n")
        assert len(list(open_parser.text_string_to_metric_families(page.body.decode()))) == len(families)

        assert made.get("/nginx").body.startswith(b"Active connections: ")
        assert b"\nTotal Accesses: " in made.get("/status?auto").body
        assert b"<h2>Upstream u</h2>" in made.get("/status").body
        assert b"\nu,BACKEND," in made.get("/stats;csv").body
        assert b"<h3>backend u</h3>" in made.get("/stats").body
        assert made.get("/page").find("Refresh") == b"5"
        assert b"u 127.0.0.1" in made.proxy.control("status").stdout.encode()


def test_nothing_goes_backwards(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        for _ in range(10):
            assert made.get("/a").status == 200
        assert made.proxy.wait_until(lambda: made.counted()[1] == 10, 15)
        before = made.counted()[0]

        first, _ = made.proxy.workers
        os.kill(first, signal.SIGKILL)
        assert made.proxy.wait_until(lambda: made.told().get("workers_replaced") == 1 and made.told()["workers"] == 2, 20)
        assert made.counted()[0] >= before
        assert made.counted()[1] == 10

        assert made.proxy.control("reload").returncode == 0
        assert made.counted()[1] == 10
        # One worker less: it says a last word before it goes.
        assert made.get("/a").status == 200
        made.proxy.write(made.config.replace("workers = 2", "workers = 1"))
        assert made.proxy.control("reload").returncode == 0
        assert made.proxy.wait_until(lambda: len(made.proxy.workers) == 1, 20)
        assert made.proxy.wait_until(lambda: made.counted()[1] == 11, 15)
        assert made.told()["generation"] == 3


def test_commands_tell_the_same(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        made.proxy.stop()
        config = made.config.replace("[timeouts]", '[[process.command_sockets]]\npath = "c.sock"\n[timeouts]', 1)
        made.proxy = Vestibule(tmp_path, config, [made.port])
        for _ in range(3):
            assert made.get("/a").status == 200
        assert made.proxy.wait_until((tmp_path / "c.sock").exists, 10)

        def total() -> str:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(tmp_path / "c.sock"))
                sock.sendall(b"show stat u 2 -1\n")
                sock.shutdown(socket.SHUT_WR)
                head, line = sock.makefile().read().splitlines()[:2]
            return dict(zip(head[2:].split(","), line.split(","), strict=True))["stot"]

        assert made.proxy.wait_until(lambda: total() == "3", 15), total()
        assert total() == "3"
