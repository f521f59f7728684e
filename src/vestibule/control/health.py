"""How servers are: checks of them, and what commands say. Workers are told what changes.

Facts: every worker would ask every server by itself, and each would know something else; so one process asks. Immich answers
`{"res":"pong"}` to `/api/server/ping` once it serves.

Rules:
* A server is well until checks say otherwise, so that a start does not wait for them. Rise and fall count checks in a row.
* What is known is kept by `Upstream.server_key` through reloads: only a check that is another now begins anew.
* A check runs to its end or its time-out before the next one is due; the time between varies by the jitter.
* What an agent says is kept beside that: a server is up where both say so, takes the lesser of what a command and the agent let it
  take, and has the agent's share of its weight and its number of connections. An agent that does not answer has changed nothing.
* What a command said holds until another command, over reloads and restarts (`remembered.py`), or until its server leaves the
  configuration.

Not here: one check (`check.py`), one question to an agent (`agent.py`), failures of requests (the workers), the command line (`cli.py`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vestibule.control.agent import Answer, Question, ask
from vestibule.control.check import Outcome, Probe, examine
from vestibule.control.events import Events, Left
from vestibule.control.logs import ErrorLog
from vestibule.control.remembered import Remembered
from vestibule.control.resolver import ALL_PREFIX, SRV_PREFIX, Resolver
from vestibule.link.messages import ServerState
from vestibule.model.config import Config, HealthCheck, Server, Upstream
from vestibule.model.upstream import server_text

COMMANDS = ("drain", "enable", "disable", "weight")
_MODES = {"drain": "drain", "enable": "ready", "disable": "maintenance"}
WEIGHT_MOST = 65_535
_TAKES = ("", "ready", "drain", "maintenance")
"""What a server takes, the most first."""

Tell = Callable[[dict[str, ServerState]], None]


class _Known:
    """What is known of one server."""

    def __init__(self, upstream: str, text: str) -> None:
        self.upstream = upstream
        self.text = text
        self.up = True
        self.in_a_row = 0  # checks that say the other thing
        self.checks = 0
        self.last = ""
        self.outcome: Outcome | None = None
        self.changed_at = time.time()
        self.mode = ""
        self.weight = -1
        self.task: asyncio.Task[None] | None = None
        self.probe: Probe | None = None
        self.own_weight = 1
        # What its agent said.
        self.agent_up = True
        self.agent_mode = ""
        self.agent_percent = -1
        self.agent_most = -1
        self.agent_said = ""
        self.agent_task: asyncio.Task[None] | None = None
        self.question: Question | None = None

    def state(self) -> ServerState:
        weight = self.weight
        if self.agent_percent >= 0:
            whole = self.own_weight if self.weight < 0 else self.weight
            # A little is not nothing.
            weight = min(max(1, whole * self.agent_percent // 100), WEIGHT_MOST) if whole and self.agent_percent else 0
        mode = max(self.mode, self.agent_mode, key=_TAKES.index)
        return ServerState(self.up and self.agent_up, mode, weight, self.agent_most)

    def forget_agent(self) -> None:
        """Be as if no agent had ever said anything."""
        self.agent_up, self.agent_mode, self.agent_percent, self.agent_most, self.agent_said = True, "", -1, -1, ""

    def is_told(self) -> bool:
        """Whether there is anything a worker would not think by itself."""
        state = self.state()
        return not state.up or state.mode != "" or state.weight >= 0 or state.most >= 0


@dataclass(frozen=True, slots=True)
class _Place:
    """A server as it is now: one of the configuration, or one that a name stands for."""

    upstream: Upstream
    server: Server
    name: str  # what TLS verifies: a name also where one of its addresses is asked
    configured: str  # the server of the configuration


class Health:
    """Watches the servers of a configuration."""

    def __init__(self, journal: ErrorLog, resolver: Resolver, tell: Tell, state_dir: Path | None = None) -> None:
        self._journal = journal
        self._remembered = Remembered(journal, state_dir)
        self._resolver = resolver
        self._tell = tell
        self._known: dict[str, _Known] = {}
        self._places: dict[str, _Place] = {}
        self._config: Config | None = None
        self._base = Path()
        self._events = Events(resolver.known)
        self.busy: Callable[[str, str], int] = lambda upstream, server: 0
        """Tells how many requests a server has, as of the last count."""

    # ------------------------------------------------------------ what is watched

    def watch(self, config: Config, base: Path) -> None:
        """Watch the servers of this configuration and no others."""
        self._config = config
        self._base = base
        self._events.keep(config)
        self.refresh()

    def refresh(self) -> None:
        """Take the servers that names stand for now."""
        if self._config is None:
            return
        self._places = {}
        for upstream in self._config.upstreams:
            for server in upstream.servers:
                name = server.tls_name or upstream.tls.name or server.host
                for each in self._servers(server):
                    self._places.setdefault(upstream.server_key(each), _Place(upstream, each, name, server_text(server)))
        gone = {key: known for key, known in self._known.items() if key not in self._places}
        for key, former in gone.items():
            del self._known[key]
            _stop(former)
            _stop_asking(former)
        # One that comes back must not be what it was.
        self._tell({key: ServerState(True, "", -1) for key, old in gone.items() if old.is_told()})
        self._remembered.forget(list(gone))
        for key, place in self._places.items():
            if key not in self._known:
                self._meet(key, _Known(place.upstream.name, server_text(place.server)))
            self._known[key].own_weight = place.server.weight
            self._check(key, self._known[key], place)
            self._consult(key, self._known[key], place)

    def _meet(self, key: str, known: _Known) -> None:
        """Know one more server, as commands left it."""
        self._known[key] = known
        said = self._remembered.find(key)
        if said is None:
            return
        known.mode, known.weight = said
        words = " ".join([word for word in (known.mode, f"weight {known.weight}" if known.weight >= 0 else "") if word])
        self._journal.warning(
            "upstream.remembered", f"{known.text} of {known.upstream}: {words}, as a command said", upstream=known.upstream
        )
        self._tell({key: known.state()})

    def _servers(self, server: Server) -> list[Server]:
        """Return the servers that one of the configuration stands for."""
        if server.resolve == "one":
            return [server]
        told = self._resolver.report()
        if server.resolve == "all":
            return [replace(server, host=address, resolve="one") for address in told.get(ALL_PREFIX + server.host, [])]
        found: list[Server] = []
        for line in told.get(SRV_PREFIX + server.host, []):
            host, port, _, _ = line.split(" ")
            found.append(replace(server, host=host, port=int(port), resolve="one"))
        return found

    def _check(self, key: str, known: _Known, place: _Place) -> None:
        """Have the check of a server run as it is configured now."""
        check = place.upstream.health if place.server.check else None
        probe = Probe(check, place.server, place.upstream.tls, place.name, self._base) if check is not None else None
        if probe == known.probe and known.task is not None:
            return
        _stop(known)
        known.probe = probe
        if probe is not None and check is not None:
            known.task = asyncio.get_running_loop().create_task(self._watch(key, known, probe, check))
        elif not known.up:
            # Nobody asks any more.
            known.up = True
            self._tell({key: known.state()})

    def _consult(self, key: str, known: _Known, place: _Place) -> None:
        """Have the agent of a server asked as it is configured now."""
        agent = place.upstream.agent if place.server.agent else None
        question = Question(agent, place.server) if agent is not None else None
        if question == known.question and (known.agent_task is not None or question is None):
            return
        _stop_asking(known)
        known.question = question
        if question is not None:
            known.agent_task = asyncio.get_running_loop().create_task(self._listen(key, known, question))
        else:
            before = known.state().to_json()
            known.forget_agent()
            if known.state().to_json() != before:
                self._tell({key: known.state()})

    async def _listen(self, key: str, known: _Known, question: Question) -> None:
        """Ask one agent for ever."""
        while True:
            self._heed(key, known, await ask(question, self._resolver.report()))
            await asyncio.sleep(question.agent.interval_ms / 1000)

    def _heed(self, key: str, known: _Known, answer: Answer) -> None:
        """Take what an agent said."""
        before = known.state().to_json()
        if answer.unknown and answer.text != known.agent_said:
            words = " ".join(answer.unknown)
            text = f"the agent of {known.text} of {known.upstream} says `{words}`, which means nothing here"
            self._journal.warning("agent.unknown", text, upstream=known.upstream, server=known.text)
        known.agent_said = answer.text
        if answer.up is not None:
            known.agent_up = answer.up
        if answer.mode is not None:
            known.agent_mode = answer.mode
        if answer.percent is not None:
            known.agent_percent = answer.percent
        if answer.most is not None:
            known.agent_most = answer.most
        if known.state().to_json() == before:
            return
        known.changed_at = time.time()
        level = self._journal.info if known.agent_up else self._journal.warning
        level("agent.said", f"{known.text} of {known.upstream}: its agent says `{answer.text}`", upstream=known.upstream, server=known.text)
        self._tell({key: known.state()})

    async def _watch(self, key: str, known: _Known, probe: Probe, check: HealthCheck) -> None:
        """Check one server for ever."""
        while True:
            outcome = await examine(probe, self._resolver.report())
            self._take(key, known, check, outcome)
            calm = known.up and known.in_a_row == 0
            down = not known.up and known.in_a_row == 0 and check.down_ms > 0
            wait = (check.interval_ms if calm else check.down_ms if down else check.fast_ms) / 1000
            await asyncio.sleep(wait * (1 + check.jitter / 100 * random.uniform(-1, 1)))

    def _take(self, key: str, known: _Known, check: HealthCheck, outcome: Outcome) -> None:
        """Take the outcome of a check."""
        before, known.outcome = known.outcome, outcome
        bad = outcome.bad
        known.checks += 1
        known.last = bad
        if (bad == "") == known.up:
            # What a check in between said counts no more.
            news = known.in_a_row > 0
            known.in_a_row = 0
            if news or before is None or _end(before) != _end(outcome):
                self._tell_check(key, known, check, outcome)
            return
        known.in_a_row += 1
        turned = known.in_a_row >= (check.fall if known.up else check.rise)
        if turned:
            known.up = not known.up
            known.in_a_row = 0
            known.changed_at = time.time()
        self._tell_check(key, known, check, outcome)
        if not turned:
            return
        if known.up:
            self._journal.info("health.up", f"{known.text} of {known.upstream} is well again", upstream=known.upstream, server=known.text)
        else:
            self._journal.warning("health.down", f"{known.text} of {known.upstream}: {bad}", upstream=known.upstream, server=known.text)
        place = self._places.get(key)
        if place is not None and place.upstream.events:
            self._events.changed(place.upstream, place.configured, outcome, self._left(known))
        self._tell({key: known.state()})

    def _tell_check(self, key: str, known: _Known, check: HealthCheck, outcome: Outcome) -> None:
        """Tell the outcome of a check where that is asked for."""
        place = self._places.get(key)
        if place is None or not place.upstream.events:
            return
        most = check.fall if known.up else check.rise
        done = most - known.in_a_row if known.up else known.in_a_row
        self._events.checked(place.upstream, place.configured, outcome, f"{done}/{most} {'UP' if known.up else 'DOWN'}")

    def _left(self, one: _Known) -> Left:
        """Count the servers of its upstream that serve."""
        left = Left(0, 0, self.busy(one.upstream, one.text))
        for key, place in self._places.items():
            known = self._known[key]
            if known.upstream == one.upstream and _word(known, place.server) == "up":
                left.active += not place.server.backup
                left.backup += place.server.backup
        return left

    def stop(self) -> None:
        """Check nothing any more."""
        self._config = None
        for known in self._known.values():
            _stop(known)
            _stop_asking(known)
        self._known = {}
        self._events.close()

    # ------------------------------------------------------------ what is told

    def states(self) -> dict[str, ServerState]:
        """Return what a new worker must be told."""
        return {key: known.state() for key, known in self._known.items() if known.is_told()}

    def report(self) -> list[dict[str, object]]:
        """Return what is known of each server, for people and programs."""
        rows: list[dict[str, object]] = []
        for key, place in self._places.items():
            known = self._known[key]
            rows.append(
                {
                    "upstream": known.upstream,
                    "server": known.text,
                    "configured": place.configured,
                    "state": _word(known, place.server),
                    "checked": place.upstream.health is not None and place.server.check,
                    "last_check": known.last if known.checks else None,
                    "outcome": _said(known.outcome),
                    "standing": _standing(known, place.upstream.health),
                    "most": known.agent_most if known.agent_most >= 0 else place.server.max_connections,
                    "usual_weight": place.server.weight,
                    "agent": known.agent_said if known.question is not None else None,
                    "weight": place.server.weight if known.state().weight < 0 else known.state().weight,
                    "backup": place.server.backup,
                    "since_s": round(time.time() - known.changed_at, 1),
                }
            )
        return rows

    # ------------------------------------------------------------ commands

    def command(self, words: list[str]) -> list[str]:
        """Do what `vestibule upstream` was told; return the reasons against it."""
        verb, upstream, server = [*words, "", "", ""][:3]
        if verb not in COMMANDS:
            return [f"`{verb}` is unknown; known are {', '.join(COMMANDS)}"]
        if len(words) != (4 if verb == "weight" else 3):
            return [f"`{verb}` needs an upstream, a server{' and a weight' if verb == 'weight' else ''}"]
        found = [(key, known) for key, known in self._known.items() if known.upstream == upstream and server in (known.text, "all")]
        if not found:
            return [self._nobody(upstream, server)]
        weight = -1
        if verb == "weight":
            if not words[3].isdecimal() or int(words[3]) > WEIGHT_MOST:
                return [f"`{words[3]}` is no weight; weights are from 0 (no new clients) to {WEIGHT_MOST}"]
            weight = int(words[3])
        for key, known in found:
            before = known.state().mode
            if verb == "weight":
                known.weight = weight
            else:
                known.mode = _MODES[verb]
                if verb == "enable":
                    known.agent_mode = ""
            place = self._places.get(key)
            if place is not None and place.upstream.events and verb != "weight":
                self._events.commanded(place.upstream, place.configured, known.state().mode, before, self._left(known))
            self._journal.info("upstream.command", f"{known.text} of {upstream}: {' '.join([verb, *words[3:]])}", upstream=upstream)
        self._tell({key: known.state() for key, known in found})
        self._remembered.keep({key: (known.mode, known.weight) for key, known in found})
        return []

    def _nobody(self, upstream: str, server: str) -> str:
        names = sorted({known.upstream for known in self._known.values()})
        if upstream not in names:
            return f"there is no upstream `{upstream}`; there are {', '.join(names) or 'none'}"
        servers = ", ".join(known.text for known in self._known.values() if known.upstream == upstream)
        return f"`{upstream}` has no server `{server}`; it has {servers}, and `all` means each of them"


def _word(known: _Known, server: Server) -> str:
    """Say in a word how a server stands."""
    state = known.state()
    if state.mode == "maintenance" or (server.disabled and state.mode != "ready"):
        return "disabled"
    if not state.up:
        return "down"
    return "draining" if state.mode == "drain" or state.weight == 0 else "up"


def _end(outcome: Outcome) -> tuple[str, int]:
    """Say how a check ended, apart from what it was answered."""
    return outcome.kind, outcome.layer


def _said(outcome: Outcome | None) -> dict[str, object] | None:
    """Tell how the last check ended."""
    if outcome is None:
        return None
    return {"kind": outcome.kind, "layer": outcome.layer, "code": outcome.code, "took_ms": outcome.took_ms}


def _standing(known: _Known, check: HealthCheck | None) -> int:
    """Tell how many bad checks a server is from being as down as can be; it is up from `rise` on."""
    rise, fall = (check.rise, check.fall) if check is not None else (2, 3)
    return rise + fall - 1 - known.in_a_row if known.up else known.in_a_row


def _stop(known: _Known) -> None:
    if known.task is not None:
        known.task.cancel()
        known.task = None


def _stop_asking(known: _Known) -> None:
    if known.agent_task is not None:
        known.agent_task.cancel()
        known.agent_task = None
