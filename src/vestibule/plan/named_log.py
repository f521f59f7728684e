"""Logs of which each line names its file.

Facts: whoever rotates such files cannot know all of them, and the control process not what to open.

Rules
  A file is opened when lines are written, which is for many at a time, and closed again: one that was moved away is made anew.
  It stays below its directory. A name that would not, and one that cannot be opened, loses its lines.

Not here: files with fixed names (`log_sink.py`), when lines are written (`compile_state.py`).
"""

import os
import stat
from typing import Final

from vestibule.contract import LogLine
from vestibule.exchange import Exchange
from vestibule.plan.expr import Node
from vestibule.plan.log_sink import Flusher, LogSink
from vestibule.plan.state import State

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MODE: Final = 0o640
_NAME_MOST: Final = 1024

# Files that lines may wait for at a time. Clients may name new ones; past this all are written.
_FILES_MOST: Final = 256


class NamedSink(LogSink):
    """One file."""

    def __init__(self, flusher: Flusher, path: bytes) -> None:
        super().__init__(flusher)
        self._path = path

    def flush(self) -> None:
        if not self.waiting:
            return
        try:
            self._fd = os.open(self._path, _FLAGS, _MODE)
        except OSError:
            self._fd = -1
        if self._fd >= 0 and stat.S_ISREG(os.fstat(self._fd).st_mode):
            super().flush()
        else:
            self.lost += len(self._lines)
            self._lines.clear()
            self._rest = b""
            self.waiting = 0
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class NamedLogs(State):
    """The files below a directory that lines wait for."""

    def __init__(self, flusher: Flusher, directory: bytes) -> None:
        self._flusher = flusher
        self._directory = directory.rstrip(b"/")
        self._sinks: dict[bytes, NamedSink] = {}

    def sink(self, name: bytes) -> NamedSink | None:
        """Return the log of a name; None for one that is not below the directory."""
        found = self._sinks.get(name)
        if found is None and _is_below(name):
            if len(self._sinks) >= _FILES_MOST:
                self.close()
            found = NamedSink(self._flusher, self._directory + b"/" + name)
            self._sinks[name] = found
        return found

    def close(self) -> None:
        for sink in self._sinks.values():
            sink.flush()
        self._sinks.clear()


def _is_below(name: bytes) -> bool:
    if not name or len(name) > _NAME_MOST or name.find(b"\0") >= 0:
        return False
    for segment in name.split(b"/"):  # noqa: SIM110 - because mypyc makes a slow generator of `all(...)`
        if segment in (b"", b".", b".."):
            return False
    return True


class ChosenSink(LogSink):
    """Takes lines for the file that was chosen before each of them."""

    def __init__(self, flusher: Flusher) -> None:
        super().__init__(flusher)
        self.chosen: NamedSink | None = None

    def add(self, line: bytes) -> None:
        if self.chosen is not None:
            self.chosen.add(line)


class LogByName(LogLine):
    """A line that goes to the file it names."""

    def __init__(self, logs: NamedLogs, name: Node, sink: ChosenSink, line: LogLine) -> None:
        self._logs = logs
        self._name = name
        self._sink = sink
        self._line = line

    def write(self, ex: Exchange) -> None:
        self._sink.chosen = self._logs.sink(self._name.text(ex))
        if self._sink.chosen is not None:
            self._line.write(ex)
