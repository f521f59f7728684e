"""Addresses of syslog servers."""

import pytest

from vestibule.model.syslog import FACILITIES, SEVERITIES, is_syslog, parse_syslog


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("syslog:/dev/log", ("", 0, "/dev/log")),
        ("syslog:logs.lan", ("logs.lan", 514, "")),
        ("syslog:127.0.0.1:1514", ("127.0.0.1", 1514, "")),
        ("syslog:[::1]:1514", ("::1", 1514, "")),
        ("syslog:[::1]", ("::1", 514, "")),
    ],
)
def test_where_a_server_is(target: str, address: tuple[str, int, str]) -> None:
    assert is_syslog(target)
    assert parse_syslog(target) == address


@pytest.mark.parametrize("target", ["syslog:", "syslog::514", "syslog:a:", "syslog:a:0", "syslog:a:b", "syslog:[::1", "syslog:*:514"])
def test_what_is_no_server(target: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_syslog(target)


def test_numbers_are_those_of_the_rfc() -> None:
    assert (FACILITIES.index("local7"), FACILITIES.index("daemon"), SEVERITIES.index("err"), SEVERITIES.index("debug")) == (23, 3, 3, 7)
