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
from itertools import count
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr, trait

from vestibule.counts import ServerCounts
from vestibule.fault import Fault
from vestibule.http.fields import Fields
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.http.proxy_protocol import ProxyHeader
from vestibule.net.peer import PeerCertificate, Secured
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

    def within(self, outer: "Timeouts") -> "Timeouts":
        """Return those that hold in a plan with time-outs of its own (`outer`), where these held before."""
        return outer


_NUMBERS: Final = count(1)


class Client:
    """What is known of a client connection, shared by its exchanges.

    Addresses are text as bytes (`192.0.2.1`, `2001:db8::1`, `unix:`); `scheme` is `http` or `https`;
    `sni` is the name asked for in the TLS handshake, or nothing, `alpn` the protocols offered there, with commas between, where
    nobody but we look at it; `certificate` is what the client showed there, `secured` what
    knows the rest of it.
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
        self.first = b""  # what came first, where a choice of a server depends on it
        self.tls_version = b""
        self.tls_cipher = b""
        self.tls_resumed = False
        self.tls_session = b""
        self.tls_protocol = b""  # agreed on by ALPN
        self.certificate: PeerCertificate | None = None
        self.rules = b""  # by which the client was asked for it
        self.secured: Secured | None = None
        self.number = next(_NUMBERS)
        self.since_ms = 0  # when the connection was accepted
        self.announced: ProxyHeader | None = None  # what a PROXY header said, if it said anything
        self.requests = 0
        self.kept: dict[bytes, bytes] | None = None  # what steps keep for all requests
        self.memo_step: Step | None = None
        self.memo_from: Fields | None = None
        self.memo_to: Fields | None = None
        self.memo_address = b""

    def own_certificate(self) -> bytes:
        """Return the certificate that the client was shown (DER); nothing where there is none."""
        return b"" if self.secured is None else self.secured.own_certificate()

    def forget(self) -> None:
        """Give up the memory of the last edit."""
        self.memo_step = None
        self.memo_from = None
        self.memo_to = None


class Keeping:
    """How long a client's connection is kept after an answer: idle, for how many requests in all, up to which age; -1 is as for its
    listener. `told_s` is what the client hears of the first."""

    def __init__(self, idle_ms: int = -1, requests: int = -1, age_ms: int = -1, told_s: int = 0) -> None:
        self.idle_ms = idle_ms
        self.requests = requests
        self.age_ms = age_ms
        self.told_s = told_s

    def ends(self, requests: int, age_ms: int) -> bool:
        """Tell whether a connection of this age that has had so many requests has had its last."""
        return self.idle_ms == 0 or 0 <= self.requests <= requests or 0 <= self.age_ms <= age_ms


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

    def keep(self, keeping: Keeping) -> None:
        """Keep the connection of the client by this after the answer. Said before its head."""

    def open_tunnel(self) -> bool:
        """From here on bytes are opaque in both directions. Return whether the stream can."""
        return False

    def takes_back(self) -> bool:
        """Tell whether nothing of an answer has gone yet that was begun here; it never goes then, and another one may."""
        return False

    def secured(self) -> Secured | None:
        """Return what knows of the TLS of an upstream stream; None where there is none."""
        return None

    def takes_rest(self) -> bool:
        """Tell whether an upstream stream still wants the rest of the request once it has answered."""
        return False


@mypyc_attr(allow_interpreted_subclasses=True)
class Around(Stream):
    """A stream around another, to which everything passes that is not changed on the way; a relay past it is not possible."""

    def __init__(self, inner: Stream) -> None:
        self._inner = inner

    def send_head(self, head: RequestHead | ResponseHead, end: bool) -> bool:
        return self._inner.send_head(head, end)

    def send_body(self, data: bytes, end: bool) -> bool:
        return self._inner.send_body(data, end)

    def send_trailers(self, fields: Fields) -> bool:
        return self._inner.send_trailers(fields)

    def pause(self) -> None:
        self._inner.pause()

    def resume(self) -> None:
        self._inner.resume()

    def abort(self, fault: Fault) -> None:
        self._inner.abort(fault)

    def release(self) -> None:
        self._inner.release()

    def relay_left(self) -> int:
        return self._inner.relay_left()

    def relayed(self, count: int) -> None:
        self._inner.relayed(count)

    def refuse_rest(self) -> None:
        self._inner.refuse_rest()

    def keep(self, keeping: Keeping) -> None:
        self._inner.keep(keeping)

    def open_tunnel(self) -> bool:
        return self._inner.open_tunnel()

    def takes_back(self) -> bool:
        return self._inner.takes_back()

    def secured(self) -> Secured | None:
        return self._inner.secured()

    def takes_rest(self) -> bool:
        return self._inner.takes_rest()


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
class BodyWaiter:
    """Who waits for the body of a request before it goes on."""

    def on_body(self, ex: "Exchange") -> None:
        """More of it is there, or all."""
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

    def count_servers(self) -> int:
        """Return how many servers may serve now; those that stand by only where no other may, by rank."""
        return 0

    def count_requests(self, waiting: bool) -> int:
        """Return how many requests servers have in hand or are waited for with, or those that wait alone."""
        return 0


class Chosen:
    """The one of several that a source chose for an exchange. `watches` says that it wants to see the answer; `token` marks clients
    that stay with it; `address` is where it is; `counts` is there where somebody wants to know what becomes of its requests."""

    def __init__(self) -> None:
        self.watches = False
        self.token = b""
        self.address = b""
        self.counts: ServerCounts | None = None

    def on_answer(self, ex: "Exchange", head: ResponseHead) -> bool:
        """Look at the head of the final answer. Return whether the source begins again instead of taking it."""
        return False


class Attempt:
    """A server that was asked before the one that is asked now; -1 is what did not come about. `last` says that another source
    took over."""

    def __init__(self, address: bytes, status: int, connect_ms: int, head_ms: int, took_ms: int, last: bool) -> None:
        self.address = address
        self.status = status
        self.connect_ms = connect_ms
        self.head_ms = head_ms
        self.took_ms = took_ms
        self.last = last


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


_NO_STATUS: Final = 1000
"""More than any."""


class ErrorPlan:
    """The plan of what answers in the place of errors with some statuses; no statuses are all from `least` on.

    `shown` is the status that the client sees: 0 is the answer's own, -1 that of the error. `upstream` says that answers of
    upstreams count as errors too. `looks` are steps at the answer that is replaced; one that does not pass leaves it alone. `passes`
    are fields of that answer (lower case) that go on into the new one. `whole` wants the request as it came, where nobody has any of it.
    """

    def __init__(
        self,
        plan: "Plan",
        statuses: Sequence[int],
        shown: int,
        upstream: bool,
        looks: Sequence[Step] = (),
        least: int = 400,
        passes: Sequence[bytes] = (),
        whole: bool = False,
    ) -> None:
        self.plan = plan
        self.shown = shown
        self.whole = whole
        self.looks: list[Step] = list(looks)
        self.passes: list[bytes] = list(passes)
        self.least = min(statuses, default=least) if upstream else _NO_STATUS  # of answers that it may replace
        self._statuses: set[int] = set(statuses)
        self._upstream = upstream
        self._from = least

    def takes(self, status: int, is_answer: bool) -> bool:
        """Tell whether it is for this status, of an upstream's answer or of an error that arose here."""
        if is_answer and not self._upstream:
            return False
        return status in self._statuses if self._statuses else status >= self._from


class Plan:
    """What should happen to a request. Immutable once compiled.

    `body_most` is the largest request body allowed, -1 for any; `name` and `site` are for logs and status. `half_close` says that the sides
    of a tunnel end by themselves; else both end with one of them.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        request: list[Step] | None = None,
        response: list[Step] | None = None,
        filters: list[FilterMaker] | None = None,
        log: list[LogLine] | None = None,
        error_page: ErrorPage | None = None,
        timeouts: Timeouts | None = None,
        body_most: int = -1,
        errors: list[ErrorPlan] | None = None,
        half_close: bool = True,
        site: str = "",
    ) -> None:
        # Lists are taken as they are, and plans that have none share one. What every request asks for comes first: in a row,
        # it is one or two lines of the processor's cache for each of ten thousand sites.
        self.request: list[Step] = request or _NO_STEPS
        self.source = source
        self.timeouts = timeouts
        self.body_most = body_most
        self.replaces_from = min([each.least for each in errors or _NO_ERRORS], default=_NO_STATUS)  # the status from which answers may be
        self.response: list[Step] = response or _NO_STEPS
        self.filters: list[FilterMaker] = filters or _NO_FILTERS
        self.log: list[LogLine] = log or _NO_LOG
        self.errors: list[ErrorPlan] = errors or _NO_ERRORS
        self.error_page = error_page
        self.half_close = half_close
        self.name = name
        self.site = site


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


_NO_STEPS: Final[list[Step]] = []
_NO_FILTERS: Final[list[FilterMaker]] = []
_NO_LOG: Final[list[LogLine]] = []
_NO_ERRORS: Final[list[ErrorPlan]] = []
DEFAULT_TIMEOUTS: Final = Timeouts()
PLAIN_PAGE: Final = PlainPage()
