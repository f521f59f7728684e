"""A worker for the tests of the control process: speaks the link, and answers every connection with who it is.

It is told how to misbehave by the names of sites: `refuse` is refused, `die` kills it while it prepares, `deaf` is never answered.
The path `/stall` in a request is answered only after a Stop; `/die` makes it end with status 3.
"""

import json
import os
import select
import socket
import sys
import time

from vestibule.link.ends import WorkerEnd
from vestibule.link.messages import (
    Abort,
    Addresses,
    Certificates,
    Commit,
    Drained,
    Event,
    Hello,
    Message,
    Prepare,
    Ready,
    Refused,
    ReopenLogs,
    Status,
    StatusRequest,
    Stop,
    StopNow,
)

LIFE_S = 60.0


class FakeWorker:
    """One process of the tests; lives a minute at most."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._end = WorkerEnd()
        self._prepared: Prepare | None = None
        self._serving: Prepare | None = None
        self._doors: list[socket.socket] = []
        self._logs: dict[str, int] = {}
        self._stalled: list[socket.socket] = []
        self._stopped_by = 0.0

    def run(self) -> None:
        """Serve until told to stop or left alone."""
        self._say(Hello(os.getpid(), False))
        ends_at = time.monotonic() + LIFE_S
        while time.monotonic() < ends_at:
            readable, _, _ = select.select([self._link, *self._doors], [], [], 0.5)
            for sock in readable:
                if sock is self._link:
                    self._listen_to_control()
                elif sock in self._doors:
                    self._answer(sock)

    def _say(self, message: Message) -> None:
        self._link.sendall(self._end.encode(message))

    def _listen_to_control(self) -> None:
        data, fds, _, _ = socket.recv_fds(self._link, 65536, 256)
        if not data:
            sys.exit(0)
        self._end.feed(data, fds)
        while (message := self._end.next()) is not None:
            self._obey(message)

    def _obey(self, message: Message) -> None:
        if isinstance(message, Prepare):
            self._prepare(message)
        elif isinstance(message, Commit):
            self._commit()
        elif isinstance(message, Abort):
            for fd in self._prepared.fds if self._prepared else []:
                os.close(fd)
            self._prepared = None
        elif isinstance(message, Addresses):
            if self._serving is not None:
                self._serving.assets.addresses.update(message.names)
        elif isinstance(message, Certificates):
            if self._serving is not None:
                self._serving.assets.certificates.update(message.pairs)
        elif isinstance(message, ReopenLogs):
            self._logs = {path: message.fds[index] for path, index in message.logs.items()}
        elif isinstance(message, StatusRequest):
            self._status(message)
        elif isinstance(message, Stop):
            self._stop()
        elif isinstance(message, StopNow):
            sys.exit(0)

    def _prepare(self, message: Prepare) -> None:
        names = [site["name"] for site in json.loads(message.model)["sites"]]
        if "die" in names:
            sys.exit(7)
        if "deaf" in names:
            return
        if "refuse" in names:
            for fd in message.fds:
                os.close(fd)
            self._say(Refused(message.generation, ["the site `refuse` is refused"]))
            return
        self._prepared = message
        self._say(Ready(message.generation))

    def _commit(self) -> None:
        assert self._prepared is not None
        for door in self._doors:
            door.close()
        self._serving, self._prepared = self._prepared, None
        indexes = [index for each in self._serving.assets.listeners.values() for index in each]
        self._doors = [socket.socket(fileno=self._serving.fds[index]) for index in indexes]
        self._logs = {path: self._serving.fds[index] for path, index in self._serving.assets.logs.items()}
        self._say(Event("info", "fake.commit", "committed", {"generation": str(self._serving.generation)}))

    def _status(self, message: StatusRequest) -> None:
        if self._serving is None:
            self._say(Status(message.id, {}))
            return
        assets = self._serving.assets
        figures = {
            "generation": self._serving.generation,
            "addresses": assets.addresses,
            "ticket_key": assets.ticket_key,
            "certificates": {name: pair.chain_pem for name, pair in assets.certificates.items()},
            "uid": os.getuid(),
            "groups": os.getgroups(),
        }
        self._say(Status(message.id, figures))

    def _stop(self) -> None:
        for sock in self._stalled:
            sock.sendall(b"finished")
            sock.close()
        self._say(Drained())
        sys.exit(0)

    def _answer(self, door: socket.socket) -> None:
        try:
            sock, _ = door.accept()
        except BlockingIOError:
            return
        sock.settimeout(5)
        request = sock.recv(1000)
        if b"/die" in request:
            self._say(Event("error", "fake.last", "last words", {}))
            sys.exit(3)
        if b"/stall" in request:
            sock.sendall(b"waiting")
            self._stalled.append(sock)
            return
        for fd in self._logs.values():
            os.write(fd, b"served\n")
        generation = self._serving.generation if self._serving else 0
        sock.sendall(json.dumps({"pid": os.getpid(), "generation": generation}).encode())
        sock.close()


if __name__ == "__main__":
    FakeWorker(socket.socket(fileno=int(sys.argv[sys.argv.index("--link-fd") + 1]))).run()
