"""Lines wait for company, never for a reader, and are lost only when there is no other way."""

import fcntl
import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from vestibule.compile_state import LogFlusher
from vestibule.net.reactor import Reactor
from vestibule.plan.log_sink import LogSink


@pytest.fixture
def flusher() -> Iterator[LogFlusher]:
    reactor = Reactor()
    made = LogFlusher()
    made.start(reactor)
    yield made
    reactor.close()


@pytest.fixture
def sink(flusher: LogFlusher) -> Iterator[LogSink]:
    made = LogSink(flusher)
    yield made
    made.close()


def opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def test_lines_wait_and_are_written_together(sink: LogSink, flusher: LogFlusher, tmp_path: Path) -> None:
    assert not flusher._waiting
    sink.add(b"before\n")  # there is no descriptor yet
    sink.use(opened(tmp_path / "log"), True)
    sink.add(b"one\n")
    sink.add(b"two\n")
    assert sink in flusher._waiting
    assert (tmp_path / "log").read_bytes() == b""
    sink.flush()
    assert (tmp_path / "log").read_bytes() == b"before\none\ntwo\n"
    assert sink.waiting == 0
    flusher._waiting.clear()
    sink.add(b"three\n")
    assert sink in flusher._waiting


def test_a_full_batch_is_written_at_once(sink: LogSink, tmp_path: Path) -> None:
    sink.use(opened(tmp_path / "log"), True)
    line = b"x" * 999 + b"\n"
    for _ in range(70):
        sink.add(line)
    assert (tmp_path / "log").stat().st_size >= 65_536
    sink.flush()
    assert (tmp_path / "log").read_bytes() == line * 70


def test_another_file_gets_the_lines_from_then_on(sink: LogSink, tmp_path: Path) -> None:
    first = opened(tmp_path / "a")
    sink.use(first, True)
    sink.add(b"1\n")
    sink.use(opened(tmp_path / "b"), True)
    sink.add(b"2\n")
    sink.flush()
    assert (tmp_path / "a").read_bytes() == b"1\n"
    assert (tmp_path / "b").read_bytes() == b"2\n"
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(first)


def test_descriptor_of_somebody_else_stays_open(sink: LogSink, tmp_path: Path) -> None:
    fd = opened(tmp_path / "log")
    sink.use(fd, False)
    sink.add(b"1\n")
    sink._let_go()
    assert (tmp_path / "log").read_bytes() == b"1\n"
    os.fstat(fd)
    os.close(fd)


def test_full_pipe_is_not_waited_for(sink: LogSink) -> None:
    reader, writer = os.pipe()
    sink.use(writer, True)
    line = b"x" * 99 + b"\n"
    for _ in range(3_000):
        sink.add(line)
    sink.flush()
    assert sink.waiting > 0
    assert fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK == 0, "the flag would be everybody's"
    got = b""
    while len(got) < 300_000:
        got += os.read(reader, 65_536)
        sink.flush()
    assert got == line * 3_000
    assert sink.lost == 0
    os.close(reader)


def test_pieces_for_others_end_with_a_line(sink: LogSink) -> None:
    reader, writer = os.pipe()
    sink.use(writer, True)
    data = b"y" * 149 + b"\n"
    assert sink._piece_end(data * 100, 0) == 27 * 150
    assert sink._piece_end(data * 100, 99 * 150) == 100 * 150
    assert sink._piece_end(b"y" * 5_000 + b"\n", 0) == 4_096, "a line longer than a piece is cut"
    sink.add(data)
    sink.flush()
    assert os.read(reader, 4096) == data
    os.close(reader)


def test_what_waits_too_long_is_lost_and_counted(sink: LogSink) -> None:
    reader, writer = os.pipe()
    sink.use(writer, True)
    line = b"x" * 65_535 + b"\n"
    for _ in range(80):
        sink.add(line)
    assert sink.waiting <= 4_194_304 + len(line)
    assert sink.lost == 80 - 64
    os.close(reader)
    sink.flush()
    assert sink.waiting == 0
    assert sink.lost == 80


def test_socket_is_written_without_waiting(sink: LogSink) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        sink.use(ours.detach(), True)
        for _ in range(30_000):
            sink.add(b"z" * 99 + b"\n")
        sink.flush()
        assert sink.waiting > 0
        assert theirs.recv(100) == b"z" * 99 + b"\n"


def test_closed_descriptor_is_no_crash(sink: LogSink, tmp_path: Path) -> None:
    fd = opened(tmp_path / "log")
    os.close(fd)
    sink.use(fd, False)
    sink.add(b"1\n")
    sink.flush()
    assert sink.waiting == 2


def test_flusher_writes_and_comes_again_while_something_waits() -> None:
    reactor = Reactor()
    flusher = LogFlusher()
    flusher.start(reactor)
    made = LogSink(flusher)
    reader, writer = os.pipe()
    made.use(writer, True)
    line = b"x" * 99 + b"\n"
    for _ in range(2_000):
        made.add(line)
    flusher.on_deadline()
    assert made.waiting > 0
    assert list(flusher._waiting) == [made], "there is more to write"
    got = b""
    while len(got) < 200_000:
        got += os.read(reader, 200_000)
        if flusher._waiting:
            flusher.on_deadline()
    assert got == line * 2_000
    assert not flusher._waiting
    made.close()
    os.close(reader)
    reactor.close()


def test_a_log_that_nobody_names_is_written_to_by_those_who_hold_it(flusher: LogFlusher, tmp_path: Path) -> None:
    sink = LogSink(flusher)
    fd = opened(tmp_path / "log")
    sink.use(fd, True)
    sink.add(b"1\n")
    sink.close()
    assert (tmp_path / "log").read_bytes() == b"1\n"
    flusher.on_deadline()
    sink.add(b"of an exchange that is older\n")
    assert list(flusher._waiting) == [sink]
    flusher.flush()
    assert (tmp_path / "log").read_bytes() == b"1\nof an exchange that is older\n"
    del sink
    gc.collect()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_lines_before_the_first_turn_wait_for_a_flush(tmp_path: Path) -> None:
    flusher = LogFlusher()
    sink = LogSink(flusher)
    sink.use(opened(tmp_path / "log"), True)
    sink.add(b"1\n")
    flusher.flush()
    assert (tmp_path / "log").read_bytes() == b"1\n"
