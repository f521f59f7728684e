"""What answers of agents mean, and asking one that speaks, is slow, hangs up or is not there."""

import asyncio

import pytest

from vestibule.control.agent import ANSWER_MOST, Answer, Question, ask, understand
from vestibule.model.config import Agent, Server


@pytest.mark.parametrize(
    ("line", "up", "mode", "percent", "most", "unknown"),
    [
        ("up", True, None, None, None, ()),
        ("up ready 75%", True, "", 75, None, ()),
        ("75%,drain\tUP", True, "drain", 75, None, ()),
        ("down # the disk is full", False, None, None, None, ()),
        ("stopped", False, None, None, None, ()),
        ("failed", False, None, None, None, ()),
        ("maint", None, "maintenance", None, None, ()),
        ("0%", None, None, 0, None, ()),
        ("99999999999999%", None, None, 10_000, None, ()),
        ("maxconn:30 50%", None, None, 50, 30, ()),
        ("MaxConn:0", None, None, None, 0, ()),
        ("maxconn:99999999999999", None, None, None, 10**9, ()),
        ("maxconn: maxconn:-1 maxconn", None, None, None, None, ("maxconn:", "maxconn:-1", "maxconn")),
        ("-5% ²% %", None, None, None, None, ("-5%", "²%", "%")),
        ("", None, None, None, None, ()),
    ],
)
def test_words(line: str, up: bool | None, mode: str | None, percent: int | None, most: int | None, unknown: tuple[str, ...]) -> None:
    assert understand(line) == Answer(line, up, mode, percent, most, unknown)


async def _asked(say: bytes, end: bool = True, send: str = "", host: str = "127.0.0.1") -> tuple[Answer, bytes]:
    heard = b""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard = await reader.readexactly(len(send))
        writer.write(say)
        if not end:
            await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    question = Question(Agent(port, send=send, timeout_ms=300), Server(host, 80))
    answer = await ask(question, {"a.lan": ["127.0.0.1"]})
    done.set()
    server.close()
    return answer, heard


@pytest.mark.parametrize(
    ("say", "end", "said"),
    [
        (b"up 50%\n", False, "up 50%"),
        (b"up 50%\r\nmore", False, "up 50%"),
        (b"drain", True, "drain"),
        (b"", True, "closed before it answered"),
        (b"up", False, "no answer within 0.3 s"),
        (b"x" * 100_000, False, "x" * ANSWER_MOST),
    ],
    ids=["line", "more", "end", "nothing", "slow", "long"],
)
def test_one_line_is_read(say: bytes, end: bool, said: str) -> None:
    answer, _ = asyncio.run(_asked(say, end))
    assert answer.text == said


def test_an_agent_is_asked_and_found_by_name() -> None:
    answer, heard = asyncio.run(_asked(b"down\n", send="state\n", host="a.lan"))
    assert (answer.up, heard) == (False, b"state\n")


def test_nobody_there_says_nothing() -> None:
    question = Question(Agent(1, timeout_ms=300), Server("127.0.0.1", 80))
    answer = asyncio.run(ask(question, {}))
    assert answer == Answer(answer.text)
    assert "onnect" in answer.text
