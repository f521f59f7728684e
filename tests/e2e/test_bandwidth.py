"""Bodies that may pass only so many bytes in a second, over every version and on both sides, counted in real time with broad bounds."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Client
from .ports import free_ports
from .rig import Rig, Vestibule, build, settings, tear_down

SITE = """
routes = [
    { prefix = "/down/", to = "http://127.0.0.1:UPSTREAM", request = [{ bandwidth_limit = { rate = "{header:Pace}" } }] },
    { prefix = "/up/", to = "http://127.0.0.1:UPSTREAM", request = [{ bandwidth_limit = { rate = "200KB", of = "request" } }] },
    { prefix = "/answer/", to = "http://127.0.0.1:UPSTREAM", response = [
        { when = 'response_header:Pace != ""', bandwidth_limit = { rate = "{response_header:Pace}", after = "50KB" } },
    ] },
]
"""
BODY = bytes(range(256)) * 781  # 199,936 bytes


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, behind: str) -> Iterator[Rig]:
    rig = build(tmp_path_factory.mktemp("gate"), site=SITE, behind=behind)
    yield rig
    tear_down(rig)


@pytest.fixture
def asked(gate: Rig, version: str) -> Client:
    gate.upstream.rest()
    return gate.speaking(version).client


def test_a_download_takes_its_time(gate: Rig, asked: Client) -> None:
    gate.upstream.script = lambda turn: turn.answer(BODY)
    began = time.monotonic()
    assert asked.get("/down/", ("Pace", "200KB")).body == BODY
    assert 0.6 < time.monotonic() - began < 15

    def is_quick() -> bool:
        began = time.monotonic()
        assert asked.get("/down/").body == BODY
        return time.monotonic() - began < 0.6

    # A busy machine may be slow now and then; one that has a pace is so each time.
    assert any(is_quick() for _ in range(10))


def test_the_answer_may_say_its_pace(gate: Rig, asked: Client) -> None:
    gate.upstream.script = lambda turn: turn.answer(BODY, extra=b"Pace: 150KB\r\n")
    began = time.monotonic()
    assert asked.get("/answer/").body == BODY
    assert 0.6 < time.monotonic() - began < 15


def test_an_upload_takes_its_time(gate: Rig, asked: Client) -> None:
    began = time.monotonic()
    got = asked.request("POST", "/up/", body=BODY)
    assert got.status == 200
    assert gate.upstream.take_one().body == BODY
    assert 0.6 < time.monotonic() - began < 15


@pytest.mark.http1
def test_connections_of_layer_4_are_paced_on_both_ways(tmp_path: Path) -> None:
    house = socket.create_server(("127.0.0.1", 0))
    (port,) = free_ports(1)
    text = f"""
[listeners.front]
address = "127.0.0.1:{port}"
routes = [{{ to = "tcp://127.0.0.1:{house.getsockname()[1]}", bandwidth = [{{ of = "request", rate = "200KB" }}, {{ rate = "400KB" }}] }}]
"""
    proxy = Vestibule(tmp_path, settings(tmp_path) + text, [port])
    try:
        house.accept()[0].close()  # of whoever looked whether the port is open
        client = socket.create_connection(("127.0.0.1", port))
        inside, _ = house.accept()
        for sender, receiver, low in ((client, inside, 0.6), (inside, client, 0.25)):
            receiver.settimeout(10)
            began = time.monotonic()
            sender.sendall(BODY)
            sender.shutdown(socket.SHUT_WR)
            got = b"".join(iter(lambda: receiver.recv(65_536), b""))  # noqa: B023
            assert got == BODY
            assert low < time.monotonic() - began < 15
        client.close()
        inside.close()
    finally:
        proxy.stop()
        house.close()
