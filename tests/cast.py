"""Who takes part in an exchange that a test makes: both sides, sources, steps, limits, all of which do what the test says."""

from collections.abc import Callable

from tests.conformance.stream import Spy
from vestibule.contract import (
    ANSWERED,
    PASS,
    BodyFilter,
    Chosen,
    Client,
    Ending,
    ErrorPage,
    FilterMaker,
    LogLine,
    Pacing,
    Plan,
    Relays,
    Source,
    Step,
    Stream,
)
from vestibule.exchange import Exchange
from vestibule.fault import Fault
from vestibule.http.fields import Fields, fields_of
from vestibule.http.head import RequestHead, ResponseHead


class Down(Spy):
    """The client's side, which remembers heads."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []
        self.fields: Fields | None = None

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        assert isinstance(head, ResponseHead)
        self.statuses.append(head.status)
        self.fields = head.fields
        return super().send_head(head, end)

    def refuse_rest(self) -> None:
        self._note("refuse_rest")


class Slow(Source):
    """A source whose stream comes when the test says so."""

    def __init__(self) -> None:
        self.ex: Exchange | None = None
        self.cancelled = 0
        self.retries = 0

    @property
    def started(self) -> bool:
        return self.ex is not None

    def start(self, ex: Exchange) -> None:
        self.ex = ex

    def retry(self, ex: Exchange, fault: Fault) -> bool:
        self.retries += 1
        ex.drop_up(fault)
        ex.waiting = True
        return self.retries == 1

    def cancel(self, ex: Exchange) -> None:
        self.cancelled += 1


class Say(Step):
    """A step that says what it is told to, after doing something."""

    def __init__(self, said: int, does: Callable[[Exchange], None] | None = None) -> None:
        self.said = said
        self.does = does
        self.runs = 0

    def run(self, ex: Exchange) -> int:
        self.runs += 1
        if self.does is not None:
            self.does(ex)
        return self.said


class Lines(LogLine):
    def __init__(self) -> None:
        self.faults: list[str] = []

    def write(self, ex: Exchange) -> None:
        self.faults.append(ex.fault.kind.name if ex.fault is not None else "")


class Upper(BodyFilter):
    def feed(self, data: bytes, end: bool) -> bytes:
        return data.upper() + (b"!" if end else b"") if data != b"drop" else b""


class UpperMaker(FilterMaker):
    def wants(self, ex: Exchange) -> bool:
        return ex.response is not None and ex.response.status == 200

    def make(self, ex: Exchange) -> BodyFilter:
        return Upper()


class Page(ErrorPage):
    def answer(self, ex: Exchange, fault: Fault) -> None:
        ex.answer(fault.status, [(b"X-Fault", fault.kind.name.encode())], b"page")


class Up(Spy):
    """The server's side, which may close behind an early answer, and hears of bytes that went past."""

    def __init__(self, rest: bool = True) -> None:
        super().__init__()
        self.rest = rest
        self.passed = 0

    def takes_rest(self) -> bool:
        return self.rest

    def relayed(self, count: int) -> None:
        self.passed += count


class Watching(Relays):
    """Remembers which bodies could have gone past the exchange, and tunnels."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.tunnels = 0

    def try_body(self, ex: Exchange, side: int) -> bool:
        self.asked.append(side)
        return False

    def open_tunnel(self, ex: Exchange) -> bool:
        self.tunnels += 1
        return True


class Pace(Pacing):
    """Holds what the test says it holds."""

    def __init__(self, held: bool = True) -> None:
        self.held = held
        self.lifted = 0
        self.wrapped: list[Stream] = []

    def around(self, ex: Exchange, up: Stream) -> Stream:
        self.wrapped.append(up)
        return up

    def on_drain(self, side: int) -> bool:
        return not self.held

    def holds(self, ex: Exchange) -> bool:
        return self.held

    def lift(self) -> None:
        self.lifted += 1
        self.held = False


class Ends(Ending):
    def __init__(self) -> None:
        self.ends = 0

    def on_end(self, ex: Exchange) -> None:
        self.ends += 1


class Picky(Chosen):
    """Does not want the first answers."""

    def __init__(self, refuses: int = 1) -> None:
        super().__init__()
        self.watches = True
        self.seen: list[int] = []
        self._refuses = refuses

    def on_answer(self, ex: Exchange, head: ResponseHead) -> bool:
        self.seen.append(head.status)
        return len(self.seen) <= self._refuses


class Tail(BodyFilter):
    """Keeps everything until the end."""

    def __init__(self) -> None:
        self.kept = b""

    def feed(self, data: bytes, end: bool) -> bytes:
        self.kept += data
        return self.kept if end else b""


class TailMaker(FilterMaker):
    def wants(self, ex: Exchange) -> bool:
        return True

    def make(self, ex: Exchange) -> BodyFilter:
        return Tail()


def request(method: bytes = b"GET", body: int = -1) -> RequestHead:
    pairs = [(b"Host", b"a")] + ([(b"Content-Length", b"%d" % body)] if body >= 0 else [])
    return RequestHead(method, b"/", b"a", fields_of(pairs), b"HTTP/1.1")


def begin(plan: Plan, relays: Relays | None = None) -> tuple[Down, Exchange]:
    down = Down()
    return down, Exchange(down, Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http"), plan, relays or Relays(), 1000)


def serving(plan: Plan, method: bytes = b"GET", body: int = -1, rest: bool = True) -> tuple[Down, Up, Exchange]:
    """Return an exchange whose request has reached the server, but for the body."""
    down, ex = begin(plan)
    ex.on_request(request(method, body), body < 0)
    up = Up(rest)
    ex.connected(up, "u")
    return down, up, ex


def answer_head(status: int = 200) -> ResponseHead:
    return ResponseHead(status, b"", fields_of([]))


def put_in_place(status: int, body: bytes) -> Say:
    """A response step that answers in the place of whoever did."""

    def does(ex: Exchange) -> None:
        assert ex.response is not None
        ex.response.status = status
        ex.instead = body

    return Say(PASS, does)


def paced(plan: Plan, held: bool = True) -> tuple[Down, Up, Exchange, Pace]:
    pace = Pace(held)
    down, ex = begin(plan)
    ex.pacing = pace
    ex.on_request(request(), True)
    up = Up()
    ex.connected(up, "u")
    assert pace.wrapped == [up]
    return down, up, ex, pace


def error_plan(status: int = 200) -> Plan:
    return Plan("error", Slow(), request=[Say(ANSWERED, lambda ex: ex.answer(status, [], b"sorry"))])


class Spoken(LogLine):
    """Notes whether TLS is spoken with the server, as long as a log may know."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def write(self, ex: Exchange) -> None:
        assert ex.up is not None
        self.seen.append(ex.up.secured())
