"""A server of datagrams, in a thread of its own."""

import socket
import threading
from collections.abc import Callable
from typing import Any

WAIT_S = 10


class Server:
    """A server of datagrams. `talk` gets each one and returns what is sent back."""

    def __init__(self, talk: Callable[[bytes], list[bytes]], host: str = "127.0.0.1") -> None:
        self._talk = talk
        self._sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((host, 0))
        self.port: int = self._sock.getsockname()[1]
        self.peers: list[Any] = []
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, address = self._sock.recvfrom(70_000)
            if data == b"end of the test":
                return
            self.peers.append(address)
            self.heard.append(data)
            for answer in self._talk(data):
                self._sock.sendto(answer, address)

    def close(self) -> None:
        if self._thread.is_alive():
            with socket.socket(self._sock.family, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"end of the test", self._sock.getsockname()[:2])
            self._thread.join(WAIT_S)
        self._sock.close()
