"""Whole exchanges told as plays: a client and an upstream speak their lines, the proxy between them is real.

Facts
  The reactor is the one that serves users, so these plays run against compiled code as well. Its clock can
  be put ahead, and nothing in the proxy looks at any other: an hour passes in no time.
  Client and upstream are plain sockets on the loopback, because only TCP has a reset.

Rules
  1. A line that is not seen in time fails the play, and so does a byte nobody expected.
  2. A play that was not brought to its end with `done` fails; `done` looks whether anything is left behind.
  3. Lines are joined with CRLF. `""` at the end is the empty line after a head or a last chunk; `b""` there
     only ends the line before.

Not here: many clients at once and random weather (`tests/properties`).
"""

import socket
import struct
from collections.abc import Callable
from typing import Self

from vestibule.contract import LogLine, Plan, Timeouts
from vestibule.exchange import Exchange
from vestibule.http.h1 import HeadLimits
from vestibule.net.listen import Listener
from vestibule.net.reactor import Reactor
from vestibule.proxy.door import Door, Porch, Tally, response_table
from vestibule.proxy.entry import Entry
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.relays import BodyRelays
from vestibule.proxy.upstream import Server, Upstream

# Turns given to something that should happen; each waits a few milliseconds at most.
PATIENCE_TURNS = 300
TURN_MS = 5
# Turns given to something that should not happen.
QUIET_TURNS = 3
QUIET_MS = 2


def text(lines: tuple[str | bytes, ...]) -> bytes:
    """Join lines as they stand on the wire."""
    parts = [line.encode("latin-1") if isinstance(line, str) else line for line in lines]
    last = lines[-1]
    return b"\r\n".join(parts) + (b"\r\n" if isinstance(last, str) and not last else b"")


class Notes(LogLine):
    """A log that remembers the fault of every exchange; empty where there was none."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.statuses: list[int] = []
        self.details: list[str] = []

    def write(self, ex: Exchange) -> None:
        self.faults.append(ex.fault.kind.name if ex.fault is not None else "")
        self.details.append(ex.fault.detail if ex.fault is not None else "")
        self.statuses.append(ex.response.status if ex.response is not None else 0)


class Peer:
    """One end of a connection outside the proxy: what it received, and how it was ended."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = bytearray()
        self.unsent = bytearray()
        self.ended = False
        self.reset = False
        self.most: int | None = None  # stop reading once so many bytes are here

    def work(self) -> None:
        """Send what waits and read what came, without blocking."""
        while self.unsent:
            try:
                sent = self.sock.send(self.unsent[:262_144])
            except BlockingIOError:
                break
            except OSError:
                self.unsent.clear()
                break
            del self.unsent[:sent]
        while not self.ended and not self.reset:
            if self.most is not None and len(self.got) >= self.most:
                return
            try:
                data = self.sock.recv(262_144)
            except BlockingIOError:
                return
            except OSError:
                self.reset = True
                return
            if not data:
                self.ended = True
            self.got += data

    def cut(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Play:
    """One proxy with one upstream, and the lines of both sides. Every method returns the play."""

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        limits: HeadLimits | None = None,
        pool: PoolLimits | None = None,
        body_most: int = -1,
        requests_most: int = -1,
        address: str = "127.0.0.1",
    ) -> None:
        self.reactor = Reactor()
        self.tally = Tally()
        self.relays = BodyRelays()
        self.notes = Notes()
        self.house = socket.create_server(("127.0.0.1", 0))
        self.house.setblocking(False)
        port: int = self.house.getsockname()[1]
        self.pool = Pool(
            self.reactor,
            Target(address, port, "", None, ""),
            AddressBook(),
            pool or PoolLimits(),
            HeadLimits(65_536, 0, 200),
            response_table(),
        )
        timeouts = timeouts or Timeouts()
        self.plan = Plan("play", Upstream("play", [Server(self.pool)]), log=[self.notes], timeouts=timeouts, body_most=body_most)
        self.door = Door("play", self.plan, limits or HeadLimits(), timeouts, requests_most=requests_most)
        self.porch = Porch(self.reactor, self.door, self.relays, self.tally)
        door = socket.create_server(("127.0.0.1", 0))
        door.setblocking(False)
        self.address = door.getsockname()
        self.listener = Listener(self.reactor, door, Entry(self.porch))
        self.listener.start()
        self.clients: list[Peer] = []
        self.upstreams: list[Peer] = []
        self._told = 0  # faults already looked at
        self.finished = False
        self.new_client()

    # ---- the turns of the proxy

    def turn(self, wait_ms: int = TURN_MS) -> None:
        """Let the proxy and both sides work once."""
        self.reactor.turn(wait_ms)
        self.accept()
        for peer in (*self.clients, *self.upstreams):
            if peer.sock.fileno() >= 0:
                peer.work()

    def accept(self) -> None:
        """Take a new connection of the proxy, if there is one."""
        try:
            sock, _ = self.house.accept()
        except (BlockingIOError, OSError):
            return
        self.upstreams.append(Peer(sock))

    def until(self, happened: Callable[[], bool], what: Callable[[], str]) -> None:
        """Turn until it happened; fail the play, saying what is there instead, if it does not."""
        for _ in range(PATIENCE_TURNS):
            if happened():
                return
            self.turn()
        raise AssertionError(what())

    def quiet(self) -> Self:
        """Give the proxy a few turns in which nothing more is waited for."""
        for _ in range(QUIET_TURNS):
            self.turn(QUIET_MS)
        return self

    def idle(self, seconds: float) -> Self:
        """Let time pass, a tick of the wheel more than told."""
        self.quiet()
        self.reactor.ahead_ms += int(seconds * 1000) + 101
        return self.quiet()

    # ---- the client

    @property
    def client_now(self) -> Peer:
        return self.clients[-1]

    def new_client(self) -> Self:
        """Connect once more; from here on this is the client."""
        self.clients.append(Peer(socket.create_connection(self.address)))
        return self

    def client(self, *lines: str | bytes) -> Self:
        """The client says this."""
        self.client_now.unsent += text(lines)
        self.client_now.work()
        return self

    def client_sees(self, *lines: str | bytes) -> Self:
        """The client reads exactly this next."""
        self._sees(self.client_now, text(lines), "the client")
        return self

    def client_reads_on(self) -> Self:
        """The client reads without bound again."""
        self.client_now.most = None
        return self

    def client_stops_reading(self) -> Self:
        """The client takes nothing more from its socket."""
        self.client_now.most = 0
        return self

    def client_answered(self, status: int, contains: str = "") -> Self:
        """The client reads one whole answer of the proxy's own: this status, these words in its body."""
        peer = self.client_now
        self.until(lambda: b"\r\n\r\n" in peer.got, lambda: f"no head, but {bytes(peer.got)!r}")
        head, _, body = bytes(peer.got).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), head
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line[15:])
        whole = len(head) + 4 + length
        self.until(lambda: len(peer.got) >= whole, lambda: f"answer cut short: {bytes(peer.got)!r}")
        body = bytes(peer.got[len(head) + 4 : whole])
        assert contains.encode() in body, body
        del peer.got[:whole]
        return self

    def client_quiet(self) -> Self:
        """Nothing reaches the client, and its connection stays."""
        self.quiet()
        peer = self.client_now
        assert not peer.got and not peer.ended and not peer.reset, (bytes(peer.got), peer.ended, peer.reset)
        return self

    def client_closed(self) -> Self:
        """The proxy ends the client's connection in good order, with nothing more to read."""
        peer = self.client_now
        self.until(lambda: peer.ended, lambda: f"the client's connection stays open, got {bytes(peer.got)!r}, reset {peer.reset}")
        assert not peer.got, bytes(peer.got)
        return self

    def client_cut(self) -> Self:
        """The proxy resets the client's connection."""
        peer = self.client_now
        self.until(lambda: peer.reset or peer.ended, lambda: "the client's connection stays open")
        assert peer.reset, "ended in good order, so a cut answer looks whole"
        return self

    def client_finishes(self) -> Self:
        """The client sends FIN and reads on."""
        self.client_now.sock.shutdown(socket.SHUT_WR)
        return self

    def client_leaves(self) -> Self:
        """The client closes its socket."""
        self.client_now.sock.close()
        return self

    def client_resets(self) -> Self:
        """The client goes with a reset."""
        self.client_now.cut()
        return self

    # ---- the upstream

    @property
    def upstream_now(self) -> Peer:
        assert self.upstreams, "no connection to the upstream"
        return self.upstreams[-1]

    def upstream_sees(self, *lines: str | bytes) -> Self:
        """The upstream reads exactly this next, on the newest connection."""
        self.until(lambda: bool(self.upstreams), lambda: "no connection to the upstream")
        wanted = text(lines)
        self.until(
            lambda: len(self.upstream_now.got) >= len(wanted),
            lambda: f"the upstream waits for {wanted!r} and has {bytes(self.upstream_now.got)!r}",
        )
        self._sees(self.upstream_now, wanted, "the upstream")
        return self

    def upstream(self, *lines: str | bytes) -> Self:
        """The upstream says this."""
        self.upstream_now.unsent += text(lines)
        self.upstream_now.work()
        return self

    def upstream_quiet(self) -> Self:
        """Nothing reaches the upstream, and its connection stays."""
        self.quiet()
        peer = self.upstream_now
        assert not peer.got and not peer.ended and not peer.reset, (bytes(peer.got), peer.ended, peer.reset)
        return self

    def upstream_closed(self) -> Self:
        """The proxy ends the newest upstream connection, by FIN or reset, with nothing more to read."""
        peer = self.upstream_now
        self.until(lambda: peer.ended or peer.reset, lambda: f"the upstream connection stays open, got {bytes(peer.got)!r}")
        assert not peer.got, bytes(peer.got)
        return self

    def upstream_finished(self) -> Self:
        """The proxy sends FIN on the newest upstream connection and keeps reading."""
        peer = self.upstream_now
        self.until(lambda: peer.ended, lambda: "no FIN for the upstream")
        return self

    def upstream_ends(self) -> Self:
        """The upstream closes its newest connection."""
        self.upstream_now.sock.close()
        return self

    def upstream_half_closes(self) -> Self:
        """The upstream sends FIN and reads on."""
        self.upstream_now.sock.shutdown(socket.SHUT_WR)
        return self

    def upstream_resets(self) -> Self:
        """The upstream resets its newest connection."""
        self.upstream_now.cut()
        return self

    def upstream_gone(self) -> Self:
        """The upstream listens no more."""
        self.house.close()
        return self

    def connections(self, count: int) -> Self:
        """The proxy made so many upstream connections so far."""
        self.quiet()
        assert len(self.upstreams) == count, len(self.upstreams)
        return self

    # ---- the log and the end

    def logged(self, *faults: str) -> Self:
        """Since last asked these exchanges ended, each with this fault or none."""
        self.until(
            lambda: len(self.notes.faults) >= self._told + len(faults), lambda: f"logged {self.notes.faults[self._told :]}, not {faults}"
        )
        assert tuple(self.notes.faults[self._told :]) == faults
        self._told = len(self.notes.faults)
        return self

    def stop(self) -> Self:
        """The worker begins to stop, as it does with SIGTERM."""
        self.porch.stopping = True
        self.listener.stop()
        for pollable in self.reactor.pollables():
            owner = getattr(pollable, "owner", None)
            if owner is not None:
                owner.on_stopping()
        return self.quiet()

    def _sees(self, peer: Peer, wanted: bytes, who: str) -> None:
        self.until(
            lambda: len(peer.got) >= len(wanted) or not wanted.startswith(bytes(peer.got)),
            lambda: f"{who} waits for {wanted[:2000]!r} and has {bytes(peer.got[:2000])!r} (end {peer.ended}, reset {peer.reset})",
        )
        got = bytes(peer.got[: len(wanted)])
        assert got == wanted, f"{who} reads {got[:2000]!r} and not {wanted[:2000]!r}"
        del peer.got[: len(wanted)]

    def done(self) -> Self:
        """End the play: nothing unread, nobody served any more, nothing left open."""
        self.quiet()
        for peer in (*self.clients, *self.upstreams):
            assert not peer.got, f"not expected: {bytes(peer.got[:2000])!r}"
        assert len(self.notes.faults) == self._told, f"logged and not looked at: {self.notes.faults[self._told :]}"
        self.break_off()
        return self

    def break_off(self) -> None:
        """End the play in the middle; nothing may be left all the same."""
        self.finished = True
        self.close()
        assert self.tally.exchanges == 0, "an exchange is not over"
        assert self.tally.connections == 0, "a client connection is not forgotten"
        assert self.tally.tunnels == 0, "a tunnel is counted that is gone"
        assert self.pool.connections == 0, "an upstream connection is not struck off"

    def close(self) -> None:
        """Hang up on all sides and let the proxy notice."""
        for peer in (*self.clients, *self.upstreams):
            peer.sock.close()
        self.listener.stop()
        for _ in range(QUIET_TURNS):
            self.reactor.turn(QUIET_MS)
        if self.tally.connections or self.pool.connections:
            # Whoever lingers has its time pass.
            for _ in range(3):
                self.reactor.ahead_ms += 3_700_000
                self.reactor.turn(QUIET_MS)
        self.house.close()
        self.relays.close()
        self.reactor.close()
