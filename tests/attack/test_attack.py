"""The judges of hostile input can tell, and the page of who does what has every case.

Not here: that vestibule refuses (`tests/e2e`), the other programs (`python -m tests.attack`).
"""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.attack import answers, requests
from tests.attack.__main__ import BAD, GROUPS, PAGE, label
from tests.attack.recorder import Recorder, shut
from tests.e2e import cases

OK = b"HTTP/1.1 200 OK\r\n"


class Pipe:
    """The worst proxy there is: it passes everything on as it is."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._socks: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                down, _ = self._listener.accept()
            except OSError:
                return
            up = socket.create_connection(("127.0.0.1", self._upstream))
            self._socks += [down, up]
            for source, sink in ((down, up), (up, down)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            shut(sink)

    def close(self) -> None:
        shut(self._listener)
        self._thread.join(5)
        for sock in self._socks:
            shut(sock)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.close()


@pytest.fixture
def pipe(recorder: Recorder) -> Iterator[Pipe]:
    made = Pipe(recorder.port)
    yield made
    made.close()


@pytest.mark.parametrize("case", [cases.LENGTH[0], cases.CODINGS[0], cases.SYNTAX[4], cases.HOSTS[3]], ids=lambda case: case.name)
def test_a_request_that_got_through_is_seen(case: cases.Case, pipe: Pipe, recorder: Recorder) -> None:
    assert requests.outcome(case, pipe.port, recorder) == requests.PASSED


@pytest.mark.parametrize("name", ["NUL in a value", "101 nobody asked for", "a status of two digits"])
def test_an_answer_that_got_through_is_seen(name: str, pipe: Pipe, recorder: Recorder) -> None:
    assert answers.outcome(answers.CASES[name], pipe.port, recorder) == requests.PASSED


def test_an_answer_cut_short_is_seen(pipe: Pipe, recorder: Recorder) -> None:
    assert answers.outcome(answers.CASES["shorter than its length"], pipe.port, recorder) == "cut"


def test_a_refusal_is_seen(recorder: Recorder) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        sock, _ = listener.accept()
        sock.recv(65_536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        sock.close()

    thread = threading.Thread(target=refuse)
    thread.start()
    assert requests.outcome(cases.LENGTH[0], listener.getsockname()[1], recorder) == "400"
    thread.join(5)
    listener.close()


def rows() -> dict[str, list[str]]:
    """Return the rows of the page: the case, and what each program did."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "\0").split(" | ")]
        if line.startswith("| ") and len(cells) == 6:
            found[cells[0].removeprefix("| ").replace("\0", "\\|")] = cells[1:]
    return found


def test_the_page_has_every_case() -> None:
    shown = rows()
    assert [case.name for case in cases.CASES if label(case.name) not in shown] == []
    assert [name for name in answers.CASES if label(name) not in shown] == []


def test_every_case_of_a_request_is_in_a_group() -> None:
    assert [case for group in GROUPS.values() for case in group] == cases.CASES


def test_the_page_says_that_vestibule_lets_nothing_through() -> None:
    assert [name for name, row in rows().items() if name != "case" and row[0].strip("*") in BAD] == []
