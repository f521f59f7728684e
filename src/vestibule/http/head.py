"""Heads of messages, the same for every version of HTTP.

Facts: a request head is a method, a target and fields; HTTP/2 says scheme and authority in
pseudo-fields, HTTP/1 in the connection and Host (RFC 9110 7.1). Codecs make these objects; nobody
above a codec asks which version it was.
"""

from vestibule.http.fields import Fields


class RequestHead:
    """A request as the plan sees it.

    `target` is in origin form (path and query) or `*`; `authority` is what the client asked for, with
    its port if it said one; `origin` is what stood before the target where that was a whole URL (`http://host`); `protocol` is for logs
    only (`HTTP/1.1`, `HTTP/2.0`).
    """

    def __init__(self, method: bytes, target: bytes, authority: bytes, fields: Fields, protocol: bytes) -> None:
        self.method = method
        self.target = target
        self.authority = authority
        self.origin = b""
        self.fields = fields
        self.protocol = protocol

    def path(self) -> bytes:
        """Return the target up to its query, as it was sent."""
        at = self.target.find(b"?")
        return self.target if at < 0 else self.target[:at]

    def query(self) -> bytes:
        """Return what follows the first `?` of the target, or nothing."""
        at = self.target.find(b"?")
        return b"" if at < 0 else self.target[at + 1 :]


class ResponseHead:
    """A response as the plan sees it: status, the upstream's reason if it gave one, fields."""

    def __init__(self, status: int, reason: bytes, fields: Fields) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
