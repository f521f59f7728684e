"""The HTTP/2 rows: what our own client sends and accepts, what counts as a load that went well, and the cells."""

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from bench.client_h2 import Connection, Requests, Surprise, frame, integer, is_200
from bench.h2 import H2, PARTS
from bench.load import BROWSER_HEADERS, Load
from bench.peer import BenchError, Contender, Pins, start_python_origin
from bench.suites import Bench

from bench import client_h2, load
from vestibule.http.hpack import Decoder

_SETTINGS = frame(4, 0, 0, b"\x00\x03\x00\x00\x00\x64")
_ANSWER = frame(1, 4, 1, b"\x88") + frame(0, 1, 1, b"hello")


@contextmanager
def connected(*frames: bytes) -> Iterator[tuple[Connection, socket.socket]]:
    """A client whose other side has said the frames already, and that other side."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.settimeout(5.0)
        theirs.settimeout(5.0)
        theirs.sendall(b"".join(frames))
        yield Connection(ours, "localhost"), theirs


# RFC 7541 C.1
@pytest.mark.parametrize(("value", "bits", "expected"), [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a"), (31, 5, "1f00"), (30, 5, "1e")])
def test_integers(value: int, bits: int, expected: str) -> None:
    assert integer(value, bits).hex() == expected


def test_the_second_request_says_the_same_in_a_few_bytes() -> None:
    made, decoder = Requests("localhost:1"), Decoder(4096, 65536)
    first, second = made.block("/idle"), made.block("/wait")
    told, again = decoder.decode(first), decoder.decode(second)
    assert [name for name, _ in told[:4]] == [b":method", b":scheme", b":path", b":authority"]
    assert told[2] == (b":path", b"/idle")
    assert len(told) == 4 + len(BROWSER_HEADERS)
    assert again == [*told[:2], (b":path", b"/wait"), *told[3:]]
    assert len(second) < 30 < len(first)


@pytest.mark.parametrize(("block", "expected"), [("88", True), ("2088", True), ("3fe11f88", True), ("3fe11f8d", False), ("8d", False)])
def test_status_behind_size_updates(block: str, expected: bool) -> None:
    assert is_200(bytes.fromhex(block)) is expected


def test_an_answer_is_read_and_what_needs_an_acknowledgement_gets_it() -> None:
    with connected(_SETTINGS, frame(6, 0, 0, b"12345678"), frame(8, 0, 0, b"\x00\x00\x00\x01"), _ANSWER) as (connection, theirs):
        assert connection.read_answer(connection.ask("/idle")) == b"hello"
        assert connection.most_streams == 100
        sent = theirs.recv(65536)
        assert sent.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        assert sent.endswith(frame(4, 1, 0, b"") + frame(6, 1, 0, b"12345678"))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (frame(3, 0, 1, b"\x00\x00\x00\x08"), "frame 3 on stream 1"),
        (frame(7, 0, 0, b"\x00" * 8), "frame 7"),
        (frame(1, 5, 1, b"\x8d"), "not answered 200"),
        (frame(4, 0, 0, b"\x00\x01\x00\x00\x00\x00"), "table of 0 bytes"),
    ],
)
def test_anything_else_ends_it(said: bytes, told: str) -> None:
    with connected(said) as (connection, _), pytest.raises(Surprise, match=told):
        connection.read_answer(connection.ask("/idle"))


def test_an_end_in_the_middle_of_an_answer_is_told() -> None:
    with connected(_SETTINGS, _ANSWER[:12]) as (connection, theirs):
        stream = connection.ask("/idle")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(Surprise, match="ended"):
            connection.read_answer(stream)


def test_the_origin_counts_who_waits(tmp_path: Path) -> None:
    origin, port = start_python_origin("idle", tmp_path, Pins())
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as link:
            link.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            load.await_waiting(port, 1)
        load.await_waiting(port, 0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/idle", timeout=5.0) as answer:
            assert answer.read() == b"hello world\n"
    finally:
        origin.stop()


class Told(Load):
    """A load whose program prints what it is told to."""

    text = ""

    def run(self, command: list[str], seconds: float) -> str:
        assert "-m10" in command
        assert "-D500ms" in command
        return self.text


_GOOD = f"""TLS Protocol: TLSv1.3
Cipher: {load.SUITE}
Application protocol: h2
requests: 40 total, 60 started, 40 done, 40 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 43 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 4.32MB (4533076) total, 3.34MB (3499650) headers (space savings 40.00%), 500B (500) data
"""


def asked(text: str) -> load.Counted:
    made = Told(Path(), Pins())
    # A frozen class, so around its guard.
    object.__setattr__(made, "text", text)
    return load.streams(made, "https://127.0.0.1:1/12", 0.5, 4, 10, False, 12)


def test_a_load_is_counted_by_what_was_done() -> None:
    assert asked(_GOOD) == load.Counted(40, 0.5)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("40 succeeded, 0 failed", "39 succeeded, 1 failed"),
        ("40 succeeded", "39 succeeded"),
        ("0 errored", "1 errored"),
        ("0 4xx", "3 4xx"),
        ("0 5xx", "1 5xx"),
        ("protocol: h2", "protocol: http/1.1"),
        ("TLSv1.3", "TLSv1.2"),
        (load.SUITE, "TLS_AES_256_GCM_SHA384"),
        ("(500) data", "(400) data"),
    ],
)
def test_a_load_that_met_an_error_yields_nothing(was: str, now: str) -> None:
    assert was in _GOOD
    with pytest.raises(BenchError):
        asked(_GOOD.replace(was, now))


def bench(tmp_path: Path, contenders: list[Contender]) -> Bench:
    pins = Pins()
    return Bench(tmp_path, contenders, pins, Load(tmp_path, pins), 5, 2, 1000, 10, 5000, 6.0, 100, 1, print)


def test_promises_of_http2(tmp_path: Path) -> None:
    cells = [cell for part in PARTS for cell in part(bench(tmp_path, [])).cells()]
    assert len({cell.name for cell in cells}) == len(cells) == 14
    assert {cell.suite for cell in cells} == {H2.name}
    assert [cell.limit for cell in cells] == [1.2] * 10 + [1.0] * 2 + [None] * 2


def test_who_does_not_speak_it_is_left_out(tmp_path: Path) -> None:
    one, other = (Contender(name, "", (), ()) for name in ("one", "other"))
    made = bench(tmp_path, [one, other, Contender("third", "", (), (), suites=("bulk",))])
    made.without_http2.add("one")
    assert [part(made).contenders() for part in PARTS] == [[other]] * 3


def test_the_settings_our_client_needs_fit_its_table() -> None:
    fields = [line.partition(": ")[::2] for line in BROWSER_HEADERS]
    used = sum(len(name) + len(value) + 32 for name, value in fields)
    assert used < client_h2.TABLE_BYTES - 100
