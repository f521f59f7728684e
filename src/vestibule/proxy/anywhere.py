"""The source that asks the server which a request names.

Facts: whoever writes such a configuration lets requests choose where they go. What they name is text of strangers: there is no end
to the hosts that may be named, and some of them lie inside one's own network.

Rules
  1. Each place has connections of its own, which are kept as those of other servers are, over reloads as well. There are those of
     `PLACES_MOST` places; the one that was asked longest ago is forgotten first, and finishes what it does.
  2. What is no host with a port is refused, and nothing is connected.
  3. A request for a name that is looked up waits for that, but no longer than for a connection (`timeouts.connect`).

Not here: how a server is asked (`upstream.py`), looking names up (`lookups.py`, the control process).
"""

from typing import Final

from vestibule.contract import Source
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_NO_SERVER, UPSTREAM_UNRESOLVED, Fault, ProtocolError
from vestibule.http.target import host_of, split_authority
from vestibule.net.reactor import Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.proxy.balance import KeyText
from vestibule.proxy.family import Kin
from vestibule.proxy.lookups import KNOWN, NOTHING, Lookups, NameWaiter
from vestibule.proxy.rules import Rules
from vestibule.proxy.upstream import Server, Upstream

PLACES_MOST: Final = 256

# RFC 1035 2.3.4: the longest name, with a port behind it.
_TEXT_MOST: Final = 253 + 6

# What names and addresses are made of.
_HOST: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]"


class _Held(NameWaiter, Timed):
    """A request that waits until the host it names is known."""

    def __init__(self, source: "Anywhere", ex: Exchange, name: str) -> None:
        self._source = source
        self._ex = ex
        self._name = name
        self.deadline = Deadline(self)

    def on_name(self) -> None:
        self._source.release(self._ex)

    def on_deadline(self) -> None:
        self._source.give_up(self._ex, self._name)

    def leave(self) -> None:
        self.deadline.drop()
        self._source.lookups.leave(self._name, self)


class Anywhere(Source):
    """Sends each request where an expression says; `port` is for places without one."""

    def __init__(
        self, name: str, where: KeyText, port: int, tries_most: int, rules: Rules, kin: Kin, reactor: Reactor, lookups: Lookups
    ) -> None:
        self._name = name
        self._where = where
        self._port = port
        self._tries_most = tries_most
        self._rules = rules
        self._kin = kin
        self._reactor = reactor
        self._places: dict[tuple[str, int], Upstream] = {}
        self._held: dict[Exchange, _Held] = {}
        self.lookups = lookups

    def start(self, ex: Exchange) -> None:
        text = self._where.text(ex)
        place = place_of(text, self._port)
        if place is None:
            ex.fail(Fault(PROXY_NO_SERVER, text[:_TEXT_MOST].decode("ascii", "replace")))
            return
        known = self.lookups.look(place[0], self._reactor.now_ms)
        if known == KNOWN:
            self._find(place).start(ex)
        elif known == NOTHING or not self._hold(ex, place[0]):
            ex.fail(Fault(UPSTREAM_UNRESOLVED, place[0]))

    def _hold(self, ex: Exchange, name: str) -> bool:
        """Have a request wait for a name. Return whether it does."""
        held = _Held(self, ex, name)
        if not self.lookups.wait(name, held):
            return False
        self._held[ex] = held
        self._reactor.timers.arm(held.deadline, self._reactor.now_ms + ex.timeouts.connect_ms)
        return True

    def release(self, ex: Exchange) -> None:
        """What is known of the name of a request that waited is known now."""
        held = self._held.pop(ex, None)
        if held is None:
            return
        held.deadline.drop()
        self.start(ex)

    def give_up(self, ex: Exchange, name: str) -> None:
        """The name of a request that waits was not found in time."""
        self._held.pop(ex).leave()
        ex.fail(Fault(UPSTREAM_UNRESOLVED, f"{name}: no answer from DNS for {ex.timeouts.connect_ms} ms (timeouts.connect)"))

    def retry(self, ex: Exchange, fault: Fault) -> bool:
        upstream = self._of(ex)
        return upstream is not None and upstream.retry(ex, fault)

    def cancel(self, ex: Exchange) -> None:
        if ex in self._held:
            self._held.pop(ex).leave()
            return
        upstream = self._of(ex)
        if upstream is not None:
            upstream.cancel(ex)

    def _of(self, ex: Exchange) -> Upstream | None:
        """Return where a request went that was begun here."""
        chosen = ex.chosen
        if isinstance(chosen, Server) and isinstance(chosen.owner, Upstream):
            return chosen.owner
        place = place_of(self._where.text(ex), self._port)
        return None if place is None else self._places.get(place)

    def _find(self, place: tuple[str, int]) -> Upstream:
        """Return what asks the server of a place."""
        found = self._places.pop(place, None)
        if found is None:
            if self._kin.count() >= PLACES_MOST:
                self._forget()
            server = Server(self._kin.pool(place[0], place[1]))
            found = Upstream(self._name, [server], self._tries_most, None, self._rules, reactor=self._reactor)
        # Asked last, so it goes last.
        self._places[place] = found
        return found

    def _forget(self) -> None:
        """Forget the place that was asked longest ago, and those that were asked before the last reload only."""
        if len(self._places) >= PLACES_MOST:
            del self._places[next(iter(self._places))]
        self._kin.keep(set(self._places))


def place_of(text: bytes, port: int) -> tuple[str, int] | None:
    """Read a host or an address, with a port or without; None for anything else."""
    if not text or len(text) > _TEXT_MOST:
        return None
    try:
        host, said = split_authority(text)
    except ProtocolError:
        return None
    if said:
        if said.translate(None, b"0123456789") or not 1 <= int(said) <= 65_535:
            return None
        port = int(said)
    if not host or host.translate(None, _HOST):
        return None
    return host_of(text).decode("ascii").strip("[]"), port
