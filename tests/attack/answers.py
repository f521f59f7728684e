"""What a program does with an answer that two readers could understand differently, and what the next client gets.

Outcomes
  502 (any status)  the client got an error of the proxy's own
  cut               the client could see that the answer was not whole
  mended            the client got something that can be read in one way only
  PASSED            the client got the bytes that make it ambiguous
  WHOLE             the client got a part and was told that it is the whole
  POISONED          the next request was answered with bytes that belonged to this one
  hangs             no answer within the wait
"""

from tests.attack.recorder import Recorder
from tests.attack.requests import PASSED, ask, status_of
from tests.e2e.test_upstream_faults import BAD_CHUNKS, BAD_HEADS, OK

POISONED = "POISONED"
WHOLE = "WHOLE"
CLEAN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean"
_NEXT = 3

CASES: dict[str, bytes] = (
    BAD_HEADS
    | {f"chunk: {name}": OK + b"Transfer-Encoding: chunked\r\n\r\n" + body for name, body in BAD_CHUNKS.items()}
    | {
        "junk after the answer": OK + b"Content-Length: 2\r\n\r\nok" + b"surplus",
        "an answer after the answer": OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 6\r\n\r\npoison",
        "a body behind 204": b"HTTP/1.1 204 No Content\r\n\r\n" + OK + b"Content-Length: 6\r\n\r\npoison",
        "a body behind 304": b"HTTP/1.1 304 Not Modified\r\n\r\n" + OK + b"Content-Length: 6\r\n\r\npoison",
        "shorter than its length": OK + b"Content-Length: 9\r\n\r\nok",
        "chunks without an end": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "20,000 interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    }
)
"""Answers of a broken or malicious upstream, by what is wrong with them (RFC 9112 6.3, 7.1, 9.2; RFC 9110 5.5, 15.2)."""

_BENIGN = frozenset(
    (
        *(b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified"),
        *(b"Content-Length: 2", b"Transfer-Encoding: chunked", b"ok", b"hello", b"2", b"5", b"0", b""),
    )
)


def get(target: bytes) -> bytes:
    """Write an ordinary request."""
    return b"GET " + target + b" HTTP/1.1\r\nHost: photos.test\r\nConnection: close\r\n\r\n"


def outcome(answer: bytes, port: int, recorder: Recorder) -> str:
    """Have the upstream give an answer through the program on a port, and tell what came of it."""
    recorder.drop()
    recorder.answer, recorder.hangs_up = CLEAN, False
    ask(port, get(b"/before"))  # a kept connection is what can be poisoned
    recorder.answer = answer
    recorder.hangs_up = True
    got, ended = ask(port, get(b"/bad"))
    recorder.answer, recorder.hangs_up = CLEAN, False
    for _ in range(_NEXT):
        said, _ = ask(port, get(b"/next"))
        if said and not said.endswith(b"clean"):
            return POISONED
    if not got:
        return "closed" if ended else "hangs"
    status = status_of(got)
    if status.startswith("5"):
        return status
    if not _is_whole(got):
        return "cut"
    lower = got.lower()
    evil = [line.lower() for line in answer.split(b"\r\n") if line not in _BENIGN]
    if any(line in lower for line in evil if len(line) > 1):
        return PASSED
    cut_short = answer.startswith(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    return WHOLE if cut_short or (b"hello" in answer and b"hello" not in got) else "mended"


def _is_whole(got: bytes) -> bool:
    """Tell whether a client would take what it got for a whole answer."""
    head, _, body = got.partition(b"\r\n\r\n")
    lower = head.lower()
    if b"chunked" in lower:
        return body.endswith(b"0\r\n\r\n")
    length = lower.partition(b"content-length:")[2].split(b"\r\n")[0].strip()
    return not length.isdigit() or len(body) >= int(length)
