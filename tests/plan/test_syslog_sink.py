"""Lines wait for a syslog server up to a bound, in order, and what is lost is counted."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from vestibule.compile_state import LogFlusher, LoggingHosts
from vestibule.net.reactor import Reactor
from vestibule.net.syslog import RFC5424, SyslogHead, SyslogPort
from vestibule.plan.syslog_sink import SyslogSink
from vestibule.proxy.pool import AddressBook


@pytest.fixture
def flusher() -> Iterator[LogFlusher]:
    reactor = Reactor()
    made = LogFlusher()
    made.start(reactor)
    yield made
    reactor.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "log")


@pytest.fixture
def sink(flusher: LogFlusher, path: str) -> Iterator[SyslogSink]:
    made = SyslogSink(flusher, SyslogPort("", 0, path, LoggingHosts(AddressBook())), SyslogHead(16, "v", RFC5424), 6)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.settimeout(5)
        yield made


def said(server: socket.socket) -> bytes:
    return server.recv(100_000).partition(b" - - ")[2]


def test_lines_wait_until_the_server_is_there(sink: SyslogSink, server: socket.socket, path: str, flusher: LogFlusher) -> None:
    sink.add(b"one\n")
    sink.add(b"two\n")
    assert sink in flusher._waiting
    sink.flush()
    assert sink.waiting > 0
    server.bind(path)
    sink.flush()
    assert [said(server), said(server)] == [b"one", b"two"]
    assert (sink.waiting, sink.lost) == (0, 0)


def test_a_full_batch_is_sent_at_once(sink: SyslogSink, server: socket.socket, path: str) -> None:
    server.bind(path)
    for _ in range(7):
        sink.add(b"x" * 9_999 + b"\n")
    assert said(server) == b"x" * 9_999


def test_what_waits_has_a_bound(sink: SyslogSink) -> None:
    for _ in range(500):
        sink.add(b"x" * 9_999 + b"\n")
    assert 4_194_304 <= sink.waiting < 4_210_000
    assert sink.lost > 0
    assert sink.lost < 500


def test_a_line_longer_than_any_datagram_is_lost_alone(sink: SyslogSink, server: socket.socket, path: str) -> None:
    server.bind(path)
    sink.add(b"x" * 3_000_000 + b"\n")
    sink.add(b"short\n")
    sink.flush()
    assert said(server) == b"short"
    assert (sink.waiting, sink.lost) == (0, 1)


def test_an_address_stands_for_itself_and_a_name_for_its_first() -> None:
    book = AddressBook()
    hosts = LoggingHosts(book)
    assert hosts.first("192.0.2.7") == "192.0.2.7"
    assert hosts.first("::1") == "::1"
    assert hosts.first("logs") == ""
    book.update("logs", ["192.0.2.1", "192.0.2.2"])
    assert hosts.first("logs") == "192.0.2.1"
