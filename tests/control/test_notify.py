"""What systemd is told and what it passes on."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vestibule.control.notify import Notifier, take_inherited


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_told(tmp_path: Path, abstract: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager_end:
        name = f"@vestibule-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        manager_end.bind("\0" + name[1:] if abstract else name)
        manager_end.settimeout(5)
        environment = {"NOTIFY_SOCKET": name}
        notifier = Notifier(environment)
        assert environment == {}
        notifier.ready("serving generation 1")
        notifier.reloading()
        notifier.stopping()
        notifier.succeeded(77)
        assert notifier.environment({"A": "b"}) == {"A": "b", "NOTIFY_SOCKET": name}
        said = [manager_end.recv(1000).decode() for _ in range(4)]
    assert said[0] == f"READY=1\nSTATUS=serving generation 1\nMAINPID={os.getpid()}"
    assert said[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert said[1].rpartition("=")[2].isdigit()
    assert said[2:] == ["STOPPING=1", "MAINPID=77"]


def test_without_a_manager_nothing_happens() -> None:
    Notifier({}).ready("x")
    assert Notifier({}).environment({"A": "b"}) == {"A": "b"}
    Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).ready("x")


CHILD = """
import os, sys
from vestibule.control.notify import take_inherited
os.environ["LISTEN_PID"] = str(os.getpid())
found = take_inherited(os.environ, os.getpid())
print(sorted((name, [each.getsockname()[1] for each in sockets]) for name, sockets in found.items()))
print([each for each in os.environ if each.startswith("LISTEN")], [each.get_inheritable() for each in sum(found.values(), [])])
"""


def test_sockets_are_taken_by_name() -> None:
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for sock in (one, two, three):
            sock.bind(("127.0.0.1", 0))
        ports = [sock.getsockname()[1] for sock in (one, two, three)]
        fds = [sock.fileno() for sock in (one, two, three)]
        move = "".join(f"os.dup2({fd + 100}, {3 + at}, inheritable=True);" for at, fd in enumerate(fds))
        # Like systemd: the sockets lie at 3, 4, 5 when the program begins.
        high = [os.dup2(fd, fd + 100, inheritable=True) for fd in fds]
        shell = f"import os,sys;{move}os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
        environment = {**os.environ, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "web::web"}
        out = subprocess.run(
            [sys.executable, "-c", shell, CHILD], env=environment, pass_fds=high, capture_output=True, text=True, timeout=30, check=True
        ).stdout.splitlines()
        for fd in high:
            os.close(fd)
    assert out[0] == str([("unknown", [ports[1]]), ("web", [ports[0], ports[2]])])
    assert out[1] == "[] [False, False, False]"


@pytest.mark.parametrize("environment", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "9", "LISTEN_FDS": "x"}])
def test_what_is_not_for_us_is_left(environment: dict[str, str]) -> None:
    assert take_inherited(environment, 9) == {}
    assert environment == {}
