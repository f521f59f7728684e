"""What a client of any HTTP version sees: heads, whole responses, exchanges in steps, tunnels.

Rules: every wait is bounded. A body that does not end as announced is never taken for whole: it
raises `Truncated`. A test that uses nothing else runs the same for every version.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field

# Long enough for a machine that is busy with something else; nobody waits so long for what works.
TIMEOUT_S = 20.0
Field = tuple[bytes, bytes]


class Truncated(Exception):
    """The connection ended before the message did; `got` is the body so far."""

    def __init__(self, got: bytes) -> None:
        super().__init__(f"cut after {len(got)} bytes")
        self.got = got


class Malformed(Exception):
    """What came back is not HTTP as the RFCs have it."""


@dataclass
class Head:
    """The start line and the fields of one message, as they were on the wire."""

    status: int
    reason: bytes
    fields: list[Field]
    raw: bytes

    def find(self, name: str) -> bytes | None:
        """Return the only value of a field, or None. Raises if there are several."""
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name} is there {len(values)} times: {self.raw!r}")
        return values[0] if values else None

    def all(self, name: str) -> list[bytes]:
        """Return every value of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]


@dataclass
class Response:
    """A whole response."""

    head: Head
    body: bytes
    interims: list[Head] = field(default_factory=list)
    trailers: list[Field] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The final status."""
        return self.head.status

    def find(self, name: str) -> bytes | None:
        """Return the only value of a header field, or None."""
        return self.head.find(name)


class Connection(ABC):
    """One connection to the proxy."""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close without ceremony."""

    @abstractmethod
    def reset(self) -> None:
        """Close with RST, as a phone does that lost its network."""

    @abstractmethod
    def is_closed(self, within_s: float = TIMEOUT_S) -> bool:
        """Say whether the peer closes without answering anything more, waiting up to `within_s`."""


class Tunnel(ABC):
    """What an accepted upgrade opens: bytes both ways."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send all of `data`."""

    @abstractmethod
    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes. Raises Truncated."""

    @abstractmethod
    def read_rest(self) -> bytes:
        """Return everything up to the end."""

    @abstractmethod
    def finish(self) -> None:
        """Say that no more will be sent, and go on reading."""

    @abstractmethod
    def close(self) -> None:
        """Leave in good order."""

    @abstractmethod
    def reset(self) -> None:
        """Leave at once."""

    @abstractmethod
    def is_closed(self, within_s: float = TIMEOUT_S) -> bool:
        """Say whether the other side ends it without sending anything more, waiting up to `within_s`."""

    @abstractmethod
    def is_silent(self, for_s: float) -> bool:
        """Say whether nothing at all happens for `for_s`."""


class Exchange(ABC):
    """One request in steps, its head has been sent."""

    def __init__(self, wire: Connection, method: str) -> None:
        self.wire = wire
        self.method = method

    @abstractmethod
    def send_body(self, data: bytes) -> None:
        """Send a piece of the body at once. What the other side has said it does not want is not sent."""

    @abstractmethod
    def end_body(self, trailers: Iterable[Field] = ()) -> None:
        """Say that the body is whole."""

    @abstractmethod
    def read_head(self) -> Head:
        """Return the next head, interim or final. Raises Truncated."""

    @abstractmethod
    def read_piece(self) -> bytes:
        """Return what has come of the body after a final head, at least a byte; nothing at its end. Raises Truncated."""

    @abstractmethod
    def read_trailers(self) -> list[Field]:
        """Return the trailers, after the end of the body."""

    @abstractmethod
    def abort(self) -> None:
        """Give up this request at once."""

    @abstractmethod
    def is_dropped(self, within_s: float = TIMEOUT_S) -> bool:
        """Say whether the other side makes clear that it takes no more of the request."""

    def read_body(self) -> bytes:
        """Return the body up to its end. Raises Truncated."""
        pieces = []
        try:
            while piece := self.read_piece():
                pieces.append(piece)
        except Truncated as cut:
            raise Truncated(b"".join(pieces) + cut.got) from cut
        return b"".join(pieces)

    def read_some(self, size: int) -> bytes:
        """Return at least `size` bytes of the body. Raises Truncated."""
        got = b""
        while len(got) < size:
            piece = self.read_piece()
            if not piece:
                raise Truncated(got)
            got += piece
        return got

    def read_response(self) -> Response:
        """Return the final response with the interim heads before it."""
        interims = []
        while (head := self.read_head()).status < 200 and head.status != 101:
            interims.append(head)
        body = self.read_body()
        return Response(head, body, interims, self.read_trailers())

    def close(self) -> None:
        """Close the connection of this exchange."""
        self.wire.close()


_connections: list[Connection] = []


def remember(connection: Connection) -> None:
    """Have a connection closed by `close_all`."""
    _connections.append(connection)


def close_all() -> None:
    """Close every connection that was opened since the last call, so that a test may leave them open."""
    while _connections:
        _connections.pop().close()


def render(fields: Iterable[Field]) -> bytes:
    """Return fields as lines."""
    return b"".join(name + b": " + value + b"\r\n" for name, value in fields)
