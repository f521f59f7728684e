"""What a program does with a request that two readers could understand differently.

Facts: the cases are those of `tests/e2e/cases.py`, where vestibule must refuse every one of them.

Outcomes
  400 (any status)  refused; nothing reached the upstream
  closed            refused without an answer
  cut               the head had been forwarded when the fault appeared in the body, and the request was given up
  mended            forwarded as something that can be read in one way only
  PASSED            forwarded with the bytes that make it ambiguous
  hangs             no answer within the wait
"""

import contextlib
import socket
import time

from tests.attack.recorder import Recorder
from tests.e2e.cases import SMUGGLED, Case

WAIT_S = 1.2
_BENIGN = frozenset((b"GET / HTTP/1.1", b"Host: photos.test", b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"hello", b"0", b""))
PASSED = "PASSED"


def evil_of(case: Case) -> list[bytes]:
    """Return the lines of a case that no ordinary request has."""
    text = case.send.removesuffix(SMUGGLED)
    return [line for line in text.split(b"\r\n") if line not in _BENIGN]


def outcome(case: Case, port: int, recorder: Recorder) -> str:
    """Send a case to the program on a port, and tell what came of it."""
    recorder.drop()
    recorder.take()
    answer, ended = ask(port, case.send)
    recorder.settle(0.3)
    seen = b"".join(recorder.take())
    status = status_of(answer)
    if not seen:
        if status:
            return status
        return "closed" if ended else "hangs"
    return _forwarded(case, seen, status)


def _forwarded(case: Case, seen: bytes, status: str) -> str:
    """Judge what reached the upstream. Names of fields mean the same in any case, so case does not count."""
    if case.reach == "cut" and not _is_whole(seen):
        return "cut"
    lower = seen.lower()
    evil = [line.lower() for line in evil_of(case) if len(line) > 1]
    if any(lower.count(line) >= evil.count(line) for line in evil):
        return PASSED
    return "mended" if status.startswith("2") else "cut"


def _is_whole(seen: bytes) -> bool:
    """Tell whether a forwarded chunked or counted message has its end."""
    head, _, body = seen.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return body.rstrip().endswith(b"0") or b"0\r\n\r\n" in body
    return True


def status_of(answer: bytes) -> str:
    """Return the status of the first final answer; a server of HTTP/0.9 gives none."""
    for line in answer.split(b"\r\n"):
        if line.startswith(b"HTTP/") and line[9:10] != b"1":
            return line[9:12].decode("latin-1")
    return "200" if answer else ""


def ask(port: int, data: bytes) -> tuple[bytes, bool]:
    """Send bytes to a port of this machine; return the answer, and whether the connection was closed."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.settimeout(0.3)
        with contextlib.suppress(OSError):
            sock.sendall(data)
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            try:
                piece = sock.recv(65_536)
            except TimeoutError:
                if answer:
                    return answer, False
                continue
            except OSError:
                return answer, True
            if not piece:
                return answer, True
            answer += piece
    return answer, False
