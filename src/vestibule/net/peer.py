"""Who is at the other end: an address, and the certificate a client showed in its handshake, as variables and rules want them.

Facts: a distinguished name is written after RFC 4514, last part first, as nginx, httpd and Caddy do. A
certificate that is shown is proven to be the client's own (RFC 8446 4.4.3) even where it is not verified.

Rules: a certificate is read when somebody asks, once for a connection. What cannot be read is empty, never guessed.

Not here: who asks for it and which authorities count (`tls.py`).
"""

import base64
import hashlib
import ssl
from typing import Any, Final

from vestibule.net.openssl import own_certificate, verify_result, words_of

VERIFIED: Final = b"SUCCESS"
_DAY_MS: Final = 86_400_000


class PeerCertificate:
    """A certificate and what verifying it came to: OpenSSL's number, 0 if it was accepted."""

    def __init__(self, der: bytes, result: int) -> None:
        self.der = der
        self.result = result
        self.error = words_of(result)
        self.verdict = b"FAILED:" + self.error.encode() if self.error else VERIFIED
        self._parsed: Any = None

    def _certificate(self) -> Any:
        """Return it parsed, or None if it cannot be."""
        if self._parsed is None:
            from cryptography import x509  # large, and needed only by who looks into certificates

            try:
                self._parsed = x509.load_der_x509_certificate(self.der)
            except (ValueError, x509.InvalidVersion):
                return None  # OpenSSL is more tolerant
        return self._parsed

    def subject(self) -> bytes:
        """Return whose it is."""
        return _text_of(self._certificate(), "subject")

    def issuer(self) -> bytes:
        """Return who signed it."""
        return _text_of(self._certificate(), "issuer")

    def name(self) -> bytes:
        """Return the common name of whose it is; the first, if there are several."""
        found = self._certificate()
        if found is None:
            return b""
        from cryptography.x509.oid import NameOID

        try:
            names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        except ValueError:
            return b""
        return str(names[0].value).encode("utf-8", "replace") if names else b""

    def serial(self) -> bytes:
        """Return the serial number in hexadecimal, two digits for each byte."""
        found = self._certificate()
        if found is None:
            return b""
        text = b"%X" % found.serial_number
        return b"0" + text if len(text) % 2 else text

    def not_before(self) -> bytes:
        """Return since when it is valid, such as `Jan  2 03:04:05 2026 GMT`."""
        found = self._certificate()
        return b"" if found is None else _moment(found.not_valid_before_utc)

    def not_after(self) -> bytes:
        """Return until when it is valid."""
        found = self._certificate()
        return b"" if found is None else _moment(found.not_valid_after_utc)

    def days_left(self, now_ms: int) -> int:
        """Return for how many whole days it is valid yet."""
        found = self._certificate()
        return 0 if found is None else max(0, int(found.not_valid_after_utc.timestamp() * 1_000) - now_ms) // _DAY_MS

    def sha256(self) -> bytes:
        """Return its SHA-256 in hexadecimal."""
        return hashlib.sha256(self.der).hexdigest().encode()

    def sha1(self) -> bytes:
        """Return its SHA-1 in hexadecimal, which older programs know it by."""
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest().encode()

    def base64(self) -> bytes:
        """Return it whole (DER), in base64."""
        return base64.b64encode(self.der)

    def pem(self) -> bytes:
        """Return it whole, as PEM."""
        return ssl.DER_cert_to_PEM_cert(self.der).encode()


def peer_certificate(connection: ssl.SSLObject) -> PeerCertificate | None:
    """Return what the client showed in a handshake that is over, or None."""
    der = connection.getpeercert(True)
    return None if der is None else PeerCertificate(der, verify_result(connection))


class Secured:
    """What TLS has settled with the other end."""

    def __init__(self, connection: ssl.SSLObject) -> None:
        self._connection = connection

    def own_certificate(self) -> bytes:
        """Return the certificate that we showed (DER); nothing where there is none, or OpenSSL is hidden."""
        return own_certificate(self._connection)

    def peer_certificate(self) -> bytes:
        """Return the certificate that the other end showed (DER), believed or not; nothing where there is none."""
        return self._connection.getpeercert(True) or b""

    def version(self) -> bytes:
        """Return the version of TLS."""
        return (self._connection.version() or "").encode("ascii")

    def cipher(self) -> bytes:
        """Return the name of the cipher suite."""
        found = self._connection.cipher()
        return b"" if found is None else found[0].encode("ascii")

    def shared_ciphers(self) -> bytes:
        """Return the names of the cipher suites that a client offered and we take, with colons between."""
        return ":".join([name for name, _, _ in self._connection.shared_ciphers() or ()]).encode("ascii")

    def protocol(self) -> bytes:
        """Return what was agreed on by ALPN."""
        return (self._connection.selected_alpn_protocol() or "").encode("ascii")

    def is_resumed(self) -> bool:
        """Tell whether a session was resumed."""
        return self._connection.session_reused is True


def _text_of(certificate: Any, part: str) -> bytes:
    if certificate is None:
        return b""
    try:
        name = certificate.subject if part == "subject" else certificate.issuer
        return str(name.rfc4514_string()).encode("utf-8", "replace")
    except ValueError:
        return b""


def _moment(at: Any) -> bytes:
    return f"{at:%b} {at.day:2d} {at:%H:%M:%S %Y} GMT".encode()


def address_text(address: str) -> bytes:
    """Write an address as logs and headers want it: an IPv4 client of a dual-stack socket as IPv4."""
    if address.startswith("::ffff:") and "." in address:
        address = address[7:]
    return address.partition("%")[0].encode("ascii")
