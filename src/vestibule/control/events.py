"""Tells at syslog servers what becomes of servers, in HAProxy's words, which its users and their programs know.

Facts (HAProxy's log lines): outcomes of checks have the severity `notice`, servers that go away `alert`, an upstream without any
`emerg`. A check counts up to `rise` while its server is down and up to `fall` while it is up; a line says how far it is.

Rules: a line is sent once; nobody waits for a server of logs that is away. What a worker knows is not asked: requests that are under
way are those of the last count.

Not here: who decides how servers are (`health.py`), the error log (`logs.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from vestibule.control.check import Outcome
from vestibule.control.logs import SyslogServer
from vestibule.model.config import Config, EventLog, Syslog, Upstream
from vestibule.model.syslog import SEVERITIES

_NOTICE, _ALERT, _EMERG = (SEVERITIES.index(word) for word in ("notice", "alert", "emerg"))

_ENDS = {
    ("passed", 4): "Layer4 check passed",
    ("timeout", 4): "Layer4 timeout",
    ("problem", 4): "Layer4 connection problem",
    ("passed", 6): "Layer6 check passed",
    ("timeout", 6): "Layer6 timeout",
    ("invalid", 6): "Layer6 invalid response",
    ("passed", 7): "Layer7 check passed",
    ("timeout", 7): "Layer7 timeout",
    ("invalid", 7): "Layer7 invalid response",
    ("status", 7): "Layer7 wrong status",
}


class Left:
    """How many servers of an upstream serve, how many would instead, and what the one that is told of has to do."""

    __slots__ = ("active", "backup", "busy")

    def __init__(self, active: int, backup: int, busy: int) -> None:
        self.active = active
        self.backup = backup
        self.busy = busy


class Events:
    """The event logs of all upstreams."""

    def __init__(self, addresses: Callable[[str], list[str]]) -> None:
        self._addresses = addresses
        self._servers: dict[tuple[str, Syslog], SyslogServer] = {}

    def keep(self, config: Config) -> None:
        """Let go of the syslog servers that a configuration does not name any more."""
        wanted = {(log.target, log.syslog) for upstream in config.upstreams for log in upstream.events}
        for key in [each for each in self._servers if each not in wanted]:
            self._servers.pop(key).close()

    def checked(self, upstream: Upstream, server: str, outcome: Outcome, standing: str) -> None:
        """Tell the outcome of a check; `standing` is how far the server is, as `1/3 UP`."""
        ending = "failed" if outcome.bad else "succeeded"
        for log in upstream.events:
            if log.checks:
                name = _name(log, upstream, server)
                self._send(log, _NOTICE, f"Health check for server {name} {ending}{_reason(outcome)}, status: {standing}.")

    def changed(self, upstream: Upstream, server: str, outcome: Outcome, left: Left) -> None:
        """Tell that checks have found a server down, or up again."""
        for log in upstream.events:
            name = _name(log, upstream, server)
            if outcome.bad:
                self._send(log, _ALERT, f"Server {name} is DOWN{_reason(outcome)}. {_left(left)}")
            else:
                online = f"{left.active} active and {left.backup} backup servers online. 0 sessions requeued, 0 total in queue."
                self._send(log, _NOTICE, f"Server {name} is UP{_reason(outcome)}. {online}")
            self._lone(log, upstream, left, outcome.bad != "")

    def commanded(self, upstream: Upstream, server: str, mode: str, before: str, left: Left) -> None:
        """Tell that a command has changed what a server takes."""
        if mode == before:
            return
        for log in upstream.events:
            name = _name(log, upstream, server)
            if mode == "maintenance":
                self._send(log, _ALERT, f"Server {name} is going DOWN for maintenance. {_left(left)}")
                self._lone(log, upstream, left, True)
            elif mode == "drain":
                self._send(log, _NOTICE, f"Server {name} enters drain state. {_left(left)}")
            elif before == "maintenance":
                self._send(log, _NOTICE, f"Server {name} is UP/READY (leaving forced maintenance).")
            elif before == "drain":
                self._send(log, _NOTICE, f"Server {name} is UP (leaving forced drain).")

    def _lone(self, log: EventLog, upstream: Upstream, left: Left, worse: bool) -> None:
        if worse and not left.active and not left.backup:
            self._send(log, _EMERG, f"backend {upstream.name} has no server available!")

    def _send(self, log: EventLog, severity: int, text: str) -> None:
        if severity > SEVERITIES.index(log.most):
            return
        key = (log.target, log.syslog)
        server = self._servers.get(key)
        if server is None:
            server = self._servers[key] = SyslogServer(log.target, log.syslog, self._addresses)
        server.say(max(severity, SEVERITIES.index(log.least)), text)

    def close(self) -> None:
        """Let go of the syslog servers."""
        for server in self._servers.values():
            server.close()
        self._servers = {}


def _name(log: EventLog, upstream: Upstream, server: str) -> str:
    named = next((name for name, address in log.servers if address == server), server)
    return f"{upstream.name}/{named}"


def _reason(outcome: Outcome) -> str:
    """Say how a check ended."""
    said = f", reason: {_ENDS.get((outcome.kind, outcome.layer), 'Socket error')}"
    if outcome.layer == 7 and outcome.kind in ("passed", "status"):
        said += f", code: {outcome.code}"
    if outcome.info:
        said += f', info: "{outcome.info}"'
    return f"{said}, check duration: {outcome.took_ms}ms"


def _left(left: Left) -> str:
    # Requests wait at the upstream, not at a server.
    busy = f"{left.busy} sessions active, 0 requeued, 0 remaining in queue."
    return f"{left.active} active and {left.backup} backup servers left. {busy}"
