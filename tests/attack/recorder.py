"""A server that keeps every byte it gets and answers whatever looks like the end of a request.

Facts: it reads no framing, because the bytes are meant to be ambiguous; what a proxy forwarded is judged from the record.
One thread for each connection. Rules: every wait is bounded, and `close` ends every thread.
"""

import socket
import threading
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Recorder:
    """Listens on `port`. `answer` is what it says to each request; with `hangs_up` it then closes."""

    def __init__(self) -> None:
        self.answer = ANSWER
        self.hangs_up = False
        self._lock = threading.Lock()
        self._records: list[bytearray] = []
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def take(self) -> list[bytes]:
        """Return what has come on each connection since last time."""
        with self._lock:
            taken = [bytes(record) for record in self._records if record]
            for record in self._records:
                record.clear()
        return taken

    def settle(self, seconds: float) -> None:
        """Wait until nothing has come for a moment, but no longer than this."""
        end = time.monotonic() + seconds
        size = -1
        while time.monotonic() < end:
            with self._lock:
                now = sum([len(record) for record in self._records])
            if now == size:
                return
            size = now
            time.sleep(0.03)

    def drop(self) -> None:
        """Close every connection: what a proxy has kept is of no use any more."""
        with self._lock:
            socks, self._socks = self._socks, []
        for sock in socks:
            shut(sock)

    def close(self) -> None:
        """End."""
        shut(self._listener)
        self.drop()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            record = bytearray()
            with self._lock:
                self._records.append(record)
                self._socks.append(sock)
            threading.Thread(target=self._serve, args=(sock, record), daemon=True).start()

    def _serve(self, sock: socket.socket, record: bytearray) -> None:
        seen = b""
        try:
            while data := sock.recv(65_536):
                with self._lock:
                    record.extend(data)
                seen = (seen + data)[-200_000:]
                if data.endswith((b"\r\n\r\n", b"\n\n", b"hello")) or b"\r\n\r\n" in data:
                    sock.sendall(self.answer)
                    if self.hangs_up:
                        break
        except OSError:
            pass
        shut(sock)


def shut(sock: socket.socket) -> None:
    """Close a socket that another thread may be waiting on."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()
