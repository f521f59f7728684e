"""When an answer goes stale, where that is known only when it is made.

Facts: Expires has a date, Cache-Control the seconds until then (RFC 9111 5.2.2, 5.3). What has gone stale already is not kept at all.

Rules: a text that says no time makes nothing.
"""

import time
from typing import Final

from vestibule.exchange import Exchange
from vestibule.http.dates import http_date, parse_http_date
from vestibule.plan.expr import EXCHANGE, Node

_DIGITS: Final = b"0123456789"
_DIGITS_MOST: Final = 9
_SECONDS: Final = {b"y": 31_536_000, b"M": 2_592_000, b"w": 604_800, b"d": 86_400, b"h": 3_600, b"m": 60, b"s": 1, b"": 1}
_DAY: Final = 86_400
_WORDS: Final = {
    b"epoch": (b"Thu, 01 Jan 1970 00:00:01 GMT", b"no-cache"),
    b"max": (b"Thu, 31 Dec 2037 23:55:55 GMT", b"max-age=315360000"),
}


class Expiry(Node):
    """Expires, or Cache-Control, by a text: `epoch`, `max`, a time from now or, with `@`, of the day. Where `since` is there, times count
    from that date, and nothing else is a text."""

    def __init__(self, text: Node, since: Node | None, is_date: bool) -> None:
        super().__init__(EXCHANGE)
        self._text = text
        self._since = since
        self._is_date = is_date

    def find(self, ex: Exchange) -> bytes | None:
        text = self._text.text(ex)
        if self._since is None and text in _WORDS:
            return _WORDS[text][0 if self._is_date else 1]
        now = int(time.time())
        if text[:1] == b"@":
            seconds = _seconds(text[1:])
            if seconds < 0 or seconds > _DAY or self._since is not None:
                return None
            return self._said(_next_time(now, seconds), now)
        seconds = _seconds(text.lstrip(b"+-") if text[1:2] not in (b"+", b"-") else b"")
        if seconds < 0:
            return None
        since = parse_http_date(self._since.text(ex)) if self._since is not None else -1
        start = now if since < 0 else since
        return self._said(start - seconds if text[:1] == b"-" else start + seconds, now)

    def _said(self, until: int, now: int) -> bytes:
        if self._is_date:
            return http_date(until)
        return b"max-age=%d" % (until - now) if until >= now else b"no-cache"


def _seconds(text: bytes) -> int:
    """Return the seconds that a time has, such as `1h30m`; -1 for what is none."""
    total = 0
    last = _SECONDS[b"y"] + 1
    rest = text
    while rest:
        after = rest.lstrip(_DIGITS)
        digits = rest[: len(rest) - len(after)]
        unit = _SECONDS.get(after[:1], 0)
        if not digits or len(digits) > _DIGITS_MOST or unit == 0 or unit >= last:
            return -1
        total += int(digits) * unit
        last = unit
        rest = after[1:]
    return total if text else -1


def _next_time(now: int, seconds: int) -> int:
    """Return the next moment at which it is so many seconds after midnight here."""
    today = time.localtime(now)
    for day in (0, 1):
        hour, rest = divmod(seconds, 3600)
        moment = int(time.mktime((today.tm_year, today.tm_mon, today.tm_mday + day, hour, rest // 60, rest % 60, 0, 0, -1)))
        if moment > now:
            return moment
    return now + _DAY
