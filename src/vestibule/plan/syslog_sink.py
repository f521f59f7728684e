"""A log whose lines go to a syslog server, one datagram each.

Facts: a server that is started again takes nothing for a moment; how long, nobody tells.

Rules: as in `log_sink.py`: a request never waits for its log; what is not taken waits here, up to a bound; then
lines are lost, and counted.

Not here: sockets and heads (`net/syslog.py`).
"""

import time
from typing import Final

from vestibule.net.syslog import LATER, LOST, SyslogHead, SyslogPort
from vestibule.plan.log_sink import WAIT_MOST, Flusher, LogSink

# Lines sent in one turn: some ten milliseconds at most, when a server comes back.
_TURN: Final = 1_000

# As much waits for company; more than this is sent at once.
_BATCH: Final = 65_536


class SyslogSink(LogSink):
    """One log of one worker."""

    def __init__(self, flusher: Flusher, port: SyslogPort, head: SyslogHead, severity: int) -> None:
        super().__init__(flusher)
        self._port = port
        self._head = head
        self._severity = severity
        self._datagrams: list[bytes] = []
        self._stuck = False

    def add(self, line: bytes) -> None:
        if self.waiting >= WAIT_MOST:
            self.lost += 1
            return
        datagram = self._head.text(self._severity, int(time.time())) + line[:-1]
        if not self.waiting:
            self._flusher.flush_soon(self)
        self._datagrams.append(datagram)
        self.waiting += len(datagram)
        if self.waiting >= _BATCH and not self._stuck:
            self.flush()

    def flush(self) -> None:
        at = 0
        most = min(len(self._datagrams), _TURN)
        self._stuck = False
        while at < most:
            datagram = self._datagrams[at]
            became = self._port.send(datagram)
            if became == LATER:
                self._stuck = True
                break
            if became == LOST:
                self.lost += 1
            self.waiting -= len(datagram)
            at += 1
        del self._datagrams[:at]

    def _let_go(self) -> None:
        self.flush()
        self._port.close()
