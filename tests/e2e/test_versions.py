"""Which HTTP versions a listener speaks, and how a connection's version is found out (RFC 9113 3.3, 3.4)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .client import Client, Truncated
from .ports import free_ports
from .rig import Vestibule, settings
from .upstream import Upstream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
REQUEST = b"POST /late HTTP/1.1\r\nHost: photos.test\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Listeners:
    """Clients of three plain listeners: one by default, one for each version alone."""

    both: Client
    old: Client
    new: Client
    upstream: Upstream


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    folder: Path = tmp_path_factory.mktemp("versions")
    upstream = Upstream()
    both, old, new = free_ports(3)
    config = f"""{settings(folder)}
[listeners.old]
address = "127.0.0.1:{old}"
protocols = ["h1"]
[listeners.new]
address = "127.0.0.1:{new}"
protocols = ["h2"]
[sites."*"]
listen = ["127.0.0.1:{both}", "old", "new"]
to = "http://127.0.0.1:{upstream.port}"
"""
    proxy = Vestibule(folder, config, [both, old, new])
    clients = [Client(("127.0.0.1", port)) for port in (both, old, new)]
    yield Listeners(clients[0], clients[1], clients[2], upstream)
    proxy.stop()
    upstream.close()


def test_both_are_spoken_by_default(listeners: Listeners, version: str) -> None:
    assert listeners.both.speaking(version).get("/").status == 200


def test_first_bytes_may_come_one_by_one(listeners: Listeners) -> None:
    """A method may begin as the preface of HTTP/2 does."""
    for raw, answer in ((PREFACE, b"\x00\x00"), (REQUEST, b"HTTP/1.1 200")):
        with listeners.both.wire() as wire:
            for at in range(20):
                wire.send(raw[at : at + 1])
            wire.send(raw[20:])
            assert wire.read(len(answer)) == answer


def test_listener_may_speak_http_1_alone(listeners: Listeners) -> None:
    assert listeners.old.get("/").status == 200
    with listeners.old.raw(PREFACE) as wire:
        assert wire.read_response().status in (400, 505)
        assert wire.read_rest() == b""


def test_listener_may_speak_http_2_alone(listeners: Listeners) -> None:
    assert listeners.new.speaking("h2").get("/").status == 200
    listeners.upstream.rest()
    with pytest.raises((Truncated, OSError)):
        listeners.new.get("/")
    assert listeners.upstream.requests == []


@pytest.mark.parametrize("size", [1, 10, 24])
def test_client_that_leaves_before_its_version_is_known_leaves_nothing(size: int, listeners: Listeners) -> None:
    for end in ("close", "reset"):
        wire = listeners.both.raw(PREFACE[:size])
        wire.close() if end == "close" else wire.reset()
    assert listeners.both.get("/").status == 200
