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
from vestibule.http.proxy_protocol import proxy_header
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


class Keying:
    """What connections of a pool stand for beyond their server.

    `announce` is the version of the PROXY header, 0 for none, with the text of `identity` in it (version 2); `name` is the one to ask for.
    """

    def __init__(self, announce: int, identity: RequestText | None = None, name: RequestText | None = None, reuse: int = SHARED) -> None:
        self.announce = announce
        self.reuse = reuse
        self._identity = identity
        self._name = name

    def header(self, ex: Exchange, datagrams: bool) -> bytes:
        """Return the PROXY header that tells the server of the client of an exchange; nothing where none is sent."""
        if not self.announce:
            return b""
        client = ex.client
        port = client.port if ex.client_address == client.address else 0
        identity = b"" if self._identity is None else self._identity.text(ex)
        return proxy_header(self.announce, ex.client_address, port, client.local_address, client.local_port, datagrams, identity)

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
