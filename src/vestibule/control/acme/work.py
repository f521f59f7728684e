"""One try to get a certificate: issuer after issuer, under the lock of its name. Blocks; for threads.

Facts: what one issuer refuses another may grant: its rate limits, its view of the network and its trouble are its own.

Rules:
* Inside the lock it is looked first whether somebody else has done the work meanwhile.
* An order that is under way at one of the issuers is finished before another is asked.
* Whatever happens is written down before this returns.

Not here: when (`renewal.py`), in which task (`keeper.py`), the steps (`order.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from vestibule.control.acme import renewal
from vestibule.control.acme.client import RefusedError, Session
from vestibule.control.acme.order import Order
from vestibule.control.acme.proof import ProofError, Prover
from vestibule.control.acme.records import Record, Story, facts_of
from vestibule.control.acme.store import Store, StoreBusy, StoreError
from vestibule.control.acme.trouble import words_for
from vestibule.control.acme.wanted import Issuer, Wanted
from vestibule.control.certs import Facts
from vestibule.link.messages import KeyPair

LOCK_S = 900.0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a try. With `pair` there is a certificate; `is_fresh` if this try got it from the issuer."""

    pair: KeyPair | None = None
    facts: Facts | None = None
    issuer: str = ""
    is_fresh: bool = False
    reasons: tuple[str, ...] = ()
    next_try_at: float = 0.0


def try_once(
    store: Store,
    wanted: Wanted,
    prover: Prover,
    *,
    tell: Callable[[str], None] = lambda text: None,
    trace: Callable[[str], None] = lambda step: None,
) -> Result:
    """Get a certificate if it is due; return what became of that. Never raises for what may happen outside this program."""
    record = Record(store, wanted.id)
    try:
        with store.lock(wanted.id, LOCK_S):
            facts = record.facts()
            story = record.story()
            if facts is not None and not renewal.is_due(facts, story, time.time()):
                pair, journal = record.pair(), record.journal()
                assert pair is not None
                if journal is not None and journal.key_pem.strip() == pair.key_pem.strip():
                    # Cut off between keeping the one and closing the other.
                    record.forget_journal()
                return Result(pair, facts, story.issuer)
            return _try_issuers(store, record, wanted, prover, story, tell, trace)
    except (StoreBusy, StoreError) as bad:
        return Result(reasons=(str(bad),), next_try_at=time.time() + renewal.WAITS_S[0])


def _try_issuers(
    store: Store, record: Record, wanted: Wanted, prover: Prover, story: Story, tell: Callable[[str], None], trace: Callable[[str], None]
) -> Result:
    reasons: list[str] = []
    last: RefusedError | None = None
    for issuer in _in_turn(record, wanted):
        tell(f"asking {issuer.name}")
        try:
            pair = _order(store, record, wanted, issuer, prover, story, trace)
        except RefusedError as refused:
            last = refused if last is None or refused.retry_at < last.retry_at else last
            reasons.append(words_for(refused, issuer.name))
        except ProofError as bad:
            reasons.append(str(bad))
        else:
            facts = facts_of(wanted.id, pair)
            assert facts is not None  # the order has looked at it
            record.keep_story(renewal.after_success(issuer.name, facts, time.time()))
            return Result(pair, facts, issuer.name, is_fresh=True)
    failed = renewal.after_failure(story, "; ".join(reasons), last, time.time())
    record.keep_story(failed)
    return Result(reasons=tuple(reasons), next_try_at=failed.next_try_at)


def _in_turn(record: Record, wanted: Wanted) -> list[Issuer]:
    """Return the issuers to ask, where an order is under way first."""
    journal = record.journal()
    begun = journal.directory if journal is not None else ""
    return sorted(wanted.issuers, key=lambda each: each.directory != begun)


def _order(
    store: Store, record: Record, wanted: Wanted, issuer: Issuer, prover: Prover, story: Story, trace: Callable[[str], None]
) -> KeyPair:
    session = Session(issuer, store)
    try:
        replaces = story.replaces if story.issuer == issuer.name else ""
        session.open_account()
        order = Order(session, record, wanted, prover, turn=story.failures, replaces=replaces, trace=trace)
        try:
            return order.run()
        except RefusedError as refused:
            if refused.kind != "accountDoesNotExist":
                raise
        # An issuer may lose accounts, one for trying out above all.
        session.forget_account()
        session.open_account()
        return order.run()
    finally:
        session.close()


def advise(store: Store, wanted: Wanted) -> None:
    """Ask the issuer of a certificate when to renew it, if it is time to ask. Never raises for what may happen outside."""
    record = Record(store, wanted.id)
    try:
        story = record.story()
        pair = record.pair()
        facts = record.facts()
        issuer = next((each for each in wanted.issuers if each.name == story.issuer), None)
        now = time.time()
        if pair is None or facts is None or issuer is None or not renewal.wants_advice(story, facts, now):
            return
        try:
            session = Session(issuer, store)
        except RefusedError:
            advised = renewal.without_advice(story, now)
        else:
            advised = renewal.take_advice(session, pair.chain_pem, story, now)
            session.close()
        with store.lock(wanted.id, LOCK_S):
            # Somebody may have renewed meanwhile, and advice about the old one is no use then; or have asked for a renewal, which stands.
            kept = record.story()
            if kept.issued_at == story.issued_at:
                record.keep_story(renewal.with_advice(kept, advised))
    except (StoreBusy, StoreError):
        pass
