"""Start vestibule as a user does, with a configuration, on free ports; and end it.

Rules: what runs is the package the tests would import, interpreted or compiled. Everything it
writes goes into the test's folder. It is ended by its process id, and every wait is bounded.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import vestibule

from .certs import Authority, server
from .client import Client, close_all
from .ports import free_ports
from .upstream import Upstream
from .upstream_h2 import FrameUpstream

START_S = 40.0
STOP_S = 40.0
STANDIN_NEEDS = ("starlette", "uvicorn", "websockets", "PIL", "python_multipart")
DEMO = Path(__file__).parents[2] / "demo"
SOURCES = Path(vestibule.__file__).parents[1]


def environment() -> dict[str, str]:
    """Return the environment in which the command line finds the package under test."""
    return os.environ | {"PYTHONPATH": str(SOURCES), "PYTHONUNBUFFERED": "1"}


def run_command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command such as `vestibule check FILE` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "vestibule", *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


class Vestibule:
    """A running proxy. `folder` holds its configuration, its state and what it said."""

    def __init__(
        self,
        folder: Path,
        config: str,
        ports: Sequence[int],
        *,
        extra: Mapping[str, str] = MappingProxyType({}),
        before: Sequence[str] = (),
        keep: Sequence[int] = (),
        name: str = "vestibule.toml",
    ) -> None:
        """Start, and wait until every one of `ports` is listened on and the program says that it serves.

        `extra` is added to the environment; `before` is a command that runs the program in its turn; `keep` are descriptors
        it inherits; `name` is the file of the configuration, where its language is another.
        """
        self.folder = folder
        self.file = folder / name
        self.output = folder / "output.log"
        self.write(config)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "vestibule", "run", str(self.file)],
                cwd=folder,
                env=environment() | dict(extra),
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(keep),
            )
        try:
            for port in ports:
                self._wait_for_port(port)
            # Its command socket and its pid file come after the ports, and before it says this.
            self.wait_for("vestibule serves")
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The control process."""
        return self.process.pid

    @property
    def records(self) -> list[dict[str, object]]:
        """The access log lines so far, which go to standard output unless told otherwise."""
        found = []
        for line in self.said().splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and "status" in record:
                    found.append(record)
        return found

    def wait_until(self, condition: Callable[[], bool], within_s: float = START_S) -> bool:
        """Wait until `condition` holds; False if it does not within the time."""
        end = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def wait_for(self, text: str) -> None:
        """Wait until the program has said `text`. Fails if it does not."""
        assert self.wait_until(lambda: text in self.said()), f"{text!r} was not said:\n{self.said()}"

    @property
    def workers(self) -> list[int]:
        """The children of the control process."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def write(self, config: str) -> None:
        """Replace the configuration file; nothing is reloaded."""
        self.file.write_text(config)

    def control(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to this program, such as `reload`."""
        return run_command(*words, "--config", str(self.file), folder=self.folder)

    def said(self) -> str:
        """Return everything the program has written so far."""
        return self.output.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the control process."""
        self.process.send_signal(number)

    def wait(self, within_s: float = STOP_S) -> int:
        """Wait for the end; return the exit status."""
        return self.process.wait(within_s)

    def stop(self) -> int:
        """End the program, at once if it must be, and return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
            raise AssertionError(f"vestibule did not stop:\n{self.said()}") from None

    def _wait_for_port(self, port: int) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.02)
        raise AssertionError(f"vestibule does not listen on {port}:\n{self.said()}")


@contextlib.contextmanager
def standin() -> Iterator[int]:
    """Run the stand-in for Immich, and yield its port. It needs the packages `STANDIN_NEEDS`."""
    server = subprocess.Popen(
        [sys.executable, "-m", "immich_standin", "--port", "0"],
        env=os.environ | {"PYTHONPATH": str(DEMO)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline().rpartition(":")[2])
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(STOP_S)
        server.stdout.close()


@dataclass
class Rig:
    """A proxy with one upstream behind it, and a client in front."""

    proxy: Vestibule
    upstream: Upstream
    client: Client
    port: int

    def speaking(self, version: str) -> "Rig":
        """Return the same with a client of this HTTP version."""
        return replace(self, client=self.client.speaking(version))


def settings(folder: Path, workers: int = 1) -> str:
    """Return the part of a configuration that every test wants."""
    return f'[process]\nworkers = {workers}\nstate_dir = "{folder}/state"\nstop = "5s"\n'


def start_upstream(folder: Path, behind: str) -> tuple[Upstream, str]:
    """Start an upstream that speaks `h1`, `h2` or `h2-tls`; return it with its table in the configuration, as `app`."""
    if behind == "h1":
        return Upstream(), ""
    if behind == "h2":
        upstream = FrameUpstream()
        return upstream, f'[upstreams.app]\nservers = ["http://127.0.0.1:{upstream.port}"]\npool.protocol = "h2"\n'
    authority = Authority()
    authority.write_root(folder / "upstream-ca.pem")
    tls = server(authority.bundle(folder / "upstream.pem", "photos.test"))
    tls.set_alpn_protocols(["h2"])
    upstream = FrameUpstream(tls=tls)
    trust = f'tls = {{ ca = "{folder}/upstream-ca.pem", name = "photos.test" }}'
    return upstream, f'[upstreams.app]\nservers = ["https://127.0.0.1:{upstream.port}"]\npool.protocol = "h2"\n{trust}\n'


def build(
    folder: Path, *, site: str = "", more: str = "", to: str = "", trusted: Sequence[str] = (), workers: int = 1, behind: str = "h1"
) -> Rig:
    """Start an upstream and a proxy in front of it.

    `site` adds keys to the one site and `more` adds tables, in which UPSTREAM stands for the upstream's port; `to` replaces
    the target of the site. `behind` is what the upstream speaks.
    """
    upstream, table = start_upstream(folder, behind)
    port = free_ports(1)[0]
    if table:
        site = site.replace('"http://127.0.0.1:UPSTREAM"', '"app"')
        to = to or "app"
    if "[timeouts]" not in more:
        more += '\n[timeouts]\nhold = "0s"\n'  # what cannot be reached is told at once
    # JSON writes strings and arrays as TOML reads them.
    config = (
        f"trusted_proxies = {json.dumps(list(trusted))}\n{settings(folder, workers)}\n"
        f'[sites."*"]\nlisten = "127.0.0.1:{port}"\nto = "{to or "http://127.0.0.1:UPSTREAM"}"\n{site}\n{more}\n{table}'
    )
    proxy = Vestibule(folder, config.replace("UPSTREAM", str(upstream.port)), [port])
    return Rig(proxy, upstream, Client(("127.0.0.1", port), upstream_version=upstream.version), port)


def tear_down(rig: Rig) -> None:
    """End both, and the clients' connections first, so that nothing is waited for."""
    close_all()
    try:
        rig.proxy.stop()
    finally:
        rig.upstream.close()
