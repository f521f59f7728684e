"""What two proxies made of one request, brought into a form in which only what matters differs.

The deliberate differences, which are left out of the comparison:
* Connection, Keep-Alive, Upgrade, TE, Expect, Via and the protocol version belong to one connection. vestibule keeps connections to
  upstreams and speaks HTTP/1.1 to them; nginx sends `Connection: close` and HTTP/1.0 unless told otherwise, httpd its own.
* Server and Date are the upstream's; nginx puts its own in their place. vestibule does not name itself.
* A page the proxy makes itself (an error, a redirect) has the same status and Location, and a text of its own.
* A body may come in chunks or with a length.
* A Location is a URI: nginx writes `$uri` into it as it is, blanks too; vestibule encodes it.
* Date, Age and ETag of a page of the proxy's own.
* Attributes of a cookie stand in any order and case (RFC 6265 5.2); HAProxy writes `path`, vestibule `Path`.
* The order of fields with different names means nothing (RFC 9110 5.3).
* `Vary: Accept-Encoding` stands in every answer that depends on it (RFC 9110 12.5.5); others write it only where they compressed.
* A body that was compressed is compared as what it was before.
* Caddy guesses the Content-Type of an answer that has none, and writes parentheses of a path it has changed as escapes. Servers
  are asked for gzip by it where clients do not ask, and it undoes that.
"""

import gzip
import re

from tests.e2e.client import Response
from tests.e2e.upstream import Request

_HOP = frozenset((b"connection", b"keep-alive", b"upgrade", b"te", b"expect", b"via", b"transfer-encoding", b"content-length", b"trailer"))
_OF_THE_SERVER = frozenset((b"server", b"date", b"x-powered-by"))
_OF_A_PAGE = frozenset(
    (
        b"content-type",
        b"retry-after",
        b"cache-control",
        b"vary",
        b"etag",
        b"last-modified",
        b"accept-ranges",
        b"content-security-policy",
        b"allow",
    )
)
_GUESSED = ((b"content-type", b"text/plain; charset=utf-8"), (b"vary", b"Accept-Encoding"), (b"accept-encoding", b"gzip"))
_ESCAPE = re.compile("%[0-9a-f]{2}")

Fields = list[tuple[str, list[str]]]


def folded(fields: list[tuple[bytes, bytes]], without: frozenset[bytes], ports: tuple[int, int]) -> Fields:
    """Return fields by lower-case name, sorted, with the two ports of a case written alike."""
    found: dict[str, list[str]] = {}
    for name, value in fields:
        if name.lower() not in without and (name.lower(), value) not in _GUESSED:
            text = _neutral(_cookie(value) if name.lower() == b"set-cookie" else value, ports)
            found.setdefault(name.decode().lower(), []).append(text.replace(" ", "%20") if name.lower() == b"location" else text)
    return sorted(found.items())


def _cookie(value: bytes) -> bytes:
    """Write a cookie with its attributes in one order and case."""
    pair, *attributes = value.split(b";")
    parts = [attribute.strip().partition(b"=") for attribute in attributes]
    return b"; ".join([pair, *sorted(name.lower() + mark + held for name, mark, held in parts)])


def _neutral(value: bytes, ports: tuple[int, int]) -> str:
    # `%c3` and `%C3` are one (RFC 3986 6.2.2.1).
    text = _ESCAPE.sub(lambda found: found[0].upper(), value.decode("latin-1"))
    text = text.replace("%28", "(").replace("%29", ")")
    for port in ports:
        text = text.replace(str(port), "PORT")
    return text


def seen_by_upstream(requests: list[Request], ports: tuple[int, int]) -> list[object]:
    """Return what the upstream saw."""
    return [
        (
            request.line.split(b" ")[0].decode(),
            _neutral(request.target, ports),
            folded(request.fields, _HOP, ports),
            request.body,
        )
        for request in requests
    ]


def got_by_client(response: Response, by_upstream: bool, ports: tuple[int, int]) -> object:
    """Return what the client got; `by_upstream` says whether the upstream made it."""
    without = _HOP | _OF_THE_SERVER | (frozenset() if by_upstream else _OF_A_PAGE)
    is_text = by_upstream or response.status < 300
    body = response.body if is_text else b""
    if body and (b"content-encoding", b"gzip") in [(name.lower(), value) for name, value in response.head.fields]:
        body = gzip.decompress(body)
    return response.status, folded(response.head.fields, without, ports), body
