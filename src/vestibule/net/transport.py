"""A connected socket with an output queue.

Facts
  A socket buffer takes what it takes; the rest waits for EPOLLOUT. Sending from inside a callback
  invites callbacks from inside sending, and that is where proxies lose bytes.

Rules
  1. `write` only queues and cannot fail. `flush`, called by the reactor at the top of the stack, sends.
  2. `write` returns False when MARK bytes or more are queued. Whoever got False is owed exactly one
     `Owner.on_drained`, paid by a flush that brings the queue under half the mark (or by nothing, if
     the transport is lost first).
  3. After `on_lost` or `close` no callback comes any more.
  4. `pause` stops reading at the source: no EPOLLIN, so the kernel's window closes on the peer.

Not here: TLS (`tls_transport.py`), zero-copy between two transports (`relay.py`).
"""

import socket
from typing import Final

from mypy_extensions import trait

from vestibule.net.reactor import PLAIN_READ_BYTES, READ, WRITE, Pollable, Reactor
from vestibule.net.timers import Deadline, Timed

# Queue size at which the writer is told to stop. It bounds memory per direction together with one read.
MARK: Final = 65_536
_LOW: Final = MARK // 2

# Pieces up to this total are joined for one send; beyond it the copy costs more than a second look.
JOIN_MOST: Final = 65_536

# From this total on, several pieces are sent as they are, since joining them would copy them all. No more than so many.
_GATHER_LEAST: Final = 8_192
_GATHER_MOST: Final = 64

# How long a closing transport waits for a peer that takes none of what is queued.
_CLOSING_IDLE_MS: Final = 30_000


@trait
class Owner:
    """The connection behind a transport."""

    def on_data(self, data: bytes) -> None:
        """Bytes arrived; never empty."""
        raise NotImplementedError

    def on_end(self) -> None:
        """The peer will send no more (FIN or close_notify); it may still read."""
        raise NotImplementedError

    def on_lost(self, detail: str) -> None:
        """The transport broke and is closed already."""
        raise NotImplementedError

    def on_drained(self) -> None:
        """The debt of a `write` that returned False is paid."""
        raise NotImplementedError

    def on_secured(self) -> None:
        """The TLS handshake is done. Plain transports never call this."""
        raise NotImplementedError

    def on_stopping(self) -> None:
        """The worker stops: close if nothing is in flight, else as soon as nothing is."""
        raise NotImplementedError


@trait
class Bypass:
    """What takes a transport's readiness away from its owner for a while: a relay."""

    def on_source_ready(self) -> None:
        raise NotImplementedError

    def on_sink_ready(self) -> None:
        raise NotImplementedError


class Transport(Pollable, Timed):
    """The part that plain and TLS sockets share: the queue and the interest in events."""

    def __init__(self, reactor: Reactor, sock: socket.socket, owner: Owner | None) -> None:
        super().__init__(sock.fileno())
        self.reactor = reactor
        self.sock = sock
        self.owner = owner
        self.bytes_in = 0
        self.bytes_out = 0
        self.active_ms = reactor.now_ms  # when bytes last moved
        self.closed = False
        self.source_bypass: Bypass | None = None
        self.sink_bypass: Bypass | None = None
        self._queue: list[bytes] = []
        self._queued = 0
        self._dirty = False
        self._owes = False
        self._ending = False  # send FIN when the queue is empty
        self._ended = False  # FIN is sent
        self._closing = False  # close when the queue is empty
        self._breaking = False  # sending failed
        self.patient = False  # while paused, a break of the connection may wait: what came before it is still wanted
        self._patience: Deadline | None = None  # only while closing
        self._patience_mark = 0

    def start(self, before: Pollable | None = None) -> None:
        """Begin to read. `before` is who had the descriptor until now, if the reactor knows it already."""
        if before is None:
            self.reactor.add(self, READ)
        else:
            self.reactor.hand_over(before, self, READ)

    def surrender(self) -> None:
        """Let go of the socket: another transport has it from here on. Nothing may be queued, and no callback follows."""
        self.owner = None
        self.closed = True

    def write(self, data: bytes) -> bool:
        """Queue bytes. False: enough for now; one `on_drained` will follow."""
        if self.closed:
            return True
        self._queue.append(data)
        self._queued += len(data)
        if not self._dirty:
            self._dirty = True
            self.reactor.need_flush(self)
        if self._queued >= MARK:
            self._owes = True
            return False
        return True

    def queued(self) -> int:
        """Return the number of bytes that wait to be sent."""
        return self._queued

    def pause(self) -> None:
        """Read no more until `resume`."""
        if not self.closed:
            self.reactor.want(self, self.interest & ~READ)

    def resume(self) -> None:
        """Read again."""
        if not self.closed:
            self.reactor.want(self, self.interest | READ)

    def is_paused(self) -> bool:
        return not self.interest & READ

    def end(self) -> None:
        """Send FIN (or close_notify) after what is queued; keep reading."""
        if self.closed or self._ending:
            return
        self._ending = True
        self._soon()

    def close(self) -> None:
        """Send what is queued, then close. No callback follows."""
        self.owner = None
        if self.closed:
            return
        if self._queued == 0 and not self._has_leftover():
            self._say_goodbye()
            self.abort()
            return
        self._closing = True
        self.reactor.want(self, self.interest & ~READ)
        self._patience = Deadline(self)
        self._patience_mark = self.bytes_out
        self.reactor.timers.arm(self._patience, self.reactor.now_ms + _CLOSING_IDLE_MS)
        self._soon()

    def on_deadline(self) -> None:
        """A closing transport whose peer takes nothing is dropped."""
        if self.closed or self._patience is None:
            return
        if self.bytes_out == self._patience_mark:
            self.abort()
        else:
            self._patience_mark = self.bytes_out
            self.reactor.timers.arm(self._patience, self.reactor.now_ms + _CLOSING_IDLE_MS)

    def can_relay(self) -> bool:
        """Tell whether bytes may be moved from or to the socket past the owner."""
        return False

    def is_quiet(self) -> bool:
        """Tell whether nothing has come from the peer that was not read yet, not even its end. One system call."""
        if self.closed:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass  # broken, and so not quiet
        return False

    def is_sink_blocked(self) -> bool:
        """Tell whether a relay waits for this transport's peer to take bytes."""
        return self.sink_bypass is not None and bool(self.interest & WRITE)

    def abort(self) -> None:
        """Close at once; queued bytes are dropped. No callback follows."""
        self.owner = None
        if self.closed:
            return
        self.closed = True
        if self._patience is not None:
            self._patience.drop()
            self._patience = None
        self._queue.clear()
        self._queued = 0
        self.source_bypass = None
        self.sink_bypass = None
        self.reactor.doom(self)

    def reset(self) -> None:
        """Close at once so that the peer sees an error (RST), not an orderly end."""
        if not self.closed:
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            except OSError:
                pass  # the peer is gone already, which is as good
        self.abort()

    def close_fd(self) -> None:
        self.sock.close()

    def on_bug(self) -> None:
        self.lose("a bug of vestibule")

    def on_writable(self) -> None:
        bypass = self.sink_bypass
        if bypass is not None and self._queued == 0:
            bypass.on_sink_ready()
            return
        self.flush()

    def flush(self) -> None:
        raise NotImplementedError

    def _has_leftover(self) -> bool:
        return False

    def _say_goodbye(self) -> None:
        """Tell the peer that this end is orderly. TLS has a record for it."""

    def _soon(self) -> None:
        if not self._dirty:
            self._dirty = True
            self.reactor.need_flush(self)

    def _take_queue(self, most: int) -> bytes:
        """Take pieces from the queue up to `most` bytes (at least one piece) as one object."""
        if len(self._queue) == 1:
            data = self._queue[0]
            self._queue.clear()
            return data
        total = 0
        count = 0
        for piece in self._queue:
            if count and total + len(piece) > most:
                break
            total += len(piece)
            count += 1
        data = b"".join(self._queue[:count]) if count > 1 else self._queue[0]
        del self._queue[:count]
        return data

    def _flushed(self) -> None:
        """Everything is with the kernel: pay the debt, end or close if that was asked for."""
        bypass = self.sink_bypass
        if bypass is not None:
            self._pay()
            bypass.on_sink_ready()
            return
        if self.interest & WRITE:
            self.reactor.want(self, self.interest & ~WRITE)
        if self._closing:
            self._say_goodbye()
            self.abort()
            return
        if self._ending and not self._ended:
            self._say_goodbye()
            self._ended = True
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # not connected any more: the reader will be told
        if self._owes:
            self._pay()

    def _pay(self) -> None:
        if self._owes and self._queued < _LOW:
            self._owes = False
            if self.owner is not None:
                self.owner.on_drained()

    def break_off(self, detail: str) -> None:
        """Sending failed. Take what the peer said before it hung up (an early answer, often), then give up."""
        if not self._breaking and self.owner is not None:
            self._breaking = True
            self.on_readable()
        self.lose(detail)

    def lose(self, detail: str) -> None:
        """Close at once and tell the owner."""
        if self.closed:
            return
        owner = self.owner
        self.abort()
        if owner is not None:
            owner.on_lost(detail)


class PlainTransport(Transport):
    """Bytes as they are."""

    def __init__(self, reactor: Reactor, sock: socket.socket, owner: Owner | None) -> None:
        super().__init__(reactor, sock, owner)
        self._full = False  # the last read took all that was asked for

    def can_relay(self) -> bool:
        return not self.closed and not self._ending

    def send(self, data: memoryview) -> None:
        """Send bytes at once, with nothing queued before them. What the kernel does not take is copied and queued."""
        try:
            sent = self.sock.send(data)
        except OSError:
            sent = 0  # the next flush meets it again, and tells
        self.bytes_out += sent
        if sent:
            self.active_ms = self.reactor.now_ms
        if sent < len(data):
            self.write(bytes(data[sent:]))

    def on_readable(self) -> None:
        bypass = self.source_bypass
        if bypass is not None:
            bypass.on_source_ready()
            return
        if self.patient and not self.interest & READ and not self._breaking:
            # epoll tells of a reset whatever was asked for; reading now would collect what nobody takes.
            self.reactor.mute(self)
            return
        data = b""
        try:
            if self._full:
                # Likely as much again, and then this is the piece itself; else it would be cut to its length, or copied.
                data = self.sock.recv(PLAIN_READ_BYTES)
                count = len(data)
            else:
                count = self.sock.recv_into(self.reactor.scratch, PLAIN_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.lose(error.strerror or "read failed")
            return
        owner = self.owner
        if count == 0:
            self.pause()
            if owner is None:
                self.abort()
            else:
                owner.on_end()
            return
        self.bytes_in += count
        self.active_ms = self.reactor.now_ms
        self._full = count == PLAIN_READ_BYTES
        if owner is not None:
            owner.on_data(data if data else bytes(self.reactor.view[:count]))

    def flush(self) -> None:
        self._dirty = False
        if self.closed:
            return
        while self._queue:
            if self._queued >= _GATHER_LEAST and len(self._queue) > 1:
                if not self._send_pieces():
                    return
                continue
            data = self._take_queue(JOIN_MOST)
            size = len(data)
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.break_off(error.strerror or "write failed")
                return
            self._queued -= sent
            self.bytes_out += sent
            if sent:
                self.active_ms = self.reactor.now_ms
            if sent < size:
                self._queue.insert(0, data[sent:] if sent else data)
                self.reactor.want(self, self.interest | WRITE)
                self._pay()
                return
        self._flushed()

    def _send_pieces(self) -> bool:
        """Send many bytes in several pieces with one call; return False if the kernel did not take them all, or no more."""
        pieces = self._queue[:_GATHER_MOST]
        try:
            sent = self.sock.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.break_off(error.strerror or "write failed")
            return False
        self._queued -= sent
        self.bytes_out += sent
        if sent:
            self.active_ms = self.reactor.now_ms
        count = 0
        for piece in pieces:
            if sent < len(piece):
                break
            sent -= len(piece)
            count += 1
        del self._queue[:count]
        if count == len(pieces):
            return True
        if sent:
            self._queue[0] = self._queue[0][sent:]
        self.reactor.want(self, self.interest | WRITE)
        self._pay()
        return False
