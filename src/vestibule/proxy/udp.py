"""Datagrams that are passed on: who has sent some to a listener gets a session with a server, until both are silent.

Facts
  UDP has no connections, so what belongs together is known by where it comes from and goes to. One protocol asks once and is
  answered once (DNS), one never answers (syslog), one goes on for hours (WireGuard, QUIC): only the configuration knows which.
  A NAT keeps such a binding for two minutes or longer (RFC 4787 4.3).

Rules
  1. A session is an exchange that is a tunnel: the same plan, the same choice of a server, the same log line. The plan sees a
     request without fields, of the method UDP.
  2. It has opened once the server answered. Until then a server that is not there (ICMP) is a failure like a refused connection:
     another one is asked, with the last datagram that came.
  3. It ends when as many datagrams came back as are expected of those that went there, or after silence. Where one was expected
     and none came, that is the server's failure.
  4. After so many datagrams of a client the next one begins a new session, while the old one still waits for its answers.
  5. Nothing pauses: what cannot be sent is dropped, and counted. Where there are too many sessions, new clients are.

Not here: sockets (`net/datagram.py`), which server (`upstream.py`).
"""

import socket
from errno import ECONNREFUSED
from typing import Any, Final

from vestibule.contract import UP as UP_SIDE
from vestibule.contract import Client, Stream
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_STOPPING, UPSTREAM_REFUSED, UPSTREAM_TIMEOUT_HEAD, UPSTREAM_UNREACHABLE, Fault
from vestibule.http.fields import EMPTY, Fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.datagram import BoundSocket, Connected, ConnectedSocket, Receiver, info_host
from vestibule.net.peer import address_text
from vestibule.net.reactor import Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.proxy.door import Porch, Refusals, SessionLimits
from vestibule.proxy.up_h1 import Keeper

_METHOD: Final = b"UDP"
_OPENED: Final = ResponseHead(200, b"", EMPTY)

# While the worker stops, a session that was silent for so long has nothing left to deliver.
_QUIET_MS: Final = 2_000


class Sessions(Receiver):
    """The sessions of one listener in this worker. Outlives reloads, by the listener's name."""

    def __init__(self, porch: Porch, refusals: Refusals) -> None:
        self.porch = porch
        self._refusals = refusals
        self._sockets: list[BoundSocket] = []
        self._bound: dict[tuple[tuple[Any, ...], bytes], UdpDown] = {}
        self._all: set[UdpDown] = set()

    def serve(self, socks: list[socket.socket]) -> None:
        """Read from these sockets from now on, and send by them."""
        before = self._sockets
        self._sockets = []
        for sock in socks:
            bound = BoundSocket(self.porch.reactor, sock, self)
            bound.start()
            self._sockets.append(bound)
        for old in before:
            old.close()

    def stop(self) -> None:
        """Read no more, and end the sessions once they are quiet: what is on its way to clients still gets there."""
        for sock in self._sockets:
            sock.stop_reading()
        for session in list(self._all):
            session.hurry()

    def close(self) -> None:
        """End all at once: the listener is gone, and its address may be somebody else's."""
        for session in list(self._all):
            session.cut(Fault(PROXY_STOPPING, "the listener is gone"))
        for sock in self._sockets:
            sock.close()
        self._sockets = []

    # ---- from the sockets

    def on_datagram_from(self, data: bytes, address: tuple[Any, ...], info: bytes) -> None:
        session = self._bound.get((address, info))
        if session is None:
            session = self._begin(address, info)
        if session is not None:
            session.on_datagram(data)

    def on_dropped(self) -> None:
        self.porch.tally.datagrams_dropped += 1

    def _begin(self, address: tuple[Any, ...], info: bytes) -> "UdpDown | None":
        """Begin a session, if there may be one more."""
        porch = self.porch
        limits = porch.door.sessions
        assert limits is not None
        if len(self._all) >= limits.most:
            porch.tally.sessions_refused += 1
            details = {"client": address_text(address[0]).decode(), "listener": porch.door.name}
            self._refusals.note(porch.reactor.now_ms, details, f"there are {limits.most} sessions already (sessions.most)")
            return None
        bound = self._sockets[0]
        local = address_text(info_host(info) if info else bound.host)
        client = Client(address_text(address[0]), address[1], local, bound.port, b"http")
        session = UdpDown(self, address, info, client, limits)
        self._bound[(address, info)] = session
        self._all.add(session)
        porch.tally.sessions += 1
        session.begin()
        return session

    # ---- from sessions

    def send(self, data: bytes, session: "UdpDown") -> None:
        """Send a client what the server answered."""
        self._sockets[0].send(data, session.address, session.info)

    def unbind(self, session: "UdpDown") -> None:
        """Have the next datagram from its client begin another session."""
        if self._bound.get((session.address, session.info)) is session:
            del self._bound[(session.address, session.info)]

    def forget(self, session: "UdpDown") -> None:
        """A session is over."""
        self.unbind(session)
        self._all.discard(session)
        self.porch.tally.sessions -= 1


class _Side(Stream):
    """What both sides of a session have in common: there are no heads, and nothing is cut in the middle."""

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        return True

    def send_trailers(self, fields: Fields) -> bool:
        return True

    def pause(self) -> None:
        """Datagrams are dropped instead."""

    def resume(self) -> None:
        """Nothing was paused."""

    def abort(self, fault: Fault) -> None:
        self.release()

    def open_tunnel(self) -> bool:
        return True


class UdpDown(_Side, Timed):
    """The client's side of a session."""

    def __init__(self, table: Sessions, address: tuple[Any, ...], info: bytes, client: Client, limits: SessionLimits) -> None:
        self.address = address
        self.info = info
        self.last: bytes | None = None  # the datagram to send again where the server turns out not to be there
        self.exchange: Exchange | None = None
        self._table = table
        self._client = client
        self._limits = limits
        self._idle_ms = limits.idle_ms
        self._active_ms = 0
        self._deadline = Deadline(self)

    def begin(self) -> None:
        """Choose a server."""
        porch = self._table.porch
        self._active_ms = porch.reactor.now_ms
        ex = Exchange(self, self._client, porch.door.plan, porch.relays, self._active_ms)
        self.exchange = ex
        self._arm()
        ex.on_request(RequestHead(_METHOD, b"-", b"", EMPTY, _METHOD), False)

    def on_datagram(self, data: bytes) -> None:
        """Pass on what the client sent."""
        ex = self.exchange
        if ex is None:
            return  # there was no server to begin with
        self._active_ms = self._table.porch.reactor.now_ms
        ex.datagrams_in += 1
        if ex.datagrams_in == self._limits.requests:
            self._table.unbind(self)
        self.last = data
        ex.on_request_body(data, False)
        self.settle()

    def settle(self) -> None:
        """End if all that is expected has come (rule 3)."""
        ex = self.exchange
        if ex is None or ex.datagrams_in < self._limits.requests:
            return
        if self._limits.responses >= 0 and not self._waits(ex):
            self._end(ex)

    def _waits(self, ex: Exchange) -> bool:
        """Tell whether datagrams are still expected from the server."""
        return ex.datagrams_out < self._limits.responses * ex.datagrams_in

    def _end(self, ex: Exchange) -> None:
        """End in good order."""
        if not ex.tunneling:
            ex.on_switched(_OPENED)  # nothing had to come back
        ex.on_request_body(b"", True)
        ex.on_response_body(b"", True)

    def hurry(self) -> None:
        """End soon: the worker stops."""
        self._idle_ms = min(self._idle_ms, _QUIET_MS)
        self._arm()

    def _arm(self) -> None:
        """Look again when it will have been silent for too long."""
        self._table.porch.reactor.timers.arm(self._deadline, self._active_ms + self._idle_ms)

    def on_dropped(self) -> None:
        """Count a datagram that the server does not get."""
        self._table.on_dropped()

    def cut(self, fault: Fault) -> None:
        """End at once."""
        ex = self.exchange
        if ex is not None:
            ex.hang_up(fault)

    def on_deadline(self) -> None:
        ex = self.exchange
        if ex is None:
            return
        if self._active_ms + self._idle_ms > self._table.porch.reactor.now_ms:
            self._arm()
        elif self._waits(ex):
            expected = self._limits.responses * ex.datagrams_in
            told = f"{ex.datagrams_out} of {expected} datagrams came, then none for {self._idle_ms} ms (sessions.idle)"
            ex.on_fault(UP_SIDE, Fault(UPSTREAM_TIMEOUT_HEAD, told))
        else:
            self._end(ex)

    # ---- from the exchange

    def send_body(self, data: bytes, end: bool) -> bool:
        ex = self.exchange
        if ex is not None and (data or not end):
            self._active_ms = self._table.porch.reactor.now_ms
            self.last = None
            ex.datagrams_out += 1
            self._table.send(data, self)
        return True

    def release(self) -> None:
        self.exchange = None
        self._deadline.drop()
        self._table.forget(self)


class UdpUp(_Side, Connected):
    """The server's side of a session. `header` goes in front of its first datagram."""

    def __init__(self, reactor: Reactor, sock: socket.socket, keeper: Keeper, header: bytes) -> None:
        self.exchange: Exchange | None = None
        self._reactor = reactor
        self._keeper = keeper
        self._header = header
        self._socket = ConnectedSocket(reactor, sock, self)
        self._name = ""

    def serve(self, ex: Exchange, name: str) -> None:
        """Carry this exchange."""
        self._name = name
        self.exchange = ex
        self._socket.start()
        ex.connected(self, name)
        down = ex.down
        if isinstance(down, UdpDown) and down.last is not None:
            self._socket.send(self._headed(down.last))

    def _headed(self, data: bytes) -> bytes:
        header = self._header
        self._header = b""
        return header + data if header else data

    # ---- from the exchange

    def send_body(self, data: bytes, end: bool) -> bool:
        if not end:
            self._socket.send(self._headed(data))
        return True

    def release(self) -> None:
        if self.exchange is not None:
            self.exchange = None
            self._socket.close()
            self._keeper.let_go()

    # ---- from the socket

    def on_datagram(self, data: bytes) -> None:
        ex = self.exchange
        if ex is None:
            return
        if not ex.tunneling:
            ex.head_ms = self._reactor.now_ms - ex.began_ms
            chosen = ex.chosen
            if chosen is not None and chosen.watches:
                chosen.on_answer(ex, _OPENED)  # which leads to no other server: nobody knows whether this may be said twice
            ex.on_switched(_OPENED)
        ex.on_response_body(data, False)
        down = ex.down
        if isinstance(down, UdpDown):
            down.settle()

    def on_lost(self, code: int, detail: str) -> None:
        ex = self.exchange
        self.release()
        if ex is not None:
            ex.up = None
            kind = UPSTREAM_REFUSED if code == ECONNREFUSED else UPSTREAM_UNREACHABLE
            ex.on_fault(UP_SIDE, Fault(kind, f"{self._name}: {detail}"))

    def on_dropped(self) -> None:
        ex = self.exchange
        down = None if ex is None else ex.down
        if isinstance(down, UdpDown):
            down.on_dropped()
