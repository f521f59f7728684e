"""Certificates and keys as people keep them, and every way they do not fit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from vestibule.control.certs import FileWatch, Loaded, load, new_ticket_key, write_private
from vestibule.model.config import Certificate, Config, Server, TlsProfile, Upstream, UpstreamTls

from .papers import Paper, write

ROOT = Paper("Root")
MIDDLE = ROOT.issue("Middle")
LEAF = MIDDLE.issue("photos.example.org", says_issuer=True)
OTHER = MIDDLE.issue("other.example.org")

EMPTY = Config((), (), ())


def load_pair(base: Path, cert: str, key: str = "", password_file: str = "") -> Loaded:
    return load(replace(EMPTY, certificates=(Certificate("c", cert, key, password_file),)), base)


def test_a_bundle_in_any_order_is_put_into_order(tmp_path: Path) -> None:
    for texts in (
        (LEAF.pem, MIDDLE.pem, LEAF.key_pem()),
        (LEAF.key_pem(), ROOT.pem, MIDDLE.pem, LEAF.pem),
        ("Bag Attributes\n  friendlyName: x\n", MIDDLE.pem, "\n", OTHER.pem, LEAF.pem, LEAF.key_pem()),
    ):
        loaded = load_pair(tmp_path, write(tmp_path / "bundle.pem", *texts))
        pair = loaded.assets.certificates["c"]
        assert loaded.problems == []
        assert pair.chain_pem == LEAF.pem + MIDDLE.pem
        assert pair.key_pem == LEAF.key_pem()
        assert loaded.facts["c"].names == ("photos.example.org",)
        assert loaded.facts["c"].days_left == 90


def test_the_chain_in_a_file_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "cert.pem", LEAF.pem, LEAF.key_pem())
    write(tmp_path / "chain.pem", ROOT.pem, MIDDLE.pem)
    loaded = load(replace(EMPTY, certificates=(Certificate("a", "cert.pem", chain="chain.pem"),)), tmp_path)
    assert loaded.problems == []
    assert loaded.assets.certificates["a"].chain_pem == LEAF.pem + MIDDLE.pem
    assert tmp_path / "chain.pem" in loaded.files
    (tmp_path / "chain.pem").unlink()
    (problem,) = load(replace(EMPTY, certificates=(Certificate("a", "cert.pem", chain="chain.pem"),)), tmp_path).problems
    assert "chain.pem does not exist" in problem.text


def test_key_in_its_own_file_and_encrypted(tmp_path: Path) -> None:
    write(tmp_path / "cert.pem", LEAF.pem, MIDDLE.pem)
    write(tmp_path / "key.pem", LEAF.key_pem(b"open sesame"))
    write(tmp_path / "password", "not this\nopen sesame\n")
    loaded = load_pair(tmp_path, "cert.pem", "key.pem", "password")
    assert loaded.problems == []
    assert loaded.assets.certificates["c"].key_pem == LEAF.key_pem()
    assert {path.name for path in loaded.files} == {"cert.pem", "key.pem", "password"}


@pytest.mark.parametrize(
    ("files", "names", "text"),
    [
        ({}, ("cert.pem",), "cert.pem does not exist"),
        ({"cert.pem": "hello"}, ("cert.pem",), "holds no private key; name the file that holds it with `key`"),
        ({"cert.pem": LEAF.pem, "key.pem": "hello"}, ("cert.pem", "key.pem"), "holds no private key; a PEM file"),
        ({"cert.pem": LEAF.key_pem()}, ("cert.pem",), "holds no certificate"),
        ({"cert.pem": LEAF.pem, "key.pem": OTHER.key_pem()}, ("cert.pem", "key.pem"), "belongs to no certificate in"),
        ({"cert.pem": LEAF.pem + LEAF.key_pem() + OTHER.key_pem()}, ("cert.pem",), "holds 2 private keys"),
        ({"cert.pem": LEAF.pem + LEAF.key_pem(b"x")}, ("cert.pem",), "is encrypted; name a file with its password"),
        ({"cert.pem": LEAF.pem + LEAF.key_pem(b"x"), "p": "y"}, ("cert.pem", "", "p"), "the password does not open it"),
        ({"cert.pem": LEAF.pem + LEAF.key_pem(b"x"), "p": ""}, ("cert.pem", "", "p"), "holds no password"),
        ({"cert.pem": LEAF.pem.replace("M", "N", 3) + LEAF.key_pem()}, ("cert.pem",), "a certificate is damaged"),
        (
            {"cert.pem": LEAF.pem + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
            ("cert.pem",),
            "cannot be read: it is damaged",
        ),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, files: dict[str, str], names: tuple[str, ...], text: str) -> None:
    for name, content in files.items():
        write(tmp_path / name, content)
    loaded = load_pair(tmp_path, *names)
    (problem,) = loaded.problems
    assert problem.is_error
    assert problem.key == "certificates[0].cert"
    assert text in problem.text
    assert "PRIVATE" not in problem.text.replace("-----BEGIN PRIVATE KEY-----", "")
    assert loaded.assets.certificates == {}


def test_what_clients_will_not_believe_can_be_used(tmp_path: Path) -> None:
    paper = MIDDLE.issue("a", days=-3)
    loaded = load_pair(tmp_path, write(tmp_path / "bundle.pem", paper.pem, MIDDLE.pem, paper.key_pem()))
    (problem,) = loaded.problems
    assert not problem.is_error
    assert problem.fails_check
    assert "c" in loaded.assets.certificates


def test_a_key_everyone_can_read_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "bundle.pem", LEAF.pem, MIDDLE.pem, LEAF.key_pem())
    (tmp_path / "bundle.pem").chmod(0o644)
    (problem,) = load_pair(tmp_path, "bundle.pem").problems
    assert "chmod 600" in problem.text


def test_a_root_is_not_sent_and_a_lonely_root_is_fine(tmp_path: Path) -> None:
    loaded = load_pair(tmp_path, write(tmp_path / "self.pem", ROOT.pem, ROOT.key_pem()))
    assert loaded.problems == []
    assert loaded.assets.certificates["c"].chain_pem == ROOT.pem


def test_the_newer_of_two_leaves_with_one_key(tmp_path: Path) -> None:
    old = Paper("a", ROOT, days=30)
    new = Paper("a", ROOT, days=80, key=old.key)
    for texts in ((old.pem, new.pem), (new.pem, old.pem)):
        loaded = load_pair(tmp_path, write(tmp_path / "bundle.pem", *texts, old.key_pem()))
        assert loaded.assets.certificates["c"].chain_pem == new.pem


def test_every_mistake_is_found_and_authorities_are_read(tmp_path: Path) -> None:
    write(tmp_path / "ca.pem", ROOT.pem)
    write(tmp_path / "client.pem", LEAF.pem, MIDDLE.pem, LEAF.key_pem())
    config = replace(
        EMPTY,
        certificates=(Certificate("one", "missing.pem"), Certificate("two", "missing too.pem")),
        upstreams=(Upstream("immich", (), tls=UpstreamTls(ca="ca.pem", cert="client.pem")),),
        tls_profiles=(TlsProfile("mutual", client_ca="ca.pem"), TlsProfile("broken", client_ca="no.pem")),
    )
    loaded = load(config, tmp_path)
    assert [each.key for each in loaded.errors] == ["certificates[0].cert", "certificates[1].cert", "tls_profiles[1].client_ca"]
    assert loaded.assets.authorities == {"ca.pem": ROOT.pem}
    assert loaded.assets.client_certificates["immich"].chain_pem == LEAF.pem + MIDDLE.pem


def test_authorities_may_stand_in_the_configuration(tmp_path: Path) -> None:
    damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    loaded = load(replace(EMPTY, tls_profiles=(TlsProfile("p", client_ca=ROOT.pem), TlsProfile("q", client_ca=damaged))), tmp_path)
    assert loaded.assets.authorities == {ROOT.pem: ROOT.pem}
    assert not loaded.files
    assert ["the certificate in the configuration: a certificate is damaged" in each.text for each in loaded.problems] == [True]


def test_a_change_counts_once_it_has_rested(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_text("old")
    watch = FileWatch()
    watch.watch({cert, key})
    assert watch.look() == []
    cert.write_text("new cert")
    assert watch.look() == []
    key.write_text("new key")
    assert watch.look() == []
    assert watch.look() == [cert, key]
    assert watch.look() == []
    key.unlink()
    assert (watch.look(), watch.look()) == ([], [key])


def test_ticket_keys_are_fresh_and_whole() -> None:
    one, two = new_ticket_key(), new_ticket_key()
    assert len(bytes.fromhex(one)) == 80
    assert one != two


def test_private_files_are_whole_and_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def revocations(issuer: Paper, days: int) -> str:
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    made = builder.last_update(now - timedelta(days=9)).next_update(now + timedelta(days=days)).sign(issuer.key, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("crl", "says", "is_error"),
    [
        (revocations(ROOT, 5), "", False),
        (revocations(ROOT, -1), "no client is let in until there is a new one", False),
        (revocations(MIDDLE, 5), "holds no revocation list of `CN=Root`", False),
        (ROOT.pem, "holds no revocation list; a PEM file", True),
        ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "a revocation list is damaged", True),
    ],
)
def test_revocation_lists(tmp_path: Path, crl: str, says: str, is_error: bool) -> None:
    write(tmp_path / "ca.pem", ROOT.pem)
    write(tmp_path / "crl.pem", crl)
    loaded = load(replace(EMPTY, tls_profiles=(TlsProfile("p", client_ca="ca.pem", client_crl="crl.pem"),)), tmp_path)
    assert tmp_path / "crl.pem" in loaded.files
    assert ("crl.pem" in loaded.assets.revocations) is not is_error
    if not says:
        assert loaded.problems == []
        return
    (problem,) = loaded.problems
    assert says in problem.text
    assert problem.is_error is is_error


def test_revocation_lists_are_wanted_of_further_authorities_too(tmp_path: Path) -> None:
    write(tmp_path / "ca.pem", ROOT.pem)
    write(tmp_path / "more.pem", MIDDLE.pem)
    write(tmp_path / "crl.pem", revocations(ROOT, 5))
    profile = TlsProfile("p", client_ca="ca.pem", client_crl="crl.pem", client_ca_more="more.pem")
    loaded = load(replace(EMPTY, tls_profiles=(profile,)), tmp_path)
    assert set(loaded.assets.authorities) == {"ca.pem", "more.pem"}
    (problem,) = loaded.problems
    assert "holds no revocation list of `CN=Middle`" in problem.text


def test_revocation_lists_for_upstreams(tmp_path: Path) -> None:
    write(tmp_path / "ca.pem", ROOT.pem)
    write(tmp_path / "crl.pem", revocations(ROOT, -1))
    upstream = Upstream("immich", (Server("immich", 443, tls=True),), tls=UpstreamTls(ca="ca.pem", crl="crl.pem"))
    loaded = load(replace(EMPTY, upstreams=(upstream,)), tmp_path)
    assert list(loaded.assets.revocations) == ["crl.pem"]
    (problem,) = loaded.problems
    assert problem.key == "upstreams[0].tls.crl"
    assert "no server is believed until there is a new one" in problem.text


def test_authorities_that_are_over(tmp_path: Path) -> None:
    old = Paper("Old", days=-2)
    for texts, count in (((old.pem,), 1), ((old.pem, ROOT.pem), 0)):
        write(tmp_path / "ca.pem", *texts)
        loaded = load(replace(EMPTY, tls_profiles=(TlsProfile("p", client_ca="ca.pem"),)), tmp_path)
        assert [each.fails_check for each in loaded.problems] == [True] * count
        assert "ca.pem" in loaded.assets.authorities


def test_a_short_key_is_told_in_words(tmp_path: Path) -> None:
    short = rsa.generate_private_key(65537, 1024)
    write(tmp_path / "key.pem", short.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    write(tmp_path / "cert.pem", LEAF.pem)
    (problem,) = load_pair(tmp_path, "cert.pem", "key.pem").problems
    assert problem.is_error
    assert "has 1024 bits" in problem.text
