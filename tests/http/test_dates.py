"""Dates are in English and in the right zone whatever the machine thinks."""

import email.utils
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestibule.http.dates import Almanac, http_date, log_date

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
