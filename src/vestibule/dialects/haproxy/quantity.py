"""Times of HAProxy.

Facts (HAProxy configuration manual, chapter 2.5): a number with ``us``, ``ms``, ``s``, ``m``, ``h`` or ``d`` behind it,
milliseconds without.
"""

from __future__ import annotations

import re

_TIME = re.compile(r"([0-9]+)(us|ms|s|m|h|d|)")
_UNITS = {"us": 0.001, "": 1, "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

_MOST_MS = 2**31
"""HAProxy refuses longer times."""


def parse_time(text: str) -> int:
    """Read a time as milliseconds, at least one. Raises ``ValueError``."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is no time")
    amount = int(found[1]) * _UNITS[found[2]]
    if amount > _MOST_MS:
        raise ValueError(f"`{text}` is too long")
    return max(1, round(amount))
