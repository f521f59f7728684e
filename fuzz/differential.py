"""What we forward, read by two other readers. Permitted exits: those of `h1_request`.

Facts: h11 and llhttp (through httptools) were written by other people from the same RFC.
Invariant: whatever we take for a whole request and forward is one request for both of them, with the same method, target and body.
"""

import h11
import httptools

from fuzz.drive import main
from fuzz.h1_request import SEEDS, WORDS, forwarded, read

KNOWN = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")
"""llhttp knows no others than those of a list; another method is told to both as POST."""

Seen = tuple[bytes, bytes, bytes]  # method, target, body


def by_h11(data: bytes) -> list[Seen] | None:
    """Return the requests that h11 sees, or None if it refuses or waits for more."""
    found: list[Seen] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    head: h11.Request | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return found if head is None and not connection.trailing_data[0] else None
            if event is h11.PAUSED:
                return found if not connection.trailing_data[0] else None
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                found.append((bytes(head.method), bytes(head.target), body))
                head = None
    except h11.RemoteProtocolError:
        return None


class _Listener:
    """What llhttp tells."""

    def __init__(self) -> None:
        self.found: list[Seen] = []
        self.parser: httptools.HttpRequestParser | None = None
        self._url = b""
        self._body = b""

    def on_message_begin(self) -> None:
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        assert self.parser is not None
        self.found.append((self.parser.get_method(), self._url, self._body))


def by_llhttp(data: bytes) -> list[Seen] | None:
    """Return the requests that llhttp sees, or None if it refuses or waits for more."""
    listener = _Listener()
    listener.parser = httptools.HttpRequestParser(listener)
    try:
        listener.parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        # It reads no further than an upgrade.
        return listener.found if upgrade.args[0] == len(data) else None
    except httptools.HttpParserError:
        return None
    return listener.found


def target(data: bytes) -> None:
    messages, _ = read([data])
    for message in messages:
        if not message[3] or b"\r\nHost:" not in message[0]:
            continue  # a step of the plan writes a Host where HTTP/1.0 had none
        sent = forwarded(message)
        line = sent.partition(b"\r\n")[0].split(b" ")
        if line[0] not in KNOWN:
            sent = b"POST" + sent[len(line[0]) :]
            line[0] = b"POST"
        ours = [(line[0], line[1], message[1])]
        assert by_h11(sent) == ours, (sent, by_h11(sent))
        assert by_llhttp(sent) == ours, (sent, by_llhttp(sent))


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
