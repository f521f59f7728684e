"""Orders against pebble, proven by records in its own DNS server: what can go wrong on the way, and how it goes on."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.control.acme import pebble as issuer
from vestibule.control.acme import work
from vestibule.control.acme.client import RefusedError, Session
from vestibule.control.acme.order import Order
from vestibule.control.acme.proof import Proof
from vestibule.control.acme.records import Journal, Record
from vestibule.control.acme.store import DirectoryStore
from vestibule.control.acme.wanted import Issuer, Wanted
from vestibule.control.acme.work import try_once

pytestmark = pytest.mark.skipif(not issuer.is_installed(), reason="pebble is not installed")

NAME = "photos.example.org"


class Crash(BaseException):
    """The program ends here."""


class DnsProver:
    """Writes records into pebble's DNS server."""

    def __init__(self, pebble: issuer.Pebble) -> None:
        self.pebble = pebble
        self.shown: list[Proof] = []
        self.lies = False
        self.keeps = False

    def show(self, proofs: list[Proof]) -> None:
        self.shown += proofs
        for each in proofs:
            assert each.kind == "dns-01"
            self.pebble.dns("set-txt", host=each.record_name + ".", value="wrong" if self.lies else each.record_value)

    def hide(self, proofs: list[Proof]) -> None:
        for each in [] if self.keeps else proofs:
            self.pebble.dns("clear-txt", host=each.record_name + ".")


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[issuer.Pebble]:
    """One that refuses every seventh nonce or so: all of this must bear it."""
    with issuer.running(tmp_path_factory.mktemp("pebble"), rejects=15) as made:
        yield made


@pytest.fixture
def prover(pebble: issuer.Pebble) -> DnsProver:
    # Records of a test before would add up, until an answer no longer fits.
    pebble.dns("clear-txt", host=f"_acme-challenge.{NAME}.")
    return DnsProver(pebble)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "acme")


def at(pebble: issuer.Pebble, name: str = "pebble") -> Issuer:
    return Issuer(name, pebble.directory, str(pebble.ca))


def wanted(*issuers: Issuer, names: tuple[str, ...] = (NAME,), key_type: str = "ecdsa") -> Wanted:
    return Wanted("id", names, ("site",), issuers, key_type, dict.fromkeys(names, ("dns-01",)), {})


def leaf_of(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


@pytest.mark.parametrize(
    "names",
    [(NAME,), ("*.example.org",), ("a.example.org", "b.example.org", "c.example.org"), ("example.org", "deep.sub.example.org")],
    ids=["one", "wildcard", "several", "levels"],
)
def test_an_order_brings_a_certificate(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver, names: tuple[str, ...]) -> None:
    result = try_once(store, wanted(at(pebble), names=names), prover)
    assert result.reasons == ()
    assert result.pair is not None
    assert result.facts is not None
    assert sorted(result.facts.names) == sorted(names)
    assert result.is_fresh
    assert result.pair.chain_pem.count("BEGIN CERTIFICATE") == 2
    assert {each.wanted for each in prover.shown} == set(names)
    assert Record(store, "id").journal() is None
    # It is there now: nothing is ordered again.
    before = pebble.orders()
    again = try_once(store, wanted(at(pebble), names=names), prover)
    assert (again.is_fresh, again.pair is not None, pebble.orders()) == (False, True, before)


def test_rsa_where_it_is_wanted(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver) -> None:
    result = try_once(store, wanted(at(pebble), key_type="rsa"), prover)
    assert result.pair is not None
    assert isinstance(leaf_of(result.pair.chain_pem).public_key(), rsa.RSAPublicKey)


STEPS = ["wished", "accepted", "ordered", "shown", "answered", "proven", "key", "finalised", "fetched", "kept"]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_loses_nothing_and_orders_nothing_twice(
    pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver, step: str
) -> None:
    before = pebble.orders()
    seen: list[str] = []

    def crash(now: str) -> None:
        seen.append(now)
        if now == step:
            raise Crash

    # Who ends takes nothing away.
    prover.keeps = True
    with pytest.raises(Crash):
        try_once(store, wanted(at(pebble)), prover, trace=crash)
    prover.keeps = False
    result = try_once(store, wanted(at(pebble)), prover, trace=seen.append)
    assert result.pair is not None, result.reasons
    # Also one whose address was never heard, which is found in the account's list of orders.
    assert pebble.orders() - before == 1
    assert Record(store, "id").journal() is None
    assert seen[-1] == "kept" or step == "kept"


def test_the_steps_are_all_steps(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver) -> None:
    seen: list[str] = []
    try_once(store, wanted(at(pebble)), prover, trace=seen.append)
    assert seen == STEPS


def test_an_order_that_another_account_began_is_not_gone_on_with(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver) -> None:
    journal = Journal("pebble", pebble.directory, "https://elsewhere/1", [NAME], "https://elsewhere/o", "", time.time())
    Record(store, "id").keep_journal(journal)
    assert try_once(store, wanted(at(pebble)), prover).is_fresh


def test_a_failed_proof_ends_the_order_and_the_next_try_makes_a_new_one(
    pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver
) -> None:
    prover.lies = True
    result = try_once(store, wanted(at(pebble)), prover)
    assert result.pair is None
    assert "does not see the record _acme-challenge.photos.example.org" in result.reasons[0]
    story = Record(store, "id").story()
    assert (story.failures, story.reason) == (1, result.reasons[0])
    assert 50 < story.next_try_at - time.time() < 70
    assert Record(store, "id").journal() is None
    prover.lies = False
    story.next_try_at = 0.0
    Record(store, "id").keep_story(story)
    assert try_once(store, wanted(at(pebble)), prover).is_fresh
    assert Record(store, "id").story().failures == 0


def test_the_next_issuer_is_asked_where_one_fails(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver) -> None:
    dead = Issuer("dead", "https://localhost:1/dir")
    told: list[str] = []
    result = try_once(store, wanted(dead, at(pebble)), prover, tell=told.append)
    assert (result.issuer, told) == ("pebble", ["asking dead", "asking pebble"])


def test_all_issuers_failing_is_told_of_each(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver) -> None:
    dead = Issuer("dead", "https://localhost:1/dir")
    strange = Issuer("strange", pebble.directory)
    result = try_once(store, wanted(dead, strange), prover)
    assert "dead cannot be reached" in result.reasons[0]
    assert "the certificate of strange itself is not trusted" in result.reasons[1]


def test_two_processes_that_want_the_same_name_make_one_order(pebble: issuer.Pebble, store: DirectoryStore) -> None:
    before = pebble.orders()
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.control.acme.test_work import *\n"
        "class P(DnsProver):\n"
        "    def __init__(self, url): self.url = url; self.lies = self.keeps = False; self.shown = []; self.pebble = self\n"
        "    def dns(self, what, **body):\n"
        "        import json, urllib.request\n"
        "        urllib.request.urlopen(urllib.request.Request(f'{self.url}/{what}', json.dumps(body).encode()), timeout=10).close()\n"
        f"found = try_once(DirectoryStore(Path({str(store.root)!r})),"
        f" wanted(Issuer('pebble', {pebble.directory!r}, {str(pebble.ca)!r})), P({pebble.dns_url!r}))\n"
        "print(found.facts.name if found.facts else found.reasons, found.is_fresh)"
    )
    root = str(Path(__file__).parents[3])
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(each.communicate(timeout=60)[0].strip() for each in both)
    assert said == ["id False", "id True"]
    assert pebble.orders() - before == 1


def test_renewal_makes_a_new_key(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver) -> None:
    first = try_once(store, wanted(at(pebble)), prover)
    record = Record(store, "id")
    record.keep_story(replace(record.story(), forced=True))
    second = try_once(store, wanted(at(pebble)), prover)
    assert first.pair is not None
    assert second.pair is not None
    assert second.is_fresh
    assert first.pair.key_pem != second.pair.key_pem
    assert not record.story().forced


def test_a_clock_that_jumps_orders_nothing_needless(
    pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert try_once(store, wanted(at(pebble)), prover).is_fresh
    before = pebble.orders()
    now = time.time()
    for jump in (-30 * 86_400.0, 3_600.0, -3_600.0, 0.0):
        monkeypatch.setattr(work.time, "time", lambda jump=jump: now + jump)
        assert not try_once(store, wanted(at(pebble)), prover).is_fresh
    assert pebble.orders() == before
    # Far in the future it is due, whatever was decided before.
    monkeypatch.setattr(work.time, "time", lambda: now + 5 * 365 * 86_400.0)
    assert try_once(store, wanted(at(pebble)), prover).is_fresh


# ---------------------------------------------------------------- accounts


def test_an_account_is_made_once_and_found_again(pebble: issuer.Pebble, store: DirectoryStore) -> None:
    first, second = Session(at(pebble), store), Session(at(pebble), store)
    first.open_account()
    second.open_account()
    assert first.account_uri == second.account_uri
    # Without its address, the key finds it.
    first.forget_account()
    third = Session(at(pebble), store)
    third.open_account()
    assert third.account_uri == first.account_uri


def test_an_account_gets_a_new_key(pebble: issuer.Pebble, store: DirectoryStore) -> None:
    session = Session(at(pebble), store)
    session.open_account()
    before = session.thumbprint_key().thumbprint()
    session.change_key()
    assert session.thumbprint_key().thumbprint() != before
    again = Session(at(pebble), store)
    again.open_account()
    assert again.account_uri == session.account_uri
    assert again.get_json(again.account_uri)["status"] == "valid"


@pytest.mark.parametrize("heard", [True, False])
def test_a_change_of_keys_that_was_cut_off_is_settled(
    pebble: issuer.Pebble, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    session = Session(at(pebble), store)
    session.open_account()
    send = session._send_key_change

    def crash(key_pem: str) -> None:
        if heard:
            send(key_pem)
        raise Crash

    monkeypatch.setattr(session, "_send_key_change", crash)
    with pytest.raises(Crash):
        session.change_key()
    again = Session(at(pebble), store)
    again.open_account()
    assert again.get_json(again.account_uri)["status"] == "valid"
    again.change_key()
    assert again.get_json(again.account_uri)["status"] == "valid"


def test_a_closed_account_is_made_anew(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver) -> None:
    session = Session(at(pebble), store)
    session.open_account()
    session.deactivate()
    with pytest.raises(RefusedError):
        session.get_json(session.account_uri)
    assert try_once(store, wanted(at(pebble)), prover).is_fresh


def test_an_account_the_issuer_forgot_is_made_anew(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver, tmp_path: Path) -> None:
    session = Session(at(pebble), store)
    session.open_account()
    name = store.keys("accounts")[0]
    text = (store.read(name) or b"").decode()
    store.write(name, text.replace(session.account_uri, session.account_uri + "0").encode())
    assert try_once(store, wanted(at(pebble)), prover).is_fresh


def test_revocation(pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver) -> None:
    result = try_once(store, wanted(at(pebble)), prover)
    assert result.pair is not None
    leaf = leaf_of(result.pair.chain_pem)
    session = Session(at(pebble), store)
    session.open_account()
    session.revoke(leaf, 1)
    assert pebble.certificate_status(leaf.serial_number)["Status"] == "Revoked"
    with pytest.raises(RefusedError) as caught:
        session.revoke(leaf, 1)
    assert caught.value.kind == "alreadyRevoked"


def test_external_accounts(tmp_path: Path, store: DirectoryStore) -> None:
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    with issuer.running(tmp_path / "pebble", eab={"kid-1": key}) as pebble:
        prover = DnsProver(pebble)
        refused = try_once(store, wanted(at(pebble)), prover)
        assert "wants an external account: set `eab_kid` and `eab_key`" in refused.reasons[0]
        wrong = replace(at(pebble), eab_kid="kid-1", eab_key=key[::-1])
        record = Record(store, "id")
        record.keep_story(replace(record.story(), next_try_at=0.0))
        assert try_once(store, wanted(wrong), prover).reasons
        record.keep_story(replace(record.story(), next_try_at=0.0))
        right = replace(at(pebble), eab_kid="kid-1", eab_key=key)
        found = try_once(store, wanted(right), prover)
        assert found.is_fresh, found.reasons


# ---------------------------------------------------------------- refusals of orders


def test_a_name_the_issuer_does_not_want(tmp_path: Path, pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver) -> None:
    result = try_once(store, wanted(at(pebble), names=("no_name.example.org",)), prover)
    assert result.pair is None
    assert result.reasons[0].startswith("pebble refused with") or "does not issue" in result.reasons[0]


def test_a_certificate_that_is_not_the_one_ordered_is_not_kept(
    pebble: issuer.Pebble, store: DirectoryStore, prover: DnsProver, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(at(pebble), store)
    session.open_account()
    record = Record(store, "id")
    order = Order(session, record, wanted(at(pebble)), prover)
    fetch = session.post

    class Other:
        text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

    monkeypatch.setattr(session, "post", lambda url, body=None: Other() if "/certZ/" in url else fetch(url, body))
    with pytest.raises(RefusedError, match="not the one ordered"):
        order.run()
    assert record.pair() is None
    assert record.journal() is None
