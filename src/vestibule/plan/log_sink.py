"""Where log lines wait until they are written, many at a time.

Facts
  A write to a regular file goes to the page cache and does not wait for a reader; one to a pipe, socket
  or terminal waits as long as the reader likes, unless the open file says otherwise. That flag belongs to
  the open file and not to the descriptor, so setting it on an inherited one would change it for others.
  A pipe takes up to PIPE_BUF bytes in one piece (pipe(7)); lines of several workers do not mix then.

Rules
  A request never waits for its log. What cannot be written waits here, up to a bound; then lines are
  lost, and counted.
  Only whole lines are written to what others write to as well, unless a line is longer than a piece.
  A log that the configuration names no more is written to by the exchanges that began with it, and let go
  with the last of them.

Not here: what a line says (`access_log.py`), when to flush (`compile.py`), opening of files (the control process).
"""

import os
import select
import stat
from typing import Final

from mypy_extensions import trait

from vestibule.plan.state import State

# Written at once to a file, and the amount that is not left to wait for the next flush.
_BATCH: Final = 65_536

# Bytes that may wait: a reader that stands still for longer loses lines.
WAIT_MOST: Final = 4_194_304

_PIPE_BUF: Final = 4_096


@trait
class Flusher:
    """Whoever calls `flush` some time after the first line."""

    def flush_soon(self, sink: "LogSink") -> None:
        raise NotImplementedError


class LogSink(State):
    """One log of one worker. Until `use` gave it a descriptor, lines wait. What it holds is let go when nothing refers to it."""

    def __init__(self, flusher: Flusher) -> None:
        self.lost = 0
        self.waiting = 0
        self._flusher = flusher
        self._fd = -1
        self._given = -1  # the descriptor to close in the end, if it is ours
        self._own = -1  # an open file of our own for the same pipe
        self._patient = True
        self._lines: list[bytes] = []
        self._rest = b""

    def use(self, fd: int, owned: bool) -> None:
        """Write to this descriptor from now on, and close the one before. `owned` ones are closed in their turn."""
        self._let_go()
        if owned:
            self._given = fd
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            return  # standard output is closed; lines are given up when too many wait
        self._fd = fd
        self._patient = stat.S_ISREG(mode)
        if stat.S_ISFIFO(mode):
            try:
                # An open file of our own may refuse to wait without changing that of others.
                self._own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._fd = self._own
            except OSError:
                self._own = -1

    def _let_go(self) -> None:
        self.flush()
        for fd in (self._own, self._given):
            if fd >= 0:
                os.close(fd)
        self._fd = -1
        self._own = -1
        self._given = -1

    def add(self, line: bytes) -> None:
        """Take one line, with its line feed."""
        if self.waiting >= WAIT_MOST:
            self.lost += 1
            return
        if not self.waiting:
            self._flusher.flush_soon(self)
        self._lines.append(line)
        self.waiting += len(line)
        if self.waiting >= _BATCH and self._patient:
            self.flush()

    def flush(self) -> None:
        """Write what waits, as much as can be without waiting. Called by the flusher, and in the end."""
        if not self.waiting or self._fd < 0:
            return
        data = self._rest + b"".join(self._lines)
        self._lines.clear()
        at = 0
        while at < len(data):
            end = self._piece_end(data, at)
            count = self._write(data[at:end])
            if count < end - at:
                at += count
                break
            at = end
        self._rest = data[at:]
        self.waiting = len(self._rest)

    def _piece_end(self, data: bytes, at: int) -> int:
        if self._patient:
            return min(at + _BATCH, len(data))
        if len(data) - at <= _PIPE_BUF:
            return len(data)
        end = data.rfind(b"\n", at, at + _PIPE_BUF)
        return at + _PIPE_BUF if end < 0 else end + 1

    def _write(self, piece: bytes) -> int:
        """Write one piece; return how many bytes went, or were given up."""
        try:
            if not self._patient and self._own < 0 and not _is_writable(self._fd):
                return 0
            return os.write(self._fd, piece)
        except BlockingIOError:
            return 0
        except OSError:
            # A full disk or a reader that has gone: keeping the lines would not help.
            self.lost += piece.count(b"\n")
            return len(piece)

    def close(self) -> None:
        """Write what waits, if it goes. Lines of exchanges in flight may still come."""
        self.flush()

    def __del__(self) -> None:
        self._let_go()


def _is_writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
