"""What nginx's own suite asks of nginx, in short and in our words: Debian's nginx and vestibule run a file and are asked the same.

A case is a file in `retyped`, in which PORT, OTHER and THIRD stand for ports of the case, DEAD for one where nobody listens, UPSTREAM for
an upstream that records what it sees, and FOLDER for a folder of its own. A line `#> GET / HTTP/1.0 | Name: value | =body` is a request
as it goes over the wire: no Host is added to it. `#= text` says what both have to answer, so that two that fail are not alike.
A body of an error that begins with `own` is one that the file says, and is compared.

Rules: every request has a connection of its own, which ends with the answer.
"""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.client import close_all
from tests.e2e.ports import free_ports
from tests.e2e.rig import environment
from tests.e2e.upstream import Upstream

from .compare import folded, seen_by_upstream
from .originals import ORIGINALS, SEARCH, Running
from .test_differential import answer, lay_out

CASES = sorted(Path(os.environ.get("RETYPED", Path(__file__).parent / "retyped")).glob("*.conf"))
WAIT_S = 10
_PORTS = ("PORT", "OTHER", "THIRD")
_OURS = frozenset((b"server", b"date", b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"via", b"vary", b"etag"))
_PAGE = _OURS | {b"content-type", b"cache-control", b"retry-after", b"last-modified", b"accept-ranges", b"content-security-policy"}

pytestmark = pytest.mark.skipif(shutil.which("nginx", path=SEARCH) is None, reason="nginx is not installed")


@dataclass
class Raw:
    """A request as it goes over the wire, and a text that its answer has in it."""

    text: str
    expected: str = ""
    wire: bytes = field(init=False)

    def __post_init__(self) -> None:
        first, *rest = [part.strip(" ") for part in self.text.split(" | ")]
        body = "".join([part[1:] for part in rest if part.startswith("=")])
        fields = [part for part in rest if not part.startswith("=")]
        if body and not any(each.lower().startswith(("content-length", "transfer-encoding")) for each in fields):
            fields.append(f"Content-Length: {len(body)}")
        if first.endswith("HTTP/1.1"):
            fields.append("Connection: close")
        body = body.replace("\\r", "\r").replace("\\n", "\n")
        self.wire = "".join([f"{line}\r\n" for line in (first, *fields, "")]).encode("latin-1") + body.encode()


def asked_by(text: str) -> list[Raw]:
    """Return the requests of a case."""
    found: list[Raw] = []
    for line in text.splitlines():
        if line.startswith("#> "):
            found.append(Raw(line[3:]))
        elif line.startswith("#= "):
            found[-1].expected = line[3:]
    return found


def ask(port: int, wire: bytes) -> bytes:
    """Return everything that is answered."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as client:
        try:
            client.sendall(wire)
            while piece := client.recv(65_536):
                said += piece
        except ConnectionError:
            said += b"(reset)"
        except TimeoutError:
            said += b"(silence)"
    return said


def taken_apart(said: bytes, by_upstream: bool, ports: tuple[int, ...]) -> object:
    """Return status, fields, body and trailers of an answer, without what is no matter."""
    head, found, body = said.partition(b"\r\n\r\n")
    if not found:
        return said.removesuffix(b"(reset)")
    line, *lines = head.split(b"\r\n")
    fields = [(name, value.strip()) for name, _, value in [each.partition(b":") for each in lines]]
    status = int(line.split(b" ")[1])
    trailers: list[tuple[bytes, bytes]] = []
    if any(name.lower() == b"transfer-encoding" for name, _ in fields):
        whole = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            if not int(size or b"0", 16):
                trailers = [(name, value.strip()) for name, _, value in [each.partition(b":") for each in body.split(b"\r\n") if each]]
                break
            whole += body[: int(size, 16)]
            body = body[int(size, 16) + 2 :]
        body = whole
    made_here = status >= 300 and (not by_upstream or b"</html>" in body)
    if made_here and not body.startswith(b"own"):
        body = b""  # a page of the program's
    pair = (ports[0], ports[1])
    return status, folded(fields, _PAGE if made_here else _OURS, pair), body, folded(trailers, frozenset(), pair)


class Pair:
    """nginx and vestibule with all cases."""

    def __init__(self, folder: Path) -> None:
        self.upstream = Upstream()
        self.upstream.script = answer
        self.running: list[Running] = []
        self.ports: list[dict[str, dict[str, int]]] = [{}, {}]
        original = ORIGINALS["nginx"]
        free = free_ports(1 + 2 * len(_PORTS) * len(CASES))
        dead = free.pop()
        try:
            for which, place in enumerate(("theirs", "ours")):
                home = folder / place
                (home / "cases").mkdir(parents=True)
                (home / "users").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nbob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
                lay_out(home / "site")
                (home / "site/plain").write_text("this is plain\n")
                os.utime(home / "site/plain", (1_600_000_000, 1_600_000_000))
                waited: list[int] = []
                for case in CASES:
                    ports = self.ports[which][case.stem] = {name: free.pop() for name in _PORTS}
                    text = case.read_text().replace("UPSTREAM", str(self.upstream.port)).replace("DEAD", str(dead))
                    waited += [port for name, port in ports.items() if f":{name}" in text or f"listen {name}" in text]
                    for name, port in ports.items():
                        text = text.replace(name, str(port))
                    (home / "cases" / case.name).write_text(text.replace("FOLDER", str(home)))
                if which == 0:
                    self.running.append(Running(original.command(home, waited), home, waited, dict(os.environ)))
                    continue
                file = home / original.file
                file.write_text(original.ours(home, waited))
                command = [sys.executable, "-m", "vestibule", "run", str(file), "--dialect", "nginx", "--workers", "1"]
                self.running.append(Running(command, home, waited, environment() | {"XDG_STATE_HOME": str(home / "state")}))
        except BaseException:
            self.stop()
            raise

    def asked(self, raw: Raw, case: str, which: int) -> tuple[object, object, bytes]:
        """Ask one of both; return what the upstream saw, what the client got, and that as it came."""
        ports = tuple(self.ports[which][case].values())
        self.upstream.requests = []
        wire = raw.wire.replace(b"PORT", str(ports[0]).encode())
        said = ask(ports[0], wire)
        seen = list(self.upstream.requests)
        return seen_by_upstream(seen, (ports[0], ports[1])), taken_apart(said, bool(seen), ports), said

    def stop(self) -> None:
        """End both, and the upstream."""
        close_all()
        for each in self.running:
            each.stop()
        self.upstream.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both, started once."""
    made = Pair(tmp_path_factory.mktemp("retyped"))
    yield made
    made.stop()


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_both_do_the_same(case: Path, pair: Pair) -> None:
    different: list[str] = []
    for raw in asked_by(case.read_text()):
        theirs, ours = pair.asked(raw, case.stem, 0), pair.asked(raw, case.stem, 1)
        if theirs[:2] != ours[:2]:
            different.append(f"{raw.text}\n  theirs {theirs[:2]}\n  ours   {ours[:2]}")
        if raw.expected.encode() not in theirs[2]:
            different.append(f"{raw.text}\n  nginx does not say {raw.expected!r}: {theirs[2]!r}")
    assert not different, "\n".join(different)
