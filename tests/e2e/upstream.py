"""A server that answers exactly the bytes it is told and remembers exactly the bytes it got.

Facts: one thread for each connection. For each request head that arrives the current script is
called with a `Turn`; it reads as much of the body as it likes and sends what it likes. When it
returns, the connection waits for the next head, so a well-behaved script leaves it reusable.
Rules: every wait is bounded, and `close` ends every thread.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import methodcaller
from pathlib import Path

WAIT_S = 20.0
NOTICED_S = 2.0  # a peer that is held up by its client may not look for long
Field = tuple[bytes, bytes]


@dataclass
class Request:
    """What one request looked like when it got here."""

    line: bytes
    fields: list[Field]
    raw_head: bytes
    connection: int
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    is_whole: bool = False

    @property
    def target(self) -> bytes:
        """The request target."""
        return self.line.split(b" ")[1]

    def all(self, name: str) -> list[bytes]:
        """Return every value of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    def find(self, name: str) -> bytes | None:
        """Return the only value of a field, or None. Fails if there are several."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there more than once: {self.raw_head!r}"
        return values[0] if values else None

    @property
    def names(self) -> list[bytes]:
        """The field names as they were written, in order."""
        return [name for name, _ in self.fields]


class Gone(Exception):
    """The other side closed while more was expected."""


class Turn:
    """One request and the connection it came on."""

    def __init__(self, sock: socket.socket, request: Request, buffer: bytes) -> None:
        self.sock = sock
        self.request = request
        self.buffer = buffer
        self.is_closed = False

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def answer(self, body: bytes = b"ok", status: bytes = b"200 OK", extra: bytes = b"") -> None:
        """Send an ordinary response. `extra` is whole field lines."""
        self.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), extra, body))

    def recv(self) -> bytes:
        """Return some bytes, from the buffer first. Raises Gone at the end."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        return data

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes. Raises Gone."""
        data = b""
        while len(data) < size:
            data += self.recv()
        self.buffer = data[size:] + self.buffer
        return data[:size]

    def read_line(self) -> bytes:
        """Return a line without its CRLF. Raises Gone."""
        data = b""
        while b"\r\n" not in data:
            data += self.recv()
        line, _, rest = data.partition(b"\r\n")
        self.buffer = rest + self.buffer
        return line

    def read_body(self) -> bytes:
        """Read the request body, in either framing, into the request. Raises Gone."""
        coding, length = self.request.find("Transfer-Encoding"), self.request.find("Content-Length")
        if coding is not None:
            assert coding.lower() == b"chunked", f"not a coding this server knows: {coding!r}"
            assert length is None, "both framings reached the upstream"
            while size := int(self.read_line().partition(b";")[0], 16):
                self.request.body += self.read(size)
                assert self.read_line() == b""
            while line := self.read_line():
                name, _, value = line.partition(b":")
                self.request.trailers.append((name, value.strip()))
        elif length is not None:
            left = int(length)
            while left:
                data = self.recv()
                piece, self.buffer = data[:left], data[left:] + self.buffer
                self.request.body += piece
                left -= len(piece)
        self.request.is_whole = True
        return self.request.body

    def is_left(self, within_s: float = WAIT_S) -> bool:
        """Say whether the other side ends the connection within the time."""
        self.sock.settimeout(within_s)
        try:
            while self.recv():
                pass
        except TimeoutError:
            return False
        except Gone as gone:
            return not isinstance(gone.__cause__, TimeoutError)
        return True

    def finish(self) -> None:
        """Say that nothing more will be sent, and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def read_start(self, size: int) -> bytes:
        """Return the first `size` bytes of a body, which are its first chunk if it has chunks. Raises Gone."""
        if self.request.find("Transfer-Encoding") is not None:
            self.read_line()
        return self.read(size)

    def close(self) -> None:
        """End the connection in good order (FIN)."""
        self.is_closed = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def reset(self) -> None:
        """End the connection with RST."""
        self.is_closed = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


Script = Callable[[Turn], None]

# The two ends of a connection, or of what stands for one.
ENDS: list[Script] = [methodcaller("close"), methodcaller("reset")]


def echo(turn: Turn) -> None:
    """Read the body and answer 200 `ok`: what an upstream does unless told otherwise."""
    turn.read_body()
    turn.answer()


class Upstream:
    """The server. `script` may be replaced at any time; `requests` is what has arrived."""

    version = "h1"
    http = b"HTTP/1.1"  # as its request lines have it

    def __init__(
        self,
        path: Path | None = None,
        tls: ssl.SSLContext | None = None,
        family: socket.AddressFamily = socket.AF_INET,
        port: int = 0,
    ) -> None:
        self.script: Script = echo
        self.requests: list[Request] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self._tls = tls
        self._open: dict[int, socket.socket] = {}
        self._busy: list[int] = []  # the connections of the scripts that run
        self._changed = threading.Condition()
        if path is not None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
        else:
            self._listener = socket.socket(family)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """The TCP port."""
        port: int = self._listener.getsockname()[1]
        return port

    def wait_for(self, condition: Callable[[], bool], within_s: float = WAIT_S) -> bool:
        """Wait until `condition` holds; False if it does not within the time."""
        with self._changed:
            return self._changed.wait_for(condition, within_s)

    def take(self, count: int = 1) -> list[Request]:
        """Wait for so many requests, and return them."""
        assert self.wait_for(lambda: len(self.requests) >= count), f"{len(self.requests)} came"
        return self.requests[:count]

    def take_one(self) -> Request:
        """Return the only request that came, waiting for it."""
        request = self.take(1)[0]
        assert len(self.requests) == 1
        return request

    @property
    def open_connections(self) -> int:
        """How many connections are open, idle ones included."""
        return len(self._open)

    @property
    def is_busy(self) -> bool:
        """Whether a request is still being served."""
        return bool(self._busy)

    def rest(self) -> None:
        """Forget what happened and end what is still going on; idle connections stay."""
        # A script that has just answered is about to return; its connection shall stay.
        self.wait_for(lambda: not self._busy, 0.05)
        with self._changed:
            busy = [self._open[number] for number in self._busy if number in self._open]
        for sock in busy:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.wait_for(lambda: not self._busy)
        if busy:
            # One that was slow to return has ended an idle connection: the next request must not be sent on it.
            self._wait_until_noticed(NOTICED_S)
        self.script = echo
        self.requests = []
        failures, self.failures = self.failures, []
        if failures:
            raise failures[0]

    def drop_idle(self) -> None:
        """Close the connections that wait for a request, and wait until they are gone."""
        with self._changed:
            idle = [sock for number, sock in self._open.items() if number not in self._busy]
        for sock in idle:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.wait_for(lambda: not self._open.keys() - set(self._busy))
        self._wait_until_noticed(WAIT_S)

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(OSError):
            # Wakes the thread that accepts; closing alone would not.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            socks = list(self._open.values())
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.wait_for(lambda: not self._open)

    def _wait_until_noticed(self, within_s: float) -> None:
        end = time.monotonic() + within_s
        while self._is_unnoticed() and time.monotonic() < end:
            time.sleep(0.01)

    def _is_unnoticed(self) -> bool:
        """Say whether a peer has a connection that we have closed and it has not: the kernel lists it as CLOSE_WAIT."""
        if self._listener.family == socket.AF_UNIX:
            return False
        port = f":{self.port:04X}"
        table = Path("/proc/net/tcp6" if self._listener.family == socket.AF_INET6 else "/proc/net/tcp").read_text()
        rows = [line.split() for line in table.splitlines()[1:]]
        return any(row[2].endswith(port) and row[3] == "08" for row in rows)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self.connections += 1
                number = self.connections
                self._open[number] = sock
                self._changed.notify_all()
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def play(self, turn: Turn, number: int) -> None:
        """Note a request that came on a connection, and run the script on it."""
        with self._changed:
            self._busy.append(number)
            self.requests.append(turn.request)
            self._changed.notify_all()
        try:
            self.script(turn)
        finally:
            with self._changed:
                self._busy.remove(number)
                self._changed.notify_all()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(60)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                with self._changed:
                    self._open[number] = sock
            self.converse(sock, number)
        except (Gone, OSError):
            pass
        except BaseException as failure:  # kept for the test's own thread, which raises it in rest()
            self.failures.append(failure)
        finally:
            sock.close()
            with self._changed:
                self._open.pop(number, None)
                self._changed.notify_all()

    def converse(self, sock: socket.socket, number: int) -> None:
        """Serve one connection to its end."""
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                data = sock.recv(65536)
                if not data:
                    return
                buffer += data
            raw, _, buffer = buffer.partition(b"\r\n\r\n")
            turn = Turn(sock, _parse(raw, number), buffer)
            self.play(turn, number)
            if turn.is_closed:
                return
            buffer = turn.buffer


def _parse(raw: bytes, number: int) -> Request:
    line, *rest = raw.split(b"\r\n")
    fields = []
    for each in rest:
        name, _, value = each.partition(b":")
        fields.append((name, value.strip(b" \t")))
    return Request(line, fields, raw, number)
