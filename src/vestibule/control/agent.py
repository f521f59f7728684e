"""One question to the agent of a server, and what its answer means.

Facts (HAProxy's agent protocol, which load agents speak): the answer is the first line that comes, of words with spaces, tabs or commas
between; behind `#` is a remark. What is not said stays as it was.

Rules: never raises for what an agent does. Ends within its time. An agent that cannot be asked says nothing.

Not here: when agents are asked and what follows (`health.py`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from vestibule.model.config import Agent, Server

ANSWER_MOST = 4_096
_SHARE_MOST = 10_000
_CONNECTIONS_MOST = 10**9
_MODES = {"ready": "", "drain": "drain", "maint": "maintenance"}
_DOWN = ("down", "failed", "stopped", "fail")


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that one question needs. Two that are equal ask the same."""

    agent: Agent
    server: Server


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent said; None is nothing of this kind."""

    text: str = ""
    """The line, or why there is none."""
    up: bool | None = None
    mode: str | None = None
    percent: int | None = None
    most: int | None = None
    """Connections at a time; 0 is any number."""
    unknown: tuple[str, ...] = ()
    """Words that mean nothing here."""


def understand(line: str) -> Answer:
    """Return what a line means."""
    up: bool | None = None
    mode: str | None = None
    percent: int | None = None
    most: int | None = None
    unknown: list[str] = []
    said, _, _ = line.partition("#")
    for word in re.split(r"[ \t,]+", said.strip(" \t,")):
        lowered = word.lower()
        if lowered == "up" or lowered in _DOWN:
            up = lowered == "up"
        elif lowered in _MODES:
            mode = _MODES[lowered]
        elif word.endswith("%") and word[:-1].isascii() and word[:-1].isdigit():
            percent = min(int(word[:-1][:9]), _SHARE_MOST)
        elif (given := lowered.removeprefix("maxconn:")) != lowered and given.isascii() and given.isdigit():
            most = min(int(given[:10]), _CONNECTIONS_MOST)
        elif word:
            unknown.append(word)
    return Answer(line.strip(), up, mode, percent, most, tuple(unknown))


async def ask(question: Question, addresses: Mapping[str, list[str]]) -> Answer:
    """Ask an agent once; `addresses` are those of names."""
    limit_s = question.agent.timeout_ms / 1000
    try:
        async with asyncio.timeout(limit_s):
            line = await _line(question, addresses)
    except TimeoutError:
        return Answer(f"no answer within {limit_s:g} s")
    except (OSError, ValueError) as bad:
        return Answer(getattr(bad, "strerror", None) or str(bad) or type(bad).__name__)
    return understand(line) if line else Answer("closed before it answered")


async def _line(question: Question, addresses: Mapping[str, list[str]]) -> str:
    agent, server = question.agent, question.server
    host = server.agent_host or agent.host or server.host
    last: OSError = OSError("the name has no address")
    for address in addresses.get(host, []) if host in addresses else [host]:
        try:
            reader, writer = await asyncio.open_connection(address, server.agent_port or agent.port)
        except OSError as bad:
            last = bad
            continue
        try:
            writer.write(agent.send.encode())
            seen = b""
            while len(seen) < ANSWER_MOST and not re.search(b"[\r\n]", seen):
                piece = await reader.read(ANSWER_MOST)
                if not piece:
                    break
                seen += piece
            return re.split("[\r\n]", seen[:ANSWER_MOST].decode("ascii", "replace"), maxsplit=1)[0]
        finally:
            writer.transport.abort()
    raise last
