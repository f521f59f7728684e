"""Clients that stay with their server: a mark in a cookie or a header.

Facts: a mark is an HMAC of the server under a key that all workers share and the control process keeps, so a client can neither
make one nor read from it where servers are, and it holds in every worker, after reloads and after restarts.

Rules
  A mark that names a server which may not serve is as none: the client gets another server and its mark.
  Nothing is set where the client came with the right mark.

Not here: whether a marked server may serve (`upstream.py`).
"""

import hashlib
import hmac

from vestibule.exchange import PASS, Exchange, Step
from vestibule.proxy.balance import Server

# As many hexadecimal digits as nobody guesses.
_DIGITS = 32


class Marks:
    """The marks of an upstream's servers, and where requests carry them."""

    def __init__(self, key: bytes, upstream: str, cookie: bytes, header: bytes) -> None:
        self.cookie = cookie
        self.header = header
        self._key = key
        self._upstream = upstream
        self._by_token: dict[bytes, Server] = {}

    def take(self, servers: list[Server]) -> None:
        """Mark these servers and no others."""
        self._by_token = {}
        for server in servers:
            text = f"{self._upstream} {server.pool.name}".encode()
            server.token = hmac.new(self._key, text, hashlib.sha256).hexdigest()[:_DIGITS].encode()
            self._by_token[server.token] = server

    def find(self, ex: Exchange) -> Server | None:
        """Return the server that the request's mark names."""
        for token in carried(ex, self.cookie, self.header):
            server = self._by_token.get(token)
            if server is not None:
                return server
        return None


def carried(ex: Exchange, cookie: bytes, header: bytes) -> list[bytes]:
    """Return the marks that a request carries."""
    fields = ex.request.fields
    if header:
        return fields.get_all(header.lower())
    found: list[bytes] = []
    for line in fields.get_all(b"cookie"):
        for pair in line.split(b";"):
            name, _, value = pair.partition(b"=")
            if name.strip() == cookie:
                found.append(value.strip())
    return found


class SetMark(Step):
    """The response step that gives a client its mark. `attributes` follow the cookie's value."""

    def __init__(self, cookie: bytes, header: bytes, attributes: bytes, secure: int) -> None:
        self._cookie = cookie
        self._header = header
        self._attributes = attributes
        self._secure = secure  # 0 never, 1 always, -1 where the client came over TLS

    def run(self, ex: Exchange) -> int:
        server = ex.chosen
        response = ex.response
        if not isinstance(server, Server) or response is None or not server.token or ex.up is None:
            return PASS
        if server.token in carried(ex, self._cookie, self._header):
            return PASS
        if self._header:
            response.fields = response.fields.plus([(self._header, server.token)])
            return PASS
        value = self._cookie + b"=" + server.token + self._attributes
        if self._secure > 0 or (self._secure < 0 and ex.client.scheme == b"https"):
            value += b"; Secure"
        response.fields = response.fields.plus([(b"Set-Cookie", value)])
        return PASS
