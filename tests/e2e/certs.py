"""Certificates for the tests: a root, an intermediate authority below it, and leaves below that.

Rules: everything is made anew for each run, with elliptic keys because they are quick to make.
"""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.UTC)


def pem_of_key(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """Return a private key as PEM, encrypted if there is a password."""
    sealing = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)


def pem_of(*certificates: x509.Certificate) -> bytes:
    """Return certificates as PEM, one after the other."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A root with one intermediate authority. `leaf` makes what servers and clients show."""

    def __init__(self, name: str = "Test") -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._authority(f"{name} Root", self.root_key, None)
        self.middle_key = ec.generate_private_key(ec.SECP256R1())
        self.middle = self._authority(f"{name} Intermediate", self.middle_key, self.root)

    def _authority(self, name: str, key: ec.EllipticCurvePrivateKey, above: x509.Certificate | None) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(above.subject if above else _name(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(days=1))
            .not_valid_after(NOW + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        return builder.sign(self.root_key, hashes.SHA256())

    def leaf(self, *hosts: str, password: bytes | None = None, days: int = 30) -> tuple[bytes, bytes]:
        """Return the chain (leaf first, root left out) and the key of a certificate for `hosts`."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(hosts[0]))
            .issuer_name(self.middle.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(days=60))
            .not_valid_after(NOW + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self.middle_key, hashes.SHA256())
        )
        return pem_of(certificate, self.middle), pem_of_key(key, password)

    def bundle(self, path: Path, *hosts: str, days: int = 30) -> Path:
        """Write chain and key into one file."""
        chain, key = self.leaf(*hosts, days=days)
        path.write_bytes(chain + key)
        return path

    def write_root(self, path: Path) -> Path:
        """Write the root, for those who shall trust it."""
        path.write_bytes(pem_of(self.root))
        return path

    def client(self) -> ssl.SSLContext:
        """Return client settings that trust this root and nothing else."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.load_verify_locations(cadata=pem_of(self.root).decode())
        return tls


def server(bundle: Path, client_root: Path | None = None) -> ssl.SSLContext:
    """Return server settings that show `bundle`, and want a certificate of the client's below `client_root`."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(bundle)
    if client_root is not None:
        tls.load_verify_locations(client_root)
        tls.verify_mode = ssl.CERT_REQUIRED
    return tls


def revocations(authority: Authority, *revoked: x509.Certificate) -> bytes:
    """Return lists of the root and of the intermediate authority, both in force."""
    made = b""
    for issuer, key in ((authority.root, authority.root_key), (authority.middle, authority.middle_key)):
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(NOW - datetime.timedelta(hours=1))
            .next_update(NOW + datetime.timedelta(days=7))
        )
        for each in revoked:
            if each.issuer == issuer.subject:
                row = x509.RevokedCertificateBuilder().serial_number(each.serial_number).revocation_date(NOW).build()
                builder = builder.add_revoked_certificate(row)
        made += builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return made
