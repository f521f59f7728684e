"""Logs of which each line names its file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vestibule.contract import LogLine
from vestibule.exchange import Exchange
from vestibule.plan.log_sink import Flusher, LogSink
from vestibule.plan.named_log import ChosenSink, LogByName, NamedLogs
from vestibule.plan.variables import Arg

from .fakes import idle

pytestmark = pytest.mark.interpreted_only  # classes of these tests derive from compiled traits


class Waiting(Flusher):
    """Notes who has lines."""

    def __init__(self) -> None:
        self.sinks: list[LogSink] = []

    def flush_soon(self, sink: LogSink) -> None:
        self.sinks.append(sink)

    def flush(self) -> None:
        for sink in self.sinks:
            sink.flush()


class Line(LogLine):
    """Writes the target of a request."""

    def __init__(self, sink: LogSink) -> None:
        self._sink = sink

    def write(self, ex: Exchange) -> None:
        self._sink.add(ex.request.target + b"\n")


class Case:
    def __init__(self, folder: Path) -> None:
        self.waiting = Waiting()
        self.logs = NamedLogs(self.waiting, os.fsencode(folder) + b"/")
        sink = ChosenSink(self.waiting)
        self.line = LogByName(self.logs, Arg(b"n"), sink, Line(sink))

    def write(self, *names: str) -> None:
        for name in names:
            self.line.write(idle(f"/?n={name}"))


def test_lines_go_to_the_files_they_name(tmp_path: Path) -> None:
    case = Case(tmp_path)
    (tmp_path / "sub").mkdir()
    case.write("a.log", "sub/b.log", "a.log")
    assert list(tmp_path.glob("*.log")) == [], "they wait for others"
    case.waiting.flush()
    assert (tmp_path / "a.log").read_text() == "/?n=a.log\n" * 2
    assert (tmp_path / "sub/b.log").read_text() == "/?n=sub/b.log\n"
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    case.write("a.log")
    case.waiting.flush()
    assert (tmp_path / "a.log").read_text() == "/?n=a.log\n", "what was moved away is made anew"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../x", "/x", "a//x", "a/", "x" * 1025, "%00x".replace("%00", "\0")])
def test_nobody_leaves_the_directory(tmp_path: Path, name: str) -> None:
    below = tmp_path / "logs"
    below.mkdir()
    assert NamedLogs(Waiting(), os.fsencode(below)).sink(name.encode()) is None


def test_what_cannot_be_opened_loses_its_lines(tmp_path: Path) -> None:
    case = Case(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    case.write("none/x.log", "directory", "pipe")
    case.waiting.flush()
    assert [(sink.lost, sink.waiting) for sink in case.waiting.sinks] == [(1, 0)] * 3


def test_files_that_wait_are_bounded(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.write(*[str(number) for number in range(257)])
    assert len(list(tmp_path.iterdir())) == 256
    case.logs.close()
    assert (tmp_path / "256").read_text() == "/?n=256\n"
