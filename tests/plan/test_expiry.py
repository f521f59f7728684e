"""When answers go stale."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from vestibule.http.dates import http_date
from vestibule.plan import expiry
from vestibule.plan.expiry import Expiry
from vestibule.plan.expr import Const

from .fakes import idle

NOW = 1_600_000_000
SINCE = b"Sun, 13 Sep 2020 12:00:00 GMT"
SINCE_S = NOW - 1_600


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(expiry.time, "time", lambda: NOW + 0.5)
    yield
    monkeypatch.undo()
    time.tzset()


def both(text: bytes, since: bytes | None = None) -> tuple[bytes | None, bytes | None]:
    node = None if since is None else Const(since)
    date, control = [Expiry(Const(text), node, is_date).find(idle()) for is_date in (True, False)]
    return date, control


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"0", 0),
        (b"2048", 2048),
        (b"+30s", 30),
        (b"1h30m", 5400),
        (b"1d2h3", 93_603),
        (b"1y1M1w", 31_536_000 + 2_592_000 + 604_800),
        (b"@15h30m33s", (15 - 12) * 3600 + 30 * 60 + 33 - 26 * 60 - 40),
        (b"@12h26m40s", 86_400),
        (b"@0", 86_400 - 12 * 3600 - 26 * 60 - 40),
        (b"@24h", 86_400 - 12 * 3600 - 26 * 60 - 40),
    ],
)
def test_a_time(text: bytes, seconds: int) -> None:
    assert both(text) == (http_date(NOW + seconds), b"max-age=%d" % seconds)


def test_what_is_stale_already() -> None:
    assert both(b"-1h") == (http_date(NOW - 3600), b"no-cache")
    assert both(b"epoch") == (b"Thu, 01 Jan 1970 00:00:01 GMT", b"no-cache")
    assert both(b"max") == (b"Thu, 31 Dec 2037 23:55:55 GMT", b"max-age=315360000")


def test_times_from_a_date() -> None:
    assert both(b"1h", SINCE) == (http_date(SINCE_S + 3600), b"max-age=2000")
    assert both(b"60", SINCE) == (http_date(SINCE_S + 60), b"no-cache")
    assert both(b"60", b"") == (http_date(NOW + 60), b"max-age=60"), "where there is none, they count from now"


@pytest.mark.parametrize("text", [b"", b"off", b"bad", b"1m1h", b"1h1h", b"++1", b"-", b"@", b"@25h", b"@-1", b"1 h", b"1ms"])
def test_a_text_that_says_no_time(text: bytes) -> None:
    assert both(text) == (None, None)


@pytest.mark.parametrize("text", [b"epoch", b"max", b"@1h"])
def test_what_does_not_count_from_a_date(text: bytes) -> None:
    assert both(text, SINCE) == (None, None)
