"""One check of one server: connect, shake hands, ask, look at the answer.

Rules: never raises for what a server does; returns why it is not well, or nothing. Ends within its time. Reads no more than it needs.

Not here: when checks run and what follows (`health.py`).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vestibule.model.config import HealthCheck, Server, UpstreamTls
from vestibule.model.upstream import server_text

IMMICH = HealthCheck("http", path="/api/server/ping", statuses=(200,), body="pong")
BODY_MOST = 65_536
_HEAD_MOST = 65_536

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


class _Bad(Exception):
    """The server is not well; the text says why."""


async def examine(probe: Probe, addresses: Mapping[str, list[str]]) -> str:
    """Check a server once; return why it is not well, or nothing. `addresses` are those of names."""
    limit_s = probe.check.timeout_ms / 1000
    try:
        async with asyncio.timeout(limit_s):
            await _ask(probe, addresses)
    except TimeoutError:
        return f"no answer within {limit_s:g} s"
    except _Bad as bad:
        return str(bad)
    except ssl.SSLError as bad:
        return f"TLS: {bad.reason or bad}"
    except (OSError, EOFError, ValueError) as bad:
        return getattr(bad, "strerror", None) or str(bad) or type(bad).__name__
    return ""


async def _ask(probe: Probe, addresses: Mapping[str, list[str]]) -> None:
    check = IMMICH if probe.check.kind == "immich" else probe.check
    reader, writer = await _connect(probe, addresses)
    try:
        announce = probe.check.proxy_protocol
        writer.write(_LOCAL[probe.server.proxy_protocol if announce == "auto" else announce])
        if check.kind == "tls" or (check.kind == "http" and _speaks_tls(probe)):
            name = probe.check.tls_name or probe.name or probe.server.host or "localhost"
            await writer.start_tls(_context(probe), server_hostname=name)
        if check.kind == "http":
            await _request(probe, check, reader, writer)
    finally:
        writer.transport.abort()


def _speaks_tls(probe: Probe) -> bool:
    return probe.server.tls if probe.check.tls == "auto" else probe.check.tls == "always"


async def _connect(probe: Probe, addresses: Mapping[str, list[str]]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that takes us."""
    server = probe.server
    if server.path:
        return await asyncio.open_unix_connection(server.path, limit=_HEAD_MOST)
    last: OSError = OSError("the name has no address")
    host = server.check_host or server.host
    for address in addresses.get(host, []) if host in addresses else [host]:
        try:
            return await asyncio.open_connection(address, server.check_port or probe.check.port or server.port, limit=_HEAD_MOST)
        except OSError as bad:
            last = bad
    raise last


def _context(probe: Probe) -> ssl.SSLContext:
    """Make what TLS needs, from the files as they are now."""
    tls = probe.tls
    context = ssl.create_default_context(cafile=str(probe.base / tls.ca) if tls.ca else None)
    if tls.crl:
        context.load_verify_locations(probe.base / tls.crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        password = (probe.base / tls.password_file).read_text().partition("\n")[0] if tls.password_file else None
        context.load_cert_chain(probe.base / tls.cert, probe.base / tls.key if tls.key else None, password)
    return context


async def _request(probe: Probe, check: HealthCheck, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the request and look at the answer."""
    host = probe.check.host or ("localhost" if probe.server.path else server_text(probe.server))
    lines = [f"{check.method} {check.path} HTTP/1.1", f"Host: {host}", "User-Agent: vestibule-check", "Connection: close"]
    lines.extend([f"{name}: {value}" for name, value in check.headers])
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
    if status not in check.statuses if check.statuses else not 200 <= status <= 399:
        raise _Bad(f"it answered {status}")
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
