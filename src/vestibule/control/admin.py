"""The unix socket the command line talks to the running program by.

Facts: a unix socket lets in who may write its file (unix(7)); 0600 is the user who started vestibule, and root.

Rules:
* One line of JSON in, `{"command": …}`; one line out, `{"ok": true, …}` or `{"ok": false, "reasons": […]}`; then it closes.
* Every running program has a socket of its own in the state directory, named by its process id, so that several can run beside each
  other and none takes another's place. A configured `process.admin_socket` is used as it stands.

Not here: what the commands do (`main.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from vestibule.control.listeners import bind_unix, clear_stale_socket

REQUEST_MOST_BYTES = 65_536
# A client that connects and says nothing must not stay.
REQUEST_S = 5.0
# A reload may wait for a slow worker (supervisor.ANSWER_S) and for DNS.
ANSWER_S = 60.0

Answer = dict[str, object]
Run = Callable[[str], Awaitable[Answer]]


class AdminError(Exception):
    """The socket cannot be made or reached; the text says why and how to mend it."""


class AdminServer:
    """Answers commands on a unix socket."""

    def __init__(self, path: Path, run: Run) -> None:
        self.path = path
        self._run = run
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Open the socket. Raises `AdminError`."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            clear_stale_socket(str(self.path))
            sock = bind_unix(str(self.path), 0o600)
        except OSError as bad:
            raise AdminError(
                f"the admin socket {self.path} cannot be made: {bad.strerror or bad}; name another with process.admin_socket"
            ) from None
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=REQUEST_MOST_BYTES)

    async def stop(self) -> None:
        """Close the socket and remove its file."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                line = await reader.readline()
            answer = await self._answer(line)
            writer.write(json.dumps(answer, default=str).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            # Whoever asked is gone, silent or longer than any command.
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
        except ValueError:
            return {"ok": False, "reasons": ["the request is not JSON"]}
        command = request.get("command") if isinstance(request, dict) else None
        if not isinstance(command, str):
            return {"ok": False, "reasons": ["the request names no command"]}
        return await self._run(command)


def socket_path(state_dir: Path, pid: int) -> Path:
    """Return where a program of this process id has its socket, unless configured otherwise."""
    return state_dir / f"admin-{pid}.sock"


def find_sockets(state_dir: Path) -> list[Path]:
    """Return the sockets of programs that run now. Sockets of those that were killed are removed."""
    live: list[Path] = []
    for path in sorted(state_dir.glob("admin-*.sock")):
        pid = path.name.removeprefix("admin-").removesuffix(".sock")
        if pid.isdigit() and _is_alive(int(pid)):
            live.append(path)
        else:
            path.unlink(missing_ok=True)
    return live


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def ask(path: Path, command: str) -> Answer:
    """Send a command and return the answer; for the command line, without asyncio. Raises `AdminError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_S)
        try:
            sock.connect(str(path))
            sock.sendall(json.dumps({"command": command}).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                piece = sock.recv(65_536)
                if not piece:
                    break
                data += piece
        except PermissionError:
            raise AdminError(f"{path} is another user's; run the command as the user who started vestibule") from None
        except (ConnectionRefusedError, FileNotFoundError):
            raise AdminError(f"nobody answers at {path}; is vestibule running?") from None
        except TimeoutError:
            raise AdminError(f"no answer at {path} within {ANSWER_S:.0f} s; the log may say why") from None
        except OSError as bad:
            raise AdminError(f"{path}: {bad.strerror or bad}") from None
    try:
        answer = json.loads(data)
    except ValueError:
        raise AdminError(f"vestibule closed {path} without an answer") from None
    if not isinstance(answer, dict):
        raise AdminError(f"the answer at {path} is no object")
    return answer
