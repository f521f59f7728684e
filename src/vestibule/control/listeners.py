"""The sockets that accept clients: bound here, owned here, served by the workers.

Facts: with SO_REUSEPORT several sockets may listen on one port, and the kernel chooses one for each connection by a hash
(socket(7)). A connection waits in the queue of its socket; the queue lives as long as a descriptor of the socket is open anywhere.
SO_REUSEPORT also lets two programs of one user share a port by mistake, without any error.
Of UDP the same holds for datagrams, but there is no listening: a socket that is bound gets its share of them, and with one more
socket on a port the hash sends some clients elsewhere.

Rules:
* A listener of a port has one socket for each worker slot. This process keeps a descriptor of each, so a worker that dies loses no
  queued connection: the next worker of the slot serves the same socket. For the same reason a listener never has fewer sockets
  than it once had: after a reload with fewer workers, these share what the others had.
* Unix sockets and those of systemd are one socket that all workers serve.
* A port is first bound once without SO_REUSEPORT, unless it is our own already, so that another program on it is noticed.
* Sockets are bound in `prepare`, so that mistakes are found, but listen when the workers are ready: who connects is then served.
  Those for further slots of a port that serves wait for `commit`: as soon as they listen, the kernel gives them connections, and
  after an `abort` these would be lost.
* `prepare` changes nothing that serves; `commit` closes what is no longer named, `abort` what was new.
* What the program before hands over is used as it is: the same socket, the same queue.

Not here: accepting (`net/listen.py`).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from vestibule.model.config import Address, InheritedAddress, Listener, TcpAddress, UdpAddress, UnixAddress

_IN_USE_MEND = "stop the other program (`ss -lntup` shows which one it is) or choose another port"
_PERMISSION_MEND = (
    "start vestibule as root (workers then become `process.user`), let systemd pass AmbientCapabilities=CAP_NET_BIND_SERVICE, "
    "or choose a port from 1024 up"
)


class ListenError(Exception):
    """A listener that cannot be opened. `name` says which, the text says why and how to mend it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True)
class _Key:
    """What makes two listeners the same socket."""

    address: Address
    name: str
    """Only where the port is 0: then each listener has a port of its own."""

    @property
    def text(self) -> str:
        """The same as a text, for another program."""
        address = self.address
        if isinstance(address, TcpAddress | UdpAddress):
            kind = "tcp" if isinstance(address, TcpAddress) else "udp"
            return f"{kind} {address.host} {address.port} {int(address.v6only)} {self.name}"
        return f"unix {address.path}" if isinstance(address, UnixAddress) else f"systemd {address.name}"


class _Door:
    """The open sockets of one address: one for each slot, or, if it `is_shared`, for all of them."""

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.is_shared = not isinstance(key.address, TcpAddress | UdpAddress)
        self.sockets: list[socket.socket] = []
        self.unix_path = ""
        self.unix_inode = 0
        self.is_borrowed = False
        """Another program serves it, too, and has the name of a unix socket in its care."""

    def close(self) -> None:
        """Close all; remove the name of a unix socket if it is still ours. Inherited sockets stay for a later reload."""
        if isinstance(self.key.address, InheritedAddress):
            return
        for sock in self.sockets:
            sock.close()
        if self.unix_path and not self.is_borrowed:
            try:
                if os.stat(self.unix_path).st_ino == self.unix_inode:
                    os.unlink(self.unix_path)
            except OSError:
                # Someone else removed it first.
                pass


class _Place:
    """One listener of an opening: its door, and the sockets it will have there."""

    def __init__(self, listener: Listener, door: _Door) -> None:
        self.listener = listener
        self.door = door
        self.sockets = list(door.sockets)


class Opening:
    """The sockets of one generation, by listener name. Made by `Listeners.prepare`; serves nothing until committed."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._places: dict[str, _Place] = {}

    def add(self, listener: Listener, door: _Door) -> _Place:
        """Take a listener in; the caller gives its place what sockets it needs."""
        place = self._places[listener.name] = _Place(listener, door)
        return place

    def places(self) -> list[_Place]:
        """Return the listeners with their doors."""
        return list(self._places.values())

    def sockets(self, slot: int) -> dict[str, list[socket.socket]]:
        """Return the sockets of each listener for the worker of a slot."""
        return {name: place.sockets if place.door.is_shared else place.sockets[slot :: self.slots] for name, place in self._places.items()}

    def addresses(self) -> dict[str, str]:
        """Return where each listener really listens, as people write it."""
        return {name: _render(place) for name, place in self._places.items()}

    def port(self, name: str) -> int:
        """Return the port of a listener, 0 for one that has none."""
        bound = self._places[name].sockets[0].getsockname()
        return int(bound[1]) if isinstance(bound, tuple) else 0


class Listeners:
    """All listening sockets of the program. Paths of unix sockets count from `base`."""

    def __init__(self, base: Path, inherited: dict[str, list[socket.socket]], handed: dict[str, list[socket.socket]] | None = None) -> None:
        """`inherited` are systemd's by name; `handed` those of the program before, as its `by_key` named them."""
        self._base = base
        self._inherited = inherited
        self._handed = handed or {}
        self._doors: dict[_Key, _Door] = {}
        self.current = Opening(0)

    def prepare(self, listeners: tuple[Listener, ...], slots: int) -> Opening:
        """Open the sockets of a generation for so many workers; those that are open already are the same.

        Raises `ListenError`, having changed nothing. `listen` and `commit` must follow, or `abort`.
        """
        opening = Opening(slots)
        try:
            for listener in listeners:
                key = _key(listener)
                door = self._doors.get(key)
                if door is None:
                    self._open(opening.add(listener, _Door(key)), slots)
                else:
                    _grow(opening.add(listener, door), slots)
        except ListenError:
            self.abort(opening)
            raise
        return opening

    def listen(self, opening: Opening) -> None:
        """Let clients connect to what is new. Raises `ListenError`; then `abort` must follow."""
        for place in opening.places():
            if self._doors.get(place.door.key) is not place.door:
                _listen(place)

    def commit(self, opening: Opening) -> None:
        """Keep exactly these, and close what no listener names any more."""
        kept = {place.door.key: place.door for place in opening.places()}
        for key, door in self._doors.items():
            if key not in kept:
                door.close()
        for place in opening.places():
            place.door.sockets = place.sockets
            place.door.is_borrowed = False
            _apply(place)
        self._doors = kept
        self.current = opening
        for left in self._handed.values():
            for sock in left:
                sock.close()
        self._handed = {}

    def by_key(self) -> dict[str, list[int]]:
        """Return the descriptors of all sockets, by what the program after us looks for."""
        return {door.key.text: [sock.fileno() for sock in door.sockets] for door in self._doors.values()}

    def bequeath(self) -> None:
        """Leave the sockets to another program that has them, too: from now on closing them removes no name."""
        for door in self._doors.values():
            door.is_borrowed = True

    def abort(self, opening: Opening) -> None:
        """Close what was opened for a generation that is not used."""
        for place in opening.places():
            if self._doors.get(place.door.key) is not place.door:
                place.door.sockets = place.sockets
                place.door.close()
                continue
            for sock in place.sockets[len(place.door.sockets) :]:
                sock.close()

    def close(self) -> None:
        """Close everything, at the end of the program."""
        for door in self._doors.values():
            door.close()
        self._doors = {}

    def _open(self, place: _Place, slots: int) -> None:
        address = place.listener.address
        handed = self._handed.pop(place.door.key.text, [])
        if handed:
            self._take_handed(place, handed, slots)
        elif isinstance(address, TcpAddress | UdpAddress):
            if address.port and not self._is_ours(address):
                # Without SO_REUSEPORT: another program of ours on the port would not be noticed with it.
                _port_socket(place.listener, address, address.port, reuse_port=False).close()
            _grow(place, slots)
        elif isinstance(address, UnixAddress):
            _open_unix(place, address, str(self._base / address.path))
        else:
            self._take_inherited(place, address)

    def _take_handed(self, place: _Place, handed: list[socket.socket], slots: int) -> None:
        address = place.listener.address
        place.sockets = handed
        place.door.is_borrowed = True
        if isinstance(address, UnixAddress):
            place.door.unix_path = str(self._base / address.path)
            place.door.unix_inode = os.stat(place.door.unix_path).st_ino if os.path.exists(place.door.unix_path) else 0
        elif isinstance(address, InheritedAddress):
            self._inherited[address.name] = handed
        else:
            _grow(place, slots)

    def _take_inherited(self, place: _Place, address: InheritedAddress) -> None:
        name = place.listener.name
        sockets = self._inherited.get(address.name, []) or self._of_number(address.name)
        if not sockets:
            known = ", ".join(f"`{each}`" for each in self._inherited) or "none at all"
            raise ListenError(
                name,
                f"systemd passed no socket named `{address.name}`, but {known}; set FileDescriptorName={address.name} in the socket unit",
            )
        for sock in sockets:
            if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise ListenError(name, f"the inherited socket `{address.name}` does not listen; use ListenStream= with Accept=no")
            sock.setblocking(False)
        place.sockets = list(sockets)

    def _of_number(self, name: str) -> list[socket.socket]:
        """Return the socket of a descriptor that is known by its number only, as HAProxy's `fd@5` says it."""
        number = name.removeprefix("fd@")
        if number == name or not number.isdecimal():
            return []
        try:
            sock = socket.socket(fileno=os.dup(int(number)))
        except OSError:
            return []
        return self._inherited.setdefault(name, [sock])

    def _is_ours(self, address: TcpAddress | UdpAddress) -> bool:
        """Whether some socket of ours is on the port: then SO_REUSEPORT lets the new one in, and a probe would only see ourselves."""
        for door in self._doors.values():
            for sock in door.sockets if type(door.key.address) is type(address) else []:
                if sock.getsockname()[1] == address.port:
                    return True
        return False


def _key(listener: Listener) -> _Key:
    address = listener.address
    if isinstance(address, UnixAddress):
        # Mode and owner may change while the socket stays.
        return _Key(UnixAddress(address.path), "")
    free_port = isinstance(address, TcpAddress | UdpAddress) and address.port == 0
    return _Key(address, listener.name if free_port else "")


def _grow(place: _Place, slots: int) -> None:
    """Give the door of a port a socket for each slot. All share the port of the first, which matters where any free one was asked for."""
    address = place.door.key.address
    if not isinstance(address, TcpAddress | UdpAddress):
        return
    while len(place.sockets) < slots:
        port = place.sockets[0].getsockname()[1] if place.sockets else address.port
        place.sockets.append(_port_socket(place.listener, address, port, reuse_port=True))


def _listen(place: _Place) -> None:
    address = place.listener.address
    if isinstance(address, InheritedAddress | UdpAddress):
        return
    try:
        for sock in place.sockets:
            sock.listen(place.listener.backlog)
    except OSError as bad:
        if isinstance(address, TcpAddress):
            # Two programs may bind a port at the same moment; the second to listen loses.
            raise _explain(place.listener.name, address, bad) from None
        raise ListenError(place.listener.name, f"{address.path} cannot be listened on: {bad.strerror or bad}") from None


def _apply(place: _Place) -> None:
    """Bring what may change on an open socket to what the listener says now."""
    address = place.listener.address
    try:
        if isinstance(address, UnixAddress):
            _own(place.listener, address, place.door.unix_path)
        elif isinstance(address, TcpAddress):
            # Sockets of new slots begin here; for the others it only changes the backlog (listen(2)).
            _listen(place)
    except (OSError, ListenError):
        # The account went away since `prepare`, or someone removed the socket: clients see what was there before.
        pass


def _port_socket(listener: Listener, address: TcpAddress | UdpAddress, port: int, reuse_port: bool) -> socket.socket:
    """Return a bound socket. `*` is one socket for both families, or of IPv4 alone where there is no IPv6."""
    kind = socket.SOCK_STREAM if isinstance(address, TcpAddress) else socket.SOCK_DGRAM
    try:
        if ":" in address.host:
            return _bind(kind, socket.AF_INET6, (address.host, port), address.v6only, reuse_port)
        if address.host != "*":
            return _bind(kind, socket.AF_INET, (address.host, port), None, reuse_port)
        try:
            return _bind(kind, socket.AF_INET6, ("::", port), False, reuse_port)
        except OSError as bad:
            # The kernel was built without IPv6, or it is switched off (ipv6.disable_ipv6=1).
            if bad.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            return _bind(kind, socket.AF_INET, ("0.0.0.0", port), None, reuse_port)
    except OSError as bad:
        raise _explain(listener.name, address, bad) from None


def _bind(kind: int, family: int, address: tuple[str, int], v6only: bool | None, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if kind == socket.SOCK_STREAM:
            # A restart must not wait for connections of the last run to leave TIME_WAIT. With datagrams it would hide another program.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if v6only is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(name: str, address: TcpAddress | UdpAddress, bad: OSError) -> ListenError:
    host = f"[{address.host}]" if ":" in address.host else address.host
    place = f"{'' if isinstance(address, TcpAddress) else 'udp://'}{host}:{address.port}"
    if bad.errno == errno.EADDRINUSE:
        return ListenError(name, f"{place} is in use by another program; {_IN_USE_MEND}")
    if bad.errno in (errno.EACCES, errno.EPERM):
        return ListenError(name, f"{place} may not be opened by this user; {_PERMISSION_MEND}")
    if bad.errno == errno.EADDRNOTAVAIL:
        return ListenError(name, f"{place}: this machine has no such address; `ip address` shows those it has")
    return ListenError(name, f"{place} cannot be opened: {bad.strerror or bad}")


def _open_unix(place: _Place, address: UnixAddress, path: str) -> None:
    try:
        clear_stale_socket(path)
        sock = bind_unix(path, address.mode)
        place.sockets.append(sock)
        place.door.unix_path = path
        place.door.unix_inode = os.stat(path).st_ino
        _own(place.listener, address, path)
    except OSError as bad:
        raise ListenError(place.listener.name, f"the socket {path} cannot be made: {bad.strerror or bad}") from None


def _own(listener: Listener, address: UnixAddress, path: str) -> None:
    """Give a unix socket its owner, group and permissions."""
    try:
        uid = pwd.getpwnam(address.user).pw_uid if address.user else -1
        gid = grp.getgrnam(address.group).gr_gid if address.group else -1
    except KeyError as bad:
        raise ListenError(listener.name, f"{path}: {bad.args[0]}") from None
    if uid >= 0 or gid >= 0:
        os.chown(path, uid, gid)
    os.chmod(path, address.mode)


def clear_stale_socket(path: str) -> None:
    """Remove a unix socket nobody listens on any more. Raises OSError if somebody does, or if it is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "there is a file of that name which is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "another program listens on it")


def bind_unix(path: str, mode: int) -> socket.socket:
    """Return a socket bound to a path, whose permissions are right from the first moment. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    # The mask is the process's; nothing else makes files meanwhile, because all of control runs in one thread but lookups and parsing.
    mask = os.umask(0o777 & ~mode)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def _render(place: _Place) -> str:
    address = place.door.key.address
    if isinstance(address, UnixAddress):
        return f"unix:{place.door.unix_path}"
    if isinstance(address, InheritedAddress):
        return f"systemd:{address.name}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    scheme = "udp://" if isinstance(address, UdpAddress) else ""
    return f"{scheme}{host}:{place.sockets[0].getsockname()[1]}"
