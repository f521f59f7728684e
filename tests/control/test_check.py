"""One check against real servers, well and sick."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e import certs
from vestibule.control.check import Outcome, Probe, examine
from vestibule.model.config import HealthCheck, Server, UpstreamTls

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HTTP = HealthCheck("http", path="/health", timeout_ms=1_000)
PONG = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"res":"pong"}'


def says(answer: bytes, heard: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(got)
        writer.write(answer)
        writer.close()

    return serve


def outcome(check: HealthCheck, serve: Serve, **settings: str) -> str:
    """Return what a check says of a server."""

    async def play() -> str:
        ended = asyncio.Event()

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(reader, writer)
            except (EOFError, OSError):
                pass
            writer.close()
            ended.set()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        place = Server("immich.test", port, **settings)  # type: ignore[arg-type]
        found = await examine(Probe(check, place, UpstreamTls(), "", Path()), {"immich.test": ["127.0.0.1"]})
        async with asyncio.timeout(5):
            await ended.wait()
        server.close()
        await asyncio.sleep(0.01)
        return found.bad

    return asyncio.run(play())


def test_the_ping_of_immich() -> None:
    heard: list[bytes] = []
    assert outcome(HealthCheck(), says(PONG, heard)) == ""
    assert heard[0].startswith(b"GET /api/server/ping HTTP/1.1\r\nHost: immich.test:")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "does not contain `pong`"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", "answered 502"),
        (b"HTTP/1.1 204 No\r\n\r\n", "answered 204"),
        (b"SSH-2.0-x\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 2\r\n\r\n", "no HTTP"),
        (b"", "closed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "too large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\npong", "read"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "invalid literal"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 200_000, "chunk"),
    ],
)
def test_an_immich_that_is_not_well(answer: bytes, why: str) -> None:
    assert why in outcome(HealthCheck(), says(answer))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nit is well",
        b"HTTP/1.0 302 Found\r\nContent-Length: 7\r\n\r\nit is w",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nit \r\n4;x=y\r\nis w\r\n0\r\n\r\n",
    ],
)
def test_bodies_of_every_framing(answer: bytes) -> None:
    check = HealthCheck("http", "HEAD", "/x", "photos.test", body="it is w")
    heard: list[bytes] = []
    assert outcome(check, says(answer, heard)) == ""
    assert heard[0].startswith(b"HEAD /x HTTP/1.1\r\nHost: photos.test\r\n")


def test_only_the_statuses_that_are_expected() -> None:
    check = HealthCheck("http", statuses=(401,))
    assert outcome(check, says(b"HTTP/1.1 401 Who\r\n\r\n")) == ""
    assert "answered 200" in outcome(check, says(b"HTTP/1.1 200 OK\r\n\r\n"))


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def test_silence_is_not_waited_for_longer_than_asked() -> None:
    assert outcome(HealthCheck("http", timeout_ms=200), silent) == "no answer within 0.2 s"


def test_a_connection_is_enough_for_tcp() -> None:
    assert outcome(HealthCheck("tcp"), silent) == ""


def test_nobody_there() -> None:
    probe = Probe(HealthCheck("tcp"), Server("127.0.0.1", 9), UpstreamTls(), "", Path())
    assert asyncio.run(examine(probe, {})).bad != ""
    nowhere = Probe(HealthCheck("tcp"), Server("immich.test", 80), UpstreamTls(), "", Path())
    assert asyncio.run(examine(nowhere, {"immich.test": []})).bad == "the name has no address"


@pytest.mark.parametrize(("version", "header"), [("v1", b"PROXY UNKNOWN\r\n"), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")])
def test_a_proxy_header_that_names_no_client_goes_first(version: str, header: bytes) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(len(header)))
        await says(PONG)(reader, writer)

    assert outcome(HealthCheck(), serve, proxy_protocol=version) == ""
    assert heard == [header]


def test_fields_content_and_a_pattern() -> None:
    heard: list[bytes] = []
    check = HealthCheck("http", "POST", "/health", headers=(("X-Probe", "yes"),), content="{}", pattern='"res":"p[ao]ng"')
    assert outcome(check, says(PONG, heard)) == ""
    head = heard[0].decode()
    assert head.startswith("POST /health ") and "\r\nX-Probe: yes\r\nContent-Length: 2\r\n\r\n" in head
    assert "nothing in the answer fits" in outcome(HealthCheck("http", pattern="p[iu]ng", timeout_ms=1_000), says(PONG))


def test_another_port_is_asked() -> None:
    assert outcome(HTTP, says(PONG), check_host="127.0.0.1") == ""
    place = Server("192.0.2.1", 80, check_host="127.0.0.1", check_port=1)
    assert "127.0.0.1', 1)" in asyncio.run(examine(Probe(HTTP, place, UpstreamTls(), "", Path()), {})).bad


async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer whoever asks, and let go of whoever does not."""
    try:
        await says(PONG)(reader, writer)
    except (EOFError, OSError):
        writer.close()


def test_a_socket_and_tls(tmp_path: Path) -> None:
    authority = certs.Authority()
    context = certs.server(authority.bundle(tmp_path / "bundle.pem", "immich.test"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES256")
    authority.write_root(tmp_path / "root.pem")

    def probe(kind: str, port: int, tls: UpstreamTls, path: str = "") -> Probe:
        server = Server("" if path else "127.0.0.1", port, path, tls=not path)
        return Probe(HealthCheck(kind), server, tls, "immich.test", tmp_path)  # type: ignore[arg-type]

    async def play() -> list[str]:
        secure = await asyncio.start_server(patient, "127.0.0.1", 0, ssl=context)
        plain = await asyncio.start_unix_server(says(PONG), tmp_path / "s.sock")
        port = secure.sockets[0].getsockname()[1]
        ours = UpstreamTls(ca="root.pem")
        found = [
            (await examine(probe("immich", port, ours), {})).bad,
            (await examine(probe("tls", port, ours), {})).bad,
            (await examine(probe("tls", port, UpstreamTls(verify=False)), {})).bad,
            (await examine(probe("tls", port, UpstreamTls()), {})).bad,
            (await examine(probe("immich", 0, ours, str(tmp_path / "s.sock")), {})).bad,
            (await examine(probe("tls", port, UpstreamTls(verify=False, minimum="1.3")), {})).bad,
            (await examine(probe("tls", port, UpstreamTls(verify=False, maximum="1.2", ciphers=("ECDHE+AES256",))), {})).bad,
            (await examine(probe("tls", port, UpstreamTls(verify=False, maximum="1.2", ciphers=("ECDHE+AES128",))), {})).bad,
        ]
        secure.close()
        plain.close()
        await asyncio.sleep(0.05)
        return found

    found = asyncio.run(play())
    assert found[:3] == ["", "", ""] and found[3].startswith("TLS: CERTIFICATE_VERIFY_FAILED") and found[4] == ""
    assert [each == "" for each in found[5:]] == [False, True, False]


def test_a_check_may_speak_otherwise_than_requests_do(tmp_path: Path) -> None:
    """TLS or none, under a name of its own, and a PROXY header or none, whatever the server has for requests."""
    authority = certs.Authority()
    context = certs.server(authority.bundle(tmp_path / "bundle.pem", "check.test"))
    authority.write_root(tmp_path / "root.pem")
    heard: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(5))
        await patient(reader, writer)

    async def play() -> list[str]:
        secure = await asyncio.start_server(patient, "127.0.0.1", 0, ssl=context)
        plain = await asyncio.start_server(note, "127.0.0.1", 0)
        ours = UpstreamTls(ca="root.pem")
        tls_port, port = secure.sockets[0].getsockname()[1], plain.sockets[0].getsockname()[1]

        async def see(check: HealthCheck, server: Server) -> str:
            return (await examine(Probe(check, server, ours, "immich.test", tmp_path), {})).bad

        there = Server("127.0.0.1", tls_port)
        found = [
            await see(HealthCheck(tls="always", tls_name="check.test"), there),
            await see(HealthCheck("tls", tls_name="check.test"), there),
            await see(HealthCheck(tls="always"), there),
            await see(HealthCheck(tls="never"), Server("127.0.0.1", port, tls=True)),
            await see(HealthCheck(proxy_protocol="v1"), Server("127.0.0.1", port)),
            await see(HealthCheck(proxy_protocol="never"), Server("127.0.0.1", port, proxy_protocol="v1")),
        ]
        secure.close()
        plain.close()
        await asyncio.sleep(0.05)
        return found

    found = asyncio.run(play())
    assert found[:2] == ["", ""] and found[2].startswith("TLS: CERTIFICATE_VERIFY_FAILED") and found[3:] == ["", "", ""]
    assert heard == [b"GET /", b"PROXY", b"GET /"]


def talks(*answers: bytes) -> Serve:
    """Serve who greets, and then answers each line."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            writer.write(answer)
            await writer.drain()
            await reader.readuntil(b"\n")
        writer.close()

    return serve


MAIL = ("expect_pattern ^220[ -]", "send HELO me\n", "refuse_pattern ^5", "expect_pattern ^2")


@pytest.mark.parametrize(
    ("steps", "answers", "why"),
    [
        (MAIL, (b"220 mail\n", b"250 ok\n"), ""),
        (MAIL, (b"421 busy\n",), "no answer within 0.5 s"),
        (MAIL, (b"220 mail\n", b"550 no\n"), "it said b'550 no\\n'"),
        (("send a\n", "expect x"), (b"",), "closed before it said anything"),
        (("send a\n", "expect x"), (b"y",), "it said b'y'"),
        (("send a\n", "refuse x"), (b"",), ""),
        (("expect x",), (b"y" * 70_000,), "it said b'" + "y" * 80 + "'"),
    ],
)
def test_a_talk(steps: tuple[str, ...], answers: tuple[bytes, ...], why: str) -> None:
    assert outcome(HealthCheck("talk", talk=steps, timeout_ms=500), talks(*answers)) == why


def test_the_head_of_an_answer() -> None:
    check = HealthCheck("http", head_pattern="(?i)\r\nx-role: *primary\r", timeout_ms=1_000)
    for role, why in ((b"primary", ""), (b"replica", "nothing in the head of the answer fits `(?i)\r\nx-role: *primary\r`")):
        assert outcome(check, says(b"HTTP/1.1 200 OK\r\nX-Role: " + role + b"\r\nContent-Length: 0\r\n\r\n")) == why


async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ready\r\n")
    heard = await reader.readline()
    if heard:
        writer.write(b"512 no\r\n" if heard == b"HELO no\r\n" else b"250 well\r\n")
        await reader.readline()
    writer.close()


async def talked(*steps: str, timeout_ms: int = 2_000) -> Outcome:
    server = await asyncio.start_server(greets, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    check = HealthCheck("talk", talk=tuple([step.replace("PORT", str(port)) for step in steps]), timeout_ms=timeout_ms)
    found = await examine(Probe(check, Server("127.0.0.1", port), UpstreamTls(), "", Path()), {})
    server.close()
    await asyncio.sleep(0.05)
    return found


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (("connect",), ("passed", 4, 0, "")),
        (("connect PORT", "connect PORT", "expect 220"), ("passed", 7, 0, "")),
        (("connect PORT", "connect 1"), ("problem", 4, 0, "Connection refused at step 2 of tcp-check (connect port 1)")),
        (("connect", "await 11", "refuse 421"), ("passed", 7, 0, "")),
        (("connect", "await 0", "refuse 421"), ("timeout", 7, 0, " at step 2 of tcp-check (expect string '421')")),
        (("explain (?P<code>[0-9]+) (?P<info>.*)\r", "expect 220"), ("passed", 7, 220, "ready")),
        (
            ("expect 220", "send HELO no\r\n", "explain (?P<code>[0-9]+) (?P<info>.*)\r", "expect_pattern \\A2"),
            ("status", 7, 512, "no"),
        ),
        (("await 3", "refuse_pattern ^2"), ("invalid", 7, 0, "220 ready")),
        (("tell no mail", "await 3", "refuse_pattern ^2"), ("invalid", 7, 0, "no mail")),
        (("tell no mail", "disagree", "await 3", "expect_pattern ^5"), ("status", 7, 0, "no mail")),
        (("tell no mail", "explain ^(?P<number>2.)", "expect_pattern ^5"), ("status", 7, 0x3232, "no mail")),
        (("expect 220", "tell it greets"), ("passed", 7, 0, "it greets")),
        (
            ("send hi\r\n", "connect", "expect 220", "tell done", "connect 1"),
            ("problem", 4, 0, "Connection refused at step 4 of tcp-check (connect port 1)"),
        ),
    ],
)
def test_steps_of_a_talk_and_what_is_told_of_it(steps: tuple[str, ...], expected: tuple[object, ...]) -> None:
    found = asyncio.run(talked(*steps, timeout_ms=300 if expected[0] == "timeout" else 2_000))
    assert (found.kind, found.layer, found.code, found.info) == expected


@pytest.mark.parametrize(
    ("said", "steps", "expected"),
    [
        ((b"\x03\0\0\0abc\x02\0\0\1ok",), ("skip 3 1", "expect_pattern (?s)\\A.{4}ok"), "passed"),
        ((b"\x03\0", b"\0\0a", b"bc", b"ok"), ("skip 3 1", "expect ok", "refuse abc"), "passed"),
        ((b"\x03\0\0\0abc",), ("skip 3 1", "expect abc"), "invalid"),
        ((b"\x03\0\0\0ab",), ("skip 3 1", "expect ab"), "invalid"),
        ((b"\x03",), ("skip 4 1", "expect ab"), "invalid"),
    ],
)
def test_a_message_that_says_its_length_is_left_out(said: tuple[bytes, ...], steps: tuple[str, ...], expected: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in said:
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def asked() -> Outcome:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        probe = Probe(HealthCheck("talk", talk=steps), Server("127.0.0.1", port), UpstreamTls(), "", Path())
        found = await examine(probe, {})
        server.close()
        return found

    assert asyncio.run(asked()).kind == expected


def test_the_version_of_a_request() -> None:
    heard: list[bytes] = []
    assert outcome(HealthCheck("http", "OPTIONS", "*", version="1.0"), says(PONG, heard)) == ""
    assert heard[0] == b"OPTIONS * HTTP/1.0\r\nUser-Agent: vestibule-check\r\n\r\n"
