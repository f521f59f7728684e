"""What is kept of each certificate: the pair, its order while it is under way, and what went wrong.

Facts: an issuer counts orders and failed validations over days, so both must be remembered over a restart. A certificate and its key
that are written one after the other do not belong together in between; in one file they always do.

Rules:
* The pair is one PEM file, key and chain: `certificates/ID.pem`. What is said about it stands beside, and may be missing.
* A record of an order is written before the step it makes possible: its key before the issuer hears of the key.
* What cannot be read is as if it were not there, except a pair: that is told.

Not here: how bytes are kept (`store.py`), what the steps are (`order.py`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from vestibule.control.acme.store import Store
from vestibule.control.certs import Facts, describe
from vestibule.link.messages import KeyPair

CERTIFICATES = "certificates"


@dataclass(slots=True)
class Journal:
    """An order under way at an issuer. `url` is empty between the wish and the issuer's answer."""

    issuer: str = ""
    directory: str = ""
    account: str = ""
    names: list[str] = field(default_factory=list)
    url: str = ""
    key_pem: str = ""
    began_at: float = 0.0


@dataclass(slots=True)
class Story:
    """What happened so far with a certificate. Times are seconds since 1970."""

    issuer: str = ""
    """Who issued it; empty for an imported one."""
    issued_at: float = 0.0
    renew_at: float = 0.0
    """When to renew it, as the issuer or chance decided; 0 is not decided yet."""
    ask_again_at: float = 0.0
    """When to ask the issuer for a better time (RFC 9773)."""
    replaces: str = ""
    """The identifier of the certificate for renewal information; empty where there is none."""
    explanation: str = ""
    """A page of the issuer about an early renewal."""
    failures: int = 0
    failed_at: float = 0.0
    next_try_at: float = 0.0
    reason: str = ""
    """Why the last try failed, for people."""
    forced: bool = False
    """Somebody asked for a renewal now."""


_T = TypeVar("_T", Journal, Story)


class Record:
    """Everything kept of one certificate, by its id."""

    def __init__(self, store: Store, id: str) -> None:
        self.store = store
        self.id = id

    def pair(self) -> KeyPair | None:
        """Return the certificate with its key, or None. Raises `StoreError`."""
        data = self.store.read(f"{CERTIFICATES}/{self.id}.pem")
        return split_pem(data.decode("ascii", "replace")) if data is not None else None

    def facts(self) -> Facts | None:
        """Return what the certificate says, or None if there is none that can be read."""
        pair = self.pair()
        return facts_of(self.id, pair) if pair is not None else None

    def keep_pair(self, pair: KeyPair) -> None:
        self.store.write(f"{CERTIFICATES}/{self.id}.pem", (pair.key_pem.rstrip("\n") + "\n" + pair.chain_pem).encode())

    def forget_pair(self) -> None:
        self.store.delete(f"{CERTIFICATES}/{self.id}.pem")

    def journal(self) -> Journal | None:
        return self._read(f"orders/{self.id}.json", Journal)

    def keep_journal(self, journal: Journal) -> None:
        self.store.write(f"orders/{self.id}.json", json.dumps(asdict(journal), indent=1).encode())

    def forget_journal(self) -> None:
        self.store.delete(f"orders/{self.id}.json")

    def story(self) -> Story:
        return self._read(f"stories/{self.id}.json", Story) or Story()

    def keep_story(self, story: Story) -> None:
        self.store.write(f"stories/{self.id}.json", json.dumps(asdict(story), indent=1).encode())

    def _read(self, key: str, cls: type[_T]) -> _T | None:
        data = self.store.read(key)
        if data is None:
            return None
        try:
            found: Any = json.loads(data)
            usual = cls()
            # A record of another version of this program may have more or less.
            known = {each.name: found[each.name] for each in fields(cls) if type(found.get(each.name)) in _kinds(getattr(usual, each.name))}
        except (ValueError, AttributeError):
            return None
        return cls(**known)


def _kinds(usual: object) -> tuple[type, ...]:
    return (int, float) if isinstance(usual, float) else (type(usual),)


def split_pem(text: str) -> KeyPair | None:
    """Divide a PEM file into chain and key, which stands first; None if either is missing."""
    at = text.find("-----BEGIN CERTIFICATE-----")
    if at < 0 or "PRIVATE KEY-----" not in text[:at]:
        return None
    return KeyPair(text[at:], text[:at])


def facts_of(name: str, pair: KeyPair) -> Facts | None:
    """Return what a pair says of itself; None if it is damaged, or its key is another's."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from vestibule.control.certs import public_bytes

    try:
        leaf = x509.load_pem_x509_certificate(pair.chain_pem.encode())
        key = load_pem_private_key(pair.key_pem.encode(), None)
    except (ValueError, TypeError):
        return None
    if public_bytes(leaf.public_key()) != public_bytes(key.public_key()):
        return None
    return describe(name, leaf)
