"""One worker process and the control end of its link.

Facts: `os.pidfd_open` gives a descriptor that is readable once the process has ended, also when it was killed (pidfd_open(2)). A
link socket that reads empty is a worker about to end, not yet its exit status.

Rules: nothing here blocks. What cannot be sent at once waits in order. `on_end` is called once, after the last message was taken.

Not here: which worker is started when (`supervisor.py`).
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import vestibule
from vestibule.link.ends import ControlEnd
from vestibule.link.frame import LinkError, Packet
from vestibule.link.messages import Message

_READ_BYTES = 65_536


class Account:
    """Who the workers become. Ids of -1 leave what this process has."""

    def __init__(self, uid: int = -1, gid: int = -1, groups: Sequence[int] = ()) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = tuple(groups)


class WorkerProcess:
    """A running worker. `tell` sends, `on_message` receives; after `on_end` it is gone and `how` says how."""

    def __init__(
        self,
        slot: int,
        command: Sequence[str],
        account: Account,
        on_message: Callable[[WorkerProcess, Message], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        """Start it. Raises OSError if it cannot be started."""
        self.slot = slot
        self.started_at = time.monotonic()
        self.compiled = False
        self.greeted = False
        self.stopping = False
        self.drained = False
        self.generation = 0
        """The generation it was last told to serve."""
        self.prepared = 0
        """The generation it has built and not yet been told to serve."""
        self._end = ControlEnd()
        self._queue: deque[Packet] = deque()
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._socket, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        try:
            self._popen = _start([*command, "--link-fd", str(child.fileno())], child.fileno(), account)
        except OSError:
            self._socket.close()
            raise
        finally:
            child.close()
        self.pid = self._popen.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)
        self._loop.add_reader(self._socket, self._read)

    @property
    def how(self) -> str:
        """How the process ended, in words; empty while it runs."""
        status = self._popen.returncode
        if status is None:
            return ""
        if status < 0:
            try:
                return f"killed by {signal.Signals(-status).name}"
            except ValueError:
                return f"killed by signal {-status}"
        return f"exit status {status}"

    def tell(self, message: Message) -> None:
        """Send a message; its descriptors stay the caller's, and are duplicated for as long as they wait here."""
        for packet in self._end.encode(message):
            packet.fds = [os.dup(fd) for fd in packet.fds]
            self._queue.append(packet)
        self._write()

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self._popen.returncode is None:
            self._popen.send_signal(number)

    def _write(self) -> None:
        while self._queue:
            packet = self._queue[0]
            try:
                sent = socket.send_fds(self._socket, [packet.data], packet.fds)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._write)
                return
            except OSError:
                # The worker is gone; `_reap` tells it.
                self._drop_queue()
                return
            # Descriptors leave with the first byte.
            _close_all(packet)
            if sent == len(packet.data):
                self._queue.popleft()
            else:
                packet.data = packet.data[sent:]
        self._forget_writer()

    def _read(self) -> None:
        if not self._take():
            self._loop.remove_reader(self._socket)

    def _take(self) -> bool:
        """Read once and pass on what became whole. False at the end of the link."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._end.feed(data)
        try:
            while (message := self._end.next()) is not None:
                self._on_message(self, message)
        except LinkError:
            # Our own program out of its mind: it cannot be told anything any more.
            self.signal(signal.SIGKILL)
            return False
        return bool(data)

    def _reap(self) -> None:
        if self._popen.poll() is None:
            return
        self._loop.remove_reader(self._pidfd)
        self._loop.remove_reader(self._socket)
        os.close(self._pidfd)
        # What it said before it ended is still in the socket. A child that outlived it would hold the link open without a word.
        while _has_input(self._socket) and self._take():
            pass
        self._drop_queue()
        self._socket.close()
        self._on_end(self)

    def _drop_queue(self) -> None:
        for packet in self._queue:
            _close_all(packet)
        self._queue.clear()
        self._forget_writer()

    def _forget_writer(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket)


def _has_input(sock: socket.socket) -> bool:
    readable, _, _ = select.select([sock], [], [], 0)
    return bool(readable)


def _close_all(packet: Packet) -> None:
    for fd in packet.fds:
        os.close(fd)
    packet.fds = []


def _start(command: Sequence[str], link: int, account: Account) -> subprocess.Popen[bytes]:
    # Privileges go between fork and exec, so that no line of the worker ever runs with them.
    user = account.uid if account.uid >= 0 else None
    group = account.gid if account.gid >= 0 else None
    groups = account.groups if account.uid >= 0 or account.gid >= 0 else None
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=(link,),
        user=user,
        group=group,
        extra_groups=groups,
        env=_environment(),
        # A Ctrl-C in the terminal is for the control process, which tells the workers what to do.
        process_group=0,
    )


def _environment() -> dict[str, str]:
    """Our own environment, with the place this program was imported from first in the search path."""
    environment = dict(os.environ)
    here = str(Path(vestibule.__file__).resolve().parent.parent)
    others = [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each and each != here]
    environment["PYTHONPATH"] = os.pathsep.join([here, *others])
    return environment


def worker_command() -> list[str]:
    """Return the command that starts a worker of this very program."""
    # -P: the current directory may be writable for others, and must not be where modules come from.
    return [sys.executable, "-P", "-m", "vestibule.start_worker"]
