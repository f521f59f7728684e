"""Answers that need nobody else: a fixed response, and redirects.

Facts: a client may read a relative Location, but apps of Immich do not; 308 keeps method and body
(RFC 9110 10.2.2, 15.4.9).

Rules: a Location made here is absolute; values are cleaned, so that none adds a line.
"""

from vestibule.contract import Source
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_BAD_HOST, Fault
from vestibule.http.semantics import clean_value
from vestibule.http.target import host_of
from vestibule.plan.expr import Node


class Respond(Source):
    """Answers with a status, fields and a body made of expressions."""

    def __init__(self, status: int, names: list[bytes], values: list[Node], body: Node | None) -> None:
        self._status = status
        self._names = names
        self._values = values
        self._body = body
        self._typed = body is None or b"content-type" in [name.lower() for name in names]

    def start(self, ex: Exchange) -> None:
        headers: list[tuple[bytes, bytes]] = []
        for i in range(len(self._names)):
            value = clean_value(self._values[i].text(ex))
            if value:
                headers.append((self._names[i], value))
        body = b""
        if self._body is not None:
            body = self._body.text(ex)
        if not self._typed:
            headers.append((b"Content-Type", b"text/plain; charset=utf-8"))
        ex.answer(self._status, headers, body)


class Redirect(Source):
    """Sends the client elsewhere. A location that is only a path is one on the host that was asked for."""

    def __init__(self, status: int, location: Node) -> None:
        self._status = status
        self._location = location

    def start(self, ex: Exchange) -> None:
        location = clean_value(self._location.text(ex))
        if location[:1] == b"/" and location[:2] != b"//" and ex.request.authority:
            location = ex.client.scheme + b"://" + ex.request.authority + location
        headers = [(b"Location", location)] if location else []
        ex.answer(self._status, headers, b"")


class HttpsRedirect(Source):
    """Sends the client to the same path and query over TLS, on `port`.

    A request without a host is sent to `host`, if the site has one name that can be said.
    """

    def __init__(self, port: int, host: bytes) -> None:
        self._port = b"" if port == 443 else b":%d" % port
        self._host = host

    def start(self, ex: Exchange) -> None:
        head = ex.request
        host = host_of(head.authority) or self._host
        if not host:
            ex.fail(Fault(CLIENT_BAD_HOST, "a redirect to https needs one"))
            return
        target = head.target if head.target[:1] == b"/" else b"/"
        ex.answer(308, [(b"Location", b"https://" + host + self._port + target)], b"")
