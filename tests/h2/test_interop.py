"""Clients written by others: the `h2` package with traffic made by Hypothesis, and curl, nghttp and h2load where they are."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .house import BODY, House, Wire


class Peer:
    """A client made of the `h2` package, on a wire of the house."""

    def __init__(self, house: House, window: int = 65_535) -> None:
        self.house = house
        self.wire: Wire = house.connect(greet=False)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.h2.initiate_connection()
        self.statuses: dict[int, bytes] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.trailers: dict[int, list[tuple[bytes, bytes]]] = {}
        self.closed = False
        self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.wire.send(data)

    def pump(self) -> None:
        """Let things happen once: turn the house, read, take the events in."""
        self.flush()
        self.house.turn(1)
        try:
            data = self.wire.sock.recv(1 << 20)
        except BlockingIOError:
            return
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(data):
            self.take(event)
        self.flush()

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.statuses[event.stream_id] = dict(event.headers)[b":status"]
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            if event.flow_controlled_length:
                self.h2.increment_flow_control_window(event.flow_controlled_length)
                if event.stream_ended is None:
                    self.h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers[event.stream_id] = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise AssertionError(f"GOAWAY: {event}")

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, (self.statuses, self.ended, self.resets)
            self.pump()

    def request(self, stream: int, method: bytes, end: bool, fields: list[tuple[bytes, bytes]]) -> None:
        head = [(b":method", method), (b":scheme", b"http"), (b":authority", b"a.example"), (b":path", b"/%d" % stream)]
        self.h2.send_headers(stream, [*head, *fields], end_stream=end)

    def send(self, stream: int, data: bytes, end: bool, pad: int | None = None) -> None:
        """Send a body piece as far and as fast as the windows allow."""
        while True:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size) - (pad + 1 if pad is not None else 0)
            piece = data[: max(room, 0)]
            if piece or not data:
                data = data[len(piece) :]
                self.h2.send_data(stream, piece, end_stream=end and not data, pad_length=pad)
                if not data:
                    return
            self.pump()


FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b"x-a", b"accept", b"cookie", b"x-long-name-of-a-field"]),
        st.sampled_from([b"1", b"", b"abc" * 30, b"\xc3\xa4", b"*/*"]),
    ),
    max_size=6,
)
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"]),
        FIELDS,
        st.lists(st.integers(0, 40_000), max_size=4),
        st.sampled_from(["end", "trailers", "cancel"]),
        st.one_of(st.none(), st.integers(0, 255)),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS, st.sampled_from([1, 100, 65_535, 1_000_000]))
def test_any_traffic_of_another_implementation(
    requests: list[tuple[bytes, list[tuple[bytes, bytes]], list[int], str, int | None]], window: int
) -> None:
    """What is not cancelled is answered whole, what arrives upstream is what was sent, and `h2` finds no fault with us."""
    house = House()
    try:
        peer = Peer(house, window)
        wanted: dict[int, bytes] = {}
        stream = 1
        for method, fields, sizes, ending, pad in requests:
            body = b""
            peer.request(stream, method, not sizes and ending == "end", fields)
            for at, size in enumerate(sizes):
                piece = bytes((stream & 255,)) * size
                body += piece
                peer.send(stream, piece, at == len(sizes) - 1 and ending == "end", pad)
            if ending == "trailers":
                peer.h2.send_headers(stream, [(b"x-sum", b"%d" % len(body))], end_stream=True)
            if ending == "cancel":
                peer.h2.reset_stream(stream, 8)
            else:
                wanted[stream] = body
            stream += 2
        peer.flush()
        if not any(row[3] == "trailers" for row in requests):
            peer.until(lambda: peer.ended >= set(wanted))
        else:
            house.answers = False
            house.settle(5)
            serve_trailers(house, peer, set(wanted))
        assert peer.resets == {}
        for wanted_stream in wanted:
            assert peer.statuses[wanted_stream] == b"200"
            assert peer.bodies[wanted_stream] == BODY
        seen = {request.split(b" ")[1]: request for call in house.calls for request in call.requests}
        for wanted_stream, body in wanted.items():
            assert unchunked(seen[b"/%d" % wanted_stream]) == body
        house.until(lambda: house.tally.exchanges == 0)
    finally:
        house.close()


def serve_trailers(house: House, peer: Peer, wanted: set[int]) -> None:
    """Answer requests whose end has trailers, which the house's own answering does not look for."""

    def look() -> bool:
        for call in house.calls:
            while call.take_whole() or take_trailed(call):
                call.answer()
        return peer.ended >= wanted

    peer.until(look)


def take_trailed(call) -> bool:  # type: ignore[no-untyped-def]
    at = call.got.find(b"0\r\nx-sum: ")
    end = call.got.find(b"\r\n\r\n", at) + 4
    if at < 0 or end < 4 or b"\r\n\r\n" not in call.got[:at]:
        return False
    call.requests.append(call.got[:end])
    call.got = call.got[end:]
    return True


def unchunked(request: bytes) -> bytes:
    """Return the body of a request in either framing."""
    head, _, rest = request.partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" not in head:
        return rest
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            return body
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]


# ---- programs


@pytest.fixture
def front() -> Iterator[House]:
    made = House()
    made.listen()
    yield made
    made.close()


def run(house: House, *words: str) -> str:
    """Run a program beside the house and return what it said; it must end well."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not on this machine")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            house.until(lambda: process.poll() is not None, words[0], 20)
        finally:
            process.kill()
        said = process.stdout.read().decode() if process.stdout else ""
    assert process.returncode == 0, said
    return said


def test_curl(front: House, tmp_path) -> None:  # type: ignore[no-untyped-def]
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * 3_000_000)
    url = f"http://127.0.0.1:{front.port}/"
    said = run(front, "curl", "-sS", "--http2-prior-knowledge", "-w", " %{http_version} %{http_code}", url)
    assert said == f"{BODY.decode()} 2 200"
    said = run(front, "curl", "-sS", "--http2-prior-knowledge", "-w", " %{http_code}", "-T", str(upload), "-H", "Expect:", url)
    assert said == f"{BODY.decode()} 200"
    assert len(front.calls[-1].requests[-1]) > 3_000_000


def test_nghttp(front: House) -> None:
    said = run(front, "nghttp", "-v", "-m", "20", f"http://127.0.0.1:{front.port}/")
    assert said.count(":status: 200") == 20
    assert "error_code=PROTOCOL_ERROR" not in said


@pytest.mark.parametrize("streams", ["1", "10", "100"])
def test_h2load(front: House, streams: str) -> None:
    said = run(front, "h2load", "-n", "600", "-c", "3", "-m", streams, f"http://127.0.0.1:{front.port}/")
    assert "600 succeeded, 0 failed, 0 errored" in said
