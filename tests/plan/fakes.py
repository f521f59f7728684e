"""Both sides of an exchange in memory, for tests of plans."""

from vestibule.contract import Client, Plan, Relays, Source, Stream
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT, UPSTREAM, Fault
from vestibule.http.fields import EMPTY, Fields, parse_fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.transport import Transport


def fields(*lines: str, side: int = CLIENT) -> Fields:
    """Parse lines as the wire has them."""
    return parse_fields("".join(f"{line}\r\n" for line in lines).encode("latin-1"), side, 100)


class FakeStream(Stream):
    """A side that remembers what it was sent."""

    def __init__(self) -> None:
        self.heads: list[RequestHead | ResponseHead] = []
        self.body = b""
        self.ended = False
        self.faults: list[Fault] = []
        self.released = 0
        self.trailers: Fields | None = None

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        self.heads.append(head)
        self.ended = end
        return True

    def send_body(self, data: bytes, end: bool) -> bool:
        self.body += data
        self.ended = end
        return True

    def send_trailers(self, fields: Fields) -> bool:
        self.trailers = fields
        self.ended = True
        return True

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def abort(self, fault: Fault) -> None:
        self.faults.append(fault)

    def release(self) -> None:
        self.released += 1

    def relay_port(self) -> Transport | None:
        return None


class FakeUpstream(Source):
    """A source whose stream the test answers on."""

    def __init__(self, name: str = "192.0.2.80:2283") -> None:
        self.name = name
        self.stream = FakeStream()
        self.exchange: Exchange | None = None

    def start(self, ex: Exchange) -> None:
        self.exchange = ex
        self.stream = FakeStream()
        ex.connected(self.stream, self.name)

    def request(self) -> RequestHead:
        """Return the head that came here."""
        head = self.stream.heads[0]
        assert isinstance(head, RequestHead)
        return head


def client(address: str = "203.0.113.7", scheme: str = "http", port: int = 80) -> Client:
    return Client(address.encode(), 50_000, b"192.0.2.1", port, scheme.encode())


def request(
    plan: Plan,
    target: str = "/",
    *lines: str,
    method: str = "GET",
    authority: str = "photos.example",
    peer: Client | None = None,
    section: Fields | None = None,
) -> tuple[Exchange, FakeStream]:
    """Send a request through a plan; its Host line is added unless there is one."""
    if section is None:
        if not any(line.lower().startswith("host:") for line in lines):
            lines = (f"Host: {authority}", *lines)
        section = fields(*lines)
    down = FakeStream()
    ex = Exchange(down, peer or client(), plan, Relays(), 1000)
    ex.on_request(RequestHead(method.encode(), target.encode(), authority.encode(), section, b"HTTP/1.1"), True)
    return ex, down


def idle(target: str = "/", *lines: str, method: str = "GET", authority: str = "photos.example") -> Exchange:
    """Return an exchange whose request has come and which nobody acts on, for steps and expressions."""
    ex = Exchange(FakeStream(), client(), Plan("idle", Source()), Relays(), 1000)
    section = fields(f"Host: {authority}", *lines)
    ex.request = RequestHead(method.encode(), target.encode(), authority.encode(), section, b"HTTP/1.1")
    ex.request_ended = True
    return ex


def respond(ex: Exchange, status: int, *lines: str, body: bytes = b"") -> None:
    """Answer as the upstream."""
    section = fields(*lines, side=UPSTREAM) if lines else EMPTY
    ex.on_response(ResponseHead(status, b"", section), not body)
    if body:
        ex.on_response_body(body, True)


def answer_of(down: FakeStream) -> ResponseHead:
    """Return the final response head that a client got."""
    head = down.heads[-1]
    assert isinstance(head, ResponseHead)
    return head
