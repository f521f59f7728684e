"""What an exchange and those around it promise each other.

Facts
  A client's connection and an upstream's are streams to an exchange. A plan says what happens to a request, by
  its steps and its source. Both know the exchange by its type, and the exchange knows them by the classes here.

The contract of `Stream`, tested by number in tests/conformance
  1. Order. Interim heads, head, body, trailers; `end` once per direction; nothing after it.
  2. False is a debt. `send_*` never refuses. False means "enough"; whoever returned it owes exactly
     one `on_drain` (or the end of the exchange).
  3. Pause is bounded. After `pause` a stream may still deliver what was in hand: at most one read
     (HTTP/1) or the rest of its window (HTTP/2).
  4. No echo. `send_*`, `pause` and `resume` never call the exchange. Sending happens in the flush at
     the end of the turn, and only there can it fail.
  5. One ending. Each stream sees exactly one of `release` and `abort`, once.
  6. Nothing survives. The end of an exchange cuts every reference.
  7. Neutral. Nothing here, in a plan or in a source mentions a version of HTTP.

Rules
  Types and defaults only: what happens, and in which order, stands in `exchange.py`.

Not here: bytes (`http/`), sockets (`net/`), who answers (`plan/`, `proxy/upstream.py`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr, trait

from vestibule.fault import Fault
from vestibule.http.fields import Fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.peer import PeerCertificate
from vestibule.net.transport import Transport

if TYPE_CHECKING:
    from vestibule.exchange import Exchange

# Sides, as `on_drain` and `on_fault` name them.
DOWN: Final = 0
UP: Final = 1

# What a step says (nginx calls them DECLINED, OK and AGAIN).
PASS: Final = 0  # go on with the next step
ANSWERED: Final = 1  # the step answered or entered another plan
WAIT: Final = 2  # the step will call `proceed`


class Timeouts:
    """How long, in milliseconds, each part of an exchange may go without progress."""

    def __init__(
        self,
        connect_ms: int = 5_000,
        request_head_ms: int = 60_000,
        body_idle_ms: int = 600_000,
        response_head_ms: int = 600_000,
        keep_alive_ms: int = 75_000,
        tunnel_idle_ms: int = 3_600_000,
        tls_handshake_ms: int = 15_000,
        hold_ms: int = 0,
    ) -> None:
        self.connect_ms = connect_ms
        self.request_head_ms = request_head_ms
        self.body_idle_ms = body_idle_ms
        self.response_head_ms = response_head_ms
        self.keep_alive_ms = keep_alive_ms
        self.tunnel_idle_ms = tunnel_idle_ms
        self.tls_handshake_ms = tls_handshake_ms
        self.hold_ms = hold_ms


class Client:
    """What is known of a client connection, shared by its exchanges.

    Addresses are text as bytes (`192.0.2.1`, `2001:db8::1`, `unix:`); `scheme` is `http` or `https`;
    `sni` is the name asked for in the TLS handshake, or nothing, `alpn` the protocols offered there, with commas between, where
    nobody but we look at it; `certificate` is what the client showed there.
    The `memo_*` fields belong to header editing: the last edit made for this connection, which holds
    as long as the same step meets the same fields (they depend on nothing else).
    """

    def __init__(self, address: bytes, port: int, local_address: bytes, local_port: int, scheme: bytes) -> None:
        self.address = address
        self.port = port
        self.local_address = local_address
        self.local_port = local_port
        self.scheme = scheme
        self.sni = b""
        self.alpn = b""
        self.hello = False  # a ClientHello was read that is not for us
        self.tls_version = b""
        self.tls_cipher = b""
        self.certificate: PeerCertificate | None = None
        self.requests = 0
        self.kept: dict[bytes, bytes] | None = None  # what steps keep for all requests
        self.memo_step: Step | None = None
        self.memo_from: Fields | None = None
        self.memo_to: Fields | None = None
        self.memo_address = b""

    def forget(self) -> None:
        """Give up the memory of the last edit."""
        self.memo_step = None
        self.memo_from = None
        self.memo_to = None


@mypyc_attr(allow_interpreted_subclasses=True)
class Stream:
    """One side of an exchange. Everything here only queues; nothing here calls back into the exchange."""

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        """Send the head: a request head upstream, a response head (interim ones too) downstream."""
        raise NotImplementedError

    def send_body(self, data: bytes, end: bool) -> bool:
        """Send a piece of the body; it may be empty only with `end`."""
        raise NotImplementedError

    def send_trailers(self, fields: Fields) -> bool:
        """Send trailers, which implies the end."""
        raise NotImplementedError

    def pause(self) -> None:
        """Deliver no more."""
        raise NotImplementedError

    def resume(self) -> None:
        """Deliver again."""
        raise NotImplementedError

    def abort(self, fault: Fault) -> None:
        """End at once, so that the peer cannot take what it has for the whole."""
        raise NotImplementedError

    def release(self) -> None:
        """Both directions ended well. If the request had not ended, its rest is not wanted any more."""
        raise NotImplementedError

    def relay_port(self) -> Transport | None:
        """Return the transport that bytes may be relayed from or to, past this stream, or None."""
        return None

    def relay_left(self) -> int:
        """Return how many body bytes a relay may carry from here now; -1 is without end, 0 none."""
        return 0

    def relayed(self, count: int) -> None:
        """Note that `count` bytes were relayed past this stream, from here or to here."""

    def refuse_rest(self) -> None:
        """The rest of the request is not wanted. Said before the head of an answer, so that it can say so too."""

    def open_tunnel(self) -> bool:
        """From here on bytes are opaque in both directions. Return whether the stream can."""
        return False

    def takes_rest(self) -> bool:
        """Tell whether an upstream stream still wants the rest of the request once it has answered."""
        return False


class Pacing:
    """What slows the bodies of one exchange (`plan/steps/bandwidth.py`). The stream to the client is inside it from the start."""

    def around(self, ex: "Exchange", up: Stream) -> Stream:
        """Return a stream around that to the upstream."""
        raise NotImplementedError

    def on_drain(self, side: int) -> bool:
        """The stream inside takes more again. Return whether the exchange may go on."""
        raise NotImplementedError

    def holds(self, ex: "Exchange") -> bool:
        """Tell whether bytes that the exchange has sent have not gone yet. When they have, `ex.on_paced` follows."""
        raise NotImplementedError

    def lift(self) -> None:
        """Slow nothing that goes to the client from now on."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Step:
    """One thing to do with a request before its source, or with a response after it."""

    def run(self, ex: "Exchange") -> int:
        """Do it. Return PASS, ANSWERED or WAIT (response steps: PASS)."""
        raise NotImplementedError


@trait
class Ending:
    """Something that must be done when an exchange is over, however it ends."""

    def on_end(self, ex: "Exchange") -> None:
        """Do it. The streams of the exchange are gone or about to be: nothing may be sent or entered."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Source:
    """Who answers."""

    def start(self, ex: "Exchange") -> None:
        """Begin to answer: `ex.connected` follows now or later, or `ex.answer`, `ex.fail` or `ex.enter`."""
        raise NotImplementedError

    def retry(self, ex: "Exchange", fault: Fault) -> bool:
        """Try again after a fault before the response head, if that is safe. Return whether it was begun."""
        return False

    def cancel(self, ex: "Exchange") -> None:
        """The exchange ended while `start` was still waiting for a stream."""


class Chosen:
    """The one of several that a source chose for an exchange. `watches` says that it wants to see the answer; `token` marks clients
    that stay with it."""

    def __init__(self) -> None:
        self.watches = False
        self.token = b""

    def on_answer(self, ex: "Exchange", head: ResponseHead) -> bool:
        """Look at the head of the final answer. Return whether the source begins again instead of taking it."""
        return False


@mypyc_attr(allow_interpreted_subclasses=True)
class BodyFilter:
    """Changes the body of one response as it passes."""

    def feed(self, data: bytes, end: bool) -> bytes:
        """Return what to send instead of `data`."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class FilterMaker:
    """Decides at the response head whether a filter is wanted, and makes it."""

    def wants(self, ex: "Exchange") -> bool:
        raise NotImplementedError

    def make(self, ex: "Exchange") -> BodyFilter:
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class LogLine:
    """Writes one line for each finished exchange."""

    def write(self, ex: "Exchange") -> None:
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class ErrorPage:
    """Makes the answer to a fault."""

    def answer(self, ex: "Exchange", fault: Fault) -> None:
        """Call `ex.answer` with what the client should read."""
        raise NotImplementedError


class ErrorPlan:
    """The plan of what answers in the place of errors with some statuses; no statuses are all of them.

    `shown` is the status that the client sees: 0 is the answer's own, -1 that of the error. `upstream` says that answers of
    upstreams count as errors too.
    """

    def __init__(self, plan: "Plan", statuses: Sequence[int], shown: int, upstream: bool) -> None:
        self.plan = plan
        self.shown = shown
        self._statuses: set[int] = set(statuses)
        self._upstream = upstream

    def takes(self, status: int, is_answer: bool) -> bool:
        """Tell whether it is for this status, of an upstream's answer or of an error that arose here."""
        if is_answer and not self._upstream:
            return False
        return status in self._statuses if self._statuses else status >= 400


class Plan:
    """What should happen to a request. Immutable once compiled.

    `body_most` is the largest request body allowed, -1 for any; `name` is for logs and status.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        request: Sequence[Step] = (),
        response: Sequence[Step] = (),
        filters: Sequence[FilterMaker] = (),
        log: Sequence[LogLine] = (),
        error_page: ErrorPage | None = None,
        timeouts: Timeouts | None = None,
        body_most: int = -1,
        errors: Sequence[ErrorPlan] = (),
    ) -> None:
        self.name = name
        self.source = source
        self.request: list[Step] = list(request)
        self.response: list[Step] = list(response)
        self.filters: list[FilterMaker] = list(filters)
        self.log: list[LogLine] = list(log)
        self.error_page = error_page
        self.timeouts = timeouts
        self.body_most = body_most
        self.errors: list[ErrorPlan] = list(errors)


class Relays:
    """What moves bytes past an exchange (`proxy/relays.py`)."""

    def try_body(self, ex: "Exchange", side: int) -> bool:
        """Relay the rest of the body that comes from `side`, if both ends can. Return whether it was begun."""
        return False

    def open_tunnel(self, ex: "Exchange") -> bool:
        """Join both streams for good after a switch of protocols. Return whether they can."""
        return False

    def stop(self, ex: "Exchange") -> None:
        """The exchange is over: let go of what was begun for it."""


class PlainPage(ErrorPage):
    """The shortest honest answer: the text of the fault."""

    def answer(self, ex: "Exchange", fault: Fault) -> None:
        body = f"{fault.kind.status}: {fault.kind.text}\n".encode()
        ex.answer(fault.kind.status, [(b"Content-Type", b"text/plain; charset=utf-8")], body)


DEFAULT_TIMEOUTS: Final = Timeouts()
PLAIN_PAGE: Final = PlainPage()
