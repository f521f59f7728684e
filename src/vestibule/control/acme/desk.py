"""What people do with certificates by hand: look, revoke, take over, and see to accounts.

Facts: a running program looks at the store every few seconds, so what is changed here is served soon, without being told.

Rules: everything works with and without a running program. What is irreversible says so in the answer.

Not here: the command line (`cli_cert.py`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from vestibule.control.acme import renewal
from vestibule.control.acme.client import RefusedError, Session
from vestibule.control.acme.records import CERTIFICATES, Record, Story
from vestibule.control.acme.store import DirectoryStore, StoreBusy, StoreError
from vestibule.control.acme.trouble import words_for
from vestibule.control.acme.wanted import Issuer, Wanted, wishes_of
from vestibule.control.certs import Facts, PairError, read_pair
from vestibule.model.config import Config

_LOCK_S = 60.0
_REASONS = {"unspecified": 0, "key-compromise": 1, "superseded": 4, "cessation": 5}


class DeskError(Exception):
    """It cannot be done; the text says why."""


class Desk:
    """Works on the certificates of one configuration. Everything raises `DeskError`."""

    def __init__(self, state_dir: Path, config: Config, base: Path) -> None:
        self._store = DirectoryStore(state_dir / "acme")
        wishes = wishes_of(config, base)
        self._wanted = wishes.wanted
        self._demanded = wishes.demanded

    # ------------------------------------------------------------ look

    def lines(self) -> Iterator[str]:
        """Yield a line for each certificate that is kept or wanted."""
        kept = {each.removeprefix(f"{CERTIFICATES}/").removesuffix(".pem") for each in self._keys()}
        wanted = {each.id: each for each in self._wanted}
        for id in [*wanted, *sorted(kept - set(wanted))]:
            record = Record(self._store, id)
            facts, story = self._facts(record), record.story()
            names = ", ".join(wanted[id].names if id in wanted else facts.names if facts is not None else (id,))
            if facts is None:
                yield f"{names}: not there yet{'; ' + story.reason if story.reason else ''}"
                continue
            end = renewal.utc(facts.not_after.timestamp())
            unused = "" if id in wanted else "; on demand" if self._is_demanded(facts, id) else "; not used by the configuration"
            yield f"{names}: from {story.issuer or 'an import'}, until {end}, renewed from {_renewal(facts, story)}{unused}"
        if not wanted and not kept:
            yield "no certificate is issued automatically"

    def details(self, name: str) -> Iterator[str]:
        """Yield all that is known of the certificate of a name."""
        wanted = self._find(name)
        record = Record(self._store, wanted.id)
        facts, story = self._facts(record), record.story()
        yield f"names        {', '.join(wanted.names)}"
        yield f"issuers      {', '.join(each.name for each in wanted.issuers)}"
        if story.reason:
            yield f"trouble      {story.reason}"
            yield f"next try     {renewal.utc(story.next_try_at)}"
        pair = record.pair()
        if facts is None or pair is None:
            yield "certificate  none yet"
            return
        yield f"issued by    {story.issuer or 'imported'}, {facts.issuer}"
        yield f"from         {renewal.utc(facts.not_before.timestamp())}"
        yield f"until        {renewal.utc(facts.not_after.timestamp())} ({facts.days_left} days)"
        yield f"renewal      {_renewal(facts, story)}"
        if story.explanation:
            yield f"explained    {story.explanation}"
        yield f"file         {self._store.root / CERTIFICATES / wanted.id}.pem"
        yield pair.chain_pem.rstrip("\n")

    # ------------------------------------------------------------ change

    def revoke(self, name: str, reason: str) -> str:
        """Revoke the certificate of a name and forget it."""
        from cryptography import x509

        wanted = self._find(name)
        record = Record(self._store, wanted.id)
        try:
            with self._store.lock(wanted.id, _LOCK_S):
                pair, story = record.pair(), record.story()
                if pair is None:
                    raise DeskError(f"there is no certificate for {name} to revoke")
                issuer = next((each for each in wanted.issuers if each.name == story.issuer), None)
                if issuer is None:
                    whose = story.issuer or "an import"
                    raise DeskError(f"the certificate for {name} is from {whose}, which is not configured; revoke it there")
                session = self._session(issuer)
                try:
                    session.open_account()
                    session.revoke(x509.load_pem_x509_certificate(pair.chain_pem.encode()), _REASONS[reason])
                except RefusedError as refused:
                    if refused.kind != "alreadyRevoked":
                        raise DeskError(words_for(refused, issuer.name)) from None
                finally:
                    session.close()
                record.forget_pair()
                # Whatever was under way may have the same key.
                record.forget_journal()
                record.keep_story(Story())
        except (StoreBusy, StoreError) as bad:
            raise DeskError(str(bad)) from None
        return f"{name}: revoked; a running vestibule has a new one issued now, with a new key"

    def take(self, cert_file: str, key_file: str) -> list[str]:
        """Take over a certificate; return what it is used for."""
        try:
            pair, facts = read_pair(Path(cert_file), Path(key_file) if key_file else None)
        except PairError as bad:
            raise DeskError(str(bad)) from None
        fit = [each for each in self._wanted if all(_covers(facts, name) for name in each.names)]
        if not fit:
            raise DeskError(
                f"it is for {', '.join(facts.names) or 'no name'}, and no site with an automatic certificate has only such hosts"
            )
        told: list[str] = []
        for wanted in fit:
            record = Record(self._store, wanted.id)
            try:
                with self._store.lock(wanted.id, _LOCK_S):
                    record.keep_pair(pair)
                    record.keep_story(Story(issued_at=time.time()))
            except (StoreBusy, StoreError) as bad:
                raise DeskError(str(bad)) from None
            told.append(f"{', '.join(wanted.names)}: imported; renewed automatically from {_renewal(facts, Story())}")
        return told

    def account(self, what: str, issuer_name: str) -> str:
        """Show, change or close the account at an issuer."""
        issuers = {issuer.name: issuer for each in self._wanted for issuer in each.issuers}
        if issuer_name and issuer_name not in issuers:
            raise DeskError(f"there is no issuer `{issuer_name}`; in use are {', '.join(issuers) or 'none'}")
        if not issuers:
            raise DeskError("no certificate is issued automatically, so there is no account")
        issuer = issuers[issuer_name or next(iter(issuers))]
        try:
            session = self._session(issuer)
            try:
                session.open_account()
                if what == "change-key":
                    session.change_key()
                    return f"{session.account_uri} at {issuer.name} has a new key"
                if what == "deactivate":
                    session.deactivate()
                    return f"{session.account_uri} at {issuer.name} is closed for good; the next order makes a new one"
                shown = session.get_json(session.account_uri)
                return f"{session.account_uri} at {issuer.name}\n{json.dumps({k: v for k, v in shown.items() if k != 'key'}, indent=2)}"
            finally:
                session.close()
        except RefusedError as refused:
            raise DeskError(words_for(refused, issuer.name)) from None
        except (StoreBusy, StoreError) as bad:
            raise DeskError(str(bad)) from None

    # ------------------------------------------------------------ small things

    def _session(self, issuer: Issuer) -> Session:
        try:
            return Session(issuer, self._store)
        except RefusedError as refused:
            raise DeskError(words_for(refused, issuer.name)) from None

    def _keys(self) -> list[str]:
        try:
            return self._store.keys(CERTIFICATES)
        except StoreError as bad:
            raise DeskError(str(bad)) from None

    def _facts(self, record: Record) -> Facts | None:
        try:
            return record.facts()
        except StoreError as bad:
            raise DeskError(str(bad)) from None

    def _is_demanded(self, facts: Facts, id: str) -> bool:
        found = self._demanded.find(facts.names[0]) if self._demanded is not None and facts.names else None
        return found is not None and found.id == id

    def _find(self, name: str) -> Wanted:
        for each in self._wanted:
            if name in each.names or name == each.id or name in each.sites:
                return each
        demanded = self._demanded.find(name) if self._demanded is not None else None
        if demanded is not None and Record(self._store, demanded.id).pair() is not None:
            return demanded
        known = ", ".join(name for each in self._wanted for name in each.names)
        raise DeskError(f"no certificate is issued automatically for `{name}`; known are {known or 'none'}")


def _renewal(facts: Facts, story: Story) -> str:
    return renewal.utc(renewal.renewal_time(facts, story))


def _covers(facts: Facts, name: str) -> bool:
    lowered = {each.lower() for each in facts.names}
    return name in lowered or (not name.startswith("*.") and "*." + name.partition(".")[2] in lowered)
