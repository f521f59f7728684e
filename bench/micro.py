"""Nanoseconds per call of single hot functions: for finding out what a change does to one file, not for comparing proxies.

Run through `scripts/bench micro`, which runs it interpreted and compiled. Each line is the least of several batches, since noise
only ever adds. The loop around the call is interpreted in both cases; the first line shows what that alone costs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Final

from bench.load import BROWSER_HEADERS
from bench.report import table
from vestibule.fault import CLIENT, UPSTREAM
from vestibule.http import h1
from vestibule.http.fields import Fields, FieldsTable, parse_fields
from vestibule.http.hpack import Decoder, Encoder
from vestibule.http.target import check_target, normal_path

_BLOCK: Final = "".join(f"{line}\r\n" for line in ("Host: photos.example.org", *BROWSER_HEADERS)).encode()
_OTHER_BLOCK: Final = _BLOCK.replace(b"Dest: image", b"Dest: empty")
_LINE: Final = b"GET /api/assets/0b3f6b3e-8f55-4d1b-9d3a-3e1a5d0c7f11/thumbnail?size=thumbnail HTTP/1.1\r\n"
_TARGET: Final = _LINE.split(b" ")[1]
_RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Type: image/webp\r\nContent-Length: 1024\r\n"
    b"Cache-Control: private, max-age=86400, no-transform\r\nX-Powered-By: Express\r\n\r\n" + b"x" * 1024
)
_CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"x" * 16384 + b"\r\n") * 4 + b"0\r\n\r\n"
_FORWARDING: Final = [
    (b"X-Real-IP", b"192.0.2.1"),
    (b"X-Forwarded-For", b"192.0.2.1"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"photos.example.org"),
    (b"X-Forwarded-Port", b"443"),
]


class Requests:
    """One client connection's reader, fed the same request line with one of two header blocks."""

    def __init__(self, blocks: list[bytes]) -> None:
        self._reader = h1.RequestReader(h1.HeadLimits(), FieldsTable(CLIENT, 100))
        self._messages = [_LINE + block + b"\r\n" for block in blocks]
        self._index = 0

    def read(self) -> None:
        """Read one request and get ready for the next."""
        self._index += 1
        self._reader.feed(self._messages[self._index % len(self._messages)])
        if self._reader.next() != h1.HEAD:
            raise AssertionError("no head came out")
        self._reader.restart()


class Responses:
    """One upstream connection's reader, fed the same response."""

    def __init__(self, message: bytes) -> None:
        self._reader = h1.ResponseReader(h1.HeadLimits(), FieldsTable(UPSTREAM, 100))
        self._message = message

    def read(self) -> None:
        """Read one response to its end."""
        self._reader.expect(b"GET")
        self._reader.feed(self._message)
        while self._reader.next() != h1.PAUSED:
            pass


def cases() -> list[tuple[str, str, Callable[[], object]]]:
    """Return (file, what, call) of everything timed."""
    fields = parse_fields(_BLOCK, CLIENT, 100)
    known = FieldsTable(CLIENT, 100)
    known.find(_BLOCK)
    answer = parse_fields(_RESPONSE.partition(b"\r\n\r\n")[0].partition(b"\r\n")[2] + b"\r\n", UPSTREAM, 100)
    encoder, decoder = Encoder(), Decoder(65_536, 100)
    # From the second block on, both sides have most of it in their tables.
    decoder.decode(encoder.head(200, answer))
    again = encoder.head(200, answer)
    return [
        ("–", "the loop alone", _nothing),
        ("http/fields", "parse a browser's 13 lines", lambda: parse_fields(_BLOCK, CLIENT, 100)),
        ("http/fields", "the same block, known to the table", lambda: known.find(_BLOCK)),
        ("http/fields", "set the five forwarding fields", lambda: fields.replaced(_FORWARDING)),
        ("http/h1", "read a request, block as before", Requests([_BLOCK]).read),
        ("http/h1", "read a request, block known to the table", Requests([_BLOCK, _OTHER_BLOCK]).read),
        ("http/h1", "read a response with a 1 KB body", Responses(_RESPONSE).read),
        ("http/h1", "read a response in four chunks of 16 KB", Responses(_CHUNKED).read),
        ("http/h1", "write a request head", lambda: h1.request_bytes(b"GET", _TARGET, fields, b"")),
        ("http/hpack", "encode an answer's six fields, seen before", lambda: encoder.head(200, answer)),
        ("http/hpack", "decode the same", lambda: decoder.decode(again)),
        ("http/target", "check a target", lambda: check_target(_TARGET)),
        ("http/target", "normalise a path", lambda: normal_path(b"/api/assets/0b3f6b3e/thumbnail")),
    ]


def time_call(call: Callable[[], object], batches: int, seconds: float) -> float:
    """Return the least nanoseconds per call over some batches, each of about `seconds` of CPU time."""
    count = 100
    while _batch(call, count) < 2_000_000:
        count *= 2
    count = max(1, int(count * seconds * 1e9 / max(_batch(call, count), 1)))
    return min(_batch(call, count) for _ in range(batches)) / count


def is_compiled() -> bool:
    """Tell whether the code under test is compiled."""
    return not str(h1.__file__).endswith(".py")


def main() -> None:
    """Time every case and print a table."""
    parser = argparse.ArgumentParser(prog="scripts/bench micro")
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="CPU time of one batch")
    parser.add_argument("--only", default="", help="part of a file's name or of a description")
    options = parser.parse_args()
    rows = [
        [file, what, f"{time_call(call, options.batches, options.seconds):,.0f}"]
        for file, what, call in cases()
        if options.only in file or options.only in what
    ]
    print(table(["file", "what", f"ns, {'compiled' if is_compiled() else 'interpreted'}"], rows, texts=2))


def _batch(call: Callable[[], object], count: int) -> int:
    start = time.process_time_ns()
    for _ in range(count):
        call()
    return time.process_time_ns() - start


def _nothing() -> Fields | None:
    return None


if __name__ == "__main__":
    main()
