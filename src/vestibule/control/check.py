"""One check of one server: connect, shake hands, ask or talk, look at what comes.

Rules: never raises for what a server does; tells what came of it. Ends within its time. Reads no more than it needs.

Not here: when checks run and what follows (`health.py`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vestibule.model.config import HealthCheck, Server, UpstreamTls
from vestibule.model.talk import UNCOUNTED, Step, read_step
from vestibule.model.upstream import server_text

IMMICH = HealthCheck("http", path="/api/server/ping", statuses=(200,), body="pong")
BODY_MOST = 65_536
_HEAD_MOST = 65_536
_SHOWN = 80
# What keeps a connection from being tried at all.
_UNSENT = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)

# PROXY headers that name no client (the protocol's 2.1 and 2.2): a check speaks for itself.
_LOCAL = {"": b"", "never": b"", "v1": b"PROXY UNKNOWN\r\n", "v2": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"}


@dataclass(frozen=True, slots=True)
class Probe:
    """Everything that one check needs. Two that are equal ask the same."""

    check: HealthCheck
    server: Server
    tls: UpstreamTls
    name: str
    base: Path


Kind = Literal["passed", "timeout", "problem", "invalid", "status"]
"""How a check ended: well, without an answer in time, without a connection, with what is no answer, with one that is not wanted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check. `bad` says why a server is not well, and nothing of one that is."""

    bad: str = ""
    kind: Kind = "passed"
    layer: Literal[4, 6, 7] = 4
    """How far it came: to the connection, to TLS, to what is said there."""
    code: int = 0
    """The status of the answer, if it has one."""
    info: str = ""
    """What the server says of it, or the system."""
    took_ms: int = 0


class _Course:
    """How far a check has come, and what it has heard."""

    def __init__(self) -> None:
        self.layer: Literal[4, 6, 7] = 4
        self.code = 0
        self.info = ""
        self.step = ""
        self.disagrees = False  # what it says is no answer to this, but one of its own


class _Bad(Exception):
    """The server is not well; the text says why."""

    def __init__(self, text: str, kind: Kind = "invalid", info: str = "") -> None:
        super().__init__(text)
        self.kind: Kind = kind
        self.info = info


async def examine(probe: Probe, addresses: Mapping[str, list[str]]) -> Outcome:
    """Check a server once. `addresses` are those of names."""
    limit_s = probe.check.timeout_ms / 1000
    course = _Course()
    begun = time.monotonic()
    bad, info = "", ""
    kind: Kind = "passed"
    try:
        async with asyncio.timeout(limit_s):
            await _ask(probe, addresses, course)
        info = course.info
    except TimeoutError:
        bad, kind, info = f"no answer within {limit_s:g} s", "timeout", course.step
    except _Bad as found:
        bad, kind, info = str(found), found.kind, found.info or course.info
    except ssl.SSLError as found:
        bad, kind, info = f"TLS: {found.reason or found}", "invalid", "SSL handshake failure" + course.step
    except asyncio.LimitOverrunError:
        bad, kind = "the length of a chunk of the answer is too long", "invalid"
    except (OSError, EOFError, ValueError) as found:
        bad = getattr(found, "strerror", None) or str(found) or type(found).__name__
        kind, info = "problem" if course.layer == 4 else "invalid", _reason(found, course)
    took = int((time.monotonic() - begun) * 1000)
    return Outcome(bad, kind, course.layer, course.code, info, took)


def _reason(bad: Exception, course: _Course) -> str:
    """Say in the words of the system why a connection could not be made, or broke."""
    if course.layer == 6:
        return "Connection closed during SSL handshake" + course.step
    number = getattr(bad, "errno", None)
    text = os.strerror(number) if number else str(bad)
    return (f"General socket error ({text})" if number in _UNSENT else text) + course.step


async def _ask(probe: Probe, addresses: Mapping[str, list[str]], course: _Course) -> None:
    check = IMMICH if probe.check.kind == "immich" else probe.check
    if check.kind == "talk":
        await _talk(probe, addresses, course)
        return
    reader, writer = await _open(probe, addresses, course, 0)
    try:
        if check.kind == "http":
            course.layer = 7
            await _request(probe, check, reader, writer, course)
    finally:
        writer.transport.abort()


def _speaks_tls(probe: Probe) -> bool:
    if probe.check.kind in ("tcp", "tls"):
        return probe.check.kind == "tls"
    return probe.server.tls if probe.check.tls == "auto" else probe.check.tls == "always"


async def _open(
    probe: Probe, addresses: Mapping[str, list[str]], course: _Course, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and shake hands where TLS is spoken."""
    course.layer = 4
    reader, writer = await _connect(probe, addresses, port)
    try:
        announce = probe.check.proxy_protocol
        writer.write(_LOCAL[probe.server.proxy_protocol if announce == "auto" else announce])
        if _speaks_tls(probe):
            course.layer = 6
            name = probe.check.tls_name or probe.name or probe.server.host or "localhost"
            await writer.start_tls(_context(probe), server_hostname=name)
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def _connect(probe: Probe, addresses: Mapping[str, list[str]], port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that takes us."""
    server = probe.server
    if server.path:
        return await asyncio.open_unix_connection(server.path, limit=_HEAD_MOST)
    last: OSError = OSError("the name has no address")
    host = server.check_host or server.host
    for address in addresses.get(host, []) if host in addresses else [host]:
        try:
            return await asyncio.open_connection(address, port or server.check_port or probe.check.port or server.port, limit=_HEAD_MOST)
        except OSError as bad:
            last = bad
    raise last


def _context(probe: Probe) -> ssl.SSLContext:
    """Make what TLS needs, from the files as they are now."""
    tls = probe.tls
    if tls.verify and probe.server.tls_verify:
        context = ssl.create_default_context(cafile=str(probe.base / tls.ca) if tls.ca else None)
        if tls.crl:
            context.load_verify_locations(probe.base / tls.crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    else:
        # Reading the authorities of the system takes longer than a check, and nobody asks them.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Suites of TLS 1.3 cannot be limited here; whoever answers a check with another one is well all the same.
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.minimum == "1.3" else ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if tls.maximum == "1.2" else ssl.TLSVersion.TLSv1_3
    if probe.server.tls_ciphers or tls.ciphers:
        context.set_ciphers(":".join(probe.server.tls_ciphers or tls.ciphers))
    if probe.check.alpn:
        context.set_alpn_protocols(list(probe.check.alpn))
    if tls.cert:
        password = (probe.base / tls.password_file).read_text().partition("\n")[0] if tls.password_file else None
        context.load_cert_chain(probe.base / tls.cert, probe.base / tls.key if tls.key else None, password)
    return context


async def _talk(probe: Probe, addresses: Mapping[str, list[str]], course: _Course) -> None:
    """Say what is to be said, and look at what comes. Each step that connects has a connection of its own."""
    steps = [read_step(text) for text in probe.check.talk]
    if not steps or steps[0].verb != "connect":
        steps.insert(0, Step("connect", b""))
        at = 0
    else:
        at = 1
    writers: list[asyncio.StreamWriter] = []
    reader = asyncio.StreamReader()
    heard, over, least = b"", False, 0
    waits = False
    try:
        for step in steps:
            course.step = step.text(at) if at else ""
            at += step.verb not in UNCOUNTED
            if step.verb == "connect":
                reader, writer = await _open(probe, addresses, course, step.number)
                writers.append(writer)
                heard, over = b"", False
                continue
            course.layer = 7
            if step.verb == "send":
                writers[-1].write(step.data)
                await writers[-1].drain()
                heard = b""
            elif step.verb == "await":
                least, waits = step.number, True
            elif step.verb == "tell":
                course.info = step.data.decode("utf-8", "replace")
            elif step.verb == "disagree":
                course.disagrees = True
            elif step.verb == "skip":
                heard, over = await _skip(step, reader, heard, over)
            elif step.verb == "explain":
                explain = step
                while not explain.is_in(heard) and not over:
                    heard, over = await _hear(reader, heard)
                # What was explained is whole; the next step decides at once.
                least, waits = 1, _explain(explain, heard, course)
            else:
                while not over and not (_is_enough(step, heard, least) if waits else _is_heard(step, heard)):
                    heard, over = await _hear(reader, heard)
                waits = False
                if step.is_in(heard) is not (step.verb == "expect"):
                    raise _mismatch(step, heard, course)
    finally:
        for writer in writers:
            writer.transport.abort()


def _is_heard(step: Step, heard: bytes) -> bool:
    """Tell whether a step has heard enough: what it expects, or anything where it refuses something."""
    return bool(heard) and (step.verb == "refuse" or step.is_in(heard))


def _is_enough(step: Step, heard: bytes, least: int) -> bool:
    """Tell the same of a step that waits for so many bytes, or for the end (0)."""
    return step.is_in(heard) or (0 < least <= len(heard))


async def _hear(reader: asyncio.StreamReader, heard: bytes) -> tuple[bytes, bool]:
    """Return what was heard with what comes now, and whether nothing more can."""
    piece = await reader.read(BODY_MOST)
    heard = (heard + piece)[:BODY_MOST]
    return heard, not piece or len(heard) == BODY_MOST


async def _skip(step: Step, reader: asyncio.StreamReader, heard: bytes, over: bool) -> tuple[bytes, bool]:
    """Return what was heard behind the message it begins with, and whether nothing more can come."""
    while step.end_of(heard) < 0 and not over:
        heard, over = await _hear(reader, heard)
    end = step.end_of(heard)
    return heard[end:] if end >= 0 else b"", over


def _explain(step: Step, heard: bytes, course: _Course) -> bool:
    """Take what the groups `code`, `number` and `info` of a pattern find; tell whether it finds anything."""
    found = step.pattern.search(heard) if step.pattern is not None else None
    if found is None:
        return False
    groups = {name: text for name, text in found.groupdict().items() if text is not None}
    if "info" in groups:
        course.info = groups["info"].decode("utf-8", "replace").strip()
    digits = groups.get("code", b"")
    course.code = int(digits) if digits.isdigit() and len(digits) < 6 else int.from_bytes(groups.get("number", b"")[:4], "little")
    return True


def _mismatch(step: Step, heard: bytes, course: _Course) -> _Bad:
    """Say that a step heard what it should not have, or something else."""
    if not heard:
        return _Bad("closed before it said anything", "invalid", f"TCPCHK got an empty response{course.step}")
    bad = f"it said {heard[:_SHOWN]!r}"
    if course.code or course.disagrees:
        return _Bad(bad, "status", course.info)
    line = course.info or heard.split(b"\n", 1)[0].strip()[:_SHOWN].decode("utf-8", "replace")
    return _Bad(bad, "invalid", line)


def _head(probe: Probe, check: HealthCheck) -> list[str]:
    """Return the lines of the head of a request."""
    names = [name.lower() for name, _ in check.headers]
    lines = [f"{check.method} {check.path} HTTP/{check.version}"]
    if check.host or check.version == "1.1":
        lines.append(f"Host: {check.host or ('localhost' if probe.server.path else server_text(probe.server))}")
    if "user-agent" not in names:
        lines.append("User-Agent: vestibule-check")
    if "connection" not in names and check.version == "1.1":
        lines.append("Connection: close")
    return lines + [f"{name}: {value}" for name, value in check.headers]


async def _request(probe: Probe, check: HealthCheck, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, course: _Course) -> None:
    """Send the request and look at the answer."""
    lines = _head(probe, check)
    content = check.content.encode()
    if content:
        lines.append(f"Content-Length: {len(content)}")
    writer.write("\r\n".join([*lines, "", ""]).encode() + content)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise _Bad("the head of the answer is too large") from None
    except asyncio.IncompleteReadError:
        raise _Bad("closed before it answered") from None
    line, _, rest = head.partition(b"\r\n")
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or len(parts[1]) != 3 or not parts[1].isdigit():
        raise _Bad("the answer is no HTTP/1")
    status = int(parts[1])
    course.code, course.info = status, b"".join(parts[2:]).decode("latin-1").strip()
    if status not in check.statuses if check.statuses else not 200 <= status <= 399:
        raise _Bad(f"it answered {status}", "status")
    if not re.search(check.head_pattern.encode(), head):
        raise _Bad(f"nothing in the head of the answer fits `{check.head_pattern}`")
    if check.body or check.pattern:
        body = await _body(rest.lower(), reader)
        if check.body.encode() not in body:
            raise _Bad(f"the answer does not contain `{check.body}`")
        if not re.search(check.pattern.encode(), body):
            raise _Bad(f"nothing in the answer fits `{check.pattern}`")


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """Read the body of an answer, its first part."""
    fields = dict(line.partition(b":")[::2] for line in head.split(b"\r\n") if line)
    length = fields.get(b"content-length", b"").strip()
    if length.isdigit():
        return await reader.readexactly(min(int(length), BODY_MOST))
    body = b""
    if b"chunked" not in fields.get(b"transfer-encoding", b""):
        while len(body) < BODY_MOST and (piece := await reader.read(BODY_MOST)):
            body += piece
        return body[:BODY_MOST]
    while len(body) < BODY_MOST:
        size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        if size <= 0:
            break
        body += await reader.readexactly(min(size, BODY_MOST))
        if size > BODY_MOST:
            break
        await reader.readexactly(2)
    return body[:BODY_MOST]
