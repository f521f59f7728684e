"""The local CA: certificates for `localhost`, names of the home network and addresses, which no public CA gives.

Facts: browsers want the host in subjectAltName, not in the subject (RFC 6125 section 6.4.4), and let a private CA have what names
it likes once it is trusted. A certificate that begins a moment ago fails on machines whose clock is behind.

Rules:
* The CA's key is made once and never leaves its file. Keys are ECDSA P-256; files 0600, the directory 0700, writes atomic.
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
LEAF_DAYS = 90
_BACKDATED = timedelta(hours=1)


class AuthorityError(Exception):
    """The local CA cannot be read or made; the text says why and how to mend it."""


class LocalAuthority:
    """The CA in a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir / "ca"
        self.certificate_file = self._directory / "root.crt"
        self._key_file = self._directory / "root.key"

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
        except ValueError as bad:
            raise AuthorityError(f"{self._directory} is damaged ({bad}); remove it and a new CA is made") from None

    def ensure(self) -> Facts:
        """Make the CA if there is none; return what it is. Raises `AuthorityError`."""
        try:
            with self._locked():
                _, certificate = self._root()
        except OSError as bad:
            raise AuthorityError(f"{bad.filename or self._directory}: {bad.strerror}") from None
        except ValueError as bad:
            raise AuthorityError(f"{self._directory} is damaged ({bad}); remove it and a new CA is made") from None
        return describe("local CA", certificate)

    def _pair_for(self, names: tuple[str, ...]) -> tuple[KeyPair, Facts]:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        root_key, root = self._root()
        path = self._directory / f"leaf-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:16]}.pem"
        if path.exists():
            data = path.read_bytes()
            leaf = x509.load_pem_x509_certificate(data)
            facts = describe(names[0], leaf)
            if not facts.is_due and _is_signed_by(leaf, root):
                return KeyPair(pem_of([leaf]), pem_of_key(load_pem_private_key(data, None))), facts
        key, leaf = _make_leaf(names, root_key, root)
        pair = KeyPair(pem_of([leaf]), pem_of_key(key))
        write_private(path, (pair.chain_pem + pair.key_pem).encode())
        return pair, describe(names[0], leaf)

    def _root(self) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
        """Return the CA's key and certificate, made if there are none."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if not self.certificate_file.exists():
            key, certificate = _make_root()
            # The key first: a certificate without its key would stand in the way for ever.
            write_private(self._key_file, pem_of_key(key).encode())
            write_private(self.certificate_file, pem_of([certificate]).encode())
            return key, certificate
        certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        loaded = load_pem_private_key(self._key_file.read_bytes(), None)
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
Whoever has root.key beside it can make certificates these machines believe: keep it to yourself."""


def _make_root() -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Vestibule"),
            # The common name may have 64 characters (RFC 5280, ub-common-name).
            x509.NameAttribute(NameOID.COMMON_NAME, f"Vestibule local CA, {socket.gethostname()}, {now:%Y-%m-%d}"[:64]),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return key, builder.sign(key, SHA256())


def _make_leaf(
    names: tuple[str, ...], root_key: EllipticCurvePrivateKey, root: x509.Certificate
) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    end = min(now + timedelta(days=LEAF_DAYS), root.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(end - _BACKDATED)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
    )
    return key, builder.sign(root_key, SHA256())


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
