"""The running program from outside: signals, commands, systemd. The workers are fakes."""

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
        with socket.create_connection(("127.0.0.1", self.port()), 5) as sock:
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

    with socket.create_connection(("127.0.0.1", program.port()), 5) as sock:
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
    program.wait_until(lambda: not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text())


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
        with socket.create_connection(door.getsockname(), 5) as sock:
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
