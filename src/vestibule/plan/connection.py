"""The variables of a connection and of the machine: what all requests of a connection have alike, but for their number, and how the URL
began that a client wrote.

Not here: the table of nodes by name (`variables.py`).
"""

import os
import time
from typing import Final

from vestibule.exchange import Exchange
from vestibule.plan.expr import CONNECTION, Node, NumberNode, TruthNode

# The TLV of TLS begins with a byte of flags and four that say what became of the client's certificate.
_TLS_FIXED: Final = 5
_VERIFY: Final = -2


class PeerIp(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.address


class ClientPort(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.client.port


class ServerIp(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.local_address


class ServerPort(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.client.local_port


class Scheme(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.scheme


class Tls(TruthNode):
    def test(self, ex: Exchange) -> bool:
        return ex.client.scheme == b"https"


class TlsVersion(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.tls_version


class TlsCipher(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.tls_cipher


class TlsCiphers(Node):
    def find(self, ex: Exchange) -> bytes | None:
        secured = ex.client.secured
        return None if secured is None else secured.shared_ciphers()


class TlsResumed(TruthNode):
    def test(self, ex: Exchange) -> bool:
        return ex.client.tls_resumed


class TlsSession(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.tls_session.hex().encode()


class TlsProtocol(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.tls_protocol


class TlsSni(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.sni


class TlsHello(TruthNode):
    def test(self, ex: Exchange) -> bool:
        return ex.client.hello


class FirstBytes(Node):
    """What a client sent first, if it is as long as this."""

    def __init__(self, least: int) -> None:
        super().__init__(CONNECTION)
        self.least = least

    def find(self, ex: Exchange) -> bytes | None:
        first = ex.client.first
        return first if len(first) >= self.least else None


class TlsAlpn(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return ex.client.alpn


class TlsClientVerify(Node):
    def find(self, ex: Exchange) -> bytes | None:
        client = ex.client
        if client.scheme != b"https":
            return None
        return b"NONE" if client.certificate is None else client.certificate.verdict


class TlsClientError(NumberNode):
    def value(self, ex: Exchange) -> int:
        shown = ex.client.certificate
        return 0 if shown is None else shown.result


class TlsClientSubject(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.subject()


class TlsClientName(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.name()


class TlsClientIssuer(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.issuer()


class TlsClientSerial(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.serial()


class TlsClientFingerprint(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.sha256()


class TlsClientSha1(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.sha1()


class TlsClientNotBefore(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.not_before()


class TlsClientNotAfter(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.not_after()


class TlsClientBase64(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.base64()


class TlsClientPem(Node):
    def find(self, ex: Exchange) -> bytes | None:
        shown = ex.client.certificate
        return None if shown is None else shown.pem()


class AnnouncedIp(Node):
    def find(self, ex: Exchange) -> bytes | None:
        header = ex.client.announced
        return None if header is None else header.source


class AnnouncedPort(Node):
    def find(self, ex: Exchange) -> bytes | None:
        header = ex.client.announced
        return None if header is None else b"%d" % header.source_port


class AnnouncedServerIp(Node):
    def find(self, ex: Exchange) -> bytes | None:
        header = ex.client.announced
        return None if header is None else header.destination


class AnnouncedServerPort(Node):
    def find(self, ex: Exchange) -> bytes | None:
        header = ex.client.announced
        return None if header is None else b"%d" % header.destination_port


class AnnouncedTlv(Node):
    """A TLV of a PROXY header, or what one of its type holds within that of TLS (`PP2_TYPE_SSL`)."""

    def __init__(self, which: str) -> None:
        super().__init__(CONNECTION)
        outer, dot, inner = which.partition(".")
        self._kind = int(outer)
        self._inner = -1 if not dot else _VERIFY if inner == "verify" else int(inner)

    def find(self, ex: Exchange) -> bytes | None:
        header = ex.client.announced
        value = None if header is None else header.tlvs.get(self._kind)
        if value is None or self._inner == -1:
            return value
        if len(value) < _TLS_FIXED:
            return None
        if self._inner == _VERIFY:
            return b"%d" % int.from_bytes(value[1:_TLS_FIXED], "big")
        return _tlv_within(value, self._inner)


def _tlv_within(value: bytes, kind: int) -> bytes | None:
    at = _TLS_FIXED
    while at + 3 <= len(value):
        end = at + 3 + (value[at + 1] << 8 | value[at + 2])
        if value[at] == kind:
            return value[at + 3 : end] if end <= len(value) else None
        at = end
    return None


class ConnectionNumber(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.client.number


class ConnectionMs(NumberNode):
    def value(self, ex: Exchange) -> int:
        return max(0, int(time.monotonic() * 1000) - ex.client.since_ms)


class ConnectionRequests(NumberNode):
    def value(self, ex: Exchange) -> int:
        return ex.client.requests


# ---- the machine


class Hostname(Node):
    def find(self, ex: Exchange) -> bytes | None:
        return os.uname().nodename.lower().encode("utf-8", "surrogateescape")


class ProcessId(NumberNode):
    def value(self, ex: Exchange) -> int:
        return os.getpid()


class TargetOrigin(Node):
    """What stood before the target of a whole URL."""

    def find(self, ex: Exchange) -> bytes | None:
        return ex.request.origin or None
