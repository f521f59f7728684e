"""The local CA: certificates for `localhost`, names of the home network and addresses, which no public CA gives.

Facts: browsers want the host in subjectAltName, not in the subject (RFC 6125 section 6.4.4), and let a private CA have what names
it likes once it is trusted. A certificate that begins a moment ago fails on machines whose clock is behind.

What lives for a week needs no revocation.

Rules:
* The root signs the intermediate CA and nothing else; that signs leaves. So `root.key` may be kept elsewhere, and is asked for only
  when the intermediate CA must be made anew: every `INTERMEDIATE_DAYS`, from a third of that before the end on.
* Keys are made once and never leave their files. They are ECDSA P-256; files 0600, the directory 0700, writes atomic.
* Leaves live `LEAF_DAYS`, and are made anew when a third of that is left or when the hosts changed.
* One process at a time makes things here: a lock on the directory (flock(2)).

Not here: certificates by ACME, files people bring (`certs.py`).
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from vestibule.control.certs import Facts, describe, pem_of, pem_of_key, public_bytes, write_private
from vestibule.link.messages import KeyPair
from vestibule.model.config import ANY_HOST

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

CA_DAYS = 3_650
INTERMEDIATE_DAYS = 730
LEAF_DAYS = 7
_BACKDATED = timedelta(hours=1)


class AuthorityError(Exception):
    """The local CA cannot be read or made; the text says why and how to mend it."""


class _NeedsRoot(ValueError):
    """The root's key is needed and is not there."""


@dataclass(frozen=True, slots=True)
class _Signer:
    """Who signs leaves, and what is sent with them."""

    key: EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]


class LocalAuthority:
    """The CA in a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir / "ca"
        self.certificate_file = self._directory / "root.crt"
        self.key_file = self._directory / "root.key"
        self._middle_file = self._directory / "intermediate.pem"
        self.doubt = ""
        """What must be done soon, for people; set by `pair_for`."""

    def pair_for(self, hosts: tuple[str, ...]) -> tuple[KeyPair, Facts]:
        """Return a certificate that is good for these hosts for a while yet, making it, and the CA, where needed.

        Raises `AuthorityError`.
        """
        names = subject_names(hosts)
        try:
            with self._locked():
                return self._pair_for(names)
        except OSError as bad:
            place = bad.filename or self._directory
            raise AuthorityError(f"{place}: {bad.strerror}; name a directory that vestibule may write with process.state_dir") from None
        except _NeedsRoot as bad:
            raise AuthorityError(str(bad)) from None
        except ValueError as bad:
            raise AuthorityError(f"{self._directory} is damaged ({bad}); remove it and a new CA is made") from None

    def ensure(self) -> Facts:
        """Make the CA if there is none; return what it is. Raises `AuthorityError`."""
        try:
            with self._locked():
                if self.certificate_file.exists() and not self.key_file.exists():
                    certificate = _read_certificate(self.certificate_file)  # its key is kept elsewhere
                else:
                    _, certificate = self._root()
        except OSError as bad:
            raise AuthorityError(f"{bad.filename or self._directory}: {bad.strerror}") from None
        except ValueError as bad:
            raise AuthorityError(f"{self._directory} is damaged ({bad}); remove it and a new CA is made") from None
        return describe("local CA", certificate)

    def _pair_for(self, names: tuple[str, ...]) -> tuple[KeyPair, Facts]:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        signer = self._signer()
        path = self._directory / f"leaf-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:16]}.pem"
        if path.exists():
            data = path.read_bytes()
            leaf = x509.load_pem_x509_certificate(data)
            facts = describe(names[0], leaf)
            if not facts.is_due and _is_signed_by(leaf, signer.certificate):
                return KeyPair(pem_of([leaf, *signer.chain]), pem_of_key(load_pem_private_key(data, None))), facts
        key, leaf = _make_leaf(names, signer.key, signer.certificate)
        write_private(path, (pem_of([leaf]) + pem_of_key(key)).encode())
        return KeyPair(pem_of([leaf, *signer.chain]), pem_of_key(key)), describe(names[0], leaf)

    def _signer(self) -> _Signer:
        """Return the intermediate CA, made if there is none that is good for a while yet."""
        from cryptography import x509

        self.doubt = ""
        middle = self._middle()
        if self.key_file.exists() or not self.certificate_file.exists():
            root_key, root = self._root()
            if root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0:
                return _Signer(root_key, root, ())  # one of an earlier version, which can sign leaves only
            if middle is None or describe("", middle.certificate).is_due or not _is_signed_by(middle.certificate, root):
                key, certificate = _make_authority(_name(f"intermediate CA, {socket.gethostname()}"), INTERMEDIATE_DAYS, root_key, root)
                write_private(self._middle_file, (pem_of([certificate]) + pem_of_key(key)).encode())
                middle = _Signer(key, certificate, (certificate,))
            return middle
        mend = f"put root.key back into {self._directory} for one start, or remove the directory and trust a new CA"
        is_over = middle is None or middle.certificate.not_valid_after_utc <= datetime.now(UTC)
        if middle is None or is_over or not _is_signed_by(middle.certificate, _read_certificate(self.certificate_file)):
            raise _NeedsRoot(f"the intermediate CA must be made anew, and {self.key_file} is not there to sign it; {mend}")
        if describe("", middle.certificate).is_due:
            end = middle.certificate.not_valid_after_utc
            self.doubt = f"the intermediate CA ends on {end:%Y-%m-%d}, and {self.key_file} is not there to sign the next; {mend}"
        return middle

    def _middle(self) -> _Signer | None:
        """Return the intermediate CA as it is, or None if there is none."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if not self._middle_file.exists():
            return None
        data = self._middle_file.read_bytes()
        certificate, key = x509.load_pem_x509_certificate(data), load_pem_private_key(data, None)
        if not isinstance(key, EllipticCurvePrivateKey) or public_bytes(key.public_key()) != public_bytes(certificate.public_key()):
            raise ValueError(f"the key in {self._middle_file.name} is not its own")
        return _Signer(key, certificate, (certificate,))

    def _root(self) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
        """Return the CA's key and certificate, made if there are none."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if not self.certificate_file.exists():
            key, certificate = _make_root()
            # The key first: a certificate without its key would stand in the way for ever.
            write_private(self.key_file, pem_of_key(key).encode())
            write_private(self.certificate_file, pem_of([certificate]).encode())
            return key, certificate
        certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        loaded = load_pem_private_key(self.key_file.read_bytes(), None)
        if not isinstance(loaded, EllipticCurvePrivateKey) or public_bytes(loaded.public_key()) != public_bytes(certificate.public_key()):
            raise ValueError("root.key does not belong to root.crt")
        if certificate.not_valid_after_utc <= datetime.now(UTC):
            raise ValueError(f"root.crt expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
        return loaded, certificate

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def subject_names(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the certificate for a site's hosts must name: the hosts, and for `*` whatever reaches this machine."""
    names: dict[str, None] = {}
    for host in hosts:
        if host == ANY_HOST:
            names |= dict.fromkeys(("localhost", "127.0.0.1", "::1", socket.gethostname().lower()))
        elif host:
            names[host.strip("[]")] = None
            if host == "localhost":
                # Who types localhost one day types the address the other.
                names |= dict.fromkeys(("127.0.0.1", "::1"))
    return tuple(names) or ("localhost",)


def how_to_trust(certificate_file: Path) -> str:
    """Return what to do so that browsers and phones believe the local CA."""
    return f"""To trust it, install {certificate_file} as an authority:
  Debian, Ubuntu    cp {certificate_file} /usr/local/share/ca-certificates/vestibule.crt && update-ca-certificates
  Fedora            cp {certificate_file} /etc/pki/ca-trust/source/anchors/vestibule.crt && update-ca-trust
  macOS             security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {certificate_file}
  Windows           certutil -user -addstore Root {certificate_file.name}
  Firefox, Chrome   Settings, Certificates, Authorities (or `Manage certificates`), Import
  Android           Settings, Security, More, Install a certificate, CA certificate
  iPhone            open the file, Settings, Profile Downloaded; then General, About, Certificate Trust Settings
Whoever has root.key beside it can make certificates these machines believe: keep it to yourself. It may be kept elsewhere, and is
needed back for a start every other year."""


def _make_root() -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    return _make_authority(_name(f"local CA, {socket.gethostname()}, {datetime.now(UTC):%Y-%m-%d}"), CA_DAYS)


def _name(text: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Vestibule"),
            # The common name may have 64 characters (RFC 5280, ub-common-name).
            x509.NameAttribute(NameOID.COMMON_NAME, f"Vestibule {text}"[:64]),
        ]
    )


def _make_authority(
    name: x509.Name, days: int, above_key: EllipticCurvePrivateKey | None = None, above: x509.Certificate | None = None
) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    """Make an authority: a root, or one below `above`."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    key = ec.generate_private_key(ec.SECP256R1())
    signer = above_key or key
    now = datetime.now(UTC)
    end = now + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(above.subject if above is not None else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(end if above is None else min(end, above.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1 if above is None else 0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if above is not None:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    return key, builder.sign(signer, SHA256())


def _read_certificate(path: Path) -> x509.Certificate:
    from cryptography import x509

    return x509.load_pem_x509_certificate(path.read_bytes())


def _make_leaf(
    names: tuple[str, ...], signer_key: EllipticCurvePrivateKey, signer: x509.Certificate
) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    end = min(now + timedelta(days=LEAF_DAYS), signer.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(end - _BACKDATED)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
    )
    return key, builder.sign(signer_key, SHA256())


def _usage(is_authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        # Names beyond ASCII stand in certificates in their ASCII form (RFC 5280 section 7.2).
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)


def _is_signed_by(leaf: x509.Certificate, root: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        leaf.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
