"""One program takes over from another on the same sockets: an upgrade that no client notices.

Facts: a listening socket lives as long as a descriptor of it is open anywhere, and its queue with it; children may inherit descriptors
(exec(2)). A service manager knows a service by its main process, and takes the word of that one for who comes next (`MAINPID=`,
sd_notify(3)).

What is said, a line of JSON each: the heir says `{"serving": PID}` once its workers accept clients, or `{"refused": [REASON…]}`; the
program that runs lets go of its doors (admin socket, command sockets, pid file) and says `{"go": true}`; the heir opens its own, and says
`{"open": true}`.

Rules
* Until the heir serves, nothing has changed: it is ended, and whatever it says or does not say is a reason.
* What the heir is given stands in one variable of its environment, which it takes out, so that no worker believes it to be its own.

Not here: whose turn it is (`main.py`), which sockets there are (`listeners.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence

# A big configuration on a loaded machine, and certificates to read.
SERVING_S = 45.0
# The program before only closes a few sockets.
GO_S = 10.0

_VARIABLE = "VESTIBULE_SUCCESSION"
_LINE_MOST = 65_536


class Heir:
    """The program that is to take over, seen from the one that runs."""

    def __init__(self) -> None:
        self.pid = 0
        """Its process, once it serves."""
        self._link: socket.socket | None = None
        self._child: subprocess.Popen[bytes] | None = None

    async def start(self, sockets: Mapping[str, Sequence[int]], environment: Mapping[str, str], command: Sequence[str] = ()) -> list[str]:
        """Start it on these sockets, by their keys, and wait until it serves. Return the reasons why it does not; none is a yes.

        Without a `command` it is the one that started this program.
        """
        link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        link.setblocking(False)
        given = {"link": theirs.fileno(), "sockets": {key: list(fds) for key, fds in sockets.items()}}
        fds = [theirs.fileno(), *[fd for each in sockets.values() for fd in each]]
        try:
            self._child = subprocess.Popen(
                command or [sys.executable, *sys.orig_argv[1:]],
                pass_fds=fds,
                env={**environment, _VARIABLE: json.dumps(given)},
            )
        except OSError as bad:
            link.close()
            return [f"the program cannot be started: {bad.strerror or bad}"]
        finally:
            theirs.close()
        self._link = link
        reasons = await self._wait()
        if reasons:
            self.end()
        return reasons

    async def go(self) -> None:
        """Have it open its doors; ours are closed. Return when they are open, or it is not to be waited for."""
        assert self._link is not None
        try:
            self._link.send(b'{"go": true}\n')
            async with asyncio.timeout(GO_S):
                await _line(self._link)
        except OSError:
            pass  # it goes on by itself when it hears nothing; TimeoutError is one, too
        self._link.close()

    def end(self) -> None:
        """Have no heir."""
        if self._link is not None:
            self._link.close()
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    async def _wait(self) -> list[str]:
        assert self._link is not None
        try:
            async with asyncio.timeout(SERVING_S):
                said = await _line(self._link)
        except TimeoutError:
            return [f"the new program did not serve within {SERVING_S:.0f} s"]
        reasons = said.get("refused")
        if isinstance(reasons, list):
            return [str(each) for each in reasons]
        pid = said.get("serving")
        if not isinstance(pid, int):
            return ["the new program ended before it served; standard error may say why"]
        self.pid = pid
        return []


class Succession:
    """The program that runs, seen from the one that is to take over. There may be none."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take what is given out of the environment."""
        self.sockets: dict[str, list[socket.socket]] = {}
        self._link: socket.socket | None = None
        text = environment.pop(_VARIABLE, "")
        if text:
            given = json.loads(text)
            self._link = socket.socket(fileno=given["link"])
            self._link.setblocking(False)
            self._link.set_inheritable(False)
            for key, fds in given["sockets"].items():
                self.sockets[key] = [_own(fd) for fd in fds]

    def refuse(self, reasons: Sequence[str]) -> None:
        """Say why there is nothing to take over."""
        if self._link is not None:
            self._say({"refused": list(reasons)})
            self._link.close()

    async def take_over(self) -> None:
        """Say that clients are served; return when the program before has left its doors, or is gone."""
        if self._link is None:
            return
        self._say({"serving": os.getpid()})
        try:
            async with asyncio.timeout(GO_S):
                await _line(self._link)
        except TimeoutError:
            pass  # it serves already: better without an admin socket than not at all

    def opened(self) -> None:
        """Say that the doors are open."""
        if self._link is not None:
            self._say({"open": True})
            self._link.close()

    def _say(self, message: dict[str, object]) -> None:
        assert self._link is not None
        try:
            self._link.send(json.dumps(message).encode()[: _LINE_MOST - 1] + b"\n")
        except OSError:
            pass  # the program before is gone, and so there is nobody to wait for


def _own(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


async def _line(link: socket.socket) -> dict[str, object]:
    """Return what one line says; nothing at the end of the link, or where it is not understood."""
    loop = asyncio.get_running_loop()
    data = b""
    while not data.endswith(b"\n") and len(data) < _LINE_MOST:
        try:
            piece = await loop.sock_recv(link, _LINE_MOST)
        except OSError:
            piece = b""
        if not piece:
            break
        data += piece
    try:
        said = json.loads(data)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
