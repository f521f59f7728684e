"""Moments as text, in the forms that HTTP and logs use.

Facts: HTTP dates are in English and GMT whatever the locale (RFC 9110 5.6.7), so `strftime` may not
make them. Many requests fall into one second.

Rules: no clock is read here; the caller brings the moment. The last second's text is kept.
"""

import calendar
import time
from typing import Final

from vestibule.http.number import parse_decimal

_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


def http_date(second: int) -> bytes:
    """Return seconds since 1970 as an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7)."""
    t = time.gmtime(second)
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[t.tm_wday],
        t.tm_mday,
        _MONTHS[t.tm_mon - 1],
        t.tm_year,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
    )


def parse_http_date(text: bytes) -> int:
    """Return the seconds since 1970 of an HTTP date in any of its three forms (RFC 9110 5.6.7), or -1 if it is none."""
    words = text.replace(b"-", b" ").replace(b",", b" ").split()
    if len(words) == 5:  # asctime: Sun Nov  6 08:49:37 1994
        words = [words[0], words[2], words[1], words[4], words[3], b"GMT"]
    if len(words) != 6 or words[5] != b"GMT" or words[2] not in _MONTHS:
        return -1
    clock = words[4].split(b":")
    day = _padded(words[1])
    year = _padded(words[3])
    if len(clock) != 3 or day < 1 or day > 31 or year < 0:
        return -1
    if len(words[3]) == 2:  # RFC 850: fifty years ahead at most; nothing that asks is older than the Web
        year += 1900 if year >= 70 else 2000
    hour = _padded(clock[0])
    minute = _padded(clock[1])
    second = _padded(clock[2])
    if not 1970 <= year <= 9999 or not 0 <= hour < 24 or not 0 <= minute < 60 or not 0 <= second <= 60:
        return -1
    return calendar.timegm((year, _MONTHS.index(words[2]) + 1, day, hour, minute, second))


def _padded(digits: bytes) -> int:
    """Return a number that may have zeros before it, or -1."""
    return parse_decimal(digits.lstrip(b"0") or b"0") if digits else -1


def log_date(second: int) -> bytes:
    """Return seconds since 1970 in local time as the combined log format has it: `06/Nov/1994:09:49:37 +0100`."""
    t = time.localtime(second)
    offset = t.tm_gmtoff // 60
    sign = b"+" if offset >= 0 else b"-"
    offset = abs(offset)
    return b"%02d/%s/%04d:%02d:%02d:%02d %s%02d%02d" % (
        t.tm_mday,
        _MONTHS[t.tm_mon - 1],
        t.tm_year,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
        sign,
        offset // 60,
        offset % 60,
    )


class Almanac:
    """The texts of the last moment and second, made once."""

    def __init__(self) -> None:
        self._moment_ms = -1
        self._iso_moment = b""
        self._iso_second = -1
        self._iso = b""
        self._log_second = -1
        self._log = b""

    def iso(self, moment_ms: int) -> bytes:
        """Return milliseconds since 1970 as RFC 3339 in UTC: `1994-11-06T08:49:37.123Z`."""
        if moment_ms == self._moment_ms:
            return self._iso_moment
        second = moment_ms // 1000
        if second != self._iso_second:
            t = time.gmtime(second)
            self._iso = b"%04d-%02d-%02dT%02d:%02d:%02d." % (t.tm_year, t.tm_mon, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec)
            self._iso_second = second
        self._moment_ms = moment_ms
        self._iso_moment = self._iso + b"%03dZ" % (moment_ms - second * 1000)
        return self._iso_moment

    def log(self, moment_ms: int) -> bytes:
        """Return milliseconds since 1970 as `log_date` has it."""
        second = moment_ms // 1000
        if second != self._log_second:
            self._log = log_date(second)
            self._log_second = second
        return self._log
