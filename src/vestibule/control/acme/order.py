"""One order, from the wish to the certificate (RFC 8555 section 7.4). Blocks; for threads.

Facts: a program may end between any two lines. The issuer keeps the order: its address and the key are all it takes to go on. Issuers
count orders, so one that is open is finished and not made again. A failed authorization is final, and with it its order.

How it goes. *Wish*: the journal says for what and where. *Order*: its address is noted. *Prove*: proofs are shown, the issuer is told
and looks. *Finalise*: the key is noted first, then the request is signed with it. *Fetch*: the certificate is looked at, kept, and only
then is the journal closed.

Rules:
* Every step may find itself done already.
* Nothing is kept that is not for our key and our names.
* The caller holds the lock of the certificate.

Not here: when and where to order (`keeper.py`), talking to the issuer (`client.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from vestibule.control.acme.client import RefusedError, Session, identifier_of, problem_of, retry_time
from vestibule.control.acme.proof import Proof, Prover, authorization_of, base64url
from vestibule.control.acme.records import Journal, Record, facts_of
from vestibule.control.acme.wanted import Wanted
from vestibule.link.messages import KeyPair
from vestibule.model.acme import Challenge

# Issuers look within seconds, and say when to ask again; one that takes longer is asked again at the next try.
POLL_MOST_S = 180.0
_POLL_S = 0.5
_POLL_LONGEST_S = 15.0
_LOST_MOST = 20
# The journal of an order older than that is of no use: pending orders live a week at most everywhere.
_STALE_S = 7 * 86_400.0


class Order:
    """Gets one certificate. `turn` counts failures so far: each time the next kind of challenge is tried."""

    def __init__(
        self,
        session: Session,
        record: Record,
        wanted: Wanted,
        prover: Prover,
        *,
        turn: int = 0,
        replaces: str = "",
        trace: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._session = session
        self._record = record
        self._wanted = wanted
        self._prover = prover
        self._turn = turn
        self._replaces = replaces
        self._trace = trace

    def run(self) -> KeyPair:
        """Return the certificate, kept. Raises `RefusedError`, `ProofError`, `StoreError`."""
        journal, order = self._resume() or self._begin()
        try:
            if order["status"] == "pending":
                self._prove(order)
                order = self._poll(journal.url, ("pending",))
            if order["status"] == "ready":
                order = self._finalise(journal, order)
            if order["status"] == "processing":
                order = self._poll(journal.url, ("processing",))
            if order["status"] != "valid":
                raise _failure_of(order)
        except RefusedError as refused:
            if refused.kind not in _PASSING:
                # It will not get better: the next try makes a new one.
                self._record.forget_journal()
            raise
        return self._fetch(journal, order)

    # ------------------------------------------------------------ wish and order

    def _resume(self) -> tuple[Journal, dict[str, Any]] | None:
        """Return the order that was under way here, if there is one that can still become a certificate."""
        journal = self._record.journal()
        if journal is None:
            return None
        if not self._is_ours(journal):
            self._record.forget_journal()
            return None
        if not journal.url:
            # Cut off between asking and hearing the answer.
            found = self._find_lost(journal)
            if found is None:
                self._record.forget_journal()
                return None
            journal.url = found
            self._record.keep_journal(journal)
        try:
            order = self._session.get_json(journal.url)
        except RefusedError as refused:
            if refused.kind in _PASSING:
                raise
            self._record.forget_journal()
            return None
        if order.get("status") not in ("pending", "ready", "processing", "valid") or (order["status"] == "valid" and not journal.key_pem):
            self._record.forget_journal()
            return None
        self._trace("resumed")
        return journal, order

    def _is_ours(self, journal: Journal) -> bool:
        pair = self._record.pair()
        is_done = pair is not None and bool(journal.key_pem) and pair.key_pem.strip() == journal.key_pem.strip()
        return (
            not is_done
            and journal.directory == self._session.issuer.directory
            and journal.account == self._session.account_uri
            and sorted(journal.names) == sorted(self._wanted.names)
            and abs(time.time() - journal.began_at) < _STALE_S
        )

    def _find_lost(self, journal: Journal) -> str | None:
        """Look in the account's list of orders, where the issuer keeps one (RFC 8555 section 7.1.2.1)."""
        listed = self._session.get_json(self._session.account_uri).get("orders")
        if not isinstance(listed, str):
            return None
        urls = self._session.get_json(listed).get("orders")
        wanted = sorted(journal.names)
        for url in reversed(urls[-_LOST_MOST:] if isinstance(urls, list) else []):
            order = self._session.get_json(url)
            names = sorted(str(each.get("value")) for each in order.get("identifiers", ()))
            if names == wanted and order.get("status") in ("pending", "ready"):
                return str(url)
        return None

    def _begin(self) -> tuple[Journal, dict[str, Any]]:
        issuer = self._session.issuer
        journal = Journal(issuer.name, issuer.directory, self._session.account_uri, list(self._wanted.names), began_at=time.time())
        self._record.keep_journal(journal)
        self._trace("wished")
        try:
            url, order = self._session.new_order(self._wanted.names, self._replaces)
        except RefusedError as refused:
            # Another client may have replaced that certificate (RFC 9773 section 5); it is a hint, not a condition.
            if not self._replaces or refused.kind not in ("alreadyReplaced", "malformed", "conflict"):
                raise
            url, order = self._session.new_order(self._wanted.names)
        self._trace("accepted")
        journal.url = url
        self._record.keep_journal(journal)
        self._trace("ordered")
        return journal, order

    # ------------------------------------------------------------ prove

    def _prove(self, order: dict[str, Any]) -> None:
        proofs: list[Proof] = []
        waiting: list[tuple[str, str, Proof]] = []
        for url in order["authorizations"]:
            authorization = self._session.get_json(url)
            if authorization["status"] == "valid":
                continue
            proof, challenge = self._choose(authorization)
            proofs.append(proof)
            waiting.append((url, challenge["url"] if challenge.get("status", "pending") == "pending" else "", proof))
        try:
            self._prover.show(proofs)
            self._trace("shown")
            for _, challenge_url, _ in waiting:
                if challenge_url:
                    self._session.post(challenge_url, {})
            self._trace("answered")
            for url, _, proof in waiting:
                self._wait_proven(url, proof)
        finally:
            self._prover.hide(proofs)
        self._trace("proven")

    def _choose(self, authorization: dict[str, Any]) -> tuple[Proof, dict[str, Any]]:
        """Choose a challenge of an authorization, by turns among those that are possible."""
        name = str(authorization["identifier"]["value"])
        wanted = f"*.{name}" if authorization.get("wildcard") else name
        offered = {str(each["type"]): each for each in authorization["challenges"]}
        possible = [kind for kind in self._wanted.kinds.get(wanted, ()) if kind in offered]
        if not possible:
            kinds = ", ".join(offered) or "nothing"
            raise RefusedError("noChallenge", f"for `{wanted}` the issuer offers {kinds}", identifiers=(wanted,))
        # One that has begun is gone on with: a new start would cost an order.
        begun = [kind for kind in possible if offered[kind].get("status") == "processing"]
        kind: Challenge = begun[0] if begun else possible[self._turn % len(possible)]
        token = str(offered[kind]["token"])
        return Proof(kind, name, wanted, token, authorization_of(token, self._session.thumbprint_key())), offered[kind]

    def _wait_proven(self, url: str, proof: Proof) -> None:
        authorization = self._poll(url, ("pending",))
        if authorization["status"] == "valid":
            return
        for each in authorization.get("challenges", ()):
            if isinstance(each.get("error"), dict):
                found = problem_of(each["error"])
                raise RefusedError(found.kind, found.detail, identifiers=(proof.wanted, proof.kind))
        raise RefusedError("unauthorized", f"the authorization is {authorization['status']}", identifiers=(proof.wanted, proof.kind))

    def _poll(self, url: str, while_status: tuple[str, ...]) -> dict[str, Any]:
        """Ask until a status is another, as often as the issuer wants to be asked. Raises `RefusedError` when it takes too long."""
        end = time.monotonic() + POLL_MOST_S
        while True:
            response = self._session.post(url)
            found: dict[str, Any] = response.json()
            if found.get("status") not in while_status:
                return found
            at = retry_time(response.headers.get("Retry-After", ""))
            wait = min(max(at - time.time(), _POLL_S), _POLL_LONGEST_S) if at else _POLL_S
            if time.monotonic() + wait > end:
                raise RefusedError("slow", f"the issuer has not decided within {POLL_MOST_S:.0f} s")
            time.sleep(wait)

    # ------------------------------------------------------------ finalise and fetch

    def _finalise(self, journal: Journal, order: dict[str, Any]) -> dict[str, Any]:
        if not journal.key_pem:
            journal.key_pem = new_key_pem(self._wanted.key_type)
            self._record.keep_journal(journal)
        self._trace("key")
        csr = base64url(_request(journal.key_pem, self._wanted.names))
        answered: dict[str, Any] = self._session.post(order["finalize"], {"csr": csr}).json()
        self._trace("finalised")
        return answered

    def _fetch(self, journal: Journal, order: dict[str, Any]) -> KeyPair:
        chain: str = self._session.post(order["certificate"]).text
        self._trace("fetched")
        pair = KeyPair(chain[max(chain.find("-----BEGIN"), 0) :], journal.key_pem)
        facts = facts_of(self._record.id, pair)
        if facts is None or not set(self._wanted.names) <= {each.lower() for each in facts.names}:
            self._record.forget_journal()
            raise RefusedError("malformed", "the issuer gave a certificate that is not the one ordered")
        self._record.keep_pair(pair)
        self._trace("kept")
        self._record.forget_journal()
        return pair


# Refusals after which the order is still good.
_PASSING = ("unreachable", "untrusted", "rateLimited", "serverInternal", "slow", "orderNotReady", "badNonce")


def _failure_of(order: dict[str, Any]) -> RefusedError:
    error = order.get("error")
    return problem_of(error) if isinstance(error, dict) else RefusedError("unauthorized", f"the order is {order.get('status')}")


def new_key_pem(key_type: str) -> str:
    """Make the key of a certificate."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from vestibule.control.certs import pem_of_key

    if key_type == "rsa":
        return pem_of_key(rsa.generate_private_key(65_537, 2_048))
    return pem_of_key(ec.generate_private_key(ec.SECP256R1()))


def _request(key_pem: str, names: tuple[str, ...]) -> bytes:
    """Return a request for a certificate (RFC 2986), in DER."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    key: Any = load_pem_private_key(key_pem.encode(), None)
    listed: list[x509.GeneralName] = []
    for name in names:
        is_address = identifier_of(name)["type"] == "ip"
        listed.append(x509.IPAddress(ipaddress.ip_address(name)) if is_address else x509.DNSName(name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)
