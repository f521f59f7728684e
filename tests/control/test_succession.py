"""An heir and the program before it, each with the other played by a few lines."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from vestibule.control import succession
from vestibule.control.succession import Heir, Succession

# Takes what it is given, and does with it what `PLAY` says.
PROGRAM = """
import json, os, socket, sys, time
given = json.loads(os.environ["VESTIBULE_SUCCESSION"])
link = socket.socket(fileno=given["link"])
def say(message):
    link.send(json.dumps(message).encode() + b"\\n")
"""


def child(play: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM + play]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_an_heir_gets_the_sockets_and_says_that_it_serves(tmp_path: Path) -> None:
    play = f"""
sock = socket.socket(fileno=given["sockets"]["tcp a"][0])
say({{"serving": os.getpid()}})
went = link.recv(100)
open({str(tmp_path / "draft")!r}, "w").write(f"{{sock.getsockname()[1]}} {{went}}")
os.rename({str(tmp_path / "draft")!r}, {str(tmp_path / "said")!r})
"""

    async def hand_over() -> None:
        heir = Heir()
        with socket.create_server(("127.0.0.1", 0)) as given:
            assert await heir.start({"tcp a": [given.fileno()]}, os.environ, child(play)) == []
            assert heir.pid > 0
            await heir.go()
            for _ in range(1_000):
                if (tmp_path / "said").exists():
                    break
                await asyncio.sleep(0.01)
            heir.end()
            port, said = (tmp_path / "said").read_text().split(" ", 1)
            assert int(port) == given.getsockname()[1]
            assert said == repr(b'{"go": true}\n')

    run(hand_over())


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        ('say({"refused": ["the port is taken", "and more"]})', "the port is taken"),
        ("sys.exit(3)", "the new program ended before it served; standard error may say why"),
        ("link.send(b'what?\\n')", "the new program ended before it served; standard error may say why"),
        ("link.send(b'[]\\n')", "the new program ended before it served; standard error may say why"),
    ],
)
def test_why_there_is_no_heir(play: str, reason: str) -> None:
    reasons = run(Heir().start({}, os.environ, child(play)))
    assert reasons[0] == reason


def test_an_heir_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "SERVING_S", 0.2)
    heir = Heir()
    assert run(heir.start({}, os.environ, child("time.sleep(60)"))) == ["the new program did not serve within 0 s"]
    assert heir.pid == 0
    heir.end()


def test_a_program_that_is_not_there() -> None:
    (reason,) = run(Heir().start({}, os.environ, ["/nowhere/vestibule"]))
    assert reason == "the program cannot be started: No such file or directory"


def test_an_heir_that_does_not_listen_any_more() -> None:
    async def hand_over() -> None:
        heir = Heir()
        assert await heir.start({}, os.environ, child('say({"serving": os.getpid()}); link.close(); time.sleep(60)')) == []
        await heir.go()
        heir.end()

    run(hand_over())


def test_without_a_program_before_there_is_nothing_to_take() -> None:
    none = Succession({})
    assert none.sockets == {}
    none.refuse(["a reason"])
    run(none.take_over())
    none.opened()


def given(*socks: socket.socket) -> tuple[socket.socket, dict[str, str]]:
    """Return the other end of the link, and an environment with it."""
    ours, theirs = socket.socketpair()
    numbers = [os.dup(sock.fileno()) for sock in socks]
    return ours, {"VESTIBULE_SUCCESSION": json.dumps({"link": theirs.detach(), "sockets": {"unix a": numbers}}), "A": "b"}


def test_what_is_taken_over_is_no_longer_in_the_environment_and_not_for_workers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        ours, environment = given(sock)
        taken = Succession(environment)
    assert environment == {"A": "b"}
    (again,) = taken.sockets["unix a"]
    assert not again.get_inheritable() and not again.getblocking()
    again.close()
    taken.refuse(["no certificate"])
    assert json.loads(ours.recv(100)) == {"refused": ["no certificate"]}
    assert ours.recv(100) == b""
    ours.close()


def test_the_program_before_leaves_first() -> None:
    ours, environment = given()
    taken = Succession(environment)

    async def take_over() -> None:
        waiting = asyncio.ensure_future(taken.take_over())
        await asyncio.sleep(0.05)
        assert json.loads(ours.recv(100)) == {"serving": os.getpid()}
        assert not waiting.done()
        # In two pieces, as a socket may bring it.
        ours.send(b'{"go"')
        await asyncio.sleep(0.05)
        assert not waiting.done()
        ours.send(b": true}\n")
        await asyncio.wait_for(waiting, 5)

    run(take_over())
    taken.opened()
    assert json.loads(ours.recv(100)) == {"open": True}
    assert ours.recv(100) == b""
    ours.close()


@pytest.mark.parametrize("gone", [True, False])
def test_a_program_before_that_never_says_go(gone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "GO_S", 0.1)
    ours, environment = given()
    taken = Succession(environment)
    if gone:
        ours.close()
    began = time.monotonic()
    run(taken.take_over())
    taken.opened()
    assert time.monotonic() - began < 5
    ours.close()


def test_a_link_that_breaks_ends_the_wait() -> None:
    ours, environment = given()
    taken = Succession(environment)
    # Closing with unread bytes resets a unix socket.
    ours.send(b"x")

    async def take_over() -> None:
        waiting = asyncio.ensure_future(taken.take_over())
        await asyncio.sleep(0.05)
        ours.close()
        await asyncio.wait_for(waiting, 5)

    run(take_over())
    taken.opened()
