"""A program run by its words, and waited for."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.ports import free_ports
from tests.e2e.rig import environment
from vestibule.control.admin import AdminError, ask, find_sockets

WAIT_S = 20.0


class Called:
    """Runs `vestibule NAME …` in a folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.port = free_ports(1)[0]
        self.environment = environment() | {"STATE_DIRECTORY": str(folder / "state"), "PORT": str(self.port)}
        self.pids: list[int] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [sys.executable, "-m", "vestibule", self.name, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    def begin(self, *words: str, keep: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        """Run it and let it go on."""
        process = subprocess.Popen(
            [sys.executable, "-m", "vestibule", self.name, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=keep,
        )
        self.processes.append(process)
        return process

    def pid(self, file: str) -> int:
        """Return the process id in a file."""
        path = self.folder / file
        # Ports are open a moment before it is written.
        assert wait_for(lambda: path.exists() and path.read_text().strip().isdigit()), file
        pid = int(path.read_text())
        self.pids.append(pid)
        return pid

    def write(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text.replace("PORT", str(self.port)).replace("FOLDER", str(self.folder)))

    def get(self, target: str = "/") -> bytes:
        """Return what is served, or nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request("GET", target)
            return connection.getresponse().read()
        except OSError:
            return b""
        finally:
            connection.close()

    def serves(self, body: bytes) -> bool:
        """Wait until this is served."""
        return wait_for(lambda: self.get() == body)

    def obeys(self) -> bool:
        """Wait until commands are taken, a moment after the first request is."""
        return wait_for(lambda: any(self._is_answered(path) for path in find_sockets(self.folder / "state")))

    @staticmethod
    def _is_answered(path: Path) -> bool:
        with contextlib.suppress(AdminError):
            return "pid" in ask(path, "status")
        return False

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(WAIT_S)
        for pid in self.pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and nobody waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.fixture
def called(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Called]:
    made = Called(request.module.NAME, tmp_path)
    yield made
    made.close()
