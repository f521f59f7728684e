"""What one listener needs to know to serve a connection.

Rules: a door is immutable; a reload makes new doors. A connection asks its `Porch` for the door of
now at every request, so a reload shows at the next request of a kept connection while exchanges in
flight keep their plan.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from vestibule.contract import Plan, Relays, Timeouts
from vestibule.fault import CLIENT, CLIENT_TLS, PROXY_LIMITED, UPSTREAM
from vestibule.http.address import NetworkSet
from vestibule.http.fields import FieldsTable
from vestibule.http.h1 import HeadLimits
from vestibule.net.reactor import Reactor
from vestibule.net.tls import TlsChoice

# What becomes of PROXY headers (`announced.py`).
STRICT: Final = 0
OPEN: Final = 1
NOTE: Final = 2


class SessionLimits:
    """What holds for sessions of datagrams: how long they may be silent, how many there may be, after how many of a client's
    datagrams the next one begins another, and how many answer each. -1 is any number."""

    def __init__(self, idle_ms: int = 120_000, most: int = 4_096, requests: int = -1, responses: int = -1) -> None:
        self.idle_ms = idle_ms
        self.most = most
        self.requests = requests
        self.responses = responses


class Door:
    """One listener's part of a configuration.

    `announcers` are the networks whose PROXY headers are read, before anything else; None expects no such header. `announcing` says
    what becomes of them.
    `raw` passes connections on as they are; `inspects` waits for their ClientHello first, or for so many bytes, if not for -1.
    `http2` allows HTTP/2 (by ALPN on TLS, by prior knowledge on plain listeners), `http1` what came before.
    `connections_rate` is how many are taken in a second, -1 for any.
    `requests_most` closes a connection in good order after so many requests; -1 is for ever.
    `sessions` is there where datagrams come in, not connections.
    `reasons` are words of status lines for answers that bring none. `wordy` says what goes without saying in HTTP/1.1.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        limits: HeadLimits,
        timeouts: Timeouts,
        tls: TlsChoice | None = None,
        http2: bool = False,
        requests_most: int = -1,
        connections_most: int = -1,
        http1: bool = True,
        announcers: NetworkSet | None = None,
        raw: bool = False,
        inspects: int = -1,
        connections_rate: int = -1,
        announcing: int = STRICT,
        sessions: SessionLimits | None = None,
        reasons: dict[int, bytes] | None = None,
        wordy: bool = False,
    ) -> None:
        self.name = name
        self.plan = plan
        self.limits = limits
        self.timeouts = timeouts
        self.tls = tls
        self.http1 = http1
        self.http2 = http2
        self.requests_most = requests_most
        self.connections_most = connections_most
        self.announcers = announcers
        self.announcing = announcing
        self.raw = raw
        self.inspects = inspects
        self.connections_rate = connections_rate
        self.sessions = sessions
        self.reasons: dict[int, bytes] = reasons or {}
        self.wordy = wordy


class Tally:
    """Counts of one worker, for `vestibule status`."""

    def __init__(self) -> None:
        self.connections = 0
        self.accepted = 0
        self.held_back = 0  # times that a listener looked away because of its rate
        self.requests = 0
        self.exchanges = 0
        self.tunnels = 0
        self.refused_headers = 0  # PROXY headers of those who may send none, and what should have been one
        self.handshakes_failed = 0
        self.sessions = 0  # of datagrams
        self.sessions_refused = 0  # datagrams of new clients, where there were too many
        self.datagrams_dropped = 0  # that could not be sent on, in either direction


# What refusals are about: the kind of fault, how loudly it is told, and what happened.
AT_HANDSHAKE: Final = (CLIENT_TLS.name, "info", "a client was refused at its TLS handshake")
AT_LIMIT: Final = (PROXY_LIMITED.name, "warning", "a datagram was dropped")


@mypyc_attr(allow_interpreted_subclasses=True)
class Refusals:
    """Tells of clients that are refused where they see no page, and ask the operator why. One a second is told."""

    def __init__(self, about: tuple[str, str, str] = AT_HANDSHAKE) -> None:
        self.kind, self.level, self._what = about
        self._told_at_ms = -1000
        self._held = 0

    def note(self, now_ms: int, details: dict[str, str], reason: str) -> None:
        """Take one, with its reason."""
        if now_ms - self._told_at_ms < 1000:
            self._held += 1
            return
        if self._held:
            details["held_back"] = str(self._held)
        self._told_at_ms = now_ms
        self._held = 0
        self.tell(f"{self._what}: {reason}", details)

    def tell(self, text: str, details: dict[str, str]) -> None:
        """Say it to whoever listens; nobody does here."""


class Porch:
    """What outlives a reload at one listener: the door of now, and what all its connections share."""

    def __init__(self, reactor: Reactor, door: Door, relays: Relays, tally: Tally) -> None:
        self.reactor = reactor
        self.door = door
        self.relays = relays
        self.tally = tally
        self.refusals = Refusals()
        self.stopping = False
        self.request_table = FieldsTable(CLIENT, door.limits.fields)

    def change_door(self, door: Door) -> None:
        """Serve by this door from the next request on."""
        if door.limits.fields != self.door.limits.fields:
            self.request_table = FieldsTable(CLIENT, door.limits.fields)
        self.door = door


def response_table() -> FieldsTable:
    """Return the table of response heads of one worker."""
    return FieldsTable(UPSTREAM, 200)
