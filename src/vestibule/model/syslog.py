"""Where a syslog server is, and the numbers of what stands before lines that go to it.

Facts: a line is one datagram that begins with its priority, eight times the facility plus the severity (RFC 3164 4.1, RFC 5424
6.2). A server behind UDP listens on port 514 unless told otherwise (RFC 5426 3.3); one of the same machine at a socket of the file
system, mostly ``/dev/log``.

Not here: sending (``net/syslog``).
"""

from __future__ import annotations

from typing import get_args

from vestibule.model.quantity import parse_port, parse_server_host, split_authority
from vestibule.model.settings import Facility, Severity

PREFIX = "syslog:"
"""What the target of a log begins with where it goes to a syslog server."""

PORT = 514

FACILITIES: tuple[str, ...] = get_args(Facility)
SEVERITIES: tuple[str, ...] = get_args(Severity)


def is_syslog(target: str) -> bool:
    """Tell whether a log goes to a syslog server."""
    return target.startswith(PREFIX)


def parse_syslog(target: str) -> tuple[str, int, str]:
    """Read ``syslog:HOST``, ``syslog:HOST:PORT`` or ``syslog:/PATH`` as host, port and path. Raises ``ValueError``."""
    text = target.removeprefix(PREFIX)
    if text.startswith("/"):
        return "", 0, text
    host, port = split_authority(text)
    if not host:
        raise ValueError("expected `syslog:HOST:PORT` or `syslog:/PATH`")
    return parse_server_host(host), parse_port(port) if port else PORT, ""
