"""Waiting for the body of a request, for those who look into it before it goes on, or of an answer, which goes on then.

Facts: a client that asks whether it may send (RFC 9110 10.1.1) sends nothing until it hears so. HAProxy looks into as much of a body as its
buffer holds.

Rules: no more is read than is asked for, and never more than the exchange holds back anyway; nobody waits for a body that will be
refused for its size. A body that does not come in time is
answered 408, that of an answer 504: its head is held back with it, so nobody has seen it. Where the server breaks off meanwhile, the
client gets an error instead.

Not here: bodies that are left out or replaced (`as_get.py`).
"""

from typing import Final

from vestibule.contract import ANSWERED, PASS, WAIT, Around, BodyWaiter, Ending, Step, Stream
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_TIMEOUT_BODY as LATE
from vestibule.fault import UPSTREAM_TIMEOUT_BODY as LATE_ANSWER
from vestibule.fault import Fault, FaultKind
from vestibule.http.fields import EMPTY, Fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.reactor import Reactor
from vestibule.net.timers import Deadline, Timed

BODY_MOST: Final = 65_536

# The same fault to logs and metrics; what mends it is another setting.
_HINT: Final = "The time of read_body sets how long."
_LATE: Final = FaultKind(LATE.name, LATE.side, LATE.status, LATE.retry, "The body of the request did not come in time.", _HINT)
_LATE_ANSWER: Final = FaultKind(
    LATE_ANSWER.name, LATE_ANSWER.side, LATE_ANSWER.status, LATE_ANSWER.retry, "The body of the answer did not come in time.", _HINT
)


class _Waiting(Timed, BodyWaiter, Ending):
    """One exchange that waits for its body."""

    def __init__(self, ex: Exchange, reactor: Reactor, least: int, time_ms: int) -> None:
        self._ex: Exchange | None = ex
        self._plan = ex.plan
        self._least = least
        self._time_ms = time_ms
        self._deadline = Deadline(self)
        reactor.timers.arm(self._deadline, reactor.now_ms + time_ms)
        ex.body_waiter = self
        ex.at_end(self)

    def on_body(self, ex: Exchange) -> None:
        if ex.has_body(self._least) and ex.waits_in(self._plan):
            self._stop()
            ex.proceed()

    def on_deadline(self) -> None:
        ex = self._ex
        self._stop()
        if ex is not None and ex.waits_in(self._plan):
            ex.waiting = False
            ex.fail(Fault(_LATE, f"{self._time_ms} ms (read_body)"))

    def on_end(self, ex: Exchange) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._ex is not None:
            self._ex.body_waiter = None
        self._ex = None
        self._deadline.drop()


class ReadBody(Step):
    """Waits until the body is there, or so much of it."""

    def __init__(self, reactor: Reactor, least: int, time_ms: int) -> None:
        self._reactor = reactor
        self._least = min(least, BODY_MOST)
        self._time_ms = time_ms

    def run(self, ex: Exchange) -> int:
        if ex.has_body(self._least) or 0 <= ex.plan.body_most < ex.request.fields.content_length:
            return PASS
        if ex.request.fields.expects_continue:
            ex.on_interim(ResponseHead(100, b"", EMPTY))
        if ex.over:
            return ANSWERED
        _Waiting(ex, self._reactor, self._least, self._time_ms)
        return WAIT


class HoldAnswer(Step):
    """Holds an answer back until its body is there, or so much of it."""

    def __init__(self, reactor: Reactor, least: int, time_ms: int) -> None:
        self._reactor = reactor
        self._least = min(least, BODY_MOST)
        self._time_ms = time_ms

    def run(self, ex: Exchange) -> int:
        down = ex.down
        if down is not None and not isinstance(down, _Held):
            ex.down = _Held(ex, down, self._reactor, self._least, self._time_ms)
        return PASS


class _Held(Around, Timed, Ending):
    """The stream to the client, which hears nothing of an answer before enough of it is there."""

    def __init__(self, ex: Exchange, inner: Stream, reactor: Reactor, least: int, time_ms: int) -> None:
        super().__init__(inner)
        self._ex: Exchange | None = ex
        self._reactor = reactor
        self._least = least
        self._time_ms = time_ms
        self._deadline = Deadline(self)
        self._head: RequestHead | ResponseHead | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        ex.at_end(self)

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        if end or (isinstance(head, ResponseHead) and head.status < 200):
            return self._inner.send_head(head, end)
        self._head = head
        self._reactor.timers.arm(self._deadline, self._reactor.now_ms + self._time_ms)
        return True

    def send_body(self, data: bytes, end: bool) -> bool:
        if self._head is None:
            return self._inner.send_body(data, end)
        if data:
            self._pieces.append(data)
            self._size += len(data)
        return self._pass_on(end) if end or self._size >= self._least else True

    def send_trailers(self, fields: Fields) -> bool:
        self._pass_on(False)
        return self._inner.send_trailers(fields)

    def _pass_on(self, end: bool) -> bool:
        head = self._head
        self._deadline.drop()
        if head is None:
            return True
        self._head = None
        more = self._inner.send_head(head, False)
        body = b"".join(self._pieces)
        self._pieces.clear()
        return self._inner.send_body(body, end) if body or end else more

    def takes_back(self) -> bool:
        ex = self._ex
        if ex is None or self._head is None:
            return False
        self._deadline.drop()
        self._head = None
        self._pieces.clear()
        ex.down = self._inner
        ex.response_bytes = 0
        return True

    def on_deadline(self) -> None:
        ex = self._ex
        if ex is None or ex.over or not self.takes_back():
            return
        ex.response = None
        fault = Fault(_LATE_ANSWER, f"{self._time_ms} ms (read_body)")
        ex.drop_up(fault)
        ex.fail(fault)

    def on_end(self, ex: Exchange) -> None:
        self._ex = None
        self._deadline.drop()
