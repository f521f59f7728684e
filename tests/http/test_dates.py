"""Dates are in English and in the right zone whatever the machine thinks."""

import email.utils
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.http.dates import Almanac, http_date, log_date, parse_http_date

SECONDS = st.integers(0, 4_102_444_800)


@given(SECONDS)
def test_http_date_is_what_the_library_writes(second: int) -> None:
    assert http_date(second).decode() == email.utils.formatdate(second, usegmt=True)


@given(SECONDS, st.integers(0, 999))
def test_iso(second: int, ms: int) -> None:
    wanted = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms:03}Z"
    assert Almanac().iso(second * 1000 + ms).decode() == wanted


def test_almanac_changes_with_the_second() -> None:
    almanac = Almanac()
    assert almanac.iso(999) == b"1970-01-01T00:00:00.999Z"
    assert almanac.iso(1000) == b"1970-01-01T00:00:01.000Z"
    assert almanac.iso(1) == b"1970-01-01T00:00:00.001Z"
    assert almanac.log(1_000) != almanac.log(2_000)


@pytest.mark.parametrize(("zone", "wanted"), [("UTC0", b"+0000"), ("IST-5:30", b"+0530"), ("NST3:30", b"-0330")])
def test_log_date_says_its_zone(zone: str, wanted: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        text = log_date(784_111_777)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert text.endswith(wanted)
    moment = datetime.strptime(text.decode(), "%d/%b/%Y:%H:%M:%S %z")
    assert moment.timestamp() == 784_111_777


@pytest.mark.parametrize("text", [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"])
def test_three_forms_of_a_date(text: bytes) -> None:
    assert parse_http_date(text) == 784_111_777


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"now",
        b"Sun, 06 Nov 1994 08:49:37 CET",
        b"Sun, 32 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nix 1994 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1969 08:49:37 GMT",
        b"Sun, 06 Nov 10000 08:49:37 GMT",
        b"Sun, 06 Nov x994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49 GMT",
        b"Sun, 06 Nov 1994 08::37 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
    ],
)
def test_what_is_no_date(text: bytes) -> None:
    assert parse_http_date(text) == -1


@given(st.integers(0, 2**35))
def test_dates_read_back(second: int) -> None:
    assert parse_http_date(http_date(second)) == second


@pytest.mark.parametrize(("year", "wanted"), [(b"70", 1970), (b"99", 1999), (b"00", 2000), (b"69", 2069)])
def test_two_digits_are_a_year_of_ours(year: bytes, wanted: int) -> None:
    assert parse_http_date(b"Sunday, 06-Nov-%s 00:00:00 GMT" % year) == parse_http_date(b"Sun, 06 Nov %d 00:00:00 GMT" % wanted) > 0


def test_what_was_made_for_a_moment_is_kept_for_it() -> None:
    almanac = Almanac()
    assert almanac.iso(1500) is almanac.iso(1500)
    assert almanac.iso(1501) == b"1970-01-01T00:00:01.501Z"
    assert almanac.log(1500) is almanac.log(1999)
