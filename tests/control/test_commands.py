"""HAProxy's commands: what is answered, who may ask, and how a connection goes on."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vestibule.control.commands import Commands, CommandServer
from vestibule.control.metrics.picture import Picture, Program, make_picture
from vestibule.model.config import CommandSocket, Config, Process, Proxy, Server, Site, Upstream


def row(server: str, state: str = "up", **more: object) -> dict[str, object]:
    usual = {
        "upstream": "be",
        "configured": server,
        "checked": False,
        "last_check": None,
        "weight": 5,
        "usual_weight": 5,
        "backup": False,
        "since_s": 7.5,
    }
    return {"server": server, "state": state, **usual, **more}


STATUS: dict[str, Any] = {
    "version": "9.9",
    "pid": 12,
    "uptime_s": 93_784.2,
    "stopping": False,
    "listeners": {"a": ":80"},
    "sites": {"door": ["*"]},
    "servers": [
        row("10.0.0.1:80", checked=True, last_check=""),
        row("10.0.0.2:80", "down", checked=True, last_check="refused, twice"),
        row("[::1]:80", "draining", backup=True),
    ],
}
COUNTERS = {"process": {"accepted": 15, "requests": 26}, "servers": {"be": {"10.0.0.1:80": {"attempts": 12}}}}
GAUGES = {"process": {"connections": 4}, "servers": {"be": {"10.0.0.1:80": {"connections": 6, "idle": 3, "active": 3}}}}
SOCKET = CommandSocket("commands.sock", 0o640, level="admin", servers=(("be/one", "10.0.0.1:80"), ("be/two", "10.0.0.2:80")))
SERVERS = (Server("10.0.0.1", 80), Server("10.0.0.2", 80), Server("::1", 80, backup=True))
SITE = Site("door", ("*",), (), Proxy("be"))
CONFIG = Config((), (SITE,), (Upstream("be", SERVERS),), process=Process(command_sockets=(SOCKET,)))
PROGRAM = Program("9.9", True, 12, 0.0, 93_784.2, 1, 3, 0)


class Asked:
    """Commands on a program that notes what it is told."""

    def __init__(self) -> None:
        self.done: list[list[str]] = []
        self.commands = Commands(self._status, self._do, lambda: CONFIG, self._look, [])

    async def _look(self) -> Picture:
        return make_picture(PROGRAM, CONFIG, COUNTERS, GAUGES, STATUS["servers"])

    async def _status(self) -> dict[str, Any]:
        return STATUS

    def _do(self, words: list[str]) -> list[str]:
        self.done.append(words)
        return ["no"] if words[-1] == "13" else []

    def ask(self, line: str, level: str = "admin") -> str:
        return asyncio.run(self.commands.answer(line.split(), level))


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("set server be/one state ready", ["enable", "be", "10.0.0.1:80"]),
        ("set server be/one state drain", ["drain", "be", "10.0.0.1:80"]),
        ("set server be/two state maint", ["disable", "be", "10.0.0.2:80"]),
        ("set server be/10.0.0.2:80 weight 7", ["weight", "be", "10.0.0.2:80", "7"]),
        ("set weight be/[::1]:80 40%", ["weight", "be", "[::1]:80", "2"]),
        ("enable server be/one", ["enable", "be", "10.0.0.1:80"]),
        ("disable server be/one", ["disable", "be", "10.0.0.1:80"]),
    ],
)
def test_what_changes_a_server(line: str, done: list[str]) -> None:
    asked = Asked()
    assert asked.ask(line) == ""
    assert asked.done == [done]
    assert asked.ask(line, "operator") == asked.ask(line, "user") == "Permission denied\n"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("set server be/one state foo", "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n"),
        ("set server be/one", "usage: set server <backend>/<server> state | weight\n"),
        ("set server be/three state ready", "No such server.\n"),
        ("set server bee/one state ready", "No such backend.\n"),
        ("disable server one", "Require 'backend/server'.\n"),
        ("set weight be/one", "Require <weight> or <weight%>.\n"),
        ("set weight be/one 257", "Absolute weight can only be between 0 and 256 inclusive.\n"),
        ("set weight be/one x", "Trailing garbage in weight string.\n"),
        ("set weight be/one 13", "no\n"),
        ("get weight be/one", "5 (initial 5)\n"),
        ("show backend", "# name\nbe\n"),
        ("show version", "9.9\n"),
        ("show servers state bee", "Can't find backend.\n"),
    ],
)
def test_what_is_answered(line: str, answer: str) -> None:
    assert Asked().ask(line) == answer


def test_the_table_of_figures() -> None:
    head, *lines, rest = Asked().ask("show stat").split("\n")
    assert rest == ""
    columns = head.removeprefix("# ").split(",")
    assert columns[:8] == ["pxname", "svname", "qcur", "qmax", "scur", "smax", "slim", "stot"]
    door, one, two, three, be = [line.replace('"refused, twice"', "refused twice").split(",") for line in lines]
    assert {len(line) for line in (door, one, two, three, be)} == {len(columns)}
    at = columns.index
    assert (door[0], door[1], door[at("status")]) == ("door", "FRONTEND", "OPEN")
    assert [line[1] for line in (one, two, three, be)] == ["one", "two", "[::1]:80", "BACKEND"]
    assert [line[at("status")] for line in (one, two, three, be)] == ["UP", "DOWN", "DRAIN", "UP"]
    assert (one[at("scur")], one[at("idle_conn_cur")], be[at("scur")]) == ("3", "3", "3")
    assert (be[at("act")], be[at("bck")], be[at("weight")]) == ("1", "0", "5")
    assert Asked().ask("show stat be 2 -1").count("\n") == 2
    assert Asked().ask("show stat -1 1 -1").count("\n") == 2
    assert (one[at("stot")], be[at("stot")], two[at("stot")]) == ("12", "12", "")


def test_figures_of_the_program() -> None:
    lines = Asked().ask("show info").splitlines()
    for line in ("CurrConns: 4", "CumConns: 15", "CumReq: 26", "Uptime: 1d 2h03m04s", "Pid: 12", "Nbproc: 3"):
        assert line in lines


def test_states_of_servers() -> None:
    version, _, one, two, three = Asked().ask("show servers state be").splitlines()
    assert version == "1"
    assert one.startswith("2 be 1 one 10.0.0.1 2 0 5 5 7 ")
    assert two.startswith("2 be 2 two 10.0.0.2 0 0 ")
    assert three.startswith("2 be 3 [::1]:80 ::1 2 8 ")


def test_an_unknown_command_is_told_what_there_is_at_its_level() -> None:
    assert "set server" in Asked().ask("nonsense")
    told = Asked().ask("show nonsense", "user")
    assert told.startswith("Unknown command")
    assert "show stat" in told
    assert "set server" not in told


def talk(tmp_path: Path, *lines: bytes) -> bytes:
    async def work() -> bytes:
        server = CommandServer(tmp_path, SOCKET, Asked().commands)
        await server.start()
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o640
        reader, writer = await asyncio.open_unix_connection(str(server.path))
        for line in lines:
            writer.write(line)
            await asyncio.sleep(0.05)
        data = await reader.read()
        writer.close()
        server.stop()
        assert not server.path.exists()
        return data

    return asyncio.run(work())


def test_a_connection_ends_after_one_line_of_commands(tmp_path: Path) -> None:
    assert talk(tmp_path, b"get weight be/one; show version;disable server be/one\nshow version\n") == b"5 (initial 5)\n\n9.9\n\n\n"


def test_a_connection_with_a_prompt_goes_on(tmp_path: Path) -> None:
    assert talk(tmp_path, b"prompt\n", b"show version\n", b"\n", b"quit\n") == b"> 9.9\n\n> > "


def test_a_line_without_end_is_not_kept(tmp_path: Path) -> None:
    assert talk(tmp_path, b"x" * 40_000) == b""


def test_commands_are_taken_on_an_address_and_on_a_socket_that_listens_already(tmp_path: Path) -> None:
    async def work(path: str, port: int) -> bytes:
        server = CommandServer(tmp_path, replace(SOCKET, path=path), Asked().commands)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"show version\n")
        data = await reader.read()
        writer.close()
        server.stop()
        return data

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert asyncio.run(work(f"fd@{listening.fileno()}", port)) == b"9.9\n\n"
    assert asyncio.run(work(f"tcp:127.0.0.1:{port}", port)) == b"9.9\n\n"
