"""Asks another server, or a route of the same site, whether a request may pass.

Facts: the question is an exchange of its own, whose client is memory. It carries the fields of the request, but no body, and does not
ask for a WebSocket: servers that decide take none, and many fail.

Rules
  Only an answer from 200 to 299 lets the request pass. No answer, and any other, does not: 401 and 403 are passed on with what
  they ask for, everything else is 500, unless the whole answer is passed on.
  Fields that the answer may set are taken out of the request first, so that no client brings its own. That holds as well where
  a route further in makes its fields anew from what the client sent (`forward.py`): what was copied is copied again.
  If the client leaves, the question is dropped. It ends as well once more of an answer came than is passed on; what its head says
  counts then, unless the whole was to be passed on.

Not here: who is asked (`compile.py`).
"""

import time
from typing import Final

from vestibule.contract import ANSWERED, PASS, WAIT, Ending, ErrorPage, Plan, Relays, Step, Stream
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, PROXY_ASKED, PROXY_DENIED, UPSTREAM_SURPLUS, Fault
from vestibule.http.fields import EMPTY, Fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.http.semantics import clean_value
from vestibule.net.reactor import Later, Reactor
from vestibule.plan.expr import EXCHANGE, Node
from vestibule.plan.sent import SentFields, came_fields, own_method
from vestibule.plan.steps.as_get import without_body
from vestibule.plan.steps.deny import with_status
from vestibule.plan.steps.edit import Edit, set_field
from vestibule.plan.steps.keep import keep
from vestibule.plan.steps.rewrite import Rewrite
from vestibule.plan.steps.when import run_from

# The most of an answer that is passed on; a page that asks for a name is smaller.
_BODY_MOST: Final = 262_144


# Before the name of a field, what was copied into it is kept; no name of a configuration begins so.
_COPIED: Final = b"\0"


class NoPage(ErrorPage):
    """What goes wrong with a question is no answer to it."""

    def answer(self, ex: Exchange, fault: Fault) -> None:
        ex.hang_up(fault)


class Quiet(Ending):
    """A question writes no line of the log of a route that answers it; what its own plan counts is counted."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def on_end(self, ex: Exchange) -> None:
        ex.plan = self._plan


class Asker(Stream, Ending, Later):
    """The client side of the question."""

    def __init__(self, ex: Exchange, step: "AuthRequest", reactor: Reactor) -> None:
        self._ex: Exchange | None = ex
        self._plan = ex.plan
        self._step = step
        self.question: Exchange | None = None
        self.head: ResponseHead | None = None
        self.body: list[bytes] = []
        self._size = 0
        self._ends = False  # the answer is larger than what is taken of one
        self.waits = False
        self.over = False
        self._reactor = reactor

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        if isinstance(head, ResponseHead) and head.status >= 200:
            self.head = head
        return True

    def send_body(self, data: bytes, end: bool) -> bool:
        self._size += len(data)
        if self._size <= _BODY_MOST:
            self.body.append(data)
        elif not self._ends:
            # The rest is not wanted. From here nothing may call the exchange, so it is ended in the next turn.
            self._ends = True
            self.body.clear()
            self._reactor.call_later(self)
        return not self._ends

    def send_trailers(self, fields: Fields) -> bool:
        return True

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def abort(self, fault: Fault) -> None:
        if not self._ends:
            self.head = None
        self._done()

    def release(self) -> None:
        self._done()

    def on_end(self, ex: Exchange) -> None:
        self._ex = None
        question = self.question
        self.question = None
        if question is not None:
            question.hang_up(Fault(CLIENT_GONE))

    def _done(self) -> None:
        self.over = True
        self.question = None
        head = self.head
        if self._ends and self._step.passes_answer and head is not None and not 200 <= head.status < 300:
            self.head = None  # half an answer is none
        if self.waits:
            self._reactor.call_later(self)  # not from inside the end of another exchange

    def on_turn(self) -> None:
        question = self.question
        if question is not None:
            question.hang_up(Fault(UPSTREAM_SURPLUS, f"over {_BODY_MOST} bytes of an answer to a question"))
            return
        ex = self._ex
        self._ex = None
        if ex is not None and ex.waits_in(self._plan) and self._step.decide(ex, self) == PASS:
            ex.proceed()


class CopiedFields(Edit):
    """Gives fields the values that an answer had for them, and nobody else's. Where nothing was asked they stay as they are."""

    def __init__(self, names: list[bytes]) -> None:
        super().__init__(EXCHANGE)
        self._names = names

    def apply(self, ex: Exchange, fields: Fields) -> Fields:
        kept = ex.kept
        if kept is None:
            return fields
        for name in self._names:
            lower = name.lower()
            value = kept.get(_COPIED + lower)
            if value is not None:
                fields = set_field(fields, name, lower, value)
        return fields


class AuthRequest(Step):
    """Asks by a plan. `copies` are fields of the answer (lower case) that go into the request under a name; `refused` has the last word
    where the answer is 401 or 403; `status_as` is the name that the status of one that lets pass is kept under."""

    def __init__(
        self,
        reactor: Reactor,
        plan: Plan,
        method: bytes,
        path: Node | None,
        query: Node | None,
        copies: list[tuple[bytes, bytes]],
        passes_answer: bool,
        refused: list[Step] | None = None,
        status_as: bytes = b"",
    ) -> None:
        self._reactor = reactor
        self._plan = plan
        self._quiet = Quiet(plan)
        self._method = method
        self._rewrite = Rewrite(path, query)
        self._copies = copies
        self._copied = CopiedFields([name for _, name in copies])
        self.passes_answer = passes_answer
        self._refused: list[Step] = [] if refused is None else refused
        self._status_as = status_as

    def run(self, ex: Exchange) -> int:
        asker = Asker(ex, self, self._reactor)
        question = Exchange(asker, ex.client, self._plan, Relays(), int(time.monotonic() * 1000))
        question.client_address = ex.client_address
        asker.question = question
        question.at_end(self._quiet)
        ex.at_end(asker)
        head = without_body(ex.request)
        head.own_method = own_method(ex.request)
        question.request = head
        self._rewrite.run(question)
        if self._method:
            question.request.method = self._method
        question.on_request(question.request, True)
        if asker.over:
            return self.decide(ex, asker)
        asker.waits = True
        return WAIT

    def decide(self, ex: Exchange, asker: Asker) -> int:
        """Act on the answer; return PASS, ANSWERED after the client was answered, or WAIT where what has the last word waits."""
        head = asker.head
        if head is not None and 200 <= head.status < 300:
            ex.auth_answer = head.fields
            self._copy(ex, head.fields)
            if self._status_as:
                keep(ex, self._status_as, b"%d" % head.status, False)
            return PASS
        if head is None:
            ex.fail(Fault(PROXY_ASKED, "the server that decides gave no answer"))
        elif self._refused and head.status in (401, 403):
            self._copy(ex, EMPTY)  # who passes by the last word brings none of them
            behind = ex.rests  # what follows this step waits for those
            ex.rests = None
            said = run_from(self._refused, 0, ex)
            if behind is not None and said != ANSWERED:
                ex.wait_with(behind)
            return said
        elif self.passes_answer:
            pairs = [
                (name, value) for name, value in head.fields.end_to_end().spelled() if name.lower() not in (b"content-length", b"date")
            ]
            ex.answer(head.status, pairs, b"".join(asker.body))
        elif head.status in (401, 403):
            ex.auth_answer = head.fields
            ex.fail(Fault(with_status(PROXY_DENIED, head.status)))
        else:
            ex.fail(Fault(PROXY_ASKED, f"the server that decides answered {head.status}"))
        return ANSWERED

    def _copy(self, ex: Exchange, answer: Fields) -> None:
        if not self._copies:
            return
        for lower, name in self._copies:
            keep(ex, _COPIED + name.lower(), clean_value(b", ".join(answer.get_all(lower))), False)
        head = ex.request
        head.fields = SentFields(self._copied.apply(ex, head.fields), came_fields(head), head.authority)
