"""The whole program with its real workers: what the control process owes them, seen by clients.

Not here: what one request meets (`tests/e2e`).
"""

import http.server
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vestibule

from .papers import Paper, write

WAIT_S = 30.0


class _Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""


class _Upstream(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A killed worker leaves connections behind; that is the point."""


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of a server that answers with the path, or with the body it got."""
    server = _Upstream(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


class Program:
    """`vestibule run` with these words, in a directory of its own."""

    def __init__(self, base: Path, *words: str) -> None:
        self.base = base
        environment = {**os.environ, "PYTHONPATH": str(Path(vestibule.__file__).parents[1]), "STATE_DIRECTORY": str(base / "state")}
        self.environment = environment
        with (base / "out").open("wb") as out, (base / "err").open("wb") as err:
            command = [sys.executable, "-m", "vestibule", "run", *words]
            self.process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=base)
        self.wait_until(lambda: "vestibule serves" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return (self.base / "err").read_text()

    def port(self, scheme: str = "http") -> int:
        found = re.search(rf"{scheme}://[^/ ]*:([0-9]+)/", self.said())
        assert found is not None, self.said()
        return int(found[1])

    def wait_until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if true():
                return
            time.sleep(0.02)
        raise AssertionError(f"it did not come true within {WAIT_S} s; said:\n{self.said()}")

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vestibule", *words],
            env=self.environment,
            cwd=self.base,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.command("status", "--json").stdout))

    def pids(self) -> list[int]:
        return [worker["pid"] for worker in self.status()["workers"]]

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(WAIT_S)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start programs; end what is left of them."""
    started: list[Program] = []

    def start(*words: str) -> Program:
        started.append(Program(tmp_path, *words))
        return started[-1]

    yield start
    for program in started:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait(WAIT_S)


def ask(sock: socket.socket, path: str = "/hello") -> bytes:
    """One request on a connection; return status line and body."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return read_answer(sock)


def read_answer(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(re.search(rb"(?i)content-length: ([0-9]+)", head)[1])  # type: ignore[index]
    while len(body) < size:
        body += _some(sock)
    return head.split(b"\r\n")[0] + b" " + body


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(65_536)
    if not data:
        raise ConnectionError("closed before the answer was whole")
    return data


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def test_one_line_serves_a_target_and_a_signal_ends_it(run: Callable[..., Program], upstream: int) -> None:
    program = run("--to", f"http://127.0.0.1:{upstream}", "--listen", "127.0.0.1:0", "--workers", "1")
    with connect(program.port()) as sock:
        assert ask(sock) == b"HTTP/1.1 200 OK /hello"
    assert f"->  http://127.0.0.1:{upstream}" in program.said()
    shown = program.command("status").stdout
    assert f"process {program.process.pid}" in shown
    assert "requests 1" in shown
    assert program.end() == 0
    assert json.loads((program.base / "out").read_text().splitlines()[0])["target"] == "/hello"


def test_reloads_and_a_death_lose_nothing_of_others(run: Callable[..., Program], upstream: int) -> None:
    program = run("--to", f"http://127.0.0.1:{upstream}", "--listen", "127.0.0.1:0", "--workers", "2")
    port = program.port()
    answers: list[bytes] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            with connect(port) as sock:
                answers.append(ask(sock))

    upload = connect(port)
    upload.sendall(b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc")
    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(3):
            done = program.command("reload")
            assert done.stdout.startswith("ok: generation "), done.stderr
    finally:
        stop.set()
        thread.join()

    # The upload is with one of the workers: the other one is killed.
    def spare() -> list[int]:
        return [worker["pid"] for worker in program.status()["workers"] if worker.get("figures", {}).get("connections") == 0]

    program.wait_until(lambda: len(spare()) == 1)
    (victim,) = spare()
    os.kill(victim, signal.SIGKILL)
    program.wait_until(lambda: victim not in program.pids() and len(program.pids()) == 2)
    assert f'"pid": {victim}, "how": "killed by SIGKILL"' in program.said()
    with connect(port) as sock:
        assert ask(sock) == b"HTTP/1.1 200 OK /hello"
    upload.sendall(b"def")
    assert read_answer(upload) == b"HTTP/1.1 200 OK abcdef"
    upload.close()
    assert len(answers) > 3
    assert set(answers) == {b"HTTP/1.1 200 OK /hello"}
    assert "traceback" not in program.said().lower()


def test_tls_sessions_resume_with_any_worker_and_after_a_reload(run: Callable[..., Program], upstream: int, tmp_path: Path) -> None:
    root = Paper("Root")
    leaf = root.issue("localhost")
    write(tmp_path / "both.pem", leaf.pem, leaf.key_pem())
    write(tmp_path / "root.pem", root.pem)
    words = ("--host", "localhost", "--cert", "both.pem", "--listen", "https://127.0.0.1:0", "--workers", "2")
    program = run("--to", f"http://127.0.0.1:{upstream}", *words)
    port = program.port("https")
    trust = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))
    # A ticket of TLS 1.2 may be used again and again; it is bound to the key all workers share.
    trust.maximum_version = ssl.TLSVersion.TLSv1_2

    def shake(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        with trust.wrap_socket(connect(port), server_hostname="localhost", session=session) as sock:
            assert ask(sock) == b"HTTP/1.1 200 OK /hello"
            return sock.session, bool(sock.session_reused)

    session, reused = shake(None)
    assert not reused
    assert all(shake(session)[1] for _ in range(12))
    assert all(worker["figures"]["accepted"] > 0 for worker in program.status()["workers"])
    assert program.command("reload").returncode == 0
    assert all(shake(session)[1] for _ in range(4))


def test_internal_tls_is_believed_by_who_trusts_the_local_ca(run: Callable[..., Program], upstream: int, tmp_path: Path) -> None:
    (tmp_path / "vestibule.toml").write_text(
        f'[process]\nworkers = 1\n[sites.localhost]\nlisten = "https://127.0.0.1:0"\ntls = "internal"\nto = "http://127.0.0.1:{upstream}"\n'
    )
    program = run()
    path = program.command("ca").stdout.splitlines()[0]
    assert "certificate for localhost, 127.0.0.1, ::1: from the local CA, until " in program.said()
    assert f"cp {path} /usr/local/share/ca-certificates/" in program.said()
    trust = ssl.create_default_context(cafile=path)
    with trust.wrap_socket(connect(program.port("https")), server_hostname="localhost") as sock:
        assert ask(sock) == b"HTTP/1.1 200 OK /hello"
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(connect(program.port("https")), server_hostname="localhost")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_account_that_cannot_read_the_program_is_told(tmp_path: Path, upstream: int) -> None:
    (tmp_path / "locked").mkdir(mode=0o700)
    (tmp_path / "locked" / "python").symlink_to(sys.executable)
    (tmp_path / "vestibule.toml").write_text(
        f'[process]\nworkers = 1\nuser = "nobody"\nstate_dir = "state"\n[sites.a]\nlisten = "127.0.0.1:0"\nto = "http://127.0.0.1:{upstream}"\n'
    )
    code = (
        "import sys; from vestibule.control import main, source;"
        f"sys.exit(main.run(source.ConfigFile({str(tmp_path / 'vestibule.toml')!r}), print, [{str(tmp_path / 'locked' / 'python')!r}]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(vestibule.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 1
    assert "a worker cannot be started: Permission denied; may the user of process.user (65534) read /" in done.stderr


def test_a_worker_that_is_told_nonsense_says_so_and_ends() -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "vestibule.start_worker", "--link-fd", str(theirs.fileno())]
    environment = os.environ | {"PYTHONPATH": str(Path(vestibule.__file__).parents[1])}
    worker = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE, text=True, env=environment)
    with ours, theirs:
        ours.recv(65_536)  # it says hello
        ours.sendall(b"\xff" * 100)
        try:
            said = worker.communicate(timeout=WAIT_S)[1]
        finally:
            worker.kill()
    assert worker.returncode == 3 and said.startswith("vestibule worker: frame: ")
