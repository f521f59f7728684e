"""Sockets of datagrams: the one that many clients send to, and those that are connected to one server each.

Facts
  A datagram comes and goes whole, may be empty, and may get lost anywhere. A connected socket hears that nobody takes what it
  sent (ICMP, ECONNREFUSED) at its next call, and that call does nothing else (udp(7)).
  A socket that is bound to a wildcard sends from the address that the route to the client suggests, and a client that asked
  another one takes the answer for a stranger's. So the address a datagram came to is read beside it, and said again with what
  goes back (IP_PKTINFO, ip(7); IPV6_PKTINFO, RFC 3542 6.1; of an IPv4 client at an IPv6 socket, as a mapped address).

Rules
  1. `send` only queues; the flush at the end of the turn sends. What a full socket does not take waits, as far as there is room;
     all beyond is dropped and counted. Nobody is told to pause: who sends datagrams reckons with losses.
  2. A turn reads a batch from a socket, larger where the last one was full: the usual single datagram costs one call.

Not here: who belongs to whom (`proxy/udp.py`), binding (the control process).
"""

import os
import socket
from errno import ECONNREFUSED, EHOSTUNREACH, ENETUNREACH
from typing import Any, Final

from mypy_extensions import trait

from vestibule.net.connect import Endpoint
from vestibule.net.reactor import READ, WRITE, Pollable, Reactor

# Datagrams read from one socket in one turn: enough for a burst, few enough not to starve the others.
_BATCH_MOST: Final = 32

# Bytes that wait for a full socket. The kernel's own buffer is about as large.
_WAITING_MOST: Final = 262_144

# What a datagram in the queue counts for besides its bytes, so that empty ones are no way around the limit.
_PARCEL_BYTES: Final = 64

# linux/in.h; the socket module of Python 3.11 does not have it.
_IP_PKTINFO: Final = 8
_INFO_SPACE: Final = socket.CMSG_SPACE(20)  # struct in6_pktinfo, the larger of the two
_NO_INTERFACE: Final = bytes(4)

# What says that the server is not there; other errors are those of one datagram: too large, filtered, no memory.
_LOST: Final = (ECONNREFUSED, EHOSTUNREACH, ENETUNREACH)


@trait
class Connected:
    """Who has a socket that is connected to a server."""

    def on_datagram(self, data: bytes) -> None:
        """A datagram came."""

    def on_lost(self, code: int, detail: str) -> None:
        """Nobody takes what is sent."""

    def on_dropped(self) -> None:
        """A datagram could not be sent."""


class _Nobody(Connected):
    """Whose a socket is that was let go."""


@trait
class Receiver:
    """Who takes what clients send to a bound socket."""

    def on_datagram_from(self, data: bytes, address: tuple[Any, ...], info: bytes) -> None:
        """Take a datagram; `address` and `info` are what `send` wants for what goes back."""
        raise NotImplementedError

    def on_dropped(self) -> None:
        """A datagram could not be sent."""
        raise NotImplementedError


class _Parcel:
    """A datagram to be sent."""

    def __init__(self, data: bytes, address: tuple[Any, ...], info: bytes) -> None:
        self.data = data
        self.address = address
        self.info = info


class _DatagramSocket(Pollable):
    """What both kinds have in common."""

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        super().__init__(sock.fileno())
        self.sock = sock
        self.reactor = reactor
        self._batch = 1
        self._queue: list[_Parcel] = []
        self._waiting = 0  # bytes in the queue
        self._asked = False  # for a flush
        self._full = False  # the kernel takes no more for now
        self._reads = False
        self._open = True

    def start(self) -> None:
        """Begin to read."""
        self._reads = True
        self.reactor.add(self, READ)

    def stop_reading(self) -> None:
        """Leave what comes to others who have the socket; sending goes on."""
        self._reads = False
        self._want()

    def close(self) -> None:
        """Let go, after what is queued was sent."""
        if self._open:
            self._open = False
            self.reactor.doom(self)

    def close_fd(self) -> None:
        self.sock.close()

    def _want(self) -> None:
        if self._open:
            self.reactor.want(self, (READ if self._reads else 0) | (WRITE if self._full else 0))

    # ---- reading

    def on_readable(self) -> None:
        for _ in range(self._batch):
            if not self._open or not self._read():
                self._batch = 1
                return
        if self._batch < _BATCH_MOST:
            self._batch *= 2

    def _read(self) -> bool:
        """Take one datagram; return whether there was one."""
        raise NotImplementedError

    # ---- sending

    def _put(self, parcel: _Parcel) -> None:
        """Queue a datagram, if there is room."""
        size = len(parcel.data) + _PARCEL_BYTES
        if self._waiting + size > _WAITING_MOST:
            self._dropped()
            return
        self._waiting += size
        self._queue.append(parcel)
        if not self._asked and not self._full:
            self._asked = True
            self.reactor.need_flush(self)

    def on_writable(self) -> None:
        self._full = False
        self.flush()
        self._want()

    def flush(self) -> None:
        self._asked = False
        queue = self._queue
        self._queue = []
        for at in range(len(queue)):
            try:
                self._send(queue[at])
            except BlockingIOError:
                self._queue = queue[at:]
                self._full = True
                self._want()
                return
            except OSError as error:
                if self._gave_up(error.errno or 0):
                    self._waiting = 0
                    return
                self._dropped()
            self._waiting -= len(queue[at].data) + _PARCEL_BYTES

    def _send(self, parcel: _Parcel) -> None:
        """Send one datagram. Raises OSError."""
        raise NotImplementedError

    def _gave_up(self, code: int) -> bool:
        """Tell whether an error is the end of this socket."""
        return False

    def _dropped(self) -> None:
        raise NotImplementedError


class ConnectedSocket(_DatagramSocket):
    """A socket that sends to one server and hears of nobody else."""

    def __init__(self, reactor: Reactor, sock: socket.socket, owner: Connected) -> None:
        super().__init__(reactor, sock)
        self._owner = owner

    def close(self) -> None:
        super().close()
        self._owner = _NOBODY  # who had it had a reference here, too

    def send(self, data: bytes) -> None:
        """Queue a datagram."""
        self._put(_Parcel(data, (), b""))

    def _read(self) -> bool:
        try:
            size = self.sock.recv_into(self.reactor.view)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lost(error.errno or 0)
            return False
        self._owner.on_datagram(bytes(self.reactor.view[:size]))
        return True

    def _send(self, parcel: _Parcel) -> None:
        self.sock.send(parcel.data)

    def _gave_up(self, code: int) -> bool:
        if code not in _LOST:
            return False
        self._lost(code)
        return True

    def _lost(self, code: int) -> None:
        self._owner.on_lost(code, os.strerror(code))

    def _dropped(self) -> None:
        self._owner.on_dropped()

    def on_bug(self) -> None:
        self._owner.on_lost(0, "a bug of vestibule")


_NOBODY: Final = _Nobody()


class BoundSocket(_DatagramSocket):
    """A socket that clients send to. The control process holds it too, and so may other workers."""

    def __init__(self, reactor: Reactor, sock: socket.socket, receiver: Receiver) -> None:
        super().__init__(reactor, sock)
        self.shared = True
        self._receiver = receiver
        name = sock.getsockname()
        self.host: str = name[0]
        self.port: int = name[1]
        self.is_wild = self.host in ("0.0.0.0", "::")
        if self.is_wild and sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif self.is_wild:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def send(self, data: bytes, address: tuple[Any, ...], info: bytes) -> None:
        """Queue a datagram for a client, from the address that it sent to."""
        self._put(_Parcel(data, address, info))

    def _read(self) -> bool:
        info = b""
        try:
            if self.is_wild:
                size, ancillary, _flags, address = self.sock.recvmsg_into([self.reactor.view], _INFO_SPACE)
                for level, kind, data in ancillary:
                    info = _answer_info(level, kind, data)
            else:
                size, address = self.sock.recvfrom_into(self.reactor.view)
        except OSError:
            return False  # nothing there; what else there may be is the matter of no one client
        self._receiver.on_datagram_from(bytes(self.reactor.view[:size]), address, info)
        return True

    def _send(self, parcel: _Parcel) -> None:
        info = parcel.info
        if not info:
            self.sock.sendto(parcel.data, parcel.address)
        elif len(info) == 12:
            self.sock.sendmsg([parcel.data], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, parcel.address)
        else:
            self.sock.sendmsg([parcel.data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)], 0, parcel.address)

    def _dropped(self) -> None:
        self._receiver.on_dropped()


def _answer_info(level: int, kind: int, data: bytes) -> bytes:
    """Turn what is told of where a datagram came to into what makes the answer leave from there."""
    if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
        return _NO_INTERFACE + data[4:8] + _NO_INTERFACE  # our address (ipi_spec_dst), by whichever way
    if data[0] == 0xFF:
        return b""  # many were addressed (RFC 4291 2.7), and nobody can answer as all of them
    link_local = data[0] == 0xFE and data[1] & 0xC0 == 0x80
    return data[:16] + (data[16:20] if link_local else _NO_INTERFACE)


def info_host(info: bytes) -> str:
    """Return the address that an answer leaves from, as text."""
    if len(info) == 12:
        return socket.inet_ntop(socket.AF_INET, info[4:8])
    return socket.inet_ntop(socket.AF_INET6, info[:16])


def connect_datagrams(endpoint: Endpoint) -> socket.socket:
    """Return a socket that is connected to a server; nothing was sent. Raises OSError."""
    sock = socket.socket(endpoint.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if endpoint.local:
            sock.bind((endpoint.local, 0))
        sock.connect((endpoint.host, endpoint.port))
    except OSError:
        sock.close()
        raise
    return sock
