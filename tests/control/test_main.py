"""The running program from outside: signals, commands, systemd. The workers are fakes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vestibule.control.admin import AdminError, ask, find_sockets

FAKE = str(Path(__file__).with_name("fake_worker.py"))
WAIT_S = 20.0

PROGRAM = """
import json, os, sys
from vestibule.control.main import StartError, run
from vestibule.control.source import ConfigFile
from vestibule.control.summary import summarise
if "--listen-pid" in sys.argv:
    os.environ["LISTEN_PID"] = str(os.getpid())
try:
    run(ConfigFile(sys.argv[1]), lambda serving: print("\\n".join(summarise(serving)), flush=True), json.loads(sys.argv[2]))
except StartError as bad:
    print("\\n".join(bad.reasons), flush=True)
    sys.exit(1)
"""


class Program:
    """A control process in a directory of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.file = base / "vestibule.toml"
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, *, site: str = "a", process: str = "", listener: str = 'address = "127.0.0.1:0"') -> None:
        self.file.write_text(
            f"""
            [process]
            workers = 1
            state_dir = "state"
            {process}
            [error_log]
            target = "error.log"
            [access_log]
            target = "access.log"
            [listeners.web]
            {listener}
            [sites.{site}]
            hosts = ["*"]
            listen = ["web"]
            to = "http://127.0.0.1:9"
            """
        )

    def start(self, *words: str, environment: dict[str, str] | None = None, fds: tuple[int, ...] = ()) -> None:
        with (self.base / "out").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self.file), json.dumps([sys.executable, FAKE]), *words],
                stdout=out,
                stderr=out,
                env={**os.environ, **(environment or {})},
                pass_fds=fds,
            )
        self.wait_until(lambda: "vestibule serves" in self.said() or self.status() is not None)

    def said(self) -> str:
        return (self.base / "out").read_text()

    def status(self) -> int | None:
        assert self.process is not None
        return self.process.poll()

    def wait_until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if true():
                return
            time.sleep(0.01)
        raise AssertionError(f"it did not come true within {WAIT_S} s; said:\n{self.said()}\n{self.lines()}")

    def ends(self) -> int:
        assert self.process is not None
        return self.process.wait(WAIT_S)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def lines(self) -> list[dict[str, Any]]:
        log = self.base / "error.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def wait_for(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        self.wait_until(lambda: len([each for each in self.lines() if each["kind"] == kind]) >= count)
        return [each for each in self.lines() if each["kind"] == kind]

    def port(self) -> int:
        return int(self.said().partition("http://127.0.0.1:")[2].partition("/")[0])

    def say(self, path: str = "/") -> bytes:
        with socket.create_connection(("127.0.0.1", self.port()), WAIT_S) as sock:
            sock.sendall(f"GET {path}".encode())
            return sock.recv(1000)

    def command(self, name: str) -> dict[str, Any]:
        self.wait_until(lambda: bool(find_sockets(self.base / "state")))
        (path,) = find_sockets(self.base / "state")
        return ask(path, name)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait(WAIT_S)


def test_hup_reloads_usr1_reopens_term_drains(program: Program) -> None:
    program.write(process='pid_file = "v.pid"')
    program.start()
    assert json.loads(program.say())["generation"] == 1
    program.wait_until((program.base / "v.pid").exists)
    assert int((program.base / "v.pid").read_text()) == program.process.pid  # type: ignore[union-attr]

    program.signal(signal.SIGHUP)
    program.wait_for("reload.served", 2)
    assert json.loads(program.say())["generation"] == 2

    for name in ("access.log", "error.log"):
        (program.base / name).rename(program.base / f"{name}.1")
    program.signal(signal.SIGUSR1)
    program.wait_for("log.reopen")
    program.say()
    assert (program.base / "access.log").read_text() == "served\n"

    with socket.create_connection(("127.0.0.1", program.port()), WAIT_S) as sock:
        sock.sendall(b"GET /stall")
        assert sock.recv(100) == b"waiting"
        program.signal(signal.SIGTERM)
        assert sock.recv(100) == b"finished"
    assert program.ends() == 0
    assert not (program.base / "v.pid").exists()
    assert list((program.base / "state").iterdir()) == []
    assert program.lines()[-1]["message"] == "stopped"


def test_a_second_signal_does_not_wait(program: Program) -> None:
    program.write(process='stop = "50s"')
    program.start()
    worker = json.loads(program.say())["pid"]
    os.kill(worker, signal.SIGSTOP)
    program.signal(signal.SIGINT)
    program.wait_for("control.stop")
    program.signal(signal.SIGINT)
    assert program.ends() == 0
    assert program.lines()[-2]["kind"] == "worker.killed"
    assert not Path(f"/proc/{worker}").exists()


def test_a_refused_reload_is_told_and_the_old_one_goes_on(program: Program) -> None:
    program.write()
    program.start()
    program.write(site="refuse")
    answer = program.command("reload")
    assert answer["ok"] is False
    assert answer["reasons"] == ["the site `refuse` is refused"]
    assert json.loads(program.say())["generation"] == 1
    program.write(site="b")
    answer = program.command("reload")
    assert (answer["ok"], answer["generation"]) == (True, 3)
    assert program.command("status")["last_reload"]["ok"] is True


def test_commands(program: Program) -> None:
    program.write()
    program.start()
    status = program.command("status")
    assert status["pid"] == program.process.pid  # type: ignore[union-attr]
    assert status["listeners"] == {"web": f"127.0.0.1:{program.port()}"}
    assert status["workers"][0]["figures"]["generation"] == 1
    assert program.command("reopen")["ok"] is True
    unknown = program.command("dance")
    assert unknown["ok"] is False
    assert "dance" in unknown["reasons"][0]
    (path,) = find_sockets(program.base / "state")
    assert path.stat().st_mode & 0o777 == 0o600
    for line in (b"\n", b"[]\n", b'{"command": 5}\n'):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(path))
            sock.sendall(line)
            assert json.loads(sock.makefile().readline())["ok"] is False
    assert program.command("stop")["ok"] is True
    assert program.ends() == 0
    with pytest.raises(AdminError, match="nobody answers"):
        ask(path, "status")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"site": "refuse"}, "the site `refuse` is refused"),
        ({"site": "die"}, "died while it prepared: exit status 7"),
        ({"listener": 'address = "192.0.2.1:0"'}, "no such address"),
        ({"process": 'user = "nobody-of-that-name"'}, "there is no user `nobody-of-that-name`"),
        ({"process": "nonsense = 1"}, "process.nonsense: error: there is no key"),
    ],
)
def test_a_start_that_fails_says_why_and_ends(program: Program, words: dict[str, str], said: str) -> None:
    program.write(**words)
    program.start()
    assert program.ends() == 1
    assert said in program.said()
    assert "Traceback" not in program.said()


def test_a_worker_ends_when_its_control_process_is_killed(program: Program) -> None:
    program.write()
    program.start()
    worker = json.loads(program.say())["pid"]
    program.signal(signal.SIGKILL)
    program.wait_until(lambda: not is_running(worker))


def test_systemd_passes_a_socket_and_is_told(program: Program) -> None:
    program.write(listener='address = "systemd:web"')
    with socket.socket() as door, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager_end:
        door.bind(("127.0.0.1", 0))
        door.listen()
        manager_end.bind(str(program.base / "notify"))
        manager_end.settimeout(WAIT_S)
        environment = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "NOTIFY_SOCKET": str(program.base / "notify")}
        # The program finds it at descriptor 3, as systemd leaves it there.
        saved = os.dup(3) if Path("/proc/self/fd/3").exists() else -1
        os.dup2(door.fileno(), 3, inheritable=True)
        try:
            program.start("--listen-pid", environment=environment, fds=(3,))
        finally:
            if saved >= 0:
                os.dup2(saved, 3)
                os.close(saved)
            else:
                os.close(3)
        assert manager_end.recv(1000).startswith(b"READY=1\n")
        with socket.create_connection(door.getsockname(), WAIT_S) as sock:
            sock.sendall(b"GET /")
            assert json.loads(sock.recv(1000))["generation"] == 1
        program.signal(signal.SIGHUP)
        assert manager_end.recv(1000).startswith(b"RELOADING=1\n")
        assert manager_end.recv(1000).startswith(b"READY=1\nSTATUS=serving generation 2\n")
        program.signal(signal.SIGTERM)
        assert manager_end.recv(1000) == b"STOPPING=1"
        assert program.ends() == 0


def test_two_programs_beside_each_other(program: Program, tmp_path: Path) -> None:
    program.write()
    program.start()
    other = Program(tmp_path / "other")
    other.base.mkdir()
    other.write(process='admin_socket = "own.sock"')
    try:
        other.start()
        other.wait_until((other.base / "own.sock").exists)
        assert ask(other.base / "own.sock", "status")["pid"] != program.command("status")["pid"]
    finally:
        if other.process is not None:
            other.process.kill()
            other.process.wait(WAIT_S)


def test_sockets_of_the_dead_are_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(WAIT_S)
    for name in (f"admin-{gone.pid}.sock", "admin-x.sock", f"admin-{os.getpid()}.sock", "other"):
        (tmp_path / name).write_text("")
    assert [path.name for path in find_sockets(tmp_path)] == [f"admin-{os.getpid()}.sock"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"admin-{os.getpid()}.sock", "other"]


# ---------------------------------------------------------------- upgrades


def end_heir(program: Program, pid: int) -> None:
    """End a program that is no child of ours."""
    os.kill(pid, signal.SIGTERM)
    program.wait_until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def answers(path: Path, pid: int) -> bool:
    """Tell whether commands are answered by this process."""
    with contextlib.suppress(AdminError):
        return bool(ask(path, "status").get("pid") == pid)
    return False


@pytest.mark.parametrize("how", ["command", "signal"])
def test_an_upgrade_hands_over_and_finishes(program: Program, how: str) -> None:
    program.write(process='pid_file = "v.pid"\nadmin_socket = "admin"')
    program.start()
    old = program.process.pid  # type: ignore[union-attr]
    port = program.port()
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock:
        sock.sendall(b"GET /stall")
        assert sock.recv(100) == b"waiting"
        before = json.loads(program.say())["pid"]
        if how == "command":
            answer = ask(program.base / "admin", "upgrade")
            assert answer["ok"], answer
            heir = answer["pid"]
        else:
            program.signal(signal.SIGUSR2)
            heir = program.wait_for("control.succeeded")[0]["heir"]
        assert isinstance(heir, int)
        program.wait_until(lambda: answers(program.base / "admin", heir))
        program.wait_until(lambda: (program.base / "v.pid").read_text().strip() == str(heir))
        # The same socket, though any free port was asked for; the old worker leaves it alone.
        program.wait_until(lambda: json.loads(say(port))["pid"] != before)
        assert sock.recv(100) == b"finished"
    assert program.ends() == 0
    assert old != heir
    # Who ends takes nothing along.
    assert int((program.base / "v.pid").read_text()) == heir
    assert ask(program.base / "admin", "status")["pid"] == heir
    end_heir(program, heir)
    assert not (program.base / "admin").exists()


def say(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock:
        sock.sendall(b"GET /")
        return sock.recv(1000)


def test_an_upgrade_keeps_unix_sockets(program: Program) -> None:
    program.write(listener='address = "unix:door"')
    program.start()
    inode = (program.base / "door").stat().st_ino
    heir = program.command("upgrade")["pid"]
    assert program.ends() == 0
    assert (program.base / "door").stat().st_ino == inode
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(program.base / "door"))
        sock.sendall(b"GET /")
        assert json.loads(sock.recv(1000))["pid"] > 0
    end_heir(program, heir)
    assert not (program.base / "door").exists()


def test_an_upgrade_that_fails_changes_nothing(program: Program) -> None:
    program.write(listener='address = "unix:door"')
    program.start()
    program.write(site="refuse", listener='address = "unix:door"')
    answer = program.command("upgrade")
    assert answer["ok"] is False and answer["reasons"]
    assert program.wait_for("control.upgrade")[0]["level"] == "error"
    assert program.command("status")["stopping"] is False
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(program.base / "door"))
        sock.sendall(b"GET /")
        assert json.loads(sock.recv(1000))["generation"] == 1
    program.signal(signal.SIGTERM)
    assert program.ends() == 0
    assert not (program.base / "door").exists()
