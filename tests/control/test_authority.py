"""The local CA: made once, believed by OpenSSL, renewed in time."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from vestibule.control import authority
from vestibule.control.authority import AuthorityError, LocalAuthority, how_to_trust, subject_names


def shake_hands(chain: str, key: str, root: Path, name: str, tmp_path: Path) -> dict[str, object]:
    """Run a TLS handshake in memory; return what the client saw. Raises ssl.SSLError if it does not believe."""
    (tmp_path / "pair.pem").write_text(chain + key)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(tmp_path / "pair.pem")
    client_side = ssl.create_default_context(cafile=str(root))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for each in (client, server):
            try:
                each.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return dict(client.getpeercert() or {})


@pytest.mark.parametrize("name", ["photos.lan", "192.168.1.5", "a.home.arpa"])
def test_a_client_that_trusts_the_root_believes_the_leaf(tmp_path: Path, name: str) -> None:
    local = LocalAuthority(tmp_path)
    pair, facts = local.pair_for(("photos.lan", "192.168.1.5", "*.home.arpa"))
    seen = shake_hands(pair.chain_pem, pair.key_pem, local.certificate_file, name, tmp_path)
    assert ("DNS", "photos.lan") in seen["subjectAltName"]  # type: ignore[operator]
    assert facts.names == ("photos.lan", "*.home.arpa", "192.168.1.5")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(pair.chain_pem, pair.key_pem, local.certificate_file, "elsewhere.lan", tmp_path)


def test_everything_is_made_once_and_private(tmp_path: Path) -> None:
    first, _ = LocalAuthority(tmp_path).pair_for(("a.lan",))
    root = (tmp_path / "ca" / "root.crt").read_bytes()
    second, _ = LocalAuthority(tmp_path).pair_for(("a.lan",))
    other, _ = LocalAuthority(tmp_path).pair_for(("b.lan",))
    assert (first.chain_pem, first.key_pem) == (second.chain_pem, second.key_pem)
    assert other.chain_pem != first.chain_pem
    assert (tmp_path / "ca" / "root.crt").read_bytes() == root
    assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in (tmp_path / "ca").iterdir()} == {0o600}


def test_what_the_certificates_allow(tmp_path: Path) -> None:
    pair, facts = LocalAuthority(tmp_path).pair_for(("a.lan",))
    root = x509.load_pem_x509_certificate((tmp_path / "ca" / "root.crt").read_bytes())
    leaf, middle = x509.load_pem_x509_certificates(pair.chain_pem.encode())
    leaf.verify_directly_issued_by(middle)
    middle.verify_directly_issued_by(root)
    assert middle.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert middle.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=730)
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 1)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert root.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=7)
    assert root.not_valid_after_utc - datetime.now(UTC) > timedelta(days=3_640)
    assert not facts.self_signed
    assert not facts.is_due


def test_a_leaf_is_renewed_when_two_thirds_are_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "_BACKDATED", timedelta(days=5))
    old, facts = LocalAuthority(tmp_path).pair_for(("a.lan",))
    assert facts.is_due
    monkeypatch.undo()
    new, facts = LocalAuthority(tmp_path).pair_for(("a.lan",))
    assert new.chain_pem != old.chain_pem
    assert not facts.is_due


def test_a_leaf_of_a_former_root_is_made_anew(tmp_path: Path) -> None:
    old, _ = LocalAuthority(tmp_path).pair_for(("a.lan",))
    for name in ("root.crt", "root.key"):
        (tmp_path / "ca" / name).unlink()
    new, _ = LocalAuthority(tmp_path).pair_for(("a.lan",))
    assert new.chain_pem != old.chain_pem


def test_a_broken_ca_is_told(tmp_path: Path) -> None:
    local = LocalAuthority(tmp_path)
    local.ensure()
    other = LocalAuthority(tmp_path / "other")
    other.ensure()
    (tmp_path / "ca" / "root.key").write_bytes((tmp_path / "other" / "ca" / "root.key").read_bytes())
    with pytest.raises(AuthorityError, match="does not belong to"):
        local.pair_for(("a.lan",))
    (tmp_path / "ca" / "root.crt").write_text("rubbish")
    with pytest.raises(AuthorityError, match="is damaged"):
        local.ensure()


def test_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuthorityError, match=r"process\.state_dir"):
        LocalAuthority(tmp_path / "file").pair_for(("a.lan",))


def test_names_for_hosts() -> None:
    assert subject_names(("localhost",)) == ("localhost", "127.0.0.1", "::1")
    assert subject_names(("[fd00::1]", "a.lan")) == ("fd00::1", "a.lan")
    assert {"localhost", "127.0.0.1", "::1"} < set(subject_names(("*",)))
    assert subject_names(()) == ("localhost",)


def test_how_to_trust_names_the_file() -> None:
    assert how_to_trust(Path("/state/ca/root.crt")).count("/state/ca/root.crt") == 4


def test_the_root_key_may_be_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = LocalAuthority(tmp_path)
    local.pair_for(("a.lan",))
    key = local.key_file.read_bytes()
    local.key_file.unlink()
    pair, _ = local.pair_for(("b.lan",))
    assert ("DNS", "b.lan") in shake_hands(pair.chain_pem, pair.key_pem, local.certificate_file, "b.lan", tmp_path)["subjectAltName"]  # type: ignore[operator]
    assert local.doubt == ""
    assert local.ensure().self_signed
    # A third of the intermediate CA's life is left: it is told, and goes on; once it is over, nothing goes on.
    local.key_file.write_bytes(key)
    (tmp_path / "ca" / "intermediate.pem").unlink()
    monkeypatch.setattr(authority, "INTERMEDIATE_DAYS", 0.001)
    monkeypatch.setattr(authority, "_BACKDATED", timedelta(days=600))
    local.pair_for(("a.lan",))
    local.key_file.unlink()
    monkeypatch.undo()
    local.pair_for(("a.lan",))
    assert "put root.key back" in local.doubt
    monkeypatch.setattr(authority, "datetime", Tomorrow)
    with pytest.raises(AuthorityError, match="must be made anew"):
        local.pair_for(("a.lan",))
    monkeypatch.undo()
    local.key_file.write_bytes(key)
    local.pair_for(("a.lan",))
    assert local.doubt == ""


class Tomorrow(datetime):
    """A clock that is a day ahead."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) + timedelta(days=1)


def test_an_intermediate_of_another_root_is_made_anew_or_asked_for(tmp_path: Path) -> None:
    local, other = LocalAuthority(tmp_path), LocalAuthority(tmp_path / "other")
    old, _ = local.pair_for(("a.lan",))
    other.pair_for(("a.lan",))
    for name in ("root.crt", "root.key"):
        (tmp_path / "ca" / name).write_bytes((tmp_path / "other" / "ca" / name).read_bytes())
    new, _ = local.pair_for(("a.lan",))
    assert new.chain_pem != old.chain_pem
    (tmp_path / "ca" / "intermediate.pem").unlink()
    local.key_file.unlink()
    with pytest.raises(AuthorityError, match="must be made anew"):
        local.pair_for(("a.lan",))
