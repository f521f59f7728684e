"""Certificates, keys and authorities as files: read, checked against each other, and made ready for the workers.

Facts: a PEM file may hold several blocks in any order, with any text between them (RFC 7468 section 2). TLS wants the leaf first
and each certificate followed by its issuer (RFC 8446 section 4.4.2), and clients refuse some chains that are not so. ACME clients
replace the certificate and then the key, so that for a moment the two do not belong together.

Rules:
* The leaf is the certificate the key belongs to, wherever it stands; the chain is put into order; what does not belong is left out.
* Keys leave here without encryption, over the link only. No key is ever in a message or a log.
* All mistakes are collected: `Problem` says where, what and how to mend it.

Not here: the local CA (`authority.py`), what a worker makes of it (`net/tls.py`).
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vestibule.control.chain import doubts_of, missing_hosts
from vestibule.control.changes import Changes
from vestibule.link.messages import SERVER_PREFIX, Assets, KeyPair
from vestibule.model.config import Config

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

TICKET_KEY_BYTES = 80

# OpenSSL's security level 2, which Debian sets, refuses less.
RSA_LEAST_BITS = 2048

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file. `key` is the place in the model that names it, such as `certificates[0].cert`.

    An error forbids the use of the configuration. What `fails_check` only will not work for clients, and is an error to
    `vestibule check`.
    """

    key: str
    text: str
    is_error: bool = True
    fails_check: bool = False


class _FileError(Exception):
    """A file that cannot be used; the text says which, why and how to mend it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What people want to know of a certificate."""

    name: str
    subject: str
    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime
    self_signed: bool

    @property
    def days_left(self) -> int:
        """Whole days until the end; negative after it."""
        return (self.not_after - datetime.now(UTC)).days

    @property
    def is_due(self) -> bool:
        """Whether it should be made anew: two thirds of its life are over."""
        return datetime.now(UTC) > self.not_after - (self.not_after - self.not_before) / 3


@dataclass(slots=True)
class Loaded:
    """The files of a configuration: assets for the workers, facts for people, problems for who must mend them."""

    assets: Assets = field(default_factory=Assets)
    facts: dict[str, Facts] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    """Every file that was read or should have been, to be watched."""

    @property
    def errors(self) -> list[Problem]:
        """The problems that forbid the use of the configuration."""
        return [each for each in self.problems if each.is_error]


def load(config: Config, base: Path, changes: Changes | None = None) -> Loaded:
    """Read every certificate, key and authority a configuration names, relative to `base` and as it is changed. Never raises for a
    bad file."""
    loaded = Loaded()
    place = _Base(base, changes or Changes())
    for at, certificate in enumerate(config.certificates):
        files = _Files(place, certificate.cert, certificate.key, certificate.password_file, certificate.chain)
        pair = _load_pair(loaded, certificate.name, f"certificates[{at}].cert", files)
        if pair is not None:
            loaded.assets.certificates[certificate.name] = pair
    _look_for_hosts(loaded, config)
    for at, upstream in enumerate(config.upstreams):
        key = f"upstreams[{at}].tls"
        if upstream.tls.cert:
            files = _Files(place, upstream.tls.cert, upstream.tls.key, upstream.tls.password_file)
            pair = _load_pair(loaded, f"upstream {upstream.name}", f"{key}.cert", files, is_client=True)
            if pair is not None:
                loaded.assets.client_certificates[upstream.name] = pair
        for server in upstream.servers:
            name = SERVER_PREFIX + server.tls_cert
            if server.tls_cert and name not in loaded.assets.client_certificates:
                pair = _load_pair(loaded, name, f"{key}.cert", _Files(place, server.tls_cert, "", ""), is_client=True)
                if pair is not None:
                    loaded.assets.client_certificates[name] = pair
        if upstream.tls.ca:
            _load_authority(loaded, f"{key}.ca", place, upstream.tls.ca)
        if upstream.tls.crl:
            _load_lists(loaded, f"{key}.crl", place, upstream.tls.crl, upstream.tls.ca, "no server is believed")
    for at, profile in enumerate(config.tls_profiles):
        if profile.client_ca:
            _load_authority(loaded, f"tls_profiles[{at}].client_ca", place, profile.client_ca)
        if profile.client_ca_more:
            _load_authority(loaded, f"tls_profiles[{at}].client_ca_more", place, profile.client_ca_more)
        if profile.client_crl:
            key = f"tls_profiles[{at}].client_crl"
            _load_lists(loaded, key, place, profile.client_crl, profile.client_ca, "no client is let in", profile.client_ca_more)
    return loaded


def _look_for_hosts(loaded: Loaded, config: Config) -> None:
    """Tell which hosts of sites no certificate is for. Of several of one key type, `compile` wants one for each."""
    for at, site in enumerate(config.sites):
        names: dict[str, None] = {}
        for certificate in site.certificates:
            names |= dict.fromkeys(loaded.facts[certificate].names if certificate in loaded.facts else ())
        missing = missing_hosts(site.hosts, list(names))
        if names and missing:
            text = f"the certificate is not for `{'`, `'.join(missing)}` but for `{'`, `'.join(names)}`; browsers refuse it there"
            loaded.problems.append(Problem(f"sites[{at}].certificates", text, is_error=False))


def new_ticket_key() -> str:
    """Return a fresh key for TLS session tickets, in hex: name, HMAC key and AES key, as OpenSSL divides them."""
    return secrets.token_hex(TICKET_KEY_BYTES)


class FileWatch:
    """Tells when files changed, by size, time and inode. A change counts once it has been still for one look."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int, int]] = {}
        self._pending: dict[Path, tuple[int, int, int]] = {}

    def watch(self, files: set[Path]) -> None:
        """Watch exactly these from now on, as they are at this moment."""
        self._known = {path: _stamp(path) for path in files}
        self._pending = {}

    def look(self) -> list[Path]:
        """Return the files that changed and then rested since; they count as known from now on."""
        now = {path: _stamp(path) for path in self._known}
        changed = {path: stamp for path, stamp in now.items() if stamp != self._known[path]}
        # A certificate and its key are written one after the other: wait until nothing moves.
        settled = bool(changed) and changed == self._pending
        self._pending = changed
        if not settled:
            return []
        self._known = now
        self._pending = {}
        return sorted(changed)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (-1, -1, -1)
    return (facts.st_mtime_ns, facts.st_size, facts.st_ino)


# ---------------------------------------------------------------- one pair


class _Base:
    """Where the files of a configuration count from; those that were changed are in memory."""

    def __init__(self, base: Path, changes: Changes) -> None:
        self._base = base
        self._changes = changes

    def __truediv__(self, name: str) -> Path:
        return self._changes.where(self._base / name)


class _Files:
    """The files of one pair, as the configuration names them."""

    def __init__(self, base: _Base, cert: str, key: str, password_file: str, chain: str = "") -> None:
        self.cert = base / cert
        self.key = base / (key or cert)
        self.has_own_key = bool(key)
        self.password = base / password_file if password_file else None
        self.chain = base / chain if chain else None


def _load_pair(loaded: Loaded, name: str, key: str, files: _Files, is_client: bool = False) -> KeyPair | None:
    """Read a certificate with its key: facts go under `name`, problems under `key`. None if it cannot be used."""
    loaded.files |= {files.cert, files.key}
    if files.password is not None:
        loaded.files.add(files.password)
    if files.chain is not None:
        loaded.files.add(files.chain)
    try:
        passwords = _read_passwords(files.password) if files.password is not None else []
        private = _read_key(files.key, passwords, files.has_own_key)
        _check_strength(files.key, private)
        certificates = _read_certificates(files.cert)
        if files.chain is not None:
            certificates += _read_certificates(files.chain)
        chain, strangers = _order(certificates, private, files.cert, files.key)
    except _FileError as bad:
        loaded.problems.append(Problem(key, str(bad)))
        return None
    facts = describe(name, chain[0])
    loaded.facts[name] = facts
    for doubt in doubts_of(chain, strangers, files.cert, is_client):
        loaded.problems.append(Problem(key, doubt.text, is_error=False, fails_check=doubt.is_grave))
    if not facts.names and not is_client:
        text = f"the certificate in {files.cert} names no host (subjectAltName); browsers refuse it"
        loaded.problems.append(Problem(key, text, is_error=False))
    if files.key.stat().st_mode & stat.S_IROTH:
        text = f"everyone on this machine can read the key in {files.key}; `chmod 600` it"
        loaded.problems.append(Problem(key, text, is_error=False))
    return KeyPair(pem_of(chain), pem_of_key(private))


class PairError(Exception):
    """A certificate and key that cannot be used; the text says why and how to mend it."""


def read_pair(cert: Path, key: Path | None) -> tuple[KeyPair, Facts]:
    """Read a certificate with its chain, and its key, which is in the same file without `key`. Raises `PairError`."""
    try:
        private = _read_key(key or cert, [], key is not None)
        chain, _ = _order(_read_certificates(cert), private, cert, key or cert)
    except _FileError as bad:
        raise PairError(str(bad)) from None
    return KeyPair(pem_of(chain), pem_of_key(private)), describe(cert.name, chain[0])


def _load_authority(loaded: Loaded, key: str, base: _Base, file: str) -> None:
    inline = file.startswith("-----BEGIN CERTIFICATE-----")
    path = Path("the certificate in the configuration") if inline else base / file
    if not inline:
        loaded.files.add(path)
    try:
        found = _certificates_of([each.group(0) for each in _BLOCK.finditer(file.encode())], path) if inline else _read_certificates(path)
    except _FileError as bad:
        loaded.problems.append(Problem(key, str(bad)))
        return
    loaded.assets.authorities[file] = pem_of(found)
    now = datetime.now(UTC)
    # A bundle may hold old roots beside those that count.
    over = [each for each in found if each.not_valid_after_utc <= now]
    if len(over) == len(found):
        end = over[0].not_valid_after_utc
        text = f"every authority in {path} is over, {_words(over[0].subject)} since {end:%Y-%m-%d}; nobody is believed"
        loaded.problems.append(Problem(key, text, is_error=False, fails_check=True))


def _load_lists(loaded: Loaded, key: str, base: _Base, file: str, ca_file: str, so: str, more: str = "") -> None:
    """Read revocation lists. An authority without one, or with an old one, lets nobody in: that is told before it happens."""
    path = base / file
    loaded.files.add(path)
    try:
        lists = _read_lists(path)
    except _FileError as bad:
        loaded.problems.append(Problem(key, str(bad)))
        return
    loaded.assets.revocations[file] = pem_of(lists)
    now = datetime.now(UTC)
    for each in lists:
        end = each.next_update_utc
        if end is not None and end <= now:
            whose = f"the revocation list of {_words(each.issuer)} in {path}"
            text = f"{whose} ended on {end:%Y-%m-%d}; {so} until there is a new one"
            loaded.problems.append(Problem(key, text, is_error=False))
    issuers = [each.issuer for each in lists]
    authorities = loaded.assets.authorities
    for authority in _certificates_in(authorities.get(ca_file, "") + authorities.get(more, "")):
        if authority.subject not in issuers:
            text = f"{path} holds no revocation list of {_words(authority.subject)}; {so} with a certificate below it"
            loaded.problems.append(Problem(key, text, is_error=False))


def _read_lists(path: Path) -> list[x509.CertificateRevocationList]:
    from cryptography import x509

    blocks = _blocks(path, "X509 CRL")
    if not blocks:
        mend = "a PEM file with `-----BEGIN X509 CRL-----` is expected; `openssl crl -inform DER` makes one of a binary list"
        raise _FileError(f"{path} holds no revocation list; {mend}")
    try:
        return [x509.load_pem_x509_crl(block) for block in blocks]
    except ValueError as bad:
        raise _FileError(f"{path}: a revocation list is damaged: {bad}") from None


def _certificates_in(pem: str) -> list[x509.Certificate]:
    from cryptography import x509

    return x509.load_pem_x509_certificates(pem.encode()) if pem else []


def _words(name: x509.Name) -> str:
    return f"`{name.rfc4514_string()}`"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _FileError(f"{path} does not exist; check the path, which counts from the directory of the configuration file") from None
    except PermissionError:
        raise _FileError(f"{path} may not be read by this user; start vestibule as root or give it access to the file") from None
    except OSError as bad:
        raise _FileError(f"{path} cannot be read: {bad.strerror}") from None


def _blocks(path: Path, ending: str) -> list[bytes]:
    """Return the PEM blocks of a file whose label ends so."""
    return [match.group(0) for match in _BLOCK.finditer(_read(path)) if match.group(1).decode().endswith(ending)]


def _read_certificates(path: Path) -> list[x509.Certificate]:
    return _certificates_of(_blocks(path, "CERTIFICATE"), path)


def _certificates_of(blocks: list[bytes], path: Path) -> list[x509.Certificate]:
    from cryptography import x509

    if not blocks:
        raise _FileError(f"{path} holds no certificate; a PEM file with `-----BEGIN CERTIFICATE-----` is expected")
    try:
        return [x509.load_pem_x509_certificate(block.replace(b"TRUSTED CERTIFICATE", b"CERTIFICATE")) for block in blocks]
    except ValueError as bad:
        raise _FileError(f"{path}: a certificate is damaged: {bad}") from None


def _read_key(path: Path, passwords: list[bytes], own_file: bool) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    blocks = _blocks(path, "PRIVATE KEY")
    if not blocks:
        mend = "a PEM file with `-----BEGIN PRIVATE KEY-----` is expected" if own_file else "name the file that holds it with `key`"
        raise _FileError(f"{path} holds no private key; {mend}")
    if len(blocks) > 1:
        raise _FileError(f"{path} holds {len(blocks)} private keys; keep the one that belongs to the certificate")
    is_encrypted = b"ENCRYPTED" in blocks[0]
    if is_encrypted and not passwords:
        raise _FileError(f"the key in {path} is encrypted; name a file with its password with `password_file`")
    for password in passwords if is_encrypted else [None]:
        try:
            return load_pem_private_key(blocks[0], password)
        except UnsupportedAlgorithm as bad:
            raise _FileError(f"the key in {path} is of a kind that TLS does not use: {bad}") from None
        except (ValueError, TypeError):
            continue
    why = "the password does not open it" if is_encrypted else "it is damaged"
    raise _FileError(f"the key in {path} cannot be read: {why}")


def _check_strength(path: Path, private: PrivateKeyTypes) -> None:
    """Refuse what OpenSSL would, in words. The rest of what TLS cannot use is told by OpenSSL itself."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(private, RSAPrivateKey) and private.key_size < RSA_LEAST_BITS:
        mend = "have a certificate made for a new key, of RSA with 2048 bits or ECDSA"
        raise _FileError(f"the RSA key in {path} has {private.key_size} bits, and clients want {RSA_LEAST_BITS}; {mend}")


def _read_passwords(path: Path) -> list[bytes]:
    lines = [line for line in _read(path).splitlines() if line]
    if not lines:
        raise _FileError(f"{path} holds no password; each of its lines may be one")
    return lines


def _order(
    certificates: list[x509.Certificate], private: PrivateKeyTypes, cert_path: Path, key_path: Path
) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """Return the leaf the key belongs to, followed by its issuers as far as they are there, and what is left over."""
    public = public_bytes(private.public_key())
    leaves = [each for each in certificates if public_bytes(each.public_key()) == public]
    if not leaves:
        raise _FileError(f"the key in {key_path} belongs to no certificate in {cert_path}; did one of the two change without the other?")
    # Renewed bundles may hold the old leaf for the same key as well.
    chain = [max(leaves, key=lambda each: each.not_valid_after_utc)]
    rest = [each for each in certificates if each not in leaves]
    while rest and chain[-1].issuer != chain[-1].subject:
        issuer = next((each for each in rest if each.subject == chain[-1].issuer), None)
        if issuer is None:
            break
        rest.remove(issuer)
        # Clients have the root or they do not; sending it only costs bytes (RFC 8446 section 4.4.2).
        if issuer.issuer == issuer.subject:
            break
        chain.append(issuer)
    return chain, rest


# ---------------------------------------------------------------- shared with the local CA


def describe(name: str, certificate: x509.Certificate) -> Facts:
    """Return the facts of a certificate."""
    from cryptography import x509

    names: list[str] = []
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += found.get_values_for_type(x509.DNSName)
        names += [str(each) for each in found.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        pass
    return Facts(
        name,
        certificate.subject.rfc4514_string(),
        tuple(names),
        certificate.issuer.rfc4514_string(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.issuer == certificate.subject,
    )


def pem_of(certificates: Sequence[x509.Certificate | x509.CertificateRevocationList]) -> str:
    """Return certificates or revocation lists as PEM, in this order."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def pem_of_key(private: PrivateKeyTypes) -> str:
    """Return a private key as PEM without encryption."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_bytes(key: object) -> bytes:
    """Return the one encoding of a public key by which two keys are compared."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def write_private(path: Path, data: bytes) -> None:
    """Write a file only we may read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
