"""The HTTP/1 codec: every case whole, byte by byte, in two pieces at every place, and with bytes behind it.

Rules: the fault of a bad message is part of the case. The only way out of a codec is `ProtocolError`.
"""

# ruff: noqa: E501  # a case is one line, because a table is read by comparing lines

from collections.abc import Callable, Iterator

import pytest

from vestibule.fault import CLIENT, UPSTREAM, ProtocolError
from vestibule.http.fields import EMPTY, FieldsTable, fields_of, parse_trailers
from vestibule.http.h1 import (
    DATA,
    HEAD,
    INTERIM,
    LAST_CHUNK,
    NEED,
    PAUSED,
    REASONS,
    TRAILERS,
    HeadLimits,
    RequestReader,
    ResponseReader,
    chunk_bytes,
    last_chunk,
    request_bytes,
    status_line,
)

Event = tuple[str, bytes]
AnyReader = RequestReader | ResponseReader
Maker = Callable[[], AnyReader]


def requests(limits: HeadLimits | None = None) -> RequestReader:
    return RequestReader(limits or HeadLimits(), FieldsTable(CLIENT, (limits or HeadLimits()).fields))


def responses(method: bytes = b"GET") -> ResponseReader:
    reader = ResponseReader(HeadLimits(65_536, 0, 200), FieldsTable(UPSTREAM, 200))
    reader.expect(method)
    return reader


def head_event(reader: AnyReader, name: str) -> Event:
    if isinstance(reader, RequestReader):
        assert reader.head is not None
        head = reader.head
        return name, b" ".join((head.method, head.target, head.authority, head.protocol)) + b"\n" + head.fields.block
    assert reader.head is not None
    return name, b"%d %s\n" % (reader.head.status, reader.head.reason) + reader.head.fields.block


def read(reader: AnyReader, pieces: list[bytes], messages: int = 99) -> list[Event]:
    """Return the events of these pieces: heads, bodies (in one), trailers, ends, or the fault."""
    events: list[Event] = []
    body = b""
    for piece in pieces:
        reader.feed(piece)
        while True:
            try:
                event = reader.next()
            except ProtocolError as error:
                if body:
                    events.append(("body", body))
                events.append(("fault", error.kind.name.encode()))
                return events
            if event == NEED:
                break
            if event == DATA:
                body += reader.data
            if event == HEAD:
                events.append(head_event(reader, "head"))
            elif event == INTERIM:
                events.append(head_event(reader, "interim"))
            if event == TRAILERS or (event in (HEAD, DATA) and reader.ended):
                if body:
                    events.append(("body", body))
                    body = b""
                if event == TRAILERS:
                    events.append(("trailers", reader.trailers.block))
                events.append(("end", b"keeps" if reader.persistent else b"closes"))
            if event == PAUSED:
                if events.count(("end", b"keeps")) >= messages or not reader.has_rest():
                    break
                reader.restart()
    if body:
        events.append(("body so far", body))
    return events


def ways(text: bytes) -> Iterator[list[bytes]]:
    """Return the text in every way it is to be read."""
    yield [text[at : at + 1] for at in range(len(text))]
    if len(text) <= 400:
        for at in range(1, len(text)):
            yield [text[:at], text[at:]]


def check(maker: Maker, text: bytes, expected: list[Event]) -> None:
    """Read a text in every way and see the same each time."""
    assert read(maker(), [text]) == expected
    for pieces in ways(text):
        assert read(maker(), pieces) == expected, pieces[:2]
    if expected[-1][0] == "end":
        reader = maker()
        assert read(reader, [text + b"HTT"], len([event for event in expected if event[0] == "end"])) == expected
        assert reader.has_rest() or not reader.is_over()


def fault_of(maker: Maker, text: bytes) -> str:
    """Return the fault this text must end in, whichever way it is read; nothing may be told before it but heads and data."""
    found = {read(maker(), pieces)[-1] for pieces in [[text], *ways(text)]}
    assert len(found) == 1, found
    name, value = found.pop()
    assert name == "fault", (name, value)
    return value.decode()


GOOD_REQUESTS: list[tuple[bytes, list[Event]]] = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [("head", b"GET / a HTTP/1.1\nHost: a\r\n"), ("end", b"keeps")]),
    (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", [("head", b"GET / a HTTP/1.1\nHost: a\r\n"), ("end", b"keeps")]),
    (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", [("head", b"GET /  HTTP/1.1\nHost:\r\n"), ("end", b"keeps")]),
    (
        b"GET /?a=b&c=%20 HTTP/1.1\r\nhost:  a:80 \t\r\nX:\r\nconnection: CLOSE\r\n\r\n",
        [("head", b"GET /?a=b&c=%20 a:80 HTTP/1.1\nhost:  a:80 \t\r\nX:\r\nconnection: CLOSE\r\n"), ("end", b"closes")],
    ),
    (b"GET / HTTP/1.0\r\n\r\n", [("head", b"GET /  HTTP/1.0\n"), ("end", b"closes")]),
    (
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        [("head", b"GET /  HTTP/1.0\nConnection: keep-alive\r\n"), ("end", b"keeps")],
    ),
    (b"GET / HTTP/1.9\r\nHost: a\r\n\r\n", [("head", b"GET / a HTTP/1.9\nHost: a\r\n"), ("end", b"keeps")]),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", [("head", b"OPTIONS * a HTTP/1.1\nHost: a\r\n"), ("end", b"keeps")]),
    (b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", [("head", b"M-SEARCH / a HTTP/1.1\nHost: a\r\n"), ("end", b"keeps")]),
    (
        b"GET http://A:81/x?y HTTP/1.1\r\nHost: a:81\r\n\r\n",
        [("head", b"GET /x?y A:81 HTTP/1.1\nHost: a:81\r\n"), ("end", b"keeps")],
    ),
    (b"GET https://a HTTP/1.1\r\nHost: a\r\n\r\n", [("head", b"GET / a HTTP/1.1\nHost: a\r\n"), ("end", b"keeps")]),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        [("head", b"POST / a HTTP/1.1\nHost: a\r\nContent-Length: 5\r\n"), ("body", b"hello"), ("end", b"keeps")],
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        [
            ("head", b"GET / a HTTP/1.1\nHost: a\r\nContent-Length: 1\r\n"),
            ("body", b"x"),
            ("end", b"keeps"),
            ("head", b"GET /b a HTTP/1.1\nHost: a\r\n"),
            ("end", b"keeps"),
        ],
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        [("head", b"POST / a HTTP/1.1\nHost: a\r\nContent-Length: 0\r\n"), ("end", b"keeps")],
    ),
    (
        b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n06;a="b;" ; c\r\n world\r\n0\r\n\r\n',
        [
            ("head", b"POST / a HTTP/1.1\nHost: a\r\nTransfer-Encoding: Chunked\r\n"),
            ("body", b"hello world"),
            ("end", b"keeps"),
        ],
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nHost: b\r\nContent-Length: 3\r\n\r\n",
        [
            ("head", b"POST / a HTTP/1.1\nHost: a\r\nTransfer-Encoding: chunked\r\n"),
            ("body", b"0123456789"),
            ("trailers", b"X-Sum: 1\r\n"),
            ("end", b"keeps"),
        ],
    ),
    (
        b"POST / HTTP/1.0\r\n\r\n",
        [("head", b"POST /  HTTP/1.0\n"), ("end", b"closes")],
    ),
]


@pytest.mark.parametrize(("text", "expected"), GOOD_REQUESTS)
def test_good_requests(text: bytes, expected: list[Event]) -> None:
    check(requests, text, expected)


def with_host(line: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n"


def chunked(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body


# The attacks of client framing and syntax, by class.
BAD_REQUESTS: list[tuple[str, bytes]] = [
    # Two framings, or a framing that cannot be read.
    ("client.bad_framing", with_host(b"Content-Length: 5\r\nTransfer-Encoding: chunked")),
    ("client.bad_framing", with_host(b"Transfer-Encoding: chunked\r\nContent-Length: 5")),
    ("client.bad_framing", with_host(b"Transfer-Encoding: xchunked\r\nContent-Length: 5")),
    ("client.bad_framing", with_host(b"Content-Length: 5\r\nContent-Length: 6")),
    ("client.bad_framing", with_host(b"Content-Length: 5\r\nContent-Length: 5")),
    *[("client.bad_framing", with_host(b"Content-Length: " + value)) for value in (
        b"5, 5", b"5, 6", b"+5", b"-1", b"0x5", b"1_0", b"5 0", b"18446744073709551621", b"", b"005", b"5;", b"\xd9\xa5", b"5.", b"5e0",
    )],
    *[("client.bad_coding", with_host(b"Transfer-Encoding: " + value)) for value in (
        b"xchunked", b"gzip", b"identity", b",chunked", b"chunked,", b"chunked;a=b", b"chunked, gzip", b"gzip, chunked",
        b"chunked, chunked", b"\"chunked\"", b"", b"chun\x85ked",
    )],
    ("client.bad_framing", with_host(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
    ("client.bad_syntax", with_host(b"Transfer-Encoding: \x0bchunked")),
    ("client.bad_syntax", with_host(b"Transfer-Encoding: chunked\x00")),
    ("client.bad_framing", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    # Lines.
    ("client.bad_syntax", with_host(b"Transfer-Encoding : chunked")),
    ("client.bad_syntax", with_host(b" X: folded")),
    ("client.bad_syntax", with_host(b"X: a\r\n b")),
    ("client.bad_syntax", with_host(b"X: a\r\n\tb")),
    ("client.bad_syntax", with_host(b"X: a\nY: b")),
    ("client.bad_syntax", with_host(b"X: a\rY: b")),
    ("client.bad_syntax", with_host(b"X: a\r\r")),
    ("client.bad_syntax", with_host(b"X: a\x00b")),
    ("client.bad_syntax", with_host(b"X: a\x01b")),
    ("client.bad_syntax", with_host(b"X: a\x7fb")),
    ("client.bad_syntax", with_host(b"X")),
    ("client.bad_syntax", with_host(b": a")),
    ("client.bad_syntax", with_host(b"X\x00: a")),
    ("client.bad_syntax", with_host(b"X[1]: a")),
    ("client.bad_syntax", with_host(b"X\xe9: a")),
    ("client.bad_syntax", with_host(b"X Y: a")),
    ("client.bad_syntax", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    ("client.bad_syntax", b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
    ("client.bad_syntax", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"GET / HTTP/1.1\r\nHost: a\n\n"),
    ("client.bad_syntax", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    ("client.bad_syntax", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    # Request lines.
    ("client.bad_syntax", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"X" * 33 + b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"GET /\r\n\r\n"),
    ("client.bad_syntax", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"GET / HTTP/1.32\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"GET / HTTP/0001.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_syntax", b"GET / HTTP/+.1\r\nHost: a\r\n\r\n"),
    ("client.bad_version", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("client.bad_version", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    ("client.bad_version", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("client.bad_method", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    ("client.bad_method", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    # Targets.
    ("client.bad_target", b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_target", b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_target", b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_target", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_target", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_target", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_target", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_host", b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.bad_host", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    # Hosts.
    ("client.bad_host", b"GET / HTTP/1.1\r\n\r\n"),
    ("client.bad_host", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("client.bad_host", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
    *[("client.bad_host", b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n") for value in (
        b"u@a", b"a/b", b"a, b", b"a b", b"a:b", b"a:-1", b"a:99999", b"a:0", b"a:1:2", b"[::1", b"[::1]x", b"[x]", b"a?b", b"a\\b", b"a\xe9",
    )],
    # Expectations.
    ("client.bad_expectation", with_host(b"Expect: 200-ok")),
    ("client.bad_expectation", with_host(b"Expect: 100-continue, x")),
    ("client.bad_expectation", with_host(b"Expect: 100-continue\r\nExpect: 100-continue")),
    # Chunks.
    *[("client.bad_framing", chunked(size + b"\r\nhello\r\n0\r\n\r\n")) for size in (
        b"0x5", b"+5", b"-5", b"0_5", b" 5", b"", b"g", b"fffffffffffffffff", b"5 5", b"\t5", b"5\x00", b"5,", b";a",
    )],
    ("client.bad_framing", chunked(b"5\nhello\r\n0\r\n\r\n")),
    ("client.bad_framing", chunked(b"5;a\nhello\r\n0\r\n\r\n")),
    ("client.bad_framing", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    ("client.bad_framing", chunked(b"5;a\x00b\r\nhello\r\n0\r\n\r\n")),
    ("client.bad_framing", chunked(b"5\r\nhello\n0\r\n\r\n")),
    ("client.bad_framing", chunked(b"5\r\nhello0\r\n\r\n")),
    ("client.bad_framing", chunked(b"5\r\nhelloXX0\r\n\r\n")),
    ("client.bad_framing", chunked(b"5\r\nhello\r\n\r\n")),
    ("client.bad_framing", chunked(b"5;" + b"a" * 1100)),
    ("client.bad_framing", chunked((b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 17)),
    ("client.bad_syntax", chunked(b"0\r\nX : 1\r\n\r\n")),
    ("client.bad_syntax", chunked(b"0\r\nX: 1\n\r\n\r\n")),
    ("client.bad_syntax", chunked(b"0\r\nHost: a\x00\r\n\r\n")),
    ("client.head_too_large", chunked(b"0\r\n" + b"X: 1\r\n" * 101 + b"\r\n")),
    ("client.head_too_large", chunked(b"0\r\nX: " + b"y" * 17_000)),
    # Sizes.
    ("client.head_too_large", with_host(b"X: y\r\n" * 99 + b"Z: z")),
    ("client.head_too_large", with_host(b"X: " + b"y" * 16_400)),
    ("client.target_too_long", b"GET /" + b"y" * 8_192 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("client.target_too_long", b"GET /" + b"y" * 17_000),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "text"), BAD_REQUESTS, ids=lambda value: repr(value)[:60])
def test_bad_requests(fault: str, text: bytes) -> None:
    assert fault_of(requests, text) == fault


def test_what_is_at_a_limit_passes() -> None:
    largest = b"GET /" + b"y" * 8_191 + b" HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 99 + b"\r\n"
    assert [event[0] for event in read(requests(), [largest])] == ["head", "end"]
    assert [event[0] for event in read(requests(HeadLimits(head=25)), [b"GET / HTTP/1.1\r\nHost: abc\r\n\r\n"])] == ["head", "end"]
    assert read(requests(HeadLimits(head=25)), [b"GET / HTTP/1.1\r\nHost: abcd\r\n\r\n"]) == [("fault", b"client.head_too_large")]


def test_after_a_message_the_next_is_not_looked_at_before_its_turn() -> None:
    reader = requests()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nNOT HTTP AT ALL\r\n\r\n")
    assert reader.next() == HEAD and reader.ended
    assert reader.next() == PAUSED and reader.next() == PAUSED
    assert reader.has_rest() and reader.is_over() and not reader.is_idle()
    reader.restart()
    with pytest.raises(ProtocolError):
        reader.next()


GOOD_RESPONSES: list[tuple[bytes, bytes, list[Event]]] = [
    (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", [("head", b"200 OK\nContent-Length: 2\r\n"), ("body", b"ok"), ("end", b"keeps")]),
    (b"GET", b"HTTP/1.1 204 \r\n\r\n", [("head", b"204 \n"), ("end", b"keeps")]),
    (b"GET", b"HTTP/1.1 204\r\nContent-Length: 5\r\n\r\n", [("head", b"204 \nContent-Length: 5\r\n"), ("end", b"keeps")]),
    (b"GET", b"HTTP/1.1 304 Not \xe9\r\nETag: x\r\nContent-Length: 5\r\n\r\n", [("head", b"304 Not \xe9\nETag: x\r\nContent-Length: 5\r\n"), ("end", b"keeps")]),
    (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", [("head", b"200 OK\nTransfer-Encoding: chunked\r\n"), ("end", b"keeps")]),
    (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n", [("head", b"200 OK\n"), ("end", b"keeps")]),
    (b"GET", b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", [("head", b"200 OK\nContent-Length: 0\r\n"), ("end", b"closes")]),
    (
        b"GET",
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
        [("head", b"200 OK\nConnection: Keep-Alive\r\nContent-Length: 0\r\n"), ("end", b"keeps")],
    ),
    (
        b"GET",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: 1\r\n\r\n",
        [
            ("interim", b"100 Continue\n"),
            ("interim", b"103 Early Hints\nLink: a\r\n"),
            ("head", b"200 OK\nTransfer-Encoding: chunked\r\n"),
            ("body", b"a"),
            ("trailers", b"X: 1\r\n"),
            ("end", b"keeps"),
        ],
    ),
    (b"GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall there is", [("head", b"200 OK\nConnection: close\r\n"), ("body so far", b"all there is")]),
]  # fmt: skip


@pytest.mark.parametrize(("method", "text", "expected"), GOOD_RESPONSES)
def test_good_responses(method: bytes, text: bytes, expected: list[Event]) -> None:
    check(lambda: responses(method), text, expected)


BAD_RESPONSES: list[tuple[str, bytes]] = [
    ("upstream.bad_framing", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("upstream.bad_framing", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    ("upstream.bad_framing", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n"),
    ("upstream.bad_framing", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("upstream.bad_framing", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    ("upstream.bad_framing", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("upstream.bad_framing", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n"),
    ("upstream.bad_framing", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200 OK\r\nX: a\n\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200 OK\nX: a\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1  200 OK\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 20 OK\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 2000 OK\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 +20 OK\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 099 OK\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200OK\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200 O\x00K\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200 O\rK\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.1 200 O\x1bK\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/2.0 200 OK\r\n\r\n"),
    ("upstream.bad_syntax", b"HTTP/1.2 200 OK\r\n\r\n"),
    ("upstream.bad_syntax", b"ICY 200 OK\r\n\r\n"),
    ("upstream.head_too_large", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 66_000),
    ("upstream.head_too_large", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 201 + b"\r\n"),
]


@pytest.mark.parametrize(("fault", "text"), BAD_RESPONSES, ids=lambda value: repr(value)[:60])
def test_bad_responses(fault: str, text: bytes) -> None:
    if len(text) > 20_000:
        assert read(responses(), [text])[-1] == ("fault", fault.encode())
        assert read(responses(), [text[at : at + 5_000] for at in range(0, len(text), 5_000)])[-1] == ("fault", fault.encode())
    else:
        assert fault_of(responses, text) == fault


def test_which_bodies_a_close_may_end() -> None:
    for text, may in (
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-", False),
        (b"", True),
    ):
        reader = responses()
        read(reader, [text] if text else [])
        assert reader.finish() is may, text


def test_a_switch_leaves_what_follows_to_its_owner() -> None:
    reader = responses()
    reader.feed(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    assert reader.next() == HEAD and reader.switched and not reader.ended and not reader.persistent
    assert reader.next() == PAUSED
    reader.become_opaque()
    assert reader.next() == DATA and reader.data == b"GET / HTTP/1.1\r\n\r\n" and not reader.ended
    assert reader.next() == NEED


def test_bytes_relayed_past_the_reader_count() -> None:
    reader = requests()
    reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
    assert reader.relayable() == 0
    assert reader.next() == HEAD
    assert reader.relayable() == 0, "bytes in the buffer go first"
    assert reader.next() == DATA
    assert reader.relayable() == 99_997
    reader.relayed(99_990)
    assert not reader.is_over() and reader.relayable() == 7
    reader.relayed(7)
    assert reader.is_over() and reader.next() == PAUSED
    chunky = requests()
    read(chunky, [chunked(b"ffff\r\n")])
    assert chunky.relayable() == 0, "chunks are not for a relay"


# What we write, our own readers read.


@pytest.mark.parametrize("framing", [[(b"Content-Length", b"11")], [(b"Transfer-Encoding", b"chunked")], []])
@pytest.mark.parametrize("upgrade", [b"", b"websocket"])
def test_a_request_we_write_is_the_request_we_read(framing: list[tuple[bytes, bytes]], upgrade: bytes) -> None:
    fields = fields_of([(b"Host", b"a"), (b"Connection", b"X-Hop"), (b"X-Hop", b"1"), (b"X-A", b"b"), *framing])
    text = request_bytes(b"POST", b"/x?y", fields, upgrade)
    if fields.chunked:
        text += chunk_bytes(b"hello ") + chunk_bytes(b"world") + last_chunk(fields_of([(b"X-Sum", b"1")]))
    elif framing:
        text += b"hello world"
    reader = requests()
    events = read(reader, [text])
    assert reader.head is not None
    head = reader.head
    assert (head.method, head.target, head.authority) == (b"POST", b"/x?y", b"a")
    assert head.fields.get(b"x-a") == b"b" and head.fields.get(b"x-hop") is None
    assert head.fields.upgrade == upgrade
    assert (head.fields.chunked, head.fields.content_length) == (fields.chunked, fields.content_length)
    names = [name for name, _ in events]
    assert names == ["head", *(["body"] if framing else []), *(["trailers"] if fields.chunked else []), "end"]
    assert not framing or events[1] == ("body", b"hello world")


@pytest.mark.parametrize("status", sorted(REASONS))
def test_a_status_line_we_write_is_the_one_we_read(status: int) -> None:
    reader = responses(b"HEAD")
    reader.feed(status_line(status, b"") + b"\r\n")
    assert reader.next() == (INTERIM if status < 200 and status != 101 else HEAD)
    assert reader.head is not None and (reader.head.status, reader.head.reason) == (status, REASONS[status])


def test_a_reason_passes() -> None:
    assert status_line(200, b"Fine") == b"HTTP/1.1 200 Fine\r\n"
    assert status_line(200, b"OK") == b"HTTP/1.1 200 OK\r\n"
    assert status_line(299, b"") == b"HTTP/1.1 299 \r\n"


def test_last_chunks() -> None:
    assert last_chunk(EMPTY) == LAST_CHUNK
    assert last_chunk(parse_trailers(b"X: 1\r\nTE: x\r\n", CLIENT, 10)) == b"0\r\nX: 1\r\n\r\n"


def test_only_the_strict_parse_fills_the_memory_of_a_reader() -> None:
    """A block seen before is taken from memory: it must be the same bytes, and the checks of the head are made anew."""
    reader = requests()
    good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert len(read(reader, [good + good])) == 4
    reader.restart()
    assert read(reader, [b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"]) == [("fault", b"client.bad_target")]
    reader = requests()
    read(reader, [b"GET / HTTP/1.0\r\n\r\n"])
    reader.restart()
    assert read(reader, [b"GET / HTTP/1.1\r\n\r\n"]) == [("fault", b"client.bad_host")]


def test_a_bare_lf_is_the_same_fault_whole_and_in_pieces() -> None:
    data = b"GET \n/ HTTP/1.1\r\nHost: a\r\n\r\n"
    faults = set()
    for size in (1, len(data)):
        reader = RequestReader(HeadLimits(), FieldsTable(CLIENT, 100))
        with pytest.raises(ProtocolError) as refused:
            for at in range(0, len(data), size):
                reader.feed(data[at : at + size])
                reader.next()
        faults.add(refused.value.kind.name)
    assert faults == {"client.bad_syntax"}


def lenient() -> HeadLimits:
    return HeadLimits(200, 100, 10, bare_lf=True)


@pytest.mark.parametrize(
    "text",
    [
        b"GET /a HTTP/1.1\nHost: a\n\n",
        b"GET /a HTTP/1.1\r\nHost: a\n\r\n",
        b"GET /a HTTP/1.1\nHost: a\r\n\n",
        b"\nGET /a HTTP/1.1\nHost: a\n\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_a_bare_lf_ends_lines_of_a_head_where_it_may(text: bytes) -> None:
    for pieces in ways(text + text):
        reader = requests(lenient())
        events = read(reader, pieces)
        assert [name for name, _ in events] == ["head", "end", "head", "end"]
        assert reader.head is not None
        assert (reader.head.target, reader.head.authority, reader.head.fields.block) == (b"/a", b"a", b"Host: a\r\n")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("client.bad_syntax", b"\n\nGET / HTTP/1.1\nHost: a\n\n"),
        ("client.bad_framing", b"POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n1\nx\n0\n\n"),
        ("client.bad_syntax", b"GET / HTTP/1.1\nHost: a\rX: b\n\n"),
        ("client.head_too_large", b"GET / HTTP/1.1\nHost: a\n" + b"X: y\n" * 60),
    ],
)
def test_a_bare_lf_ends_nothing_else(fault: str, text: bytes) -> None:
    assert fault_of(lambda: requests(lenient()), text) == fault


def test_an_answer_of_a_script_may_end_lines_with_a_bare_lf() -> None:
    reader = ResponseReader(lenient(), FieldsTable(UPSTREAM, 100))
    reader.expect(b"GET")
    events = read(reader, [b"HTTP/1.1 200 OK\nX: 1\nContent-Length: 4\n\na\n\n\n"])
    assert [name for name, _ in events] == ["head", "body", "end"]
    assert events[1] == ("body", b"a\n\n\n")


def test_an_empty_buffer_and_an_idle_connection() -> None:
    reader = requests()
    assert reader.next() == NEED
    reader.feed(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reader.next() == HEAD
    first = reader.head
    assert first is not None
    reader.restart()
    reader.forget()
    assert reader.head is None
    reader.feed(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reader.next() == HEAD
    assert reader.head is not None and reader.head.fields is first.fields, "known by the table still"


def test_an_answer_that_begins_like_the_last() -> None:
    """The same status line and fields twice on a connection, and then others."""
    reader = ResponseReader(HeadLimits(), FieldsTable(UPSTREAM, 100))
    for status, block in ((200, b"X: 1"), (200, b"X: 1"), (200, b"X: 2"), (404, b"X: 2")):
        reader.expect(b"GET")
        reader.feed(b"HTTP/1.1 %d OK\r\n%s\r\nContent-Length: 0\r\n\r\n" % (status, block))
        assert reader.next() == HEAD
        assert reader.head is not None and reader.head.status == status and reader.head.fields.block.startswith(block)
        reader.restart()


def test_a_request_may_say_no_host_where_that_is_allowed() -> None:
    said = b"GET / HTTP/1.1\r\n\r\n"
    assert read(requests(), [said]) == [("fault", b"client.bad_host")]
    assert [event[0] for event in read(requests(HeadLimits(hostless=True)), [said])] == ["head", "end"]


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_host_that_is_none_is_as_good_as_none_where_that_is_allowed(version: bytes) -> None:
    said = b"GET / HTTP/" + version + b"\r\nHost: :8443a\r\n\r\n"
    assert read(requests(), [said]) == [("fault", b"client.bad_host")]
    reader = requests(HeadLimits(hostless=True))
    reader.feed(said)
    assert reader.next() == HEAD and reader.head is not None and reader.head.authority == b""


def test_a_request_is_read_by_the_limits_of_its_time() -> None:
    limits = HeadLimits()
    table = FieldsTable(CLIENT, 100)
    reader = RequestReader(limits, table)
    text = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n"
    reader.feed(text)
    assert reader.next() == HEAD
    reader.restart()
    reader.obey(HeadLimits(), table)
    reader.feed(text)
    assert reader.next() == HEAD, "others, and the same number of fields"
    reader.restart()
    reader.obey(HeadLimits(fields=1), FieldsTable(CLIENT, 1))
    reader.feed(text)
    with pytest.raises(ProtocolError) as caught:
        reader.next()
    assert caught.value.kind.name == "client.head_too_large"


def test_a_whole_url_and_a_host_may_differ_in_the_usual_port() -> None:
    reader = requests()
    (head, *_) = read(reader, [b"GET http://a:80/x HTTP/1.1\r\nHost: A\r\n\r\n"])
    assert head[0] == "head"
    assert reader.head is not None
    assert (reader.head.target, reader.head.authority, reader.head.origin) == (b"/x", b"a:80", b"http://a:80")
    assert read(requests(), [b"GET http://a:81/x HTTP/1.1\r\nHost: a\r\n\r\n"]) == [("fault", b"client.bad_target")]


@pytest.mark.parametrize(
    "said",
    [
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: \r\n\r\n",
        b'GET / HTTP/1.1\r\nHost: a\r\nIf-Match: "a"\r\nif-match: "b"\r\n\r\n',
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\nAuthorization: Basic YTpi\r\n\r\n",
    ],
)
def test_a_request_may_have_to_be_exact(said: bytes) -> None:
    assert [event[0] for event in read(requests(), [said])] == ["head", "end"]
    for _ in range(2):
        assert read(requests(HeadLimits(exact=True)), [said])[0][0] == "fault"


def test_an_exact_request_is_as_any() -> None:
    said = b"VERSION-CONTROL / HTTP/1.1\r\nHost: a\r\nIf-Match: a\r\nAccept: a\r\nAccept: b\r\n\r\n"
    reader = requests(HeadLimits(exact=True))
    for _ in range(2):
        reader.feed(said)
        assert reader.next() == HEAD
        reader.restart()


def test_a_whole_url_may_name_another_host_where_that_is_allowed() -> None:
    said = b"GET http://one.test:81/a HTTP/1.1\r\nHost: two.test\r\n\r\n"
    assert read(requests(), [said]) == [("fault", b"client.bad_target")]
    reader = requests(HeadLimits(foreign_host=True))
    reader.feed(said)
    assert reader.next() == HEAD and reader.head is not None and reader.head.authority == b"one.test:81"
