"""Any bytes as the answers of an upstream. Permitted exits: events, and `ProtocolError` of the upstream's side.

Invariant: how the bytes are cut makes no difference.
"""

from fuzz.drive import main
from vestibule.fault import UPSTREAM, ProtocolError
from vestibule.http.fields import FieldsTable
from vestibule.http.h1 import DATA, HEAD, INTERIM, NEED, PAUSED, TRAILERS, HeadLimits, ResponseReader

EVENTS_MOST = 400
METHODS = (b"GET", b"HEAD", b"POST")

SEEDS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n",
    b"HTTP/1.0 200\r\n\r\nuntil the close",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nConnection: close\r\n\r\n",
]
WORDS = [
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b":",
    b"\0",
    b"\x1b",
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"200",
    b"204",
    b"101",
    b"100",
    b"Content-Length: ",
    b"5",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"\r\n\r\n",
]


def read(method: bytes, pieces: list[bytes]) -> list[tuple[str, bytes]]:
    """Return the events in these pieces, bodies in one, and the fault they end in, if any."""
    reader = ResponseReader(HeadLimits(65_536, 0, 200), FieldsTable(UPSTREAM, 200))
    reader.expect(method)
    events: list[tuple[str, bytes]] = []
    body = b""
    try:
        for piece in pieces:
            reader.feed(piece)
            while len(events) < EVENTS_MOST:
                event = reader.next()
                if event in (NEED, PAUSED):
                    break
                if event in (HEAD, INTERIM):
                    assert reader.head is not None
                    events.append(("head", b"%d %s\n" % (reader.head.status, reader.head.reason) + reader.head.fields.block))
                elif event == DATA:
                    body += reader.data
                elif event == TRAILERS:
                    events.append(("trailers", reader.trailers.block))
    except ProtocolError as error:
        assert error.kind.side == UPSTREAM, error
        events.append(("fault", error.kind.name.encode()))
    events.append(("body", body))
    events.append(("over", b"%d%d%d" % (reader.is_over(), reader.persistent, reader.switched)))
    return events


def target(data: bytes) -> None:
    method = METHODS[data[0] % 3] if data else b"GET"
    size = data[-1] % 7 + 1 if data else 1
    assert read(method, [data[at : at + size] for at in range(0, len(data), size)]) == read(method, [data])


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
