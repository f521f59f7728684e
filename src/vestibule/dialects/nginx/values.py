"""The quantities of nginx: sizes, times, switches.

Facts: sizes are powers of 1024 with ``k``, ``m`` or ``g``; times are seconds unless a unit says otherwise, and units go from
large to small. ``nginx`` takes ``ms s m h d w M y``.

Rules: every ``parse_`` function raises ``ValueError`` whose text says what was expected.
"""

from __future__ import annotations

import ipaddress
import re

from vestibule.dialects.record import Record
from vestibule.model.diagnostic import Span
from vestibule.model.quantity import MAX_QUANTITY, parse_network

_SIZE = re.compile(r"([0-9]{1,15})([kKmMgG]?)", re.ASCII)
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_TIME_PART = re.compile(r"([0-9]{1,12})(ms|[smhdwMy]?) *", re.ASCII)
_TIME_UNITS = {
    "y": 365 * 86_400_000,
    "M": 30 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "": 1_000,
    "ms": 1,
}


def parse_size(text: str) -> int:
    """Read ``50000M``, ``8k`` or a number of bytes."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is no size; write it as `8k`, `50m` or `2g`")
    size = int(match[1]) * _SIZE_UNITS[match[2].lower()]
    if size > MAX_QUANTITY:
        raise ValueError(f"`{text}` is too large")
    return size


def parse_time(text: str) -> int:
    """Read ``600s``, ``1h30m`` or a number of seconds as milliseconds."""
    total, at, last = 0, 0, MAX_QUANTITY
    while at < len(text):
        part = _TIME_PART.match(text, at)
        if part is None or _TIME_UNITS[part[2]] >= last:
            raise ValueError(f"`{text}` is no time; write it as `60s`, `10m` or `1h30m`")
        last = _TIME_UNITS[part[2]]
        total, at = total + int(part[1]) * last, part.end()
    if not text:
        raise ValueError("a time is expected")
    if total > MAX_QUANTITY:
        raise ValueError(f"`{text}` is too long")
    return total


def parse_flag(text: str) -> bool:
    """Read ``on`` or ``off``."""
    if text not in ("on", "off"):
        raise ValueError(f"`{text}` is neither `on` nor `off`")
    return text == "on"


def parse_count(text: str, lowest: int = 0) -> int:
    """Read a number."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= lowest):
        raise ValueError(f"`{text}` is no number from {lowest} on")
    return int(text)


def read_network(record: Record, span: Span, text: str) -> str:
    """Return an address or a network; bits outside its mask count for nothing, which a warning says. Raises ``ValueError``."""
    try:
        return parse_network(text)
    except ValueError:
        try:
            wanted = str(ipaddress.ip_network(text, strict=False))
        except ValueError:
            wanted = ""
        if not wanted:
            raise
    record.warning(span, "left-out", f"`{text}` has bits outside its mask, which count for nothing", f"write `{wanted}`")
    return wanted
