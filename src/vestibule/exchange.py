"""The heart: one request and its response, carried between two streams.

Facts
  A proxied exchange is two messages that overlap: the response may begin, and even end, before the
  request has (RFC 9110 7.5, 15.2). Either side may be slower than the other, and either may vanish.

Rules
  A plan is entered, its steps run in order, its source starts an upstream stream or answers itself.
  Every failure comes through `on_fault`; every exchange ends in `_finish`, which writes the log line.
  What streams, steps and sources owe us, and we them, stands in `contract.py`.

Not here: bytes (`http/`), sockets (`net/`), who answers (`plan/`, `proxy/upstream.py`).
"""

from typing import Final

from vestibule.contract import (
    DEFAULT_TIMEOUTS,
    DOWN,
    PASS,
    PLAIN_PAGE,
    UP,
    WAIT,
    Attempt,
    BodyFilter,
    BodyWaiter,
    Chosen,
    Client,
    Ending,
    Pacing,
    Plan,
    Relays,
    Step,
    Stream,
)
from vestibule.fault import CLIENT, CLIENT_BODY_TOO_LARGE, PROXY_LOOP, UPSTREAM, UPSTREAM_TRUNCATED, Fault
from vestibule.http.fields import EMPTY, Fields, fields_of
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.transport import MARK

# Plans entered by one exchange: nested switches need few, a circle needs all.
_ENTER_MOST: Final = 30

NO_REQUEST: Final = RequestHead(b"", b"", b"", EMPTY, b"HTTP/1.1")


class Exchange:
    """One request and its response.

    Made by the downstream connection for each request; gone when `over` is True.
    """

    def __init__(self, down: Stream, client: Client, plan: Plan, relays: Relays, now_ms: int) -> None:
        self.down: Stream | None = down
        self.up: Stream | None = None
        self.client = client
        self.plan = plan
        self.relays = relays
        self.timeouts = plan.timeouts or DEFAULT_TIMEOUTS
        self.request: RequestHead = NO_REQUEST
        self.response: ResponseHead | None = None
        self.fault: Fault | None = None
        self.over = False
        self.began_ms = now_ms
        self.around = False  # it was given back to its site once
        self.error_status = 0  # of the error in whose place a plan answers
        self._cause: Fault | None = None  # that error, if it is a fault
        self._shown = 0
        self._passed: list[tuple[bytes, bytes]] = []  # fields of the answer that was replaced
        self._dropping = False  # the rest of the request goes nowhere
        self.whole = False  # that plan has the request as it came
        self.own_body = False  # one of ours went upstream, or will, in the place of the client's

        # Where the real client is, if a trusted peer forwards for it.
        self.client_address = client.address
        self.variables: list[bytes] | None = None

        self._step = 0
        self._entered = 0
        self.request_ended = self.response_ended = self.tunneling = False
        self.waiting = False  # a source or step has not called back yet
        self.rests: list[Step] | None = None  # what is left of steps that hold others, one of which waits
        self.endings: list[Ending] | None = None
        self.kept: dict[bytes, bytes] | None = None  # what steps keep for later ones
        self.instead: bytes | None = None  # the body of an answer in the place of the one that was to pass
        self.auth_answer: Fields | None = None  # of the server that was asked whether this request may pass
        self.tries = 0
        self.tried = 0  # which servers of the source, one bit each
        self.try_ms = now_ms  # when the last try began
        self.hold_until_ms = 0  # how long it may wait while no server can be reached; 0 while one could
        self.chosen: Chosen | None = None
        self.attempts: list[Attempt] | None = None  # before the one that was chosen now
        self.mark = b""  # what the client came with, and a server has

        self.pacing: Pacing | None = None  # where a limit of bytes per second was met
        self._paced_out = False  # all is done, but for bytes that wait for their moment

        self.body_waiter: BodyWaiter | None = None
        self._backlog: list[bytes] = []
        self._backlog_trailers: Fields | None = None
        self._backlog_bytes = 0
        self._filter: BodyFilter | None = None

        # What a log line or a retry wants to know.
        self.request_bytes = self.response_bytes = 0
        self.head_bytes = 0  # of the response as HTTP/1 sent it
        self.upstream_name = ""
        self.connect_ms = self.head_ms = -1
        self.up_status = -1  # as the server said it
        self.came: Fields | None = None  # of a server's last answer, as they came
        self.ended_ms = 0
        self.datagrams_in = self.datagrams_out = 0  # where the bodies are datagrams

    # ---- from the downstream stream

    def on_request(self, head: RequestHead, end: bool) -> None:
        """Take the head of the request and act on it."""
        self.request = head
        self.request_ended = end
        self.proceed()

    def on_request_body(self, data: bytes, end: bool) -> None:
        """Take a piece of the request body."""
        down = self.down
        if self.over or down is None:
            return
        self.request_bytes += len(data)
        if end:
            self.request_ended = True
        if self._dropping:
            return
        most = self.plan.body_most
        if 0 <= most < self.request_bytes and not self.tunneling:
            self.on_fault(DOWN, Fault(CLIENT_BODY_TOO_LARGE, f"over {most} bytes (limits.body)"))
            return
        up = self.up
        if up is None:
            self._keep(down, data)
            if self.body_waiter is not None:
                self.body_waiter.on_body(self)
        else:
            self._forward(up, down, data, end)

    def on_request_trailers(self, fields: Fields) -> None:
        """Take the trailers of the request; its body is over."""
        down = self.down
        if self.over or down is None:
            return
        self.request_ended = True
        if self._dropping:
            return
        up = self.up
        if up is None:
            self._backlog_trailers = fields
            if self.body_waiter is not None:
                self.body_waiter.on_body(self)
            return
        if not up.send_trailers(fields):
            down.pause()
        if self.response_ended:
            self._finish(None)

    def _forward(self, up: Stream, down: Stream, data: bytes, end: bool) -> None:
        if not up.send_body(data, end):
            down.pause()
        if not end:
            self.relays.try_body(self, DOWN)  # also when it was enough for now: one read of a fast client always is
        elif self.response_ended:
            self._finish(None)
        elif self.tunneling:
            self.on_half_closed()

    def _keep(self, down: Stream, data: bytes) -> None:
        """Hold body bytes until there is an upstream stream; no more than one read, since we pause."""
        if data:
            self._backlog.append(data)
            self._backlog_bytes += len(data)
        if self._backlog_bytes >= MARK:
            down.pause()

    def has_body(self, least: int) -> bool:
        """Tell whether so many bytes of the body are held until there is an upstream stream, or all that will be."""
        return self.request_ended or self._dropping or self._backlog_bytes >= least

    def held_back_body(self) -> bytes:
        """Return what of the body is held."""
        return b"".join(self._backlog)

    # ---- deciding

    def proceed(self) -> None:
        """Go on with the next step of the plan; after the last one, start its source."""
        plan = self.plan
        self.waiting = False
        if self.rests is not None and not self._run_rests():
            return
        while self._step < len(plan.request):
            step = plan.request[self._step]
            self._step += 1
            said = step.run(self)
            if said != PASS:
                self.waiting = said == WAIT
                return
        most = plan.body_most
        if 0 <= most < self.request.fields.content_length:
            self.fail(Fault(CLIENT_BODY_TOO_LARGE, f"{self.request.fields.content_length} bytes, and limits.body is {most}"))
            return
        self.waiting = True
        plan.source.start(self)

    def wait_with(self, steps: list[Step]) -> None:
        """Have these follow what is left of steps that hold others."""
        self.rests = [*(self.rests or []), *steps]

    def _run_rests(self) -> bool:
        """Go on with what is left of steps that hold others; return whether all of it is done."""
        rests = self.rests or []
        self.rests = None
        for at in range(len(rests)):
            said = rests[at].run(self)
            if said == WAIT:
                self.waiting = True
                self.rests = (self.rests or []) + rests[at + 1 :]
            if said != PASS:
                return False
        return True

    def waits_in(self, plan: Plan) -> bool:
        """Tell whether it still waits for a step of this plan. An error may have been met meanwhile that another plan answers."""
        return not self.over and self.plan is plan

    def enter(self, plan: Plan) -> None:
        """Go on in another plan, from its first step."""
        self._entered += 1
        if self._entered > _ENTER_MOST:
            self.fail(Fault(PROXY_LOOP, plan.name))
            return
        self.plan = plan
        self.rests = None  # of the plan that is left
        if plan.timeouts is not None:
            self.timeouts = self.timeouts.within(plan.timeouts)
        self._step = 0
        self.proceed()

    def fail(self, fault: Fault) -> None:
        """Answer with the error page of this fault, or cut what cannot be answered any more."""
        self.on_fault(fault.kind.side if fault.kind.side != 2 else DOWN, fault)

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer without an upstream. Raises ValueError for headers that are none."""
        self._cancel_source()
        down = self.down
        if self.over or down is None or self.response is not None:
            return
        pairs = list(headers)
        if status not in (204, 304):
            pairs.append((b"Content-Length", b"%d" % len(body)))
        self.drop_up(self.fault or Fault(UPSTREAM_TRUNCATED))
        if self.pacing is not None:
            self.pacing.lift()  # what is in memory is not worth a wait
        if not self.request_ended:
            down.refuse_rest()
        self.response = ResponseHead(status, b"", fields_of(pairs))
        if self.error_status:
            self._show_error(self.response)
        self._run_response_steps()
        if self.instead is not None:
            body = self.instead
            status = self.response.status
        self._send_whole(self.down or down, self.response, status, body, self.fault)

    def _send_whole(self, down: Stream, response: ResponseHead, status: int, body: bytes, fault: Fault | None) -> None:
        """Send an answer from memory, and end; `status` says whether it may have a body."""
        bare = not body or self.request.method == b"HEAD" or status in (204, 304)
        down.send_head(response, bare)
        if not bare:
            down.send_body(body, True)
            self.response_bytes += len(body)
        self.response_ended = True
        self._finish(fault)

    def _cancel_source(self) -> None:
        """Tell a source that still waits for a stream that none is wanted any more."""
        if self.waiting:
            self.waiting = False
            self.plan.source.cancel(self)

    # ---- from the source

    def connected(self, up: Stream, name: str) -> None:
        """Take the upstream stream and send it what there is of the request."""
        self.waiting = False
        if self.pacing is not None:
            up = self.pacing.around(self, up)
        self.up = up
        self.upstream_name = name
        backlog = self._backlog
        trailers = self._backlog_trailers
        whole = (self.request_ended or self._dropping) and not backlog and trailers is None
        up.send_head(self.request, whole)
        if not backlog and trailers is None:
            return
        self._backlog = []
        last = len(backlog) - 1
        enough = False
        for i in range(len(backlog)):
            enough = not up.send_body(backlog[i], (self.request_ended or self._dropping) and trailers is None and i == last)
        if trailers is not None:
            enough = not up.send_trailers(trailers)
        if self._backlog_bytes >= MARK and not enough and self.down is not None:
            self.down.resume()
        self._backlog_bytes = 0

    def on_interim(self, head: ResponseHead) -> None:
        """Pass on a 1xx head (RFC 9110 15.2)."""
        if not self.over and self.down is not None and self.response is None:
            self.down.send_head(head, False)

    def on_response(self, head: ResponseHead, end: bool) -> None:
        """Take the head of the final response."""
        down = self.down
        if self.over or down is None:
            return
        chosen = self.chosen
        if chosen is not None and chosen.watches and chosen.on_answer(self, head):
            return
        self.up_status = head.status
        self.came = head.fields
        plan = self.plan
        self.response = head
        if head.status >= plan.replaces_from and self._answer_error(head.status, end, None):
            return
        if self.error_status:
            self._show_error(head)
        if plan.response:
            self._run_response_steps()
            down = self.down or down  # a step may have put something around it
            if self.instead is not None:
                self._answer_instead(down, self.response, self.instead, end)
                return
        if plan.filters and (not end or self.request.method == b"HEAD"):
            self._choose_filter(end)
        if not self.request_ended and head.fields.close and self.up is not None and not self.up.takes_rest():
            down.refuse_rest()  # an early answer, and nobody will read on behind it: the head can say so
        more = down.send_head(self.response, end)
        if end:
            self._end_response()
        elif not more:
            self._pause_up()

    def _run_response_steps(self) -> None:
        for step in self.plan.response:
            step.run(self)

    def _answer_instead(self, down: Stream, response: ResponseHead, body: bytes, is_whole: bool) -> None:
        """Send what a response step put in the place of an upstream's answer, which `is_whole` says is all there."""
        self.relays.stop(self)
        up = self.up
        self.up = None
        if up is not None:
            if is_whole and self.request_ended:
                up.release()
            else:
                up.abort(Fault(UPSTREAM_TRUNCATED))
        if self.pacing is not None:
            self.pacing.lift()  # as in `answer`
        if not self.request_ended:
            down.refuse_rest()
        self._send_whole(down, response, response.status, body, None)

    def _choose_filter(self, end: bool) -> None:
        for maker in self.plan.filters:
            if maker.wants(self):
                self._filter = None if end else maker.make(self)
                return

    def on_response_body(self, data: bytes, end: bool) -> None:
        """Take a piece of the response body."""
        down = self.down
        if self.over or down is None:
            return
        if self._filter is not None:
            data = self._filter.feed(data, end)
            if not data and not end:
                return
        self.response_bytes += len(data)
        if not down.send_body(data, end):
            self._pause_up()
        if end:
            self._end_response()
        elif self._filter is None:
            self.relays.try_body(self, UP)

    def on_response_trailers(self, fields: Fields) -> None:
        """Take the trailers of the response; its body is over."""
        down = self.down
        if self.over or down is None:
            return
        if self._filter is not None:
            rest = self._filter.feed(b"", True)
            self._filter = None
            if rest:
                self.response_bytes += len(rest)
                down.send_body(rest, False)
        down.send_trailers(fields)
        self._end_response()

    def on_switched(self, head: ResponseHead) -> None:
        """Take a 101 that was asked for: pass it on and join both sides (RFC 9110 7.8)."""
        down = self.down
        if self.over or down is None:
            return
        if head.status == 101:
            chosen = self.chosen
            if chosen is not None and chosen.watches:
                chosen.on_answer(self, head)  # which leads to no other server: this one takes it
            self.up_status = head.status
            self.came = head.fields
        self.response = head
        self._run_response_steps()
        if self.instead is not None:
            self._answer_instead(down, self.response, self.instead, False)
            return
        self.tunneling = True
        self.request_ended = False  # both directions are open again, whatever the request said
        self._dropping = False
        down.send_head(self.response, False)
        self.relays.open_tunnel(self)

    def _pause_up(self) -> None:
        if self.up is not None:
            self.up.pause()

    def _end_response(self) -> None:
        self.response_ended = True
        if self.request_ended or self._dropping or self.up is None or not self.up.takes_rest():
            self._finish(None)
        else:  # the upstream answered early but reads on, as Node does, and so the rest of the request goes to it (RFC 9112 9.3)
            self.on_half_closed()

    def on_half_closed(self) -> None:
        """One side has sent all it will and reads on: a tunnel may have to end with it."""
        if self.tunneling and not self.plan.half_close:
            self.request_ended = self.response_ended = True
            self._finish(None)

    # ---- from either side

    def on_relayed(self, side: int, count: int, done: bool) -> None:
        """Note that `count` bytes of the body from `side` went past us; `done` ends that body."""
        up = self.up
        down = self.down
        if self.over or up is None or down is None:
            return
        if side == UP:
            self.response_bytes += count
            up.relayed(count)
            if done:
                self._end_response()
            return
        self.request_bytes += count
        down.relayed(count)
        if done:
            self.request_ended = True
            up.send_body(b"", True)
            if self.response_ended:
                self._finish(None)

    def on_drain(self, side: int) -> None:
        """The debt of a `send_*` that returned False is paid: the other side may go on."""
        down = self.down
        if self.over or down is None or (self.pacing is not None and not self.pacing.on_drain(side)):
            return
        if side == UP:
            down.resume()
        elif self.up is not None:
            self.up.resume()

    def on_paced(self) -> None:
        """The last bytes that waited for their moment have gone."""
        if self._paced_out and not self.over:
            self._finish(None)

    def on_fault(self, side: int, fault: Fault) -> None:
        """Take a failure: retry, answer, or cut, whatever the moment allows."""
        if self.over:
            return
        if side == UP and self.response_ended:
            # The answer is delivered; the upstream only did not care for the rest of the request.
            self._finish(None)
            return
        if side == UP and self.response is None and self.plan.source.retry(self, fault):
            return
        self.fault = fault
        if fault.kind.status and self.down is not None and (self.response is None or (side == UP and self.down.takes_back())):
            self.response = None
            if self.plan.errors and self._answer_error(fault.kind.status, False, fault):
                return
            self._shown = 0
            # What went wrong with the answer to an error is for the log; the client is told of the error.
            (self.plan.error_page or PLAIN_PAGE).answer(self, self._cause or fault)
            return
        self._finish(fault)

    def replaces(self, status: int) -> bool:
        """Tell whether a plan answers in the place of an error of ours."""
        if not self.error_status:
            for each in self.plan.errors:
                if each.takes(status, False) and not each.looks:
                    return True
        return False

    def _show_error(self, head: ResponseHead) -> None:
        """Give an answer in the place of an error its status, and what a client needs to show credentials."""
        if self._shown and not 300 < head.status < 400:  # a redirect in the place of an error leads on
            if head.status == 204:  # the end shows in no status any more
                head.fields = head.fields.without((b"content-length",)).plus([(b"Content-Length", b"0")])
            head.status = self._shown
            head.reason = b""
        asked = self.auth_answer
        if self.error_status == 401 and asked is not None and not head.fields.get_all(b"www-authenticate"):
            head.fields = head.fields.plus([(b"WWW-Authenticate", each) for each in asked.get_all(b"www-authenticate")])
        if self._passed:
            self._pass_fields(head)

    def _pass_fields(self, head: ResponseHead) -> None:
        """Give an answer the fields of the one it replaces. What another server says of them itself stays; cookies are added."""
        by_server = self.chosen is not None
        fields = head.fields
        added: list[tuple[bytes, bytes]] = []
        for name, value in self._passed:
            lower = name.lower()
            if lower != b"set-cookie" and by_server and fields.get_all(lower):
                continue
            if lower != b"set-cookie" and not by_server:
                head.fields = head.fields.without((lower,))
            added.append((name, value))
        head.fields = head.fields.plus(added)

    def _answer_error(self, status: int, is_whole: bool, cause: Fault | None) -> bool:
        """Enter the plan that answers in the place of an error, or of an upstream's answer, all of which may be there; return
        whether there is one.

        The request goes on without its body, unless nobody had any of it. An error that this plan meets has the plain page.
        """
        down = self.down
        if self.error_status or down is None:
            return False
        for each in self.plan.errors:
            if each.takes(status, cause is None) and self._looks(each.looks):
                self._cancel_source()
                self.relays.stop(self)
                if each.passes and self.response is not None:
                    self._passed = [pair for pair in self.response.fields.spelled() if pair[0].lower() in each.passes]
                self.response = None
                up = self.up
                if is_whole and self.request_ended and up is not None:
                    self.up = None
                    up.release()
                self.drop_up(cause or Fault(UPSTREAM_TRUNCATED))
                if each.whole and cause is not None and cause.kind.side != CLIENT and not self.upstream_name and not self._dropping:
                    self.whole = self.request_bytes == self._backlog_bytes
                if not self.request_ended and not self.whole:
                    down.refuse_rest()
                if not self.whole:
                    self._forget_body()
                if self.chosen is not None:
                    self.note_attempt(status, self.began_ms + self.head_ms if self.head_ms >= 0 else self.try_ms, True)
                self.error_status = status
                self._cause = cause
                self._shown = status if each.shown < 0 else each.shown
                self._count_chosen(0 if cause is not None else status, cause)
                self.chosen = None
                self.tries = self.tried = self.hold_until_ms = 0
                self.enter(each.plan)
                return True
        return False

    def _looks(self, steps: list[Step]) -> bool:
        """Tell whether the answer that there is passes steps; where there is none, it passes none."""
        return not steps or (self.response is not None and all(step.run(self) == PASS for step in steps))

    def note_attempt(self, status: int, now_ms: int, last: bool) -> None:
        """Remember how it went with the server that was asked; another one is asked now, or, with `last`, another source."""
        chosen = self.chosen
        if chosen is None:
            return
        if self.attempts is None:
            self.attempts = []
        self.attempts.append(self.attempt(chosen.address, status, now_ms - self.try_ms, last))
        self.connect_ms = self.head_ms = self.up_status = -1

    def attempt(self, address: bytes, status: int, took_ms: int, last: bool) -> Attempt:
        """Return how it goes with the server that is asked now; -1 is what did not come about."""
        head_ms = self.began_ms + self.head_ms - self.try_ms if self.head_ms >= 0 else -1
        connect_ms = max(0, self.connect_ms) if head_ms >= 0 else self.connect_ms
        return Attempt(address, status, connect_ms, head_ms, took_ms, last)

    def _count_chosen(self, status: int, cause: Fault | None) -> None:
        """Have it counted what became of the request at the server that is forgotten now."""
        chosen = self.chosen
        if chosen is None or chosen.counts is None:
            return
        if status:
            chosen.counts.answered(status)
        elif cause is not None and cause.kind.side == UPSTREAM:
            chosen.counts.failed()

    def drop_body(self) -> None:
        """Have the request go on without its body, which is read and goes nowhere."""
        if self._backlog_bytes >= MARK and self.down is not None:
            self.down.resume()
        self._forget_body()

    def put_body(self, data: bytes) -> None:
        """Have a body in the place of one that was dropped. It is there once, so the request is not sent again."""
        if data:
            self._backlog.append(data)
            self.own_body = True

    def _forget_body(self) -> None:
        self._dropping = True
        self._backlog.clear()
        self._backlog_bytes = 0
        self._backlog_trailers = None

    def at_end(self, ending: Ending) -> None:
        """Have something done when the exchange is over."""
        if self.endings is None:
            self.endings = []
        self.endings.append(ending)

    def hang_up(self, fault: Fault) -> None:
        """End without an answer: the client's connection is closed."""
        if not self.over:
            self._finish(fault)

    def withdraw(self) -> None:
        """End without a trace: nothing has happened yet, and somebody else takes the client's connection."""
        self.over = True
        self.down = None
        self.pacing = None
        self._backlog.clear()

    def drop_up(self, fault: Fault) -> None:
        """Abort the upstream stream without ending the exchange."""
        up = self.up
        self.up = None
        if up is not None:
            up.abort(fault)

    def _finish(self, fault: Fault | None) -> None:
        """End both streams, write the log line, cut every reference."""
        if self.pacing is not None and fault is None and self.pacing.holds(self):
            self._wait_for_pace()
            return
        self.over = True
        self.fault = fault or self._cause
        up = self.up
        down = self.down
        self.down = None
        self.relays.stop(self)
        if self.waiting:
            self._cancel_source()
        if self.endings is not None:
            endings = self.endings
            self.endings = None
            for each in endings:
                each.on_end(self)
        for line in self.plan.log:
            line.write(self)
        self.up = None  # until here, since a log may tell what was spoken with the server
        if up is not None:
            if fault is None and (self.request_ended or self._dropping):
                up.release()
            else:
                up.abort(fault or Fault(UPSTREAM_TRUNCATED))
        assert down is not None  # it was not over
        if self.response_ended:
            down.release()
        else:
            down.abort(fault or Fault(UPSTREAM_TRUNCATED))
        self._filter = None
        self._backlog.clear()
        self.pacing = None

    def _wait_for_pace(self) -> None:
        """Everything came, and not everything has gone. The upstream is not kept for that, except in a tunnel."""
        self._paced_out = True
        up = self.up
        if up is None or self.tunneling:
            return
        self.up = None
        self._dropping = True
        if self.request_ended:
            up.release()
        else:
            up.abort(Fault(UPSTREAM_TRUNCATED))
