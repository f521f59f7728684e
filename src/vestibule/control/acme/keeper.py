"""Sees to it that every wanted certificate is there: the tasks of the running program.

Facts: an order takes seconds to minutes and blocks, so it runs in a thread. Proofs by HTTP and TLS are shown by all workers, proofs by DNS
by a provider. A name of a home connection may need hours until its router is right; the site serves meanwhile.

Rules:
* Times are looked at every few seconds and never slept until, so that a clock that jumps does no harm.
* One try at a time for each certificate, `AT_ONCE` at a time over all.
* What goes on, and why it does not, is always in `report`, and in the log once.

Not here: when (`renewal.py`), how (`work.py`), what a reload does with the pairs (`control/reload.py`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from vestibule.control.acme import dns, renewal, seen
from vestibule.control.acme.proof import Proof, ProofError, handshake_pair
from vestibule.control.acme.records import Record
from vestibule.control.acme.store import Store, StoreBusy, StoreError
from vestibule.control.acme.wanted import Dns, Wanted
from vestibule.control.acme.work import Result, advise, try_once
from vestibule.control.certs import Facts
from vestibule.control.logs import ErrorLog
from vestibule.link.messages import ACME_PREFIX, KeyPair

_T = TypeVar("_T")

LOOK_S = 2.0
AT_ONCE = 4
_SHOW_S = 15.0
# Whoever writes down a word of advice has the lock that long at most.
FORCE_S = 2.0

ShowChallenges = Callable[[dict[str, str], dict[str, KeyPair]], Awaitable[None]]
TakePairs = Callable[[dict[str, KeyPair], dict[str, Facts]], Awaitable[None]]


class Keeper:
    """Keeps certificates. `want` says which; `run` goes on until it is cancelled."""

    def __init__(self, store: Store, journal: ErrorLog, show: ShowChallenges, take: TakePairs) -> None:
        self.store = store
        self._journal = journal
        self._show = show
        self._take = take
        self._wanted: dict[str, Wanted] = {}
        self._doing: dict[str, str] = {}
        self._served: dict[str, tuple[str, ...]] = {}
        """Of each certificate, its PEM and the sites that were given it last."""
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = _OpenProofs()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def want(self, wanted: list[Wanted]) -> None:
        """Keep exactly these from now on. What is under way is finished."""
        self._wanted = {each.id: each for each in wanted}
        self._served = {}
        self._wake.set()

    async def renew(self, name: str) -> list[str]:
        """Have certificates renewed now: those with a name, or all; return the first names, none if nobody has it."""
        chosen = [each for each in self._wanted.values() if not name or name in each.names or name == each.id]
        for each in chosen:
            await asyncio.to_thread(force, self.store, each.id)
        self._wake.set()
        return [each.names[0] for each in chosen]

    async def obtain(self, wanted: Wanted) -> Result:
        """Get a certificate that nobody keeps here, in its turn; tell what became of it."""
        if wanted.id in self._doing:
            return Result(reasons=("it is being worked on",))
        self._doing[wanted.id] = "waiting for its turn"
        return await self._work(wanted)

    async def advise(self, wanted: Wanted) -> None:
        """Ask the issuer of such a certificate when to renew it."""
        if wanted.id not in self._doing:
            self._doing[wanted.id] = "waiting for its turn"
            await self._advise(wanted)

    async def look(self) -> None:
        """Look what is kept and what is due; the workers have been told of changes when this returns."""
        for wanted in list(self._wanted.values()):
            if wanted.id not in self._doing:
                await self._look(wanted)

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            self._wake.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def close(self) -> None:
        """Start nothing more. An order that is under way is found in its journal at the next start."""
        for task in self._tasks:
            task.cancel()

    def report(self) -> list[dict[str, object]]:
        """Return what there is to know of each certificate, for `vestibule status`."""
        return [self.row(each) for each in self._wanted.values()]

    # ------------------------------------------------------------ one certificate

    async def _look(self, wanted: Wanted) -> None:
        try:
            pair, facts, due, asks = await asyncio.to_thread(state_of, self.store, wanted.id)
        except StoreError as bad:
            self._journal.error("acme.store", str(bad))
            return
        if pair is not None and facts is not None:
            # Another process may have renewed it.
            await self._hand_over(wanted, pair, facts)
        if due or asks:
            self._doing[wanted.id] = "waiting for its turn"
            self._begin(self._work(wanted) if due else self._advise(wanted))

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._journal.error("control.bug", f"this is a bug of vestibule: {task.exception()!r}")

    async def _advise(self, wanted: Wanted) -> None:
        try:
            async with self._turns:
                await in_thread(lambda: advise(self.store, wanted))
        finally:
            self._doing.pop(wanted.id, None)

    async def _work(self, wanted: Wanted) -> Result:
        try:
            async with self._turns:
                result = await in_thread(lambda: self._try(wanted))
        finally:
            self._doing.pop(wanted.id, None)
        name = ", ".join(wanted.names)
        if result.pair is None or result.facts is None:
            until = renewal.utc(result.next_try_at)
            for reason in result.reasons:
                self._journal.error("acme.failed", f"no certificate for {name}: {reason}", next_try=until)
            return result
        if result.is_fresh:
            until = renewal.utc(result.facts.not_after.timestamp())
            self._journal.info("acme.issued", f"{result.issuer} issued a certificate for {name}, good until {until}")
        if wanted.id in self._wanted:
            await self._hand_over(self._wanted[wanted.id], result.pair, result.facts)
        return result

    def _try(self, wanted: Wanted) -> Result:
        """Get it; in a thread."""
        self._doing[wanted.id] = "waiting for another process that works on it"

        def tell(text: str) -> None:
            self._doing[wanted.id] = text
            self._journal.info("acme.order", f"certificate for {', '.join(wanted.names)}: {text}")

        return try_once(self.store, wanted, _Shower(wanted, self._open, self._show, self._loop), tell=tell)

    async def _hand_over(self, wanted: Wanted, pair: KeyPair, facts: Facts) -> None:
        """Have the workers serve it, unless they do."""
        served = (pair.chain_pem, *wanted.sites)
        if self._served.get(wanted.id) == served:
            return
        self._served[wanted.id] = served
        names = [ACME_PREFIX + site for site in wanted.sites]
        await self._take(dict.fromkeys(names, pair), dict.fromkeys(names, facts))

    def row(self, wanted: Wanted) -> dict[str, object]:
        """Return what there is to know of a certificate. Blocks."""
        record = Record(self.store, wanted.id)
        row: dict[str, object] = {"hosts": list(wanted.names), "state": "", "reason": ""}
        try:
            story, facts = record.story(), record.facts()
        except StoreError as bad:
            return row | {"state": "unreadable", "reason": str(bad)}
        doing = self._doing.get(wanted.id, "")
        now = time.time()
        if facts is not None:
            row["issuer"] = story.issuer or "imported"
            row["until"] = renewal.utc(facts.not_after.timestamp())
            row["renewal"] = renewal.utc(renewal.renewal_time(facts, story))
        if doing:
            row["state"] = doing
        elif facts is not None and renewal.is_clock_wrong(facts, now):
            row["state"] = "the clock of this machine is wrong: the certificate begins in the future"
        elif story.failures:
            row["state"] = f"failed {story.failures} times, next try {renewal.utc(story.next_try_at)}"
        else:
            row["state"] = "issued" if facts is not None else "wanted"
        row["reason"] = story.reason
        return row


async def in_thread(work: Callable[[], _T]) -> _T:
    """Do blocking work in a thread that does not keep the program from ending, as those of asyncio's pool would."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, bad: BaseException | None) -> None:
        if done.cancelled():
            return
        if bad is not None:
            done.set_exception(bad)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: _T | None = None
        failed: BaseException | None = None
        try:
            result = work()
        except Exception as bad:  # told to who waits
            failed = bad
        try:
            loop.call_soon_threadsafe(settle, result, failed)
        except RuntimeError:
            pass  # the program has ended

    threading.Thread(target=run, name="acme", daemon=True).start()
    return await done


def force(store: Store, id: str) -> None:
    """Note that a certificate is to be renewed now. Blocks."""
    record = Record(store, id)
    try:
        with store.lock(id, FORCE_S):
            _note_forced(record)
    except StoreBusy:
        # An order is under way, which is such a renewal; nobody waits here for its end.
        _note_forced(record)


def _note_forced(record: Record) -> None:
    story = record.story()
    story.forced = True
    record.keep_story(story)


def state_of(store: Store, id: str) -> tuple[KeyPair | None, Facts | None, bool, bool]:
    """Return a certificate, what it says, whether it is due, and whether to ask when it will be. Blocks."""
    record = Record(store, id)
    pair, facts, story, now = record.pair(), record.facts(), record.story(), time.time()
    due = renewal.is_due(facts, story, now)
    asks = not due and facts is not None and bool(story.issuer) and renewal.wants_advice(story, facts, now)
    return (pair if facts is not None else None), facts, due, asks


def _wait_for(proof: Proof, provider: Dns, began: float) -> None:
    """Return once the issuer will see a record. Raises `ProofError`."""
    time.sleep(max(began + provider.wait_s - time.monotonic(), 0.0))
    if provider.seen_within_s > 0:
        seen.wait_until_seen(proof, provider.places, provider.seen_within_s)


class _OpenProofs:
    """The proofs that the workers show, of all orders together."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.handshakes: dict[str, KeyPair] = {}


class _Shower:
    """Shows the proofs of one order, each where it belongs. Called in a thread."""

    def __init__(self, wanted: Wanted, proofs: _OpenProofs, show: ShowChallenges, loop: asyncio.AbstractEventLoop) -> None:
        self._wanted = wanted
        self._open = proofs
        self._show = show
        self._loop = loop

    def show(self, proofs: list[Proof]) -> None:
        pairs = {each.name: handshake_pair(each) for each in proofs if each.kind == "tls-alpn-01"}
        tokens = {each.token: each.authorization for each in proofs if each.kind == "http-01"}
        if pairs or tokens:
            self._tell(tokens, pairs, set(), set())
        written = [each for each in proofs if each.kind == "dns-01"]
        for each in written:
            dns.add(self._wanted.dns[each.wanted], each)
        began = time.monotonic()
        for each in written:
            _wait_for(each, self._wanted.dns[each.wanted], began)

    def hide(self, proofs: list[Proof]) -> None:
        tokens = {each.token for each in proofs if each.kind == "http-01"}
        names = {each.name for each in proofs if each.kind == "tls-alpn-01"}
        try:
            if tokens or names:
                self._tell({}, {}, tokens, names)
        except ProofError:
            pass  # the program ends
        for each in proofs:
            if each.kind == "dns-01":
                try:
                    dns.remove(self._wanted.dns[each.wanted], each)
                except ProofError:
                    pass  # a record that stays does no harm

    def _tell(self, tokens: dict[str, str], pairs: dict[str, KeyPair], without: set[str], hidden: set[str]) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._change(tokens, pairs, without, hidden), self._loop).result(_SHOW_S)
        except (RuntimeError, TimeoutError) as bad:
            raise ProofError(f"the workers were not told of a challenge: {bad}") from None

    async def _change(self, tokens: dict[str, str], pairs: dict[str, KeyPair], without: set[str], hidden: set[str]) -> None:
        held = self._open
        held.tokens = {token: answer for token, answer in (held.tokens | tokens).items() if token not in without}
        held.handshakes = {name: pair for name, pair in (held.handshakes | pairs).items() if name not in hidden}
        await self._show(held.tokens, held.handshakes)
