"""What people do with certificates by hand, against pebble."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.control.acme import pebble as issuer
from tests.control.acme.test_work import DnsProver
from tests.control.papers import Paper
from vestibule.control.acme.desk import Desk, DeskError
from vestibule.control.acme.records import Record
from vestibule.control.acme.store import DirectoryStore
from vestibule.control.acme.wanted import wishes_of
from vestibule.control.acme.work import try_once
from vestibule.dialects.toml import parse
from vestibule.model.config import Config

pytestmark = pytest.mark.skipif(not issuer.is_installed(), reason="pebble is not installed")

NAME = "photos.example.org"


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[issuer.Pebble]:
    with issuer.running(tmp_path_factory.mktemp("pebble")) as made:
        yield made


@pytest.fixture
def config(pebble: issuer.Pebble) -> Config:
    text = (
        f'{pebble.toml()}[dns_providers.mine]\nprovider = "hook"\noptions = {{ command = "/bin/false" }}\n'
        f'[sites."{NAME}"]\nto = "http://immich:2283"\n'
    )
    found = parse("v.toml", text).config
    assert found is not None
    return found


@pytest.fixture
def desk(tmp_path: Path, config: Config) -> Desk:
    return Desk(tmp_path, config, tmp_path)


def issue(tmp_path: Path, config: Config, pebble: issuer.Pebble) -> Record:
    store = DirectoryStore(tmp_path / "acme")
    (wanted,) = wishes_of(config, tmp_path).wanted
    assert try_once(store, wanted, DnsProver(pebble)).is_fresh
    return Record(store, wanted.id)


def test_lists_and_shows(tmp_path: Path, desk: Desk, config: Config, pebble: issuer.Pebble) -> None:
    assert list(desk.lines()) == [f"{NAME}: not there yet"]
    record = issue(tmp_path, config, pebble)
    (line,) = desk.lines()
    assert line.startswith(f"{NAME}: from pebble, until ")
    shown = "\n".join(desk.details(NAME))
    assert "issued by    pebble" in shown
    assert f"{record.id}.pem" in shown
    assert "BEGIN CERTIFICATE" in shown
    assert "PRIVATE" not in shown
    with pytest.raises(DeskError, match=f"known are {NAME}"):
        list(desk.details("other.example.org"))


def test_revokes_and_forgets(tmp_path: Path, desk: Desk, config: Config, pebble: issuer.Pebble) -> None:
    with pytest.raises(DeskError, match="to revoke"):
        desk.revoke(NAME, "superseded")
    record = issue(tmp_path, config, pebble)
    pair = record.pair()
    assert pair is not None
    assert "revoked" in desk.revoke(NAME, "superseded")
    leaf = x509.load_pem_x509_certificate(pair.chain_pem.encode())
    assert pebble.certificate_status(leaf.serial_number)["Status"] == "Revoked"
    assert record.pair() is None
    # A running program orders anew, with another key.
    issue(tmp_path, config, pebble)
    fresh = record.pair()
    assert fresh is not None
    assert fresh.key_pem != pair.key_pem


def test_takes_over_a_certificate(tmp_path: Path, desk: Desk) -> None:
    paper = Paper("*.example.org")
    (tmp_path / "cert.pem").write_text(paper.pem)
    (tmp_path / "key.pem").write_text(paper.key_pem())
    (line,) = desk.take(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    assert line.startswith(f"{NAME}: imported; renewed automatically from ")
    assert next(desk.lines()).startswith(f"{NAME}: from an import")
    with pytest.raises(DeskError, match="from an import, which is not configured"):
        desk.revoke(NAME, "superseded")


def test_does_not_take_what_does_not_fit(tmp_path: Path, desk: Desk) -> None:
    paper, other = Paper("other.example.net"), Paper("photos.example.org")
    (tmp_path / "cert.pem").write_text(paper.pem + paper.key_pem())
    with pytest.raises(DeskError, match=r"it is for other\.example\.net"):
        desk.take(str(tmp_path / "cert.pem"), "")
    (tmp_path / "key.pem").write_text(other.key_pem())
    with pytest.raises(DeskError, match="belongs to no certificate"):
        desk.take(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))


def test_sees_to_accounts(desk: Desk) -> None:
    shown = desk.account("show", "")
    assert '"status": "valid"' in shown
    uri = shown.partition(" ")[0]
    assert desk.account("change-key", "pebble") == f"{uri} at pebble has a new key"
    assert desk.account("show", "").startswith(uri)
    assert "closed for good" in desk.account("deactivate", "")
    assert not desk.account("show", "").startswith(uri + " ")
    with pytest.raises(DeskError, match="in use are pebble"):
        desk.account("show", "letsencrypt")
