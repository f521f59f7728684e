"""Fairness, checked before anything is measured: every contender must do the same work.

Each must answer with the origin's bytes on both listeners, set the same five forwarding fields, keep its upstream connection, speak
TLS 1.3 with the suite and group all are measured with, and pass an upload of known length whole.
"""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from contextlib import ExitStack

from bench import load as loads
from bench.peer import BenchError, Running, find_program, start_file_origin, start_python_origin
from bench.suites import Bench

_FIELDS = ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port")


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
                        loads.transfer(bench.load, running.port(tls), tls, upload, 3_000_001)
            except (BenchError, json.JSONDecodeError) as error:
                raise BenchError(f"{contender.name}: {error}") from error
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
            told = _get(connection, "/echo").decode().split("|")
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{running.name}, {side}: {error!r}\n{running.process.last_words()}") from error
    finally:
        connection.close()
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
