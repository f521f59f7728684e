"""Any bytes as the requests of a client. Permitted exits: events, and `ProtocolError` of the client's side.

Invariants
  1. How the bytes are cut makes no difference, but for which of several faults is named: it is the first that is seen.
  2. What was taken for a request is, written as we forward it, taken for the same request again, and for no more.
"""

from fuzz.drive import main
from vestibule.fault import CLIENT, ProtocolError
from vestibule.http.fields import FieldsTable
from vestibule.http.h1 import (
    DATA,
    HEAD,
    LAST_CHUNK,
    NEED,
    PAUSED,
    TRAILERS,
    HeadLimits,
    RequestReader,
    chunk_bytes,
    request_bytes,
)

MESSAGES_MOST = 20
Message = tuple[bytes, bytes, bytes, bool]  # the head as forwarded, body, trailers, whole

SEEDS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /x?y HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, X\r\nUpgrade: websocket\r\nX: 1\r\n\r\n",
    b"\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n",
]
WORDS = [
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b":",
    b": ",
    b"\0",
    b"\x0b",
    b";",
    b",",
    b"0",
    b"5",
    b"a",
    b"GET",
    b"POST",
    b"/",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"Host: a\r\n",
    b"Content-Length",
    b"Transfer-Encoding",
    b"chunked",
    b"Connection",
    b"Upgrade",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"\r\n\r\n",
]


def read(pieces: list[bytes]) -> tuple[list[Message], str]:
    """Return the requests in these pieces and the fault they end in, if any."""
    reader = RequestReader(HeadLimits(), FieldsTable(CLIENT, 100))
    messages: list[Message] = []
    head, body, trailers = b"", b"", b""
    under_way = False
    try:
        for piece in pieces:
            reader.feed(piece)
            while len(messages) < MESSAGES_MOST:
                event = reader.next()
                if event == NEED:
                    break
                if event == PAUSED:
                    if not reader.has_rest():
                        break
                    reader.restart()
                    continue
                if event == HEAD:
                    assert reader.head is not None
                    fields = reader.head.fields
                    head, body, trailers = request_bytes(reader.head.method, reader.head.target, fields, fields.upgrade), b"", b""
                    under_way = True
                elif event == DATA:
                    body += reader.data
                elif event == TRAILERS:
                    trailers = reader.trailers.end_to_end().block
                if event == TRAILERS or reader.ended:
                    messages.append((head, body, trailers, True))
                    under_way = False
    except ProtocolError as error:
        assert error.kind.side == CLIENT, error
        if under_way:
            messages.append((head, body, trailers, False))
        return messages, error.kind.name
    if under_way:
        messages.append((head, body, trailers, False))
    return messages, ""


def forwarded(message: Message) -> bytes:
    """Return a whole message as we write it."""
    head, body, trailers, _ = message
    if b"\r\nTransfer-Encoding: chunked\r\n" not in head:
        return head + body
    end = LAST_CHUNK if not trailers else b"0\r\n" + trailers + b"\r\n"
    return head + (chunk_bytes(body) if body else b"") + end


def target(data: bytes) -> None:
    whole, fault = read([data])
    size = data[0] % 7 + 1 if data else 1
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    cut, fault_of_cut = read(pieces)
    assert cut == whole and bool(fault_of_cut) == bool(fault), (fault, fault_of_cut)
    for message in whole:
        if message[3] and b"\r\nHost:" in message[0]:
            again, new_fault = read([forwarded(message)])
            assert not new_fault and len(again) == 1, (message, again, new_fault)
            assert again[0][1:] == message[1:]
            assert again[0][0] == message[0]


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
