"""HAProxy's commands on a socket, for the programs that speak them: monitoring, deployment scripts, people with `socat`.

Facts (HAProxy management guide, 9.3): a line holds commands with semicolons between, and the connection ends after their answers,
unless the first was `prompt`. An answer ends with an empty line. A socket has a level, and commands above it are denied.

Rules:
* Commands change what `vestibule upstream` changes, and nothing else; what they said holds over reloads and restarts.
* Figures are those of metrics, collected anew for each command that shows some.
* What HAProxy knows and vestibule does not is answered as an unknown command.

Not here: how servers are (`health.py`), the socket of `vestibule status` (`admin.py`).
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from vestibule.control.listeners import bind_unix, clear_stale_socket
from vestibule.control.metrics.haproxy import CHECK_NUMBERS, FIRST_ID, Row, check_word, csv_text, rows_of
from vestibule.control.metrics.picture import Picture
from vestibule.model.config import CommandSocket, Config

LINE_MOST_BYTES = 16_384
PAYLOAD_MOST_BYTES = 4 << 20
# A connection that says nothing for so long is closed; HAProxy's `stats timeout` is 10 s unless said.
SILENT_S = 10.0
WEIGHT_MOST = 256

LEVELS = ("user", "operator", "admin")

Status = Callable[[], Awaitable[dict[str, Any]]]
Do = Callable[[list[str]], list[str]]
"""Does what `vestibule upstream` was told; returns the reasons against it."""

HELP = (
    ("help", "user", "this text"),
    ("prompt", "user", "toggle interactive mode with prompt"),
    ("quit", "user", "disconnect"),
    ("show info", "user", "report information about the running process"),
    ("show stat", "user", "report counters for each proxy and server"),
    ("show servers state", "user", "dump volatile server information (all or for a single backend)"),
    ("show version", "user", "show version of the current process"),
    ("show backend", "user", "list backends in the current running config"),
    ("show errors", "operator", "report last request and/or response errors for each proxy"),
    ("get weight", "user", "report a server's current weight"),
    ("set weight", "admin", "change a server's weight"),
    ("set server", "admin", "change a server's state or weight"),
    ("enable server", "admin", "enable a disabled server"),
    ("disable server", "admin", "disable a server for maintenance"),
)

_STATE = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
    "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn "
    "srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)

# States of checks and agents are sums: configured 2, enabled 4, paused 8, an agent 16.
_ASKED, _PAUSED, _AGENT = 6, 8, 16

_WAYS = {"ready": "enable", "drain": "drain", "maint": "disable"}
_USAGE = "usage: set server <backend>/<server> state | weight"


class Others(Protocol):
    """More commands, in a file of their own."""

    @property
    def help(self) -> Sequence[tuple[str, str, str]]:
        """The commands, each with the level that it needs and what it does."""
        ...

    async def answer(self, verb: str, words: list[str], payload: str) -> str:
        """Return what one of them is answered, without the empty line behind it."""
        ...


class Server:
    """A server, by the names that commands have for it."""

    def __init__(self, backend: str, name: str, row: dict[str, Any], backend_id: int, server_id: int) -> None:
        self.backend = backend
        self.name = name
        self.address = str(row["server"])
        self.state = str(row["state"])
        self.weight = int(row["weight"])
        self.usual_weight = int(row["usual_weight"])
        self.since_s = int(row["since_s"])
        self.checked = bool(row["checked"])
        self.outcome: dict[str, Any] | None = row.get("outcome")
        self.standing = int(row.get("standing", 0))
        self.has_agent = row.get("agent") is not None
        self.backend_id = backend_id
        self.server_id = server_id


class Commands:
    """Answers lines of commands. `read` gives the configuration that is served, `look` the figures of now."""

    def __init__(
        self, status: Status, do: Do, read: Callable[[], Config | None], look: Callable[[], Awaitable[Picture]], others: list[Others]
    ) -> None:
        self._others = others
        self._status = status
        self._do = do
        self._read = read
        self._look = look

    async def answer(self, words: list[str], level: str, payload: str = "") -> str:
        """Return what one command is answered, without the empty line behind it. A payload are the lines that came with it."""
        rows = self._rows()
        for verb, least, _ in sorted(rows, key=lambda row: -len(row[0])):
            if words[: len(verb.split())] == verb.split():
                if LEVELS.index(level) < LEVELS.index(least):
                    return "Permission denied\n"
                rest = words[len(verb.split()) :]
                for other in self._others:
                    if any(verb == row[0] for row in other.help):
                        return await other.answer(verb, rest, payload)
                return await self._run(verb, rest, level)
        return "Unknown command" + _help(rows, level, ". Please enter one of the following commands only:")

    def _rows(self) -> list[tuple[str, str, str]]:
        """Return all commands, with the level that each needs."""
        return [*HELP, *[row for other in self._others for row in other.help]]

    async def _run(self, verb: str, words: list[str], level: str) -> str:
        if verb == "help":
            return _help(self._rows(), level, "The following commands are valid at this level:")
        if verb == "show errors":
            return "vestibule keeps no broken messages; its error log tells of them\n"
        status = await self._status()
        if verb == "show info":
            return _info(status, await self._look())
        if verb == "show version":
            return f"{status['version']}\n"
        servers = self._servers(status)
        backends = dict.fromkeys(each.backend for each in servers)
        if verb == "show backend":
            return "# name\n" + "".join(f"{name}\n" for name in backends)
        if verb == "show stat":
            return self._stat(await self._look(), words)
        if verb == "show servers state":
            return _states(servers, words, list(backends))
        if verb == "get weight":
            found = _find(servers, words)
            return found if isinstance(found, str) else f"{found.weight} (initial {found.usual_weight})\n"
        return self._change(verb, words, servers)

    def _change(self, verb: str, words: list[str], servers: list[Server]) -> str:
        """Do what changes a server."""
        found = _find(servers, words)
        if isinstance(found, str):
            return found
        if verb in ("enable server", "disable server"):
            return self._done(["enable" if verb == "enable server" else "disable", found.backend, found.address])
        rest = words[1:]
        if verb == "set server":
            if rest[:1] == ["state"]:
                way = _WAYS.get("".join(rest[1:2]))
                if way is None:
                    return "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n"
                return self._done([way, found.backend, found.address])
            if rest[:1] != ["weight"]:
                return f"{_USAGE}\n"
            rest = rest[1:]
        if not rest:
            return "Require <weight> or <weight%>.\n"
        text = rest[0].removesuffix("%")
        if not text.isdecimal() or len(text) > 6:
            return "Trailing garbage in weight string.\n" if text else "Empty weight string not allowed.\n"
        weight = int(text)
        if rest[0].endswith("%"):
            weight = found.usual_weight * weight // 100
        if weight > WEIGHT_MOST:
            return f"Absolute weight can only be between 0 and {WEIGHT_MOST} inclusive.\n"
        return self._done(["weight", found.backend, found.address, str(weight)])

    def _done(self, words: list[str]) -> str:
        return "".join(f"{reason}\n" for reason in self._do(words))

    def _names(self) -> dict[tuple[str, str], str]:
        """Return the names of servers, by upstream and address."""
        config = self._read()
        named: dict[tuple[str, str], str] = {}
        for each in config.process.command_sockets if config is not None else ():
            for name, address in each.servers:
                upstream, _, server = name.rpartition("/")
                named[upstream, address] = server
        return named

    def _numbers(self) -> dict[str, int]:
        """Return the numbers that upstreams go by, where they have some."""
        config = self._read()
        sockets = config.process.command_sockets if config is not None else ()
        return {name: int(text) for each in sockets for name, text in each.numbers if text.isdecimal()}

    def _servers(self, status: dict[str, Any]) -> list[Server]:
        """Return the servers by their names: those of the configuration, or their addresses."""
        named = self._names()
        numbers = self._numbers()
        servers: list[Server] = []
        backends: dict[str, int] = {}
        counts: dict[str, int] = {}
        for row in status["servers"]:
            upstream, address = str(row["upstream"]), str(row["server"])
            backends.setdefault(upstream, numbers.get(upstream, len(backends) + FIRST_ID))
            counts[upstream] = counts.get(upstream, 0) + 1
            name = named.get((upstream, address), address)
            servers.append(Server(upstream, name, row, backends[upstream], counts[upstream]))
        return servers

    def _stat(self, picture: Picture, words: list[str]) -> str:
        """Return the table of `show stat [ID TYPE SERVER]`."""
        which = words[0] if words else "-1"
        kinds = int(words[1]) if len(words) > 1 and words[1].isdecimal() else 7
        rows: list[Row] = []
        for row in rows_of(replace(picture, names=self._names())):
            kind = int(str(row["type"]))
            of = (str(row["pxname"]), str(row["iid"])) if kind else ()
            if kinds & 1 << kind and (which == "-1" or which in of):
                rows.append(row)
        return csv_text(rows)


def _info(status: dict[str, Any], picture: Picture) -> str:
    """Return what `show info` says; the names of figures are HAProxy's."""
    process = picture.process
    up = int(status["uptime_s"])
    days, rest = divmod(up, 86_400)
    rows = {
        "Name": "vestibule",
        "Version": status["version"],
        "Nbthread": 1,
        "Nbproc": picture.program.workers,
        "Process_num": 1,
        "Pid": status["pid"],
        "Uptime": f"{days}d {rest // 3600}h{rest // 60 % 60:02}m{rest % 60:02}s",
        "Uptime_sec": up,
        "CurrConns": process.gauge("connections"),
        "CumConns": process.count("accepted"),
        "CumReq": process.count("requests"),
        "Stopping": int(status["stopping"]),
        "Listeners": len(status["listeners"]),
        "DroppedLogs": process.count("log_lines_lost"),
    }
    return "".join(f"{name}: {value}\n" for name, value in rows.items())


def _states(servers: list[Server], words: list[str], backends: list[str]) -> str:
    """Return what `show servers state [BACKEND]` says."""
    if words and words[0] not in backends:
        return "Can't find backend.\n"
    lines = ["1", f"# {_STATE}"]
    for each in servers:
        if words and each.backend != words[0]:
            continue
        host, _, port = each.address.rpartition(":") if not each.address.startswith("unix:") else (each.address, "", "0")
        ended = each.outcome
        status = CHECK_NUMBERS.index(check_word(ended)) if ended is not None else 1
        result = 0 if ended is None else 3 if ended["kind"] == "passed" else 2
        agent = _ASKED | _AGENT if each.has_agent else 0
        lines.append(
            f"{each.backend_id} {each.backend} {each.server_id} {each.name} {host.strip('[]')} "
            f"{0 if each.state in ('down', 'disabled') else 2} {1 if each.state == 'disabled' else 8 if each.state == 'draining' else 0} "
            f"{each.weight} {each.usual_weight} {each.since_s} {status} {result} {each.standing} "
            f"{_asked(each)} {agent} 0 0 - {port} - 0 0 - - 0"
        )
    return "".join(f"{line}\n" for line in lines)


def _asked(server: Server) -> int:
    """Say whether a server is checked, as a sum: configured 2, enabled 4, paused 8."""
    return 0 if not server.checked else _ASKED | _PAUSED if server.state == "disabled" else _ASKED


def _find(servers: list[Server], words: list[str]) -> Server | str:
    """Return the server that a command names, or what is wrong with it."""
    backend, slash, name = "".join(words[:1]).partition("/")
    if not slash:
        return "Require 'backend/server'.\n"
    if all(each.backend != backend for each in servers):
        return "No such backend.\n"
    found = [each for each in servers if each.backend == backend and name in (each.name, each.address)]
    return found[0] if found else "No such server.\n"


def _help(commands: list[tuple[str, str, str]], level: str, head: str) -> str:
    rows = [(name, text) for name, least, text in commands if LEVELS.index(level) >= LEVELS.index(least)]
    return head + "\n" + "".join(f"  {name:<40}: {text}\n" for name, text in rows)


def _owner(socket: CommandSocket) -> tuple[int, int]:
    """Return the numbers of a socket's owner and group; -1 leaves it. Raises `LookupError`."""
    user = pwd.getpwnam(socket.user).pw_uid if socket.user else -1
    return user, grp.getgrnam(socket.group).gr_gid if socket.group else -1


def split_commands(line: str) -> list[list[str]]:
    """Return the commands of a line in words. A backslash keeps the blank, the semicolon or the backslash that follows it."""
    commands: list[list[str]] = [[]]
    word, inside = "", False
    at = 0
    while at < len(line):
        char = line[at]
        if char == "\\" and at + 1 < len(line):
            at += 1
            word, inside = word + line[at], True
        elif char in " \t;":
            if inside:
                commands[-1].append(word)
            word, inside = "", False
            if char == ";":
                commands.append([])
        else:
            word, inside = word + char, True
        at += 1
    if inside:
        commands[-1].append(word)
    return [each for each in commands if each]


class CommandServer:
    """One socket that takes commands."""

    def __init__(self, base: Path, socket: CommandSocket, commands: Commands) -> None:
        self.path = base / socket.path
        self._socket = socket
        self._commands = commands
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Open the socket. Raises `OSError`, and `LookupError` for an owner that there is not."""
        name = self._socket.path
        if name.startswith("tcp:"):
            host, _, port = name.removeprefix("tcp:").rpartition(":")
            where = None if host in ("", "*") else host.strip("[]")
            self._server = await asyncio.start_server(self._serve, where, int(port), limit=LINE_MOST_BYTES, reuse_address=True)
            return
        if name.startswith("fd@"):
            given = socket.socket(fileno=os.dup(int(name.removeprefix("fd@"))))
            self._server = await asyncio.start_server(self._serve, sock=given, limit=LINE_MOST_BYTES)
            return
        clear_stale_socket(str(self.path))
        sock = bind_unix(str(self.path), self._socket.mode)
        if self._socket.user or self._socket.group:
            os.chown(self.path, *_owner(self._socket))
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=LINE_MOST_BYTES)

    def stop(self) -> None:
        """Close the socket and remove its file, if it has one."""
        if self._server is not None:
            self._server.close()
            self._server = None
            if not self._socket.path.startswith(("tcp:", "fd@")):
                self.path.unlink(missing_ok=True)

    async def _payload(self, reader: asyncio.StreamReader) -> str:
        """Read the lines that come with a command, up to an empty one."""
        lines: list[bytes] = []
        size = 0
        while size < PAYLOAD_MOST_BYTES:
            line = await reader.readline()
            if not line.rstrip(b"\r\n"):
                return b"".join(lines).decode("utf-8", "surrogateescape")
            lines.append(line)
            size += len(line)
        raise ValueError("a payload longer than any file")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        interactive = False
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    line = await reader.readline()
                    text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
                    payload = ""
                    if text.rstrip().endswith("<<"):
                        text = text.rstrip()[:-2]
                        payload = await self._payload(reader)
                for words in split_commands(text):
                    if words == ["quit"]:
                        return
                    if words == ["prompt"]:
                        interactive = not interactive
                    else:
                        answer = await self._commands.answer(words, self._socket.level, payload)
                        writer.write(answer.encode("utf-8", "surrogateescape") + b"\n")
                if not line or not interactive:
                    return
                writer.write(b"> ")
                await writer.drain()
        except (OSError, ValueError, TimeoutError):
            # Whoever asked is gone, silent, or longer than any command.
            pass
        finally:
            writer.close()
