"""The error log of the whole program, and the files the workers write their access logs to.

Facts: a file opened with O_APPEND may be written by several processes; each `write` of a line lands whole (write(2)). Rotation
renames a file and asks for SIGUSR1, after which the same path is opened anew.

Rules:
* One JSON object a line. Only when the target is a terminal, a line for people instead.
* Of one kind at most `BURST` lines are written in `WINDOW_S` seconds; the next window starts with how many were left out.
* A log that cannot be written never stops the program; what a syslog server does not take goes to standard error.

Not here: what a line of the access log says (`plan/access_log.py`); the worker writes it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vestibule.model.config import AccessLog, Config, Route, Site, Syslog, routes_inside
from vestibule.model.syslog import FACILITIES, SEVERITIES, is_syslog, parse_syslog
from vestibule.net.syslog import SENT, HostBook, SyslogHead, SyslogPort

LEVELS = ("debug", "info", "warning", "error")
STANDARD = ("stdout", "stderr", "off")
FORMS = ("local", "rfc3164", "rfc5424")
"""As `net/syslog.py` numbers them."""
_SEVERITIES = {level: SEVERITIES.index("err" if level == "error" else level) for level in LEVELS}

BURST = 20
WINDOW_S = 10.0
# An upstream that is down has a line for each request; kinds are few, but details must not grow the table without end.
KINDS_MOST = 500


class LogError(Exception):
    """A log file that cannot be opened; the text says which and why."""


class _Window:
    """What was written of one kind lately."""

    __slots__ = ("since", "suppressed", "written")

    def __init__(self, since: float) -> None:
        self.since = since
        self.written = 0
        self.suppressed = 0


class ErrorLog:
    """Writes what the program says about itself. `open_target` may be called again, after a reload or a rotation."""

    def __init__(self, base: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._base = base
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._least = LEVELS.index("info")
        self._target = "stderr"
        self._fd = 2
        self._how = Syslog()
        self._is_terminal = sys.stderr.isatty()
        self._syslog: SyslogServer | None = None
        self.addresses: Callable[[str], list[str]] = lambda name: []
        """Tells the addresses of a syslog server that is a name."""

    @property
    def is_file(self) -> bool:
        """Whether lines go to a file of their own."""
        return self._fd > 2

    def open_target(self, target: str, level: str, syslog: Syslog = Syslog()) -> None:  # noqa: B008 - it is frozen
        """Write to this target from now on. Raises `LogError`, and then the old target stays."""
        fd = self._open(target)
        self._close()
        self._how = syslog
        self._syslog = SyslogServer(target, syslog, self._find) if is_syslog(target) else None
        self._fd = fd
        self._target = target
        self._least = LEVELS.index(level)
        self._is_terminal = fd >= 0 and os.isatty(fd)

    def check(self, target: str) -> None:
        """Find out whether a target can be written to, and change nothing. Raises `LogError`."""
        fd = self._open(target)
        if fd > 2:
            os.close(fd)

    def reopen(self) -> None:
        """Open the same target anew, after its file was renamed. Raises `LogError`."""
        self.open_target(self._target, LEVELS[self._least], self._how)

    def write(self, level: str, kind: str, text: str, /, **details: object) -> None:
        """Write one line unless the level is too low or its kind was said too often lately."""
        if self._fd < 0 or LEVELS.index(level) < self._least:
            return
        now = self._clock()
        window = self._windows.get(kind)
        if window is None or now - window.since >= WINDOW_S:
            if window is not None and window.suppressed:
                self._emit(level, kind, f"{window.suppressed} more lines of this kind were left out", {"suppressed": window.suppressed})
            if len(self._windows) >= KINDS_MOST:
                self._windows.clear()
            window = self._windows[kind] = _Window(now)
        if window.written >= BURST:
            window.suppressed += 1
            return
        window.written += 1
        self._emit(level, kind, text, details)

    def debug(self, kind: str, text: str, /, **details: object) -> None:
        """Write a line that only interests who works on vestibule."""
        self.write("debug", kind, text, **details)

    def info(self, kind: str, text: str, /, **details: object) -> None:
        """Write a line about the ordinary course of things."""
        self.write("info", kind, text, **details)

    def warning(self, kind: str, text: str, /, **details: object) -> None:
        """Write a line about something that should be looked at."""
        self.write("warning", kind, text, **details)

    def error(self, kind: str, text: str, /, **details: object) -> None:
        """Write a line about something that does not work."""
        self.write("error", kind, text, **details)

    def flush(self) -> None:
        """Say what was left out so far; for the end of the program."""
        for kind, window in self._windows.items():
            if window.suppressed:
                self._emit("info", kind, f"{window.suppressed} more lines of this kind were left out", {"suppressed": window.suppressed})
                window.suppressed = 0

    def _find(self, name: str) -> list[str]:
        return self.addresses(name)

    def _open(self, target: str) -> int:
        if target == "off":
            return -1
        if is_syslog(target):
            return 2  # for what the server does not take
        if target in STANDARD:
            return 1 if target == "stdout" else 2
        return open_log(self._base / target)

    def _close(self) -> None:
        if self._fd > 2:
            os.close(self._fd)
        if self._syslog is not None:
            self._syslog.close()
            self._syslog = None

    def _emit(self, level: str, kind: str, text: str, details: dict[str, object]) -> None:
        stamp = time.time()
        if self._syslog is not None and self._syslog.take(level, kind, text, details):
            return
        if self._is_terminal:
            more = "".join(f"  {name}={value}" for name, value in details.items())
            line = f"{time.strftime('%H:%M:%S', time.localtime(stamp))} {level:7} {_printable(text)}{_printable(more)}\n"
        else:
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp)) + f".{int(stamp * 1000) % 1000:03d}Z"
            record: dict[str, object] = {"time": at, "level": level, "kind": kind, "message": text}
            for name, value in details.items():
                record.setdefault(name, value)
            line = json.dumps(record, default=str) + "\n"
        try:
            os.write(self._fd, line.encode(errors="replace"))
        except OSError:
            # A full disk or a closed terminal: there is nowhere left to say it.
            pass


def _printable(text: str) -> str:
    """Keep what came from the network from moving the cursor of a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


class SyslogServer(HostBook):
    """A syslog server that lines go to. `addresses` tells those of a name."""

    def __init__(self, target: str, how: Syslog, addresses: Callable[[str], list[str]]) -> None:
        host, port, path = parse_syslog(target)
        self._addresses = addresses
        self._head = SyslogHead(FACILITIES.index(how.facility), how.tag, FORMS.index(how.format))
        self._port = SyslogPort(host, port, path, self)

    def first(self, name: str) -> str:
        if ":" in name or not name.strip("0123456789."):
            return name
        return next(iter(self._addresses(name)), "")

    def take(self, level: str, kind: str, text: str, details: dict[str, object]) -> bool:
        """Send a line; False if the server does not take it."""
        more = "".join(f" {name}={value}" for name, value in details.items())
        return self.say(_SEVERITIES[level], f"{kind}: {text}{more}")

    def say(self, severity: int, text: str) -> bool:
        """Send a text with the number of its severity; False if the server does not take it."""
        line = _printable(text).encode(errors="replace")
        return self._port.send(self._head.text(severity, int(time.time())) + line) == SENT

    def close(self) -> None:
        """Let go of the server."""
        self._port.close()


class AccessLogFiles:
    """The open access-log files of a generation, by the path as the model writes it. Workers get duplicates."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.fds: dict[str, int] = {}

    def prepare(self, config: Config) -> dict[str, int]:
        """Return the files of a configuration, open; those already open are the same. Raises `LogError`, having opened none."""
        wanted: dict[str, int] = {}
        try:
            for path in access_log_paths(config):
                if path not in wanted:
                    wanted[path] = self.fds[path] if path in self.fds else open_log(self._base / path)
        except LogError:
            self.abort(wanted)
            raise
        return wanted

    def commit(self, wanted: dict[str, int]) -> None:
        """Keep exactly these from now on; close the others."""
        old, self.fds = self.fds, wanted
        for path, fd in old.items():
            if wanted.get(path) != fd:
                os.close(fd)

    def abort(self, wanted: dict[str, int]) -> None:
        """Close what was opened for a generation that is not used."""
        for path, fd in wanted.items():
            if self.fds.get(path) != fd:
                os.close(fd)

    def reopen(self) -> None:
        """Open every path anew. Raises `LogError`, and then all stay as they are."""
        fresh: dict[str, int] = {}
        try:
            for path in self.fds:
                fresh[path] = open_log(self._base / path)
        except LogError:
            self.abort(fresh)
            raise
        self.commit(fresh)


def open_log(path: Path) -> int:
    """Open a log file for appending, making it where it is not. Raises `LogError`."""
    try:
        # Logs name clients and what they looked at: not for everyone.
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as bad:
        hint = "make its directory first" if isinstance(bad, FileNotFoundError) else "choose a path that this user may write"
        raise LogError(f"the log {path} cannot be opened: {bad.strerror}; {hint}") from None


def access_log_paths(config: Config) -> Iterator[str]:
    """Yield the path of each access log that is a file; the same path may come several times."""
    for target in _targets(config):
        if target not in STANDARD and not is_syslog(target):
            yield target


def syslog_hosts(config: Config) -> Iterator[str]:
    """Yield the host of each syslog server that is not on this machine's file system."""
    events = [log.target for upstream in config.upstreams for log in upstream.events]
    for target in (config.error_log.target, *_targets(config), *events):
        if is_syslog(target):
            host, _, _ = parse_syslog(target)
            if host:
                yield host


def _targets(config: Config) -> Iterator[str]:
    yield from _targets_of(config.access_log)
    for listener in config.listeners:
        yield from _targets_of(listener.access_log)
    for site in config.sites:
        yield from _targets_of(site.access_log)
        yield from _targets_below(site)


def _targets_below(level: Site | Route) -> Iterator[str]:
    for _, route in routes_inside("", level.source, level.errors):
        yield from _targets_of(route.access_log)
        yield from _targets_below(route)


def _targets_of(log: AccessLog | None) -> Iterator[str]:
    for each in (log, *log.also) if log is not None else ():
        if each.file is None:
            yield each.target
