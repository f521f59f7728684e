"""Certificates for tests, made on the spot."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID


class Paper:
    """A certificate and its key; `issue` makes one below it."""

    def __init__(
        self,
        name: str,
        issuer: "Paper | None" = None,
        *,
        days: int = 90,
        begins: int = -1,
        says_issuer: bool = False,
        key: ec.EllipticCurvePrivateKey | None = None,
        use: x509.ObjectIdentifier | None = None,
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=min(begins, days - 1)))
            .not_valid_after(now + timedelta(days=days, hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        if use is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if says_issuer:
            where = x509.UniformResourceIdentifier("http://ca.example/issuer.der")
            access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        self.certificate = builder.sign(issuer.key if issuer else self.key, SHA256())

    def issue(self, name: str, *, days: int = 90, begins: int = -1, says_issuer: bool = False) -> "Paper":
        """Make a certificate signed by this one."""
        return Paper(name, self, days=days, begins=begins, says_issuer=says_issuer)

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def key_pem(self, password: bytes = b"") -> str:
        """The key, encrypted if there is a password."""
        how = BestAvailableEncryption(password) if password else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def write(path: Path, *texts: str) -> str:
    """Write a private file; return its name."""
    path.write_text("".join(texts))
    path.chmod(0o600)
    return path.name
