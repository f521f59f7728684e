"""Budgets: what a request may cost in calls, system calls and bytes. Counted, because time depends on the weather.

Rules: the numbers stand in bench/budgets.toml, and only there.
"""

import contextlib
import gc
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.plays.play import Play
from vestibule import fault

ROOT = Path(__file__).parents[2]
BUDGETS: dict[str, dict[str, Any]] = tomllib.loads((ROOT / "bench" / "budgets.toml").read_text())
GET = ("GET / HTTP/1.1", "Host: a", "Accept: */*", "User-Agent: budget", "")
OK = ("HTTP/1.1 200 OK", "Content-Length: 2", "", "ok")
SOURCES = str(Path(fault.__file__).parent)


class Count:
    """Counts calls of the proxy's Python functions, and names them."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(SOURCES):
            self.calls.append(frame.f_code.co_qualname)


def turn_counted(play: Play, count: Count) -> None:
    """Run one turn of the proxy alone under the profiler, then let its peers work."""
    sys.setprofile(count)
    play.reactor.turn(5)
    sys.setprofile(None)
    for peer in (*play.clients, *play.upstreams):
        peer.work()


@pytest.mark.interpreted_only
def test_python_calls_of_a_request() -> None:
    play = Play()
    play.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).logged("").quiet()
    play.plan.log = []
    count = Count()
    play.client(*GET)
    for _ in range(20):
        turn_counted(play, count)
        if play.upstream_now.got and not play.client_now.got:
            play.upstream_now.got.clear()
            play.upstream(*OK)
        if play.client_now.got:
            break
    play.client_sees(*OK)
    most = BUDGETS["request"]["python_calls"]
    play.break_off()
    assert 20 < len(count.calls) <= most, f"{len(count.calls)} calls: {count.calls}"
    assert len(count.calls) > most * 0.8, "much better than the budget: lower it"


@pytest.mark.interpreted_only
def test_python_calls_of_a_piece_of_a_body() -> None:
    play = Play()
    head = ("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "")
    play.client(*head).upstream_sees(*head).quiet()
    count = Count()
    pieces = 20
    for _ in range(pieces):
        play.client("3e8", bytes(1000), b"")
        turn_counted(play, count)
    play.upstream_sees(*(("3e8", bytes(1000)) * pieces), b"")
    play.break_off()
    most = BUDGETS["upload"]["python_calls_per_piece"]
    assert 5 < len(count.calls) / pieces <= most, f"{len(count.calls) / pieces} calls: {count.calls[:60]}"


@pytest.mark.interpreted_only
def test_bytes_of_an_idle_connection() -> None:
    play = Play()
    play.client(*GET).upstream_sees(*GET).upstream(*OK).client_sees(*OK).quiet()
    count = 100
    socks: list[socket.socket] = []
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(count):
            sock = socket.create_connection(play.address)
            socks.append(sock)
            sock.sendall("\r\n".join(GET).encode() + b"\r\n")
            play.upstream_sees(*GET).upstream(*OK)
            play.quiet()
            sock.recv(1000)
        gc.collect()
        statistics = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, f"{SOURCES}/*")]).statistics("filename")
        held = sum(statistic.size for statistic in statistics) / count
    finally:
        tracemalloc.stop()
    assert play.tally.connections == count + 1
    for sock in socks:
        sock.close()
    play.break_off()
    assert 500 < held <= BUDGETS["idle"]["bytes_per_connection"], f"{held:.0f} bytes: {statistics[:8]}"


def system_calls(requests: int, folder: Path) -> tuple[int, str]:
    """Return how many system calls a proxy made from its start to its end over so many requests."""
    with socket.create_server(("127.0.0.1", 0)) as house:
        house.settimeout(20)

        def ask(port: int) -> None:
            with contextlib.ExitStack() as stack:
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                upstream: socket.socket | None = None
                for _ in range(requests):
                    client.sendall("\r\n".join(GET).encode() + b"\r\n")
                    if upstream is None:
                        upstream = stack.enter_context(house.accept()[0])
                        upstream.settimeout(20)
                    assert upstream.recv(10_000).startswith(b"GET")
                    upstream.sendall("\r\n".join(OK).encode())
                    assert client.recv(10_000).endswith(b"ok")

        return counted([str(house.getsockname()[1]), str(requests)], folder / f"strace-{requests}", ask)


def system_calls_of_datagrams(answers: int, folder: Path) -> tuple[int, str]:
    """Return how many system calls a proxy made from its start to its end over so many datagrams each way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as house, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        house.bind(("127.0.0.1", 0))
        house.settimeout(20)
        client.settimeout(20)

        def ask(port: int) -> None:
            client.connect(("127.0.0.1", port))
            for _ in range(answers):
                client.send(b"question")
                house.sendto(b"answer", house.recvfrom(100)[1])
                assert client.recv(100) == b"answer"

        return counted([str(house.getsockname()[1]), str(answers), "udp"], folder / f"strace-udp-{answers}", ask)


def counted(words: list[str], summary: Path, ask: Callable[[int], None]) -> tuple[int, str]:
    """Run the proxy, have it asked at its port, and return how many system calls it made from its start to its end."""
    command = ["strace", "-f", "-c", "-o", str(summary), sys.executable, str(Path(__file__).parent / "serve.py")]
    process = subprocess.Popen(
        [*command, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(SOURCES).parent), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            pytest.skip(f"strace does not work here: {process.stderr.read().decode()[-200:]}")
        ask(int(line))
        process.wait(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)
    text = summary.read_text()
    total = re.search(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s+(?:\d+\s+)?total$", text, re.MULTILINE)
    assert total is not None, text
    return int(total[1]), text


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_system_calls_of_a_request(tmp_path: Path) -> None:
    few, many = 50, 250
    (less, _), (more, text) = system_calls(few, tmp_path), system_calls(many, tmp_path)
    each = (more - less) / (many - few)
    budget = BUDGETS["request"]
    assert abs(each - budget["system_calls"]) <= budget["system_calls_slack"], f"{each} system calls a request:\n{text}"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_system_calls_of_a_datagram(tmp_path: Path) -> None:
    few, many = 50, 250
    (less, _), (more, text) = system_calls_of_datagrams(few, tmp_path), system_calls_of_datagrams(many, tmp_path)
    each = (more - less) / (many - few) / 2
    budget = BUDGETS["datagram"]
    assert abs(each - budget["system_calls"]) <= budget["system_calls_slack"], f"{each} system calls a datagram:\n{text}"
