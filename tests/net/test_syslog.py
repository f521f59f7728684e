"""Datagrams reach a syslog server, whatever becomes of it meanwhile."""

import os
import re
import socket
import time
from pathlib import Path

import pytest

from vestibule.net.syslog import LATER, LOCAL, LOST, RFC3164, RFC5424, SENT, HostBook, SyslogHead, SyslogPort


class Book(HostBook):
    def __init__(self) -> None:
        self.address = ""

    def first(self, name: str) -> str:
        return self.address


@pytest.mark.parametrize(
    ("form", "head"),
    [
        (LOCAL, rb"<134>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d photos\[%d\]: "),
        (RFC3164, rb"<134>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [^ ]+ photos\[%d\]: "),
        (RFC5424, rb"<134>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [^ ]+ photos %d - - "),
    ],
)
def test_what_stands_before_a_line(form: int, head: bytes) -> None:
    assert re.fullmatch(head % os.getpid(), SyslogHead(16, "photos", form).text(6, int(time.time())))
    assert re.fullmatch(head % 7, SyslogHead(16, "photos", form, 7).text(6, int(time.time())))


def test_the_head_follows_time_and_severity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    head = SyslogHead(3, "v", LOCAL)
    assert head.text(6, 1_000_000_000).startswith(b"<30>Sep  9 01:46:40 v[")
    assert head.text(3, 1_000_000_000).startswith(b"<27>Sep  9 01:46:40 v[")
    assert head.text(3, 1_000_000_001).startswith(b"<27>Sep  9 01:46:41 v[")


def test_a_unix_socket_that_is_made_anew_has_the_next_line(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    port = SyslogPort("", 0, path, Book())
    assert port.send(b"nobody") == LATER
    for line in (b"one", b"two"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            assert port.send(line) == SENT
            assert server.recv(100) == line
        assert port.send(b"gone") == LATER
        os.unlink(path)
    port.close()


def test_a_full_unix_socket_takes_lines_later(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    port = SyslogPort("", 0, path, Book())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        became = [port.send(b"x" * 1000) for _ in range(5000)]
        assert became[0] == SENT
        assert became[-1] == LATER
        server.recv(2000)
        assert port.send(b"y") == SENT
    port.close()


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_udp_goes_where_the_name_points_now(family: int, address: str) -> None:
    book = Book()
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((address, 0))
        server.settimeout(5)
        port = SyslogPort("logs", server.getsockname()[1], "", book)
        assert port.send(b"too early") == LATER
        book.address = address
        assert port.send(b"line") == SENT
        assert server.recv(100) == b"line"
        assert port.send(b"x" * 70_000) == LOST
    port.close()


def test_a_head_is_made_once_in_a_second() -> None:
    head = SyslogHead(16, "photos", RFC5424)
    first = head.text(6, 1000)
    assert head.text(6, 1000) is first
    assert head.text(3, 1000) != first and head.text(6, 1001) != first
