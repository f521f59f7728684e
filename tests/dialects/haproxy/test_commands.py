"""The socket for commands of a haproxy.cfg: vestibule answers what HAProxy answers."""

import socket
import time
from pathlib import Path

import pytest
from tests.dialects.haproxy.test_serve import serving

TEXT = """\
global
    stats socket FOLDER/admin.sock mode 600 level admin
    stats socket FOLDER/user.sock mode 600 level user

defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m

frontend door
    bind 127.0.0.1:PORT
    default_backend photos

backend photos
    server one 127.0.0.1:UPSTREAM weight 4
    server two 127.0.0.1:UPSTREAM weight 8 backup
"""

TALK = (
    ("user", "get weight photos/one", "4 (initial 4)\n\n"),
    ("user", "set weight photos/one 2", "Permission denied\n\n"),
    ("admin", "set weight photos/one 2", "\n"),
    ("admin", "get weight photos/one; set weight photos/one 100%; get weight photos/one", "2 (initial 4)\n\n\n4 (initial 4)\n\n"),
    ("admin", "set server photos/one state maint", "\n"),
    ("admin", "set server photos/one state odd", "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n"),
    ("admin", "set server photos/nobody state ready", "No such server.\n\n"),
    ("admin", "set server nobody/one state ready", "No such backend.\n\n"),
    ("admin", "enable server photos", "Require 'backend/server'.\n\n"),
)


def ask(path: Path, line: str) -> str:
    # Ports are open a moment before the sockets for commands are.
    until = time.monotonic() + 10
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(line.encode() + b"\n")
        data = b""
        while piece := sock.recv(65_536):
            data += piece
    return data.decode()


def statuses(folder: Path) -> dict[str, str]:
    """Return the status of each line of `show stat`."""
    head, *lines = ask(folder / "user.sock", "show stat").strip().split("\n")
    at = head.split(",").index("status")
    return {"/".join(line.split(",")[:2]): line.split(",")[at] for line in lines}


@pytest.mark.parametrize("original", [False, True], ids=["vestibule", "haproxy"])
def test_commands_are_answered_alike(tmp_path: Path, original: bool) -> None:
    text = TEXT.replace("two 127.0.0.1:UPSTREAM", "two 127.0.0.2:UPSTREAM")
    with serving(tmp_path, "haproxy.cfg", text, original):
        assert statuses(tmp_path) == {
            "door/FRONTEND": "OPEN",
            "photos/one": "no check",
            "photos/two": "no check",
            "photos/BACKEND": "UP",
        }
        for level, line, answer in TALK:
            assert ask(tmp_path / f"{level}.sock", line) == answer, line
        assert statuses(tmp_path)["photos/one"] == "MAINT"
        assert ask(tmp_path / "admin.sock", "disable server photos/two; show stat").count("MAINT") == 2
        assert statuses(tmp_path)["photos/BACKEND"] == "DOWN"
