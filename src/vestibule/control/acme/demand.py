"""Certificates of names nobody wrote down: whether a name may have one, and when it is got.

Facts: whoever connects can ask for any name, as often as he likes, and an issuer counts what we order. So a program of the user
is asked first: it knows which names are his.

How it goes. A worker says which name a client asks for. What is kept and still good is handed over. Otherwise the permission endpoint is
asked, then an order is made, while clients wait in their handshakes. The workers hear what became of it, all of them.

Rules:
* Everything is bounded: names worked on (`PENDING_MOST`), questions to the endpoint (`ASKS_MOST` within `ASKS_S`, each with a time-out),
  orders (`OnDemand.orders` within `per_ms`), names (`OnDemand.names`), refusals that are remembered.
* No answer of the endpoint, and any but 200, is a no. A no holds for `NO_S`, and so does a failed order at least.
* Renewal asks for permission as a first order does, and counts as one. A name that may no longer have a certificate keeps the one it has.
* A name is renewed while this program runs, and once it is asked for again after a start: what nobody visits is not renewed for ever.

Not here: the order (`work.py`), waiting clients (the workers).
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from vestibule.control.acme.keeper import Keeper, force, in_thread, state_of
from vestibule.control.acme.records import CERTIFICATES
from vestibule.control.acme.store import Store, StoreError
from vestibule.control.acme.wanted import Demanded, Wanted
from vestibule.control.logs import ErrorLog
from vestibule.link.messages import KeyPair
from vestibule.model.config import OnDemand

PENDING_MOST = 64
ASKS_MOST = 50
ASKS_S = 10.0
ASKS_AT_ONCE = 8
NO_S = 60.0
_NO_LONGEST_S = 3_600.0
_BUSY_S = 2.0
_REFUSALS_MOST = 1_024
# One name each time: a thousand take a quarter of an hour, and renewal has weeks.
PASS_S = 1.0
_SHOWN_MOST = 20

Tell = Callable[[dict[str, KeyPair], dict[str, int]], None]


class _Rate:
    """At most so many within a time."""

    def __init__(self) -> None:
        self._at: deque[float] = deque()

    def take(self, most: int, within_s: float) -> float:
        """Count one, if it may be, and return 0; or return after how many seconds it may."""
        now = time.monotonic()
        while self._at and self._at[0] <= now - within_s:
            self._at.popleft()
        if len(self._at) >= most:
            return self._at[0] + within_s - now
        self._at.append(now)
        return 0.0


class _No(Exception):
    """The name gets no certificate for so many seconds. What is told is told in the log."""

    def __init__(self, why: str, for_s: float, is_told: bool = True) -> None:
        super().__init__(why)
        self.why = why
        self.for_s = min(max(for_s, 1.0), _NO_LONGEST_S)
        self.is_told = is_told


class Demand:
    """Gets certificates for names that clients ask for. `want` says for which; `run` renews until it is cancelled."""

    def __init__(self, store: Store, journal: ErrorLog, keeper: Keeper, tell: Tell) -> None:
        self._store = store
        self._journal = journal
        self._keeper = keeper
        self._tell = tell
        self._demanded: Demanded | None = None
        self._known: dict[str, Wanted] = {}
        self._next: deque[str] = deque()
        self._pending: set[str] = set()
        self._refused: dict[str, tuple[float, str]] = {}
        self._asks = _Rate()
        self._orders = _Rate()
        self._turns = asyncio.Semaphore(ASKS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def want(self, demanded: Demanded | None) -> None:
        """Serve these names from now on; what was refused may be asked for again."""
        self._demanded = demanded
        self._refused = {}
        found = {name: demanded.find(name) for name in self._known} if demanded is not None else {}
        self._known = {name: each for name, each in found.items() if each is not None}

    def asked(self, name: str) -> None:
        """A client asks a worker for this name. Returns at once; the workers hear what becomes of it."""
        demanded = self._demanded
        wanted = demanded.find(name) if demanded is not None else None
        until, _ = self._refused.get(name, (0.0, ""))
        left = until - time.monotonic()
        if demanded is None or wanted is None:
            self._tell({}, {name: _told_ms(NO_S)})
        elif left > 0:
            self._tell({}, {name: _told_ms(left)})
        elif name in self._pending:
            pass  # all workers hear of it
        elif len(self._pending) >= PENDING_MOST:
            self._tell({}, {name: _told_ms(_BUSY_S)})
        else:
            self._pending.add(name)
            task = asyncio.get_running_loop().create_task(self._serve(name, wanted, demanded.terms))
            self._tasks.add(task)
            task.add_done_callback(self._on_done)

    async def renew(self, name: str) -> list[str]:
        """Have the certificate of a name renewed now, or got, whatever was refused; return it, nothing if it is not served on demand."""
        wanted = self._demanded.find(name) if self._demanded is not None and name else None
        if wanted is None:
            return []
        await asyncio.to_thread(force, self._store, wanted.id)
        self._refused.pop(name, None)
        self._known.setdefault(name, wanted)
        self._next.appendleft(name)
        return [name]

    async def run(self) -> None:
        """Look again and again whether one of the names is due."""
        while True:
            await asyncio.sleep(PASS_S)
            if not self._next:
                self._next.extend(self._known)
            while self._next:
                name = self._next.popleft()
                wanted = self._known.get(name)
                if wanted is not None and self._demanded is not None and name not in self._pending:
                    await self._renew(name, wanted, self._demanded.terms)
                    break

    def close(self) -> None:
        """Start nothing more."""
        for task in self._tasks:
            task.cancel()

    def report(self) -> dict[str, object]:
        """Return what there is to know, for `vestibule status`: how many names, which are worked on, and which were refused last."""
        if self._demanded is None:
            return {}
        now = time.monotonic()
        refused = [(name, why) for name, (until, why) in list(self._refused.items()) if until > now]
        pending = [self._demanded.find(name) for name in sorted(self._pending)[:_SHOWN_MOST]]
        working = [self._keeper.row(each) for each in pending if each is not None]
        return {
            "names": len(self._known),
            "pending": len(self._pending),
            "working": working,
            "refused": [{"name": name, "reason": why} for name, why in refused[-_SHOWN_MOST:]],
        }

    # ------------------------------------------------------------ one name

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._journal.error("control.bug", f"this is a bug of vestibule: {task.exception()!r}")

    async def _serve(self, name: str, wanted: Wanted, terms: OnDemand) -> None:
        # Whatever happens, the workers hear something: clients wait there.
        answer = _No("it is being looked for", _BUSY_S, is_told=False)
        pair: KeyPair | None = None
        try:
            pair = await self._kept(wanted) or await self._order(name, wanted, terms)
        except _No as no:
            answer = no
        except StoreError as bad:
            answer = _No(str(bad), NO_S)
        finally:
            self._pending.discard(name)
            if pair is None:
                self._refuse(name, answer)
            else:
                self._refused.pop(name, None)
                self._known[name] = wanted
                self._tell({name: pair}, {})

    def _refuse(self, name: str, no: _No) -> None:
        self._refused.pop(name, None)
        self._refused[name] = (time.monotonic() + no.for_s, no.why)
        while len(self._refused) > _REFUSALS_MOST:
            del self._refused[next(iter(self._refused))]
        if no.is_told:
            self._journal.warning("acme.demand", f"{name} gets no certificate: {no.why}")
        self._tell({}, {name: _told_ms(no.for_s)})

    async def _kept(self, wanted: Wanted) -> KeyPair | None:
        """Return the certificate that is kept, if it has not ended."""
        pair, facts, _, _ = await asyncio.to_thread(state_of, self._store, wanted.id)
        return pair if facts is not None and facts.not_after.timestamp() > time.time() else None

    async def _order(self, name: str, wanted: Wanted, terms: OnDemand) -> KeyPair:
        """Get a certificate, if it may be. Raises `_No`, `StoreError`."""
        story = (await asyncio.to_thread(self._keeper.row, wanted))["reason"]
        _, _, due, _ = await asyncio.to_thread(state_of, self._store, wanted.id)
        if not due:
            raise _No(f"the last try failed, and it is too early for another: {story}", NO_S, is_told=False)
        if terms.ask:
            await self._ask(name, terms.ask, terms.ask_within_ms / 1000)
        if name not in self._known and await self._count() >= terms.names:
            raise _No(f"there are {terms.names} names with certificates already (acme.on_demand.names)", 10 * NO_S)
        wait = self._orders.take(terms.orders, terms.per_ms / 1000)
        if wait:
            raise _No(f"{terms.orders} certificates were ordered within {terms.per_ms // 1000} s (acme.on_demand.orders)", wait)
        result = await self._keeper.obtain(wanted)
        if result.pair is None:
            # Told by the keeper.
            raise _No("; ".join(result.reasons), max(result.next_try_at - time.time(), NO_S), is_told=False)
        return result.pair

    async def _count(self) -> int:
        return len(await asyncio.to_thread(self._store.keys, CERTIFICATES))

    async def _ask(self, name: str, url: str, within_s: float) -> None:
        """Ask whether a name may have a certificate. Raises `_No`."""
        if self._asks.take(ASKS_MOST, ASKS_S):
            raise _No("too many names are asked for at once", _BUSY_S, is_told=False)
        try:
            async with self._turns, asyncio.timeout(within_s):
                status = await in_thread(lambda: _status_of(url, name, within_s))
        except (OSError, TimeoutError, http.client.HTTPException, ValueError) as bad:
            raise _No(f"{url} did not say whether it may have one: {bad or type(bad).__name__}", NO_S) from None
        if status != 200:
            raise _No(f"{url} does not allow it ({status})", NO_S)

    async def _renew(self, name: str, wanted: Wanted, terms: OnDemand) -> None:
        try:
            _, _, due, asks = await asyncio.to_thread(state_of, self._store, wanted.id)
            if due:
                self._pending.add(name)
                self._tell({name: await self._order(name, wanted, terms)}, {})
            elif asks:
                await self._keeper.advise(wanted)
        except _No as no:
            if no.is_told:
                self._journal.warning("acme.demand", f"the certificate of {name} is not renewed: {no.why}")
                self._known.pop(name, None)
        except StoreError as bad:
            self._journal.error("acme.store", str(bad))
        finally:
            self._pending.discard(name)


def _told_ms(seconds: float) -> int:
    """Return how long workers refuse a name without asking again: not for long, since a reload may change what is allowed."""
    return int(min(seconds, NO_S) * 1000) + 1


def _status_of(url: str, name: str, within_s: float) -> int:
    """Return the status with which a URL answers for a name. Blocks."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=within_s)
    try:
        query = f"{parts.query}&domain={quote(name)}" if parts.query else f"domain={quote(name)}"
        connection.request("GET", f"{parts.path or '/'}?{query}", headers={"User-Agent": "vestibule", "Connection": "close"})
        return connection.getresponse().status
    finally:
        connection.close()
