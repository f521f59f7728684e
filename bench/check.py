"""Fairness, checked before anything is measured: every contender must do the same work.

Each must answer with the origin's bytes on both listeners, set the same five forwarding fields, keep its upstream connection, speak
TLS 1.3 with the suite and group all are measured with, and pass an upload of known length whole. Then the same over HTTP/2.
"""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from contextlib import ExitStack

from bench import load as loads
from bench.peer import BenchError, Contender, Running, find_program, start_file_origin, start_python_origin
from bench.suites import Bench

_FIELDS = ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port")
#: No multiple of any buffer.
_BODY_BYTES = 3_000_001


def check_all(bench: Bench) -> None:
    """Raise BenchError naming the contender and what it does differently."""
    with ExitStack() as stack:
        origin, port = start_file_origin(bench.directory, bench.pins)
        stack.callback(origin.stop)
        expected = (bench.directory / "files" / "20k").read_bytes()
        for contender in bench.contenders:
            bench.say(f"checking {contender.name}")
            running = bench.start(contender, port)
            try:
                for tls in (False, True):
                    _check_requests(running, tls, expected)
                _check_tls(bench, running)
            finally:
                running.process.stop()
        sink, port = start_python_origin("bulk", bench.directory, bench.pins)
        stack.callback(sink.stop)
        for contender in bench.contenders:
            running = bench.start(contender, port)
            try:
                for tls in (False, True):
                    for upload in (False, True):
                        loads.transfer(bench.load, running.port(tls), tls, upload, _BODY_BYTES)
            except (BenchError, json.JSONDecodeError) as error:
                raise BenchError(f"{contender.name}: {error}") from error
            finally:
                running.process.stop()


def check_http2(bench: Bench) -> None:
    """The same over HTTP/2; a contender that fails is left out of that suite, and why is told with the missing figures."""
    with ExitStack() as stack:
        origin, files = start_file_origin(bench.directory, bench.pins)
        stack.callback(origin.stop)
        sink, bulk = start_python_origin("bulk", bench.directory, bench.pins)
        stack.callback(sink.stop)
        for contender in bench.contenders:
            if contender.suites and "h2" not in contender.suites:
                continue
            bench.say(f"checking {contender.name} over HTTP/2")
            try:
                _check_http2(bench, contender, files, bulk)
            except BenchError as error:
                bench.without_http2.add(contender.name)
                bench.missing.append(f"h2, {contender.name}: {error}")
                bench.say(f"  left out: {error}")


def _check_http2(bench: Bench, contender: Contender, files: int, bulk: int) -> None:
    body = bench.directory / "checked.bin"
    body.write_bytes(bytes(_BODY_BYTES))
    running = bench.start(contender, files, http2=True)
    try:
        answers = _get_http2(bench, running, ["/20k", "/echo", "/echo"])
        if answers[0] != (bench.directory / "files" / "20k").read_bytes():
            raise BenchError("not the origin's bytes")
        _check_told(running, True, "HTTP/2", answers[-1].decode())
    finally:
        running.process.stop()
    running = bench.start(contender, bulk, http2=True)
    try:
        if _get_http2(bench, running, ["/upload"], "--data-binary", f"@{body}") != [b"%d" % _BODY_BYTES]:
            raise BenchError("an upload was not passed whole")
        if len(_get_http2(bench, running, [f"/{_BODY_BYTES}"])[0]) != _BODY_BYTES:
            raise BenchError("a download was not passed whole")
    finally:
        running.process.stop()


def _check_requests(running: Running, tls: bool, expected: bytes) -> None:
    """Compare a body, and what the origin was told, on one kept connection."""
    port = running.port(tls)
    connection: http.client.HTTPConnection
    if tls:
        settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        settings.check_hostname = False
        settings.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=settings)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    side = "TLS" if tls else "plain"
    try:
        if _get(connection, "/20k") != expected:
            raise BenchError(f"{running.name}, {side}: not the origin's bytes")
        for _ in range(3):
            told = _get(connection, "/echo").decode()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{running.name}, {side}: {error!r}\n{running.process.last_words()}") from error
    finally:
        connection.close()
    _check_told(running, tls, side, told)


def _check_told(running: Running, tls: bool, side: str, text: str) -> None:
    """Compare what the origin was told about the client, and how often its connection had been used."""
    told = text.split("|")
    port = running.port(tls)
    host = f"127.0.0.1:{port}"
    wanted = ["127.0.0.1", "127.0.0.1", "https" if tls else "http", host, str(port)]
    for name, value, found in zip(_FIELDS, wanted, told, strict=False):
        # Some say the host with its port and some without; the work is the same.
        if found != value and not (name == "X-Forwarded-Host" and found == "127.0.0.1"):
            raise BenchError(f"{running.name}, {side}: {name} is “{found}”, not “{value}”")
    if int(told[-1]) < 2:
        raise BenchError(f"{running.name}, {side}: it does not keep its upstream connection")


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise http.client.HTTPException(f"{path} was answered {answer.status}: {body[:200]!r}")
    return body


def _get_http2(bench: Bench, running: Running, paths: list[str], *options: str) -> list[bytes]:
    """Ask for paths one after the other on one HTTP/2 connection; return the bodies."""
    command = [find_program("curl"), "--silent", "--show-error", "--insecure", "--http2", "--max-time", "10", *options]
    command += ["--write-out", "%{http_version} %{response_code}\n"]
    files = [bench.directory / f"checked-{index}" for index in range(len(paths))]
    for path, file in zip(paths, files, strict=True):
        command += ["--output", str(file), loads.url(running.tls, True, path)]
    done = subprocess.run(command, env=bench.load.environment(), capture_output=True, text=True, timeout=30, check=False)
    told = done.stdout.splitlines()
    if done.returncode or len(told) != len(paths) or not set(told) <= {"2 200", "2 201"}:
        raise BenchError(f"{running.name}, HTTP/2: {', '.join(paths)} came to {told}\n{done.stderr}{running.process.last_words()}")
    return [file.read_bytes() for file in files]


def _check_tls(bench: Bench, running: Running) -> None:
    """Ask what wrk's and our client's settings negotiate; h2load's own words are checked at each use."""
    done = subprocess.run(
        [find_program("openssl"), "s_client", "-connect", f"127.0.0.1:{running.tls}", "-alpn", "http/1.1"],
        input="",
        env=bench.load.environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    for wanted in ("TLSv1.3", loads.SUITE, loads.GROUP, "Peer signature type: ECDSA", "public key is 256 bit", "ALPN protocol: http/1.1"):
        if wanted not in done.stdout:
            raise BenchError(f"{running.name}: no “{wanted}” in what TLS came to:\n{done.stdout[-600:]}{done.stderr[-300:]}")
