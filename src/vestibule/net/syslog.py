"""Lines as datagrams to a syslog server.

Facts
  The socket is not connected: each datagram finds the server anew, so one that was started again, or whose
  file in the file system was made anew, has the next line.
  A datagram to a full or missing unix socket fails and may be sent again (EAGAIN, ECONNREFUSED, ENOENT);
  what becomes of one by UDP, nobody hears.

Rules
  `send` never waits.
  A line stays one line: what is sent ends before its line feed.

Not here: lines that wait (`plan/syslog_sink.py`), the error log (`control/logs.py`).
"""

import errno
import os
import socket
import time
from typing import Final

from mypy_extensions import mypyc_attr

SENT: Final = 0
LATER: Final = 1
LOST: Final = 2

LOCAL: Final = 0
RFC3164: Final = 1
RFC5424: Final = 2

# What may become better by itself: a server that is busy, or being started again.
_PASSING: Final = (errno.EAGAIN, errno.ECONNREFUSED, errno.ENOENT, errno.ENOBUFS, errno.EINTR)

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@mypyc_attr(allow_interpreted_subclasses=True)
class HostBook:
    """Knows the addresses of names. No trait, because the control process, which is not compiled, has one of its own."""

    def first(self, name: str) -> str:
        """Return the address to send to; empty while none is known."""
        raise NotImplementedError


class SyslogHead:
    """What stands before lines. `form` is LOCAL, RFC3164 or RFC5424, `pid` the number of the process that speaks, 0 for this one."""

    def __init__(self, facility: int, tag: str, form: int, pid: int = 0) -> None:
        self._facility = facility
        self._form = form
        self._pid = pid
        self._host = os.uname().nodename.encode("ascii", "replace") or b"-"
        self._tag = tag.encode("ascii", "replace")
        self._second = -1
        self._severity = -1
        self._text = b""

    def text(self, severity: int, now_s: int) -> bytes:
        """Return the head of a line; it is made once in a second."""
        if now_s != self._second or severity != self._severity:
            self._second = now_s
            self._severity = severity
            self._text = self._made(severity, now_s)
        return self._text

    def _made(self, severity: int, now_s: int) -> bytes:
        priority = self._facility * 8 + severity
        pid = self._pid or os.getpid()
        if self._form == RFC5424:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s)).encode()
            return b"<%d>1 %s %s %s %d - - " % (priority, at, self._host, self._tag, pid)
        # RFC 3164 4.1.2: the time of the place, and a blank before a single digit of the day.
        now = time.localtime(now_s)
        at = b"%s %2d %02d:%02d:%02d" % (_MONTHS[now.tm_mon - 1].encode(), now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec)
        host = b"" if self._form == LOCAL else self._host + b" "
        return b"<%d>%s %s%s[%d]: " % (priority, at, host, self._tag, pid)


class SyslogPort:
    """The way to one server: a host and a port, or the path of a unix socket."""

    def __init__(self, host: str, port: int, path: str, book: HostBook) -> None:
        self._host = host
        self._port = port
        self._path = path
        self._book = book
        self._sock: socket.socket | None = None
        self._family = -1

    def send(self, datagram: bytes) -> int:
        """Send one line; tell whether it is SENT, may be sent LATER, or is LOST."""
        try:
            if self._path:
                self._open(socket.AF_UNIX).sendto(datagram, self._path)
                return SENT
            address = self._book.first(self._host)
            if not address:
                return LATER
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self._open(family).sendto(datagram, (address, self._port))
        except OSError as bad:
            return LATER if bad.errno in _PASSING else LOST
        return SENT

    def _open(self, family: int) -> socket.socket:
        sock = self._sock
        if sock is None or self._family != family:
            self.close()
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            self._sock = sock
            self._family = family
        return sock

    def close(self) -> None:
        """Let go of the socket."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
