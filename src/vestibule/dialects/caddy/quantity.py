"""Durations and sizes of Caddy.

Facts: durations are those of Go (``1h30m``, ``1.5s``, ``500ms``) and days (``7d``); sizes are powers of 1000 (``10MB``) or,
with an ``i``, of 1024.
"""

from __future__ import annotations

import re

from vestibule.model.quantity import parse_size

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d)")
_UNITS = {"ns": 1e-6, "us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}

_MOST_MS = 2**53


def parse_duration(text: str) -> int:
    """Read a duration as milliseconds. Raises ``ValueError``."""
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            break
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if text == "0":
        return 0
    if at == 0 or at < len(text) or total > _MOST_MS:
        raise ValueError(f"`{text}` is no duration")
    return round(total)


def parse_bytes(text: str) -> int:
    """Read a size as bytes. Raises ``ValueError``."""
    upper = text.upper().replace(" ", "")
    for unit in ("K", "M", "G", "T"):
        if upper.endswith(unit):
            upper += "B"
        upper = upper.replace(f"{unit}IB", f"{unit}iB")
    try:
        return parse_size(upper)
    except ValueError:
        raise ValueError(f"`{text}` is no size") from None
