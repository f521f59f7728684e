"""The original programs and vestibule run the same files beside each other and are asked the same.

A case is a configuration in `cases/PROGRAM`, in which PORT stands for the port of the case and UPSTREAM for that of an upstream that
records what it sees. Adding a case is adding a file; adding requests is a line in it, or in the battery. A case that names `own.pem`
is asked over TLS; a request with the field `X-Shows` shows the certificate of a user.
"""

import os
import shutil
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.e2e.certs import Authority
from tests.e2e.client import Client, Response, Truncated, close_all
from tests.e2e.ports import free_ports
from tests.e2e.rig import environment
from tests.e2e.upstream import Turn, Upstream

from .battery import BATTERY, HOST, Ask, asked_by
from .compare import got_by_client, seen_by_upstream
from .originals import ORIGINALS, SEARCH, Running

CASES = Path(__file__).parent / "cases"


def cases_of(name: str) -> list[Path]:
    """Return the files of a program, which may be asked in more than one way."""
    return sorted((CASES / name.partition("-")[0]).iterdir())


NAMES = [(name, case.stem) for name in sorted(ORIGINALS) for case in cases_of(name)]


def answer(turn: Turn) -> None:
    """Answer as the target says; the tail of the path decides, so that rewritten paths lead here too."""
    turn.read_body()
    target = turn.request.target.partition(b"?")[0]
    port = turn.sock.getsockname()[1]
    if target.endswith(b"/redirect"):
        turn.answer(b"", b"302 Found", b"Location: http://127.0.0.1:%d/there?x=1\r\n" % port)
    elif target.endswith(b"/redirect-away"):
        turn.answer(b"", b"301 Moved Permanently", b"Location: https://elsewhere.example/there\r\n")
    elif target.endswith(b"/redirect-path"):
        turn.answer(b"", b"307 Temporary Redirect", b"Location: /there\r\n")
    elif target.endswith(b"/api/verify"):
        turn.answer(b"", extra=b"X-Up: 1\r\nRemote-User: alice\r\nRemote-Groups: a,b\r\nRemote-Name: A\r\nRemote-Email: a@a.net\r\n")
    elif target.startswith(b"/accel/"):
        turn.answer(b"not this", b"201 Created", b"X-Up: 1\r\nX-Accel-Redirect: /" + target[7:] + b"\r\n")
    elif target.endswith(b"/missing"):
        turn.answer(b"no such thing", b"404 Not Found", b"X-Up: 1\r\n")
    elif target.endswith(b"/error"):
        turn.answer(b"broken", b"500 Internal Server Error", b"X-Up: 1\r\n")
    elif target.endswith(b"/empty"):
        turn.send(b"HTTP/1.1 204 No Content\r\nX-Up: 1\r\n\r\n")
    elif target.endswith(b"/cookies"):
        turn.answer(b"ok", extra=b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; HttpOnly\r\nX-Powered-By: Express\r\n")
    elif target.endswith(b"/chunked") and not turn.request.line.endswith(b"1.0"):
        turn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    elif target.endswith(b"/chunked"):
        turn.answer(b"abc")
    elif target.endswith(b"/part"):
        turn.answer(b"0123", b"206 Partial Content", b"Content-Range: bytes 0-3/10\r\nContent-Type: video/mp4\r\n")
    elif target.endswith(b"/unchanged"):
        turn.send(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n')
    elif turn.request.line.startswith(b"HEAD"):
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Up: 1\r\n\r\n")
    else:
        turn.answer(b"ok", extra=b"X-Up: 1\r\nContent-Type: text/plain\r\nCache-Control: no-cache\r\n")


def lay_out(site: Path) -> None:
    """Put some files into a folder."""
    for name in ("index.html", "a.txt", "sub/index.html", "sub/b.txt", "secret/c.txt", "pages/404.html", "pages/away.html", ".htpasswd"):
        file = site / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"this is {name}\n")
    for each in (site, *site.rglob("*")):
        os.utime(each, (1_600_000_000, 1_600_000_000))  # lists tell when a file was changed


# As certbot writes it.
_SSL_OPTIONS = """\
SSLEngine on
SSLProtocol all -SSLv2 -SSLv3 -TLSv1 -TLSv1.1
SSLCipherSuite ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305
SSLHonorCipherOrder off
SSLSessionTickets off
SSLOptions +StrictRequire
"""


def group_of(name: str) -> str:
    """Return what a case shares its processes with: all others, unless it changes what is one for a whole configuration."""
    return name if name.startswith("alone_") else ""


class Pair:
    """One program and vestibule, both with a group of cases of the program."""

    def __init__(self, program: str, group: str, folder: Path) -> None:
        self.upstream = Upstream()
        self.upstream.script = answer
        original = ORIGINALS[program]
        self.authority = Authority()
        self.shown = self.authority.bundle(folder / "user.pem", "alice")
        self.cases = {case.stem: case for case in cases_of(program) if group_of(case.stem) == group}
        ports = free_ports(2 * len(self.cases))
        self.ports = {name: (ports[2 * at], ports[2 * at + 1]) for at, name in enumerate(self.cases)}
        self.running: list[Running] = []
        try:
            for which, place in enumerate(("theirs", "ours")):
                self._start(original, which, folder / place)
        except BaseException:
            self.stop()
            raise

    def _start(self, original: object, which: int, folder: Path) -> None:
        assert isinstance(original, type(ORIGINALS["nginx"]))
        (folder / "cases").mkdir(parents=True)
        ports = [pair[which] for pair in self.ports.values()]
        for name, case in self.cases.items():
            text = case.read_text().replace("PORT", str(self.ports[name][which])).replace("UPSTREAM", str(self.upstream.port))
            (folder / "cases" / case.name).write_text(text.replace("FOLDER", str(folder)))
        # Their password is `password`.
        (folder / "users").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nbob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
        (folder / "groups").write_text("staff: alice\nothers: bob carol\n")
        (folder / "map").write_text("# colours\nRed crimson\nblue azure and more\n")
        self.authority.bundle(folder / "own.pem", HOST)
        self.authority.write_root(folder / "clients.pem")
        (folder / "options-ssl-apache.conf").write_text(_SSL_OPTIONS)
        lay_out(folder / "site")
        if which == 0:
            self.running.append(Running(original.command(folder, ports), folder, ports, dict(os.environ)))
            return
        file = folder / original.file
        file.write_text(original.ours(folder, ports))
        command = [sys.executable, "-m", "vestibule", "run", str(file), "--dialect", original.dialect, "--workers", "1"]
        self.running.append(Running(command, folder, ports, environment() | {"XDG_STATE_HOME": str(folder / "state")}))

    def ask(self, ask: Ask, name: str, which: int) -> tuple[list[object], object]:
        """Ask one side, and return what its upstream saw and its client got."""
        ports = self.ports[name]
        self.upstream.requests = []
        fields = ask.fields if any(each.lower() == "host" for each, _ in ask.fields) else (("Host", f"{HOST}:{ports[which]}"), *ask.fields)
        client = Client(("127.0.0.1", ports[which]), self._tls(ask, name), HOST)
        with client.connect() as wire:
            try:
                response: Response | str = client.request(ask.method, ask.target, fields, ask.body, wire)
            except (Truncated, ConnectionError):
                response = "hung up"  # before or in the middle of the request: which of both is a matter of moments
            except Exception as failure:
                response = type(failure).__name__
        seen = list(self.upstream.requests)
        got = response if isinstance(response, str) else got_by_client(response, bool(seen), ports)
        return seen_by_upstream(seen, ports), got

    def _tls(self, ask: Ask, name: str) -> ssl.SSLContext | None:
        """Return how a case is spoken to; None is without TLS."""
        if "own.pem" not in self.cases[name].read_text():
            return None
        tls = self.authority.client()
        if any(field == "X-Shows" for field, _ in ask.fields):
            tls.load_cert_chain(self.shown)
        return tls

    def stop(self) -> None:
        """End both, and the upstream."""
        close_all()
        for each in self.running:
            each.stop()
        self.upstream.close()


Pairs: TypeAlias = dict[tuple[str, str], Pair | None]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    """The pairs that were asked for so far; each is started once."""
    found: Pairs = {}
    yield found
    for pair in found.values():
        if pair is not None:
            pair.stop()


@pytest.mark.parametrize(("program", "name"), NAMES, ids=[f"{program}-{name}" for program, name in NAMES])
def test_both_do_the_same(program: str, name: str, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> None:
    if shutil.which(ORIGINALS[program].program, path=SEARCH) is None:
        pytest.skip(f"{program} is not installed")
    group = group_of(name)
    if (program, group) not in pairs:
        # What does not start is not started anew for each of its cases.
        pairs[program, group] = None
        pairs[program, group] = Pair(program, group, tmp_path_factory.mktemp(program))
    pair = pairs[program, group]
    assert pair is not None, f"{program} did not start"
    different: list[str] = []
    for ask in [*BATTERY, *asked_by(pair.cases[name].read_text())]:
        theirs, ours = pair.ask(ask, name, 0), pair.ask(ask, name, 1)
        if theirs != ours:
            different.append(f"{ask}\n  theirs {theirs}\n  ours   {ours}")
    assert not different, "\n".join(different)


def accept_socket(turn: Turn) -> None:
    """Switch protocols, send one piece and give back what comes first."""
    turn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello")
    turn.send(turn.read(4))


@pytest.mark.parametrize(
    ("program", "name", "path"),
    [
        ("nginx", "documented", "/api/socket.io"),
        ("apache", "documented", "/api/socket.io"),
        ("caddy", "whole_vaultwarden", "/notifications/hub?access_token=x"),
    ],
)
def test_both_pass_a_websocket(program: str, name: str, path: str, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> None:
    if shutil.which(ORIGINALS[program].program, path=SEARCH) is None:
        pytest.skip(f"{program} is not installed")
    if (program, "") not in pairs:
        pairs[program, ""] = Pair(program, "", tmp_path_factory.mktemp(program))
    pair = pairs[program, ""]
    assert pair is not None
    pair.upstream.script = accept_socket
    try:
        for port in pair.ports[name]:
            head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            rest = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            with Client(("127.0.0.1", port)).raw((head + rest).encode()) as wire:
                assert wire.read_head().status == 101
                assert wire.read(5) == b"hello"
                wire.send(b"ping")
                assert wire.read(4) == b"ping"
    finally:
        pair.upstream.script = answer


BODY = bytes(range(256)) * 1_000
"""A quarter of a megabyte: two seconds at 100 KiB in a second, of which nginx takes the first at once."""


def time_of(port: int, path: str) -> float:
    """Fetch the body and return how long that took."""
    began = time.monotonic()
    assert Client(("127.0.0.1", port)).get(path).body == BODY
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("program", "path", "least_s", "most_s"),
    [
        ("nginx", "/slow", 0.7, 15.0),
        ("nginx", "/set", 0.0, 1.2),
        ("nginx", "/free", 0.0, 0.6),
        ("nginx", "/if", 0.7, 15.0),
        ("apache", "/slow", 0.7, 15.0),
        ("apache", "/free", 0.0, 0.6),
    ],
)
def test_both_take_their_time(
    program: str, path: str, least_s: float, most_s: float, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if shutil.which(ORIGINALS[program].program, path=SEARCH) is None:
        pytest.skip(f"{program} is not installed")
    if (program, "") not in pairs:
        pairs[program, ""] = Pair(program, "", tmp_path_factory.mktemp(program))
    pair = pairs[program, ""]
    assert pair is not None
    pair.upstream.script = lambda turn: turn.answer(BODY)
    try:
        for port in pair.ports["pace"]:
            took = time_of(port, path)
            # A busy machine may be slow now and then; one that has a pace is so each time.
            for _ in range(9 if least_s == 0 else 0):
                took = min(took, time_of(port, path))
            assert least_s <= took <= most_s
    finally:
        pair.upstream.script = answer
