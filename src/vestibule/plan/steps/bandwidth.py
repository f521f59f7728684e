"""How many bytes of a body may pass in a second.

Facts
  A peer that is not read from stops by itself, so a limit needs no more than to take bytes on later: what is held is one read,
  or the rest of an HTTP/2 window, which is what a paused stream may still deliver (`contract.py`, 3).
  The wheel is late by up to 100 ms; an account that was even a little earlier than now makes up for that.

Rules
  A limit is a stream around a stream. It passes slices on, each at its moment; with the last one goes the end.
  A moment is taken before it comes, so those who share an account have it in turns.
  Its rate is asked for with the first byte. None, nothing, 0 and what is no number are no limit.
  Heads pass, and so does what we answer from memory. A tunnel out of HTTP is no body.
  Shared accounts are kept while somebody uses them. Counted in each worker.

Not here: how many requests (`limit.py`).
"""

from typing import Final

from vestibule.contract import DOWN, PASS, Around, Pacing, Step, Stream
from vestibule.exchange import Exchange
from vestibule.fault import Fault
from vestibule.http.fields import Fields
from vestibule.net.reactor import Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.net.transport import Transport
from vestibule.plan.expr import Node
from vestibule.plan.state import State

# Slices of a tenth of a second: the wheel cannot do better, and a client sees a steady pace.
_SLICES: Final = 10
_LATE_US: Final = 200_000
_KEY_MOST: Final = 256
_RATE_MOST: Final = 1 << 40
# As sizes are written in our files, and in those of nginx.
_UNITS: Final = {
    b"": 1,
    b"B": 1,
    b"KB": 1000,
    b"kB": 1000,
    b"MB": 1000**2,
    b"GB": 1000**3,
    b"KiB": 1024,
    b"MiB": 1024**2,
    b"GiB": 1024**3,
    b"k": 1024,
    b"K": 1024,
    b"m": 1024**2,
    b"M": 1024**2,
    b"g": 1024**3,
    b"G": 1024**3,
}
_LETTERS: Final = b"BKMGkmgi"
_LAYER_4: Final = b"TCP"


def size_of(text: bytes) -> int:
    """Read `500`, `500k`, `2MB` or `1GiB`; what is none of them is 0."""
    digits = text.rstrip(_LETTERS)
    unit = _UNITS.get(text[len(digits) :], 0)
    if not digits.isdigit() or len(digits) > 15:
        return 0
    return min(int(digits) * unit, _RATE_MOST)


class Account:
    """When what has passed is even with the rate."""

    def __init__(self) -> None:
        self.even_us = 0
        self.users = 0

    def take(self, now_us: int, count: int, rate: int) -> int:
        """Return the moment at which so many bytes may pass; it is taken."""
        at = max(self.even_us, now_us - _LATE_US) if self.even_us else now_us
        self.even_us = at + count * 1_000_000 // rate
        return at


class SharedAccounts(State):
    """The accounts that exchanges of a key share."""

    def __init__(self) -> None:
        self.now: dict[bytes, Account] = {}

    def close(self) -> None:
        pass  # exchanges in flight give back what they took

    def take(self, key: bytes) -> Account:
        """Return the account of a key, which has one more user."""
        found = self.now.get(key)
        if found is None:
            found = Account()
            self.now[key] = found
        found.users += 1
        return found

    def give_back(self, key: bytes) -> None:
        """One user is gone."""
        found = self.now.get(key)
        if found is not None:
            found.users -= 1
            if found.users == 0:
                del self.now[key]


class BandwidthLimit(Step):
    """Limits a body that goes to one side. `after` bytes pass first; `key` says who shares, None that nobody does. A later one takes the
    place of one with the same name.
    """

    def __init__(
        self, reactor: Reactor, side: int, rate: Node, after: Node | None, key: Node | None, shared: SharedAccounts, name: str = ""
    ) -> None:
        self.reactor = reactor
        self.side = side
        self.rate = rate
        self.after = after
        self.key = key
        self.shared = shared
        self.name = name

    def run(self, ex: Exchange) -> int:
        pacing = ex.pacing
        if not isinstance(pacing, Paces):
            pacing = Paces()
            ex.pacing = pacing
        down = ex.down
        if self.name and pacing.replaced(self):
            return PASS
        if self.side != DOWN:
            pacing.limits.append(self)
        elif down is not None:
            paced = Paced(ex, down, self)
            ex.down = paced
            pacing.downs.append(paced)
        return PASS


class Paces(Pacing):
    """All limits of one exchange. Inner ones first: they are nearer to the peer."""

    def __init__(self) -> None:
        self.limits: list[BandwidthLimit] = []
        self.downs: list[Paced] = []
        self._ups: list[Paced] = []

    def replaced(self, limit: BandwidthLimit) -> bool:
        """Put a limit in the place of one with the same name; tell whether there is one."""
        for paced in self.downs:
            if limit.side == DOWN and paced.limit.name == limit.name:
                paced.limit = limit
                return True
        for at in range(len(self.limits)):
            if limit.side != DOWN and self.limits[at].name == limit.name:
                self.limits[at] = limit
                return True
        return False

    def around(self, ex: Exchange, up: Stream) -> Stream:
        self._ups.clear()
        for limit in self.limits:
            paced = Paced(ex, up, limit)
            self._ups.append(paced)
            up = paced
        return up

    def on_drain(self, side: int) -> bool:
        ready = True
        for paced in self.downs if side == DOWN else self._ups:
            ready = ready and paced.go_on()
        return ready

    def holds(self, ex: Exchange) -> bool:
        for paced in self.downs:
            if paced.holds():
                return True
        if ex.tunneling:
            for paced in self._ups:
                if paced.holds():
                    return True
        return False

    def lift(self) -> None:
        for paced in self.downs:
            paced.lift()


class Paced(Around, Timed):
    """A stream to one side, with a limit before it."""

    def __init__(self, ex: Exchange, inner: Stream, limit: BandwidthLimit) -> None:
        super().__init__(inner)
        self._ex: Exchange | None = ex
        self.limit = limit
        self._deadline = Deadline(self)
        self._account: Account | None = None
        self._key = b""
        self._is_shared = False
        self._rate = -1  # not asked for yet; 0 is no limit
        self._free = 0
        self._pieces: list[bytes] = []
        self._at = 0  # how much of the first has gone
        self._slice = 0  # bytes whose moment is taken
        self._slice_ms = 0
        self._ended = False
        self._trailers: Fields | None = None
        self._blocked = False  # the stream inside said that it is enough

    # ---- from the exchange

    def send_body(self, data: bytes, end: bool) -> bool:
        if self._rate < 0:
            self._settle()
        if self._rate == 0:
            return self._inner.send_body(data, end)
        if not data and not self._pieces:
            return self._inner.send_body(data, end)
        if data:
            self._pieces.append(data)
        self._ended = end
        self._spend()
        return not self._pieces and not self._blocked

    def send_trailers(self, fields: Fields) -> bool:
        if not self._pieces:
            return self._inner.send_trailers(fields)
        self._ended = True
        self._trailers = fields
        return False

    def abort(self, fault: Fault) -> None:
        self._leave()
        self._inner.abort(fault)

    def release(self) -> None:
        ex = self._ex
        cut = bool(self._pieces) and self.limit.side == DOWN
        self._leave()
        if cut and ex is not None and ex.fault is not None:
            self._inner.abort(ex.fault)  # what the exchange takes for sent was still here
        else:
            self._inner.release()

    def relay_port(self) -> Transport | None:
        """Bytes past us would not be counted. What comes from this side is none of our business, but a relay has both ends."""
        if self._rate < 0:
            self._settle()
        return self._inner.relay_port() if self._rate == 0 else None

    def open_tunnel(self) -> bool:
        ex = self._ex
        if ex is not None and ex.request.method != _LAYER_4:
            self.lift()
        return self._inner.open_tunnel()

    # ---- from the limits of the exchange

    def holds(self) -> bool:
        """Tell whether something has not gone yet."""
        return bool(self._pieces)

    def held(self) -> int:
        """Return how many bytes have not gone yet."""
        return sum([len(piece) for piece in self._pieces]) - self._at

    def lift(self) -> None:
        """Limit nothing that comes from now on."""
        if not self._pieces:
            self._rate = 0

    def go_on(self) -> bool:
        """The stream inside takes more again. Return whether we do."""
        if self._rate <= 0:
            return True
        self._blocked = False
        if not self._pieces:
            return True
        self._spend()
        if self._pieces or self._blocked:
            return False
        if self._ended:
            self._tell()
            return False
        return True

    def on_deadline(self) -> None:
        if not self._pieces or self._blocked:
            return
        self._spend()
        if not self._pieces:
            self._tell()

    def _tell(self) -> None:
        """Everything has gone."""
        ex = self._ex
        if ex is None:
            return
        if self._ended:
            ex.on_paced()
        elif not self._blocked:
            ex.on_drain(self.limit.side)

    # ---- the pace

    def _settle(self) -> None:
        """Ask for the rate, and whose account it is."""
        ex = self._ex
        limit = self.limit
        self._rate = 0
        if ex is None:
            return
        rate = size_of(limit.rate.text(ex))
        if rate == 0:
            return
        if limit.key is None:
            self._account = Account()
        else:
            key = limit.key.text(ex)[:_KEY_MOST]
            if not key:
                return
            self._account = limit.shared.take(key)
            self._key = key
            self._is_shared = True
        self._rate = rate
        if limit.after is not None:
            self._free = size_of(limit.after.text(ex))

    def _spend(self) -> None:
        """Pass on what may go by now."""
        account = self._account
        now_ms = self.limit.reactor.now_ms
        while self._pieces and not self._blocked and account is not None:
            left = len(self._pieces[0]) - self._at
            if self._free > 0:
                count = min(left, self._free)
                self._free -= count
            else:
                if self._slice == 0:
                    self._slice = min(left, max(1, self._rate // _SLICES))
                    self._slice_ms = (account.take(now_ms * 1000, self._slice, self._rate) + 999) // 1000
                if self._slice_ms > now_ms:
                    self.limit.reactor.timers.arm(self._deadline, self._slice_ms)
                    return
                count = self._slice
                self._slice = 0
            self._pass_on(count)

    def _pass_on(self, count: int) -> None:
        piece = self._pieces[0]
        data = piece[self._at : self._at + count] if count < len(piece) else piece
        self._at += count
        if self._at == len(piece):
            del self._pieces[0]
            self._at = 0
        last = self._ended and not self._pieces
        trailers = self._trailers
        more = self._inner.send_body(data, last and trailers is None)
        if last and trailers is not None:
            more = self._inner.send_trailers(trailers)
        self._blocked = not more

    def _leave(self) -> None:
        self._ex = None
        self._deadline.drop()
        self._pieces = []
        if self._is_shared:
            self._is_shared = False
            self.limit.shared.give_back(self._key)
