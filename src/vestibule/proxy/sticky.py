"""Clients that stay with their server: a mark in a cookie or a header.

Facts: unless it was chosen in the configuration, a mark is an HMAC of the server under a key that all workers share and the control
process keeps, so a client can neither make one nor read from it where servers are, and it holds in every worker, after reloads and
after restarts.

Rules
  A mark that names a server which may not serve is as none: the client gets another server and its mark.
  Nothing is set where the client came with the right mark.

Not here: whether a marked server may serve (`upstream.py`).
"""

import hashlib
import hmac
from typing import Final

from vestibule.contract import PASS, Step
from vestibule.exchange import Exchange
from vestibule.http.head import ResponseHead
from vestibule.proxy.balance import Server

# As many hexadecimal digits as nobody guesses.
_DIGITS = 32

OWN: Final = 0
REWRITE: Final = 1
PREFIX: Final = 2

# Answers that caches may keep by themselves (RFC 9110 15.1).
_KEPT: Final = frozenset((200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501))

# What parts a mark from the application's own value.
_BEFORE: Final = b"~"


class Where:
    """Where requests carry marks: in a cookie or a header, and in a parameter, which comes first. What stands before a separator
    is left out. `how` says whose the cookie is; a `hidden` one is nothing for servers."""

    def __init__(
        self, cookie: bytes, header: bytes, parameter: bytes = b"", separator: bytes = b"", how: int = OWN, hidden: bool = False
    ) -> None:
        self.how = how
        self.hidden = hidden
        self.edits = hidden or how == PREFIX  # servers get other cookies than came
        self.cookie = cookie
        self.header = header
        self._parameter = b"" if not parameter else parameter + b"="
        self._separator = separator

    def carried(self, ex: Exchange) -> list[bytes]:
        """Return the marks that a request carries."""
        found: list[bytes] = []
        if self._parameter:
            self._in_target(ex.request.target, found)
        fields = ex.request.fields
        if self.header:
            found.extend(fields.get_all(self.header.lower()))
        else:
            for line in fields.get_all(b"cookie"):
                for pair in line.split(b";"):
                    name, _, value = pair.partition(b"=")
                    if name.strip() == self.cookie:
                        value = value.strip()
                        found.append(value.partition(_BEFORE)[0] if self.how == PREFIX and _BEFORE in value else value)
        return [value.partition(self._separator)[2] for value in found] if self._separator else found

    def edit(self, ex: Exchange) -> None:
        """Take the mark out of the cookies that servers get."""
        fields = ex.request.fields
        kept: list[bytes] = []
        changed = False
        for line in fields.get_all(b"cookie"):
            for pair in line.split(b";"):
                name, _, value = pair.partition(b"=")
                if name.strip() != self.cookie or (self.how == PREFIX and _BEFORE not in value):
                    kept.append(pair.strip())
                    continue
                changed = True
                if self.how == PREFIX:
                    kept.append(self.cookie + b"=" + value.partition(_BEFORE)[2].strip())
        if changed:
            ex.request.fields = fields.with_cookies(b"; ".join([pair for pair in kept if pair]))

    def _in_target(self, target: bytes, found: list[bytes]) -> None:
        path, _, query = target.partition(b"?")
        for part in path.replace(b"/", b";").split(b";") + query.split(b"&"):
            if part.startswith(self._parameter):
                found.append(part[len(self._parameter) :])


class Marks:
    """The marks of an upstream's servers, and where requests carry them."""

    def __init__(self, key: bytes, upstream: str, where: Where, signs: bool = True, strict: bool = False) -> None:
        self.strict = strict  # whether a marked client gets its own server or none
        self._where = where
        self._signs = signs
        self._key = key
        self._upstream = upstream
        self._by_token: dict[bytes, Server] = {}

    def take(self, servers: list[Server]) -> None:
        """Mark these servers and no others."""
        self._by_token = {}
        for server in servers:
            server.token = server.mark
            if not server.token and self._signs:
                text = f"{self._upstream} {server.pool.name}".encode()
                server.token = hmac.new(self._key, text, hashlib.sha256).hexdigest()[:_DIGITS].encode()
            if server.token:
                self._by_token[server.token] = server

    def find(self, ex: Exchange) -> Server | None:
        """Return the server that the request's mark names, and keep the mark from servers that should not see it."""
        where = self._where
        for token in where.carried(ex):
            server = self._by_token.get(token)
            if server is not None:
                ex.mark = token
                break
        if where.edits:
            where.edit(ex)
        return self._by_token.get(ex.mark)


class SetMark(Step):
    """The response step that gives a client its mark. `attributes` follow the cookie's value.

    One that `yields` gives none where a server sets a cookie of its name, one with `posts` none but after POST.
    """

    def __init__(
        self, where: Where, attributes: bytes, secure: int, private: bool = False, yields: bool = False, posts: bool = False
    ) -> None:
        self._private = private
        self._yields = yields
        self._posts = posts
        self._where = where
        self._attributes = attributes
        self._secure = secure  # 0 never, 1 always, -1 where the client came over TLS

    def run(self, ex: Exchange) -> int:
        server = ex.chosen
        response = ex.response
        if not isinstance(server, Server) or response is None or not server.token or ex.up is None:
            return PASS
        where = self._where
        if where.how != OWN:
            self._mark(response, server.token)
            return PASS
        if self._yields and self._is_set(response):
            return PASS
        if where.hidden:
            self._drop(response)
        if self._posts and ex.request.method != b"POST":
            return PASS
        if server.token == ex.mark if where.hidden else server.token in where.carried(ex):
            return PASS
        if where.header:
            response.fields = response.fields.plus([(where.header, server.token)])
            return PASS
        value = where.cookie + b"=" + server.token + self._attributes
        if self._secure > 0 or (self._secure < 0 and ex.client.scheme == b"https"):
            value += b"; Secure"
        given = [(b"Set-Cookie", value)]
        if self._private and _may_be_kept(response):
            given.append((b"Cache-Control", b"private"))
        response.fields = response.fields.plus(given)
        return PASS

    def _is_set(self, response: ResponseHead) -> bool:
        return True in [self._is_ours(line) for line in response.fields.get_all(b"set-cookie")]

    def _drop(self, response: ResponseHead) -> None:
        """Take out what a server sets under our name."""
        lines = response.fields.get_all(b"set-cookie")
        kept = [line for line in lines if not self._is_ours(line)]
        if len(kept) < len(lines):
            response.fields = response.fields.without((b"set-cookie",)).plus([(b"Set-Cookie", line) for line in kept])

    def _mark(self, response: ResponseHead, token: bytes) -> None:
        """Put the mark into the cookie that the application sets."""
        lines = response.fields.get_all(b"set-cookie")
        marked: list[tuple[bytes, bytes]] = []
        sets = False
        for line in lines:
            if self._is_ours(line):
                sets = True
                name, _, rest = line.partition(b"=")
                value, semicolon, attributes = rest.partition(b";")
                value = token if self._where.how == REWRITE else token + _BEFORE + value.strip()
                marked.append((b"Set-Cookie", name.strip() + b"=" + value + semicolon + attributes))
            else:
                marked.append((b"Set-Cookie", line))
        if sets:
            response.fields = response.fields.without((b"set-cookie",)).plus(marked)

    def _is_ours(self, line: bytes) -> bool:
        return line.partition(b"=")[0].strip() == self._where.cookie


def _may_be_kept(response: ResponseHead) -> bool:
    """Tell whether a cache might keep an answer for others: it says how long or how to ask again, and nothing against it."""
    if response.status not in _KEPT:
        return False
    fields = response.fields
    said = b",".join(fields.get_all(b"cache-control")).lower()
    for word in (b"no-cache", b"no-store", b"private"):
        if word in said:
            return False
    for name in (b"etag", b"last-modified", b"expires"):
        if fields.get(name) is not None:
            return True
    return b"max-age" in said or b"s-maxage" in said
