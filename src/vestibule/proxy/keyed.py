"""Connections to servers that not every request may have.

Facts: a PROXY header says once, for the life of a connection, who its client is. The name that is sent in TLS (RFC 6066 3) chooses what
a server is for that connection. Some servers know who has logged in by the connection itself.

Rules
  1. A connection serves requests of its own key alone: what it began with, the name it asked for, and whose it is.
  2. What is no host name is not sent as one; the usual name stands in, and is the one verified.
  3. SAFE: the first request of a client has a connection of its own, since it could not be sent again unseen; those after it have any.
     PROVEN: or one that served two before. PRIVATE: a connection serves one client's requests alone.

Not here: the connections (`pool.py`).
"""

from typing import Final

from vestibule.exchange import Exchange
from vestibule.http.proxy_protocol import TLV_ALPN, TLV_AUTHORITY, TLV_UNIQUE_ID, proxy_header, tls_tlv, tlv
from vestibule.http.target import host_of

SHARED: Final = 0
PROVEN: Final = 1
SAFE: Final = 2
PRIVATE: Final = 3

# RFC 1035 2.3.4.
_NAME_MOST: Final = 253
_LABEL_MOST: Final = 63

_NAME: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."


class RequestText:
    """A text that depends on the request."""

    def text(self, ex: Exchange) -> bytes:
        """Return it."""
        raise NotImplementedError


class Announced:
    """What PROXY headers of version 2 tell beside addresses: the text of `identity`, and what `words` name (`model.Announced`)."""

    def __init__(self, identity: RequestText | None, words: list[str]) -> None:
        self.checked = "checksum" in words
        self._identity = identity
        self._alpn = "alpn" in words
        self._server_name = "server_name" in words
        self._tls_name = "tls_name" in words
        self._tls_cipher = "tls_cipher" in words
        self._tls = self._tls_name or self._tls_cipher or "tls" in words

    def tlvs(self, ex: Exchange) -> bytes:
        """Return the TLVs for the client of an exchange."""
        client = ex.client
        found = tlv(TLV_ALPN, client.tls_protocol) if self._alpn else b""
        if self._server_name:
            found += tlv(TLV_AUTHORITY, client.sni)
        if self._identity is not None:
            found += tlv(TLV_UNIQUE_ID, self._identity.text(ex))
        if self._tls:
            shown = client.certificate
            name = shown.name() if shown is not None and self._tls_name else b""
            cipher = client.tls_cipher if self._tls_cipher else b""
            found += tls_tlv(client.tls_version, shown is not None, 0 if shown is None else shown.result, name, cipher)
        return found


class Keying:
    """What connections of a pool stand for beyond their server.

    `announce` is the version of the PROXY header, 0 for none; what one of version 2 tells beside addresses is in `announced`; `name` is
    the one to ask for.
    """

    def __init__(self, announce: int, announced: Announced | None = None, name: RequestText | None = None, reuse: int = SHARED) -> None:
        self.announce = announce
        self.reuse = reuse
        self._announced = announced
        self._name = name

    def header(self, ex: Exchange, datagrams: bool) -> bytes:
        """Return the PROXY header that tells the server of the client of an exchange; nothing where none is sent."""
        if not self.announce:
            return b""
        client = ex.client
        port = client.port if ex.client_address == client.address else 0
        more = b"" if self._announced is None else self._announced.tlvs(ex)
        checked = self._announced is not None and self._announced.checked
        return proxy_header(self.announce, ex.client_address, port, client.local_address, client.local_port, datagrams, more, checked)

    def server_name(self, ex: Exchange, usual: str) -> str:
        """Return the name to send and to verify (rule 2)."""
        if self._name is None:
            return usual
        found = host_of(self._name.text(ex)).rstrip(b".")
        return found.decode("ascii") if is_name(found) else usual

    def key(self, ex: Exchange, header: bytes, name: str) -> bytes:
        """Return what a connection must have been made for to serve an exchange (rule 1)."""
        # A header says itself where it ends, and a name has no blank.
        owner = ex.client.number if self.reuse == PRIVATE else 0
        return b"%b%b %d" % (header, name.encode(), owner)

    def may_serve(self, ex: Exchange, served: int) -> bool:
        """Tell whether a kept connection that served so many may serve one more (rule 3)."""
        if ex.client.requests > 1 or self.reuse in (SHARED, PRIVATE):
            return True
        return self.reuse == PROVEN and served > 1


def is_name(text: bytes) -> bool:
    """Tell whether a text is a host name that TLS can send."""
    if not text or len(text) > _NAME_MOST or text.translate(None, _NAME):
        return False
    return False not in [0 < len(label) <= _LABEL_MOST for label in text.split(b".")]
