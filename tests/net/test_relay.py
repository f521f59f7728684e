"""Relays: bytes past the owners of two sockets, in order, in bounds, and taken back at any moment."""

import fcntl
import os
import socket

import pytest

from tests.conformance.pair import Far, Record, tcp_pair, tls_bulk
from vestibule.net.reactor import SCRATCH_BYTES, WRITE, Reactor
from vestibule.net.relay import PIPE_BYTES, DecryptingRelay, Pipes, Relay, SplicingRelay, Watcher
from vestibule.net.tls_transport import TlsTransport
from vestibule.net.transport import PlainTransport, Transport

pytestmark = pytest.mark.interpreted_only  # the owner and the watcher are traits, and those cannot be derived from

BODY = bytes(i * 7 % 251 for i in range(251)) * 16_000  # 4 MB


class Watch(Watcher):
    def __init__(self) -> None:
        self.moved: list[int] = []
        self.ends = 0
        self.left_at_end = -1

    def on_moved(self, relay: Relay, count: int) -> None:
        assert count > 0
        self.moved.append(count)

    def on_source_end(self, relay: Relay) -> None:
        self.ends += 1
        self.left_at_end = relay.left


class Two:
    """A source, plain or TLS, and a plain sink, with what is outside of them."""

    def __init__(self, tls: bool = False) -> None:
        self.source: Transport
        if tls:
            pair = tls_bulk()
            self.reactor, self.source, source_owner, self.sender = pair.reactor, pair.transport, pair.owner, pair.far
        else:
            self.reactor, source_owner = Reactor(), Record()
            self.source, self.sender = self._plain(source_owner)
        self.owners = [source_owner, Record()]
        self.sink, self.taker = self._plain(self.owners[1])
        self.transports = [self.source, self.sink]
        self.fars = [self.sender, self.taker]
        self.pipes = Pipes()
        self.watch = Watch()
        self.turn()  # the kernel knows both from here on, so events come before the first flush

    def _plain(self, owner: Record) -> tuple[PlainTransport, Far]:
        near, far = tcp_pair(False)
        transport = PlainTransport(self.reactor, near, owner)
        transport.start()
        return transport, Far(far)

    def relay(self, left: int) -> Relay:
        made: Relay
        if isinstance(self.source, PlainTransport):
            made = SplicingRelay(self.source, self.sink, left, self.watch, self.pipes)
        else:
            assert isinstance(self.source, TlsTransport)
            made = DecryptingRelay(self.source, self.sink, left, self.watch)
        made.begin()
        return made

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.turn(1)
            for far in self.fars:
                far.work()

    def until_taken(self, count: int) -> None:
        for _ in range(2000):
            if len(self.taker.got) >= count:
                return
            self.turn()
        raise AssertionError(f"{len(self.taker.got)} of {count} bytes arrived")

    def close(self) -> None:
        for transport in self.transports:
            transport.abort()
        for far in self.fars:
            far.close()
        self.turn(2)
        self.pipes.close()
        self.reactor.close()


def test_so_many_bytes_and_not_one_more() -> None:
    two = Two()
    before = len(os.listdir("/proc/self/fd"))
    relay = two.relay(3_000_000)
    two.sender.send(BODY)
    two.until_taken(3_000_000)
    two.turn(5)
    assert two.taker.got == BODY[:3_000_000] and relay.left == 0 and relay.stopped
    assert sum(two.watch.moved) == 3_000_000 and two.watch.ends == 0
    two.turn(20)
    assert two.owners[0].got == BODY[3_000_000:], "what follows is the owner's again"
    assert len(os.listdir("/proc/self/fd")) == before + 2, "the pipe is kept"
    two.close()


def test_of_tls_so_many_bytes_and_not_one_more() -> None:
    """Neither the record that a body ends in nor what OpenSSL holds at that moment is lost to the owner, who gets no more events for it."""
    two = Two(True)
    relay = two.relay(1_000_003)
    two.sender.send(BODY)
    two.until_taken(1_000_003)
    for _ in range(2_000):
        if len(two.owners[0].got) == len(BODY) - 1_000_003:
            break
        two.turn()
    assert two.taker.got == BODY[:1_000_003] and relay.left == 0 and relay.stopped
    assert sum(two.watch.moved) == 1_000_003 and max(two.watch.moved) <= SCRATCH_BYTES
    assert two.owners[0].got == BODY[1_000_003:]
    two.close()


def test_of_tls_no_more_than_a_read_is_in_flight() -> None:
    two = Two(True)
    two.taker.reads = False
    two.sink.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    before = two.source.bytes_in
    two.relay(-1)
    two.sender.send(BODY * 4)
    two.turn(100)
    assert two.source.is_paused() and two.sink.is_sink_blocked()
    assert two.source.bytes_in - before - two.sink.bytes_out == two.sink.queued() <= SCRATCH_BYTES
    two.taker.reads = True
    two.until_taken(len(BODY) * 4)
    assert two.taker.got == BODY * 4 and not two.sink.is_sink_blocked() and two.owners[0].got == b""
    two.close()


def test_of_tls_a_broken_record_is_told_after_what_came_before_it() -> None:
    two = Two(True)
    relay = two.relay(-1)
    two.sender.send(b"x" * 1000)
    two.sender.unsent += b"\x17\x03\x03\x00\x20" + bytes(32)
    two.turn(5)
    assert two.taker.got == b"x" * 1000
    assert relay.stopped and two.owners[0].events == ["lost"]
    two.close()


def test_of_tls_a_stopped_relay_leaves_the_rest_to_the_owner() -> None:
    two = Two(True)
    relay = two.relay(-1)
    two.sender.send(BODY)
    two.turn()
    relay.stop()
    for _ in range(2_000):
        if len(two.taker.got) + len(two.owners[0].got) == len(BODY):
            break
        two.turn()
    assert bytes(two.taker.got + two.owners[0].got) == BODY and two.taker.got and two.owners[0].got
    two.close()


@pytest.mark.parametrize("tls", [False, True])
def test_what_was_queued_goes_first(tls: bool) -> None:
    two = Two(tls)
    two.sink.write(b"head")
    two.relay(-1)
    two.sender.send(b"body")
    two.until_taken(8)
    assert two.taker.got == b"headbody"
    two.close()


@pytest.mark.parametrize("tls", [False, True])
def test_a_debt_is_paid_under_a_relay(tls: bool) -> None:
    two = Two(tls)
    assert not two.sink.write(bytes(70_000))
    two.source.pause()
    two.relay(-1)
    two.sender.send(b"body")
    two.until_taken(70_004)
    assert two.owners[1].events == ["drained"] and two.taker.got.endswith(b"body")
    two.close()


def test_no_more_than_a_pipe_is_in_flight() -> None:
    two = Two()
    two.taker.reads = False
    two.sink.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    two.relay(-1)
    two.sender.send(BODY * 4)
    two.turn(100)
    assert two.source.bytes_in - two.sink.bytes_out <= PIPE_BYTES
    assert two.source.is_paused() and two.sink.is_sink_blocked()
    two.taker.reads = True
    two.until_taken(len(BODY) * 4)
    assert two.taker.got == BODY * 4 and not two.sink.is_sink_blocked()
    two.close()


@pytest.mark.parametrize("tls", [False, True])
def test_the_end_of_the_source_is_told_and_stops_the_relay(tls: bool) -> None:
    two = Two(tls)
    relay = two.relay(100)
    two.sender.send(b"x" * 40)
    two.sender.finish()
    two.until_taken(40)
    two.turn(3)
    assert relay.stopped and relay.left == 60 and two.watch.moved == [40]
    if tls:
        assert two.watch.ends == 0 and two.owners[0].events == ["end"], "the transport itself tells it"
    else:
        assert two.watch.ends == 1 and two.watch.left_at_end == 60
    two.close()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("who", ["source", "sink"])
def test_a_reset_is_told_to_the_owner(who: str, tls: bool) -> None:
    two = Two(tls)
    relay = two.relay(-1)
    two.sender.send(b"x" * 1000)
    two.until_taken(1000)
    (two.sender if who == "source" else two.taker).reset()
    for _ in range(5):
        if who == "sink":
            two.sender.send(b"y" * 100_000)
        two.turn(2)
    assert "lost" in two.owners[0 if who == "source" else 1].events
    relay.stop()
    two.close()


def test_a_pipe_that_holds_bytes_is_not_lent_again() -> None:
    two = Two()
    two.taker.reads = False
    relay = two.relay(-1)
    two.sender.send(BODY * 4)
    two.turn(100)
    assert two.sink.is_sink_blocked()
    relay.stop()
    relay.stop()
    pipe = two.pipes.lend()
    with pytest.raises(BlockingIOError):
        os.read(pipe.out, 1)
    pipe.close()
    two.close()


class Shut:
    """A pipe of which the kernel says something odd."""

    def __init__(self, *answers: OSError | int) -> None:
        self.answers = list(answers)
        self.asked = 0

    def splice(self, _source: int, _sink: int, _count: int, flags: int = 0) -> int:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


def test_readiness_without_bytes_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two()
    relay = two.relay(-1)
    shut = Shut(BlockingIOError())
    monkeypatch.setattr(os, "splice", shut.splice)
    relay.on_source_ready()
    assert shut.asked == 1 and not relay.stopped and two.watch.moved == []
    monkeypatch.undo()
    relay.stop()
    two.close()


def test_a_sink_that_breaks_is_told_to_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two()
    relay = two.relay(-1)
    two.sender.send(b"x" * 1000)
    two.turn()
    held = Shut(500, OSError(32, "Broken pipe"))
    monkeypatch.setattr(os, "splice", held.splice)
    relay.on_source_ready()
    assert relay.stopped and "lost" in two.owners[1].events and "lost" not in two.owners[0].events
    monkeypatch.undo()
    two.close()


def test_a_source_that_breaks_while_the_sink_is_full_is_not_reported_for_ever() -> None:
    two = Two()
    two.taker.reads = False
    relay = two.relay(-1)
    two.sender.send(BODY * 4)
    two.turn(100)
    assert two.source.is_paused()
    two.sender.reset()
    two.turn(5)
    assert relay.stopped and two.owners[0].events == ["lost"]
    two.close()


def test_what_a_patient_source_said_before_it_broke_still_gets_there() -> None:
    two = Two()
    two.source.patient = True
    two.taker.reads = False
    relay = two.relay(-1)
    sent = 0
    while not two.source.is_paused():
        two.sender.send(BODY[:200_000])
        two.turn()
        sent += 200_000
    two.sender.send(BODY[:50_000])
    two.turn(20)
    assert not two.sender.unsent
    two.sender.reset()
    two.turn(5)
    assert two.source.known == -1 and not relay.stopped and two.owners[0].events == []
    two.taker.reads = True
    two.until_taken(sent + 50_000)
    two.turn(5)
    assert relay.stopped and two.owners[0].events == ["lost"]
    two.close()


def test_a_stop_when_the_sink_waits_for_nothing_it_has() -> None:
    """The sink was waiting for a relay that is stopped: it waits no more."""
    two = Two()
    relay = two.relay(-1)
    two.reactor.want(two.sink, two.sink.interest | WRITE)
    relay.stop()
    assert not two.sink.interest & WRITE
    two.close()


def test_a_ready_sink_without_anything_to_move() -> None:
    two = Two()
    relay = two.relay(0)
    relay.on_sink_ready()
    assert two.watch.moved == [] and not relay.stopped
    relay.stop()
    two.close()


def test_pipes_that_are_kept_are_few() -> None:
    pipes = Pipes()
    lent = [pipes.lend() for _ in range(20)]
    before = len(os.listdir("/proc/self/fd"))
    for pipe in lent:
        pipes.take_back(pipe)
    assert len(os.listdir("/proc/self/fd")) == before - 2 * 4
    assert pipes.lend() in lent
    pipes.close()


def test_a_small_pipe_does_where_the_system_grants_no_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: object) -> int:
        raise PermissionError

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    two = Two()
    relay = two.relay(100_000)
    monkeypatch.undo()
    two.sender.send(BODY[:100_000])
    two.until_taken(100_000)
    assert two.taker.got == BODY[:100_000] and relay.stopped
    two.close()


def test_a_sink_that_takes_nothing_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two()
    relay = two.relay(700)
    shut = Shut(500, BlockingIOError(), 300, 200, 200, 200)
    monkeypatch.setattr(os, "splice", shut.splice)
    relay.on_source_ready()
    assert two.sink.is_sink_blocked() and two.source.is_paused() and two.watch.moved == []
    relay.on_sink_ready()
    assert two.watch.moved == [300] and two.sink.is_sink_blocked(), "200 are still held"
    relay.on_sink_ready()
    assert two.watch.moved == [300, 200] and not two.source.is_paused() and relay.left == 200
    relay.on_source_ready()
    assert relay.stopped and two.watch.moved == [300, 200, 200]
    monkeypatch.undo()
    two.close()
