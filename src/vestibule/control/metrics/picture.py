"""One picture of the whole proxy, which every form is written from.

Rules
* Everything of the configuration is in it, from the start and with zeros; what is not in it any more is not.
* A server is one of the configuration. Where its name stands for several addresses, what they did is added up, and it is up while one
  of them is.

Not here: sums over workers (`ledger.py`), forms (`exposition.py`, `pages.py`, `haproxy.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vestibule.control.metrics.ledger import Sums
from vestibule.counts import BOUNDS_MS, NOWHERE
from vestibule.model.config import Config, Metrics
from vestibule.model.upstream import server_text

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
BOUNDS_S = tuple(bound / 1000 for bound in BOUNDS_MS)


@dataclass(frozen=True)
class Part:
    """What is known under one name: what was counted, and what there is now."""

    name: str
    counted: Sums
    now: Sums

    def count(self, name: str) -> int:
        """Return a number that only grows."""
        return int(self.counted.get(name, 0))

    def gauge(self, name: str) -> int:
        """Return a number of now."""
        return int(self.now.get(name, 0))

    def answers(self, at: int) -> int:
        """Return how many answers there were whose status begins with this digit; 0 is how many had none."""
        return int(self.counted.get("classes", {}).get(str(at), 0))

    @property
    def ranges(self) -> list[int]:
        """How many times fell into each range."""
        counted = self.counted.get("ranges", {})
        return [int(counted.get(str(at), 0)) for at in range(len(BOUNDS_S) + 1)]

    @property
    def faults(self) -> dict[str, int]:
        """What went wrong, how often."""
        return dict(self.counted.get("faults", {}))


@dataclass(frozen=True)
class ServerPart(Part):
    """A server of an upstream, with how it stands."""

    upstream: str
    rows: tuple[dict[str, Any], ...]

    @property
    def up(self) -> bool:
        """Whether requests go there."""
        return any(row["state"] == "up" for row in self.rows)

    @property
    def state(self) -> str:
        """How it stands, in a word: as the best of its addresses."""
        states = [str(row["state"]) for row in self.rows]
        return next((state for state in ("up", "draining", "down", "disabled") if state in states), "down")

    @property
    def weight(self) -> int:
        return sum(int(row["weight"]) for row in self.rows)

    @property
    def backup(self) -> bool:
        return any(row["backup"] for row in self.rows)

    @property
    def checked(self) -> bool:
        return any(row["checked"] for row in self.rows)

    @property
    def last_check(self) -> str | None:
        """What the last check said; empty where all is well, None where there was none."""
        said = [row["last_check"] for row in self.rows if row["last_check"] is not None]
        return None if not said else next((each for each in said if each), "")

    @property
    def since_s(self) -> float:
        return min([float(row["since_s"]) for row in self.rows], default=0.0)


@dataclass(frozen=True)
class UpstreamPart:
    """An upstream with its servers."""

    name: str
    servers: tuple[ServerPart, ...]


@dataclass(frozen=True)
class Program:
    """What is known of the program itself. Times are in seconds since 1970."""

    version: str
    compiled: bool
    pid: int
    started_at: float
    at: float
    generation: int
    workers: int
    replaced: int


@dataclass(frozen=True)
class Picture:
    """The whole."""

    program: Program
    process: Part
    sites: tuple[Part, ...]
    listeners: tuple[Part, ...]
    upstreams: tuple[UpstreamPart, ...]
    title: str = ""
    shows_version: bool = True
    names: dict[tuple[str, str], str] = field(default_factory=dict)

    def seen_by(self, source: Metrics) -> Picture:
        """Return what a source shows of it."""
        names: dict[tuple[str, str], str] = {}
        for name, address in source.names:
            upstream, _, server = name.rpartition("/")
            names[upstream, address] = server
        return replace(
            self,
            sites=_only(self.sites, source.only),
            listeners=_only(self.listeners, source.only),
            upstreams=tuple(each for each in self.upstreams if not source.only or each.name in source.only),
            title=source.title,
            shows_version=source.version,
            names=names,
        )

    def name_of(self, server: ServerPart) -> str:
        """Return what a server is called."""
        return self.names.get((server.upstream, server.name), server.name)


def _only(parts: tuple[Part, ...], names: tuple[str, ...]) -> tuple[Part, ...]:
    return tuple(part for part in parts if not names or part.name in names)


def make_picture(program: Program, config: Config, counters: Sums, gauges: Sums, rows: Sequence[dict[str, Any]]) -> Picture:
    """Put together what is known; `rows` say how servers stand (`Health.report`)."""

    def parts(kind: str, names: list[str]) -> tuple[Part, ...]:
        return tuple(Part(name, counters.get(kind, {}).get(name, {}), gauges.get(kind, {}).get(name, {})) for name in names)

    standing: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        standing.setdefault((row["upstream"], row["configured"]), []).append(row)
    upstreams: list[UpstreamPart] = []
    for upstream in config.upstreams:
        servers: list[ServerPart] = []
        for name in dict.fromkeys(server_text(server) for server in upstream.servers):
            counted = counters.get("servers", {}).get(upstream.name, {}).get(name, {})
            now = gauges.get("servers", {}).get(upstream.name, {}).get(name, {})
            servers.append(ServerPart(name, counted, now, upstream.name, tuple(standing.get((upstream.name, name), ()))))
        upstreams.append(UpstreamPart(upstream.name, tuple(servers)))
    return Picture(
        program,
        Part("", counters.get("process", {}), gauges.get("process", {})),
        parts("sites", [*dict.fromkeys(site.name for site in config.sites), NOWHERE]),
        parts("listeners", [each.name for each in config.listeners if each.routes]),
        tuple(upstreams),
    )
