"""Any chunking, any pauses, any end: bytes out are bytes in, memory is bounded, nothing is left.

Facts
  An example is a list of messages and a list of events: so many bytes sent by either side, either side stops or
  goes on reading, somebody breaks off. After the last event the weather clears and everything must arrive, so a
  drain that was never paid shows as a hang.

Rules: the bound is that of the documentation, 64 KiB and one read of 128 KiB per direction; a pipe of a relay is
the kernel's and counted by it.
"""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plays.play import Peer, Play
from vestibule.http.fields import FieldsTable
from vestibule.http.h1 import DATA, HEAD, NEED, PAUSED, TRAILERS, HeadLimits, RequestReader, ResponseReader, chunk_bytes
from vestibule.proxy.door import response_table

BOUND = 65_536 + 131_072 + 4_096
PATTERN = bytes(i * 7 % 251 for i in range(251)) * 2000
TURNS_MOST = 4000


@dataclass(frozen=True)
class Exchanged:
    """One request and its answer."""

    up: int  # bytes of the request body
    up_framing: str
    down: int
    down_framing: str
    early: bool  # the answer comes before the request body is read
    trailers: bool


def body(size: int, number: int) -> bytes:
    return PATTERN[number : number + size]


def framed(data: bytes, framing: str, piece: int, trailers: bool) -> bytes:
    """Return the body as it stands on the wire."""
    if framing != "chunked":
        return data
    chunks = [chunk_bytes(data[at : at + piece]) for at in range(0, len(data), piece)]
    return b"".join(chunks) + (b"0\r\nX-After: 1\r\n\r\n" if trailers else b"0\r\n\r\n")


def framing_line(size: int, framing: str) -> bytes:
    return {"length": b"Content-Length: %d\r\n" % size, "chunked": b"Transfer-Encoding: chunked\r\n", "close": b""}[framing]


SIZES = st.one_of(st.integers(0, 100), st.integers(0, 70_000), st.integers(60_000, 400_000))
EXCHANGES = st.builds(
    Exchanged,
    up=SIZES,
    up_framing=st.sampled_from(["length", "chunked"]),
    down=SIZES,
    down_framing=st.sampled_from(["length", "length", "chunked", "close"]),
    early=st.booleans(),
    trailers=st.booleans(),
)
SENT = st.one_of(st.integers(1, 20), st.integers(1, 5_000), st.integers(1, 300_000))
WEATHER = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["client sends", "upstream sends"]), SENT),
        st.tuples(st.sampled_from(["client stops", "client reads", "upstream stops", "upstream reads"]), st.just(0)),
        st.tuples(st.just("turns"), st.integers(1, 6)),
    ),
    max_size=40,
)


class House:
    """The upstream: reads requests on every connection, and answers in the order of their heads."""

    def __init__(self, stage: "Stage") -> None:
        self.stage = stage
        self.readers: dict[int, RequestReader] = {}
        self.bodies: dict[int, bytearray] = {}
        self.current: dict[int, int] = {}
        self.whole: set[int] = set()
        self.pending: dict[int, bytearray] = {}
        self.closing: set[int] = set()

    def read(self) -> None:
        """Take in what came on every connection, and prepare answers."""
        for at, peer in enumerate(self.stage.play.upstreams):
            if at not in self.readers:
                self.readers[at] = RequestReader(HeadLimits(), FieldsTable(0, 100))
                self.pending[at] = bytearray()
            if peer.got:
                self.readers[at].feed(bytes(peer.got))
                peer.got.clear()
                self._pull(at, self.readers[at])

    def _pull(self, at: int, reader: RequestReader) -> None:
        while True:
            event = reader.next()
            if event == NEED:
                return
            if event == PAUSED:
                if not reader.has_rest():
                    return
                reader.restart()
            elif event == HEAD:
                assert reader.head is not None
                number = int(reader.head.target[1:])
                assert number not in self.bodies, "the same request came twice"
                self.bodies[number] = bytearray()
                self.current[at] = number
                if self.stage.exchanges[number].early or reader.ended:
                    self._answer(at, number)
                if reader.ended:
                    self.whole.add(number)
            elif event in (DATA, TRAILERS):
                number = self.current[at]
                ended = event == TRAILERS or reader.ended
                if event == DATA:
                    self.bodies[number] += reader.data
                if ended:
                    self.whole.add(number)
                    if not self.stage.exchanges[number].early:
                        self._answer(at, number)

    def _answer(self, at: int, number: int) -> None:
        one = self.stage.exchanges[number]
        head = b"HTTP/1.1 200 OK\r\nX-Number: %d\r\n" % number + framing_line(one.down, one.down_framing) + b"\r\n"
        self.pending[at] += head + framed(body(one.down, number), one.down_framing, 9_999, one.trailers)
        if one.down_framing == "close":
            self.closing.add(at)

    def send(self, most: int) -> None:
        """Send up to so many bytes of the answers that wait, and close where that is the end."""
        for at, peer in enumerate(self.stage.play.upstreams):
            if peer.sock.fileno() < 0:
                continue
            waiting = self.pending.get(at, bytearray())
            peer.unsent += waiting[:most]
            del waiting[:most]
            peer.work()
            if at in self.closing and not waiting and not peer.unsent and self.current[at] in self.whole:
                peer.sock.close()


class Stage:
    """One example under way."""

    def __init__(self, exchanges: list[Exchanged]) -> None:
        self.exchanges = exchanges
        self.play = Play()
        self.house = House(self)
        self.unsent = bytearray()
        for number, one in enumerate(exchanges):
            head = b"POST /%d HTTP/1.1\r\nHost: a\r\n" % number + framing_line(one.up, one.up_framing) + b"\r\n"
            self.unsent += head + framed(body(one.up, number + 1), one.up_framing, 7_777, one.trailers)
        self.client = self.play.client_now
        self.reader = ResponseReader(HeadLimits(), response_table())
        self.reader.expect(b"POST")
        self.answers: list[bytearray] = []
        self.complete = 0

    def happen(self, what: str, size: int) -> None:
        """Let one event of the weather come to pass."""
        if what == "client sends":
            self.client.unsent += self.unsent[:size]
            del self.unsent[:size]
        elif what == "upstream sends":
            self.house.send(size)
        elif what == "client stops":
            self.client.most = 0
        elif what == "client reads":
            self.client.most = None
        elif what in ("upstream stops", "upstream reads"):
            for peer in self.play.upstreams:
                peer.most = 0 if what == "upstream stops" else None
        self.turn(size if what == "turns" else 1)

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.play.turn(0)
            for pollable in self.play.reactor.pollables():
                queued = getattr(pollable, "queued", None)
                assert queued is None or queued() <= BOUND, f"{queued()} bytes in the proxy"
            self.house.read()
            self._read()

    def _read(self) -> None:
        """Take in the answers. `finish` decides where an answer lasts until the close."""
        if self.client.got:
            self.reader.feed(bytes(self.client.got))
            self.client.got.clear()
        while True:
            event = self.reader.next()
            if event == NEED:
                return
            if event == HEAD:
                self.answers.append(bytearray())
            elif event == DATA:
                self.answers[-1] += self.reader.data
            if self.reader.is_over():
                self.complete += 1
                self.reader.expect(b"POST")
                if not self.reader.has_rest():
                    return

    def clear_up(self) -> None:
        """The weather clears: everybody reads, everything is sent."""
        self.client.most = None
        for _ in range(TURNS_MOST):
            self.client.unsent += self.unsent
            self.unsent.clear()
            for peer in self.play.upstreams:
                peer.most = None
            self.house.send(1 << 30)
            self.turn()
            if self.complete == len(self.exchanges) and len(self.house.whole) == self.complete and self.play.tally.exchanges == 0:
                return
        raise AssertionError(f"hangs with {self.complete} of {len(self.exchanges)} answered, {self.house.whole} arrived")

    def end(self) -> None:
        self.play.break_off()


def live(peers: list[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer.sock.fileno() >= 0]


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(EXCHANGES, min_size=1, max_size=3), WEATHER)
def test_everything_arrives_in_any_weather(exchanges: list[Exchanged], weather: list[tuple[str, int]]) -> None:
    stage = Stage(exchanges)
    try:
        for what, size in weather:
            stage.happen(what, size)
        stage.clear_up()
        for number, one in enumerate(exchanges):
            assert stage.house.bodies[number] == body(one.up, number + 1)
            assert stage.answers[number] == body(one.down, number)
        assert stage.play.notes.faults == [""] * len(exchanges)
        assert stage.play.tally.connections <= 1
    finally:
        stage.end()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(EXCHANGES, WEATHER, st.sampled_from(["client resets", "client closes", "upstream resets", "upstream closes"]))
def test_whoever_breaks_off_nothing_looks_whole_that_is_not(one: Exchanged, weather: list[tuple[str, int]], breaks: str) -> None:
    stage = Stage([one])
    try:
        for what, size in weather:
            stage.happen(what, size)
        whole_before = stage.house.closing or 0 not in stage.house.bodies
        answered = 0 in stage.house.bodies and not any(stage.house.pending.values())
        peers = live(stage.play.clients if breaks.startswith("client") else stage.play.upstreams)
        unsent = any(peer.unsent for peer in peers)
        for peer in peers:
            if breaks.endswith("resets"):
                peer.cut()
            else:
                peer.sock.close()
        stage.client.most = None
        for peer in stage.play.upstreams:
            peer.most = None
        if not peers or (breaks.startswith("upstream") and (whole_before or (answered and not unsent))):
            return  # nobody was there to break off, or the close is how the answer ends
        stage.turn(30)
        stage.play.idle(1)
        stage.turn(30)
        if breaks.startswith("client"):
            assert stage.play.tally.exchanges == 0, "the client is gone and is still served"
            assert stage.house.bodies.get(0, b"") == body(one.up, 1)[: len(stage.house.bodies.get(0, b""))]
        elif stage.answers and stage.complete:
            # What the client takes for whole is either the whole answer or the proxy's own.
            assert stage.answers[0] == body(one.down, 0) or b"upstream" in bytes(stage.answers[0])
    finally:
        stage.end()
