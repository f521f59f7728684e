"""HAProxy's commands on a unix socket, for the programs that speak them: monitoring, deployment scripts, people with `socat`.

Facts (HAProxy management guide, 9.3): a line holds commands with semicolons between, and the connection ends after their answers,
unless the first was `prompt`. An answer ends with an empty line. A socket has a level, and commands above it are denied.

Rules:
* Commands change what `vestibule upstream` changes, and nothing else; what they said holds over reloads and restarts.
* Figures come from `vestibule status`; what vestibule does not count is empty, as HAProxy leaves it where something does not apply.
* What HAProxy knows and vestibule does not is answered as an unknown command.

Not here: how servers are (`health.py`), the socket of `vestibule status` (`admin.py`).
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from vestibule.control.listeners import bind_unix, clear_stale_socket
from vestibule.model.config import CommandSocket, Config

LINE_MOST_BYTES = 16_384
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

_COLUMN_LINE = (
    "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,"
    "chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,"
    "check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,"
    "srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,"
    "agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,"
    "algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,"
    "qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,"
    "agg_server_status,agg_server_check_status,agg_check_status"
)
_COLUMNS = tuple(_COLUMN_LINE.split(","))

_STATE = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
    "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn "
    "srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)

_WAYS = {"ready": "enable", "drain": "drain", "maint": "disable"}
_USAGE = "usage: set server <backend>/<server> state | weight"


class Server:
    """A server, by the names that commands have for it."""

    def __init__(self, backend: str, name: str, row: dict[str, Any], backend_id: int, server_id: int) -> None:
        self.backend = backend
        self.name = name
        self.address = str(row["server"])
        self.state = str(row["state"])
        self.checked = bool(row["checked"])
        self.last_check = row["last_check"]
        self.weight = int(row["weight"])
        self.usual_weight = int(row["usual_weight"])
        self.backup = bool(row["backup"])
        self.since_s = int(row["since_s"])
        self.backend_id = backend_id
        self.server_id = server_id

    @property
    def status(self) -> str:
        """How it stands, in HAProxy's words."""
        if self.state in ("disabled", "draining"):
            return "MAINT" if self.state == "disabled" else "DRAIN"
        if not self.checked:
            return "no check"
        return "UP" if self.state == "up" else "DOWN"

    @property
    def serves(self) -> bool:
        """Whether it has requests."""
        return self.state == "up"


class Commands:
    """Answers lines of commands. `read` gives the configuration that is served."""

    def __init__(self, status: Status, do: Do, read: Callable[[], Config | None]) -> None:
        self._status = status
        self._do = do
        self._read = read

    async def answer(self, line: str, level: str) -> str:
        """Return what one command is answered, without the empty line behind it."""
        words = line.split()
        for verb, least, _ in sorted(HELP, key=lambda row: -len(row[0])):
            if words[: len(verb.split())] == verb.split():
                if LEVELS.index(level) < LEVELS.index(least):
                    return "Permission denied\n"
                return await self._run(verb, words[len(verb.split()) :], level)
        return "Unknown command" + _help(level, ". Please enter one of the following commands only:")

    async def _run(self, verb: str, words: list[str], level: str) -> str:
        if verb == "help":
            return _help(level, "The following commands are valid at this level:")
        if verb == "show errors":
            return "vestibule keeps no broken messages; its error log tells of them\n"
        status = await self._status()
        if verb == "show info":
            return _info(status)
        if verb == "show version":
            return f"{status['version']}\n"
        servers = self._servers(status)
        backends = dict.fromkeys(each.backend for each in servers)
        if verb == "show backend":
            return "# name\n" + "".join(f"{name}\n" for name in backends)
        if verb == "show stat":
            return self._stat(status, servers, words)
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

    def _servers(self, status: dict[str, Any]) -> list[Server]:
        """Return the servers by their names: those of the configuration, or their addresses."""
        config = self._read()
        named: dict[tuple[str, str], str] = {}
        for socket in config.process.command_sockets if config is not None else ():
            for name, address in socket.servers:
                upstream, _, server = name.rpartition("/")
                named[(upstream, address)] = server
        servers: list[Server] = []
        backends: dict[str, int] = {}
        counts: dict[str, int] = {}
        for row in status["servers"]:
            upstream, address = str(row["upstream"]), str(row["server"])
            backends.setdefault(upstream, len(backends) + 2)
            counts[upstream] = counts.get(upstream, 0) + 1
            name = named.get((upstream, address), address)
            servers.append(Server(upstream, name, row, backends[upstream], counts[upstream]))
        return servers

    def _stat(self, status: dict[str, Any], servers: list[Server], words: list[str]) -> str:
        """Return the table of `show stat [ID TYPE SERVER]`."""
        which = words[0] if words else "-1"
        kinds = int(words[1]) if len(words) > 1 and words[1].isdecimal() else 7
        rows: list[dict[str, object]] = []
        if kinds & 1 and which == "-1":
            rows += [_frontend(name, at) for at, name in enumerate(status["sites"], 2)]
        connections = _connections(status)
        for backend in dict.fromkeys(each.backend for each in servers):
            of = [each for each in servers if each.backend == backend]
            if which not in ("-1", backend, str(of[0].backend_id)):
                continue
            if kinds & 4:
                rows += [_server_row(each, connections) for each in of]
            if kinds & 2:
                rows.append(_backend_row(of, connections))
        lines = [",".join(_cell(row.get(name, "")) for name in _COLUMNS) + "," for row in rows]
        return "# " + ",".join(_COLUMNS) + ",\n" + "".join(f"{line}\n" for line in lines)


def _cell(value: object) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"\n') else text


def _frontend(name: str, id: int) -> dict[str, object]:
    return {"pxname": name, "svname": "FRONTEND", "status": "OPEN", "pid": 1, "iid": id, "sid": 0, "type": 0, "mode": "http"}


def _server_row(server: Server, connections: dict[str, tuple[int, int]]) -> dict[str, object]:
    current, idle = connections.get(server.address, (0, 0))
    row: dict[str, object] = {
        "pxname": server.backend,
        "svname": server.name,
        "scur": max(0, current - idle),
        "status": server.status,
        "weight": server.weight,
        "act": 0 if server.backup else 1,
        "bck": 1 if server.backup else 0,
        "lastchg": server.since_s,
        "pid": 1,
        "iid": server.backend_id,
        "sid": server.server_id,
        "type": 2,
        "addr": server.address,
        "mode": "http",
        "idle_conn_cur": idle,
        "used_conn_cur": max(0, current - idle),
        "uweight": server.weight,
    }
    if server.checked and server.last_check is not None:
        row["check_status"] = "L7OK" if server.last_check == "" else "L4CON"
        row["last_chk"] = server.last_check
    return row


def _backend_row(servers: list[Server], connections: dict[str, tuple[int, int]]) -> dict[str, object]:
    serving = [each for each in servers if each.serves]
    first = [each for each in serving if not each.backup]
    rows = [_server_row(each, connections) for each in servers]
    return {
        "pxname": servers[0].backend,
        "svname": "BACKEND",
        "scur": sum(int(str(row["scur"])) for row in rows),
        "status": "UP" if serving else "DOWN",
        "weight": sum(each.weight for each in first or serving),
        "act": len(first),
        "bck": len(serving) - len(first),
        "lastchg": min(each.since_s for each in servers),
        "pid": 1,
        "iid": servers[0].backend_id,
        "sid": 0,
        "type": 1,
        "mode": "http",
    }


def _connections(status: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Return the connections to each address, all and idle ones, over all workers."""
    sums: dict[str, tuple[int, int]] = {}
    for worker in status["workers"]:
        for key, told in (worker.get("figures") or {}).get("upstreams", {}).items():
            current, idle = sums.get(key, (0, 0))
            sums[key] = current + told["connections"], idle + told["idle"]
    return sums


def _info(status: dict[str, Any]) -> str:
    """Return what `show info` says; the names of figures are HAProxy's."""
    figures = [worker.get("figures") or {} for worker in status["workers"]]

    def total(name: str) -> int:
        return sum(int(each.get(name, 0)) for each in figures)

    up = int(status["uptime_s"])
    days, rest = divmod(up, 86_400)
    rows = {
        "Name": "vestibule",
        "Version": status["version"],
        "Nbthread": 1,
        "Nbproc": len(figures),
        "Process_num": 1,
        "Pid": status["pid"],
        "Uptime": f"{days}d {rest // 3600}h{rest // 60 % 60:02}m{rest % 60:02}s",
        "Uptime_sec": up,
        "CurrConns": total("connections"),
        "CumConns": total("accepted"),
        "CumReq": total("requests"),
        "Stopping": int(status["stopping"]),
        "Listeners": len(status["listeners"]),
        "DroppedLogs": total("log_lines_lost"),
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
        lines.append(
            f"{each.backend_id} {each.backend} {each.server_id} {each.name} {host.strip('[]')} "
            f"{0 if each.state in ('down', 'disabled') else 2} {1 if each.state == 'disabled' else 8 if each.state == 'draining' else 0} "
            f"{each.weight} {each.usual_weight} {each.since_s} 0 0 0 0 0 0 0 - {port} - 0 0 - - 0"
        )
    return "".join(f"{line}\n" for line in lines)


def _find(servers: list[Server], words: list[str]) -> Server | str:
    """Return the server that a command names, or what is wrong with it."""
    backend, slash, name = "".join(words[:1]).partition("/")
    if not slash:
        return "Require 'backend/server'.\n"
    if all(each.backend != backend for each in servers):
        return "No such backend.\n"
    found = [each for each in servers if each.backend == backend and name in (each.name, each.address)]
    return found[0] if found else "No such server.\n"


def _help(level: str, head: str) -> str:
    rows = [(name, text) for name, least, text in HELP if LEVELS.index(level) >= LEVELS.index(least)]
    return head + "\n" + "".join(f"  {name:<40}: {text}\n" for name, text in rows)


def _owner(socket: CommandSocket) -> tuple[int, int]:
    """Return the numbers of a socket's owner and group; -1 leaves it. Raises `LookupError`."""
    user = pwd.getpwnam(socket.user).pw_uid if socket.user else -1
    return user, grp.getgrnam(socket.group).gr_gid if socket.group else -1


class CommandServer:
    """One socket that takes commands."""

    def __init__(self, base: Path, socket: CommandSocket, commands: Commands) -> None:
        self.path = base / socket.path
        self._socket = socket
        self._commands = commands
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Open the socket. Raises `OSError`, and `LookupError` for an owner that there is not."""
        clear_stale_socket(str(self.path))
        sock = bind_unix(str(self.path), self._socket.mode)
        if self._socket.user or self._socket.group:
            os.chown(self.path, *_owner(self._socket))
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=LINE_MOST_BYTES)

    def stop(self) -> None:
        """Close the socket and remove its file."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        interactive = False
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    line = await reader.readline()
                for command in line.decode("utf-8", "replace").split(";"):
                    words = command.split()
                    if words == ["quit"]:
                        return
                    if words == ["prompt"]:
                        interactive = not interactive
                    elif words:
                        answer = await self._commands.answer(" ".join(words), self._socket.level)
                        writer.write(answer.encode("utf-8", "replace") + b"\n")
                if not line or not interactive:
                    return
                writer.write(b"> ")
                await writer.drain()
        except (OSError, ValueError, TimeoutError):
            # Whoever asked is gone, silent, or longer than any command.
            pass
        finally:
            writer.close()
