"""Compressed answers, from the upstream to the client."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Client
from .rig import Rig, build, tear_down
from .upstream import Turn

PAGE = b"<p>hello</p>" * 5000


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory: pytest.TempPathFactory, behind: str) -> Iterator[Rig]:
    folder: Path = tmp_path_factory.mktemp("squeezed")
    rig = build(
        folder, site='compress = true\nroutes = [{ prefix = "/plain/", compress = false, to = "http://127.0.0.1:UPSTREAM" }]', behind=behind
    )
    yield rig
    tear_down(rig)


@pytest.fixture
def asked(squeezed: Rig, version: str) -> Client:
    squeezed.upstream.rest()
    return squeezed.speaking(version).client


TAKES = [("Accept-Encoding", "gzip, br")]


def test_a_page_is_compressed(squeezed: Rig, asked: Client) -> None:
    squeezed.upstream.script = lambda turn: turn.answer(PAGE, extra=b"Content-Type: text/html\r\n")
    answer = asked.request("GET", "/", TAKES)
    assert gzip.decompress(answer.body) == PAGE
    assert len(answer.body) < len(PAGE) // 10
    assert asked.request("GET", "/", []).body == PAGE
    assert asked.request("GET", "/plain/", TAKES).body == PAGE


def test_trailers_come_behind_the_whole_body(squeezed: Rig, asked: Client) -> None:
    def script(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n")
        turn.send(b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(PAGE), PAGE))

    squeezed.upstream.script = script
    answer = asked.request("GET", "/", TAKES)
    assert gzip.decompress(answer.body) == PAGE


def test_head_has_no_body(squeezed: Rig, asked: Client) -> None:
    squeezed.upstream.script = lambda turn: turn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n\r\n")
    assert asked.request("HEAD", "/", TAKES).status == 200


def test_a_picture_is_left_alone(squeezed: Rig, asked: Client) -> None:
    squeezed.upstream.script = lambda turn: turn.answer(PAGE, extra=b"Content-Type: image/jpeg\r\n")
    assert asked.request("GET", "/", TAKES).body == PAGE
